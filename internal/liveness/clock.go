package liveness

import (
	"time"

	"github.com/midspan/midspan/activity"
)

const (
	// off is how far a clock has to be off to be corrected: a message's way alone looks
	// like less. A shift stays while the estimate is within keep of it, so that what is
	// sent again is shifted as it was, and is a multiple of step.
	off  = time.Second
	keep = 500 * time.Millisecond
	step = 100 * time.Millisecond
	// onItsWay is longer than a renewal is under way: the Collector gives up after 5
	// minutes.
	onItsWay = 10 * time.Minute
	// evenly is a delay that no way has three times in a row, and the same: the clock
	// was set back.
	evenly = 10 * time.Second
)

// clock estimates how far a sender's clock is from ours. What is sent arrives
// later by its way, never earlier, so the least of the differences is nearest.
type clock struct {
	last  [16]time.Duration // the latest differences: a clock that is set is seen anew
	n     uint32            // that were ever added
	sent  activity.Time     // the latest, by the sender's clock
	even  int               // of the latest, how many were under way as long as the one before
	shift activity.Shift
	alone bool // the shift rests on one renewal
}

// add takes a renewal into account, and reports whether the clock was off from the
// first, and that has just been seen.
func (c *clock) add(received, sent activity.Time) (known bool) {
	difference := received.Sub(sent)
	before, _ := c.offset()
	// What had to wait on its way comes faster than it was sent.
	if c.n > 0 && within(difference-c.last[(c.n-1)%uint32(len(c.last))], min(max(sent.Sub(c.sent)/2, step), keep)) {
		c.even++
	} else {
		c.even = 0
	}
	steady := c.even > 0
	c.last[c.n%uint32(len(c.last))] = difference
	c.n++
	renewals := c.n
	if c.sent = sent; c.even == 2 && difference-before > evenly {
		c.last[0], c.n = difference, 1
	}

	estimate, _ := c.offset()
	to := estimate.Round(step)
	if within(to, off-1) {
		to = 0
	}
	have := c.shift.By
	alone := false
	switch {
	case within(estimate-have, keep):
		c.alone = c.alone && !steady
		return false
	case to < have:
		// Certain, but for how much: what is positive may be a long way.
		if c.alone && !steady && to > 0 {
			to = 0
		}
	case to > have && !steady:
		if alone = renewals == 1 && !c.shift.Known && to >= onItsWay; !alone {
			return false
		}
	}
	if to == have {
		return false
	}
	set := c.shift.Known || renewals > 1 && !within(before-estimate, keep)
	c.shift, c.alone = activity.Shift{By: to, Known: true, Set: set}, alone
	return !set
}

// within reports whether a time is at most so long, in either direction.
func within(d, most time.Duration) bool { return -most <= d && d <= most }

// offset returns what is to be added to the sender's time to have ours, or false
// when it told none.
func (c *clock) offset() (time.Duration, bool) {
	if c.n == 0 {
		return 0, false
	}
	least := c.last[0]
	for _, d := range c.last[1:min(int(c.n), len(c.last))] {
		least = min(least, d)
	}
	return least, true
}
