package tracing

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
)

// background is the context of what is asked without one.
var background = context.Background()

// Activity is a handle of an activity: a span with a type, three descriptions
// and a state. Several handles may stand for one activity; they agree, since
// what they know is the span's. It is safe for concurrent use, and every method
// of a nil handle does nothing.
//
// An activity that nothing holds any more and that never ended is failed as
// leaked, with the file and line that started it, when Midspan's live provider
// made its span.
type Activity struct {
	span   trace.Span
	thread *activity.LogicalThread
	phase  atomic.Uint32 // what this handle knows for certain
}

// The phases. Another handle may have started what this one planned.
const (
	phaseUnknown uint32 = iota // found, not made
	phasePlanned
	phaseStarted
)

// Start begins an activity that works at once. name is what a list shows and
// should be the same for all of its kind; will says what this one will do, and
// may be empty. It returns the context for the work inside.
func Start(ctx context.Context, t activity.Type, name, will string, opts ...Option) (context.Context, *Activity) {
	ctx, a := begin(ctx, t, activity.InProgress, name, will, opts)
	watch(a.span, 3)
	return ctx, a
}

// Plan begins an activity that waits. It is seen as PLANNED from now on;
// [Activity.Start] begins its work later, in any goroutine, and
// [Activity.Cancel] or [Activity.Fail] ends it without.
func Plan(ctx context.Context, t activity.Type, name, will string, opts ...Option) (context.Context, *Activity) {
	ctx, a := begin(ctx, t, activity.Planned, name, will, opts)
	watch(a.span, 3)
	return ctx, a
}

func begin(ctx context.Context, t activity.Type, s activity.State, name, will string, opts []Option) (context.Context, *Activity) {
	if ctx == nil {
		ctx = background
	}
	if len(opts) > 0 || s == activity.Planned {
		return beginWith(ctx, t, s, name, will, opts)
	}
	// One allocation for all that the span's start takes.
	var start struct {
		attrs [5]attribute.KeyValue
		opts  [1]trace.SpanStartOption
	}
	thread := activity.ThreadFromContext(ctx)
	attrs := appendThread(appendStart(start.attrs[:0], t, s, will), thread)
	start.opts[0] = trace.WithAttributes(attrs...)
	ctx, span := sourceFor(ctx).tracer.Start(ctx, name, start.opts[:]...)
	return ctx, newActivity(span, thread, phaseStarted)
}

func beginWith(ctx context.Context, t activity.Type, s activity.State, name, will string, opts []Option) (context.Context, *Activity) {
	var c config
	c.read(opts)
	ctx = c.place(ctx)
	thread := activity.ThreadFromContext(ctx)
	attrs := make([]attribute.KeyValue, 0, 8+len(c.attrs))
	attrs = appendThread(appendStart(attrs, t, s, will), thread)
	phase := phaseStarted
	if s == activity.Planned {
		phase = phasePlanned
		if c.timestamp.IsZero() {
			c.timestamp = time.Now()
		}
		attrs = append(attrs, attribute.Int64(activity.KeyPlannedAt, c.timestamp.UnixNano()))
	}
	if c.longRunning {
		attrs = append(attrs, attribute.Bool(activity.KeyLongRunning, true))
	}
	attrs = append(attrs, c.attrs...)
	start := append(make([]trace.SpanStartOption, 0, 4), trace.WithAttributes(attrs...))
	if c.kind != trace.SpanKindUnspecified {
		start = append(start, trace.WithSpanKind(c.kind))
	}
	if !c.timestamp.IsZero() {
		start = append(start, trace.WithTimestamp(c.timestamp))
	}
	if len(c.links) > 0 {
		start = append(start, trace.WithLinks(c.links...))
	}
	ctx, span := sourceFor(ctx).tracer.Start(ctx, name, start...)
	return ctx, newActivity(span, thread, phase)
}

// place puts the context into the parent and the thread that the options name.
func (c *config) place(ctx context.Context) context.Context {
	if c.named {
		if c.parent == nil && !c.parentID.IsZero() {
			c.parent, _ = FindContext(ctx, c.parentID)
		}
		if c.parent != nil {
			ctx = c.parent.Context(ctx)
		} else {
			ctx = trace.ContextWithRemoteSpanContext(ctx, spanContextOf(c.parentID))
		}
	}
	if c.thread != nil {
		ctx = activity.ContextWithThread(ctx, *c.thread)
	}
	return ctx
}

func newActivity(span trace.Span, thread *activity.LogicalThread, phase uint32) *Activity {
	a := &Activity{span: span, thread: thread}
	a.phase.Store(phase)
	return a
}

func appendStart(attrs []attribute.KeyValue, t activity.Type, s activity.State, will string) []attribute.KeyValue {
	attrs = append(attrs, attribute.String(activity.KeyType, t.String()), attribute.String(activity.KeyState, s.String()))
	if will != "" {
		attrs = append(attrs, attribute.String(activity.KeyPlanned, will))
	}
	return attrs
}

func appendThread(attrs []attribute.KeyValue, t *activity.LogicalThread) []attribute.KeyValue {
	if t == nil {
		return attrs
	}
	return append(attrs, attribute.String(activity.KeyThreadID, t.ID), attribute.String(activity.KeyThreadName, t.Name))
}

// watch lets a live span tell who dropped it without an end. skip is that of
// runtime.Callers, counted from here.
func watch(span trace.Span, skip int) {
	if d, ok := span.(interface{ DetectLeak(pc uintptr) }); ok {
		var pc [1]uintptr
		runtime.Callers(skip, pc[:])
		d.DetectLeak(pc[0])
	}
}

