package activity_test

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

func TestFilter(t *testing.T) {
	parent := activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{7}}
	a := activity.Fold([]activity.Event{
		with(event(1, 0, activity.EventStarted,
			str(activity.KeyType, "decision"), str(activity.KeyThreadID, "worker-3"), str(activity.KeyAgentName, "planner"),
			str(activity.KeyPlanned, "Analyze the metrics"), str(activity.KeyCurrent, "STRASSE and Straße"),
			str(activity.KeyResult, `{"found":"Übergröße"}`), str("order.id", "ord-17"), num("order.items", 12345678),
			float("order.total", 1234567.5), boolean("vip", true),
			activity.Attr{Key: "tags", Value: activity.SliceValue([]activity.Value{activity.StringValue("red"), activity.IntValue(42)})},
			activity.Attr{Key: "nested", Value: activity.MapValue([]activity.Attr{str("inner", "Deep Value")})},
		), func(e *activity.Event) {
			e.Name, e.Parent, e.Resource = "Select deployment strategy", activity.ID{Trace: e.ID.Trace, Span: parent.Span}, &activity.Resource{Service: "orders"}
		}),
		with(event(2, 10, activity.EventFailed, str(activity.KeyFinal, "Chose blue/green"), str(activity.KeyErrorType, "QuotaError")), func(e *activity.Event) {
			e.Status, e.StatusMessage = activity.StatusError, "no room left"
			e.SpanEvents = []activity.SpanEvent{{At: 1, Name: "exception", Attrs: []activity.Attr{str(activity.KeyExceptionStacktrace, "main.go:17")}}}
		}),
	})
	open := activity.Fold([]activity.Event{event(1, 0, activity.EventStarted)})
	waiting := activity.Fold([]activity.Event{event(1, 0, activity.EventPlanned)})
	lost := activity.Fold([]activity.Event{event(1, 0, activity.EventStarted), event(2, 5, activity.EventLost)})
	stalled := open
	stalled.Stalled = true
	yes, no := true, false
	terms := func(q string) activity.Filter { return activity.Filter{Terms: activity.Terms(q)} }

	for _, tt := range []struct {
		name   string
		filter activity.Filter
		of     *activity.Activity
		want   bool
	}{
		{"nothing asked", activity.Filter{}, &a, true},
		{"type", activity.Filter{Types: []activity.Type{activity.Decision}}, &a, true},
		{"any of two types", activity.Filter{Types: []activity.Type{activity.Span, activity.Decision}}, &a, true},
		{"another type", activity.Filter{Types: []activity.Type{activity.Span}}, &a, false},
		{"state", activity.Filter{States: []activity.State{activity.Failed}}, &a, true},
		{"another state", activity.Filter{States: []activity.State{activity.Completed}}, &a, false},
		{"stalled", activity.Filter{Stalled: &yes}, &stalled, true},
		{"stalled, but is not", activity.Filter{Stalled: &yes}, &open, false},
		{"not stalled", activity.Filter{Stalled: &no}, &open, true},
		{"not stalled, but is", activity.Filter{Stalled: &no}, &stalled, false},
		{"service", activity.Filter{Services: []string{"billing", "orders"}}, &a, true},
		{"another service", activity.Filter{Services: []string{"billing"}}, &a, false},
		{"service in another case", activity.Filter{Services: []string{"Orders"}}, &a, false},
		{"no service", activity.Filter{Services: []string{""}}, &open, true},
		{"agent", activity.Filter{Agents: []string{"planner"}}, &a, true},
		{"another agent", activity.Filter{Agents: []string{"coder"}}, &a, false},
		{"thread", activity.Filter{Threads: []string{"worker-3"}}, &a, true},
		{"another thread", activity.Filter{Threads: []string{"worker"}}, &a, false},
		{"trace", activity.Filter{Traces: []activity.TraceID{a.ID.Trace}}, &a, true},
		{"another trace", activity.Filter{Traces: []activity.TraceID{{1}}}, &a, false},
		{"parent", activity.Filter{Parents: []activity.ID{a.Parent}}, &a, true},
		{"a span of another trace", activity.Filter{Parents: []activity.ID{parent}}, &a, false},
		{"all at once", activity.Filter{Types: []activity.Type{activity.Decision}, Services: []string{"orders"}, Terms: []string{"metrics"}}, &a, true},
		{"all but one", activity.Filter{Types: []activity.Type{activity.Decision}, Services: []string{"orders"}, Terms: []string{"nowhere"}}, &a, false},

		{"since before its end", activity.Filter{Since: second(10)}, &a, true},
		{"since after its end", activity.Filter{Since: second(10) + 1}, &a, false},
		{"until its start", activity.Filter{Until: second(0)}, &a, true},
		{"until before its start", activity.Filter{Until: second(0) - 1}, &a, false},
		{"a moment within", activity.Filter{Since: second(4), Until: second(5)}, &a, true},
		{"since, still open", activity.Filter{Since: second(1000)}, &open, true},
		{"since, still waiting", activity.Filter{Since: second(1000)}, &waiting, true},
		{"since, lost and nobody knows until when", activity.Filter{Since: second(1000)}, &lost, true},
		{"until, still open", activity.Filter{Until: second(0) - 1}, &open, false},

		{"shortest", activity.Filter{MinDuration: 10 * time.Second}, &a, true},
		{"too short", activity.Filter{MinDuration: 10*time.Second + 1}, &a, false},
		{"longest", activity.Filter{MaxDuration: 10 * time.Second}, &a, true},
		{"too long", activity.Filter{MaxDuration: 10*time.Second - 1}, &a, false},
		{"between", activity.Filter{MinDuration: time.Second, MaxDuration: time.Minute}, &a, true},
		{"an open one until now", activity.Filter{MinDuration: 50 * time.Second, MaxDuration: 50 * time.Second}, &open, true},
		{"what never started has none", activity.Filter{MaxDuration: time.Hour}, &waiting, false},
		{"nor has what was lost", activity.Filter{MaxDuration: time.Hour}, &lost, false},

		{"attribute", activity.Filter{Attrs: []activity.AttrFilter{{Key: "order.id", Values: []string{"x", "ord-17"}}}}, &a, true},
		{"another value", activity.Filter{Attrs: []activity.AttrFilter{{Key: "order.id", Values: []string{"ord-1"}}}}, &a, false},
		{"no such attribute", activity.Filter{Attrs: []activity.AttrFilter{{Key: "order", Values: []string{""}}}}, &a, false},
		{"number", activity.Filter{Attrs: []activity.AttrFilter{{Key: "order.items", Values: []string{"12345678"}}}}, &a, true},
		{"fraction", activity.Filter{Attrs: []activity.AttrFilter{{Key: "order.total", Values: []string{"1234567.5"}}}}, &a, true},
		{"boolean", activity.Filter{Attrs: []activity.AttrFilter{{Key: "vip", Values: []string{"true"}}}}, &a, true},
		{"list", activity.Filter{Attrs: []activity.AttrFilter{{Key: "tags", Values: []string{`["red",42]`}}}}, &a, true},
		{"two attributes", activity.Filter{Attrs: []activity.AttrFilter{{Key: "vip", Values: []string{"true"}}, {Key: "order.id", Values: []string{"no"}}}}, &a, false},

		{"word of the name", terms("deployment"), &a, true},
		{"in any case", terms("DEPLOYMENT"), &a, true},
		{"part of a word", terms("ploy"), &a, true},
		{"two words", terms("metrics strategy"), &a, true},
		{"two words, one missing", terms("metrics nowhere"), &a, false},
		{"phrase", terms(`"deployment strategy"`), &a, true},
		{"phrase in another order", terms(`"strategy deployment"`), &a, false},
		{"planned", terms("analyze"), &a, true},
		{"current", terms("strasse"), &a, true},
		{"beyond ASCII", terms("straße"), &a, true},
		{"beyond ASCII in capitals", terms("ÜBERGRÖßE"), &a, true},
		{"final", terms("blue/green"), &a, true},
		{"error message", terms(`"room left"`), &a, true},
		{"error type", terms("quotaerror"), &a, true},
		{"stack", terms("main.go:17"), &a, true},
		{"attribute value", terms("ord-17"), &a, true},
		{"digits of a number", terms("345"), &a, true},
		{"digits of a fraction", terms("1234567.5"), &a, true},
		{"in a list", terms("red"), &a, true},
		{"number in a list", terms("42"), &a, true},
		{"in a map", terms(`"deep value"`), &a, true},
		{"not its keys", terms("order.id"), &a, false},
		{"not a boolean", terms("true"), &a, false},
		{"not its type", terms("decision"), &a, false},
		{"not the coding of a list", terms("["), &a, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.filter.Match(tt.of, second(50)); got != tt.want {
				t.Errorf("Match = %v, want %v", got, tt.want)
			}
			if tt.want && !tt.filter.MatchHead(&tt.of.Head, second(50)) {
				t.Error("MatchHead says no to what Match selects")
			}
			if tt.filter.HeadOnly() && tt.filter.MatchHead(&tt.of.Head, second(50)) != tt.want {
				t.Error("MatchHead alone decides otherwise")
			}
		})
	}
}

