package receiver

import (
	"encoding/base64"
	"errors"
	"math"
	"slices"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/midspan/midspan/activity"
)

// G-Research's partial span processors send a whole span in a log record.
const keyPartial = "partial.event"

func (b *batch) logs(ld plog.Logs) {
	for _, rl := range ld.ResourceLogs().All() {
		b.setResource(rl.Resource(), rl.SchemaUrl())
		for _, sl := range rl.ScopeLogs().All() {
			b.setScope(sl.Scope(), sl.SchemaUrl())
			for _, r := range sl.LogRecords().All() {
				b.log(r)
			}
		}
	}
}

func (b *batch) log(r plog.LogRecord) {
	if event, ok := r.Attributes().Get(keyPartial); ok {
		b.partial(r, event.AsString())
		return
	}
	if strings.HasPrefix(r.EventName(), leasePrefix) {
		b.lease(r)
		return
	}
	name, ours := strings.CutPrefix(r.EventName(), activity.LogEventPrefix)
	kind, known := activity.ParseKind(name)
	switch {
	case !ours:
		b.reject("it tells nothing of an activity, and no other logs are kept")
		return
	case !known || kind == activity.EventLost: // nobody tells that of itself
		b.reject("its event name is not one of activity.planned, started, updated, completed, failed or cancelled")
		return
	case r.TraceID().IsEmpty():
		b.reject("the trace id is zero")
		return
	case r.SpanID().IsEmpty():
		b.reject("the span id is zero")
		return
	}
	e := activity.Event{Kind: kind, At: timeOfLog(r), Changes: activity.Changes{Resource: b.resource, Scope: b.scope}}
	if e.At <= 0 {
		b.reject("it has no time, or one after the year 2262")
		return
	}
	e.ID = activity.ID{Trace: activity.TraceID(r.TraceID()), Span: activity.SpanID(r.SpanID())}
	e.Sampling = SamplingOf(uint32(r.Flags()), b.resource)
	if kind == activity.EventFailed {
		e.Status = activity.StatusError
	}
	b.counter = counter{values: r.Attributes().Len()}
	for k, v := range r.Attributes().All() {
		switch k {
		case activity.KeyRev:
			if v.Type() != pcommon.ValueTypeInt || v.Int() < 1 || v.Int() > math.MaxUint32 {
				b.reject("activity.rev is not a whole number from 1")
				return
			}
			e.Rev = uint32(v.Int())
		case activity.KeyName:
			e.Name = v.AsString()
		case activity.KeyParentSpanID:
			parent, err := activity.ParseSpanID(v.AsString())
			if err != nil {
				b.reject("activity.parent_span_id is not 16 hex digits")
				return
			}
			e.Parent = activity.ID{Trace: e.ID.Trace, Span: parent}
		case activity.KeySpanKind:
			e.SpanKind = parseSpanKind(v.AsString())
		case activity.KeySampled:
			if v.Type() != pcommon.ValueTypeBool {
				b.reject("activity.sampled is neither true nor false")
				return
			}
			if e.Sampling = activity.Unsampled; v.Bool() {
				e.Sampling = activity.Sampled
			}
		case activity.KeyErrorMessage:
			if kind == activity.EventFailed {
				e.StatusMessage = v.AsString()
				continue
			}
			fallthrough
		default:
			e.Attrs = append(e.Attrs, activity.Attr{Key: k, Value: b.value(v, 0)})
		}
	}
	if !e.Parent.IsZero() && e.Parent == e.ID {
		b.reject("it is its own parent")
		return
	}
	if b.over() {
		return
	}
	b.events = append(b.events, e)
}

func timeOfLog(r plog.LogRecord) activity.Time {
	if t := timeOf(r.Timestamp()); t != 0 {
		return t
	}
	return timeOf(r.ObservedTimestamp())
}

func parseSpanKind(s string) activity.SpanKind {
	for k := activity.KindInternal; k <= activity.KindConsumer; k++ {
		if strings.EqualFold(s, k.String()) {
			return k
		}
	}
	return activity.KindUnset
}

// partial adds the events of the spans that a G-Research log record holds: a
// heartbeat of one in flight, or one that has stopped.
func (b *batch) partial(r plog.LogRecord, event string) {
	if event != "heartbeat" && event != "stop" {
		b.reject("partial.event is neither heartbeat nor stop")
		return
	}
	td, err := b.partialSpans(r.Body())
	if err != nil {
		b.reject("the body of a partial span is no OTLP span, as JSON or in base64")
		return
	}
	inner := batch{r: b.r}
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				// A span in flight has no end, whatever its processor wrote there.
				if event == "heartbeat" {
					s.SetEndTimestamp(0)
				} else if s.EndTimestamp() == 0 {
					s.SetEndTimestamp(pcommon.Timestamp(timeOfLog(r)))
				}
			}
		}
	}
	inner.traces(td)
	if inner.rejected > 0 || len(inner.events) == 0 {
		why := "the body of a partial span holds no span"
		if len(inner.reasons) > 0 {
			why = inner.reasons[0].text
		}
		b.reject(why)
		return
	}
	for i := range inner.events {
		e := &inner.events[i]
		e.EndTime = 0             // the finished span itself comes by the sender's exporter
		if event == "heartbeat" { // a sign of life, at its time
			e.At = max(e.At, timeOfLog(r))
		}
	}
	b.events = append(b.events, inner.events...)
	for _, res := range inner.leased {
		if !slices.Contains(b.leased, res) {
			b.leased = append(b.leased, res)
		}
	}
}

func (b *batch) survey() *survey { return &survey{limit: b.r.cfg.MaxValues} }

// partialSpans reads the forms that are in use: Java's and .NET's processors
// write base64 of a protobuf message, Python's protobuf's own JSON, in which ids
// are base64, and OTLP's JSON has them in hex.
func (b *batch) partialSpans(body pcommon.Value) (ptrace.Traces, error) {
	var raw []byte
	switch body.Type() {
	case pcommon.ValueTypeBytes:
		raw = body.Bytes().AsRaw()
	case pcommon.ValueTypeStr:
		text := strings.TrimSpace(body.Str())
		if strings.HasPrefix(text, "{") {
			return b.partialJSON([]byte(text))
		}
		var err error
		if raw, err = base64.StdEncoding.DecodeString(text); err != nil {
			return ptrace.Traces{}, err
		}
	default:
		return ptrace.Traces{}, errors.New("neither text nor bytes")
	}
	if err := b.survey().protobuf(raw); err != nil {
		return ptrace.Traces{}, err
	}
	return new(ptrace.ProtoUnmarshaler).UnmarshalTraces(raw)
}

func (b *batch) partialJSON(text []byte) (ptrace.Traces, error) {
	if err := b.survey().json(text); err != nil {
		return ptrace.Traces{}, err
	}
	if td, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces(text); err == nil {
		return td, nil
	}
	var data tracepb.TracesData
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(text, &data); err != nil {
		return ptrace.Traces{}, err
	}
	raw, err := proto.Marshal(&data)
	if err != nil {
		return ptrace.Traces{}, err
	}
	return new(ptrace.ProtoUnmarshaler).UnmarshalTraces(raw)
}
