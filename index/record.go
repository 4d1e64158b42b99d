package index

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"unsafe"

	"github.com/midspan/midspan/activity"
)

// A record is the events of one activity as bytes, in canonical order. It holds
// no pointers, so a million of them cost the garbage collector nothing, and it
// is what the activity is folded from, as of its end or of any moment before.
//
//	record  := [0x80 count rev] event...
//	event   := flags seq-delta at-delta [rev] [ext] [attrs]
//	flags   := kind (3 bits) | revNext | hasExt | hasAttrs
//	ext     := mask, then each field of the mask in the order of its bits
//	attrs   := count, then of each: key, value
//	key     := number in the keys' table, from 1 | 0 length bytes
//	value   := kind payload | 0x80+n, the n-th name of a state or type
//	source  := three texts, [2^32 + what the SDK dropped], attrs
//
// The count is of events that were merged into others, up to number rev.
// Integers are varints. Numbers among the values are decimal text, so that a
// text search over the bytes finds them. What the first event of a span sets
// once (name, parent, kind, start, sampling, flags, resource, scope) stands beside
// the record, in its base, flags if they are common ones. Sources are resources and
// scopes. Status messages without a status, which no activity shows, are not kept.
type base struct {
	name     string
	parent   activity.SpanID
	kind     activity.SpanKind
	sampling activity.Sampling
	flags    uint32 // as keptFlags has them
	start    activity.Time
	resource *activity.Resource
	scope    *activity.Scope
}

const (
	flagKind  = 0x07
	flagNext  = 0x08 // rev is the one before plus one
	flagExt   = 0x10
	flagAttrs = 0x20

	markMerged = 0x80 // no flags: what was merged
)

const (
	extName uint64 = 1 << iota
	extParent
	extKind
	extStart
	extSampling
	extResource
	extScope
	// From here the same seven: set to what the base tells.
	sameShift = iota
)

const (
	extBare   uint64 = 1 << (2*sameShift + iota) // of a first event: it sets no more of the base than the mask says
	extStatus                                    // frequent ones first: the mask is a varint
	extEnd                                       // an end time that is not the event's own time
	extTraceState
	extLinks
	extSpanEvents
	extDropped
	extFlags       // those of a first event that are not its base's, and of others that are not 0
	extLinkRest    // of each link: flags, and what the SDK dropped of it
	extSpanEvtRest // of each span event: what the SDK dropped of it
	extMerged      // the first of the updates that the event stands for
)

// flagsNumber returns the number of flags that nearly all spans have, from 1: no
// more than sampled, or with OTLP's bits that say whether the parent is in another
// process, of one sampled as of says. Others have 0, as no flags do.
func flagsNumber(flags uint32, of activity.Sampling) uint8 {
	switch flags {
	case 0:
		return 0
	case flagsOf(1, of):
		return 1
	case flagsOf(2, of):
		return 2
	case flagsOf(3, of):
		return 3
	}
	return 0
}

func flagsOf(number uint8, of activity.Sampling) uint32 {
	sampled := uint32(0)
	if of == activity.Sampled {
		sampled = 1
	}
	switch number {
	case 1:
		return 1
	case 2:
		return 0x100 | sampled
	case 3:
		return 0x300 | sampled
	}
	return 0
}

// keptFlags returns flags if a base can tell them beside the sampling, or 0.
func keptFlags(flags uint32, of activity.Sampling) uint32 {
	if flagsNumber(flags, of) == 0 {
		return 0
	}
	return flags
}

// maxRecord bounds one activity's record. What an event beyond it sets is left
// out, its transition is not.
const maxRecord = 1 << 20

// commonStrings are the names of states and types.
var commonStrings = func() []string {
	var out []string
	for _, s := range activity.States {
		out = append(out, s.String())
	}
	for _, t := range activity.Types {
		out = append(out, t.String())
	}
	return out
}()

var commonNumbers = func() map[string]byte {
	m := make(map[string]byte, len(commonStrings))
	for i, s := range commonStrings {
		m[s] = byte(0x80 + i)
	}
	return m
}()

// keyTable numbers attribute keys. They are few by OpenTelemetry's rules; a
// program that breaks them fills the table, and the rest stand in full.
type keyTable struct {
	numbers map[string]uint32
	keys    []string // by number, from 1
	// recent finds a key by the place of its bytes: keys are mostly constants of
	// the program. It holds the strings, so their places can't become others'.
	recent [256]recentKey
}

