// Package activity holds Midspan's words: what an activity is, the events that
// change it, the rules by which events fold to an activity, and the filters
// that select some.
//
// An activity is a span seen as work: it has a [Type], a [State], three
// descriptions (what it will do, is doing, did) and the identity of its span.
// It changes by [Event] only. [Fold] gives the activity that a set of events
// makes, the same in whatever order and however often they arrive.
package activity

import (
	"math"
	"time"
)

// Time is Unix time in nanoseconds; 0 is no time.
type Time int64

// TimeOf returns t as a Time; the zero time.Time is no time.
func TimeOf(t time.Time) Time {
	if t.IsZero() {
		return 0
	}
	return Time(t.UnixNano())
}

// Time returns t in UTC, or the zero time.Time.
func (t Time) Time() time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(t)).UTC()
}

// Sub returns t-u.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Lease says what is known of the process that runs an activity.
type Lease uint8

// A process without a lease is never called lost by age.
const (
	LeaseNone Lease = iota
	LeaseLive
	LeaseExpired
)

func (l Lease) String() string {
	return [...]string{"none", "live", "expired"}[min(l, LeaseExpired)]
}

// Head is the part of an activity that filters, sorts and counts read.
type Head struct {
	ID     ID
	Parent ID // zero for a root
	Type   Type
	State  State
	Kind   SpanKind

	Name       string
	Resource   *Resource // nil until known
	ThreadID   string
	ThreadName string
	// Agent is the activity's own gen_ai.agent.name; a reader fills in that of
	// the nearest ancestor where it has none.
	Agent string

	SpanStart  Time // the span's own start, which may be its planning
	PlannedAt  Time // when it was planned, or else when it started
	StartedAt  Time // 0 while it waits
	EndedAt    Time // 0 while it is open
	LastSeenAt Time // the latest sign of life: of the latest event, but for EventLost
	WasPlanned bool // it has, or had, a queue wait
	// Reports says that the activity has told what it is doing or how far it
	// is, so its silence means something.
	Reports     bool
	LongRunning bool // never called stalled
	Progress    float64

	Status   Status
	Sampling Sampling
	Seq      uint64 // of the latest event

	hasProgress bool
	typed       bool // Type is the attribute's, not a hint's
	ownThread   bool // ThreadID is activity.thread.id, not the semantic conventions' thread.id
	endOnly     bool // StartedAt is when it ended: nothing has told of its start
	hints       hint
}

// Service returns the name of the service that runs the activity.
func (h *Head) Service() string {
	if h.Resource == nil {
		return ""
	}
	return h.Resource.Service
}

// Instance returns the id of the process that runs the activity.
func (h *Head) Instance() string {
	if h.Resource == nil {
		return ""
	}
	return h.Resource.Instance
}

// Wait returns how long the activity was queued, up to now while it still is.
// It is false for one that was never planned.
func (h *Head) Wait(now Time) (time.Duration, bool) {
	if !h.WasPlanned || h.PlannedAt == 0 {
		return 0, false
	}
	switch {
	case h.StartedAt != 0:
		return max(h.StartedAt.Sub(h.PlannedAt), 0), true
	case h.EndedAt != 0:
		return max(h.EndedAt.Sub(h.PlannedAt), 0), true
	}
	return max(now.Sub(h.PlannedAt), 0), true
}

// Duration returns how long the activity worked, up to now while it still
// does. It is false for one that never started, and for one that was lost:
// nobody knows how long it went on.
func (h *Head) Duration(now Time) (time.Duration, bool) {
	switch {
	case h.StartedAt == 0 || h.State == Lost:
		return 0, false
	case h.EndedAt != 0:
		return max(h.EndedAt.Sub(h.StartedAt), 0), true
	}
	return max(now.Sub(h.StartedAt), 0), true
}

// Activity is a span seen as work.
type Activity struct {
	Head

	Planned string // what it will do
	Current string // what it is doing
	Final   string // what it did

	Decision        *DecisionRecord // nil when it decides nothing
	Result          string          // JSON text, or any text when it was cut
	ResultTruncated bool
	Error           *Error // nil unless it failed

	Attributes []Attr // all that were set, in the order of their first setting
	Links      []Link
	SpanEvents []SpanEvent
	Scope      *Scope
	TraceState string
	Flags      uint32 // the span's, as OTLP has them
	Dropped    [3]uint32
	LostAt     Time // when it was called lost last; 0 if it never was

	// What the holder of the index adds.
	Stalled  bool
	Usual    time.Duration // median of its type and name; 0 is unknown
	Lease    Lease
	TraceURL string // of the trace in Jaeger; empty without one

	statusMessage string
	exception     Error
	resultCut     bool // by us
}

// DecisionRecord is why something was decided.
type DecisionRecord struct {
	Reasoning    string
	Choice       string
	Alternatives []string
	Outcome      string
	Confidence   float64 // 0 to 1, or NaN
}

// Error is why an activity failed.
type Error struct {
	Type, Message, Stack string
}

// NoProgress is the Progress of an activity that has reported none.
var NoProgress = math.NaN()

// HasProgress reports whether Progress was ever set.
func (h *Head) HasProgress() bool { return h.hasProgress }

// Reset makes a zero again, ready for the events of another activity. It keeps
// the memory of Attributes.
func (a *Activity) Reset() { *a = Activity{Attributes: a.Attributes[:0]} }

// Attr returns the value of an attribute, or an empty one.
func (a *Activity) Attr(key string) Value {
	for i := range a.Attributes {
		if a.Attributes[i].Key == key {
			return a.Attributes[i].Value
		}
	}
	return Value{}
}

// StatusMessage returns the message of the span's error status, or "".
func (a *Activity) StatusMessage() string { return a.statusMessage }
