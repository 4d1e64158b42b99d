package index

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/midspan/midspan/activity"
)

var words = strings.Fields(`deployment Deploy strategy ANALYZE metrics Straße STRASSE Über über rollout blue/green error budget 82% ord-17 ord-18
	Ωmega ωMEGA ſharp 日本語 naïve quota exceeded timeout 1234567 true null [x] a`)

func (g *generator) words(n int) string {
	var w []string
	for range n {
		w = append(w, words[g.IntN(len(words))])
	}
	return strings.Join(w, " ")
}

// crowd fills an index with n activities of every sort, over several segments.
func crowd(g *generator, x *Index, n int) {
	ms := activity.Time(time.Millisecond)
	for k := range n {
		trace := k / 20
		start := ev(id(1+trace, k+1), 1, at(0)+activity.Time(g.IntN(n))*ms, activity.EventStarted)
		if g.IntN(5) == 0 {
			start.Kind = activity.EventPlanned
		}
		start.Name, start.StartTime = g.words(2), start.At
		start.Resource = g.resources[g.IntN(3)]
		if k%20 > 0 {
			start.Parent = id(1+trace, trace*20+1+g.IntN(k%20))
		}
		start.Attrs = append(start.Attrs, str(activity.KeyPlanned, g.words(3)), num("n", int64(g.IntN(50))))
		switch g.IntN(8) {
		case 0:
			start.Attrs = append(start.Attrs, str(activity.KeyType, activity.Types[g.IntN(len(activity.Types))].String()))
		case 1:
			start.Attrs = append(start.Attrs, str(activity.KeyThreadID, fmt.Sprint("worker-", g.IntN(3))))
		case 2:
			start.Attrs = append(start.Attrs, str(activity.KeyAgentName, fmt.Sprint("agent-", g.IntN(3))))
		case 3:
			start.Attrs = append(start.Attrs, activity.Attr{Key: "list", Value: activity.SliceValue([]activity.Value{activity.StringValue(g.words(1)), activity.FloatValue(1234567)})})
		case 4:
			start.Attrs = append(start.Attrs, activity.Attr{Key: "map", Value: activity.MapValue([]activity.Attr{str("k", g.words(1))})}, activity.Attr{Key: "flag", Value: activity.BoolValue(true)})
		}
		events := []activity.Event{start}
		if g.IntN(2) == 0 {
			events = append(events, ev(start.ID, 2, start.At+ms, activity.EventUpdated, str(activity.KeyCurrent, g.words(2))))
		}
		end := ev(start.ID, 3, start.At+activity.Time(g.IntN(2000))*ms, activity.EventCompleted, str(activity.KeyFinal, g.words(2)))
		switch g.IntN(10) {
		case 0:
			end.Kind, end.Status, end.StatusMessage = activity.EventFailed, activity.StatusError, g.words(2)
		case 1:
			end.Kind = activity.EventCancelled
		case 2:
			end.Kind = activity.EventLost
		case 3:
			end.Attrs = append(end.Attrs, str(activity.KeyResult, `{"text":"`+g.words(1)+`"}`))
		case 4:
			end.Name = g.words(2)
		}
		if g.IntN(20) > 0 {
			events = append(events, end)
		}
		x.Apply(events)
	}
}

func (g *generator) filter(n int) activity.Filter {
	var f activity.Filter
	ms := activity.Time(time.Millisecond)
	pick := func() bool { return g.IntN(5) == 0 }
	if pick() {
		f.Types = []activity.Type{activity.Types[g.IntN(len(activity.Types))], activity.Span}[g.IntN(2):]
	}
	if pick() {
		f.States = []activity.State{activity.States[g.IntN(len(activity.States))], activity.Completed}[g.IntN(2):]
	}
	if g.IntN(12) == 0 {
		stalled := g.IntN(2) == 0
		f.Stalled = &stalled
	}
	if pick() {
		f.Services = []string{fmt.Sprint("service-", g.IntN(4)), "none"}
	}
	if g.IntN(8) == 0 {
		f.Agents = []string{fmt.Sprint("agent-", g.IntN(4))}
	}
	if g.IntN(8) == 0 {
		f.Threads = []string{fmt.Sprint("worker-", g.IntN(4)), "worker-0"}
	}
	if g.IntN(12) == 0 {
		f.Traces = []activity.TraceID{id(1+g.IntN(n/20), 1).Trace, id(1, 1).Trace}
	}
	if g.IntN(12) == 0 {
		trace := g.IntN(n / 20)
		f.Parents = []activity.ID{id(1+trace, trace*20+1)}
	}
	if pick() {
		f.Since = at(0) + activity.Time(g.IntN(n))*ms
	}
	if pick() {
		f.Until = at(0) + activity.Time(g.IntN(n))*ms
	}
	if pick() {
		f.MinDuration = time.Duration(g.IntN(2000)) * time.Millisecond
	}
	if pick() {
		f.MaxDuration = time.Duration(g.IntN(2000)) * time.Millisecond
	}
	if pick() {
		f.Attrs = []activity.AttrFilter{{Key: "n", Values: []string{fmt.Sprint(g.IntN(50)), "7"}}}
	}
	if g.IntN(3) == 0 {
		f.Terms = g.terms()
	}
	return f
}

