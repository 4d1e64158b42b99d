package index

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// A list of a moment is the list of an index that has seen no more than that.
func TestListAtAMoment(t *testing.T) {
	clock := newClock()
	store := newShelf()
	x := New(Config{LogID: "01LOG", Archive: store, MaxBytes: 1, Now: clock.Now})
	tr := newTraffic(7)
	for range 17 {
		x.Apply(clone(tr.next(1_500)))
		store.store(x)
	}
	clock.advance(24 * time.Hour)
	if x.cooled < 2 {
		t.Fatalf("%d segments are away", x.cooled)
	}
	draw := func(p *activity.Page) (out []string) {
		for _, a := range p.Activities {
			a.Usual = 0 // of now
			out = append(out, string(a.AppendJSON(nil)))
		}
		return out
	}
	yes := true
	filters := map[string]activity.Filter{
		"all":        {},
		"open":       {States: []activity.State{activity.Planned, activity.InProgress}},
		"stalled":    {Stalled: &yes},
		"failed":     {States: []activity.State{activity.Failed}, Types: activity.Types[:4]},
		"text":       {Terms: []string{"half of"}},
		"by agent":   {Agents: []string{"agent 2"}},
		"later word": {Attrs: []activity.AttrFilter{{Key: "late", Values: []string{"777", "7770", "1400"}}}},
	}
	for round := range 1 {
		cut := 1 + tr.IntN(len(tr.log)-1)
		time0 := tr.log[cut-1].ReceivedAt + activity.Time(10*time.Minute)
		was := newClock()
		was.ns.Store(int64(time0))
		then := New(Config{LogID: "01LOG", MaxFinished: -1, MaxBytes: -1, Now: was.Now})
		then.Apply(clone(tr.log[:cut]))
		for name, f := range filters {
			for _, sort := range [][]activity.Sort{{activity.NewestPlanned, activity.LongestFirst}, {activity.OldestPlanned, activity.LatestEnded}}[round] {
				q := activity.Query{Filter: f, Sort: sort, Limit: 50}
				old := q
				old.At = &activity.Moment{Seq: uint64(cut), Time: time0}
				for range 2 {
					want, got := list(t, then, q), list(t, x, old)
					if diff := cmp.Diff(draw(want), draw(got)); diff != "" {
						t.Fatalf("%s by %v at %d (-want +got):\n%s", name, sort, cut, diff)
					}
					if want.Total != got.Total || cmp.Diff(want.Next, got.Next) != "" || got.AsOf.Seq != uint64(cut) {
						t.Fatalf("%s by %v at %d: total %d, next %v, as of %v; want %d, %v", name, sort, cut, got.Total, got.Next, got.AsOf, want.Total, want.Next)
					}
					if q.Cursor, old.Cursor = want.Next, got.Next; want.Next == nil {
						break
					}
				}
			}
		}
	}
}

// A time is told apart from another by a tenth of a second in the last hour and
// by a second before, through a restart too, until what was then is forgotten.
func TestMoment(t *testing.T) {
	clock := newClock()
	store := newShelf()
	cfg := Config{LogID: "01LOG", Archive: store, Now: clock.Now}
	x := New(cfg)
	const n = 100_000 // nearly three hours, ten a second
	events := make([]activity.Event, 1)
	for k := range n {
		e := ev(id(1, 1+k/2), uint32(1+k%2), at(time.Duration(k)*100*time.Millisecond), activity.EventStarted)
		if k%2 == 1 {
			e.Kind = activity.EventCompleted
		}
		e.Seq, e.ReceivedAt = uint64(k+1), e.At
		events[0] = e
		x.Apply(events)
	}
	if marks := len(x.moments.marks); marks > 60_000 {
		t.Errorf("%d marks are kept of %d", marks, n)
	}
	store.store(x)
	x = store.restore(t, cfg)
	clock.ns.Store(int64(at(n * 100 * time.Millisecond)))
	for _, tt := range []struct {
		at   time.Duration
		want uint64
		off  uint64
	}{
		{-time.Second, 0, 0},
		{0, 1, 9},
		{30 * time.Minute, 18_001, 9},
		{n*100*time.Millisecond - 10*time.Minute, n - 6_000 + 1, 0},
		{n*100*time.Millisecond - 10*time.Minute + 50*time.Millisecond, n - 6_000 + 1, 0},
		{n * time.Second, n, 0},
	} {
		got, err := x.Moment(at(tt.at))
		if err != nil || got.Seq < tt.want || got.Seq > tt.want+tt.off {
			t.Errorf("after %v: %v, %v; want %d to %d", tt.at, got, err, tt.want, tt.want+tt.off)
		}
	}
	for seq, off := range map[uint64]time.Duration{1_000: time.Second, n - 6_000: 100 * time.Millisecond, n: 100 * time.Millisecond} {
		want := at(time.Duration(seq-1) * 100 * time.Millisecond)
		if got, ok := x.Taken(seq); !ok || time.Duration(got-want).Abs() >= off {
			t.Errorf("event %d was taken at %v, %t; want %v", seq, got, ok, want)
		}
	}
	x.cfg.MaxAge = time.Hour
	x.Apply([]activity.Event{{ID: id(2, 1), Seq: n + 1, Kind: activity.EventStarted, Rev: 1, At: at(0), ReceivedAt: at(n * 100 * time.Millisecond)}})
	retireAll(t, x)
	if _, err := x.Moment(at(0)); !errors.Is(err, activity.ErrForgotten) {
		t.Errorf("of what is forgotten: %v", err)
	}
}
