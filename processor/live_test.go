package processor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	rtrace "runtime/trace"
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

func state(s activity.State) attribute.KeyValue {
	return attribute.String(activity.KeyState, s.String())
}

// Each call on a live span is one event, in order, and seen at once.
func TestLiveSpan(t *testing.T) { inModes(t, testLiveSpan) }

func testLiveSpan(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{})
	ctx, parent := w.tracer().Start(t.Context(), "parent")
	begun := time.Now().Add(-time.Second)
	_, s := w.tracer().Start(ctx, "child",
		trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(begun),
		trace.WithAttributes(attribute.String(activity.KeyPlanned, "will do"), attribute.String("db.system.name", "sqlite"), attribute.String("a", "1")))
	a := w.get(s)
	if a.State != activity.InProgress || a.Name != "child" || a.Planned != "will do" || a.Type != activity.DatabaseOperation ||
		a.Parent != idOf(parent) || a.Kind != activity.KindClient || a.StartedAt != activity.TimeOf(begun) ||
		a.Service() != "orders" || a.Instance() != "i-1" || a.Scope.Name != "test" || a.Scope.Version != "1" || a.Sampling != activity.Sampled {
		t.Errorf("at its start: %s", a.AppendJSON(nil))
	}
	s.SetAttributes(attribute.String(activity.KeyCurrent, "doing"), attribute.Float64(activity.KeyProgress, 0.5))
	if a := w.get(s); a.Current != "doing" || a.Progress != 0.5 {
		t.Errorf("mid-span: %s", a.AppendJSON(nil))
	}
	s.SetName("renamed")
	if a := w.get(s); a.Name != "renamed" {
		t.Errorf("name %q", a.Name)
	}
	s.AddEvent("note", trace.WithAttributes(attribute.Int("n", 1)))
	if a := w.get(s); len(a.SpanEvents) != 1 || a.SpanEvents[0].Name != "note" || a.SpanEvents[0].Attrs[0].Value.Int() != 1 {
		t.Errorf("span events %v", a.SpanEvents)
	}
	s.AddLink(trace.Link{SpanContext: parent.SpanContext(), Attributes: []attribute.KeyValue{attribute.String("why", "x")}})
	if a := w.get(s); len(a.Links) != 1 || a.Links[0].ID != idOf(parent) || a.Links[0].Attrs[0].Value.Str() != "x" {
		t.Errorf("links %v", a.Links)
	}
	s.RecordError(errors.New("disk full"))
	s.SetStatus(codes.Error, "first")
	if a := w.get(s); a.Error == nil || a.Error.Message != "first" || a.Error.Type != "*errors.errorString" || a.Error.Stack != "" || a.State != activity.InProgress {
		t.Errorf("error %+v in state %v", a.Error, a.State)
	}
	s.SetStatus(codes.Error, "second")
	if a := w.get(s); a.Error.Message != "second" {
		t.Errorf("error %+v", a.Error)
	}
	s.RecordError(errors.New("again"), trace.WithStackTrace(true))
	if a := w.get(s); !strings.Contains(a.Error.Stack, "testLiveSpan") {
		t.Errorf("stack %q", a.Error.Stack)
	}
	s.RecordError(nil)
	s.SetAttributes()
	s.SetStatus(codes.Unset, "nothing")
	s.SetName("renamed")
	s.End()
	s.SetAttributes(attribute.String("late", "x"))
	s.AddEvent("late")
	s.SetName("late")
	s.SetStatus(codes.Ok, "")
	s.End()
	if got, want := w.kinds(s), "started updated updated updated updated updated updated updated updated failed"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
	a = w.get(s)
	if a.State != activity.Failed || a.Name != "renamed" || a.Attr("late").Kind() != activity.KindEmpty || len(a.SpanEvents) != 3 || a.Error.Message != "second" {
		t.Errorf("at its end: %s", a.AppendJSON(nil))
	}
	for n, e := range w.of(s) {
		if e.Rev != uint32(n+1) || e.First != (n == 0) {
			t.Errorf("event %d has number %d, first %v", n, e.Rev, e.First)
		}
	}
	parent.End()
	if a := w.get(parent); a.State != activity.Completed || w.kinds(parent) != "started completed" {
		t.Errorf("parent: %v, %s", a.State, w.kinds(parent))
	}
}

