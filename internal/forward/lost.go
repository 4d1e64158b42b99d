package forward

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/midspan/midspan/activity"
)

// ErrorLost is the error.type of a span that was forwarded in place of an
// activity that was lost.
const ErrorLost = "lost"

// lostPicker picks activities that are still lost by the loss that the event
// tells of. Read some time behind the log, that is: lost for so long.
func lostPicker(activities Activities, t *target) picker {
	return func(ctx context.Context, e *activity.Event) (*activity.Event, error) {
		if e.Kind != activity.EventLost {
			return nil, nil //nolint:nilnil // no span is no error
		}
		for {
			detail, err := activities.Get(ctx, e.ID)
			switch {
			case err == nil:
				return lostSpan(detail, e.Seq), nil
			case errors.Is(err, activity.ErrNotFound):
				t.dropped.Add(1)
				if t.tell("lost") {
					t.logger.Error("forward: a lost activity is not held any more; it is dropped", slog.String("activity", e.ID.String()))
				}
				return nil, nil //nolint:nilnil // as above
			}
			t.fault("look up a lost activity", err)
			if !wait(ctx, t.streams[0].stop, nil, time.Second) {
				return nil, errStopped
			}
		}
	}
}

// lostSpan returns the span of an activity that was lost at a sequence, as if
// it had failed when it was last seen, or nil when it was seen again, or is not
// to be forwarded.
func lostSpan(d *activity.Detail, seq uint64) *activity.Event {
	a := d.Activity
	if a.State != activity.Lost || a.Sampling == activity.Unsampled {
		return nil
	}
	lost := uint64(0)
	for i := range d.History {
		if e := &d.History[i]; e.Kind == activity.EventLost {
			lost = max(lost, e.Seq)
		}
	}
	if lost != seq {
		return nil // it was seen in between, and lost again
	}
	start := a.SpanStart
	if start == 0 {
		start = a.PlannedAt
	}
	attrs := slices.DeleteFunc(slices.Clone(a.Attributes), func(attr activity.Attr) bool { return attr.Key == activity.KeyErrorType })
	return &activity.Event{ID: a.ID, Kind: activity.EventFailed, At: a.LastSeenAt, Changes: activity.Changes{
		Name: a.Name, Parent: a.Parent, SpanKind: a.Head.Kind, StartTime: start, EndTime: max(a.LastSeenAt, start, 1),
		Status: activity.StatusError, StatusMessage: "its process was lost before it ended",
		Sampling: a.Sampling, TraceState: a.TraceState, Resource: a.Resource, Scope: a.Scope,
		Attrs: append(attrs, activity.Attr{Key: activity.KeyErrorType, Value: activity.StringValue(ErrorLost)}),
		Links: a.Links, SpanEvents: a.SpanEvents, Dropped: a.Dropped,
	}}
}
