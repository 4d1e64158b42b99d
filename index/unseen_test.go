package index

import (
	"slices"
	"testing"

	"github.com/midspan/midspan/activity"
)

// A finished span that is held just so is not new; whatever else is told of its
// activity is.
func TestUnseen(t *testing.T) {
	final := func(span byte, change func(*activity.Event)) activity.Event {
		e := activity.Event{ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{span}}, Kind: activity.EventCompleted, At: 20, Changes: activity.Changes{
			Name: "ship", StartTime: 10, EndTime: 20, Sampling: activity.Sampled, Resource: &activity.Resource{Service: "shop"},
			Attrs: []activity.Attr{{Key: "order", Value: activity.IntValue(7)}},
		}}
		if change != nil {
			change(&e)
		}
		return e
	}
	x := New(Config{})
	held := []activity.Event{
		final(1, nil),
		final(2, func(e *activity.Event) { e.Kind, e.EndTime = activity.EventStarted, 0 }),
		final(3, nil),
		final(3, func(e *activity.Event) { e.At, e.EndTime = 30, 30 }),
	}
	for i := range 2*rowsPerSegment + 2 { // so that the first ones are in sealed segments
		held = append(held, final(4, func(e *activity.Event) { e.ID.Trace = activity.TraceID{2, byte(i >> 8), byte(i)} }))
	}
	x.Apply(slices.Clone(held))

	again := final(1, func(e *activity.Event) { e.Resource = &activity.Resource{Service: "shop"} })
	last := held[len(held)-1]
	for _, tt := range []struct {
		name string
		e    activity.Event
		want bool
	}{
		{"again", again, false},
		{"again, of the segment under way", last, false},
		{"with another attribute", final(1, func(e *activity.Event) { e.Attrs = nil }), true},
		{"with another end", final(1, func(e *activity.Event) { e.At, e.EndTime = 21, 21 }), true},
		{"with another name", final(1, func(e *activity.Event) { e.Name = "send" }), true},
		{"final of an open one", final(2, nil), true},
		{"start of a finished one", final(1, func(e *activity.Event) { e.Kind, e.EndTime = activity.EventStarted, 0 }), true},
		{"of another trace", final(1, func(e *activity.Event) { e.ID.Trace = activity.TraceID{9} }), true},
		{"never seen", final(9, nil), true},
		{"the one before the last that enriched it", final(3, func(e *activity.Event) { e.At, e.EndTime = 30, 30 }), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := x.Unseen(t.Context(), []activity.Event{tt.e}); (len(got) == 1) != tt.want {
				t.Errorf("%d events are new", len(got))
			}
		})
	}
	fresh := []activity.Event{final(10, nil), final(11, nil)}
	got := x.Unseen(t.Context(), []activity.Event{again, fresh[0], last, fresh[1], again})
	if len(got) != 2 || got[0].ID != fresh[0].ID || got[1].ID != fresh[1].ID {
		t.Errorf("%v", got)
	}
}
