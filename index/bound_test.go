package index

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
)

func of(service string) *activity.Resource { return &activity.Resource{Service: service} }

func TestMaxFinished(t *testing.T) {
	x := New(Config{MaxFinished: 5000})
	for n := range 12_000 {
		run(x, id(1, n+1), at(time.Duration(n)), at(time.Duration(n)+1), nil)
		if held := x.finished; held != min(n+1, 5000) {
			t.Fatalf("after %d: %d held", n+1, held)
		}
	}
	s := stats(t, x)
	if s.Held.Finished != 5000 || s.Evicted != 7000 || s.Total != 12_000 || s.Held.Oldest != at(7001) || x.Hits() != (Hits{ByCount: 7000}) {
		t.Errorf("held %d, evicted %d, total %d, oldest %v", s.Held.Finished, s.Evicted, s.Total, s.Held.Oldest)
	}
	held := all(t, x)
	for n := range 12_000 {
		if got, want := held[id(1, n+1)] != nil, n >= 7000; got != want {
			t.Fatalf("activity %d is held: %v", n, got)
		}
	}
	checkCounts(t, x)
}

func TestMaxAge(t *testing.T) {
	clock := newClock()
	x := New(Config{MaxAge: time.Hour, Now: clock.Now})
	for n := range 100 {
		run(x, id(1, n+1), clock.time(), clock.time(), nil)
		clock.advance(time.Minute)
	}
	// The last but 60 ended an hour and more ago.
	if s := stats(t, x); s.Held.Finished != 60 || s.Evicted != 40 || x.Hits() != (Hits{ByAge: 40}) {
		t.Errorf("held %d, evicted %d", s.Held.Finished, s.Evicted)
	}
	// What is lost ages from when it was lost.
	lost := id(2, 1)
	x.Apply([]activity.Event{ev(lost, 1, clock.time()-activity.Time(3*time.Hour), activity.EventStarted), ev(lost, 2, clock.time(), activity.EventLost)})
	clock.advance(59 * time.Minute)
	if stats(t, x); get(t, x, lost).Activity.State != activity.Lost {
		t.Error("what was lost is gone at once")
	}
	clock.advance(2 * time.Minute)
	if s := stats(t, x); s.Held.Finished != 0 {
		t.Errorf("%d held after all", s.Held.Finished)
	}
	checkCounts(t, x)
}

// Age goes by when something was heard of last at most: a sender whose clock is
// years ahead keeps nothing for longer, its own spans or others'.
func TestMaxAgeOfTheFuture(t *testing.T) {
	for _, logID := range []string{"", "01LOG"} {
		for _, store := range []*shelf{nil, newShelf()} {
			if store != nil && logID == "" {
				continue
			}
			t.Run(fmt.Sprint("log ", logID, ", archive ", store != nil), func(t *testing.T) {
				clock := newClock()
				cfg := Config{LogID: logID, MaxAge: time.Hour, MaxBytes: 1, Now: clock.Now}
				if store != nil {
					cfg.Archive = store
				}
				x := New(cfg)
				seq := uint64(0)
				for n := range 10_000 {
					e := ev(id(1, n+1), 0, clock.time(), activity.EventCompleted)
					if n%100 == 0 {
						e.At += activity.Time(100 * 365 * 24 * time.Hour)
					}
					seq++
					e.Seq, e.ReceivedAt, e.EndTime, e.StartTime = seq, clock.time(), e.At, e.At
					x.Apply([]activity.Event{e})
					clock.advance(time.Second)
				}
				retireAll(t, x)
				if store != nil {
					store.store(x)
				}
				if s := stats(t, x); s.Held.Finished != 3600 || x.Hits() != (Hits{ByAge: 6400}) {
					t.Errorf("%d are held, %+v", s.Held.Finished, x.Hits())
				}
				clock.advance(2 * time.Hour)
				retireAll(t, x)
				if s := stats(t, x); s.Held.Finished != 0 {
					t.Errorf("%d are held after all", s.Held.Finished)
				}
				checkCounts(t, x)
			})
		}
	}
}

