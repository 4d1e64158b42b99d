package index

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/midspan/midspan/activity"
)

// rowsPerSegment is how many finished activities one segment holds. A filter
// judges a segment as a whole before it looks at rows; an eviction frees one.
const rowsPerSegment = 4096

// segment holds finished activities, a row each, in the order of their end.
// Rows are columns of plain numbers; what repeats stands once in a table.
//
// Readers need no lock: what they read of a row is not written again after the
// row is counted, the marks of the dead apart. They hold a sealed segment, which
// never changes, or a snapshot of the one that is being written.
//
// A sealed segment that the archive has may be without some of its parts, or
// all: they are away, and come back when a reader asks for them.
type segment struct {
	first uint64 // number of row 0; the rows of an index are numbered on and on
	n     int    // rows
	summary
	dead *deadRows

	*spans // nil when away
	*places
	*codes
	*tables        // comes and goes with codes
	text    []byte // the records; nil when away

	// For the writer alone.
	sourceNumbers map[*activity.Resource]uint16
	scopeNumbers  map[*activity.Scope]uint16
	saved         bool  // the archive has it
	stored        int64 // bytes that the archive has of it
}

// part is a set of a segment's parts, which an archive keeps apart.
type part uint8

const (
	partSpans  part = 1 << PartSpans
	partCodes  part = 1 << PartCodes
	partPlaces part = 1 << PartPlaces
	partText   part = 1 << PartText

	partIDs  = partSpans | partPlaces
	allParts = partIDs | partCodes | partText
)

// spans are the rows' span ids: what finds an activity.
type spans struct {
	span [rowsPerSegment]activity.SpanID
}

// places are the rest of the rows' ids, their times and their place in the log.
type places struct {
	trace   [rowsPerSegment]activity.TraceID
	parent  [rowsPerSegment]activity.SpanID
	start   [rowsPerSegment]activity.Time // of the span
	planned [rowsPerSegment]activity.Time
	started [rowsPerSegment]activity.Time
	ended   [rowsPerSegment]activity.Time
	begun   [rowsPerSegment]uint64 // sequence of the first event
	seq     [rowsPerSegment]uint64 // of the last
	end     [rowsPerSegment]uint32 // of the record in text; it begins where the one before ends
}

// codes are what filters compare: small numbers, most of them of a table.
type codes struct {
	name   [rowsPerSegment]uint16 // at its start
	thread [rowsPerSegment]uint16
	agent  [rowsPerSegment]uint16 // its own
	source [rowsPerSegment]uint16 // resource
	scope  [rowsPerSegment]uint16
	typ    [rowsPerSegment]activity.Type
	state  [rowsPerSegment]activity.State
	kind   [rowsPerSegment]uint8 // wasPlanned, number of the flags, span kind and sampling
}

const (
	wasPlanned = 0x80
	flagsShift = 5
	kindShift  = 2
)

// tables hold what the codes number.
type tables struct {
	names, threads, agents table
	sources                []*activity.Resource
	scopes                 []*activity.Scope
}

// summary tells what a segment may hold without a look at its rows.
type summary struct {
	traces      *bloom
	coded       *digest // of the codes; nil while these are there
	types       uint32  // sets of those that stand in a row
	states      uint32
	minPlanned  activity.Time
	maxPlanned  activity.Time
	minEnded    activity.Time // of those that have an end; 0 when none has
	maxEnded    activity.Time
	maxDuration activity.Time
	minBegun    uint64
	maxSeq      uint64
	lost        bool // some row has no end
}

// deadRows marks the rows that are held no more. All copies of a segment share
// it.
type deadRows struct {
	rows [rowsPerSegment / 32]atomic.Uint32

	// For the writer alone.
	n     int
	bytes int // of text
	saved int // n when the archive was told
}

func newSegment(first uint64, textCap int) *segment {
	s := &segment{
		first:   first,
		summary: summary{traces: new(bloom)},
		dead:    new(deadRows),
		spans:   new(spans),
		places:  new(places),
		codes:   new(codes),
		tables: &tables{
			sources: []*activity.Resource{nil},
			scopes:  []*activity.Scope{nil},
		},
		text:          make([]byte, 0, textCap),
		sourceNumbers: make(map[*activity.Resource]uint16),
		scopeNumbers:  make(map[*activity.Scope]uint16),
	}
	s.names.init()
	s.threads.init()
	s.agents.init()
	return s
}

