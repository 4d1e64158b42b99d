// Package liveness tells which processes live, by their leases, and makes the
// open activities of those that do not LOST.
//
// Nothing is lost by its age. A process that holds a lease renews it; one that
// has none is never judged. Expiry runs on this process's monotonic clock alone.
// Renewals tell how far a sender's clock is off, so that its times can be shifted.
//
//	            renewed                    not renewed for two periods
//	(unknown) ───────────▶ live ────────────────────────────────────▶ expired
//	                        │ ▲                                         │
//	                  ended │ └─────────────────────────────────────────┘
//	                        ▼                    renewed
//	                      ended
//
// Open activities of an expired or ended lease become LOST. When it is renewed
// they go back to what they were.
package liveness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midspan/midspan/activity"
)

// DefaultMaxLeases is the default of Config.MaxLeases.
const DefaultMaxLeases = 100_000

const (
	// tick is how often Run looks at the clock at least, and away how late it may
	// be before it takes this process for having stood still: what was sent
	// meanwhile waits to be read, so every lease gets its time anew.
	tick = time.Second
	away = 3 * time.Second

	// maxDeaf is for how many of its periods a lease that is not renewed lives on
	// because requests are turned away: who sends too much must not keep the dead
	// alive.
	maxDeaf = 12

	batchSize = 1024 // events of one Append
)

// Sink takes events, as the log does.
type Sink interface {
	Append(ctx context.Context, events []activity.Event) error
}

// Activities is what is read of the index.
type Activities interface {
	// OpenOf returns the open activities of the resources that fn chooses.
	OpenOf(fn func(*activity.Resource) bool) []activity.LastSeen
	// Scan calls fn with every activity that the filter selects.
	Scan(ctx context.Context, f *activity.Filter, fn func(*activity.Activity) error) error
}

// Config bounds Leases. Its zero value is ready to use.
type Config struct {
	// MaxLeases bounds the leases that are known: beyond it those that expired
	// longest ago are forgotten, and when all live a new one is refused. Defaults
	// to DefaultMaxLeases.
	MaxLeases int
	// Logger is told of leases that expire. Defaults to slog.Default.
	Logger *slog.Logger
}

// ErrTooMany says that as many processes hold a lease as may.
var ErrTooMany = errors.New("too many processes hold a lease")

// Leases knows the leases of all processes. It is safe for concurrent use.
type Leases struct {
	max    int
	logger *slog.Logger
	kick   chan struct{} // there is something to do
	born   time.Time     // what deaf counts from
	deaf   atomic.Int64  // nanoseconds since born: a request was turned away that may have held a renewal

	lost, back, refused, forgotten atomic.Int64
	// shifts counts the shifts that were found: at 0 no clock was ever off.
	shifts atomic.Uint64

	mu     sync.RWMutex // guards everything below
	leases map[string]*lease
	dead   []*lease // expired or ended, the longest ago first; some live again
	live   int
}

// lease is that of one start of a process.
type lease struct {
	id, service, instance string

	ttl       time.Duration // its period
	seq       uint64        // of the last renewal
	renewedAt activity.Time // by our clock
	heard     time.Time     // its time runs from here
	state     state
	listed    bool // in dead
	// What is still to be done: its open activities are to be lost, or its lost
	// ones to be taken back.
	lose, take bool
	// Its clock was off from the first, and is known since: what is open is to be
	// shifted.
	align bool
	clock clock
	// shifted are resources with the clock's shift, by those without.
	shifted map[*activity.Resource]*activity.Resource
}

// maxShifted bounds the resources of one lease that are remembered.
const maxShifted = 64

type state uint8

const (
	live state = iota
	expired
	ended
)

