package index

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// longLife is an activity of many updates, each with a key of its own, and all
// that was ever told of it.
type longLife struct {
	*rand.Rand
	id      activity.ID
	clock   *testClock
	seq     uint64
	events  []activity.Event
	arrived []activity.Event // each the first time that it was told, with its place
}

func newLongLife(seed uint64) *longLife {
	return &longLife{Rand: rand.New(rand.NewPCG(seed, 3)), id: id(1, 1), clock: newClock()}
}

func key(k int) string { return fmt.Sprint("k", k) }

// make makes n events by a clock that is an hour off, after gaps of any kind.
func (l *longLife) make(n int, unnumbered func() bool) {
	gap := []func() time.Duration{
		func() time.Duration { return 10 * time.Second },
		func() time.Duration { return time.Duration(l.ExpFloat64() * float64(10*time.Second)) },
		func() time.Duration { // much at once, then nothing for long
			if l.IntN(150) == 0 {
				return 20 * time.Minute
			}
			return 10 * time.Millisecond
		},
	}[l.IntN(3)]
	t := at(-time.Hour)
	for k := range n {
		e := ev(l.id, uint32(k+1), t, activity.EventUpdated, str(activity.KeyCurrent, fmt.Sprint("step ", k)), num(key(k), int64(k)))
		switch {
		case k == 0:
			e.Kind = activity.EventStarted
		case unnumbered():
			e.Rev = 0
		}
		if k > 0 && l.IntN(200) == 0 {
			e.Kind = activity.EventLost // until the next one says that it goes on
		}
		l.events = append(l.events, e)
		t += activity.Time(gap()) + 1
	}
}

// order returns the events in the order of their arrival: some come later than
// up to window that were told after them.
func (l *longLife) order(window int) []int {
	order, late := l.Perm(len(l.events)), make([]int, len(l.events))
	for k := range late {
		if late[k] = k; window > 0 && l.IntN(3) == 0 {
			late[k] += l.IntN(window)
		}
	}
	slices.Sort(order)
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(late[a], late[b]) })
	return order
}

// tell has the log take an event.
func (l *longLife) tell(e activity.Event, first bool, to ...*Index) {
	l.seq++
	e.Seq = l.seq
	if sent := e.At + activity.Time(time.Hour+time.Second); sent > l.clock.time() {
		l.clock.ns.Store(int64(sent))
	}
	l.clock.advance(time.Duration(l.IntN(1000)))
	e.ReceivedAt = l.clock.time()
	if first {
		l.arrived = append(l.arrived, e)
	}
	for _, x := range to {
		x.Apply(clone([]activity.Event{e}))
	}
}

// naive folds all that was known after an event of the log.
func (l *longLife) naive(seq uint64) activity.Activity {
	n, _ := slices.BinarySearchFunc(l.arrived, seq, func(e activity.Event, seq uint64) int { return cmp.Compare(e.Seq, seq+1) })
	return activity.Fold(clone(l.arrived[:n]))
}

// tolerance is how far from a moment its answer may be: a thirtieth of the
// activity's life, more where some came late, and what the log's times are told
// apart by.
func (l *longLife) tolerance() time.Duration {
	late := time.Duration(0)
	for _, e := range l.arrived {
		late = max(late, e.ReceivedAt.Sub(e.At)-time.Hour-time.Second)
	}
	return l.clock.time().Sub(l.arrived[0].ReceivedAt)/30 + 2*late + time.Second
}

