package processor_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"go.opentelemetry.io/otel/attribute"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/processor"
)

func TestMain(m *testing.M) {
	for _, name := range os.Environ() { // the machine's own set-up is not tested
		if name, _, _ = strings.Cut(name, "="); strings.HasPrefix(name, "OTEL_") {
			os.Unsetenv(name)
		}
	}
	goleak.VerifyTestMain(m)
}

// world is an SDK provider with a Processor, live or not, over a real index
// that also keeps the events as they came.
type world struct {
	*index.Index
	t    testing.TB
	mode mode
	// fails is what shutting down returns.
	fails error
	p     *processor.Processor
	sdk   *sdktrace.TracerProvider
	live  *processor.Provider

	mu     sync.Mutex
	events []activity.Event
}

// Apply implements processor.Index.
func (w *world) Apply(events []activity.Event) {
	w.mu.Lock()
	for _, e := range events {
		e.Attrs = append([]activity.Attr(nil), e.Attrs...)
		w.events = append(w.events, e)
	}
	w.mu.Unlock()
	w.Index.Apply(events)
}

// mode is how a Processor hears of spans.
type mode string

const (
	registered mode = "registered" // from the SDK too
	sole       mode = "sole"       // from the live provider alone
)

// inModes runs a test in every mode.
func inModes(t *testing.T, test func(t *testing.T, m mode)) {
	for _, m := range []mode{registered, sole} {
		t.Run(string(m), func(t *testing.T) { test(t, m) })
	}
}

func newWorld(t testing.TB, m mode, cfg processor.Config, opts ...sdktrace.TracerProviderOption) *world {
	w := &world{Index: index.New(index.Config{}), t: t, mode: m}
	w.p = processor.New(w, cfg)
	w.BeforeRead(w.p.Flush)
	opts = append([]sdktrace.TracerProviderOption{
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "orders"), attribute.String("service.instance.id", "i-1"))),
		sdktrace.WithSampler(processor.Sampler(sdktrace.AlwaysSample())),
	}, opts...)
	if m == registered {
		opts = append(opts, sdktrace.WithSpanProcessor(w.p))
	}
	w.sdk = sdktrace.NewTracerProvider(opts...)
	w.live = processor.Live(w.sdk, w.p)
	t.Cleanup(func() {
		if err := errors.Join(w.sdk.Shutdown(context.Background()), w.p.Shutdown(context.Background())); !errors.Is(err, w.fails) {
			t.Errorf("shutdown: %v, want %v", err, w.fails)
		}
	})
	return w
}

func (w *world) tracer() trace.Tracer {
	return w.live.Tracer("test", trace.WithInstrumentationVersion("1"))
}

// raw returns a tracer of the SDK's own, where the Processor hears of its spans.
func (w *world) raw() trace.Tracer {
	if w.mode == sole {
		return w.live.Tracer("raw")
	}
	return w.sdk.Tracer("raw")
}

func idOf(s trace.Span) activity.ID {
	sc := s.SpanContext()
	return activity.ID{Trace: activity.TraceID(sc.TraceID()), Span: activity.SpanID(sc.SpanID())}
}

// get returns the activity of a span, as a reader sees it now.
func (w *world) get(s trace.Span) *activity.Activity {
	w.t.Helper()
	d, err := w.Get(context.Background(), idOf(s))
	if err != nil {
		w.t.Fatalf("activity of %v: %v", s.SpanContext().SpanID(), err)
	}
	return d.Activity
}

// of returns the events of a span so far.
func (w *world) of(s trace.Span) (events []activity.Event) {
	w.p.Flush()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.ID == idOf(s) {
			events = append(events, e)
		}
	}
	return events
}

// kinds draws the kinds of a span's events.
func (w *world) kinds(s trace.Span) string {
	var kinds []string
	for _, e := range w.of(s) {
		kinds = append(kinds, e.Kind.String())
	}
	return strings.Join(kinds, " ")
}
