package transfer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/receiver"
)

// wireEvent is an event of an activity in JSON. Times are Unix nanoseconds as
// text, values are OTLP's AnyValue, span kind and status have OTLP's numbers.
type wireEvent struct {
	Event         string          `json:"event"`
	At            int64           `json:"at,string"`
	Rev           uint32          `json:"rev,omitempty"`
	Name          string          `json:"name,omitempty"`
	Parent        string          `json:"parent_id,omitempty"` // whole, or the span alone in the activity's own trace
	Kind          uint8           `json:"kind,omitempty"`
	Start         int64           `json:"start,string,omitempty"`
	End           int64           `json:"end,string,omitempty"`
	Status        uint8           `json:"status,omitempty"`
	StatusMessage string          `json:"status_message,omitempty"`
	Sampled       *bool           `json:"sampled,omitempty"`
	TraceState    string          `json:"trace_state,omitempty"`
	Flags         uint32          `json:"flags,omitempty"`
	Attributes    []wireAttr      `json:"attributes,omitempty"`
	Links         []wireLink      `json:"links,omitempty"`
	SpanEvents    []wireSpanEvent `json:"span_events,omitempty"`
	Dropped       *[3]uint32      `json:"dropped,omitempty"` // attributes, events, links
	Resource      json.RawMessage `json:"resource,omitempty"`
	Scope         json.RawMessage `json:"scope,omitempty"`
}

type (
	wireAttr struct {
		Key   string    `json:"key"`
		Value wireValue `json:"value"`
	}
	wireLink struct {
		TraceID    string     `json:"trace_id,omitempty"`
		SpanID     string     `json:"span_id,omitempty"`
		TraceState string     `json:"trace_state,omitempty"`
		Attributes []wireAttr `json:"attributes,omitempty"`
		Dropped    uint32     `json:"dropped,omitempty"`
		Flags      uint32     `json:"flags,omitempty"`
	}
	wireSpanEvent struct {
		At         int64      `json:"at,string"`
		Name       string     `json:"name,omitempty"`
		Attributes []wireAttr `json:"attributes,omitempty"`
		Dropped    uint32     `json:"dropped,omitempty"`
	}
	wireResource struct {
		Service    string     `json:"service,omitempty"`
		Instance   string     `json:"instance,omitempty"`
		SchemaURL  string     `json:"schema_url,omitempty"`
		Attributes []wireAttr `json:"attributes,omitempty"`
		Dropped    uint32     `json:"dropped,omitempty"`
	}
	wireScope struct {
		Name       string     `json:"name,omitempty"`
		Version    string     `json:"version,omitempty"`
		SchemaURL  string     `json:"schema_url,omitempty"`
		Attributes []wireAttr `json:"attributes,omitempty"`
		Dropped    uint32     `json:"dropped,omitempty"`
	}
)

// wireValue is a value as OTLP's AnyValue in its JSON mapping.
type wireValue struct{ activity.Value }

func (v wireValue) MarshalJSON() ([]byte, error) {
	var out any
	switch v.Kind() {
	case activity.KindString:
		out = map[string]string{"stringValue": v.Str()}
	case activity.KindBool:
		out = map[string]bool{"boolValue": v.Bool()}
	case activity.KindInt:
		out = map[string]string{"intValue": strconv.FormatInt(v.Int(), 10)}
	case activity.KindFloat:
		switch f := v.Float(); {
		case math.IsNaN(f):
			out = map[string]string{"doubleValue": "NaN"}
		case math.IsInf(f, 0):
			out = map[string]string{"doubleValue": map[bool]string{true: "Infinity", false: "-Infinity"}[f > 0]}
		default:
			out = map[string]float64{"doubleValue": f}
		}
	case activity.KindBytes:
		out = map[string][]byte{"bytesValue": []byte(v.Str())}
	case activity.KindSlice:
		list := make([]wireValue, len(v.Slice()))
		for i, e := range v.Slice() {
			list[i] = wireValue{e}
		}
		out = map[string]any{"arrayValue": map[string]any{"values": list}}
	case activity.KindMap:
		out = map[string]any{"kvlistValue": map[string]any{"values": wireAttrs(v.Map())}}
	default:
		return []byte("{}"), nil
	}
	return json.Marshal(out)
}

