package activity_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
)

const hour = time.Hour

func leased(lease string, more ...activity.Attr) *activity.Resource {
	return activity.NewResource(append([]activity.Attr{str(activity.KeyServiceName, "shop"), str(activity.KeyLeaseID, lease)}, more...), "")
}

func TestWithShift(t *testing.T) {
	r := leased("a", str("host.name", "far"))
	if r.WithShift(activity.Shift{}) != r || (*activity.Resource)(nil).Shift() != (activity.Shift{}) {
		t.Error("no shift is one")
	}
	for _, s := range []activity.Shift{
		{By: -hour, Known: true}, {By: 100 * time.Millisecond, Known: true, Set: true}, {Known: true, Set: true},
	} {
		to := r.WithShift(s)
		if to.Shift() != s || to.Service != "shop" || to.Lease() != "a" || to.WithShift(s) != to {
			t.Errorf("%+v: %+v", s, to)
		}
		if back := to.WithShift(activity.Shift{}); !slices.EqualFunc(back.Attrs, r.Attrs, func(a, b activity.Attr) bool { return a.Key == b.Key && a.Value.Equal(b.Value) }) {
			t.Errorf("%+v: without it %+v", s, back)
		}
	}
	if r.Shift() != (activity.Shift{}) || len(r.Attrs) != 3 {
		t.Errorf("the resource itself was changed: %+v", r)
	}
}

// A shift moves every time that is there and no other number, leaves alone what it
// shares, and is undone by its opposite.
func TestShift(t *testing.T) {
	h := activity.Time(hour)
	event := func(by activity.Time) activity.Event {
		return activity.Event{At: 2*h + by, FromAt: 3*h + by, Changes: activity.Changes{
			StartTime: 4*h + by, EndTime: 5*h + by,
			Attrs: []activity.Attr{
				num(activity.KeyPlannedAt, int64(6*h+by)), num(activity.KeyStartedAt, int64(7*h+by)), num(activity.KeyStartedAt, -1), str(activity.KeyPlannedAt, "soon"), num("n", 5),
			},
			SpanEvents: []activity.SpanEvent{{At: 8*h + by, Name: "a"}, {Name: "without a time"}},
		}}
	}
	same := func(e, f activity.Event) bool {
		return e.At == f.At && e.FromAt == f.FromAt && e.EndTime == f.EndTime && e.Same(&f)
	}
	for _, by := range []time.Duration{hour, -hour, 0} {
		e := event(0)
		shared := e
		if !e.Shift(by) || !same(e, event(activity.Time(by))) || !same(shared, event(0)) {
			t.Errorf("by %v: %+v, of %+v", by, e, shared)
		}
		if !e.Shift(-by) || !same(e, event(0)) {
			t.Errorf("by %v and back: %+v", by, e)
		}
	}
	if e := (activity.Event{At: h}); !e.Shift(hour) || e.StartTime != 0 || e.EndTime != 0 || e.FromAt != 0 {
		t.Errorf("times that are not there: %+v", e)
	}
	for name, change := range map[string]func(e *activity.Event) time.Duration{
		"at":         func(e *activity.Event) time.Duration { e.At = 1; return -hour },
		"to 0":       func(e *activity.Event) time.Duration { e.StartTime = h; return -hour },
		"start":      func(e *activity.Event) time.Duration { e.StartTime = h / 2; return -hour },
		"late end":   func(e *activity.Event) time.Duration { e.EndTime = math.MaxInt64 - 5; return hour },
		"attribute":  func(e *activity.Event) time.Duration { e.Attrs[1].Value = activity.IntValue(5); return -hour },
		"span event": func(e *activity.Event) time.Duration { e.SpanEvents[0].At = 5; return -hour },
	} {
		e := event(0)
		by := change(&e)
		if before := e; e.Shift(by) || !same(e, before) {
			t.Errorf("%s: what does not fit was shifted to %+v", name, e)
		}
	}
}

