package forward

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	logscollectorpb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
)

// Every span arrives as it was sent, field by field, by either protocol.
func TestEveryField(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(testing.TB, *backend) string
	}{
		{"gRPC", func(t testing.TB, b *backend) string { url, _ := b.serveGRPC(t, "127.0.0.1:0"); return url }},
		{"HTTP", func(t testing.TB, b *backend) string { return b.serveHTTP(t) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log, target, m := newLog(eventlog.Disk), &backend{}, newMaker(1)
			f := start(t, Config{Log: log, Targets: []Target{{URL: tt.serve(t, target)}}})
			var sent []*exportRequest
			for range 20 {
				sent = append(sent, m.request(100))
			}
			receive(t, log, sent...)
			target.wait(t, 2000)
			same(t, apart(sent...), target.spans())
			_, last := log.Bounds()
			poll(t, func() bool { seq, ok := f.Floor(); return ok && seq == last })
			if s := f.Stats()[0]; s.Sent != 2000 || s.Rejected+s.Dropped+s.Retries != 0 || s.LagEvents != 0 || s.Lag != 0 || s.LastError != "" || s.Cursor != last {
				t.Errorf("%+v", s)
			}
		})
	}
}

// What is in flight, by whatever form it came, and what is not sampled stays
// here; the cursor goes over it.
func TestNeverForwarded(t *testing.T) {
	log, target, m := newLog(eventlog.Disk), &backend{}, newMaker(2)
	f := start(t, Config{Log: log, Targets: []Target{{URL: target.serveHTTP(t)}}})

	running := m.span()
	running.EndTimeUnixNano = 0
	pending := m.span()
	pending.ParentSpanId, pending.EndTimeUnixNano = m.id(8), pending.StartTimeUnixNano
	pending.Attributes = []*commonpb.KeyValue{str("logfire.span_type", "pending_span"), str("logfire.pending_parent_id", "0000000000000000")}
	receive(t, log, requestOf(running, pending))

	r := newReceiver(t, log)
	logs := &logspb.ScopeLogs{}
	for _, name := range []string{"planned", "started", "updated", "completed", "failed", "cancelled"} {
		s := m.span()
		logs.LogRecords = append(logs.LogRecords, &logspb.LogRecord{
			EventName: "activity." + name, TraceId: s.TraceId, SpanId: s.SpanId, TimeUnixNano: s.EndTimeUnixNano, Flags: 1,
		})
	}
	for _, event := range []string{"heartbeat", "stop"} {
		body, err := proto.Marshal(requestOf(m.span()))
		if err != nil {
			t.Fatal(err)
		}
		logs.LogRecords = append(logs.LogRecords, &logspb.LogRecord{
			TimeUnixNano: 1, Attributes: []*commonpb.KeyValue{str("partial.event", event)},
			Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_BytesValue{BytesValue: body}},
		})
	}
	body, err := proto.Marshal(&logscollectorpb.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{ScopeLogs: []*logspb.ScopeLogs{logs}}}})
	if err != nil {
		t.Fatal(err)
	}
	post(t, r.Handler(), "/v1/logs", body)
	appendTo(t, log, activity.Event{
		ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{1}}, Kind: activity.EventCompleted, At: 2,
		Changes: activity.Changes{Name: "unsampled", StartTime: 1, EndTime: 2, Sampling: activity.Unsampled},
	})
	unsampled := m.span()
	unsampled.Flags = 0x100
	receive(t, log, requestOf(unsampled))
	if _, last := log.Bounds(); last != 12 {
		t.Fatalf("the log has %d events: the test lost some", last)
	}
	unknown := m.span() // of a sender that sets no flags
	unknown.Flags = 0
	final := requestOf(m.span(), unknown)
	leftOut := m.span() // of an SDK that sets flags without trace flags
	leftOut.Flags = 0x300
	python := requestOf(leftOut)
	python.ResourceSpans[0].Resource.Attributes = append(python.ResourceSpans[0].Resource.Attributes, str("telemetry.sdk.language", "python"))
	receive(t, log, final, python)
	target.wait(t, 3)
	_, last := log.Bounds()
	poll(t, func() bool { seq, _ := f.Floor(); return seq == last })
	same(t, apart(final, python), target.spans())

	// With nothing to send the cursor is stored all the same.
	receive(t, log, requestOf(running))
	poll(t, func() bool { seq, _, _ := log.Cursor(t.Context(), f.streams[0].cursor); return seq == last+1 })
}

