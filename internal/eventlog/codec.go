package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"math"
	"slices"
	"sync"

	"github.com/midspan/midspan/activity"
)

// A batch is the events of one Append as bytes, whole in itself: it can be read
// without any other. docs/format.md draws it.
//
//	batch    := version count event... checksum
//	event    := mask kind [trace] span at-delta, then the fields of the mask in the order of its bits
//	string   := length<<1 bytes | number<<1 + 1, of one seen before in the batch
//	value    := kind payload
//	attrs    := count, then of each: key, value
//	resource := number of one seen before in the batch | the next number, then length and definition
//
// Integers are varints, signed ones in zigzag; a time is the difference from
// another. Sequences and the time of receipt are not inside: they follow from
// the first one's, which the checksum covers.
const batchVersion = 1

// The limits of one batch.
const (
	MaxBatchEvents = 1 << 18
	MaxBatchBytes  = 32 << 20

	maxValueDepth = 64      // of arrays and maps in an attribute
	maxShared     = 256     // bytes of a string that is written once for a batch
	maxTable      = 1 << 16 // such strings
)

// The errors of the codec. They come wrapped.
var (
	// ErrTooLarge is returned for events that do not fit into one batch.
	ErrTooLarge = errors.New("more than one append may hold")
	// ErrCorrupt is returned for bytes that are not those of a batch.
	ErrCorrupt = errors.New("damaged batch")
)

// The bits of an event's mask.
const (
	hasSameTrace uint64 = 1 << iota // the trace of the event before
	hasFirst
	hasRev
	hasName
	hasParent
	hasStart
	hasAttrs
	hasEnd
	hasResource
	hasScope
	hasSpanKind
	hasSampling
	hasFlags
	hasStatus // up to here a mask takes two bytes
	hasStatusMessage
	hasTraceState
	hasLinks
	hasSpanEvents
	hasDropped
	hasParentTrace // another than the event's own

	knownMask = 1<<iota - 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var encoders = sync.Pool{New: func() any {
	return &encoder{resources: make(map[*activity.Resource]uint64), scopes: make(map[*activity.Scope]uint64)}
}}

// EncodeBatch appends events to b as a batch that is not sealed yet. It takes
// 1 to MaxBatchEvents of them and MaxBatchBytes; their sequence and time of
// receipt are left out. The error wraps ErrTooLarge, and b is as it was then.
func EncodeBatch(b []byte, events []activity.Event) ([]byte, error) {
	if len(events) == 0 || len(events) > MaxBatchEvents {
		return b, fmt.Errorf("%d events: %w (1 to %d)", len(events), ErrTooLarge, MaxBatchEvents)
	}
	e := encoders.Get().(*encoder)
	defer e.release()
	// A guess spares most of the growing; what is over is little beside the events.
	e.b = append(slices.Grow(b, 64+128*len(events)), batchVersion)
	e.uvarint(uint64(len(events)))
	var trace activity.TraceID
	var at activity.Time
	for i := range events {
		e.event(&events[i], trace, at)
		trace, at = events[i].ID.Trace, events[i].At
		if len(e.b)-len(b) > MaxBatchBytes-4 {
			return b, fmt.Errorf("%d events: %w (%d bytes)", len(events), ErrTooLarge, MaxBatchBytes)
		}
	}
	if e.deep {
		return b, fmt.Errorf("an attribute nested deeper than %d: %w", maxValueDepth, ErrTooLarge)
	}
	return e.b, nil
}

// SealBatch appends the checksum to what EncodeBatch made, which must be all of
// b: from then on it is the batch of these sequences and this time alone.
func SealBatch(b []byte, first uint64, receivedAt activity.Time) []byte {
	return binary.LittleEndian.AppendUint32(b, batchSum(b, first, receivedAt))
}

func batchSum(b []byte, first uint64, receivedAt activity.Time) uint32 {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:], first)
	binary.LittleEndian.PutUint64(place[8:], uint64(receivedAt))
	return crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, place[:])
}

// encoder is what one batch needs; it is used again for others.
type encoder struct {
	b             []byte
	words, values stringTable // keys and names; all other strings
	resources     map[*activity.Resource]uint64
	scopes        map[*activity.Scope]uint64
	lastResource  *activity.Resource
	lastScope     *activity.Scope
	resource      uint64 // number of lastResource
	scope         uint64
	plain         bool // strings are written in full
	deep          bool // a value was nested too deep
}

func (e *encoder) release() {
	e.words.reset()
	e.values.reset()
	clear(e.resources)
	clear(e.scopes)
	*e = encoder{words: e.words, values: e.values, resources: e.resources, scopes: e.scopes}
	encoders.Put(e)
}

func (e *encoder) uvarint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) varint(v int64)   { e.b = binary.AppendVarint(e.b, v) }

