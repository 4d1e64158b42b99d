package index

import (
	"encoding/binary"
	"math"
	"slices"
	"sort"

	"github.com/midspan/midspan/activity"
)

// maxHistory bounds the events that an open activity's record keeps apart.
// Beyond it, about half of them are merged. The dashboard takes 500.
const maxHistory = 480

// openActivity is an activity in flight: its head, ready for filters, and its
// record so far.
type openActivity struct {
	head       activity.Head
	base       base
	enc        encoder
	begun      uint64 // sequence of the first event to arrive
	events     int
	maxAt      activity.Time
	unnumbered bool          // some events have no Rev, so a later one may belong between them
	heard      activity.Time // when the last event came, by this index's clock
	refused    bool          // the last event asked for a transition that its place does not allow
	merged     merged
	counted    counted
	// When the record is shortened next; each time it gets a good deal longer
	// first, should there be little that can be merged.
	nextEvents, nextBytes int
}

func (x *Index) newOpen() *openActivity {
	if n := len(x.spare); n > 0 {
		o := x.spare[n-1]
		x.spare = x.spare[:n-1]
		return o
	}
	return &openActivity{enc: encoder{keys: x.keys, buf: make([]byte, 0, 512)}}
}

// discard empties an openActivity for its next use.
func (x *Index) discard(o *openActivity) {
	if len(x.spare) < 4096 && cap(o.enc.buf) <= 16<<10 {
		*o = openActivity{enc: encoder{keys: x.keys, buf: o.enc.buf[:0]}}
		x.spare = append(x.spare, o)
	}
}

// fold numbers the event from *seq and folds it in. It returns false, and
// changes nothing, when the event was there before.
func (o *openActivity) fold(e *activity.Event, seq *uint64) bool {
	if !o.late(e) && !o.shifted(e) {
		*seq++
		e.Seq = *seq
		o.append(e)
		o.refused = !o.head.Apply(e)
		return true
	}
	if e.Rev != 0 && e.Rev <= o.merged.rev {
		return false
	}
	all := append(o.decode(), *e)
	aligned := activity.Align(all)
	events, last := all[:len(all)-1], &all[len(all)-1]
	// One that was there before still tells of a clock that was not known then.
	if told := o.told(last); seen(events, &told) && (!aligned || last.Resource != e.Resource) {
		return false
	}
	if mergedBefore(events, last) {
		return false
	}
	*seq++
	e.Seq, last.Seq = *seq, *seq
	o.rebuild(activity.Canonical(all), e.Seq)
	return true
}

// shifted reports whether the event's times were shifted otherwise than those of the
// one before.
func (o *openActivity) shifted(e *activity.Event) bool {
	r := o.head.Resource
	return e.Resource != r && e.Resource != nil && r != nil && e.Resource.Shift() != r.Shift()
}

// late reports whether the event may belong before one that is there.
func (o *openActivity) late(e *activity.Event) bool {
	switch {
	case o.events == 0:
		return false
	case e.Rev == 0:
		return e.At <= o.maxAt
	}
	return e.Rev <= o.enc.last.rev || o.unnumbered && e.At <= o.maxAt
}

// append encodes an event behind the others.
func (o *openActivity) append(e *activity.Event) {
	if o.begun == 0 {
		o.begun = e.Seq
	}
	if o.events == 0 && o.base == (base{}) {
		o.base = base{
			name: activity.Cut(e.Name, activity.MaxString), parent: e.Parent.Span, kind: e.SpanKind, start: e.StartTime,
			sampling: e.Sampling, flags: keptFlags(e.Flags, e.Sampling), resource: e.Resource, scope: e.Scope,
		}
	}
	if len(o.enc.buf) > maxRecord {
		e.Attrs, e.Links, e.SpanEvents = nil, nil, nil
	}
	o.enc.event(e, &o.base)
	o.events++
	o.unnumbered = o.unnumbered || e.Rev == 0
	o.maxAt = max(o.maxAt, e.At)
}

// told returns the event as the record tells it: cut.
func (o *openActivity) told(e *activity.Event) activity.Event {
	enc := encoder{keys: o.enc.keys}
	enc.event(e, &o.base)
	d := decoder{keys: o.enc.keys.keys, rec: string(enc.buf)}
	var told activity.Event
	d.next(&told, e.ID, &o.base)
	return told
}

// decode returns the events so far. They share nothing with the record, which
// is written on.
func (o *openActivity) decode() []activity.Event {
	events, _ := appendRecord(make([]activity.Event, 0, o.events+1), string(o.enc.buf), o.enc.keys.keys, o.head.ID, &o.base)
	return events
}

func decodeRecord(rec string, keys []string, id activity.ID, b *base) ([]activity.Event, merged) {
	return appendRecord(make([]activity.Event, 0, 8), rec, keys, id, b)
}

func appendRecord(events []activity.Event, rec string, keys []string, id activity.ID, b *base) ([]activity.Event, merged) {
	d := decoder{keys: keys, rec: rec}
	for {
		var e activity.Event
		if !d.next(&e, id, b) {
			return events, d.merged
		}
		events = append(events, e)
	}
}

// rebuild encodes and folds the events anew. The last to arrive is that of seq.
func (o *openActivity) rebuild(events []activity.Event, seq uint64) {
	*o = openActivity{
		enc:    encoder{keys: o.enc.keys, buf: o.enc.buf[:0]},
		merged: o.merged, begun: o.begun, counted: o.counted, heard: o.heard, nextEvents: o.nextEvents, nextBytes: o.nextBytes,
	}
	for i := range events {
		o.append(&events[i])
		ok := o.head.Apply(&events[i])
		o.refused = o.refused || !ok && events[i].Seq == seq
	}
}

