package index

import (
	"slices"
	"testing"

	"github.com/midspan/midspan/activity"
)

// family is a random forest of activities with all their events.
type family struct {
	ids    []activity.ID
	events []activity.Event
	folded map[activity.ID]activity.Activity // what they come to
}

func (g *generator) family(unnumbered bool) *family {
	f := &family{folded: make(map[activity.ID]activity.Activity)}
	for n := range 2 + g.IntN(8) {
		i := id(1+n/5, n+1)
		var parent activity.ID
		if k := g.IntN(n + 2); k <= n { // some are roots, some have a parent that is never seen
			parent = id(1+n/5, k+n/5*5+1)
		}
		if parent == i {
			parent = activity.ID{}
		}
		events := g.life(i, parent, unnumbered)
		f.ids = append(f.ids, i)
		f.events = append(f.events, events...)
		f.folded[i] = activity.Fold(clone(events))
	}
	return f
}

// agent is an activity's own agent or its nearest ancestor's.
func (f *family) agent(i activity.ID) string {
	for range f.ids {
		a, ok := f.folded[i]
		if !ok || a.Agent != "" {
			return a.Agent
		}
		i = a.Parent
	}
	return ""
}

// Any interleaving and repetition of the same events, over parents and
// children, makes the same index: its activities are the fold of their events,
// and lists and trees hold the same.
func TestIndexIsOneWhateverTheOrder(t *testing.T) {
	for seed := range uint64(30) {
		g := newGenerator(seed)
		f := g.family(seed%2 == 0)
		for range 2 {
			x := New(Config{})
			arrived := clone(g.arrive(f.events))
			for len(arrived) > 0 { // in batches of any size
				n := 1 + g.IntN(len(arrived))
				x.Apply(arrived[:n])
				arrived = arrived[n:]
			}
			f.check(t, seed, x)
			if t.Failed() {
				return
			}
			seq := x.Head().Seq
			x.Apply(clone(f.events))
			if now := x.Head().Seq; now != seq {
				t.Fatalf("seed %d: duplicates took the sequence from %d to %d", seed, seq, now)
			}
			f.check(t, seed, x)
		}
	}
}

func (f *family) check(t *testing.T, seed uint64, x *Index) {
	t.Helper()
	held := all(t, x)
	if len(held) != len(f.ids) {
		t.Fatalf("seed %d: %d activities, want %d", seed, len(held), len(f.ids))
	}
	for _, i := range f.ids {
		want := f.folded[i]
		want.Agent = f.agent(i)
		detail := get(t, x, i)
		for name, a := range map[string]*activity.Activity{"Get": detail.Activity, "Scan": held[i]} {
			if diff := difference(want, *a); diff != "" {
				var b []byte
				for _, e := range f.events {
					if e.ID == i {
						b = append(e.AppendJSON(b), '\n')
					}
				}
				t.Fatalf("seed %d: %s(%v) of\n%s\n(-fold of the events +got):\n%s", seed, name, i, b, diff)
			}
		}
		var children []activity.ID
		for _, c := range f.ids {
			if a := f.folded[c]; a.Parent == i {
				children = append(children, c)
			}
		}
		if len(detail.Children) != len(children) || detail.ChildCount != len(children) {
			t.Fatalf("seed %d: %d children of %v, want %v", seed, len(detail.Children), i, children)
		}
		for _, c := range detail.Children {
			if !slices.Contains(children, c.ID) {
				t.Fatalf("seed %d: %v is no child of %v", seed, c.ID, i)
			}
		}
	}
	for _, sort := range []activity.Sort{activity.NewestPlanned, activity.OldestPlanned, activity.LongestFirst, activity.LatestEnded} {
		var want []candidate
		for _, a := range f.folded {
			if key, ok := sortKey(sort, &a.Head); ok {
				want = append(want, candidate{key: key, id: a.ID})
			}
		}
		slices.SortFunc(want, func(a, b candidate) int {
			if before(sort, a, b) {
				return -1
			}
			return 1
		})
		page := list(t, x, activity.Query{Sort: sort})
		if page.Total != len(want) || !page.Exact || len(page.Activities) != len(want) {
			t.Fatalf("seed %d, %v: %d of %d listed, want %d", seed, sort, len(page.Activities), page.Total, len(want))
		}
		for k, a := range page.Activities {
			if a.ID != want[k].id {
				t.Fatalf("seed %d, %v: row %d is %v, want %v", seed, sort, k, a.ID, want[k].id)
			}
		}
	}
	tree, err := x.Tree(t.Context(), &activity.TreeQuery{Depth: 99, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[activity.ID]bool)
	var walk func(n *activity.Node, parent activity.ID)
	walk = func(n *activity.Node, parent activity.ID) {
		if seen[n.ID] {
			t.Fatalf("seed %d: %v stands twice in the tree", seed, n.ID)
		}
		seen[n.ID] = true
		want, ok := f.folded[n.ID]
		if ok != (n.Activity != nil) {
			t.Fatalf("seed %d: %v is a placeholder: %v", seed, n.ID, n.Activity == nil)
		}
		if ok && parent != (activity.ID{}) && want.Parent != parent {
			t.Fatalf("seed %d: %v stands under %v, not %v", seed, n.ID, parent, want.Parent)
		}
		if n.ChildCount != len(n.Children) {
			t.Fatalf("seed %d: %v has %d of %d children", seed, n.ID, len(n.Children), n.ChildCount)
		}
		for _, c := range n.Children {
			walk(c, n.ID)
		}
	}
	for _, root := range tree.Roots {
		walk(root, activity.ID{})
	}
	for _, i := range f.ids {
		if !seen[i] {
			t.Fatalf("seed %d: %v is missing from the tree", seed, i)
		}
	}
	checkCounts(t, x)
}