func (e *encoder) event(ev *activity.Event, trace activity.TraceID, at activity.Time) {
	mask := eventMask(ev, trace)
	e.uvarint(mask)
	e.b = append(e.b, byte(ev.Kind))
	if mask&hasSameTrace == 0 {
		e.b = append(e.b, ev.ID.Trace[:]...)
	}
	e.b = append(e.b, ev.ID.Span[:]...)
	e.varint(int64(ev.At - at))
	if mask&hasRev != 0 {
		e.uvarint(uint64(ev.Rev))
	}
	if mask&hasName != 0 {
		e.word(ev.Name)
	}
	if mask&hasParent != 0 {
		e.b = append(e.b, ev.Parent.Span[:]...)
	}
	if mask&hasStart != 0 {
		e.varint(int64(ev.At - ev.StartTime))
	}
	if mask&hasAttrs != 0 {
		e.attrs(ev.Attrs, 0)
	}
	if mask&hasEnd != 0 {
		e.varint(int64(ev.At - ev.EndTime))
	}
	if mask&hasResource != 0 {
		e.resourceRef(ev.Resource)
	}
	if mask&hasScope != 0 {
		e.scopeRef(ev.Scope)
	}
	if mask&hasSpanKind != 0 {
		e.b = append(e.b, byte(ev.SpanKind))
	}
	if mask&hasSampling != 0 {
		e.b = append(e.b, byte(ev.Sampling))
	}
	if mask&hasFlags != 0 {
		e.uvarint(uint64(ev.Flags))
	}
	if mask&hasStatus != 0 {
		e.b = append(e.b, byte(ev.Status))
	}
	if mask > hasStatus<<1-1 {
		e.rare(ev, mask)
	}
}

// rare writes the fields that few events have.
func (e *encoder) rare(ev *activity.Event, mask uint64) {
	if mask&hasStatusMessage != 0 {
		e.string(ev.StatusMessage)
	}
	if mask&hasTraceState != 0 {
		e.string(ev.TraceState)
	}
	if mask&hasLinks != 0 {
		e.uvarint(uint64(len(ev.Links)))
		for i := range ev.Links {
			l := &ev.Links[i]
			e.b = append(append(e.b, l.ID.Trace[:]...), l.ID.Span[:]...)
			e.string(l.TraceState)
			e.uvarint(uint64(l.Flags))
			e.uvarint(uint64(l.Dropped))
			e.attrs(l.Attrs, 0)
		}
	}
	if mask&hasSpanEvents != 0 {
		e.uvarint(uint64(len(ev.SpanEvents)))
		for i := range ev.SpanEvents {
			s := &ev.SpanEvents[i]
			e.varint(int64(ev.At - s.At))
			e.word(s.Name)
			e.uvarint(uint64(s.Dropped))
			e.attrs(s.Attrs, 0)
		}
	}
	if mask&hasDropped != 0 {
		for _, n := range ev.Dropped {
			e.uvarint(uint64(n))
		}
	}
	if mask&hasParentTrace != 0 {
		e.b = append(e.b, ev.Parent.Trace[:]...)
	}
}

func eventMask(ev *activity.Event, trace activity.TraceID) uint64 {
	var mask uint64
	set := func(bit uint64, is bool) {
		if is {
			mask |= bit
		}
	}
	set(hasSameTrace, ev.ID.Trace == trace)
	set(hasFirst, ev.First)
	set(hasRev, ev.Rev != 0)
	set(hasName, ev.Name != "")
	set(hasParent, ev.Parent != activity.ID{})
	set(hasStart, ev.StartTime != 0)
	set(hasAttrs, len(ev.Attrs) > 0)
	set(hasEnd, ev.EndTime != 0)
	set(hasResource, ev.Resource != nil)
	set(hasScope, ev.Scope != nil)
	set(hasSpanKind, ev.SpanKind != 0)
	set(hasSampling, ev.Sampling != 0)
	set(hasFlags, ev.Flags != 0)
	set(hasStatus, ev.Status != 0)
	set(hasStatusMessage, ev.StatusMessage != "")
	set(hasTraceState, ev.TraceState != "")
	set(hasLinks, len(ev.Links) > 0)
	set(hasSpanEvents, len(ev.SpanEvents) > 0)
	set(hasDropped, ev.Dropped != [3]uint32{})
	set(hasParentTrace, mask&hasParent != 0 && ev.Parent.Trace != ev.ID.Trace)
	return mask
}

func (e *encoder) word(s string)   { e.shared(&e.words, s) }
func (e *encoder) string(s string) { e.shared(&e.values, s) }