var errValue = errors.New("a value is none of OTLP's")

func (v *wireValue) UnmarshalJSON(b []byte) error {
	var in struct {
		String *string         `json:"stringValue"`
		Bool   *bool           `json:"boolValue"`
		Int    json.RawMessage `json:"intValue"` // text, or a number
		Double json.RawMessage `json:"doubleValue"`
		Bytes  *[]byte         `json:"bytesValue"`
		Array  *struct {
			Values []wireValue `json:"values"`
		} `json:"arrayValue"`
		Map *struct {
			Values []wireAttr `json:"values"`
		} `json:"kvlistValue"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	switch {
	case in.String != nil:
		v.Value = activity.StringValue(*in.String)
	case in.Bool != nil:
		v.Value = activity.BoolValue(*in.Bool)
	case in.Int != nil:
		i, err := strconv.ParseInt(string(bytes.Trim(in.Int, `"`)), 10, 64)
		if err != nil {
			return errValue
		}
		v.Value = activity.IntValue(i)
	case in.Double != nil:
		f, err := strconv.ParseFloat(string(bytes.Trim(in.Double, `"`)), 64)
		if err != nil {
			return errValue
		}
		v.Value = activity.FloatValue(f)
	case in.Bytes != nil:
		v.Value = activity.BytesValue(string(*in.Bytes))
	case in.Array != nil:
		list := make([]activity.Value, len(in.Array.Values))
		for i := range list {
			list[i] = in.Array.Values[i].Value
		}
		v.Value = activity.SliceValue(list)
	case in.Map != nil:
		v.Value = activity.MapValue(attrsOf(in.Map.Values))
	default:
		v.Value = activity.Value{}
	}
	return nil
}

func wireAttrs(attrs []activity.Attr) []wireAttr {
	if len(attrs) == 0 {
		return nil
	}
	out := make([]wireAttr, len(attrs))
	for i := range attrs {
		out[i] = wireAttr{attrs[i].Key, wireValue{attrs[i].Value}}
	}
	return out
}

// idTexts returns a link's trace and span, each empty where there is none.
func idTexts(id activity.ID) (trace, span string) {
	if id.Trace != (activity.TraceID{}) {
		trace = id.Trace.String()
	}
	if id.Span != (activity.SpanID{}) {
		span = id.Span.String()
	}
	return trace, span
}

func attrsOf(attrs []wireAttr) []activity.Attr {
	if len(attrs) == 0 {
		return nil
	}
	out := make([]activity.Attr, len(attrs))
	for i := range attrs {
		out[i] = activity.Attr{Key: attrs[i].Key, Value: attrs[i].Value.Value}
	}
	return out
}

// encoder makes wireEvents. Resources and scopes that follow each other are
// encoded once.
type encoder struct {
	resource     *activity.Resource
	scope        *activity.Scope
	resourceJSON json.RawMessage
	scopeJSON    json.RawMessage
}

