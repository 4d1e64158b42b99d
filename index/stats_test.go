package index

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// near reports whether a quantile is one of a sketch's accuracy around its exact value.
func near(got, exact time.Duration) bool {
	return math.Abs(float64(got-exact)) <= 0.021*float64(exact)+1
}

// exact counts durations as Quantiles does, but all of them.
func exact(durations []time.Duration) activity.Quantiles {
	if len(durations) == 0 {
		return activity.Quantiles{}
	}
	slices.Sort(durations)
	var sum time.Duration
	for _, d := range durations {
		sum += d
	}
	at := func(q float64) time.Duration {
		return durations[slices.IndexFunc(durations, func(d time.Duration) bool {
			below, _ := slices.BinarySearch(durations, d+1)
			return float64(below) >= q*float64(len(durations))
		})]
	}
	return activity.Quantiles{
		Count: int64(len(durations)), Average: sum / time.Duration(len(durations)), P50: at(0.5), P95: at(0.95), P99: at(0.99),
	}
}

func checkQuantiles(t *testing.T, name string, got activity.Quantiles, durations []time.Duration) {
	t.Helper()
	want := exact(durations)
	if got.Count != want.Count || !near(got.Average, want.Average) || !near(got.P50, want.P50) || !near(got.P95, want.P95) || !near(got.P99, want.P99) {
		t.Errorf("%s: %+v, exactly %+v", name, got, want)
	}
}

// The slowest of few counts: it is what somebody looks for.
func TestQuantilesOfFew(t *testing.T) {
	for _, seconds := range [][]int{{1}, {1, 10}, {1, 1, 9}, {1, 2, 3, 4}, {0, 0, 5}, {0, 0}} {
		var d distribution
		var s durations
		var all []time.Duration
		for _, n := range seconds {
			v := time.Duration(n) * time.Second
			d.add(v)
			s.add(v)
			all = append(all, v)
		}
		checkQuantiles(t, fmt.Sprint(seconds), d.quantiles(), all)
		checkQuantiles(t, fmt.Sprint(seconds, ", selected"), s.quantiles(), all)
		if slowest := all[len(all)-1]; !near(d.quantiles().P99, slowest) {
			t.Errorf("p99 of %v: %v", all, d.quantiles().P99)
		}
	}
}

// A loss counts when it was told, with a filter as without one.
func TestStatsLost(t *testing.T) {
	clock := newClock()
	x := New(Config{Now: clock.Now})
	clock.advance(10 * time.Minute)
	x.Apply([]activity.Event{ev(id(1, 1), 1, clock.time()-activity.Time(10*time.Minute), activity.EventStarted), ev(id(1, 1), 2, clock.time(), activity.EventLost)})
	all := stats(t, x)
	some, err := x.StatsOf(t.Context(), &activity.Filter{States: []activity.State{activity.Lost}})
	if err != nil || all.Minute.Lost != 1 || some.Minute.Lost != 1 || all.Seconds[59].Finished != some.Seconds[59].Finished {
		t.Errorf("%v, of all %+v, filtered %+v", err, all.Minute, some.Minute)
	}
}

