package receiver

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/midspan/midspan/activity"
)

// goodSpans returns n good spans of one trace, padded by an attribute.
func goodSpans(n, pad int) ptraceotlp.ExportRequest {
	td := ptrace.NewTraces()
	spans := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	for i := range n {
		s := spans.AppendEmpty()
		s.SetTraceID(pcommon.TraceID{15: 1})
		s.SetSpanID(pcommon.SpanID{6: byte(i >> 8), 7: byte(i + 1)})
		s.SetName("good")
		s.SetStartTimestamp(10)
		s.SetEndTimestamp(20)
		if pad > 0 {
			s.Attributes().PutStr("pad", strings.Repeat("x", pad))
		}
	}
	return ptraceotlp.NewExportRequestFromTraces(td)
}

func marshal(t *testing.T, m interface{ MarshalProto() ([]byte, error) }) []byte {
	t.Helper()
	b, err := m.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What is wrong in a batch is rejected alone, with its count and its reason.
func TestRejections(t *testing.T) {
	good := `{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"good","startTimeUnixNano":"10","endTimeUnixNano":"20"}`
	goodLog := `{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","eventName":"activity.started","timeUnixNano":"10"}`
	const ids = `"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b8"`
	for _, tt := range []struct {
		name, path, bad string
		reason          string
	}{
		{"trace id", "/v1/traces", `{"spanId":"00f067aa0ba902b8","startTimeUnixNano":"10"}`, "the trace id is zero"},
		{"trace id of zeros", "/v1/traces", `{"traceId":"00000000000000000000000000000000","spanId":"00f067aa0ba902b8","startTimeUnixNano":"10"}`, "the trace id is zero"},
		{"span id", "/v1/traces", `{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","startTimeUnixNano":"10"}`, "the span id is zero"},
		{"length of an id", "/v1/traces", `{"traceId":"4bf92f3577b34da6a3ce929d0e0e473","spanId":"00f067aa0ba902b8","startTimeUnixNano":"10"}`, "it is no OTLP span: traceId: "},
		{"length of a log's id", "/v1/logs", `{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00","eventName":"activity.started","timeUnixNano":"10"}`, "it is no OTLP log record: spanId: "},
		{"no times", "/v1/traces", `{` + ids + `}`, "neither a start nor an end time"},
		{"far future", "/v1/traces", `{` + ids + `,"startTimeUnixNano":"9223372036854775808"}`, "after the year 2262"},
		{"own parent", "/v1/traces", `{` + ids + `,"parentSpanId":"00f067aa0ba902b8","startTimeUnixNano":"10"}`, "its own parent"},
		{"pending for nothing", "/v1/traces", `{` + ids + `,"startTimeUnixNano":"10","endTimeUnixNano":"10","attributes":[{"key":"logfire.span_type","value":{"stringValue":"pending_span"}}]}`, "a pending span has no parent"},
		{"an ordinary log", "/v1/logs", `{"body":{"stringValue":"hello"}}`, "no other logs are kept"},
		{"event name", "/v1/logs", `{` + ids + `,"eventName":"activity.eaten","timeUnixNano":"10"}`, "its event name is not one of"},
		{"lost is not said by itself", "/v1/logs", `{` + ids + `,"eventName":"activity.lost","timeUnixNano":"10"}`, "its event name is not one of"},
		{"log's trace id", "/v1/logs", `{"spanId":"00f067aa0ba902b8","eventName":"activity.started","timeUnixNano":"10"}`, "the trace id is zero"},
		{"log's span id", "/v1/logs", `{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","eventName":"activity.started","timeUnixNano":"10"}`, "the span id is zero"},
		{"log's time", "/v1/logs", `{` + ids + `,"eventName":"activity.started"}`, "it has no time"},
		{"rev", "/v1/logs", `{` + ids + `,"eventName":"activity.started","timeUnixNano":"10","attributes":[{"key":"activity.rev","value":{"intValue":"0"}}]}`, "activity.rev is not a whole number from 1"},
		{"rev beyond 32 bits", "/v1/logs", `{` + ids + `,"eventName":"activity.started","timeUnixNano":"10","attributes":[{"key":"activity.rev","value":{"intValue":"4294967296"}}]}`, "activity.rev is not a whole number from 1"},
		{"parent", "/v1/logs", `{` + ids + `,"eventName":"activity.started","timeUnixNano":"10","attributes":[{"key":"activity.parent_span_id","value":{"stringValue":"abc"}}]}`, "activity.parent_span_id is not 16 hex digits"},
		{"sampled", "/v1/logs", `{` + ids + `,"eventName":"activity.started","timeUnixNano":"10","attributes":[{"key":"activity.sampled","value":{"stringValue":"no"}}]}`, "activity.sampled is neither true nor false"},
		{"partial event", "/v1/logs", `{` + ids + `,"attributes":[{"key":"partial.event","value":{"stringValue":"nap"}}]}`, "partial.event is neither heartbeat nor stop"},
		{"partial body", "/v1/logs", `{` + ids + `,"body":{"stringValue":"?"},"attributes":[{"key":"partial.event","value":{"stringValue":"stop"}}]}`, "the body of a partial span is no OTLP span"},
		{"empty partial body", "/v1/logs", `{` + ids + `,"body":{"stringValue":"{}"},"attributes":[{"key":"partial.event","value":{"stringValue":"stop"}}]}`, "the body of a partial span holds no span"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newIndex()
			r := newReceiver(t, Config{Sink: sink{x}})
			field, what, body := "rejectedSpans", "spans", `{"resourceSpans":[{"scopeSpans":[{"spans":[`+tt.bad+`,`+good+`,`+tt.bad+`]}]}]}`
			if tt.path == "/v1/logs" {
				field, what, body = "rejectedLogRecords", "log records", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[`+tt.bad+`,`+goodLog+`,`+tt.bad+`]}]}]}`
			}
			w := post(t, r, tt.path, []byte(body))
			var got struct{ PartialSuccess map[string]string }
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
				t.Fatalf("%d %s %v", w.Code, w.Body, err)
			}
			if got.PartialSuccess[field] != "2" {
				t.Errorf("%s, want 2 in %s", w.Body, field)
			}
			message := got.PartialSuccess["errorMessage"]
			if !strings.HasPrefix(message, "2 "+what+" rejected: ") || !strings.Contains(message, tt.reason) {
				t.Errorf("it says %q, want %q", message, tt.reason)
			}
			if n := count(t, x); n != 1 {
				t.Errorf("%d activities, want the good one", n)
			}
			if s := r.Stats(); s.Requests != 1 || s.Events != 1 || s.Rejected != 2 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// What was meant for another path is not taken for nothing.
func TestOtherSignal(t *testing.T) {
	r := newReceiver(t, Config{Sink: sink{newIndex()}})
	for _, tt := range []struct {
		path, body string
		want       int
		text       string
	}{
		{"/v1/traces", `{"resourceLogs":[]}`, 400, "the body holds resourceLogs, and /v1/traces takes resourceSpans"},
		{"/v1/logs", `{"resourceMetrics":[]}`, 400, "the body holds resourceMetrics, and /v1/logs takes resourceLogs"},
		{"/v1/logs", `{"resource_logs":[]}`, 200, ""},
		{"/v1/traces", `{"resourceSpans":[],"resourceLogs":[]}`, 200, ""},
		{"/v1/traces", `{}`, 200, ""},
	} {
		if w := post(t, r, tt.path, []byte(tt.body)); w.Code != tt.want || !strings.Contains(w.Body.String(), tt.text) {
			t.Errorf("%s with %s: %d %s", tt.path, tt.body, w.Code, w.Body)
		}
	}
}

func TestRejectionsByGRPC(t *testing.T) {
	x := newIndex()
	conn := dial(t, newReceiver(t, Config{Sink: sink{x}}))
	req := goodSpans(3, 0)
	req.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(1).SetSpanID(pcommon.SpanID{})
	req.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(2).SetTraceID(pcommon.TraceID{})
	resp, err := ptraceotlp.NewGRPCClient(conn).Export(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if p := resp.PartialSuccess(); p.RejectedSpans() != 2 || p.ErrorMessage() != "1 span rejected: the span id is zero; 1 span rejected: the trace id is zero" {
		t.Errorf("%d %q", p.RejectedSpans(), p.ErrorMessage())
	}
	if n := count(t, x); n != 1 {
		t.Errorf("%d activities, want the good one", n)
	}
	logs := plogotlp.NewExportRequest()
	logs.Logs().ResourceLogs().AppendEmpty().ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr("hello")
	answer, err := plogotlp.NewGRPCClient(conn).Export(t.Context(), logs)
	if err != nil {
		t.Fatal(err)
	}
	if n := answer.PartialSuccess().RejectedLogRecords(); n != 1 {
		t.Errorf("%d log records were rejected", n)
	}
}

// pack returns the body in an encoding.
func pack(t *testing.T, encoding string, body []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	switch encoding {
	case "gzip":
		w := gzip.NewWriter(&buf)
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	case "zstd":
		w, err := zstd.NewWriter(&buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	default:
		return body
	}
	return buf.Bytes()
}

// A request may be as large as MaxBytes, packed or not, and no byte larger.
func TestSize(t *testing.T) {
	body := marshal(t, goodSpans(40, 100))
	for _, encoding := range []string{"identity", "gzip", "zstd"} {
		for _, over := range []int{0, 1} {
			t.Run(fmt.Sprint(encoding, over), func(t *testing.T) {
				x := newIndex()
				r := newReceiver(t, Config{Sink: sink{x}, MaxBytes: len(body) - over})
				w := post(t, r, "/v1/traces", pack(t, encoding, body), "Content-Type", typeProto, "Content-Encoding", encoding)
				want, held := http.StatusOK, 40
				if over > 0 {
					want, held = http.StatusRequestEntityTooLarge, 0
				}
				if w.Code != want || count(t, x) != held {
					t.Errorf("%d with %d activities, want %d with %d", w.Code, count(t, x), want, held)
				}
				opts := []grpc.CallOption{}
				if encoding != "identity" {
					opts = append(opts, grpc.UseCompressor(encoding))
				}
				_, err := ptraceotlp.NewGRPCClient(dial(t, r)).Export(t.Context(), goodSpans(40, 100), opts...)
				if code := status.Code(err); over > 0 && code != codes.ResourceExhausted || over == 0 && err != nil {
					t.Errorf("by gRPC: %v", err)
				}
			})
		}
	}
}

// deep returns a request with an attribute of nested arrays.
func deep(levels int) []byte {
	wrap := func(tag byte, b []byte) []byte {
		out := []byte{tag}
		n := len(b)
		for n >= 0x80 {
			out = append(out, byte(n)|0x80)
			n >>= 7
		}
		return append(append(out, byte(n)), b...)
	}
	var value []byte
	for range levels {
		value = wrap(0x2a, wrap(0x0a, value))
	}
	attr := append(wrap(0x0a, []byte("deep")), wrap(0x12, value)...)
	span := append(wrap(0x0a, bytes.Repeat([]byte{1}, 16)), wrap(0x12, bytes.Repeat([]byte{2}, 8))...)
	span = append(span, 0x39, 1, 0, 0, 0, 0, 0, 0, 0) // start
	span = append(span, wrap(0x4a, attr)...)
	return wrap(0x0a, wrap(0x12, wrap(0x12, span)))
}

// What would take the decoder's stack is refused before it is decoded.
func TestDepth(t *testing.T) {
	for _, tt := range []struct {
		levels int
		want   int
	}{{1, http.StatusOK}, {50, http.StatusOK}, {70, http.StatusBadRequest}, {2_000, http.StatusBadRequest}} {
		r := newReceiver(t, Config{Sink: sink{newIndex()}})
		w := post(t, r, "/v1/traces", deep(tt.levels), "Content-Type", typeProto)
		if w.Code != tt.want {
			t.Errorf("%d levels: %d %s, want %d", tt.levels, w.Code, w.Body, tt.want)
		}
		req := new(rawMessage)
		*req = deep(tt.levels)
		err := dial(t, r).Invoke(t.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", req, new(rawMessage), grpc.ForceCodec(bytesCodec{}))
		if (err == nil) != (tt.want == http.StatusOK) {
			t.Errorf("%d levels by gRPC: %v", tt.levels, err)
		}
	}
	for _, tt := range []struct{ levels, want int }{{50, http.StatusOK}, {130, http.StatusBadRequest}, {100_000, http.StatusBadRequest}} {
		nested := []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"\\\"[{[{","attributes":[{"key":"a","value":` +
			strings.Repeat(`{"arrayValue":{"values":[`, tt.levels) + strings.Repeat(`]}}`, tt.levels) + `}]}]}]}]}`)
		if w := post(t, newReceiver(t, Config{Sink: sink{newIndex()}}), "/v1/traces", nested); w.Code != tt.want {
			t.Errorf("%d levels of JSON: %d %s", tt.levels, w.Code, w.Body)
		}
	}
}

