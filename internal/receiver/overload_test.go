package receiver

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// paced is a sink that takes one batch at a time, each for a while, as a disk does.
type paced struct {
	mu    sync.Mutex // guards everything below
	index *index.Index
	timer *time.Timer
}

func (p *paced) Append(_ context.Context, events []activity.Event) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer.Reset(5 * time.Millisecond)
	<-p.timer.C
	p.index.Apply(events)
	return nil
}

// After an overload of more than five times what is taken, what was accepted is
// what is stored, to the span, and normal service is back within 5 s.
func TestOverloadStoresWhatItAccepts(t *testing.T) {
	s := &paced{index: newIndex(), timer: time.NewTimer(0)}
	<-s.timer.C
	r := newReceiver(t, Config{Sink: s, MaxPending: 4})
	client := ptraceotlp.NewGRPCClient(dial(t, r))
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := r.HTTPServer()
	served := make(chan error, 1)
	go func() { served <- Serve(server, l) }()
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	defer func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-served
	}()

	const batch = 20
	var trace atomic.Uint32
	request := func() ptraceotlp.ExportRequest {
		n := trace.Add(1)
		req := goodSpans(batch, 0)
		for _, s := range req.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().All() {
			s.SetTraceID(pcommon.TraceID{byte(n >> 16), byte(n >> 8), byte(n), 1})
		}
		return req
	}
	// Each returns what was answered.
	byGRPC := func(ctx context.Context) codes.Code {
		_, err := client.Export(ctx, request())
		return status.Code(err)
	}
	byHTTP := func(ctx context.Context) codes.Code {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.Addr().String()+"/v1/traces", bytes.NewReader(marshal(t, request())))
		if err != nil {
			t.Error(err)
			return codes.Unknown
		}
		req.Header.Set("Content-Type", typeProto)
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Error(err)
			return codes.Unknown
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		switch {
		case resp.StatusCode == http.StatusOK:
			return codes.OK
		case resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "":
			return codes.ResourceExhausted
		}
		return codes.Unknown
	}

	var accepted, offered atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := func() bool { return accepted.Load() >= 50*batch && offered.Load() >= 5*accepted.Load() }
	var senders sync.WaitGroup
	for n := range 32 {
		send := byGRPC
		if n%2 == 0 {
			send = byHTTP
		}
		senders.Go(func() {
			for ctx.Err() == nil {
				offered.Add(batch)
				switch code := send(context.WithoutCancel(ctx)); code {
				case codes.OK:
					accepted.Add(batch)
				case codes.ResourceExhausted:
				default:
					t.Errorf("answered %v", code)
					cancel()
				}
				if over() {
					cancel()
				}
			}
		})
	}
	senders.Wait()
	began := time.Now()
	for _, send := range []func(context.Context) codes.Code{byGRPC, byHTTP} {
		if code := send(t.Context()); code != codes.OK {
			t.Errorf("after the overload: %v", code)
		}
		accepted.Add(batch)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("normal service took %v", took)
	}
	if n := count(t, s.index); int64(n) != accepted.Load() || r.Stats().Events != accepted.Load() {
		t.Errorf("%d spans are stored, %d counted, %d were accepted", n, r.Stats().Events, accepted.Load())
	}
	if offered.Load() < 5*accepted.Load() || r.Stats().Refused == 0 {
		t.Errorf("%d spans were offered, %d accepted: no overload", offered.Load(), accepted.Load())
	}
}
