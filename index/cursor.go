package index

import (
	"context"

	"github.com/midspan/midspan/activity"
)

// Touch is one event of the log, or the latest one of an activity: which
// activity it changed, and what it did to it.
type Touch struct {
	Seq  uint64
	ID   activity.ID
	Kind activity.Kind
}

// Touches appends the events after a sequence to buf, at most limit, for a
// reader that asks for the activities later. It returns activity.ErrGap when
// the next event is not held any more. It does not wait for what is being
// handed over.
func (x *Index) Touches(buf []Touch, after uint64, limit int) ([]Touch, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	log := &x.log
	if after < log.floor || after > log.seq {
		return buf, activity.ErrGap
	}
	for seq := after + 1; seq <= min(log.seq, after+uint64(limit)); seq++ {
		if e := &log.ring[seq%uint64(len(log.ring))]; e.kind != 0 {
			buf = append(buf, Touch{seq, e.id, e.kind})
		}
	}
	return buf, nil
}

// Standing is what a reader of the log that fell behind has to make good.
type Standing struct {
	Seq   uint64 // the last event
	Ended int64  // activities that ever ended
	// Open are the activities in flight, Finished those that have ended or
	// changed after the sequence that was asked for and are still held. Each
	// tells its last event, whose Kind is that of the state.
	Open, Finished []Touch
}

// Standing returns what is open, and what has changed after a sequence. It does
// not wait for what is being handed over.
func (x *Index) Standing(ctx context.Context, after uint64) (s Standing, err error) {
	err = x.look(ctx, func(l *look) {
		s = Standing{Seq: x.log.seq}
		for _, b := range [...]*bucket{&x.count.all, &x.count.current} {
			s.Ended += b.completed + b.failed + b.aborted + b.lost
		}
		for id, o := range x.open.All() {
			s.Open = append(s.Open, Touch{o.head.Seq, id, o.head.State.Kind()})
		}
		for _, seg := range x.segs {
			if seg.maxSeq <= after {
				continue
			}
			if seg = l.with(seg, partIDs|partCodes); seg == nil {
				continue
			}
			for i := range seg.n {
				if seg.seq[i] > after && !seg.isDead(i) {
					s.Finished = append(s.Finished, Touch{seg.seq[i], seg.id(i), seg.state[i].Kind()})
				}
			}
		}
	})
	return s, err
}

// Histories returns the events of each of some activities in canonical order,
// nil for one that is not held. It does not wait for what is being handed over.
func (x *Index) Histories(ctx context.Context, ids []activity.ID) ([][]activity.Event, error) {
	out := make([][]activity.Event, len(ids))
	const atATime = 16 // a writer does not wait for long, and segments are not there for many rows at once
	for from := 0; from < len(ids); from += atATime {
		to := min(from+atATime, len(ids))
		if err := x.look(ctx, func(l *look) {
			for i := from; i < to; i++ {
				out[i], _ = l.events(ids[i])
			}
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}