// New returns Leases that know of none. Run makes them expire.
func New(cfg Config) *Leases {
	if cfg.MaxLeases == 0 {
		cfg.MaxLeases = DefaultMaxLeases
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Leases{
		max: cfg.MaxLeases, logger: cfg.Logger, kick: make(chan struct{}, 1), born: time.Now(), leases: make(map[string]*lease),
	}
}

// Of returns what is known of the process that a resource describes, which may
// be nil.
func (l *Leases) Of(r *activity.Resource) activity.Lease {
	id := r.Lease()
	if id == "" {
		return activity.LeaseNone
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch le := l.leases[id]; {
	case le == nil:
		return activity.LeaseNone
	case le.state == live:
		return activity.LeaseLive
	}
	return activity.LeaseExpired
}

// Restore makes the leases of resources live for a full time, as after a start
// with what a log holds: who still lives will renew. Their clocks are off as the
// resources tell.
func (l *Leases) Restore(resources []*activity.Resource) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range resources {
		id := r.Lease()
		if id == "" {
			continue
		}
		le := l.leases[id]
		if le == nil {
			var err error
			if le, err = l.add(r, r.LeaseTTL()); err != nil {
				continue // who finds no room is never judged
			}
		}
		if s := r.Shift(); s.Known && (!le.clock.shift.Known || s.Set) {
			le.clock.shift = s
			l.shifts.Add(1)
		}
	}
}

// Renewed says that a process has renewed its lease, which it does at least once
// in each ttl. A seq that is not above the last one says nothing new; 0 is none.
// sentAt is by the sender's clock, or 0. The error is ErrTooMany.
func (l *Leases) Renewed(r *activity.Resource, ttl time.Duration, seq uint64, sentAt activity.Time) error {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	le := l.leases[r.Lease()]
	switch {
	case le == nil:
		var err error
		if le, err = l.add(r, ttl); err != nil {
			return err
		}
		// The process is older than what we know of it, or may be: it may have been
		// lost before we started.
		le.take = seq != 1
	case le.state == ended || seq != 0 && seq <= le.seq:
		return nil
	case le.state == expired:
		le.state, le.lose, le.take = live, false, true
		l.live++
	}
	le.ttl, le.heard, le.renewedAt = ttl, now, activity.TimeOf(now)
	le.seq = max(le.seq, seq)
	if sentAt != 0 {
		before := le.clock.shift
		known := le.clock.add(le.renewedAt, sentAt)
		if le.clock.shift != before {
			le.shifted = nil
			l.shifts.Add(1)
			l.logger.Info("how a process's times are shifted has changed, as its clock is off", "service", le.service, "instance", le.instance, "lease", le.id,
				"by", le.clock.shift.By)
		}
		le.align = le.align || known
	}
	if le.take || le.align {
		l.wake()
	}
	return nil
}

// Shifts returns how often a shift was found. While it is 0, Shifted changes nothing.
func (l *Leases) Shifts() uint64 { return l.shifts.Load() }

// Shifted returns a resource with the shift of its process's clock: the same one for
// the same one while the shift stays, and the resource itself when nothing is known.
func (l *Leases) Shifted(r *activity.Resource) *activity.Resource {
	id := r.Lease()
	if id == "" {
		return r
	}
	l.mu.RLock()
	le := l.leases[id]
	if le == nil || !le.clock.shift.Known {
		l.mu.RUnlock()
		return r
	}
	to := le.shifted[r]
	l.mu.RUnlock()
	if to != nil {
		return to
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return le.withShift(r)
}

// withShift returns a resource of the lease with its clock's shift. l.mu is held.
func (le *lease) withShift(r *activity.Resource) *activity.Resource {
	if to := le.shifted[r]; to != nil {
		return to
	}
	if le.shifted == nil || len(le.shifted) >= maxShifted-1 {
		le.shifted = make(map[*activity.Resource]*activity.Resource)
	}
	to := r.WithShift(le.clock.shift)
	le.shifted[r], le.shifted[to] = to, to
	return to
}

// Missed says that events of the process were appended without the shift that its
// clock turned out to have meanwhile.
func (l *Leases) Missed(r *activity.Resource) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if le := l.leases[r.Lease()]; le != nil && le.clock.shift.Known && !le.clock.shift.Set {
		le.align = true
		l.wake()
	}
}

// add makes a live lease. l.mu is held.
func (l *Leases) add(r *activity.Resource, ttl time.Duration) (*lease, error) {
	for len(l.leases) >= l.max && len(l.dead) > 0 {
		le := l.dead[0]
		l.dead = l.dead[1:]
		if le.listed = false; le.state != live {
			delete(l.leases, le.id)
			l.forgotten.Add(1)
		}
	}
	if len(l.leases) >= l.max {
		l.refused.Add(1)
		return nil, fmt.Errorf("%w: %d may", ErrTooMany, l.max)
	}
	le := &lease{id: strings.Clone(r.Lease()), service: short(r.Service), instance: short(r.Instance), ttl: ttl, heard: time.Now()}
	l.leases[le.id] = le
	l.live++
	return le, nil
}

// short returns as much of a name as is shown.
func short(s string) string { return strings.Clone(activity.Cut(s, 256)) }

// Ended says that a process has stopped, and ended its lease. It has ended its
// activities before: what is open is lost.
func (l *Leases) Ended(r *activity.Resource) {
	l.mu.Lock()
	defer l.mu.Unlock()
	le := l.leases[r.Lease()]
	if le == nil {
		var err error
		if le, err = l.add(r, r.LeaseTTL()); err != nil {
			return
		}
	}
	l.end(le, ended)
	l.wake()
}

// end has a lease be over. l.mu is held.
func (l *Leases) end(le *lease, as state) {
	if le.state == live {
		l.live--
	}
	if !le.listed {
		le.listed = true
		l.dead = append(l.dead, le)
	}
	le.state, le.lose, le.take = as, true, false
}

// Seen says that events of the process were appended. If its lease is over they
// came late, and what they opened is lost.
func (l *Leases) Seen(r *activity.Resource) {
	id := r.Lease()
	l.mu.RLock()
	le := l.leases[id]
	late := le != nil && le.state != live && !le.lose
	l.mu.RUnlock()
	if !late {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if le := l.leases[id]; le != nil && le.state != live {
		le.lose = true
		l.wake()
	}
}

// Deaf says that a request was turned away which may have held a renewal: no lease
// expires before its time has passed from now on, for maxDeaf periods at most.
func (l *Leases) Deaf() { l.deaf.Store(int64(time.Since(l.born))) }

func (l *Leases) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// Run makes leases expire, and appends to the sink what follows from that for
// the activities, until ctx is done.
func (l *Leases) Run(ctx context.Context, activities Activities, sink Sink) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	last, failing := time.Now(), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-l.kick:
		}
		now := time.Now()
		next := l.expire(now, now.Sub(last) > away)
		last = now
		err := l.settle(ctx, activities, sink)
		if err != nil && ctx.Err() == nil && !failing {
			l.logger.Warn("what is lost or back cannot be told now: it is tried again", "error", err)
		}
		failing = err != nil
		timer.Reset(min(next, tick))
	}
}

