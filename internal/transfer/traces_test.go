package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// applied is a log that is an index alone.
type applied struct{ *index.Index }

func (a applied) Append(_ context.Context, events []activity.Event) error {
	a.Apply(events)
	return nil
}

// TestJaeger holds the file to what Jaeger's own translation makes of a span. The
// e2e test compares more of them with a real Jaeger's answers.
func TestJaeger(t *testing.T) {
	id := activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{2}}
	e := activity.Event{ID: id, Kind: activity.EventFailed, At: 5_000_000, Changes: activity.Changes{
		Name: "GET", Parent: activity.ID{Trace: id.Trace, Span: activity.SpanID{1}}, SpanKind: activity.KindServer, StartTime: 2_000_500, EndTime: 5_000_000,
		Status: activity.StatusError, StatusMessage: "no", TraceState: "a=b", Sampling: activity.Sampled,
		Resource: activity.NewResource([]activity.Attr{{Key: "service.name", Value: activity.StringValue("shop")}, {Key: "host", Value: activity.StringValue("a")}}, ""),
		Scope:    &activity.Scope{Name: "lib", Version: "1"},
		Attrs: []activity.Attr{
			{Key: "s", Value: activity.StringValue("x")}, {Key: "i", Value: activity.IntValue(1 << 60)}, {Key: "f", Value: activity.FloatValue(1.5)},
			{Key: "l", Value: activity.SliceValue([]activity.Value{activity.IntValue(1), activity.StringValue("<")})}, {Key: "b", Value: activity.BytesValue("\x01")},
		},
		SpanEvents: []activity.SpanEvent{{At: 3_000_000, Name: "retry", Attrs: []activity.Attr{{Key: "n", Value: activity.IntValue(2)}}}},
		Links:      []activity.Link{{ID: activity.ID{Trace: activity.TraceID{3}, Span: activity.SpanID{3}}}},
	}}
	text, _ := export(t, keep(t, []activity.Event{e}), activity.Filter{}, Jaeger)
	const want = `{"data":[{"traceID":"01000000000000000000000000000000","spans":[{"traceID":"01000000000000000000000000000000","spanID":"0200000000000000",
"operationName":"GET","references":[{"refType":"CHILD_OF","traceID":"01000000000000000000000000000000","spanID":"0100000000000000"},
{"refType":"FOLLOWS_FROM","traceID":"03000000000000000000000000000000","spanID":"0300000000000000"}],"startTime":2000,"duration":2999,
"tags":[{"key":"otel.scope.name","type":"string","value":"lib"},{"key":"otel.scope.version","type":"string","value":"1"},
{"key":"s","type":"string","value":"x"},{"key":"i","type":"int64","value":"1152921504606846976"},{"key":"f","type":"float64","value":1.5},
{"key":"l","type":"string","value":"[1,\"\\u003c\"]"},{"key":"b","type":"binary","value":"AQ=="},
{"key":"span.kind","type":"string","value":"server"},{"key":"otel.status_code","type":"string","value":"ERROR"},{"key":"error","type":"bool","value":true},
{"key":"otel.status_description","type":"string","value":"no"},{"key":"w3c.tracestate","type":"string","value":"a=b"}],
"logs":[{"timestamp":3000,"fields":[{"key":"event","type":"string","value":"retry"},{"key":"n","type":"int64","value":2}]}],"processID":"p1","warnings":null}],
"processes":{"p1":{"serviceName":"shop","tags":[{"key":"host","type":"string","value":"a"}]}},"warnings":null}],"total":0,"limit":0,"offset":0,"errors":null}`
	var got, expected any
	for text, into := range map[string]*any{text: &got, want: &expected} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Error(diff)
	}
}