// The cursor waits for the oldest request, whatever is answered before.
func TestCursorKeepsOrder(t *testing.T) {
	log, m := newLog(eventlog.Disk), newMaker(3)
	first, second := m.request(5), m.request(5)
	release, answered := make(chan struct{}), make(chan struct{})
	key := string(first.ResourceSpans[0].ScopeSpans[0].Spans[0].SpanId)
	var once sync.Once
	target := &backend{answer: func(r *exportRequest) (*exportResponse, error) {
		for _, rs := range apart(r) {
			if string(spanOf(rs).SpanId) == key {
				<-release
				return &exportResponse{}, nil
			}
		}
		once.Do(func() { close(answered) })
		return &exportResponse{}, nil
	}}
	url, _ := target.serveGRPC(t, "127.0.0.1:0")
	cfg := Config{Log: log, Targets: []Target{{URL: url}}, BatchSpans: 10}
	f := start(t, cfg)
	receive(t, log, first, second)
	<-answered
	kill(f)
	if seq, _, _ := log.Cursor(t.Context(), f.streams[0].cursor); seq != 0 {
		t.Errorf("the cursor is at %d, though the first request has no answer", seq)
	}
	close(release)
	start(t, cfg)
	target.wait(t, 15)
	got := target.spans()
	slices.SortFunc(got, func(a, b *tracepb.ResourceSpans) int { return bytes.Compare(spanOf(a).SpanId, spanOf(b).SpanId) })
	got = slices.CompactFunc(got, func(a, b *tracepb.ResourceSpans) bool { return proto.Equal(a, b) })
	same(t, apart(first, second), got)
}

// Killed at any time, all arrives, and at most a batch of it again.
func TestRestart(t *testing.T) {
	const spans, batch, restarts = 4000, 64, 15
	log, m := newLog(eventlog.Disk), newMaker(4)
	random := rand.New(rand.NewPCG(4, 4))
	var mu sync.Mutex
	killAt, kills := 0, make(chan struct{}, 1)
	seen := make(map[string]int)
	target := &backend{answer: func(r *exportRequest) (*exportResponse, error) {
		mu.Lock()
		defer mu.Unlock()
		for _, rs := range apart(r) {
			seen[string(spanOf(rs).SpanId)]++
		}
		if len(seen) >= killAt {
			select {
			case kills <- struct{}{}:
			default:
			}
		}
		return &exportResponse{}, nil
	}}
	url, _ := target.serveGRPC(t, "127.0.0.1:0")
	cfg := Config{Log: log, Targets: []Target{{URL: url}}, BatchSpans: batch}
	prepare(t, cfg) // the target is known before the first span
	sent := m.request(spans)
	receive(t, log, sent)
	for i := range restarts {
		mu.Lock()
		killAt = (i + 1) * spans / (restarts + 1)
		mu.Unlock()
		f := start(t, cfg)
		<-kills
		for range random.IntN(5) {
			runtime.Gosched()
		}
		kill(f)
		cursor, _, _ := log.Cursor(t.Context(), f.streams[0].cursor)
		mu.Lock()
		if n := len(seen) - int(cursor); n > batch { // the log has one event a span
			t.Errorf("%d spans beyond the cursor had arrived: more than a batch", n)
		}
		mu.Unlock()
	}
	f := start(t, cfg)
	poll(t, func() bool { seq, _ := f.Floor(); return seq == spans })
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != spans {
		t.Errorf("%d spans of %d arrived", len(seen), spans)
	}
	again := 0
	for _, n := range seen {
		again += n - 1
	}
	if again > restarts*batch {
		t.Errorf("%d spans came again in %d restarts of at most %d each", again, restarts, batch)
	}
	t.Logf("%d spans came again in %d restarts", again, restarts)
}