// The range of a filter counts what started and what ended within it, both ends
// included, and a loss when it was told.
func TestStatsRange(t *testing.T) {
	clock := newClock()
	x := New(Config{Now: clock.Now})
	begun := clock.time()
	minute := func(n int) activity.Time { return begun + activity.Time(time.Duration(n)*time.Minute) }
	for n, a := range []struct {
		start, end int
		kind       activity.Kind
	}{
		{0, 1, activity.EventCompleted}, {0, 30, activity.EventFailed}, {10, 10, activity.EventFailed}, {15, 20, activity.EventCancelled},
		{12, 40, activity.EventLost}, {12, 18, activity.EventLost}, {11, 0, activity.EventUpdated},
	} {
		events := []activity.Event{ev(id(1, n+1), 1, minute(a.start), activity.EventStarted)}
		if a.end > 0 {
			events = append(events, ev(id(1, n+1), 2, minute(a.end), a.kind))
		}
		x.Apply(events)
	}
	clock.advance(time.Hour)
	for _, tt := range []struct {
		name         string
		since, until activity.Time
		want         activity.Window
	}{
		{"both", minute(10), minute(20), activity.Window{Started: 5, Finished: 3, Failed: 1, Cancelled: 1, Lost: 1, PerSecond: 3.0 / 600}},
		{"since", minute(30), 0, activity.Window{Finished: 2, Failed: 1, Lost: 1, PerSecond: 2.0 / 1800}},
		{"until", 0, minute(1), activity.Window{Started: 2, Finished: 1, Completed: 1, PerSecond: 1.0 / 60}},
		{"nothing", minute(2), minute(9), activity.Window{}},
	} {
		st, err := x.StatsOf(t.Context(), &activity.Filter{Since: tt.since, Until: tt.until})
		if err != nil {
			t.Fatal(err)
		}
		got := *st.Range
		got.Duration, got.Wait = activity.Quantiles{}, activity.Quantiles{}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if st, err := x.StatsOf(t.Context(), &activity.Filter{States: []activity.State{activity.Lost}}); err != nil || st.Range != nil {
		t.Errorf("without a time: %v, %v", st.Range, err)
	}
}

// Over hours of a busy program, each window counts what it should.
func TestStatsWindows(t *testing.T) {
	clock := newClock()
	g := newGenerator(11)
	x := New(Config{Now: clock.Now})
	type end struct {
		at             activity.Time
		state          activity.State
		duration, wait time.Duration
		waited         bool
	}
	var ends []end
	var starts []activity.Time
	check := func() {
		t.Helper()
		s := stats(t, x)
		now := clock.time()
		for _, w := range []struct {
			name    string
			got     activity.Window
			length  time.Duration
			inexact time.Duration // a window is as exact at its far end as its buckets are long
		}{
			{"minute", s.Minute, time.Minute, 5 * time.Second},
			{"five minutes", s.FiveMinutes, 5 * time.Minute, 5 * time.Second},
			{"hour", s.Hour, time.Hour, time.Minute},
			{"all", s.All, time.Duration(math.MaxInt64), 0},
		} {
			lived := now.Sub(s.Since)
			// Which far end the buckets give lies between these two.
			count := func(back time.Duration) (n activity.Window, durations, waits []time.Duration) {
				for _, e := range ends {
					if now.Sub(e.at) > back {
						continue
					}
					n.Finished++
					switch e.state {
					case activity.Completed:
						n.Completed++
					case activity.Failed:
						n.Failed++
					case activity.Cancelled:
						n.Cancelled++
					case activity.Lost:
						n.Lost++
					}
					if e.state != activity.Lost {
						durations = append(durations, e.duration)
					}
					if e.waited {
						waits = append(waits, e.wait)
					}
				}
				for _, at := range starts {
					if now.Sub(at) <= back {
						n.Started++
					}
				}
				return n, durations, waits
			}
			least, _, _ := count(w.length - w.inexact)
			most, _, _ := count(w.length + w.inexact)
			if w.inexact == 0 {
				most = least
			}
			got := w.got
			if got.Finished < least.Finished || got.Finished > most.Finished || got.Started < least.Started || got.Started > most.Started ||
				got.Failed < least.Failed || got.Failed > most.Failed || got.Lost < least.Lost || got.Lost > most.Lost ||
				got.Completed+got.Failed+got.Cancelled+got.Lost != got.Finished {
				t.Fatalf("%s at %v: %+v, want between %+v and %+v", w.name, now, got, least, most)
			}
			length := min(lived, w.length)
			if length > 0 && math.Abs(got.PerSecond-float64(got.Finished)/length.Seconds()) > 1e-9 {
				t.Errorf("%s: %v a second for %d in %v", w.name, got.PerSecond, got.Finished, length)
			}
			if least.Finished == most.Finished {
				_, durations, waits := count(w.length)
				checkQuantiles(t, w.name+" duration", got.Duration, durations)
				checkQuantiles(t, w.name+" wait", got.Wait, waits)
			}
		}
	}
	n := 0
	for step := range 1200 {
		clock.advance(time.Duration(g.IntN(20)) * time.Second)
		if step == 700 {
			check()
			clock.advance(3 * time.Hour) // idle: every ring turns over
			if s := stats(t, x); s.Hour.Finished != 0 || s.Hour.Duration.Count != 0 || len(s.Histogram) != 0 || s.Seconds != [60]activity.Second{} {
				t.Errorf("after idle hours: %+v", s.Hour)
			}
		}
		for range g.IntN(3) {
			n++
			i, now := id(n, n), clock.time()
			e := end{at: now, state: activity.Completed, duration: time.Duration(math.Exp(20 + 2*g.NormFloat64()))}
			start := ev(i, 1, now-activity.Time(e.duration), activity.EventStarted)
			final := ev(i, 3, now, activity.EventCompleted)
			switch g.IntN(6) {
			case 0:
				e.state, final.Kind = activity.Failed, activity.EventFailed
			case 1:
				e.state, final.Kind = activity.Cancelled, activity.EventCancelled
			case 2:
				e.state, final.Kind = activity.Lost, activity.EventLost
			case 3:
				e.waited, e.wait = true, time.Duration(math.Exp(18+g.NormFloat64()))
				start.Attrs = []activity.Attr{num(activity.KeyPlannedAt, int64(start.At)-int64(e.wait))}
			}
			x.Apply([]activity.Event{start, final})
			starts, ends = append(starts, now), append(ends, e)
		}
		if step%40 == 0 {
			check()
		}
	}
	if s := stats(t, x); s.Total != int64(n) || s.All.Started != int64(n) {
		t.Errorf("total %d, started %d; want %d", s.Total, s.All.Started, n)
	}
}

func TestStatsSeconds(t *testing.T) {
	clock := newClock()
	x := New(Config{Now: clock.Now})
	var want [60]activity.Second
	for sec := range 100 {
		clock.ns.Store(testStart.UnixNano() + int64(sec)*int64(time.Second) + 5)
		for n := range sec % 4 {
			i := id(sec+1, n+1)
			x.Apply([]activity.Event{ev(i, 1, clock.time(), activity.EventStarted)})
			kind := activity.EventCompleted
			if n == 0 {
				kind = activity.EventFailed
			}
			x.Apply([]activity.Event{ev(i, 2, clock.time(), kind)})
		}
		if sec >= 40 {
			want[sec-40] = activity.Second{Started: int64(sec % 4), Finished: int64(sec % 4), Failed: int64(min(sec%4, 1))}
		}
	}
	clock.ns.Store(testStart.UnixNano() + 100*int64(time.Second) + 5)
	s := stats(t, x)
	if diff := cmp.Diff(want, s.Seconds); diff != "" || s.SecondsEnd != at(100*time.Second) {
		t.Errorf("up to %v (-want +got):\n%s", s.SecondsEnd, diff)
	}
	clock.advance(-30 * time.Second) // a clock that is set back counts on
	x.Apply([]activity.Event{ev(id(999, 1), 1, clock.time(), activity.EventStarted)})
	if s := stats(t, x); s.Total != 151 || s.SecondsEnd != at(100*time.Second) {
		t.Errorf("total %d up to %v", s.Total, s.SecondsEnd)
	}
}

func TestHistogram(t *testing.T) {
	clock := newClock()
	x := New(Config{Now: clock.Now})
	durations := []time.Duration{0, 500 * time.Nanosecond, 3 * time.Millisecond, 3 * time.Millisecond, 40 * time.Millisecond, 7 * time.Second}
	for n, d := range durations {
		run(x, id(1, n+1), clock.time()-activity.Time(d), clock.time(), nil)
	}
	buckets := stats(t, x).Histogram
	var total int64
	for n, b := range buckets {
		total += b.Count
		if n > 0 && (b.UpTo <= buckets[n-1].UpTo || float64(b.UpTo) > 1.27*float64(buckets[n-1].UpTo)) {
			t.Errorf("bucket %d reaches up to %v after %v", n, b.UpTo, buckets[n-1].UpTo)
		}
	}
	if total != int64(len(durations)) {
		t.Errorf("%d durations counted", total)
	}
	for _, d := range durations {
		k := slices.IndexFunc(buckets, func(b activity.Bucket) bool { return float64(b.UpTo) >= 0.99*float64(d) })
		if k < 0 || buckets[k].Count == 0 && (k+1 == len(buckets) || buckets[k+1].Count == 0) {
			t.Errorf("%v is in no bucket", d)
		}
	}
	if buckets[0].Count == 0 || buckets[len(buckets)-1].Count == 0 {
		t.Error("the histogram does not run from the first to the last that hold one")
	}
}

// Of all activities together the sum of durations may be more than an integer holds.
func TestStatsLongDurations(t *testing.T) {
	x := New(Config{})
	for n := range 20 {
		run(x, id(1, n+1), 1, at(0), nil)
	}
	if avg := stats(t, x).All.Duration.Average; !near(avg, at(0).Sub(1)) {
		t.Errorf("average %v", avg)
	}
}

func TestStalled(t *testing.T) {
	clock := newClock()
	x := New(Config{Now: clock.Now, StallAfter: time.Minute})
	now := clock.time()
	current := str(activity.KeyCurrent, "working")
	for _, e := range [][]activity.Event{
		{ev(id(1, 1), 1, now, activity.EventStarted), ev(id(1, 1), 2, now, activity.EventUpdated, current)},
		{ev(id(1, 2), 1, now, activity.EventStarted)},                                                                                                                                     // never reported
		{ev(id(1, 3), 1, now, activity.EventStarted, current)},                                                                                                                            // nor this, after its start
		{ev(id(1, 4), 1, now, activity.EventStarted, activity.Attr{Key: activity.KeyProgress, Value: activity.FloatValue(0.1)})},                                                          // progress is a report
		{ev(id(1, 5), 1, now, activity.EventPlanned), ev(id(1, 5), 2, now, activity.EventUpdated, current)},                                                                               // waits
		{ev(id(1, 6), 1, now, activity.EventStarted, activity.Attr{Key: activity.KeyLongRunning, Value: activity.BoolValue(true)}), ev(id(1, 6), 2, now, activity.EventUpdated, current)}, // is expected to take long
		{ev(id(1, 7), 1, now, activity.EventStarted), ev(id(1, 7), 2, now, activity.EventUpdated, current), ev(id(1, 7), 3, now, activity.EventCompleted)},
	} {
		x.Apply(e)
	}
	yes := true
	stalled := func() (ids []int) {
		page := list(t, x, activity.Query{Filter: activity.Filter{Stalled: &yes}, Sort: activity.OldestPlanned})
		for _, a := range page.Activities {
			ids = append(ids, int(a.ID.Span[7]))
		}
		if n := stats(t, x).Stalled; int(n) != len(ids) {
			t.Errorf("Stats counts %d stalled, the list has %v", n, ids)
		}
		return ids
	}
	clock.advance(time.Minute)
	if got := stalled(); len(got) != 0 {
		t.Errorf("after a minute: %v", got)
	}
	clock.advance(1)
	if diff := cmp.Diff([]int{1, 4}, stalled()); diff != "" {
		t.Errorf("after more (-want +got):\n%s", diff)
	}
	x.Apply([]activity.Event{ev(id(1, 1), 9, clock.time(), activity.EventUpdated, current)})
	if diff := cmp.Diff([]int{4}, stalled()); diff != "" {
		t.Errorf("after a report (-want +got):\n%s", diff)
	}
}

func TestUsual(t *testing.T) {
	x := New(Config{})
	named := func(name string) func(*activity.Event) { return func(e *activity.Event) { e.Name = name } }
	n := 0
	took := func(name string, d time.Duration, kind activity.Kind) {
		n++
		start := ev(id(1, n), 1, at(0), activity.EventStarted)
		named(name)(&start)
		x.Apply([]activity.Event{start, ev(id(1, n), 2, at(d), kind)})
	}
	open := ev(id(2, 1), 1, at(0), activity.EventStarted)
	named("a")(&open)
	x.Apply([]activity.Event{open})
	usual := func() time.Duration { return get(t, x, id(2, 1)).Activity.Usual.Round(time.Millisecond) }
	if d := usual(); d != 0 {
		t.Errorf("before any completed: %v", d)
	}
	took("a", 5*time.Second, activity.EventCompleted)
	took("a", time.Hour, activity.EventFailed)
	took("a", time.Hour, activity.EventCancelled)
	took("b", time.Hour, activity.EventCompleted)
	if d := usual(); d != 5*time.Second {
		t.Errorf("after one: %v", d)
	}
	took("a", 7*time.Second, activity.EventCompleted)
	if d := usual(); d != 6*time.Second {
		t.Errorf("after two: %v", d)
	}
	for range 64 { // only the last 64 count
		took("a", time.Second, activity.EventCompleted)
	}
	if d := usual(); d != time.Second {
		t.Errorf("after many: %v", d)
	}
	for range maxUsual + 10 {
		n++
		took(time.Duration(n).String(), time.Second, activity.EventCompleted)
	}
	if len(x.usual.runs) != maxUsual {
		t.Errorf("%d names are remembered", len(x.usual.runs))
	}
}

func TestLeaked(t *testing.T) {
	x := New(Config{})
	x.Apply([]activity.Event{
		ev(id(1, 1), 1, at(0), activity.EventStarted), ev(id(1, 1), 2, at(1), activity.EventFailed, str(activity.KeyErrorType, activity.ErrorLeaked)),
		ev(id(1, 2), 1, at(0), activity.EventStarted), ev(id(1, 2), 2, at(1), activity.EventFailed, str(activity.KeyErrorType, "x")),
	})
	if s := stats(t, x); s.Leaked != 1 || s.All.Failed != 2 {
		t.Errorf("leaked %d of %d failed", s.Leaked, s.All.Failed)
	}
}

func TestDurationBuckets(t *testing.T) {
	for v := uint64(0); v < 1<<20; v += 1 + v/977 {
		i := durationBucket(v)
		if got := bucketDuration(i); math.Abs(got-float64(v)) > float64(v)*0.008+0.5 {
			t.Fatalf("%d is in the bucket of %v", v, got)
		}
	}
	if i := durationBucket(math.MaxInt64); i != len(durations{}.buckets)-1 {
		t.Errorf("the longest duration is in bucket %d of %d", i, len(durations{}.buckets))
	}
}
