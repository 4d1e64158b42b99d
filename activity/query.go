package activity

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strconv"
	"time"
)

// The errors of those who answer queries.
var (
	ErrNotFound = errors.New("no such activity")
	// ErrGap is returned when the log does not hold the event after a position.
	ErrGap = errors.New("the log no longer holds that sequence")
	// ErrForgotten is returned for a moment of which something is held no more.
	ErrForgotten = errors.New("that moment is no longer held")
	// ErrUnreadable is returned for what may stand in a part of the history that is
	// damaged.
	ErrUnreadable = errors.New("a part of the history can't be read")
)

// Sort is an order of a list. Ties stand in the order of the ids.
type Sort uint8

// The orders. Those by duration and by end list only what has ended.
const (
	NewestPlanned Sort = iota // -planned_at
	OldestPlanned             // planned_at
	LongestFirst              // -duration
	LatestEnded               // -ended_at
)

var sortNames = [...]string{"-planned_at", "planned_at", "-duration", "-ended_at"}

func (s Sort) String() string { return sortNames[min(int(s), len(sortNames)-1)] }

// ParseSort reads an order as the API names it.
func ParseSort(s string) (Sort, bool) {
	for i, name := range sortNames {
		if s == name {
			return Sort(i), true
		}
	}
	return 0, false
}

// ExactTotal is how far a Page counts exactly.
const ExactTotal = 10_000

// Query asks for one page of a list.
type Query struct {
	Filter
	Sort   Sort
	Limit  int     // of activities, at least 1
	Cursor *Cursor // the last row before the page, nil for the first
	At     *Moment // nil is now
}

// Moment is what was known once: the events of a log up to a sequence, at a
// time by the clock of whoever holds the log.
type Moment struct {
	Seq  uint64
	Time Time
}

// Cursor is a place in a list: the key and id of a row. The rows behind it are
// the same whatever arrives or is evicted.
type Cursor struct {
	Sort Sort
	Key  int64 // what Sort sorts by: Unix nanoseconds, or a duration in nanoseconds
	ID   ID
}

// Position is a place in a log.
type Position struct {
	LogID string
	Seq   uint64
}

func (p Position) String() string { return p.LogID + ":" + strconv.FormatUint(p.Seq, 10) }

// NewLogID returns a name for a new log, which sorts by time as a ULID does:
// 10 characters of milliseconds and 16 of chance, in Crockford's base 32.
func NewLogID() string {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var raw [18]byte
	binary.BigEndian.PutUint64(raw[:], uint64(time.Now().UnixMilli()))
	_, _ = rand.Read(raw[8:]) // never fails: it would end the program
	id := make([]byte, 26)
	ms := binary.BigEndian.Uint64(raw[:])
	for i := 9; i >= 0; i-- {
		id[i] = digits[ms&31]
		ms >>= 5
	}
	for i := range 16 {
		id[10+i] = digits[raw[2+i]&31]
	}
	return string(id)
}

// Page is the answer to a Query.
type Page struct {
	Activities []*Activity
	Next       *Cursor // nil on the last page
	Total      int     // of all that the filter selects; a lower bound unless Exact
	Exact      bool
	Incomplete bool // some of it may stand in a part of the history that can't be read
	AsOf       Position
}

// Detail is everything about one activity.
type Detail struct {
	Activity  *Activity
	Ancestors []*Node // from the root down; an ancestor not seen is a placeholder
	Children  []*Activity
	// ChildCount counts all children; Children holds at most 1,000 of them.
	ChildCount int
	// History holds the events in their order. Merged counts the earliest ones
	// that were folded into the first that is left.
	History []Event
	Merged  int
	// Incomplete says that ancestors or children may stand in a part of the history
	// that can't be read.
	Incomplete bool
	AsOf       Position
}

// TreeQuery asks for trees.
type TreeQuery struct {
	Filter     // selects nodes; their ancestors come with them
	Root   ID  // the one root, or zero for all
	Depth  int // of levels below a root; at least 0
	Limit  int // of nodes, at least 1
}

