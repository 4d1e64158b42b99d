package index

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/store"

	"github.com/midspan/midspan/activity"
)

// Checkpoint is what an index must find again to go on after a restart, as of
// one sequence: what is in flight, what it has counted, and the segments of
// finished activities that the archive does not have yet. All of it has to be
// stored together or not at all; events after Seq are then applied again.
type Checkpoint struct {
	Seq   uint64
	State []byte
	// Segments are new, or have lost rows since the archive was given them.
	Segments []SavedSegment
	// Retired are the numbers of segments that the archive may forget.
	Retired []uint64
}

// SavedSegment is what an archive stores of a segment.
type SavedSegment struct {
	Number  uint64
	Summary []byte // nil when the archive has it, and all parts
	Dead    []byte // which rows are held no more
	// Stored is how many bytes the archive stores of it, as that says itself.
	Stored int64

	segment *segment
	died    int
}

// AppendPart appends a part of a segment with a Summary.
func (s *SavedSegment) AppendPart(b []byte, p Part) []byte { return s.segment.appendPart(b, p) }

// stateVersion is the first byte of a State.
const stateVersion = 1

// Checkpoint returns what has to be stored. One at a time: the next may be asked
// for when Saved was told of this one, or when it was given up.
func (x *Index) Checkpoint() *Checkpoint {
	x.beforeRead()
	x.mu.Lock()
	defer x.mu.Unlock()
	// The one that was sealed last waits, like the one that is written: its rows
	// may still be enriched, and move then. What is given stays as it is.
	x.given = max(x.given, len(x.segs)-2)
	c := &Checkpoint{Seq: x.log.seq, Retired: slices.Clone(x.retired)}
	for _, seg := range x.segs[:x.given] {
		if seg.saved && seg.dead.n == seg.dead.saved {
			continue
		}
		s := SavedSegment{Number: seg.first, Dead: seg.appendDead(nil), Stored: seg.stored, segment: seg, died: seg.dead.n}
		if !seg.saved {
			s.Summary = seg.appendSummary(nil)
		}
		c.Segments = append(c.Segments, s)
	}
	c.State = x.appendState(nil)
	return c
}

// Saved tells that a checkpoint is stored.
func (x *Index) Saved(c *Checkpoint) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.retired = slices.Delete(x.retired, 0, len(c.Retired))
	for i := range c.Segments {
		s := &c.Segments[i]
		k := slices.IndexFunc(x.segs, func(seg *segment) bool { return seg.first == s.Number })
		if k < 0 {
			if s.Summary != nil { // retired or emptied meanwhile
				x.retired = append(x.retired, s.Number)
			}
			continue
		}
		seg := x.segs[k]
		seg.dead.saved = s.died
		if !seg.saved {
			seg.saved, seg.stored = true, s.Stored
			x.archived += s.Stored
		}
	}
}

// Restored is a segment as an archive stored it.
type Restored struct {
	Number        uint64
	Summary, Dead []byte
	Stored        int64
}

// Restore returns an index as it was at a checkpoint. The segments stand in the
// order of their numbers. cfg.Archive must be set. A segment whose spans are damaged
// is set aside.
func Restore(ctx context.Context, cfg Config, state []byte, segments []Restored) (*Index, error) {
	if cfg.Archive == nil {
		return nil, errors.New("index: restore without an archive")
	}
	x := New(cfg)
	for _, r := range segments {
		seg, err := decodeSummary(r.Number, r.Summary, r.Dead)
		if err != nil {
			return nil, fmt.Errorf("index: read the summary of segment %d: %w", r.Number, err)
		}
		seg.stored = r.Stored
		x.archived += r.Stored
		x.sealedBytes += seg.bytes()
		x.segs = append(x.segs, seg)
	}
	x.cooled, x.given = len(x.segs), len(x.segs)
	if err := x.restoreIDs(ctx); err != nil {
		return nil, err
	}
	if err := x.restoreState(state); err != nil {
		return nil, fmt.Errorf("index: read the state: %w", err)
	}
	return x, nil
}

