package index

import (
	"cmp"
	"context"
	"slices"

	"github.com/midspan/midspan/activity"
)

// maxAncestors bounds the walk from an activity to its root.
const maxAncestors = 512

// events returns the events of a held activity in canonical order, or nil, and
// what was merged into them.
func (l *look) events(id activity.ID) ([]activity.Event, merged) {
	if o := l.x.open.Get(id); o != nil {
		return o.decode(), o.merged
	}
	if seg, i := l.findRow(id, allParts); seg != nil {
		return seg.decode(i, l.x.keys.keys)
	}
	l.misses(id)
	return nil, merged{}
}

// misses notes when an activity that was not found may be one of those whose ids
// are damaged.
func (l *look) misses(id activity.ID) {
	if l.lacks == nil {
		l.lacks = l.x.damage.unnamed(id.Trace)
	}
}

// decode returns the events of a row, all of whose parts are there.
func (s *segment) decode(i int, keys []string) ([]activity.Event, merged) {
	b := s.base(i)
	return decodeRecord(s.recordString(i), keys, s.id(i), &b)
}

// fold makes an activity of events in canonical order.
func fold(events []activity.Event) *activity.Activity {
	a := new(activity.Activity)
	for i := range events {
		a.Apply(&events[i])
	}
	return a
}

// dress adds what only the index knows.
func (l *look) dress(a *activity.Activity, now activity.Time) *activity.Activity {
	a.Agent = l.agent(a.Agent, a.Parent)
	return l.x.dressAlone(a, now)
}

// dressAlone does what dress does, but for the agent. x.mu is held for reading.
func (x *Index) dressAlone(a *activity.Activity, now activity.Time) *activity.Activity {
	a.Usual = x.usual.median(a.Type, a.Name)
	if a.State == activity.InProgress && a.Reports {
		if o := x.open.Get(a.ID); o != nil {
			a.Stalled = x.stalled(&a.Head, o.heard, now)
		}
	}
	if a.Lease = x.cfg.Lease(a.Resource); a.Lease == activity.LeaseNone && a.State == activity.Lost && a.Resource.Lease() != "" {
		a.Lease = activity.LeaseExpired // which is forgotten, as after a start
	}
	return a
}

// stalled judges by when the index heard of the activity last: the clock of its
// process may be another.
func (x *Index) stalled(h *activity.Head, heard, now activity.Time) bool {
	return h.State == activity.InProgress && h.Reports && !h.LongRunning && now.Sub(heard) > x.cfg.StallAfter
}

// agent returns an activity's own agent, or that of its nearest ancestor.
func (l *look) agent(own string, parent activity.ID) string {
	for range maxAncestors {
		if own != "" || parent.IsZero() {
			return own
		}
		own, parent = l.agentAndParent(parent)
	}
	return own
}

func (l *look) agentAndParent(id activity.ID) (agent string, parent activity.ID) {
	if o := l.x.open.Get(id); o != nil {
		return o.head.Agent, o.head.Parent
	}
	if seg, i := l.findRow(id, partIDs|partCodes); seg != nil {
		return seg.agents.text(seg.agent[i]), seg.parentID(i)
	}
	return "", activity.ID{}
}

// holds reports whether the activity is held, and its parent and planning.
func (l *look) holds(id activity.ID) (parent activity.ID, planned activity.Time, ok bool) {
	if o := l.x.open.Get(id); o != nil {
		return o.head.Parent, o.head.PlannedAt, true
	}
	if seg, i := l.findRow(id, partIDs); seg != nil {
		return seg.parentID(i), seg.planned[i], true
	}
	l.misses(id)
	return activity.ID{}, 0, false
}

// activity returns a held activity as it is now, or nil.
func (l *look) activity(id activity.ID, now activity.Time) *activity.Activity {
	events, _ := l.events(id)
	if events == nil {
		return nil
	}
	return l.dress(fold(events), now)
}

// activities returns those of some that are held, as they are now or were at a
// moment, and whether there may be others that are damaged.
func (x *Index) activities(ctx context.Context, ids []activity.ID, now activity.Time, at *activity.Moment) (out []*activity.Activity, lacks bool, err error) {
	const atATime = 16 // segments are not to be there for many rows at once
	out = make([]*activity.Activity, 0, len(ids))
	for len(ids) > 0 {
		n := min(len(ids), atATime)
		have := len(out)
		if err := x.look(ctx, func(l *look) {
			out = out[:have]
			for _, id := range ids[:n] {
				a := l.activityAt(id, now, at)
				if a != nil {
					out = append(out, a)
				}
			}
			lacks = lacks || l.lacks != nil && len(out) < have+n
		}); err != nil {
			return nil, false, err
		}
		ids = ids[n:]
	}
	return out, lacks, nil
}

// replay folds one activity event by event, for a reader of the log that asks
// for it as of several moments.
type replay struct {
	events  []activity.Event
	ordered bool // canonical order is that of arrival
	next    int  // of events, to be applied
	folded  activity.Activity
}

func newReplay(events []activity.Event) *replay {
	return &replay{events: events, ordered: slices.IsSortedFunc(events, func(a, b activity.Event) int { return cmp.Compare(a.Seq, b.Seq) })}
}

// advance folds in what came up to a sequence, and returns the time of the event
// that has it, if there is one. Sequences must rise from call to call.
func (r *replay) advance(seq uint64) (at activity.Time, ok bool) {
	if !r.ordered {
		r.next, r.folded = 0, activity.Activity{}
	}
	for ; r.next < len(r.events); r.next++ {
		e := &r.events[r.next]
		if e.Seq > seq {
			if r.ordered {
				break
			}
			continue
		}
		if e.Seq == seq {
			at, ok = e.At, true
		}
		r.folded.Apply(e)
	}
	return at, ok
}

