package index

import (
	"context"

	"github.com/midspan/midspan/activity"
)

// eventLog is the part of the one sequence that a reader can still resume
// from: which activity each of the last events changed, and how. The change
// itself stands in the activity's record.
type eventLog struct {
	seq     uint64     // of the last event
	floor   uint64     // the first event that can be read is floor+1
	ring    []logEntry // by seq modulo its length; grows to max
	at      int        // of seq in ring
	max     int
	changed chan struct{} // closed at the next event
	waited  bool          // somebody may wait on changed
}

// logEntry is zero for an event that changed nothing.
type logEntry struct {
	id   activity.ID
	kind activity.Kind
}

func (l *eventLog) init(limit int) {
	l.max = limit
	l.ring = make([]logEntry, min(limit, 1024))
	l.changed = make(chan struct{})
}

// append stores the event that seq was just counted up for.
func (l *eventLog) append(e logEntry) {
	if held := l.seq - 1 - l.floor; held == uint64(len(l.ring)) {
		if len(l.ring) < l.max {
			l.grow()
		} else {
			l.floor++
		}
	}
	// A step at a time: a division takes as long as all the rest.
	if l.at++; l.at >= len(l.ring) {
		l.at = 0
	}
	l.ring[l.at] = e
}

// replace stores another entry of an event that was appended before.
func (l *eventLog) replace(seq uint64, e logEntry) {
	if l.floor < seq && seq <= l.seq {
		l.ring[seq%uint64(len(l.ring))] = e
	}
}

func (l *eventLog) grow() {
	old := l.ring
	// By much: what is not written yet is no memory of the system's, a copy is.
	l.ring = make([]logEntry, min(16*len(old), l.max))
	for seq := l.floor + 1; seq < l.seq; seq++ {
		l.ring[seq%uint64(len(l.ring))] = old[seq%uint64(len(old))]
	}
	l.at = int((l.seq - 1) % uint64(len(l.ring)))
}

// skipTo goes on behind a sequence. What lies before is given up unless it is
// the last one.
func (l *eventLog) skipTo(seq uint64) {
	if seq == l.seq {
		return
	}
	l.seq, l.floor = seq, seq
	l.at = int(seq % uint64(len(l.ring)))
}

// forget gives up the events up to seq: the activity that one of them changed
// is held no more.
func (l *eventLog) forget(seq uint64) { l.floor = max(l.floor, seq) }

// wake tells those who wait that there is more.
func (l *eventLog) wake() {
	if l.waited {
		close(l.changed)
		l.changed = make(chan struct{})
		l.waited = false
	}
}

// Head returns the log's id and its last sequence.
func (x *Index) Head() activity.Position {
	x.beforeRead()
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.position()
}

func (x *Index) position() activity.Position {
	return activity.Position{LogID: x.logID, Seq: x.log.seq}
}

// Changed returns a channel that is closed when the log grows beyond what Head
// said before.
func (x *Index) Changed() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.log.waited = true
	return x.log.changed
}

// Read returns the events after a sequence, in their order and at most limit,
// each with its activity as it was then; updates that were merged are one. It returns activity.ErrGap when the
// next event is not held any more, or when after is beyond the log.
func (x *Index) Read(after uint64, limit int) (changes []activity.Change, err error) {
	x.beforeRead()
	if away := x.look(context.Background(), func(l *look) { changes, err = l.read(after, limit) }); away != nil {
		return nil, away
	}
	return changes, err
}

func (l *look) read(after uint64, limit int) ([]activity.Change, error) {
	log := &l.x.log
	if after < log.floor || after > log.seq {
		return nil, activity.ErrGap
	}
	changes := make([]activity.Change, 0, min(uint64(limit), log.seq-after))
	now := l.x.now()
	replays := make(map[activity.ID]*replay)
	for seq := after + 1; seq <= log.seq && len(changes) < limit; seq++ {
		entry := &log.ring[seq%uint64(len(log.ring))]
		if entry.kind == 0 {
			continue
		}
		r := replays[entry.id]
		if r == nil {
			events, _ := l.events(entry.id)
			if len(events) == 0 && l.lacks != nil { // it is damaged
				if len(changes) > 0 {
					return changes, nil
				}
				return nil, activity.ErrGap
			}
			r = newReplay(events)
			replays[entry.id] = r
		}
		a, at := r.asOf(seq)
		if a == nil {
			continue
		}
		changes = append(changes, activity.Change{Seq: seq, At: at, Kind: entry.kind, Activity: l.dress(a, now)})
	}
	return changes, nil
}
