package tracing_test

import (
	"context"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

func TestStartSaysEverythingAtTheStart(t *testing.T) {
	ctx, rec := recorder(t)
	ctx = activity.ContextWithThread(ctx, activity.LogicalThread{ID: "worker-3", Name: "Worker"})
	_, a := tracing.Start(ctx, activity.Decision, "Select", "Weigh the strategies")
	started := rec.Started()[0]
	wantAttrs(t, started, map[attribute.Key]any{
		"activity.type": "decision", "activity.state": "IN_PROGRESS",
		"activity.description.planned": "Weigh the strategies",
		"activity.thread.id":           "worker-3", "thread.name": "Worker",
	})
	if got := a.ID(); got != idOf(started.SpanContext()) {
		t.Errorf("ID = %v, want the span's", got)
	}
	a.Say("Weighing")
	a.Sayf("Weighing %d of %d", 1, 2)
	a.Progress(0.5)
	a.Set(attribute.Int("n", 2))
	a.Complete("Weighed", map[string]int{"canary": 1})
	span := ended(t, rec)
	wantAttrs(t, span, map[attribute.Key]any{
		"activity.type": "decision", "activity.state": "COMPLETED",
		"activity.description.planned": "Weigh the strategies",
		"activity.description.current": "Weighing 1 of 2",
		"activity.description.final":   "Weighed",
		"activity.result":              `{"canary":1}`,
		"activity.progress":            0.5, "n": int64(2),
		"activity.thread.id": "worker-3", "thread.name": "Worker",
	})
	if got := span.Status(); got.Code != codes.Unset {
		t.Errorf("status = %v, want unset", got)
	}
}

func TestSamplerSeesTheActivity(t *testing.T) {
	var seen []attribute.KeyValue
	ctx, _ := recorder(t, sdktrace.WithSampler(samplerFunc(func(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
		seen = p.Attributes
		return sdktrace.SamplingResult{Decision: sdktrace.Drop}
	})))
	before := tracing.Ignored()
	_, a := tracing.Plan(ctx, activity.WorkItem, "Item", "Will", tracing.LongRunning(), tracing.WithAttributes(attribute.Bool("mine", true)))
	var keys []string
	for _, kv := range seen {
		keys = append(keys, string(kv.Key))
	}
	want := "activity.type activity.state activity.description.planned activity.planned_at activity.long_running_expected mine"
	if got := strings.Join(keys, " "); got != want {
		t.Errorf("sampler saw %s, want %s", got, want)
	}
	// Nobody records it: all of this does nothing.
	a.Start()
	a.Say("x")
	a.Complete("x")
	a.Complete("x")
	if n := tracing.Ignored() - before; n != 0 {
		t.Errorf("%d calls on an unsampled span were counted as ignored", n)
	}
}

type samplerFunc func(sdktrace.SamplingParameters) sdktrace.SamplingResult

func (f samplerFunc) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult { return f(p) }
func (samplerFunc) Description() string                                                  { return "test" }

func TestPlannedWaitsAndWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, rec := recorder(t)
		planned := time.Now()
		_, a := tracing.Plan(ctx, activity.WorkItem, "Build", "Build the thing")
		wantAttrs(t, rec.Started()[0], map[attribute.Key]any{
			"activity.type": "work_item", "activity.state": "PLANNED",
			"activity.description.planned": "Build the thing",
			"activity.planned_at":          planned.UnixNano(),
		})
		time.Sleep(3 * time.Second) // the bubble's clock
		started := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			a.Start()
		}()
		<-done
		time.Sleep(time.Second)
		a.Complete("Built")
		span := ended(t, rec)
		wantAttrs(t, span, map[attribute.Key]any{
			"activity.type": "work_item", "activity.state": "COMPLETED",
			"activity.description.planned": "Build the thing",
			"activity.description.final":   "Built",
			"activity.planned_at":          planned.UnixNano(),
			"activity.started_at":          started.UnixNano(),
		})
		if got := span.EndTime().Sub(span.StartTime()); got != 4*time.Second {
			t.Errorf("the span took %v, want 4s", got)
		}
	})
}

