// Command plain shows its work in a `midspan serve` while it goes on, with
// OpenTelemetry's SDK alone: a span processor sends log events for the start and
// the end of each span, and say sends one for what changes between.
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 go run ./docs/examples/go/plain
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	stdlog "log"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	step := flag.Duration("step", 5*time.Second, "how long an item takes")
	flag.Parse()
	if err := run(context.Background(), *step); err != nil {
		stdlog.Fatal(err)
	}
}

func run(ctx context.Context, step time.Duration) error {
	spans, err := otlptracehttp.New(ctx)
	if err != nil {
		return err
	}
	logs, err := otlploghttp.New(ctx)
	if err != nil {
		return err
	}
	res := resource.NewSchemaless(
		attribute.String("service.name", "go-plain-example"),
		attribute.String("midspan.lease.id", rand.Text()), // names this process
	)
	events := sdklog.NewLoggerProvider(sdklog.WithResource(res),
		sdklog.WithProcessor(sdklog.NewBatchProcessor(logs, sdklog.WithExportInterval(50*time.Millisecond))))
	tell := teller{events.Logger("example")}
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithSpanProcessor(tell),
		sdktrace.WithBatcher(spans, sdktrace.WithBatchTimeout(200*time.Millisecond)))
	otel.SetTracerProvider(provider)
	holding, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tell.hold(holding)
	}()

	ship(ctx, tell, step)

	stop()
	<-done
	// Final spans first, then the end of the lease.
	err = provider.Shutdown(ctx)
	tell.lease(ctx, "midspan.lease.ended", 1<<31)
	return errors.Join(err, events.Shutdown(ctx))
}

func ship(ctx context.Context, tell teller, step time.Duration) {
	ctx, span := otel.Tracer("example").Start(ctx, "Ship order", trace.WithAttributes(
		attribute.String("activity.type", "work_item"),
		attribute.String("activity.description.planned", "Pack all items and hand them over")))
	defer span.End()
	items := []string{"tea", "cup", "spoon"}
	for i, item := range items {
		tell.say(ctx, attribute.String("activity.description.current", "Packing "+item),
			attribute.Float64("activity.progress", float64(i)/float64(len(items))))
		time.Sleep(step) // your work
	}
	span.SetAttributes(attribute.String("activity.description.final", "Handed over"))
}

// teller tells a bridge of spans while they are open. Its events carry no
// numbers: they stand by their time.
type teller struct{ log.Logger }

// say sets attributes of the span in ctx, and tells them.
func (t teller) say(ctx context.Context, attrs ...attribute.KeyValue) {
	trace.SpanFromContext(ctx).SetAttributes(attrs...)
	t.tell(ctx, "activity.updated", time.Now(), attrs)
}

// OnStart implements sdktrace.SpanProcessor.
func (t teller) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	attrs := append(s.Attributes(), attribute.String("activity.name", s.Name()), attribute.String("activity.span_kind", s.SpanKind().String()))
	if parent := s.Parent(); parent.TraceID() == s.SpanContext().TraceID() && parent.SpanID().IsValid() {
		attrs = append(attrs, attribute.String("activity.parent_span_id", parent.SpanID().String()))
	}
	t.tell(trace.ContextWithSpanContext(ctx, s.SpanContext()), "activity.started", s.StartTime(), attrs)
}

// OnEnd implements sdktrace.SpanProcessor.
func (t teller) OnEnd(s sdktrace.ReadOnlySpan) {
	event := "activity.completed"
	var why []attribute.KeyValue
	if s.Status().Code == codes.Error {
		event, why = "activity.failed", []attribute.KeyValue{attribute.String("error.message", s.Status().Description)}
	}
	t.tell(trace.ContextWithSpanContext(context.Background(), s.SpanContext()), event, s.EndTime(), why)
}

// Shutdown and ForceFlush are the log provider's to do.
func (teller) Shutdown(context.Context) error   { return nil }
func (teller) ForceFlush(context.Context) error { return nil }

// hold renews the lease, three times in its 5 seconds.
func (t teller) hold(ctx context.Context) {
	for seq := int64(1); ctx.Err() == nil; seq++ {
		t.lease(ctx, "midspan.lease.renewed", seq)
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second / 3):
		}
	}
}

func (t teller) lease(ctx context.Context, event string, seq int64) {
	t.tell(ctx, event, time.Now(), []attribute.KeyValue{attribute.Int64("ttl_ms", 5000), attribute.Int64("seq", seq)})
}

func (t teller) tell(ctx context.Context, event string, at time.Time, attrs []attribute.KeyValue) {
	var r log.Record
	r.SetEventName(event)
	r.SetTimestamp(at)
	r.AddAttributes(attrs...)
	t.Emit(ctx, r)
}
