package index

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/DataDog/sketches-go/ddsketch"

	"github.com/midspan/midspan/activity"
)

// Windows are made of buckets: short ones of 5 seconds for a minute and five,
// long ones of a minute for an hour. A window is as exact at its far end as
// its buckets are long.
const (
	shortBucket = 5 * activity.Time(time.Second)
	longBucket  = activity.Time(time.Minute)
	shortCount  = 60
	longCount   = 60
)

// sketchAccuracy is the relative error of a quantile.
const sketchAccuracy = 0.01

// bucket counts what happened in a stretch of time.
type bucket struct {
	number                           int64 // the stretch's, since 1970
	starts                           int64
	completed, failed, aborted, lost int64
	duration, wait                   distribution
}

// distribution is a sketch of durations in seconds. The sketch is made when
// the first duration comes.
type distribution struct {
	sketch *ddsketch.DDSketch
	sum    float64 // nanoseconds: an integer holds 292 years, which many activities last together
	n      int64
}

func (d *distribution) add(v time.Duration) {
	if d.sketch == nil {
		d.sketch = newSketch()
	}
	d.sum += float64(v)
	d.n++
	// Fails for negative values beyond the smallest only; durations are not negative.
	if err := d.sketch.Add(v.Seconds()); err != nil {
		panic(fmt.Sprintf("index: duration %v: %v", v, err))
	}
}

func newSketch() *ddsketch.DDSketch {
	s, err := ddsketch.NewDefaultDDSketch(sketchAccuracy)
	if err != nil {
		panic(fmt.Sprintf("index: sketch: %v", err))
	}
	return s
}

func (d *distribution) merge(o *distribution) {
	if o.n == 0 {
		return
	}
	if d.sketch == nil {
		d.sketch = newSketch()
	}
	if err := d.sketch.MergeWith(o.sketch); err != nil {
		panic(fmt.Sprintf("index: sketches of one kind: %v", err))
	}
	d.sum += o.sum
	d.n += o.n
}

func (d *distribution) quantiles() activity.Quantiles {
	if d.n == 0 {
		return activity.Quantiles{}
	}
	return activity.Quantiles{
		Count: d.n, Average: time.Duration(d.sum / float64(d.n)),
		P50: d.quantile(0.5), P95: d.quantile(0.95), P99: d.quantile(0.99),
	}
}

func (d *distribution) quantile(q float64) time.Duration {
	// The sketch takes q for a place between the first value and the last, and
	// the value below it. Half a place beyond the one that is meant, rounding
	// doesn't miss it.
	place := (float64(rank(q, d.n)) + 0.5) / float64(max(d.n-1, 1))
	v, err := d.sketch.GetValueAtQuantile(min(place, 1))
	if err != nil {
		panic(fmt.Sprintf("index: quantile %v of %d durations: %v", q, d.n, err))
	}
	return time.Duration(v * float64(time.Second))
}

// rank returns which of n ascending values is their quantile, the first being 0:
// the least that so many of them do not exceed. Of few, the slowest is their p95.
func rank(q float64, n int64) int64 { return int64(math.Ceil(q*float64(n))) - 1 }

func (b *bucket) merge(o *bucket) {
	b.starts += o.starts
	b.completed += o.completed
	b.failed += o.failed
	b.aborted += o.aborted
	b.lost += o.lost
	b.duration.merge(&o.duration)
	b.wait.merge(&o.wait)
}

func (b *bucket) window(length time.Duration) activity.Window {
	w := activity.Window{
		Started: b.starts, Completed: b.completed, Failed: b.failed, Cancelled: b.aborted, Lost: b.lost,
		Finished: b.completed + b.failed + b.aborted + b.lost,
		Duration: b.duration.quantiles(), Wait: b.wait.quantiles(),
	}
	if length > 0 {
		w.PerSecond = float64(w.Finished) / length.Seconds()
	}
	return w
}

// counters counts what happens as it happens. Durations go into the current
// short bucket only, and from there into the others when its time is over.
type counters struct {
	since               activity.Time
	total               int64
	evicted, notIndexed int64
	ignored, leaked     int64
	current             bucket // of shortBucket
	short               [shortCount]bucket
	long                [longCount]bucket
	all                 bucket
	secondsAt           int64 // the latest second in seconds
	seconds             [64]activity.Second
}

func (c *counters) init(now activity.Time) {
	c.since = now
	c.current.number = int64(now / shortBucket)
	c.secondsAt = int64(now / activity.Time(time.Second))
}

// turn closes the current bucket when its time is over.
func (c *counters) turn(now activity.Time) {
	number := int64(now / shortBucket)
	if number <= c.current.number {
		return
	}
	done := c.current
	c.short[done.number%shortCount] = done
	long := &c.long[minuteOf(done.number)%longCount]
	if long.number != minuteOf(done.number) {
		*long = bucket{number: minuteOf(done.number)}
	}
	long.merge(&done)
	c.all.merge(&done)
	c.current = bucket{number: number}
}

func minuteOf(short int64) int64 { return short * int64(shortBucket) / int64(longBucket) }

// second returns the counts of the current second.
func (c *counters) second(now activity.Time) *activity.Second {
	s := int64(now / activity.Time(time.Second))
	if s-c.secondsAt > int64(len(c.seconds)) {
		c.secondsAt = s - int64(len(c.seconds))
	}
	for c.secondsAt < s {
		c.secondsAt++
		c.seconds[c.secondsAt%int64(len(c.seconds))] = activity.Second{}
	}
	return &c.seconds[c.secondsAt%int64(len(c.seconds))]
}

