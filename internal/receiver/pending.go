package receiver

import (
	"slices"
	"strings"

	"github.com/midspan/midspan/activity"
)

// Logfire's SDK exports a copy of each span when it starts, a span of its own:
// of no length, with an id of its own, a child of the span that it stands for.
// Source: https://github.com/pydantic/logfire, _internal/exporters/processor_wrapper.py and tracer.py.
const (
	keySpanType      = "logfire.span_type"
	keyPendingParent = "logfire.pending_parent_id"
	pendingSpan      = "pending_span"
	pendingSuffix    = " (pending)" // of its name
	noParent         = "0000000000000000"
)

func isPending(attrs []activity.Attr) bool {
	return slices.ContainsFunc(attrs, func(a activity.Attr) bool {
		return a.Key == keySpanType && a.Value.Str() == pendingSpan
	})
}

// pending turns the event of a pending span into one of the span that it stands
// for, or says why it cannot.
func pending(e *activity.Event) (why string) {
	if e.Parent.IsZero() {
		return "a pending span has no parent, which is the span that it stands for"
	}
	e.ID, e.Parent = e.Parent, activity.ID{}
	e.Name = strings.TrimSuffix(e.Name, pendingSuffix)
	e.EndTime = 0
	attrs := make([]activity.Attr, 0, len(e.Attrs))
	for _, a := range e.Attrs {
		switch a.Key {
		case keySpanType:
		case keyPendingParent:
			if a.Value.Str() == noParent {
				continue
			}
			parent, err := activity.ParseSpanID(a.Value.Str())
			if err != nil {
				return keyPendingParent + " is not 16 hex digits"
			}
			e.Parent = activity.ID{Trace: e.ID.Trace, Span: parent}
		default:
			attrs = append(attrs, a)
		}
	}
	e.Attrs = attrs
	return ""
}