type recentKey struct {
	key    string
	number uint32
}

const (
	maxKeys   = 1 << 14
	maxKeyLen = 128
)

func newKeyTable() *keyTable {
	return &keyTable{numbers: make(map[string]uint32), keys: []string{""}}
}

// noKeys numbers none, for what must stand alone.
func noKeys() *keyTable { return &keyTable{keys: make([]string, maxKeys+1)} }

func (t *keyTable) number(key string) uint32 {
	place := uintptr(unsafe.Pointer(unsafe.StringData(key)))
	r := &t.recent[(place>>3^place>>11)%uintptr(len(t.recent))]
	if len(r.key) == len(key) && unsafe.StringData(r.key) == unsafe.StringData(key) {
		return r.number
	}
	n := t.lookUp(key)
	if len(key) <= maxKeyLen {
		*r = recentKey{key, n}
	}
	return n
}

func (t *keyTable) lookUp(key string) uint32 {
	if n, ok := t.numbers[key]; ok {
		return n
	}
	if len(t.keys) > maxKeys || len(key) > maxKeyLen {
		return 0
	}
	n := uint32(len(t.keys))
	key = string([]byte(key)) // not a part of a larger string of the caller's
	t.numbers[key] = n
	t.keys = append(t.keys, key)
	return n
}

// encoder appends events to a record.
type encoder struct {
	keys *keyTable
	buf  []byte
	last mark
}

// merged counts the events that were merged into later ones, and knows the
// highest number among them.
type merged struct {
	n   int
	rev uint32
}

// mark is what the next event is encoded relative to.
type mark struct {
	seq uint64
	at  activity.Time
	rev uint32
}

// seen reports whether events hold one that is told as it would be recorded, or as
// it was before records kept flags and what the SDK dropped of links and events.
func seen(events []activity.Event, told *activity.Event) bool {
	for i := range events {
		if events[i].Same(told) {
			return true
		}
	}
	if told.Rev != 0 {
		return false
	}
	old := *told
	old.Flags, old.Links, old.SpanEvents = 0, slices.Clone(told.Links), slices.Clone(told.SpanEvents)
	for i := range old.Links {
		old.Links[i].Flags, old.Links[i].Dropped = 0, 0
	}
	for i := range old.SpanEvents {
		old.SpanEvents[i].Dropped = 0
	}
	return slices.ContainsFunc(events, func(e activity.Event) bool { return e.Same(&old) })
}

// event appends e. The first event's base fields are left out: they are b's.
func (enc *encoder) event(e *activity.Event, b *base) {
	flags := byte(e.Kind) & flagKind
	if e.Rev == enc.last.rev+1 {
		flags |= flagNext
	}
	mask := extMask(e, b, enc.last == mark{})
	if mask != 0 {
		flags |= flagExt
	}
	if len(e.Attrs) > 0 {
		flags |= flagAttrs
	}
	buf := append(enc.buf, flags)
	buf = binary.AppendVarint(buf, int64(e.Seq-enc.last.seq))
	buf = binary.AppendVarint(buf, int64(e.At-enc.last.at))
	if flags&flagNext == 0 {
		buf = binary.AppendUvarint(buf, uint64(e.Rev))
	}
	enc.buf = buf
	if mask != 0 {
		enc.ext(e, mask)
	}
	if len(e.Attrs) > 0 {
		enc.attrs(e.Attrs)
	}
	enc.last.seq, enc.last.at = e.Seq, e.At
	if e.Rev != 0 {
		enc.last.rev = e.Rev
	}
}

// extMask returns the fields that e sets. What the base tells too takes a bit
// and no more; a first event that sets what the base tells takes nothing.
func extMask(e *activity.Event, b *base, first bool) (mask uint64) {
	if !first || !b.tells(e) {
		mask = baseMask(e, b)
		if first {
			mask |= extBare
		}
	}
	known := uint32(0)
	if first {
		known = b.flags
	}
	if e.Flags != known {
		mask |= extFlags
	}
	if e.EndTime != 0 && (e.EndTime != e.At || !e.Kind.Ends()) {
		mask |= extEnd
	}
	if e.Status != 0 {
		mask |= extStatus
	}
	if e.TraceState != "" {
		mask |= extTraceState
	}
	if len(e.Links) > 0 {
		mask |= extLinks
		if slices.ContainsFunc(e.Links, func(l activity.Link) bool { return l.Flags|l.Dropped != 0 }) {
			mask |= extLinkRest
		}
	}
	if len(e.SpanEvents) > 0 {
		mask |= extSpanEvents
		if slices.ContainsFunc(e.SpanEvents, func(se activity.SpanEvent) bool { return se.Dropped != 0 }) {
			mask |= extSpanEvtRest
		}
	}
	if e.Dropped != [3]uint32{} {
		mask |= extDropped
	}
	if e.FromSeq != 0 {
		mask |= extMerged
	}
	return mask
}

