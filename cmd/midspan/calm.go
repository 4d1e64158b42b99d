package main

import (
	"maps"
	"slices"
	"time"
)

// calm keeps a reader from drowning in lines. What begins and ends within a
// moment has the line of its end alone, and what goes on has one line in every
// at most, the latest.
//
// Every line waits for the moment, so that lines stay in order but for those of
// what goes on.
type calm struct {
	every time.Duration // 0 holds nothing back
	queue []*heldLine   // by due
	held  map[string]*heldLine
	last  map[string]time.Time // the latest line of an activity that goes on
	swept time.Time            // when last was cleared of what is long ago
}

// moment is how long a line waits for one that replaces it.
const moment = 250 * time.Millisecond

type heldLine struct {
	due time.Time
	m   *message // nil when it has been replaced
}

// add takes a change that came now.
func (c *calm) add(m *message, now time.Time) {
	if now.Sub(c.swept) > c.every { // a filter may not select the end
		c.swept = now
		maps.DeleteFunc(c.last, func(_ string, at time.Time) bool { return now.Sub(at) > c.every })
	}
	id := m.Activity.ActivityID
	line := &heldLine{due: now.Add(min(moment, c.every)), m: m}
	if m.Activity.ended() {
		if old := c.held[id]; old != nil {
			old.m = nil
			delete(c.held, id)
		}
	} else {
		if old := c.held[id]; old != nil {
			old.m = m
			return
		}
		if next := c.last[id].Add(c.every); next.After(line.due) {
			line.due = next
		}
		if c.held == nil {
			c.held = map[string]*heldLine{}
		}
		c.held[id] = line
	}
	i, _ := slices.BinarySearchFunc(c.queue, line, func(a, b *heldLine) int {
		if a.due.After(b.due) {
			return 1
		}
		return -1 // of equals the one that came later stands later
	})
	c.queue = slices.Insert(c.queue, i, line)
}

// shown notes a line that did not wait.
func (c *calm) shown(m *message, now time.Time) {
	if c.last == nil {
		c.last = map[string]time.Time{}
	}
	c.last[m.Activity.ActivityID] = now
}

// take removes and returns the lines that are due by now, or all of them.
func (c *calm) take(now time.Time, all bool) (due []*message) {
	n := 0
	for ; n < len(c.queue) && (all || !c.queue[n].due.After(now)); n++ {
		m := c.queue[n].m
		if m == nil {
			continue
		}
		due = append(due, m)
		if m.Activity.ended() {
			delete(c.last, m.Activity.ActivityID)
		} else {
			delete(c.held, m.Activity.ActivityID)
			c.shown(m, now)
		}
	}
	c.queue = slices.Delete(c.queue, 0, n)
	return due
}

// due returns a channel that tells when a line is due, or nil when none waits.
func (c *calm) due() <-chan time.Time {
	if len(c.queue) == 0 {
		return nil
	}
	return time.After(time.Until(c.queue[0].due))
}