// CANCELLED if the state attribute says so, else FAILED if the status is Error,
// else COMPLETED.
func TestStateAtTheEnd(t *testing.T) { inModes(t, testStateAtTheEnd) }

func testStateAtTheEnd(t *testing.T, m mode) {
	for _, tt := range []struct {
		name string
		do   func(trace.Span)
		want activity.State
	}{
		{"nothing", func(trace.Span) {}, activity.Completed},
		{"Ok", func(s trace.Span) { s.SetStatus(codes.Ok, "") }, activity.Completed},
		{"Error", func(s trace.Span) { s.SetStatus(codes.Error, "x") }, activity.Failed},
		{"Error, then Ok", func(s trace.Span) { s.SetStatus(codes.Error, "x"); s.SetStatus(codes.Ok, "") }, activity.Completed},
		{"Ok, then Error", func(s trace.Span) { s.SetStatus(codes.Ok, ""); s.SetStatus(codes.Error, "x") }, activity.Completed},
		{"an error recorded, no status", func(s trace.Span) { s.RecordError(errors.New("x")) }, activity.Completed},
		{"cancelled", func(s trace.Span) { s.SetAttributes(state(activity.Cancelled)) }, activity.Cancelled},
		{"cancelled, and Error", func(s trace.Span) { s.SetStatus(codes.Error, "x"); s.SetAttributes(state(activity.Cancelled)) }, activity.Cancelled},
		{"completed says the attribute, Error the status", func(s trace.Span) { s.SetAttributes(state(activity.Completed)); s.SetStatus(codes.Error, "x") }, activity.Failed},
		{"failed says the attribute, nothing the status", func(s trace.Span) { s.SetAttributes(state(activity.Failed)) }, activity.Completed},
		{"cancelled, then taken back", func(s trace.Span) {
			s.SetAttributes(state(activity.Cancelled))
			s.SetAttributes(state(activity.InProgress))
		}, activity.Completed},
		{"twice in one call", func(s trace.Span) { s.SetAttributes(state(activity.Completed), state(activity.Cancelled)) }, activity.Cancelled},
	} {
		for _, flush := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, read between: %v", tt.name, flush), func(t *testing.T) {
				w := newWorld(t, m, processor.Config{})
				for name, tracer := range map[string]trace.Tracer{"live": w.tracer(), "SDK": w.raw()} {
					_, s := tracer.Start(t.Context(), "x")
					tt.do(s)
					if flush {
						w.p.Flush()
					}
					s.End()
					if got := w.get(s).State; got != tt.want {
						t.Errorf("%s span: %v, want %v", name, got, tt.want)
					}
				}
			})
		}
	}
}

func TestPlannedSpan(t *testing.T) { inModes(t, testPlannedSpan) }

func testPlannedSpan(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{})
	at := time.Now()
	_, s := w.tracer().Start(t.Context(), "x", trace.WithAttributes(state(activity.Planned), attribute.Int64(activity.KeyPlannedAt, at.UnixNano())))
	if a := w.get(s); a.State != activity.Planned || a.StartedAt != 0 {
		t.Errorf("planned: %v, started %v", a.State, a.StartedAt)
	}
	started := at.Add(time.Minute)
	s.SetAttributes(state(activity.InProgress), attribute.Int64(activity.KeyStartedAt, started.UnixNano()))
	a := w.get(s)
	if wait, ok := a.Wait(0); a.State != activity.InProgress || !ok || wait != time.Minute {
		t.Errorf("started: %v after %v", a.State, wait)
	}
	s.SetAttributes(state(activity.InProgress))
	s.End()
	if got := w.kinds(s); got != "planned started updated completed" {
		t.Errorf("events %s", got)
	}
	_, s = w.tracer().Start(t.Context(), "x", trace.WithAttributes(state(activity.Planned)))
	s.SetAttributes(state(activity.Cancelled))
	s.End()
	if a := w.get(s); w.kinds(s) != "planned cancelled" || a.StartedAt != 0 {
		t.Errorf("cancelled: %s, started %v", w.kinds(s), a.StartedAt)
	}
}

