package transfer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/eventlog/sqlite"
	"github.com/midspan/midspan/internal/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// keep makes a folder that holds events, some of them in its history and some in
// its log alone, as a process that was killed leaves it.
func keep(t testing.TB, events []activity.Event) string {
	t.Helper()
	folder := t.TempDir()
	var x *index.Index
	log, err := sqlite.Open(t.Context(), sqlite.Config{Folder: folder, Logger: quiet, Apply: func(events []activity.Event) { x.Apply(events) }})
	if err != nil {
		t.Fatal(err)
	}
	store, err := history.NewStore(log)
	if err != nil {
		t.Fatal(err)
	}
	if x, _, err = history.Open(t.Context(), store, log, index.Config{MaxBytes: 1}); err != nil {
		t.Fatal(err)
	}
	behind := len(events) / 20
	for part := range slices.Chunk(events[:len(events)-behind], 1000) {
		if err := log.Append(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	keeper := history.NewKeeper(history.Config{Store: store, Log: log, Index: x, Logger: quiet, Every: time.Hour}, 0)
	if err := keeper.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if behind > 0 {
		if err := log.Append(t.Context(), events[len(events)-behind:]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(store.Close(), log.Close()); err != nil {
		t.Fatal(err)
	}
	return folder
}

// maker makes events of activities that have a bit of everything.
type maker struct {
	*rand.Rand
	ids       uint64
	resources []*activity.Resource
	scopes    []*activity.Scope
}

func newMaker(seed uint64) *maker {
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 2))}
	for _, service := range []string{"orders", "", "bänk"} {
		attrs := m.attrs(1)
		if service != "" {
			attrs = append(attrs, activity.Attr{Key: activity.KeyServiceName, Value: activity.StringValue(service)},
				activity.Attr{Key: activity.KeyServiceInstanceID, Value: activity.StringValue(service + "-1")})
		}
		m.resources = append(m.resources, activity.NewResource(attrs, "https://opentelemetry.io/schemas/1.37.0"))
		m.resources[len(m.resources)-1].Dropped = uint32(len(service))
		m.scopes = append(m.scopes, &activity.Scope{Name: service, Version: "1.2", SchemaURL: "https://example.com", Attrs: m.attrs(1), Dropped: uint32(len(service))})
	}
	m.resources = append(m.resources, m.resources[2].WithShift(activity.Shift{By: -time.Hour, Known: true, Set: true}), nil)
	m.scopes = append(m.scopes, nil, new(activity.Scope))
	return m
}

func pick[T any](m *maker, of ...T) T { return of[m.IntN(len(of))] }

func (m *maker) value(depth int) activity.Value {
	kinds := 8
	if depth > 1 {
		kinds = 6
	}
	switch m.IntN(kinds) {
	case 0:
		return activity.StringValue(pick(m, "", "x", "eu <&> \u2028 \x00\"", strings.Repeat("é", 300)))
	case 1:
		return activity.IntValue(pick[int64](m, 0, -1, math.MaxInt64, math.MinInt64))
	case 2:
		return activity.FloatValue(pick(m, 0, 1.5, math.Inf(-1), math.Inf(1), math.NaN(), math.Copysign(0, -1), 1e300))
	case 3:
		return activity.BoolValue(m.IntN(2) == 0)
	case 4:
		return activity.BytesValue(pick(m, "", "\xff\x00\x80"))
	case 5:
		return activity.Value{}
	case 6:
		list := make([]activity.Value, m.IntN(4))
		for i := range list {
			list[i] = m.value(depth + 1)
		}
		return activity.SliceValue(list)
	}
	return activity.MapValue(m.attrs(depth + 1))
}

func (m *maker) attrs(depth int) []activity.Attr {
	var attrs []activity.Attr
	for i := range m.IntN(6 - 2*depth) {
		attrs = append(attrs, activity.Attr{Key: fmt.Sprintf("key.%d", i), Value: m.value(depth)})
	}
	return attrs
}

func (m *maker) id() (id activity.ID) {
	m.ids++
	binary.BigEndian.PutUint64(id.Trace[8:], 1+m.ids/5)
	binary.BigEndian.PutUint64(id.Span[:], m.ids)
	return id
}

const (
	began = activity.Time(1_790_000_000_000_000_000)
	later = began + 1e17 // than all that a story tells
)

// final makes the event of a finished span.
func (m *maker) final(id activity.ID) activity.Event {
	start := began + activity.Time(m.Int64N(1e15))
	e := activity.Event{ID: id, Kind: activity.EventCompleted, Changes: activity.Changes{
		Name: pick(m, "GET /", "", "charge card", "größer <b>"), SpanKind: activity.SpanKind(m.IntN(6)),
		StartTime: start, EndTime: start + activity.Time(m.Int64N(1e10)), TraceState: pick(m, "", "vendor=1"), Attrs: m.attrs(0),
		Resource: pick(m, m.resources...), Scope: pick(m, m.scopes...), Sampling: activity.Sampling(m.IntN(3)),
		Dropped: pick(m, [3]uint32{}, [3]uint32{1, 2, 300}), Flags: pick[uint32](m, 0, 1, 0x100, 0x101, 0x301, 1<<31),
	}}
	if e.Sampling == activity.Sampled && e.Flags == 0 {
		e.Flags = 1
	}
	e.At = e.EndTime
	if m.IntN(3) > 0 {
		e.Parent = activity.ID{Trace: id.Trace, Span: activity.SpanID{9, byte(m.IntN(9))}}
	}
	switch m.IntN(5) {
	case 0:
		e.Status = activity.StatusOK
	case 1:
		e.Kind, e.Status, e.StatusMessage = activity.EventFailed, activity.StatusError, pick(m, "", "card declined")
	case 2:
		e.Kind = activity.EventCancelled
		e.Attrs = append(e.Attrs, activity.Attr{Key: activity.KeyState, Value: activity.StringValue("CANCELLED")})
	}
	for range m.IntN(3) {
		e.SpanEvents = append(e.SpanEvents, activity.SpanEvent{At: start + 5, Name: pick(m, "", "exception"), Attrs: m.attrs(1), Dropped: pick[uint32](m, 0, 2)})
	}
	for range m.IntN(3) {
		e.Links = append(e.Links, activity.Link{ID: activity.ID{Trace: activity.TraceID{7}, Span: activity.SpanID{byte(1 + m.IntN(9))}}, TraceState: pick(m, "", "a=b"), Attrs: m.attrs(1), Dropped: pick[uint32](m, 0, 7), Flags: pick[uint32](m, 0, 0x101)})
	}
	return e
}

// story makes the events of an activity of any form: finished at once, told
// step by step and finished, left open, lost, come back, ended twice.
func (m *maker) story() []activity.Event {
	id := m.id()
	end := m.final(id)
	form := m.IntN(8)
	if form < 3 {
		return []activity.Event{end}
	}
	rev := uint32(0)
	numbered := m.IntN(2) == 0
	at := end.StartTime
	step := func(kind activity.Kind, attrs ...activity.Attr) activity.Event {
		e := activity.Event{ID: id, Kind: kind, At: at, Changes: activity.Changes{Attrs: attrs}}
		if at++; numbered {
			rev++
			e.Rev = rev
		}
		return e
	}
	text := func(key, value string) activity.Attr {
		return activity.Attr{Key: key, Value: activity.StringValue(value)}
	}
	begin := step(pick(m, activity.EventPlanned, activity.EventStarted), text(activity.KeyPlanned, "Pack it"), text(activity.KeyType, "decision"))
	begin.Name, begin.StartTime, begin.Resource, begin.Scope, begin.Parent, begin.Sampling = end.Name, end.StartTime, end.Resource, end.Scope, end.Parent, end.Sampling
	begin.SpanKind, begin.TraceState = end.SpanKind, end.TraceState
	events := []activity.Event{begin}
	if begin.Kind == activity.EventPlanned && m.IntN(2) == 0 {
		events = append(events, step(activity.EventStarted))
	}
	for range m.IntN(4) {
		events = append(events, step(activity.EventUpdated, append(m.attrs(0), text(activity.KeyCurrent, pick(m, "Packing", "Taping")),
			activity.Attr{Key: activity.KeyProgress, Value: activity.FloatValue(m.Float64())})...))
	}
	switch form {
	case 3: // open
	case 4:
		events = append(events, step(activity.EventLost))
	case 5:
		events = append(events, step(activity.EventLost), step(activity.EventUpdated, text(activity.KeyCurrent, "Back")))
	case 6:
		events = append(events, step(activity.EventCompleted, text(activity.KeyFinal, "Packed")), end)
	default:
		events = append(events, end)
	}
	return events
}

// held is what is told of an activity.
type held struct {
	Code   string // all of its events, as the log has them
	JSON   string
	Scope  *activity.Scope
	Trace  string
	Events []activity.Event
	Spans  []activity.SpanEvent
	Links  []activity.Link
	Counts [3]uint32
	Last   activity.Time
	Source *activity.Resource
	Flags  uint32
}

// holds returns all that a folder tells of its activities.
func holds(t *testing.T, folder string) map[activity.ID]held {
	t.Helper()
	all := make(map[activity.ID]held)
	if err := View(t.Context(), folder, func(x *index.Index) error {
		return x.ScanEvents(t.Context(), &activity.Filter{}, func(a *activity.Activity, events []activity.Event) error {
			for i := range events {
				events[i].Seq, events[i].ReceivedAt = 0, 0
			}
			a.Usual = 0 // of the latest ones of a name, as they came
			if _, twice := all[a.ID]; twice {
				return fmt.Errorf("%v is there twice", a.ID)
			}
			code, err := eventlog.EncodeBatch(nil, events)
			all[a.ID] = held{string(code), string(a.AppendJSON(nil)), a.Scope, a.TraceState, events, a.SpanEvents, a.Links, a.Dropped, a.LastSeenAt, a.Resource, a.Flags}
			return err
		})
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

var equal = cmp.Options{cmp.Comparer(activity.Value.Equal), cmpopts.EquateEmpty()}

func same(t *testing.T, want, got map[activity.ID]held) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%d activities, want %d", len(got), len(want))
	}
	told := 0
	for id, w := range want {
		g := got[id]
		if g.Code == w.Code && g.JSON == w.JSON { // far faster than to compare each field
			continue
		}
		g.Code, w.Code = "", ""
		if diff := cmp.Diff(w, g, equal); diff != "" {
			if t.Errorf("%v: exported (-), imported (+):\n%s", id, diff); told == 3 {
				return
			}
			told++
		}
	}
}

func export(t *testing.T, folder string, f activity.Filter, format Format) (string, int) {
	t.Helper()
	var out bytes.Buffer
	n := 0
	if err := View(t.Context(), folder, func(x *index.Index) (err error) {
		n, err = Export(t.Context(), &out, x, &f, format)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out.String(), n
}

// What is exported and imported is what it was: each event, link, state and time
// of activities of every form. Imported again it changes nothing.
func TestRoundTrip(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := newMaker(seed)
	var events []activity.Event
	for range 700 {
		events = append(events, m.story()...)
	}
	for range 8500 { // so that there is history; they are not exported
		e := activity.Event{ID: m.id(), Kind: activity.EventCompleted, At: later + 1, Changes: activity.Changes{Name: "tick", Resource: m.resources[0], Scope: m.scopes[0], Sampling: activity.Sampled}}
		e.StartTime, e.EndTime = e.At-1, e.At
		events = append(events, e)
	}
	events = append(events, m.story()...)
	from := keep(t, events)
	want := holds(t, from)
	for id := range want {
		if strings.Contains(want[id].JSON, `"name":"tick"`) {
			delete(want, id)
		}
	}
	if len(want) != 701 {
		t.Fatalf("%d activities", len(want))
	}
	for _, format := range []Format{NDJSON, OTLP} {
		t.Run(string(format), func(t *testing.T) {
			text, n := export(t, from, activity.Filter{Until: later - 1}, format)
			if n != len(want) {
				t.Errorf("%d activities were exported", n)
			}
			to := t.TempDir()
			for range 2 {
				if _, err := ImportFolder(t.Context(), to, strings.NewReader(text), nil, quiet); err != nil {
					t.Fatal(err)
				}
				same(t, want, holds(t, to))
			}
			if r, err := history.Check(t.Context(), to); err != nil || len(r.Damages) != 0 {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
}

// Export takes what the filter selects, and no more.
func TestFilter(t *testing.T) {
	m := newMaker(3)
	var events []activity.Event
	for range 300 {
		events = append(events, m.story()...)
	}
	from := keep(t, events)
	f := activity.Filter{Services: []string{"orders"}, States: []activity.State{activity.Completed}, Since: began + 3e14, Until: began + 6e14}
	want := 0
	for _, h := range holds(t, from) {
		if strings.Contains(h.JSON, `"service":"orders"`) && strings.Contains(h.JSON, `"state":"COMPLETED"`) {
			want++
		}
	}
	all, some := activity.Filter{Services: f.Services, States: f.States}, f
	for _, format := range []Format{NDJSON, OTLP, Jaeger, Chrome} {
		if _, n := export(t, from, all, format); n != want || n == 0 {
			t.Errorf("%s: %d of %d", format, n, want)
		}
		if _, n := export(t, from, some, format); n == 0 || n >= want {
			t.Errorf("%s: between two times %d of %d", format, n, want)
		}
	}
}

// A file that is wrong is told with its line; what stands before it is kept.
func TestImportErrors(t *testing.T) {
	good := `{"activity_id":"00000000000000000000000000000001-0000000000000001","events":[{"event":"started","at":"5","name":"x"}]}` + "\n"
	with := func(fields string) string {
		return `{"activity_id":"00000000000000000000000000000001-0000000000000002","events":[{"event":"started","at":"5",` + fields + `}]}`
	}
	nested := func(levels int) string {
		return strings.Repeat(`{"arrayValue":{"values":[`, levels) + `{}` + strings.Repeat(`]}}`, levels)
	}
	for _, tt := range []struct{ name, file, want string }{
		{"no JSON", good + "\nhello", `line 3: it begins with h, not with an object`},
		{"an array", good + "[1]", `line 2: it begins with [`},
		{"cut off", good + good[:40], "line 2: the object is cut off"},
		{"broken", good + `{"a" 1}`, "line 2: no JSON"},
		{"of another kind", good + `{"spans":[]}`, "line 2: it is neither"},
		{"an activity of the API", good + `{"activity_id":"00000000000000000000000000000001-0000000000000002","state":"COMPLETED"}`, "line 2: the activity has no events"},
		{"id", good + strings.Replace(good, "-0000000000000001", "-1", 1), "line 2: activity_id"},
		{"kind", good + strings.Replace(good, "started", "begun", 1), `line 2: event 1: event "begun"`},
		{"time", good + strings.Replace(good, `"5"`, `"now"`, 1), "line 2: "},
		{"negative time", good + strings.Replace(good, `"5"`, `"-5"`, 1), "line 2: event 1: a time is negative"},
		{"parent", good + with(`"parent_id":"zz"`), "line 2: event 1: parent_id"},
		{"own parent", good + with(`"parent_id":"0000000000000002"`), "line 2: event 1: it is its own parent"},
		{"link", good + with(`"links":[{"trace_id":"1"}]`), "line 2: event 1: the trace_id of a link"},
		{"span kind", good + with(`"kind":9`), "line 2: event 1: the span kind"},
		{"value", good + with(`"attributes":[{"key":"a","value":{"intValue":"x"}}]`), "line 2: "},
		{"deep", good + with(`"attributes":[{"key":"a","value":`+nested(41)+`}]`), "line 2: event 1: an attribute is nested deeper than 40 levels"},
		{"deep resource", good + with(`"resource":{"attributes":[{"key":"a","value":`+nested(41)+`}]}`), "line 2: event 1: resource: an attribute"},
		{"OTLP", good + `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000000","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}`, "line 2: 1 span rejected: the span id is zero"},
		{"a record of nothing", good + `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"midspan.event","traceId":"00000000000000000000000000000001","body":{"stringValue":"{\"event\":\"lost\",\"at\":\"1\"}"}}]}]}]}`, "line 2: a record midspan.event has no trace id or no span id"},
		{"other logs", good + `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"x"}]}]}]}`, "line 2: 1 log record rejected: it tells nothing of an activity"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			_, err := ImportFolder(t.Context(), folder, strings.NewReader(tt.file), nil, quiet)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v", err)
			}
			if n := len(holds(t, folder)); n != 1 {
				t.Errorf("%d activities are kept", n)
			}
		})
	}
}

// An object over several lines, and several on one, are read too: the API's own
// export is of that form.
func TestImportLayout(t *testing.T) {
	span := func(n int) string {
		return fmt.Sprintf(`{"resourceSpans":[{"resource":{},
 "scopeSpans":[{"scope":{},"spans":[
{"traceId":"00000000000000000000000000000001","spanId":"000000000000000%d","name":"a } \" {","startTimeUnixNano":"1","endTimeUnixNano":"2"}]}]}]}`, n)
	}
	folder := t.TempDir()
	r, err := ImportFolder(t.Context(), folder, strings.NewReader("\r\n "+span(1)+span(2)+"\n\n"+span(3)), nil, quiet)
	if err != nil || r.Requests != 3 || r.Events != 3 {
		t.Errorf("%+v %v", r, err)
	}
	if n := len(holds(t, folder)); n != 3 {
		t.Errorf("%d activities", n)
	}
}

// What is more than one batch of the log takes several.
func TestImportLarge(t *testing.T) {
	var file strings.Builder
	long := strings.Repeat("x", 1<<20)
	for n := range 40 {
		fmt.Fprintf(&file, `{"activity_id":"00000000000000000000000000000001-%016x","events":[{"event":"started","at":"5","attributes":[{"key":"a","value":{"stringValue":%q}}]}]}`, n+1, long)
	}
	folder := t.TempDir()
	r, err := ImportFolder(t.Context(), folder, strings.NewReader(file.String()), nil, quiet)
	if err != nil || r.Events != 40 || len(holds(t, folder)) != 40 {
		t.Errorf("%+v %v", r, err)
	}
	_, err = ImportFolder(t.Context(), folder, strings.NewReader(`{"activity_id":"`+strings.Repeat("x", maxObject)+`"}`), nil, quiet)
	if err == nil || !strings.Contains(err.Error(), "line 1: the object is larger than 64 MiB") {
		t.Errorf("%v", err)
	}
}

// One request of OTLP may be of any length, as the API's export is: a resource
// with its spans is what is bounded, and by more than what may be sent.
func TestImportLongRequest(t *testing.T) {
	var n int
	resource := func(spans int, pad string) string {
		list := make([]string, spans)
		for i := range list {
			n++
			list[i] = fmt.Sprintf(`{"traceId":"00000000000000000000000000000001","spanId":"%016x","name":"a%s","startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[{"key":"a","value":{"intValue":"1"}}]}`, n, pad)
		}
		return `{"scopeSpans":[{"spans":[` + strings.Join(list, ",\n") + `]}],"schemaUrl":"s"}`
	}
	many := "{ \"resourceSpans\" :\n[" + resource(30_000, "") + ",\n" + resource(1, "") + "]}\n" // 270,000 values
	folder := t.TempDir()
	r, err := ImportFolder(t.Context(), folder, strings.NewReader(many), nil, quiet)
	if err != nil || r.Requests != 1 || r.New != n || len(holds(t, folder)) != n {
		t.Errorf("%+v %v", r, err)
	}
	// Longer than one object may be.
	element := resource(1, strings.Repeat(" ", 1<<20))
	long := newObjects(strings.NewReader(`{"resourceSpans":[` + strings.Repeat(element+",", maxObject>>20) + element + "]}"))
	for parts := 0; ; parts++ {
		object, _, err := long.next()
		if errors.Is(err, io.EOF) && parts == maxObject>>20+2 {
			break
		}
		if want := `{"resourceSpans":[` + element + "]}"; err != nil || string(object) != want && parts <= maxObject>>20 {
			t.Fatalf("part %d: %d bytes, want %d, %v", parts, len(object), len(want), err)
		}
	}
	one := resource(1, "")
	for _, tt := range []struct{ name, file, want string }{
		{"no end", `{"resourceSpans":[` + one, "cut off"},
		{"no end behind a comma", `{"resourceSpans":[` + one + ",\n", "line 2: the object is cut off"},
		{"no comma", `{"resourceSpans":[` + one + one + `]}`, "stands where a comma"},
		{"a comma too many", `{"resourceSpans":[` + one + ",\n,", "line 2: it begins with ,"},
		{"no object", `{"resourceSpans":[` + "\n1]}", "line 2: it begins with 1"},
		{"what is behind", `{"resourceSpans":[` + one + "\n],x}", "line 2: no JSON"},
		{"no list", `{"resourceSpans":{}}`, "no OTLP"},
	} {
		_, err := ImportFolder(t.Context(), t.TempDir(), strings.NewReader(tt.file), nil, quiet)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if r, err := ImportFolder(t.Context(), t.TempDir(), strings.NewReader(`{"resourceSpans":[ ]}{"resourceLogs":[],"more":[{}]}`), nil, quiet); err != nil || r.Requests != 2 {
		t.Errorf("empty ones: %+v %v", r, err)
	}
}

func TestInUse(t *testing.T) {
	folder := keep(t, []activity.Event{newMaker(1).final(activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{1}})})
	log, err := sqlite.Open(t.Context(), sqlite.Config{Folder: folder, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := ImportFolder(t.Context(), folder, strings.NewReader(""), nil, quiet); !errors.Is(err, sqlite.ErrInUse) {
		t.Errorf("import: %v", err)
	}
	if err := View(t.Context(), folder, func(*index.Index) error { return nil }); !errors.Is(err, sqlite.ErrInUse) {
		t.Errorf("view: %v", err)
	}
}

func FuzzImport(f *testing.F) {
	f.Add([]byte(`{"activity_id":"00000000000000000000000000000001-0000000000000001","events":[{"event":"started","at":"5","links":[{}],"span_events":[{"at":"1"}],"resource":{"attributes":[{"key":"a","value":{"doubleValue":"NaN"}}]},"scope":{}}]}`))
	f.Add([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","eventName":"midspan.event","traceId":"00000000000000000000000000000001","spanId":"0000000000000001","body":{"stringValue":"{\"event\":\"lost\",\"at\":\"1\"}"}}]}]}]}`))
	f.Add([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[{"key":"midspan.events","value":{"intValue":"1"}}]}]}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		x := index.New(index.Config{})
		_, _ = Import(t.Context(), bytes.NewReader(b), applied{x})
		// What was taken can be written and taken again.
		var out bytes.Buffer
		if _, err := Export(t.Context(), &out, x, &activity.Filter{}, NDJSON); err != nil {
			t.Fatal(err)
		}
		y := index.New(index.Config{})
		if _, err := Import(t.Context(), &out, applied{y}); err != nil {
			t.Fatal(err)
		}
	})
}
