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

// lostPicker picks activities by the first of their losses that lasted for so long,
// which is how far behind the log it is read.
func lostPicker(activities Activities, after time.Duration, t *target) picker {
	return func(ctx context.Context, e *activity.Event) (*activity.Event, error) {
		if e.Kind != activity.EventLost {
			return nil, nil //nolint:nilnil // no span is no error
		}
		for {
			detail, err := activities.Get(ctx, e.ID)
			switch {
			case err == nil:
				if a := detail.Activity; a.State.Ended() || a.Sampling == activity.Unsampled || firstLasting(detail.History, after, activities.Taken) != e.Seq {
					return nil, nil //nolint:nilnil // as above
				}
				return lostSpan(detail.Activity), nil
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

// firstLasting returns the sequence of the first loss in a history that was not
// taken back before so long, or 0. It is told by when the log took the events: by
// the history alone, so that a restart, a late read or a loss more change nothing.
func firstLasting(history []activity.Event, after time.Duration, taken func(seq uint64) (activity.Time, bool)) uint64 {
	var first uint64
	for i := range history {
		loss := &history[i]
		if loss.Kind != activity.EventLost || first != 0 && loss.Seq > first {
			continue
		}
		var back *activity.Event // the first to come of what stands behind the loss
		for j := i + 1; j < len(history); j++ {
			if e := &history[j]; e.Kind != activity.EventLost && (back == nil || e.Seq < back.Seq) {
				back = e
			}
		}
		if back != nil {
			from, knownFrom := taken(loss.Seq)
			to, knownTo := taken(back.Seq)
			if !knownFrom || !knownTo {
				from, to = loss.At, back.At
			}
			if to.Time().Sub(from.Time()) < after {
				continue
			}
		}
		first = loss.Seq
	}
	return first
}

// lostSpan returns the span of an activity that was lost, as if it had failed when
// it was last seen.
func lostSpan(a *activity.Activity) *activity.Event {
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
		Links: a.Links, SpanEvents: a.SpanEvents, Dropped: a.Dropped, Flags: a.Flags,
	}}
}