// TestChrome holds the file to the rules of "Trace Event Format": the fields that
// each phase must have, and complete events of a thread that lie within each other.
func TestChrome(t *testing.T) {
	m := newMaker(5)
	var events []activity.Event
	for range 400 {
		events = append(events, m.story()...)
	}
	// Children that overlap each other can't be of one thread.
	for k := range 3 {
		id := m.id()
		id.Trace = activity.TraceID{0xab}
		e := m.final(id)
		e.Resource, e.StartTime, e.EndTime = m.resources[0], began+activity.Time(k)*1000, began+activity.Time(k)*1000+10_000
		e.At = e.EndTime
		events = append(events, e)
	}
	folder := keep(t, events)
	text, n := export(t, folder, activity.Filter{}, Chrome)
	var file struct {
		Unit   string `json:"displayTimeUnit"`
		Events []struct {
			Name     *string        `json:"name"`
			Phase    string         `json:"ph"`
			At       *float64       `json:"ts"`
			Duration *float64       `json:"dur"`
			Process  *int           `json:"pid"`
			Thread   *int           `json:"tid"`
			Scope    string         `json:"s"`
			Args     map[string]any `json:"args"`
		} `json:"traceEvents"`
	}
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	if file.Unit != "ms" {
		t.Errorf("unit %q", file.Unit)
	}
	type interval struct{ from, to float64 }
	spans, names := 0, map[string]bool{}
	threads := make(map[string][]interval)
	for i, e := range file.Events {
		if e.Name == nil || *e.Name == "" || e.At == nil || e.Process == nil || e.Thread == nil {
			t.Fatalf("event %d lacks name, ts, pid or tid: %+v", i, e)
		}
		thread := fmt.Sprint(*e.Process, "/", *e.Thread)
		switch e.Phase {
		case "M":
			names[fmt.Sprint(*e.Name, " ", thread)] = true
			if _, ok := e.Args["name"].(string); !ok {
				t.Errorf("event %d names nothing", i)
			}
			continue
		case "X":
			if e.Duration == nil || *e.Duration < 0 {
				t.Fatalf("event %d has no duration", i)
			}
			threads[thread] = append(threads[thread], interval{*e.At, *e.At + *e.Duration})
			spans++
		case "B":
			spans++
		case "i":
			if e.Scope != "t" {
				t.Errorf("event %d has scope %q", i, e.Scope)
			}
		default:
			t.Errorf("event %d has phase %q", i, e.Phase)
		}
		if !names["thread_name "+thread] || !names[fmt.Sprint("process_name ", *e.Process, "/0")] {
			t.Errorf("event %d: its process or thread has no name yet", i)
		}
	}
	if spans != n || n != 403 {
		t.Errorf("%d spans, %d exported", spans, n)
	}
	for thread, list := range threads {
		slices.SortFunc(list, func(a, b interval) int { return int(a.from - b.from) })
		for i := range list {
			for k := i + 1; k < len(list); k++ {
				const slack = 1 // microseconds: a float64 does not tell less apart in this century
				if list[k].from < list[i].to-slack && list[k].to > list[i].to+slack && list[k].from > list[i].from+slack {
					t.Errorf("thread %s: %v and %v overlap", thread, list[i], list[k])
				}
			}
		}
	}
}

// Traces whose spans end far from each other are whole, whatever else is read
// with them.
func TestTracesAreWhole(t *testing.T) {
	m := newMaker(6)
	var events []activity.Event
	const traces, each = 700, 5
	for n := range each {
		for k := range traces {
			e := m.final(activity.ID{Trace: activity.TraceID{1, byte(k >> 8), byte(k)}, Span: activity.SpanID{byte(n + 1)}})
			if k%7 == 0 && n == each-1 { // open, lost
				e.EndTime, e.Kind = 0, pick(m, activity.EventStarted, activity.EventLost)
			}
			events = append(events, e)
		}
	}
	folder := keep(t, events)
	for _, maxHeld := range []int{200, traces * each / 3, maxHeldSpans} {
		var out bytes.Buffer
		if err := View(t.Context(), folder, func(x *index.Index) error {
			n, err := exportTraces(t.Context(), &out, x, &activity.Filter{}, new(jaegerFile), maxHeld)
			if n != traces*each {
				t.Errorf("%d spans", n)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		var file struct {
			Data []struct {
				TraceID string `json:"traceID"`
				Spans   []any  `json:"spans"`
			} `json:"data"`
		}
		if err := json.Unmarshal(out.Bytes(), &file); err != nil {
			t.Fatal(err)
		}
		if len(file.Data) != traces {
			t.Errorf("with %d spans held: %d traces", maxHeld, len(file.Data))
		}
		for _, trace := range file.Data {
			if len(trace.Spans) != each {
				t.Errorf("with %d spans held: trace %s has %d spans", maxHeld, trace.TraceID, len(trace.Spans))
			}
		}
	}
}