// restoreIDs finds the rows of the archived segments again. Segments are read
// ahead while others are inserted.
func (x *Index) restoreIDs(ctx context.Context) error {
	const ahead = 8
	type read struct {
		seg *segment
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel()
	next := make(chan chan read, ahead)
	reading.Go(func() {
		defer close(next)
		for _, seg := range x.segs {
			got := make(chan read, 1)
			select {
			case next <- got:
			case <-ctx.Done():
				return
			}
			reading.Go(func() {
				full, err := loadPart(ctx, x.cfg.Archive, seg, PartSpans)
				if err = x.damaged(seg, err, true); unreadable(err) {
					got <- read{} // all the others are there
					return
				}
				got <- read{full, err}
			})
		}
	})
	for got := range next {
		r := <-got
		if r.err != nil {
			return fmt.Errorf("index: read the spans of an archived segment: %w", r.err)
		}
		if r.seg != nil {
			x.ids.insertAll(r.seg)
		}
	}
	return ctx.Err()
}

// state walks through a state, to write it or, when there is something to read
// from, to read it. So that both are the same walk, all fields are given by
// their places.
type state struct {
	b    []byte
	from *decoder // nil to write
}

func (s *state) reading() bool { return s.from != nil }

func (s *state) uint(v *uint64) {
	if s.reading() {
		*v = s.from.uvarint()
	} else {
		s.b = binary.AppendUvarint(s.b, *v)
	}
}

func (s *state) int(v *int64) {
	if s.reading() {
		*v = s.from.varint()
	} else {
		s.b = binary.AppendVarint(s.b, *v)
	}
}

func (s *state) count(n int) int {
	if s.reading() {
		return s.from.count()
	}
	s.b = binary.AppendUvarint(s.b, uint64(n))
	return n
}

func (s *state) text(v *string) {
	n := s.count(len(*v))
	if s.reading() {
		*v, s.from.rec = s.from.rec[:n], s.from.rec[n:]
	} else {
		s.b = append(s.b, *v...)
	}
}

func (s *state) bytes(v *[]byte) {
	text := string(*v)
	s.text(&text)
	if s.reading() {
		*v = []byte(text)
	}
}

func (s *state) raw(v []byte) {
	if s.reading() {
		s.from.copy(v)
	} else {
		s.b = append(s.b, v...)
	}
}

func (s *state) time(v *activity.Time) { s.int((*int64)(v)) }

func (s *state) distribution(d *distribution) {
	s.int(&d.n)
	sum := math.Float64bits(d.sum)
	s.uint(&sum)
	d.sum = math.Float64frombits(sum)
	if d.n == 0 {
		return
	}
	var encoded []byte
	if !s.reading() {
		d.sketch.Encode(&encoded, true)
	}
	s.bytes(&encoded)
	if s.reading() {
		d.sketch = newSketch()
		// Sparse first: what a sketch is merged into has room for all that lies
		// below its largest value, however large damage has made it.
		read, err := ddsketch.DecodeDDSketch(encoded, store.SparseStoreConstructor, d.sketch.IndexMapping)
		if err != nil || !indexable(read) || d.sketch.MergeWith(read) != nil {
			panic(errPart)
		}
	}
}

// indexable reports whether a sketch holds nothing but what durations make.
func indexable(s *ddsketch.DDSketch) bool {
	values := s.GetPositiveValueStore()
	if !s.GetNegativeValueStore().IsEmpty() {
		return false
	}
	if values.IsEmpty() { // each took no time
		return true
	}
	least, err1 := values.MinIndex()
	most, err2 := values.MaxIndex()
	return err1 == nil && err2 == nil && least >= s.Index(s.MinIndexableValue()) && most <= s.Index(s.MaxIndexableValue())
}

func (s *state) bucket(b *bucket) {
	for _, v := range [...]*int64{&b.number, &b.starts, &b.completed, &b.failed, &b.aborted, &b.lost} {
		s.int(v)
	}
	s.distribution(&b.duration)
	s.distribution(&b.wait)
}

func (s *state) counters(c *counters) {
	s.time(&c.since)
	for _, v := range [...]*int64{&c.total, &c.evicted, &c.notIndexed, &c.ignored, &c.leaked, &c.secondsAt} {
		s.int(v)
	}
	s.bucket(&c.current)
	s.bucket(&c.all)
	for i := range c.short {
		s.bucket(&c.short[i])
	}
	for i := range c.long {
		s.bucket(&c.long[i])
	}
	for i := range c.seconds {
		second := &c.seconds[i]
		for _, v := range [...]*int64{&second.Started, &second.Finished, &second.Failed} {
			s.int(v)
		}
	}
}

func (s *state) moments(m *moments) {
	fine := int64(m.fine)
	s.int(&fine)
	m.fine = int(fine)
	n := s.count(len(m.marks))
	if s.reading() {
		m.marks = make([]activity.Moment, n)
	}
	var before activity.Moment
	for i := range m.marks {
		mark := &m.marks[i]
		step, seq := int64(mark.Time-before.Time), mark.Seq-before.Seq
		s.int(&step)
		s.uint(&seq)
		*mark = activity.Moment{Seq: before.Seq + seq, Time: before.Time + activity.Time(step)}
		before = *mark
	}
}

func (s *state) keys(t *keyTable) {
	n := s.count(len(t.keys) - 1)
	for k := range n {
		if s.reading() {
			var key string
			s.text(&key)
			if t.lookUp(key) != uint32(k+1) {
				panic(errPart)
			}
		} else {
			s.text(&t.keys[1+k])
		}
	}
}

func (s *state) usual(u *usual) {
	n := s.count(len(u.runs))
	run := func(key usualKey, r *lastRuns) {
		typ, count := uint64(key.typ), uint64(r.n)
		s.uint(&typ)
		s.text(&key.name)
		s.uint(&count)
		r.n = uint32(count)
		for i := range min(count, uint64(len(r.seconds))) {
			bits := uint64(math.Float32bits(r.seconds[i]))
			s.uint(&bits)
			r.seconds[i] = math.Float32frombits(uint32(bits))
		}
		if s.reading() {
			u.runs[usualKey{activity.Type(typ), key.name}] = r
		}
	}
	if s.reading() {
		for range n {
			run(usualKey{}, new(lastRuns))
		}
		return
	}
	for key, r := range u.runs {
		run(key, r)
	}
}

// finished is the tally without what is in flight.
func (s *state) finished(t *tally, byState *[8]int64, byType *[16]int64) {
	for i := range t.byState {
		n := t.byState[i] - byState[i]
		s.int(&n)
		if s.reading() {
			t.byState[i] = n
		}
	}
	for i := range t.byType {
		n := t.byType[i] - byType[i]
		s.int(&n)
		if s.reading() {
			t.byType[i] = n
		}
	}
	names := make([]string, 0, len(t.services))
	for name, h := range t.services {
		if h.finished > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	n := s.count(len(names))
	for i := range n {
		var name string
		var finished int64
		if !s.reading() {
			name, finished = names[i], t.services[names[i]].finished
		}
		s.text(&name)
		s.int(&finished)
		if s.reading() {
			t.serviceOf(name).finished = finished
		}
	}
}

// appendState appends everything but the segments that are given. x.mu is held.
//
//	state    := 1, seq, held rows, forgotten, moments, keys, counters, usual durations, tally of what
//	            has ended, resources, scopes, open activities, refused ids, segments, and when there
//	            are any the sequences of events that wait, each less the one before
//	open     := id (24), name, parent (8), kind, sampling and 4 times the flags' number, start, resource, scope,
//	            merged events, up to number, begun, record
//	segments := of each its number, summary, dead rows, spans, codes, places, text
func (x *Index) appendState(b []byte) []byte {
	s := &state{b: append(b, stateVersion)}
	seq, rows := x.log.seq, uint64(x.finished)
	s.uint(&seq)
	s.uint(&rows)
	s.time(&x.forgotten)
	s.moments(&x.moments)
	s.keys(x.keys)
	s.counters(&x.count)
	s.usual(&x.usual)

	var byState [8]int64
	var byType [16]int64
	resources, scopes := map[*activity.Resource]uint64{nil: 0}, map[*activity.Scope]uint64{nil: 0}
	var resourceList []*activity.Resource
	var scopeList []*activity.Scope
	for _, o := range x.open.All() {
		byState[o.counted.state]++
		byType[o.counted.typ]++
		if _, ok := resources[o.base.resource]; !ok {
			resourceList = append(resourceList, o.base.resource)
			resources[o.base.resource] = uint64(len(resourceList))
		}
		if _, ok := scopes[o.base.scope]; !ok {
			scopeList = append(scopeList, o.base.scope)
			scopes[o.base.scope] = uint64(len(scopeList))
		}
	}
	s.finished(&x.tally, &byState, &byType)

	enc := encoder{keys: noKeys(), buf: binary.AppendUvarint(s.b, uint64(len(resourceList)))}
	for _, r := range resourceList {
		enc.resource(r)
	}
	enc.buf = binary.AppendUvarint(enc.buf, uint64(len(scopeList)))
	for _, sc := range scopeList {
		enc.scope(sc)
	}
	s.b = enc.buf

	s.count(x.open.Len())
	for id, o := range x.open.All() {
		resource, scope := resources[o.base.resource], scopes[o.base.scope]
		s.open(&id, o, &resource, &scope)
	}
	s.count(len(x.refused))
	for id := range x.refused {
		s.id(&id)
	}

	tail := x.segs[x.given:]
	s.count(len(tail))
	for k, seg := range tail {
		if k == len(tail)-1 {
			seg = seg.snapshot()
		}
		number, summary, dead := seg.first, seg.appendSummary(nil), seg.appendDead(nil)
		s.uint(&number)
		s.bytes(&summary)
		s.bytes(&dead)
		for _, p := range Parts[:PartGrams] {
			data := seg.appendPart(nil, p)
			s.bytes(&data)
		}
	}
	if len(x.waiting) > 0 { // seldom
		s.waiting(x)
	}
	return s.b
}

func (s *state) waiting(x *Index) {
	n := s.count(len(x.waiting))
	if s.reading() {
		x.waiting = make([]uint64, n)
		x.waits.Store(int64(n))
		x.unread = errWaits
	}
	before := uint64(0)
	for i := range x.waiting {
		step := x.waiting[i] - before
		s.uint(&step)
		if step == 0 || before+step < before {
			panic(errPart)
		}
		before += step
		x.waiting[i] = before
	}
}

// errWaits stands until it is tried again.
var errWaits = errors.New("a part of the archive could not be read before the last start")

func (s *state) id(id *activity.ID) {
	s.raw(id.Trace[:])
	s.raw(id.Span[:])
}

func (s *state) open(id *activity.ID, o *openActivity, resource, scope *uint64) {
	s.id(id)
	s.text(&o.base.name)
	s.raw(o.base.parent[:])
	kind, sampling := uint64(o.base.kind), uint64(flagsNumber(o.base.flags, o.base.sampling))<<2|uint64(o.base.sampling)
	s.uint(&kind)
	s.uint(&sampling)
	o.base.kind, o.base.sampling = activity.SpanKind(kind), activity.Sampling(sampling&3)
	o.base.flags = flagsOf(uint8(sampling>>2&3), o.base.sampling)
	s.time(&o.base.start)
	s.uint(resource)
	s.uint(scope)
	n, rev := int64(o.merged.n), uint64(o.merged.rev)
	s.int(&n)
	s.uint(&rev)
	o.merged = merged{int(n), uint32(rev)}
	s.uint(&o.begun)
	s.time(&o.heard)
	s.bytes(&o.enc.buf)
}

func (x *Index) restoreState(data []byte) (err error) {
	defer func() {
		if recover() != nil { // a slice beyond the data
			err = errPart
		}
	}()
	s := &state{from: &decoder{rec: string(data)}}
	if version := s.from.byte(); version != stateVersion {
		return fmt.Errorf("its version is %d; this program knows %d", version, stateVersion)
	}
	var seq, rows uint64
	s.uint(&seq)
	s.uint(&rows)
	x.log.skipTo(seq)
	x.finished = int(rows)
	s.time(&x.forgotten)
	s.moments(&x.moments)
	s.keys(x.keys)
	s.counters(&x.count)
	s.usual(&x.usual)
	s.finished(&x.tally, new([8]int64), new([16]int64))
	resources := []*activity.Resource{nil}
	for range s.from.count() {
		resources = append(resources, s.from.resource())
	}
	scopes := []*activity.Scope{nil}
	for range s.from.count() {
		scopes = append(scopes, s.from.scope())
	}
	for range s.from.count() {
		var id activity.ID
		var resource, scope uint64
		o := x.newOpen()
		s.open(&id, o, &resource, &scope)
		b := o.base
		b.resource, b.scope = resources[resource], scopes[scope]
		events, _ := decodeRecord(string(o.enc.buf), x.keys.keys, id, &b)
		o.rebuild(events, 0)
		x.open.Put(id, o)
		x.tally.open(o)
	}
	for range s.from.count() {
		var id activity.ID
		s.id(&id)
		x.refused[id] = struct{}{}
	}
	var tail []*segment
	for range s.from.count() {
		seg, err := s.segment()
		if err != nil {
			return err
		}
		tail = append(tail, seg)
	}
	if s.from.rec != "" {
		s.waiting(x)
	}
	if s.from.rec != "" {
		return errPart
	}
	x.restoreTail(tail)
	return nil
}

// segment reads a segment with all its parts.
func (s *state) segment() (*segment, error) {
	var number uint64
	var summary, dead []byte
	s.uint(&number)
	s.bytes(&summary)
	s.bytes(&dead)
	seg, err := decodeSummary(number, summary, dead)
	if err != nil {
		return nil, err
	}
	for _, p := range Parts[:PartGrams] {
		var data []byte
		s.bytes(&data)
		part, err := decodePart(seg, p, data)
		if err != nil {
			return nil, err
		}
		seg = seg.with(part)
	}
	seg.saved = false
	for i := range seg.n {
		if seg.isDead(i) {
			seg.dead.bytes += seg.recordLen(i)
		}
	}
	return seg, nil
}

// restoreTail takes the segments that the archive does not have. The last one is
// written on.
func (x *Index) restoreTail(tail []*segment) {
	for k, seg := range tail {
		if k < len(tail)-1 {
			x.segs = append(x.segs, seg)
			x.sealedBytes += seg.bytes()
			x.died += seg.dead.n
			x.ids.insertAll(seg)
			continue
		}
		last := gather(tail[k:])
		x.segs = append(x.segs, last)
		for i := range last.n {
			x.recent.insert(last.span[i], i)
		}
	}
	slices.SortFunc(x.segs, func(a, b *segment) int { return cmp.Compare(a.first, b.first) })
}