// tells reports whether e sets what the base tells, no more and no less.
func (b *base) tells(e *activity.Event) bool {
	return e.Name == b.name && e.Parent.Span == b.parent && e.SpanKind == b.kind && e.StartTime == b.start &&
		e.Sampling == b.sampling && e.Resource == b.resource && e.Scope == b.scope
}

func baseMask(e *activity.Event, b *base) (mask uint64) {
	if e.Name != "" {
		mask |= told(e.Name == b.name, extName)
	}
	if !e.Parent.IsZero() {
		mask |= told(e.Parent.Span == b.parent, extParent)
	}
	if e.SpanKind != 0 {
		mask |= told(e.SpanKind == b.kind, extKind)
	}
	if e.StartTime != 0 {
		mask |= told(e.StartTime == b.start, extStart)
	}
	if e.Sampling != 0 {
		mask |= told(e.Sampling == b.sampling, extSampling)
	}
	if e.Resource != nil {
		mask |= told(e.Resource == b.resource, extResource)
	}
	if e.Scope != nil {
		mask |= told(e.Scope == b.scope, extScope)
	}
	return mask
}

// told returns the bit of a field that an event sets.
func told(byBase bool, field uint64) uint64 {
	if byBase {
		return field << sameShift
	}
	return field
}

func (enc *encoder) ext(e *activity.Event, mask uint64) {
	buf := binary.AppendUvarint(enc.buf, mask)
	if mask&extName != 0 {
		buf = appendString(buf, e.Name)
	}
	if mask&extParent != 0 {
		buf = append(buf, e.Parent.Span[:]...)
	}
	if mask&extKind != 0 {
		buf = append(buf, byte(e.SpanKind))
	}
	if mask&extStart != 0 {
		buf = binary.AppendVarint(buf, int64(e.StartTime))
	}
	if mask&extEnd != 0 {
		buf = binary.AppendVarint(buf, int64(e.EndTime))
	}
	if mask&extStatus != 0 {
		buf = append(buf, byte(e.Status))
		buf = appendString(buf, e.StatusMessage)
	}
	if mask&extSampling != 0 {
		buf = append(buf, byte(e.Sampling))
	}
	if mask&extTraceState != 0 {
		buf = appendString(buf, e.TraceState)
	}
	enc.buf = buf
	if mask&extResource != 0 {
		enc.resource(e.Resource)
	}
	if mask&extScope != 0 {
		enc.scope(e.Scope)
	}
	if mask&extLinks != 0 {
		enc.buf = binary.AppendUvarint(enc.buf, uint64(len(e.Links)))
		for i := range e.Links {
			l := &e.Links[i]
			enc.buf = append(enc.buf, l.ID.Trace[:]...)
			enc.buf = append(enc.buf, l.ID.Span[:]...)
			enc.buf = appendString(enc.buf, l.TraceState)
			enc.attrs(l.Attrs)
		}
	}
	if mask&extSpanEvents != 0 {
		enc.buf = binary.AppendUvarint(enc.buf, uint64(len(e.SpanEvents)))
		for i := range e.SpanEvents {
			se := &e.SpanEvents[i]
			enc.buf = binary.AppendVarint(enc.buf, int64(se.At))
			enc.buf = appendString(enc.buf, se.Name)
			enc.attrs(se.Attrs)
		}
	}
	if mask&extDropped != 0 {
		for _, n := range e.Dropped {
			enc.buf = binary.AppendUvarint(enc.buf, uint64(n))
		}
	}
	if mask&extFlags != 0 {
		enc.buf = binary.AppendUvarint(enc.buf, uint64(e.Flags))
	}
	if mask&extLinkRest != 0 {
		for i := range e.Links {
			enc.buf = binary.AppendUvarint(enc.buf, uint64(e.Links[i].Flags))
			enc.buf = binary.AppendUvarint(enc.buf, uint64(e.Links[i].Dropped))
		}
	}
	if mask&extSpanEvtRest != 0 {
		for i := range e.SpanEvents {
			enc.buf = binary.AppendUvarint(enc.buf, uint64(e.SpanEvents[i].Dropped))
		}
	}
	if mask&extMerged != 0 {
		enc.buf = binary.AppendUvarint(enc.buf, e.Seq-e.FromSeq)
		enc.buf = binary.AppendVarint(enc.buf, int64(e.At-e.FromAt))
	}
}

