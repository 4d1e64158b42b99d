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
)

// Jaeger's and Chrome's files have traces as wholes: their spans are counted first,
// then each is held until all of them were read.
const (
	maxTraces     = 1_000_000 // in one file
	maxTraceSpans = 200_000   // in one trace
	maxHeldSpans  = 50_000    // of several traces
)

// traceFile is a format of whole traces.
type traceFile interface {
	begin(w io.Writer) error
	trace(w io.Writer, spans []*activity.Activity) error // in the order of their start
	end(w io.Writer) error
}

// traceSpan is what is known of a trace when it is counted.
type traceSpan struct {
	spans int
	// The first end, or last sign of life, and the last planning: who selects what
	// lies between selects all of it.
	since, until activity.Time
}

// countTraces returns the traces of what is selected.
func countTraces(ctx context.Context, x source, f *activity.Filter) (map[activity.TraceID]traceSpan, error) {
	traces := make(map[activity.TraceID]traceSpan)
	err := x.Scan(ctx, f, func(a *activity.Activity) error {
		since := cmp.Or(a.EndedAt, a.PlannedAt)
		t, ok := traces[a.ID.Trace]
		if !ok {
			if len(traces) == maxTraces {
				return fmt.Errorf("more than %d traces are selected, which is more than one file takes: select fewer by --from and --to", maxTraces)
			}
			t.since = since
		}
		t.since, t.until = min(t.since, since), max(t.until, a.PlannedAt)
		if t.spans++; t.spans > maxTraceSpans {
			return fmt.Errorf("trace %s has more than %d spans, which is more than one file takes", a.ID.Trace, maxTraceSpans)
		}
		traces[a.ID.Trace] = t
		return nil
	})
	return traces, err
}

// traceWriter writes traces as they become whole. What ends in order is read in
// order, so few are held at a time; those that would be too many are put off.
type traceWriter struct {
	out     io.Writer
	file    traceFile
	maxHeld int // spans, unless one trace alone has more

	left  map[activity.TraceID]traceSpan // to be written
	held  map[activity.TraceID][]*activity.Activity
	begun []activity.TraceID // held, or written since, in the order of their first span
	spans int                // held
	wrote int                // spans
}

func exportTraces(ctx context.Context, w io.Writer, x source, f *activity.Filter, file traceFile, maxHeld int) (n int, err error) {
	t := &traceWriter{out: w, file: file, maxHeld: maxHeld}
	if t.left, err = countTraces(ctx, x, f); err != nil {
		return 0, err
	}
	if err := file.begin(w); err != nil {
		return 0, err
	}
	for len(t.left) > 0 {
		if t.left, err = t.pass(ctx, x, f); err != nil {
			return t.wrote, err
		}
	}
	return t.wrote, file.end(w)
}

// pass reads once through what is left, writes at least the trace that begins, and
// returns those that were put off.
func (t *traceWriter) pass(ctx context.Context, x source, f *activity.Filter) (late map[activity.TraceID]traceSpan, err error) {
	part := *f // no wider than what is left, so that few segments are looked at
	first := true
	for _, s := range t.left {
		if first || s.since < part.Since {
			part.Since = max(f.Since, s.since)
		}
		if first || s.until > part.Until {
			part.Until = s.until
		}
		first = false
	}
	if f.Until != 0 {
		part.Until = min(part.Until, f.Until)
	}
	late = make(map[activity.TraceID]traceSpan)
	t.held = make(map[activity.TraceID][]*activity.Activity)
	if err := x.Scan(ctx, &part, func(a *activity.Activity) error {
		id := a.ID.Trace
		of, ok := t.left[id]
		if !ok {
			return nil // it was written, or is put off
		}
		spans := append(t.held[id], a)
		if len(spans) == 1 {
			t.begun = append(t.begun, id)
		}
		t.held[id] = spans
		if t.spans++; len(spans) == of.spans {
			return t.write(id)
		}
		for t.spans > t.maxHeld && len(t.held) > 1 {
			id := t.latest()
			late[id] = t.left[id]
			t.drop(id)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for _, id := range t.begun {
		if t.held[id] != nil { // no more selected as a whole: time goes on
			if err := t.write(id); err != nil {
				return nil, err
			}
		}
	}
	t.begun = nil
	return late, nil
}

// latest returns the trace that began last of those that are held.
func (t *traceWriter) latest() activity.TraceID {
	for {
		id := t.begun[len(t.begun)-1]
		t.begun = t.begun[:len(t.begun)-1]
		if t.held[id] != nil {
			return id
		}
	}
}

// drop has no more of a trace in this pass.
func (t *traceWriter) drop(id activity.TraceID) {
	t.spans -= len(t.held[id])
	delete(t.held, id)
	delete(t.left, id)
}

func (t *traceWriter) write(id activity.TraceID) error {
	spans := t.held[id]
	t.drop(id)
	slices.SortFunc(spans, func(a, b *activity.Activity) int {
		return cmp.Or(cmp.Compare(startOf(a), startOf(b)), bytes.Compare(a.ID.Span[:], b.ID.Span[:]))
	})
	t.wrote += len(spans)
	return t.file.trace(t.out, spans)
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