// asOf returns the activity as it was after the event of the sequence, and that
// event's time. It returns nil for an event that was merged into another.
// Sequences must rise from call to call.
func (r *replay) asOf(seq uint64) (*activity.Activity, activity.Time) {
	at, ok := r.advance(seq)
	if !ok {
		return nil, 0
	}
	a := r.folded // which is folded on
	a.Attributes = slices.Clone(a.Attributes)
	if a.Decision != nil {
		d := *a.Decision
		a.Decision = &d
	}
	return &a, at
}

// Get returns everything about one activity, or activity.ErrNotFound, or
// activity.ErrUnreadable when it may be one that is damaged.
func (x *Index) Get(ctx context.Context, id activity.ID) (d *activity.Detail, err error) {
	x.beforeRead()
	x.readAgain(ctx)
	var lacks error
	if err := x.look(ctx, func(l *look) { d = l.detail(id); lacks = l.lacks }); err != nil {
		return nil, err
	}
	if d == nil {
		return nil, cmp.Or(lacks, activity.ErrNotFound)
	}
	d.Incomplete = lacks != nil
	return d, nil
}

func (l *look) detail(id activity.ID) *activity.Detail {
	x := l.x
	events, merged := l.events(id)
	if events == nil {
		return nil
	}
	now := x.now()
	d := &activity.Detail{Activity: fold(events), History: events, Merged: merged.n, AsOf: x.position()}
	above := map[activity.ID]*activity.Node{id: nil} // a sender may make a circle of parents
	for parent := d.Activity.Parent; !parent.IsZero() && len(d.Ancestors) < maxAncestors; {
		if _, seen := above[parent]; seen {
			break
		}
		node := &activity.Node{ID: parent}
		above[parent] = node
		d.Ancestors = append(d.Ancestors, node)
		events, _ := l.events(parent)
		if events == nil {
			break
		}
		node.Activity = fold(events)
		parent = node.Activity.Parent
	}
	slices.Reverse(d.Ancestors)
	agent := ""
	for _, node := range d.Ancestors {
		agent = x.dressUnder(node.Activity, agent, now)
	}
	agent = x.dressUnder(d.Activity, agent, now)
	children := l.children(id, above)
	d.ChildCount = len(children)
	for _, c := range children[:min(len(children), maxChildren)] {
		events, _ := l.events(c.id)
		if events == nil {
			continue // away
		}
		a := fold(events)
		x.dressUnder(a, agent, now)
		d.Children = append(d.Children, a)
	}
	return d
}

// dressUnder dresses an activity whose parent has the agent, unless it is nil,
// and returns its own agent then.
func (x *Index) dressUnder(a *activity.Activity, agent string, now activity.Time) string {
	if a == nil {
		return agent
	}
	a.Agent = cmp.Or(a.Agent, agent)
	x.dressAlone(a, now)
	return a.Agent
}

// maxChildren bounds the children that one answer about an activity shows.
const maxChildren = 1000

// child is an activity and what it is ordered by among its siblings.
type child struct {
	id      activity.ID
	planned activity.Time
}

// children returns the held children of an activity by their planning. It
// counts those of others, of the same trace, on the way.
func (l *look) children(id activity.ID, others map[activity.ID]*activity.Node) []child {
	var found []child
	for of, o := range l.x.open.All() {
		switch {
		case of.Trace != id.Trace: // as a parent's always is; most are not looked at
		case o.head.Parent == id:
			found = append(found, child{o.head.ID, o.head.PlannedAt})
		default:
			count(others, o.head.Parent)
		}
	}
	for _, seg := range l.x.segs {
		if !seg.traces.may(id.Trace) {
			continue
		}
		if seg = l.with(seg, partIDs); seg == nil {
			continue
		}
		for i := range seg.n {
			switch {
			case seg.trace[i] != id.Trace || seg.isDead(i):
			case seg.parent[i] == id.Span:
				found = append(found, child{seg.id(i), seg.planned[i]})
			case len(others) > 0:
				count(others, seg.parentID(i))
			}
		}
	}
	slices.SortFunc(found, func(a, b child) int {
		return cmp.Or(cmp.Compare(a.planned, b.planned), compareIDs(a.id, b.id))
	})
	return found
}

func count(nodes map[activity.ID]*activity.Node, parent activity.ID) {
	if n := nodes[parent]; n != nil {
		n.ChildCount++
	}
}

// Resolve returns the ids of all held activities with that span id. When it finds
// none, and there may be one that is damaged, it returns activity.ErrUnreadable.
func (x *Index) Resolve(ctx context.Context, span activity.SpanID) (found []activity.ID, err error) {
	x.beforeRead()
	x.readAgain(ctx)
	var lacks error
	err = x.look(ctx, func(l *look) {
		found = found[:0]
		for id := range x.open.All() {
			if id.Span == span {
				found = append(found, id)
			}
		}
		l.eachRow(span, partIDs, func(seg *segment, i int) bool {
			found = append(found, seg.id(i))
			return false
		})
		lacks = l.lacks
	})
	if err == nil && len(found) == 0 {
		err = cmp.Or(lacks, x.damage.anyUnnamed())
	}
	slices.SortFunc(found, compareIDs)
	return found, err
}

func compareIDs(a, b activity.ID) int {
	if c := slices.Compare(a.Trace[:], b.Trace[:]); c != 0 {
		return c
	}
	return slices.Compare(a.Span[:], b.Span[:])
}
