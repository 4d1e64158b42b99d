// Package sqlite is the log of a bridge with a folder: one SQLite database,
// midspan.db, whose commits reach stable storage before they are acknowledged.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
)

// DefaultMaxPending is the default of Config.MaxPending, in bytes.
const DefaultMaxPending = 64 << 20

// Config says where a Log is and how it behaves.
type Config struct {
	// Folder holds midspan.db. It is made if it is not there.
	Folder string
	// Level is what Append waits for. Defaults to eventlog.Disk.
	Level eventlog.Level
	// Apply is called with the events appended, by rule 3 of eventlog.Log. It may be nil.
	Apply func([]activity.Event)
	// MaxPending bounds what waits for the disk at level Memory, as bytes of its
	// batches: beyond it Append returns eventlog.ErrUnavailable. Defaults to 64 MiB.
	MaxPending int64
	// Views bounds the calls of View at a time; more wait. Defaults to 4.
	Views int
	// Logger hears when the disk fails and when it is well again. Defaults to
	// slog.Default.
	Logger *slog.Logger
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time

	// For tests and measurements.
	pageSize int           // of a new file, in bytes
	walGrown int64         // of the WAL, in bytes, when it is taken into the file
	retry    time.Duration // how long nothing is tried after a write has failed
	vfs      string        // SQLite's name of a file layer
	unsafe   bool          // synchronous=NORMAL: the control that must lose
	unsettle bool          // settle does nothing: another control
}

func (c Config) withDefaults() Config {
	if c.Apply == nil {
		c.Apply = func([]activity.Event) {}
	}
	if c.MaxPending == 0 {
		c.MaxPending = DefaultMaxPending
	}
	if c.Views == 0 {
		c.Views = 4
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.pageSize == 0 {
		c.pageSize = pageSize
	}
	if c.walGrown == 0 {
		c.walGrown = walGrown
	}
	if c.retry == 0 {
		c.retry = retryAfter
	}
	return c
}

// Log is a log in one SQLite database. Appends at a time are gathered into one
// transaction, and while its events are applied the next one is gathered and
// written. A kill loses nothing that was acknowledged; at level Disk neither
// does a power cut.
//
//	Disk:    Append ─▶ queue ─▶ writer: commit, fsync ─▶ applier: Apply ─▶ Append returns
//	Memory:  Append: Apply ─▶ pending ─▶ Append returns
//	                             └─▶ writer: commit, fsync
type Log struct {
	cfg     Config
	id      string
	path    string
	head    eventlog.Head
	decoder eventlog.Decoder
	lock    *folderLock

	writes       *sql.DB // of one connection
	conn         *sql.Conn
	reads, views *sql.DB
	pageSize     int64
	inspected    string // how SQLite is told to read alone; empty for a log that is written

	overflows atomic.Int64 // appends that found MaxPending reached

	wake    chan struct{}   // the writer has something to do
	applies chan []*request // committed, to be applied
	stopped chan struct{}   // closed by the writer when it has ended
	turn    chan struct{}   // held by who appends at level Memory

	// The writer's own, at level Disk; at level Memory of who holds the turn.
	last uint64
	at   activity.Time

	// The writer's own.
	insert       *sql.Stmt
	retryAt      time.Time // no write is tried before; zero when the last one succeeded
	checkpointAt time.Time // no checkpoint is tried before

	mu           sync.Mutex // guards everything below
	queue        []*request
	pending      []*request // level Memory: applied, not on disk yet
	pendingBytes int64
	committed    uint64 // sequence
	failure      error  // why nothing can be written, or nil
	behind       error  // why the WAL can't be taken into the file, or nil
	closed       bool
	stopping     bool           // and no call is under way
	users        sync.WaitGroup // calls under way; added to while mu is held
	closeOnce    sync.Once
	closeErr     error
}

var _ eventlog.Log = (*Log)(nil)

// request is what the writer is asked for: events, or an update.
type request struct {
	events []activity.Event // the caller's, until done
	count  int
	data   []byte // the batch
	first  uint64
	at     activity.Time
	update func(*sql.Tx) error
	err    error
	done   chan struct{}
}

// Open opens the log of a folder, and makes it when there is none. It refuses a
// file that is not such a log, or that a newer version wrote, a folder that
// another process has open, and a file system that can't keep what it promised.
// An error that wraps eventlog.ErrCorrupt says that the file is damaged.
func Open(ctx context.Context, cfg Config) (_ *Log, err error) {
	cfg = cfg.withDefaults()
	if cfg.Folder == "" {
		return nil, errors.New("open a log: no folder is given")
	}
	folder, err := filepath.Abs(cfg.Folder)
	if err != nil {
		return nil, err
	}
	if err := makeFolder(folder); err != nil {
		return nil, fmt.Errorf("open the log in %s: %w", folder, err)
	}
	l := &Log{
		cfg: cfg, path: filepath.Join(folder, fileName),
		wake: make(chan struct{}, 1), applies: make(chan []*request), stopped: make(chan struct{}), turn: make(chan struct{}, 1),
	}
	if l.lock, err = lockFolder(folder); err != nil {
		return nil, fmt.Errorf("open the log in %s: %w", folder, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.release())
		}
	}()
	if err := makeFile(l.path); err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	if l.writes, err = l.openPool(1); err != nil {
		return nil, err
	}
	if l.conn, err = l.writes.Conn(ctx); err != nil {
		return nil, l.explain("open", err)
	}
	if err := l.prepare(ctx); err != nil {
		return nil, err
	}
	if err := l.load(ctx); err != nil {
		return nil, err
	}
	if l.insert, err = l.conn.PrepareContext(ctx, "INSERT INTO batch (first, count, received_at, events) VALUES (?, ?, ?, ?)"); err != nil {
		return nil, l.explain("open", err)
	}
	if l.reads, err = l.openPool(2, "query_only(1)"); err != nil {
		return nil, err
	}
	if l.views, err = l.openPool(cfg.Views, "query_only(1)"); err != nil {
		return nil, err
	}
	l.committed = l.last
	go l.write()
	return l, nil
}