// What lies in an archive ages one by one as well, in a quiet index as in a busy
// one, and nothing of it is read while events are applied.
func TestMaxAgeOfArchive(t *testing.T) {
	clock := newClock()
	store := newShelf()
	cfg := Config{LogID: "01LOG", MaxAge: time.Hour, Archive: store, MaxBytes: 1, Now: clock.Now}
	x := New(cfg)
	seq := uint64(0)
	add := func(n int, every time.Duration) {
		for range n {
			seq++
			e := ev(id(1, int(seq)), 0, clock.time(), activity.EventCompleted)
			e.Seq, e.ReceivedAt, e.EndTime, e.StartTime = seq, clock.time(), clock.time(), clock.time()
			x.Apply([]activity.Event{e})
			clock.advance(every)
		}
	}
	held := func(want int64) {
		t.Helper()
		if s := stats(t, x); s.Held.Finished != want || s.Evicted != int64(seq)-want {
			t.Errorf("%d are held and %d evicted, want %d held", s.Held.Finished, s.Evicted, want)
		}
		checkCounts(t, x)
	}
	add(14_000, 0)
	store.store(x)
	x = store.restore(t, cfg) // all that is archived is away
	if len(store.segments) != 2 || x.cooled != 2 {
		t.Fatalf("%d segments, %d are away", len(store.segments), x.cooled)
	}
	clock.advance(30 * time.Minute)
	add(3_000, 0) // another segment is full, and is not archived yet
	held(17_000)
	clock.advance(30*time.Minute + 1)
	loads := store.loads
	add(1, 0)
	if store.loads != loads {
		t.Error("an event had the archive read")
	}
	if _, err := x.Get(t.Context(), id(1, 1)); err != nil {
		t.Errorf("nobody has retired it: %v", err)
	}
	n, err := x.Retire(t.Context())
	if n != 14_000 || err != nil {
		t.Errorf("%d went, %v", n, err)
	}
	held(3_001)
	if n, err := x.Retire(t.Context()); n != 0 || err != nil {
		t.Errorf("then %d went, %v", n, err)
	}
	if _, err := x.Get(t.Context(), id(1, 14_000)); !errors.Is(err, activity.ErrNotFound) {
		t.Errorf("the last that was too old: %v", err)
	}
	if s := stats(t, x); s.Held.Oldest != at(30*time.Minute) {
		t.Errorf("the oldest is of %v", s.Held.Oldest)
	}
	store.store(x)
	if len(store.segments) != 0 {
		t.Errorf("the archive holds %d segments", len(store.segments))
	}
	// A quiet index, whose archived segment holds months, a row an hour.
	x = store.restore(t, cfg)
	held(3_001)
	cfg.MaxAge = 24 * time.Hour
	x = store.restore(t, cfg)
	add(9_000, time.Hour)
	store.store(x)
	x = store.restore(t, cfg)
	for range 30 {
		retireAll(t, x)
		held(24)
		add(1, time.Hour)
	}
	// Only what is left is told to the archive, and nothing comes back.
	store.store(x)
	x = store.restore(t, cfg)
	retireAll(t, x)
	held(24)
}

// What has aged while nothing came goes some at a time.
func TestMaxAgeAfterRest(t *testing.T) {
	clock := newClock()
	x := New(Config{MaxAge: time.Hour, Now: clock.Now})
	for n := range 20_000 {
		run(x, id(1, n+1), clock.time(), clock.time(), nil)
	}
	clock.advance(2 * time.Hour)
	run(x, id(2, 1), clock.time(), clock.time(), nil)
	if x.finished < 10_000 {
		t.Errorf("one event had %d go", 20_000-x.finished)
	}
	if n, err := x.Retire(t.Context()); n == 0 || err != nil || x.finished != 1 {
		t.Errorf("%d are held, %d went, %v", x.finished, n, err)
	}
	checkCounts(t, x)
}

func TestMaxInFlight(t *testing.T) {
	x := New(Config{MaxInFlight: 10, MaxFinished: 3})
	for n := range 15 {
		kind := activity.EventStarted
		if n%2 == 0 {
			kind = activity.EventPlanned
		}
		x.Apply([]activity.Event{ev(id(1, n+1), 1, at(0), kind)})
	}
	for n := range 15 { // what was refused stays so
		x.Apply([]activity.Event{ev(id(1, n+1), 2, at(1), activity.EventUpdated)})
	}
	if s := stats(t, x); s.Held.InFlight != 10 || s.NotIndexed != 5 || s.Evicted != 0 || s.Total != 10 {
		t.Errorf("in flight %d, not indexed %d, evicted %d, total %d", s.Held.InFlight, s.NotIndexed, s.Evicted, s.Total)
	}
	for n := range 5 { // room for others, and the bound on finished ones evicts nothing in flight
		x.Apply([]activity.Event{ev(id(1, n+1), 3, at(2), activity.EventCompleted)})
	}
	for n := 10; n < 15; n++ {
		x.Apply([]activity.Event{ev(id(1, n+1), 3, at(3), activity.EventUpdated), ev(id(1, n+1), 4, at(4), activity.EventCompleted)})
	}
	x.Apply([]activity.Event{ev(id(1, 99), 1, at(5), activity.EventStarted)})
	s := stats(t, x)
	if s.Held.InFlight != 6 || s.Held.Finished != 3 || s.NotIndexed != 5 || s.Evicted != 2 || s.Total != 11 {
		t.Errorf("in flight %d, finished %d, not indexed %d, evicted %d, total %d", s.Held.InFlight, s.Held.Finished, s.NotIndexed, s.Evicted, s.Total)
	}
	if len(x.refused) != 0 {
		t.Errorf("%d are remembered as refused after their end", len(x.refused))
	}
	checkCounts(t, x)
}

