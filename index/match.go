package index

import (
	"context"
	"math/bits"
	"slices"
	"time"

	"github.com/midspan/midspan/activity"
)

// matcher looks for the finished rows that a filter selects. What the columns
// tell is judged first; only what is left is decoded.
type matcher struct {
	ctx context.Context
	x   *Index
	f   *activity.Filter
	v   view

	types, states uint32 // sets of what is wanted
	parts         part   // of a segment, that judging a row reads
	at            *activity.Moment
	headOnly      bool
	read          bool     // text was read from the archive
	lacks         error    // why rows may be missing: they are damaged
	needles       []needle // of f.Terms and f.Attrs
	grams         []uint32 // of the needles

	folded activity.Activity // the row being judged
	arena  []activity.Attr   // of folded
}

func newMatcher(ctx context.Context, x *Index, f *activity.Filter, v view) *matcher {
	m := &matcher{ctx: ctx, x: x, f: f, v: v, headOnly: f.HeadOnly(), parts: partCodes}
	if m.restricted() {
		m.parts |= partIDs
	}
	if !m.headOnly {
		m.parts = allParts
	}
	for _, t := range f.Types {
		m.types |= 1 << t
	}
	for _, s := range f.States {
		m.states |= 1 << s
	}
	if len(f.Types) == 0 {
		m.types = ^uint32(0)
	}
	if len(f.States) == 0 {
		m.states = ^uint32(0)
	}
	m.needles = needlesOf(f)
	m.grams = gramsOf(m.needles)
	return m
}

// scan calls fn with the rows of a segment that the filter selects, until fn
// returns false. The segment that fn is given has at least the parts. The error
// is that of the archive or of the context. A segment of which any part is damaged
// is passed over, since there is no whole row in it.
func (m *matcher) scan(seg *segment, parts part, fn func(seg *segment, i int) bool) error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	if !m.may(seg) {
		return nil
	}
	err := m.x.damage.of(seg.first, allParts)
	if err == nil {
		err = m.scanRows(seg, parts, fn)
	}
	if unreadable(err) { // of the first row that was wanted, at the latest
		m.lacks, err = err, nil
	}
	return err
}

// scanRows does what scan does, of a segment that may hold what is selected.
func (m *matcher) scanRows(seg *segment, parts part, fn func(seg *segment, i int) bool) error {
	if len(m.grams) > 0 && !seg.has(partText) {
		if may, err := m.x.mayHold(m.ctx, seg, m.grams); err != nil || !may {
			return err
		}
	}
	seg, err := m.x.fetch(m.ctx, seg, partCodes)
	if err != nil {
		return err
	}
	wanted, any := m.coded(seg)
	if !any {
		return nil
	}
	m.read = m.read || m.parts&partText != 0 && !seg.has(partText)
	if seg, err = m.x.fetch(m.ctx, seg, m.parts); err != nil {
		return err
	}
	if len(m.needles) > 0 {
		found := m.rarest().rows(seg)
		if found == nil {
			return nil
		}
		for k := range wanted {
			wanted[k] &= found[k]
		}
	}
	rest := m.restricted()
	mixed := m.at != nil && seg.maxSeq > m.at.Seq
	if mixed {
		if seg, err = m.x.fetch(m.ctx, seg, partPlaces); err != nil {
			return err
		}
	}
	for k, set := range wanted {
		for ; set != 0; set &= set - 1 {
			i := 64*k + bits.TrailingZeros64(set)
			if rest && !m.row(seg, i) || seg.isDead(i) || mixed && seg.seq[i] > m.at.Seq {
				continue
			}
			if !m.headOnly {
				if ok, err := m.match(seg, i); err != nil {
					return err
				} else if !ok {
					continue
				}
			}
			// What is wanted of a row is fetched when the first one is found.
			if seg, err = m.x.fetch(m.ctx, seg, parts); err != nil {
				return err
			}
			if !fn(seg, i) {
				return nil
			}
		}
	}
	return nil
}

