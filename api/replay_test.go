package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// film is a past of half a minute in a bubble, of which a minute has passed since.
//
//	0s  ship planned    10s  it starts    12s  tick starts and ends
//	20s it is loading   30s  it is gone
func film(t *testing.T, change func(c *Config, i *index.Config)) (w *pipeWorld, begin time.Time) {
	t.Helper()
	w = newPipeWorld(t, func(c *Config, i *index.Config) {
		withPast(c, i)
		if change != nil {
			change(c, i)
		}
	})
	begin = time.Now()
	s := func(n int) activity.Time { return activity.TimeOf(begin.Add(time.Duration(n) * time.Second)) }
	w.Apply(logged([]activity.Event{
		named(event(0, 1, activity.EventPlanned, s(0)), "ship", -1),
		event(0, 2, activity.EventStarted, s(10), str(activity.KeyCurrent, "packing")),
		named(event(1, 1, activity.EventStarted, s(12)), "tick", -1),
		event(1, 2, activity.EventCompleted, s(12)),
		event(0, 3, activity.EventUpdated, s(20), str(activity.KeyCurrent, "loading")),
		event(0, 4, activity.EventCompleted, s(30), str(activity.KeyFinal, "gone")),
	}))
	time.Sleep(90 * time.Second)
	return w, begin
}

// stamp is a time as a query has it.
func stamp(t time.Time) string { return url.QueryEscape(t.UTC().Format(time.RFC3339Nano)) }

// say sends a message of the client's.
func (c *client) say(message string) {
	c.t.Helper()
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		c.t.Fatal(err)
	}
}

// beyond returns the next message that is no clock.
func (c *client) beyond() message {
	c.t.Helper()
	for {
		m, err := c.next()
		if err != nil {
			c.t.Fatal(err)
		}
		if m.Event != "clock" {
			return m
		}
	}
}

// clock returns the next clock that check takes.
func (c *client) clock(check func(m message) bool) message {
	c.t.Helper()
	for {
		m, err := c.next()
		if err != nil {
			c.t.Fatal(err)
		}
		if m.Event == "clock" && check(m) {
			return m
		}
	}
}

// tale reads to the end of a replay: what was told, and after how long.
func (c *client) tale(begin time.Time) (told []string) {
	c.t.Helper()
	for {
		m := c.beyond()
		line := m.Event
		if m.Activity.Name != "" {
			line += " " + m.Activity.Name
		}
		if m.Activity.Doing != nil {
			line += ": " + *m.Activity.Doing
		}
		told = append(told, fmt.Sprintf("%v %s", time.Since(begin).Round(100*time.Millisecond), line))
		if m.Event == "end" {
			if m.Reason != "end" {
				c.t.Errorf("the end: %+v", m)
			}
			return told
		}
	}
}

// What the log took is told again, in proportion, from what was active at first.
func TestReplay(t *testing.T) {
	for _, tt := range []struct {
		name, query string
		want        []string
	}{
		{"as it was", "speed=1", []string{"0s hello", "0s active ship", "0s snapshot_end", "5s started ship: packing", "7s started tick", "7.1s completed tick", "15s updated ship: loading", "25s completed ship: loading", "27s end"}},
		{"in a batch", "speed=2&batch=1", []string{"0s hello", "0s active ship", "0s snapshot_end", "2.5s started ship: packing", "3.5s started tick", "3.5s completed tick", "7.5s updated ship: loading", "12.5s completed ship: loading", "13.5s end"}},
		{"slowly", "speed=0.1&state=completed", []string{"0s hello", "0s snapshot_end", "1m10.5s completed tick", "4m10s completed ship: loading", "4m30s end"}},
		{"at once", "speed=1000&batch=1", []string{"0s hello", "0s active ship", "0s snapshot_end", "0s started ship: packing", "0s started tick", "0s completed tick", "0s completed ship: loading", "0s end"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, begin := film(t, nil)
				defer w.stop()
				c := w.dialPath(fmt.Sprintf("/activity/replay?from=%s&to=%s&%s", stamp(begin.Add(5*time.Second)), stamp(begin.Add(32*time.Second)), tt.query))
				if diff := cmp.Diff(tt.want, c.tale(time.Now())); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if code, reason := c.closed(); code != websocket.CloseNormalClosure || reason != "the replay ends" {
					t.Errorf("closed with %d, %q", code, reason)
				}
			})
		})
	}
}

