package transfer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/receiver"
)

// maxObject bounds one object of a file, in bytes: a line of NDJSON, or a resource
// with its spans or log records of OTLP; maxValues what it holds, as
// receiver.Config.MaxValues counts it. A file may have more than what is sent.
const (
	maxObject = 64 << 20
	maxValues = 4_000_000
)

// batchEvents is how many events are appended together.
const batchEvents = 2048

// Log takes the events that are imported, as eventlog.Log does.
type Log interface {
	Append(ctx context.Context, events []activity.Event) error
}

// Result is what Import has taken.
type Result struct {
	Activities int // lines of NDJSON, and activities with events in OTLP
	Events     int
	New        int // of the events, those that a folder did not hold before; ImportFolder's
	Requests   int // of OTLP
}

// LineError is what is wrong with a file, and where.
type LineError struct {
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the error itself.
func (e *LineError) Unwrap() error { return e.Err }

// Import appends what a file holds: lines of NDJSON as Export writes them, or
// requests of OTLP in JSON one behind the other, as Export, the Collector's file
// exporter and the API's export write them. Both may stand in one file. It ends at
// the first thing that is wrong, with a *LineError; what stood before it has been
// appended then. To import a file again changes nothing.
func Import(ctx context.Context, r io.Reader, to Log) (Result, error) {
	im := &importer{ctx: ctx, log: to, decoder: newDecoder()}
	var err error
	if im.receiver, err = receiver.New(receiver.Config{
		Sink: im, MaxDepth: receiver.MaxDepthLimit, MaxValues: maxValues, MaxItemValues: maxValues, KeepClock: true, Logger: slog.New(slog.DiscardHandler),
	}); err != nil {
		return Result{}, err
	}
	objects := newObjects(r)
	for {
		object, line, err := objects.next()
		if errors.Is(err, io.EOF) {
			return im.result, im.flush()
		}
		if err == nil {
			err = im.object(object, objects.list != "")
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			if ctx.Err() == nil {
				err = &LineError{line, err}
			}
			return im.result, errors.Join(err, im.flush())
		}
	}
}

type importer struct {
	ctx      context.Context
	log      Log
	receiver *receiver.Receiver
	decoder  *decoder
	events   []activity.Event
	result   Result
}

// Append implements receiver.Sink.
func (im *importer) Append(_ context.Context, events []activity.Event) error {
	im.events = append(im.events, events...)
	if len(im.events) < batchEvents {
		return nil
	}
	return im.flush()
}

func (im *importer) flush() error {
	if len(im.events) == 0 {
		return nil
	}
	n := len(im.events)
	err := im.log.Append(im.ctx, im.events)
	if im.events = im.events[:0]; err == nil {
		im.result.Events += n
	}
	return err
}

// object imports an object, or a part of a request of OTLP that goes on.
func (im *importer) object(b []byte, part bool) error {
	var kind struct {
		ID    *string         `json:"activity_id"`
		Spans json.RawMessage `json:"resourceSpans"`
		Logs  json.RawMessage `json:"resourceLogs"`
	}
	if err := json.Unmarshal(b, &kind); err != nil {
		return jsonError(err)
	}
	if kind.ID == nil && (kind.Spans != nil || kind.Logs != nil) && !part {
		im.result.Requests++
	}
	switch {
	case kind.ID != nil:
		return im.activity(b)
	case kind.Spans != nil:
		return im.spans(b)
	case kind.Logs != nil:
		return im.logs(b)
	}
	return errors.New("it is neither an activity of `midspan export --format ndjson` nor OTLP's resourceSpans or resourceLogs")
}

func jsonError(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s is a JSON %s", wrong.Field, wrong.Value)
	}
	return fmt.Errorf("no JSON: %w", err)
}

func (im *importer) activity(b []byte) error {
	var l struct {
		ID     string      `json:"activity_id"`
		Events []wireEvent `json:"events"`
	}
	if err := json.Unmarshal(b, &l); err != nil {
		return jsonError(err)
	}
	id, err := activity.ParseID(l.ID)
	switch {
	case err != nil:
		return fmt.Errorf("activity_id: %w", err)
	case len(l.Events) == 0:
		return errors.New("the activity has no events: `midspan export --format ndjson` writes them, /activity/export does not")
	}
	events := make([]activity.Event, len(l.Events))
	for i := range l.Events {
		if events[i], err = im.decoder.event(id, &l.Events[i]); err != nil {
			return fmt.Errorf("event %d: %w", i+1, err)
		}
	}
	im.result.Activities++
	return im.Append(im.ctx, events)
}

// spans imports a request of spans, but for those whose events come as records.
func (im *importer) spans(b []byte) error {
	if !bytes.Contains(b, []byte(`"`+historyMark+`"`)) {
		return im.take("/v1/traces", b, true)
	}
	td, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces(b)
	if err != nil {
		return fmt.Errorf("no OTLP: %w", err)
	}
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			ss.Spans().RemoveIf(func(s ptrace.Span) bool {
				_, marked := s.Attributes().Get(historyMark)
				return marked
			})
		}
	}
	body, err := ptraceotlp.NewExportRequestFromTraces(td).MarshalProto()
	if err != nil {
		return err
	}
	return im.take("/v1/traces", body, false)
}