// What package tracing does at an end is one event.
func TestEndIsOneEvent(t *testing.T) { inModes(t, testEndIsOneEvent) }

func testEndIsOneEvent(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{Latency: time.Hour})
	finish := func(s trace.Span) {
		s.SetAttributes(state(activity.Failed), attribute.String(activity.KeyFinal, "gave up"), attribute.String("error.type", "E"))
		s.SetStatus(codes.Error, "no room")
		s.RecordError(errors.New("disk full"))
		s.AddLink(trace.Link{SpanContext: s.SpanContext()})
	}
	_, s := w.tracer().Start(t.Context(), "x")
	finish(s)
	s.End()
	if got := w.kinds(s); got != "started failed" {
		t.Errorf("events %s", got)
	}
	check := func(a *activity.Activity) {
		t.Helper()
		if a.State != activity.Failed || a.Final != "gave up" || len(a.SpanEvents) != 1 || len(a.Links) != 1 ||
			cmp.Diff(&activity.Error{Type: "E", Message: "no room"}, a.Error) != "" {
			t.Errorf("%s, error %+v", a.AppendJSON(nil), a.Error)
		}
	}
	check(w.get(s))

	// The end does not follow: a reader sees the rest all the same.
	_, s = w.tracer().Start(t.Context(), "x")
	finish(s)
	if a := w.get(s); a.State != activity.InProgress || a.Final != "gave up" || a.Error == nil || a.Error.Message != "no room" || len(a.SpanEvents) != 1 {
		t.Errorf("without its end: %s", a.AppendJSON(nil))
	}
	if got := w.kinds(s); got != "started updated" {
		t.Errorf("events %s", got)
	}
	s.End()
	check(w.get(s))
	if got := w.kinds(s); got != "started updated failed" {
		t.Errorf("events %s", got)
	}
}

// With the SpanProcessor alone, and with spans of the SDK's own tracers, start
// and end are live; the end tells what came between.
func TestProcessorAlone(t *testing.T) {
	w := newWorld(t, registered, processor.Config{})
	tracer := w.raw()
	ctx, parent := tracer.Start(t.Context(), "parent")
	_, s := tracer.Start(ctx, "x", trace.WithAttributes(attribute.String("a", "1"), attribute.StringSlice("list", []string{"x"})))
	if a := w.get(s); a.State != activity.InProgress || a.Attr("a").Str() != "1" || a.Parent != idOf(parent) {
		t.Errorf("at its start: %s", a.AppendJSON(nil))
	}
	s.SetAttributes(attribute.String("a", "2"), attribute.StringSlice("list", []string{"y"}), attribute.String(activity.KeyFinal, "did"), attribute.Bool("b", true))
	s.SetName("renamed")
	s.AddEvent("note")
	s.AddLink(trace.Link{SpanContext: parent.SpanContext()})
	s.SetStatus(codes.Error, "m")
	s.End()
	a := w.get(s)
	if a.State != activity.Failed || a.Name != "renamed" || a.Attr("a").Str() != "2" || a.Attr("list").Text() != `["y"]` || a.Final != "did" ||
		!a.Attr("b").Bool() || len(a.SpanEvents) != 1 || len(a.Links) != 1 || a.Error.Message != "m" {
		t.Errorf("at its end: %s", a.AppendJSON(nil))
	}
	if got := w.kinds(s); got != "started failed" {
		t.Errorf("events %s", got)
	}
}

// meddler changes spans behind the live provider's back.
type meddler struct{}

func (meddler) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	s.SetAttributes(attribute.String("meddled", "yes"), attribute.String("own", "overwritten"))
	s.AddEvent("meddled")
	s.AddLink(trace.Link{SpanContext: s.SpanContext()})
}
func (meddler) OnEnd(sdktrace.ReadOnlySpan)      {}
func (meddler) Shutdown(context.Context) error   { return nil }
func (meddler) ForceFlush(context.Context) error { return nil }

