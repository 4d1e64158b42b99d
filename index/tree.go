package index

import (
	"cmp"
	"context"
	"slices"

	"github.com/midspan/midspan/activity"
)

// maxTreeNodes bounds the activities that one tree query weighs, the newest
// first; beyond it the answer is marked as truncated.
var maxTreeNodes = 100_000 // fewer in tests

// branch is a node of a tree before it is made an activity.
type branch struct {
	id       activity.ID
	parent   activity.ID
	planned  activity.Time // of one that is not held: its first child's
	seen     bool          // held; else named by a child only
	walk     int           // the row from which it was joined, or -1
	children []*branch
}

// Tree answers trees: what the filter selects with its ancestors, or all below
// one root. It returns activity.ErrNotFound for a root that nothing names, or
// activity.ErrUnreadable when it may be damaged.
func (x *Index) Tree(ctx context.Context, q *activity.TreeQuery) (*activity.Tree, error) {
	x.beforeRead()
	x.readAgain(ctx)
	f := q.Filter
	if !q.Root.IsZero() && len(f.Traces) == 0 {
		f.Traces = []activity.TraceID{q.Root.Trace}
	}
	rows, v, lacks, err := x.newest(ctx, &f)
	if err != nil {
		return nil, err
	}
	truncated := len(rows) > maxTreeNodes
	var t *activity.Tree
	var nodes []*activity.Node
	if err := x.look(ctx, func(l *look) {
		t = nil
		defer func() { lacks = cmp.Or(lacks, l.lacks) }()
		roots := l.forest(rows)
		if !q.Root.IsZero() {
			root := findBranch(roots, q.Root)
			if root == nil && !l.named(q.Root) {
				return
			}
			if roots = roots[:0]; root != nil {
				roots = append(roots, root)
			}
		}
		t = &activity.Tree{RootCount: len(roots), AsOf: v.asOf, Truncated: truncated}
		nodes = cut(t, roots, q)
	}); err != nil {
		return nil, err
	}
	if t == nil {
		return nil, cmp.Or(lacks, activity.ErrNotFound)
	}
	missing, err := x.fill(ctx, nodes, v.now)
	t.Incomplete = cmp.Or(lacks, missing) != nil
	return t, err
}

// newest returns the activities that the filter selects, the newest
// maxTreeNodes of them and one more, and why some may be missing.
func (x *Index) newest(ctx context.Context, f *activity.Filter) (rows []candidate, _ view, lacks, _ error) {
	p := &page{q: &activity.Query{Limit: maxTreeNodes}}
	v, err := x.collectOpen(ctx, p, f)
	if err != nil {
		return nil, v, nil, err
	}
	m := newMatcher(ctx, x, f, v)
	for _, seg := range slices.Backward(v.segs) {
		if p.full() && !before(p.q.Sort, candidate{key: int64(seg.maxPlanned)}, p.rows[0]) {
			continue
		}
		if err := m.scan(seg, partIDs, func(seg *segment, i int) bool {
			p.add(candidate{key: int64(seg.planned[i]), id: seg.id(i), parent: seg.parentID(i)})
			return true
		}); err != nil {
			return nil, v, nil, err
		}
	}
	return p.rows, v, m.lacks, nil
}

// forest joins activities to their ancestors.
func (l *look) forest(rows []candidate) []*branch {
	nodes := make(map[activity.ID]*branch, len(rows))
	for _, row := range rows {
		nodes[row.id] = &branch{id: row.id, parent: row.parent, planned: activity.Time(row.key), seen: true, walk: -1}
	}
	var roots []*branch
	for walk, row := range rows {
		b := nodes[row.id]
		if b.walk >= 0 {
			continue // an ancestor of one before
		}
		b.walk = walk
		for {
			up := nodes[b.parent]
			if b.parent.IsZero() || up != nil && up.walk == walk { // a circle of parents begins anywhere
				roots = append(roots, b)
				break
			}
			joined := up != nil && up.walk >= 0
			if up == nil {
				up = &branch{id: b.parent, planned: b.planned}
				if parent, planned, ok := l.holds(b.parent); ok {
					up.parent, up.planned, up.seen = parent, planned, true
				}
				nodes[up.id] = up
			}
			up.children = append(up.children, b)
			if !up.seen {
				up.planned = min(up.planned, b.planned)
			}
			if joined {
				break
			}
			up.walk = walk
			b = up
		}
	}
	newestFirst := func(a, b *branch) int {
		return cmp.Or(cmp.Compare(b.planned, a.planned), compareIDs(a.id, b.id))
	}
	slices.SortFunc(roots, newestFirst)
	for _, b := range nodes {
		slices.SortFunc(b.children, func(a, b *branch) int {
			return cmp.Or(cmp.Compare(a.planned, b.planned), compareIDs(a.id, b.id))
		})
	}
	return roots
}

// named reports whether the activity is held or a child names it.
func (l *look) named(id activity.ID) bool {
	_, _, held := l.holds(id)
	return held || len(l.children(id, nil)) > 0
}

func findBranch(roots []*branch, id activity.ID) *branch {
	for todo := slices.Clone(roots); len(todo) > 0; {
		b := todo[len(todo)-1]
		if b.id == id {
			return b
		}
		todo = append(todo[:len(todo)-1], b.children...)
	}
	return nil
}

// cut takes nodes into the answer level by level, so that a large tree loses
// its depths and not its top. It returns those that are held, each behind its
// parent.
func cut(t *activity.Tree, roots []*branch, q *activity.TreeQuery) (seen []*activity.Node) {
	type place struct {
		b     *branch
		under *activity.Node
	}
	level := make([]place, len(roots))
	for i, b := range roots {
		level[i] = place{b, nil}
	}
	left := q.Limit
	for depth := 0; depth <= q.Depth && len(level) > 0; depth++ {
		var next []place
		for _, p := range level {
			if left == 0 {
				t.Truncated = true
				return seen
			}
			left--
			node := &activity.Node{ID: p.b.id, ChildCount: len(p.b.children)}
			if p.b.seen {
				seen = append(seen, node)
			}
			if p.under == nil {
				t.Roots = append(t.Roots, node)
			} else {
				p.under.Children = append(p.under.Children, node)
			}
			for _, c := range p.b.children {
				next = append(next, place{c, node})
			}
		}
		level = next
	}
	return seen
}

// fill gives nodes their activities; a parent among them stands before its
// children. What was evicted meanwhile is left a placeholder, and so is what is
// damaged, for which it returns why.
func (x *Index) fill(ctx context.Context, nodes []*activity.Node, now activity.Time) (lacks, _ error) {
	const atATime = 256 // segments are not to be there for many rows at once
	filled := make(map[activity.ID]*activity.Activity, len(nodes))
	for len(nodes) > 0 {
		n := min(len(nodes), atATime)
		if err := x.look(ctx, func(l *look) {
			for _, node := range nodes[:n] {
				events, _ := l.events(node.ID)
				if events == nil {
					continue
				}
				a := fold(events)
				if parent := filled[a.Parent]; parent != nil { // nobody need walk up to the root
					x.dressUnder(a, parent.Agent, now)
				} else {
					l.dress(a, now)
				}
				node.Activity, filled[node.ID] = a, a
			}
			lacks = cmp.Or(lacks, l.lacks)
		}); err != nil {
			return nil, err
		}
		nodes = nodes[n:]
	}
	return lacks, nil
}