// What is refused when all places are taken is being in flight. What has ended is
// indexed, in whatever order and however often it is told.
func TestEndsWhenFull(t *testing.T) {
	x := New(Config{LogID: "01LOG", MaxInFlight: 2})
	seq := uint64(0)
	apply := func(events ...activity.Event) {
		for _, e := range events {
			seq++
			e.Seq, e.ReceivedAt = seq, at(time.Hour)
			x.Apply([]activity.Event{e})
		}
	}
	for n := range 2 {
		apply(ev(id(1, n+1), 1, at(0), activity.EventStarted))
	}
	whole := func(i, parent activity.ID) activity.Event {
		e := ev(i, 0, at(3*time.Second), activity.EventCompleted, str(activity.KeyFinal, "done"))
		e.Name, e.StartTime, e.EndTime, e.Parent = "op", at(time.Second), e.At, parent
		return e
	}
	refused, child := id(2, 1), id(2, 2)
	started, update := ev(refused, 1, at(time.Second), activity.EventStarted), ev(refused, 2, at(2*time.Second), activity.EventUpdated, str("k", "v"))
	apply(started, update, whole(child, refused))
	if _, err := x.Get(t.Context(), refused); !errors.Is(err, activity.ErrNotFound) {
		t.Errorf("there is no room for it in flight, and: %v", err)
	}
	if a := get(t, x, child).Activity; a.State != activity.Completed {
		t.Errorf("a span that came whole: %s", a.AppendJSON(nil))
	}
	told := func(i activity.ID) {
		t.Helper()
		a := get(t, x, i).Activity
		if d, _ := a.Duration(0); a.State != activity.Completed || a.Final != "done" || a.Name != "op" || d != 2*time.Second {
			t.Errorf("by its final span: %s", a.AppendJSON(nil))
		}
	}
	apply(whole(refused, activity.ID{}), whole(refused, activity.ID{}), whole(child, refused))
	told(refused)
	// What comes late completes it.
	apply(update, update)
	if d := get(t, x, refused); len(d.History) != 2 {
		t.Errorf("%d changes are told", len(d.History))
	}
	// An end that tells no more than that, before the final span.
	twice := id(2, 3)
	apply(ev(twice, 1, at(time.Second), activity.EventStarted), ev(twice, 2, at(3*time.Second), activity.EventCompleted))
	if a := get(t, x, twice).Activity; a.State != activity.Completed {
		t.Errorf("by its end: %s", a.AppendJSON(nil))
	}
	apply(whole(twice, activity.ID{}))
	told(twice)
	s := stats(t, x)
	if s.Held.InFlight != 2 || s.Held.Finished != 3 || s.NotIndexed != 2 || s.Total != 5 || s.All.Finished != 3 {
		t.Errorf("in flight %d, finished %d (%d counted), not indexed %d, total %d", s.Held.InFlight, s.Held.Finished, s.All.Finished, s.NotIndexed, s.Total)
	}
	// What never ends is not remembered without a bound.
	for n := range 10 {
		apply(ev(id(3, n+1), 1, at(0), activity.EventStarted))
	}
	if len(x.refused) != 2 {
		t.Errorf("%d are remembered as refused", len(x.refused))
	}
	checkCounts(t, x)
}

