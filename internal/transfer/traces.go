package transfer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// Jaeger's and Chrome's files have traces as wholes: their ids are gathered
// first, then some traces at a time are read.
const (
	maxTraces     = 1_000_000 // in one file
	maxTraceSpans = 200_000   // in one trace
	spansAtATime  = 20_000
	tracesAtATime = 256
)

// traceFile is a format of whole traces.
type traceFile interface {
	begin(w io.Writer) error
	trace(w io.Writer, spans []*activity.Activity) error // in the order of their start
	end(w io.Writer) error
}

// traceSpan is what is known of a trace after the first look.
type traceSpan struct {
	id    activity.TraceID
	spans int
	// The first end, or last sign of life, and the last planning: who selects what
	// lies between selects all of it.
	since, until activity.Time
}

// findTraces returns the traces of what is selected, in the order of their first
// end, in which segments of the history hold them too.
func findTraces(ctx context.Context, x *index.Index, f *activity.Filter) ([]traceSpan, error) {
	var traces []traceSpan
	places := make(map[activity.TraceID]int32)
	err := x.Scan(ctx, f, func(a *activity.Activity) error {
		since := cmp.Or(a.EndedAt, a.PlannedAt)
		at, ok := places[a.ID.Trace]
		if !ok {
			if len(traces) == maxTraces {
				return fmt.Errorf("more than %d traces are selected, which is more than one file takes: select fewer by --from and --to", maxTraces)
			}
			at = int32(len(traces))
			places[a.ID.Trace] = at
			traces = append(traces, traceSpan{a.ID.Trace, 0, since, a.PlannedAt})
		}
		t := &traces[at]
		t.since, t.until = min(t.since, since), max(t.until, a.PlannedAt)
		if t.spans++; t.spans > maxTraceSpans {
			return fmt.Errorf("trace %s has more than %d spans, which is more than one file takes", a.ID.Trace, maxTraceSpans)
		}
		return nil
	})
	slices.SortFunc(traces, func(a, b traceSpan) int {
		return cmp.Or(cmp.Compare(a.since, b.since), bytes.Compare(a.id[:], b.id[:]))
	})
	return traces, err
}

func exportTraces(ctx context.Context, w io.Writer, x *index.Index, f *activity.Filter, file traceFile) (n int, err error) {
	found, err := findTraces(ctx, x, f)
	if err != nil {
		return 0, err
	}
	if err := file.begin(w); err != nil {
		return 0, err
	}
	for len(found) > 0 {
		some, spans := 0, 0
		part := *f
		part.Traces = nil
		since, until := found[0].since, found[0].until
		for some < min(len(found), tracesAtATime) && (some == 0 || spans+found[some].spans <= spansAtATime) {
			t := &found[some]
			spans += t.spans
			part.Traces = append(part.Traces, t.id)
			since, until = min(since, t.since), max(until, t.until)
			some++
		}
		// Narrower than what is asked for, so that few segments are looked at.
		part.Since = max(f.Since, since)
		if f.Until == 0 || until < f.Until {
			part.Until = until
		}
		traces := make(map[activity.TraceID][]*activity.Activity, some)
		if err := x.Scan(ctx, &part, func(a *activity.Activity) error {
			traces[a.ID.Trace] = append(traces[a.ID.Trace], a)
			return nil
		}); err != nil {
			return n, err
		}
		for _, id := range part.Traces {
			spans := traces[id]
			if len(spans) == 0 {
				continue // no more selected: time goes on
			}
			slices.SortFunc(spans, func(a, b *activity.Activity) int {
				return cmp.Or(cmp.Compare(startOf(a), startOf(b)), bytes.Compare(a.ID.Span[:], b.ID.Span[:]))
			})
			if err := file.trace(w, spans); err != nil {
				return n, err
			}
			n += len(spans)
		}
		found = found[some:]
	}
	return n, file.end(w)
}

// startOf returns when the span itself began.
func startOf(a *activity.Activity) activity.Time {
	if a.SpanStart != 0 {
		return a.SpanStart
	}
	return a.PlannedAt
}

// endOf returns when the span ended or, while it is open, was last seen.
func endOf(a *activity.Activity) activity.Time {
	return max(cmp.Or(a.EndedAt, a.LastSeenAt), startOf(a))
}

// writeJSON writes a value after a comma, but for the first one.
func writeJSON(w io.Writer, first *bool, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	separator := ",\n"
	if !*first {
		*first, separator = true, "\n"
	}
	if _, err := io.WriteString(w, separator); err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// plain returns a value as JSON has it without types.
func plain(v activity.Value) any {
	switch v.Kind() {
	case activity.KindString:
		return v.Str()
	case activity.KindBool:
		return v.Bool()
	case activity.KindInt:
		return v.Int()
	case activity.KindFloat:
		f := v.Float()
		if _, err := json.Marshal(f); err != nil { // NaN and the infinities
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
		return f
	case activity.KindBytes:
		return []byte(v.Str())
	case activity.KindSlice:
		list := make([]any, len(v.Slice()))
		for i, e := range v.Slice() {
			list[i] = plain(e)
		}
		return list
	case activity.KindMap:
		all := make(map[string]any, len(v.Map()))
		for _, a := range v.Map() {
			all[a.Key] = plain(a.Value)
		}
		return all
	}
	return nil
}
