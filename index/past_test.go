package index

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// tale is a change as a test compares it: without what is of now.
type tale struct {
	Seq      uint64
	At       activity.Time
	Kind     activity.Kind
	Activity string
}

func tell(c activity.Change) tale {
	a := *c.Activity
	a.Usual, a.Stalled = 0, false
	return tale{c.Seq, c.At, c.Kind, string(a.AppendJSON(nil))}
}

func changes(t *testing.T, x *Index, after, upTo uint64) (out []activity.Change) {
	t.Helper()
	for c, err := range x.Changes(t.Context(), after, upTo) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// The past, read from the records of an index whose segments are away, is what a
// reader of the log was told.
func TestChanges(t *testing.T) {
	clock := newClock()
	store := newShelf()
	cfg := Config{LogID: "01LOG", Archive: store, MaxBytes: 1, MaxEvents: 1024, Now: clock.Now}
	x := New(cfg)
	whole := New(Config{LogID: "01LOG", MaxFinished: -1, MaxBytes: -1, Now: clock.Now})
	tr := newTraffic(11)
	for range 17 {
		events := tr.next(1_500)
		whole.Apply(clone(events))
		x.Apply(clone(events))
		store.store(x)
	}
	if x.cooled < 2 {
		t.Fatalf("%d segments are away", x.cooled)
	}
	last := uint64(len(tr.log))
	for _, span := range [][2]uint64{{0, last / 2}, {last / 2, last/2 + 3_000}, {last - 20, last}, {5, 5}} {
		read, err := whole.Read(span[0], int(span[1]-span[0]))
		if err != nil {
			t.Fatal(err)
		}
		var want []tale
		for _, c := range read {
			if c.Seq <= span[1] {
				want = append(want, tell(c))
			}
		}
		for name, from := range map[string]*Index{"records": x, "tail": whole, "restored": store.restore(t, cfg)} {
			var got []tale
			var before activity.Time
			for _, c := range changes(t, from, span[0], span[1]) {
				got = append(got, tell(c))
				took := tr.log[c.Seq-1].ReceivedAt
				if off := time.Duration(c.ReceivedAt - took).Abs(); off > 100*time.Millisecond || c.ReceivedAt < before {
					t.Fatalf("%s: event %d was taken at %v, not %v", name, c.Seq, c.ReceivedAt.Time(), took.Time())
				}
				before = c.ReceivedAt
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s, %v (-told +past):\n%s", name, span, diff)
			}
		}
	}
}

// What is let go of while somebody reads is told, not skipped.
func TestChangesForgotten(t *testing.T) {
	clock := newClock()
	x := New(Config{LogID: "01LOG", MaxFinished: 1_000, MaxEvents: 64, Now: clock.Now})
	apply := func(from, n int) {
		for k := from; k < from+n; k++ {
			when := at(time.Duration(k) * time.Second)
			e := ev(id(1, 1+k), 1, when, activity.EventStarted)
			f := ev(id(1, 1+k), 2, when, activity.EventCompleted)
			e.Seq, f.Seq, e.ReceivedAt, f.ReceivedAt = uint64(2*k+1), uint64(2*k+2), when, when
			x.Apply([]activity.Event{e, f})
		}
	}
	apply(0, 1_000)
	if got := changes(t, x, 0, 2_000); len(got) != 2_000 {
		t.Fatalf("%d changes", len(got))
	}
	seen := 0
	var end error
	for _, err := range x.Changes(context.Background(), 0, 2_000) {
		if end = err; err == nil && seen == 0 {
			apply(1_000, 500)
		}
		seen++
	}
	if !errors.Is(end, activity.ErrForgotten) || seen > 2*pastChunk {
		t.Errorf("after %d changes: %v", seen, end)
	}
	if got := changes(t, x, 1_200, 1_500); len(got) != 300 {
		t.Errorf("of what is held: %d changes", len(got))
	}
	clock.advance(time.Hour)
	if _, err := x.Moment(at(498 * time.Second)); !errors.Is(err, activity.ErrForgotten) {
		t.Errorf("a moment of which something is gone: %v", err)
	}
	if m, err := x.Moment(at(600 * time.Second)); err != nil || m.Seq != 1_202 {
		t.Errorf("%v, %v", m, err)
	}
}

// A past moment tells who was silent, and whose process was alive, then.
func TestMomentTellsOfThen(t *testing.T) {
	clock := newClock()
	x := New(Config{LogID: "01LOG", Now: clock.Now, Lease: func(*activity.Resource) activity.Lease { return activity.LeaseExpired }})
	res := &activity.Resource{Service: "a", Attrs: []activity.Attr{str(activity.KeyLeaseID, "l1")}}
	seq := uint64(0)
	tell := func(i activity.ID, rev uint32, after time.Duration, kind activity.Kind, attrs ...activity.Attr) {
		seq++
		e := ev(i, rev, at(after), kind, attrs...)
		e.Seq, e.ReceivedAt, e.Resource = seq, at(after), res
		x.Apply([]activity.Event{e})
	}
	tell(id(1, 1), 1, 0, activity.EventStarted, str(activity.KeyCurrent, "a"))
	tell(id(1, 2), 1, 0, activity.EventStarted, str(activity.KeyCurrent, "b"))
	tell(id(1, 1), 2, 0, activity.EventUpdated, str(activity.KeyCurrent, "a"))
	tell(id(1, 2), 2, 110*time.Second, activity.EventUpdated, str(activity.KeyCurrent, "c"))
	tell(id(1, 1), 3, 3*time.Minute, activity.EventCompleted)
	tell(id(1, 2), 3, 4*time.Minute, activity.EventLost)
	clock.advance(time.Hour)
	yes := true
	for _, tt := range []struct {
		after   time.Duration
		stalled int
		lease   activity.Lease
	}{{50 * time.Second, 0, activity.LeaseLive}, {2 * time.Minute, 1, activity.LeaseLive}, {210 * time.Second, 1, activity.LeaseLive}, {5 * time.Minute, 0, activity.LeaseExpired}} {
		m, err := x.Moment(at(tt.after))
		if err != nil {
			t.Fatal(err)
		}
		if p := list(t, x, activity.Query{Limit: 10, At: &m, Filter: activity.Filter{Stalled: &yes}}); p.Total != tt.stalled || len(p.Activities) != tt.stalled {
			t.Errorf("after %v: %d are stalled, want %d", tt.after, p.Total, tt.stalled)
		}
		p := list(t, x, activity.Query{Limit: 10, At: &m, Filter: activity.Filter{States: []activity.State{activity.InProgress, activity.Lost}}})
		if len(p.Activities) == 0 || p.Activities[0].Lease != tt.lease {
			t.Errorf("after %v: %+v", tt.after, p.Activities)
		}
	}
}
