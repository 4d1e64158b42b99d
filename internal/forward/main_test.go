package forward

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/google/go-cmp/cmp"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/receiver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// request and response of the service, by OpenTelemetry's own generated code:
// what is compared was decoded by nothing of ours.
type (
	exportRequest  = collectorpb.ExportTraceServiceRequest
	exportResponse = collectorpb.ExportTraceServiceResponse
)

// backend is an OTLP endpoint that keeps what it took, in its order.
type backend struct {
	collectorpb.UnimplementedTraceServiceServer
	// answer decides on a request before it is kept; nil takes all.
	answer func(*exportRequest) (*exportResponse, error)
	forget bool // keeps nothing

	mu       sync.Mutex // guards everything below
	requests []*exportRequest
	arrived  chan struct{} // closed and renewed with each request
}

func (b *backend) Export(_ context.Context, r *exportRequest) (*exportResponse, error) {
	resp := &exportResponse{}
	if b.answer != nil {
		var err error
		if resp, err = b.answer(r); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.forget {
		b.requests = append(b.requests, r)
	}
	if b.arrived != nil {
		close(b.arrived)
		b.arrived = nil
	}
	return resp, nil
}

// ServeHTTP takes OTLP by HTTP.
func (b *backend) ServeHTTP(w http.ResponseWriter, h *http.Request) {
	body, err := io.ReadAll(h.Body)
	if err == nil && h.Header.Get("Content-Encoding") == "gzip" {
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(body)); err == nil {
			body, err = io.ReadAll(z)
		}
	}
	r := &exportRequest{}
	if err == nil {
		err = proto.Unmarshal(body, r)
	}
	if err != nil || h.URL.Path != "/v1/traces" || h.Method != http.MethodPost || h.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "no OTLP", http.StatusBadRequest)
		return
	}
	resp, err := b.Export(h.Context(), r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	out, _ := proto.Marshal(resp)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(out)
}

// serveGRPC serves b at an address until the test ends or stop is called.
func (b *backend) serveGRPC(t testing.TB, address string) (url string, stop func()) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, b)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	stop = sync.OnceFunc(func() { server.Stop(); <-done })
	t.Cleanup(stop)
	return "grpc://" + l.Addr().String(), stop
}

func (b *backend) serveHTTP(t testing.TB) (url string) {
	t.Helper()
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return server.URL
}

// wait returns once n spans have arrived, or more.
func (b *backend) wait(t testing.TB, n int) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		b.mu.Lock()
		have := 0
		for _, r := range b.requests {
			have += count(r)
		}
		if b.arrived == nil {
			b.arrived = make(chan struct{})
		}
		arrived := b.arrived
		b.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-arrived:
		case <-deadline:
			t.Fatalf("%d spans of %d arrived", have, n)
		}
	}
}

// spans returns what arrived, each span in a message of its own with what it
// shares with others, in the order of arrival.
func (b *backend) spans() []*tracepb.ResourceSpans {
	b.mu.Lock()
	defer b.mu.Unlock()
	return apart(b.requests...)
}

func apart(requests ...*exportRequest) []*tracepb.ResourceSpans {
	var out []*tracepb.ResourceSpans
	for _, r := range requests {
		for _, rs := range r.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				for _, s := range ss.GetSpans() {
					out = append(out, &tracepb.ResourceSpans{Resource: rs.Resource, SchemaUrl: rs.SchemaUrl, ScopeSpans: []*tracepb.ScopeSpans{
						{Scope: ss.Scope, SchemaUrl: ss.SchemaUrl, Spans: []*tracepb.Span{s}},
					}})
				}
			}
		}
	}
	return out
}

func count(r *exportRequest) int { return len(apart(r)) }

func spanOf(rs *tracepb.ResourceSpans) *tracepb.Span { return rs.GetScopeSpans()[0].GetSpans()[0] }

func sorted(spans []*tracepb.ResourceSpans) []*tracepb.ResourceSpans {
	return slices.SortedStableFunc(slices.Values(spans), func(a, b *tracepb.ResourceSpans) int {
		return bytes.Compare(spanOf(a).GetSpanId(), spanOf(b).GetSpanId())
	})
}

// same holds that the same spans are in both, whatever their order.
func same(t testing.TB, want, got []*tracepb.ResourceSpans) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%d spans, want %d", len(got), len(want))
	}
	want, got = sorted(want), sorted(got)
	for i := range min(len(want), len(got)) {
		if !proto.Equal(want[i], got[i]) { // far faster than to compare by protocmp
			t.Fatalf("sent (-), forwarded (+):\n%s", cmp.Diff(want[i], got[i], protocmp.Transform()))
		}
	}
}

// receive appends what the receiver makes of requests to a log.
func receive(t testing.TB, log eventlog.Log, requests ...*exportRequest) {
	t.Helper()
	handler := newReceiver(t, log).Handler()
	for _, r := range requests {
		body, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		post(t, handler, "/v1/traces", body)
	}
}

func post(t testing.TB, handler http.Handler, path string, body []byte) {
	t.Helper()
	h := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, bytes.NewReader(body))
	h.Header.Set("Content-Type", "application/x-protobuf")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, h)
	if w.Code != http.StatusOK {
		t.Fatalf("the receiver answered %d %q", w.Code, w.Body)
	}
	resp := &exportResponse{}
	if err := proto.Unmarshal(w.Body.Bytes(), resp); err != nil || resp.GetPartialSuccess().GetRejectedSpans() != 0 {
		t.Fatalf("the receiver answered %v %v", resp, err)
	}
}

func newReceiver(t testing.TB, sink receiver.Sink) *receiver.Receiver {
	t.Helper()
	r, err := receiver.New(receiver.Config{Sink: sink, MaxBytes: receiver.MaxBytesLimit})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// start forwards a log to targets until the test ends.
func start(t testing.TB, cfg Config) *Forwarder {
	t.Helper()
	f := prepare(t, cfg)
	f.Start()
	return f
}

func prepare(t testing.TB, cfg Config) *Forwarder {
	t.Helper()
	cfg.Logger = quiet
	f, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range f.targets {
		target.minBackoff = 5 * time.Millisecond
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := f.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

// poll waits until something holds that other goroutines bring about.
func poll(t testing.TB, holds func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not come about in 30 s")
		}
	}
}
