// Package memory is the log of a bridge without a folder: it holds the latest
// events, and is gone with the process.
package memory

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
)

// Defaults of Config, in events and bytes.
const (
	DefaultMaxEvents = 1_000_000
	DefaultMaxBytes  = 128 << 20
)

// Config bounds a Log. Its zero value is ready to use.
type Config struct {
	// MaxEvents and MaxBytes bound what is held, as bytes of its batches:
	// beyond, the oldest batches go. Default to 1,000,000 and 128 MiB.
	MaxEvents int
	MaxBytes  int64
	// Apply is called with the events appended, by rule 3 of eventlog.Log. It may be nil.
	Apply func([]activity.Event)
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Log holds events in memory, at level eventlog.Memory. It never refuses events
// for want of room: it lets go of the oldest, and counts them in Stats.
type Log struct {
	cfg     Config
	id      string
	head    eventlog.Head
	decoder eventlog.Decoder

	turn chan struct{} // held by the one who appends

	mu      sync.Mutex // guards everything below
	batches []batch
	bytes   int64
	trimmed uint64
	at      activity.Time // of the last batch
	cursors map[string]uint64
	closed  bool
}

type batch struct {
	first uint64
	count int
	at    activity.Time
	data  []byte
}

var _ eventlog.Log = (*Log)(nil)

// Open returns an empty log.
func Open(cfg Config) *Log {
	if cfg.MaxEvents == 0 {
		cfg.MaxEvents = DefaultMaxEvents
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.Apply == nil {
		cfg.Apply = func([]activity.Event) {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Log{cfg: cfg, id: activity.NewLogID(), turn: make(chan struct{}, 1), cursors: make(map[string]uint64)}
}

// ID implements eventlog.Log.
func (l *Log) ID() string { return l.id }

// Level implements eventlog.Log.
func (*Log) Level() eventlog.Level { return eventlog.Memory }

// Append implements eventlog.Log.
func (l *Log) Append(ctx context.Context, events []activity.Event) error {
	data, err := eventlog.EncodeBatch(nil, events)
	if err != nil {
		return fmt.Errorf("append %w", err)
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if l.isClosed() {
		return eventlog.ErrClosed
	}
	_, last := l.head.Bounds()
	at := max(activity.TimeOf(l.cfg.Now()), l.at)
	for i := range events {
		events[i].Seq, events[i].ReceivedAt = last+1+uint64(i), at
	}
	l.cfg.Apply(events)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = at
	l.batches = append(l.batches, batch{last + 1, len(events), at, eventlog.SealBatch(data, last+1, at)})
	l.bytes += int64(len(data) + 4)
	l.head.Grow(last + uint64(len(events)))
	l.bound()
	return nil
}

// bound lets go of the oldest batches beyond the bounds, but for the last one. l.mu is held.
func (l *Log) bound() {
	for len(l.batches) > 1 {
		floor, last := l.head.Bounds()
		if last-floor <= uint64(l.cfg.MaxEvents) && l.bytes <= l.cfg.MaxBytes {
			return
		}
		l.trimmed += uint64(l.batches[0].count)
		l.drop()
	}
}

// drop lets go of the oldest batch. l.mu is held.
func (l *Log) drop() {
	b := l.batches[0]
	l.batches[0] = batch{}
	l.batches = l.batches[1:]
	l.bytes -= int64(len(b.data))
	l.head.Trim(b.first + uint64(b.count) - 1)
}

// Read implements eventlog.Log.
func (l *Log) Read(ctx context.Context, after uint64, limit int) ([]activity.Event, error) {
	var events []activity.Event
	for len(events) == 0 || len(events) < limit {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, ok, err := l.find(after + uint64(len(events)))
		if err != nil && len(events) == 0 {
			return nil, err
		}
		if !ok || len(events) > 0 && len(events)+b.count > limit {
			return events, nil
		}
		more, err := l.decoder.DecodeBatch(b.data, b.first, b.at)
		if err != nil {
			return nil, fmt.Errorf("read after %d: %w", after, err)
		}
		if len(events) == 0 {
			more = more[after+1-b.first:]
			events = more[:min(len(more), max(limit, 1))]
		} else {
			events = append(events, more...)
		}
	}
	return events, nil
}

// find returns the batch that holds the event after a sequence, or false when
// there is none yet.
func (l *Log) find(after uint64) (batch, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return batch{}, false, eventlog.ErrClosed
	}
	if more, err := l.head.Check(after); !more {
		return batch{}, false, err
	}
	i := sort.Search(len(l.batches), func(i int) bool { return l.batches[i].first > after+1 }) - 1
	return l.batches[i], true, nil
}

// Bounds implements eventlog.Log.
func (l *Log) Bounds() (floor, last uint64) { return l.head.Bounds() }

// Changed implements eventlog.Log.
func (l *Log) Changed() <-chan struct{} { return l.head.Changed() }

// Trim implements eventlog.Log.
func (l *Log) Trim(_ context.Context, upTo uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return eventlog.ErrClosed
	}
	for len(l.batches) > 0 && l.batches[0].first+uint64(l.batches[0].count)-1 <= upTo {
		l.drop()
	}
	return nil
}

// Cursor implements eventlog.Log.
func (l *Log) Cursor(_ context.Context, name string) (seq uint64, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, false, eventlog.ErrClosed
	}
	seq, ok = l.cursors[name]
	return seq, ok, nil
}

// SetCursor implements eventlog.Log.
func (l *Log) SetCursor(_ context.Context, name string, seq uint64) error {
	if err := eventlog.CheckCursor(name); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return eventlog.ErrClosed
	}
	l.cursors[name] = seq
	return nil
}

// Stats are the numbers of a Log.
type Stats struct {
	Events  uint64 // held
	Bytes   int64  // of their batches
	Trimmed uint64 // events that went because a bound was reached
}

// Stats returns the log's numbers.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	floor, last := l.head.Bounds()
	return Stats{Events: last - floor, Bytes: l.bytes, Trimmed: l.trimmed}
}

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// Close implements eventlog.Log.
func (l *Log) Close() error {
	l.turn <- struct{}{} // after those under way
	defer func() { <-l.turn }()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.batches, l.bytes = nil, 0
	return nil
}
