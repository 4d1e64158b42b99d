package api

import (
	"context"
	"math/bits"
	"time"

	"github.com/midspan/midspan/activity"
)

// statsOf returns the index's own statistics, or those of what a filter
// selects. The latter count what is held now: what was evicted is in no
// filter's reach any more. What is of the index and not of activities (its
// bounds, evictions, refusals) is the same in both.
func (a *API) statsOf(ctx context.Context, f *activity.Filter) (*activity.Stats, error) {
	st, err := a.cfg.Reader.Stats(ctx)
	if err != nil || selectsAll(f) {
		return st, err
	}
	leave, err := a.heavy()
	if err != nil {
		return nil, err
	}
	defer leave()
	t := newTally(st)
	if err := a.cfg.Reader.Scan(ctx, f, func(act *activity.Activity) error {
		t.add(act)
		return nil
	}); err != nil {
		return nil, err
	}
	return t.stats(), nil
}

// tally counts activities one by one, in memory that does not grow with them.
type tally struct {
	st      activity.Stats
	windows [4]tallyWindow // all, and the last minute, five minutes, hour
}

type tallyWindow struct {
	since          activity.Time
	w              activity.Window
	duration, wait sketch
}

// newTally starts from an index's statistics, of which it keeps what no filter
// changes.
func newTally(of *activity.Stats) *tally {
	t := &tally{st: *of}
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
	return t
}

func (t *tally) add(act *activity.Activity) {
	st := &t.st
	st.Total++
	st.ByState[act.State]++
	st.ByType[act.Type]++
	if service := act.Service(); service != "" {
		st.ByService[service]++
	}
	switch act.State {
	case activity.Planned:
		st.Planned++
	case activity.InProgress:
		st.InProgress++
	}
	if act.Stalled {
		st.Stalled++
	}
	ended := act.EndedAt
	if act.State == activity.Lost {
		ended = act.LastSeenAt
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
	if d, ok := act.Duration(ended); ok && ended >= t.windows[3].since {
		for i := range st.Histogram {
			if d <= st.Histogram[i].UpTo || i == len(st.Histogram)-1 {
				st.Histogram[i].Count++
				break
			}
		}
	}
}

// second returns the series' second that holds a time, or nil.
func (t *tally) second(at activity.Time) *activity.Second {
	back := t.st.SecondsEnd - at
	if back <= 0 || back > activity.Time(60*time.Second) {
		return nil
	}
	return &t.st.Seconds[59-int((back-1)/activity.Time(time.Second))]
}

func (w *tallyWindow) add(act *activity.Activity, ended activity.Time) {
	if act.StartedAt != 0 && act.StartedAt >= w.since {
		w.w.Started++
	}
	if ended == 0 || ended < w.since {
		return
	}
	w.w.Finished++
	switch act.State {
	case activity.Completed:
		w.w.Completed++
	case activity.Failed:
		w.w.Failed++
	case activity.Cancelled:
		w.w.Cancelled++
	case activity.Lost:
		w.w.Lost++
	}
	if d, ok := act.Duration(ended); ok {
		w.duration.add(d)
	}
	if d, ok := act.Wait(ended); ok {
		w.wait.add(d)
	}
}

func (t *tally) stats() *activity.Stats {
	for i, w := range []*activity.Window{&t.st.All, &t.st.Minute, &t.st.FiveMinutes, &t.st.Hour} {
		from := &t.windows[i]
		*w = from.w
		w.Duration, w.Wait = from.duration.quantiles(), from.wait.quantiles()
		span := t.st.Now.Sub(max(from.since, t.st.Since))
		w.PerSecond = float64(w.Finished) / max(span.Seconds(), 1)
	}
	return &t.st
}

// sketch counts durations in buckets of which each power of two has 64, so a
// quantile is at most 0.8 % off.
type sketch struct {
	count   int64
	sum     float64
	buckets [64 * 58]uint32
}

func (s *sketch) add(d time.Duration) {
	d = max(d, 0)
	s.count++
	s.sum += float64(d)
	s.buckets[sketchIndex(uint64(d))]++
}

// sketchIndex returns a value's bucket: the first 64 values have one each.
func sketchIndex(v uint64) int {
	if v < 64 {
		return int(v)
	}
	shift := bits.Len64(v) - 7
	return (shift+1)<<6 + int(v>>shift) - 64
}

// sketchValue returns the middle of a bucket.
func sketchValue(i int) float64 {
	if i < 64 {
		return float64(i)
	}
	shift := i>>6 - 1
	return (float64(i&63+64) + 0.5) * float64(uint64(1)<<shift)
}

func (s *sketch) quantiles() activity.Quantiles {
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

func (s *sketch) quantile(q float64) time.Duration {
	rank := int64(q * float64(s.count-1))
	for i, n := range s.buckets {
		if rank -= int64(n); rank < 0 {
			return time.Duration(sketchValue(i))
		}
	}
	return 0
}
