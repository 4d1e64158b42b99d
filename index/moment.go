package index

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/midspan/midspan/activity"
)

// moments tells which events a log had taken at a time: to a tenth of a second
// over the last hour, to a second before. Times rise with the sequence.
type moments struct {
	marks []activity.Moment // each the first event of its stretch
	fine  int               // place of the first mark that is less than fineFor old
}

const (
	fineStep   = activity.Time(100 * time.Millisecond)
	coarseStep = activity.Time(time.Second)
	fineFor    = activity.Time(time.Hour)
)

// add notes that an event was taken.
func (m *moments) add(at activity.Time, seq uint64) {
	if n := len(m.marks); n > 0 && at/fineStep <= m.marks[n-1].Time/fineStep {
		return
	}
	m.marks = append(m.marks, activity.Moment{Seq: seq, Time: at})
	if m.fine+20_000 < len(m.marks) && at-m.marks[m.fine+10_000].Time > fineFor {
		m.thin(at - fineFor)
	}
}

// thin leaves one mark a second of those before a time.
func (m *moments) thin(before activity.Time) {
	kept := m.marks[:m.fine]
	rest := m.marks[m.fine:]
	for len(rest) > 0 && rest[0].Time < before {
		if n := len(kept); n == 0 || rest[0].Time/coarseStep > kept[n-1].Time/coarseStep {
			kept = append(kept, rest[0])
		}
		rest = rest[1:]
	}
	m.fine = len(kept)
	m.marks = append(kept, rest...)
}

// forget drops what lies before a sequence, but for the mark that it is in.
func (m *moments) forget(seq uint64) {
	n := sort.Search(len(m.marks), func(i int) bool { return m.marks[i].Seq > seq }) - 1
	if n > len(m.marks)/8 { // seldom, since the rest is moved
		m.marks = slices.Delete(m.marks, 0, n)
		m.fine = max(m.fine-n, 0)
	}
}

// seq returns the last event of the stretch that a time lies in; last is that of
// the log.
func (m *moments) seq(at activity.Time, last uint64) uint64 {
	n := sort.Search(len(m.marks), func(i int) bool { return m.marks[i].Time > at })
	switch {
	case n == len(m.marks):
		return last
	case n == 0:
		return 0
	}
	return m.marks[n].Seq - 1
}

// time returns about when an event was taken.
func (m *moments) time(seq uint64) activity.Time {
	n := sort.Search(len(m.marks), func(i int) bool { return m.marks[i].Seq > seq })
	if n == 0 {
		return 0
	}
	return m.marks[n-1].Time
}

// taken returns about when an event was taken: those of one stretch stand evenly
// in it. last is the last event of the log.
func (m *moments) taken(seq, last uint64) activity.Time {
	n := sort.Search(len(m.marks), func(i int) bool { return m.marks[i].Seq > seq })
	if n == 0 {
		return 0
	}
	step := fineStep
	if n <= m.fine {
		step = coarseStep
	}
	from, next := m.marks[n-1], last+1
	end := from.Time/step*step + step
	if n < len(m.marks) {
		next, end = m.marks[n].Seq, min(end, m.marks[n].Time)
	}
	return from.Time + activity.Time(float64(end-from.Time)*float64(seq-from.Seq)/float64(next-from.Seq))
}

// Moment returns what the log had taken at a time, to a tenth of a second, or to
// a second when that is more than an hour ago; a time to come is now. It returns
// activity.ErrForgotten when something of then is held no more. It is for an
// index of a log's events.
func (x *Index) Moment(at activity.Time) (activity.Moment, error) {
	x.beforeRead()
	x.mu.RLock()
	defer x.mu.RUnlock()
	if now := x.now(); at >= now {
		return activity.Moment{Seq: x.log.seq, Time: now}, nil
	}
	if x.forgotten > 0 && at < x.forgotten {
		return activity.Moment{}, activity.ErrForgotten
	}
	return activity.Moment{Seq: x.moments.seq(at, x.log.seq), Time: at}, nil
}

