package liveness

import (
	"cmp"
	"slices"
	"time"

	"github.com/midspan/midspan/activity"
)

// Stats counts leases, and what followed from them.
type Stats struct {
	Live, Over, Max int   // leases known now: held, expired or ended, and how many may be
	Refused         int64 // leases that found no room
	Forgotten       int64 // leases that were over, to make room
	Lost            int64 // activities that became LOST
	Back            int64 // activities that were LOST and went back
}

// Stats returns the counts so far.
func (l *Leases) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return Stats{
		Live: l.live, Over: len(l.leases) - l.live, Max: l.max,
		Refused: l.refused.Load(), Forgotten: l.forgotten.Load(), Lost: l.lost.Load(), Back: l.back.Load(),
	}
}

// Processes returns at most limit processes that hold or held a lease: those
// that live first, and of these the ones whose clocks differ most from ours.
func (l *Leases) Processes(limit int) []activity.Process {
	l.mu.RLock()
	all := make([]activity.Process, 0, len(l.leases))
	for _, le := range l.leases {
		p := activity.Process{
			Service: le.service, Instance: le.instance, Lease: activity.LeaseExpired, RenewedAt: le.renewedAt,
		}
		if le.state == live {
			p.Lease = activity.LeaseLive
		}
		p.ClockOffset, p.HasClock = le.clock.offset()
		all = append(all, p)
	}
	l.mu.RUnlock()
	abs := func(d time.Duration) time.Duration { return max(d, -d) }
	slices.SortFunc(all, func(a, b activity.Process) int {
		return cmp.Or(cmp.Compare(a.Lease, b.Lease), cmp.Compare(abs(b.ClockOffset), abs(a.ClockOffset)),
			cmp.Compare(b.RenewedAt, a.RenewedAt), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Instance, b.Instance))
	})
	return all[:min(len(all), limit)]
}