// What another processor sets is told at the end, beside what was told live.
func TestOtherProcessors(t *testing.T) {
	w := newWorld(t, registered, processor.Config{}, sdktrace.WithSpanProcessor(meddler{}))
	_, other := w.tracer().Start(t.Context(), "other")
	_, s := w.tracer().Start(t.Context(), "x", trace.WithAttributes(attribute.String("own", "mine")))
	s.AddEvent("mine")
	s.AddLink(trace.Link{SpanContext: other.SpanContext()})
	s.End()
	a := w.get(s)
	var names []string
	for _, e := range a.SpanEvents {
		names = append(names, e.Name)
	}
	if a.Attr("meddled").Str() != "yes" || a.Attr("own").Str() != "overwritten" || fmt.Sprint(names) != "[meddled mine]" || len(a.Links) != 2 {
		t.Errorf("%s, span events %v", a.AppendJSON(nil), names)
	}
}

// What the SDK's limits drop, the index keeps.
func TestSDKLimits(t *testing.T) { inModes(t, testSDKLimits) }

func testSDKLimits(t *testing.T, m mode) {
	for _, kind := range []string{"ATTRIBUTE", "EVENT", "LINK"} {
		t.Setenv("OTEL_SPAN_"+kind+"_COUNT_LIMIT", "10")
	}
	w := newWorld(t, m, processor.Config{})
	for _, flush := range []bool{false, true} {
		_, s := w.tracer().Start(t.Context(), "x")
		for n := range 50 {
			s.SetAttributes(attribute.Int(fmt.Sprint("k", n), n))
			s.AddEvent(fmt.Sprint("e", n))
			s.AddLink(trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{byte(n + 1)}})})
			if flush {
				w.p.Flush()
			}
		}
		// The last ones too, though they come together with the end.
		s.SetAttributes(state(activity.Cancelled), attribute.String(activity.KeyFinal, "not wanted"))
		s.End()
		a := w.get(s)
		if a.State != activity.Cancelled || a.Final != "not wanted" {
			t.Errorf("flush %v: %v, %q: lost by the SDK's limit", flush, a.State, a.Final)
		}
		if len(a.Links) != 50 || a.Dropped[0] == 0 || a.Dropped[1] != 40 || a.Dropped[2] != 40 {
			t.Errorf("flush %v: %d links, dropped %v", flush, len(a.Links), a.Dropped)
		}
		for n := range 50 {
			if a.Attr(fmt.Sprint("k", n)).Int() != int64(n) {
				t.Fatalf("flush %v: attribute %d is lost", flush, n)
			}
			if n >= len(a.SpanEvents) || a.SpanEvents[n].Name != fmt.Sprint("e", n) {
				t.Fatalf("flush %v: span event %d of %d is lost", flush, n, len(a.SpanEvents))
			}
		}
	}
	// Of one kind alone.
	for n, add := range []func(s trace.Span, n int){
		func(s trace.Span, n int) { s.SetAttributes(attribute.Int(fmt.Sprint("k", n), n)) },
		func(s trace.Span, n int) { s.AddEvent(fmt.Sprint("e", n)) },
		func(s trace.Span, _ int) { s.AddLink(trace.Link{SpanContext: s.SpanContext()}) },
	} {
		_, s := w.tracer().Start(t.Context(), "x")
		for k := range 11 {
			add(s, k)
		}
		s.End()
		want := [3]uint32{}
		want[n] = 1
		if got := w.get(s).Dropped; got != want {
			t.Errorf("of kind %d: dropped %v, want %v", n, got, want)
		}
	}
}

// Values of every kind come as they are.
func TestAttributeKinds(t *testing.T) { inModes(t, testAttributeKinds) }

