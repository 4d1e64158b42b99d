package tracing_test

import (
	"context"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

func TestMain(m *testing.M) {
	if task := os.Getenv("MIDSPAN_TEST_TASK"); task != "" {
		runDropped(task)
	}
	goleak.VerifyTestMain(m)
}

// recorder returns a context whose activities the SDK makes and rec keeps.
func recorder(t testing.TB, opts ...sdktrace.TracerProviderOption) (context.Context, *tracetest.SpanRecorder) {
	t.Helper()
	rec := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(append(opts, sdktrace.WithSpanProcessor(rec))...)
	t.Cleanup(func() { _ = tp.Shutdown(context.Background()) })
	return tracing.ContextWithProvider(context.Background(), tp), rec
}

// ended returns the only span that has ended.
func ended(t testing.TB, rec *tracetest.SpanRecorder) sdktrace.ReadOnlySpan {
	t.Helper()
	spans := rec.Ended()
	if len(spans) != 1 {
		t.Fatalf("%d spans have ended, want 1", len(spans))
	}
	return spans[0]
}

func attrs(span sdktrace.ReadOnlySpan) map[attribute.Key]any {
	m := map[attribute.Key]any{}
	for _, kv := range span.Attributes() {
		m[kv.Key] = kv.Value.AsInterface()
	}
	return m
}

func wantAttrs(t testing.TB, span sdktrace.ReadOnlySpan, want map[attribute.Key]any) {
	t.Helper()
	if diff := cmp.Diff(want, attrs(span)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func idOf(sc trace.SpanContext) activity.ID {
	return activity.ID{Trace: activity.TraceID(sc.TraceID()), Span: activity.SpanID(sc.SpanID())}
}
