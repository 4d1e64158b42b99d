package liveness

import "time"

// clock estimates how far a sender's clock is from ours. What is sent arrives
// later by its way, never earlier, so the least of the differences is nearest.
type clock struct {
	last [16]time.Duration // the latest differences: a clock that is set is seen anew
	n    uint32            // that were ever added
}

func (c *clock) add(difference time.Duration) {
	c.last[c.n%uint32(len(c.last))] = difference
	c.n++
}

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
