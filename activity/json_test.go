package activity_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares JSON, indented for the reader, with a file of testdata.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if !json.Valid(got) || !utf8.Valid(got) || bytes.ContainsAny(got, "\r\n") {
		t.Fatalf("not JSON on one line: %q", got)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, indented.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), indented.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func TestJSON(t *testing.T) {
	full := activity.Fold([]activity.Event{
		with(event(1, 0, activity.EventPlanned,
			str(activity.KeyType, "decision"), str(activity.KeyState, "PLANNED"), str(activity.KeyPlanned, "Analyze <metrics> & more"),
			num(activity.KeyPlannedAt, int64(second(0))+1), str(activity.KeyThreadID, "worker-3"), str(activity.KeyThreadName, "Worker"),
			str("text", "line\nbreak \u2028 \x00 \xff \"quoted\""), num("int", -7), num("big", 1<<53+1), num("max", math.MaxInt64),
			num("exact", 1<<53), float("float", 0.1), float("small", 1e-7), float("NaN", math.NaN()), float("Inf", math.Inf(-1)),
			boolean("bool", true), activity.Attr{Key: "bytes", Value: activity.BytesValue("\x00\xff")}, activity.Attr{Key: "empty"},
			activity.Attr{Key: "list", Value: activity.SliceValue([]activity.Value{activity.StringValue("a"), activity.FloatValue(2)})},
			activity.Attr{Key: "map", Value: activity.MapValue([]activity.Attr{str("inner", "v")})},
			boolean(activity.KeyLongRunning, true),
			activity.Attr{Key: "activity.own", Value: activity.StringValue("unknown keys stay")},
		), func(e *activity.Event) {
			e.Name = "Select deployment strategy"
			e.Parent = activity.ID{Trace: e.ID.Trace, Span: activity.SpanID{0xab, 0x12}}
			e.Resource = &activity.Resource{Service: "orders", Instance: "7f3c"}
			e.Links = []activity.Link{{ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{2}}}}
			e.Sampling = activity.Unsampled
		}),
		event(2, 1, activity.EventStarted, num(activity.KeyStartedAt, int64(second(0))+1_500_001), str(activity.KeyCurrent, "Analyzing"), float(activity.KeyProgress, 0.4)),
		with(event(3, 2, activity.EventFailed, str(activity.KeyFinal, "Gave up"), str(activity.KeyReasoning, "load low"),
			activity.Attr{Key: activity.KeyAlternatives, Value: activity.SliceValue([]activity.Value{activity.StringValue("canary")})},
			str(activity.KeyResult, `{"a": [1, 2], "html": "<b>"}`), str(activity.KeyErrorType, "QuotaError"), str(activity.KeyAgentName, "planner"),
		), func(e *activity.Event) { e.Status, e.StatusMessage = activity.StatusError, "no room" }),
	})
	full.Usual = 840 * time.Millisecond
	full.Lease = activity.LeaseLive
	full.TraceURL = "http://localhost:16686/trace/" + traceText
	golden(t, "full.json", full.AppendJSON(nil))

	bare := activity.Fold([]activity.Event{event(1, 0, activity.EventStarted)})
	bare.Stalled = true
	golden(t, "bare.json", bare.AppendJSON(nil))

	b, err := json.Marshal(&bare)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(bare.AppendJSON(nil)), string(b)); diff != "" {
		t.Errorf("json.Marshal differs (-AppendJSON +Marshal):\n%s", diff)
	}
}