type rawMessage []byte

type bytesCodec struct{}

func (bytesCodec) Name() string                       { return "proto" }
func (bytesCodec) Marshal(v any) ([]byte, error)      { return *v.(*rawMessage), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error { *v.(*rawMessage) = data; return nil }

// blocked is a sink that lets go when told to.
type blocked struct {
	entered, release chan struct{}
}

func (b *blocked) Append(context.Context, []activity.Event) error {
	b.entered <- struct{}{}
	<-b.release
	return nil
}

// Beyond MaxPending requests are told to come again, and are taken when there
// is room.
func TestOverload(t *testing.T) {
	sink := &blocked{make(chan struct{}), make(chan struct{})}
	r := newReceiver(t, Config{Sink: sink, MaxPending: 1})
	client := ptraceotlp.NewGRPCClient(dial(t, r))
	body := marshal(t, goodSpans(1, 0))
	var first sync.WaitGroup
	first.Go(func() {
		if w := post(t, r, "/v1/traces", body, "Content-Type", typeProto); w.Code != http.StatusOK {
			t.Errorf("the first: %d %s", w.Code, w.Body)
		}
	})
	<-sink.entered
	w := post(t, r, "/v1/traces", body, "Content-Type", typeProto)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" || w.Header().Get("Content-Type") != typeProto {
		t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	_, err := client.Export(t.Context(), goodSpans(1, 0))
	s := status.Convert(err)
	if s.Code() != codes.ResourceExhausted || len(s.Details()) != 1 {
		t.Fatalf("by gRPC: %v", err)
	}
	if info, ok := s.Details()[0].(*errdetails.RetryInfo); !ok || info.RetryDelay.AsDuration() != retryAfter {
		t.Errorf("by gRPC it advises %v", s.Details())
	}
	if got := r.Stats().Refused; got != 2 {
		t.Errorf("%d requests are counted as refused", got)
	}
	sink.release <- struct{}{}
	first.Wait()
	var again sync.WaitGroup
	again.Go(func() {
		if _, err := client.Export(t.Context(), goodSpans(1, 0)); err != nil {
			t.Errorf("with room again: %v", err)
		}
	})
	<-sink.entered
	sink.release <- struct{}{}
	again.Wait()
}

// failing is a sink that takes nothing while it is full.
type failing struct {
	sink
	full atomic.Bool
}

func (f *failing) Append(ctx context.Context, events []activity.Event) error {
	if f.full.Load() {
		return errors.New("append: the disk is full")
	}
	return f.sink.Append(ctx, events)
}

// What cannot be stored is told to come again, and is counted when it was taken.
func TestUnavailable(t *testing.T) {
	x := newIndex()
	s := &failing{sink: sink{x}}
	s.full.Store(true)
	r := newReceiver(t, Config{Sink: s})
	client := ptraceotlp.NewGRPCClient(dial(t, r))
	body := marshal(t, goodSpans(3, 0))
	w := post(t, r, "/v1/traces", body, "Content-Type", typeProto)
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
		t.Errorf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	_, err := client.Export(t.Context(), goodSpans(3, 0))
	if st := status.Convert(err); st.Code() != codes.Unavailable || len(st.Details()) != 1 {
		t.Errorf("by gRPC: %v", err)
	}
	if got := r.Stats(); got != (Stats{Unavailable: 2, MaxPending: DefaultMaxPending}) || count(t, x) != 0 {
		t.Errorf("%+v with %d activities", got, count(t, x))
	}
	s.full.Store(false)
	if w := post(t, r, "/v1/traces", body, "Content-Type", typeProto); w.Code != http.StatusOK {
		t.Errorf("with room again: %d", w.Code)
	}
	if got := r.Stats(); got != (Stats{Requests: 1, Events: 3, Unavailable: 2, MaxPending: DefaultMaxPending}) || count(t, x) != 3 {
		t.Errorf("%+v with %d activities", got, count(t, x))
	}
}

// rejecting takes all but some.
type rejecting struct{ sink }

func (s rejecting) Append(ctx context.Context, events []activity.Event) error {
	if err := s.sink.Append(ctx, events[1:]); err != nil {
		return err
	}
	return &RejectedError{Events: 1, Reason: "it is too much"}
}

// What a sink will never take is rejected alone.
func TestSinkRejects(t *testing.T) {
	x := newIndex()
	r := newReceiver(t, Config{Sink: rejecting{sink{x}}})
	resp, err := ptraceotlp.NewGRPCClient(dial(t, r)).Export(t.Context(), goodSpans(3, 0))
	if err != nil || resp.PartialSuccess().RejectedSpans() != 1 || resp.PartialSuccess().ErrorMessage() != "1 span rejected: it is too much" {
		t.Errorf("%v %v", resp.PartialSuccess(), err)
	}
	if got := r.Stats(); got != (Stats{Requests: 1, Events: 2, Rejected: 1, MaxPending: DefaultMaxPending}) || count(t, x) != 2 {
		t.Errorf("%+v with %d activities", got, count(t, x))
	}
}

// A gRPC peer that never sends its request does not hold a place for long.
func TestSlowPeer(t *testing.T) {
	r := newReceiver(t, Config{Sink: sink{newIndex()}, MaxPending: 1, Connections: Connections{Request: 50 * time.Millisecond}})
	conn := dial(t, r)
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, "/"+served[traces].service+"/Export", grpc.ForceCodec(bytesCodec{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(new(rawMessage)); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v", err)
	}
	if _, err := ptraceotlp.NewGRPCClient(conn).Export(t.Context(), goodSpans(1, 0)); err != nil {
		t.Errorf("then: %v", err)
	}
}

func TestTokens(t *testing.T) {
	reader := fmt.Errorf("%w: it may read", ErrScope)
	r := newReceiver(t, Config{Sink: sink{newIndex()}, Admit: func(token string) error {
		switch token {
		case "0123456789abcdef", "fedcba9876543210":
			return nil
		case "reader":
			return reader
		}
		return errors.New("unknown")
	}})
	client := ptraceotlp.NewGRPCClient(dial(t, r))
	body := marshal(t, goodSpans(1, 0))
	for _, tt := range []struct {
		header string
		admits bool
	}{
		{"", false}, {"Bearer 0123456789abcdef", true}, {"bearer fedcba9876543210", true},
		{"Bearer reader", false}, {"Bearer 0123456789abcde", false}, {"Basic 0123456789abcdef", false}, {"0123456789abcdef", false}, {"Bearer ", false},
	} {
		w := post(t, r, "/v1/traces", body, "Content-Type", typeProto, "Authorization", tt.header)
		wantHTTP, wantGRPC := http.StatusOK, codes.OK
		switch {
		case tt.header == "Bearer reader":
			wantHTTP, wantGRPC = http.StatusForbidden, codes.PermissionDenied
		case !tt.admits:
			wantHTTP, wantGRPC = http.StatusUnauthorized, codes.Unauthenticated
		}
		if w.Code != wantHTTP {
			t.Errorf("%q: %d, want %d", tt.header, w.Code, wantHTTP)
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", tt.header)
		_, err := client.Export(ctx, goodSpans(1, 0))
		if status.Code(err) != wantGRPC || wantGRPC == codes.PermissionDenied && !strings.Contains(err.Error(), "it may read") {
			t.Errorf("%q by gRPC: %v, want %v", tt.header, err, wantGRPC)
		}
	}
}

func TestHTTP(t *testing.T) {
	body := marshal(t, goodSpans(1, 0))
	for _, tt := range []struct {
		name, method, path string
		header             []string
		want               int
		says               string
	}{
		{"protobuf", "POST", "/v1/traces", []string{"Content-Type", typeProto}, 200, ""},
		{"with parameters", "POST", "/v1/traces", []string{"Content-Type", typeProto + "; charset=utf-8"}, 200, ""},
		{"GET", "GET", "/v1/traces", []string{"Content-Type", typeJSON}, 405, "use POST"},
		{"elsewhere", "POST", "/v1/metrics", []string{"Content-Type", typeJSON}, 404, "only /v1/traces and /v1/logs"},
		{"no type", "POST", "/v1/traces", nil, 415, "Content-Type is neither"},
		{"a form", "POST", "/v1/traces", []string{"Content-Type", "text/plain"}, 415, "Content-Type is neither"},
		{"encoding", "POST", "/v1/traces", []string{"Content-Type", typeJSON, "Content-Encoding", "br"}, 415, "Content-Encoding is neither"},
		{"not what it says", "POST", "/v1/traces", []string{"Content-Type", typeJSON, "Content-Encoding", "gzip"}, 400, "read the body"},
		{"no OTLP", "POST", "/v1/traces", []string{"Content-Type", typeJSON}, 400, "the body is no OTLP request"},
		{"a web page", "POST", "/v1/traces", []string{"Content-Type", typeProto, "Origin", "http://evil.example"}, 403, "web pages"},
		{"a rebound web page", "POST", "/v1/traces", []string{"Content-Type", typeJSON, "Sec-Fetch-Site", "same-origin"}, 403, "web pages"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := httptest.NewRequest(tt.method, tt.path, bytes.NewReader(body))
			for i := 0; i < len(tt.header); i += 2 {
				req.Header.Set(tt.header[i], tt.header[i+1])
			}
			w := httptest.NewRecorder()
			newReceiver(t, Config{Sink: sink{newIndex()}}).Handler().ServeHTTP(w, req)
			if w.Code != tt.want || !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("%d %s, want %d with %q", w.Code, w.Body, tt.want, tt.says)
			}
			if allow := w.Header().Get("Allow"); (allow == "POST") != (tt.want == 405) {
				t.Errorf("Allow: %q", allow)
			}
		})
	}
}

// Many senders at once: what is accepted is what is held.
func TestConcurrentSafe(t *testing.T) {
	x := newIndex()
	r := newReceiver(t, Config{Sink: sink{x}, MaxPending: 4})
	client := ptraceotlp.NewGRPCClient(dial(t, r))
	var senders sync.WaitGroup
	var mu sync.Mutex
	accepted := 0
	for sender := range 8 {
		senders.Go(func() {
			for batch := range 20 {
				req := goodSpans(10, 0)
				for _, s := range req.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().All() {
					s.SetTraceID(pcommon.TraceID{0: byte(sender + 1), 1: byte(batch)})
				}
				if _, err := client.Export(context.WithoutCancel(t.Context()), req); err == nil {
					mu.Lock()
					accepted += 10
					mu.Unlock()
				} else if status.Code(err) != codes.ResourceExhausted {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	if n := count(t, x); n != accepted || n == 0 {
		t.Errorf("%d were accepted, %d are held", accepted, n)
	}
}

func TestConfig(t *testing.T) {
	for _, cfg := range []Config{{}, {Sink: sink{newIndex()}, MaxBytes: -1}, {Sink: sink{newIndex()}, MaxBytes: MaxBytesLimit + 1}, {Sink: sink{newIndex()}, MaxPending: -1},
		{Sink: sink{newIndex()}, MaxDepth: MaxDepthLimit + 1}, {Sink: sink{newIndex()}, MaxValues: -1}, {Sink: sink{newIndex()}, Connections: Connections{Ping: -1}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