// ID implements eventlog.Log.
func (l *Log) ID() string { return l.id }

// Level implements eventlog.Log.
func (l *Log) Level() eventlog.Level { return l.cfg.Level }

// Bounds implements eventlog.Log.
func (l *Log) Bounds() (floor, last uint64) { return l.head.Bounds() }

// Changed implements eventlog.Log.
func (l *Log) Changed() <-chan struct{} { return l.head.Changed() }

// enter counts a call under way, which Close waits for.
func (l *Log) enter() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return eventlog.ErrClosed
	}
	l.users.Add(1)
	return nil
}

// Append implements eventlog.Log.
func (l *Log) Append(ctx context.Context, events []activity.Event) error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.users.Done()
	r := &request{events: events, count: len(events)}
	var err error
	if l.cfg.Level == eventlog.Memory {
		if r.data, err = eventlog.EncodeBatch(nil, events); err != nil {
			return fmt.Errorf("append %w", err)
		}
		return l.appendToMemory(ctx, r)
	}
	buffer, _ := buffers.Get().(*[]byte)
	if buffer == nil {
		buffer = new([]byte)
	}
	if r.data, err = eventlog.EncodeBatch((*buffer)[:0], events); err != nil {
		return fmt.Errorf("append %w", err)
	}
	err = l.ask(ctx, r)
	if cap(r.data) <= maxBuffer { // nobody has it any more
		*buffer = r.data
		buffers.Put(buffer)
	}
	return err
}

// buffers are those of batches that were written, to be used again.
var buffers sync.Pool

const maxBuffer = 1 << 20

