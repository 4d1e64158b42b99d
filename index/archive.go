package index

import (
	linked "container/list"
	"context"
	"fmt"
	"sync"
)

// Archive keeps the finished activities that memory has no room for, by
// segments: an index with one lets go of a segment's parts and not of its
// activities. It must be safe for concurrent use.
type Archive interface {
	// Load returns a part of a segment as a Checkpoint had it, or a *DamageError
	// when it is not that any more. The index keeps what it is given.
	Load(ctx context.Context, segment uint64, part Part) ([]byte, error)
}

// Part names one of the parts of a segment that an Archive keeps apart.
type Part uint8

// The parts, the smaller first.
const (
	PartSpans Part = iota
	PartCodes
	PartPlaces
	PartText
	PartGrams
	PartCounts
)

// Parts are all of them. What a segment in memory has are those before PartGrams;
// the others are made of them.
var Parts = [...]Part{PartSpans, PartCodes, PartPlaces, PartText, PartGrams, PartCounts}

// Derived reports whether the part is made of the others: without it nothing is
// missing.
func (p Part) Derived() bool { return p >= PartGrams }

func (p Part) String() string {
	return [...]string{"spans", "codes", "places", "text", "grams", "counts"}[p]
}

// look is one look at the index, under its lock. Where it meets a part of a
// segment that is away it notes that and goes on as if the rows were not held:
// what it finds is void then, and Index.look starts anew with the parts there.
type look struct {
	x *Index
	// there holds the segments whose parts this look has had fetched.
	there map[uint64]*segment
	away  map[uint64]part
	at    bool // the archive is asked at once, under the lock
	err   error
	lacks error // why rows may be missing from what it found, which is not void: they are damaged
}

// look runs fn with x.mu held for reading, and again when parts of segments had
// to be fetched, which happens without the lock. fn must do the same each time.
func (x *Index) look(ctx context.Context, fn func(l *look)) error {
	l := &look{x: x}
	for {
		l.lacks = nil
		x.mu.RLock()
		fn(l)
		segs := l.wanted()
		x.mu.RUnlock()
		if len(segs) == 0 {
			return l.err
		}
		for _, seg := range segs {
			parts := l.away[seg.first]
			fetched, err := x.fetch(ctx, seg, parts)
			if unreadable(err) {
				continue // the next round goes on without it
			}
			if err != nil {
				return err
			}
			l.keep(fetched)
		}
		clear(l.away)
	}
}

// wanted returns the segments of which parts are away.
func (l *look) wanted() []*segment {
	var segs []*segment
	for first := range l.away {
		if k := l.x.segmentOf(first); k < len(l.x.segs) && l.x.segs[k].first == first {
			segs = append(segs, l.x.segs[k])
		}
	}
	return segs
}

func (l *look) keep(seg *segment) {
	if l.there == nil {
		l.there = make(map[uint64]*segment)
	}
	if have := l.there[seg.first]; have != nil {
		seg = seg.with(have)
	}
	l.there[seg.first] = seg
}

// with returns the segment with its parts, or nil when some are away or damaged.
func (l *look) with(seg *segment, parts part) *segment {
	if seg.has(parts) {
		return seg
	}
	if err := l.x.damage.of(seg.first, parts); err != nil {
		l.lacks = err
		if l.at {
			l.err = err
		}
		return nil
	}
	if have := l.there[seg.first]; have != nil {
		if have.has(parts) {
			return have
		}
		parts |= have.parts() // so that one fetch brings all
	}
	if l.at {
		fetched, err := l.x.fetch(context.Background(), seg, parts)
		if err != nil {
			l.err = err
			return nil
		}
		l.keep(fetched)
		return l.there[seg.first]
	}
	if l.away == nil {
		l.away = make(map[uint64]part)
	}
	l.away[seg.first] |= parts
	return nil
}

func (s *segment) parts() (p part) {
	for one := partSpans; one <= partText; one <<= 1 {
		if s.has(one) {
			p |= one
		}
	}
	return p
}