// A target that is stopped and started again and again gets everything.
func TestFlapping(t *testing.T) {
	const rounds, each = 4, 150
	log, target, m := newLog(eventlog.Disk), &backend{}, newMaker(5)
	url, stop := target.serveGRPC(t, "127.0.0.1:0")
	f := start(t, Config{Log: log, Targets: []Target{{URL: url}}, BatchSpans: 50})
	var sent []*exportRequest
	for range rounds {
		r := m.request(each)
		sent = append(sent, r)
		receive(t, log, r)
		target.wait(t, 1)
		stop()
		r = m.request(each)
		sent = append(sent, r)
		receive(t, log, r)
		poll(t, func() bool { return f.Stats()[0].Away })
		_, stop = target.serveGRPC(t, strings.TrimPrefix(url, "grpc://"))
		_, last := log.Bounds()
		poll(t, func() bool { seq, _ := f.Floor(); return seq == last })
	}
	arrived := make(map[string]*tracepb.ResourceSpans)
	for _, rs := range target.spans() {
		arrived[string(spanOf(rs).SpanId)] = rs
	}
	same(t, apart(sent...), slices.Collect(maps.Values(arrived)))
	s := f.Stats()[0]
	if again := len(target.spans()) - len(arrived); again > rounds*50 {
		t.Errorf("%d spans came again", again)
	}
	if s.Sent != 2*rounds*each || s.Retries < rounds || s.Away || s.LastError == "" || s.Rejected+s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
}

// A span that a target will never take costs that span; what a target takes in
// part is counted by its own word.
func TestRejected(t *testing.T) {
	const bad = "poison"
	log, m := newLog(eventlog.Disk), newMaker(6)
	target := &backend{answer: func(r *exportRequest) (*exportResponse, error) {
		resp := &exportResponse{}
		for _, rs := range apart(r) {
			switch spanOf(rs).Name {
			case bad:
				return nil, status.Error(codes.InvalidArgument, "poison is not taken")
			case "half":
				resp.PartialSuccess = &collectorpb.ExportTracePartialSuccess{RejectedSpans: 1, ErrorMessage: "too old"}
			}
		}
		return resp, nil
	}}
	url, _ := target.serveGRPC(t, "127.0.0.1:0")
	f := start(t, Config{Log: log, Targets: []Target{{URL: url}}})
	r := m.request(200)
	spans := r.ResourceSpans[0].ScopeSpans[0].Spans
	spans[0].Name = bad
	last := r.ResourceSpans[len(r.ResourceSpans)-1].ScopeSpans
	last[len(last)-1].Spans = append(last[len(last)-1].Spans, m.span(), m.span())
	last[len(last)-1].Spans[len(last[len(last)-1].Spans)-1].Name = bad
	receive(t, log, r)
	target.wait(t, 200)
	var good []*tracepb.ResourceSpans
	for _, rs := range apart(r) {
		if spanOf(rs).Name != bad {
			good = append(good, rs)
		}
	}
	same(t, good, target.spans())
	half := m.span()
	half.Name = "half"
	receive(t, log, requestOf(half))
	poll(t, func() bool { return f.Stats()[0].Rejected == 3 })
	if s := f.Stats()[0]; s.Sent != 200 || !strings.Contains(s.LastError, "too old") || s.Away || s.Retries != 0 {
		t.Errorf("%+v", s)
	}
}

