package index

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// begin starts an activity under a parent, at a second of its own number.
func begin(x *Index, i, parent activity.ID, n int, attrs ...activity.Attr) {
	e := ev(i, 1, at(time.Duration(n)*time.Second), activity.EventStarted, attrs...)
	e.Name, e.Parent = fmt.Sprint(n), parent
	x.Apply([]activity.Event{e})
}

// drawn writes a tree in a line: names, ? for a placeholder, children in
// parentheses, +n for children that are not there.
func drawn(nodes []*activity.Node) string {
	var parts []string
	for _, n := range nodes {
		s := "?"
		if n.Activity != nil {
			s = n.Activity.Name
		}
		if len(n.Children) > 0 {
			s += "(" + drawn(n.Children) + ")"
		}
		if more := n.ChildCount - len(n.Children); more > 0 {
			s += fmt.Sprintf("+%d", more)
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " ")
}

func TestTree(t *testing.T) {
	x := New(Config{})
	var none activity.ID
	for _, b := range []struct {
		trace, n, parent int
		attrs            []activity.Attr
	}{
		{1, 1, 0, nil}, {1, 3, 1, nil}, {1, 2, 1, nil}, {1, 4, 3, []activity.Attr{str("k", "v")}}, {1, 5, 3, nil},
		{2, 6, 99, nil}, {2, 7, 99, nil}, // whose parent is not seen
		{3, 8, 0, []activity.Attr{str("k", "v")}},
	} {
		parent := none
		if b.parent > 0 {
			parent = id(b.trace, b.parent)
		}
		begin(x, id(b.trace, b.n), parent, b.n, b.attrs...)
	}
	x.Apply([]activity.Event{ev(id(1, 3), 2, at(time.Minute), activity.EventCompleted)}) // before its children
	attr := activity.Filter{Attrs: []activity.AttrFilter{{Key: "k", Values: []string{"v"}}}}
	for _, tt := range []struct {
		name      string
		q         activity.TreeQuery
		want      string
		roots     int
		truncated bool
		err       error
	}{
		{"all", activity.TreeQuery{Depth: 9, Limit: 99}, "8 ?(6 7) 1(2 3(4 5))", 3, false, nil},
		{"roots alone", activity.TreeQuery{Limit: 99}, "8 ?+2 1+2", 3, false, nil},
		{"one level", activity.TreeQuery{Depth: 1, Limit: 99}, "8 ?(6 7) 1(2 3+2)", 3, false, nil},
		{"limit", activity.TreeQuery{Depth: 9, Limit: 4}, "8 ?(6)+1 1+2", 3, true, nil},
		{"limit within the roots", activity.TreeQuery{Depth: 9, Limit: 2}, "8 ?+2", 3, true, nil},
		{"limit met exactly", activity.TreeQuery{Depth: 9, Limit: 8}, "8 ?(6 7) 1(2 3(4)+1)", 3, true, nil},
		{"limit beyond", activity.TreeQuery{Depth: 9, Limit: 9}, "8 ?(6 7) 1(2 3(4 5))", 3, false, nil},
		{"one trace", activity.TreeQuery{Depth: 9, Limit: 99, Filter: activity.Filter{Traces: []activity.TraceID{id(1, 1).Trace}}}, "1(2 3(4 5))", 1, false, nil},
		{"one root", activity.TreeQuery{Root: id(1, 3), Depth: 9, Limit: 99}, "3(4 5)", 1, false, nil},
		{"a leaf", activity.TreeQuery{Root: id(1, 5), Depth: 9, Limit: 99}, "5", 1, false, nil},
		{"children of one, lazily", activity.TreeQuery{Root: id(1, 1), Depth: 1, Limit: 99}, "1(2 3+2)", 1, false, nil},
		{"a placeholder's children", activity.TreeQuery{Root: id(2, 99), Depth: 9, Limit: 99}, "?(6 7)", 1, false, nil},
		{"nothing names it", activity.TreeQuery{Root: id(1, 99), Depth: 9, Limit: 99}, "", 0, false, activity.ErrNotFound},
		{"a root whose tree holds nothing selected", activity.TreeQuery{Root: id(1, 2), Depth: 9, Limit: 99, Filter: attr}, "", 0, false, nil},
		{"a root of another trace than the filter's", activity.TreeQuery{Root: id(1, 1), Depth: 9, Limit: 99, Filter: activity.Filter{Traces: []activity.TraceID{id(3, 1).Trace}}}, "", 0, false, nil},
		{"what is selected comes with its ancestors", activity.TreeQuery{Depth: 9, Limit: 99, Filter: attr}, "8 1(3(4))", 2, false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree, err := x.Tree(t.Context(), &tt.q)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if got := drawn(tree.Roots); got != tt.want || tree.RootCount != tt.roots || tree.Truncated != tt.truncated {
				t.Errorf("%s, %d roots, truncated %v; want %s, %d, %v", got, tree.RootCount, tree.Truncated, tt.want, tt.roots, tt.truncated)
			}
		})
	}
	// The parent comes last, and no node moves.
	begin(x, id(2, 99), none, 0)
	tree, err := x.Tree(t.Context(), &activity.TreeQuery{Depth: 9, Limit: 99})
	if err != nil || drawn(tree.Roots) != "8 1(2 3(4 5)) 0(6 7)" {
		t.Errorf("%s, %v", drawn(tree.Roots), err)
	}
}

