package index

import (
	"cmp"
	"container/heap"
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/midspan/midspan/activity"
)

// view is what one read looks at: the finished rows as they were when it
// began, which it may look through without a lock.
type view struct {
	segs []*segment
	keys []string
	now  activity.Time
	asOf activity.Position
}

// view is called with x.mu held for reading.
func (x *Index) view() view {
	v := view{segs: make([]*segment, len(x.segs)), keys: x.keys.keys, now: x.now(), asOf: x.position()}
	copy(v.segs, x.segs)
	if n := len(v.segs); n > 0 {
		v.segs[n-1] = v.segs[n-1].snapshot()
	}
	return v
}

// candidate is a row of a list before it is made an activity.
type candidate struct {
	key    int64
	id     activity.ID
	parent activity.ID
	then   *activity.Activity // as it was at the page's moment, where that was found out
}

// sortKey returns what the order compares, larger first but for OldestPlanned,
// and false for what the order does not list.
func sortKey(s activity.Sort, h *activity.Head) (int64, bool) {
	switch s {
	case activity.LongestFirst:
		d, ok := h.Duration(h.EndedAt)
		return int64(d), ok && h.EndedAt != 0
	case activity.LatestEnded:
		return int64(h.EndedAt), h.EndedAt != 0
	}
	return int64(h.PlannedAt), true
}

// before reports whether a stands before b in the order.
func before(s activity.Sort, a, b candidate) bool {
	if a.key != b.key {
		return (a.key > b.key) != (s == activity.OldestPlanned)
	}
	return compareIDs(a.id, b.id) < 0
}

// page collects the first rows behind the cursor, and counts all.
type page struct {
	q      *activity.Query
	after  *candidate
	rows   []candidate // a heap whose top is the last of them
	total  int
	beyond int  // segments whose text was read from the archive only to count
	more   bool // there may be others that were not counted
	lacks  bool // there may be others that are damaged
}

// maxBeyond bounds page.beyond.
const maxBeyond = 64

func (p *page) Len() int           { return len(p.rows) }
func (p *page) Less(i, j int) bool { return before(p.q.Sort, p.rows[j], p.rows[i]) }
func (p *page) Swap(i, j int)      { p.rows[i], p.rows[j] = p.rows[j], p.rows[i] }
func (p *page) Push(c any)         { p.rows = append(p.rows, c.(candidate)) }
func (p *page) Pop() any {
	c := p.rows[len(p.rows)-1]
	p.rows = p.rows[:len(p.rows)-1]
	return c
}

func (p *page) full() bool { return len(p.rows) > p.q.Limit }

// admits reports whether a row of that key may still get a place.
func (p *page) admits(c candidate) bool {
	if p.after != nil && !before(p.q.Sort, *p.after, c) {
		return false
	}
	return !p.full() || before(p.q.Sort, c, p.rows[0])
}

func (p *page) add(c candidate) {
	p.total++
	if !p.admits(c) {
		return
	}
	if p.full() {
		p.rows[0] = c
		heap.Fix(p, 0)
		return
	}
	heap.Push(p, c)
}

// done reports whether a segment whose best key is given can change nothing.
func (p *page) done(best int64) bool {
	return p.total > activity.ExactTotal && p.full() && !before(p.q.Sort, candidate{key: best}, p.rows[0])
}

// enough reports whether what is left would have to be counted by reading ever
// more text, for which nobody waits.
func (p *page) enough(next *segment, best int64) bool {
	p.more = p.beyond >= maxBeyond && !p.q.HeadOnly() && !next.has(partText) && p.none(best)
	return p.more
}

// none reports whether no row of a segment whose best key is given can get a
// place: its rows are counted alone.
func (p *page) none(best int64) bool {
	return p.full() && !before(p.q.Sort, candidate{key: best}, p.rows[0])
}

// collectOpen begins a page with what is in flight, and returns what else there is.
func (x *Index) collectOpen(ctx context.Context, p *page, f *activity.Filter) (v view, err error) {
	var found []candidate
	var since []activity.ID // changed since the moment: each is folded anew
	needles, open := needlesOf(f), selectsOpen(f)
	err = x.look(ctx, func(l *look) {
		v, found, since = x.view(), found[:0], since[:0]
		if p.q.At != nil {
			v.now, v.asOf.Seq = p.q.At.Time, p.q.At.Seq
		}
		if !open && p.q.At == nil {
			return
		}
		for _, o := range x.open.All() {
			if p.q.At != nil && o.head.Seq > p.q.At.Seq {
				if o.begun <= p.q.At.Seq {
					since = append(since, o.head.ID)
				}
			} else if key, ok := sortKey(p.q.Sort, &o.head); ok && open && l.matchOpen(f, needles, o, v.now) {
				found = append(found, candidate{key: key, id: o.head.ID, parent: o.head.Parent})
			}
		}
	})
	if err != nil {
		return v, err
	}
	for ids := range slices.Chunk(since, pastOpen) {
		have := len(found)
		if err := x.look(ctx, func(l *look) {
			found = found[:have]
			for _, id := range ids {
				if c, ok := matchThen(p.q, f, l.activityAt(id, v.now, p.q.At)); ok {
					found = append(found, c)
				}
			}
		}); err != nil {
			return v, err
		}
	}
	for _, c := range found {
		p.add(c)
	}
	return v, nil
}