// ask hands a request to the writer and waits for its outcome. It gives up when
// ctx is done before the writer has taken it.
func (l *Log) ask(ctx context.Context, r *request) error {
	if l.inspected != "" {
		return ErrReadOnly
	}
	r.done = make(chan struct{})
	l.mu.Lock()
	l.queue = append(l.queue, r)
	l.mu.Unlock()
	l.kick()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
	}
	if l.withdraw(r) {
		return ctx.Err()
	}
	<-r.done
	return r.err
}

// withdraw takes a request out of the queue, unless the writer has it.
func (l *Log) withdraw(r *request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.queue {
		if l.queue[i] == r {
			l.queue = append(l.queue[:i:i], l.queue[i+1:]...)
			return true
		}
	}
	return false
}

func (l *Log) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Overflows returns how many appends found Config.MaxPending reached.
func (l *Log) Overflows() int64 { return l.overflows.Load() }

// appendToMemory applies events and leaves the disk to the writer.
func (l *Log) appendToMemory(ctx context.Context, r *request) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	l.mu.Lock()
	waiting, failure := l.pendingBytes, l.failure
	l.mu.Unlock()
	if waiting > 0 && waiting+int64(len(r.data))+4 > l.cfg.MaxPending {
		l.overflows.Add(1)
		if failure == nil {
			failure = errors.New("it is slower than what comes in")
		}
		return fmt.Errorf("append %d events: %w: %d bytes wait for the disk: %w", len(r.events), eventlog.ErrUnavailable, waiting, failure)
	}
	l.number(r)
	l.cfg.Apply(r.events)
	last := r.first + uint64(len(r.events)) - 1
	l.mu.Lock()
	l.pending = append(l.pending, &request{data: r.data, first: r.first, at: r.at, count: len(r.events)})
	l.pendingBytes += int64(len(r.data))
	l.mu.Unlock()
	l.head.Grow(last)
	l.kick()
	return nil
}

// number gives a request the next sequences.
func (l *Log) number(r *request) {
	r.first, r.at = l.last+1, max(activity.TimeOf(l.cfg.Now()), l.at)
	r.data = eventlog.SealBatch(r.data, r.first, r.at)
	for i := range r.events {
		r.events[i].Seq, r.events[i].ReceivedAt = r.first+uint64(i), r.at
	}
	l.last, l.at = l.last+uint64(len(r.events)), r.at
}

// Update runs fn in a transaction of its own, after all events that Bounds told
// of before are on disk. When it returns nil, what fn wrote is on stable
// storage. An error of fn takes it all back and is returned; an error that wraps
// eventlog.ErrUnavailable says that it could not be written. No events are
// written meanwhile, so fn must be quick, and it may not call the log.
func (l *Log) Update(ctx context.Context, fn func(*sql.Tx) error) error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.users.Done()
	return l.ask(ctx, &request{update: fn})
}

// View runs fn in a transaction that reads what was committed when it first
// reads. As long as it runs the WAL can't be reused: fn must end within seconds.
// What fn returns is returned, explained if it is an error of SQLite.
func (l *Log) View(ctx context.Context, fn func(*sql.Tx) error) error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.users.Done()
	tx, err := l.views.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return l.explain("read", err)
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	return l.explain("read", fn(tx))
}

// Read implements eventlog.Log. An error that wraps eventlog.ErrCorrupt says
// that the file is damaged.
func (l *Log) Read(ctx context.Context, after uint64, limit int) ([]activity.Event, error) {
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.users.Done()
	more, err := l.head.Check(after)
	if !more {
		return nil, err
	}
	_, last := l.head.Bounds()
	limit = max(limit, 1)
	l.mu.Lock()
	committed, pending := l.committed, l.pending
	l.mu.Unlock()
	if after >= committed {
		return l.readPending(pending, after, limit)
	}
	events, err := l.readFile(ctx, after, min(last, committed), limit)
	if err == nil && len(events) == 0 {
		err = l.missing(ctx, after, after+1)
	}
	return events, err
}

