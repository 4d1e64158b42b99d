package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// flood makes n activities that start, from the given number on.
func flood(x *index.Index, from, n int) {
	for i := from; i < from+n; i++ {
		x.Apply([]activity.Event{started(i, fmt.Sprintf("work %d", i))})
	}
}

func TestSlowClientIsClosedAndLosesNothing(t *testing.T) {
	for _, kind := range []string{"prompt", "batch"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newPipeWorld(t, func(c *Config, _ *index.Config) { c.RingEvents = 8 })
				c := w.dial(map[string]string{"prompt": "?hello=1", "batch": "?batch=1"}[kind])
				c.want("hello 0")
				synctest.Wait()
				flood(w.Index, 0, 1)
				synctest.Wait() // the server is writing, and nobody reads
				for i := 1; i < 100; i++ {
					flood(w.Index, i, 1)
					time.Sleep(tick) // the bubble's: the hub reads on
				}
				code, reason, seqs := c.drain()
				if code != websocket.CloseTryAgainLater {
					t.Fatalf("code %d %q, want 1013", code, reason)
				}
				last := uint64(0)
				if len(seqs) > 0 {
					last = seqs[len(seqs)-1]
				}
				if n := w.api.Hits().Slow; n != 1 {
					t.Errorf("%d streams were slow", n)
				}
				want := fmt.Sprintf("too slow; resume with after=%s:%d", w.Head().LogID, last)
				if reason != want {
					t.Fatalf("reason %q, want %q", reason, want)
				}
				c.conn.Close()

				resumed := w.dial("?after=" + strings.TrimPrefix(reason, "too slow; resume with after="))
				for seq := last + 1; seq <= 100; seq++ {
					if m, err := resumed.next(); err != nil || m.Seq != seq {
						t.Fatalf("%v %v, want sequence %d", m.says(), err, seq)
					}
				}
				resumed.conn.Close()
				w.stop()
			})
		})
	}
}

// drain reads to the end and returns the close's code and reason, and the
// sequences of the events before it.
func (c *client) drain() (int, string, []uint64) {
	c.t.Helper()
	var seqs []uint64
	for {
		m, err := c.next()
		if e, ok := errors.AsType[*websocket.CloseError](err); ok {
			return e.Code, e.Text, seqs
		}
		if err != nil {
			c.t.Fatal(err)
		}
		if m.Event != "hello" {
			seqs = append(seqs, m.Seq)
		}
	}
}

func TestStuckClientIsClosed(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration // when it reads again
		code  int
	}{
		{"reads at last", writeWait + slowWait/2, websocket.CloseTryAgainLater},
		{"never reads", writeWait + slowWait + closeWait, websocket.CloseAbnormalClosure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newPipeWorld(t, nil)
				c := w.dial("")
				flood(w.Index, 0, 3)
				time.Sleep(tt.after)
				for {
					_, err := c.next()
					if err == nil {
						continue
					}
					if !websocket.IsCloseError(err, tt.code) && !(tt.code == websocket.CloseAbnormalClosure && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF))) {
						t.Errorf("%v, want code %d", err, tt.code)
					}
					break
				}
				c.conn.Close()
				w.stop()
			})
		})
	}
}

func TestPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeWorld(t, nil)
		alive, dead := w.dial(""), w.dial("")
		var pings atomic.Int32
		alive.conn.SetPingHandler(func(string) error {
			pings.Add(1)
			return alive.conn.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second))
		})
		pong := make(chan string, 1)
		alive.conn.SetPongHandler(func(payload string) error { pong <- payload; return nil })
		dead.conn.SetPingHandler(func(string) error { return nil })
		deadEnd := make(chan time.Time)
		go func() {
			for {
				if _, _, err := dead.conn.ReadMessage(); err != nil {
					deadEnd <- time.Now()
					return
				}
			}
		}()
		ended := make(chan error)
		go func() {
			_, _, err := alive.conn.ReadMessage()
			ended <- err
		}()
		begin := time.Now()
		if d := (<-deadEnd).Sub(begin); d < pongWait || d > pongWait+closeWait {
			t.Errorf("the client that gives no pong was closed after %v", d)
		}
		dead.conn.Close()
		// The other one is kept for as long as it answers, and gets pongs too.
		if err := alive.conn.WriteControl(websocket.PingMessage, []byte("are you there"), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if got := <-pong; got != "are you there" {
			t.Errorf("pong %q", got)
		}
		time.Sleep(10 * pingEvery)
		if n := pings.Load(); n < 10 {
			t.Errorf("%d pings", n)
		}
		w.stop()
		if err := <-ended; !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("%v, want 1001", err)
		}
		alive.conn.Close()
	})
}

func TestClientTalksTooMuch(t *testing.T) {
	w := newWorld(t, nil)
	c := w.dial(t, "")
	if err := c.conn.WriteMessage(websocket.TextMessage, make([]byte, maxClientFrame)); err != nil {
		t.Fatal(err)
	}
	w.Apply([]activity.Event{started(1, "still there")})
	c.want("started 1 still there")
	if err := c.conn.WriteMessage(websocket.TextMessage, make([]byte, maxClientFrame+1)); err != nil {
		t.Fatal(err)
	}
	if code, _ := c.closed(); code != websocket.CloseMessageTooBig {
		t.Errorf("code %d, want 1009", code)
	}
}