func testAttributeKinds(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{})
	kvs := []attribute.KeyValue{
		attribute.Bool("bool", true), attribute.Int64("int", -7), attribute.Float64("float", 1.5), attribute.String("string", "x"),
		attribute.BoolSlice("bools", []bool{true, false}), attribute.Int64Slice("ints", []int64{1, 2}),
		attribute.Float64Slice("floats", []float64{0.5}), attribute.StringSlice("strings", []string{"a", "b"}),
	}
	want := map[string]string{
		"bool": "true", "int": "-7", "float": "1.5", "string": "x", "bools": "[true,false]", "ints": "[1,2]", "floats": "[0.5]", "strings": `["a","b"]`,
	}
	_, atStart := w.tracer().Start(t.Context(), "x", trace.WithAttributes(kvs...))
	_, set := w.tracer().Start(t.Context(), "x")
	set.SetAttributes(append(kvs, attribute.KeyValue{})...)
	for _, s := range []trace.Span{atStart, set} {
		s.End()
		a := w.get(s)
		got := map[string]string{}
		for _, attr := range a.Attributes {
			got[attr.Key] = attr.Value.Text()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if events := w.of(s); len(events[len(events)-1].Attrs) != 0 {
			t.Errorf("the end tells %v again", events[len(events)-1].Attrs)
		}
	}
}

// The caller may use its slice again.
func TestAttributesAreCopied(t *testing.T) { inModes(t, testAttributesAreCopied) }

func testAttributesAreCopied(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{Latency: time.Hour})
	kvs := []attribute.KeyValue{attribute.String("k", "start")}
	_, s := w.tracer().Start(t.Context(), "x", trace.WithAttributes(kvs...))
	kvs[0] = attribute.String("k", "set")
	s.SetAttributes(kvs...)
	kvs[0] = attribute.String("k", "wrong")
	w.p.Flush()
	events := w.of(s)
	if events[0].Attrs[0].Value.Str() != "start" || events[1].Attrs[0].Value.Str() != "set" {
		t.Errorf("told %v, %v", events[0].Attrs, events[1].Attrs)
	}
	s.End()
}

// Trap 1: a deferred End of the live span itself recovers, records and goes on.
func TestPanicIsRecorded(t *testing.T) { inModes(t, testPanicIsRecorded) }

func testPanicIsRecorded(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{})
	_, s := w.tracer().Start(t.Context(), "x")
	var thrown any
	func() {
		defer func() { thrown = recover() }()
		defer s.End(trace.WithStackTrace(true))
		panic("boom")
	}()
	if thrown != "boom" {
		t.Fatalf("thrown on: %v", thrown)
	}
	a := w.get(s)
	if len(a.SpanEvents) != 1 || a.SpanEvents[0].Name != "exception" {
		t.Fatalf("span events %v, want the panic", a.SpanEvents)
	}
	got := map[string]string{}
	for _, attr := range a.SpanEvents[0].Attrs {
		got[attr.Key] = attr.Value.Text()
	}
	if got["exception.message"] != "boom" || !strings.Contains(got["exception.stacktrace"], "testPanicIsRecorded") {
		t.Errorf("exception %v", got)
	}
}

// Trap 2: the SDK counts the children of live spans.
func TestChildSpanCount(t *testing.T) { inModes(t, testChildSpanCount) }

func testChildSpanCount(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{})
	ctx, parent := w.tracer().Start(t.Context(), "parent")
	for range 3 {
		_, child := w.tracer().Start(ctx, "child")
		child.End()
	}
	parent.End()
	if n := parent.(sdktrace.ReadOnlySpan).ChildSpanCount(); n != 3 {
		t.Errorf("%d children counted", n)
	}
}

func TestParents(t *testing.T) { inModes(t, testParents) }

