package api

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/activity"
)

const (
	// chunk is how many events are taken from the ring, or the log, at a time.
	chunk = 512
	// messageBytes is about how long a batch, or one write, may get.
	messageBytes = 256 << 10
	// writeWait is how long a client may take to take one write.
	writeWait = 10 * time.Second
	// hurryWait is the same once the server shuts down.
	hurryWait = time.Second
	// pingEvery is how often a client shows that it lives.
	pingEvery = 25 * time.Second
	maxAfter  = 128 // bytes of after and of Last-Event-ID
)

// wire is a stream's connection: a WebSocket or server-sent events. One
// goroutine uses it.
type wire interface {
	// begin starts a message of n bytes. at is where a client that has it
	// resumes; the zero Position marks nothing.
	begin(b []byte, n int, at activity.Position) []byte
	end(b []byte) []byte
	// keepalive appends what shows that both sides live.
	keepalive(b []byte, at activity.Position) []byte
	// write sends what was built; it returns within writeWait.
	write(b []byte) error
	// gone is closed when the client has left.
	gone() <-chan struct{}
	// replies returns what the client is owed, such as a pong.
	replies() <-chan string
	reply(b []byte, payload string) []byte
	// hurry lets a write that is under way, and those to come, last hurryWait at
	// most. It alone may be called by another goroutine.
	hurry()
	// close ends the connection; at is the stream's last position.
	close(why ending, at activity.Position)
}

// ending is why a stream ends.
type ending uint8

const (
	clientGone ending = iota
	goingAway
	tooSlow
	signedOut
	failed
	finished // all of it was told
)

// stream is one client's cursor over the log.
type stream struct {
	api      *API
	wire     wire
	filter   activity.Filter
	all      bool     // the filter selects everything
	grams    []uint32 // of the filter's terms
	batch    bool
	member   *member
	position activity.Position // of the last event that was sent or passed over
	followed bool              // it has been in the ring
	now      func() activity.Time

	// rows holds, of the snapshot's rows that are newer than the position after
	// which the stream goes on, the sequence as of which they are.
	rows    map[activity.ID]uint64
	newest  uint64 // of rows
	entries []*entry
	kept    []*entry
	later   map[activity.ID]struct{}
}

// streamParams are the parameters of a stream beside its filter.
type streamParams struct {
	filter                 activity.Filter
	batch, hello, snapshot bool
	after                  activity.Position // zero for none
}

func parseStream(p *params, lastEventID string) (streamParams, error) {
	s := streamParams{
		filter:   p.filter(),
		batch:    p.flag("batch"),
		hello:    p.flag("hello"),
		snapshot: p.flag("snapshot"),
	}
	s.hello = s.hello || s.batch
	after, ok := p.one("after")
	name := "after"
	// A browser that reconnects repeats the URL, and knows better by now.
	if lastEventID != "" {
		after, ok, name = lastEventID, true, "Last-Event-ID"
	}
	if ok {
		position, err := parsePosition(after)
		if err != nil {
			p.fail(invalid(name, "%v", err))
		}
		s.after = position
	}
	return s, p.finish()
}

var errPosition = errors.New("is not a place in a log: write it as LOG_ID:SEQ")

func parsePosition(s string) (activity.Position, error) {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 || len(s) > maxAfter {
		return activity.Position{}, errPosition
	}
	seq, err := strconv.ParseUint(s[i+1:], 10, 64)
	if err != nil || s[i+1] == '+' {
		return activity.Position{}, errPosition
	}
	return activity.Position{LogID: s[:i], Seq: seq}, nil
}

