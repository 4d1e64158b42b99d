package receiver

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/midspan/midspan/activity"
)

// batch collects the events of one request, and what is wrong with the rest.
type batch struct {
	r        *Receiver
	events   []activity.Event
	resource *activity.Resource
	scope    *activity.Scope
	sourced  [2]fault // what is wrong with the resource and with the scope
	leased   []*activity.Resource
	rejected int64
	reasons  []reason
	counter  // of the item under way
}

// counter tells how much an item holds.
type counter struct{ values, depth int }

// fault is why something can't be kept. Its zero value is none.
type fault struct {
	why   string
	count *atomic.Int64 // the limit's, if it is one that is counted
}

// reason is why something was rejected, and how often.
type reason struct {
	text  string
	count int64
}

// maxReasons bounds the reasons that one answer tells.
const maxReasons = 8

func (b *batch) reject(text string) {
	b.rejected++
	if len(b.reasons) == maxReasons {
		text = "other reasons"
	}
	for i := range b.reasons {
		if b.reasons[i].text == text {
			b.reasons[i].count++
			return
		}
	}
	b.reasons = append(b.reasons, reason{text, 1})
}

// reasonOf returns a decoder's words without the bytes around the fault, and
// without the secrets of the value that it quotes.
func (r *Receiver) reasonOf(err error) string {
	text, _, _ := strings.Cut(err.Error(), ", error found in")
	return activity.Cut(strings.ToValidUTF8(r.cfg.Quote(text), "\ufffd"), 200)
}

// message says in words what was rejected; empty when nothing was.
func (b *batch) message(what string) string {
	var parts []string
	for _, r := range b.reasons {
		plural := "s"
		if r.count == 1 {
			plural = ""
		}
		parts = append(parts, fmt.Sprintf("%d %s%s rejected: %s", r.count, what, plural, r.text))
	}
	return strings.Join(parts, "; ")
}

func (b *batch) traces(td ptrace.Traces) {
	for _, rs := range td.ResourceSpans().All() {
		b.setResource(rs.Resource(), rs.SchemaUrl())
		for _, ss := range rs.ScopeSpans().All() {
			b.setScope(ss.Scope(), ss.SchemaUrl())
			for _, s := range ss.Spans().All() {
				b.span(s)
			}
		}
	}
}

func (b *batch) setResource(r pcommon.Resource, schemaURL string) {
	b.counter = counter{}
	b.resource = b.r.sources.resource(r, b.attrs(r.Attributes()), schemaURL)
	if b.sourced[0] = b.source("resource", b.resource != nil); b.sourced[0].why != "" {
		b.resource = nil
	}
	if b.resource != nil && b.resource.Lease() != "" && !slices.Contains(b.leased, b.resource) {
		b.leased = append(b.leased, b.resource)
	}
}

func (b *batch) setScope(sc pcommon.InstrumentationScope, schemaURL string) {
	b.counter = counter{}
	b.scope = b.r.sources.scope(sc, b.attrs(sc.Attributes()), schemaURL)
	b.sourced[1] = b.source("scope", b.scope != nil)
	b.counter = counter{}
}

// source says what is wrong with a resource or scope, whose values were counted.
func (b *batch) source(what string, fits bool) fault {
	f := b.within()
	switch {
	case f.why != "":
		f.why = "its " + what + ": " + f.why
	case !fits:
		f.why = fmt.Sprintf("its %s is larger than %d bytes", what, maxSource)
	}
	return f
}

// within says what bound the values counted have passed, or nothing.
func (b *batch) within() fault {
	switch {
	case b.values > b.r.cfg.MaxItemValues:
		return fault{fmt.Sprintf("it has more than %d attributes, events and links", b.r.cfg.MaxItemValues), &b.r.tooManyInItem}
	case b.depth > b.r.cfg.MaxDepth:
		return fault{fmt.Sprintf("an attribute's value is nested deeper than %d levels", b.r.cfg.MaxDepth), &b.r.tooDeep}
	}
	return fault{}
}

