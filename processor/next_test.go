package processor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/processor"
)

// Whatever is done to spans, what the index holds of them in the end is what the
// SDK does, and what Next gets.
func TestIndexIsAsTheSDK(t *testing.T) { inModes(t, testIndexIsAsTheSDK) }

func testIndexIsAsTheSDK(t *testing.T, m mode) {
	exported := tracetest.NewInMemoryExporter()
	w := newWorld(t, m, processor.Config{Next: []sdktrace.SpanProcessor{sdktrace.NewSimpleSpanProcessor(exported)}})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	kv := func() attribute.KeyValue {
		key := fmt.Sprint("k", r.IntN(5))
		switch r.IntN(6) {
		case 0:
			return attribute.Int(key, r.IntN(3))
		case 1:
			return attribute.StringSlice(key, []string{"a", fmt.Sprint(r.IntN(3))})
		case 2:
			return attribute.String(activity.KeyState, activity.State(r.IntN(int(activity.Lost))+1).String())
		case 3:
			return attribute.KeyValue{} // which the SDK drops
		}
		return attribute.String(key, fmt.Sprint(r.IntN(3)))
	}
	const spans = 400
	for range spans {
		ctx, s := w.tracer().Start(t.Context(), "x", trace.WithAttributes(kv(), kv()))
		for n := range r.IntN(6) {
			switch r.IntN(9) {
			case 0, 1, 2:
				s.SetAttributes(kv(), kv())
			case 3:
				s.SetName(fmt.Sprint("name", r.IntN(3)))
			case 4:
				s.SetStatus(codes.Code(r.IntN(3)), fmt.Sprint("why", r.IntN(3)))
			case 5:
				s.AddEvent("e", trace.WithAttributes(attribute.Int("n", r.IntN(9))))
			case 6:
				s.RecordError(errors.New("x"))
			case 7:
				s.AddLink(trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{
					TraceID: trace.TraceID{1}, SpanID: trace.SpanID{byte(n + 1)},
				})})
			case 8:
				w.p.Flush()
			}
		}
		var opts []trace.SpanEndOption
		if r.IntN(3) == 0 {
			opts = append(opts, trace.WithTimestamp(time.Now().Add(time.Hour)))
		}
		s.End(opts...)
		s.SetAttributes(attribute.Bool("late", true))
		s.SetStatus(codes.Error, "late")
		s.End()
		trace.SpanFromContext(ctx).SetName("late")
	}
	if err := w.live.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, e := range w.events {
		if e.ReceivedAt != e.At {
			t.Fatalf("seed %d: %v at %v, received at %v", seed, e.Kind, e.At, e.ReceivedAt)
		}
	}
	all := exported.GetSpans()
	if len(all) != spans {
		t.Fatalf("%d of %d spans came next", len(all), spans)
	}
	for _, span := range all {
		d, err := w.Get(t.Context(), activity.ID{Trace: activity.TraceID(span.SpanContext.TraceID()), Span: activity.SpanID(span.SpanContext.SpanID())})
		if err != nil {
			t.Fatal(err)
		}
		a := d.Activity
		want, got := map[string]string{}, map[string]string{}
		for _, attr := range span.Attributes {
			if attr.Key != activity.KeyState {
				want[string(attr.Key)] = attr.Value.String()
			}
		}
		for _, attr := range a.Attributes {
			if attr.Key != activity.KeyState {
				got[attr.Key] = attr.Value.Text()
			}
		}
		tell := func(m map[string]string, name string, start, end time.Time, status string, links, events, dropped int) {
			m["name"], m["start"], m["end"], m["status"] = name, start.String(), end.String(), status
			m["links"], m["events"], m["dropped"] = fmt.Sprint(links), fmt.Sprint(events), fmt.Sprint(dropped)
		}
		status := map[codes.Code]activity.Status{codes.Unset: activity.StatusUnset, codes.Ok: activity.StatusOK, codes.Error: activity.StatusError}[span.Status.Code]
		tell(want, span.Name, span.StartTime.UTC().Round(0), span.EndTime.UTC().Round(0),
			fmt.Sprint(status, " ", span.Status.Description), len(span.Links), len(span.Events), span.DroppedAttributes)
		tell(got, a.Name, a.PlannedAt.Time(), a.EndedAt.Time(),
			fmt.Sprint(a.Status, " ", a.StatusMessage()), len(a.Links), len(a.SpanEvents), int(a.Dropped[0]))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: (-SDK +index):\n%s", seed, diff)
		}
	}
}

// after is a SpanProcessor that notes what it is told.
type after struct {
	told []string
	err  error
}

func (n *after) OnStart(context.Context, sdktrace.ReadWriteSpan) { n.told = append(n.told, "start") }
func (n *after) OnEnd(s sdktrace.ReadOnlySpan)                   { n.told = append(n.told, s.Name()) }
func (n *after) Shutdown(context.Context) error {
	n.told = append(n.told, "shutdown")
	return n.err
}

func (n *after) ForceFlush(context.Context) error {
	n.told = append(n.told, "flush")
	return n.err
}

