package api

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

func TestHubWaitsForStreams(t *testing.T) {
	const ring, events = 4 * readMax, 20 * readMax
	for _, tt := range []struct {
		name   string
		rest   time.Duration // what the stream takes for one chunk
		place  place         // where it ends
		within time.Duration // the hub has read everything
	}{
		{"one that lags, as on a busy machine, keeps its place", 2 * time.Millisecond, inRing, time.Second},
		{"one that is stuck holds the others up for a moment", time.Hour, beforeRing, events / (ring / 4) * patience},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := index.New(index.Config{})
				render := func(b []byte, _ string, c *activity.Change) []byte { return append(b, c.Activity.Name...) }
				h := newHub(Config{Reader: x, RingEvents: ring, RingBytes: 1 << 30, Logger: slog.New(slog.DiscardHandler)}, render)
				m := h.join(true)
				began := time.Now()
				flood(x, 0, events)

				var at uint64
				where := inRing
				done, stop := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(done)
					for at < events && where == inRing {
						var entries []*entry
						if entries, where = h.after(m, at, chunk, nil); len(entries) > 0 {
							at = entries[len(entries)-1].Seq
						}
						select {
						case <-time.After(tt.rest):
						case <-stop:
							_, where = h.after(m, at, chunk, nil)
							return
						}
					}
				}()
				for h.read.Load() < events {
					time.Sleep(lagCheck)
				}
				took := time.Since(began)
				if tt.place == inRing {
					<-done
				} else {
					close(stop)
					<-done
				}
				if where != tt.place {
					t.Errorf("the stream is at place %d, want %d", where, tt.place)
				}
				if took > tt.within {
					t.Errorf("the hub needed %v, want %v at most", took, tt.within)
				}
				h.leave(m)
				h.wait()
			})
		})
	}
}
