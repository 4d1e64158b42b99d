package forward

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/midspan/midspan/activity"
)

// The encoder writes OTLP's protobuf straight from events. The Collector's pdata
// looks through all attributes of a span to set one more, and can't hold a key
// twice, as what was received may.
// Source: opentelemetry-proto v1.11.0, trace/v1/trace.proto, common/v1/common.proto
// and resource/v1/resource.proto.

// source is what the spans of one group share.
type source struct {
	resource *activity.Resource
	scope    *activity.Scope
}

// appendRequest appends an ExportTraceServiceRequest of the spans that the
// events are. Those of one resource and scope stand together, else in the order
// given.
func appendRequest(b []byte, events []*activity.Event) []byte {
	sorted := bySource(events)
	for len(sorted) > 0 {
		resource := sorted[0].Resource
		n := countWhile(sorted, func(e *activity.Event) bool { return e.Resource == resource })
		b = appendResourceSpans(b, resource, sorted[:n])
		sorted = sorted[n:]
	}
	return b
}

func appendResourceSpans(b []byte, resource *activity.Resource, events []*activity.Event) []byte {
	b, whole := open(b, 1)
	b, part := open(b, 1)
	shift := resource.Shift()
	if resource != nil {
		resource = resource.WithShift(activity.Shift{}) // as it was sent
		b = appendAttrs(b, 1, resource.Attrs)
		b = appendVarint(b, 2, uint64(resource.Dropped))
	}
	b = shut(b, part)
	for len(events) > 0 {
		scope := events[0].Scope
		n := countWhile(events, func(e *activity.Event) bool { return e.Scope == scope })
		b, part = open(b, 2)
		if scope != nil {
			var head int
			b, head = open(b, 1)
			b = appendString(b, 1, scope.Name)
			b = appendString(b, 2, scope.Version)
			b = appendAttrs(b, 3, scope.Attrs)
			b = appendVarint(b, 4, uint64(scope.Dropped))
			b = shut(b, head)
		}
		for _, e := range events[:n] {
			var span int
			if shift.By != 0 {
				sent := *e
				sent.Shift(-shift.By)
				e = &sent
			}
			b, span = open(b, 2)
			b = shut(appendSpan(b, e), span)
		}
		if scope != nil {
			b = appendString(b, 3, scope.SchemaURL)
		}
		b = shut(b, part)
		events = events[n:]
	}
	if resource != nil {
		b = appendString(b, 3, resource.SchemaURL)
	}
	return shut(b, whole)
}

func countWhile(events []*activity.Event, same func(*activity.Event) bool) int {
	n := 1
	for n < len(events) && same(events[n]) {
		n++
	}
	return n
}

// bySource returns the events with those of one resource, and in it of one
// scope, next to each other.
func bySource(events []*activity.Event) []*activity.Event {
	first := *events[0]
	if !slices.ContainsFunc(events, func(e *activity.Event) bool { return e.Resource != first.Resource || e.Scope != first.Scope }) {
		return events
	}
	// By the place where each was first seen.
	resources := make(map[*activity.Resource]int)
	sources := make(map[source]int)
	for i, e := range events {
		if _, ok := resources[e.Resource]; !ok {
			resources[e.Resource] = i
		}
		if of := (source{e.Resource, e.Scope}); sources[of] == 0 {
			sources[of] = i + 1
		}
	}
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(a, b *activity.Event) int {
		return cmp.Or(cmp.Compare(resources[a.Resource], resources[b.Resource]),
			cmp.Compare(sources[source{a.Resource, a.Scope}], sources[source{b.Resource, b.Scope}]))
	})
	return sorted
}

func appendSpan(b []byte, e *activity.Event) []byte {
	b = appendID(b, e.ID)
	b = appendString(b, 3, e.TraceState)
	if !e.Parent.IsZero() {
		b = appendBytes(b, 4, e.Parent.Span[:])
	}
	b = appendString(b, 5, e.Name)
	b = appendVarint(b, 6, uint64(e.SpanKind))
	b = appendTime(b, 7, e.StartTime)
	b = appendTime(b, 8, e.EndTime)
	b = appendAttrs(b, 9, e.Attrs)
	b = appendVarint(b, 10, uint64(e.Dropped[0]))
	for i := range e.SpanEvents {
		b = appendSpanEvent(b, &e.SpanEvents[i])
	}
	b = appendVarint(b, 12, uint64(e.Dropped[1]))
	for i := range e.Links {
		b = appendLink(b, &e.Links[i])
	}
	b = appendVarint(b, 14, uint64(e.Dropped[2]))
	if e.Status != activity.StatusUnset || e.StatusMessage != "" {
		var status int
		b, status = open(b, 15)
		b = appendString(b, 2, e.StatusMessage)
		b = appendVarint(b, 3, uint64(e.Status))
		b = shut(b, status)
	}
	flags := e.Flags
	if e.Sampling == activity.Sampled {
		flags |= 1 // W3C's trace flag
	}
	return appendFlags(b, 16, flags)
}

func appendSpanEvent(b []byte, se *activity.SpanEvent) []byte {
	b, at := open(b, 11)
	b = appendTime(b, 1, se.At)
	b = appendString(b, 2, se.Name)
	b = appendAttrs(b, 3, se.Attrs)
	b = appendVarint(b, 4, uint64(se.Dropped))
	return shut(b, at)
}