// A client pauses, goes on, and goes elsewhere at another speed.
func TestReplayControls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, begin := film(t, nil)
		defer w.stop()
		c := w.dialPath("/activity/replay?from=" + stamp(begin.Add(5*time.Second)) + "&to=" + stamp(begin.Add(32*time.Second)))
		c.clock(func(m message) bool { return m.Time.Equal(begin.Add(6 * time.Second)) })
		c.say(`{"action":"pause"}`)
		still := c.clock(func(m message) bool { return m.Paused })
		time.Sleep(20 * time.Second)
		c.say(`{"action":"speed","speed":10}`)
		if m := c.clock(func(message) bool { return true }); !m.Paused || m.Speed != 10 || !m.Time.Equal(still.Time) || !m.Until.Equal(begin.Add(32*time.Second)) {
			t.Errorf("while it is paused: %+v, was %+v", m, still)
		}
		c.say(`{"action":"resume"}`)
		at := time.Now()
		want := []string{"400ms started ship: packing", "600ms started tick", "600ms completed tick", "1.4s updated ship: loading"}
		for _, want := range want {
			m := c.beyond()
			line := fmt.Sprintf("%v %s %s", time.Since(at).Round(100*time.Millisecond), m.Event, m.Activity.Name)
			if m.Activity.Doing != nil {
				line += ": " + *m.Activity.Doing
			}
			if line != want {
				t.Errorf("%s, want %s", line, want)
			}
		}
		c.say(`{"action":"seek","time":"` + begin.Add(15*time.Second).UTC().Format(time.RFC3339Nano) + `"}`)
		if m := c.beyond(); m.Event != "active" || m.Activity.Doing == nil || *m.Activity.Doing != "packing" || m.Seq != 4 {
			t.Errorf("after the seek: %+v", m)
		}
		at = time.Now()
		if diff := cmp.Diff([]string{"0s snapshot_end", "500ms updated ship: loading", "1.5s completed ship: loading", "1.7s end"}, c.tale(at)); diff != "" {
			t.Errorf("after the seek (-want +got):\n%s", diff)
		}
	})
}

// What is wrong with a message is told, and the replay goes on.
func TestReplayControlsAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, begin := film(t, nil)
		defer w.stop()
		c := w.dialPath("/activity/replay?speed=0.1&from=" + stamp(begin) + "&to=" + stamp(begin.Add(32*time.Second)))
		c.want("hello 1")
		for m := c.beyond(); m.Event != "snapshot_end"; m = c.beyond() {
		}
		for message, want := range map[string]string{
			`stop`:                              ": the message is not an object",
			`{"action":"pause"} {}`:             ": there is more than one object",
			`{"action":"rewind"}`:               `action: "rewind" is not one of pause, resume, seek, speed`,
			`{"action":"pause","now":1}`:        ": the message is not an object",
			`{"action":"pause","speed":1}`:      "speed: is not for this action",
			`{"action":"speed","time":"15m"}`:   "time: is not for this action",
			`{"action":"speed"}`:                `speed: "" is not a number from 0.1 to 1000`,
			`{"action":"speed","speed":1001}`:   `speed: "1001" is not a number`,
			`{"action":"speed","speed":"fast"}`: `is not a number`,
			`{"action":"seek"}`:                 "time: is missing",
			`{"action":"seek","time":"noon"}`:   `time: "noon" is neither a time`,
			`{"action":"seek","time":"0s"}`:     "time: lies behind the end of the replay",
		} {
			c.say(message)
			if m := c.beyond(); m.Event != "error" || !strings.Contains(m.Parameter+": "+m.Detail, want) {
				t.Errorf("%s: %+v, want %s", message, m, want)
			}
		}
		c.say(`{"action":"pause"}`)
		c.clock(func(m message) bool { return m.Paused })
		c.say(strings.Repeat(" ", maxClientFrame+1))
		if code, _ := c.closed(); code != websocket.CloseMessageTooBig {
			t.Errorf("closed with %d", code)
		}
	})
}

