package index

import (
	"slices"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
)

// Whichever events of an activity came before its process's clock was known to be off,
// in whatever order and how often, it is what it had been with the clock known.
func TestAlignedWhateverTheOrder(t *testing.T) {
	raw := activity.NewResource([]activity.Attr{str(activity.KeyServiceName, "shop"), str(activity.KeyLeaseID, "lease")}, "")
	known := raw.WithShift(activity.Shift{By: -time.Hour, Known: true})
	for seed := range uint64(300) {
		g := newGenerator(seed)
		i := id(1, 1)
		var all, mixed []activity.Event
		for n, e := range g.life(i, id(1, 2), seed%2 == 0) {
			e.Resource = raw
			shifted := e
			if !shifted.Shift(-time.Hour) {
				t.Fatalf("%+v", e)
			}
			shifted.Resource = known
			all = append(all, shifted)
			if n == 0 || g.IntN(2) == 0 {
				e = shifted
			} else if g.IntN(4) == 0 {
				mixed = append(mixed, shifted)
			}
			mixed = append(mixed, e)
		}
		x := New(Config{})
		for _, e := range clone(g.arrive(mixed)) {
			x.Apply([]activity.Event{e})
		}
		want := activity.Fold(clone(all))
		if diff := difference(want, *get(t, x, i).Activity); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
		seq := x.Head().Seq
		x.Apply(clone(all))
		if now := x.Head().Seq; now != seq {
			t.Fatalf("seed %d: what was sent again took the sequence from %d to %d", seed, seq, now)
		}
	}
}

// What is sent again is known for what it is when its clock was seen otherwise by then.
func TestUnseenShifted(t *testing.T) {
	raw := activity.NewResource([]activity.Attr{str(activity.KeyLeaseID, "lease")}, "")
	forms := []*activity.Resource{
		raw, raw.WithShift(activity.Shift{By: -time.Hour, Known: true}), raw.WithShift(activity.Shift{By: 2 * time.Hour, Known: true, Set: true}),
	}
	final := func(r *activity.Resource) activity.Event {
		e := activity.Event{ID: id(1, 1), Kind: activity.EventCompleted, At: at(time.Minute), Changes: activity.Changes{
			Name: "ship", StartTime: at(0), EndTime: at(time.Minute), SpanEvents: []activity.SpanEvent{{At: at(time.Second), Name: "note"}},
		}}
		e.Shift(r.Shift().By)
		e.Resource = r
		return e
	}
	for _, held := range forms {
		for _, again := range forms {
			x := New(Config{})
			x.Apply([]activity.Event{final(held)})
			if got := x.Unseen(t.Context(), []activity.Event{final(again)}); len(got) != 0 {
				t.Errorf("%+v is not known for %+v", again.Shift(), held.Shift())
			}
			before := *get(t, x, id(1, 1)).Activity
			x.Apply([]activity.Event{final(again)})
			after := *get(t, x, id(1, 1)).Activity
			if held == raw && again == forms[1] { // it was not known, and is
				if after.StartedAt != at(-time.Hour) || after.EndedAt != at(time.Minute-time.Hour) || len(after.SpanEvents) != 1 {
					t.Errorf("%+v", after)
				}
			} else if diff := difference(before, after); diff != "" {
				t.Errorf("%+v, sent again as %+v: %s", held.Shift(), again.Shift(), diff)
			}
			other := final(again)
			other.At++
			if got := x.Unseen(t.Context(), slices.Clone([]activity.Event{other})); len(got) != 1 {
				t.Error("another one is taken for it")
			}
		}
	}
}
