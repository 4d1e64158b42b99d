package bridge

import "github.com/midspan/midspan/activity"

// shift has the times of events be by this process's clock, as far as it is known how
// far those of their processes are off. What is returned is to be called when the
// events are indexed: a clock that was found to be off meanwhile is seen to.
func (s *store) shift(events []activity.Event) (indexed func()) {
	if s.leases == nil {
		return func() {}
	}
	before := s.leases.Shifts()
	if before > 0 {
		var from, to *activity.Resource
		var by activity.Shift
		for i := range events {
			e := &events[i]
			if e.Resource != from {
				from, to = e.Resource, s.leases.Shifted(e.Resource)
				by = to.Shift()
			}
			if to != from && e.Shift(by.By) {
				e.Resource = to
			}
		}
	}
	return func() {
		if s.leases.Shifts() == before {
			return
		}
		var last *activity.Resource
		for i := range events {
			if r := events[i].Resource; r != last && r.Shift() == (activity.Shift{}) {
				s.leases.Missed(r)
			}
			last = events[i].Resource
		}
	}
}
