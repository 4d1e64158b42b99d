package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midspan/midspan/activity"
)

// DamageError is what an Archive returns for a part that is not as it was written,
// unlike one that can't be read at the moment. It is an activity.ErrUnreadable.
type DamageError struct {
	Segment uint64
	Part    Part
	Err     error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("load the %v of segment %d: %v", e.Part, e.Segment, e.Err)
}

// Unwrap returns what is wrong with the part.
func (e *DamageError) Unwrap() error { return e.Err }

// Is makes it an activity.ErrUnreadable.
func (e *DamageError) Is(target error) bool { return target == activity.ErrUnreadable }

// Damages returns what is known to be damaged, in the order of the segments, one of
// each. What is due to be tried again is tried first.
func (x *Index) Damages(ctx context.Context) []*DamageError {
	x.readAgain(ctx)
	d := &x.damage
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*DamageError, 0, len(d.segs))
	for _, s := range d.segs {
		all = append(all, s.why)
	}
	slices.SortFunc(all, func(a, b *DamageError) int { return cmp.Compare(a.Segment, b.Segment) })
	return all
}

const (
	// damageAgain is how long what is damaged is left alone before it is tried again.
	damageAgain = time.Minute
	// damageTries bounds the segments that one query tries again.
	damageTries = 4
)

// damage knows the archived segments of which parts are damaged. They are set
// aside: queries go on without them, and say so. Nothing is changed of them, so
// that whoever mends the archive has them back.
type damage struct {
	n     atomic.Int32 // of segments: none, nearly always
	found atomic.Int64 // goes up with each part that is found damaged
	// floor is the first segment that is held: of those before, who still reads finds
	// nothing, which is no damage.
	floor atomic.Uint64

	mu   sync.Mutex // guards everything below
	segs map[uint64]*damagedSegment
}

type damagedSegment struct {
	seg     *segment // without its parts
	parts   part
	why     *DamageError // of the part found first
	again   time.Time    // is tried then
	unnamed bool         // its ids are not in the index's table
}

// damaged notes that a part of a segment is, when that is the error, and returns it.
func (x *Index) damaged(seg *segment, err error, unnamed bool) error {
	why, ok := errors.AsType[*DamageError](err)
	d := &x.damage
	if !ok || seg.first < d.floor.Load() {
		return err
	}
	d.mu.Lock()
	s := d.segs[seg.first]
	if s == nil {
		if d.segs == nil {
			d.segs = make(map[uint64]*damagedSegment)
		}
		c := *seg
		c.spans, c.places, c.codes, c.tables, c.text = nil, nil, nil, nil, nil
		s = &damagedSegment{seg: &c, why: why, again: x.cfg.Now().Add(damageAgain)}
		d.segs[seg.first] = s
		d.n.Add(1)
		defer x.cfg.Damaged(seg.first, why)
	}
	if one := part(1) << why.Part; s.parts&one == 0 {
		s.parts |= one
		d.found.Add(1)
	}
	s.unnamed = s.unnamed || unnamed
	d.mu.Unlock()
	return err
}

// of returns why some parts of a segment can't be read, or nil.
func (d *damage) of(segment uint64, parts part) error {
	if d.n.Load() == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.segs[segment]; s != nil && s.parts&parts != 0 {
		return s.why
	}
	return nil
}

// unnamed returns why it can't be told whether an activity of a trace is held, or
// nil when it can.
func (d *damage) unnamed(trace activity.TraceID) error {
	if d.n.Load() == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.segs {
		if s.unnamed && s.seg.traces.may(trace) {
			return s.why
		}
	}
	return nil
}

// anyUnnamed returns why it can't be told whether a span id is held, or nil.
func (d *damage) anyUnnamed() error {
	if d.n.Load() == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.segs {
		if s.unnamed {
			return s.why
		}
	}
	return nil
}