// check compares what an index says of moments with what was known then.
func (l *longLife) check(t *testing.T, x *Index, inOrder bool) {
	t.Helper()
	tolerance := l.tolerance()
	for n := 0; n < len(l.arrived); n += 1 + l.IntN(16) {
		e := l.arrived[n]
		m := activity.Moment{Seq: e.Seq, Time: e.ReceivedAt + activity.Time(l.Int64N(int64(5*time.Second)))}
		if n+1 < len(l.arrived) {
			m.Time = min(m.Time, l.arrived[n+1].ReceivedAt)
		}
		var got *activity.Activity
		if err := x.look(t.Context(), func(k *look) { got = k.activityAt(l.id, 0, &m) }); err != nil || got == nil {
			t.Fatalf("at %d: %v, %v", m.Seq, got, err)
		}
		want := l.naive(m.Seq)
		if inOrder && (got.State != want.State || got.StartedAt != want.StartedAt) {
			t.Fatalf("at %d: %v since %v, want %v since %v", m.Seq, got.State, got.StartedAt, want.State, want.StartedAt)
		}
		known := make(map[string]bool)
		for _, a := range got.Attributes {
			known[a.Key] = true
		}
		for _, e := range l.arrived {
			before := m.Time.Sub(e.ReceivedAt)
			switch knows := known[e.Attrs[1].Key]; {
			case knows && e.Seq > m.Seq:
				t.Fatalf("at %d: it knows of %d", m.Seq, e.Seq)
			case !knows && e.Seq <= m.Seq && before > tolerance:
				t.Fatalf("at %d: it does not know of %d, %v before; the tolerance is %v", m.Seq, e.Seq, before, tolerance)
			}
		}
		silent := m.Time.Sub(e.ReceivedAt)
		was := want.State == activity.InProgress && want.Reports && silent > x.cfg.StallAfter
		if inOrder && (got.Stalled && !was || was && !got.Stalled && silent > tolerance) {
			t.Fatalf("at %d, %v after it was heard: stalled is %v", m.Seq, silent, got.Stalled)
		}
	}
	d := get(t, x, l.id)
	if diff := difference(l.naive(l.seq), *d.Activity); diff != "" {
		t.Fatalf("(-fold of all +got):\n%s", diff)
	}
	if len(d.History)+d.Merged != len(l.arrived) || len(d.History) > maxHistory {
		t.Fatalf("%d events and %d merged of %d", len(d.History), d.Merged, len(l.arrived))
	}
	// The past told again has each event that was kept, once.
	var kept, told []uint64
	for _, e := range d.History {
		kept = append(kept, e.Seq)
	}
	slices.Sort(kept)
	for _, c := range changes(t, x, 0, l.seq) {
		told = append(told, c.Seq)
		if c.Activity.Seq != c.Seq {
			t.Fatalf("the change %d shows what was known at %d", c.Seq, c.Activity.Seq)
		}
	}
	if diff := gocmp.Diff(kept, told); diff != "" {
		t.Fatalf("(-kept +told again):\n%s", diff)
	}
}

// Of an activity of many updates any moment is told as it was shortly before,
// its end as it is, whatever came repeatedly, out of order, or before a restart.
func TestThinnedHistory(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l := newLongLife(seed)
			l.make(300+l.IntN(650), func() bool { return seed%3 == 1 || seed%3 == 2 && l.IntN(3) == 0 })
			store := newShelf()
			// The tail of the log is longer or shorter than what is asked for.
			cfg := Config{LogID: "01LOG", Archive: store, Now: l.clock.Now, MaxEvents: []int{64, 1 << 14}[seed%2]}
			x := New(cfg)
			indexes := []*Index{x}
			inOrder := seed/3%2 == 0
			order := l.order(60 * int(seed/3%2))
			restart := l.IntN(len(order))
			for n, k := range order {
				l.tell(l.events[k], true, indexes...)
				for l.IntN(4) == 0 {
					l.tell(l.events[order[l.IntN(n+1)]], false, indexes...)
				}
				if n == restart {
					store.store(x)
					indexes = append(indexes, store.restore(t, cfg))
				}
			}
			l.check(t, x, inOrder)
			before := get(t, x, l.id)
			for _, k := range l.Perm(len(l.events))[:len(l.events)/3] {
				l.tell(l.events[k], false, indexes...)
			}
			after, restored := get(t, x, l.id), get(t, indexes[1], l.id)
			before.AsOf, restored.AsOf = after.AsOf, after.AsOf
			for name, d := range map[string]*activity.Detail{"before they came again": before, "after a restart": restored} {
				if !reflect.DeepEqual(d, after) {
					t.Fatalf("(-%s +all):\n%s", name, gocmp.Diff(d, after, asRecorded))
				}
			}
			l.tell(ev(l.id, uint32(len(l.events)+1), l.events[len(l.events)-1].At+1, activity.EventCompleted, str(activity.KeyFinal, "done"), num(key(len(l.events)), 1)), true, x)
			l.check(t, x, inOrder)
		})
	}
}

