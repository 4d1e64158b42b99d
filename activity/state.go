package activity

import (
	"fmt"
	"strings"
)

// State is where an activity stands in its life.
//
//	PLANNED ──▶ IN_PROGRESS ──▶ COMPLETED | FAILED | CANCELLED
//	   └────────────┴─────────▶ CANCELLED | FAILED
//	PLANNED, IN_PROGRESS ────▶ LOST ──▶ back when the lease is renewed, or a late end
type State uint8

// The states, in the order of an activity's life. The zero State is that of an
// activity of which no event has told a state yet.
const (
	StateUnknown State = iota
	Planned
	InProgress
	Completed
	Failed
	Cancelled
	// Lost is an activity whose process is gone: nobody knows its outcome.
	Lost
)

// States lists every state an activity can be seen in.
var States = []State{Planned, InProgress, Completed, Failed, Cancelled, Lost}

var stateNames = [...]string{"UNKNOWN", "PLANNED", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "LOST"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Ended reports whether the activity has an outcome. LOST is no outcome, but
// nothing more is expected of it, so a lost activity is not open either.
func (s State) Ended() bool { return s == Completed || s == Failed || s == Cancelled }

// Open reports whether the activity is planned or in progress.
func (s State) Open() bool { return s == Planned || s == InProgress }

// ParseState reads a state's name in any case.
func ParseState(s string) (State, bool) {
	switch s { // as they are written nearly always
	case "PLANNED":
		return Planned, true
	case "IN_PROGRESS":
		return InProgress, true
	case "COMPLETED":
		return Completed, true
	case "FAILED":
		return Failed, true
	}
	for _, state := range States {
		if strings.EqualFold(s, stateNames[state]) {
			return state, true
		}
	}
	return StateUnknown, false
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(b []byte) error {
	state, ok := ParseState(string(b))
	if !ok {
		return fmt.Errorf("state %q is not one of %v", b, States)
	}
	*s = state
	return nil
}
