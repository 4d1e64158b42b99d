package activity

import (
	"math"
	"slices"
	"strings"
	"time"
)

// A bridge that knows how far a process's clock is off shifts the times that the
// process tells to its own clock, and says so by attributes of the resource. Only a
// bridge sets them: KeyClock begins the name of each.
const (
	KeyClock      = "midspan.clock."
	KeyClockShift = KeyClock + "shift_ms" // int, milliseconds: what was added
	// KeyClockSet is true when earlier times of the process were shifted otherwise, or
	// rightly not at all: its clock was set since.
	KeyClockSet = KeyClock + "set" // bool
)

// Shift is what was added to the times that a process told. The zero Shift is that of
// a clock of which nothing is known, or that was never off.
type Shift struct {
	By    time.Duration // a whole number of milliseconds
	Known bool          // the clock is or was off, and By what that takes
	Set   bool          // as KeyClockSet
}

// Shift returns how the times of the resource's events were shifted. It may be nil.
func (r *Resource) Shift() (s Shift) {
	if r == nil {
		return s
	}
	for i := range r.Attrs {
		switch r.Attrs[i].Key {
		case KeyClockShift:
			s.By, s.Known = time.Duration(r.Attrs[i].Value.Int())*time.Millisecond, true
		case KeyClockSet:
			s.Set = r.Attrs[i].Value.Bool()
		}
	}
	return s
}

// WithShift returns the resource with another shift, and without one for the zero
// Shift: the same one if it has that.
func (r *Resource) WithShift(s Shift) *Resource {
	if r.Shift() == s {
		return r
	}
	c := *r
	c.Attrs = slices.DeleteFunc(slices.Clone(r.Attrs), func(a Attr) bool { return strings.HasPrefix(a.Key, KeyClock) })
	if s.Known {
		c.Attrs = append(c.Attrs, Attr{KeyClockShift, IntValue(s.By.Milliseconds())})
	}
	if s.Set {
		c.Attrs = append(c.Attrs, Attr{KeyClockSet, BoolValue(true)})
	}
	return &c
}

// Shift adds to all times of the event that are by its sender's clock. It changes
// nothing of what the event points to. It reports false, and changes nothing, when
// one of the times would leave what a Time holds: those are not by that clock.
func (e *Event) Shift(by time.Duration) bool {
	if by == 0 {
		return true
	}
	moved, ok := *e, true
	move := func(t Time) Time {
		if t <= 0 { // none
			return t
		}
		to := t + Time(by)
		ok = ok && to > 0 && (by < 0 || t <= math.MaxInt64-Time(by))
		return to
	}
	for _, t := range []*Time{&moved.At, &moved.StartTime, &moved.EndTime, &moved.FromAt} {
		*t = move(*t)
	}
	if len(e.SpanEvents) > 0 {
		moved.SpanEvents = slices.Clone(e.SpanEvents)
		for i := range moved.SpanEvents {
			moved.SpanEvents[i].At = move(moved.SpanEvents[i].At)
		}
	}
	shared := true
	for i := range e.Attrs {
		a := &e.Attrs[i]
		if a.Key != KeyPlannedAt && a.Key != KeyStartedAt || a.Value.Int() <= 0 {
			continue
		}
		if shared {
			moved.Attrs, shared = slices.Clone(e.Attrs), false
		}
		moved.Attrs[i].Value = IntValue(int64(move(Time(a.Value.Int()))))
	}
	if ok {
		*e = moved
	}
	return ok
}

// Align has the events of one activity that were told before its process's clock
// was known be shifted as those after it are, so that all are by one clock. It works
// in place, but on what events point to, and reports whether it changed any. Where the
// clock was set since, each event stays as it is: it was shifted by what held when it
// was told.
func Align(events []Event) (changed bool) {
	var by, last *Resource
	var shift Shift
	for i := range events {
		r := events[i].Resource
		if r == nil || r == last {
			continue
		}
		last = r
		// Of two, as of a bridge that has forgotten the first, any if always the same.
		if s := r.Shift(); s.Known && !s.Set && (by == nil || s.By < shift.By) {
			by, shift = r, s
		}
	}
	if by == nil {
		return false
	}
	lease := by.Lease()
	for i := range events {
		e := &events[i]
		if e.Resource == by || e.Resource != nil && (e.Resource.Shift() != Shift{} || e.Resource.Lease() != lease) {
			continue
		}
		if e.Shift(shift.By) {
			e.Resource, changed = by, true
		}
	}
	return changed
}