// A target that takes nothing at all is not asked about each span.
func TestRejectedAll(t *testing.T) {
	log, m := newLog(eventlog.Disk), newMaker(7)
	asked := 0
	target := &backend{answer: func(*exportRequest) (*exportResponse, error) {
		asked++
		return nil, status.Error(codes.InvalidArgument, "no")
	}}
	url, _ := target.serveGRPC(t, "127.0.0.1:0")
	f := start(t, Config{Log: log, Targets: []Target{{URL: url}}, BatchSpans: 2000})
	var spans []*tracepb.Span
	for range 1000 {
		spans = append(spans, &tracepb.Span{TraceId: m.id(16), SpanId: m.id(8), StartTimeUnixNano: 1, EndTimeUnixNano: 2})
	}
	receive(t, log, requestOf(spans...))
	poll(t, func() bool { return f.Stats()[0].Rejected == 1000 })
	if asked > 2*maxSplits+1 {
		t.Errorf("%d requests for 1,000 bad spans", asked)
	}
}

// What the log let go of before it was read is counted, and the rest goes on.
func TestGap(t *testing.T) {
	log, target, m := newLog(eventlog.Disk), &backend{}, newMaker(8)
	cfg := Config{Log: log, Targets: []Target{{Name: "jaeger", URL: target.serveHTTP(t)}}}
	prepare(t, cfg)
	r := m.request(30)
	receive(t, log, r)
	if err := log.Trim(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	f := start(t, cfg)
	target.wait(t, 20)
	same(t, apart(r)[10:], target.spans())
	if s := f.Stats()[0]; s.Dropped != 10 || s.Name != "jaeger" {
		t.Errorf("%+v", s)
	}
	poll(t, func() bool { seq, _ := f.Floor(); return seq == 30 })
	kill(f)

	// A cursor beyond the log: its events were all forwarded once.
	if err := log.SetCursor(t.Context(), "forward:jaeger", 99); err != nil {
		t.Fatal(err)
	}
	f = start(t, cfg)
	more := requestOf(m.span())
	receive(t, log, more)
	target.wait(t, 21)
	same(t, append(apart(r)[10:], apart(more)...), target.spans())
}

// A log that is gone with the process is sent to its end at a stop; another is
// not, for what it holds can be sent after the next start.
func TestStop(t *testing.T) {
	for _, drain := range []bool{true, false} {
		t.Run(fmt.Sprint(drain), func(t *testing.T) {
			log, target, m := newLog(eventlog.Memory), &backend{}, newMaker(9)
			f := start(t, Config{Log: log, Drain: drain, Targets: []Target{{URL: target.serveHTTP(t)}}})
			receive(t, log, m.request(3000))
			if err := f.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if err := f.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			n := len(target.spans())
			if drain && n != 3000 {
				t.Errorf("%d spans arrived", n)
			}
			if seq, _ := f.Floor(); int(seq) != n {
				t.Errorf("the cursor is at %d of %d that arrived", seq, n)
			}
		})
	}
}

// A stop does not wait for a target that is away.
func TestStopAway(t *testing.T) {
	for _, drain := range []bool{true, false} {
		t.Run(fmt.Sprint(drain), func(t *testing.T) {
			log, m := newLog(eventlog.Memory), newMaker(10)
			f := start(t, Config{Log: log, Drain: drain, Targets: []Target{{URL: "http://127.0.0.1:1"}}})
			receive(t, log, m.request(3000))
			poll(t, func() bool { return f.Stats()[0].Away })
			ctx, cancel := context.WithCancel(t.Context())
			if drain {
				cancel()
			}
			defer cancel()
			if err := f.Stop(ctx); err != nil {
				t.Error(err)
			}
			if s := f.Stats()[0]; s.Cursor != 0 || s.Sent != 0 || s.LagEvents != 3000 || s.Lag <= 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	log := newLog(eventlog.Memory)
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no log", Config{}, "Log is nil"},
		{"batch", Config{Log: log, BatchSpans: MaxBatchSpans + 1}, "8193 spans: give 1 to 8192"},
		{"largest batch", Config{Log: log, BatchSpans: MaxBatchSpans}, ""},
		{"lost", Config{Log: log, LostAfter: time.Second}, "Activities is nil"},
		{"negative", Config{Log: log, LostAfter: -1}, "above 0"},
		{"URL", Config{Log: log, Targets: []Target{{URL: "localhost:4317"}}}, "write it as http://host:port"},
		{"same", Config{Log: log, Targets: []Target{{URL: "http://a:4317"}, {URL: "https://a:4317"}}}, "two targets are named a:4317"},
		{"same path", Config{Log: log, Targets: []Target{{URL: "http://h:1"}, {URL: "http://h:1/v1/traces"}}}, "h:1 and h:1/v1/traces are one"},
		{"same path, deeper", Config{Log: log, Targets: []Target{{URL: "http://h:1/otlp/v1/traces/"}, {URL: "http://h:1/otlp"}}}, "are one"},
		{"same but a slash", Config{Log: log, Targets: []Target{{URL: "http://h:1/"}, {URL: "http://h:1"}}}, "are one"},
		{"same but for case", Config{Log: log, Targets: []Target{{URL: "http://H:1"}, {URL: "http://h:1"}}}, "are one"},
		{"same port", Config{Log: log, Targets: []Target{{URL: "https://h"}, {URL: "https://h:443/v1/traces"}}}, "are one"},
		{"other paths", Config{Log: log, Targets: []Target{{URL: "http://h:1/a"}, {URL: "http://h:1"}, {URL: "http://h:1/A"}, {URL: "http://h:2"}}}, ""},
		{"named apart", Config{Log: log, Targets: []Target{{URL: "http://a:4317"}, {URL: "https://a:4317", Name: "b"}}}, ""},
		{"name", Config{Log: log, Targets: []Target{{URL: "http://a:4317", Name: strings.Repeat("a", 151)}}}, "151 bytes"},
		{"longest name", Config{Log: log, Targets: []Target{{URL: "http://a:4317", Name: strings.Repeat("a", 150)}}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := New(t.Context(), tt.cfg)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v", err)
			}
			if f != nil {
				if err := f.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A target that is new begins with what comes, not with weeks of history.
func TestNewTarget(t *testing.T) {
	log, target, m := newLog(eventlog.Disk), &backend{}, newMaker(11)
	receive(t, log, m.request(10))
	start(t, Config{Log: log, Targets: []Target{{URL: target.serveHTTP(t)}}})
	r := m.request(10)
	receive(t, log, r)
	target.wait(t, 10)
	same(t, apart(r), target.spans())
}

// Each of several targets has a cursor of its own.
func TestTargets(t *testing.T) {
	log, target, m := newLog(eventlog.Disk), &backend{}, newMaker(12)
	f := start(t, Config{Log: log, Targets: []Target{{Name: "here", URL: target.serveHTTP(t)}, {Name: "away", URL: "http://127.0.0.1:1"}}})
	r := m.request(10)
	receive(t, log, r)
	target.wait(t, 10)
	poll(t, func() bool { s := f.Stats(); return s[0].Cursor == 10 && s[1].Away })
	if seq, ok := f.Floor(); !ok || seq != 0 {
		t.Errorf("the log may be trimmed up to %d", seq)
	}
}

func requestOf(spans ...*tracepb.Span) *exportRequest {
	return &exportRequest{ResourceSpans: []*tracepb.ResourceSpans{{Resource: &resourcepb.Resource{}, ScopeSpans: []*tracepb.ScopeSpans{
		{Scope: &commonpb.InstrumentationScope{}, Spans: spans},
	}}}}
}

func appendTo(t testing.TB, log eventlog.Log, events ...activity.Event) {
	t.Helper()
	if err := log.Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

// kill ends a Forwarder as the death of its process would.
func kill(f *Forwarder) {
	f.cancel()
	f.running.Wait()
}
