package orchestrator

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

func testItem(t *testing.T, id int64, priority int) *openItem {
	_, a := tracing.Plan(t.Context(), activity.WorkItem, "Test", "")
	return &openItem{workItem: workItem{ID: id, Priority: priority, Kind: kindIndex, Project: "books"}, activity: a}
}

func TestLaneOrder(t *testing.T) {
	d := newDesk()
	for i, priority := range []int{1, 3, 5, 3} {
		d.add(testItem(t, int64(i+1), priority))
	}
	var got []int64
	for range 4 {
		it, ok := d.long.take(t.Context())
		if !ok {
			t.Fatal("nothing to take")
		}
		got = append(got, it.ID)
	}
	if diff := cmp.Diff([]int64{3, 2, 4, 1}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, ok := d.long.take(ctx); ok {
		t.Error("took from an empty lane")
	}
}

func TestCancelOnDesk(t *testing.T) {
	r := record(t)
	d := newDesk()
	closed := map[int64]itemState{}
	d.closed = func(w workItem, state itemState) { closed[w.ID] = state }
	waits, runs := testItem(t, 1, 1), testItem(t, 2, 1)
	d.add(waits)
	d.add(runs)
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	if !d.begin(runs, stop) {
		t.Fatal("an open work item can't begin")
	}
	d.report(runs, 0.5)
	d.cancel(1, "not wanted")
	d.cancel(2, "not wanted")
	d.cancel(2, "not wanted") // not there any more
	if cause := context.Cause(ctx); cause == nil || cause.Error() != "not wanted" {
		t.Errorf("the run's context ended by %v", cause)
	}
	if d.begin(waits, stop) {
		t.Error("a cancelled work item began")
	}
	d.close(runs, itemDone) // its agent comes later
	runs.activity.Cancel("by its agent")
	if diff := cmp.Diff(map[int64]itemState{1: itemCancelled, 2: itemCancelled}, closed); diff != "" {
		t.Errorf("closed (-want +got):\n%s", diff)
	}
	if spans := r.spans(); len(spans) != 2 || spans[0].state() != "CANCELLED" || spans[0].text(activity.KeyFinal) != "not wanted" {
		t.Errorf("the waiting activity was not cancelled")
	}
}

func TestSame(t *testing.T) {
	d := newDesk()
	it := testItem(t, 1, 1)
	d.add(it)
	if other, _, running := d.same(kindIndex, "books"); other != it || running {
		t.Error("the waiting work item was not found")
	}
	if other, _, _ := d.same(kindBundle, "books"); other != nil {
		t.Error("work of another kind was found")
	}
	d.cancelAll("over")
	if n := d.len(); n != 0 {
		t.Errorf("%d are left", n)
	}
}
