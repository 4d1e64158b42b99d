package api

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/activity"
)

const (
	maxClientFrame = 4 << 10 // bytes; a stream's client has nothing to say, a replay's little
	// controlEvery is how often one message of a client is taken: who sends more
	// of them waits.
	controlEvery   = 20 * time.Millisecond
	pongWait       = 2*pingEvery + 10*time.Second
	closeWait      = time.Second     // for the client's answer to a close
	slowWait       = 5 * time.Second // for a slow client to learn that it is closed
	maxCloseReason = 123             // bytes, RFC 6455 section 5.5
)

var upgrader = websocket.Upgrader{
	HandshakeTimeout: 10 * time.Second,
	ReadBufferSize:   1 << 10,
	WriteBufferSize:  1 << 10,
	// The door has judged Origin before, and by more than Host.
	CheckOrigin: func(*http.Request) bool { return true },
}

// socket is a WebSocket. gorilla does the handshake and the reading; frames
// are built here, so that many go out in one write, and written by one
// goroutine, so that nothing changes a deadline in the middle of a write.
type socket struct {
	conn  *websocket.Conn
	net   net.Conn
	left  chan struct{} // closed when the client has left
	done  chan struct{} // closed by close
	pongs chan string
	rest  []byte // what a slow client did not take of the last write

	// Of a replay: what the client says, where it goes on after an end too early,
	// and how long it may take to take one write.
	heard    chan []byte // nil: nobody listens
	from     string
	patience time.Duration

	hurried atomic.Bool
}

// upgradeSocket starts the goroutine that reads; close ends it. It returns nil
// and no error when the client left in the middle.
func upgradeSocket(w http.ResponseWriter, r *http.Request, heard chan []byte) (*socket, error) {
	u := upgrader
	var refused error
	u.Error = func(_ http.ResponseWriter, _ *http.Request, status int, reason error) {
		refused = &problem{status: status, detail: reason.Error()}
	}
	header := http.Header{}
	for _, name := range []string{"X-Content-Type-Options", "Cross-Origin-Resource-Policy", "Set-Cookie"} {
		header[name] = w.Header()[name]
	}
	conn, err := u.Upgrade(w, r, header)
	if refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, nil //nolint:nilerr // the connection is gone, nobody can be told
	}
	s := &socket{conn: conn, net: conn.NetConn(), left: make(chan struct{}), pongs: make(chan string, 1), heard: heard, patience: writeWait, done: make(chan struct{})}
	go s.listen()
	return s, nil
}

// listen reads until the client leaves: its pongs show that it lives. What it says
// is not asked for, unless somebody takes it: then the next is read when this one
// was taken.
func (s *socket) listen() {
	defer close(s.left)
	s.conn.SetReadLimit(maxClientFrame)
	alive := func(string) error { return s.conn.SetReadDeadline(time.Now().Add(pongWait)) }
	s.conn.SetPongHandler(alive)
	s.conn.SetPingHandler(func(payload string) error {
		select {
		case s.pongs <- payload:
		default: // RFC 6455 section 5.5.3: the answer to one of several will do
		}
		return alive(payload)
	})
	s.conn.SetCloseHandler(func(int, string) error { return nil })
	if alive("") != nil {
		return
	}
	for {
		_, r, err := s.conn.NextReader()
		if err != nil {
			return
		}
		// To its end: a message in many frames counts against the limit as one.
		if s.heard == nil {
			if _, err := io.Copy(io.Discard, r); err != nil {
				return
			}
			continue
		}
		message, err := io.ReadAll(r)
		if err != nil {
			return
		}
		select {
		case s.heard <- message:
		case <-s.done:
			return
		}
		time.Sleep(controlEvery)
	}
}

func (s *socket) begin(b []byte, n int, _ activity.Position) []byte {
	return appendFrameHeader(b, websocket.TextMessage, n)
}

func (s *socket) end(b []byte) []byte { return b }

func (s *socket) keepalive(b []byte, _ activity.Position) []byte {
	return appendFrameHeader(b, websocket.PingMessage, 0)
}

func (s *socket) gone() <-chan struct{} { return s.left }

func (s *socket) replies() <-chan string { return s.pongs }

func (s *socket) reply(b []byte, payload string) []byte {
	return append(appendFrameHeader(b, websocket.PongMessage, len(payload)), payload...)
}

func (s *socket) write(b []byte) error {
	if err := s.net.SetWriteDeadline(time.Now().Add(s.patience)); err != nil {
		return err
	}
	if s.hurried.Load() {
		s.hurry()
	}
	n, err := s.net.Write(b)
	if err != nil {
		s.rest = append([]byte(nil), b[n:]...)
	}
	return err
}

func (s *socket) hurry() {
	s.hurried.Store(true)
	// When it can't be set the connection is closed, which is as quick.
	_ = s.net.SetWriteDeadline(time.Now().Add(hurryWait))
}

// close sends a close frame, waits shortly for the client's own, and closes
// the connection. Closing at once could reset it before the client has read.
func (s *socket) close(why ending, at activity.Position) {
	close(s.done)
	defer func() {
		s.net.Close()
		<-s.left
	}()
	code, reason, wait := websocket.CloseNormalClosure, "", closeWait
	again := "resume with after=" + at.String()
	if s.from != "" {
		again = "replay with from=" + s.from
	}
	switch why {
	case clientGone:
		wait = 0
	case goingAway:
		code, reason = websocket.CloseGoingAway, "shutting down; "+again
	case tooSlow:
		code, reason, wait = websocket.CloseTryAgainLater, "too slow; "+again, slowWait
	case signedOut:
		code, reason = websocket.ClosePolicyViolation, "signed out"
	case failed:
		code, reason = websocket.CloseInternalServerErr, again
	case finished:
		reason = "the replay ends"
	}
	reason = activity.Cut(reason, maxCloseReason)
	b := appendFrameHeader(s.rest, websocket.CloseMessage, 2+len(reason))
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	b = append(b, reason...)
	if s.net.SetWriteDeadline(time.Now().Add(max(wait, closeWait))) != nil {
		return
	}
	if _, err := s.net.Write(b); err != nil {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-s.left:
	case <-timer.C:
	}
}

// appendFrameHeader appends the header of a whole, unmasked frame with a
// payload of n bytes: RFC 6455 section 5.2.
func appendFrameHeader(b []byte, opcode, n int) []byte {
	b = append(b, 0x80|byte(opcode))
	switch {
	case n < 126:
		return append(b, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
}
