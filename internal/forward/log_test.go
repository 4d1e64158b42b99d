package forward

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
)

// testLog is a log whose cursors outlive what forwards it, and whose level the
// test chooses.
type testLog struct {
	level eventlog.Level

	mu      sync.Mutex // guards everything below
	floor   uint64
	events  []activity.Event
	cursors map[string]uint64
	changed chan struct{}
	stores  int
}

func newLog(level eventlog.Level) *testLog {
	return &testLog{level: level, cursors: make(map[string]uint64), changed: make(chan struct{})}
}

func (*testLog) ID() string              { return "01KAT0000000000000000000TE" }
func (l *testLog) Level() eventlog.Level { return l.level }
func (*testLog) Close() error            { return nil }

func (l *testLog) Append(_ context.Context, events []activity.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range events {
		events[i].Seq = l.floor + uint64(len(l.events)) + 1
		events[i].ReceivedAt = activity.TimeOf(time.Now())
		l.events = append(l.events, events[i])
	}
	close(l.changed)
	l.changed = make(chan struct{})
	return nil
}

func (l *testLog) Read(_ context.Context, after uint64, limit int) ([]activity.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.floor + uint64(len(l.events))
	if after < l.floor || after > last {
		return nil, activity.ErrGap
	}
	held := l.events[after-l.floor:]
	return slices.Clone(held[:min(limit, len(held))]), nil
}

func (l *testLog) Bounds() (floor, last uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.floor, l.floor + uint64(len(l.events))
}

func (l *testLog) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

func (l *testLog) Trim(_ context.Context, upTo uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = slices.Clone(l.events[upTo-l.floor:])
	l.floor = upTo
	return nil
}

func (l *testLog) Cursor(_ context.Context, name string) (uint64, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seq, ok := l.cursors[name]
	return seq, ok, nil
}

func (l *testLog) SetCursor(_ context.Context, name string, seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cursors[name] = seq
	l.stores++
	return nil
}
