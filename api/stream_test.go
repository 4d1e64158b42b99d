package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// message is one object of a stream, as far as the tests look at it.
type message struct {
	Event    string
	LogID    string `json:"log_id"`
	Seq      uint64
	From, To uint64
	LeaseMs  *int64 `json:"lease_ms"`
	// Of a replay.
	Time, Until       time.Time
	Speed             float64
	Paused            bool
	Reason, Parameter string
	Detail            string
	Activity          struct {
		ID    string `json:"activity_id"`
		Name  string
		State string
		Doing *string `json:"what_its_doing"`
		Did   *string `json:"what_it_did"`
	}
}

// says is a message in a few words.
func (m message) says() string {
	switch m.Event {
	case "hello", "snapshot_end":
		return fmt.Sprintf("%s %d", m.Event, m.Seq)
	case "gap":
		return fmt.Sprintf("gap %d-%d", m.From, m.To)
	}
	return fmt.Sprintf("%s %d %s", m.Event, m.Seq, m.Activity.Name)
}

// client is the far end of a stream.
type client struct {
	t    *testing.T
	conn *websocket.Conn // nil for server-sent events
	sse  *bufio.Reader
	res  *http.Response
	id   string    // the last that server-sent events named
	held []message // of a batch
	sent int       // messages of the wire, of which a batch is one
}

func (w *world) dial(t *testing.T, query string, header ...string) *client {
	t.Helper()
	return w.dialPath(t, "/activity/stream"+query, header...)
}

func (w *world) dialPath(t *testing.T, path string, header ...string) *client {
	t.Helper()
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Add(header[i], header[i+1])
	}
	conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(w.url, "http")+path, h)
	if err != nil {
		t.Fatalf("dial: %v, %+v", err, res)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t: t, conn: conn}
}

func (w *world) events(t *testing.T, query string, header ...string) *client {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/activity/stream"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("status %d, %v", res.StatusCode, res.Header)
	}
	return &client{t: t, sse: bufio.NewReader(res.Body), res: res}
}

// next returns the next object, or the error that ended the stream.
func (c *client) next() (message, error) {
	for len(c.held) == 0 {
		data, err := c.read()
		if err != nil {
			return message{}, err
		}
		c.sent++
		if strings.HasPrefix(data, "[") {
			err = json.Unmarshal([]byte(data), &c.held)
		} else {
			c.held = make([]message, 1)
			err = json.Unmarshal([]byte(data), &c.held[0])
		}
		if err != nil {
			c.t.Fatalf("%v in %s", err, data)
		}
	}
	m := c.held[0]
	c.held = c.held[1:]
	return m, nil
}

func (c *client) read() (string, error) {
	if c.conn != nil {
		c.conn.SetReadDeadline(time.Now().Add(time.Minute))
		_, b, err := c.conn.ReadMessage()
		return string(b), err
	}
	for {
		line, err := c.sse.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimSuffix(line, "\n")
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			c.id = id
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return data, nil
		}
	}
}

// want reads as many objects as are wanted and compares them.
func (c *client) want(want ...string) {
	c.t.Helper()
	var got []string
	for range want {
		m, err := c.next()
		if err != nil {
			c.t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, m.says())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Fatalf("-want +got:\n%s", diff)
	}
}

