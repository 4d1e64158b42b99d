package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/eventlog/memory"
	"github.com/midspan/midspan/internal/eventlog/sqlite"
	"github.com/midspan/midspan/internal/forward"
	"github.com/midspan/midspan/internal/history"
	"github.com/midspan/midspan/internal/liveness"
	"github.com/midspan/midspan/internal/receiver"
	"github.com/midspan/midspan/internal/redact"
)

// Storage says where a bridge keeps what it takes. Its zero value keeps it in
// memory.
type Storage struct {
	// Folder holds the database. Empty means memory alone: what was taken is gone
	// with the process.
	Folder string
	// Ack is what an answer to a sender has waited for. Without a folder it is
	// eventlog.Memory, whatever stands here.
	Ack eventlog.Level
	// MaxAge bounds what is kept, and MaxBytes what the folder keeps: the oldest
	// finished activities go first, and none that is open. 0 means no bound.
	MaxAge   time.Duration
	MaxBytes int64
}

// store is a bridge's log, the index that it feeds, and what keeps both.
type store struct {
	eventlog.Log
	index  *index.Index
	redact *redact.Redactor // nil leaves everything as it came
	leases *liveness.Leases // know how far clocks are off; nil knows of none
	memory *memory.Log      // nil with a folder
	// Without a folder the rest is nil.
	sqlite  *sqlite.Log
	history *history.Store
	keeper  *history.Keeper

	forward  *forward.Forwarder // nil without targets
	underWay underWay           // with targets
	self     *self              // nil traces nothing
}

// openStore returns the log, an index that holds what the log has taken before,
// and what forwards it to targets, not started.
func openStore(ctx context.Context, cfg Storage, at *bounded, to forward.Config, clean *redact.Redactor, logger *slog.Logger) (_ *store, err error) {
	s := &store{redact: clean}
	apply := func(events []activity.Event) { s.index.Apply(events) }
	indexed := at.index
	indexed.MaxAge = cfg.MaxAge
	if cfg.Folder == "" {
		at.memory.Apply = apply
		if len(to.Targets) == 0 {
			at.memory.MaxEvents = 1 // nobody reads it: the last batch alone stays
		}
		s.memory = memory.Open(at.memory)
		s.Log = s.memory
		indexed.LogID = s.ID()
		s.index = index.New(indexed)
		if err := s.openForward(ctx, to, logger); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		return s, nil
	}
	if s.sqlite, err = sqlite.Open(ctx, sqlite.Config{Folder: cfg.Folder, Level: cfg.Ack, Apply: apply, MaxPending: at.sqlite.MaxPending, Logger: logger}); err != nil {
		return nil, err
	}
	s.Log = s.sqlite
	defer func() {
		if err != nil {
			err = errors.Join(err, s.sqlite.Close())
		}
	}()
	if s.history, err = history.NewStore(s.sqlite); err != nil {
		return nil, err
	}
	indexed.MaxArchive = cfg.MaxBytes
	indexed.Damaged = func(segment uint64, err error) {
		if err == nil {
			logger.Info("history: a segment that was damaged can be read again", "segment", segment)
		} else {
			logger.Error("history: a segment is damaged; stop midspan, keep a copy of the folder, and run midspan fsck", "segment", segment, "error", err)
		}
	}
	var checkpoint uint64
	if s.index, checkpoint, err = history.Open(ctx, s.history, s.Log, indexed); err != nil {
		return nil, errors.Join(err, s.history.Close())
	}
	if err = s.openForward(ctx, to, logger); err != nil {
		return nil, errors.Join(err, s.history.Close())
	}
	keeps := history.Config{Store: s.history, Log: s.Log, Index: s.index, Logger: logger}
	if s.forward != nil {
		keeps.Keep = func(context.Context) (uint64, error) {
			seq, _ := s.forward.Floor()
			return seq, nil
		}
	}
	s.keeper = history.NewKeeper(keeps, checkpoint)
	return s, nil
}