func testParents(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{})
	live, raw := w.tracer(), w.raw()
	ctx, root := live.Start(t.Context(), "root")
	rawCtx, below := raw.Start(ctx, "raw below live")
	_, again := live.Start(rawCtx, "live below raw")
	_, newRoot := live.Start(ctx, "new root", trace.WithNewRoot(), trace.WithAttributes(attribute.String("a", "1")))
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{9}, SpanID: trace.SpanID{8}, TraceFlags: trace.FlagsSampled, Remote: true})
	_, fromAfar := live.Start(trace.ContextWithRemoteSpanContext(t.Context(), remote), "remote parent")
	//nolint:staticcheck // a nil context is what some callers pass
	_, noContext := live.Start(nil, "no context")
	for _, tt := range []struct {
		name string
		s    trace.Span
		want activity.ID
	}{
		{"root", root, activity.ID{}},
		{"raw below live", below, idOf(root)},
		{"live below raw", again, idOf(below)},
		{"new root", newRoot, activity.ID{}},
		{"remote parent", fromAfar, activity.ID{Trace: activity.TraceID{9}, Span: activity.SpanID{8}}},
		{"no context", noContext, activity.ID{}},
	} {
		tt.s.SetAttributes(attribute.String("more", "x"))
		a := w.get(tt.s)
		if a.Parent != tt.want || a.Name != tt.name {
			t.Errorf("%s: parent %v, want %v; name %q", tt.name, a.Parent, tt.want, a.Name)
		}
		tt.s.End()
	}
	if w.get(newRoot).ID.Trace == w.get(root).ID.Trace || w.get(newRoot).Attr("a").Str() != "1" {
		t.Error("a new root is in its parent's trace, or without its attributes")
	}
	if trace.SpanFromContext(ctx) != root || root.TracerProvider() != trace.TracerProvider(w.live) {
		t.Error("the context does not hold the live span, or that not its provider")
	}
}

// Unsampled spans are seen, and are not exported.
func TestSampler(t *testing.T) { inModes(t, testSampler) }

func testSampler(t *testing.T, m mode) {
	exported := tracetest.NewInMemoryExporter()
	w := newWorld(t, m, processor.Config{Next: []sdktrace.SpanProcessor{sdktrace.NewSimpleSpanProcessor(exported)}},
		sdktrace.WithSampler(processor.Sampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0)))))
	ctx, s := w.tracer().Start(t.Context(), "x", trace.WithAttributes(attribute.String("a", "1")))
	_, child := w.tracer().Start(ctx, "child")
	child.End()
	s.End()
	for _, s := range []trace.Span{s, child} {
		if a := w.get(s); a.Sampling != activity.Unsampled || a.State != activity.Completed {
			t.Errorf("%s", a.AppendJSON(nil))
		}
	}
	if w.get(s).Attr("a").Str() != "1" || len(exported.GetSpans()) != 0 {
		t.Errorf("%d spans exported", len(exported.GetSpans()))
	}
	if d := processor.Sampler(sdktrace.AlwaysSample()).Description(); !strings.Contains(d, "AlwaysOnSampler") {
		t.Errorf("description %q", d)
	}
}

// attributing is a sampler that adds attributes of its own.
type attributing struct{ sdktrace.Sampler }

func (s attributing) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	r := s.Sampler.ShouldSample(p)
	r.Attributes = []attribute.KeyValue{attribute.String("sampled.by", "me")}
	return r
}

func TestSamplerWithAttributes(t *testing.T) { inModes(t, testSamplerWithAttributes) }

func testSamplerWithAttributes(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{}, sdktrace.WithSampler(processor.Sampler(attributing{sdktrace.AlwaysSample()})))
	_, s := w.tracer().Start(t.Context(), "x", trace.WithAttributes(attribute.String("a", "1")))
	if a := w.get(s); a.Attr("sampled.by").Str() != "me" || a.Attr("a").Str() != "1" {
		t.Errorf("%s", a.AppendJSON(nil))
	}
	s.End()
}

func TestNotRecording(t *testing.T) { inModes(t, testNotRecording) }

func testNotRecording(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{}, sdktrace.WithSampler(sdktrace.NeverSample()))
	ctx, s := w.tracer().Start(t.Context(), "x")
	s.SetAttributes(attribute.String("a", "1"))
	s.AddEvent("e")
	s.End()
	if s.IsRecording() || !trace.SpanContextFromContext(ctx).Equal(s.SpanContext()) {
		t.Error("it records, or its context does not hold it")
	}
	if stats, err := w.Stats(t.Context()); err != nil || stats.Total != 0 {
		t.Errorf("%d activities, %v", stats.Total, err)
	}
}

func TestLogicalThread(t *testing.T) { inModes(t, testLogicalThread) }