// FromContext returns the innermost activity of ctx, a plain span too. It is
// never nil; without a span its methods do nothing.
func FromContext(ctx context.Context) *Activity {
	return newActivity(trace.SpanFromContext(ctx), nil, phaseUnknown)
}

// Find returns a handle of an open activity of this process, a plain span too:
// whoever holds only an id can start, describe or end it. It is false for one
// that has ended, and always without Midspan's live provider.
func Find(id activity.ID) (*Activity, bool) { return FindContext(background, id) }

// FindContext does what [Find] does, with the provider of [ContextWithProvider].
func FindContext(ctx context.Context, id activity.ID) (*Activity, bool) {
	p, ok := sourceFor(ctx).provider.(interface {
		OpenSpan(trace.TraceID, trace.SpanID) (trace.Span, bool)
	})
	if !ok {
		return nil, false
	}
	span, ok := p.OpenSpan(trace.TraceID(id.Trace), trace.SpanID(id.Span))
	if !ok {
		return nil, false
	}
	return newActivity(span, nil, phaseUnknown), true
}

// Span returns the activity's span, for what OpenTelemetry offers beyond this
// package. Don't end it: the activity would have no final description.
func (a *Activity) Span() trace.Span {
	if a == nil {
		return trace.SpanFromContext(background)
	}
	return a.span
}

// ID returns the activity's id, which is its span's. It is zero for a handle
// without a span.
func (a *Activity) ID() activity.ID {
	sc := a.Span().SpanContext()
	return activity.ID{Trace: activity.TraceID(sc.TraceID()), Span: activity.SpanID(sc.SpanID())}
}

// Context returns ctx with a as the parent of what starts in it: for work that
// is carried on under another context than that of its start. The activity's
// logical thread and its provider come along unless ctx has its own.
func (a *Activity) Context(ctx context.Context) context.Context {
	ctx = trace.ContextWithSpan(ctx, a.Span())
	// Who sets the global provider only, needs no search for another.
	if a != nil && anyContextProvider.Load() && a.recorded() && ctx.Value(providerKey{}) == nil {
		ctx = ContextWithProvider(ctx, a.span.TracerProvider())
	}
	if activity.ThreadFromContext(ctx) == nil {
		if t := a.logicalThread(); t != nil {
			ctx = activity.ContextWithThread(ctx, *t)
		}
	}
	return ctx
}

func (a *Activity) logicalThread() *activity.LogicalThread {
	if a == nil {
		return nil
	}
	if a.thread != nil || a.phase.Load() != phaseUnknown {
		return a.thread
	}
	var t activity.LogicalThread
	for _, kv := range attributesOf(a.span) {
		switch kv.Key {
		case activity.KeyThreadID:
			t.ID = kv.Value.AsString()
		case activity.KeyThreadName:
			t.Name = kv.Value.AsString()
		}
	}
	if t.ID == "" {
		return nil
	}
	return &t
}

// attributesOf reads a span that can be read, as the SDK's and Midspan's can.
func attributesOf(span trace.Span) []attribute.KeyValue {
	if r, ok := span.(interface{ Attributes() []attribute.KeyValue }); ok {
		return r.Attributes()
	}
	return nil
}

// Start begins the work of a planned activity: its wait is over, its duration
// runs. A second start is ignored and counted.
func (a *Activity) Start() {
	if a == nil || !a.claim("start", starting) {
		return
	}
	defer a.release(starting)
	if !a.waits() {
		a.ignore("start")
		return
	}
	a.phase.Store(phaseStarted)
	a.span.SetAttributes(
		attribute.String(activity.KeyState, activity.InProgress.String()),
		attribute.Int64(activity.KeyStartedAt, time.Now().UnixNano()),
	)
}

// waits reports whether the activity is planned and not started, by any handle.
func (a *Activity) waits() bool {
	phase := a.phase.Load()
	if phase == phaseStarted {
		return false
	}
	state, found := activity.StateUnknown, false
	for _, kv := range attributesOf(a.span) {
		if kv.Key == activity.KeyState {
			state, _ = activity.ParseState(kv.Value.AsString())
			found = true
		}
	}
	if !found { // the span can't be read, or its limit of attributes is 0
		return phase == phasePlanned
	}
	if state != activity.Planned {
		a.phase.Store(phaseStarted)
	}
	return state == activity.Planned
}

// Say sets what the activity is doing now.
func (a *Activity) Say(doing string) {
	if a != nil {
		a.span.SetAttributes(attribute.String(activity.KeyCurrent, doing))
	}
}

// Sayf sets what the activity is doing now. It formats nothing when nobody records.
func (a *Activity) Sayf(format string, args ...any) {
	if a != nil && a.span.IsRecording() {
		a.Say(fmt.Sprintf(format, args...))
	}
}

// Progress sets how far the activity is, from 0 to 1. NaN is ignored, and what
// is out of range is brought into it.
func (a *Activity) Progress(fraction float64) {
	if a != nil && !math.IsNaN(fraction) {
		a.span.SetAttributes(attribute.Float64(activity.KeyProgress, min(max(fraction, 0), 1)))
	}
}

// Set sets attributes of the span.
func (a *Activity) Set(attrs ...attribute.KeyValue) {
	if a != nil && len(attrs) > 0 {
		a.span.SetAttributes(attrs...)
	}
}

// Link links to an activity of this or another trace: what it continues, or was
// caused by without being its child. A zero id is ignored.
func (a *Activity) Link(id activity.ID) {
	if a != nil && !id.IsZero() {
		a.span.AddLink(trace.Link{SpanContext: spanContextOf(id)})
	}
}
