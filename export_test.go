package midspan

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// gate is an exporter that waits until it may go on, or until ctx is done.
type gate struct {
	open     chan struct{}
	entered  chan struct{}
	exported atomic.Int64
	err      error
}

func newGate() *gate {
	return &gate{open: make(chan struct{}), entered: make(chan struct{}, 1000)}
}

func (g *gate) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	g.entered <- struct{}{}
	select {
	case <-g.open:
	case <-ctx.Done():
		return ctx.Err()
	}
	if g.err == nil {
		g.exported.Add(int64(len(spans)))
	}
	return g.err
}

func (g *gate) Shutdown(context.Context) error { return nil }

func queueOf(t *testing.T, e sdktrace.SpanExporter) (*exportQueue, trace.Tracer, *bytes.Buffer) {
	t.Helper()
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
	var log bytes.Buffer
	q := newExportQueue(e, "http://backend:4318", slog.New(slog.NewTextHandler(&log, nil)))
	return q, sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(q)).Tracer("test"), &log
}

func end(tracer trace.Tracer, n int) {
	for range n {
		_, span := tracer.Start(context.Background(), "x")
		span.End()
	}
}

// What a full queue drops is counted exactly, at once.
func TestExportDrops(t *testing.T) {
	g := newGate()
	q, tracer, _ := queueOf(t, g)
	end(tracer, 4)
	<-g.entered // a batch of 4 is stuck on its way out
	end(tracer, 8)
	if n := q.dropped.Load(); n != 0 {
		t.Errorf("%d dropped while the queue has room", n)
	}
	end(tracer, 100)
	if n := q.dropped.Load(); n != 100 {
		t.Errorf("%d dropped, want 100", n)
	}
	close(g.open)
	if err := q.ForceFlush(t.Context()); err != nil {
		t.Error(err)
	}
	if n := g.exported.Load(); n != 12 {
		t.Errorf("%d exported, want 12", n)
	}
	end(tracer, 3)
	if err := q.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n, d, p := g.exported.Load(), q.dropped.Load(), q.pending.Load(); n != 15 || d != 100 || p != 0 {
		t.Errorf("exported %d, dropped %d, pending %d; want 15, 100, 0", n, d, p)
	}
}

func TestExportDropsConcurrentSafe(t *testing.T) {
	g := newGate()
	close(g.open)
	q, tracer, _ := queueOf(t, g)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { end(tracer, 100) })
	}
	wg.Wait()
	if err := q.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n, d := g.exported.Load(), q.dropped.Load(); n+d != 800 {
		t.Errorf("exported %d, dropped %d; want 800 together", n, d)
	}
}

// A backend that is away is logged when that begins and when it ends.
func TestExportOutage(t *testing.T) {
	g := newGate()
	close(g.open)
	g.err = errors.New("connection refused")
	q, tracer, log := queueOf(t, g)
	for range 5 {
		end(tracer, 2)
		if err := q.ForceFlush(t.Context()); !errors.Is(err, g.err) {
			t.Errorf("ForceFlush = %v, want the exporter's error", err)
		}
	}
	g.err = nil
	end(tracer, 2)
	if err := q.ForceFlush(t.Context()); err != nil {
		t.Error(err)
	}
	if n := q.dropped.Load(); n != 10 {
		t.Errorf("%d dropped, want the 10 of the failed batches", n)
	}
	if lines := strings.Split(strings.TrimSpace(log.String()), "\n"); len(lines) != 2 ||
		!strings.Contains(lines[0], "can't be exported") || !strings.Contains(lines[1], "exported again") {
		t.Errorf("log:\n%s", log)
	}
	if err := q.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// A backend that never answers holds nobody up for longer than the deadline.
func TestExportShutdownDeadline(t *testing.T) {
	g := newGate()
	q, tracer, _ := queueOf(t, g)
	end(tracer, 12)
	<-g.entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown = %v, want the context's error", err)
	}
	if n, p := q.dropped.Load(), q.pending.Load(); n != 12 || p != 0 {
		t.Errorf("dropped %d, pending %d; want 12, 0", n, p)
	}
	if err := q.Shutdown(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("second Shutdown = %v, want the same", err)
	}
}

// The exporter that heeds no context costs a second.
func TestExportShutdownOfADeafExporter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		q := newExportQueue(deaf{release}, "deaf", slog.New(slog.DiscardHandler))
		end(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(q)).Tracer("test"), 1)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		before := time.Now()
		if err := q.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown = %v", err)
		}
		if took := time.Since(before); took != 4*time.Second {
			t.Errorf("it took %v, want 4s", took)
		}
		close(release)
	})
}

type deaf struct{ release chan struct{} }

func (d deaf) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { <-d.release; return nil }
func (deaf) Shutdown(context.Context) error                               { return nil }