func (enc *encoder) resource(r *activity.Resource) {
	enc.buf = appendString(enc.buf, r.Service)
	enc.buf = appendString(enc.buf, r.Instance)
	enc.buf = appendString(enc.buf, r.SchemaURL)
	enc.dropped(r.Dropped)
	enc.attrs(r.Attrs)
}

func (enc *encoder) scope(s *activity.Scope) {
	enc.buf = appendString(enc.buf, s.Name)
	enc.buf = appendString(enc.buf, s.Version)
	enc.buf = appendString(enc.buf, s.SchemaURL)
	enc.dropped(s.Dropped)
	enc.attrs(s.Attrs)
}

// dropped tells, before the attributes of a resource or scope, how many more there
// were. It takes nothing where there were none: no count of attributes is so large.
func (enc *encoder) dropped(n uint32) {
	if n != 0 {
		enc.buf = binary.AppendUvarint(enc.buf, droppedMark|uint64(n))
	}
}

const droppedMark = 1 << 32

func (enc *encoder) attrs(attrs []activity.Attr) { enc.buf = enc.keys.appendAttrs(enc.buf, attrs) }

func (t *keyTable) appendAttrs(buf []byte, attrs []activity.Attr) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(attrs)))
	for i := range attrs {
		a := &attrs[i]
		n := t.number(a.Key)
		if buf = binary.AppendUvarint(buf, uint64(n)); n == 0 {
			buf = appendString(buf, a.Key)
		}
		if a.Value.Kind() != activity.KindString {
			buf = t.appendValue(buf, &a.Value)
		} else if n, ok := codedString(a); ok {
			buf = append(buf, n)
		} else {
			buf = appendString(append(buf, byte(activity.KindString)), a.Value.Str())
		}
	}
	return buf
}

// codedString returns the number of a state's or a type's name. Only their own
// attributes are written so: a text search does not look for those.
func codedString(a *activity.Attr) (byte, bool) {
	if a.Key != activity.KeyState && a.Key != activity.KeyType {
		return 0, false
	}
	n, ok := commonNumbers[a.Value.Str()]
	return n, ok
}

func (t *keyTable) appendValue(buf []byte, v *activity.Value) []byte {
	kind := v.Kind()
	switch kind {
	case activity.KindString, activity.KindBytes:
		buf = append(buf, byte(kind))
		buf = appendString(buf, v.Str())
	case activity.KindBool:
		b := byte(0)
		if v.Bool() {
			b = 1
		}
		buf = append(buf, byte(kind), b)
	case activity.KindInt:
		buf = append(buf, byte(kind), 0)
		at := len(buf)
		buf = strconv.AppendInt(buf, v.Int(), 10)
		buf[at-1] = byte(len(buf) - at)
	case activity.KindFloat:
		buf = append(buf, byte(kind), 0)
		at := len(buf)
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			buf = strconv.AppendFloat(buf, f, 'g', -1, 64)
		} else {
			buf = activity.AppendFloat(buf, f) // as the JSON has it, which people search
		}
		buf[at-1] = byte(len(buf) - at)
	case activity.KindSlice:
		vs := v.Slice()
		buf = append(buf, byte(kind))
		buf = binary.AppendUvarint(buf, uint64(len(vs)))
		for i := range vs {
			buf = t.appendValue(buf, &vs[i])
		}
	case activity.KindMap:
		buf = append(buf, byte(kind))
		buf = t.appendAttrs(buf, v.Map())
	default:
		buf = append(buf, byte(activity.KindEmpty))
	}
	return buf
}

