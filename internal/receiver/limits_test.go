package receiver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// both encodes a request of a good span and another one as protobuf and as JSON.
func both(t *testing.T, change func(req ptraceotlp.ExportRequest)) map[string][]byte {
	t.Helper()
	req := goodSpans(2, 0)
	change(req)
	asJSON, err := req.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{typeProto: marshal(t, req), typeJSON: asJSON}
}

func nested(v pcommon.Value, levels int) {
	for range levels {
		v = v.SetEmptySlice().AppendEmpty()
	}
	v.SetInt(1)
}

// What passes a bound of one span is rejected alone, at one past the bound.
func TestItemLimits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limit  int
		fill   func(req ptraceotlp.ExportRequest, n int)
		reason string
		all    bool // the span's neighbour shares the fault
	}{
		{"depth", DefaultMaxDepth, func(req ptraceotlp.ExportRequest, n int) {
			nested(req.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(1).Attributes().PutEmpty("deep"), n)
		}, "nested deeper than 32 levels", false},
		{"attributes", DefaultMaxItemValues, func(req ptraceotlp.ExportRequest, n int) {
			attrs := req.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(1).Attributes()
			attrs.EnsureCapacity(n)
			list := attrs.PutEmptySlice("list")
			for i := range n - 1 {
				list.AppendEmpty().SetInt(int64(i))
			}
		}, "it has more than 16384 attributes", false},
		{"events", DefaultMaxItemValues, func(req ptraceotlp.ExportRequest, n int) {
			for range n {
				req.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(1).Events().AppendEmpty()
			}
		}, "it has more than 16384 attributes", false},
		{"resource", maxSource - len("pad") - 8, func(req ptraceotlp.ExportRequest, n int) {
			req.Traces().ResourceSpans().At(0).Resource().Attributes().PutStr("pad", strings.Repeat("x", n))
		}, "its resource is larger than 65536 bytes", true},
		{"depth of a resource", DefaultMaxDepth, func(req ptraceotlp.ExportRequest, n int) {
			nested(req.Traces().ResourceSpans().At(0).Resource().Attributes().PutEmpty("deep"), n)
		}, "its resource: an attribute's value is nested deeper than 32 levels", true},
		{"scope", maxSource, func(req ptraceotlp.ExportRequest, n int) {
			req.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Scope().SetName(strings.Repeat("x", n))
		}, "its scope is larger than 65536 bytes", true},
	} {
		for past := range 2 {
			for kind, body := range both(t, func(req ptraceotlp.ExportRequest) { tt.fill(req, tt.limit+past) }) {
				t.Run(fmt.Sprintf("%s+%d %s", tt.name, past, kind), func(t *testing.T) {
					x := newIndex()
					w := post(t, newReceiver(t, Config{Sink: sink{x}}), "/v1/traces", body, "Content-Type", kind)
					resp := ptraceotlp.NewExportResponse()
					var err error
					if kind == typeJSON {
						err = resp.UnmarshalJSON(w.Body.Bytes())
					} else {
						err = resp.UnmarshalProto(w.Body.Bytes())
					}
					if w.Code != http.StatusOK || err != nil {
						t.Fatalf("%d %s %v", w.Code, w.Body, err)
					}
					rejected := 0
					if past > 0 {
						rejected = 1
						if tt.all {
							rejected = 2
						}
					}
					said := resp.PartialSuccess().ErrorMessage()
					if got := int(resp.PartialSuccess().RejectedSpans()); got != rejected || count(t, x) != 2-rejected || strings.Contains(said, tt.reason) != (rejected > 0) {
						t.Errorf("%d rejected, %d held, %q", got, count(t, x), said)
					}
				})
			}
		}
	}
}