func (enc *encoder) event(e *activity.Event) (*wireEvent, error) {
	w := &wireEvent{
		Event: e.Kind.String(), At: int64(e.At), Rev: e.Rev, Name: e.Name, Kind: uint8(e.SpanKind),
		Start: int64(e.StartTime), End: int64(e.EndTime), Status: uint8(e.Status), StatusMessage: e.StatusMessage,
		TraceState: e.TraceState, Flags: e.Flags, Attributes: wireAttrs(e.Attrs),
	}
	switch {
	case e.Parent.IsZero():
	case e.Parent.Trace == e.ID.Trace:
		w.Parent = e.Parent.Span.String()
	default:
		w.Parent = e.Parent.String()
	}
	if e.Sampling != 0 {
		sampled := e.Sampling == activity.Sampled
		w.Sampled = &sampled
	}
	for i := range e.Links {
		l := &e.Links[i]
		trace, span := idTexts(l.ID)
		w.Links = append(w.Links, wireLink{trace, span, l.TraceState, wireAttrs(l.Attrs), l.Dropped, l.Flags})
	}
	for i := range e.SpanEvents {
		s := &e.SpanEvents[i]
		w.SpanEvents = append(w.SpanEvents, wireSpanEvent{int64(s.At), s.Name, wireAttrs(s.Attrs), s.Dropped})
	}
	if e.Dropped != [3]uint32{} {
		w.Dropped = &e.Dropped
	}
	var err error
	if r := e.Resource; r != nil {
		if r != enc.resource {
			enc.resource = r
			if enc.resourceJSON, err = json.Marshal(wireResource{r.Service, r.Instance, r.SchemaURL, wireAttrs(r.Attrs), r.Dropped}); err != nil {
				return nil, err
			}
		}
		w.Resource = enc.resourceJSON
	}
	if s := e.Scope; s != nil {
		if s != enc.scope {
			enc.scope = s
			if enc.scopeJSON, err = json.Marshal(wireScope{s.Name, s.Version, s.SchemaURL, wireAttrs(s.Attrs), s.Dropped}); err != nil {
				return nil, err
			}
		}
		w.Scope = enc.scopeJSON
	}
	return w, nil
}

// decoder makes events. Equal resources and scopes are the same pointers.
type decoder struct {
	resources map[string]*activity.Resource
	scopes    map[string]*activity.Scope
}

// maxShared bounds the resources and scopes that a decoder knows at a time.
const maxShared = 10_000

func newDecoder() *decoder {
	return &decoder{make(map[string]*activity.Resource), make(map[string]*activity.Scope)}
}

func (d *decoder) event(id activity.ID, w *wireEvent) (e activity.Event, err error) {
	kind, ok := activity.ParseKind(w.Event)
	switch {
	case !ok:
		return e, fmt.Errorf("event %q: it is none of planned, started, updated, completed, failed, cancelled, lost", activity.Cut(w.Event, 40))
	case w.At < 0 || w.Start < 0 || w.End < 0:
		return e, errors.New("a time is negative")
	case w.Kind > uint8(activity.KindConsumer) || w.Status > uint8(activity.StatusError):
		return e, errors.New("the span kind or status is none of OTLP's")
	}
	e = activity.Event{ID: id, Kind: kind, At: activity.Time(w.At), Rev: w.Rev, Changes: activity.Changes{
		Name: w.Name, SpanKind: activity.SpanKind(w.Kind), StartTime: activity.Time(w.Start), EndTime: activity.Time(w.End),
		Status: activity.Status(w.Status), StatusMessage: w.StatusMessage, TraceState: w.TraceState, Flags: w.Flags, Attrs: attrsOf(w.Attributes),
	}}
	if w.Parent != "" {
		if e.Parent, err = activity.ParseID(w.Parent); err != nil {
			e.Parent.Trace = id.Trace
			if e.Parent.Span, err = activity.ParseSpanID(w.Parent); err != nil {
				return e, errors.New("parent_id is no id")
			}
		}
		if e.Parent == id {
			return e, errors.New("it is its own parent")
		}
	}
	if w.Sampled != nil {
		if e.Sampling = activity.Unsampled; *w.Sampled {
			e.Sampling = activity.Sampled
		}
	}
	for i := range w.Links {
		l := &w.Links[i]
		one := activity.Link{TraceState: l.TraceState, Attrs: attrsOf(l.Attributes), Dropped: l.Dropped, Flags: l.Flags}
		if l.TraceID != "" {
			if one.ID.Trace, err = activity.ParseTraceID(l.TraceID); err != nil {
				return e, errors.New("the trace_id of a link is no id")
			}
		}
		if l.SpanID != "" {
			if one.ID.Span, err = activity.ParseSpanID(l.SpanID); err != nil {
				return e, errors.New("the span_id of a link is no id")
			}
		}
		e.Links = append(e.Links, one)
	}
	for i := range w.SpanEvents {
		s := &w.SpanEvents[i]
		e.SpanEvents = append(e.SpanEvents, activity.SpanEvent{At: activity.Time(s.At), Name: s.Name, Attrs: attrsOf(s.Attributes), Dropped: s.Dropped})
	}
	if w.Dropped != nil {
		e.Dropped = *w.Dropped
	}
	if tooDeep(&e) {
		return e, fmt.Errorf("an attribute is nested deeper than %d levels", maxDepth)
	}
	if len(w.Resource) > 0 {
		if e.Resource, err = d.resource(w.Resource); err != nil {
			return e, fmt.Errorf("resource: %w", err)
		}
	}
	if len(w.Scope) > 0 {
		if e.Scope, err = d.scope(w.Scope); err != nil {
			return e, fmt.Errorf("scope: %w", err)
		}
	}
	return e, nil
}