func (c *counters) started(now activity.Time) {
	c.total++
	c.current.starts++
	c.second(now).Started++
}

// finished counts an end.
func (c *counters) finished(h *activity.Head, e *activity.Event, now activity.Time) {
	second := c.second(now)
	second.Finished++
	switch h.State {
	case activity.Completed:
		c.current.completed++
	case activity.Failed:
		c.current.failed++
		second.Failed++
		for i := range e.Attrs {
			if e.Attrs[i].Key == activity.KeyErrorType && e.Attrs[i].Value.Str() == activity.ErrorLeaked {
				c.leaked++
			}
		}
	case activity.Cancelled:
		c.current.aborted++
	case activity.Lost:
		c.current.lost++
	}
	if d, ok := h.Duration(now); ok {
		c.current.duration.add(d)
	}
	if w, ok := h.Wait(now); ok {
		c.current.wait.add(w)
	}
}

// Stats counts the index.
func (x *Index) Stats(ctx context.Context) (*activity.Stats, error) {
	x.beforeRead()
	if x.cfg.Archive != nil {
		_, _ = x.retire(ctx, 16) // where the archive can't be read, the rest can be counted
	}
	x.mu.Lock() // the clock turns buckets
	defer x.mu.Unlock()
	now := x.now()
	c := &x.count
	c.turn(now)
	x.bound(now)
	s := &activity.Stats{
		AsOf: x.position(), Now: now, Since: c.since, Total: c.total,
		InProgress: x.tally.byState[activity.InProgress], Planned: x.tally.byState[activity.Planned],
		ByState:   make(map[activity.State]int64),
		ByType:    make(map[activity.Type]int64),
		ByService: make(map[string]int64),
		Evicted:   c.evicted, NotIndexed: c.notIndexed + int64(len(x.waiting)), Ignored: c.ignored, Leaked: c.leaked,
		Held: activity.Held{
			Finished: int64(x.finished), InFlight: int64(x.open.Len()), Bytes: x.bytes(),
			MaxFinished: int64(max(x.cfg.MaxFinished, 0)), MaxInFlight: int64(x.cfg.MaxInFlight),
			MaxBytes: max(x.cfg.MaxBytes, 0), MaxAge: x.cfg.MaxAge,
		},
	}
	for _, state := range activity.States {
		s.ByState[state] = x.tally.byState[state]
	}
	for _, t := range activity.Types {
		if n := x.tally.byType[t]; n > 0 {
			s.ByType[t] = n
		}
	}
	for name, h := range x.tally.services {
		s.ByService[name] = h.open + h.finished
	}
	for _, o := range x.open.All() {
		if x.stalled(&o.head, o.heard, now) {
			s.Stalled++
		}
	}
	switch {
	case x.finished > 0 && x.segs[0].saved:
		s.Held.Oldest = max(x.segs[0].minEnded, x.ripe-activity.Time(x.cfg.MaxAge))
	case x.finished > 0:
		seg, i := x.oldestRow()
		s.Held.Oldest = seg.ended[i]
	}
	x.windows(s, now)
	return s, nil
}

func (x *Index) windows(s *activity.Stats, now activity.Time) {
	c := &x.count
	lived := now.Sub(c.since)
	minute, five, hour, all := c.current.copy(), c.current.copy(), c.current.copy(), c.current.copy()
	for i := range c.short {
		b := &c.short[i]
		age := c.current.number - b.number
		if age <= int64(time.Minute/time.Duration(shortBucket)) {
			minute.merge(b)
		}
		if age <= shortCount {
			five.merge(b)
		}
	}
	for i := range c.long {
		if minuteOf(c.current.number)-c.long[i].number < longCount {
			hour.merge(&c.long[i])
		}
	}
	all.merge(&c.all)
	s.Minute = minute.window(min(lived, time.Minute))
	s.FiveMinutes = five.window(min(lived, 5*time.Minute))
	s.Hour = hour.window(min(lived, time.Hour))
	s.All = all.window(lived)
	s.Histogram = histogram(&hour.duration)
	c.second(now)
	const shown = int64(len(s.Seconds))
	for i := range shown {
		s.Seconds[i] = c.seconds[(c.secondsAt-shown+i)%int64(len(c.seconds))]
	}
	s.SecondsEnd = activity.Time(c.secondsAt) * activity.Time(time.Second)
}

// copy returns a bucket that merges leave the first one alone.
func (b *bucket) copy() bucket {
	var c bucket
	c.merge(b)
	return c
}

// histogram sorts the durations into ten buckets a decade, from the first that
// holds one to the last.
func histogram(d *distribution) []activity.Bucket {
	if d.n == 0 {
		return nil
	}
	counts := make(map[int]int64)
	lo, hi := 1<<30, -1<<30
	d.sketch.ForEach(func(seconds, count float64) bool {
		k := decile(time.Duration(seconds * float64(time.Second)))
		counts[k] += int64(count)
		lo, hi = min(lo, k), max(hi, k)
		return false
	})
	buckets := make([]activity.Bucket, 0, hi-lo+1)
	for k := lo; k <= hi; k++ {
		buckets = append(buckets, activity.Bucket{UpTo: upTo(k), Count: counts[k]})
	}
	return buckets
}

// decile returns the number of the bucket of a duration: ten a decade, bucket 0
// up to one microsecond.
func decile(d time.Duration) int {
	if d <= time.Microsecond {
		return 0
	}
	return int(math.Ceil(10*math.Log10(float64(d)/float64(time.Microsecond)) - 1e-9))
}

func upTo(k int) time.Duration {
	return time.Duration(math.Pow(10, float64(k)/10) * float64(time.Microsecond))
}