// The design's example names every field, in this order.
func TestJSONFields(t *testing.T) {
	want := strings.Fields(`activity_id trace_id span_id parent_id type state stalled name
		what_it_will_do what_its_doing what_it_did progress planned_at started_at ended_at wait_ms duration_ms
		usual_ms last_seen_at service instance lease agent thread_id thread_name
		decision result result_truncated error attributes links sampled trace_url`)
	a := activity.Fold([]activity.Event{event(1, 0, activity.EventStarted)})
	dec := json.NewDecoder(bytes.NewReader(a.AppendJSON(nil)))
	var got []string
	for depth := 0; ; {
		token, err := dec.Token()
		if err != nil {
			break
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
			continue
		case json.Delim('}'), json.Delim(']'):
			depth--
			continue
		}
		if key, ok := token.(string); ok && depth == 1 {
			got = append(got, key)
			var value any
			if err := dec.Decode(&value); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestJSONDurations(t *testing.T) {
	for _, tt := range []struct {
		name           string
		events         []activity.Event
		wait, duration string
	}{
		{"waiting", []activity.Event{event(1, 0, activity.EventPlanned)}, "null", "null"},
		{"working", []activity.Event{event(1, 0, activity.EventPlanned), event(2, 2, activity.EventStarted)}, "2000", "null"},
		{"done", []activity.Event{event(1, 0, activity.EventPlanned), event(2, 2, activity.EventStarted), event(3, 5, activity.EventCompleted)}, "2000", "3000"},
		{"never planned", []activity.Event{event(1, 0, activity.EventStarted), event(3, 5, activity.EventCompleted)}, "null", "5000"},
		{"cancelled while waiting", []activity.Event{event(1, 0, activity.EventPlanned), event(2, 2, activity.EventCancelled)}, "2000", "null"},
		{"lost", []activity.Event{event(1, 0, activity.EventStarted), event(2, 2, activity.EventLost)}, "null", "null"},
		{"lost while waiting", []activity.Event{event(1, 0, activity.EventPlanned), event(2, 2, activity.EventLost)}, "null", "null"},
		{"to the nanosecond", []activity.Event{event(1, 0, activity.EventStarted), with(event(2, 0, activity.EventCompleted), func(e *activity.Event) { e.At += 1_234_567 })}, "null", "1.234567"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := activity.Fold(tt.events)
			var got struct {
				Wait     json.RawMessage `json:"wait_ms"`
				Duration json.RawMessage `json:"duration_ms"`
			}
			if err := json.Unmarshal(a.AppendJSON(nil), &got); err != nil {
				t.Fatal(err)
			}
			if string(got.Wait) != tt.wait || string(got.Duration) != tt.duration {
				t.Errorf("wait_ms %s, duration_ms %s; want %s, %s", got.Wait, got.Duration, tt.wait, tt.duration)
			}
		})
	}
}

func TestJSONResult(t *testing.T) {
	long := `["` + strings.Repeat("x", activity.MaxResult) + `"]`
	for _, tt := range []struct {
		name, result string
		cut          bool
		want         string
	}{
		{"none", "", false, "null"},
		{"object", `{"a":1}`, false, `{"a":1}`},
		{"number beyond a float", "12345678901234567890", false, "12345678901234567890"},
		{"null", "null", false, "null"},
		{"not JSON", "plain words", false, `"plain words"`},
		{"not JSON, of several lines", "a\nb", false, `"a\nb"`},
		{"line breaks", "{\n  \"a\": 1,\r\n  \"b\": \"x y\"\n}", false, `{"a":1,"b":"x y"}`},
		{"cut by the sender", `[1`, true, `"[1"`},
		{"whole, but said to be cut", `[1]`, true, `"[1]"`},
		{"cut here", long, false, `"[\"` + strings.Repeat("x", activity.MaxResult-2) + `"`},
		{"broken UTF-8", "\"a\xff\"", false, "\"a\ufffd\""},
		{"broken UTF-8 and line breaks", "[\n\"a\xff\"\n]", false, "[\"a\ufffd\"]"},
		{"two values", "1 2", false, `"1 2"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := activity.Fold([]activity.Event{event(1, 0, activity.EventStarted, str(activity.KeyResult, tt.result))})
			if tt.cut {
				a = activity.Fold([]activity.Event{event(1, 0, activity.EventStarted, str(activity.KeyResult, tt.result), boolean(activity.KeyResultTruncated, true))})
			}
			b := a.AppendJSON(nil)
			var got struct {
				Result json.RawMessage `json:"result"`
			}
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			if string(got.Result) != tt.want && (tt.want != "null" || got.Result != nil) {
				t.Errorf("result = %.80s, want %.80s", got.Result, tt.want)
			}
			if bytes.ContainsAny(b, "\r\n") || !utf8.Valid(b) {
				t.Errorf("not on one line of UTF-8: %q", b)
			}
		})
	}
}

func FuzzJSONResult(f *testing.F) {
	for _, seed := range []string{"", "{}", "[1,\n2]", "\"\xff\"", "\u2028", "{\"a\":\"\xed\xa0\x80\r\"}", strings.Repeat("[", 20_000)} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, result string, cut bool) {
		a := activity.Fold([]activity.Event{event(1, 0, activity.EventStarted, str(activity.KeyResult, result), boolean(activity.KeyResultTruncated, cut))})
		b := a.AppendJSON(nil)
		if !json.Valid(b) || !utf8.Valid(b) || bytes.ContainsAny(b, "\r\n") {
			t.Fatalf("result %q: %q is not JSON on one line", result, b)
		}
	})
}

func TestEventJSON(t *testing.T) {
	e := with(event(3, 2, activity.EventUpdated,
		str(activity.KeyType, "decision"), str(activity.KeyCurrent, "Analyzing"), float(activity.KeyProgress, 0.5), num(activity.KeyStartedAt, 5),
		str(activity.KeyResult, "{}"), str(activity.KeyThreadID, "w"), str("a", "1"), num("b", 2)), func(e *activity.Event) {
		e.Name, e.Status, e.StatusMessage = "n", activity.StatusError, "m"
		e.Links = []activity.Link{{ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{2}}}, {ID: activity.ID{Trace: activity.TraceID{3}, Span: activity.SpanID{4}}}}
		e.SpanEvents = []activity.SpanEvent{{At: second(1), Name: "exception", Attrs: []activity.Attr{str("exception.type", "T")}}, {Name: "x"}}
	})
	golden(t, "event.json", e.AppendJSON(nil))
	bare := event(1, 0, activity.EventStarted)
	if got, want := string(bare.AppendJSON(nil)), `{"seq":1,"at":"1970-01-01T00:01:40.000000000Z","event":"started","changes":{}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	merged := event(9, 2, activity.EventUpdated)
	merged.FromSeq, merged.FromAt = 4, second(1)
	if got, want := string(merged.AppendJSON(nil)), `{"seq":9,"at":"1970-01-01T00:01:42.000000000Z","from_seq":4,"from_at":"1970-01-01T00:01:41.000000000Z","event":"updated","changes":{}}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// FuzzAppendString holds that a string comes back as encoding/json's own does.
func FuzzAppendString(f *testing.F) {
	for _, seed := range []string{"", "plain", "\x00\x1f\x7f\"\\/", "<script>&amp;", "\u2028\u2029\u2030", "\xff\xc0a\xed\xa0\x80", "日本\U0001f600", "\r\n\t\b\f"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := activity.AppendString(nil, s)
		if bytes.ContainsAny(b, "\r\n<>&\u2028\u2029") {
			t.Fatalf("%q holds what must be escaped", b)
		}
		var got, want string
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		ref, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(ref, &want); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("%q comes back as %q, want %q", s, got, want)
		}
	})
}

func FuzzAppendFloat(f *testing.F) {
	for _, seed := range []float64{0, math.Copysign(0, -1), 1, -1.5, 1e-6, 9.999e-7, 1e20, 1e21, math.MaxFloat64, math.SmallestNonzeroFloat64, math.NaN(), math.Inf(1)} {
		f.Add(math.Float64bits(seed))
	}
	f.Fuzz(func(t *testing.T, bits uint64) {
		x := math.Float64frombits(bits)
		b := activity.AppendFloat(nil, x)
		if math.IsNaN(x) || math.IsInf(x, 0) {
			if string(b) != "null" {
				t.Fatalf("%v becomes %s", x, b)
			}
			return
		}
		var got float64
		if err := json.Unmarshal(b, &got); err != nil || got != x {
			t.Fatalf("%v becomes %s: %v", x, b, err)
		}
	})
}

func FuzzTimeAppend(f *testing.F) {
	for _, seed := range []int64{0, 1, -1, 1_800_000_000_123_456_789, math.MinInt64, math.MaxInt64, -62_135_596_800, 951_782_400_000_000_000} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, ns int64) {
		const layout = "2006-01-02T15:04:05.000000000Z"
		got, want := activity.Time(ns).String(), time.Unix(0, ns).UTC().Format(layout)
		if got != want {
			t.Fatalf("%d: %s, want %s", ns, got, want)
		}
		b, err := activity.Time(ns).MarshalJSON()
		if ns == 0 {
			want = ""
		}
		if err != nil || ns == 0 && string(b) != "null" || ns != 0 && string(b) != `"`+want+`"` {
			t.Fatalf("%d: JSON %s, %v", ns, b, err)
		}
	})
}

func TestNames(t *testing.T) {
	if got := activity.StatusOK.String() + activity.StatusError.String() + activity.Status(9).String(); got != "okerrorerror" {
		t.Errorf("statuses: %s", got)
	}
	if got := activity.KindConsumer.String() + activity.SpanKind(99).String(); got != "consumerunset" {
		t.Errorf("span kinds: %s", got)
	}
	if got := activity.LeaseNone.String() + activity.LeaseExpired.String() + activity.Lease(9).String(); got != "noneexpiredexpired" {
		t.Errorf("leases: %s", got)
	}
	if got := (activity.Position{LogID: "01J", Seq: 812}).String(); got != "01J:812" {
		t.Errorf("position: %s", got)
	}
}