// Events that came before the clock was known, and those after it, fold to what they
// all would have folded to with the clock known, in any order and repetition.
func TestAlignWhateverTheOrder(t *testing.T) {
	raw := leased("a")
	known := raw.WithShift(activity.Shift{By: hour, Known: true})
	for seed := range uint64(200) {
		g := newGenerator(seed)
		id := mustID(t, idText)
		events := g.life(id)
		var all, mixed []activity.Event
		for i, e := range events {
			e.Resource = raw
			shifted := e
			if !shifted.Shift(hour) {
				t.Fatalf("%+v", e)
			}
			shifted.Resource = known
			all = append(all, shifted)
			if i == 0 || g.IntN(2) == 0 {
				e = shifted
			} else if g.IntN(4) == 0 {
				mixed = append(mixed, shifted) // sent again
			}
			mixed = append(mixed, e)
		}
		want := activity.Fold(slices.Clone(all))
		for range 3 {
			got := activity.Fold(g.arrive(mixed))
			if diff := difference(want, got); diff != "" {
				t.Fatalf("seed %d:\n%s\n(-want +got):\n%s", seed, timeline(mixed), diff)
			}
		}
	}
}

func TestAlignLeaves(t *testing.T) {
	at := activity.Time(2 * hour)
	raw, other := leased("a"), leased("b")
	known, set := raw.WithShift(activity.Shift{By: -hour, Known: true}), raw.WithShift(activity.Shift{By: hour, Known: true, Set: true})
	for name, tt := range map[string]struct {
		resources [2]*activity.Resource
		want      activity.Time // of the first
	}{
		"known since":       {[2]*activity.Resource{raw, known}, at - activity.Time(hour)},
		"without resource":  {[2]*activity.Resource{nil, known}, at - activity.Time(hour)},
		"nothing known":     {[2]*activity.Resource{raw, raw}, at},
		"another process":   {[2]*activity.Resource{other, known}, at},
		"set since":         {[2]*activity.Resource{raw, set}, at},
		"known and set":     {[2]*activity.Resource{known, set}, at},
		"set, and known of": {[2]*activity.Resource{set, known}, at},
	} {
		events := []activity.Event{{At: at, Changes: activity.Changes{Resource: tt.resources[0]}}, {At: at, Changes: activity.Changes{Resource: tt.resources[1]}}}
		if changed := activity.Align(events); events[0].At != tt.want || events[1].At != at || changed != (tt.want != at) {
			t.Errorf("%s: %v, %v", name, events[0].At, events[1].At)
		}
	}
}

// A clock that is set while an activity goes on leaves what was told before where it
// was; the final span's own times count then, since they are of one clock: an SDK with a
// monotonic clock tells an end that is as far off as the start.
func TestClockSet(t *testing.T) {
	start, end := activity.Time(10*hour), activity.Time(10*hour+10*time.Minute)
	for _, by := range []time.Duration{-hour, hour} {
		raw := leased("a")
		set := raw.WithShift(activity.Shift{By: by, Known: true, Set: true})
		events := []activity.Event{
			{Kind: activity.EventStarted, At: start, Rev: 1, Changes: activity.Changes{Resource: raw}},
			{Kind: activity.EventUpdated, At: end - 5, Rev: 2, Changes: activity.Changes{Resource: set}},
		}
		if a := activity.Fold(slices.Clone(events)); a.StartedAt != start || a.LastSeenAt != end-5 {
			t.Errorf("%v, open: %v, %v", by, a.StartedAt, a.LastSeenAt)
		}
		final := activity.Event{Kind: activity.EventCompleted, At: end, Changes: activity.Changes{StartTime: start, EndTime: end}}
		final.Shift(by)
		final.Resource = set
		for range 2 {
			events = append(events, final) // sent again
			if a := activity.Fold(slices.Clone(events)); a.StartedAt != final.StartTime || a.EndedAt != final.EndTime || a.State != activity.Completed {
				t.Errorf("%v: %v to %v, %v", by, a.StartedAt, a.EndedAt, a.State)
			}
		}
	}
}