func (g *generator) terms() []string {
	w := words[g.IntN(len(words))]
	switch g.IntN(4) {
	case 0:
		return activity.Terms(w + " " + words[g.IntN(len(words))])
	case 1:
		return activity.Terms(`"` + w + " " + words[g.IntN(len(words))] + `"`)
	case 2:
		r := []rune(w)
		return activity.Terms(string(r[g.IntN(len(r)):]))
	}
	return activity.Terms(w)
}

// naive is a list by Filter.Match over all activities, and how many it selects
// whether the order lists them or not.
func naive(held map[activity.ID]*activity.Activity, q *activity.Query, now activity.Time) (rows []candidate, selected int) {
	for _, a := range held {
		if !q.Match(a, now) {
			continue
		}
		selected++
		if key, ok := sortKey(q.Sort, &a.Head); ok {
			rows = append(rows, candidate{key: key, id: a.ID})
		}
	}
	slices.SortFunc(rows, func(a, b candidate) int {
		if before(q.Sort, a, b) {
			return -1
		}
		return 1
	})
	return rows, selected
}

// Lists, however filtered and sorted, are what a look at every activity gives.
func TestListAgainstNaive(t *testing.T) {
	const n = 10_000
	g := newGenerator(7)
	clock := newClock()
	clock.advance(time.Hour)
	x := New(Config{Now: clock.Now, StallAfter: time.Second})
	crowd(g, x, n)
	checkCounts(t, x)
	held := all(t, x)
	if len(held) != n || len(x.segs) < 3 {
		t.Fatalf("%d activities in %d segments", len(held), len(x.segs))
	}
	found := 0
	for range 20 {
		q := activity.Query{Filter: g.filter(n), Sort: activity.Sort(g.IntN(4)), Limit: 1 + g.IntN(50)}
		want, selected := naive(held, &q, clock.time())
		page := list(t, x, q)
		if page.Total != len(want) || !page.Exact {
			t.Fatalf("%+v: total %d, want %d", q, page.Total, len(want))
		}
		found += len(want)
		for k := range page.Activities {
			if page.Activities[k].ID != want[k].id {
				t.Fatalf("%+v: row %d is %v, want %v", q, k, page.Activities[k].ID, want[k].id)
			}
		}
		if len(page.Activities) != min(len(want), q.Limit) || (page.Next != nil) != (len(want) > q.Limit) {
			t.Fatalf("%+v: %d rows of %d, next %v", q, len(page.Activities), len(want), page.Next)
		}
		// Scan selects the same.
		scanned := 0
		if err := x.Scan(context.Background(), &q.Filter, func(a *activity.Activity) error {
			if scanned++; !q.Match(a, clock.time()) {
				return fmt.Errorf("%v is not selected", a.ID)
			}
			return nil
		}); err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		if scanned != selected {
			t.Fatalf("%+v: %d scanned, want %d", q, scanned, selected)
		}
	}
	if found < 2_000 {
		t.Errorf("the filters select too little to prove anything: %d", found)
	}
}

// A text search finds what Filter.Match finds, of every word and phrase.
func TestSearchAgainstNaive(t *testing.T) {
	g := newGenerator(8)
	x := New(Config{})
	crowd(g, x, 1000)
	held := all(t, x)
	terms := [][]string{{"ß"}, {"Ω"}, {"k"}, {","}, {"["}, {"{"}, {"1234567"}, {"234"}, {"e"}, {" "}, {"/"}, {"82%"}, {"- "}, {"true"}, {"日"}, {"ſ"}, {"s"}, {"\x00"}, {"no such thing"}}
	for range 40 {
		terms = append(terms, g.terms())
	}
	for _, terms := range terms {
		for i := range terms {
			terms[i] = strings.ToLower(terms[i])
		}
		q := activity.Query{Filter: activity.Filter{Terms: terms}}
		want, _ := naive(held, &q, 0)
		if got := list(t, x, q).Total; got != len(want) {
			t.Errorf("%q: %d found, want %d", terms, got, len(want))
		}
	}
}

// What lower-cases to a letter beyond ASCII is among the forms that are looked for.
func TestNeedleForms(t *testing.T) {
	for r := rune(utf8.RuneSelf); r <= unicode.MaxRune; r++ {
		lower := unicode.ToLower(r)
		if lower == r || lower < utf8.RuneSelf {
			continue // İ and the Kelvin sign are found by other letters of a term, or not
		}
		n := newNeedle(string(lower))
		if !slices.ContainsFunc(n.forms, func(form []byte) bool { return string(form) == string(r) }) {
			t.Fatalf("%U is not looked for, its lower case is %U", r, lower)
		}
	}
}

