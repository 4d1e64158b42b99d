package orchestrator

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

func TestMain(m *testing.M) {
	if os.Getenv("MIDSPAN_TEST_WORKSPACE") != "" {
		holdWorkspace()
	}
	goleak.VerifyTestMain(m)
}

// holdWorkspace is the program of TestWorkspaces: it has a workspace until it
// is killed.
func holdWorkspace() {
	dir, _, err := openWorkspace()
	if err != nil {
		panic(err)
	}
	fmt.Println(dir)
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// recorder records spans, and knows which are open.
type recorder struct {
	exporter *tracetest.InMemoryExporter
	started  func(name string) // hears of every start, if set before the first

	mu   sync.Mutex // guards open
	open map[trace.SpanID]string
}

func (r *recorder) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	if r.started != nil {
		r.started(s.Name())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[s.SpanContext().SpanID()] = s.Name()
}

func (r *recorder) OnEnd(s sdktrace.ReadOnlySpan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, s.SpanContext().SpanID())
}

func (*recorder) Shutdown(context.Context) error   { return nil }
func (*recorder) ForceFlush(context.Context) error { return nil }

// record sets OpenTelemetry's global provider and propagators, as midspan.New
// does, for one test.
func record(t *testing.T) *recorder {
	t.Helper()
	ignored := tracing.Ignored()
	r := &recorder{exporter: tracetest.NewInMemoryExporter(), open: map[trace.SpanID]string{}}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(r.exporter), sdktrace.WithSpanProcessor(r))
	before, propagators := otel.GetTracerProvider(), otel.GetTextMapPropagator()
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	t.Cleanup(func() {
		otel.SetTracerProvider(before)
		otel.SetTextMapPropagator(propagators)
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if n := tracing.Ignored() - ignored; n != 0 {
			t.Errorf("%d activities were started or ended twice", n)
		}
	})
	return r
}

// span is a span as a test reads it.
type span struct {
	tracetest.SpanStub
	attrs    map[attribute.Key]attribute.Value
	parent   *span // nil for a root, and for one whose parent is elsewhere
	children []*span
}

func (s *span) text(key attribute.Key) string { return s.attrs[key].AsString() }
func (s *span) typ() string                   { return s.text(activity.KeyType) }
func (s *span) state() string                 { return s.text(activity.KeyState) }
func (s *span) root() *span {
	for s.parent != nil {
		s = s.parent
	}
	return s
}

// depth returns how many levels there are below and at s.
func (s *span) depth() int {
	below := 0
	for _, c := range s.children {
		below = max(below, c.depth())
	}
	return 1 + below
}

func (s *span) size() int {
	n := 1
	for _, c := range s.children {
		n += c.size()
	}
	return n
}

// spans returns all that were recorded, linked to their parents.
func (r *recorder) spans() []*span {
	stubs := r.exporter.GetSpans()
	out := make([]*span, len(stubs))
	byID := map[trace.SpanID]*span{}
	for i, stub := range stubs {
		s := &span{SpanStub: stub, attrs: map[attribute.Key]attribute.Value{}}
		for _, kv := range stub.Attributes {
			s.attrs[kv.Key] = kv.Value
		}
		out[i], byID[stub.SpanContext.SpanID()] = s, s
	}
	for _, s := range out {
		if parent := byID[s.Parent.SpanID()]; parent != nil && parent.SpanContext.TraceID() == s.SpanContext.TraceID() {
			s.parent = parent
			parent.children = append(parent.children, s)
		}
	}
	return out
}

// logTo is a logger that writes to the test's log.
func logTo(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// runUntil runs an orchestrator until enough says so of the work items that were
// closed so far, and returns those.
func runUntil(t *testing.T, cfg Config, enough func(closed map[itemState]int) bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	cfg.Logger = logTo(t)
	o, err := open(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex // guards closed
	closed := map[itemState]int{}
	o.desk.closed = func(_ workItem, state itemState) {
		mu.Lock()
		defer mu.Unlock()
		closed[state]++
		if enough(closed) {
			stop()
		}
	}
	if err := o.run(ctx); err != nil {
		t.Fatal(err)
	}
	if !enough(closed) {
		t.Fatalf("not enough work items were closed in time: %v", closed)
	}
	t.Logf("closed: %v", closed)
}
