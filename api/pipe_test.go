package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/index"
)

// pipes is a listener of connections in memory. They hold nothing in between,
// so a client that does not read is felt at once, and inside a synctest bubble
// all waiting is on the bubble's clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (*pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 18080} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.conns <- far
	return near, nil
}

// pipeWorld is a world in a synctest bubble; stop ends it.
type pipeWorld struct {
	*index.Index
	t     *testing.T
	api   *API
	pipes *pipes
	http  *http.Server
}

func newPipeWorld(t *testing.T, change func(c *Config, i *index.Config)) *pipeWorld {
	t.Helper()
	w := &pipeWorld{t: t, pipes: &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}}
	var indexConfig index.Config
	cfg := Config{Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg, &indexConfig)
	}
	w.Index = index.New(indexConfig)
	cfg.Reader = w.Index
	if _, ok := cfg.Moments.(later); ok {
		cfg.Moments = w.Index
	}
	var err error
	if w.api, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	w.http = NewServer(w.api, cfg.Logger)
	go w.http.Serve(w.pipes)
	return w
}

func (w *pipeWorld) stop() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.api.Shutdown(ctx); err != nil {
		w.t.Errorf("shutdown: %v", err)
	}
	w.http.Close()
}

func (w *pipeWorld) dial(query string, header ...string) *client {
	w.t.Helper()
	return w.dialPath("/activity/stream"+query, header...)
}

func (w *pipeWorld) dialPath(path string, header ...string) *client {
	w.t.Helper()
	d := websocket.Dialer{NetDialContext: w.pipes.dial}
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	conn, _, err := d.Dial("ws://localhost:18080"+path, h)
	if err != nil {
		w.t.Fatal(err)
	}
	return &client{t: w.t, conn: conn}
}

func (w *pipeWorld) get(path string, header ...string) *http.Response {
	w.t.Helper()
	transport := &http.Transport{DialContext: w.pipes.dial, DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://localhost:18080"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := transport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}
