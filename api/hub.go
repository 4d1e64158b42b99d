package api

import (
	"log/slog"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midspan/midspan/activity"
)

const (
	// tick is how often batches go out: between 25 and 30 times a second.
	tick = 35 * time.Millisecond
	// readMax is how many events are read from the log at a time.
	readMax = 1024
	// patience is how long, for a quarter of the ring, the hub waits for streams
	// that lag: on a busy machine a stream may get the processor later than the
	// hub. It bounds what a slow client costs the others.
	patience = 100 * time.Millisecond
	lagCheck = 2 * time.Millisecond
)

// hub follows the log for all streams: one goroutine reads each event once and
// renders it once, into a bounded ring; a stream is a cursor over that ring.
// The goroutine runs while there are streams.
//
//	log ──Read──▶ hub ──ring──▶ stream: cursor, filter, connection
//	                     ├────▶ stream …
//	 (before the ring) ──Read──▶ a stream that resumes far back
type hub struct {
	reader    Reader
	render    func(b []byte, logID string, c *activity.Change) []byte
	log       *slog.Logger
	maxEvents int
	maxBytes  int

	read atomic.Int64 // events

	mu       sync.Mutex // guards everything below
	members  map[*member]struct{}
	ring     []*entry // in the order of the log
	head     int      // of ring: what stands before it is dropped
	bytes    int      // of the JSON in the ring
	base     uint64   // the sequence before the ring's first
	position activity.Position
	epoch    int // counts the log's breaks: a member of an earlier epoch has lost its place
	stop     chan struct{}
	stopped  chan struct{} // closed when the last goroutine has ended
}

// entry is one event as all streams see it. Nobody changes one.
type entry struct {
	activity.Change

	json  []byte // nil in what before returns, until it is rendered
	sieve atomic.Pointer[sieve]
}

// sieve is a Bloom filter of an activity's grams, so that hundreds of streams
// that each look for some text pass over an event without reading it.
type sieve [32]uint64

const sieveBits = 32 * 64

// may reports whether the activity's text may hold all grams.
func (e *entry) may(grams []uint32) bool {
	s := e.sieve.Load()
	if s == nil { // two at a time make the same
		s = new(sieve)
		e.Activity.EachGram(func(hash uint32) { s[hash%sieveBits/64] |= 1 << (hash % 64) })
		e.sieve.Store(s)
	}
	for _, hash := range grams {
		if s[hash%sieveBits/64]>>(hash%64)&1 == 0 {
			return false
		}
	}
	return true
}

// member is a stream as the hub sees it.
type member struct {
	wake  chan struct{} // holds a value when there may be something to send
	batch bool          // wake at ticks, not at once
	epoch int
	seq   uint64 // it has, or has passed over, all of the ring up to here
}

func newHub(cfg Config, render func([]byte, string, *activity.Change) []byte) *hub {
	return &hub{
		reader: cfg.Reader, render: render, log: cfg.Logger,
		maxEvents: cfg.RingEvents, maxBytes: cfg.RingBytes,
		members: make(map[*member]struct{}),
	}
}

// join adds a stream. The caller must leave.
func (h *hub) join(batch bool) *member {
	m := &member{wake: make(chan struct{}, 1), batch: batch}
	h.mu.Lock()
	defer h.mu.Unlock()
	m.epoch = h.epoch
	h.members[m] = struct{}{}
	if len(h.members) == 1 {
		h.position = h.reader.Head()
		h.base = h.position.Seq
		before := h.stopped
		h.stop, h.stopped = make(chan struct{}), make(chan struct{})
		go h.run(h.stop, h.stopped, before)
	}
	return m
}

func (h *hub) leave(m *member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.members, m)
	if len(h.members) == 0 {
		close(h.stop)
		h.stop = nil
		h.ring, h.head, h.bytes = nil, 0, 0
	}
}

// wait returns when no goroutine of the hub runs. There must be no member.
func (h *hub) wait() {
	h.mu.Lock()
	stopped := h.stopped
	h.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
}

