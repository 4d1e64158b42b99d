package index

import (
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// drawChanges draws changes: sequence, kind, state and what it is doing then.
func drawChanges(changes []activity.Change) (out []string) {
	for _, c := range changes {
		out = append(out, fmt.Sprintf("%d %v %v %s", c.Seq, c.Kind, c.Activity.State, c.Activity.Current))
	}
	return out
}

func TestRead(t *testing.T) {
	x := New(Config{})
	if changes, err := x.Read(0, 10); err != nil || len(changes) != 0 {
		t.Errorf("of an empty log: %v, %v", changes, err)
	}
	i, j := id(1, 1), id(1, 2)
	current := func(s string) activity.Attr { return str(activity.KeyCurrent, s) }
	x.Apply([]activity.Event{
		ev(i, 1, at(0), activity.EventPlanned),
		ev(j, 1, at(1), activity.EventStarted, current("j")),
		ev(i, 2, at(2), activity.EventStarted, current("one")),
		ev(i, 2, at(2), activity.EventStarted, current("one")), // seen
		ev(i, 3, at(3), activity.EventUpdated, current("two")),
	})
	x.Apply([]activity.Event{
		ev(i, 4, at(4), activity.EventCompleted, current("three")),
		ev(i, 5, at(5), activity.EventFailed, current("four")), // an update, since it has ended
		ev(j, 2, at(6), activity.EventLost),
		ev(j, 3, at(7), activity.EventUpdated), // back
	})
	want := []string{
		"1 planned PLANNED ", "2 started IN_PROGRESS j", "3 started IN_PROGRESS one", "4 updated IN_PROGRESS two",
		"5 completed COMPLETED three", "6 updated COMPLETED four", "7 lost LOST j", "8 started IN_PROGRESS j",
	}
	changes, err := x.Read(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, drawChanges(changes)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for n, c := range changes {
		if wantAt := at([]time.Duration{0, 1, 2, 3, 4, 5, 6, 7}[n]); c.At != wantAt {
			t.Errorf("%d happened at %v, want %v", c.Seq, c.At, wantAt)
		}
	}
	if changes, err := x.Read(3, 2); err != nil || cmp.Diff(want[3:5], drawChanges(changes)) != "" {
		t.Errorf("two after 3: %v, %v", drawChanges(changes), err)
	}
	if changes, err := x.Read(8, 2); err != nil || len(changes) != 0 {
		t.Errorf("after the last: %v, %v", drawChanges(changes), err)
	}
	if _, err := x.Read(9, 2); !errors.Is(err, activity.ErrGap) {
		t.Errorf("beyond the log: %v", err)
	}
	if head := x.Head(); head.Seq != 8 || !regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{26}$`).MatchString(head.LogID) {
		t.Errorf("head %v", head)
	}
	if other := New(Config{}).Head().LogID; other <= x.Head().LogID[:10] || other == x.Head().LogID {
		t.Errorf("the next log is %s after %s", other, x.Head().LogID)
	}
}

// Each change shows the activity as it was, also long after.
func TestReadAsOf(t *testing.T) {
	x := New(Config{})
	i := id(1, 1)
	x.Apply([]activity.Event{ev(i, 1, at(0), activity.EventStarted)})
	for n := range 50 {
		x.Apply([]activity.Event{ev(i, uint32(n+2), at(time.Duration(n)), activity.EventUpdated, num("n", int64(n)))})
	}
	x.Apply([]activity.Event{ev(i, 99, at(time.Second), activity.EventCompleted)})
	changes, err := x.Read(1, 50)
	if err != nil {
		t.Fatal(err)
	}
	for n, c := range changes {
		if got := c.Activity.Attr("n").Int(); got != int64(n) || c.Activity.State != activity.InProgress || c.Activity.EndedAt != 0 {
			t.Errorf("change %d: n = %d, %v", n, got, c.Activity.State)
		}
	}
}

func TestReadAfterAGap(t *testing.T) {
	x := New(Config{MaxEvents: 100})
	i := id(1, 1)
	x.Apply([]activity.Event{ev(i, 1, at(0), activity.EventStarted)})
	for n := range 300 {
		x.Apply([]activity.Event{ev(i, uint32(n+2), at(time.Duration(n)), activity.EventUpdated)})
		head := x.Head().Seq
		oldest := uint64(max(0, int(head)-100))
		if changes, err := x.Read(oldest, 1000); err != nil || len(changes) != int(head-oldest) {
			t.Fatalf("after %d of %d: %d changes, %v", oldest, head, len(changes), err)
		}
		if _, err := x.Read(oldest-1, 1); oldest > 0 && !errors.Is(err, activity.ErrGap) {
			t.Fatalf("after %d of %d: %v", oldest-1, head, err)
		}
	}
}

// What is evicted can't be drawChanges any more; what is held can.
func TestReadAfterEviction(t *testing.T) {
	x := New(Config{MaxFinished: 10})
	for n := range 100 {
		run(x, id(1, n+1), at(time.Duration(n)), at(time.Duration(n)), nil)
	}
	floor := uint64(180) // the events of 90 activities are gone
	if _, err := x.Read(floor-1, 10); !errors.Is(err, activity.ErrGap) {
		t.Errorf("after %d: %v", floor-1, err)
	}
	changes, err := x.Read(floor, 100)
	if err != nil || len(changes) != 20 {
		t.Fatalf("after %d: %d changes, %v", floor, len(changes), err)
	}
	for _, c := range changes {
		if c.Activity.ID.IsZero() {
			t.Errorf("change %d has no activity", c.Seq)
		}
	}
}

func TestChanged(t *testing.T) {
	x := New(Config{})
	changed := x.Changed()
	select {
	case <-changed:
		t.Fatal("nothing has changed")
	default:
	}
	if x.Changed() != changed {
		t.Error("two that wait do not wait on one channel")
	}
	x.Apply([]activity.Event{ev(id(1, 1), 1, at(0), activity.EventStarted)})
	<-changed
	select {
	case <-x.Changed():
		t.Fatal("nothing has changed since")
	default:
	}
	x.Apply(nil)
}

func TestBeforeRead(t *testing.T) {
	x := New(Config{})
	n := 0
	x.BeforeRead(func() { n++ })
	ctx := t.Context()
	for name, read := range map[string]func(){
		"List":    func() { _, _ = x.List(ctx, &activity.Query{Limit: 1}) },
		"Scan":    func() { _ = x.Scan(ctx, &activity.Filter{}, nil) },
		"Tree":    func() { _, _ = x.Tree(ctx, &activity.TreeQuery{Limit: 1}) },
		"Get":     func() { _, _ = x.Get(ctx, id(1, 1)) },
		"Resolve": func() { _, _ = x.Resolve(ctx, id(1, 1).Span) },
		"Stats":   func() { _, _ = x.Stats(ctx) },
		"Head":    func() { x.Head() },
		"Read":    func() { _, _ = x.Read(0, 1) },
	} {
		n = 0
		if read(); n != 1 {
			t.Errorf("%s waits %d times for what was handed over before", name, n)
		}
	}
}

// The events of a log bring their numbers; one that changes nothing leaves its
// number empty, and what was skipped is a gap.
func TestReadNumbered(t *testing.T) {
	clock := newClock()
	x := New(Config{LogID: "01LOG", Now: clock.Now})
	i, j := id(1, 1), id(1, 2)
	seq := uint64(40)
	numbered := func(received activity.Time, events ...activity.Event) []activity.Event {
		for k := range events {
			seq++
			events[k].Seq, events[k].ReceivedAt = seq, received
		}
		return events
	}
	hourAgo := at(-time.Hour)
	x.Apply(numbered(hourAgo,
		ev(i, 1, at(0), activity.EventStarted),
		ev(i, 1, at(0), activity.EventStarted), // seen
		ev(i, 2, at(1), activity.EventCompleted),
		ev(i, 2, at(1), activity.EventCompleted), // seen, when it had ended
	))
	x.Apply(numbered(at(0), ev(j, 1, at(2), activity.EventStarted)))
	if head := x.Head(); head != (activity.Position{LogID: "01LOG", Seq: 45}) {
		t.Errorf("the head is %v", head)
	}
	read := func(after uint64, limit int) []string {
		t.Helper()
		changes, err := x.Read(after, limit)
		if err != nil {
			t.Fatal(err)
		}
		return drawChanges(changes)
	}
	want := []string{"41 started IN_PROGRESS ", "43 completed COMPLETED ", "45 started IN_PROGRESS "}
	if diff := cmp.Diff(want, read(40, 100)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[1:2], read(41, 1)); diff != "" {
		t.Errorf("one after 41 (-want +got):\n%s", diff)
	}
	if _, err := x.Read(39, 1); !errors.Is(err, activity.ErrGap) {
		t.Errorf("before the first: %v", err)
	}
	stats, err := x.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stats.Since != hourAgo || stats.All.Started != 2 || stats.Minute.Started != 1 || stats.Minute.Finished != 0 {
		t.Errorf("counted since %v: %+v, in the last minute %+v", stats.Since, stats.All, stats.Minute)
	}
	seq = 100
	x.Apply(numbered(at(0), ev(j, 2, at(3), activity.EventUpdated)))
	if diff := cmp.Diff([]string{"101 updated IN_PROGRESS "}, read(100, 9)); diff != "" {
		t.Errorf("after a skip (-want +got):\n%s", diff)
	}
	if _, err := x.Read(45, 1); !errors.Is(err, activity.ErrGap) {
		t.Errorf("over a skip: %v", err)
	}
}