// add appends a row: an activity whose first event has the sequence begun.
func (s *segment) add(h *activity.Head, b *base, begun uint64, record []byte) {
	i := s.n
	s.trace[i], s.span[i], s.parent[i] = h.ID.Trace, h.ID.Span, b.parent
	s.start[i], s.planned[i], s.started[i], s.ended[i] = b.start, h.PlannedAt, h.StartedAt, h.EndedAt
	s.typ[i], s.state[i] = h.Type, h.State
	s.kind[i] = flagsNumber(b.flags, b.sampling)<<flagsShift | uint8(b.kind&7)<<kindShift | uint8(b.sampling)
	if h.WasPlanned {
		s.kind[i] |= wasPlanned
	}
	s.begun[i], s.seq[i] = begun, h.Seq
	s.name[i] = s.names.number(b.name)
	s.thread[i] = s.threads.number(h.ThreadID)
	s.agent[i] = s.agents.number(h.Agent)
	if i > 0 && b.resource == s.sources[s.source[i-1]] { // as mostly
		s.source[i] = s.source[i-1]
	} else {
		s.source[i] = numberOf(b.resource, &s.sources, s.sourceNumbers)
	}
	if i > 0 && b.scope == s.scopes[s.scope[i-1]] {
		s.scope[i] = s.scope[i-1]
	} else {
		s.scope[i] = numberOf(b.scope, &s.scopes, s.scopeNumbers)
	}
	if cap(s.text)-len(s.text) < len(record) { // only the first segment is made too small, by far
		s.text = slices.Grow(s.text, len(s.text)+len(record))
	}
	s.text = append(s.text, record...)
	s.end[i] = uint32(len(s.text))
	s.summary.add(i == 0, h, begun)
	s.n++
}

func (s *summary) add(first bool, h *activity.Head, begun uint64) {
	if first {
		s.minPlanned, s.minBegun = h.PlannedAt, begun
	}
	s.traces.add(h.ID.Trace)
	s.types |= 1 << h.Type
	s.states |= 1 << h.State
	s.minPlanned = min(s.minPlanned, h.PlannedAt)
	s.maxPlanned = max(s.maxPlanned, h.PlannedAt)
	if h.EndedAt != 0 && (s.minEnded == 0 || h.EndedAt < s.minEnded) {
		s.minEnded = h.EndedAt
	}
	s.maxEnded = max(s.maxEnded, h.EndedAt)
	s.minBegun = min(s.minBegun, begun)
	s.maxSeq = max(s.maxSeq, h.Seq)
	s.lost = s.lost || h.EndedAt == 0
	if h.StartedAt != 0 && h.EndedAt != 0 {
		s.maxDuration = max(s.maxDuration, h.EndedAt-h.StartedAt)
	}
}

// snapshot returns what a reader may hold of a segment that is being written.
func (s *segment) snapshot() *segment {
	c := *s
	t, traces := *s.tables, *s.traces
	c.tables, c.traces = &t, &traces
	return &c
}

// sealed returns the segment for readers, without what only writing needs.
func (s *segment) sealed() *segment {
	c := *s
	c.sourceNumbers, c.scopeNumbers = nil, nil
	c.tables = &tables{
		names: s.names.sealed(), threads: s.threads.sealed(), agents: s.agents.sealed(),
		sources: s.sources, scopes: s.scopes,
	}
	// Half as much again as writing leaves: copying the text of all rows takes
	// longer than the rest of them.
	if cap(s.text)-len(s.text) > len(s.text)*3/32 {
		c.text = append(make([]byte, 0, len(s.text)), s.text...)
	}
	return &c
}

// gather returns a segment of the rows that live in some; they follow one
// another and fit. Each row keeps its place among the others. It can be written
// on.
func gather(segs []*segment) *segment {
	c := newSegment(segs[0].first, 0)
	size := 0
	for _, s := range segs {
		size += len(s.text) - s.dead.bytes
	}
	c.text = make([]byte, 0, size)
	for _, s := range segs {
		for i := range s.n {
			if s.isDead(i) {
				continue
			}
			b := s.base(i)
			c.add(&activity.Head{
				ID: s.id(i), Type: s.typ[i], State: s.state[i], ThreadID: s.threads.text(s.thread[i]), Agent: s.agents.text(s.agent[i]),
				PlannedAt: s.planned[i], StartedAt: s.started[i], EndedAt: s.ended[i], Seq: s.seq[i],
				WasPlanned: s.kind[i]&wasPlanned != 0,
			}, &b, s.begun[i], s.record(i))
		}
	}
	return c
}

// any reports whether a row is dead. Unlike n it is for readers too.
func (d *deadRows) any() bool {
	for k := range d.rows {
		if d.rows[k].Load() != 0 {
			return true
		}
	}
	return false
}

func (s *segment) isDead(i int) bool { return s.dead.rows[i/32].Load()&(1<<(i%32)) != 0 }