// expire ends the leases whose time has passed, and returns how long it is until
// the next one's has.
func (l *Leases) expire(now time.Time, anew bool) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	deaf := l.born.Add(time.Duration(l.deaf.Load()))
	next := 2 * activity.MaxLeaseTTL
	for _, le := range l.leases {
		if le.state != live {
			continue
		}
		if anew {
			le.heard = now
		}
		heard := le.heard
		if deaf.After(heard) {
			heard = deaf
			if most := le.heard.Add(maxDeaf * le.ttl); heard.After(most) {
				heard = most
			}
		}
		if left := heard.Add(2 * le.ttl).Sub(now); left > 0 {
			next = min(next, left)
			continue
		}
		l.logger.Info("a process has not renewed its lease: its open activities are lost",
			"service", le.service, "instance", le.instance, "lease", le.id, "silent", now.Sub(le.heard))
		l.end(le, expired)
	}
	return next
}

// settle appends the events that follow from leases that have ended, from those that
// were renewed after it, and from clocks that turned out to be off.
func (l *Leases) settle(ctx context.Context, activities Activities, sink Sink) error {
	due := l.due()
	if len(due.lose)+len(due.align) > 0 {
		// An event that comes meanwhile says so by Seen or Missed, and is looked for again.
		open := activities.OpenOf(func(r *activity.Resource) bool {
			id := r.Lease()
			return due.lose[id] != nil || due.align[id] != nil && r.Shift() == activity.Shift{}
		})
		of := func(leases map[string]*lease) []activity.LastSeen {
			return slices.DeleteFunc(slices.Clone(open), func(a activity.LastSeen) bool { return leases[a.Resource.Lease()] == nil })
		}
		if err := l.append(ctx, sink, (*lease).lost, of(due.lose), due.lose, &l.lost); err != nil {
			l.again(due)
			return err
		}
		due.lose = nil
		if err := l.append(ctx, sink, (*lease).aligned, of(due.align), due.align, new(atomic.Int64)); err != nil {
			l.again(due)
			return err
		}
		due.align = nil
	}
	if len(due.take) > 0 {
		var lost []activity.LastSeen
		err := activities.Scan(ctx, &activity.Filter{States: []activity.State{activity.Lost}}, func(a *activity.Activity) error {
			if due.take[a.Resource.Lease()] != nil {
				lost = append(lost, activity.LastSeen{ID: a.ID, At: max(a.LastSeenAt, a.LostAt), Resource: a.Resource})
			}
			return nil
		})
		if err == nil || errors.Is(err, activity.ErrUnreadable) { // what is damaged can't be told either
			err = l.append(ctx, sink, (*lease).back, lost, due.take, &l.back)
		}
		if err != nil {
			l.again(due)
			return err
		}
	}
	return nil
}