// over rejects the item whose values were counted, if it or where it comes from
// passes a bound.
func (b *batch) over() bool {
	for _, f := range [...]fault{b.sourced[0], b.sourced[1], b.within()} {
		if f.why == "" {
			continue
		}
		if f.count != nil {
			f.count.Add(1)
		}
		b.reject(f.why)
		return true
	}
	return false
}

// span adds the event of a span: ended, in flight, or standing for one in flight.
func (b *batch) span(s ptrace.Span) {
	e := activity.Event{Changes: activity.Changes{
		Name:       s.Name(),
		SpanKind:   kindOf(s.Kind()),
		StartTime:  timeOf(s.StartTimestamp()),
		EndTime:    timeOf(s.EndTimestamp()),
		Status:     statusOf(s.Status().Code()),
		TraceState: s.TraceState().AsRaw(),
		Resource:   b.resource,
		Scope:      b.scope,
		Dropped:    [3]uint32{s.DroppedAttributesCount(), s.DroppedEventsCount(), s.DroppedLinksCount()},
		Flags:      s.Flags(),
	}}
	e.ID = activity.ID{Trace: activity.TraceID(s.TraceID()), Span: activity.SpanID(s.SpanID())}
	switch {
	case s.TraceID().IsEmpty():
		b.reject("the trace id is zero")
		return
	case s.SpanID().IsEmpty():
		b.reject("the span id is zero")
		return
	case e.StartTime == 0 && e.EndTime == 0:
		b.reject("it has neither a start nor an end time")
		return
	case e.StartTime < 0 || e.EndTime < 0:
		b.reject("a time lies after the year 2262")
		return
	case s.ParentSpanID() == s.SpanID():
		b.reject("it is its own parent")
		return
	case e.EndTime != 0 && e.EndTime < e.StartTime:
		// Clocks do that; the activity's duration is zero then.
	}
	if !s.ParentSpanID().IsEmpty() {
		e.Parent = activity.ID{Trace: e.ID.Trace, Span: activity.SpanID(s.ParentSpanID())}
	}
	e.StatusMessage = s.Status().Message()
	e.Sampling = SamplingOf(s.Flags(), b.resource)
	b.counter = counter{values: s.Links().Len() + s.Events().Len()}
	e.Attrs = b.attrs(s.Attributes())
	for _, l := range s.Links().All() {
		e.Links = append(e.Links, activity.Link{
			ID:         activity.ID{Trace: activity.TraceID(l.TraceID()), Span: activity.SpanID(l.SpanID())},
			TraceState: l.TraceState().AsRaw(), Attrs: b.attrs(l.Attributes()),
			Dropped: l.DroppedAttributesCount(), Flags: l.Flags(),
		})
	}
	for _, se := range s.Events().All() {
		e.SpanEvents = append(e.SpanEvents, activity.SpanEvent{
			At: timeOf(se.Timestamp()), Name: se.Name(), Attrs: b.attrs(se.Attributes()), Dropped: se.DroppedAttributesCount(),
		})
	}
	if b.over() {
		return
	}
	if isPending(e.Attrs) {
		if why := pending(&e); why != "" {
			b.reject(why)
			return
		}
	}
	if e.EndTime == 0 {
		begin(&e)
	} else {
		end(&e)
	}
	b.events = append(b.events, e)
}

// SamplingOf returns what OTLP's flags say: bits 0 to 7 are W3C's trace flags, of
// which the lowest is sampled. A sender that sets no flag at all says nothing, and
// so does one that only sets those above, when its SDK leaves trace flags out.
func SamplingOf(flags uint32, from *activity.Resource) activity.Sampling {
	switch {
	case flags&1 != 0:
		return activity.Sampled
	case flags == 0 || flags&0xff == 0 && leavesOutTraceFlags(from):
		return 0
	}
	return activity.Unsampled
}

