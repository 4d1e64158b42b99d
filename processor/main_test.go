package processor_test

import (
	"context"
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
	p    *processor.Processor
	sdk  *sdktrace.TracerProvider
	live *processor.Provider

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

func newWorld(t testing.TB, cfg processor.Config, opts ...sdktrace.TracerProviderOption) *world {
	w := &world{Index: index.New(index.Config{}), t: t}
	w.p = processor.New(w, cfg)
	w.BeforeRead(w.p.Flush)
	opts = append([]sdktrace.TracerProviderOption{
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "orders"), attribute.String("service.instance.id", "i-1"))),
		sdktrace.WithSampler(processor.Sampler(sdktrace.AlwaysSample())),
		sdktrace.WithSpanProcessor(w.p),
	}, opts...)
	w.sdk = sdktrace.NewTracerProvider(opts...)
	w.live = processor.Live(w.sdk, w.p)
	t.Cleanup(func() {
		if err := w.sdk.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return w
}

func (w *world) tracer() trace.Tracer {
	return w.live.Tracer("test", trace.WithInstrumentationVersion("1"))
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