// verdicts are the leases, by their names, of which something is to be told: that
// their activities are lost, that they are not, or that their times are shifted.
type verdicts struct{ lose, take, align map[string]*lease }

// due returns what is to be told, and takes it for told.
func (l *Leases) due() verdicts {
	d := verdicts{map[string]*lease{}, map[string]*lease{}, map[string]*lease{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, le := range l.leases {
		switch {
		case le.lose:
			d.lose[id] = le
		case le.take:
			d.take[id] = le
		}
		if le.align && !le.lose { // what is lost is shifted by that
			d.align[id] = le
		}
		le.lose, le.take, le.align = false, false, false
	}
	return d
}

// again has what was not done be done later, unless it is settled otherwise by
// then.
func (l *Leases) again(d verdicts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range d.lose {
		if le := l.leases[id]; le != nil && le.state != live {
			le.lose = true
		}
	}
	for id := range d.take {
		if le := l.leases[id]; le != nil && le.state == live {
			le.take = true
		}
	}
	for _, le := range d.align {
		le.align = true
	}
}

// append makes an event of each activity of the leases, and counts them.
func (l *Leases) append(ctx context.Context, sink Sink, event func(*lease, activity.LastSeen, activity.Time) activity.Event,
	of []activity.LastSeen, leases map[string]*lease, n *atomic.Int64,
) error {
	for len(of) > 0 {
		now := activity.TimeOf(time.Now())
		events := make([]activity.Event, 0, min(len(of), batchSize))
		l.mu.Lock()
		for _, a := range of[:cap(events)] {
			events = append(events, event(leases[a.Resource.Lease()], a, now))
		}
		l.mu.Unlock()
		if err := sink.Append(ctx, events); err != nil {
			return err
		}
		n.Add(int64(len(events)))
		of = of[len(events):]
	}
	return nil
}

// lost makes the event that an activity was lost, at the process's time. Leases.mu is
// held, also for those below.
func (le *lease) lost(a activity.LastSeen, now activity.Time) activity.Event {
	e := le.aligned(a, now)
	if offset, known := le.clock.offset(); known {
		now += activity.Time(e.Resource.Shift().By - offset)
	}
	e.Kind, e.At = activity.EventLost, max(e.At, now)
	return e
}

// back makes the event that takes a loss back.
func (le *lease) back(a activity.LastSeen, now activity.Time) activity.Event {
	e := le.lost(a, now)
	e.Kind = activity.EventUpdated
	return e
}

// aligned makes an event that says nothing of an activity but how its times are shifted.
// It stands behind all that its process has told, by the process's clock, shifted.
func (le *lease) aligned(a activity.LastSeen, _ activity.Time) activity.Event {
	e := activity.Event{ID: a.ID, Kind: activity.EventUpdated, At: a.At + 1, Changes: activity.Changes{Resource: a.Resource}}
	if shift := le.clock.shift; shift.Known {
		e.Resource = le.withShift(a.Resource)
		if !shift.Set && a.Resource.Shift() == (activity.Shift{}) {
			e.At += activity.Time(shift.By) // as what was told before is from now on
		}
	}
	return e
}