// kill marks a row as dead. The segment's ids and places must be there.
func (s *segment) kill(i int) {
	s.dead.rows[i/32].Or(1 << (i % 32))
	s.dead.n++
	s.dead.bytes += s.recordLen(i)
}

func (s *segment) recordLen(i int) int {
	if i == 0 {
		return int(s.end[0])
	}
	return int(s.end[i] - s.end[i-1])
}

func (s *segment) record(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = s.end[i-1]
	}
	return s.text[start:s.end[i]]
}

// recordString returns the record without copying it: text is not written
// again, and the string keeps it alive.
func (s *segment) recordString(i int) string {
	rec := s.record(i)
	return unsafe.String(unsafe.SliceData(rec), len(rec))
}

func (s *segment) id(i int) activity.ID { return activity.ID{Trace: s.trace[i], Span: s.span[i]} }

// head returns what the codes and places tell of a row's state and times.
func (s *segment) head(i int) activity.Head {
	return activity.Head{
		Type: s.typ[i], State: s.state[i], PlannedAt: s.planned[i], StartedAt: s.started[i], EndedAt: s.ended[i],
		WasPlanned: s.kind[i]&wasPlanned != 0,
	}
}

func (s *segment) parentID(i int) activity.ID {
	if s.parent[i] == (activity.SpanID{}) {
		return activity.ID{}
	}
	return activity.ID{Trace: s.trace[i], Span: s.parent[i]}
}

func (s *segment) base(i int) base {
	sampling := activity.Sampling(s.kind[i] & 3)
	return base{
		name:     s.names.text(s.name[i]),
		parent:   s.parent[i],
		kind:     activity.SpanKind(s.kind[i] >> kindShift & 7),
		sampling: sampling,
		flags:    flagsOf(s.kind[i]>>flagsShift&3, sampling),
		start:    s.start[i],
		resource: s.sources[s.source[i]],
		scope:    s.scopes[s.scope[i]],
	}
}

func (s *segment) service(i int) string {
	if r := s.sources[s.source[i]]; r != nil {
		return r.Service
	}
	return ""
}

// bytes is what the segment holds in memory, its share of the id table apart.
func (s *segment) bytes() int64 {
	n := int64(unsafe.Sizeof(*s)) + int64(unsafe.Sizeof(*s.dead)) + int64(unsafe.Sizeof(*s.traces)) + int64(cap(s.text))
	if s.coded != nil {
		n += int64(unsafe.Sizeof(*s.coded))
	}
	if s.spans != nil {
		n += int64(unsafe.Sizeof(*s.spans))
	}
	if s.places != nil {
		n += int64(unsafe.Sizeof(*s.places))
	}
	if s.codes != nil {
		n += int64(unsafe.Sizeof(*s.codes)) + s.names.bytes() + s.threads.bytes() + s.agents.bytes()
	}
	return n
}

// has reports whether the parts are there.
func (s *segment) has(parts part) bool {
	return (parts&partSpans == 0 || s.spans != nil) && (parts&partPlaces == 0 || s.places != nil) &&
		(parts&partCodes == 0 || s.codes != nil) && (parts&partText == 0 || s.text != nil)
}

// table numbers the strings of one segment; number 0 is the empty string. While
// the segment is written it is a map, later one string and its borders.
type table struct {
	numbers map[string]uint16
	list    []string
	joined  string
	ends    []uint32
	size    int64
}

func (t *table) init() {
	t.numbers = map[string]uint16{}
	t.list = []string{""}
}

// number returns the number of s; a segment's rows are fewer than numbers.
func (t *table) number(s string) uint16 {
	if s == "" {
		return 0
	}
	if n, ok := t.numbers[s]; ok {
		return n
	}
	s = string([]byte(activity.Cut(s, activity.MaxString)))
	n := uint16(len(t.list))
	t.numbers[s] = n
	t.list = append(t.list, s)
	t.size += int64(len(s)) + 48
	return n
}

func (t *table) sealed() table {
	total := 0
	for _, s := range t.list {
		total += len(s)
	}
	joined := make([]byte, 0, total)
	ends := make([]uint32, 0, len(t.list))
	for _, s := range t.list {
		joined = append(joined, s...)
		ends = append(ends, uint32(len(joined)))
	}
	return table{joined: string(joined), ends: ends, size: int64(total + 4*len(ends))}
}

func (t *table) len() int { return max(len(t.list), len(t.ends)) }

func (t *table) text(n uint16) string {
	if t.list != nil {
		return t.list[n]
	}
	start := uint32(0)
	if n > 0 {
		start = t.ends[n-1]
	}
	return t.joined[start:t.ends[n]]
}

