package api

import (
	"encoding/base64"
	"math"
	"strconv"

	"github.com/midspan/midspan/activity"
)

// otlpEncoding is one ExportTraceServiceRequest in OTLP's JSON mapping: ids in
// hex, times and integers as strings, enums as numbers (OTLP specification,
// "JSON Protobuf Encoding"). A span that has not ended has an end time of zero.
//
// Spans that follow each other and share resource and scope share a group of at
// most maxOTLPGroup: who reads it need not hold all of them in memory either.
type otlpEncoding struct {
	resource *activity.Resource
	scope    *activity.Scope
	open     bool // a group of spans is
	spans    int  // of the resource that was begun last
}

const maxOTLPGroup = 1000

func (*otlpEncoding) contentType() string { return "application/json" }
func (*otlpEncoding) extension() string   { return ".otlp.json" }

func (*otlpEncoding) begin(b []byte, _ activity.Position) []byte {
	return append(b, `{"resourceSpans":[`...)
}

func (e *otlpEncoding) activity(b []byte, act *activity.Activity) []byte {
	switch {
	case !e.open:
		b = appendOTLPResource(b, act)
	case act.Resource != e.resource || e.spans == maxOTLPGroup:
		b = e.closeScope(b)
		b = e.closeResource(b)
		b = append(b, ',')
		b = appendOTLPResource(b, act)
		e.spans = 0
	case act.Scope != e.scope:
		b = e.closeScope(b)
		b = append(b, ',')
		b = appendOTLPScope(b, act)
	default:
		b = append(b, ',')
	}
	e.open, e.resource, e.scope = true, act.Resource, act.Scope
	e.spans++
	return appendOTLPSpan(append(b, '\n'), act)
}

func (e *otlpEncoding) end(b []byte) []byte {
	if e.open {
		b = e.closeScope(b)
		b = e.closeResource(b)
	}
	return append(b, "]}\n"...)
}

func (e *otlpEncoding) closeScope(b []byte) []byte {
	b = append(b, ']')
	if e.scope != nil && e.scope.SchemaURL != "" {
		b = append(b, `,"schemaUrl":`...)
		b = activity.AppendString(b, e.scope.SchemaURL)
	}
	return append(b, '}')
}

func (e *otlpEncoding) closeResource(b []byte) []byte {
	b = append(b, ']')
	if e.resource != nil && e.resource.SchemaURL != "" {
		b = append(b, `,"schemaUrl":`...)
		b = activity.AppendString(b, e.resource.SchemaURL)
	}
	return append(b, '}')
}

func appendOTLPResource(b []byte, act *activity.Activity) []byte {
	b = append(b, `{"resource":{"attributes":`...)
	var r activity.Resource
	if act.Resource != nil {
		r = *act.Resource
	}
	b = appendOTLPAttrs(b, r.Attrs)
	b = appendOTLPCount(b, "droppedAttributesCount", r.Dropped)
	b = append(b, `},"scopeSpans":[`...)
	return appendOTLPScope(b, act)
}

func appendOTLPScope(b []byte, act *activity.Activity) []byte {
	b = append(b, `{"scope":{`...)
	if s := act.Scope; s != nil {
		b = append(b, `"name":`...)
		b = activity.AppendString(b, s.Name)
		b = append(b, `,"version":`...)
		b = activity.AppendString(b, s.Version)
		b = append(b, `,"attributes":`...)
		b = appendOTLPAttrs(b, s.Attrs)
		b = appendOTLPCount(b, "droppedAttributesCount", s.Dropped)
	}
	return append(b, `},"spans":[`...)
}