// A span whose resource or scope passes a bound of its values says so, and counts.
func TestSourceLimits(t *testing.T) {
	for _, tt := range []struct {
		scope, deep bool
		want        string
	}{
		{false, false, "its resource: it has more than 10 attributes, events and links"},
		{true, false, "its scope: it has more than 10 attributes, events and links"},
		{false, true, "its resource: an attribute's value is nested deeper than 2 levels"},
		{true, true, "its scope: an attribute's value is nested deeper than 2 levels"},
	} {
		r := newReceiver(t, Config{Sink: sink{newIndex()}, MaxItemValues: 10, MaxDepth: 2})
		for past := range 2 {
			req := goodSpans(2, 0)
			rs := req.Traces().ResourceSpans().At(0)
			attrs := rs.Resource().Attributes()
			if attrs.Clear(); tt.scope {
				attrs = rs.ScopeSpans().At(0).Scope().Attributes()
			}
			if tt.deep {
				nested(attrs.PutEmpty("deep"), 2+past)
			} else {
				for i := range 10 + past {
					attrs.PutInt(fmt.Sprint(i), 1)
				}
			}
			for _, s := range rs.ScopeSpans().At(0).Spans().All() {
				s.Attributes().Clear()
			}
			w := post(t, r, "/v1/traces", marshal(t, req), "Content-Type", typeProto)
			resp := ptraceotlp.NewExportResponse()
			if err := resp.UnmarshalProto(w.Body.Bytes()); err != nil {
				t.Fatal(err)
			}
			want, hits := "", [2]int64{}
			if past > 0 {
				want = "2 spans rejected: " + tt.want
				if hits[0] = 2; tt.deep {
					hits = [2]int64{0, 2}
				}
			}
			if got := [2]int64{r.Stats().TooManyInItem, r.Stats().TooDeep}; got != hits || resp.PartialSuccess().ErrorMessage() != want {
				t.Errorf("%d past: %q, want %q; hits %v, want %v", past, resp.PartialSuccess().ErrorMessage(), want, got, hits)
			}
		}
	}
}

// A request that holds too much is refused before it is decoded, and in JSON it
// counts as in protobuf.
func TestMaxValues(t *testing.T) {
	fill := func(req ptraceotlp.ExportRequest) {
		attrs := req.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(1).Attributes()
		for i := range 100 {
			attrs.PutInt(fmt.Sprint(i), 1)
		}
		span := req.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0)
		span.Links().AppendEmpty().Attributes().PutStr("a", "[,{\\\"")
		span.Events().AppendEmpty()
		list := span.Attributes().PutEmptyMap("map").PutEmptySlice("list")
		list.AppendEmpty().SetStr("x")
		list.AppendEmpty().SetEmptySlice().AppendEmpty().SetInt(1)
	}
	// Two spans, a resource's and a scope's; a link with an attribute, an event; and
	// an attribute that is a map of an array of a text and an array of a number.
	const holds = 100 + 4*itemWeight + 3 + 2 + 1 + 2 + 3 + 2
	for kind, body := range both(t, fill) {
		for past := range 2 {
			limit := holds - past
			x := newIndex()
			w := post(t, newReceiver(t, Config{Sink: sink{x}, MaxValues: limit}), "/v1/traces", body, "Content-Type", kind)
			want := http.StatusOK
			if past > 0 {
				want = http.StatusRequestEntityTooLarge
			}
			if w.Code != want || (count(t, x) == 0) != (past > 0) {
				t.Errorf("%s with %d values allowed: %d %s", kind, limit, w.Code, w.Body)
			}
		}
	}
}

