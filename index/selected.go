package index

import (
	"cmp"
	"context"
	"math/bits"
	"runtime"
	"sync"
	"time"

	"github.com/midspan/midspan/activity"
)

// StatsOf counts what a filter selects. It counts what is held now: what was
// evicted is in no filter's reach any more. What is of the index and not of
// activities (its bounds, evictions, refusals) is as in Stats.
func (x *Index) StatsOf(ctx context.Context, f *activity.Filter) (st *activity.Stats, err error) {
	x.readAgain(ctx)
	for {
		found := x.damage.found.Load()
		st, err = x.statsOf(ctx, f)
		// Once more without a segment that turned out to be damaged when rows of it
		// were counted.
		if !unreadable(err) || x.damage.found.Load() == found {
			return st, err
		}
	}
}

func (x *Index) statsOf(ctx context.Context, f *activity.Filter) (*activity.Stats, error) {
	st, err := x.Stats(ctx)
	if err != nil {
		return nil, err
	}
	var t *selected
	var v view
	needles := needlesOf(f)
	if err := x.look(ctx, func(l *look) {
		v, t = x.view(), newSelected(st, f)
		if !selectsOpen(f) {
			return
		}
		for _, o := range x.open.All() {
			if !l.matchOpen(f, needles, o, v.now) {
				continue
			}
			t.add(&o.head, 0, o.head.Service())
			if x.stalled(&o.head, o.heard, v.now) {
				t.st.Stalled++
			}
		}
	}); err != nil {
		return nil, err
	}
	if err := x.selectFinished(ctx, f, v, t); err != nil {
		return nil, err
	}
	return t.stats(), nil
}

// selectFinished adds the finished rows, of which all processors take a share.
func (x *Index) selectFinished(ctx context.Context, f *activity.Filter, v view, t *selected) error {
	shares := min(runtime.GOMAXPROCS(0), len(v.segs))
	parts := make([]*selected, shares)
	errs := make([]error, shares)
	var others sync.WaitGroup
	for k := range shares {
		parts[k] = newSelected(&t.st, f)
		others.Go(func() {
			m := newMatcher(ctx, x, f, v)
			for s := k; s < len(v.segs) && errs[k] == nil; s += shares {
				errs[k] = parts[k].segment(m, v.segs[s])
			}
			parts[k].st.Incomplete = m.lacks != nil
		})
	}
	others.Wait()
	for k := range shares {
		if errs[k] != nil {
			return errs[k]
		}
		t.merge(parts[k])
	}
	return nil
}

// segment adds what the matcher selects of a segment.
func (t *selected) segment(m *matcher, seg *segment) (err error) {
	if m.countable(seg) && m.may(seg) {
		data, err := m.x.derived(m.ctx, seg, PartCounts)
		if err == nil {
			var ok bool
			if ok, err = t.counted(m, seg, data); ok {
				return nil
			}
		}
		if err != nil && !unreadable(err) { // else the rows themselves tell
			return err
		}
	}
	counts := make([]int64, 0, 8) // by source
	var counted *segment
	away := m.scan(seg, partPlaces, func(s *segment, i int) bool {
		h := s.head(i)
		ended := h.EndedAt
		if h.State == activity.Lost { // few: only the record tells when that was
			var whole *segment
			if whole, err = m.x.fetch(m.ctx, s, allParts); err != nil {
				return false
			}
			events, _ := whole.decode(i, m.v.keys)
			a := fold(events)
			ended = max(a.LostAt, a.LastSeenAt)
		}
		if counted == nil {
			counted, counts = s, make([]int64, len(s.sources))
		}
		counts[s.source[i]]++
		t.add(&h, ended, "")
		return true
	})
	for n, count := range counts {
		if r := counted.sources[n]; r != nil && r.Service != "" && count > 0 {
			t.st.ByService[r.Service] += count
		}
	}
	if err == nil {
		err = away
	}
	return err
}

// selected counts activities one by one, in memory that does not grow with them.
type selected struct {
	st      activity.Stats
	states  [8]int64
	types   [16]int64
	windows selectedWindows
}