// closed reads until the stream ends and returns the code and its reason.
func (c *client) closed() (int, string) {
	c.t.Helper()
	for {
		_, err := c.next()
		if e, ok := errors.AsType[*websocket.CloseError](err); ok {
			return e.Code, e.Text
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

func started(n int, name string) activity.Event {
	return named(event(n, 1, activity.EventStarted, at(time.Duration(n)*time.Second)), name, -1)
}

func TestStream(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *index.Config) { c.Lease = 15 * time.Second })
	w.Apply(story()) // 14 events
	snapshot := []string{"active 14 Handle order 42", "active 14 Pack order 42", "active 14 tick", "snapshot_end 14"}
	log := w.Head().LogID
	after := func(seq int) string { return fmt.Sprintf("after=%s:%d", log, seq) }
	for _, tt := range []struct {
		name, query string
		want        []string
	}{
		{"the user's client", "", nil},
		{"hello", "?hello=1", []string{"hello 14"}},
		{"batch says hello", "?batch=1", []string{"hello 14"}},
		{"snapshot", "?snapshot=1", snapshot},
		{"snapshot in a batch", "?snapshot=1&batch=1", append([]string{"hello 14"}, snapshot...)},
		{"filtered snapshot", "?snapshot=1&type=work_item&type=span", []string{"active 14 Pack order 42", "snapshot_end 14"}},
		{"snapshot of no open state", "?snapshot=1&state=completed&state=in_progress&type=span", []string{"snapshot_end 14"}},
		{"resume", "?" + after(12), []string{"updated 13 Handle order 42", "started 14 tick"}},
		{"resume far back", "?" + after(11) + "&hello=1", []string{"hello 11", "completed 12 =SHIP(1)", "updated 13 Handle order 42", "started 14 tick"}},
		{"resume with a filter", "?" + after(0) + "&type=decision&type=span", []string{"started 2 Select deployment strategy", "updated 3 Select deployment strategy", "completed 4 Select deployment strategy"}},
		{"resume with a filter in a batch", "?batch=1&" + after(0) + "&type=decision&type=span", []string{"hello 0", "started 2 Select deployment strategy", "completed 4 Select deployment strategy"}},
		{"another log", "?after=01J0000000000000000000000:3&hello=1", append([]string{"hello 14", "gap 1-14"}, snapshot...)},
		{"beyond the log", "?" + after(99), append([]string{"gap 1-14"}, snapshot...)},
		{"resume wins over snapshot", "?snapshot=1&" + after(14), nil},
	} {
		for _, kind := range []string{"websocket", "sse"} {
			t.Run(tt.name+" "+kind, func(t *testing.T) {
				if kind == "sse" {
					w.events(t, tt.query).want(tt.want...)
				} else {
					w.dial(t, tt.query).want(tt.want...)
				}
			})
		}
	}
}

// Who asks for nothing else, as curl does, gets server-sent events.
func TestStreamForAnyAccept(t *testing.T) {
	w := newWorld(t, nil)
	for _, accept := range []string{"", "*/*", "text/*", "text/html, */*;q=0.1"} {
		w.events(t, "?hello=1", "Accept", accept).want("hello 0")
	}
}

func TestStreamTail(t *testing.T) {
	w := newWorld(t, nil)
	plain, batch, sse := w.dial(t, ""), w.dial(t, "?batch=1&snapshot=1"), w.events(t, "?type=decision")
	batch.want("hello 0", "snapshot_end 0")
	w.Apply(story()[:4])
	want := []string{"started 1 Handle order 42", "started 2 Select deployment strategy", "updated 3 Select deployment strategy", "completed 4 Select deployment strategy"}
	plain.want(want...)
	if plain.sent != 4 {
		t.Errorf("%d messages, want one an object", plain.sent)
	}
	// The update is covered by the end that follows it in the same batch.
	batch.want(want[0], want[1], want[3])
	sse.want(want[1:]...)
	if want := w.Head().String(); sse.id != want {
		t.Errorf("last event id %q, want %q", sse.id, want)
	}
}

// busyReader makes something happen whenever a list is asked for.
type busyReader struct {
	*index.Index
	happen func()
}

func (b busyReader) List(ctx context.Context, q *activity.Query) (*activity.Page, error) {
	b.happen()
	return b.Index.List(ctx, q)
}

// TestSnapshotMeetsTail lets a row of the snapshot be newer than the place
// from which the stream goes on: what the row tells is not told again.
func TestSnapshotMeetsTail(t *testing.T) {
	for _, batch := range []string{"", "&batch=1"} {
		x := index.New(index.Config{})
		x.Apply([]activity.Event{started(1, "first"), started(2, "second")})
		w := newWorld(t, func(c *Config, _ *index.Config) {
			c.Reader = busyReader{x, func() {
				x.Apply([]activity.Event{event(1, 2, activity.EventUpdated, at(3*time.Second)), started(3, "third"), event(2, 2, activity.EventCompleted, at(4*time.Second))})
			}}
		})
		c := w.dial(t, "?snapshot=1&hello=1"+batch)
		// The update and the third's start are in the rows; the second's end is not.
		c.want("hello 2", "active 2 first", "active 2 third", "snapshot_end 2", "completed 5 second")
		x.Apply([]activity.Event{event(1, 3, activity.EventUpdated, at(5*time.Second))})
		c.want("updated 6 first")
	}
}