// maxDepth is how deep arrays and maps of an attribute lie in each other at most:
// more than any sender may.
const maxDepth = receiver.MaxDepthLimit

func tooDeep(e *activity.Event) bool {
	deep := deeper(e.Attrs, maxDepth)
	for i := range e.Links {
		deep = deep || deeper(e.Links[i].Attrs, maxDepth)
	}
	for i := range e.SpanEvents {
		deep = deep || deeper(e.SpanEvents[i].Attrs, maxDepth)
	}
	return deep
}

// deeper reports whether values lie deeper in each other than so many levels.
func deeper(attrs []activity.Attr, levels int) bool {
	return slices.ContainsFunc(attrs, func(a activity.Attr) bool { return valueDeeper(a.Value, levels) })
}

func valueDeeper(v activity.Value, levels int) bool {
	switch v.Kind() {
	case activity.KindSlice:
		return levels == 0 || slices.ContainsFunc(v.Slice(), func(e activity.Value) bool { return valueDeeper(e, levels-1) })
	case activity.KindMap:
		return levels == 0 || deeper(v.Map(), levels-1)
	}
	return false
}

func (d *decoder) resource(b json.RawMessage) (*activity.Resource, error) {
	if r := d.resources[string(b)]; r != nil {
		return r, nil
	}
	var w wireResource
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, err
	}
	if len(d.resources) >= maxShared {
		clear(d.resources)
	}
	if deeper(attrsOf(w.Attributes), maxDepth) {
		return nil, fmt.Errorf("an attribute is nested deeper than %d levels", maxDepth)
	}
	r := &activity.Resource{Service: w.Service, Instance: w.Instance, SchemaURL: w.SchemaURL, Attrs: attrsOf(w.Attributes), Dropped: w.Dropped}
	d.resources[string(b)] = r
	return r, nil
}

func (d *decoder) scope(b json.RawMessage) (*activity.Scope, error) {
	if s := d.scopes[string(b)]; s != nil {
		return s, nil
	}
	var w wireScope
	if err := json.Unmarshal(b, &w); err != nil {
		return nil, err
	}
	if len(d.scopes) >= maxShared {
		clear(d.scopes)
	}
	if deeper(attrsOf(w.Attributes), maxDepth) {
		return nil, fmt.Errorf("an attribute is nested deeper than %d levels", maxDepth)
	}
	s := &activity.Scope{Name: w.Name, Version: w.Version, SchemaURL: w.SchemaURL, Attrs: attrsOf(w.Attributes), Dropped: w.Dropped}
	d.scopes[string(b)] = s
	return s, nil
}
