package processor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/processor"
)

// abandon starts an activity and keeps nothing of it.
//
//go:noinline
func abandon(ctx context.Context, tracer trace.Tracer, name string) (id activity.ID, line int) {
	_, s := tracer.Start(ctx, name)
	_, _, line, _ = runtime.Caller(0)
	return idOf(s), line - 1
}

// collected runs the collector until done, a bounded number of times.
func collected(done func() bool) bool {
	for range 1000 {
		if done() {
			return true
		}
		runtime.GC()
		runtime.Gosched()
	}
	return false
}

func TestLeak(t *testing.T) { inModes(t, testLeak) }

func testLeak(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{DetectPlainLeaks: true})
	ended := func(id activity.ID) func() bool {
		return func() bool {
			d, err := w.Get(t.Context(), id)
			return err == nil && d.Activity.State.Ended()
		}
	}
	ctx, held := w.tracer().Start(t.Context(), "held by its child's context")
	heldID := idOf(held)
	ctx, child := w.tracer().Start(ctx, "child")
	id, line := abandon(t.Context(), w.tracer(), "abandoned")
	if !collected(ended(id)) {
		t.Fatal("what nothing holds is not found")
	}
	d, err := w.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	a := d.Activity
	where := fmt.Sprintf("%s:%d", "handover_test.go", line)
	if a.State != activity.Failed || a.Error.Type != activity.ErrorLeaked || !strings.Contains(a.Error.Message, where) {
		t.Errorf("%v, error %+v; want a leak of %s", a.State, a.Error, where)
	}
	if stats, err := w.Stats(t.Context()); err != nil || stats.Leaked != 1 {
		t.Errorf("%d leaked, %v", stats.Leaked, err)
	}
	if ended(heldID)() {
		t.Error("what its child's context holds was found abandoned")
	}
	child.End()
	runtime.KeepAlive(ctx)
	if !collected(ended(heldID)) {
		t.Error("nothing holds it now, and it is not found")
	}

	// What has ended is no leak, whoever collects it.
	_, done := w.tracer().Start(t.Context(), "done")
	doneID := idOf(done)
	done.End()
	last, _ := abandon(t.Context(), w.tracer(), "last")
	if !collected(ended(last)) {
		t.Fatal("the last is not found")
	}
	if d, err := w.Get(t.Context(), doneID); err != nil || d.Activity.State != activity.Completed {
		t.Errorf("done: %v, %v", d.Activity.State, err)
	}
}

// Whoever found it by its id holds it.
func TestFoundIsNoLeak(t *testing.T) { inModes(t, testFoundIsNoLeak) }

func testFoundIsNoLeak(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{DetectPlainLeaks: true})
	id, _ := abandon(t.Context(), w.tracer(), "found")
	found, ok := w.live.OpenSpan(trace.TraceID(id.Trace), trace.SpanID(id.Span))
	if !ok { // collected already: then there was nothing to find
		t.Fatal("not found")
	}
	other, _ := abandon(t.Context(), w.tracer(), "other")
	state := func(id activity.ID) activity.State {
		d, err := w.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return d.Activity.State
	}
	if !collected(func() bool { return state(other) == activity.Failed }) {
		t.Fatal("the other is not found")
	}
	if s := state(id); s != activity.InProgress {
		t.Errorf("what was found by its id is %v", s)
	}
	runtime.KeepAlive(found)
	if !collected(func() bool { return state(id) == activity.Failed }) {
		t.Error("nothing holds it now, and it is not found")
	}
}

// Without DetectPlainLeaks plain spans are not watched.
func TestPlainSpansAreNotWatched(t *testing.T) { inModes(t, testPlainSpansAreNotWatched) }

func testPlainSpansAreNotWatched(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{})
	id, _ := abandon(t.Context(), w.tracer(), "plain")
	for range 3 {
		runtime.GC()
	}
	if d, err := w.Get(t.Context(), id); err != nil || d.Activity.State != activity.InProgress {
		t.Errorf("%v, %v", d.Activity.State, err)
	}
}

// However small the hand-over, nothing is lost, and whoever writes and then
// reads sees it.
func TestHandOverConcurrentSafe(t *testing.T) { inModes(t, testHandOverConcurrentSafe) }

