package index

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

func TestTouches(t *testing.T) {
	x := New(Config{MaxEvents: 100})
	i, j := id(1, 1), id(1, 2)
	x.Apply([]activity.Event{
		ev(i, 1, at(0), activity.EventPlanned), ev(j, 1, at(1), activity.EventStarted),
		ev(i, 2, at(2), activity.EventStarted), ev(i, 2, at(2), activity.EventStarted), // seen before
		ev(i, 3, at(3), activity.EventUpdated), ev(i, 4, at(4), activity.EventCompleted),
	})
	want := []Touch{
		{1, i, activity.EventPlanned}, {2, j, activity.EventStarted}, {3, i, activity.EventStarted},
		{4, i, activity.EventUpdated}, {5, i, activity.EventCompleted},
	}
	got, err := x.Touches(nil, 0, 100)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err = x.Touches(got[:1], 2, 2); err != nil || !slices.Equal(got, []Touch{want[0], want[2], want[3]}) {
		t.Errorf("two after 2, behind one: %v, %v", got, err)
	}
	if got, err = x.Touches(nil, 5, 2); err != nil || len(got) != 0 {
		t.Errorf("after the last: %v, %v", got, err)
	}
	if _, err = x.Touches(nil, 6, 2); !errors.Is(err, activity.ErrGap) {
		t.Errorf("beyond the log: %v", err)
	}
	for n := range 100 {
		x.Apply([]activity.Event{ev(j, uint32(n+2), at(5), activity.EventUpdated)})
	}
	if _, err = x.Touches(nil, 4, 1); !errors.Is(err, activity.ErrGap) {
		t.Errorf("before what is held: %v", err)
	}
	if got, err = x.Touches(nil, 5, 1000); err != nil || len(got) != 100 {
		t.Errorf("all that is held: %d, %v", len(got), err)
	}
}

// A reader that lost its place finds everything again: what is open, and what
// ended meanwhile.
func TestStanding(t *testing.T) {
	x := New(Config{MaxFinished: 6000})
	for n := range 5000 { // more than a segment
		x.Apply([]activity.Event{ev(id(1, n+1), 1, at(0), activity.EventStarted), ev(id(1, n+1), 2, at(1), activity.EventCompleted)})
	}
	after := x.Head().Seq
	x.Apply([]activity.Event{
		ev(id(2, 1), 1, at(2), activity.EventPlanned), ev(id(2, 2), 1, at(2), activity.EventStarted),
		ev(id(2, 3), 1, at(2), activity.EventStarted), ev(id(2, 3), 2, at(3), activity.EventFailed),
		ev(id(1, 7), 3, at(4), activity.EventUpdated, str("late", "yes")),
	})
	s, err := x.Standing(t.Context(), after)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(s.Open, func(a, b Touch) int { return int(a.Seq) - int(b.Seq) })
	want := Standing{
		Seq: after + 5, Ended: 5001,
		Open:     []Touch{{after + 1, id(2, 1), activity.EventPlanned}, {after + 2, id(2, 2), activity.EventStarted}},
		Finished: []Touch{{after + 4, id(2, 3), activity.EventFailed}, {after + 5, id(1, 7), activity.EventCompleted}},
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s, err = x.Standing(t.Context(), 0); err != nil || len(s.Finished) != 5001 {
		t.Errorf("of all: %d, %v", len(s.Finished), err)
	}

	ids := []activity.ID{id(1, 7), id(9, 9), id(2, 2)}
	for n := range 40 {
		ids = append(ids, id(1, 100+n))
	}
	histories, err := x.Histories(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	for n, events := range histories {
		revs := []int{3, 0, 1}[min(n, 2)]
		if n > 2 {
			revs = 2
		}
		if len(events) != revs || revs > 0 && (events[0].ID != ids[n] || events[revs-1].Rev != uint32(revs)) {
			t.Errorf("%v has events %+v", ids[n], events)
		}
	}
}