// with returns the segment with the parts of another copy besides its own.
func (s *segment) with(o *segment) *segment {
	c := *s
	if c.spans == nil {
		c.spans = o.spans
	}
	if c.places == nil {
		c.places = o.places
	}
	if c.codes == nil {
		c.codes, c.tables = o.codes, o.tables
	}
	if c.text == nil {
		c.text = o.text
	}
	return &c
}

// fetch returns a segment with the parts there. It must be called without x.mu,
// unless nobody minds the wait.
func (x *Index) fetch(ctx context.Context, seg *segment, parts part) (*segment, error) {
	if seg.has(parts) {
		return seg, nil
	}
	if err := x.damage.of(seg.first, parts); err != nil {
		return nil, err
	}
	c := *seg
	for _, p := range Parts[:PartGrams] {
		one := part(1) << p
		if parts&one == 0 || c.has(one) {
			continue
		}
		got, err := x.cache.get(ctx, x.cfg.Archive, &c, p)
		if err != nil {
			return nil, x.damaged(seg, err, false)
		}
		c = *c.with(got)
	}
	return &c, nil
}

// cache holds parts that were fetched of late, up to a bound of bytes.
type cache struct {
	max int64

	mu     sync.Mutex // guards everything below
	bytes  int64
	parts  map[cacheKey]*cached
	recent linked.List // of *cached, the one used last in front
}

type cacheKey struct {
	segment uint64
	part    Part
}

type cached struct {
	key   cacheKey
	place *linked.Element
	once  sync.Once
	seg   *segment // with that part alone
	err   error
	bytes int64 // 0 while it is read; guarded by the cache's mu
}

func (c *cache) get(ctx context.Context, from Archive, seg *segment, p Part) (*segment, error) {
	key := cacheKey{seg.first, p}
	c.mu.Lock()
	e := c.parts[key]
	if e == nil {
		e = &cached{key: key}
		e.place = c.recent.PushFront(e)
		if c.parts == nil {
			c.parts = make(map[cacheKey]*cached)
		}
		c.parts[key] = e
	} else {
		c.recent.MoveToFront(e.place)
	}
	c.mu.Unlock()
	e.once.Do(func() { c.load(ctx, from, seg, e) })
	return e.seg, e.err
}