func TestShutdown(t *testing.T) {
	w := newWorld(t, nil)
	w.Apply(story())
	c, sse := w.dial(t, "?hello=1"), w.events(t, "?hello=1")
	c.want("hello 14")
	sse.want("hello 14")
	if err := w.api.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	code, reason := c.closed()
	if want := "shutting down; resume with after=" + w.Head().String(); code != websocket.CloseGoingAway || reason != want {
		t.Errorf("%d %q, want 1001 %q", code, reason, want)
	}
	if _, err := sse.read(); !errors.Is(err, io.EOF) || sse.id != w.Head().String() {
		t.Errorf("%v, id %q", err, sse.id)
	}
	for path, want := range map[string]int{"/readyz": 503, "/healthz": 200, "/activity/all": 200} {
		if status, _, body := w.get(t, path); status != want {
			t.Errorf("%s: status %d, want %d: %s", path, status, want, body)
		}
	}
	status, header, _ := w.get(t, "/activity/stream", "Accept", "text/event-stream")
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("a stream after the end: %d %v", status, header)
	}
	if err := w.api.Shutdown(t.Context()); err != nil {
		t.Errorf("second time: %v", err)
	}
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeWorld(t, nil)
		c := w.dial("")
		flood(w.Index, 0, 1)
		synctest.Wait() // the server is writing, and nobody reads
		ctx, cancel := context.WithTimeout(t.Context(), hurryWait/2)
		defer cancel()
		if err := w.api.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		begin := time.Now()
		w.stop()
		if d := time.Since(begin); d > hurryWait+slowWait {
			t.Errorf("a client that does not read held the shutdown for %v", d)
		}
		c.conn.Close()
	})
}

func TestMaxStreams(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *index.Config) { c.MaxStreams = 2 })
	one := w.dial(t, "?hello=1")
	one.want("hello 0")
	w.events(t, "?hello=1").want("hello 0")
	for _, header := range [][]string{
		{"Accept", "text/event-stream"},
		{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="},
	} {
		status, h, body := w.get(t, "/activity/stream", header...)
		if status != http.StatusServiceUnavailable || h.Get("Retry-After") != "5" || h.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%d %v %s", status, h, body)
		}
	}
	_, _, body := w.get(t, "/activity/stats")
	if got := object(t, body)["refused"]; got != 2.0 || w.api.Hits() != (Hits{Streams: 2}) {
		t.Errorf("refused %v, want 2; %+v", got, w.api.Hits())
	}
}

func TestBadUpgrades(t *testing.T) {
	w := newWorld(t, nil)
	for _, tt := range []struct {
		name   string
		want   int
		header []string
	}{
		{"not a WebSocket", 400, []string{"Connection", "Upgrade", "Upgrade", "h2c"}},
		{"no connection header", 400, []string{"Upgrade", "websocket"}},
		{"old version", 400, []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "8"}},
		{"no key", 400, []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13"}},
		{"bad parameter", 400, []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==", "Accept", "*/*"}},
	} {
		query := ""
		if tt.name == "bad parameter" {
			query = "?limit=3"
		}
		if status, _, body := w.get(t, "/activity/stream"+query, tt.header...); status != tt.want {
			t.Errorf("%s: status %d, want %d: %s", tt.name, status, tt.want, body)
		}
	}
	if n := w.api.openStreams(); n != 0 {
		t.Errorf("%d streams are open", n)
	}
}

func TestGapWhileFollowing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeWorld(t, func(_ *Config, i *index.Config) { i.MaxEvents = 16 })
		c := w.dial("?batch=1")
		c.want("hello 0")
		// In one go, so that the hub can't read in between.
		burst := make([]activity.Event, 0, 100)
		for i := range 100 {
			burst = append(burst, started(i, "burst"))
		}
		w.Apply(burst)
		code, reason := c.closed()
		if want := "too slow; resume with after=" + w.Head().LogID + ":0"; code != websocket.CloseTryAgainLater || reason != want {
			t.Fatalf("%d %q, want 1013 %q", code, reason, want)
		}
		c.conn.Close()
		c = w.dial("?after=" + w.Head().LogID + ":0")
		c.want("gap 1-100", "active 100 burst")
		c.conn.Close()
		w.stop()
	})
}

func TestServerSentEventsKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeWorld(t, nil)
		res := w.get("/activity/stream?type=decision", "Accept", "text/event-stream")
		lines := make(chan string)
		go func() {
			defer close(lines)
			for s := bufio.NewScanner(res.Body); s.Scan(); {
				lines <- s.Text()
			}
		}()
		if got := <-lines + <-lines; got != "retry: 1000" {
			t.Errorf("begins with %q", got)
		}
		flood(w.Index, 0, 5) // no decisions: only the position moves
		begin := time.Now()
		if got, want := <-lines, "id: "+w.Head().String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if d := time.Since(begin); d != pingEvery {
			t.Errorf("after %v, want %v", d, pingEvery)
		}
		go w.stop()
		for range lines {
		}
		res.Body.Close()
		synctest.Wait()
	})
}

// slowReader answers late, as a busy machine does.
type slowReader struct {
	Reader
	late time.Duration
}

func (r slowReader) List(ctx context.Context, q *activity.Query) (*activity.Page, error) {
	time.Sleep(r.late) // the bubble's
	return r.Reader.List(ctx, q)
}

func TestLateAnswerIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeWorld(t, nil)
		w.api.cfg.Reader = slowReader{w.Index, 2 * writeTimeout}
		res := w.get("/activity/all")
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK || !strings.HasPrefix(string(b), `{"activities":[`) {
			t.Errorf("%s %.80s, %v", res.Status, b, err)
		}
		w.stop()
	})
}

func TestAnswerThatNobodyReadsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeWorld(t, nil)
		flood(w.Index, 0, 1000)
		began := time.Now()
		res := w.get("/activity/all?limit=1000")
		time.Sleep(2 * writeTimeout)
		if b, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("all of %d bytes could be read %v later", len(b), time.Since(began))
		}
		res.Body.Close()
		w.stop()
	})
}