// A record says of each merged update when it began.
func TestMergedFrom(t *testing.T) {
	l := newLongLife(1)
	l.make(2000, func() bool { return false })
	x := New(Config{LogID: "01LOG", Now: l.clock.Now})
	for _, e := range l.events {
		l.tell(e, true, x)
	}
	d := get(t, x, l.id)
	if n := len(d.History); n < maxHistory/2 || n > maxHistory {
		t.Errorf("%d events are kept", n)
	}
	longest, seq := time.Duration(0), uint64(0)
	for _, e := range d.History {
		if e.FromSeq == 0 {
			e.FromSeq, e.FromAt = e.Seq, e.At
		}
		if e.FromSeq != seq+1 || e.FromAt != l.events[seq].At || e.At != l.events[e.Seq-1].At {
			t.Fatalf("%d to %d, from %v to %v, follows %d", e.FromSeq, e.Seq, e.FromAt.Time(), e.At.Time(), seq)
		}
		seq, longest = e.Seq, max(longest, e.At.Sub(e.FromAt))
	}
	if longest == 0 || longest > l.tolerance() {
		t.Errorf("%v became one", longest)
	}
}

// Updates without a number that came again are known where they were merged; late
// ones are not lost where none was.
func TestUnnumberedAfterMerge(t *testing.T) {
	x := New(Config{})
	i := id(1, 1)
	var told []activity.Event
	for n := range 700 {
		when := at(time.Duration(n) * time.Second)
		if n >= 100 {
			when = at(time.Duration(n)*time.Second + time.Hour)
		}
		told = append(told, ev(i, 0, when, activity.EventUpdated, num("n", int64(n))))
	}
	x.Apply(clone(told))
	d := get(t, x, i)
	if d.Merged == 0 || len(d.History)+d.Merged != len(told) {
		t.Fatalf("%d events and %d merged", len(d.History), d.Merged)
	}
	for range 2 {
		x.Apply(clone(told))
		if diff := gocmp.Diff(d, get(t, x, i), asRecorded); diff != "" {
			t.Fatalf("a retry (-before +after):\n%s", diff)
		}
	}
	x.Apply([]activity.Event{ev(i, 0, at(30*time.Minute), activity.EventUpdated, str("late", "yes"))})
	if a := get(t, x, i).Activity; a.Attr("late").Str() != "yes" || a.Attr("n").Int() != 699 {
		t.Errorf("late is %q, n %d", a.Attr("late").Text(), a.Attr("n").Int())
	}
}

// An activity that is given up and goes on is so at its time, however much is merged.
func TestStatesAreNotMerged(t *testing.T) {
	x := New(Config{LogID: "01LOG", Now: newClock().Now})
	i := id(1, 1)
	var want []activity.State
	for n := range 2000 {
		kind := activity.EventUpdated
		if n == 0 || n == 150 { // that it starts once more is an update
			kind = activity.EventStarted
		} else if n%500 == 100 {
			kind = activity.EventLost
		}
		e := ev(i, uint32(n+1), at(time.Duration(n)*time.Millisecond), kind)
		e.Seq, e.ReceivedAt = uint64(n+1), e.At
		x.Apply([]activity.Event{e})
		want = append(want, map[bool]activity.State{true: activity.Lost, false: activity.InProgress}[kind == activity.EventLost])
	}
	for n := range want {
		if a := x.atSeq(t, i, uint64(n+1)); a == nil || a.State != want[n] {
			t.Fatalf("after event %d: %+v, want %v", n+1, a, want[n])
		}
	}
}

func (x *Index) atSeq(t *testing.T, i activity.ID, seq uint64) (a *activity.Activity) {
	t.Helper()
	if err := x.look(t.Context(), func(l *look) { a = l.activityAt(i, 0, &activity.Moment{Seq: seq}) }); err != nil {
		t.Fatal(err)
	}
	return a
}

// What can't be ordered is merged all the same: the record stays bounded.
func TestShortenWhatJumps(t *testing.T) {
	x := New(Config{LogID: "01LOG", Now: newClock().Now})
	i := id(1, 1)
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 4_000 {
		e := ev(i, uint32(n+1), activity.Time(r.Int64()-1<<62), activity.EventUpdated, num("n", int64(n)))
		if n%2 == 1 {
			e.Rev = 0
		}
		e.Seq, e.ReceivedAt = uint64(n+1), at(time.Duration(n)*time.Second)
		x.Apply([]activity.Event{e})
		if o := x.open.Get(i); o.events > maxHistory+1 || n%1000 == 999 && len(get(t, x, i).History) != o.events {
			t.Fatalf("after %d: %d events are kept", n, o.events)
		}
	}
}