// leavesOutTraceFlags reports whether the process's SDK is one whose exporters set
// flags without trace flags, if only in some versions: of every span that is sampled.
// Sources: https://github.com/open-telemetry/opentelemetry-go/issues/7436,
// https://github.com/open-telemetry/opentelemetry-python/issues/4666,
// https://github.com/open-telemetry/opentelemetry-erlang/pull/894.
func leavesOutTraceFlags(from *activity.Resource) bool {
	if from == nil {
		return false
	}
	for i := range from.Attrs {
		if a := &from.Attrs[i]; a.Key == "telemetry.sdk.language" {
			switch a.Value.Str() {
			case "go", "python", "erlang":
				return true
			}
			return false
		}
	}
	return false
}

// begin makes the event that of a span in flight.
func begin(e *activity.Event) {
	e.Kind, e.At = activity.EventStarted, e.StartTime
	if stateIn(e.Attrs) == activity.Planned {
		e.Kind = activity.EventPlanned
	}
}

// end makes the event that of an ended span.
func end(e *activity.Event) {
	e.Kind, e.At = activity.EventCompleted, e.EndTime
	switch {
	case stateIn(e.Attrs) == activity.Cancelled:
		e.Kind = activity.EventCancelled
	case e.Status == activity.StatusError:
		e.Kind = activity.EventFailed
	}
}

// stateIn returns the state that attributes set, or StateUnknown.
func stateIn(attrs []activity.Attr) activity.State {
	for i := range slices.Backward(attrs) { // the last one set counts
		if attrs[i].Key == activity.KeyState {
			state, _ := activity.ParseState(attrs[i].Value.Str())
			return state
		}
	}
	return activity.StateUnknown
}

// timeOf returns a time, which is negative when it lies beyond what Time holds.
func timeOf(t pcommon.Timestamp) activity.Time { return activity.Time(t) }

// kindOf uses that both number the kinds as OTLP does.
func kindOf(k ptrace.SpanKind) activity.SpanKind {
	if k < 0 || k > ptrace.SpanKindConsumer {
		return activity.KindUnset
	}
	return activity.SpanKind(k)
}

func statusOf(c ptrace.StatusCode) activity.Status {
	switch c {
	case ptrace.StatusCodeOk:
		return activity.StatusOK
	case ptrace.StatusCodeError:
		return activity.StatusError
	}
	return activity.StatusUnset
}

// attrs returns the attributes as they came: in their order, a key as often as
// it stands there.
func (b *batch) attrs(m pcommon.Map) []activity.Attr { return b.attrsAt(m, 0) }

func (b *batch) attrsAt(m pcommon.Map, depth int) []activity.Attr {
	n := m.Len()
	if b.values += n; n == 0 || b.values > b.r.cfg.MaxItemValues {
		return nil
	}
	attrs := make([]activity.Attr, 0, n)
	for k, v := range m.All() {
		attrs = append(attrs, activity.Attr{Key: k, Value: b.value(v, depth)})
	}
	return attrs
}

// value returns a value that lies in so many arrays and maps.
func (b *batch) value(v pcommon.Value, depth int) activity.Value {
	switch v.Type() {
	case pcommon.ValueTypeStr:
		return activity.StringValue(v.Str())
	case pcommon.ValueTypeInt:
		return activity.IntValue(v.Int())
	case pcommon.ValueTypeDouble:
		return activity.FloatValue(v.Double())
	case pcommon.ValueTypeBool:
		return activity.BoolValue(v.Bool())
	case pcommon.ValueTypeBytes:
		return activity.BytesValue(string(v.Bytes().AsRaw()))
	case pcommon.ValueTypeSlice:
		vs := v.Slice()
		b.values += vs.Len()
		if b.depth = max(b.depth, depth+1); b.depth > b.r.cfg.MaxDepth || b.values > b.r.cfg.MaxItemValues {
			return activity.Value{}
		}
		list := make([]activity.Value, 0, vs.Len())
		for _, e := range vs.All() {
			list = append(list, b.value(e, depth+1))
		}
		return activity.SliceValue(list)
	case pcommon.ValueTypeMap:
		if b.depth = max(b.depth, depth+1); b.depth > b.r.cfg.MaxDepth {
			return activity.Value{}
		}
		return activity.MapValue(b.attrsAt(v.Map(), depth+1))
	}
	return activity.Value{}
}
