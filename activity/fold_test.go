package activity_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// str, num, float, boolean are attributes as a sender sets them.
func str(key, value string) activity.Attr {
	return activity.Attr{Key: key, Value: activity.StringValue(value)}
}
func num(key string, value int64) activity.Attr {
	return activity.Attr{Key: key, Value: activity.IntValue(value)}
}
func float(key string, value float64) activity.Attr {
	return activity.Attr{Key: key, Value: activity.FloatValue(value)}
}
func boolean(key string, value bool) activity.Attr {
	return activity.Attr{Key: key, Value: activity.BoolValue(value)}
}

// event is one of the activity idText. at counts seconds from 100 on.
func event(rev uint32, at int64, kind activity.Kind, attrs ...activity.Attr) activity.Event {
	id, _ := activity.ParseID(idText)
	e := activity.Event{Seq: uint64(rev), ID: id, Rev: rev, At: second(at), Kind: kind}
	e.Attrs = attrs
	return e
}

func second(n int64) activity.Time { return activity.Time(100+n) * activity.Time(time.Second) }

// with sets what a struct literal of an event would.
func with(e activity.Event, set func(*activity.Event)) activity.Event {
	set(&e)
	return e
}

// Rule by rule, as the design's section "Events and the fold" has them.
func TestFold(t *testing.T) {
	const (
		planned, started, updated    = activity.EventPlanned, activity.EventStarted, activity.EventUpdated
		completed, failed, cancelled = activity.EventCompleted, activity.EventFailed, activity.EventCancelled
		lost                         = activity.EventLost
	)
	type want struct {
		state             activity.State
		planned           activity.Time
		started, ended    activity.Time
		wait, duration    time.Duration // at second 50; -1 for none
		what, error, name string
	}
	for _, tt := range []struct {
		name   string
		events []activity.Event
		want   want
	}{
		{
			"started", []activity.Event{event(1, 0, started)},
			want{state: activity.InProgress, planned: second(0), started: second(0), wait: -1, duration: 50 * time.Second},
		},
		{
			"completed", []activity.Event{event(1, 0, started), event(2, 3, completed)},
			want{state: activity.Completed, planned: second(0), started: second(0), ended: second(3), wait: -1, duration: 3 * time.Second},
		},
		{
			"planned", []activity.Event{event(1, 0, planned)},
			want{state: activity.Planned, planned: second(0), wait: 50 * time.Second, duration: -1},
		},
		{
			"planned, then started",
			[]activity.Event{with(event(1, 0, planned), func(e *activity.Event) { e.StartTime = second(0) }), event(2, 2, started), event(3, 5, completed)},
			want{state: activity.Completed, planned: second(0), started: second(2), ended: second(5), wait: 2 * time.Second, duration: 3 * time.Second},
		},
		{
			"planned_at and started_at say when",
			[]activity.Event{event(1, 2, planned, num(activity.KeyPlannedAt, int64(second(1)))), event(2, 6, started, num(activity.KeyStartedAt, int64(second(4)))), event(3, 9, completed)},
			want{state: activity.Completed, planned: second(1), started: second(4), ended: second(9), wait: 3 * time.Second, duration: 5 * time.Second},
		},
		{
			"started_at told at the end",
			[]activity.Event{event(1, 0, planned), event(2, 9, completed, num(activity.KeyStartedAt, int64(second(9))))},
			want{state: activity.Completed, planned: second(0), started: second(9), ended: second(9), wait: 9 * time.Second, duration: 0},
		},
		{
			"planned, then cancelled",
			[]activity.Event{event(1, 0, planned), event(2, 4, cancelled)},
			want{state: activity.Cancelled, planned: second(0), ended: second(4), wait: 4 * time.Second, duration: -1},
		},
		{
			"started_at before planned_at is no negative wait",
			[]activity.Event{event(1, 5, planned), event(2, 6, started, num(activity.KeyStartedAt, int64(second(1))))},
			want{state: activity.InProgress, planned: second(5), started: second(1), wait: 0, duration: 49 * time.Second},
		},
		{
			"an end before its start is no negative duration",
			[]activity.Event{event(1, 5, started), event(2, 3, completed)},
			want{state: activity.Completed, planned: second(5), started: second(5), ended: second(3), wait: -1, duration: 0},
		},
		{
			"an end is all that was seen",
			[]activity.Event{with(event(7, 9, failed), func(e *activity.Event) { e.StartTime, e.EndTime = second(1), second(8) })},
			want{state: activity.Failed, planned: second(1), started: second(1), ended: second(8), wait: -1, duration: 7 * time.Second, error: "|"},
		},
		{
			"a terminal state beats an open one",
			[]activity.Event{event(1, 0, started), event(2, 1, completed), event(3, 2, started)},
			want{state: activity.Completed, planned: second(0), started: second(0), ended: second(1), wait: -1, duration: time.Second},
		},
		{
			"the first end wins",
			[]activity.Event{event(1, 0, started), event(2, 1, cancelled), event(3, 2, failed)},
			want{state: activity.Cancelled, planned: second(0), started: second(0), ended: second(1), wait: -1, duration: time.Second},
		},
		{
			"a final span enriches",
			[]activity.Event{event(1, 0, started), event(2, 1, completed), event(3, 5, updated, str(activity.KeyFinal, "did")), with(event(4, 6, completed), func(e *activity.Event) { e.Name = "late" })},
			want{state: activity.Completed, planned: second(0), started: second(0), ended: second(1), wait: -1, duration: time.Second, what: "did", name: "late"},
		},
		{
			"lost", []activity.Event{event(1, 0, started), event(2, 9, lost)},
			want{state: activity.Lost, planned: second(0), started: second(0), wait: -1, duration: -1},
		},
		{
			"a real end beats LOST",
			[]activity.Event{event(1, 0, started), event(2, 9, lost), event(3, 4, completed)},
			want{state: activity.Completed, planned: second(0), started: second(0), ended: second(4), wait: -1, duration: 4 * time.Second},
		},
		{
			"LOST does not beat a real end",
			[]activity.Event{event(1, 0, started), event(2, 4, completed), event(3, 9, lost)},
			want{state: activity.Completed, planned: second(0), started: second(0), ended: second(4), wait: -1, duration: 4 * time.Second},
		},
		{
			"LOST is taken back by a sign of life",
			[]activity.Event{event(1, 0, started), event(2, 9, lost), event(3, 10, updated)},
			want{state: activity.InProgress, planned: second(0), started: second(0), wait: -1, duration: 50 * time.Second},
		},
		{
			"LOST while planned goes back to PLANNED",
			[]activity.Event{event(1, 0, planned), event(2, 9, lost), event(3, 10, updated)},
			want{state: activity.Planned, planned: second(0), wait: 50 * time.Second, duration: -1},
		},
		{
			"an update of what nobody saw start",
			[]activity.Event{event(4, 3, updated)},
			want{state: activity.InProgress, planned: second(3), started: second(3), wait: -1, duration: 47 * time.Second},
		},
		{
			"the highest number wins, whatever its time",
			[]activity.Event{event(1, 0, started), event(2, 9, updated, str(activity.KeyCurrent, "a"), str(activity.KeyFinal, "x")), event(3, 5, completed, str(activity.KeyFinal, "y"))},
			want{state: activity.Completed, planned: second(0), started: second(0), ended: second(5), wait: -1, duration: 5 * time.Second, what: "y"},
		},
		{
			"without numbers the latest time wins",
			[]activity.Event{event(0, 0, started), event(0, 9, updated, str(activity.KeyFinal, "later")), event(0, 5, updated, str(activity.KeyFinal, "sooner"))},
			want{state: activity.InProgress, planned: second(0), started: second(0), wait: -1, duration: 50 * time.Second, what: "later"},
		},
		{
			"failed: status message and error.type",
			[]activity.Event{event(1, 0, started), with(event(2, 1, failed, str(activity.KeyErrorType, "quota")), func(e *activity.Event) {
				e.Status, e.StatusMessage = activity.StatusError, "no room"
			})},
			want{state: activity.Failed, planned: second(0), started: second(0), ended: second(1), wait: -1, duration: time.Second, error: "quota|no room"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := activity.Fold(slices.Clone(tt.events))
			got := want{
				state: a.State, planned: a.PlannedAt, started: a.StartedAt, ended: a.EndedAt,
				wait: -1, duration: -1, what: a.Final, name: a.Name,
			}
			if w, ok := a.Wait(second(50)); ok {
				got.wait = w
			}
			if d, ok := a.Duration(second(50)); ok {
				got.duration = d
			}
			if a.Error != nil {
				got.error = a.Error.Type + "|" + a.Error.Message
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A loss is a verdict: the activity was seen last by what it told before.
func TestFoldLastSeen(t *testing.T) {
	for _, tt := range []struct {
		name         string
		events       []activity.Event
		seen, lostAt activity.Time
	}{
		{"lost", []activity.Event{event(1, 0, activity.EventStarted), event(2, 1, activity.EventUpdated), event(3, 9, activity.EventLost)}, second(1), second(9)},
		{"back", []activity.Event{event(1, 0, activity.EventStarted), event(2, 9, activity.EventLost), event(3, 10, activity.EventUpdated)}, second(10), second(9)},
		{"lost again", []activity.Event{event(1, 0, activity.EventStarted), event(2, 9, activity.EventLost), event(3, 10, activity.EventUpdated), event(4, 20, activity.EventLost)}, second(10), second(20)},
		{"all that is known", []activity.Event{event(1, 9, activity.EventLost)}, second(9), second(9)},
	} {
		if a := activity.Fold(tt.events); a.LastSeenAt != tt.seen || a.LostAt != tt.lostAt {
			t.Errorf("%s: last seen %v, lost %v; want %v, %v", tt.name, a.LastSeenAt, a.LostAt, tt.seen, tt.lostAt)
		}
	}
}

func TestFoldFields(t *testing.T) {
	res := &activity.Resource{Service: "orders", Instance: "i-1"}
	scope := &activity.Scope{Name: "lib"}
	link := activity.Link{ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{2}}}
	first := event(1, 0, activity.EventStarted, str("a", "1"), str("b", "1"))
	first.Name, first.SpanKind, first.StartTime = "n", activity.KindServer, second(-1)
	first.Parent = activity.ID{Trace: first.ID.Trace, Span: activity.SpanID{9}}
	first.Resource, first.Scope, first.TraceState, first.Sampling = res, scope, "k=v", activity.Unsampled
	first.Links = []activity.Link{link, link}
	second_ := event(2, 1, activity.EventUpdated, str("b", "2"), str("c", "2"), float(activity.KeyProgress, 1.5), boolean(activity.KeyLongRunning, true))
	second_.Links = []activity.Link{link}
	second_.Dropped = [3]uint32{1, 0, 7}
	a := activity.Fold([]activity.Event{second_, first})

	if a.Name != "n" || a.Kind != activity.KindServer || a.SpanStart != second(-1) || a.Parent != first.Parent ||
		a.Resource != res || a.Scope != scope || a.TraceState != "k=v" || a.Sampling != activity.Unsampled || a.Seq != 2 ||
		a.Service() != "orders" || a.Instance() != "i-1" || a.LastSeenAt != second(1) {
		t.Errorf("head = %+v", a.Head)
	}
	if a.PlannedAt != second(-1) || a.StartedAt != second(-1) {
		t.Errorf("planned %v, started %v; want the span's start", a.PlannedAt, a.StartedAt)
	}
	if !a.HasProgress() || a.Progress != 1 || !a.Reports || !a.LongRunning {
		t.Errorf("progress %v, reports %v, long running %v", a.Progress, a.Reports, a.LongRunning)
	}
	want := []activity.Attr{str("a", "1"), str("b", "2"), str("c", "2"), float(activity.KeyProgress, 1.5), boolean(activity.KeyLongRunning, true)}
	if diff := cmp.Diff(want, a.Attributes); diff != "" {
		t.Errorf("attributes in the order of their first setting (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]activity.Link{link}, a.Links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
	if a.Dropped != [3]uint32{1, 0, 7} {
		t.Errorf("dropped = %v", a.Dropped)
	}
}

func TestFoldThreadAndAgent(t *testing.T) {
	for _, tt := range []struct {
		name   string
		attrs  []activity.Attr
		thread string
	}{
		{"own", []activity.Attr{str(activity.KeyThreadID, "worker-3")}, "worker-3"},
		{"semantic conventions", []activity.Attr{num(activity.KeyThreadIDSemconv, 17)}, "17"},
		{"own before", []activity.Attr{str(activity.KeyThreadID, "w"), num(activity.KeyThreadIDSemconv, 17)}, "w"},
		{"own behind", []activity.Attr{num(activity.KeyThreadIDSemconv, 17), str(activity.KeyThreadID, "w")}, "w"},
		{"the last", []activity.Attr{num(activity.KeyThreadIDSemconv, 17), num(activity.KeyThreadIDSemconv, 18)}, "18"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			events := []activity.Event{event(1, 0, activity.EventStarted)}
			for i, attr := range tt.attrs {
				events = append(events, event(uint32(i+2), int64(i), activity.EventUpdated, attr))
			}
			if a := activity.Fold(events); a.ThreadID != tt.thread {
				t.Errorf("thread = %q, want %q", a.ThreadID, tt.thread)
			}
		})
	}
	a := activity.Fold([]activity.Event{event(1, 0, activity.EventStarted, str(activity.KeyAgentName, "planner"), str(activity.KeyThreadName, "Mail"))})
	if a.Agent != "planner" || a.ThreadName != "Mail" {
		t.Errorf("agent %q, thread name %q", a.Agent, a.ThreadName)
	}
}

func TestFoldDecision(t *testing.T) {
	a := activity.Fold([]activity.Event{
		event(1, 0, activity.EventStarted, str(activity.KeyReasoning, "why")),
		event(2, 1, activity.EventUpdated, activity.Attr{Key: activity.KeyAlternatives, Value: activity.SliceValue([]activity.Value{
			activity.StringValue("a"), activity.StringValue("b"),
		})}),
	})
	if a.Decision == nil || !math.IsNaN(a.Decision.Confidence) {
		t.Fatalf("decision = %+v, want one without a confidence", a.Decision)
	}
	a = activity.Fold([]activity.Event{
		event(1, 0, activity.EventStarted, str(activity.KeyReasoning, "why"), str(activity.KeyChoice, "b")),
		event(2, 1, activity.EventCompleted, str(activity.KeyOutcome, "fine"), float(activity.KeyConfidence, 1.2)),
		event(3, 2, activity.EventUpdated, float(activity.KeyConfidence, math.NaN())),
	})
	want := &activity.DecisionRecord{Reasoning: "why", Choice: "b", Outcome: "fine", Confidence: 1}
	if diff := cmp.Diff(want, a.Decision); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
	if a := activity.Fold([]activity.Event{event(1, 0, activity.EventStarted)}); a.Decision != nil {
		t.Errorf("decision = %+v of one that decides nothing", a.Decision)
	}
}

func TestFoldResult(t *testing.T) {
	long := strings.Repeat("é", activity.MaxResult)
	for _, tt := range []struct {
		name   string
		attrs  []activity.Attr
		length int
		cut    bool
	}{
		{"short", []activity.Attr{str(activity.KeyResult, "{}")}, 2, false},
		{"as long as may be", []activity.Attr{str(activity.KeyResult, long[:activity.MaxResult])}, activity.MaxResult, false},
		{"too long", []activity.Attr{str(activity.KeyResult, long)}, activity.MaxResult, true},
		{"too long, cut at a rune's border", []activity.Attr{str(activity.KeyResult, "x"+long)}, activity.MaxResult - 1, true},
		{"cut by the sender", []activity.Attr{str(activity.KeyResult, "[1,"), boolean(activity.KeyResultTruncated, true)}, 3, true},
		{"cut by the sender, told first", []activity.Attr{boolean(activity.KeyResultTruncated, true), str(activity.KeyResult, "[1,")}, 3, true},
		{"cut here, not by the sender", []activity.Attr{str(activity.KeyResult, "x"+long), boolean(activity.KeyResultTruncated, false)}, activity.MaxResult - 1, true},
		{"a short one after a long one", []activity.Attr{str(activity.KeyResult, long), str(activity.KeyResult, "{}")}, 2, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := activity.Fold([]activity.Event{event(1, 0, activity.EventStarted, tt.attrs...)})
			if len(a.Result) != tt.length || a.ResultTruncated != tt.cut {
				t.Errorf("%d bytes, cut %v; want %d, %v", len(a.Result), a.ResultTruncated, tt.length, tt.cut)
			}
		})
	}
}

func TestFoldError(t *testing.T) {
	exception := func(at int64, kind, message, stack string) activity.Event {
		return with(event(2, at, activity.EventUpdated), func(e *activity.Event) {
			e.SpanEvents = []activity.SpanEvent{{At: second(at), Name: "exception", Attrs: []activity.Attr{
				str(activity.KeyExceptionType, kind), str(activity.KeyExceptionMessage, message), str(activity.KeyExceptionStacktrace, stack),
			}}}
		})
	}
	status := func(rev uint32, s activity.Status, message string) activity.Event {
		return with(event(rev, int64(rev), activity.EventUpdated), func(e *activity.Event) { e.Status, e.StatusMessage = s, message })
	}
	for _, tt := range []struct {
		name   string
		events []activity.Event
		want   *activity.Error
	}{
		{"none", nil, nil},
		{"an exception alone is no failure", []activity.Event{exception(1, "T", "m", "s")}, nil},
		{"status alone", []activity.Event{status(3, activity.StatusError, "m")}, &activity.Error{Message: "m"}},
		{"exception and status", []activity.Event{exception(1, "T", "m", "s"), status(3, activity.StatusError, "")}, &activity.Error{Type: "T", Message: "m", Stack: "s"}},
		{"the status's message first", []activity.Event{exception(1, "T", "m", "s"), status(3, activity.StatusError, "said")}, &activity.Error{Type: "T", Message: "said", Stack: "s"}},
		{"error.type first", []activity.Event{exception(1, "T", "m", "s"), event(3, 3, activity.EventFailed, str(activity.KeyErrorType, "E"))}, &activity.Error{Type: "E", Message: "m", Stack: "s"}},
		{"the last exception", []activity.Event{exception(1, "T", "m", "s"), with(exception(2, "U", "n", ""), func(e *activity.Event) { e.Rev = 3 }), status(4, activity.StatusError, "")}, &activity.Error{Type: "U", Message: "n"}},
		{"an HTTP client's", []activity.Event{with(status(3, activity.StatusError, ""), func(e *activity.Event) {
			e.Attrs = []activity.Attr{num("http.response.status_code", 400), str(activity.KeyErrorType, "400")}
		})}, &activity.Error{Type: "400", Message: "HTTP 400 Bad Request"}},
		{"an HTTP server's, without error.type", []activity.Event{
			event(2, 2, activity.EventUpdated, num("http.response.status_code", 503)), status(3, activity.StatusError, ""),
		}, &activity.Error{Type: "503", Message: "HTTP 503 Service Unavailable"}},
		{"an HTTP server's answer to a bad request is no error", []activity.Event{event(3, 3, activity.EventUpdated, num("http.response.status_code", 400))}, nil},
		{"HTTP by its old name", []activity.Event{event(3, 3, activity.EventFailed, num("http.status_code", 499))}, &activity.Error{Type: "499", Message: "HTTP 499"}},
		{"HTTP, with words", []activity.Event{
			event(1, 1, activity.EventUpdated, num("http.response.status_code", 500)), exception(2, "T", "m", "s"), status(3, activity.StatusError, "said"),
		}, &activity.Error{Type: "T", Message: "said", Stack: "s"}},
		{"HTTP was well, something else was not", []activity.Event{event(3, 3, activity.EventFailed, num("http.response.status_code", 200))}, &activity.Error{}},
		{"failed without a word", []activity.Event{event(3, 3, activity.EventFailed)}, &activity.Error{}},
		{"Ok is final", []activity.Event{status(2, activity.StatusOK, ""), status(3, activity.StatusError, "m")}, nil},
		{"Ok takes an error back", []activity.Event{status(2, activity.StatusError, "m"), status(3, activity.StatusOK, "")}, nil},
		{"Unset takes nothing back", []activity.Event{status(2, activity.StatusError, "m"), status(3, activity.StatusUnset, "")}, &activity.Error{Message: "m"}},
		{"the last message", []activity.Event{status(2, activity.StatusError, "m"), status(3, activity.StatusError, "n")}, &activity.Error{Message: "n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := activity.Fold(append([]activity.Event{event(1, 0, activity.EventStarted)}, tt.events...))
			if diff := cmp.Diff(tt.want, a.Error); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if tt.want == nil && a.State != activity.InProgress {
				t.Errorf("state = %v", a.State)
			}
		})
	}
	e := with(event(2, 1, activity.EventUpdated), func(e *activity.Event) {
		for _, m := range []string{"a", "b", "a"} {
			e.SpanEvents = append(e.SpanEvents, activity.SpanEvent{At: 7, Name: "x", Attrs: []activity.Attr{str("m", m)}})
		}
	})
	if a := activity.Fold([]activity.Event{e, e}); len(a.SpanEvents) != 2 {
		t.Errorf("%d span events, want those two that differ: %v", len(a.SpanEvents), a.SpanEvents)
	}
}

func TestFoldMaxAttributes(t *testing.T) {
	e := event(1, 0, activity.EventStarted)
	for i := range activity.MaxAttributes + 3 {
		e.Attrs = append(e.Attrs, num(string(rune('a'+i%26))+strings.Repeat("x", i/26), int64(i)))
	}
	a := activity.Fold([]activity.Event{e, event(2, 1, activity.EventUpdated, num("a", -1))})
	if len(a.Attributes) != activity.MaxAttributes || a.Dropped[0] != 3 || a.Attr("a").Int() != -1 {
		t.Errorf("%d attributes, %d dropped, a = %v", len(a.Attributes), a.Dropped[0], a.Attr("a").Text())
	}
}

func TestCanonical(t *testing.T) {
	numbered := func(rev uint32, at int64, seq uint64) activity.Event {
		return activity.Event{Rev: rev, At: second(at), Seq: seq}
	}
	plain := func(at int64, seq uint64) activity.Event { return activity.Event{At: second(at), Seq: seq} }
	for _, tt := range []struct {
		name     string
		in, want []activity.Event
	}{
		{"none", nil, nil},
		{"by number", []activity.Event{numbered(3, 1, 1), numbered(1, 2, 2), numbered(2, 3, 3)}, []activity.Event{numbered(1, 2, 2), numbered(2, 3, 3), numbered(3, 1, 1)}},
		{"each number once, as it came first", []activity.Event{numbered(1, 0, 1), numbered(2, 8, 5), numbered(2, 9, 4)}, []activity.Event{numbered(1, 0, 1), numbered(2, 9, 4)}},
		{"by time", []activity.Event{plain(3, 1), plain(1, 2), plain(2, 3)}, []activity.Event{plain(1, 2), plain(2, 3), plain(3, 1)}},
		{"of one time by arrival", []activity.Event{plain(1, 4), plain(1, 3)}, []activity.Event{plain(1, 3), plain(1, 4)}},
		{
			"mixed, and a clock that went back",
			[]activity.Event{plain(6, 1), numbered(1, 5, 2), numbered(2, 3, 3), plain(4, 4), plain(5, 5)},
			[]activity.Event{plain(4, 4), numbered(1, 5, 2), numbered(2, 3, 3), plain(5, 5), plain(6, 1)},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := activity.Canonical(slices.Clone(tt.in))
			if diff := cmp.Diff(tt.want, got); diff != "" && len(tt.want)+len(got) > 0 {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSame(t *testing.T) {
	base := func() activity.Event { return event(0, 1, activity.EventUpdated, str("a", "1")) }
	linked := func(l activity.Link) activity.Event {
		return with(base(), func(e *activity.Event) { e.Links = []activity.Link{l} })
	}
	noted := func(se activity.SpanEvent) activity.Event {
		return with(base(), func(e *activity.Event) { e.SpanEvents = []activity.SpanEvent{se} })
	}
	for _, tt := range []struct {
		name string
		a, b activity.Event
		want bool
	}{
		{"one number", event(2, 1, activity.EventUpdated), event(2, 9, activity.EventCompleted), true},
		{"two numbers", event(2, 1, activity.EventUpdated), event(3, 1, activity.EventUpdated), false},
		{"a number and none", event(2, 1, activity.EventUpdated), event(0, 1, activity.EventUpdated), false},
		{"all alike", base(), with(base(), func(e *activity.Event) { e.Seq, e.ReceivedAt = 99, 99 }), true},
		{"another time", base(), with(base(), func(e *activity.Event) { e.At++ }), false},
		{"another kind", base(), with(base(), func(e *activity.Event) { e.Kind = activity.EventStarted }), false},
		{"another value", base(), with(base(), func(e *activity.Event) { e.Attrs = []activity.Attr{str("a", "2")} }), false},
		{"another name", base(), with(base(), func(e *activity.Event) { e.Name = "n" }), false},
		{"another link", base(), with(base(), func(e *activity.Event) { e.Links = make([]activity.Link, 1) }), false},
		{"another span event", base(), with(base(), func(e *activity.Event) { e.SpanEvents = make([]activity.SpanEvent, 1) }), false},
		{"another status", base(), with(base(), func(e *activity.Event) { e.Status = activity.StatusError }), false},
		{"a message of no status", base(), with(base(), func(e *activity.Event) { e.StatusMessage = "m" }), false},
		{"other flags", base(), with(base(), func(e *activity.Event) { e.Flags = 1 << 31 }), false},
		{"a key twice", base(), with(base(), func(e *activity.Event) { e.Attrs = append(e.Attrs, e.Attrs...) }), false},
		{"other flags of a link", linked(activity.Link{}), linked(activity.Link{Flags: 0x300}), false},
		{"a link that dropped", linked(activity.Link{}), linked(activity.Link{Dropped: 1}), false},
		{"a span event that dropped", noted(activity.SpanEvent{}), noted(activity.SpanEvent{Dropped: 1}), false},
	} {
		if got := tt.a.Same(&tt.b); got != tt.want {
			t.Errorf("%s: Same = %v, want %v", tt.name, got, tt.want)
		}
		if got := tt.b.Same(&tt.a); got != tt.want {
			t.Errorf("%s, turned round: Same = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestValueEqual(t *testing.T) {
	list := func(vs ...activity.Value) activity.Value { return activity.SliceValue(vs) }
	object := func(attrs ...activity.Attr) activity.Value { return activity.MapValue(attrs) }
	values := []activity.Value{
		{}, activity.BoolValue(false), activity.BoolValue(true), activity.IntValue(0), activity.IntValue(1), activity.IntValue(-1),
		activity.FloatValue(0), activity.FloatValue(math.Copysign(0, -1)), activity.FloatValue(math.NaN()), activity.FloatValue(1),
		activity.StringValue(""), activity.StringValue("a"), activity.BytesValue("a"), list(), list(activity.IntValue(1)),
		list(activity.IntValue(2)), list(activity.IntValue(1), activity.IntValue(2)), object(), object(str("a", "1")), object(str("b", "1")),
		object(str("a", "2")), object(str("a", "1"), str("b", "1")), list(list()), list(object(str("a", "1"))),
	}
	for i, v := range values {
		for j, w := range values {
			if got := v.Equal(w); got != (i == j) {
				t.Errorf("%d, %d: Equal(%s, %s) = %v", i, j, v.Text(), w.Text(), got)
			}
		}
	}
}

func TestValue(t *testing.T) {
	for _, tt := range []struct {
		name  string
		value activity.Value
		kind  activity.ValueKind
		text  string
	}{
		{"empty", activity.Value{}, activity.KindEmpty, "null"},
		{"bool", activity.BoolValue(true), activity.KindBool, "true"},
		{"int", activity.IntValue(-5), activity.KindInt, "-5"},
		{"float", activity.FloatValue(1.5), activity.KindFloat, "1.5"},
		{"string", activity.StringValue(`"x"`), activity.KindString, `"x"`},
		{"bytes", activity.BytesValue("\x00\xff"), activity.KindBytes, `"AP8="`},
		{"slice", activity.SliceValue([]activity.Value{activity.StringValue("a"), activity.IntValue(1)}), activity.KindSlice, `["a",1]`},
		{"map", activity.MapValue([]activity.Attr{str("k", "v")}), activity.KindMap, `{"k":"v"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := tt.value
			if v.Kind() != tt.kind || v.Text() != tt.text {
				t.Errorf("kind %v, text %s; want %v, %s", v.Kind(), v.Text(), tt.kind, tt.text)
			}
			if (v.Int() != 0) != (tt.kind == activity.KindInt) || v.Bool() != (tt.kind == activity.KindBool) ||
				math.IsNaN(v.Float()) == (tt.kind == activity.KindInt || tt.kind == activity.KindFloat) ||
				(v.Slice() != nil) != (tt.kind == activity.KindSlice) || (v.Map() != nil) != (tt.kind == activity.KindMap) {
				t.Errorf("%v answers as another kind", v)
			}
		})
	}
	if got := activity.SliceValue([]activity.Value{activity.StringValue("a"), activity.IntValue(1)}).Strings(); !slices.Equal(got, []string{"a", "1"}) {
		t.Errorf("Strings = %q", got)
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		s    string
		n    int
		want string
	}{
		{"abc", 3, "abc"}, {"abc", 2, "ab"}, {"abc", 0, ""}, {"aé", 2, "a"}, {"aé", 3, "aé"},
		{"日本", 5, "日"}, {"日本", 2, ""}, {"\x80\x80\x80", 2, ""},
	} {
		if got := activity.Cut(tt.s, tt.n); got != tt.want {
			t.Errorf("Cut(%q, %d) = %q, want %q", tt.s, tt.n, got, tt.want)
		}
	}
}

func TestTimeOf(t *testing.T) {
	if activity.TimeOf(time.Time{}) != 0 || !activity.Time(0).Time().IsZero() {
		t.Error("no time is not no time")
	}
	now := time.Date(2026, 11, 22, 10, 0, 0, 1, time.FixedZone("", 3600))
	if got := activity.TimeOf(now).Time(); !got.Equal(now) || got.Location() != time.UTC {
		t.Errorf("%v became %v", now, got)
	}
	if d := activity.TimeOf(now.Add(time.Minute)).Sub(activity.TimeOf(now)); d != time.Minute {
		t.Errorf("Sub = %v", d)
	}
}

// What is longer than an activity holds is cut in the activity, not in its event.
func TestLongTextIsCut(t *testing.T) {
	long := strings.Repeat("é", activity.MaxString)
	text, raw := activity.StringValue("x"+long), activity.BytesValue(long)
	inner := activity.SliceValue([]activity.Value{text, activity.MapValue([]activity.Attr{{Key: "k", Value: raw}})})
	e := activity.Event{
		ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{1}}, At: 1, Kind: activity.EventFailed,
		Changes: activity.Changes{
			Name: long, Status: activity.StatusError, StatusMessage: long,
			Attrs: []activity.Attr{{Key: activity.KeyThreadID, Value: text}, {Key: "text", Value: text}, {Key: "raw", Value: raw}, {Key: "inner", Value: inner}},
		},
	}
	a := activity.Fold([]activity.Event{e})
	list := a.Attr("inner").Slice()
	for what, got := range map[string]string{
		"name": a.Name, "status": a.StatusMessage(), "thread": a.ThreadID, "text": a.Attr("text").Str(), "raw": a.Attr("raw").Str(),
		"text in a list": list[0].Str(), "bytes in a map": list[1].Map()[0].Value.Str(),
	} {
		if n := len(got); n > activity.MaxString || n < activity.MaxString-1 {
			t.Errorf("%s: %d bytes", what, n)
		}
	}
	if len(e.Name) != len(long) || len(inner.Slice()[0].Str()) != len(long)+1 {
		t.Error("the event itself was cut")
	}
}

// A link without an id is not shown: it names no activity.
func TestLinkWithoutID(t *testing.T) {
	whole := activity.Link{ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{2}}}
	a := activity.Fold([]activity.Event{{
		ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{1}}, At: 1, Kind: activity.EventStarted,
		Changes: activity.Changes{Links: []activity.Link{{}, {ID: activity.ID{Trace: activity.TraceID{1}}}, whole}},
	}})
	if len(a.Links) != 1 || a.Links[0].ID != whole.ID {
		t.Errorf("links %v", a.Links)
	}
}
