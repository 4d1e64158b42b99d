package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCalm(t *testing.T) {
	type change struct {
		at        int // milliseconds
		id, state string
	}
	const doing = "IN_PROGRESS"
	for _, tt := range []struct {
		name    string
		changes []change
		want    []string // when, whose, and the number of the change
	}{
		{"a short one has its end", []change{{0, "a", "PLANNED"}, {10, "a", doing}, {50, "a", "COMPLETED"}}, []string{"300 a 2"}},
		{"a longer one its start too", []change{{0, "a", "PLANNED"}, {10, "a", doing}, {400, "a", "FAILED"}}, []string{"250 a 1", "650 a 2"}},
		{
			"what goes on has one a second, the latest",
			[]change{{0, "a", doing}, {300, "a", doing}, {500, "a", doing}, {900, "a", doing}, {1300, "a", doing}, {4000, "a", doing}, {4100, "a", "CANCELLED"}},
			[]string{"250 a 0", "1250 a 3", "2250 a 4", "4350 a 6"},
		},
		{
			"in order",
			[]change{{0, "p", doing}, {10, "c", doing}, {20, "c", "COMPLETED"}, {300, "p", "COMPLETED"}, {300, "q", "COMPLETED"}},
			[]string{"250 p 0", "270 c 2", "550 p 3", "550 q 4"},
		},
		{"an end holds back nothing", []change{{0, "a", "COMPLETED"}, {10, "a", "COMPLETED"}}, []string{"250 a 0", "260 a 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			begin := time.Now()
			c := calm{every: time.Second}
			var got []string
			next := 0
			for ms := range 6000 {
				now := begin.Add(time.Duration(ms) * time.Millisecond)
				for ; next < len(tt.changes) && tt.changes[next].at == ms; next++ {
					change := tt.changes[next]
					c.add(&message{Seq: uint64(next), Activity: &shown{ActivityID: change.id, State: change.state}}, now)
				}
				for _, m := range c.take(now, false) {
					got = append(got, fmt.Sprintf("%d %s %d", ms, m.Activity.ActivityID, m.Seq))
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
			if len(c.queue)+len(c.held) != 0 || c.due() != nil || tt.changes[len(tt.changes)-1].state != doing && len(c.last) != 0 {
				t.Errorf("it keeps %d lines, %d held, %d times", len(c.queue), len(c.held), len(c.last))
			}
		})
	}
}

// A connection that ends tells what waits, and what comes after it waits as ever.
func TestCalmTakesAll(t *testing.T) {
	now := time.Now()
	line := func(seq uint64) *message {
		return &message{Seq: seq, Activity: &shown{ActivityID: "a", State: "IN_PROGRESS"}}
	}
	c := calm{every: time.Second}
	c.add(line(1), now)
	if got := c.take(now, true); len(got) != 1 || len(c.queue) != 0 {
		t.Errorf("it told %v", got)
	}
	c.add(line(2), now)
	if got := c.take(now.Add(time.Second), false); len(got) != 1 {
		t.Errorf("a second later it told %v", got)
	}
	c.add(line(3), now.Add(time.Hour))
	if len(c.last) != 0 {
		t.Errorf("it remembers what was told an hour ago: %v", c.last)
	}
}