// logs imports a request of log records: events of activities as Export writes
// them, and what else a bridge takes.
func (im *importer) logs(b []byte) error {
	if !bytes.Contains(b, []byte(`"`+historyName+`"`)) {
		return im.take("/v1/logs", b, true)
	}
	ld, err := new(plog.JSONUnmarshaler).UnmarshalLogs(b)
	if err != nil {
		return fmt.Errorf("no OTLP: %w", err)
	}
	var last activity.ID
	for _, rl := range ld.ResourceLogs().All() {
		for _, sl := range rl.ScopeLogs().All() {
			var failed error
			sl.LogRecords().RemoveIf(func(r plog.LogRecord) bool {
				if r.EventName() != historyName || failed != nil {
					return false
				}
				id := activity.ID{Trace: activity.TraceID(r.TraceID()), Span: activity.SpanID(r.SpanID())}
				if id.IsZero() {
					failed = errors.New("a record " + historyName + " has no trace id or no span id")
					return false
				}
				var w wireEvent
				if err := json.Unmarshal([]byte(r.Body().Str()), &w); err != nil {
					failed = fmt.Errorf("the body of a record %s: %w", historyName, jsonError(err))
					return false
				}
				e, err := im.decoder.event(id, &w)
				if err == nil {
					err = im.Append(im.ctx, []activity.Event{e})
				}
				if failed = err; id != last {
					last = id
					im.result.Activities++
				}
				return true
			})
			if failed != nil {
				return failed
			}
		}
	}
	body, err := plogotlp.NewExportRequestFromLogs(ld).MarshalProto()
	if err != nil {
		return err
	}
	return im.take("/v1/logs", body, false)
}

func (im *importer) take(path string, body []byte, isJSON bool) error {
	rejected, why, err := im.receiver.Take(im.ctx, path, body, isJSON)
	if err == nil && rejected > 0 {
		err = errors.New(why)
	}
	return err
}

// objects reads JSON objects that stand one behind the other, on a line or over
// several. A request of OTLP comes as one for each element of its list, and a last
// one without any: however long it is, an element is what is held.
type objects struct {
	r     *bufio.Reader
	line  int    // of the next byte
	list  string // how the request begins whose elements are read, or nothing
	first bool   // the next element is
	buf   []byte
}

func newObjects(r io.Reader) *objects { return &objects{r: bufio.NewReaderSize(r, 256<<10), line: 1} }

var errCutOff = errors.New("the object is cut off: the file ends before it does")

// next returns the next object and the line that it begins on. It is valid until
// the next call. The error is io.EOF behind the last one.
func (o *objects) next() (object []byte, line int, err error) {
	c, err := o.space()
	if o.list != "" {
		if !o.first && c == ',' && err == nil {
			c, err = o.space()
		} else if c == ']' && err == nil {
			// What stands behind the list is checked as what is before it.
			o.buf = append(append(o.buf[:0], o.list...), c)
			o.list, line = "", o.line
			object, err = o.rest(1)
			return object, line, err
		} else if !o.first && err == nil {
			return nil, o.line, fmt.Errorf("%s stands where a comma or the end of the list belongs", quote(c))
		}
		if errors.Is(err, io.EOF) {
			err = errCutOff
		}
	}
	line = o.line
	switch {
	case err != nil:
		return nil, line, err
	case c != '{':
		return nil, line, fmt.Errorf("it begins with %s, not with an object of JSON", quote(c))
	case o.list != "":
		o.first = false
		o.buf = append(append(o.buf[:0], o.list...), c)
		if object, err = o.rest(1); err == nil {
			object = append(object, "]}"...)
			o.buf = object
		}
		return object, line, err
	}
	o.buf = append(o.buf[:0], c)
	object, err = o.rest(1)
	if o.list != "" {
		return o.next()
	}
	return object, line, err
}

// rest appends to what was read of an object, down to the end of so many braces.
// At the list of a request it stops, and sets o.list.
func (o *objects) rest(depth int) ([]byte, error) {
	for quoted, escaped, lists := false, false, o.list == "" && len(o.buf) == 1; depth > 0; {
		c, err := o.r.ReadByte()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errCutOff
			}
			return nil, err
		}
		if len(o.buf) >= maxObject {
			return nil, fmt.Errorf("the object is larger than %d MiB", maxObject>>20)
		}
		o.buf = append(o.buf, c)
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case c == '\n':
			o.line++
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			depth--
		case c == '[' && lists:
			lists = false
			switch begun := strings.Join(strings.Fields(string(o.buf)), ""); begun {
			case `{"resourceSpans":[`, `{"resourceLogs":[`:
				o.list, o.first = begun, true
				return nil, nil
			}
		}
	}
	return o.buf, nil
}

// space returns the first byte that is no white space.
func (o *objects) space() (byte, error) {
	for {
		c, err := o.r.ReadByte()
		if err != nil {
			return 0, err
		}
		switch c {
		case '\n':
			o.line++
		case ' ', '\t', '\r':
		default:
			return c, nil
		}
	}
}

func quote(c byte) string {
	return strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%+q", string(rune(c))), `"`), `"`)
}
