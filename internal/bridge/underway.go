package bridge

import (
	"context"
	"sync"

	"github.com/midspan/midspan/activity"
)

// underWay are the finished spans that are being appended. A sender that sends
// again before it had an answer waits for that, and then finds them held. Its zero
// value has none. It is safe for concurrent use.
type underWay struct {
	mu    sync.Mutex                    // guards everything below
	spans map[activity.ID]chan struct{} // closed when whoever appends it is done
}

// begin waits until none of the finished spans among the events is under way, and
// then has all of them be so until end is called. All or none, so that no two wait
// for each other. The error is ctx's.
func (u *underWay) begin(ctx context.Context, events []activity.Event) (end func(), err error) {
	for {
		done, other := u.claim(events)
		if other == nil {
			return func() { u.release(events, done) }, nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// claim returns what release closes, or what closes when one of the spans may be
// free.
func (u *underWay) claim(events []activity.Event) (done, other chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range events {
		if other = u.spans[events[i].ID]; other != nil && events[i].EndTime != 0 {
			return nil, other
		}
	}
	if u.spans == nil {
		u.spans = make(map[activity.ID]chan struct{})
	}
	done = make(chan struct{})
	for i := range events {
		if events[i].EndTime != 0 {
			u.spans[events[i].ID] = done
		}
	}
	return done, nil
}

func (u *underWay) release(events []activity.Event, done chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range events {
		if events[i].EndTime != 0 {
			delete(u.spans, events[i].ID)
		}
	}
	close(done)
}