// A placeholder stands where its first child does, in whatever order they came.
func TestPlaceholderPlace(t *testing.T) {
	for _, order := range [][]int{{1, 9, 5}, {9, 5, 1}, {5, 1, 9}} {
		x := New(Config{})
		begin(x, id(2, 4), activity.ID{}, 4)
		for _, n := range order {
			begin(x, id(1, n), id(1, 99), n)
		}
		tree, err := x.Tree(t.Context(), &activity.TreeQuery{Depth: 9, Limit: 99})
		if err != nil || drawn(tree.Roots) != "4 ?(1 5 9)" {
			t.Errorf("%v: %s, %v", order, drawn(tree.Roots), err)
		}
	}
}

func TestTreeOfAChain(t *testing.T) {
	const n = 5000
	x := New(Config{})
	for k := range n {
		parent := activity.ID{}
		if k > 0 {
			parent = id(1, k)
		}
		begin(x, id(1, k+1), parent, k)
		if k%2 == 0 {
			x.Apply([]activity.Event{ev(id(1, k+1), 2, at(time.Hour), activity.EventCompleted)})
		}
	}
	tree, err := x.Tree(t.Context(), &activity.TreeQuery{Depth: n, Limit: n})
	if err != nil || len(tree.Roots) != 1 || tree.Truncated {
		t.Fatalf("%d roots, truncated %v, %v", len(tree.Roots), tree.Truncated, err)
	}
	depth := 1
	for node := tree.Roots[0]; len(node.Children) == 1; node = node.Children[0] {
		depth++
	}
	if depth != n {
		t.Errorf("%d levels", depth)
	}
	d := get(t, x, id(1, n))
	if len(d.Ancestors) != maxAncestors || d.Ancestors[maxAncestors-1].ID != id(1, n-1) {
		t.Errorf("%d ancestors", len(d.Ancestors))
	}
}

func TestParentsInACircle(t *testing.T) {
	x := New(Config{})
	begin(x, id(1, 1), id(1, 3), 1)
	begin(x, id(1, 2), id(1, 1), 2)
	begin(x, id(1, 3), id(1, 2), 3)
	begin(x, id(1, 4), id(1, 3), 4)
	begin(x, id(2, 9), id(2, 9), 9) // its own parent
	tree, err := x.Tree(t.Context(), &activity.TreeQuery{Depth: 9, Limit: 99})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	var walk func(nodes []*activity.Node)
	walk = func(nodes []*activity.Node) {
		for _, n := range nodes {
			seen[n.Activity.Name]++
			walk(n.Children)
		}
	}
	walk(tree.Roots)
	if diff := cmp.Diff(map[string]int{"1": 1, "2": 1, "3": 1, "4": 1, "9": 1}, seen); diff != "" || len(tree.Roots) != 2 {
		t.Errorf("%s (-want +got):\n%s", drawn(tree.Roots), diff)
	}
	if d := get(t, x, id(1, 4)); len(d.Ancestors) != 3 {
		t.Errorf("%d ancestors, want each once", len(d.Ancestors))
	}
	if d := get(t, x, id(2, 9)); len(d.Ancestors) != 0 {
		t.Errorf("its own ancestor: %d", len(d.Ancestors))
	}
}

