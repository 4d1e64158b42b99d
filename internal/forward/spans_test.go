package forward

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/midspan/midspan/activity"
)

// long is cut where it is shown, not where it is passed on.
var long = strings.Repeat("é", activity.MaxString)

// maker makes finished spans that have a bit of everything.
type maker struct {
	*rand.Rand
	ids   uint64
	short bool // no long texts
}

func newMaker(seed uint64) *maker { return &maker{Rand: rand.New(rand.NewPCG(seed, 1))} }

// request makes one of n spans, of a few resources and scopes.
func (m *maker) request(n int) *exportRequest {
	r := &collectorpb.ExportTraceServiceRequest{}
	for n > 0 {
		rs := &tracepb.ResourceSpans{Resource: &resourcepb.Resource{Attributes: append(m.shared(), str("service.name", m.pick("shop", "bank", "väg"))), DroppedAttributesCount: uint32(m.IntN(2))}}
		rs.SchemaUrl = m.pick("", "https://opentelemetry.io/schemas/1.37.0")
		r.ResourceSpans = append(r.ResourceSpans, rs)
		for s := m.IntN(3); s >= 0 && n > 0; s-- {
			ss := &tracepb.ScopeSpans{
				Scope:     &commonpb.InstrumentationScope{Name: m.pick("", "http", "sql"), Version: m.pick("", "1.2"), Attributes: m.shared(), DroppedAttributesCount: uint32(m.IntN(2))},
				SchemaUrl: m.pick("", "https://opentelemetry.io/schemas/1.36.0"),
			}
			rs.ScopeSpans = append(rs.ScopeSpans, ss)
			for k := 1 + m.IntN(n); k > 0; k-- {
				ss.Spans = append(ss.Spans, m.span())
				n--
			}
		}
	}
	return r
}

func (m *maker) span() *tracepb.Span {
	begin := 1_700_000_000_000_000_000 + m.Uint64N(1e15)
	s := &tracepb.Span{
		TraceId: m.id(16), SpanId: m.id(8), Name: m.pick("GET /", "", "charge card", "größer"),
		Kind: tracepb.Span_SpanKind(m.IntN(6)), StartTimeUnixNano: begin, EndTimeUnixNano: begin + m.Uint64N(1e10),
		TraceState: m.pick("", "", "vendor=1,other=2"), Attributes: m.attrs(0),
		DroppedAttributesCount: uint32(m.IntN(2)), DroppedEventsCount: uint32(m.IntN(2) * 300), DroppedLinksCount: uint32(m.IntN(2)),
		Flags: []uint32{0, 1, 0x101, 0x301, 0x303, 1<<31 | 1}[m.IntN(6)],
	}
	if m.IntN(3) > 0 {
		s.ParentSpanId = m.id(8)
	}
	switch m.IntN(4) {
	case 0:
		s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_OK}
	case 1:
		s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: m.pick("", "card declined")}
	case 2:
		s.Status = &tracepb.Status{Message: "a message without a code"}
	}
	for range m.IntN(3) {
		s.Events = append(s.Events, &tracepb.Span_Event{TimeUnixNano: begin + m.Uint64N(1e9), Name: m.pick("", "exception", "retry"), Attributes: m.attrs(1), DroppedAttributesCount: uint32(m.IntN(2))})
	}
	for range m.IntN(3) {
		l := &tracepb.Span_Link{TraceState: m.pick("", "a=b"), Attributes: m.attrs(1), DroppedAttributesCount: uint32(m.IntN(2)), Flags: uint32(m.IntN(2) * 0x301)}
		if m.IntN(4) > 0 { // an SDK keeps one without for its attributes
			l.TraceId, l.SpanId = m.id(16), m.id(8)
		}
		s.Links = append(s.Links, l)
	}
	return s
}

// id returns ids of which no two are the same.
func (m *maker) id(n int) []byte {
	m.ids++
	return binary.BigEndian.AppendUint64(make([]byte, n-8, n), m.ids)
}

func (m *maker) pick(texts ...string) string { return texts[m.IntN(len(texts))] }

func (m *maker) attrs(depth int) []*commonpb.KeyValue {
	var attrs []*commonpb.KeyValue
	for i := range m.IntN(9 - 3*depth) {
		if m.IntN(50) == 0 {
			i = 0 // a key twice is wrong, and passed on as it is
		}
		attrs = append(attrs, &commonpb.KeyValue{Key: fmt.Sprintf("key.%d", i), Value: m.value(depth)})
	}
	return attrs
}

// shared makes attributes of a resource or scope, whose size the receiver bounds.
func (m *maker) shared() []*commonpb.KeyValue {
	defer func(before bool) { m.short = before }(m.short)
	m.short = true
	return m.attrs(1)
}

func str(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

func (m *maker) text() string {
	if !m.short && m.IntN(300) == 0 {
		return long
	}
	return m.pick("", "x", "eu-central-1", string(make([]byte, 200)))
}

func (m *maker) value(depth int) *commonpb.AnyValue {
	kinds := 8
	if depth > 1 {
		kinds = 6
	}
	switch m.IntN(kinds) {
	case 0:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: m.text()}}
	case 1:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: []int64{0, 1, -1, math.MaxInt64, math.MinInt64}[m.IntN(5)]}}
	case 2:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: []float64{0, 1.5, math.Inf(-1), math.Copysign(0, -1)}[m.IntN(4)]}}
	case 3:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: m.IntN(2) == 0}}
	case 4:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: []byte{0xff, 0, 0x80}[:m.IntN(4)]}}
	case 5:
		return &commonpb.AnyValue{}
	case 6:
		list := &commonpb.ArrayValue{}
		for range m.IntN(4) {
			list.Values = append(list.Values, m.value(depth+1))
		}
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: list}}
	}
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_KvlistValue{KvlistValue: &commonpb.KeyValueList{Values: m.attrs(depth + 1)}}}
}