// stream answers with a WebSocket or with server-sent events, until the client
// leaves, falls too far behind, signs out, or the server shuts down.
func (a *API) stream(w http.ResponseWriter, r *http.Request) error {
	upgrade := r.Header.Get("Upgrade") != "" || websocket.IsWebSocketUpgrade(r)
	lastEventID := ""
	if !upgrade {
		if preferred(r, "text/event-stream") == "" {
			return &problem{status: http.StatusNotAcceptable, detail: "this is a stream: open it as a WebSocket, or accept text/event-stream"}
		}
		lastEventID = r.Header.Get("Last-Event-ID")
	}
	q, err := parseStream(a.params(r), lastEventID)
	if err != nil {
		return err
	}
	if err := a.enter(); err != nil {
		return err
	}
	defer a.leave()

	// Before the client learns that it is connected: what it makes happen then
	// comes after this.
	head := a.cfg.Reader.Head()
	s := &stream{api: a, filter: q.filter, all: selectsAll(&q.filter), batch: q.batch, position: head, now: wallTime}
	for _, term := range q.filter.Terms {
		s.grams = append(s.grams, activity.TermGrams(term)...)
	}
	gap := false
	if q.after != (activity.Position{}) {
		if gap = !a.holds(q.after, head); !gap {
			s.position = q.after
		}
	}
	s.member = a.hub.join(q.batch)
	defer a.hub.leave(s.member)

	if upgrade {
		socket, err := upgradeSocket(w, r, nil)
		if socket == nil {
			return err
		}
		s.wire = socket
	} else {
		s.wire = startEvents(w, r)
	}
	defer a.track(s.wire)()
	why := signedOut
	if grant, ok := a.sessions.admitted(r); ok {
		if err := s.greet(q, gap, head); err != nil {
			why = s.endingOf(err)
		} else {
			why = s.follow(grant)
		}
	}
	if why == tooSlow {
		a.metrics.slow.Add(1)
	}
	s.wire.close(why, s.position)
	return nil
}

func wallTime() activity.Time { return activity.TimeOf(time.Now()) }

// holds reports whether the log holds all that follows a position.
func (a *API) holds(after, head activity.Position) bool {
	if after.LogID != head.LogID || after.Seq > head.Seq {
		return false
	}
	_, err := a.cfg.Reader.Read(after.Seq, 1)
	return err == nil
}

// errEnding carries an ending through the code that writes.
type errEnding ending

func (errEnding) Error() string { return "the stream ends" }

func (s *stream) write(b []byte) error {
	err := s.wire.write(b)
	if err == nil {
		return nil
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return errEnding(tooSlow)
	}
	return errEnding(clientGone)
}

func (s *stream) endingOf(err error) ending {
	if e, ok := errors.AsType[errEnding](err); ok {
		return ending(e)
	}
	s.api.cfg.Logger.Error("api: stream", "error", err)
	return failed
}

// follow sends what the log holds after the position, and then what it gets.
func (s *stream) follow(grant *session) ending {
	keepalive := time.NewTicker(pingEvery)
	defer keepalive.Stop()
	var revoked <-chan struct{}
	if grant != nil {
		revoked = grant.done
	}
	idle := false
	ready := make(chan struct{})
	close(ready)
	for {
		wake := s.member.wake
		busy := ready
		if idle {
			busy = nil
		}
		select {
		case <-s.wire.gone():
			return clientGone
		case <-s.api.closing:
			return goingAway
		case <-revoked:
			return signedOut
		case <-keepalive.C:
			if grant != nil && !s.api.sessions.touch(grant) {
				return signedOut
			}
			if err := s.write(s.wire.keepalive(nil, s.position)); err != nil {
				return s.endingOf(err)
			}
			continue
		case payload := <-s.wire.replies():
			if err := s.write(s.wire.reply(nil, payload)); err != nil {
				return s.endingOf(err)
			}
			continue
		case <-wake:
		case <-busy:
		}
		n, err := s.advance()
		if err != nil {
			return s.endingOf(err)
		}
		idle = n < chunk && s.followed
	}
}

// advance sends one chunk and returns how many events it went over.
func (s *stream) advance() (int, error) {
	entries, where := s.api.hub.after(s.member, s.position.Seq, chunk, s.entries[:0])
	switch {
	case where == inRing:
		s.followed = true
	case where == lostPlace || s.followed:
		return 0, errEnding(tooSlow)
	default:
		var err error
		entries, err = s.api.hub.before(s.position.Seq, chunk, entries)
		if errors.Is(err, activity.ErrGap) {
			return 0, errEnding(tooSlow)
		}
		if err != nil {
			return 0, err
		}
	}
	n := len(entries)
	err := s.send(entries)
	clear(entries)
	s.entries = entries[:0]
	return n, err
}
