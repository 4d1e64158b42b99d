package liveness

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ttl = 5 * time.Second

// world is a bridge in small: leases, an index, and what was appended.
type world struct {
	*testing.T
	leases *Leases
	index  *index.Index

	mu       sync.Mutex
	appended int
	full     bool
}

func (w *world) Append(_ context.Context, events []activity.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return errors.New("disk full")
	}
	w.appended += len(events)
	w.index.Apply(events)
	return nil
}

// in runs fn in a bubble of time, with Run under way.
func in(t *testing.T, cfg Config, fn func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.Logger = slog.New(slog.DiscardHandler)
		w := &world{T: t, leases: New(cfg)}
		w.index = index.New(index.Config{Lease: w.leases.Of})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.leases.Run(ctx, w.index, w) })
		fn(w)
		cancel()
		running.Wait()
	})
}

// process is a sender whose clock differs from ours.
type process struct {
	w        *world
	resource *activity.Resource
	ahead    time.Duration
	seq      uint64
	number   byte
}

func (w *world) process(number byte, ahead time.Duration) *process {
	return &process{w: w, number: number, ahead: ahead, resource: activity.NewResource([]activity.Attr{
		{Key: activity.KeyServiceName, Value: activity.StringValue("shop")},
		{Key: activity.KeyServiceInstanceID, Value: activity.StringValue("shop-1")},
		{Key: activity.KeyLeaseID, Value: activity.StringValue(fmt.Sprint("lease-", number))},
	}, "")}
}

func (p *process) now() activity.Time { return activity.TimeOf(time.Now().Add(p.ahead)) }

func (p *process) renew() {
	p.w.Helper()
	p.seq++
	if err := p.w.leases.Renewed(p.resource, ttl, p.seq, p.now()); err != nil {
		p.w.Error(err)
	}
}

// live renews for so long.
func (p *process) live(d time.Duration) {
	for range d / time.Second {
		p.renew()
		time.Sleep(time.Second)
	}
}

func (p *process) id(n byte) activity.ID {
	return activity.ID{Trace: activity.TraceID{p.number}, Span: activity.SpanID{p.number, n}}
}

func (p *process) tell(n byte, rev uint32, kind activity.Kind, attrs ...activity.Attr) {
	p.w.index.Apply([]activity.Event{{ID: p.id(n), Rev: rev, Kind: kind, At: p.now(), Changes: activity.Changes{Resource: p.resource, Attrs: attrs}}})
	p.w.leases.Seen(p.resource)
}

func (p *process) state(n byte, want activity.State, lease activity.Lease) *activity.Activity {
	p.w.Helper()
	synctest.Wait()
	d, err := p.w.index.Get(p.w.Context(), p.id(n))
	if err != nil {
		p.w.Fatal(err)
	}
	if a := d.Activity; a.State != want || a.Lease != lease {
		p.w.Errorf("activity %d is %v with the lease %v, want %v, %v", n, a.State, a.Lease, want, lease)
	}
	return d.Activity
}