// selectedWindows are all, the last minute, five minutes and hour, and the time
// that the filter gives.
type selectedWindows [5]selectedWindow

const hour, byFilter = 3, 4 // their places

type selectedWindow struct {
	since, until   activity.Time // both within; until is 0 for no end
	w              activity.Window
	duration, wait durations
}

func (w *selectedWindow) holds(t activity.Time) bool {
	return t >= w.since && (w.until == 0 || t <= w.until)
}

// newSelected starts from an index's statistics, of which it keeps what no filter
// changes.
func newSelected(of *activity.Stats, f *activity.Filter) *selected {
	t := &selected{st: *of}
	t.st.Total, t.st.InProgress, t.st.Planned, t.st.Stalled = 0, 0, 0, 0
	t.st.ByState = make(map[activity.State]int64)
	t.st.ByType = make(map[activity.Type]int64)
	t.st.ByService = make(map[string]int64)
	t.st.Seconds = [60]activity.Second{}
	t.st.Histogram = append([]activity.Bucket(nil), of.Histogram...)
	for i := range t.st.Histogram {
		t.st.Histogram[i].Count = 0
	}
	for i, d := range []time.Duration{time.Minute, 5 * time.Minute, time.Hour} {
		t.windows[i+1].since = of.Now - activity.Time(d)
	}
	t.windows[byFilter].since, t.windows[byFilter].until = f.Since, f.Until
	return t
}

// add counts an activity, which ended then or, at 0, is open, and its service
// unless that is empty.
func (t *selected) add(act *activity.Head, ended activity.Time, service string) {
	st := &t.st
	st.Total++
	t.states[act.State&7]++
	t.types[act.Type&15]++
	if service != "" {
		st.ByService[service]++
	}
	switch act.State {
	case activity.Planned:
		st.Planned++
	case activity.InProgress:
		st.InProgress++
	}
	for i := range t.windows {
		t.windows[i].add(act, ended)
	}
	if act.StartedAt != 0 {
		if s := t.second(act.StartedAt); s != nil {
			s.Started++
		}
	}
	if ended == 0 {
		return
	}
	if s := t.second(ended); s != nil {
		s.Finished++
		if act.State == activity.Failed {
			s.Failed++
		}
	}
	if d, ok := act.Duration(ended); ok && ended >= t.windows[hour].since {
		t.draw(durationBucket(uint64(d)), 1)
	}
}

// draw adds n durations of a bucket to the histogram.
func (t *selected) draw(bucket int, n int64) {
	d := time.Duration(bucketDuration(bucket))
	for i := range t.st.Histogram {
		if d <= t.st.Histogram[i].UpTo || i == len(t.st.Histogram)-1 {
			t.st.Histogram[i].Count += n
			return
		}
	}
}

// second returns the series' second that holds a time, or nil.
func (t *selected) second(at activity.Time) *activity.Second {
	back := t.st.SecondsEnd - at
	if back <= 0 || back > activity.Time(60*time.Second) {
		return nil
	}
	return &t.st.Seconds[59-int((back-1)/activity.Time(time.Second))]
}

func (w *selectedWindow) add(act *activity.Head, ended activity.Time) {
	if act.StartedAt != 0 && w.holds(act.StartedAt) {
		w.w.Started++
	}
	if ended == 0 || !w.holds(ended) {
		return
	}
	w.finished(act.State, 1)
	if d, ok := act.Duration(ended); ok {
		w.duration.add(d)
	}
	if d, ok := act.Wait(ended); ok {
		w.wait.add(d)
	}
}

func (w *selectedWindow) finished(state activity.State, n int64) {
	w.w.Finished += n
	switch state {
	case activity.Completed:
		w.w.Completed += n
	case activity.Failed:
		w.w.Failed += n
	case activity.Cancelled:
		w.w.Cancelled += n
	case activity.Lost:
		w.w.Lost += n
	}
}