func testHandOverConcurrentSafe(t *testing.T, m mode) {
	for _, capacity := range []int{1, 7, 600, 8192} {
		t.Run(fmt.Sprint(capacity), func(t *testing.T) {
			w := newWorld(t, m, processor.Config{Capacity: capacity})
			const goroutines, each = 16, 60
			var wg sync.WaitGroup
			for g := range goroutines {
				wg.Go(func() {
					ctx, parent := w.tracer().Start(t.Context(), "parent")
					for n := range each {
						_, s := w.tracer().Start(ctx, "child", trace.WithAttributes(attribute.Int("n", n)))
						s.SetAttributes(attribute.Int("step", 1))
						s.SetAttributes(attribute.Int("step", 2))
						s.End()
						if n%20 == g%20 { // its own writes
							if a := w.get(s); a.State != activity.Completed || a.Attr("step").Int() != 2 || a.Attr("n").Int() != int64(n) || a.Parent != idOf(parent) {
								t.Errorf("own write: %s", a.AppendJSON(nil))
							}
						}
					}
					parent.End()
				})
			}
			wg.Wait()
			stats, err := w.Stats(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if want := int64(goroutines * (each + 1)); stats.Total != want || stats.ByState[activity.Completed] != want || stats.Held.InFlight != 0 {
				t.Errorf("total %d, completed %d, in flight %d; want %d", stats.Total, stats.ByState[activity.Completed], stats.Held.InFlight, want)
			}
			if got, want := w.Head().Seq, uint64(goroutines*(4*each+2)); got != want {
				t.Errorf("%d events, want %d", got, want)
			}
		})
	}
}

// counting is an index that only counts.
type counting struct{ n atomic.Int64 }

func (c *counting) Apply(events []activity.Event) { c.n.Add(int64(len(events))) }

// A change waits for others as long as Latency, and no longer.
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ix := &counting{}
		p := processor.New(ix, processor.Config{Latency: time.Second})
		tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p))
		tracer := processor.Live(tp, p).Tracer("x")
		_, s := tracer.Start(t.Context(), "x")
		synctest.Wait()
		if n := ix.n.Load(); n != 0 {
			t.Errorf("%d events at once", n)
		}
		<-time.After(999 * time.Millisecond)
		s.End()
		synctest.Wait()
		if n := ix.n.Load(); n != 0 {
			t.Errorf("%d events within the latency", n)
		}
		<-time.After(2 * time.Millisecond)
		synctest.Wait()
		if n := ix.n.Load(); n != 2 {
			t.Errorf("%d events after it", n)
		}
		if err := tp.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Many changes don't wait, and what they leave behind waits no longer than others.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ix := &counting{}
		p := processor.New(ix, processor.Config{Latency: time.Second})
		tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p))
		_, s := processor.Live(tp, p).Tracer("x").Start(t.Context(), "x")
		for n := range 514 { // with the start, eight batches and three changes
			s.SetAttributes(attribute.Int("n", n))
		}
		synctest.Wait()
		// The goroutine folds beside the loop, and is hurried again for four.
		if n := ix.n.Load(); n%64 != 0 || n > 512 || n <= 512-4*64 {
			t.Errorf("%d events at once", n)
		}
		<-time.After(1001 * time.Millisecond)
		synctest.Wait()
		if n := ix.n.Load(); n != 515 {
			t.Errorf("%d events after the latency", n)
		}
		if err := tp.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestShutdown(t *testing.T) {
	ix := index.New(index.Config{})
	p := processor.New(ix, processor.Config{Latency: time.Hour})
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p))
	live := processor.Live(tp, p)
	tracer := live.Tracer("x")
	_, done := tracer.Start(t.Context(), "done")
	_, open := tracer.Start(t.Context(), "open")
	done.End()
	if err := tp.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d, err := ix.Get(t.Context(), idOf(done)); err != nil || d.Activity.State != activity.Completed {
		t.Errorf("what was handed over before is not drained: %v", err)
	}
	for range 2 {
		if err := p.Shutdown(t.Context()); err != nil {
			t.Errorf("shut down again: %v", err)
		}
	}
	seq := ix.Head().Seq
	open.SetAttributes(attribute.String("a", "1"))
	open.AddEvent("x")
	open.End()
	_, late := tracer.Start(t.Context(), "late")
	late.End()
	p.Flush()
	if err := p.ForceFlush(t.Context()); err != nil {
		t.Error(err)
	}
	if _, ok := live.OpenSpan(late.SpanContext().TraceID(), late.SpanContext().SpanID()); ok {
		t.Error("found what began after the end")
	}
	if now := ix.Head().Seq; now != seq {
		t.Errorf("sequence %d became %d after the end", seq, now)
	}

	p = processor.New(ix, processor.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that is done: %v", err)
	}
}

// Spans go on and end while the processor is shut down.
func TestShutdownConcurrentSafe(t *testing.T) {
	for range 20 {
		ix := index.New(index.Config{})
		p := processor.New(ix, processor.Config{Capacity: 4})
		tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p))
		tracer := processor.Live(tp, p).Tracer("x")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					_, s := tracer.Start(t.Context(), "x")
					s.SetAttributes(attribute.Int("n", 1))
					s.End()
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				if err := p.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if stats, err := ix.Stats(t.Context()); err != nil || stats.Held.InFlight > 4 {
			t.Errorf("%d in flight, %v", stats.Held.InFlight, err)
		}
		if err := tp.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
