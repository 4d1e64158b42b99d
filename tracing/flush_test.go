package tracing_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// deaf is a backend that does not answer, whatever its caller's patience.
type deaf struct {
	sdktrace.SpanProcessor
	flushes atomic.Int32
	answer  chan struct{}
}

func (*deaf) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (*deaf) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (*deaf) Shutdown(context.Context) error                  { return nil }
func (d *deaf) ForceFlush(context.Context) error {
	d.flushes.Add(1)
	<-d.answer
	return nil
}

// A backend that is away costs a panic that is recovered 200 ms, however many
// activities it passes, and those after it nothing for a second.
func TestPanicWaitsForNobodyLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deaf{answer: make(chan struct{})}
		ctx, _ := recorder(t, sdktrace.WithSpanProcessor(d))
		defer close(d.answer)
		panics := func() time.Duration {
			begin := time.Now()
			func() {
				defer func() { _ = recover() }()
				ctx, outer := tracing.Start(ctx, activity.WorkItem, "outer", "")
				defer outer.End(nil)
				_, inner := tracing.Start(ctx, activity.WorkItem, "inner", "")
				defer inner.End(nil)
				explode()
			}()
			return time.Since(begin)
		}
		for i, want := range []time.Duration{200 * time.Millisecond, 0} {
			if took := panics(); took != want || d.flushes.Load() != 1 {
				t.Errorf("panic %d: took %v, want %v; %d flushes", i, took, want, d.flushes.Load())
			}
		}
		time.Sleep(time.Second)
		if took := panics(); took != 200*time.Millisecond || d.flushes.Load() != 2 {
			t.Errorf("a second later: took %v, %d flushes", took, d.flushes.Load())
		}
	})
}
