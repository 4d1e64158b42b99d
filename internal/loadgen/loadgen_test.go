package loadgen

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/midspan/midspan/internal/otlpclient"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// endpoint keeps what it takes, decoded by OpenTelemetry's own code.
type endpoint struct {
	collectorpb.UnimplementedTraceServiceServer
	answer func(n int) (*collectorpb.ExportTraceServiceResponse, error)

	mu       sync.Mutex // guards everything below
	asked    int
	requests []*collectorpb.ExportTraceServiceRequest
}

func (e *endpoint) Export(_ context.Context, r *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	resp := &collectorpb.ExportTraceServiceResponse{}
	if e.answer != nil {
		var err error
		if resp, err = e.answer(e.asked); err != nil {
			return nil, err
		}
	}
	e.requests = append(e.requests, r)
	return resp, nil
}

func (e *endpoint) serve(t *testing.T) (url string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, e)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return "grpc://" + l.Addr().String()
}

// What is sent is what is said of it: fresh ids, whole trees, a thousand names,
// half of the values never again.
func TestSpans(t *testing.T) {
	e := &endpoint{}
	result, err := Run(t.Context(), Config{Endpoint: otlpclient.Config{URL: e.serve(t)}, For: 500 * time.Millisecond, Rate: 20_000, Connections: 2, Batch: 100})
	if err != nil {
		t.Fatal(err)
	}
	if result.Accepted != int64(100*len(e.requests)) || result.Requests != int64(len(e.requests)) || result.Refused+result.Rejected != 0 || result.Bytes == 0 {
		t.Errorf("%+v of %d requests", result, len(e.requests))
	}
	if most := int64(20_000 * result.Elapsed.Seconds()); result.Accepted > most+2*100 {
		t.Errorf("%d spans in %v, though 20,000 a second were asked for", result.Accepted, result.Elapsed)
	}
	if result.P50 <= 0 || result.P50 > result.P95 || result.P95 > result.P99 || result.P99 > result.Max {
		t.Errorf("%+v", result)
	}
	ids, names, roots := make(map[string]bool), make(map[string]bool), make(map[string]string)
	values := make(map[string]int)
	var spans []*tracepb.Span
	for _, r := range e.requests {
		spans = append(spans, r.ResourceSpans[0].ScopeSpans[0].Spans...)
	}
	for _, s := range spans {
		ids[string(s.SpanId)] = true
		names[s.Name] = true
		if len(s.ParentSpanId) == 0 {
			roots[string(s.TraceId)] = string(s.SpanId)
		}
		if s.EndTimeUnixNano <= s.StartTimeUnixNano || time.Since(time.Unix(0, int64(s.EndTimeUnixNano))) > time.Minute || len(s.Attributes) != 2*fresh {
			t.Fatalf("%v", s)
		}
		for _, a := range s.Attributes {
			values[a.Value.String()]++
		}
	}
	once := 0
	for _, n := range values {
		if n == 1 {
			once++
		}
	}
	if len(ids) != len(spans) || once != fresh*len(spans) {
		t.Errorf("%d spans have %d ids, and %d values that stand once", len(spans), len(ids), once)
	}
	if len(spans) > 5000 && len(names) < 900 {
		t.Errorf("%d names", len(names))
	}
	for _, s := range spans {
		if root := roots[string(s.TraceId)]; len(s.ParentSpanId) > 0 && string(s.ParentSpanId) != root {
			t.Fatalf("the root of %x is %x, and the parent of its span %x", s.TraceId, root, s.ParentSpanId)
		}
	}
}

// Refusals are sent again, rejections are not, and both are counted.
func TestRefusals(t *testing.T) {
	e := &endpoint{answer: func(n int) (*collectorpb.ExportTraceServiceResponse, error) {
		switch n % 4 {
		case 0:
			return nil, status.Error(codes.Unavailable, "later")
		case 1:
			return nil, status.Error(codes.InvalidArgument, "never")
		case 2:
			return &collectorpb.ExportTraceServiceResponse{PartialSuccess: &collectorpb.ExportTracePartialSuccess{RejectedSpans: 3}}, nil
		}
		return &collectorpb.ExportTraceServiceResponse{}, nil
	}}
	r, err := Run(t.Context(), Config{Endpoint: otlpclient.Config{URL: e.serve(t)}, For: 400 * time.Millisecond, Connections: 1, Batch: 10})
	if err != nil {
		t.Fatal(err)
	}
	whole, inPart, taken := int64(0), int64(0), int64(len(e.requests))
	for n := 1; n <= e.asked; n++ {
		switch n % 4 {
		case 1:
			whole++
		case 2:
			inPart++
		}
	}
	if r.Refused != int64(e.asked/4) || r.Rejected != 10*whole+3*inPart || r.Accepted != 10*taken-3*inPart || r.Requests != taken+whole || r.LastError == "" {
		t.Errorf("%+v of %d requests, %d taken", r, e.asked, taken)
	}
}

func TestNothingTaken(t *testing.T) {
	_, err := Run(t.Context(), Config{Endpoint: otlpclient.Config{URL: "http://127.0.0.1:1"}, For: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "took no span") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

func TestConfig(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"time", Config{For: -1}, "above 0"},
		{"rate", Config{Rate: -1}, "a rate of -1"},
		{"connections", Config{Connections: MaxConnections + 1}, "1025 connections: give 1 to 1024"},
		{"most connections", Config{Connections: MaxConnections, Batch: 1}, "took no span"},
		{"batch", Config{Batch: MaxBatch + 1}, "a batch of 8193 spans: give 1 to 8192"},
		{"largest batch", Config{Batch: MaxBatch, Connections: 1}, "took no span"},
		{"URL", Config{Endpoint: otlpclient.Config{URL: "x"}}, "write it as"},
	} {
		if tt.cfg.Endpoint.URL == "" {
			tt.cfg.Endpoint.URL = "http://127.0.0.1:1"
		}
		if _, err := Run(ctx, tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// What a request costs the driver, without sending it.
func BenchmarkRenew(b *testing.B) {
	random := rand.NewPCG(1, 2)
	t, err := newTemplate(rand.New(random), 0, DefaultBatch, nameList(DefaultNames))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(t.body)))
	b.ReportAllocs()
	for b.Loop() {
		t.renew(random, time.Now())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*DefaultBatch), "ns/span")
	b.ReportMetric(float64(len(t.body))/DefaultBatch, "B/span")
}