func (c *cache) load(ctx context.Context, from Archive, seg *segment, e *cached) {
	// Others may wait for it who have not gone.
	got, err := loadPart(context.WithoutCancel(ctx), from, seg, e.key.part)
	if e.seg = got; err != nil {
		e.err = fmt.Errorf("index: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.err != nil:
		c.drop(e) // the next one tries again
		return
	case c.parts[e.key] != e: // dropped while it was read
		return
	}
	e.bytes = e.seg.bytes()
	c.bytes += e.bytes
	for c.bytes > c.max && c.recent.Len() > 1 {
		c.drop(c.recent.Back().Value.(*cached))
	}
}

// drop forgets an entry. c.mu is held.
func (c *cache) drop(e *cached) {
	if c.parts[e.key] == e {
		delete(c.parts, e.key)
		c.recent.Remove(e.place)
		c.bytes -= e.bytes
	}
}

// forget drops what is held of a segment.
func (c *cache) forget(segment uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range Parts {
		if e := c.parts[cacheKey{segment, p}]; e != nil {
			c.drop(e)
		}
	}
}

// cool lets go of the parts of saved segments, the oldest first, while memory
// is over its bound. x.mu is held.
func (x *Index) cool() {
	for x.cfg.MaxBytes > 0 && x.cooled < len(x.segs)-1 && x.bytes() > x.cfg.MaxBytes {
		seg := x.segs[x.cooled]
		if !seg.saved {
			return // the next checkpoint takes it
		}
		c := *seg
		c.coded = seg.digest()
		c.spans, c.places, c.codes, c.tables, c.text = nil, nil, nil, nil, nil
		x.sealedBytes += c.bytes() - seg.bytes()
		x.segs[x.cooled] = &c
		x.cooled++
	}
}

// Retire lets go of finished activities that ended too long ago, or that are more
// than the archive's bounds leave room for: of some segments at a time, from the
// oldest. It returns how many went; after 0 there is no more to do. Without the
// archive, what comes lets go of them too, and with it nothing else does, so whoever
// holds the index calls it now and then. What has to be read of the archive is read
// without holding anybody up. It is safe for concurrent use.
func (x *Index) Retire(ctx context.Context) (int, error) { return x.retire(ctx, 128) }

// retire takes so many steps, each with a hold of the lock.
func (x *Index) retire(ctx context.Context, steps int) (gone int, err error) {
	var there *segment
	for range steps {
		n, away := x.retireSome(there)
		gone += n
		if away != nil {
			there, err = x.fetch(ctx, away, retireParts)
			if unreadable(err) {
				rows := x.retireUnread(away.first)
				if gone += rows; rows > 0 {
					continue
				}
			}
			if err != nil {
				return gone, err
			}
		} else if n == 0 {
			break
		}
	}
	return gone, nil
}

// retireParts are those of a segment that are needed to take rows out.
const retireParts = partIDs | partCodes

// retireSome lets go of some rows and returns how many. When parts of a segment are
// away it returns that one, to be called again with them there.
func (x *Index) retireSome(there *segment) (gone int, away *segment) {
	x.mu.Lock()
	defer x.mu.Unlock()
	before := x.finished
	away = x.expire(x.now(), there)
	if away == nil && x.finished == before {
		away = x.retireFirst(there)
	}
	for len(x.segs) > 1 && x.segs[0].saved && x.segs[0].dead.n == x.segs[0].n {
		x.retireSegment()
	}
	x.release(rowsPerSegment / 4)
	return before - x.finished, away
}

// retireUnread lets go of the first segment, whose rows can't be read, when the time
// of all of them has come, and returns how many there were.
func (x *Index) retireUnread(first uint64) (gone int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.segs) < 2 || x.segs[0].first != first || !x.segs[0].saved {
		return 0
	}
	seg := x.segs[0]
	ended := x.heard(seg.maxSeq)
	if !seg.lost {
		ended = min(ended, seg.maxEnded)
	}
	hits := x.over()
	if hits == nil && x.cfg.MaxAge > 0 && x.now().Sub(ended) > x.cfg.MaxAge {
		hits = &x.hits.ByAge
	}
	if hits == nil {
		return 0
	}
	rows := x.retireDamaged(seg)
	x.count.evicted += rows
	*hits += rows
	x.log.forget(seg.maxSeq)
	x.moments.forget(seg.minBegun)
	x.forgotten = max(x.forgotten, x.moments.time(seg.maxSeq))
	x.retireSegment()
	return int(rows)
}

// retireSegment lets go of the first segment, of which no row is held. x.mu is held.
func (x *Index) retireSegment() {
	seg := x.segs[0]
	x.archived -= seg.stored
	x.retired = append(x.retired, seg.first)
	x.cache.forget(seg.first)
	x.damage.retire(seg.first)
	x.drop(0, 1)
}

// over returns where it counts what a bound of the archive lets go of, when one is
// exceeded, or nil.
func (x *Index) over() *int64 {
	switch {
	case x.cfg.MaxFinished > 0 && x.finished > x.cfg.MaxFinished:
		return &x.hits.ByCount
	case x.cfg.MaxArchive > 0 && x.archived > x.cfg.MaxArchive:
		return &x.hits.ByArchive
	}
	return nil
}

// retireFirst takes the rows of the first segment out when the archive's bounds
// leave no room for them, or returns it when parts of it are away.
func (x *Index) retireFirst(there *segment) (away *segment) {
	hits := x.over()
	if x.cfg.Archive == nil || len(x.segs) < 2 || !x.segs[0].saved || hits == nil {
		return nil
	}
	seg := x.segs[0]
	if !seg.has(retireParts) {
		if there == nil || there.first != seg.first {
			return seg
		}
		seg = there
	}
	for i := range seg.n {
		if seg.isDead(i) {
			continue
		}
		x.evict(seg, i)
		*hits++
	}
	return nil
}