// The bytes that Stats tells are those that the heap holds, and stay within the bound.
func TestMaxBytes(t *testing.T) {
	for _, tt := range []struct {
		name     string
		bound    int64
		text, n  int
		atLeast  int64 // of the bound is made use of, in percent
		services int
	}{
		{"small", 6 << 20, 600, 12_000, 60, 1},
		{"large records", 16 << 20, 60_000, 800, 50, 1},
		{"two services", 6 << 20, 600, 12_000, 50, 2},
		{"less than makes sense", 1, 600, 8_000, 10, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := heapInUse()
			x := New(Config{MaxBytes: tt.bound, MaxFinished: -1})
			bound := max(tt.bound, 4<<20)
			text := strings.Repeat("x", tt.text)
			resources := []*activity.Resource{of("a"), of("b")}[:tt.services]
			for n := range tt.n {
				run(x, id(1, n+1), at(time.Duration(n)), at(time.Duration(n)+1), func(e *activity.Event) {
					e.Name, e.Attrs, e.Resource = "name", []activity.Attr{str("k", text)}, resources[n%tt.services]
				})
				if x.bytes() > bound {
					t.Fatalf("after %d: %d bytes", n, x.bytes())
				}
			}
			s := stats(t, x)
			if s.Held.Bytes < bound*tt.atLeast/100 || s.Evicted == 0 || s.Held.Finished+s.Evicted != int64(tt.n) || x.Hits() != (Hits{ByMemory: s.Evicted}) {
				t.Errorf("%d bytes of %d for %d activities, %d evicted", s.Held.Bytes, bound, s.Held.Finished, s.Evicted)
			}
			if real := heapInUse() - before; real > bound+bound/4+6<<20 { // the log of events and what is spare beside
				t.Errorf("%d bytes on the heap, %d told", real, s.Held.Bytes)
			}
			var sealed int64
			for _, seg := range x.segs[:len(x.segs)-1] {
				sealed += seg.bytes()
			}
			if sealed != x.sealedBytes {
				t.Errorf("segments hold %d bytes, counted are %d", sealed, x.sealedBytes)
			}
			checkCounts(t, x)
		})
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A noisy service evicts nothing of a quiet one, however long it makes noise,
// and memory does not grow with what it made.
func TestFairShare(t *testing.T) {
	x := New(Config{MaxFinished: 6000, MaxBytes: -1})
	quiet, noisy := of("quiet"), of("noisy")
	made := 0
	for n := range 24_000 {
		resource := noisy
		if n%40 == 0 && made < 300 {
			resource = quiet
			made++
		}
		run(x, id(1+n, n+1), at(time.Duration(n)), at(time.Duration(n)+1), func(e *activity.Event) {
			e.Resource, e.Name = resource, fmt.Sprint("name ", n)
			e.Attrs = []activity.Attr{num("n", int64(n))}
		})
	}
	s := stats(t, x)
	if s.ByService["quiet"] != 300 || s.ByService["noisy"] != 5700 || s.Held.Finished != 6000 {
		t.Errorf("held: %v", s.ByService)
	}
	if len(x.segs) > 6 {
		t.Errorf("%d segments for 6,000 activities", len(x.segs))
	}
	held := all(t, x)
	for n := range 24_000 {
		a := held[id(1+n, n+1)]
		want := n < 12_000 && n%40 == 0 || n >= 18_300
		if (a != nil) != want {
			t.Fatalf("activity %d is held: %v", n, a != nil)
		}
		if a != nil && (a.Name != fmt.Sprint("name ", n) || a.Attr("n").Int() != int64(n) || a.EndedAt != at(time.Duration(n)+1)) {
			t.Fatalf("activity %d became %s", n, a.AppendJSON(nil))
		}
		if a != nil {
			if b := (&look{x: x}).activity(a.ID, 0); b == nil || b.Name != a.Name {
				t.Fatalf("activity %d is found as %v", n, b)
			}
		}
	}
	checkCounts(t, x)

	// Each of n services is sure of its n-th.
	for n := range 9_000 {
		run(x, id(100_000+n, n+1), at(time.Hour), at(time.Hour), func(e *activity.Event) { e.Resource = of(fmt.Sprint("s", n%4)) })
	}
	s = stats(t, x)
	if s.ByService["quiet"] != 300 || s.Held.Finished != 6000 {
		t.Errorf("held: %v", s.ByService)
	}
	for _, name := range []string{"noisy", "s0", "s1", "s2", "s3"} {
		if n := s.ByService[name]; n < 1000 || n > 1200 {
			t.Errorf("%s holds %d of 6,000 shared by six", name, n)
		}
	}
	checkCounts(t, x)
}

// Rows that move and die at random leave the others as they were.
func TestGather(t *testing.T) {
	g := newGenerator(5)
	x := New(Config{MaxFinished: 6000, MaxBytes: -1})
	want := map[activity.ID]string{}
	for n := range 20_000 {
		i := id(1+n/3, n+1)
		name := fmt.Sprint("name ", n)
		run(x, i, at(time.Duration(n)), at(time.Duration(n)+1), func(e *activity.Event) {
			e.Name, e.Resource = name, of(fmt.Sprint(g.IntN(3)*g.IntN(2)))
			e.Parent = id(1+n/3, n)
		})
		want[i] = name
		if g.IntN(3) == 0 { // a late event moves a row to the end
			late := id(1+(n-n/3)/3, n-n/3+1) // whose events have smaller numbers
			if seg, _ := (&look{x: x}).findRow(late, partIDs); seg != nil {
				want[late] = fmt.Sprint("late ", n)
				e := ev(late, uint32(n), at(time.Duration(n)), activity.EventUpdated)
				e.Name = want[late]
				x.Apply([]activity.Event{e})
			}
		}
		if n == 15_000 {
			x.renumber()
		}
	}
	if x.finished != 6000 {
		t.Fatalf("%d held", x.finished)
	}
	if len(x.segs) > 7 {
		t.Errorf("%d segments for 6,000 activities", len(x.segs))
	}
	n := 0
	for i, a := range all(t, x) {
		if n++; a.Name != want[i] {
			t.Fatalf("%v is %q, want %q", i, a.Name, want[i])
		}
		if found := (&look{x: x}).activity(i, 0); found == nil || found.Name != want[i] || found.Seq != a.Seq {
			t.Fatalf("%v is found as %v, want %q", i, found, want[i])
		}
	}
	if n != 6000 {
		t.Errorf("%d scanned", n)
	}
	checkCounts(t, x)
}

// An event changes what is in flight; what has left keeps its place unless a
// late one enriches it.
func TestLateEvents(t *testing.T) {
	x := New(Config{})
	i := id(1, 1)
	run(x, i, at(0), at(time.Second), nil)
	final := ev(i, 3, at(2*time.Second), activity.EventCompleted, str(activity.KeyFinal, "told late"))
	final.Name = "by its final span"
	x.Apply([]activity.Event{final})
	a := get(t, x, i).Activity
	if a.State != activity.Completed || a.Final != "told late" || a.Name != "by its final span" || a.EndedAt != at(time.Second) {
		t.Errorf("%s", a.AppendJSON(nil))
	}
	s := stats(t, x)
	if s.Total != 1 || s.All.Finished != 1 || s.Ignored != 0 || s.Held.Finished != 1 {
		t.Errorf("total %d, finished %d, ignored %d, held %d", s.Total, s.All.Finished, s.Ignored, s.Held.Finished)
	}
	x.Apply([]activity.Event{ev(i, 4, at(3*time.Second), activity.EventFailed), ev(i, 5, at(4*time.Second), activity.EventLost)})
	if s := stats(t, x); s.Ignored != 2 || s.ByState[activity.Completed] != 1 {
		t.Errorf("ignored %d, states %v", s.Ignored, s.ByState)
	}
	// In the wrong order, but each allowed in its place.
	j := id(1, 2)
	for _, e := range []activity.Event{ev(j, 3, at(2), activity.EventCompleted), ev(j, 2, at(1), activity.EventStarted), ev(j, 1, at(0), activity.EventPlanned)} {
		x.Apply([]activity.Event{e})
	}
	if s := stats(t, x); s.Ignored != 2 || s.Total != 2 {
		t.Errorf("ignored %d of what came late, total %d", s.Ignored, s.Total)
	}
	// Lost, back by a sign of life, and at an end.
	k := id(1, 3)
	x.Apply([]activity.Event{ev(k, 1, at(0), activity.EventStarted), ev(k, 2, at(1), activity.EventLost)})
	if s := stats(t, x); s.ByState[activity.Lost] != 1 || s.Held.InFlight != 0 {
		t.Errorf("states %v", s.ByState)
	}
	x.Apply([]activity.Event{ev(k, 3, at(2), activity.EventUpdated)})
	if s := stats(t, x); s.ByState[activity.InProgress] != 1 || s.Held.InFlight != 1 {
		t.Errorf("back: states %v", s.ByState)
	}
	x.Apply([]activity.Event{ev(k, 4, at(3), activity.EventLost), ev(k, 5, at(4), activity.EventCancelled)})
	if s := stats(t, x); s.ByState[activity.Cancelled] != 1 || s.Held.InFlight != 0 {
		t.Errorf("ended: states %v", s.ByState)
	}
	checkCounts(t, x)
}