// List answers one page of a list.
func (x *Index) List(ctx context.Context, q *activity.Query) (*activity.Page, error) {
	x.beforeRead()
	x.readAgain(ctx)
	for {
		found := x.damage.found.Load()
		answer, whole, err := x.list(ctx, q)
		// Once more without a segment that turned out to be damaged when its rows had
		// their place on the page.
		if whole && !unreadable(err) || x.damage.found.Load() == found {
			return answer, err
		}
	}
}

// list answers a page, and reports whether all rows that have a place on it are there.
func (x *Index) list(ctx context.Context, q *activity.Query) (_ *activity.Page, whole bool, err error) {
	p := &page{q: q}
	if q.Cursor != nil {
		p.after = &candidate{key: q.Cursor.Key, id: q.Cursor.ID}
	}
	v, err := x.collectOpen(ctx, p, &q.Filter)
	if err != nil {
		return nil, false, err
	}
	order := slices.Clone(v.segs)
	if q.At != nil {
		order = slices.DeleteFunc(order, func(seg *segment) bool { return seg.minBegun > q.At.Seq })
	}
	best := bestKey(q.Sort)
	slices.SortFunc(order, func(a, b *segment) int {
		if q.Sort == activity.OldestPlanned {
			return cmp.Compare(best(a), best(b))
		}
		return cmp.Compare(best(b), best(a))
	})
	for len(order) > 0 && !p.done(best(order[0])) && !p.enough(order[0], best(order[0])) {
		n := min(len(order), runtime.GOMAXPROCS(0))
		if q.HeadOnly() && order[0].has(allParts) {
			n = 1 // a segment takes less than to share the work
		}
		found, err := x.scanAll(ctx, order[:n], p, v)
		if err != nil {
			return nil, false, err
		}
		for _, rows := range found {
			for _, c := range rows.rows {
				p.add(c)
			}
			p.total += rows.others
			if rows.read {
				p.beyond++
			}
			p.lacks = p.lacks || rows.lacks
		}
		order = order[n:]
	}
	if q.At != nil { // what is left to count is dear
		v.segs = slices.DeleteFunc(v.segs, func(seg *segment) bool {
			damaged := seg.minBegun <= q.At.Seq && x.damage.of(seg.first, allParts) != nil
			p.lacks = p.lacks || damaged
			return damaged
		})
		if err := x.addSince(ctx, p, v); err != nil {
			return nil, false, err
		}
	}
	return x.answer(ctx, p, v)
}

// scanned is what one segment holds for a page.
type scanned struct {
	rows   []candidate
	others int  // rows that are counted alone
	read   bool // its text was read from the archive for these
	lacks  bool // it is damaged
	err    error
}

// scanAll returns the selected rows of some segments, which it looks through
// side by side.
func (x *Index) scanAll(ctx context.Context, segs []*segment, p *page, v view) ([]scanned, error) {
	found := make([]scanned, len(segs))
	scan := func(k int) {
		s := &found[k]
		parts := partIDs
		counted := p.none(bestKey(p.q.Sort)(segs[k]))
		if counted && p.q.Sort != activity.LongestFirst && p.q.Sort != activity.LatestEnded {
			parts = 0
		}
		m := newMatcher(ctx, x, &p.q.Filter, v)
		m.at = p.q.At
		s.err = m.scan(segs[k], parts, func(seg *segment, i int) bool {
			if parts == 0 {
				s.others++
			} else if key, ok := rowKey(p.q.Sort, seg, i); ok {
				s.rows = append(s.rows, candidate{key: key, id: seg.id(i)})
			}
			return true
		})
		s.read, s.lacks = counted && m.read, m.lacks != nil
	}
	var others sync.WaitGroup
	for k := 1; k < len(segs); k++ {
		others.Go(func() { scan(k) })
	}
	scan(0)
	others.Wait()
	for k := range found {
		if err := found[k].err; err != nil {
			return nil, err
		}
	}
	return found, nil
}

// answer makes the collected rows activities, and reports whether it could of all.
func (x *Index) answer(ctx context.Context, p *page, v view) (_ *activity.Page, whole bool, err error) {
	slices.SortFunc(p.rows, func(a, b candidate) int {
		if before(p.q.Sort, a, b) {
			return -1
		}
		return 1
	})
	out := &activity.Page{Total: p.total, Exact: p.total <= activity.ExactTotal && !p.more && !p.lacks, Incomplete: p.lacks, AsOf: v.asOf}
	whole = true
	rows := p.rows
	if len(rows) > p.q.Limit {
		rows = rows[:p.q.Limit]
		last := rows[len(rows)-1]
		out.Next = &activity.Cursor{Sort: p.q.Sort, Key: last.key, ID: last.id}
	}
	out.Total = min(out.Total, activity.ExactTotal)
	out.Activities = make([]*activity.Activity, 0, len(rows))
	for len(rows) > 0 {
		n := slices.IndexFunc(rows, func(c candidate) bool { return c.then != nil })
		if n < 0 {
			n = len(rows)
		}
		ids := make([]activity.ID, n)
		for i := range ids {
			ids[i] = rows[i].id
		}
		some, lacks, err := x.activities(ctx, ids, v.now, p.q.At) // fewer where some were evicted meanwhile
		if err != nil {
			return nil, false, err
		}
		whole = whole && !lacks
		out.Activities = append(out.Activities, some...)
		for rows = rows[n:]; len(rows) > 0 && rows[0].then != nil; rows = rows[1:] {
			out.Activities = append(out.Activities, rows[0].then)
		}
	}
	out.Incomplete = out.Incomplete || !whole
	return out, whole, nil
}

