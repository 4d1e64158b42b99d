package tracing

import (
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
)

// Option changes how an activity begins. Make one by the functions that return
// it; the zero Option changes nothing.
type Option struct {
	// A struct and not a function: an option costs no allocation unless it is a
	// rare one, and neither does reading it.
	kind  optionKind
	attrs []attribute.KeyValue
	value any // of the rare ones
}

type optionKind uint8

const (
	optNone optionKind = iota
	optAttributes
	optParent
	optParentID
	optLinks
	optThread
	optSpanKind
	optTimestamp
	optLongRunning
	optKeepResult
)

type config struct {
	named       bool // the parent is not the context's
	parent      *Activity
	parentID    activity.ID
	thread      *activity.LogicalThread
	links       []trace.Link
	attrs       []attribute.KeyValue
	kind        trace.SpanKind
	timestamp   time.Time
	longRunning bool
	keepResult  bool
}

// read reads options; a later one wins over an earlier one of its kind, and
// attributes and links add up.
func (c *config) read(opts []Option) {
	for i := range opts {
		o := &opts[i]
		switch o.kind {
		case optAttributes:
			if c.attrs == nil {
				c.attrs = slices.Clip(o.attrs) // the caller's, never written to
			} else {
				c.attrs = append(c.attrs, o.attrs...)
			}
		case optParent:
			c.parent, _ = o.value.(*Activity)
			c.parentID, c.named = activity.ID{}, true
		case optParentID:
			c.parentID, _ = o.value.(activity.ID)
			c.parent, c.named = nil, true
		case optLinks:
			ids, _ := o.value.([]activity.ID)
			for _, id := range ids {
				if !id.IsZero() {
					c.links = append(c.links, trace.Link{SpanContext: spanContextOf(id)})
				}
			}
		case optThread:
			c.thread, _ = o.value.(*activity.LogicalThread)
		case optSpanKind:
			c.kind, _ = o.value.(trace.SpanKind)
		case optTimestamp:
			c.timestamp, _ = o.value.(time.Time)
		case optLongRunning:
			c.longRunning = true
		case optKeepResult:
			c.keepResult = true
		}
	}
}

// WithParent names the parent, whatever activity the context is in. The
// parent's logical thread is inherited unless the context has one.
func WithParent(parent *Activity) Option { return Option{kind: optParent, value: parent} }

// WithParentID names the parent by its id: an open activity of this process, or
// any other, here or elsewhere. A zero id makes a root.
func WithParentID(id activity.ID) Option { return Option{kind: optParentID, value: id} }

// WithLinks links to activities of this or other traces. See [Activity.Link].
func WithLinks(ids ...activity.ID) Option { return Option{kind: optLinks, value: ids} }

// WithAttributes sets attributes at the start, where samplers see them. The
// slice must not change while the option is in use.
func WithAttributes(attrs ...attribute.KeyValue) Option {
	return Option{kind: optAttributes, attrs: attrs}
}

// WithThread puts the activity, and what starts in its context, into a logical
// thread: a line of work, whichever goroutines carry it. An empty name is the id.
func WithThread(id, name string) Option {
	if name == "" {
		name = id
	}
	return Option{kind: optThread, value: &activity.LogicalThread{ID: id, Name: name}}
}

// WithSpanKind sets the kind of the span. Defaults to internal.
func WithSpanKind(kind trace.SpanKind) Option { return Option{kind: optSpanKind, value: kind} }

// WithTimestamp sets when the activity began, or was planned. Defaults to now.
func WithTimestamp(t time.Time) Option { return Option{kind: optTimestamp, value: t} }

// LongRunning says that the activity may be silent for long: it is never
// called stalled.
func LongRunning() Option { return Option{kind: optLongRunning} }

// KeepResult makes [Track], [Go] and [Async] keep what the function returns as
// the activity's result. It changes nothing elsewhere.
func KeepResult() Option { return Option{kind: optKeepResult} }

// spanContextOf returns the span context of an activity that is known by its
// id only. It counts as sampled: what is named on purpose is worth exporting.
func spanContextOf(id activity.ID) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(id.Trace), SpanID: trace.SpanID(id.Span),
		TraceFlags: trace.FlagsSampled, Remote: true,
	})
}