func testLogicalThread(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{})
	ctx := activity.ContextWithThread(t.Context(), activity.LogicalThread{ID: "worker-3", Name: "Worker"})
	ctx, s := w.tracer().Start(ctx, "live", trace.WithAttributes(attribute.String("a", "1")))
	_, raw := w.raw().Start(ctx, "raw")
	_, own := w.tracer().Start(ctx, "own", trace.WithAttributes(attribute.String(activity.KeyThreadID, "mine")))
	for want, s := range map[string]trace.Span{"worker-3": s, "mine": own} {
		if a := w.get(s); a.ThreadID != want {
			t.Errorf("%s is of thread %q, want %q", a.Name, a.ThreadID, want)
		}
		s.End()
		if events := w.of(s); len(events[len(events)-1].Attrs) != 0 {
			t.Errorf("the end tells %v again", events[len(events)-1].Attrs)
		}
	}
	if a := w.get(raw); a.ThreadID != "worker-3" || a.ThreadName != "Worker" {
		t.Errorf("raw: thread %q, %q", a.ThreadID, a.ThreadName)
	}
	raw.End()
}

// The context of a live span is the caller's: values, deadline and cancellation
// pass, and no goroutine watches for that.
func TestContext(t *testing.T) { inModes(t, testContext) }

func testContext(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{})
	type key struct{}
	parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
	ctx, s := w.tracer().Start(parent, "x")
	defer s.End()
	if ctx.Value(key{}) != "value" || ctx.Value("other") != nil {
		t.Error("values do not pass")
	}
	before := runtime.NumGoroutine()
	var below []context.Context
	for range 100 {
		child, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		_, deadline := child.Deadline()
		if !deadline {
			t.Fatal("no deadline")
		}
		child, s := w.tracer().Start(child, "child")
		defer s.End()
		child, cancel = context.WithCancel(child)
		defer cancel()
		below = append(below, child)
	}
	if n := runtime.NumGoroutine(); n > before+5 {
		t.Errorf("%d goroutines watch 100 contexts", n-before)
	}
	cause := errors.New("enough")
	cancel(cause)
	for _, ctx := range append(below, ctx) {
		if <-ctx.Done(); !errors.Is(context.Cause(ctx), cause) || !errors.Is(ctx.Err(), context.Canceled) {
			t.Fatalf("cancelled by %v", context.Cause(ctx))
		}
	}
}

func TestOpenSpan(t *testing.T) { inModes(t, testOpenSpan) }

func testOpenSpan(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{Latency: time.Hour})
	_, s := w.tracer().Start(t.Context(), "x")
	_, raw := w.raw().Start(t.Context(), "raw")
	for _, s := range []trace.Span{s, raw} {
		found, ok := w.live.OpenSpan(s.SpanContext().TraceID(), s.SpanContext().SpanID())
		if !ok || !found.SpanContext().Equal(s.SpanContext()) || found.TracerProvider() != trace.TracerProvider(w.live) {
			t.Fatalf("found %v, %v", found, ok)
		}
		found.SetAttributes(attribute.String(activity.KeyCurrent, "by id"))
		if a := w.get(s); a.Current != "by id" {
			t.Errorf("%s", a.AppendJSON(nil))
		}
		_, child := w.tracer().Start(trace.ContextWithSpan(t.Context(), found), "child")
		if a := w.get(child); a.Parent != idOf(s) {
			t.Errorf("child of a found span: parent %v", a.Parent)
		}
		child.End()
		found.End()
		if a := w.get(s); a.State != activity.Completed {
			t.Errorf("ended by id: %v", a.State)
		}
		if _, ok := w.live.OpenSpan(s.SpanContext().TraceID(), s.SpanContext().SpanID()); ok {
			t.Error("found what has ended")
		}
	}
	if _, ok := w.live.OpenSpan(trace.TraceID{1}, trace.SpanID{2}); ok {
		t.Error("found what never was")
	}
}

// With runtime/trace on, the SDK's task is in the context, and all else as ever.
func TestRuntimeTrace(t *testing.T) { inModes(t, testRuntimeTrace) }

