package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan"
	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/cmd/midspan/internal/plain"
	"github.com/midspan/midspan/tracing"
)

// serve serves a program's own activities.
func serve(t *testing.T) (context.Context, string) {
	t.Helper()
	m, err := midspan.New(midspan.Config{Service: "orders", NoGlobals: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(m.Handler())
	t.Cleanup(func() {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return tracing.ContextWithProvider(context.Background(), m.TracerProvider()), server.Listener.Addr().String()
}

// lines is a writer whose lines can be waited for.
type lines struct {
	rest []byte
	c    chan string
}

func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		l.c <- string(line)
		l.rest = append([]byte(nil), rest...)
	}
}

// cutter forwards connections and can cut all that are open.
type cutter struct {
	net.Listener
	to string

	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, to: to}
	c.wg.Go(c.serve)
	t.Cleanup(func() {
		l.Close()
		c.cut()
		c.wg.Wait()
	})
	return c
}

func (c *cutter) serve() {
	for {
		in, err := c.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", c.to)
		if err != nil {
			in.Close()
			continue
		}
		c.mu.Lock()
		c.conns = append(c.conns, in, out)
		c.mu.Unlock()
		c.wg.Go(func() { _, _ = io.Copy(in, out); in.Close() })
		c.wg.Go(func() { _, _ = io.Copy(out, in); out.Close() })
	}
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// A tail that loses its connection tells every change once, in order.
func TestTailResumes(t *testing.T) {
	ctx, address := serve(t)
	c := newCutter(t, address)
	_, open := tracing.Start(ctx, activity.WorkItem, "open", "")
	defer open.Complete("")

	out, stderr := &lines{c: make(chan string, 1000)}, &syncBuffer{}
	tailCtx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- runTail(tailCtx, tailFlags{json: true, snapshot: true, color: "auto"}, c.Addr().String(), out, stderr)
	}()
	next := func() (m message) {
		t.Helper()
		select {
		case line := <-out.c:
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nothing came; stderr: %s", stderr)
		}
		return m
	}
	if m := next(); m.Event != "active" || m.Activity.Name != "open" {
		t.Fatalf("first %s %q, want what is active", m.Event, m.Activity.Name)
	}
	var last uint64
	for round := range 3 {
		if round > 0 {
			c.cut()
		}
		for range 10 { // some of them while it is away
			_, a := tracing.Start(ctx, activity.WorkItem, "work", "")
			a.Complete("")
		}
		for i := range 20 {
			m := next()
			if m.Activity.Name != "work" || last != 0 && m.Seq != last+1 {
				t.Fatalf("round %d: %s %q at %d after %d", round, m.Event, m.Activity.Name, m.Seq, last)
			}
			if want := [...]string{"started", "completed"}[i%2]; m.Event != want {
				t.Errorf("event %d is %s, want %s", i, m.Event, want)
			}
			last = m.Seq
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("tail = %v", err)
	}
	if !strings.Contains(stderr.String(), "connection lost") {
		t.Errorf("stderr = %s", stderr)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// What a name holds never reaches the terminal as a command.
func TestTailNeutralizes(t *testing.T) {
	ctx, address := serve(t)
	_, a := tracing.Start(ctx, activity.WorkItem, "evil\x1b[2J\u009b31m\u202egnp.exe\nsecond", "\x1b]0;title\a")
	a.Fail(errors.New("\x1b[1A\rroot# "))
	for _, asJSON := range []bool{false, true} {
		var out bytes.Buffer
		if err := runTail(t.Context(), tailFlags{json: asJSON, since: "1m", count: 1, color: "never"}, address, &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		text := strings.TrimSuffix(out.String(), "\n")
		if strings.IndexFunc(text, plain.Unsafe) >= 0 {
			t.Errorf("json %v: %q", asJSON, text)
		}
		if asJSON {
			var m message
			if err := json.Unmarshal([]byte(text), &m); err != nil || m.Activity.Name != "evil\x1b[2J\u009b31m\u202egnp.exe\nsecond" {
				t.Errorf("%v: the name is %q", err, m.Activity.Name)
			}
		} else if !strings.Contains(text, `FAILED`) || !strings.Contains(text, `evil\u001b[2J\u009b31m\u202egnp.exe second`) {
			t.Errorf("%q", text)
		}
	}
}

func TestLine(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123e6, time.Local)
	for _, tt := range []struct {
		name, json, want string
		width            int
		color, ids       bool
	}{
		{name: "planned", json: `{"state":"PLANNED","type":"work_item","name":"Build","what_it_will_do":"Build 4f2a9c1","service":"ci"}`,
			want: "10:00:00.123  PLANNED     work_item          ci  Build: Build 4f2a9c1"},
		{name: "id", json: `{"span_id":"00f067aa0ba902b7","state":"PLANNED","type":"work_item","name":"Build"}`, ids: true,
			want: "10:00:00.123  00f067aa0ba902b7  PLANNED     work_item          Build"},
		{name: "doing", json: `{"state":"IN_PROGRESS","type":"thread","name":"Index","what_its_doing":"File 3","progress":0.254,"wait_ms":12.5,"stalled":true}`,
			want: "10:00:00.123  IN_PROGRESS thread             Index: File 3  (25%, waited 12.5ms, stalled)"},
		{name: "did", json: `{"state":"COMPLETED","type":"decision","name":"Select","what_it_did":"Weighed","duration_ms":61234.5,"decision":{"choice":"canary"}}`,
			want: "10:00:00.123  COMPLETED   decision           Select: Weighed [canary]  (1m1s)"},
		{name: "failed", json: `{"state":"FAILED","type":"span","name":"GET /","what_its_doing":"waiting","error":{"type":"timeout"},"duration_ms":0.0421}`,
			want: "10:00:00.123  FAILED      span               GET /: timeout  (42µs)"},
		{name: "no name", json: `{"activity_id":"4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7","state":"IN_PROGRESS","type":"span","name":"","what_its_doing":"Asking"}`,
			want: "10:00:00.123  IN_PROGRESS span               4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7: Asking"},
		{name: "cut", json: `{"state":"PLANNED","type":"work_item","name":"Bäuild it","what_it_will_do":"x"}`, width: 50,
			want: "10:00:00.123  PLANNED     work_item          Bäui…"},
		{name: "color", json: `{"state":"LOST","type":"span","name":"x"}`, color: true,
			want: faint + "10:00:00.123  " + reset + red + "LOST        " + reset + faint + "span               " + reset + bold + "x" + reset},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := message{Event: "updated", At: at}
			if err := json.Unmarshal([]byte(tt.json), &m.Activity); err != nil {
				t.Fatal(err)
			}
			p := &printer{color: tt.color, ids: tt.ids}
			if diff := cmp.Diff(tt.want, string(p.appendLine(nil, &m, tt.width))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"127.0.0.1:18080", "http://127.0.0.1:18080"},
		{"localhost:18080/monitor/", "http://localhost:18080"},
		{"https://example.com/behind/proxy/", "https://example.com/behind/proxy"},
		{"ws://[::1]:18080", "http://[::1]:18080"},
		{"wss://example.com", "https://example.com"},
		{"localhost", "http://localhost:18080"},
		{":18900", "http://127.0.0.1:18900"},
		{"[::1]", "http://[::1]:18080"},
		{"example.com/behind/proxy", "http://example.com:18080/behind/proxy"},
		{"http://localhost", "http://localhost"}, // a URL says it all
		{"", ""}, {"/monitor", ""}, {"http://", ""}, {"http://:18080", ""}, {"ftp://x", ""}, {"http://u:p@x", ""}, {"x?y=1", ""}, {"a b", ""},
	} {
		got, err := parseAddress(tt.in)
		if (err != nil) != (tt.want == "") || err == nil && got.String() != tt.want {
			t.Errorf("parseAddress(%q) = %v, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

// It does not wait in silence: it says for what.
func TestTailSaysWhatItWaitsFor(t *testing.T) {
	ctx, address := serve(t)
	_, open := tracing.Start(ctx, activity.WorkItem, "open", "")
	defer open.Complete("")
	for _, tt := range []struct {
		name string
		f    tailFlags
		want string
	}{
		{"nothing matches", tailFlags{snapshot: true, states: []string{"failed", "lost"}, query: `"order 42" tea`, attrs: []string{"k=v", "k=w"}, minDuration: "1s", stalled: true},
			` that match --attr k=v --attr k=w --min-duration 1s --q '"order 42" tea' --stalled --state failed,lost`},
		{"no snapshot", tailFlags{}, ""},
		{"since", tailFlags{since: "1m", types: []string{"decision"}}, " that match --type decision"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.f.color = "auto"
			stderr := &lines{c: make(chan string, 10)}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			var stdout syncBuffer
			go func() { done <- runTail(ctx, tt.f, address, &stdout, stderr) }()
			want := "midspan: connected to http://" + address + ", waiting for activities" + tt.want
			if got := <-stderr.c; got != want {
				t.Errorf("it said %q, want %q", got, want)
			}
			cancel()
			if err := <-done; err != nil || stdout.String() != "" {
				t.Errorf("tail = %v, %s", err, &stdout)
			}
		})
	}
	// What is active is answer enough.
	stderr := &syncBuffer{}
	if err := runTail(t.Context(), tailFlags{snapshot: true, count: 1, color: "auto"}, address, io.Discard, stderr); err != nil || stderr.String() != "" {
		t.Errorf("tail = %v, %s", err, stderr)
	}
}

// A short activity has one line, with an id that the API takes.
func TestTailIsCalm(t *testing.T) {
	ctx, address := serve(t)
	out := &lines{c: make(chan string, 100)}
	stderr := &lines{c: make(chan string, 10)}
	tailCtx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- runTail(tailCtx, tailFlags{ids: true, color: "auto", every: time.Minute}, address, out, stderr)
	}()
	<-stderr.c // it is connected
	_, a := tracing.Start(ctx, activity.WorkItem, "short", "")
	for i := range 10 {
		a.Sayf("step %d", i)
	}
	a.Complete("did it")
	line := <-out.c
	if !strings.Contains(line, "  "+a.ID().Span.String()+"  COMPLETED ") || !strings.Contains(line, "short: did it") {
		t.Errorf("the line is %q", line)
	}
	// What still waits is told at the end.
	_, b := tracing.Start(ctx, activity.WorkItem, "open", "")
	defer b.Complete("")
	_, c := tracing.Start(ctx, activity.WorkItem, "last", "")
	c.Complete("")
	for line = ""; !strings.Contains(line, "last"); {
		line = <-out.c
		if strings.Contains(line, "short") {
			t.Errorf("a second line: %q", line)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Who gives a word in place of an address is told what the argument is.
func TestUnreachable(t *testing.T) {
	notFound := &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "extra", IsNotFound: true}}
	var usage *usageError
	err := unreachable(fmt.Errorf("connect: %w", notFound))
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), `there is no host "extra"`) || !strings.Contains(err.Error(), "--q extra") {
		t.Errorf("%v", err)
	}
	err = unreachable(errors.New("connection refused"))
	if errors.As(err, &usage) || !strings.Contains(err.Error(), "is it running?") {
		t.Errorf("%v", err)
	}
}

func TestMonitorURL(t *testing.T) {
	bound := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000}
	for listen, want := range map[string]string{
		"127.0.0.1:0":   "http://127.0.0.1:4000/monitor/",
		"0.0.0.0:18080": "http://localhost:4000/monitor/",
		"[::]:0":        "http://localhost:4000/monitor/",
		":0":            "http://localhost:4000/monitor/",
		"[::1]:0":       "http://[::1]:4000/monitor/",
		"host.name:0":   "http://host.name:4000/monitor/",
	} {
		if got := monitorURL("http", listen, bound); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
}

// FuzzStream holds that whatever a server sends is printed as plain lines, which
// do nothing to a terminal, or is an error.
func FuzzStream(f *testing.F) {
	for _, seed := range []string{
		`[{"event":"hello","log_id":"01J","seq":5}]`, `[{"event":"gap","from":1,"to":2},{"event":"snapshot_end"}]`, `{}`, `[null,1]`,
		`[{"event":"completed","at":"2026-11-22T10:00:00Z","log_id":"a\u001b[2J","seq":1,"activity":{"state":"\u0007","name":"a\nb\u202e","duration_seconds":1e300,"attributes":{"k\r":["\u009b"]}}}]`,
	} {
		f.Add([]byte(seed), false, false)
	}
	f.Fuzz(func(t *testing.T, text []byte, asJSON, calmly bool) {
		var out, said bytes.Buffer
		tail := tailer{base: &url.URL{Scheme: "http", Host: "localhost"}, printer: newPrinter(&out, asJSON, "never"), stderr: &said}
		if calmly && !asJSON { // which tells every change
			tail.calm.every = time.Second
		}
		err := tail.takeAll(text)
		if err := errors.Join(tail.release(true), tail.printer.flush()); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			said.WriteString(plain.Text(err.Error()))
		}
		for _, r := range out.String() + said.String() {
			if r != '\n' && plain.Unsafe(r) {
				t.Errorf("%q is printed", r)
			}
		}
	})
}
