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

func exportTraces(ctx context.Context, w io.Writer, x *index.Index, f *activity.Filter, file traceFile) (n int, err error) {
	counts := make(map[activity.TraceID]int32)
	if err := x.Scan(ctx, f, func(a *activity.Activity) error {
		counts[a.ID.Trace]++
		switch {
		case len(counts) > maxTraces:
			return fmt.Errorf("more than %d traces are selected, which is more than one file takes: select fewer by --from and --to", maxTraces)
		case counts[a.ID.Trace] > maxTraceSpans:
			return fmt.Errorf("trace %s has more than %d spans, which is more than one file takes", a.ID.Trace, maxTraceSpans)
		}
		return nil
	}); err != nil {
		return 0, err
	}
	ids := make([]activity.TraceID, 0, len(counts))
	for id := range counts {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b activity.TraceID) int { return bytes.Compare(a[:], b[:]) })
	if err := file.begin(w); err != nil {
		return 0, err
	}
	for len(ids) > 0 {
		some, spans := 0, int32(0)
		for some < min(len(ids), tracesAtATime) && (some == 0 || spans+counts[ids[some]] <= spansAtATime) {
			spans += counts[ids[some]]
			some++
		}
		part := *f
		part.Traces = ids[:some]
		traces := make(map[activity.TraceID][]*activity.Activity, some)
		if err := x.Scan(ctx, &part, func(a *activity.Activity) error {
			traces[a.ID.Trace] = append(traces[a.ID.Trace], a)
			return nil
		}); err != nil {
			return n, err
		}
		for _, id := range ids[:some] {
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
		ids = ids[some:]
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
