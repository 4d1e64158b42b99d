package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/midspan/midspan/activity"
)

// csvColumns are the columns of an export as CSV. Times are RFC 3339, lists
// and attributes JSON; what is absent is empty.
var csvColumns = []string{
	"activity_id", "trace_id", "span_id", "parent_id", "type", "state", "stalled", "name",
	"what_it_will_do", "what_its_doing", "what_it_did", "progress",
	"planned_at", "started_at", "ended_at", "wait_ms", "duration_ms", "last_seen_at",
	"service", "instance", "agent", "thread_id", "thread_name",
	"reasoning", "choice", "alternatives", "outcome", "confidence",
	"result", "result_truncated", "error_type", "error_message", "attributes", "sampled", "trace_url",
}

// csvEncoding is RFC 4180 with a header.
type csvEncoding struct {
	api    *API
	out    bytes.Buffer
	writer *csv.Writer
	row    []string
}

func (*csvEncoding) contentType() string { return "text/csv; charset=utf-8; header=present" }
func (*csvEncoding) extension() string   { return ".csv" }

func (e *csvEncoding) begin(b []byte, _ activity.Position) []byte {
	e.writer = csv.NewWriter(&e.out)
	e.writer.UseCRLF = true
	return e.line(b, csvColumns)
}

func (e *csvEncoding) line(b []byte, row []string) []byte {
	e.out.Reset()
	// A buffer takes everything; a delimiter of one's own is what could fail.
	_ = e.writer.Write(row)
	e.writer.Flush()
	return append(b, e.out.Bytes()...)
}

func (e *csvEncoding) activity(b []byte, act *activity.Activity) []byte {
	row := e.row[:0]
	text := func(s string) { row = append(row, defuse(s)) }
	when := func(t activity.Time) {
		if t == 0 {
			row = append(row, "")
		} else {
			row = append(row, t.String())
		}
	}
	span := func(d time.Duration, ok bool) {
		if ok {
			row = append(row, number(millis(d)))
		} else {
			row = append(row, "")
		}
	}
	row = append(row, act.ID.String(), act.ID.Trace.String(), act.ID.Span.String())
	if act.Parent.IsZero() {
		row = append(row, "")
	} else {
		row = append(row, act.Parent.String())
	}
	row = append(row, act.Type.String(), act.State.String(), strconv.FormatBool(act.Stalled))
	text(act.Name)
	text(act.Planned)
	text(act.Current)
	text(act.Final)
	if act.HasProgress() {
		row = append(row, number(act.Progress))
	} else {
		row = append(row, "")
	}
	when(act.PlannedAt)
	when(act.StartedAt)
	when(act.EndedAt)
	wait, waited := act.Wait(act.LastSeenAt)
	span(wait, waited && (act.StartedAt != 0 || act.EndedAt != 0))
	worked, ok := act.Duration(act.EndedAt)
	span(worked, ok && act.EndedAt != 0)
	when(act.LastSeenAt)
	text(act.Service())
	text(act.Instance())
	text(act.Agent)
	text(act.ThreadID)
	text(act.ThreadName)
	decision := act.Decision
	if decision == nil {
		decision = &activity.DecisionRecord{Confidence: math.NaN()}
	}
	text(decision.Reasoning)
	text(decision.Choice)
	text(jsonStrings(decision.Alternatives))
	text(decision.Outcome)
	row = append(row, number(decision.Confidence))
	text(act.Result)
	row = append(row, strconv.FormatBool(act.ResultTruncated))
	failure := act.Error
	if failure == nil {
		failure = &activity.Error{}
	}
	text(failure.Type)
	text(failure.Message)
	text(string(activity.AppendAttrs(nil, act.Attributes, func(key string) bool { return !activity.IsField(key) })))
	row = append(row, strconv.FormatBool(act.Sampling != activity.Unsampled))
	text(e.api.traceURL(act))
	e.row = row
	return e.line(b, row)
}

func (*csvEncoding) end(b []byte) []byte { return b }

// defuse puts an apostrophe before what a spreadsheet would run as a formula,
// as OWASP's "CSV Injection" advises: a text that begins, after white space or
// in full width, with = + - @ or a control character.
func defuse(s string) string {
	if s == "" {
		return s
	}
	// A NUL or broken UTF-8 in the file is read differently by each program.
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
	if s[0] < ' ' || strings.HasPrefix(s, "'") {
		return "'" + s
	}
	first := strings.TrimLeft(s, " \t\r\n\u00a0\u3000\ufeff")
	for _, trigger := range []string{"=", "+", "-", "@", "＝", "＋", "－", "＠", "|", "%"} {
		if strings.HasPrefix(first, trigger) {
			return "'" + s
		}
	}
	return s
}

func number(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return ""
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func jsonStrings(list []string) string {
	if len(list) == 0 {
		return ""
	}
	b := []byte{'['}
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = activity.AppendString(b, s)
	}
	return string(append(b, ']'))
}

// WriteCSV writes what a filter selects as /activity/export does in CSV, with no
// links to traces, and returns how many activities that were. When some of it is
// damaged all the rest is written, and the error is an activity.ErrUnreadable.
func WriteCSV(ctx context.Context, w io.Writer, r Reader, f *activity.Filter) (n int, err error) {
	enc := &csvEncoding{api: new(API)}
	b := enc.begin(make([]byte, 0, exportChunk+exportChunk/4), activity.Position{})
	err = r.Scan(ctx, f, func(act *activity.Activity) error {
		n++
		if b = enc.activity(b, act); len(b) < exportChunk {
			return nil
		}
		_, err := w.Write(b)
		b = b[:0]
		return err
	})
	if err == nil || errors.Is(err, activity.ErrUnreadable) {
		if _, failed := w.Write(enc.end(b)); failed != nil {
			err = failed
		}
	}
	return n, err
}