// A process that dies has its activities LOST within three periods, whatever its
// clock says; its successor's live on.
func TestDeath(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			in(t, Config{}, func(w *world) {
				p := w.process(1, ahead)
				p.tell(1, 1, activity.EventStarted)
				p.tell(2, 1, activity.EventPlanned)
				p.tell(3, 1, activity.EventStarted)
				p.tell(3, 2, activity.EventCompleted)
				p.live(time.Minute)
				p.state(1, activity.InProgress, activity.LeaseLive)
				died := time.Now()
				successor := w.process(2, ahead)
				successor.tell(1, 1, activity.EventStarted)
				for time.Since(died) < 8*time.Second {
					successor.live(time.Second)
				}
				p.state(1, activity.InProgress, activity.LeaseLive)
				for time.Since(died) < 3*ttl {
					successor.live(time.Second)
				}
				for n, want := range map[byte]activity.State{1: activity.Lost, 2: activity.Lost, 3: activity.Completed} {
					p.state(n, want, activity.LeaseExpired)
				}
				successor.state(1, activity.InProgress, activity.LeaseLive)
				if got := w.leases.Stats(); got != (Stats{Live: 1, Over: 1, Max: DefaultMaxLeases, Lost: 2}) {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// An activity of a live process is not lost, nor stalled, for being old; one
// that has reported and stopped is stalled, by our clock. Without a lease
// nothing is lost.
func TestAge(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			in(t, Config{}, func(w *world) {
				p := w.process(1, ahead)
				p.tell(1, 1, activity.EventStarted)
				p.tell(2, 1, activity.EventStarted)
				p.tell(2, 2, activity.EventUpdated, activity.Attr{Key: activity.KeyProgress, Value: activity.FloatValue(0.5)})
				none := w.process(2, ahead)
				none.resource = activity.NewResource(nil, "")
				none.tell(1, 1, activity.EventStarted)
				p.live(30 * time.Second)
				if p.state(2, activity.InProgress, activity.LeaseLive).Stalled {
					t.Error("stalled after 30 s")
				}
				p.live(time.Hour)
				if p.state(1, activity.InProgress, activity.LeaseLive).Stalled {
					t.Error("one that never reported is stalled")
				}
				if !p.state(2, activity.InProgress, activity.LeaseLive).Stalled {
					t.Error("one that stopped to report is not stalled")
				}
				if none.state(1, activity.InProgress, activity.LeaseNone).Stalled {
					t.Error("one without a lease is stalled")
				}
			})
		})
	}
}

// A cut that heals takes LOST back, to planned and to in progress; what ended
// meanwhile, or is told late, counts.
func TestCut(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			in(t, Config{}, func(w *world) {
				p := w.process(1, ahead)
				for n := range byte(4) {
					p.tell(n, 1, activity.EventPlanned)
				}
				p.tell(1, 2, activity.EventStarted)
				p.tell(2, 2, activity.EventStarted)
				p.tell(3, 2, activity.EventStarted)
				started := p.now()
				p.live(ttl)
				time.Sleep(7 * time.Second)
				p.state(0, activity.Planned, activity.LeaseLive)
				ended := p.now() // during the cut, told after it
				time.Sleep(time.Minute)
				for n := range byte(4) {
					p.state(n, activity.Lost, activity.LeaseExpired)
				}
				w.index.Apply([]activity.Event{{ID: p.id(2), Rev: 3, Kind: activity.EventCompleted, At: ended, Changes: activity.Changes{Resource: p.resource}}})
				w.leases.Seen(p.resource)
				if a := p.state(2, activity.Completed, activity.LeaseExpired); a.EndedAt.Sub(a.StartedAt) != ended.Sub(started) {
					t.Errorf("it took %v by the clock of its process, want %v", a.EndedAt.Sub(a.StartedAt), ended.Sub(started))
				}
				p.renew()
				p.state(0, activity.Planned, activity.LeaseLive)
				p.state(1, activity.InProgress, activity.LeaseLive)
				p.state(2, activity.Completed, activity.LeaseLive)
				p.tell(3, 3, activity.EventFailed)
				p.state(3, activity.Failed, activity.LeaseLive)
				if got := w.leases.Stats(); got.Lost != 4 || got.Back != 3 {
					t.Errorf("%+v", got)
				}
				time.Sleep(3 * ttl)
				p.state(0, activity.Lost, activity.LeaseExpired)
			})
		})
	}
}

// What comes late of a process that is gone is lost too.
func TestLateEvents(t *testing.T) {
	in(t, Config{}, func(w *world) {
		p := w.process(1, 0)
		p.live(time.Second)
		time.Sleep(time.Minute)
		p.tell(1, 1, activity.EventStarted)
		p.state(1, activity.Lost, activity.LeaseExpired)
		p.tell(1, 2, activity.EventUpdated)
		p.state(1, activity.Lost, activity.LeaseExpired)
		p.tell(1, 3, activity.EventCompleted)
		p.state(1, activity.Completed, activity.LeaseExpired)
	})
}

// A clean stop ends the lease: what was left open is lost at once, and an older
// renewal that comes late does not bring it back.
func TestEnded(t *testing.T) {
	in(t, Config{}, func(w *world) {
		p := w.process(1, 0)
		p.tell(1, 1, activity.EventStarted)
		p.tell(2, 1, activity.EventStarted)
		p.live(ttl)
		p.tell(1, 2, activity.EventCompleted)
		w.leases.Ended(p.resource)
		p.state(1, activity.Completed, activity.LeaseExpired)
		p.state(2, activity.Lost, activity.LeaseExpired)
		p.renew()
		p.state(2, activity.Lost, activity.LeaseExpired)
		p.tell(3, 1, activity.EventStarted)
		p.state(3, activity.Lost, activity.LeaseExpired)
	})
}