// forget drops a segment that is sound again, and reports whether it was not.
func (d *damage) forget(segment uint64) (known bool) {
	if d.n.Load() == 0 {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.segs[segment] == nil {
		return false
	}
	delete(d.segs, segment)
	d.n.Add(-1)
	return true
}

// retire forgets a segment that is held no more, nor any before it.
func (d *damage) retire(segment uint64) {
	d.floor.Store(segment + 1)
	d.forget(segment)
}

// due returns some of the segments that are to be tried again, which no other
// caller is given for some time.
func (d *damage) due(now time.Time) (due []damagedSegment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.segs {
		if !s.again.After(now) && len(due) < damageTries {
			s.again = now.Add(damageAgain)
			due = append(due, *s)
		}
	}
	return due
}

// readAgain takes back what was damaged and is not any more.
func (x *Index) readAgain(ctx context.Context) {
	if x.damage.n.Load() == 0 {
		return
	}
	for _, s := range x.damage.due(x.cfg.Now()) {
		whole := s.seg
		for _, p := range Parts {
			if s.parts>>p&1 == 0 {
				continue
			}
			var err error
			if p.Derived() {
				_, err = x.cfg.Archive.Load(ctx, s.seg.first, p)
			} else if got, failed := loadPart(ctx, x.cfg.Archive, s.seg, p); failed == nil {
				whole = whole.with(got)
			} else {
				err = failed
			}
			if err != nil {
				whole = nil
				break
			}
		}
		if whole == nil {
			continue
		}
		if s.unnamed && !x.name(whole) {
			continue
		}
		if x.damage.forget(whole.first) {
			x.cfg.Damaged(whole.first, nil)
		}
	}
}

// name inserts the ids of a segment, whose spans are there, into the table. It
// returns false when the segment is held no more.
func (x *Index) name(seg *segment) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	k := slices.IndexFunc(x.segs, func(s *segment) bool { return s.first == seg.first })
	if k >= 0 {
		x.ids.insertAll(seg)
	}
	return k >= 0
}

// loadPart returns a copy of a segment with one part alone, from the archive.
func loadPart(ctx context.Context, from Archive, seg *segment, p Part) (*segment, error) {
	data, err := from.Load(ctx, seg.first, p)
	if err != nil {
		return nil, err
	}
	got, err := decodePart(seg, p, data)
	if err != nil {
		return nil, &DamageError{seg.first, p, err}
	}
	return got, nil
}

// derived returns a part that is made of the others.
func (x *Index) derived(ctx context.Context, seg *segment, p Part) ([]byte, error) {
	if err := x.damage.of(seg.first, 1<<p); err != nil {
		return nil, err
	}
	data, err := x.cfg.Archive.Load(ctx, seg.first, p)
	if err != nil {
		return nil, fmt.Errorf("index: %w", x.damaged(seg, err, false))
	}
	return data, nil
}

// unreadable reports whether an error is one of damage, for which a query may be
// answered without what is damaged.
func unreadable(err error) bool { return errors.Is(err, activity.ErrUnreadable) }

// retireDamaged takes the rows of a segment out that can't be read, as far as the
// parts that are left tell what they are. x.mu is held.
func (x *Index) retireDamaged(seg *segment) (rows int64) {
	rows = int64(seg.n - seg.dead.n)
	x.finished -= int(rows)
	if full, err := x.fetch(context.Background(), seg, partSpans); err == nil {
		for i := range full.n {
			if !full.isDead(i) {
				x.ids.remove(full.span[i], uint32(full.first)+uint32(i))
			}
		}
	}
	if full, err := x.fetch(context.Background(), seg, partCodes); err == nil {
		for i := range full.n {
			if !full.isDead(i) {
				x.tally.remove(full, i)
			}
		}
		return rows
	}
	data, err := x.derived(context.Background(), seg, PartCounts)
	if err != nil || seg.dead.n > 0 {
		return rows // what is held of its services, states and types is told too high
	}
	t := newSelected(&activity.Stats{SecondsEnd: math.MaxInt64}, &activity.Filter{})
	m := newMatcher(context.Background(), x, &activity.Filter{}, view{})
	if ok, err := t.counted(m, seg, data); !ok || err != nil {
		return rows
	}
	for state, n := range t.states {
		x.tally.byState[state] -= n
	}
	for typ, n := range t.types {
		x.tally.byType[typ] -= n
	}
	rest := rows
	for _, n := range t.st.ByService {
		rest -= n
	}
	t.st.ByService[""] = rest
	for name, n := range t.st.ByService {
		if h := x.tally.services[name]; h != nil {
			h.finished -= n
			x.tally.forget(h)
		}
	}
	return rows
}