// The rows that stay are listed once each, whatever arrives and is evicted
// between the pages.
func TestPagingWhileThingsChange(t *testing.T) {
	for _, sort := range []activity.Sort{activity.NewestPlanned, activity.OldestPlanned, activity.LongestFirst, activity.LatestEnded} {
		t.Run(sort.String(), func(t *testing.T) {
			g := newGenerator(9)
			x := New(Config{MaxFinished: 1200})
			crowd(g, x, 1200)
			query := activity.Query{Sort: sort, Limit: 29, Filter: activity.Filter{States: []activity.State{activity.Completed, activity.Failed}}}
			expected, _ := naive(all(t, x), &query, 0)
			var got []activity.ID
			next := 100_000
			for {
				page := list(t, x, query)
				for _, a := range page.Activities {
					got = append(got, a.ID)
				}
				if page.Next == nil {
					break
				}
				query.Cursor = page.Next
				for range 10 { // each evicts another
					next++
					from := at(time.Duration(g.IntN(3000)) * time.Millisecond)
					run(x, id(next, next), from, from+activity.Time(g.IntN(2000))*activity.Time(time.Millisecond), nil)
				}
			}
			stayed := all(t, x)
			seen := map[activity.ID]bool{}
			for _, i := range got {
				if seen[i] {
					t.Fatalf("%v is listed twice", i)
				}
				seen[i] = true
			}
			n := 0
			for _, c := range expected {
				if stayed[c.id] != nil {
					if n++; !seen[c.id] {
						t.Fatalf("%v stayed and was skipped", c.id)
					}
				}
			}
			if n < 50 || n == len(expected) {
				t.Errorf("%d of %d rows stayed: too few or too many to prove anything", n, len(expected))
			}
		})
	}
}

func TestTotal(t *testing.T) {
	for _, tt := range []struct {
		n     int
		total int
		exact bool
	}{
		{10_000, 10_000, true},
		{10_001, 10_000, false},
	} {
		x := New(Config{})
		for n := range tt.n {
			run(x, id(1, n+1), at(time.Duration(n)), at(time.Duration(n)+1), nil)
		}
		for _, sort := range []activity.Sort{activity.NewestPlanned, activity.OldestPlanned} {
			page := list(t, x, activity.Query{Limit: 1, Sort: sort})
			if page.Total != tt.total || page.Exact != tt.exact {
				t.Errorf("%d activities, %v: total %d, exact %v", tt.n, sort, page.Total, page.Exact)
			}
		}
	}
	// Exactly as many as are counted, and more in segments that need not be looked at.
	x := New(Config{})
	for n := range 4 * rowsPerSegment {
		name := "other"
		if n >= 4*rowsPerSegment-10_000 || n < 10 {
			name = "wanted"
		}
		run(x, id(1, n+1), at(time.Duration(n)), at(time.Duration(n)+1), func(e *activity.Event) {
			e.Attrs = []activity.Attr{str(activity.KeyThreadID, name)}
		})
	}
	page := list(t, x, activity.Query{Limit: 1, Filter: activity.Filter{Threads: []string{"wanted"}}})
	if page.Total != 10_000 || page.Exact {
		t.Errorf("of 10,010: total %d, exact %v", page.Total, page.Exact)
	}
}

func TestListCancelled(t *testing.T) {
	x := New(Config{})
	run(x, id(1, 1), at(0), at(1), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.List(ctx, &activity.Query{Limit: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("List: %v", err)
	}
	if _, err := x.Tree(ctx, &activity.TreeQuery{Limit: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("Tree: %v", err)
	}
	if err := x.Scan(ctx, &activity.Filter{}, func(*activity.Activity) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Scan: %v", err)
	}
	stop := fmt.Errorf("enough")
	if err := x.Scan(t.Context(), &activity.Filter{}, func(*activity.Activity) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Scan: %v, want fn's error", err)
	}
}

// The filter of traces denies none that is there, and most that are not.
func TestBloom(t *testing.T) {
	var b bloom
	g := rand.New(rand.NewPCG(1, 1))
	traces := make([]activity.TraceID, rowsPerSegment)
	for i := range traces {
		for k := range traces[i] {
			traces[i][k] = byte(g.UintN(256))
		}
		b.add(traces[i])
	}
	for _, tr := range traces {
		if !b.may(tr) {
			t.Fatal("a trace that was added is denied")
		}
	}
	wrong := 0
	for n := range 10_000 {
		if b.may(id(n+1, 1).Trace) {
			wrong++
		}
	}
	if wrong > 600 {
		t.Errorf("%d of 10,000 foreign traces pass", wrong)
	}
}