func TestPlannedThatIsNeverStarted(t *testing.T) {
	for _, tt := range []struct {
		name    string
		end     func(*tracing.Activity)
		state   string
		started bool
	}{
		{"cancelled", func(a *tracing.Activity) { a.Cancel("not wanted") }, "CANCELLED", false},
		{"failed", func(a *tracing.Activity) { a.Fail(errTest) }, "FAILED", false},
		{"completed", func(a *tracing.Activity) { a.Complete("") }, "COMPLETED", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, rec := recorder(t)
			_, a := tracing.Plan(ctx, activity.WorkItem, "Build", "")
			tt.end(a)
			got := attrs(ended(t, rec))
			if got["activity.state"] != tt.state {
				t.Errorf("state = %v, want %v", got["activity.state"], tt.state)
			}
			if _, ok := got["activity.started_at"]; ok != tt.started {
				t.Errorf("started_at set: %v, want %v", ok, tt.started)
			}
		})
	}
}

func TestSecondStartIsIgnored(t *testing.T) {
	ctx, rec := recorder(t)
	ctx, a := tracing.Plan(ctx, activity.WorkItem, "Build", "")
	other := tracing.FromContext(ctx)
	before := tracing.Ignored()
	other.Start()
	first := attrs(rec.Started()[0])["activity.started_at"]
	a.Start()
	other.Start()
	if got := attrs(rec.Started()[0])["activity.started_at"]; got != first {
		t.Errorf("started_at went from %v to %v", first, got)
	}
	if n := tracing.Ignored() - before; n != 2 {
		t.Errorf("%d starts ignored, want 2", n)
	}
	a.Complete("")
}

func TestParents(t *testing.T) {
	ctx, rec := recorder(t)
	inCtx, outer := tracing.Start(ctx, activity.AgentAction, "outer", "", tracing.WithThread("t1", "Thread"))
	_, other := tracing.Start(ctx, activity.AgentAction, "other", "")
	remote := activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{2}}
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		opts   []tracing.Option
		parent activity.ID
		thread any
	}{
		{name: "context", ctx: inCtx, parent: outer.ID(), thread: "t1"},
		{name: "handle", ctx: ctx, opts: []tracing.Option{tracing.WithParent(outer)}, parent: outer.ID(), thread: "t1"},
		{name: "handle over context", ctx: inCtx, opts: []tracing.Option{tracing.WithParent(other)}, parent: other.ID(), thread: "t1"},
		{name: "found handle", ctx: ctx, opts: []tracing.Option{tracing.WithParent(tracing.FromContext(inCtx))}, parent: outer.ID(), thread: "t1"},
		{name: "id", ctx: inCtx, opts: []tracing.Option{tracing.WithParentID(remote)}, parent: remote, thread: "t1"},
		{name: "no id", ctx: inCtx, opts: []tracing.Option{tracing.WithParentID(activity.ID{})}, parent: activity.ID{}, thread: "t1"},
		{name: "method", ctx: outer.Context(ctx), parent: outer.ID(), thread: "t1"},
		{name: "method, elsewhere", ctx: outer.Context(context.Background()), parent: outer.ID(), thread: "t1"},
		{name: "handle, elsewhere", ctx: context.Background(), opts: []tracing.Option{tracing.WithParent(outer)}, parent: outer.ID(), thread: "t1"},
		{name: "none", ctx: ctx, parent: activity.ID{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, child := tracing.Start(tt.ctx, activity.WorkItem, tt.name, "", tt.opts...)
			child.Complete("")
			span := rec.Ended()[len(rec.Ended())-1]
			if got := idOf(span.Parent()); got != tt.parent {
				t.Errorf("parent = %v, want %v", got, tt.parent)
			}
			if !tt.parent.IsZero() && span.SpanContext().TraceID() != trace.TraceID(tt.parent.Trace) {
				t.Error("the child is in another trace")
			}
			if got := attrs(span)["activity.thread.id"]; got != tt.thread {
				t.Errorf("thread = %v, want %v", got, tt.thread)
			}
		})
	}
	outer.Complete("")
	other.Complete("")
}