// Who talks without end is taken a message at a time, and nothing piles up.
func TestReplayTalkative(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, begin := film(t, nil)
		defer w.stop()
		c := w.dialPath("/activity/replay?speed=0.1&from=" + stamp(begin))
		go func() {
			for c.conn.WriteMessage(websocket.TextMessage, []byte(`{"action":"speed","speed":0.5}`)) == nil {
			}
		}()
		at, n := time.Now(), 0
		for ; time.Since(at) < 10*time.Second; n++ {
			if _, err := c.next(); err != nil {
				t.Fatal(err)
			}
		}
		if most := int(10*time.Second/controlEvery) + 50; n > most {
			t.Errorf("%d answers in 10 s, want at most %d", n, most)
		}
		c.conn.Close()
	})
}

// A client that does not read makes the replay wait; nothing is lost of it.
func TestReplayWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, begin := film(t, nil)
		defer w.stop()
		c := w.dialPath("/activity/replay?from=" + stamp(begin.Add(5*time.Second)) + "&to=" + stamp(begin.Add(32*time.Second)))
		c.clock(func(m message) bool { return m.Time.Equal(begin.Add(6 * time.Second)) })
		time.Sleep(50 * time.Second)
		at := time.Now()
		if diff := cmp.Diff([]string{"3.5s started ship: packing", "5.5s started tick", "5.6s completed tick", "13.5s updated ship: loading", "23.5s completed ship: loading", "25.5s end"}, c.tale(at)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// A replay of more events than go out at once keeps their order and all of them.
func TestReplayMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeWorld(t, withPast)
		defer w.stop()
		begin := activity.TimeOf(time.Now())
		const n = 3 * playChunk
		var events []activity.Event
		for k := range n / 2 {
			when := begin + activity.Time(k)*activity.Time(time.Millisecond)
			events = append(events, named(event(k, 1, activity.EventStarted, when), "step", -1), event(k, 2, activity.EventCompleted, when))
		}
		w.Apply(logged(events))
		time.Sleep(time.Minute)
		c := w.dialPath("/activity/replay?speed=1000&batch=1&from=" + stamp(begin.Time().Add(-time.Second)))
		seq := uint64(0)
		for m := c.beyond(); m.Event != "end"; m = c.beyond() {
			if m.Event == "hello" || m.Event == "snapshot_end" {
				continue
			}
			if seq++; m.Seq != seq {
				t.Fatalf("event %d is %+v", seq, m)
			}
		}
		if seq != n {
			t.Errorf("%d of %d events", seq, n)
		}
	})
}

// What is asked for wrongly is told before the upgrade.
func TestReplayIsChecked(t *testing.T) {
	w := newWorld(t, func(c *Config, i *index.Config) {
		withPast(c, i)
		i.Now = time.Now
		c.MaxReplays = 1
	})
	ws := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}
	future := stamp(time.Now().Add(time.Hour))
	for _, tt := range []struct {
		query     string
		header    []string
		status    int
		parameter string
	}{
		{"", ws, 400, "from"},
		{"from=yesterday", ws, 400, "from"},
		{"from=" + future, ws, 400, "from"},
		{"from=1h&to=" + future, ws, 400, "to"},
		{"from=1h&to=2h", ws, 400, "from"},
		{"from=1h&speed=0.09", ws, 400, "speed"},
		{"from=1h&speed=1001", ws, 400, "speed"},
		{"from=1h&speed=NaN", ws, 400, "speed"},
		{"from=1h&speed=1&speed=2", ws, 400, "speed"},
		{"from=1h&type=x", ws, 400, "type"},
		{"from=1h&snapshot=1", ws, 400, "snapshot"},
		{"from=1h", nil, 426, ""},
	} {
		status, header, body := w.get(t, "/activity/replay?"+tt.query, tt.header...)
		if status != tt.status || header.Get("Content-Type") != "application/problem+json" || tt.parameter != "" && !strings.Contains(body, `"parameter":"`+tt.parameter+`"`) {
			t.Errorf("%q: %d %s", tt.query, status, body)
		}
	}
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(w.url, "http")+"/activity/replay?speed=0.1&from=1h", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, header, body := w.get(t, "/activity/replay?from=1h", ws...); status != 503 || header.Get("Retry-After") == "" {
		t.Errorf("one replay too many: %d %s", status, body)
	}
	if hits := w.api.Hits(); hits != (Hits{Replays: 1}) {
		t.Errorf("%+v", hits)
	}
	_, _, metrics := w.get(t, "/metrics")
	for _, name := range []string{"active", "limit"} {
		if !regexp.MustCompile(`midspan_replay_` + name + `\{.*\} 1\n`).MatchString(metrics) {
			t.Errorf("the metrics do not tell of the replay: %s", name)
		}
	}
	conn.Close()

	w = newWorld(t, nil)
	if status, _, body := w.get(t, "/activity/replay?from=1h", ws...); status != http.StatusNotFound || !strings.Contains(body, "keeps no past") {
		t.Errorf("without a past: %d %s", status, body)
	}
	w = newWorld(t, func(c *Config, _ *index.Config) { c.Moments = forgetful{} })
	if status, _, body := w.get(t, "/activity/replay?from=1h", ws...); status != http.StatusGone || !strings.Contains(body, `"parameter":"from"`) {
		t.Errorf("of what is gone: %d %s", status, body)
	}
}

