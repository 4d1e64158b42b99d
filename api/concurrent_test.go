package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// TestStreamsConcurrentSafe makes activities from many goroutines while streams
// come and go, and others follow to the end: each event reaches each of them
// once and in order, however often a small ring makes them resume.
func TestStreamsConcurrentSafe(t *testing.T) {
	const makers, each, total = 8, 80, 8 * 80 * 2
	w := newWorld(t, func(c *Config, i *index.Config) {
		c.RingEvents = 64
		i.MaxEvents = 2 * total
	})
	log := w.Head().LogID
	var followers, work, visitors sync.WaitGroup
	for _, query := range []string{"?after=%s:%d", "?after=%s:%d&batch=1", "?after=%s:%d&type=span"} {
		for range 4 {
			followers.Go(func() { w.followTo(t, query, log, total) })
		}
	}
	stop := make(chan struct{})
	for range 4 {
		visitors.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				w.dialQuietly("?snapshot=1&hello=1")
			}
		})
	}
	for m := range makers {
		work.Go(func() {
			for i := range each {
				n := m*each + i
				w.Apply([]activity.Event{started(n, "work")})
				w.Apply([]activity.Event{event(n, 2, activity.EventCompleted, at(0))})
			}
		})
	}
	work.Wait()
	close(stop)
	visitors.Wait()
	followers.Wait()
}

// dialQuietly opens a stream, reads one message and leaves without a word.
func (w *world) dialQuietly(query string) {
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(w.url, "http")+"/activity/stream"+query, nil)
	if err != nil {
		return
	}
	_, _, _ = conn.ReadMessage()
	conn.Close()
}

func (w *world) followTo(t *testing.T, query, log string, total uint64) {
	next := uint64(1)
	for {
		conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(w.url, "http")+"/activity/stream"+fmt.Sprintf(query, log, next-1), http.Header{})
		if err != nil {
			t.Errorf("%v %v", err, res)
			return
		}
		c := &client{t: t, conn: conn}
		for err == nil && next <= total {
			var m message
			if m, err = c.next(); err != nil || m.Event == "hello" {
				continue
			}
			if m.Seq != next {
				t.Errorf("%s: sequence %d, want %d", query, m.Seq, next)
				conn.Close()
				return
			}
			next++
		}
		conn.Close()
		var e *websocket.CloseError
		switch {
		case next > total:
			return
		case !errors.As(err, &e) || e.Code != websocket.CloseTryAgainLater:
			t.Errorf("%s: %v", query, err)
			return
		}
	}
}