// long reports whether the record should be shortened.
func (o *openActivity) long() bool {
	return o.events > max(o.nextEvents, maxHistory) || len(o.enc.buf) > max(o.nextBytes, maxRecord/2)
}

// stretch is the time that an event stands for, by the log's clock and by the
// sender's. Of a merged one both have a length.
type stretch struct {
	came, sent [2]activity.Time // first and last
	fixed      bool             // it is never merged
}

// with returns the stretch of both.
func (s stretch) with(t *stretch) stretch {
	s.came = [2]activity.Time{min(s.came[0], t.came[0]), max(s.came[1], t.came[1])}
	s.sent = [2]activity.Time{min(s.sent[0], t.sent[0]), max(s.sent[1], t.sent[1])}
	return s
}

// within reports whether the stretch is shorter than 1<<shift nanoseconds.
func (s stretch) within(shift int) bool {
	return uint64(s.came[1]-s.came[0]|s.sent[1]-s.sent[0])>>shift == 0
}

// stretches returns those of events, which are the first in canonical order.
// States and their times stay, and so does the first event to arrive, by which
// the activity is known.
func (o *openActivity) stretches(events []activity.Event, taken func(seq uint64) activity.Time) []stretch {
	all := make([]stretch, len(events))
	var h activity.Head
	clock := activity.Time(math.MinInt64) // the sender's, which may have gone back
	for i := range events {
		e, s := &events[i], &all[i]
		before := h.State
		h.Apply(e)
		s.fixed = h.State != before || e.Kind != activity.EventUpdated && !e.Kind.State().Open() || e.Seq == o.begun
		last := taken(e.Seq)
		s.came = [2]activity.Time{last, last}
		from := e.At
		if e.FromSeq != 0 {
			from = e.FromAt
			s.came[0] = taken(e.FromSeq)
		}
		from = max(from, clock)
		clock = max(clock, e.At)
		s.sent = [2]activity.Time{from, clock}
	}
	return all
}

// together returns how many of the events, from the first on, may become one that lies
// within 1<<shift nanoseconds.
func together(of []stretch, shift int) int {
	whole := of[0]
	for n := 1; n < len(of); n++ {
		if whole = whole.with(&of[n]); of[n-1].fixed || of[n].fixed || !whole.within(shift) {
			return n
		}
	}
	return len(of)
}

// shorten thins the history out, so that an activity may report for days. The
// newest quarter stays. Of the rest, updates in a row become one where they lie
// close together, so that about a quarter is left: what is kept stands evenly
// over the activity's life, and tells of any moment what it was shortly before.
func (o *openActivity) shorten(taken func(seq uint64) activity.Time) {
	events := o.decode()
	old := (len(events)*3 + 3) / 4
	all := o.stretches(events[:old], taken)
	shift := sort.Search(64, func(shift int) bool {
		apart := 0
		for i := together(all, shift); i < old; i += together(all[i:], shift) {
			if !all[i-1].fixed && !all[i].fixed {
				apart++
			}
		}
		return apart <= len(events)/4
	})
	kept := events[:0]
	for i := 0; i < old; {
		e := events[i]
		for end := i + together(all[i:], shift); i < end-1; {
			o.merged.n++
			o.merged.rev = max(o.merged.rev, e.Rev)
			i++
			e = merge(&e, &events[i])
		}
		kept = append(kept, e)
		i++
	}
	o.rebuild(append(kept, events[old:]...), 0)
	o.nextEvents, o.nextBytes = o.events+o.events/2, len(o.enc.buf)+maxRecord/16
}

// merge returns the update that two events come to which count as updates. It
// has its place in the log when all of it was known.
func merge(a, b *activity.Event) activity.Event {
	m := activity.Merge(*a, *b)
	m.Kind = activity.EventUpdated
	m.Seq = max(a.Seq, b.Seq)
	m.FromSeq, m.FromAt = a.Seq, a.At
	for _, e := range []*activity.Event{a, b} {
		seq, at := e.Seq, e.At
		if e.FromSeq != 0 {
			seq, at = e.FromSeq, e.FromAt
		}
		m.FromSeq, m.FromAt = min(m.FromSeq, seq), min(m.FromAt, at)
	}
	return m
}

// mergedBefore reports whether an update without a number lies in a stretch of
// merged updates: it is taken for one of them, which can't be told apart.
func mergedBefore(events []activity.Event, e *activity.Event) bool {
	return e.Rev == 0 && e.Kind == activity.EventUpdated && slices.ContainsFunc(events, func(m activity.Event) bool {
		return m.FromSeq != 0 && m.FromAt <= e.At && e.At <= m.At
	})
}

// record returns the whole record, of an activity that leaves the flight. Its
// base tells then what the columns of a row hold.
func (o *openActivity) record() []byte {
	b, h := &o.base, &o.head
	if b.parent != h.Parent.Span || b.kind != h.Kind || b.sampling != h.Sampling || b.resource != h.Resource {
		last := *b
		last.parent, last.kind, last.sampling, last.resource = h.Parent.Span, h.Kind, h.Sampling, h.Resource
		last.flags = keptFlags(b.flags, h.Sampling)
		events := o.decode()
		o.enc = encoder{keys: o.enc.keys, buf: o.enc.buf[:0]}
		for i := range events {
			o.enc.event(&events[i], &last)
		}
		*b = last
	}
	if o.merged.n == 0 {
		return o.enc.buf
	}
	rec := append(make([]byte, 0, len(o.enc.buf)+16), markMerged)
	rec = binary.AppendUvarint(rec, uint64(o.merged.n))
	rec = binary.AppendUvarint(rec, uint64(o.merged.rev))
	return append(rec, o.enc.buf...)
}