// run reads the log until stop is closed.
func (h *hub) run(stop, stopped, before chan struct{}) {
	defer close(stopped)
	if before != nil {
		<-before // two at a time would both append
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	sleep := func(d time.Duration, changed <-chan struct{}) bool {
		timer.Reset(d)
		select {
		case <-timer.C:
		case <-changed:
		case <-stop:
			return false
		}
		return true
	}
	var lastRead, lastTick time.Time
	dirty := false // there is something that the batches do not have yet
	waited, since := time.Duration(0), 0
	for {
		for waited < patience && h.lagging() {
			if waited += lagCheck; !sleep(lagCheck, nil) {
				return
			}
		}
		// Asked for before the read: what comes after it closes the channel.
		changed := h.reader.Changed()
		n := h.advance(stop)
		lastRead = time.Now()
		dirty = dirty || n > 0
		if since += n; since >= h.maxEvents/4 {
			waited, since = 0, 0
		}
		if dirty && lastRead.Sub(lastTick) >= tick {
			lastTick, dirty = lastRead, false
			h.wakeBatches()
		}
		if n == readMax {
			continue // there is more
		}
		rest := time.Hour
		if dirty {
			rest = tick - time.Since(lastTick)
		}
		if !sleep(rest, changed) {
			return
		}
		// The first event after a pause is read at once; under load events are
		// taken together, at the pace that waking so many streams allows.
		pace := h.pace() - time.Since(lastRead)
		if dirty {
			pace = min(pace, tick-time.Since(lastTick))
		}
		if pace > 0 && !sleep(pace, nil) {
			return
		}
	}
}

// lagging reports whether the ring is filling up and a stream has yet to take
// what stands in its older half. Such a stream is woken.
func (h *hub) lagging() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	ring := h.ring[h.head:]
	if len(ring) == 0 || len(ring) < h.maxEvents*3/4 && h.bytes < h.maxBytes/4*3 {
		return false
	}
	half, lag := ring[len(ring)/2].Seq, false
	for m := range h.members {
		// One that is out of the ring is no longer waited for.
		if m.epoch == h.epoch && m.seq >= h.base && m.seq < half {
			m.notify()
			lag = true
		}
	}
	return lag
}

// pace returns the least time between two reads of the log.
func (h *hub) pace() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	prompt := 0
	for m := range h.members {
		if !m.batch {
			prompt++
		}
	}
	if prompt == 0 {
		return tick
	}
	return min(time.Millisecond+time.Duration(prompt)*100*time.Microsecond, tick/2)
}

// advance reads on and wakes who wants to know at once. It returns how many
// events it read.
func (h *hub) advance(stop chan struct{}) int {
	select {
	case <-stop:
		return 0
	default:
	}
	h.mu.Lock()
	position := h.position
	h.mu.Unlock()
	changes, err := h.reader.Read(position.Seq, readMax)
	if err != nil {
		h.breakOff(stop, err)
		return 0
	}
	if len(changes) == 0 {
		return 0
	}
	entries := make([]*entry, len(changes))
	for i := range changes {
		entries[i] = h.entryOf(position.LogID, &changes[i])
	}
	h.read.Add(int64(len(entries)))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop != stop {
		return 0
	}
	for _, e := range entries {
		h.bytes += len(e.json)
	}
	h.ring = append(h.ring, entries...)
	h.position.Seq = entries[len(entries)-1].Seq
	h.trim()
	for m := range h.members {
		if !m.batch {
			m.notify()
		}
	}
	return len(entries)
}

func (h *hub) entryOf(logID string, c *activity.Change) *entry {
	// An activity's JSON is about 1 KiB; a right guess saves copying it twice.
	return &entry{Change: *c, json: h.render(make([]byte, 0, 1280), logID, c)}
}

// trim keeps the ring within its bounds. h.mu is held.
func (h *hub) trim() {
	for len(h.ring)-h.head > h.maxEvents || h.bytes > h.maxBytes && len(h.ring)-h.head > 1 {
		h.bytes -= len(h.ring[h.head].json)
		h.base = h.ring[h.head].Seq
		h.ring[h.head] = nil
		h.head++
	}
	// Moving the rest costs less than one append for each event dropped.
	if h.head > h.maxEvents {
		h.ring = append(h.ring[:0:0], h.ring[h.head:]...)
		h.head = 0
	}
}

// breakOff goes on at the log's head after the log has dropped what was to be
// read. The streams have lost their place and are told to resume.
func (h *hub) breakOff(stop chan struct{}, err error) {
	head := h.reader.Head()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop != stop {
		return
	}
	h.log.Warn("api: the log ran ahead of its streams", "after", h.position.String(), "head", head.String(), "error", err)
	h.ring, h.head, h.bytes = nil, 0, 0
	h.position, h.base = head, head.Seq
	h.epoch++
	for m := range h.members {
		m.notify()
	}
}

func (h *hub) wakeBatches() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for m := range h.members {
		if m.batch {
			m.notify()
		}
	}
}

func (m *member) notify() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// place says where a cursor stands in relation to the ring.
type place uint8

const (
	inRing     place = iota
	beforeRing       // the log may still hold what follows
	lostPlace        // the log went on without it
)

// after appends to into at most limit events that follow a sequence.
func (h *hub) after(m *member, seq uint64, limit int, into []*entry) ([]*entry, place) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m.epoch != h.epoch {
		return into, lostPlace
	}
	ring := h.ring[h.head:]
	m.seq = seq
	if seq < h.base {
		return into, beforeRing
	}
	i := sort.Search(len(ring), func(i int) bool { return ring[i].Seq > seq })
	ring = ring[i:]
	return append(into, ring[:min(limit, len(ring))]...), inRing
}

// before reads at most limit events that follow a sequence from the log itself,
// for one stream, which renders those that its filter selects.
func (h *hub) before(seq uint64, limit int, into []*entry) ([]*entry, error) {
	changes, err := h.reader.Read(seq, limit)
	for i := range changes {
		into = append(into, &entry{Change: changes[i]})
	}
	return into, err
}