// missing returns why an event is not in the file that a reader after a sequence
// came upon: it was trimmed meanwhile, of which the file knows first, or the file
// is damaged.
func (l *Log) missing(ctx context.Context, after, seq uint64) error {
	var floor int64
	if err := l.reads.QueryRowContext(ctx, "SELECT floor FROM log").Scan(&floor); err != nil {
		return l.explainScan("read", err)
	}
	if after < uint64(floor) {
		return activity.ErrGap
	}
	return l.damaged(fmt.Sprintf("event %d is not there", seq))
}

func (l *Log) readPending(pending []*request, after uint64, limit int) ([]activity.Event, error) {
	var events []activity.Event
	for i, r := range pending {
		if i+1 < len(pending) && pending[i+1].first <= after+1 {
			continue
		}
		more, err := l.decoder.DecodeBatch(r.data, r.first, r.at)
		if err != nil {
			return nil, fmt.Errorf("read after %d: %w", after, err)
		}
		var full bool
		if events, full = take(events, more, after, limit); full {
			break
		}
	}
	return events, nil
}

// take adds a batch to what is read after a sequence, and tells whether that is
// enough. Only the first batch is taken apart.
func take(events, batch []activity.Event, after uint64, limit int) (_ []activity.Event, full bool) {
	if len(events) == 0 {
		batch = batch[min(after+1-batch[0].Seq, uint64(len(batch))):]
		batch = batch[:min(len(batch), limit)]
	} else if len(events)+len(batch) > limit {
		return events, true
	}
	events = append(events, batch...)
	return events, len(events) >= limit
}

// readFile reads events after a sequence, up to last.
func (l *Log) readFile(ctx context.Context, after, last uint64, limit int) ([]activity.Event, error) {
	rows, err := l.reads.QueryContext(ctx, `SELECT first, count, received_at, events FROM batch
		WHERE first >= (SELECT max(first) FROM batch WHERE first <= ?1) AND first <= ?2 ORDER BY first`, int64(after+1), int64(last))
	if err != nil {
		return nil, l.explain("read", err)
	}
	defer rows.Close()
	var events []activity.Event
	for next := after + 1; rows.Next(); {
		batch, err := l.scanBatch(rows)
		if err != nil {
			return nil, err
		}
		first, end := batch[0].Seq, batch[len(batch)-1].Seq
		if first > next || len(events) > 0 && first != next || end < next {
			if err := rows.Close(); err != nil { // the next query may need its connection
				return nil, l.explain("read", err)
			}
			return nil, l.missing(ctx, after, next)
		}
		var full bool
		if events, full = take(events, batch, after, limit); full {
			break
		}
		next = end + 1
	}
	// First closed: while the bytes of a row are held, to ask for the error waits
	// for ever on one who wants to close the rows, as the end of ctx does.
	return events, l.explain("read", errors.Join(rows.Close(), rows.Err()))
}

// Cursor implements eventlog.Log.
func (l *Log) Cursor(ctx context.Context, name string) (seq uint64, ok bool, err error) {
	if err := l.enter(); err != nil {
		return 0, false, err
	}
	defer l.users.Done()
	var stored, sum int64
	switch err := l.reads.QueryRowContext(ctx, "SELECT seq, checksum FROM cursor WHERE name = ?", name).Scan(&stored, &sum); {
	case errors.Is(err, sql.ErrNoRows):
		return 0, false, nil
	case err != nil:
		return 0, false, l.explainScan("read", err)
	case sum != cursorSum(name, uint64(stored)):
		return 0, false, l.damaged(fmt.Sprintf("cursor %q has not the checksum that it tells", name))
	}
	return uint64(stored), true, nil
}