// A replay that is overtaken by what is let go of says so at its end.
func TestReplayForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeWorld(t, func(c *Config, i *index.Config) {
			withPast(c, i)
			i.MaxFinished, i.MaxEvents = 100, 1
		})
		defer w.stop()
		begin := time.Now()
		const n = 150
		var events []activity.Event
		for k := range n {
			when := activity.TimeOf(begin.Add(time.Duration(k) * time.Second))
			events = append(events, named(event(k, 1, activity.EventStarted, when), "step", -1), event(k, 2, activity.EventCompleted, when))
		}
		events = logged(events)
		w.Apply(events[:200])
		time.Sleep(n * time.Second)
		c := w.dialPath("/activity/replay?from=" + stamp(begin))
		told := 0
		for m := c.beyond(); m.Event != "end"; m = c.beyond() {
			if told++; told == 10 {
				w.Apply(events[200:])
			}
			if told == 150 {
				t.Fatal("what is gone is told")
			}
		}
		if told < 10 {
			t.Errorf("%d messages before the end", told)
		}
	})
}

// A replay ends with the server.
func TestReplayEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, begin := film(t, nil)
		c := w.dialPath("/activity/replay?from=" + stamp(begin.Add(5*time.Second)))
		c.clock(func(m message) bool { return m.Time.Equal(begin.Add(6 * time.Second)) })
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			w.stop()
		}()
		defer func() { <-stopped }()
		if code, reason := c.closed(); code != websocket.CloseGoingAway || !strings.HasPrefix(reason, "shutting down; replay with from=2000-01-01T00:00:") {
			t.Errorf("closed with %d, %q", code, reason)
		}
	})
}

func FuzzReplayParams(f *testing.F) {
	for _, seed := range []string{"from=1h", "from=2026-11-22T09:00:00Z&to=30m&speed=0.1&batch=1&type=decision", "from=1h&speed=1e3", "from=1h&speed=-Inf", "to=5", "from=0s&to=0s&speed=0x1p4"} {
		f.Add(seed)
	}
	reader := index.New(index.Config{})
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, query string) {
		q, err := parseReplay(parseParams(context.Background(), reader, now, query))
		if err != nil {
			return
		}
		if q.speed < minSpeed || q.speed > maxSpeed || q.speed != q.speed || q.from > q.to || q.to > activity.TimeOf(now) {
			t.Errorf("%q reads as %+v", query, q)
		}
	})
}

func FuzzReplayControl(f *testing.F) {
	for _, seed := range []string{`{"action":"pause"}`, `{"action":"seek","time":"15m"}`, `{"action":"speed","speed":1e3}`, `{"action":"speed","speed":null}`, `[]`, `null`, `{"action":"seek","time":null}`, "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		action, at, speed, err := parseControl(message, time.Unix(1e9, 0))
		if err != nil {
			return
		}
		switch {
		case action == "speed" && goodSpeed(speed) && at == 0:
		case action == "seek" && speed == 0:
		case (action == "pause" || action == "resume") && at == 0 && speed == 0:
		default:
			t.Errorf("%q reads as %q, %v, %v", message, action, at, speed)
		}
	})
}
