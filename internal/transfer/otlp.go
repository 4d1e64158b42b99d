package transfer

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"strconv"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/receiver"
)

// OTLP is written as lines of JSON, each one a request as OTLP's file exporter
// has them: spans, or log records. A span that came whole is that span. Any other
// activity is a span, as far as it is known, for whoever reads spans, marked by
// the attribute midspan.events; before it come as many log records named
// midspan.event, each with one event of the activity in its body. They are what
// is imported then, the span is not.
const (
	historyName = "midspan.event"
	historyMark = "midspan.events"
)

type (
	otlpSpans struct {
		Spans []otlpResourceSpans `json:"resourceSpans"`
	}
	otlpResourceSpans struct {
		Resource  otlpResource     `json:"resource"`
		Scopes    []otlpScopeSpans `json:"scopeSpans"`
		SchemaURL string           `json:"schemaUrl,omitempty"`
	}
	otlpScopeSpans struct {
		Scope     otlpScope  `json:"scope"`
		Spans     []otlpSpan `json:"spans"`
		SchemaURL string     `json:"schemaUrl,omitempty"`
	}
	otlpResource struct {
		Attributes []wireAttr `json:"attributes,omitempty"`
		Dropped    uint32     `json:"droppedAttributesCount,omitempty"`
	}
	otlpScope struct {
		Name       string     `json:"name,omitempty"`
		Version    string     `json:"version,omitempty"`
		Attributes []wireAttr `json:"attributes,omitempty"`
		Dropped    uint32     `json:"droppedAttributesCount,omitempty"`
	}
	otlpSpan struct {
		TraceID           string      `json:"traceId"`
		SpanID            string      `json:"spanId"`
		TraceState        string      `json:"traceState,omitempty"`
		ParentSpanID      string      `json:"parentSpanId,omitempty"`
		Flags             uint32      `json:"flags,omitempty"`
		Name              string      `json:"name"`
		Kind              uint8       `json:"kind,omitempty"`
		Start             string      `json:"startTimeUnixNano"`
		End               string      `json:"endTimeUnixNano"`
		Attributes        []wireAttr  `json:"attributes,omitempty"`
		DroppedAttributes uint32      `json:"droppedAttributesCount,omitempty"`
		Events            []otlpEvent `json:"events,omitempty"`
		DroppedEvents     uint32      `json:"droppedEventsCount,omitempty"`
		Links             []otlpLink  `json:"links,omitempty"`
		DroppedLinks      uint32      `json:"droppedLinksCount,omitempty"`
		Status            *otlpStatus `json:"status,omitempty"`
	}
	otlpStatus struct {
		Code    uint8  `json:"code,omitempty"`
		Message string `json:"message,omitempty"`
	}
	otlpEvent struct {
		At         string     `json:"timeUnixNano"`
		Name       string     `json:"name,omitempty"`
		Attributes []wireAttr `json:"attributes,omitempty"`
		Dropped    uint32     `json:"droppedAttributesCount,omitempty"`
	}
	otlpLink struct {
		TraceID    string     `json:"traceId,omitempty"`
		SpanID     string     `json:"spanId,omitempty"`
		TraceState string     `json:"traceState,omitempty"`
		Attributes []wireAttr `json:"attributes,omitempty"`
		Dropped    uint32     `json:"droppedAttributesCount,omitempty"`
		Flags      uint32     `json:"flags,omitempty"`
	}

	otlpLogs struct {
		Logs []otlpResourceLogs `json:"resourceLogs"`
	}
	otlpResourceLogs struct {
		Resource otlpResource    `json:"resource"`
		Scopes   []otlpScopeLogs `json:"scopeLogs"`
	}
	otlpScopeLogs struct {
		Records []otlpRecord `json:"logRecords"`
	}
	otlpRecord struct {
		Time    string    `json:"timeUnixNano"`
		Name    string    `json:"eventName"`
		TraceID string    `json:"traceId"`
		SpanID  string    `json:"spanId"`
		Body    wireValue `json:"body"`
	}
)

// maxLineSpans bounds the spans of one line.
const maxLineSpans = 256

type otlpWriter struct {
	enc  encoder
	out  *json.Encoder
	held []activity.Event // whole spans of one resource and scope
}

func exportOTLP(ctx context.Context, w io.Writer, x source, f *activity.Filter) (n int, err error) {
	o := &otlpWriter{out: json.NewEncoder(w)}
	o.out.SetEscapeHTML(false)
	err = x.ScanEvents(ctx, f, func(a *activity.Activity, events []activity.Event) error {
		n++
		if len(events) != 1 || !whole(&events[0]) {
			return o.history(a, events)
		}
		if e := &events[0]; len(o.held) == maxLineSpans || len(o.held) > 0 && (o.held[0].Resource != e.Resource || o.held[0].Scope != e.Scope) {
			if err := o.flush(); err != nil {
				return err
			}
		}
		o.held = append(o.held, events[0])
		return nil
	})
	if err == nil {
		err = o.flush()
	}
	return n, err
}

func (o *otlpWriter) flush() error {
	if len(o.held) == 0 {
		return nil
	}
	spans := make([]otlpSpan, len(o.held))
	for i := range o.held {
		spans[i] = spanOf(&o.held[i])
	}
	line := spansOf(o.held[0].Resource, o.held[0].Scope, spans)
	o.held = o.held[:0]
	return o.out.Encode(line)
}