// appendParts appends events in as many batches as they need.
func (s *store) appendParts(ctx context.Context, events []activity.Event) error {
	err := s.Log.Append(ctx, events)
	if !errors.Is(err, eventlog.ErrTooLarge) {
		return err
	}
	if len(events) == 1 {
		return &receiver.RejectedError{Events: 1, Reason: "it is larger than what can be stored"}
	}
	rejected := new(receiver.RejectedError)
	half := len(events) / 2
	for _, part := range [][]activity.Event{events[:half], events[half:]} {
		err := s.appendParts(ctx, part)
		if one, ok := errors.AsType[*receiver.RejectedError](err); ok {
			rejected.Events += one.Events
			rejected.Reason = one.Reason
		} else if err != nil {
			return err // all of it comes again, and what was taken changes nothing then
		}
	}
	if rejected.Events == 0 {
		return nil
	}
	return rejected
}

func (s *store) openForward(ctx context.Context, cfg forward.Config, logger *slog.Logger) (err error) {
	if len(cfg.Targets) == 0 {
		return nil
	}
	cfg.Log, cfg.Activities, cfg.Logger, cfg.Drain = s.Log, s.index, logger, s.sqlite == nil
	s.forward, err = forward.New(ctx, cfg)
	return err
}

// Append is the one door: what comes through it is without secrets, and has its
// times by this process's clock, before anything of it is written, indexed or
// shown. Events that are too large for any batch are rejected apart from the
// others, by a *receiver.RejectedError.
//
// With targets, finished spans that the index holds just so are left out: a
// sender that had no answer sends them again, and the targets have them. A request
// that comes before the first one is answered waits for that.
func (s *store) Append(ctx context.Context, events []activity.Event) (err error) {
	appended := s.self.appending(ctx, events)
	defer func() { appended(err) }()
	if s.redact != nil {
		s.redact.Events(events)
	}
	indexed := s.shift(events)
	defer indexed()
	return s.append(ctx, events)
}

// verdicts takes what this process itself says of activities, by its own door.
type verdicts struct{ *store }

// Append implements liveness.Sink.
func (v verdicts) Append(ctx context.Context, events []activity.Event) error {
	return v.append(ctx, events)
}

// append appends clean events whose times are by this process's clock.
func (s *store) append(ctx context.Context, events []activity.Event) error {
	if n := s.index.Waits(); n >= index.MaxWaiting {
		return fmt.Errorf("%w: %d events wait for a part of the history that cannot be read", eventlog.ErrUnavailable, n)
	}
	if s.forward == nil {
		return s.appendParts(ctx, events)
	}
	end, err := s.underWay.begin(ctx, events)
	if err != nil {
		return err
	}
	defer end()
	if events = s.index.Unseen(ctx, events); len(events) == 0 {
		return nil
	}
	err = s.appendParts(ctx, events)
	if s.sqlite == nil { // in memory nobody reads the log but for targets
		floor, _ := s.forward.Floor()
		_ = s.Trim(ctx, floor) // it has been closed
	}
	return err
}

// damage tells what can't be read of the history, and whether activities are missing
// for it.
func (s *store) damage() (what []string, missing bool) {
	for _, d := range s.index.Damages(context.Background()) {
		what = append(what, fmt.Sprintf("the %v of segment %d of the history: %v", d.Part, d.Segment, d.Err))
		missing = missing || !d.Part.Derived()
	}
	return what, missing
}

// health returns why nothing can be taken, or what is taken not shown, or nil.
func (s *store) health() error {
	if s.sqlite == nil {
		return nil
	}
	if err := s.sqlite.Health(); err != nil {
		return err
	}
	if waiting, why := s.index.Waiting(); len(waiting) > 0 {
		return fmt.Errorf("of what was taken, %d late events are not shown before their part of the history can be read: %w", len(waiting), why)
	}
	return nil
}

// close ends the store when nobody appends any more.
func (s *store) close(ctx context.Context) error {
	var errs []error
	if s.forward != nil {
		end, cancel := context.WithTimeout(ctx, forwardTimeout)
		errs = append(errs, s.forward.Stop(end))
		cancel()
	}
	if s.keeper != nil {
		errs = append(errs, s.keeper.Stop(ctx), s.history.Close())
	}
	return errors.Join(append(errs, s.Close())...)
}
