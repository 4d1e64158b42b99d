// Package index holds a process's activities in memory: the fold of their
// events, and the answers to queries, trees, statistics and readers of the log.
//
// It is bounded. What is in flight is held as it changes; what has ended is
// held compactly, without pointers for the garbage collector to follow, until a
// bound evicts the oldest. Reads take no lock that a writer would wait for
// longer than it takes to look through what is in flight.
package index

import (
	"cmp"
	"context"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midspan/midspan/activity"
)

// Defaults of Config, and the least that MaxBytes may be.
const (
	DefaultMaxInFlight = 1_000_000
	DefaultMaxBytes    = 256 << 20
	LeastMaxBytes      = 4 << 20
)

// Config bounds an Index. Its zero value is ready to use.
type Config struct {
	// MaxFinished bounds the finished activities held; negative means no bound.
	// Defaults to 1,000,000.
	MaxFinished int
	// MaxBytes bounds the memory of finished activities, their indexes
	// included; negative means no bound, and less than 4 MiB counts as that.
	// Defaults to 256 MiB.
	MaxBytes int64
	// MaxAge drops finished activities that ended, or were heard of last, longer ago;
	// 0 means no bound. See Retire.
	MaxAge time.Duration
	// MaxInFlight bounds the open activities: one that begins beyond it is not
	// indexed before its end, and counted in Stats.NotIndexed. Defaults to 1,000,000.
	MaxInFlight int
	// MaxEvents bounds the recent events that a stream can resume from.
	// Defaults to 131,072, which are 5 MiB.
	MaxEvents int
	// Archive takes what exceeds MaxBytes, by way of checkpoints: nothing finished
	// is evicted for it. MaxFinished, MaxAge and MaxArchive bound then what is
	// held in memory and archive together, and the oldest goes first, of whatever
	// service, by Retire. Nil means that there is none.
	Archive Archive
	// MaxArchive bounds the bytes that the archive stores; 0 means no bound.
	MaxArchive int64
	// MaxCache bounds the memory for what was read from the archive of late.
	// Defaults to 64 MiB.
	MaxCache int64
	// StallAfter is how long an open activity that has reported what it does
	// may be silent before it counts as stalled. Defaults to 1 minute.
	StallAfter time.Duration
	// Lease tells what is known of the process that a resource describes, which
	// may be nil. It must be fast. Defaults to LeaseLive for all: a process that
	// indexes its own activities is alive.
	Lease func(*activity.Resource) activity.Lease
	// LogID names the log whose events are applied. They come numbered then, in
	// the order of their numbers, with the time at which the log took them, which
	// is what the statistics count by. Empty means that the index is the log: it
	// makes a name and numbers the events itself.
	LogID string
	// Damaged is told of each archived segment of which a part is not as it was
	// written, once, and with nil when it is sound again. It must be fast, and not
	// call the index.
	Damaged func(segment uint64, err error)
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Archive == nil {
		def(&c.MaxFinished, 1_000_000)
	}
	if c.MaxCache == 0 {
		c.MaxCache = 64 << 20
	}
	def(&c.MaxInFlight, DefaultMaxInFlight)
	def(&c.MaxEvents, 1<<17)
	if c.MaxBytes == 0 {
		c.MaxBytes = DefaultMaxBytes
	}
	if c.MaxBytes > 0 {
		c.MaxBytes = max(c.MaxBytes, LeastMaxBytes)
	}
	if c.StallAfter == 0 {
		c.StallAfter = time.Minute
	}
	if c.Lease == nil {
		c.Lease = func(*activity.Resource) activity.Lease { return activity.LeaseLive }
	}
	if c.Damaged == nil {
		c.Damaged = func(uint64, error) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Index holds activities in memory. It never blocks a span on I/O and never
// refuses an event: when full it evicts the oldest finished activity of the
// service that holds most and counts it in Stats.Evicted. It is safe for
// concurrent use.
type Index struct {
	cfg   Config
	logID string

	beforeRead func()

	mu    sync.RWMutex // guards everything below
	keys  *keyTable
	open  activity.IDMap[*openActivity]
	last  *openActivity   // of the last event, if it is open: several often follow one another
	spare []*openActivity // emptied, to be used again
	// refused holds those that began when MaxInFlight was reached, until they end,
	// and no more than MaxInFlight.
	refused map[activity.ID]struct{}
	hits    Hits
	waiting []uint64     // events that could not be folded yet, in their order
	waits   atomic.Int64 // how many; read without mu
	unread  error        // why
	retries bool         // the event that is folded has waited

	segs        []*segment    // by row, with gaps between; the last one is being written
	maxText     int           // bytes of records in one segment
	died        int           // rows, in sealed segments, since these were last gathered
	ids         idTable       // of all segments but the last
	recent      recentIDs     // of the last
	oldest      uint64        // row: all before it are gone
	ripe        activity.Time // before then no row is too old
	finished    int           // rows held
	sealedBytes int64         // of all segments but the last

	// With an archive.
	cache    cache    // guards itself
	damage   damage   // guards itself
	cooled   int      // so many of the first segments are away
	given    int      // so many are the archive's, once the checkpoint under way is stored
	archived int64    // bytes that the archive stores
	retired  []uint64 // segments that the archive may forget, since the last checkpoint

	tally tally
	log   eventLog
	usual usual
	count counters

	moments   moments       // of a log's events
	forgotten activity.Time // of what was known before, something is held no more
}

// New returns an empty Index.
func New(cfg Config) *Index {
	x := &Index{
		cfg:     cfg.withDefaults(),
		logID:   cfg.LogID,
		keys:    newKeyTable(),
		refused: make(map[activity.ID]struct{}),
		usual:   usual{runs: make(map[usualKey]*lastRuns)},
	}
	x.cache.max = x.cfg.MaxCache
	if x.logID == "" {
		x.logID = activity.NewLogID()
	}
	x.beforeRead = func() {}
	x.maxText = 1 << 28 // so that offsets and a reader's copy stay small
	if x.cfg.MaxBytes > 0 {
		// Memory comes back by segments: none is too large a part of the bound.
		x.maxText = int(min(max(x.cfg.MaxBytes/16, 512<<10), 1<<28))
	}
	x.log.init(x.cfg.MaxEvents)
	x.tally.services = make(map[string]*held)
	x.count.init(x.now())
	return x
}

// BeforeRead has fn called before every read. Whoever hands events over in
// batches waits there until those are applied that were handed over before, so
// that a reader sees its own writes. It must be set before the first read.
func (x *Index) BeforeRead(fn func()) { x.beforeRead = fn }

func (x *Index) now() activity.Time { return activity.TimeOf(x.cfg.Now()) }

// Apply folds events into the index, in their order, and numbers them unless
// they come from a log. It keeps nothing of the slice, but the resources and
// scopes, and the strings of names, that it points to.
func (x *Index) Apply(events []activity.Event) {
	if len(events) == 0 {
		return
	}
	now := x.now()
	x.mu.Lock()
	if x.cfg.LogID != "" {
		x.applyNumbered(events)
	} else {
		x.count.turn(now)
		if x.cfg.MaxAge > 0 {
			x.moments.add(now, x.log.seq+1) // what bound judges ages by
		}
		for i := range events {
			if x.apply(&events[i], &x.log.seq, now) != nil {
				x.count.notIndexed++
			}
		}
	}
	x.bound(now)
	x.log.wake()
	x.mu.Unlock()
}

// applyNumbered folds the events of a log. Each has a place in the sequence,
// also where it changes nothing. x.mu is held.
func (x *Index) applyNumbered(events []activity.Event) {
	if x.log.seq == 0 {
		x.count.init(events[0].ReceivedAt)
	}
	for i := range events {
		e := &events[i]
		if i == 0 || e.ReceivedAt != events[i-1].ReceivedAt {
			x.count.turn(e.ReceivedAt)
			x.moments.add(e.ReceivedAt, e.Seq)
		}
		x.log.skipTo(e.Seq - 1)
		seq := e.Seq
		if err := x.apply(e, &x.log.seq, e.ReceivedAt); err != nil {
			x.waiting = append(x.waiting, seq)
			x.waits.Store(int64(len(x.waiting)))
			x.unread = err
		}
		if x.log.seq < seq {
			x.log.seq = seq
			x.log.append(logEntry{})
		}
	}
}

// apply folds one event, which gets the number behind *seq. The error is why the
// archive does not tell whether it changes a finished activity: nothing has
// happened then. x.mu is held.
func (x *Index) apply(e *activity.Event, seq *uint64, now activity.Time) error {
	o := x.last
	if o == nil || o.head.ID != e.ID {
		o = x.open.Get(e.ID)
	}
	if o == nil {
		if !e.First {
			if done, err := x.applyLate(e, seq, now); done || err != nil {
				return err
			}
		}
		if x.refuses(e) {
			return nil
		}
		o = x.newOpen()
		x.open.Put(e.ID, o)
		x.count.started(now)
	}
	before := o.head.State
	if o.fold(e, seq) { // not seen before
		x.after(o, e, before, now)
	}
	return nil
}

// MaxWaiting is how many events may wait. Who feeds an index of which more do
// should take no others.
const MaxWaiting = 1 << 16

// Waiting returns, in their order, which events of the log are not folded since a
// part of the archive could not be read when they came, and why. They are part of a
// checkpoint: the log has to hold them until Retry has folded them.
func (x *Index) Waiting() (seqs []uint64, why error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if len(x.waiting) == 0 {
		return nil, nil
	}
	return slices.Clone(x.waiting), x.unread
}

// Waits returns how many events wait.
func (x *Index) Waits() int { return int(x.waits.Load()) }

// Retry folds an event that waits. The error is why it has to wait on.
func (x *Index) Retry(e activity.Event) error {
	x.readAgain(context.Background())
	x.mu.Lock()
	defer x.mu.Unlock()
	at, ok := slices.BinarySearch(x.waiting, e.Seq)
	if !ok {
		return nil
	}
	before := e.Seq - 1
	x.retries = true
	err := x.apply(&e, &before, x.now())
	if x.retries = false; err != nil {
		x.unread = err
		return err
	}
	x.waiting = slices.Delete(x.waiting, at, at+1)
	x.waits.Store(int64(len(x.waiting)))
	return nil
}

// refuses reports whether an event belongs to an activity that is not indexed:
// there was no room in flight when it was seen first. What is told of it later
// would make one without its beginning, so it is refused until its end. That is
// not refused, since it takes no room in flight: a span that comes whole tells
// everything, and of a log's events no end may be missing.
func (x *Index) refuses(e *activity.Event) bool {
	_, known := x.refused[e.ID]
	ends := e.Kind.Ends()
	if ends && known {
		delete(x.refused, e.ID)
	}
	if ends && (e.StartTime != 0 || x.cfg.LogID != "") {
		return false
	}
	if known {
		return true
	}
	if x.open.Len() < x.cfg.MaxInFlight {
		return false
	}
	x.count.notIndexed++
	x.hits.NotIndexed++
	if !ends && len(x.refused) < x.cfg.MaxInFlight {
		x.refused[e.ID] = struct{}{}
	}
	return true
}

// applyLate folds an event into an activity that has left the flight: a final
// span that enriches it, or a sign of life of one that was given up. It returns
// false when there is no such activity. The error is why that can't be told.
func (x *Index) applyLate(e *activity.Event, seq *uint64, now activity.Time) (bool, error) {
	l := look{x: x, at: true}
	found, i := l.findRow(e.ID, partIDs)
	if found == nil {
		return false, l.err // there may be one
	}
	seg := l.with(found, allParts)
	if seg == nil {
		return false, l.err
	}
	o := x.newOpen()
	b := seg.base(i)
	events, merged := decodeRecord(seg.recordString(i), x.keys.keys, e.ID, &b)
	o.merged, o.begun = merged, seg.begun[i]
	o.rebuild(events, 0)
	before := o.head.State
	if !o.fold(e, seq) {
		x.discard(o)
		return true, nil
	}
	x.remove(seg, i)
	x.open.Put(e.ID, o)
	x.after(o, e, before, now)
	return true, nil
}

// after does what follows from an event that was folded.
func (x *Index) after(o *openActivity, e *activity.Event, before activity.State, now activity.Time) {
	x.last = o
	o.heard = cmp.Or(e.ReceivedAt, now)
	x.tally.open(o)
	x.publish(e, before, o)
	if o.head.State.Open() {
		if o.long() {
			o.shorten(func(seq uint64) activity.Time { return x.moments.taken(seq, x.log.seq) })
		}
		return
	}
	if o.head.State != before {
		x.count.finished(&o.head, e, now)
		if d, ok := o.head.Duration(now); ok && o.head.State == activity.Completed {
			x.usual.add(o.head.Type, o.head.Name, d)
		}
	}
	x.close(o)
}

// publish appends the event to the log, as what it turned out to be. One that has
// waited has its place there.
func (x *Index) publish(e *activity.Event, before activity.State, o *openActivity) {
	after := o.head.State
	if after == before && o.refused && e.Kind.State() != after {
		x.count.ignored++
	}
	entry := logEntry{id: e.ID, kind: kindOf(before, after)}
	if x.retries {
		x.log.replace(e.Seq, entry)
	} else {
		x.log.append(entry)
	}
}

// kindOf returns what an event turned out to be by the states around it.
func kindOf(before, after activity.State) activity.Kind {
	if after == before {
		return activity.EventUpdated
	}
	return after.Kind()
}

// close moves an activity from flight to the finished rows.
func (x *Index) close(o *openActivity) {
	x.open.Delete(o.head.ID)
	x.last = nil
	rec := o.record()
	seg := x.writing(len(rec))
	x.recent.insert(o.head.ID.Span, seg.n)
	seg.add(&o.head, &o.base, o.begun, rec)
	x.finished++
	x.tally.close(o)
	x.discard(o)
}

// writing returns the segment that takes the next row, with room for a record of n bytes.
func (x *Index) writing(n int) *segment {
	if len(x.segs) == 0 {
		x.segs = append(x.segs, newSegment(0, 64<<10))
	}
	last := x.segs[len(x.segs)-1]
	if last.n == rowsPerSegment || last.n > 0 && len(last.text)+n > x.maxText {
		sealed := last.sealed()
		x.sealedBytes += sealed.bytes()
		x.died += sealed.dead.n
		x.segs[len(x.segs)-1] = sealed
		x.ids.insertAll(sealed)
		clear(x.recent[:])
		last = newSegment(last.first+rowsPerSegment, min(len(last.text)+len(last.text)/16, x.maxText))
		x.segs = append(x.segs, last)
	}
	return last
}

// findRow returns the place of a finished activity and its segment, with the
// parts there, or nil.
func (l *look) findRow(id activity.ID, parts part) (found *segment, at int) {
	l.eachRow(id.Span, parts, func(seg *segment, i int) bool {
		if seg.trace[i] == id.Trace {
			found, at = seg, i
		}
		return found != nil
	})
	return found, at
}

// eachRow calls fn with the finished activities of a span id, until fn returns
// true. parts holds partIDs.
func (l *look) eachRow(span activity.SpanID, parts part, fn func(seg *segment, i int) bool) {
	x := l.x
	if len(x.segs) == 0 {
		return
	}
	done := false
	visit := func(row uint32) bool {
		if seg, i := x.row(row); seg != nil {
			if seg = l.with(seg, parts); seg != nil && seg.span[i] == span && !seg.isDead(i) {
				done = fn(seg, i)
			}
		}
		return done
	}
	x.recent.find(x.segs[len(x.segs)-1], span, visit)
	if !done {
		x.ids.find(span, visit)
	}
}

// row returns the place of a row by the low bits of its number, or nil. The
// rows that are held are numbered within less than 2^32.
func (x *Index) row(low uint32) (*segment, int) {
	if len(x.segs) == 0 {
		return nil, 0
	}
	first := x.segs[0].first
	row := first + uint64(low-uint32(first))
	k := x.segmentOf(row)
	if k == len(x.segs) || row < x.segs[k].first || row >= x.segs[k].first+uint64(x.segs[k].n) {
		return nil, 0
	}
	return x.segs[k], int(row - x.segs[k].first)
}

// segmentOf returns the place in segs of the first segment that holds the row
// or rows behind it.
func (x *Index) segmentOf(row uint64) int {
	if row < x.segs[0].first {
		return 0
	}
	k := (row - x.segs[0].first) / rowsPerSegment // where it is without gaps
	if k < uint64(len(x.segs)) && row-x.segs[k].first < rowsPerSegment {
		return int(k)
	}
	return sort.Search(len(x.segs), func(k int) bool { return x.segs[k].first+rowsPerSegment > row })
}

// remove takes a finished row out.
func (x *Index) remove(seg *segment, i int) {
	if seg.first != x.segs[len(x.segs)-1].first {
		x.ids.remove(seg.span[i], uint32(seg.first)+uint32(i))
		x.died++
	}
	x.tally.remove(seg, i)
	seg.kill(i)
	x.finished--
}