// selectsOpen reports whether a filter can select anything in flight.
func selectsOpen(f *activity.Filter) bool {
	return len(f.States) == 0 || slices.ContainsFunc(f.States, activity.State.Open)
}

// matchOpen judges an open activity. What has to be read whole is first looked
// through for the needles of the filter.
func (l *look) matchOpen(f *activity.Filter, needles []needle, o *openActivity, now activity.Time) bool {
	if !f.MatchHead(&o.head, now) {
		return false
	}
	for i := range needles {
		if n := &needles[i]; !n.in(o.enc.buf) && !activity.ContainsFold(o.base.name, n.term) {
			return false
		}
	}
	return f.HeadOnly() || f.Match(l.dress(fold(o.decode()), now), now)
}

// bestKey returns how good the best row of a segment can be.
func bestKey(s activity.Sort) func(*segment) int64 {
	switch s {
	case activity.OldestPlanned:
		return func(seg *segment) int64 { return int64(seg.minPlanned) }
	case activity.LongestFirst:
		return func(seg *segment) int64 { return int64(seg.maxDuration) }
	case activity.LatestEnded:
		return func(seg *segment) int64 { return int64(seg.maxEnded) }
	}
	return func(seg *segment) int64 { return int64(seg.maxPlanned) }
}

func rowKey(s activity.Sort, seg *segment, i int) (int64, bool) {
	switch s {
	case activity.LongestFirst:
		return int64(max(seg.ended[i]-seg.started[i], 0)), seg.started[i] != 0 && seg.ended[i] != 0
	case activity.LatestEnded:
		return int64(seg.ended[i]), seg.ended[i] != 0
	}
	return int64(seg.planned[i]), true
}

// Scan calls fn with every activity that the filter selects: the finished ones
// in the order of their end, then the open ones. What ends meanwhile may come
// once more or, when it was open at the start, as it is then. It stops at fn's
// first error and returns it. No lock is held while fn runs. When something may be
// missing that is damaged, the error at the end, when fn has had all the rest, is an
// activity.ErrUnreadable.
func (x *Index) Scan(ctx context.Context, f *activity.Filter, fn func(*activity.Activity) error) error {
	return x.scan(ctx, f, func(a *activity.Activity, _ []activity.Event) error { return fn(a) })
}

// ScanEvents is Scan, with the events of each activity in canonical order. They
// share their attributes with it: fn may change neither.
func (x *Index) ScanEvents(ctx context.Context, f *activity.Filter, fn func(*activity.Activity, []activity.Event) error) error {
	return x.scan(ctx, f, func(a *activity.Activity, events []activity.Event) error {
		if events != nil {
			return fn(a, events)
		}
		histories, err := x.Histories(ctx, []activity.ID{a.ID}) // of an open one
		if err != nil {
			return err
		}
		return fn(a, histories[0])
	})
}

// scan calls fn with activities and, where they are at hand, their events.
func (x *Index) scan(ctx context.Context, f *activity.Filter, fn func(*activity.Activity, []activity.Event) error) error {
	x.beforeRead()
	x.readAgain(ctx)
	var v view
	var open []activity.ID
	needles := needlesOf(f)
	if err := x.look(ctx, func(l *look) {
		v, open = x.view(), open[:0]
		if !selectsOpen(f) {
			return
		}
		for id, o := range x.open.All() {
			if l.matchOpen(f, needles, o, v.now) {
				open = append(open, id)
			}
		}
	}); err != nil {
		return err
	}
	m := newMatcher(ctx, x, f, v)
	for _, seg := range v.segs {
		var err error
		if away := m.scan(seg, allParts, func(seg *segment, i int) bool {
			events, _ := seg.decode(i, v.keys)
			a := fold(events)
			own := a.Agent
			if err = x.look(ctx, func(l *look) {
				a.Agent = own
				l.dress(a, v.now)
			}); err == nil {
				err = fn(a, events)
			}
			return err == nil
		}); err == nil {
			err = away
		}
		if err != nil {
			return err
		}
	}
	slices.SortFunc(open, compareIDs)
	for _, id := range open {
		found, _, err := x.activities(ctx, []activity.ID{id}, v.now, nil)
		if err != nil {
			return err
		}
		for _, a := range found {
			if err := fn(a, nil); err != nil {
				return err
			}
		}
	}
	return m.lacks
}