func TestOptions(t *testing.T) {
	ctx, rec := recorder(t)
	at := time.Unix(1000, 5)
	cause := activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{2}}
	later := activity.ID{Trace: activity.TraceID{3}, Span: activity.SpanID{4}}
	_, a := tracing.Start(ctx, activity.APICall, "call", "", tracing.WithSpanKind(trace.SpanKindClient),
		tracing.WithTimestamp(at), tracing.WithLinks(cause, activity.ID{}), tracing.LongRunning(), tracing.WithThread("t1", ""))
	a.Link(later)
	a.Link(activity.ID{})
	a.Complete("")
	span := ended(t, rec)
	if !span.StartTime().Equal(at) || span.SpanKind() != trace.SpanKindClient {
		t.Errorf("start %v, kind %v", span.StartTime(), span.SpanKind())
	}
	links := span.Links()
	if len(links) != 2 || idOf(links[0].SpanContext) != cause || idOf(links[1].SpanContext) != later {
		t.Errorf("links = %v", links)
	}
	wantAttrs(t, span, map[attribute.Key]any{
		"activity.type": "api_call", "activity.state": "COMPLETED",
		"activity.long_running_expected": true, "activity.thread.id": "t1", "thread.name": "t1",
	})
}

func TestDecide(t *testing.T) {
	ctx, rec := recorder(t)
	_, a := tracing.Start(ctx, activity.Decision, "Select", "")
	a.Decide(tracing.Decision{Reasoning: "The budget allows it", Alternatives: []string{"canary", "blue-green"}})
	a.Decide(tracing.Decision{Choice: "canary", Confidence: new(0.0)})
	a.Decide(tracing.Decision{Outcome: "rolled out", Confidence: new(math.NaN())})
	a.Decide(tracing.Decision{})
	a.Complete("")
	wantAttrs(t, ended(t, rec), map[attribute.Key]any{
		"activity.type": "decision", "activity.state": "COMPLETED",
		"activity.reasoning": "The budget allows it", "activity.choice": "canary",
		"activity.alternatives": []string{"canary", "blue-green"},
		"activity.outcome":      "rolled out", "activity.confidence": 0.0,
	})
}

func TestProgressIsBounded(t *testing.T) {
	ctx, rec := recorder(t)
	_, a := tracing.Start(ctx, activity.WorkItem, "x", "")
	for _, tt := range []struct{ in, want float64 }{{-1, 0}, {0.25, 0.25}, {math.NaN(), 0.25}, {7, 1}, {math.Inf(-1), 0}} {
		a.Progress(tt.in)
		if got := attrs(rec.Started()[0])["activity.progress"]; got != tt.want {
			t.Errorf("Progress(%v) is kept as %v, want %v", tt.in, got, tt.want)
		}
	}
	a.Complete("")
}

func TestWithoutAProvider(t *testing.T) {
	for _, ctx := range []context.Context{
		context.Background(),
		tracing.ContextWithProvider(context.Background(), noop.NewTracerProvider()),
	} {
		ctx, a := tracing.Start(ctx, activity.WorkItem, "x", "")
		if got := tracing.FromContext(ctx).ID(); got != a.ID() || !got.IsZero() {
			t.Errorf("ids %v and %v, want none", a.ID(), got)
		}
		a.Say("x")
		a.Complete("x")
		a.Complete("x")
		var none *tracing.Activity
		none.Start()
		none.Say("x")
		none.Sayf("%d", 1)
		none.Progress(1)
		none.Set(attribute.Int("x", 1))
		none.Decide(tracing.Decision{Choice: "x"})
		none.Link(a.ID())
		none.Complete("x")
		none.Fail(errTest)
		none.Cancel("x")
		none.End(nil)
		if none.Span().IsRecording() || !none.ID().IsZero() || trace.SpanFromContext(none.Context(ctx)).IsRecording() {
			t.Error("a nil handle has a span")
		}
		if _, ok := tracing.Find(a.ID()); ok {
			t.Error("found without a provider")
		}
	}
	//nolint:staticcheck // A nil context is a mistake that must not crash the program.
	_, a := tracing.Start(nil, activity.WorkItem, "x", "")
	a.Complete("")
}

func TestGlobalProvider(t *testing.T) {
	// Not what was there before: OpenTelemetry's own default hands on to the
	// first provider for ever.
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	for range 2 { // the second replaces the cached first
		tp := sdktrace.NewTracerProvider()
		otel.SetTracerProvider(tp)
		_, a := tracing.Start(context.Background(), activity.WorkItem, "x", "")
		if !a.Span().IsRecording() || a.Span().TracerProvider() != tp {
			t.Error("the activity is not the global provider's")
		}
		a.Complete("")
	}
}

