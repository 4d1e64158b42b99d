package index

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

func TestOpenOf(t *testing.T) {
	x := New(Config{})
	ours, others := &activity.Resource{Service: "ours"}, &activity.Resource{Service: "others"}
	tell := func(n int, rev uint32, kind activity.Kind, r *activity.Resource) {
		e := ev(id(1, n), rev, activity.Time(100*n)+activity.Time(rev), kind)
		e.Resource = r
		x.Apply([]activity.Event{e})
	}
	tell(1, 1, activity.EventStarted, ours)
	tell(1, 2, activity.EventUpdated, nil)
	tell(2, 1, activity.EventPlanned, ours)
	tell(3, 1, activity.EventStarted, others)
	tell(4, 1, activity.EventStarted, nil)
	tell(5, 1, activity.EventStarted, ours)
	tell(5, 2, activity.EventCompleted, ours)
	tell(6, 1, activity.EventStarted, ours)
	tell(6, 2, activity.EventLost, ours)
	asked := map[*activity.Resource]int{}
	got := map[activity.ID]activity.Time{}
	for _, seen := range x.OpenOf(func(r *activity.Resource) bool { asked[r]++; return r == ours }) {
		if got[seen.ID] = seen.At; seen.Resource != ours {
			t.Errorf("%v is of %v", seen.ID, seen.Resource)
		}
	}
	if diff := cmp.Diff(map[activity.ID]activity.Time{id(1, 1): 102, id(1, 2): 201}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[*activity.Resource]int{ours: 1, others: 1, nil: 1}, asked); diff != "" {
		t.Error(diff)
	}
}

// Silence is measured by the index's clock, whatever the sender's says.
func TestStalledByOwnClock(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, time.Hour} {
		clock := newClock()
		x := New(Config{Now: clock.Now})
		tell := func(rev uint32) {
			x.Apply([]activity.Event{ev(id(1, 1), rev, clock.time()+activity.Time(ahead), activity.EventUpdated, str(activity.KeyCurrent, "x"))})
		}
		stalled := func() bool { return get(t, x, id(1, 1)).Activity.Stalled }
		tell(1)
		if stalled() {
			t.Errorf("%v: stalled at once", ahead)
		}
		clock.advance(time.Minute + 1)
		if !stalled() || stats(t, x).Stalled != 1 {
			t.Errorf("%v: not stalled after a minute", ahead)
		}
		tell(2)
		if stalled() {
			t.Errorf("%v: stalled after a report", ahead)
		}
	}
}