// history writes the events of an activity, and a span for whoever reads spans.
func (o *otlpWriter) history(a *activity.Activity, events []activity.Event) error {
	records := make([]otlpRecord, len(events))
	for i := range events {
		e, err := o.enc.event(&events[i])
		if err != nil {
			return err
		}
		body, err := json.Marshal(e)
		if err != nil {
			return err
		}
		records[i] = otlpRecord{
			strconv.FormatInt(int64(events[i].At), 10), historyName, a.ID.Trace.String(), a.ID.Span.String(),
			wireValue{activity.StringValue(string(body))},
		}
	}
	if err := o.out.Encode(otlpLogs{[]otlpResourceLogs{{resourceOf(a.Resource), []otlpScopeLogs{{records}}}}}); err != nil {
		return err
	}
	return o.out.Encode(spansOf(a.Resource, a.Scope, []otlpSpan{activitySpan(a, len(events))}))
}

func resourceOf(r *activity.Resource) otlpResource {
	if r == nil {
		return otlpResource{}
	}
	return otlpResource{wireAttrs(r.Attrs), r.Dropped}
}

func spansOf(r *activity.Resource, s *activity.Scope, spans []otlpSpan) otlpSpans {
	rs := otlpResourceSpans{Resource: resourceOf(r), Scopes: []otlpScopeSpans{{Spans: spans}}}
	if r != nil {
		rs.SchemaURL = r.SchemaURL
	}
	if s != nil {
		rs.Scopes[0].Scope = otlpScope{s.Name, s.Version, wireAttrs(s.Attrs), s.Dropped}
		rs.Scopes[0].SchemaURL = s.SchemaURL
	}
	return otlpSpans{[]otlpResourceSpans{rs}}
}

// whole reports whether an event is what the receiver makes of the span that it
// is.
func whole(e *activity.Event) bool {
	kind := activity.EventCompleted
	for i := range slices.Backward(e.Attrs) { // the last one set counts
		if e.Attrs[i].Key == activity.KeyState {
			if state, _ := activity.ParseState(e.Attrs[i].Value.Str()); state == activity.Cancelled {
				kind = activity.EventCancelled
			}
			break
		}
	}
	if kind == activity.EventCompleted && e.Status == activity.StatusError {
		kind = activity.EventFailed
	}
	for i := range e.Attrs {
		if e.Attrs[i].Key == historyMark || e.Attrs[i].Key == "logfire.span_type" {
			return false
		}
	}
	return e.Kind == kind && e.Rev == 0 && e.EndTime > 0 && e.At == e.EndTime && e.StartTime >= 0 && e.Sampling == receiver.SamplingOf(flagsOf(e), e.Resource) &&
		(e.Flags == 0 || e.Flags == flagsOf(e)) &&
		e.ID.Trace != (activity.TraceID{}) && e.ID.Span != (activity.SpanID{}) && e.Parent.Span != e.ID.Span &&
		(e.Parent.IsZero() || e.Parent.Trace == e.ID.Trace) &&
		e.Resource != nil && e.Scope != nil && named(e.Resource)
}

// named reports whether a resource's service and instance are those that its
// attributes tell.
func named(r *activity.Resource) bool {
	n := activity.NewResource(r.Attrs, r.SchemaURL)
	return n.Service == r.Service && n.Instance == r.Instance
}

func spanOf(e *activity.Event) otlpSpan {
	s := otlpSpan{
		TraceID: e.ID.Trace.String(), SpanID: e.ID.Span.String(), TraceState: e.TraceState, Flags: flagsOf(e), Name: e.Name, Kind: uint8(e.SpanKind),
		Start: strconv.FormatInt(int64(e.StartTime), 10), End: strconv.FormatInt(int64(e.EndTime), 10), Attributes: wireAttrs(e.Attrs),
		DroppedAttributes: e.Dropped[0], DroppedEvents: e.Dropped[1], DroppedLinks: e.Dropped[2],
	}
	if !e.Parent.IsZero() {
		s.ParentSpanID = e.Parent.Span.String()
	}
	if e.Status != activity.StatusUnset || e.StatusMessage != "" {
		s.Status = &otlpStatus{uint8(e.Status), e.StatusMessage}
	}
	for i := range e.SpanEvents {
		se := &e.SpanEvents[i]
		s.Events = append(s.Events, otlpEvent{strconv.FormatInt(int64(se.At), 10), se.Name, wireAttrs(se.Attrs), se.Dropped})
	}
	for i := range e.Links {
		l := &e.Links[i]
		trace, span := idTexts(l.ID)
		s.Links = append(s.Links, otlpLink{trace, span, l.TraceState, wireAttrs(l.Attrs), l.Dropped, l.Flags})
	}
	return s
}

// flagsOf returns a span's flags, those of an event that has none by its sampling.
func flagsOf(e *activity.Event) uint32 {
	if e.Sampling == activity.Sampled {
		return e.Flags | 1 // W3C's trace flag
	}
	return e.Flags
}

// activitySpan is an activity as a span, with no end while it is open.
func activitySpan(a *activity.Activity, events int) otlpSpan {
	start := a.SpanStart
	if start == 0 {
		start = a.PlannedAt
	}
	e := activity.Event{ID: a.ID, Changes: activity.Changes{
		Name: a.Name, Parent: a.Parent, SpanKind: a.Head.Kind, StartTime: start, EndTime: a.EndedAt, Status: a.Status, StatusMessage: a.StatusMessage(),
		Sampling: a.Sampling, TraceState: a.TraceState, Links: a.Links, SpanEvents: a.SpanEvents, Dropped: a.Dropped, Flags: a.Flags,
		Attrs: append(slices.Clone(a.Attributes), activity.Attr{Key: historyMark, Value: activity.IntValue(int64(events))}),
	}}
	return spanOf(&e)
}
