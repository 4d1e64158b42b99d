package index

import (
	"slices"

	"github.com/midspan/midspan/activity"
)

// counted is what the tally has of one open activity.
type counted struct {
	state   activity.State
	typ     activity.Type
	service *held
}

// tally counts what is held, in flight and finished, by what a filter asks for.
type tally struct {
	byState  [8]int64
	byType   [16]int64
	services map[string]*held
}

// held counts one service's activities, and knows where its oldest finished
// one may be.
type held struct {
	name           string
	open, finished int64
	oldest         uint64 // row
}

func (t *tally) serviceOf(name string) *held {
	h := t.services[name]
	if h == nil {
		h = &held{name: name}
		t.services[name] = h
	}
	return h
}

// open counts an open activity as it is now.
func (t *tally) open(o *openActivity) {
	c := &o.counted
	if c.service == nil {
		c.service = t.serviceOf(o.head.Service())
		c.service.open++
		t.byState[o.head.State]++
		t.byType[o.head.Type]++
	} else {
		if c.state != o.head.State {
			t.byState[c.state]--
			t.byState[o.head.State]++
		}
		if c.typ != o.head.Type {
			t.byType[c.typ]--
			t.byType[o.head.Type]++
		}
		if name := o.head.Service(); c.service.name != name {
			c.service.open--
			t.forget(c.service)
			c.service = t.serviceOf(name)
			c.service.open++
		}
	}
	c.state, c.typ = o.head.State, o.head.Type
}

// close counts an open activity as finished.
func (t *tally) close(o *openActivity) {
	o.counted.service.open--
	o.counted.service.finished++
}

// remove counts a finished row no more.
func (t *tally) remove(seg *segment, i int) {
	t.byState[seg.state[i]]--
	t.byType[seg.typ[i]]--
	h := t.services[seg.service(i)]
	h.finished--
	t.forget(h)
}

func (t *tally) forget(h *held) {
	if h.open == 0 && h.finished == 0 {
		delete(t.services, h.name)
	}
}

// largest returns the service with the most finished activities. Eviction takes
// from it, so each of n services is sure of a n-th of the bound, and a noisy
// one evicts nothing of a quiet one's.
func (t *tally) largest() *held {
	var most *held
	for _, h := range t.services {
		if most == nil || h.finished > most.finished {
			most = h
		}
	}
	return most
}

// Hits counts what limits did since the index was made: finished activities that
// were evicted, by the limit, and starts that were not indexed.
type Hits struct {
	ByCount, ByMemory, ByAge, ByArchive, NotIndexed int64
}

// Evicted returns how many finished activities were evicted, by whatever limit.
func (h Hits) Evicted() int64 { return h.ByCount + h.ByMemory + h.ByAge + h.ByArchive }

// Hits returns the counts so far.
func (x *Index) Hits() Hits {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.hits
}

// bytes is the memory of all finished activities.
func (x *Index) bytes() int64 {
	n := x.sealedBytes + x.ids.bytes()
	if len(x.segs) > 0 {
		n += x.segs[len(x.segs)-1].bytes()
	}
	return n
}

// bound evicts what exceeds a bound. x.mu is held.
func (x *Index) bound(now activity.Time) {
	if x.cfg.Archive != nil { // Retire does the rest
		x.cool()
		x.release(rowsPerSegment / 4)
		return
	}
	x.expire(now, nil)
	for x.cfg.MaxFinished > 0 && x.finished > x.cfg.MaxFinished {
		x.evictLargest()
		x.hits.ByCount++
	}
	for x.cfg.MaxBytes > 0 && x.finished > 0 && x.bytes() > x.cfg.MaxBytes {
		// Some at a time: memory comes back by segments.
		for n := min(1+x.finished/64, rowsPerSegment/4); n > 0; n-- {
			x.evictLargest()
			x.hits.ByMemory++
		}
		x.release(1)
	}
	x.release(rowsPerSegment / 4)
}

// expire lets go of the oldest rows that ended too long ago, of a good many at a
// time: whoever waits for the lock is not to wait for what aged while nothing came.
// Where parts of a row's segment are away, and it is not there, it is returned.
func (x *Index) expire(now activity.Time, there *segment) (away *segment) {
	if x.cfg.MaxAge == 0 || now < x.ripe {
		return nil
	}
	for n := 0; x.finished > 0 && n < rowsPerSegment/2; n++ {
		seg, i := x.oldestRow()
		if !seg.has(retireParts) {
			if there == nil || there.first != seg.first {
				return seg
			}
			seg = there
		}
		if ended := x.endOf(seg, i); now.Sub(ended) <= x.cfg.MaxAge {
			x.ripe = ended + activity.Time(x.cfg.MaxAge)
			break
		}
		x.evict(seg, i)
		x.hits.ByAge++
	}
	if x.cfg.LogID == "" { // moments are for this alone
		x.moments.forget(x.moments.seq(now-activity.Time(x.cfg.MaxAge), x.log.seq))
	}
	return nil
}