// live is a provider as Midspan's processor offers one: it finds open spans and
// is told where one was started.
type live struct {
	trace.TracerProvider
	mu   sync.Mutex
	open map[trace.SpanID]*liveSpan
}

type liveTracer struct {
	trace.Tracer
	p *live
}

type liveSpan struct {
	sdktrace.ReadWriteSpan
	pc uintptr
}

func (s *liveSpan) DetectLeak(pc uintptr) { s.pc = pc }

func (p *live) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	return liveTracer{p.TracerProvider.Tracer(name, opts...), p}
}

func (p *live) OpenSpan(_ trace.TraceID, id trace.SpanID) (trace.Span, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.open[id]
	if !ok || !s.IsRecording() {
		return nil, false
	}
	return s, true
}

func (t liveTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	ctx, span := t.Tracer.Start(ctx, name, opts...)
	s := &liveSpan{ReadWriteSpan: span.(sdktrace.ReadWriteSpan)}
	t.p.mu.Lock()
	defer t.p.mu.Unlock()
	t.p.open[s.SpanContext().SpanID()] = s
	return trace.ContextWithSpan(ctx, s), s
}

func newLive(t *testing.T) (context.Context, *live) {
	tp := sdktrace.NewTracerProvider()
	t.Cleanup(func() { _ = tp.Shutdown(context.Background()) })
	p := &live{TracerProvider: tp, open: map[trace.SpanID]*liveSpan{}}
	return tracing.ContextWithProvider(context.Background(), p), p
}

func TestFind(t *testing.T) {
	ctx, p := newLive(t)
	_, a := tracing.Plan(ctx, activity.WorkItem, "x", "", tracing.WithThread("t1", ""))
	found, ok := tracing.FindContext(ctx, a.ID())
	if !ok || found.ID() != a.ID() {
		t.Fatal("an open activity is not found")
	}
	found.Start()
	before := tracing.Ignored()
	a.Start()
	_, child := tracing.Start(ctx, activity.WorkItem, "child", "", tracing.WithParentID(a.ID()))
	span := child.Span().(sdktrace.ReadWriteSpan)
	if idOf(span.Parent()) != a.ID() || span.Parent().IsRemote() {
		t.Errorf("parent = %v, want the open span itself", span.Parent())
	}
	if got := attrs(span)["activity.thread.id"]; got != "t1" {
		t.Errorf("thread = %v, want the parent's", got)
	}
	child.Complete("")
	found.Complete("by id")
	a.Fail(errTest)
	if n := tracing.Ignored() - before; n != 2 {
		t.Errorf("%d calls ignored, want 2", n)
	}
	if got := attrs(a.Span().(sdktrace.ReadOnlySpan))["activity.state"]; got != "COMPLETED" {
		t.Errorf("state = %v, want that of the first end", got)
	}
	if _, ok := tracing.FindContext(ctx, a.ID()); ok {
		t.Error("an ended activity is found")
	}
	_, plain := p.Tracer("plain").Start(ctx, "plain")
	if found, ok := tracing.FindContext(ctx, idOf(plain.SpanContext())); !ok {
		t.Error("a plain span is not found")
	} else {
		found.Cancel("no longer wanted")
	}
	if plain.IsRecording() {
		t.Error("the plain span goes on")
	}
}

func TestLeakDetectionIsToldTheCaller(t *testing.T) {
	ctx, _ := newLive(t)
	_, here, want, _ := runtime.Caller(0)
	_, started := tracing.Start(ctx, activity.WorkItem, "x", "")                       // want+1
	_, planned := tracing.Plan(ctx, activity.WorkItem, "x", "", tracing.LongRunning()) // want+2
	for i, a := range []*tracing.Activity{started, planned} {
		pc := a.Span().(*liveSpan).pc
		frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
		if frame.File != here || frame.Line != want+1+i {
			t.Errorf("told %s:%d, want %s:%d", frame.File, frame.Line, here, want+1+i)
		}
		a.Complete("")
	}
	// What always ends needs no detection.
	_, _ = tracing.Track(activity.WorkItem, "x", "", func(ctx context.Context, _ int) (int, error) {
		if pc := trace.SpanFromContext(ctx).(*liveSpan).pc; pc != 0 {
			t.Error("a tracked call is watched")
		}
		return 0, nil
	})(ctx, 0)
}
