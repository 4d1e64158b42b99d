package index

import (
	"cmp"
	"context"
	"iter"
	"math"
	"slices"

	"github.com/midspan/midspan/activity"
)

const (
	// pastStretch is for how many events at a time it is found out whose they are:
	// one look through the segments serves them all.
	pastStretch = 1 << 15
	// pastChunk is how many changes are made under the lock: their segments are not to
	// be there for many at once.
	pastChunk = 32
	// pastOpen is how many open activities are looked through under the lock.
	pastOpen = 64
)

// logged is an event of the past: whose it was.
type logged struct {
	seq uint64
	id  activity.ID
}

// Changes yields the changes after a sequence and up to another, in the order of
// the log, each with its activity as it was then: from the log's tail where it
// reaches so far back, and from the activities' records before. Updates that
// were merged into a later one come with that. What is damaged is left out. It ends
// with activity.ErrForgotten when something of then is held no more. No lock is held while the caller has a
// change. It is for an index of a log's events.
func (x *Index) Changes(ctx context.Context, after, upTo uint64) iter.Seq2[activity.Change, error] {
	return func(yield func(activity.Change, error) bool) {
		x.beforeRead()
		next := make(map[uint64]uint64)
		for after < upTo {
			to := min(after+pastStretch, upTo)
			events, err := x.between(ctx, after, to, next)
			for err == nil && len(events) > 0 {
				n := min(len(events), pastChunk)
				var changes []activity.Change
				if changes, err = x.changes(ctx, events[:n]); err != nil {
					break
				}
				for _, c := range changes {
					if !yield(c, nil) {
						return
					}
				}
				events = events[n:]
			}
			if err != nil {
				yield(activity.Change{}, err)
				return
			}
			after = to
		}
	}
}

// Taken returns about when the log took an event, to a tenth of a second or, when
// that is more than an hour ago, to a second. It reports false for what is forgotten.
func (x *Index) Taken(seq uint64) (at activity.Time, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	at = x.moments.taken(seq, x.log.seq)
	return at, at != 0
}

// forgets returns activity.ErrForgotten when of an event's time something is gone.
func (x *Index) forgets(seq uint64) error {
	if x.forgotten > 0 && x.moments.time(seq) < x.forgotten {
		return activity.ErrForgotten
	}
	return nil
}

// changes makes events of the past changes.
func (x *Index) changes(ctx context.Context, events []logged) (changes []activity.Change, err error) {
	away := x.look(ctx, func(l *look) {
		changes = make([]activity.Change, 0, len(events))
		if err = x.forgets(events[0].seq); err != nil {
			return
		}
		replays := make(map[activity.ID]*replay)
		for _, e := range events {
			r := replays[e.id]
			if r == nil {
				of, _ := l.events(e.id)
				r = newReplay(of)
				replays[e.id] = r
			}
			r.advance(e.seq - 1)
			before := r.folded.State
			a, at := r.asOf(e.seq)
			if a == nil {
				continue // away, or merged
			}
			taken := x.moments.taken(e.seq, x.log.seq)
			l.dress(a, taken)
			a.Stalled = false // something has just been heard of it
			backdate(a)
			changes = append(changes, activity.Change{Seq: e.seq, At: at, Kind: kindOf(before, a.State), Activity: a, ReceivedAt: taken})
		}
	})
	return changes, cmp.Or(away, err)
}

// between returns whose the events after a sequence and up to another are. next
// holds of archived segments, by number, the next event that is told there: it
// goes from one stretch to the one behind it.
func (x *Index) between(ctx context.Context, after, upTo uint64, next map[uint64]uint64) ([]logged, error) {
	var found []logged
	var v view
	var ids []activity.ID
	if err := func() error {
		x.mu.RLock()
		defer x.mu.RUnlock()
		if err := x.forgets(after + 1); err != nil {
			return err
		}
		if after >= x.log.floor {
			for seq := after + 1; seq <= min(upTo, x.log.seq); seq++ {
				if entry := &x.log.ring[seq%uint64(len(x.log.ring))]; entry.kind != 0 {
					found = append(found, logged{seq, entry.id})
				}
			}
			return nil
		}
		v = x.view()
		for id, o := range x.open.All() {
			if o.begun <= upTo && o.head.Seq > after {
				ids = append(ids, id)
			}
		}
		return nil
	}(); err != nil {
		return nil, err
	}
	var later uint64 // the next event behind the stretch, of those that were met
	add := func(seq uint64, id activity.ID) {
		if after < seq && seq <= upTo {
			found = append(found, logged{seq, id})
		} else if seq > upTo {
			later = min(later, seq)
		}
	}
	var arena []activity.Attr
	for _, seg := range v.segs {
		if seg.minBegun > upTo || seg.maxSeq <= after || seg.saved && next[seg.first] > upTo {
			continue
		}
		later = math.MaxUint64
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		full, err := x.fetch(ctx, seg, partIDs)
		if unreadable(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range full.n {
			if full.begun[i] > upTo || full.seq[i] <= after {
				add(full.begun[i], full.id(i))
				continue
			}
			if full.isDead(i) { // it may just have left the row
				ids = append(ids, full.id(i))
				continue
			}
			whole, err := x.fetch(ctx, full, allParts)
			if unreadable(err) {
				break
			}
			if err != nil {
				return nil, err
			}
			full = whole
			b := full.base(i)
			arena = arena[:0]
			d := decoder{keys: v.keys, rec: full.recordString(i), arena: &arena}
			for e := (activity.Event{}); d.next(&e, full.id(i), &b); {
				add(e.Seq, e.ID)
			}
		}
		next[seg.first] = later
	}
	for some := range slices.Chunk(ids, pastOpen) {
		have := len(found)
		if err := x.look(ctx, func(l *look) {
			found = found[:have]
			for _, id := range some {
				events, _ := l.events(id)
				for i := range events {
					add(events[i].Seq, id)
				}
			}
		}); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(found, func(a, b logged) int { return cmp.Compare(a.seq, b.seq) })
	return slices.Compact(found), nil
}