// endOf returns when an activity ended, as far as that can be believed: not after
// it was heard of last, or its sender's clock could have it stay for ever, and with
// it all that ended after it.
func (x *Index) endOf(seg *segment, i int) activity.Time {
	heard := x.heard(seg.seq[i])
	if ended := seg.ended[i]; ended != 0 {
		return min(ended, heard)
	}
	return heard // when it was lost
}

// heard returns when an event came, or before when.
func (x *Index) heard(seq uint64) activity.Time {
	at := x.moments.time(seq)
	if at == 0 && len(x.moments.marks) > 0 { // longer ago than is known
		at = x.moments.marks[0].Time
	}
	return at
}

// oldestRow returns the finished row that ended first; there is one.
func (x *Index) oldestRow() (*segment, int) {
	return x.liveRow(&x.oldest, nil)
}

// liveRow moves *row to the first row from there that is held, and belongs to
// the service unless that is nil, and returns its place.
func (x *Index) liveRow(row *uint64, service *held) (*segment, int) {
	for k := x.segmentOf(*row); ; k++ {
		seg := x.segs[k]
		for *row = max(*row, seg.first); *row < seg.first+uint64(seg.n); *row++ {
			if i := int(*row - seg.first); !seg.isDead(i) && (service == nil || seg.service(i) == service.name) {
				return seg, i
			}
		}
	}
}

func (x *Index) evictLargest() {
	if len(x.tally.services) == 1 {
		x.evict(x.oldestRow())
		return
	}
	h := x.tally.largest()
	x.evict(x.liveRow(&h.oldest, h))
}

func (x *Index) evict(seg *segment, i int) {
	x.log.forget(seg.seq[i])
	x.forgotten = max(x.forgotten, x.moments.time(seg.seq[i]))
	x.remove(seg, i)
	x.count.evicted++
}

// release gives back the memory of what is gone: segments of which no row is
// held, and when at least so many rows have died since, what neighbours hold in
// vain. In a busy index with a quiet service, single rows live long.
func (x *Index) release(died int) {
	for len(x.segs) > 1 && x.segs[0].dead.n == x.segs[0].n && !x.segs[0].saved {
		x.drop(0, 1)
	}
	if x.died < died {
		return
	}
	x.died = 0
	x.moments.forget(x.moments.seq(x.forgotten, x.log.seq))
	for k := x.given; k < len(x.segs)-1; k++ {
		rows, text, end := 0, 0, k
		for ; end < len(x.segs)-1; end++ {
			seg := x.segs[end]
			rows += seg.n - seg.dead.n
			text += len(seg.text) - seg.dead.bytes
			// Not filled to the brim, or the next death would move it all again.
			if end > k && (rows > rowsPerSegment*3/4 || text > x.maxText*3/4) {
				break
			}
		}
		if seg := x.segs[k]; rows == 0 {
			x.drop(k, end)
			k--
		} else if end > k+1 || k > 0 && seg.dead.bytes > len(seg.text)/2 { // the first will go soon
			x.gather(k, end)
		}
	}
	if len(x.segs) > 0 && x.cfg.Archive == nil && x.segs[len(x.segs)-1].first-x.segs[0].first > 1<<31 {
		x.renumber()
	}
}

// drop removes segments without a row that is held.
func (x *Index) drop(from, to int) {
	for _, seg := range x.segs[from:to] {
		x.sealedBytes -= seg.bytes()
	}
	if from == 0 {
		clear(x.segs[:to])
		x.segs = x.segs[to:]
		x.cooled, x.given = max(x.cooled-to, 0), max(x.given-to, 0)
	} else {
		x.segs = slices.Delete(x.segs, from, to)
	}
}

// gather makes one segment of some.
func (x *Index) gather(from, to int) {
	old := x.segs[from:to]
	first, behind := old[0].first, x.segs[to].first
	for _, seg := range old {
		for i := range seg.n {
			if !seg.isDead(i) {
				x.ids.remove(seg.span[i], uint32(seg.first)+uint32(i))
			}
		}
	}
	c := gather(old).sealed()
	x.drop(from+1, to)
	x.sealedBytes += c.bytes() - x.segs[from].bytes()
	x.segs[from] = c
	x.ids.insertAll(c)
	// Rows have moved forward.
	back := func(row *uint64) {
		if *row < behind {
			*row = min(*row, first)
		}
	}
	back(&x.oldest)
	for _, h := range x.tally.services {
		back(&h.oldest)
	}
}

// renumber numbers the rows anew, without gaps.
func (x *Index) renumber() {
	x.ids = idTable{}
	x.oldest = 0
	for _, h := range x.tally.services {
		h.oldest = 0
	}
	for k, seg := range x.segs {
		seg.first = uint64(k) * rowsPerSegment
		if k < len(x.segs)-1 {
			x.ids.insertAll(seg)
		}
	}
}