func TestTerms(t *testing.T) {
	for _, tt := range []struct {
		name, q string
		want    []string
	}{
		{"empty", "", nil},
		{"spaces", " \t\u00a0\u3000 ", nil},
		{"words", " one  two\tthree ", []string{"one", "two", "three"}},
		{"lower case", "One ÜBER", []string{"one", "über"}},
		{"phrase", `say "so it is" now`, []string{"say", "so it is", "now"}},
		{"phrase against a word", `a"b c"d`, []string{"a", "b c", "d"}},
		{"open phrase", `x "never closed `, []string{"x", "never closed"}},
		{"empty phrases", `"" " " x`, []string{"x"}},
		{"one quote", `"`, nil},
		{"wide space", "a\u3000b", []string{"a", "b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, activity.Terms(tt.q)); diff != "" {
				t.Errorf("Terms(%q) (-want +got):\n%s", tt.q, diff)
			}
		})
	}
}

func FuzzTerms(f *testing.F) {
	for _, seed := range []string{"", `one "two three`, "ÄÖ\u3000x", "\xff\"\xfe", `"" "a" b"c`, "K\u212a \u0130"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, q string) {
		terms := activity.Terms(q)
		for _, term := range terms {
			if term == "" || strings.Contains(term, `"`) || term != strings.TrimSpace(term) {
				t.Fatalf("Terms(%q) = %q", q, terms)
			}
			if utf8.ValidString(q) && term != strings.ToLower(term) {
				t.Fatalf("Terms(%q) = %q, not in lower case", q, terms)
			}
			if !activity.ContainsFold("x "+q+" y", term) && isASCII(term) == isASCII(q) {
				t.Fatalf("%q is not in its own query %q", term, q)
			}
		}
		words := strings.FieldsFunc(q, func(r rune) bool { return unicode.IsSpace(r) || r == '"' })
		if (len(words) == 0) != (len(terms) == 0) {
			t.Fatalf("Terms(%q) = %q", q, terms)
		}
	})
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