// coded returns the rows that a segment's codes leave.
func (m *matcher) coded(seg *segment) (set rowSet, any bool) {
	var sources, threads []bool
	if len(m.f.Services) > 0 {
		sources = make([]bool, len(seg.sources))
		for n, r := range seg.sources {
			sources[n] = r != nil && slices.Contains(m.f.Services, r.Service) || r == nil && slices.Contains(m.f.Services, "")
		}
		if !slices.Contains(sources, true) {
			return set, false
		}
	}
	if len(m.f.Threads) > 0 {
		threads = make([]bool, seg.threads.len())
		for n := range threads {
			threads[n] = slices.Contains(m.f.Threads, seg.threads.text(uint16(n)))
		}
		if !slices.Contains(threads, true) {
			return set, false
		}
	}
	for from := 0; from < seg.n; from += 64 {
		wanted := m.wanted(seg, from, min(from+64, seg.n))
		if sources != nil || threads != nil {
			for rest := wanted; rest != 0; rest &= rest - 1 {
				bit := bits.TrailingZeros64(rest)
				i := from + bit
				if sources != nil && !sources[seg.source[i]] || threads != nil && !threads[seg.thread[i]] {
					wanted &^= 1 << bit
				}
			}
		}
		set[from/64] = wanted
		any = any || wanted != 0
	}
	return set, any
}

// wanted returns which of at most 64 rows have a wanted type and state, the
// first in the lowest bit. It has no branches: this is the loop that a filter
// over a million rows runs.
func (m *matcher) wanted(seg *segment, from, to int) (set uint64) {
	types, states := seg.typ[from:to], seg.state[from:to]
	for i, t := range types {
		set |= uint64(m.types>>(t&31)&(m.states>>(states[i]&31))&1) << (i & 63)
	}
	return set
}

// may reports whether the segment can hold a row that the filter selects.
func (m *matcher) may(seg *segment) bool {
	f := m.f
	if f.Stalled != nil && *f.Stalled { // what has ended never is
		return false
	}
	if f.Until != 0 && seg.minPlanned > f.Until || f.Since != 0 && !seg.lost && seg.maxEnded < f.Since {
		return false
	}
	if seg.types&m.types == 0 || seg.states&m.states == 0 {
		return false
	}
	if seg.coded != nil && !seg.coded.may(f, m.types, m.states) {
		return false
	}
	if f.MinDuration > time.Duration(seg.maxDuration) {
		return false
	}
	if len(f.Traces) > 0 && !slices.ContainsFunc(f.Traces, seg.traces.may) {
		return false
	}
	if len(f.Parents) > 0 && !slices.ContainsFunc(f.Parents, func(id activity.ID) bool { return seg.traces.may(id.Trace) }) {
		return false
	}
	return true
}

// restricted reports whether row has anything to judge.
func (m *matcher) restricted() bool {
	f := m.f
	return f.Since != 0 || f.Until != 0 || f.MinDuration != 0 || f.MaxDuration != 0 || len(f.Traces) > 0 || len(f.Parents) > 0
}

// row judges a row by its times and ids.
func (m *matcher) row(seg *segment, i int) bool {
	f := m.f
	if f.Until != 0 && seg.planned[i] > f.Until || f.Since != 0 && seg.ended[i] != 0 && seg.ended[i] < f.Since {
		return false
	}
	if f.MinDuration != 0 || f.MaxDuration != 0 {
		d := time.Duration(max(seg.ended[i]-seg.started[i], 0))
		if seg.started[i] == 0 || seg.ended[i] == 0 || d < f.MinDuration || f.MaxDuration != 0 && d > f.MaxDuration {
			return false
		}
	}
	if len(f.Traces) > 0 && !slices.Contains(f.Traces, seg.trace[i]) {
		return false
	}
	return len(f.Parents) == 0 || slices.Contains(f.Parents, seg.parentID(i))
}

// match judges a row by all that it holds.
func (m *matcher) match(seg *segment, i int) (bool, error) {
	b := seg.base(i)
	a := &m.folded
	a.Reset()
	m.arena = m.arena[:0]
	d := decoder{keys: m.v.keys, rec: seg.recordString(i), arena: &m.arena}
	var e activity.Event
	for d.next(&e, seg.id(i), &b) {
		a.Apply(&e)
	}
	if len(m.f.Agents) > 0 && a.Agent == "" {
		agent := ""
		if err := m.x.look(m.ctx, func(l *look) { agent = l.agent("", a.Parent) }); err != nil {
			return false, err
		}
		a.Agent = agent
	}
	return m.f.Match(a, m.v.now), nil
}

// rarest returns the needle that is likely to be found least often.
func (m *matcher) rarest() *needle {
	return slices.MinFunc(m.pointers(), func(a, b *needle) int { return a.common - b.common })
}

func (m *matcher) pointers() []*needle {
	p := make([]*needle, len(m.needles))
	for i := range m.needles {
		p[i] = &m.needles[i]
	}
	return p
}