func appendString(buf []byte, s string) []byte {
	if len(s) > activity.MaxString {
		s = activity.Cut(s, activity.MaxString)
	}
	buf = binary.AppendUvarint(buf, uint64(len(s)))
	return append(buf, s...)
}

// decoder reads the events of a record. Its strings are parts of rec: rec is
// never written again.
type decoder struct {
	keys   []string // by number
	rec    string
	last   mark
	merged merged
	// arena, when there is one, holds the attributes; whoever decodes takes it
	// back when done with them.
	arena *[]activity.Attr
	depth int // of the value that is being read
}

// maxDepth bounds the values within values of a record. What comes in is nested
// less; a file that someone changed must not take all of the stack.
const maxDepth = 1000

// next reads the next event into e, whose slices it makes anew. It returns
// false at the record's end.
func (d *decoder) next(e *activity.Event, id activity.ID, b *base) bool {
	if d.rec == "" {
		return false
	}
	first := d.last == mark{}
	if d.rec[0] == markMerged {
		d.byte()
		d.merged = merged{int(d.uvarint()), uint32(d.uvarint())}
	}
	*e = activity.Event{ID: id}
	flags := d.byte()
	e.Kind = activity.Kind(flags & flagKind)
	e.Seq = d.last.seq + uint64(d.varint())
	e.At = d.last.at + activity.Time(d.varint())
	e.ReceivedAt = e.At
	if flags&flagNext != 0 {
		e.Rev = d.last.rev + 1
	} else {
		e.Rev = uint32(d.uvarint())
	}
	if e.Kind.Ends() {
		e.EndTime = e.At
	}
	mask := uint64(0)
	if flags&flagExt != 0 {
		mask = d.uvarint()
	}
	if first {
		e.Flags = b.flags
	}
	if first && mask&extBare == 0 {
		b.give(e, ^uint64(0))
	} else if mask>>sameShift != 0 {
		b.give(e, mask>>sameShift)
	}
	if mask != 0 {
		d.ext(e, mask)
	}
	if flags&flagAttrs != 0 {
		e.Attrs = d.attrs()
	}
	d.last.seq, d.last.at = e.Seq, e.At
	if e.Rev != 0 {
		d.last.rev = e.Rev
	}
	return true
}

// give sets the fields of the mask as the base tells them.
func (b *base) give(e *activity.Event, mask uint64) {
	if mask&extName != 0 {
		e.Name = b.name
	}
	if mask&extParent != 0 && b.parent != (activity.SpanID{}) {
		e.Parent = activity.ID{Trace: e.ID.Trace, Span: b.parent}
	}
	if mask&extKind != 0 {
		e.SpanKind = b.kind
	}
	if mask&extStart != 0 {
		e.StartTime = b.start
	}
	if mask&extSampling != 0 {
		e.Sampling = b.sampling
	}
	if mask&extResource != 0 {
		e.Resource = b.resource
	}
	if mask&extScope != 0 {
		e.Scope = b.scope
	}
}

func (d *decoder) ext(e *activity.Event, mask uint64) {
	if mask&extName != 0 {
		e.Name = d.string()
	}
	if mask&extParent != 0 {
		e.Parent.Trace = e.ID.Trace
		d.copy(e.Parent.Span[:])
	}
	if mask&extKind != 0 {
		e.SpanKind = activity.SpanKind(d.byte())
	}
	if mask&extStart != 0 {
		e.StartTime = activity.Time(d.varint())
	}
	if mask&extEnd != 0 {
		e.EndTime = activity.Time(d.varint())
	}
	if mask&extStatus != 0 {
		e.Status = activity.Status(d.byte())
		e.StatusMessage = d.string()
	}
	if mask&extSampling != 0 {
		e.Sampling = activity.Sampling(d.byte())
	}
	if mask&extTraceState != 0 {
		e.TraceState = d.string()
	}
	if mask&extResource != 0 {
		e.Resource = d.resource()
	}
	if mask&extScope != 0 {
		e.Scope = d.scope()
	}
	if mask&extLinks != 0 {
		e.Links = make([]activity.Link, d.count())
		for i := range e.Links {
			l := &e.Links[i]
			d.copy(l.ID.Trace[:])
			d.copy(l.ID.Span[:])
			l.TraceState = d.string()
			l.Attrs = d.attrs()
		}
	}
	if mask&extSpanEvents != 0 {
		e.SpanEvents = make([]activity.SpanEvent, d.count())
		for i := range e.SpanEvents {
			e.SpanEvents[i] = activity.SpanEvent{At: activity.Time(d.varint()), Name: d.string(), Attrs: d.attrs()}
		}
	}
	if mask&extDropped != 0 {
		for i := range e.Dropped {
			e.Dropped[i] = uint32(d.uvarint())
		}
	}
	if mask&extFlags != 0 {
		e.Flags = uint32(d.uvarint())
	}
	if mask&extLinkRest != 0 {
		for i := range e.Links {
			e.Links[i].Flags, e.Links[i].Dropped = uint32(d.uvarint()), uint32(d.uvarint())
		}
	}
	if mask&extSpanEvtRest != 0 {
		for i := range e.SpanEvents {
			e.SpanEvents[i].Dropped = uint32(d.uvarint())
		}
	}
	if mask&extMerged != 0 {
		e.FromSeq = e.Seq - d.uvarint()
		e.FromAt = e.At - activity.Time(d.varint())
	}
}

