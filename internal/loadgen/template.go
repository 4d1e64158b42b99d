package loadgen

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	nameBytes  = 24 // of a span's name, all of one length
	fresh      = 4  // attributes of a span whose values never repeat, and as many whose do
	freshBytes = 16
	traceSpans = 8 // of a trace; the root comes last, as a batch processor sends it
)

// template is an encoded request that becomes a new one by changing bytes in
// place: ids, times, names, and the values that do not repeat.
type template struct {
	body  []byte
	spans []place
	names []string
}

// place says where a span's bytes stand.
type place struct {
	trace, span, parent, name, start, end int // parent is 0 of a root
	fresh                                 [fresh]int
}

var services = []string{"checkout", "payments", "inventory", "shipping", "accounts", "search", "mail", "ledger"}

var verbs = []string{"GET", "POST", "PUT", "DELETE"}

// nameList returns n names of nameBytes each.
func nameList(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%-*.*s", nameBytes, nameBytes, fmt.Sprintf("%s /v1/item/%05d", verbs[i%len(verbs)], i))
	}
	return names
}

// newTemplate encodes a request of n spans of one service. What will change is
// filled with chance, and found by it.
func newTemplate(random *rand.Rand, service, n int, names []string) (*template, error) {
	name := services[service%len(services)]
	spans := &tracepb.ScopeSpans{Scope: &commonpb.InstrumentationScope{Name: "github.com/midspan/midspan/internal/loadgen"}}
	request := &collectorpb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
			text("service.name", name), text("service.instance.id", fmt.Sprintf("%s-%d", name, service)), text("service.version", "1.4.2"),
			text("host.name", fmt.Sprintf("host-%02d", service)), text("telemetry.sdk.language", "go"),
		}},
		ScopeSpans: []*tracepb.ScopeSpans{spans},
	}}}
	chance := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(1 + random.IntN(127)) // text, and no zero
		}
		return b
	}
	var marks [][][]byte
	for i := range n {
		s := &tracepb.Span{
			TraceId: chance(16), SpanId: chance(8), Kind: tracepb.Span_SpanKind(1 + i%5), Flags: 0x101,
			Attributes: []*commonpb.KeyValue{
				text("http.request.method", verbs[i%len(verbs)]),
				{Key: "http.response.status_code", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: int64(200 + i%3)}}},
				text("cloud.region", []string{"eu-central-1", "us-east-1", "ap-south-1"}[i%3]),
				{Key: "cart.total", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: float64(i%100) + 0.5}}},
			},
		}
		of := [][]byte{s.TraceId, s.SpanId}
		if !isRoot(i, n) {
			s.ParentSpanId = chance(8)
			of = append(of, s.ParentSpanId)
		}
		name, start, end := chance(nameBytes), chance(8), chance(8)
		s.Name = string(name)
		s.StartTimeUnixNano, s.EndTimeUnixNano = binary.LittleEndian.Uint64(start), binary.LittleEndian.Uint64(end)
		of = append(of, name, start, end)
		for _, key := range [fresh]string{"request.id", "user.id", "order.id", "session.id"} {
			value := chance(freshBytes)
			s.Attributes = append(s.Attributes, text(key, string(value)))
			of = append(of, value)
		}
		if i%20 == 0 {
			s.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: "upstream timed out"}
		}
		spans.Spans = append(spans.Spans, s)
		marks = append(marks, of)
	}
	body, err := proto.Marshal(request)
	if err != nil {
		return nil, err
	}
	t := &template{body: body, names: names}
	at := 0
	find := func(mark []byte) (int, error) {
		i := bytes.Index(body[at:], mark)
		if i < 0 {
			return 0, errors.New("a span's bytes are not where they were put")
		}
		at += i + len(mark)
		return at - len(mark), nil
	}
	for i, of := range marks {
		var p place
		to := []*int{&p.trace, &p.span, &p.parent, &p.name, &p.start, &p.end}
		if isRoot(i, n) {
			to = []*int{&p.trace, &p.span, &p.name, &p.start, &p.end}
		}
		for k := range p.fresh {
			to = append(to, &p.fresh[k])
		}
		for k, mark := range of {
			if *to[k], err = find(mark); err != nil {
				return nil, err
			}
		}
		t.spans = append(t.spans, p)
	}
	return t, nil
}

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: value}}}
}

// isRoot reports whether the i-th of n spans is the root of its trace.
func isRoot(i, n int) bool { return i%traceSpans == traceSpans-1 || i == n-1 }

// hexPairs holds the two digits of each byte.
var hexPairs = func() (pairs [256]uint16) {
	const digits = "0123456789abcdef"
	for i := range pairs {
		pairs[i] = uint16(digits[i>>4]) | uint16(digits[i&15])<<8
	}
	return pairs
}()

// renew makes another request of the template. All of its spans ended just now.
func (t *template) renew(random *rand.PCG, now time.Time) {
	nano := uint64(now.UnixNano())
	var trace [2]uint64
	var root uint64
	for i := range t.spans {
		p := &t.spans[i]
		if i%traceSpans == 0 {
			trace = [2]uint64{random.Uint64(), random.Uint64() | 1}
			root = random.Uint64() | 1
		}
		binary.LittleEndian.PutUint64(t.body[p.trace:], trace[0])
		binary.LittleEndian.PutUint64(t.body[p.trace+8:], trace[1])
		if p.parent != 0 {
			binary.LittleEndian.PutUint64(t.body[p.span:], random.Uint64()&^1|2) // never the root's
			binary.LittleEndian.PutUint64(t.body[p.parent:], root)
		} else {
			binary.LittleEndian.PutUint64(t.body[p.span:], root)
		}
		chance := random.Uint64()
		took := 1e6 + chance%500e6
		binary.LittleEndian.PutUint64(t.body[p.start:], nano-took)
		binary.LittleEndian.PutUint64(t.body[p.end:], nano-chance%1e6)
		copy(t.body[p.name:p.name+nameBytes], t.names[chance>>40%uint64(len(t.names))])
		for _, at := range p.fresh {
			value := random.Uint64()
			for k := 0; k < freshBytes; k += 2 {
				binary.LittleEndian.PutUint16(t.body[at+k:], hexPairs[byte(value)])
				value >>= 8
			}
		}
	}
}