func appendOTLPSpan(b []byte, act *activity.Activity) []byte {
	b = append(b, `{"traceId":"`...)
	b = append(b, act.ID.Trace.String()...)
	b = append(b, `","spanId":"`...)
	b = append(b, act.ID.Span.String()...)
	b = append(b, '"')
	if act.TraceState != "" {
		b = append(b, `,"traceState":`...)
		b = activity.AppendString(b, act.TraceState)
	}
	if !act.Parent.IsZero() {
		b = append(b, `,"parentSpanId":"`...)
		b = append(b, act.Parent.Span.String()...)
		b = append(b, '"')
	}
	flags := act.Flags
	if act.Sampling == activity.Sampled || act.Sampling == 0 && flags == 0 {
		flags |= 1 // W3C's trace flag, of what nobody says otherwise
	}
	b = appendOTLPCount(b, "flags", flags)
	b = append(b, `,"name":`...)
	b = activity.AppendString(b, act.Name)
	b = append(b, `,"kind":`...)
	b = strconv.AppendUint(b, uint64(act.Kind), 10)
	start := act.SpanStart
	if start == 0 {
		start = act.PlannedAt
	}
	b = appendOTLPTime(b, "startTimeUnixNano", start)
	b = appendOTLPTime(b, "endTimeUnixNano", act.EndedAt)
	b = append(b, `,"attributes":`...)
	b = appendOTLPAttrs(b, act.Attributes)
	b = appendOTLPCount(b, "droppedAttributesCount", act.Dropped[0])
	if len(act.SpanEvents) > 0 {
		b = append(b, `,"events":[`...)
		for i := range act.SpanEvents {
			if i > 0 {
				b = append(b, ',')
			}
			se := &act.SpanEvents[i]
			b = append(b, `{"name":`...)
			b = activity.AppendString(b, se.Name)
			b = appendOTLPTime(b, "timeUnixNano", se.At)
			b = append(b, `,"attributes":`...)
			b = appendOTLPAttrs(b, se.Attrs)
			b = append(appendOTLPCount(b, "droppedAttributesCount", se.Dropped), '}')
		}
		b = append(b, ']')
	}
	b = appendOTLPCount(b, "droppedEventsCount", act.Dropped[1])
	if len(act.Links) > 0 {
		b = append(b, `,"links":[`...)
		for i := range act.Links {
			if i > 0 {
				b = append(b, ',')
			}
			l := &act.Links[i]
			b = append(b, `{"traceId":"`...)
			b = append(b, l.ID.Trace.String()...)
			b = append(b, `","spanId":"`...)
			b = append(b, l.ID.Span.String()...)
			b = append(b, '"')
			if l.TraceState != "" {
				b = append(b, `,"traceState":`...)
				b = activity.AppendString(b, l.TraceState)
			}
			b = append(b, `,"attributes":`...)
			b = appendOTLPAttrs(b, l.Attrs)
			b = appendOTLPCount(b, "droppedAttributesCount", l.Dropped)
			b = append(appendOTLPCount(b, "flags", l.Flags), '}')
		}
		b = append(b, ']')
	}
	b = appendOTLPCount(b, "droppedLinksCount", act.Dropped[2])
	b = append(b, `,"status":{`...)
	if act.Status != activity.StatusUnset {
		b = append(b, `"code":`...)
		b = strconv.AppendUint(b, uint64(act.Status), 10)
		if message := act.StatusMessage(); message != "" && act.Status == activity.StatusError {
			b = append(b, `,"message":`...)
			b = activity.AppendString(b, message)
		}
	}
	return append(b, "}}"...)
}

func appendOTLPTime(b []byte, name string, t activity.Time) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":"`...)
	b = strconv.AppendInt(b, int64(max(t, 0)), 10)
	return append(b, '"')
}

func appendOTLPCount(b []byte, name string, n uint32) []byte {
	if n == 0 {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return strconv.AppendUint(b, uint64(n), 10)
}

func appendOTLPAttrs(b []byte, attrs []activity.Attr) []byte {
	b = append(b, '[')
	for i := range attrs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"key":`...)
		b = activity.AppendString(b, attrs[i].Key)
		b = append(b, `,"value":`...)
		b = append(appendOTLPValue(b, attrs[i].Value), '}')
	}
	return append(b, ']')
}

func appendOTLPValue(b []byte, v activity.Value) []byte {
	switch v.Kind() {
	case activity.KindBool:
		b = append(b, `{"boolValue":`...)
		b = strconv.AppendBool(b, v.Bool())
	case activity.KindInt:
		b = append(b, `{"intValue":"`...)
		b = strconv.AppendInt(b, v.Int(), 10)
		b = append(b, '"')
	case activity.KindFloat:
		b = append(b, `{"doubleValue":`...)
		b = appendOTLPDouble(b, v.Float())
	case activity.KindString:
		b = append(b, `{"stringValue":`...)
		b = activity.AppendString(b, v.Str())
	case activity.KindBytes:
		b = append(b, `{"bytesValue":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(v.Str()))
		b = append(b, '"')
	case activity.KindSlice:
		b = append(b, `{"arrayValue":{"values":[`...)
		for i, e := range v.Slice() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendOTLPValue(b, e)
		}
		b = append(b, `]}`...)
	case activity.KindMap:
		b = append(b, `{"kvlistValue":{"values":`...)
		b = append(appendOTLPAttrs(b, v.Map()), '}')
	default:
		return append(b, "{}"...)
	}
	return append(b, '}')
}

// appendOTLPDouble appends a number as protobuf's JSON mapping has it, where
// those that JSON does not know are strings.
func appendOTLPDouble(b []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	return activity.AppendFloat(b, f)
}
