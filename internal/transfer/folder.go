package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/eventlog/sqlite"
	"github.com/midspan/midspan/internal/history"
)

// noLease: nobody holds a lease while a folder lies still.
func noLease(*activity.Resource) activity.Lease { return activity.LeaseNone }

// View calls fn with what a folder holds. Nothing in the folder is changed. It
// refuses a folder that is in use, with sqlite.ErrInUse.
func View(ctx context.Context, folder string, fn func(*index.Index) error) error {
	log, err := sqlite.Inspect(ctx, folder)
	if err != nil {
		if log != nil {
			err = errors.Join(err, log.Close())
		}
		return err
	}
	store, err := history.NewStore(log)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	x, _, err := history.Open(ctx, store, log, index.Config{MaxBytes: -1, Lease: noLease})
	if err == nil {
		err = fn(x)
	}
	return errors.Join(err, store.Close(), log.Close())
}

// ImportFolder imports files into a folder, which is made if it is not there. It
// refuses a folder that is in use, with sqlite.ErrInUse. Redact, which may be nil,
// takes the secrets out of events, in place, before they are written.
func ImportFolder(ctx context.Context, folder string, r io.Reader, redact func([]activity.Event), logger *slog.Logger) (_ Result, err error) {
	var x *index.Index
	var taken atomic.Int64
	log, err := sqlite.Open(ctx, sqlite.Config{Folder: folder, Level: eventlog.Disk, Logger: logger, Apply: func(events []activity.Event) {
		if len(events) == 0 {
			return
		}
		after := events[0].Seq - 1
		x.Apply(events)
		// An event that was there already changes nothing, and touches nothing.
		if touched, err := x.Touches(nil, after, len(events)); err == nil {
			taken.Add(int64(len(touched)))
		} else { // more at once than the index's log holds
			taken.Add(int64(len(events)))
		}
	}})
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	store, err := history.NewStore(log)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var checkpoint uint64
	if x, checkpoint, err = history.Open(ctx, store, log, index.Config{Lease: noLease}); err != nil {
		return Result{}, err
	}
	keeper := history.NewKeeper(history.Config{
		Store: store, Log: log, Index: x, Logger: logger,
		Keep: func(context.Context) (uint64, error) { return 0, nil }, // all of it: which targets still need it, midspan serve knows
	}, checkpoint)
	taken.Store(0) // of what was there
	result, err := Import(ctx, r, fresh{log, x, redact})
	result.New = int(taken.Load())
	if stopped := keeper.Stop(context.WithoutCancel(ctx)); stopped != nil {
		err = errors.Join(err, fmt.Errorf("what was imported is in the log, but not in the history yet: %w", stopped))
	}
	return result, err
}

// fresh is a log that takes only what is new to its index.
type fresh struct {
	eventlog.Log
	index  *index.Index
	redact func([]activity.Event)
}

func (l fresh) Append(ctx context.Context, events []activity.Event) error {
	if l.redact != nil {
		l.redact(events)
	}
	if events = l.index.Unseen(ctx, events); len(events) == 0 {
		return nil
	}
	return l.parts(ctx, events)
}

// parts appends events in as many batches as they need.
func (l fresh) parts(ctx context.Context, events []activity.Event) error {
	err := l.Log.Append(ctx, events)
	if !errors.Is(err, eventlog.ErrTooLarge) || len(events) == 1 {
		return err
	}
	half := len(events) / 2
	if err := l.parts(ctx, events[:half]); err != nil {
		return err
	}
	return l.parts(ctx, events[half:])
}