// SetCursor implements eventlog.Log. At both levels it waits for the disk.
func (l *Log) SetCursor(ctx context.Context, name string, seq uint64) error {
	if err := eventlog.CheckCursor(name); err != nil {
		return err
	}
	return l.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(context.WithoutCancel(ctx), "INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)", name, int64(seq), cursorSum(name, seq))
		return err
	})
}

// trimBatches is how many batches go in one transaction, so that appends need
// not wait long for it.
const trimBatches = 64

// Trim implements eventlog.Log.
func (l *Log) Trim(ctx context.Context, upTo uint64) error {
	for {
		trimmed := 0
		var floor uint64
		err := l.Update(ctx, func(tx *sql.Tx) (err error) {
			trimmed, floor, err = l.trimSome(context.WithoutCancel(ctx), tx, upTo)
			return err
		})
		if err != nil {
			return err
		}
		if trimmed > 0 {
			l.raiseFloor(floor)
		}
		if trimmed < trimBatches {
			return nil
		}
	}
}

// raiseFloor tells of what is gone, unless another call has told of more.
func (l *Log) raiseFloor(floor uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now, _ := l.head.Bounds(); floor > now {
		l.head.Trim(floor)
	}
}

func (l *Log) trimSome(ctx context.Context, tx *sql.Tx, upTo uint64) (trimmed int, floor uint64, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT first, count, received_at FROM batch ORDER BY first LIMIT ?", trimBatches)
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	var received int64
	_, applied := l.head.Bounds()
	for rows.Next() {
		var first, count, at int64
		if err := rows.Scan(&first, &count, &at); err != nil {
			return 0, 0, l.explainScan("trim", err)
		}
		end := uint64(first + count - 1)
		if end > min(upTo, applied) {
			break
		}
		trimmed, floor, received = trimmed+1, end, at
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || trimmed == 0 {
		return 0, 0, err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM batch WHERE first <= ?", int64(floor)); err != nil {
		return 0, 0, err
	}
	_, err = tx.ExecContext(ctx, "UPDATE log SET floor = ?, received_at = ?, checksum = ?",
		int64(floor), received, logSum(l.id, floor, activity.Time(received)))
	return trimmed, floor, err
}

// Health returns nil, or why nothing can be written, or not for long.
func (l *Log) Health() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.failure, l.behind)
}

// Sizes are the numbers of a Log, for metrics.
type Sizes struct {
	File    int64  // bytes of midspan.db
	WAL     int64  // bytes of its WAL
	Pending int64  // bytes of batches that wait for the disk, at level Memory
	Events  uint64 // held
}

// Sizes returns the log's numbers.
func (l *Log) Sizes() Sizes {
	size := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	floor, last := l.head.Bounds()
	l.mu.Lock()
	defer l.mu.Unlock()
	return Sizes{File: size(l.path), WAL: size(l.walPath()), Pending: l.pendingBytes, Events: last - floor}
}

func (l *Log) walPath() string { return filepath.Join(filepath.Dir(l.path), walName) }

// Close implements eventlog.Log. What waits for the disk is written first; the
// error says so if it can't be.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		l.users.Wait()
		l.mu.Lock()
		l.stopping = true
		l.mu.Unlock()
		l.kick()
		<-l.stopped
		if len(l.pending) > 0 {
			l.closeErr = fmt.Errorf("close %s: events from %d on are not on disk: %w", l.path, l.pending[0].first, l.Health())
		}
		l.closeErr = errors.Join(l.closeErr, l.release())
	})
	return l.closeErr
}

// release closes what is open.
func (l *Log) release() error {
	var errs []error
	if l.insert != nil {
		errs = append(errs, l.insert.Close())
	}
	for _, db := range []*sql.DB{l.views, l.reads} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if l.conn != nil {
		errs = append(errs, l.conn.Close())
	}
	if l.writes != nil { // the last one: it takes the WAL into the file
		errs = append(errs, l.writes.Close())
	}
	errs = append(errs, l.lock.Close())
	return errors.Join(errs...)
}