func TestTreeOfTooMany(t *testing.T) {
	defer func(n int) { maxTreeNodes = n }(maxTreeNodes)
	maxTreeNodes = 5000
	x := New(Config{})
	events := make([]activity.Event, 0, maxTreeNodes+10)
	for n := range cap(events) {
		events = append(events, ev(id(n+1, n+1), 1, at(time.Duration(n)), activity.EventCompleted))
	}
	x.Apply(events)
	tree, err := x.Tree(t.Context(), &activity.TreeQuery{Limit: 3})
	if err != nil || !tree.Truncated || len(tree.Roots) != 3 || tree.Roots[0].ID != id(maxTreeNodes+10, maxTreeNodes+10) {
		t.Errorf("%d roots, truncated %v, %v", len(tree.Roots), tree.Truncated, err)
	}
}

// The agent of an activity is its own or its nearest ancestor's, however late
// that is told.
func TestInheritedAgent(t *testing.T) {
	x := New(Config{})
	agent := func(name string) activity.Attr { return str(activity.KeyAgentName, name) }
	begin(x, id(1, 4), id(1, 3), 4) // before its ancestors
	begin(x, id(1, 3), id(1, 2), 3)
	begin(x, id(1, 2), id(1, 1), 2)
	begin(x, id(1, 5), id(1, 3), 5, agent("own"))
	check := func(when string, want ...string) {
		t.Helper()
		for n, want := range want {
			i := id(1, n+2)
			if a := get(t, x, i).Activity; a.Agent != want {
				t.Errorf("%s: agent of %d is %q, want %q", when, n+2, a.Agent, want)
			}
			q := activity.Query{Filter: activity.Filter{Agents: []string{want}, Parents: []activity.ID{id(1, n+1)}}}
			if n == 3 {
				q.Parents = []activity.ID{id(1, 3)}
			}
			if page := list(t, x, q); want != "" && len(page.Activities) == 0 {
				t.Errorf("%s: %d is not listed by its agent %q", when, n+2, want)
			}
		}
	}
	check("at first", "", "", "", "own")
	begin(x, id(1, 1), activity.ID{}, 1)
	x.Apply([]activity.Event{ev(id(1, 1), 2, at(time.Minute), activity.EventUpdated, agent("planner"))})
	check("set late at the root", "planner", "planner", "planner", "own")
	for n := 5; n >= 1; n-- {
		x.Apply([]activity.Event{ev(id(1, n), 8, at(time.Hour), activity.EventCompleted)})
	}
	check("all ended", "planner", "planner", "planner", "own")
	x.Apply([]activity.Event{ev(id(1, 3), 9, at(2*time.Hour), activity.EventUpdated, agent("coder"))})
	check("set after the end", "planner", "coder", "coder", "own")
}

func TestDetail(t *testing.T) {
	x := New(Config{})
	begin(x, id(1, 2), id(1, 1), 2)
	for n := range maxChildren + 5 {
		begin(x, id(1, n+10), id(1, 2), n+10)
		if n%2 == 0 {
			x.Apply([]activity.Event{ev(id(1, n+10), 2, at(time.Hour), activity.EventCompleted)})
		}
	}
	x.Apply([]activity.Event{ev(id(1, 2), 2, at(time.Hour), activity.EventUpdated, str(activity.KeyCurrent, "x"))})
	d := get(t, x, id(1, 2))
	if len(d.Children) != maxChildren || d.ChildCount != maxChildren+5 || d.Children[0].ID != id(1, 10) {
		t.Errorf("%d of %d children", len(d.Children), d.ChildCount)
	}
	for n := 1; n < len(d.Children); n++ {
		if d.Children[n].PlannedAt < d.Children[n-1].PlannedAt {
			t.Fatal("children are not in the order of their planning")
		}
	}
	if len(d.Ancestors) != 1 || d.Ancestors[0].Activity != nil || d.Ancestors[0].ID != id(1, 1) {
		t.Errorf("ancestors %v, want a placeholder", d.Ancestors)
	}
	if len(d.History) != 2 || d.History[1].Attrs[0].Value.Str() != "x" || d.AsOf != x.Head() {
		t.Errorf("history %v as of %v", d.History, d.AsOf)
	}
	if _, err := x.Get(t.Context(), id(7, 7)); !errors.Is(err, activity.ErrNotFound) {
		t.Errorf("an unknown id: %v", err)
	}
}