// Next is told of ends, in order, before a flush or a shutdown is over.
func TestNext(t *testing.T) { inModes(t, testNext) }

func testNext(t *testing.T, m mode) {
	failing := errors.New("backend is away")
	one, two := &after{err: failing}, &after{}
	w := newWorld(t, m, processor.Config{Latency: time.Hour, Next: []sdktrace.SpanProcessor{one, two}})
	start := func(name string) trace.Span {
		_, s := w.tracer().Start(context.Background(), name)
		return s
	}
	a, b, open := start("a"), start("b"), start("open")
	b.End()
	a.End()
	if err := w.live.ForceFlush(t.Context()); !errors.Is(err, failing) {
		t.Errorf("flush: %v", err)
	}
	start("c").End()
	for range 2 {
		if err := w.p.Shutdown(t.Context()); !errors.Is(err, failing) {
			t.Errorf("shutdown: %v", err)
		}
	}
	open.End() // too late
	want := "b a flush c shutdown"
	if m == registered { // the SDK flushes it too
		want = "b a flush flush c shutdown"
	}
	for n, next := range []*after{one, two} {
		if got := strings.Join(next.told, " "); got != want {
			t.Errorf("processor %d was told %q, want %q", n, got, want)
		}
	}
	w.fails = failing
}

// A Processor that is registered while spans are open sees each end once.
func TestRegisteredLater(t *testing.T) {
	w := newWorld(t, sole, processor.Config{})
	_, before := w.tracer().Start(t.Context(), "before")
	w.sdk.RegisterSpanProcessor(w.p)
	_, behind := w.sdk.Tracer("raw").Start(t.Context(), "after")
	before.End()
	behind.End()
	for _, s := range []trace.Span{before, behind} {
		if got := w.kinds(s); got != "started completed" {
			t.Errorf("events %s", got)
		}
	}
}

// A live provider whose Processor is not the one that the SDK knows is heard by
// its own.
func TestTwoProcessors(t *testing.T) {
	first, second := newWorld(t, registered, processor.Config{}), newWorld(t, sole, processor.Config{})
	live := processor.Live(first.sdk, second.p)
	for range 2 { // the tracer keeps its source
		_, s := live.Tracer("test").Start(t.Context(), "x", trace.WithAttributes(attribute.String("a", "1")))
		s.End()
		for _, w := range []*world{first, second} {
			if a := w.get(s); w.kinds(s) != "started completed" || a.Attr("a").Str() != "1" || a.Scope.Name != "test" {
				t.Errorf("%s: %s", w.kinds(s), a.AppendJSON(nil))
			}
		}
	}
}

// auditor starts a span of the SDK's own in each start of another.
type auditor struct {
	after
	tracer trace.Tracer
}

func (a *auditor) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	if s.Name() != "audit" {
		_, span := a.tracer.Start(ctx, "audit", trace.WithAttributes(attribute.String("of", "audit")))
		span.End()
	}
}

// What a SpanProcessor starts while a span starts is not taken for that span.
func TestSpanInAStart(t *testing.T) { inModes(t, testSpanInAStart) }

func testSpanInAStart(t *testing.T, m mode) {
	other := &auditor{}
	w := newWorld(t, m, processor.Config{})
	w.sdk.RegisterSpanProcessor(other) // after ours
	other.tracer = w.sdk.Tracer("audit")
	_, s := w.tracer().Start(t.Context(), "x", trace.WithAttributes(attribute.String("of", "x")))
	if a := w.get(s); a.Name != "x" || a.Attr("of").Str() != "x" || a.Scope.Name != "test" {
		t.Errorf("%s, scope %q", a.AppendJSON(nil), a.Scope.Name)
	}
	s.End()
	w.p.Flush()
	for _, e := range w.events {
		if e.First && e.ID != idOf(s) && (e.Name != "audit" || e.Attrs[0].Value.Str() != "audit" || e.Scope.Name != "audit") {
			t.Errorf("the SpanProcessor's span begins as %q of scope %q with %v", e.Name, e.Scope.Name, e.Attrs)
		}
	}
}

// Next is told of each end once and in order, whoever folds, by the time of a
// flush.
func TestNextConcurrentSafe(t *testing.T) { inModes(t, testNextConcurrentSafe) }

func testNextConcurrentSafe(t *testing.T, m mode) {
	const goroutines, each = 8, 200
	next := &after{}
	w := newWorld(t, m, processor.Config{Capacity: 16, Next: []sdktrace.SpanProcessor{next}})
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for n := range each {
				_, s := w.tracer().Start(context.Background(), fmt.Sprintf("%d %03d", g, n))
				s.End()
				if n%50 == 0 {
					w.p.Flush()
				}
			}
		})
	}
	wg.Wait()
	w.p.Flush()
	last := map[string]string{}
	for _, name := range next.told {
		g, _, _ := strings.Cut(name, " ")
		if name <= last[g] {
			t.Fatalf("told of %q after %q", name, last[g])
		}
		last[g] = name
	}
	if n := len(next.told); n != goroutines*each {
		t.Errorf("told of %d spans, want %d", n, goroutines*each)
	}
}