func (d *decoder) resource() *activity.Resource {
	return &activity.Resource{Service: d.string(), Instance: d.string(), SchemaURL: d.string(), Dropped: d.dropped(), Attrs: d.attrs()}
}

func (d *decoder) scope() *activity.Scope {
	return &activity.Scope{Name: d.string(), Version: d.string(), SchemaURL: d.string(), Dropped: d.dropped(), Attrs: d.attrs()}
}

func (d *decoder) dropped() uint32 {
	rest := d.rec
	n := d.uvarint()
	if n < droppedMark {
		d.rec = rest
		return 0
	}
	return uint32(n)
}

func (d *decoder) attrs() []activity.Attr {
	n := d.count()
	if n == 0 {
		return nil
	}
	attrs := d.newAttrs(n)
	for i := range attrs {
		if number := d.uvarint(); number == 0 {
			attrs[i].Key = d.string()
		} else {
			attrs[i].Key = d.keys[number]
		}
		attrs[i].Value = d.value()
	}
	return attrs
}

func (d *decoder) newAttrs(n int) []activity.Attr {
	if d.arena == nil {
		return make([]activity.Attr, n)
	}
	from := len(*d.arena)
	*d.arena = slices.Grow(*d.arena, n)[:from+n]
	return (*d.arena)[from : from+n : from+n]
}

func (d *decoder) value() activity.Value {
	kind := d.byte()
	if kind >= 0x80 {
		return activity.StringValue(commonStrings[kind-0x80])
	}
	switch activity.ValueKind(kind) {
	case activity.KindString:
		return activity.StringValue(d.string())
	case activity.KindBytes:
		return activity.BytesValue(d.string())
	case activity.KindBool:
		return activity.BoolValue(d.byte() != 0)
	case activity.KindInt:
		i, err := strconv.ParseInt(d.string(), 10, 64)
		if err != nil {
			panic("index: record holds a broken integer: " + err.Error())
		}
		return activity.IntValue(i)
	case activity.KindFloat:
		f, err := strconv.ParseFloat(d.string(), 64)
		if err != nil && !math.IsInf(f, 0) {
			panic("index: record holds a broken number: " + err.Error())
		}
		return activity.FloatValue(f)
	case activity.KindSlice:
		d.enter()
		vs := make([]activity.Value, d.count())
		for i := range vs {
			vs[i] = d.value()
		}
		d.depth--
		return activity.SliceValue(vs)
	case activity.KindMap:
		d.enter()
		attrs := d.attrs()
		d.depth--
		return activity.MapValue(attrs)
	}
	return activity.Value{}
}

func (d *decoder) enter() {
	if d.depth++; d.depth > maxDepth {
		panic("index: record holds values nested too deep")
	}
}

func (d *decoder) byte() byte {
	c := d.rec[0]
	d.rec = d.rec[1:]
	return c
}

func (d *decoder) copy(dst []byte) {
	copy(dst, d.rec)
	d.rec = d.rec[len(dst):]
}

func (d *decoder) uvarint() uint64 {
	var x uint64
	for i := 0; ; i++ {
		c := d.rec[i]
		x |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			d.rec = d.rec[i+1:]
			return x
		}
	}
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) string() string {
	n := d.uvarint()
	s := d.rec[:n]
	d.rec = d.rec[n:]
	return s
}