func (t *table) bytes() int64 { return t.size }

// digest tells what filters of a segment's codes may select, so that a list of
// something rare reads no codes of the others.
type digest struct {
	// codes holds the rows' service, state and type: all three, the service alone,
	// and the state with the type.
	codes   smallBloom
	threads smallBloom
}

// digest returns that of a segment whose codes are there.
func (s *segment) digest() *digest {
	d := new(digest)
	services := make([]uint64, len(s.sources))
	for n, r := range s.sources {
		services[n] = hashText("")
		if r != nil {
			services[n] = hashText(r.Service)
		}
	}
	var done [1 << 8]uint64 // the service last seen of a state and a type
	for i := range s.n {
		service := services[s.source[i]]
		pair := uint8(s.typ[i])&0x1f | uint8(s.state[i])<<5
		if done[pair] == service {
			continue
		}
		done[pair] = service
		d.codes.add(service)
		d.codes.add(hashCodes(0, s.typ[i], s.state[i]))
		d.codes.add(hashCodes(service, s.typ[i], s.state[i]))
	}
	for n := range s.threads.len() {
		d.threads.add(hashText(s.threads.text(uint16(n))))
	}
	return d
}

// may reports whether the filter can select any of the rows by their codes.
func (d *digest) may(f *activity.Filter, types, states uint32) bool {
	if len(f.Threads) > 0 && !slices.ContainsFunc(f.Threads, func(t string) bool { return d.threads.may(hashText(t)) }) {
		return false
	}
	if len(f.Services) == 0 {
		return d.mayPair(0, types, states)
	}
	return slices.ContainsFunc(f.Services, func(name string) bool {
		service := hashText(name)
		return d.codes.may(service) && d.mayPair(service, types, states)
	})
}

// mayPair reports whether a service's row, or any for 0, has a wanted state and type.
func (d *digest) mayPair(service uint64, types, states uint32) bool {
	for _, t := range activity.Types {
		if types>>t&1 == 0 {
			continue
		}
		for _, state := range activity.States {
			if states>>state&1 != 0 && d.codes.may(hashCodes(service, t, state)) {
				return true
			}
		}
	}
	return false
}

// hashText must stay as it is: archives hold what it gave.
func hashText(s string) uint64 {
	h := uint64(0xCBF29CE484222325) // FNV-1a
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001B3
	}
	return mix(h)
}

func hashCodes(service uint64, t activity.Type, s activity.State) uint64 {
	return mix(service + uint64(t)<<8 + uint64(s) + 1)
}

func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xBF58476D1CE4E5B9
	h = (h ^ h>>27) * 0x94D049BB133111EB
	return h ^ h>>31
}

// smallBloom is a Bloom filter of some hundred hashes, by 3 probes.
type smallBloom [32]uint64

const smallBloomBits = 32 * 64

func (b *smallBloom) add(h uint64) {
	for range 3 {
		b[h%smallBloomBits/64] |= 1 << (h % 64)
		h >>= 16
	}
}

func (b *smallBloom) may(h uint64) bool {
	for range 3 {
		if b[h%smallBloomBits/64]>>(h%64)&1 == 0 {
			return false
		}
		h >>= 16
	}
	return true
}

// numberOf numbers a pointer in a segment's list, whose first entry is nil.
func numberOf[T any](p *T, list *[]*T, numbers map[*T]uint16) uint16 {
	if p == nil {
		return 0
	}
	n, ok := numbers[p]
	if !ok {
		n = uint16(len(*list))
		*list = append(*list, p)
		numbers[p] = n
	}
	return n
}

// bloom is a Bloom filter of a segment's traces: 8 bits a row, 3 probes, so
// that about one in thirty foreign segments is looked at in vain.
type bloom [rowsPerSegment * 8 / 64]uint64

func (b *bloom) probe(t activity.TraceID, i int) (word int, bit uint64) {
	h := binary.LittleEndian.Uint64(t[8:]) * 0x9E3779B97F4A7C15
	h ^= binary.LittleEndian.Uint64(t[:8])
	h = bits.RotateLeft64(h, 21*i) * 0xC2B2AE3D27D4EB4F >> 49
	return int(h / 64), 1 << (h % 64)
}

func (b *bloom) add(t activity.TraceID) {
	for i := range 3 {
		word, bit := b.probe(t, i)
		b[word] |= bit
	}
}

func (b *bloom) may(t activity.TraceID) bool {
	for i := range 3 {
		if word, bit := b.probe(t, i); b[word]&bit == 0 {
			return false
		}
	}
	return true
}
