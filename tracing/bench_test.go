package tracing_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// The reference activity: a name of 26 bytes and descriptions of 55, 28 and 50.
const (
	refName    = "Select deployment strategy"
	refPlanned = "Analyze metrics of 3 regions and pick a strategy for it"
	refCurrent = "Analyzing deployment metrics"
	refFinal   = "Selected canary: error budget allows 5% for an hou"
)

// BenchmarkActivity compares an activity with the same span made by hand.
func BenchmarkActivity(b *testing.B) {
	tp := sdktrace.NewTracerProvider()
	tracer := tp.Tracer("bench")
	ctx := tracing.ContextWithProvider(context.Background(), tp)
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, span := tracer.Start(ctx, refName, trace.WithAttributes(
				attribute.String(activity.KeyType, "decision"),
				attribute.String(activity.KeyState, "IN_PROGRESS"),
				attribute.String(activity.KeyPlanned, refPlanned)))
			span.SetAttributes(attribute.String(activity.KeyCurrent, refCurrent))
			span.SetAttributes(attribute.String(activity.KeyCurrent, refCurrent))
			span.SetAttributes(
				attribute.String(activity.KeyState, "COMPLETED"),
				attribute.String(activity.KeyFinal, refFinal))
			span.End()
		}
	})
	b.Run("tracing", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, a := tracing.Start(ctx, activity.Decision, refName, refPlanned)
			a.Say(refCurrent)
			a.Say(refCurrent)
			a.Complete(refFinal)
		}
	})
	b.Run("tracing/deferred", func(b *testing.B) {
		b.ReportAllocs()
		work := func() (err error) {
			_, a := tracing.Start(ctx, activity.Decision, refName, refPlanned)
			defer a.End(&err)
			a.Say(refCurrent)
			a.Say(refCurrent)
			return nil
		}
		for b.Loop() {
			_ = work()
		}
	})
	b.Run("tracing/planned", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, a := tracing.Plan(ctx, activity.Decision, refName, refPlanned)
			a.Start()
			a.Say(refCurrent)
			a.Complete(refFinal)
		}
	})
}