func (e *encoder) shared(t *stringTable, s string) {
	if !e.plain && len(s) > 0 && len(s) <= maxShared {
		if n, ok := t.number(s); ok {
			e.uvarint(uint64(n)<<1 | 1)
			return
		}
	}
	e.uvarint(uint64(len(s)) << 1)
	e.b = append(e.b, s...)
}

func (e *encoder) attrs(attrs []activity.Attr, depth int) {
	e.uvarint(uint64(len(attrs)))
	for i := range attrs {
		e.word(attrs[i].Key)
		e.value(&attrs[i].Value, depth)
	}
}

func (e *encoder) value(v *activity.Value, depth int) {
	e.b = append(e.b, byte(v.Kind()))
	switch v.Kind() {
	case activity.KindBool:
		if v.Bool() {
			e.b = append(e.b, 1)
		} else {
			e.b = append(e.b, 0)
		}
	case activity.KindInt:
		e.varint(v.Int())
	case activity.KindFloat:
		e.b = binary.LittleEndian.AppendUint64(e.b, math.Float64bits(v.Float()))
	case activity.KindString, activity.KindBytes:
		e.string(v.Str())
	case activity.KindSlice:
		if depth == maxValueDepth {
			e.deep = true
			return
		}
		e.uvarint(uint64(len(v.Slice())))
		for i := range v.Slice() {
			e.value(&v.Slice()[i], depth+1)
		}
	case activity.KindMap:
		if depth == maxValueDepth {
			e.deep = true
			return
		}
		e.attrs(v.Map(), depth+1)
	}
}

func (e *encoder) resourceRef(r *activity.Resource) {
	if r != e.lastResource {
		n, ok := e.resources[r]
		if !ok {
			n = uint64(len(e.resources))
			e.resources[r] = n
			e.uvarint(n)
			e.definition(func() {
				e.string(r.Service)
				e.string(r.Instance)
				e.string(r.SchemaURL)
				e.uvarint(uint64(r.Dropped))
				e.attrs(r.Attrs, 0)
			})
		}
		e.lastResource, e.resource = r, n
		if !ok {
			return
		}
	}
	e.uvarint(e.resource)
}

func (e *encoder) scopeRef(s *activity.Scope) {
	if s != e.lastScope {
		n, ok := e.scopes[s]
		if !ok {
			n = uint64(len(e.scopes))
			e.scopes[s] = n
			e.uvarint(n)
			e.definition(func() {
				e.string(s.Name)
				e.string(s.Version)
				e.string(s.SchemaURL)
				e.uvarint(uint64(s.Dropped))
				e.attrs(s.Attrs, 0)
			})
		}
		e.lastScope, e.scope = s, n
		if !ok {
			return
		}
	}
	e.uvarint(e.scope)
}

// definition writes a resource or scope, its length before it. Its strings are
// in full, so that equal ones are equal bytes in every batch.
func (e *encoder) definition(write func()) {
	e.plain = true
	start := len(e.b)
	write()
	length := len(e.b) - start
	e.uvarint(uint64(length))
	written := append([]byte(nil), e.b[start:start+length]...)
	e.b = append(append(e.b[:start], e.b[start+length:]...), written...)
	e.plain = false
}

// stringTable numbers the strings of one batch, in the order in which they came.
type stringTable struct {
	strings []string
	slots   []stringSlot // open addressing, a power of two, at most half full
	turn    uint32       // slots of another turn are empty
}

type stringSlot struct{ turn, hash, number uint32 }

var tableSeed = maphash.MakeSeed()

// number returns a string's number, or false when it is new. It is numbered then,
// while there is room.
func (t *stringTable) number(s string) (uint32, bool) {
	hash := uint32(maphash.String(tableSeed, s))
	if 2*len(t.strings) >= len(t.slots) {
		t.grow()
	}
	mask := uint32(len(t.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		slot := &t.slots[i]
		if slot.turn != t.turn {
			if len(t.strings) < maxTable {
				*slot = stringSlot{t.turn, hash, uint32(len(t.strings))}
				t.strings = append(t.strings, s)
			}
			return 0, false
		}
		if slot.hash == hash && t.strings[slot.number] == s {
			return slot.number, true
		}
	}
}

func (t *stringTable) grow() {
	old, turn := t.slots, t.turn
	t.slots, t.turn = make([]stringSlot, max(256, 2*len(old))), 1
	mask := uint32(len(t.slots) - 1)
	for _, slot := range old {
		if slot.turn != turn {
			continue
		}
		i := slot.hash & mask
		for t.slots[i].turn == t.turn {
			i = (i + 1) & mask
		}
		t.slots[i] = stringSlot{t.turn, slot.hash, slot.number}
	}
}

func (t *stringTable) reset() {
	clear(t.strings)
	t.strings = t.strings[:0]
	if t.turn++; t.turn == 0 { // after 2^32 batches
		clear(t.slots)
		t.turn = 1
	}
}