// A renewal that is told twice, or late, renews nothing.
func TestOldRenewal(t *testing.T) {
	in(t, Config{}, func(w *world) {
		p := w.process(1, 0)
		p.tell(1, 1, activity.EventStarted)
		p.live(ttl)
		for range 20 {
			time.Sleep(time.Second)
			for _, seq := range []uint64{p.seq, 1} {
				if err := w.leases.Renewed(p.resource, ttl, seq, 0); err != nil {
					t.Error(err)
				}
			}
		}
		p.state(1, activity.Lost, activity.LeaseExpired)
	})
}

// After a start every lease gets its time, and what was lost before is taken
// back when its process renews.
func TestRestore(t *testing.T) {
	in(t, Config{}, func(w *world) {
		dead, alive, lost := w.process(1, 0), w.process(2, 0), w.process(3, 0)
		slow := w.process(4, 0)
		slow.resource = activity.NewResource(append(slow.resource.Attrs, activity.Attr{Key: activity.KeyLeaseResourceTTL, Value: activity.IntValue(60_000)}), "")
		noSeq := w.process(5, 0)
		for _, p := range []*process{dead, alive, lost, slow, noSeq} {
			p.tell(1, 1, activity.EventStarted)
		}
		lost.tell(1, 0, activity.EventLost)
		noSeq.tell(1, 0, activity.EventLost)
		w.leases.Restore([]*activity.Resource{dead.resource, alive.resource, {}, dead.resource, slow.resource})
		time.Sleep(8 * time.Second)
		dead.state(1, activity.InProgress, activity.LeaseLive)
		alive.seq, lost.seq = 100, 100
		lost.state(1, activity.Lost, activity.LeaseExpired)
		lost.renew()
		lost.state(1, activity.InProgress, activity.LeaseLive)
		noSeq.state(1, activity.Lost, activity.LeaseExpired)
		if err := w.leases.Renewed(noSeq.resource, ttl, 0, 0); err != nil {
			t.Error(err)
		}
		noSeq.state(1, activity.InProgress, activity.LeaseLive)
		alive.live(4 * time.Second)
		dead.state(1, activity.Lost, activity.LeaseExpired)
		alive.state(1, activity.InProgress, activity.LeaseLive)
		slow.state(1, activity.InProgress, activity.LeaseLive)
		time.Sleep(2 * time.Minute)
		slow.state(1, activity.Lost, activity.LeaseExpired)
	})
}

// While requests are turned away unread, and when this process itself stood
// still, no lease expires: nobody could have renewed it.
func TestDeaf(t *testing.T) {
	in(t, Config{}, func(w *world) {
		p := w.process(1, 0)
		p.tell(1, 1, activity.EventStarted)
		p.renew()
		for range 60 {
			time.Sleep(time.Second)
			w.leases.Deaf()
		}
		time.Sleep(8 * time.Second)
		p.state(1, activity.InProgress, activity.LeaseLive)
		time.Sleep(4 * time.Second)
		p.state(1, activity.Lost, activity.LeaseExpired)
	})
	// But not for ever: twelve periods and its own two.
	in(t, Config{}, func(w *world) {
		p := w.process(1, 0)
		p.tell(1, 1, activity.EventStarted)
		p.renew()
		for range (maxDeaf + 2) * ttl / time.Second {
			p.state(1, activity.InProgress, activity.LeaseLive)
			time.Sleep(time.Second)
			w.leases.Deaf()
		}
		time.Sleep(time.Second)
		p.state(1, activity.Lost, activity.LeaseExpired)
	})
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Logger: slog.New(slog.DiscardHandler)})
		w := &world{T: t, leases: l}
		p := w.process(1, 0)
		p.renew()
		time.Sleep(time.Minute)
		if next := l.expire(time.Now(), true); next != 2*ttl || l.Of(p.resource) != activity.LeaseLive {
			t.Errorf("after standing still the lease is %v, its time %v", l.Of(p.resource), next)
		}
		if l.expire(time.Now().Add(2*ttl), false); l.Of(p.resource) != activity.LeaseExpired {
			t.Error("it does not expire then")
		}
	})
}

