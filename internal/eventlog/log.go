// Package eventlog holds the one sequence of events that all of a bridge reads:
// what was appended, in its order, for as long as somebody may need it. The
// index is fed from it, forwarding is a cursor over it, and after a crash it
// tells what was acknowledged.
//
// [Log] is the contract, package eventlogtest the suite that every driver
// passes. Drivers stand in folders of their own.
package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/midspan/midspan/activity"
)

// The errors of a Log. They come wrapped in what a driver has to say.
var (
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("the log is closed")
	// ErrUnavailable says that the log cannot take events now, as when its disk
	// is full, and that the same events may be appended later.
	ErrUnavailable = errors.New("the log cannot be written")
)

// Level is what Append has waited for when it returns.
type Level uint8

// The acknowledgement levels. The names are those of the configuration.
const (
	Disk   Level = iota // on stable storage
	Memory              // in this process
)

func (l Level) String() string { return [...]string{"disk", "memory"}[min(l, Memory)] }

// Log is a sequence of events. Its rules, which eventlogtest holds every driver
// to:
//
//  1. Append numbers the events of a call one after the other, from the last
//     sequence plus one, and sets their Seq and ReceivedAt in the caller's
//     slice. ReceivedAt never goes back from one sequence to the next.
//  2. When Append has returned nil, its events are as safe as Level says, and
//     Read returns them. After an error that wraps ErrUnavailable or
//     ErrTooLarge, or that of ctx, none of them is in the log, nor will be.
//     Any other error, and the death of the process, leave it open: all of a
//     call's events are in the log or none.
//  3. The function that the log was opened with is called with all events that
//     are appended, in the order of the log and by one goroutine at a time,
//     once they are as safe as Level says and before their Append returns. What
//     it is given it may not keep, but for the resources, scopes and strings,
//     and it may not call the log.
//  4. Read returns events in the order of the log, equal to those appended.
//     Equal resources and scopes are the same pointers again.
//  5. Trim lets go of events from the oldest on and never of any other. What it
//     let go of Read answers with activity.ErrGap, also after a new start.
//  6. A cursor is a number that survives what the events survive.
//  7. All methods may be called by several goroutines. Close waits for those
//     under way and may be called twice.
type Log interface {
	// ID names the log from its creation on: 26 characters that sort by time.
	ID() string
	// Level is what Append waits for.
	Level() Level
	// Append adds events to the log, all of them or none, at most
	// MaxBatchEvents and MaxBatchBytes. When ctx is done while they wait for
	// their turn it gives up and returns ctx's error; once they are being
	// written it waits for the outcome.
	Append(ctx context.Context, events []activity.Event) error
	// Read returns at most limit events after a sequence, at least one if there
	// is one: often fewer, since it prefers not to take a batch apart. It returns activity.ErrGap when the next event is not held any
	// more, or when after is beyond the log.
	Read(ctx context.Context, after uint64, limit int) ([]activity.Event, error)
	// Bounds returns the sequence before the oldest event that is held, and that
	// of the last event; they are equal when none is held.
	Bounds() (floor, last uint64)
	// Changed returns a channel that is closed when the log has grown beyond
	// what Bounds said before the call.
	Changed() <-chan struct{}
	// Trim lets go of events up to a sequence; it may let go of fewer, since
	// batches go as a whole.
	Trim(ctx context.Context, upTo uint64) error
	// Cursor returns what SetCursor has stored under a name, or false.
	Cursor(ctx context.Context, name string) (seq uint64, ok bool, err error)
	// SetCursor stores a number under a name of at most 200 bytes.
	SetCursor(ctx context.Context, name string, seq uint64) error
	Close() error
}

// MaxCursorName bounds a cursor's name, in bytes.
const MaxCursorName = 200

// CheckCursor returns an error for a name that SetCursor does not take.
func CheckCursor(name string) error {
	if len(name) == 0 || len(name) > MaxCursorName {
		return fmt.Errorf("cursor name of %d bytes: it has 1 to %d", len(name), MaxCursorName)
	}
	return nil
}