func TestRejected(t *testing.T) {
	for _, tt := range []struct {
		err  string
		want int64
	}{
		{"connection refused", 10},
		{"OTLP partial success: quota (3 spans rejected)", 3},
		{"traces export: OTLP partial success: empty message (0 spans rejected)", 0},
		{"OTLP partial success: x (99 spans rejected)", 10},
		{"OTLP partial success: x (99999999999999999999 spans rejected)", 10},
	} {
		if got := rejected(errors.New(tt.err), 10); got != tt.want {
			t.Errorf("rejected(%q) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestProtocol(t *testing.T) {
	for _, tt := range []struct {
		endpoint, protocol string
		grpc               bool
	}{
		{"http://localhost:4318", "", false},
		{"http://localhost:4317", "", true},
		{"http://localhost:4317/", "", true},
		{"http://localhost:4317", "http/protobuf", false},
		{"http://localhost:4318", "grpc", true},
		{"https://otlp.example.com", "", false},
	} {
		t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", tt.protocol)
		c, err := environmentExport(tt.endpoint)
		if err != nil || c.grpc() != tt.grpc {
			t.Errorf("%s by %q: grpc is %v, %v", tt.endpoint, tt.protocol, c.grpc(), err)
		}
	}
}

// collected is an OTLP backend that keeps the names of the spans it gets.
type collected struct {
	collector.UnimplementedTraceServiceServer

	mu    sync.Mutex
	names []string
	paths []string
	key   string // of the header "key"
	reply *collector.ExportTraceServiceResponse
}

func (c *collected) Export(ctx context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		c.key = strings.Join(md.Get("key"), ",")
	}
	for _, rs := range r.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				c.names = append(c.names, s.GetName())
			}
		}
	}
	if c.reply != nil {
		return c.reply, nil
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func (c *collected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	b, err := io.ReadAll(body)
	var req collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(b, &req)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply, _ := c.Export(r.Context(), &req)
	c.mu.Lock()
	c.paths = append(c.paths, r.URL.Path)
	c.key = r.Header.Get("key")
	c.mu.Unlock()
	b, _ = proto.Marshal(reply)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(b)
}

func TestOTLP(t *testing.T) {
	for _, tt := range []struct {
		name string
		grpc bool
		env  func(t *testing.T, url string) Config
		path string
	}{
		{name: "http by environment", path: "/v1/traces", env: func(t *testing.T, url string) Config {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
			return Config{}
		}},
		{name: "http for traces", path: "/own", env: func(t *testing.T, url string) Config {
			t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url+"/own")
			t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
			return Config{}
		}},
		{name: "http by code", path: "/base/v1/traces", env: func(_ *testing.T, url string) Config {
			return Config{OTLPEndpoint: url + "/base"}
		}},
		{name: "grpc by environment", grpc: true, env: func(t *testing.T, url string) Config {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
			t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
			return Config{}
		}},
		{name: "grpc by code", grpc: true, env: func(t *testing.T, url string) Config {
			t.Setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
			return Config{OTLPEndpoint: url}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &collected{reply: &collector.ExportTraceServiceResponse{
				PartialSuccess: &collector.ExportTracePartialSuccess{RejectedSpans: 1, ErrorMessage: "one is bad"}}}
			var address string
			if tt.grpc {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				server := grpc.NewServer()
				collector.RegisterTraceServiceServer(server, c)
				go func() { _ = server.Serve(l) }()
				defer server.Stop()
				address = "http://" + l.Addr().String()
			} else {
				server := httptest.NewServer(c)
				defer server.Close()
				address = server.URL
			}
			t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "key=secret")
			cfg := tt.env(t, address)
			cfg.NoGlobals, cfg.Logger = true, slog.New(slog.DiscardHandler)
			m, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ctx := tracing.ContextWithProvider(t.Context(), m.TracerProvider())
			for _, name := range []string{"first", "second"} {
				_, a := tracing.Start(ctx, activity.WorkItem, name, "")
				a.Complete("")
			}
			if err := m.Shutdown(t.Context()); err == nil || !strings.Contains(err.Error(), "one is bad") {
				t.Errorf("Shutdown = %v, want the partial success", err)
			}
			if got := strings.Join(c.names, " "); got != "first second" || c.key != "secret" {
				t.Errorf("the backend got %q with key %q", got, c.key)
			}
			if got := strings.Join(c.paths, " "); got != tt.path {
				t.Errorf("path = %s, want %s", got, tt.path)
			}
			if got := m.exportStats(); got.Dropped != 1 || !strings.HasPrefix(got.Endpoint, address) {
				t.Errorf("export = %+v, want 1 dropped", got)
			}
		})
	}
}

func TestNothingIsExportedWithoutAnEndpoint(t *testing.T) {
	for _, exporter := range []string{"", "none"} {
		t.Setenv("OTEL_TRACES_EXPORTER", exporter)
		if exporter == "none" {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
		}
		m, err := New(Config{NoGlobals: true})
		if err != nil {
			t.Fatal(err)
		}
		if m.export != nil || m.exportStats().Endpoint != "" {
			t.Error("there is an exporter")
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
