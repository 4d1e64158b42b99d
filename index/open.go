package index

import (
	"encoding/binary"

	"github.com/midspan/midspan/activity"
)

// maxHistory bounds the events that an open activity's record keeps apart.
// Beyond it, runs of updates in the older half become one.
const maxHistory = 256

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
	if !o.late(e) {
		*seq++
		e.Seq = *seq
		o.append(e)
		o.refused = !o.head.Apply(e)
		return true
	}
	if e.Rev != 0 && e.Rev <= o.merged.rev {
		return false
	}
	events := o.decode()
	told := o.told(e)
	for i := range events {
		if events[i].Same(&told) {
			return false
		}
	}
	*seq++
	e.Seq = *seq
	o.rebuild(activity.Canonical(append(events, *e)), e.Seq)
	return true
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
			sampling: e.Sampling, resource: e.Resource, scope: e.Scope,
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

// told returns the event as the record tells it: cut, and without what serves
// forwarding alone.
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
	events, _ := decodeRecord(string(o.enc.buf), o.enc.keys.keys, o.head.ID, &o.base)
	return events
}

func decodeRecord(rec string, keys []string, id activity.ID, b *base) ([]activity.Event, merged) {
	events := make([]activity.Event, 0, 8)
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

// shorten folds each run of updates in the older half into its last one, so
// that an activity may report for days. States and their times stay.
func (o *openActivity) shorten() {
	events := o.decode()
	half := len(events) / 2
	kept := events[:0:0]
	var h activity.Head
	for i := range events {
		e := &events[i]
		n := len(kept)
		if ok := h.Apply(e); !ok && e.Kind.State().Open() {
			e.Kind = activity.EventUpdated // as which it counted
		}
		if i == 0 || i > half || e.Kind != activity.EventUpdated || kept[n-1].Kind != activity.EventUpdated {
			kept = append(kept, *e)
			continue
		}
		o.merged.n++
		o.merged.rev = max(o.merged.rev, kept[n-1].Rev)
		kept[n-1] = activity.Merge(kept[n-1], *e)
	}
	o.rebuild(kept, 0)
	o.nextEvents, o.nextBytes = o.events+o.events/2, len(o.enc.buf)+maxRecord/16
}

// record returns the whole record, of an activity that leaves the flight. Its
// base tells then what the columns of a row hold.
func (o *openActivity) record() []byte {
	b, h := &o.base, &o.head
	if b.parent != h.Parent.Span || b.kind != h.Kind || b.sampling != h.Sampling || b.resource != h.Resource {
		last := *b
		last.parent, last.kind, last.sampling, last.resource = h.Parent.Span, h.Kind, h.Sampling, h.Resource
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