func appendLink(b []byte, l *activity.Link) []byte {
	b, at := open(b, 13)
	b = appendID(b, l.ID)
	b = appendString(b, 3, l.TraceState)
	b = appendAttrs(b, 4, l.Attrs)
	b = appendVarint(b, 5, uint64(l.Dropped))
	b = appendFlags(b, 6, l.Flags)
	return shut(b, at)
}

func appendAttrs(b []byte, field protowire.Number, attrs []activity.Attr) []byte {
	for i := range attrs {
		var at, value int
		b, at = open(b, field)
		b = appendString(b, 1, attrs[i].Key)
		b, value = open(b, 2)
		b = shut(appendValue(b, attrs[i].Value), value)
		b = shut(b, at)
	}
	return b
}

// appendValue appends the content of an AnyValue, which tells an empty text from
// no value at all.
func appendValue(b []byte, v activity.Value) []byte {
	switch v.Kind() {
	case activity.KindString:
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		return protowire.AppendString(b, valid(v.Str()))
	case activity.KindBool:
		b = protowire.AppendTag(b, 2, protowire.VarintType)
		return protowire.AppendVarint(b, protowire.EncodeBool(v.Bool()))
	case activity.KindInt:
		b = protowire.AppendTag(b, 3, protowire.VarintType)
		return protowire.AppendVarint(b, uint64(v.Int()))
	case activity.KindFloat:
		b = protowire.AppendTag(b, 4, protowire.Fixed64Type)
		return protowire.AppendFixed64(b, math.Float64bits(v.Float()))
	case activity.KindSlice:
		b, at := open(b, 5)
		for _, e := range v.Slice() {
			var item int
			b, item = open(b, 1)
			b = shut(appendValue(b, e), item)
		}
		return shut(b, at)
	case activity.KindMap:
		b, at := open(b, 6)
		return shut(appendAttrs(b, 1, v.Map()), at)
	case activity.KindBytes:
		b = protowire.AppendTag(b, 7, protowire.BytesType)
		return protowire.AppendString(b, v.Str())
	}
	return b
}

// open begins a message in a field. Its length is written by shut.
func open(b []byte, field protowire.Number) (out []byte, at int) {
	b = append(protowire.AppendTag(b, field, protowire.BytesType), 0)
	return b, len(b)
}

// shut ends the message that begins at a place: nearly all are shorter than 128
// bytes, whose length takes the one that open has left.
func shut(b []byte, at int) []byte {
	n := len(b) - at
	if n < 0x80 {
		b[at-1] = byte(n)
		return b
	}
	size := protowire.SizeVarint(uint64(n))
	b = append(b, "0123456789"[:size-1]...) // room for the rest of the length
	copy(b[at+size-1:], b[at:at+n])
	protowire.AppendVarint(b[:at-1], uint64(n))
	return b
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

// appendID appends the ids of a span or link, of which a link's may be missing.
func appendID(b []byte, id activity.ID) []byte {
	if id.Trace != (activity.TraceID{}) {
		b = appendBytes(b, 1, id.Trace[:])
	}
	if id.Span != (activity.SpanID{}) {
		b = appendBytes(b, 2, id.Span[:])
	}
	return b
}

func appendFlags(b []byte, field protowire.Number, flags uint32) []byte {
	if flags == 0 {
		return b
	}
	return protowire.AppendFixed32(protowire.AppendTag(b, field, protowire.Fixed32Type), flags)
}

func appendString(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), valid(s))
}

// valid mends what the receiver's decoder lets pass and others refuse the whole
// request for.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendTime(b []byte, field protowire.Number, t activity.Time) []byte {
	if t == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), uint64(t))
}

// What sizes count for a field and the messages around it, at most.
const (
	fieldBytes = 12 // tag and value of a number, or tag and length
	spanBytes  = 24 * fieldBytes
)

// sizeOf returns how many bytes the span of an event takes at most, without
// resource and scope, if its texts are valid.
func sizeOf(e *activity.Event) int {
	n := spanBytes + len(e.TraceState) + len(e.Name) + len(e.StatusMessage) + sizeOfAttrs(e.Attrs)
	for i := range e.SpanEvents {
		n += 4*fieldBytes + len(e.SpanEvents[i].Name) + sizeOfAttrs(e.SpanEvents[i].Attrs)
	}
	for i := range e.Links {
		n += 8*fieldBytes + len(e.Links[i].TraceState) + sizeOfAttrs(e.Links[i].Attrs)
	}
	return n
}

func (s source) size() int {
	n := 8 * fieldBytes
	if s.resource != nil {
		n += len(s.resource.SchemaURL) + sizeOfAttrs(s.resource.Attrs)
	}
	if s.scope != nil {
		n += len(s.scope.SchemaURL) + len(s.scope.Name) + len(s.scope.Version) + sizeOfAttrs(s.scope.Attrs)
	}
	return n
}

func sizeOfAttrs(attrs []activity.Attr) int {
	n := 0
	for i := range attrs {
		n += 3*fieldBytes + len(attrs[i].Key) + sizeOfValue(attrs[i].Value)
	}
	return n
}

func sizeOfValue(v activity.Value) int {
	n := fieldBytes + len(v.Str())
	for _, e := range v.Slice() {
		n += fieldBytes + sizeOfValue(e)
	}
	return n + sizeOfAttrs(v.Map())
}
