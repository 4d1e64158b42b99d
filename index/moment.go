package index

import (
	"context"
	"slices"
	"sort"
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
	events = slices.DeleteFunc(events, func(e activity.Event) bool { return e.Seq > at.Seq })
	if len(events) == 0 {
		return nil
	}
	var last uint64
	for i := range events {
		last = max(last, events[i].Seq)
	}
	a := l.dress(fold(events), now)
	a.Stalled = l.x.stalled(&a.Head, l.x.moments.time(last), now)
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

// matchAt judges an activity that has changed since a moment.
func (l *look) matchAt(q *activity.Query, f *activity.Filter, id activity.ID) (candidate, bool) {
	a := l.activityAt(id, q.At.Time, q.At)
	if a == nil || !f.Match(a, q.At.Time) {
		return candidate{}, false
	}
	key, ok := sortKey(q.Sort, &a.Head)
	return candidate{key: key, id: id, parent: a.Parent}, ok
}

// scanAt adds the rows to a page that have changed since its moment, and returns
// the segments in which the rest may be. A row that has not is as it was.
func (x *Index) scanAt(ctx context.Context, p *page, v view) ([]*segment, error) {
	q := p.q
	var rest []*segment
	for _, seg := range v.segs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if seg.minBegun > q.At.Seq {
			continue
		}
		rest = append(rest, seg)
		if seg.maxSeq <= q.At.Seq {
			continue
		}
		full, err := x.fetch(ctx, seg, partIDs)
		if err != nil {
			return nil, err
		}
		for i := range full.n {
			if full.begun[i] > q.At.Seq || full.seq[i] <= q.At.Seq || full.isDead(i) {
				continue
			}
			var c candidate
			var ok bool
			if err := x.look(ctx, func(l *look) { c, ok = l.matchAt(q, &q.Filter, full.id(i)) }); err != nil {
				return nil, err
			}
			if ok {
				p.add(c)
			}
		}
	}
	return rest, nil
}