// merge adds what another one counted, from the same statistics.
func (t *selected) merge(o *selected) {
	st := &t.st
	st.Incomplete = st.Incomplete || o.st.Incomplete
	st.Total += o.st.Total
	st.Planned += o.st.Planned
	st.InProgress += o.st.InProgress
	for i, n := range o.states {
		t.states[i] += n
	}
	for i, n := range o.types {
		t.types[i] += n
	}
	for name, n := range o.st.ByService {
		st.ByService[name] += n
	}
	for i := range st.Seconds {
		st.Seconds[i].Started += o.st.Seconds[i].Started
		st.Seconds[i].Finished += o.st.Seconds[i].Finished
		st.Seconds[i].Failed += o.st.Seconds[i].Failed
	}
	for i := range st.Histogram {
		st.Histogram[i].Count += o.st.Histogram[i].Count
	}
	for i := range t.windows {
		t.windows[i].merge(&o.windows[i])
	}
}

func (w *selectedWindow) merge(o *selectedWindow) {
	w.w.Started += o.w.Started
	w.w.Finished += o.w.Finished
	w.w.Completed += o.w.Completed
	w.w.Failed += o.w.Failed
	w.w.Cancelled += o.w.Cancelled
	w.w.Lost += o.w.Lost
	w.duration.merge(&o.duration)
	w.wait.merge(&o.wait)
}

func (t *selected) stats() *activity.Stats {
	for _, state := range activity.States {
		if n := t.states[state]; n > 0 {
			t.st.ByState[state] = n
		}
	}
	for _, typ := range activity.Types {
		if n := t.types[typ]; n > 0 {
			t.st.ByType[typ] = n
		}
	}
	windows := []*activity.Window{&t.st.All, &t.st.Minute, &t.st.FiveMinutes, &t.st.Hour}
	if given := &t.windows[byFilter]; given.since != 0 || given.until != 0 {
		t.st.Range = new(activity.Window)
		windows = append(windows, t.st.Range)
	}
	for i, w := range windows {
		from := &t.windows[i]
		*w = from.w
		w.Duration, w.Wait = from.duration.quantiles(), from.wait.quantiles()
		until, since := t.st.Now, max(from.since, t.st.Since)
		if i == byFilter { // of what is held, however long ago
			until, since = min(until, cmp.Or(from.until, until)), cmp.Or(from.since, since)
		}
		w.PerSecond = float64(w.Finished) / max(until.Sub(since).Seconds(), 1)
	}
	return &t.st
}

// durations counts durations in buckets of which each power of two has 64, so a
// quantile is at most 0.8 % off.
type durations struct {
	count   int64
	sum     float64
	buckets [64 * 58]uint32
}

func (s *durations) add(d time.Duration) {
	d = max(d, 0)
	s.count++
	s.sum += float64(d)
	s.buckets[durationBucket(uint64(d))]++
}

func (s *durations) merge(o *durations) {
	s.count += o.count
	s.sum += o.sum
	for i, n := range o.buckets {
		s.buckets[i] += n
	}
}

// durationBucket returns a value's bucket: the first 64 values have one each.
func durationBucket(v uint64) int {
	if v < 64 {
		return int(v)
	}
	shift := bits.Len64(v) - 7
	return (shift+1)<<6 + int(v>>shift) - 64
}

// bucketDuration returns the middle of a bucket.
func bucketDuration(i int) float64 {
	if i < 64 {
		return float64(i)
	}
	shift := i>>6 - 1
	return (float64(i&63+64) + 0.5) * float64(uint64(1)<<shift)
}

func (s *durations) quantiles() activity.Quantiles {
	if s.count == 0 {
		return activity.Quantiles{}
	}
	return activity.Quantiles{
		Count:   s.count,
		Average: time.Duration(s.sum / float64(s.count)),
		P50:     s.quantile(0.50),
		P95:     s.quantile(0.95),
		P99:     s.quantile(0.99),
	}
}

func (s *durations) quantile(q float64) time.Duration {
	place := rank(q, s.count)
	for i, n := range s.buckets {
		if place -= int64(n); place < 0 {
			return time.Duration(bucketDuration(i))
		}
	}
	return 0
}