func testRuntimeTrace(t *testing.T, m mode) {
	var out bytes.Buffer
	if err := rtrace.Start(&out); err != nil {
		t.Fatal(err)
	}
	defer rtrace.Stop()
	w := newWorld(t, m, processor.Config{})
	type key struct{}
	ctx, s := w.tracer().Start(context.WithValue(t.Context(), key{}, "value"), "x", trace.WithAttributes(attribute.String("a", "1")))
	if trace.SpanFromContext(ctx) != s || ctx.Value(key{}) != "value" {
		t.Error("the context lost the span or its values")
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			tracer := w.tracer()
			if n%2 == 0 {
				tracer = w.raw()
			}
			for k := range 50 {
				_, child := tracer.Start(ctx, "child", trace.WithAttributes(attribute.Int("k", k)))
				child.End()
				if a := w.get(child); a.Parent != idOf(s) || a.Attr("k").Int() != int64(k) {
					t.Errorf("child %s", a.AppendJSON(nil))
				}
			}
		})
	}
	wg.Wait()
	s.End()
	if a := w.get(s); a.State != activity.Completed || a.Attr("a").Str() != "1" {
		t.Errorf("%s", a.AppendJSON(nil))
	}
}

// Span events that are added at once, through several live spans of one
// activity, are told once each.
func TestAddEventConcurrentSafe(t *testing.T) { inModes(t, testAddEventConcurrentSafe) }

func testAddEventConcurrentSafe(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{Capacity: 16})
	_, s := w.tracer().Start(t.Context(), "x")
	const goroutines, each = 8, 12 // within the SDK's limit
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			s := s
			if g%2 == 0 {
				found, ok := w.live.OpenSpan(s.SpanContext().TraceID(), s.SpanContext().SpanID())
				if !ok {
					t.Error("not found")
					return
				}
				s = found
			}
			for n := range each {
				s.AddEvent(fmt.Sprint(g, " ", n))
				s.SetAttributes(attribute.Int(fmt.Sprint("g", g), n))
			}
		})
	}
	wg.Wait()
	names := map[string]int{}
	for _, e := range w.of(s) {
		for _, se := range e.SpanEvents {
			names[se.Name]++
		}
	}
	for g := range goroutines {
		for n := range each {
			if got := names[fmt.Sprint(g, " ", n)]; got != 1 {
				t.Errorf("event %d of %d is told %d times before the end", n, g, got)
			}
		}
	}
	s.End()
	if a := w.get(s); len(a.SpanEvents) != goroutines*each {
		t.Errorf("%d span events", len(a.SpanEvents))
	}
}

// observability is the SDK's own: its spans hold the context of their start.
func TestLeakWithObservability(t *testing.T) {
	t.Setenv("OTEL_GO_X_OBSERVABILITY", "true")
	inModes(t, testLeak)
}

// A panic that passes a span which has ended is left alone, as by the SDK: the
// program's crash says nothing of a recovery.
func TestPanicPastAnEndedSpan(t *testing.T) { inModes(t, testPanicPastAnEndedSpan) }

func testPanicPastAnEndedSpan(t *testing.T, m mode) {
	w := newWorld(t, m, processor.Config{})
	for _, tt := range []struct {
		ended  bool
		panics int
		events int
	}{{false, 2, 1}, {true, 1, 0}} {
		_, s := w.tracer().Start(t.Context(), "x")
		var stack string
		func() {
			defer func() {
				stack = string(debug.Stack())
				if p := recover(); p != "boom" {
					t.Errorf("recovered %v", p)
				}
			}()
			defer s.End()
			if tt.ended {
				s.End()
			}
			panic("boom")
		}()
		if got := strings.Count(stack, "\npanic("); got != tt.panics {
			t.Errorf("ended %v: %d panics, want %d:\n%s", tt.ended, got, tt.panics, stack)
		}
		if a := w.get(s); len(a.SpanEvents) != tt.events || a.State != activity.Completed {
			t.Errorf("ended %v: %v with span events %v", tt.ended, a.State, a.SpanEvents)
		}
	}
}