func FuzzContainsFold(f *testing.F) {
	f.Add("The Quick fox", "quick")
	f.Add("Straße", "ße")
	f.Add("aaab", "aab")
	f.Add("x", "")
	f.Fuzz(func(t *testing.T, s, term string) {
		term = strings.ToLower(term)
		got := activity.ContainsFold(s, term)
		want := strings.Contains(strings.ToLower(s), term)
		// In an ASCII term only ASCII letters have a case: the Kelvin sign is no k.
		if got != want && (!isASCII(term) || isASCII(s)) {
			t.Fatalf("ContainsFold(%q, %q) = %v", s, term, got)
		}
	})
}

func TestParseSort(t *testing.T) {
	for _, s := range []activity.Sort{activity.NewestPlanned, activity.OldestPlanned, activity.LongestFirst, activity.LatestEnded} {
		if got, ok := activity.ParseSort(s.String()); !ok || got != s {
			t.Errorf("ParseSort(%q) = %v, %v", s, got, ok)
		}
	}
	for _, text := range []string{"", "duration", "-Planned_At", "-started_at"} {
		if got, ok := activity.ParseSort(text); ok {
			t.Errorf("ParseSort(%q) = %v", text, got)
		}
	}
}

func TestSuccessRate(t *testing.T) {
	for _, tt := range []struct {
		name string
		w    activity.Window
		want float64
	}{
		{"none", activity.Window{}, math.NaN()},
		{"only cancelled", activity.Window{Cancelled: 3}, math.NaN()},
		{"completed, failed, lost", activity.Window{Completed: 6, Failed: 1, Lost: 1, Cancelled: 9}, 0.75},
	} {
		rate, ok := tt.w.SuccessRate()
		if ok == math.IsNaN(tt.want) || ok && rate != tt.want {
			t.Errorf("%s: %v, %v; want %v", tt.name, rate, ok, tt.want)
		}
	}
}