// Node is an activity in a tree.
type Node struct {
	ID       ID
	Activity *Activity // nil for a placeholder: named by a child, not seen
	Children []*Node   // by planning time; fewer than ChildCount when cut by depth or limit
	// ChildCount counts the children that the filter leaves.
	ChildCount int
}

// Tree is the answer to a TreeQuery.
type Tree struct {
	Roots     []*Node // newest first
	RootCount int
	Truncated bool // the limit cut it
	// Incomplete says that some of it may stand in a part of the history that can't
	// be read.
	Incomplete bool
	AsOf       Position
}

// Quantiles tells a distribution of durations. All are 0 when Count is.
type Quantiles struct {
	Count                  int64
	Average, P50, P95, P99 time.Duration
}

// Window counts what happened in a stretch of time.
type Window struct {
	Started, Finished                  int64 // Finished is the sum of the next four
	Completed, Failed, Cancelled, Lost int64
	PerSecond                          float64 // of finished ones
	Duration, Wait                     Quantiles
}

// SuccessRate returns the share of completed ones among those completed,
// failed and lost, or false when there are none.
func (w *Window) SuccessRate() (float64, bool) {
	n := w.Completed + w.Failed + w.Lost
	if n == 0 {
		return 0, false
	}
	return float64(w.Completed) / float64(n), true
}

// Bucket counts the durations up to UpTo and above the bucket before.
type Bucket struct {
	UpTo  time.Duration
	Count int64
}

// Stats counts an index.
type Stats struct {
	AsOf  Position
	Now   Time
	Since Time // when counting began

	Total      int64 // activities ever seen
	InProgress int64
	Planned    int64
	Stalled    int64
	// ByState, ByType and ByService count what is held now.
	ByState   map[State]int64
	ByType    map[Type]int64
	ByService map[string]int64
	// Incomplete says that some of what was to be counted may stand in a part of the
	// history that can't be read. What is counted as it happens never does.
	Incomplete bool

	All, Minute, FiveMinutes, Hour Window
	// Range is what started and ended between the Since and Until of a filter; nil
	// without either.
	Range *Window
	// Seconds holds the last 60 whole seconds, the oldest first.
	Seconds     [60]Second
	SecondsEnd  Time     // the end of the last of them
	Histogram   []Bucket // of durations over the last hour
	Held        Held
	Evicted     int64 // finished activities dropped by a bound
	NotIndexed  int64 // starts beyond MaxInFlight: exported, not shown
	Ignored     int64 // transitions that the state did not allow
	Leaked      int64 // activities failed because nothing held them any more
	Refused     int64 // streams and requests turned away; counted by the API
	ExportDrops int64
}

// Second counts one second.
type Second struct{ Started, Finished, Failed int64 }

// Held is what an index holds against its bounds; a bound of 0 is none.
type Held struct {
	Finished, InFlight int64
	Bytes              int64 // of finished activities, with their indexes
	MaxFinished        int64
	MaxInFlight        int64
	MaxBytes           int64
	MaxAge             time.Duration
	Oldest             Time // end of the oldest finished one
}

// LastSeen is an activity and the latest time that an event of it tells, by its
// sender's clock: the latest sign of life, or the loss behind it.
type LastSeen struct {
	ID       ID
	At       Time
	Resource *Resource // nil until known
}

// Process is a sender of events that holds a lease, or held one.
type Process struct {
	Service, Instance string
	Lease             Lease
	RenewedAt         Time // by the clock of whoever knows the lease
	// ClockOffset is what has to be added to the process's times to have those of
	// whoever received them. It is known where HasClock is set.
	ClockOffset time.Duration
	HasClock    bool
}

// Change is one event of the log as a stream tells it: what happened, and the
// activity as it was after it.
type Change struct {
	Seq      uint64
	At       Time // by the clock of the event's sender
	Kind     Kind
	Activity *Activity
	// ReceivedAt is about when the log took it, by the clock of whoever holds the
	// log; only those who replay the past are told.
	ReceivedAt Time
}
