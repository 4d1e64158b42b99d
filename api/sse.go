package api

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/midspan/midspan/activity"
)

// events is a stream of server-sent events, as the HTML standard has them.
// Every message is of the default type, so that one onmessage gets all.
type events struct {
	w    http.ResponseWriter
	ctrl *http.ResponseController
	done <-chan struct{}

	hurried atomic.Bool
}

func startEvents(w http.ResponseWriter, r *http.Request) *events {
	e := &events{w: w, ctrl: http.NewResponseController(w), done: r.Context().Done()}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	// A client that is turned away comes back after a second.
	_ = e.write([]byte("retry: 1000\n\n"))
	return e
}

func (e *events) begin(b []byte, _ int, at activity.Position) []byte {
	if at != (activity.Position{}) {
		b = appendEventID(b, at)
	}
	return append(b, "data: "...)
}

func (e *events) end(b []byte) []byte { return append(b, "\n\n"...) }

// keepalive tells the position alone: a client whose filter passes nothing
// still resumes from where it is.
func (e *events) keepalive(b []byte, at activity.Position) []byte {
	return append(appendEventID(b, at), '\n')
}

func appendEventID(b []byte, at activity.Position) []byte {
	b = append(b, "id: "...)
	b = append(b, at.String()...)
	return append(b, '\n')
}

func (e *events) gone() <-chan struct{} { return e.done }

func (e *events) replies() <-chan string { return nil }

func (e *events) reply(b []byte, _ string) []byte { return b }

func (e *events) write(b []byte) error {
	if err := e.ctrl.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return err
	}
	if e.hurried.Load() {
		e.hurry()
	}
	if _, err := e.w.Write(b); err != nil {
		return err
	}
	return e.ctrl.Flush()
}

func (e *events) hurry() {
	e.hurried.Store(true)
	_ = e.ctrl.SetWriteDeadline(time.Now().Add(hurryWait))
}

// close tells why in a comment: server-sent events have no codes, and a
// browser comes back by itself.
func (e *events) close(why ending, at activity.Position) {
	reason := map[ending]string{goingAway: "shutting down", tooSlow: "too slow", signedOut: "signed out", failed: "failed"}[why]
	if reason != "" {
		_ = e.write(e.keepalive([]byte(": "+reason+"\n"), at))
	}
}