func TestThreadInContext(t *testing.T) {
	ctx := t.Context()
	if th := activity.ThreadFromContext(ctx); th != nil {
		t.Errorf("thread %v in an empty context", th)
	}
	want := activity.LogicalThread{ID: "worker-3", Name: "Mail"}
	ctx = activity.ContextWithThread(ctx, want)
	if th := activity.ThreadFromContext(ctx); th == nil || *th != want {
		t.Errorf("thread %v, want %v", th, want)
	}
}

func TestFilterLargeInteger(t *testing.T) {
	const n = 1<<53 + 1 // which JSON writes in quotes
	a := activity.Fold([]activity.Event{{
		ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{1}}, Kind: activity.EventStarted, At: second(0),
		Changes: activity.Changes{Attrs: []activity.Attr{{Key: "order.id", Value: activity.IntValue(n)}}},
	}})
	for text, want := range map[string]bool{"9007199254740993": true, `"9007199254740993"`: false, "9007199254740992": false} {
		f := activity.Filter{Attrs: []activity.AttrFilter{{Key: "order.id", Values: []string{text}}}}
		if got := f.Match(&a, second(1)); got != want {
			t.Errorf("attr.order.id=%s selects it: %v", text, got)
		}
	}
}

// What the filter finds in an activity, its grams admit.
func FuzzGrams(f *testing.F) {
	f.Add("Select rollout", "picked Blue/Green", "ord-2026-11-22-00000817", int64(17), "e/gr")
	f.Add("x", "Straße", "K", int64(-1<<62), "-4611686018427387904")
	f.Add("ABCDEFGHIJ", "", "\x00\xff", int64(0), "cdefghij")
	f.Fuzz(func(t *testing.T, name, current, value string, number int64, term string) {
		a := &activity.Activity{Head: activity.Head{Name: name}, Current: current}
		a.Attributes = []activity.Attr{{Key: "text", Value: activity.SliceValue([]activity.Value{activity.StringValue(value), activity.IntValue(number)})}}
		have := make(map[uint32]bool)
		a.EachGram(func(hash uint32) { have[hash] = true })
		for _, term := range activity.Terms(term) {
			if !(&activity.Filter{Terms: []string{term}}).Match(a, 0) {
				continue
			}
			for _, hash := range activity.TermGrams(term) {
				if !have[hash] {
					t.Errorf("%q is found, and one of its grams is not there", term)
				}
			}
		}
	})
}
