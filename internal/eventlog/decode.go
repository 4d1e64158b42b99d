package eventlog

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/midspan/midspan/activity"
)

// Decoder reads batches. Equal resources and scopes of all that it reads are
// the same pointers, for as long as there are not more of them than it keeps.
// Its zero value is ready to use, also by several goroutines.
type Decoder struct {
	mu        sync.Mutex // guards everything below
	resources map[string]*activity.Resource
	scopes    map[string]*activity.Scope
	held      int // bytes of definitions
}

// What a Decoder keeps of resources and scopes, in their encoded bytes. Beyond it
// begins anew.
const maxInterned = 8 << 20

const minEvent = 11 // bytes: mask, kind, span, time

// arenaAttrs is how many attributes are made at once.
const arenaAttrs = 256

// DecodeBatch reads a sealed batch, and numbers its events from first on. The
// error wraps ErrCorrupt. Strings of the events do not share memory with b.
func (d *Decoder) DecodeBatch(b []byte, first uint64, receivedAt activity.Time) ([]activity.Event, error) {
	if len(b) < 6 || len(b) > MaxBatchBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if got := batchSum(body, first, receivedAt); got != sum {
		return nil, fmt.Errorf("%w: checksum is %08x, not %08x", ErrCorrupt, got, sum)
	}
	if body[0] != batchVersion {
		return nil, fmt.Errorf("%w: version %d, this is of %d", ErrCorrupt, body[0], batchVersion)
	}
	r := reader{b: body[1:], d: d, budget: len(body)}
	n := r.count(minEvent)
	events := make([]activity.Event, n)
	var trace activity.TraceID
	var at activity.Time
	for i := range events {
		ev := &events[i]
		ev.Seq, ev.ReceivedAt = first+uint64(i), receivedAt
		r.event(ev, trace, at)
		if r.failed {
			return nil, fmt.Errorf("%w: event %d of %d", ErrCorrupt, i+1, n)
		}
		trace, at = ev.ID.Trace, ev.At
	}
	if n == 0 || len(r.b) != 0 {
		return nil, fmt.Errorf("%w: %d events, %d bytes over", ErrCorrupt, n, len(r.b))
	}
	return events, nil
}

// reader reads one batch. Once failed, everything it returns is zero.
type reader struct {
	b             []byte
	d             *Decoder
	words, values []string
	resources     []*activity.Resource
	scopes        []*activity.Scope
	arena         []activity.Attr
	plain         bool // strings are in full and enter no table
	budget        int  // bytes that counted things may still claim
	failed        bool
}

func (r *reader) fail() {
	r.failed = true
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) uint32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.fail()
		return 0
	}
	return uint32(v)
}

// count reads a number of things, each with at least size bytes of its own: no
// more are made, all together, than the batch's bytes can hold.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(r.budget/size) {
		r.fail()
		return 0
	}
	r.budget -= int(n) * size
	return int(n)
}

func (r *reader) event(ev *activity.Event, trace activity.TraceID, at activity.Time) {
	mask := r.uvarint()
	if mask&^uint64(knownMask) != 0 {
		r.fail()
		return
	}
	ev.Kind = activity.Kind(r.byte())
	ev.First = mask&hasFirst != 0
	if mask&hasSameTrace != 0 {
		ev.ID.Trace = trace
	} else {
		copy(ev.ID.Trace[:], r.bytes(16))
	}
	copy(ev.ID.Span[:], r.bytes(8))
	ev.At = at + activity.Time(r.varint())
	if mask&hasRev != 0 {
		ev.Rev = r.uint32()
	}
	if mask&hasName != 0 {
		ev.Name = r.string(&r.words)
	}
	if mask&hasParent != 0 {
		ev.Parent.Trace = ev.ID.Trace
		copy(ev.Parent.Span[:], r.bytes(8))
	}
	if mask&hasStart != 0 {
		ev.StartTime = ev.At - activity.Time(r.varint())
	}
	if mask&hasAttrs != 0 {
		ev.Attrs = r.attrs(0)
	}
	if mask&hasEnd != 0 {
		ev.EndTime = ev.At - activity.Time(r.varint())
	}
	if mask&hasResource != 0 {
		ev.Resource = r.resource()
	}
	if mask&hasScope != 0 {
		ev.Scope = r.scope()
	}
	if mask&hasSpanKind != 0 {
		ev.SpanKind = activity.SpanKind(r.byte())
	}
	if mask&hasSampling != 0 {
		ev.Sampling = activity.Sampling(r.byte())
	}
	if mask&hasFlags != 0 {
		ev.Flags = r.uint32()
	}
	if mask&hasStatus != 0 {
		ev.Status = activity.Status(r.byte())
	}
	if mask > hasStatus<<1-1 {
		r.rare(ev, mask)
	}
}

