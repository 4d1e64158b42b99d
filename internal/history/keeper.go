package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/eventlog"
)

// Config says how a Keeper works. Store, Log and Index are required.
type Config struct {
	Store *Store
	Log   eventlog.Log
	Index *index.Index
	// Every is how long a checkpoint waits after the last one while there is
	// something new. Defaults to 30 s.
	Every time.Duration
	// Events is how many new events make a checkpoint at once: what a restart
	// has to apply again. Defaults to 200,000.
	Events uint64
	// Keep returns the last event that no other reader of the log needs any more.
	// Nil means that there is none.
	Keep func(ctx context.Context) (uint64, error)
	// Logger is told of checkpoints that fail. Nil means slog.Default.
	Logger *slog.Logger
}

// Keeper writes checkpoints while events come, and lets the log go of what they
// hold. Start it once; Stop writes the last one.
type Keeper struct {
	cfg    Config
	seq    atomic.Uint64 // of the last checkpoint
	failed atomic.Int64
	err    atomic.Pointer[error]

	changed atomic.Bool  // the index, and not by events, since the last checkpoint
	gone    atomic.Int64 // what the index had let go of at the last checkpoint
	// For run alone.
	next    uint64 // where the events that wait are tried again
	failing bool

	stop    chan struct{}
	stopped sync.WaitGroup
	once    sync.Once
	stopErr error
}

// Open returns an index as of the last checkpoint with all later events of the
// log applied. Events that the log takes from then on are the caller's to apply.
// The configuration's LogID and Archive are set.
func Open(ctx context.Context, store *Store, log eventlog.Log, cfg index.Config) (x *index.Index, checkpoint uint64, err error) {
	cfg.LogID = log.ID()
	x, checkpoint, err = store.Restore(ctx, cfg)
	if err != nil {
		return nil, 0, err
	}
	const atATime = 8192
	floor, last := log.Bounds()
	if checkpoint < floor || checkpoint > last {
		return nil, 0, fmt.Errorf("history: the checkpoint is of event %d and the log holds those after %d up to %d: the file is damaged", checkpoint, floor, last)
	}
	for at := checkpoint; at < last; {
		events, err := log.Read(ctx, at, atATime)
		if err != nil {
			return nil, 0, fmt.Errorf("history: read the log after %d: %w", at, err)
		}
		x.Apply(events)
		at = events[len(events)-1].Seq
	}
	if _, err := retry(ctx, x, log, 0); err != nil {
		return nil, 0, err
	}
	return x, checkpoint, nil
}

// retry has the index fold those of its events that wait and stand behind a
// sequence, until some have failed again. It returns where to go on, which is 0
// after the last one.
func retry(ctx context.Context, x *index.Index, log eventlog.Log, after uint64) (uint64, error) {
	const atATime = 8 // each may read what is damaged
	failed := 0
	seqs, _ := x.Waiting()
	for _, seq := range seqs {
		if seq <= after {
			continue
		}
		events, err := log.Read(ctx, seq-1, 1)
		if err != nil {
			return after, fmt.Errorf("history: read event %d, which is not in the history yet: %w", seq, err)
		}
		if x.Retry(events[0]) != nil {
			if failed++; failed == atATime {
				return seq, nil
			}
		}
	}
	return 0, nil
}

// NewKeeper returns a Keeper at work. checkpoint is what Open returned.
func NewKeeper(cfg Config, checkpoint uint64) *Keeper {
	if cfg.Every == 0 {
		cfg.Every = 30 * time.Second
	}
	if cfg.Events == 0 {
		cfg.Events = 200_000
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	k := &Keeper{cfg: cfg, stop: make(chan struct{})}
	k.seq.Store(checkpoint)
	floor, _ := cfg.Log.Bounds()
	k.changed.Store(floor < checkpoint) // some of the log may go
	k.stopped.Go(k.run)
	return k
}

// run writes checkpoints until Stop.
func (k *Keeper) run() {
	// The events are looked for often, so that a burst makes a checkpoint soon.
	look := time.NewTicker(max(k.cfg.Every/60, 10*time.Millisecond))
	defer look.Stop()
	last := time.Now()
	retry := time.Duration(0)
	for {
		select {
		case <-k.stop:
			return
		case <-look.C:
		}
		k.tend(context.Background())
		fresh := k.cfg.Index.Head().Seq - k.seq.Load()
		since := time.Since(last)
		if fresh == 0 && !k.dirty() || since < retry || fresh < k.cfg.Events && since < k.cfg.Every {
			continue
		}
		err := k.Checkpoint(context.Background())
		if last = time.Now(); err == nil {
			retry = 0
			continue
		}
		retry = min(max(2*retry, time.Second), time.Minute)
		k.cfg.Logger.Warn("history: a checkpoint failed and is tried again", "in", retry, "error", err)
	}
}

// dirty reports whether the index has changed since the last checkpoint, but for
// events. Whoever asks for statistics has it let go of what is too old, too.
func (k *Keeper) dirty() bool {
	return k.changed.Load() || k.cfg.Index.Hits().Evicted() != k.gone.Load()
}

// tend does what no event brings about: it has the index let go of what is too old
// or too much, and fold what has waited.
func (k *Keeper) tend(ctx context.Context) {
	before := k.cfg.Index.Waits()
	_, err := k.cfg.Index.Retire(ctx)
	if before > 0 {
		var failed error
		k.next, failed = retry(ctx, k.cfg.Index, k.cfg.Log, k.next)
		err = errors.Join(err, failed)
	}
	if k.cfg.Index.Waits() < before {
		k.changed.Store(true)
	}
	if err != nil && !k.failing {
		k.cfg.Logger.Warn("history: what is kept can't be read, and is tried again", "error", err)
	}
	k.failing = err != nil
}

// Checkpoint writes one now, and lets the log go of what it holds.
func (k *Keeper) Checkpoint(ctx context.Context) (err error) {
	changed := k.changed.Swap(false)
	defer func() {
		if err != nil {
			k.failed.Add(1)
			if changed {
				k.changed.Store(true)
			}
		}
		k.err.Store(&err)
	}()
	gone := k.cfg.Index.Hits().Evicted()
	c := k.cfg.Index.Checkpoint()
	if err := k.cfg.Store.Write(ctx, c); err != nil {
		return err
	}
	k.cfg.Index.Saved(c)
	k.seq.Store(c.Seq)
	k.gone.Store(gone)
	upTo := c.Seq
	if waiting, _ := k.cfg.Index.Waiting(); len(waiting) > 0 {
		upTo = min(upTo, waiting[0]-1)
	}
	if k.cfg.Keep != nil {
		needed, err := k.cfg.Keep(ctx)
		if err != nil {
			return fmt.Errorf("history: ask what the log may let go of: %w", err)
		}
		upTo = min(upTo, needed)
	}
	if err := k.cfg.Log.Trim(ctx, upTo); err != nil && !errors.Is(err, activity.ErrGap) {
		return fmt.Errorf("history: trim the log: %w", err)
	}
	return nil
}

// Err returns why the last checkpoint failed, or nil.
func (k *Keeper) Err() error {
	if err := k.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Stop ends the work with a last checkpoint, so that the next start is quick.
// Without it nothing is lost. A second call returns what the first did.
func (k *Keeper) Stop(ctx context.Context) error {
	k.once.Do(func() {
		close(k.stop)
		k.stopped.Wait()
		if k.dirty() || k.cfg.Index.Head().Seq != k.seq.Load() {
			k.stopErr = k.Checkpoint(ctx)
		}
	})
	return k.stopErr
}