// activityAt returns a held activity as it was at a moment, or now when that is
// nil. It returns nil for one that was not known then.
func (l *look) activityAt(id activity.ID, now activity.Time, at *activity.Moment) *activity.Activity {
	if at == nil {
		return l.activity(id, now)
	}
	events, _ := l.events(id)
	return l.then(events, at)
}

// then returns the activity of events as it was at a moment, or nil when it was
// not known. Within a stretch of updates that were merged it is what it was
// before them, and not silent. It changes the events.
func (l *look) then(events []activity.Event, at *activity.Moment) *activity.Activity {
	var last uint64
	reporting := false
	events = slices.DeleteFunc(events, func(e activity.Event) bool {
		if e.Seq > at.Seq {
			reporting = reporting || e.FromSeq != 0 && e.FromSeq <= at.Seq
			return true
		}
		last = max(last, e.Seq)
		return false
	})
	if len(events) == 0 {
		return nil
	}
	a := l.dress(fold(events), at.Time)
	a.Stalled = !reporting && l.x.stalled(&a.Head, l.x.moments.time(last), at.Time)
	backdate(a)
	return a
}

// backdate tells the lease as it was when the activity was in its state: while it
// was open its process had not given it up.
func backdate(a *activity.Activity) {
	switch {
	case a.Resource == nil || a.Resource.Lease() == "":
	case a.State.Open():
		a.Lease = activity.LeaseLive
	case a.State == activity.Lost:
		a.Lease = activity.LeaseExpired
	}
}

// matchThen judges an activity that has changed since a moment, as it was then.
func matchThen(q *activity.Query, f *activity.Filter, a *activity.Activity) (candidate, bool) {
	if a == nil || !f.Match(a, q.At.Time) {
		return candidate{}, false
	}
	key, ok := sortKey(q.Sort, &a.Head)
	return candidate{key: key, id: a.ID, parent: a.Parent, then: a}, ok
}

// since returns the rows of a segment, of those that have changed since the page's
// moment, that were on the list then. A row that has not changed is as it was.
func (x *Index) since(ctx context.Context, seg *segment, p *page, v view) (found []candidate, err error) {
	q := p.q
	if len(q.Traces) > 0 && !slices.ContainsFunc(q.Traces, seg.traces.may) {
		return nil, nil
	}
	if seg, err = x.fetch(ctx, seg, partIDs); err != nil {
		return nil, err
	}
	for i := range seg.n {
		if seg.begun[i] > q.At.Seq || seg.seq[i] <= q.At.Seq || seg.isDead(i) || p.passes(seg, i) {
			continue
		}
		if len(q.Traces) > 0 && !slices.Contains(q.Traces, seg.trace[i]) {
			continue
		}
		if seg, err = x.fetch(ctx, seg, allParts); err != nil {
			return nil, err
		}
		var c candidate
		var ok bool
		if err := x.look(ctx, func(l *look) {
			events, _ := seg.decode(i, v.keys)
			c, ok = matchThen(q, &q.Filter, l.then(events, q.At))
		}); err != nil {
			return nil, err
		}
		if ok {
			found = append(found, c)
		}
	}
	return found, nil
}

// passes reports whether a page that counts no further has no place for a row,
// by when it was planned as far as is known now.
func (p *page) passes(seg *segment, i int) bool {
	if p.total <= activity.ExactTotal || p.q.Sort != activity.NewestPlanned && p.q.Sort != activity.OldestPlanned {
		return false
	}
	return !p.admits(candidate{key: int64(seg.planned[i]), id: seg.id(i)})
}

// addSince adds the rows to a page that have changed since its moment.
func (x *Index) addSince(ctx context.Context, p *page, v view) error {
	var segs []*segment
	for _, seg := range v.segs {
		if seg.minBegun <= p.q.At.Seq && seg.maxSeq > p.q.At.Seq {
			segs = append(segs, seg)
		}
	}
	for some := range slices.Chunk(segs, runtime.GOMAXPROCS(0)) {
		found, errs := make([][]candidate, len(some)), make([]error, len(some))
		var scans sync.WaitGroup
		for k, seg := range some {
			scans.Go(func() { found[k], errs[k] = x.since(ctx, seg, p, v) })
		}
		scans.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for _, c := range slices.Concat(found...) {
			p.add(c)
		}
	}
	return nil
}