func (r *reader) rare(ev *activity.Event, mask uint64) {
	if mask&hasStatusMessage != 0 {
		ev.StatusMessage = r.string(&r.values)
	}
	if mask&hasTraceState != 0 {
		ev.TraceState = r.string(&r.values)
	}
	if mask&hasLinks != 0 {
		ev.Links = make([]activity.Link, r.count(28))
		for i := range ev.Links {
			l := &ev.Links[i]
			copy(l.ID.Trace[:], r.bytes(16))
			copy(l.ID.Span[:], r.bytes(8))
			l.TraceState = r.string(&r.values)
			l.Flags = r.uint32()
			l.Dropped = r.uint32()
			l.Attrs = r.attrs(0)
		}
	}
	if mask&hasSpanEvents != 0 {
		ev.SpanEvents = make([]activity.SpanEvent, r.count(4))
		for i := range ev.SpanEvents {
			s := &ev.SpanEvents[i]
			s.At = ev.At - activity.Time(r.varint())
			s.Name = r.string(&r.words)
			s.Dropped = r.uint32()
			s.Attrs = r.attrs(0)
		}
	}
	if mask&hasDropped != 0 {
		for i := range ev.Dropped {
			ev.Dropped[i] = r.uint32()
		}
	}
	if mask&hasParentTrace != 0 {
		copy(ev.Parent.Trace[:], r.bytes(16))
	}
}

func (r *reader) string(table *[]string) string {
	n := r.uvarint()
	if n&1 != 0 {
		if n >>= 1; !r.plain && n < uint64(len(*table)) {
			return (*table)[n]
		}
		r.fail()
		return ""
	}
	if n >>= 1; n > uint64(len(r.b)) {
		r.fail()
		return ""
	}
	s := string(r.bytes(int(n)))
	if !r.plain && len(s) > 0 && len(s) <= maxShared && len(*table) < maxTable {
		*table = append(*table, s)
	}
	return s
}

func (r *reader) attrs(depth int) []activity.Attr {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	if r.plain || depth > 0 || n > arenaAttrs/4 {
		attrs := make([]activity.Attr, n)
		r.fillAttrs(attrs, depth)
		return attrs
	}
	if n > len(r.arena) {
		r.arena = make([]activity.Attr, arenaAttrs)
	}
	attrs := r.arena[:n:n]
	r.arena = r.arena[n:]
	r.fillAttrs(attrs, depth)
	return attrs
}

func (r *reader) fillAttrs(attrs []activity.Attr, depth int) {
	for i := range attrs {
		attrs[i].Key = r.string(&r.words)
		attrs[i].Value = r.value(depth)
		if r.failed {
			return
		}
	}
}

func (r *reader) value(depth int) activity.Value {
	switch kind := activity.ValueKind(r.byte()); kind {
	case activity.KindEmpty:
		return activity.Value{}
	case activity.KindBool:
		b := r.byte()
		if b > 1 {
			r.fail()
		}
		return activity.BoolValue(b == 1)
	case activity.KindInt:
		return activity.IntValue(r.varint())
	case activity.KindFloat:
		if p := r.bytes(8); p != nil {
			return activity.FloatValue(math.Float64frombits(binary.LittleEndian.Uint64(p)))
		}
	case activity.KindString:
		return activity.StringValue(r.string(&r.values))
	case activity.KindBytes:
		return activity.BytesValue(r.string(&r.values))
	case activity.KindSlice:
		if depth == maxValueDepth {
			r.fail()
			break
		}
		list := make([]activity.Value, r.count(1))
		for i := range list {
			list[i] = r.value(depth + 1)
		}
		return activity.SliceValue(list)
	case activity.KindMap:
		if depth == maxValueDepth {
			r.fail()
			break
		}
		return activity.MapValue(r.attrs(depth + 1))
	default:
		r.fail()
	}
	return activity.Value{}
}

func (r *reader) resource() *activity.Resource {
	return refer(r, &r.resources, func() *activity.Resource {
		return intern(r, &r.d.resources, func(in *reader) *activity.Resource {
			return &activity.Resource{
				Service: in.string(nil), Instance: in.string(nil), SchemaURL: in.string(nil),
				Dropped: in.uint32(), Attrs: in.attrs(0),
			}
		})
	})
}

func (r *reader) scope() *activity.Scope {
	return refer(r, &r.scopes, func() *activity.Scope {
		return intern(r, &r.d.scopes, func(in *reader) *activity.Scope {
			return &activity.Scope{
				Name: in.string(nil), Version: in.string(nil), SchemaURL: in.string(nil),
				Dropped: in.uint32(), Attrs: in.attrs(0),
			}
		})
	})
}

// refer reads the number of one that the batch has defined, or a new one.
func refer[T any](r *reader, seen *[]*T, define func() *T) *T {
	switch n := r.uvarint(); {
	case n < uint64(len(*seen)):
		return (*seen)[n]
	case n > uint64(len(*seen)) || r.failed:
		r.fail()
		return nil
	}
	p := define()
	*seen = append(*seen, p)
	return p
}

// intern reads a definition, or finds what was read of equal bytes before.
func intern[T any](r *reader, table *map[string]*T, read func(*reader) *T) *T {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	definition := r.bytes(int(n))
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	if p, ok := (*table)[string(definition)]; ok {
		return p
	}
	in := reader{b: definition, budget: len(definition), plain: true}
	p := read(&in)
	if in.failed || len(in.b) != 0 {
		r.fail()
		return nil
	}
	if r.d.held += len(definition) + 256; r.d.held > maxInterned || *table == nil {
		if r.d.held > maxInterned {
			r.d.resources, r.d.scopes, r.d.held = nil, nil, len(definition)+256
		}
		*table = make(map[string]*T)
	}
	(*table)[string(definition)] = p
	return p
}