// One id of a wrong length, or any other broken span, does not cost the rest.
func TestBrokenSpanAlone(t *testing.T) {
	good := marshal(t, goodSpans(1, 0))
	field := func(n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
	}
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	ids := cat(field(1, bytes.Repeat([]byte{9}, 16)), field(2, bytes.Repeat([]byte{9}, 8)))
	for name, bad := range map[string][]byte{
		"trace id":      cat(field(1, bytes.Repeat([]byte{9}, 15)), field(2, bytes.Repeat([]byte{9}, 8))),
		"span id":       cat(field(1, bytes.Repeat([]byte{9}, 16)), field(2, bytes.Repeat([]byte{9}, 9))),
		"parent":        cat(ids, field(4, []byte{1})),
		"link":          cat(ids, field(13, field(1, []byte{1, 2}))),
		"cut off":       {0x0a},
		"wrong type":    {0x08, 1},
		"no end of ids": bytes.Repeat([]byte{0x0a, 0}, 10),
	} {
		t.Run(name, func(t *testing.T) {
			x := newIndex()
			r := newReceiver(t, Config{Sink: sink{x}})
			w := post(t, r, "/v1/traces", append(alone(bad), good...), "Content-Type", typeProto)
			resp := ptraceotlp.NewExportResponse()
			if err := resp.UnmarshalProto(w.Body.Bytes()); err != nil || w.Code != http.StatusOK {
				t.Fatalf("%d %q %v", w.Code, w.Body, err)
			}
			if p := resp.PartialSuccess(); p.RejectedSpans() != 1 || p.ErrorMessage() == "" || count(t, x) != 1 {
				t.Errorf("%d rejected for %q, %d held", p.RejectedSpans(), p.ErrorMessage(), count(t, x))
			}
		})
	}
	t.Run("JSON", func(t *testing.T) {
		x := newIndex()
		w := post(t, newReceiver(t, Config{Sink: sink{x}}), "/v1/traces", []byte(`{"resourceSpans":[{"resource":{"attributes":[{"key":"a","value":{"intValue":"9007199254740993"}}]},"scopeSpans":[{"spans":[
			{"traceId":"4bf92f3577b34da6a3ce929d0e0e47","spanId":"00f067aa0ba902b8","startTimeUnixNano":"10"},
			{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"good","startTimeUnixNano":"10"},
			{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b9","startTimeUnixNano":"ten"}]}]}]}`))
		var answer struct {
			PartialSuccess struct{ RejectedSpans, ErrorMessage string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.PartialSuccess.RejectedSpans != "2" || count(t, x) != 1 {
			t.Errorf("%d %s %v", w.Code, w.Body, err)
		}
		if a := get(t, x, id(t, charge)); a.Name != "good" || a.Resource.Attrs[0].Value.Int() != 9007199254740993 {
			t.Errorf("kept %s", a.AppendJSON(nil))
		}
	})
	t.Run("snake case", func(t *testing.T) {
		x := newIndex()
		w := post(t, newReceiver(t, Config{Sink: sink{x}}), "/v1/traces", []byte(`{"resource_spans":[{"scope_spans":[{"spans":[
			{"trace_id":"zz","span_id":"1"},{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","name":"good","start_time_unix_nano":"10"}]}]}]}`))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"rejectedSpans":"1"`) || count(t, x) != 1 {
			t.Errorf("%d %s, %d held", w.Code, w.Body, count(t, x))
		}
	})
	t.Run("nothing good", func(t *testing.T) {
		for _, body := range [][]byte{{0xff}, {0x0a, 9}, alone(nil)[:3]} {
			if w := post(t, newReceiver(t, Config{Sink: sink{newIndex()}}), "/v1/traces", body, "Content-Type", typeProto); w.Code != http.StatusBadRequest {
				t.Errorf("%x: %d %s", body, w.Code, w.Body)
			}
		}
	})
}

// peak returns how much more memory than before was live, at most, while fn ran.
func peak(fn func()) (extra int64) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	read := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64() + sample[1].Value.Uint64())
	}
	runtime.GC()
	before := read()
	stop, stopped := make(chan struct{}), make(chan int64)
	go func() {
		most := before
		for tick := time.NewTicker(200 * time.Microsecond); ; {
			select {
			case <-tick.C:
				most = max(most, read())
			case <-stop:
				tick.Stop()
				stopped <- max(most, read())
				return
			}
		}
	}()
	fn()
	close(stop)
	return <-stopped - before
}

// cost returns what fn takes, at best: others use the machine too.
func cost(fn func()) (took time.Duration, extra int64) {
	for try := range 3 {
		began := time.Now()
		more := peak(fn)
		if d := time.Since(began); try == 0 || d < took {
			took = d
		}
		if extra = max(extra, more); took < time.Second/2 {
			break
		}
	}
	return took, extra
}

// Whatever is sent to exhaust the receiver is refused within a second, and costs
// at most 64 MiB meanwhile, as often as MIDSPAN_ATTACKS says.
func TestAttacks(t *testing.T) {
	times := 1
	if text := os.Getenv("MIDSPAN_ATTACKS"); text != "" {
		var err error
		if times, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	var slowest time.Duration
	var largest int64
	field := func(n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
	}
	ids := append(field(1, bytes.Repeat([]byte{9}, 16)), append(field(2, bytes.Repeat([]byte{9}, 8)), 0x39, 1, 0, 0, 0, 0, 0, 0, 0)...)
	attributes := alone(append(ids, bytes.Repeat(field(9, field(1, []byte("k"))), 1_000_000)[:DefaultMaxBytes-200]...))
	manyJSON := []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[` + strings.Repeat("{},", 1_000_000) + `{}]}]}]}]}`)
	spansJSON := []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Repeat("{},", 1_000_000) + `{}]}]}]}`)
	deepJSON := []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a","value":` +
		strings.Repeat(`{"arrayValue":{"values":[`, 10_000) + strings.Repeat(`]}}`, 10_000) + `}]}]}]}]}`)
	zeros := make([]byte, 64<<20)
	gzipped, zstded := bytes.Repeat(pack(t, "gzip", zeros[:1<<20]), 64), bytes.Repeat(pack(t, "zstd", zeros[:1<<20]), 64)
	for _, tt := range []struct {
		name, kind, encoding string
		body                 []byte
		want                 int
		code                 codes.Code
	}{
		{"gzip bomb", typeProto, "gzip", gzipped, http.StatusRequestEntityTooLarge, codes.ResourceExhausted},
		{"zstd bomb", typeProto, "zstd", zstded, http.StatusRequestEntityTooLarge, codes.ResourceExhausted},
		{"gzip bomb of JSON", typeJSON, "gzip", gzipped, http.StatusRequestEntityTooLarge, 0},
		{"64 MiB", typeProto, "identity", zeros, http.StatusRequestEntityTooLarge, codes.ResourceExhausted},
		{"64 MiB of JSON", typeJSON, "identity", zeros, http.StatusRequestEntityTooLarge, 0},
		{"depth", typeProto, "identity", deep(10_000), http.StatusBadRequest, codes.InvalidArgument},
		{"depth of JSON", typeJSON, "identity", deepJSON, http.StatusBadRequest, 0},
		{"attributes", typeProto, "identity", attributes, http.StatusRequestEntityTooLarge, codes.ResourceExhausted},
		{"attributes of JSON", typeJSON, "identity", manyJSON, http.StatusRequestEntityTooLarge, 0},
		{"empty spans", typeProto, "identity", field(1, field(2, bytes.Repeat([]byte{0x12, 0}, 1_000_000))), http.StatusRequestEntityTooLarge, codes.ResourceExhausted},
		{"empty spans of JSON", typeJSON, "identity", spansJSON, http.StatusRequestEntityTooLarge, 0},
		{"empty resources", typeProto, "identity", bytes.Repeat([]byte{0x0a, 0}, 1_000_000), http.StatusRequestEntityTooLarge, codes.ResourceExhausted},
		{"empty scopes", typeProto, "identity", field(1, bytes.Repeat([]byte{0x12, 0}, 1_000_000)), http.StatusRequestEntityTooLarge, codes.ResourceExhausted},
		{"attributes of a resource", typeProto, "identity", field(1, field(1, bytes.Repeat([]byte{0x0a, 0}, 1_000_000))), http.StatusRequestEntityTooLarge, codes.ResourceExhausted},
		{"an endless resource", typeProto, "identity", field(1, field(1, field(1, append(field(1, []byte("k")), field(2, field(1, zeros[:3<<20]))...)))), http.StatusOK, codes.OK},
		{"the most that is taken", typeProto, "identity", bytes.Repeat(alone(nil), DefaultMaxValues/(3*itemWeight)), http.StatusOK, codes.OK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newReceiver(t, Config{Sink: sink{newIndex()}})
			conn := dial(t, r)
			opts := []grpc.CallOption{grpc.ForceCodec(bytesCodec{}), grpc.MaxCallSendMsgSize(1 << 30)}
			message := rawMessage(tt.body)
			if tt.encoding != "identity" {
				opts = append(opts, grpc.UseCompressor(tt.encoding))
				message = zeros[:2*DefaultMaxBytes] // which the client packs
			}
			for range times {
				var w int
				took, extra := cost(func() {
					w = post(t, r, "/v1/traces", tt.body, "Content-Type", tt.kind, "Content-Encoding", tt.encoding).Code
				})
				slowest, largest = max(slowest, took), max(largest, extra)
				if w != tt.want || took > time.Second || extra > 64<<20 {
					t.Errorf("answered %d after %v with %d MiB more, want %d", w, took, extra>>20, tt.want)
				}
				if tt.kind == typeJSON {
					continue
				}
				var err error
				took, extra = cost(func() {
					err = conn.Invoke(t.Context(), "/opentelemetry.proto.collector.trace.v1.TraceService/Export", &message, new(rawMessage), opts...)
				})
				if tt.encoding != "identity" {
					took = 0 // the packing's
				}
				slowest, largest = max(slowest, took), max(largest, extra)
				if status.Code(err) != tt.code || took > time.Second || extra > 64<<20 {
					t.Errorf("by gRPC after %v with %d MiB more: %v, want %v", took, extra>>20, err, tt.code)
				}
			}
		})
	}
	t.Logf("each %d times: the slowest answer took %v, the most memory was %d MiB", times, slowest, largest>>20)
}