// What cannot be appended is appended when it can.
func TestSinkFails(t *testing.T) {
	in(t, Config{}, func(w *world) {
		p := w.process(1, 0)
		for n := range byte(3) {
			p.tell(n, 1, activity.EventStarted)
		}
		p.renew()
		w.mu.Lock()
		w.full = true
		w.mu.Unlock()
		time.Sleep(time.Minute)
		p.state(1, activity.InProgress, activity.LeaseExpired)
		w.mu.Lock()
		w.full = false
		w.mu.Unlock()
		time.Sleep(2 * time.Second)
		p.state(1, activity.Lost, activity.LeaseExpired)
		w.mu.Lock()
		w.full = true
		w.mu.Unlock()
		p.renew()
		for range 3 {
			time.Sleep(time.Second)
			p.renew()
		}
		p.state(1, activity.Lost, activity.LeaseLive)
		w.mu.Lock()
		w.full = false
		w.mu.Unlock()
		time.Sleep(2 * time.Second)
		p.state(1, activity.InProgress, activity.LeaseLive)
		if w.appended != 6 {
			t.Errorf("%d events were appended", w.appended)
		}
	})
}

// As many leases as may be are known: the oldest of those that are over makes
// room, and when all live a new one is refused.
func TestMaxLeases(t *testing.T) {
	in(t, Config{MaxLeases: 2}, func(w *world) {
		first, second, third := w.process(1, 0), w.process(2, 0), w.process(3, 0)
		first.renew()
		second.renew()
		if err := w.leases.Renewed(third.resource, ttl, 1, 0); !errors.Is(err, ErrTooMany) {
			t.Errorf("one past the bound: %v", err)
		}
		for range 6 {
			second.live(2 * time.Second)
		}
		third.renew()
		for p, want := range map[*process]activity.Lease{first: activity.LeaseNone, second: activity.LeaseLive, third: activity.LeaseLive} {
			if got := w.leases.Of(p.resource); got != want {
				t.Errorf("the lease of process %d is %v, want %v", p.number, got, want)
			}
		}
		if got := w.leases.Stats(); got != (Stats{Live: 2, Max: 2, Refused: 1, Forgotten: 1}) {
			t.Errorf("%+v", got)
		}
	})
}

// The offset of a sender's clock is that of the renewal that came fastest.
func TestClockOffset(t *testing.T) {
	in(t, Config{}, func(w *world) {
		behind, ahead := w.process(1, -time.Hour), w.process(2, 30*time.Minute)
		for i := range 20 {
			for _, p := range []*process{behind, ahead} {
				p.seq++
				sent := p.now()
				time.Sleep(time.Duration(1+(i*7)%10) * 10 * time.Millisecond) // on its way
				if err := w.leases.Renewed(p.resource, ttl, p.seq, sent); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(time.Second)
		}
		got := w.leases.Processes(10)
		if len(got) != 2 || !got[0].HasClock || got[0].ClockOffset != time.Hour+10*time.Millisecond || got[1].ClockOffset != -30*time.Minute+10*time.Millisecond ||
			got[0].Service != "shop" || got[0].Instance != "shop-1" || got[0].Lease != activity.LeaseLive {
			t.Errorf("%+v", got)
		}
		if got := w.leases.Processes(1); len(got) != 1 {
			t.Errorf("%d processes, want one", len(got))
		}
		behind.ahead = 0 // it was set
		for range 16 {
			behind.renew()
			time.Sleep(time.Second)
		}
		if got := w.leases.Processes(2)[0]; got.ClockOffset != 0 {
			t.Errorf("after it was set: %v", got.ClockOffset)
		}
	})
}

// Processes that renew, end and are asked for at the same time.
func TestConcurrentSafe(t *testing.T) {
	w := &world{T: t, leases: New(Config{MaxLeases: 50, Logger: slog.New(slog.DiscardHandler)})}
	w.index = index.New(index.Config{Lease: w.leases.Of})
	ctx, cancel := context.WithCancel(t.Context())
	var running, senders sync.WaitGroup
	running.Go(func() { w.leases.Run(ctx, w.index, w) })
	for n := range byte(8) {
		senders.Go(func() {
			for i := range byte(50) {
				p := w.process(n*50+i, 0)
				if err := w.leases.Renewed(p.resource, ttl, 1, p.now()); err != nil && !errors.Is(err, ErrTooMany) {
					t.Error(err)
				}
				p.tell(1, 1, activity.EventStarted)
				w.leases.Of(p.resource)
				w.leases.Deaf()
				w.leases.Ended(p.resource)
				w.leases.Processes(5)
				w.leases.Stats()
			}
		})
	}
	senders.Wait()
	cancel()
	running.Wait()
}
