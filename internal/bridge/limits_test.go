package bridge

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/receiver"
)

// hits reads midspan.limit.hits of every limit.
func (s *served) hits() map[string]int64 {
	s.t.Helper()
	resp := do(s.t, s.client, http.MethodGet, "http://"+s.Addr().String()+"/metrics", "")
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	out := map[string]int64{}
	for _, m := range regexp.MustCompile(`(?m)^midspan_limit_hits_total\{midspan_limit="([^"]+)".*\} (\S+)$`).FindAllSubmatch(body, -1) {
		n, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			s.t.Fatal(err)
		}
		out[string(m[1])] = int64(n)
	}
	return out
}

// try sends a request, and returns the status that it is answered with.
func (s *served) try(path, body string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.HTTPAddr().String()+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// finished is a request of spans that have just ended, with attributes.
func finished(first, n int, attrs string) string {
	list := make([]string, n)
	at := time.Now().UnixNano()
	for i := range list {
		list[i] = strings.TrimSuffix(span(trace, first+i, 0, at-1e6, at), "}") + `,"attributes":[` + attrs + `]}`
	}
	return spans(text("service.name", "shop"), list...)
}

// heldLog appends when it is let.
type heldLog struct {
	eventlog.Log
	entered, release chan struct{}
}

func (l *heldLog) Append(ctx context.Context, events []activity.Event) error {
	close(l.entered)
	<-l.release
	return l.Log.Append(ctx, events)
}

// At a limit nothing is hit; one past it is, and the metric tells it.
func TestLimits(t *testing.T) {
	elsewhere := map[string]string{ // with what these need: a disk that is slow, a reader or a client that stands still
		"max-pending-bytes": "sqlite: TestPending", "max-log-events": "memory: TestBounds", "max-log-bytes": "memory: TestBounds", "max-stream-events": "api: TestSlowClientIsClosedAndLosesNothing",
		"max-stream-bytes": "api: TestSlowClientIsClosedAndLosesNothing", "max-exports": "api: TestExportsAreLimited", "max-sessions": "api: TestSessionsEnd",
	}
	large := finished(1, 1, "")
	attr := func(n int) string { return strings.TrimSuffix(strings.Repeat(number("a", 1)+",", n), ",") }
	nested := func(depth int) string {
		value := `{"intValue":"1"}`
		for range depth {
			value = `{"arrayValue":{"values":[` + value + `]}}`
		}
		return `{"key":"a","value":` + value + `}`
	}
	lease := func(name string) string {
		return records(text("midspan.lease.id", name), `{"eventName":"midspan.lease.renewed","attributes":[`+number("seq", 1)+`]}`)
	}
	open := func(n int) string { return spans("", span(trace, n, 0, time.Now().UnixNano(), 0)) }
	tests := map[string]struct {
		limit    int64
		at, past func(*served)
	}{
		"max-request-bytes": {
			int64(len(large)),
			func(s *served) { s.send("/v1/traces", large) },
			func(s *served) { s.wants(413, "/v1/traces", large+" ") },
		},
		"max-values": {
			40, // 8 each for the resource, the scope and the span, and 1 for the resource's attribute
			func(s *served) { s.send("/v1/traces", finished(1, 1, attr(15))) },
			func(s *served) { s.wants(413, "/v1/traces", finished(1, 1, attr(16))) },
		},
		"max-span-values": {
			3,
			func(s *served) { s.send("/v1/traces", finished(1, 1, attr(3))) },
			func(s *served) { s.wants(200, "/v1/traces", finished(2, 1, attr(4))) },
		},
		"max-depth": {
			2,
			func(s *served) { s.send("/v1/traces", finished(1, 1, nested(2))) },
			func(s *served) { s.wants(200, "/v1/traces", finished(2, 1, nested(3))) },
		},
		"max-leases": {
			1,
			func(s *served) { s.send("/v1/logs", lease("one")) },
			func(s *served) { s.wants(200, "/v1/logs", lease("two")) },
		},
		"max-in-flight": {
			1,
			func(s *served) { s.send("/v1/traces", open(1)) },
			func(s *served) { s.send("/v1/traces", open(2)) },
		},
		"max-finished": {
			2,
			func(s *served) { s.send("/v1/traces", finished(1, 2, "")) },
			func(s *served) { s.send("/v1/traces", finished(3, 1, "")) },
		},
		"max-memory-bytes": {
			4 << 20,
			func(s *served) { s.send("/v1/traces", finished(1, 1, "")) },
			func(s *served) {
				for i := range 6 {
					s.send("/v1/traces", finished(100*i+10, 10, text("a", strings.Repeat(fmt.Sprintf("%09d", i), 100_000/9))))
				}
			},
		},
		"max-requests": {
			1,
			func(s *served) { s.send("/v1/traces", finished(1, 1, "")) },
			func(s *served) {
				held := &heldLog{s.store.Log, make(chan struct{}), make(chan struct{})}
				s.store.Log = held
				done := make(chan int, 1)
				go func() { done <- s.try("/v1/traces", finished(2, 1, "")) }()
				<-held.entered
				s.wants(429, "/v1/traces", finished(3, 1, ""))
				close(held.release)
				if status := <-done; status != http.StatusOK {
					s.t.Errorf("the first request is answered %d", status)
				}
			},
		},
		"max-replays": {
			1,
			func(s *served) {
				conn, _, err := websocket.DefaultDialer.DialContext(s.t.Context(), "ws://"+s.Addr().String()+"/activity/replay?from=1h&speed=0.1", nil)
				if err != nil {
					s.t.Fatal(err)
				}
				s.t.Cleanup(func() { conn.Close() })
			},
			func(s *served) {
				_, resp, err := websocket.DefaultDialer.DialContext(s.t.Context(), "ws://"+s.Addr().String()+"/activity/replay?from=1h", nil)
				if err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
					s.t.Errorf("a replay beyond the limit: %v, %v", resp, err)
				}
			},
		},
		"max-streams": {
			1,
			func(s *served) { s.watch("") },
			func(s *served) {
				resp, err := s.client.Get("http://" + s.Addr().String() + "/activity/stream")
				if err != nil {
					s.t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusServiceUnavailable {
					s.t.Errorf("a stream beyond the limit is answered %s", resp.Status)
				}
			},
		},
	}
	for _, l := range Limits {
		t.Run(l.Name, func(t *testing.T) {
			tt, here := tests[l.Name]
			if elsewhere[l.Name] != "" {
				s := serve(t, Config{Limits: map[string]int64{l.Name: l.Default}})
				if n, told := s.hits()[l.Name]; n != 0 || !told {
					t.Errorf("%d hits, told: %v", n, told)
				}
				return
			}
			if l.hits == nil {
				s := serve(t, Config{Limits: map[string]int64{l.Name: l.Least}})
				s.send("/v1/traces", finished(1, 1, ""))
				if _, told := s.hits()[l.Name]; told {
					t.Error("hits are told that nobody counts")
				}
				return
			}
			if !here {
				t.Fatal("it has no test")
			}
			s := serve(t, Config{Limits: map[string]int64{l.Name: tt.limit}})
			tt.at(s)
			if n, told := s.hits()[l.Name]; n != 0 || !told {
				t.Errorf("at the limit: %d hits, told: %v", n, told)
			}
			tt.past(s)
			for name, n := range s.hits() {
				if hit := name == l.Name; hit != (n > 0) {
					t.Errorf("past the limit: %d hits of %s", n, name)
				}
			}
		})
	}
}

func (s *served) wants(status int, path, body string) {
	s.t.Helper()
	if got := s.try(path, body); got != status {
		s.t.Errorf("%s is answered %d, want %d", path, got, status)
	}
}

// What has ended for longer than --retain-age goes, and is counted.
func TestRetainAge(t *testing.T) {
	s := serve(t, Config{Storage: Storage{MaxAge: time.Hour}})
	ended := func(n int, ago time.Duration) {
		at := time.Now().Add(-ago).UnixNano()
		s.send("/v1/traces", spans("", span(trace, n, 0, at-1, at)))
	}
	for i, want := range []struct {
		ago  time.Duration
		hits int64
	}{{61 * time.Minute, 1}, {59 * time.Minute, 1}} {
		ended(i+1, want.ago)
		if n := s.hits()[limitAge]; n != want.hits {
			t.Errorf("%v ago: %d hits, want %d", want.ago, n, want.hits)
		}
	}
}

// Limits that nobody counts, and times of connections, are where they belong.
func TestConnections(t *testing.T) {
	cfg := Config{Limits: map[string]int64{"max-header-bytes": 2048, "max-grpc-calls": 3}, Times: map[string]time.Duration{}}
	for i, d := range Times {
		cfg.Times[d.Name] = time.Duration(i+1) * time.Second
	}
	b, err := cfg.bounds()
	if err != nil {
		t.Fatal(err)
	}
	want := receiver.Connections{Header: 1e9, Request: 2e9, Idle: 3e9, Ping: 4e9, PingTimeout: 5e9, MinPing: 6e9, MaxAge: 7e9}
	if b.receiver.Connections != want || b.receiver.MaxHeaderBytes != 2048 || b.receiver.MaxStreams != 3 {
		t.Errorf("%+v", b.receiver)
	}
	if b.apiHeader != 8e9 || b.apiIdle != 9e9 {
		t.Errorf("the API's are %v and %v", b.apiHeader, b.apiIdle)
	}
	// The head of a request, and one that does not come, end with the connection.
	s := serve(t, Config{Times: map[string]time.Duration{
		"otlp-header-timeout": 100 * time.Millisecond, "otlp-request-timeout": 200 * time.Millisecond,
		"api-header-timeout": 100 * time.Millisecond, "api-idle-timeout": time.Second,
	}})
	for sent, to := range map[string]net.Addr{
		"POST": s.HTTPAddr(),
		"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{": s.HTTPAddr(),
		"GET": s.Addr(),
		"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n": s.Addr(),
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(8 * time.Second)) // less than the defaults
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("after %q: %v", sent, err)
		}
	}
}

// A limit beyond its range is refused by name.
func TestLimitRange(t *testing.T) {
	for _, l := range Limits {
		for _, n := range []int64{l.Least - 1, l.Most + 1} {
			cfg := Config{Limits: map[string]int64{l.Name: n}}
			if _, err := cfg.bounds(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s is %d: give %d to %d", l.Name, n, l.Least, l.Most)) {
				t.Errorf("%v", err)
			}
		}
	}
	for _, d := range Times {
		for _, n := range []time.Duration{d.Least - 1, d.Most + 1} {
			cfg := Config{Times: map[string]time.Duration{d.Name: n}}
			if _, err := cfg.bounds(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s is %v: give %v to %v", d.Name, n, d.Least, d.Most)) {
				t.Errorf("%v", err)
			}
		}
	}
}
