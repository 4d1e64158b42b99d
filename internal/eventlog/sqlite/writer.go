package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	modernc "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/midspan/midspan/internal/eventlog"
)

const (
	// maxGroup bounds one transaction, in bytes of its batches.
	maxGroup = 16 << 20
	// retryAfter is how long nothing is tried after a write has failed.
	retryAfter = time.Second
	// walGrown is when the WAL is taken into the file, and walLimit what is left
	// of its file after that. By BenchmarkPageSize 1, 4 and 16 MiB differ by less
	// than the noise; less to copy at a time holds the next group up for less.
	walGrown = 4 << 20
	walLimit = 64 << 20
)

// write is the writer's goroutine: it alone changes the file. It ends when the
// log is closed and nothing is left that can be written.
func (l *Log) write() {
	defer close(l.stopped)
	applied := make(chan struct{})
	go func() {
		defer close(applied)
		l.apply()
	}()
	defer func() {
		close(l.applies)
		<-applied
	}()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		requests, pending, stopping := l.next()
		wait := time.Until(l.retryAt)
		switch {
		case len(requests) > 0 && wait > 0:
			l.refuse(requests, fmt.Errorf("%w: %w", eventlog.ErrUnavailable, l.Health()))
		case len(requests) > 0 && requests[0].update != nil:
			l.flushAll()
			l.runUpdate(requests[0])
		case len(requests) > 0:
			l.commitGroup(requests)
		case len(pending) > 0 && (wait <= 0 || stopping):
			if !l.flush(pending) && stopping {
				return
			}
		case stopping:
			return
		default:
			failing := !l.retryAt.IsZero()
			if !failing {
				wait = time.Hour
			}
			retry.Reset(max(wait, 0))
			select {
			case <-l.wake:
			case <-retry.C:
				if failing && len(pending) == 0 {
					l.probe()
				}
			}
		}
	}
}

// next returns what the writer does now: the requests of one transaction, or else
// what waits for the disk.
func (l *Log) next() (requests, pending []*request, stopping bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for n < len(l.queue) {
		if l.queue[n].update != nil {
			if n == 0 {
				n = 1
			}
			break
		}
		if size += len(l.queue[n].data); n > 0 && size > maxGroup {
			break
		}
		n++
	}
	requests = l.queue[:n:n]
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil
	}
	return requests, group(l.pending), l.stopping
}

// group returns as many of the first batches as one transaction takes.
func group(pending []*request) []*request {
	size := 0
	for i, r := range pending {
		if size += len(r.data); i > 0 && size > maxGroup {
			return pending[:i]
		}
	}
	return pending
}

// commitGroup writes appends as one transaction and has them applied.
func (l *Log) commitGroup(requests []*request) {
	last, at := l.last, l.at
	for _, r := range requests {
		l.number(r)
	}
	if err := l.commit(requests); err != nil {
		l.last, l.at = last, at
		l.refuse(requests, err)
		return
	}
	l.applies <- requests
	l.checkpoint()
}

// apply is the applier's goroutine: it hands on what is committed, in order.
func (l *Log) apply() {
	for requests := range l.applies {
		for _, r := range requests {
			l.cfg.Apply(r.events)
			l.head.Grow(r.first + uint64(len(r.events)) - 1)
			close(r.done)
		}
	}
}

// refuse answers that requests were not written.
func (l *Log) refuse(requests []*request, err error) {
	for _, r := range requests {
		r.err = err
		if r.update == nil {
			for i := range r.events {
				r.events[i].Seq, r.events[i].ReceivedAt = 0, 0
			}
			r.err = fmt.Errorf("append %d events: %w", len(r.events), err)
		}
		close(r.done)
	}
}

// flush writes what waits for the disk at level Memory, and reports whether it could.
func (l *Log) flush(pending []*request) bool {
	if err := l.commit(pending); err != nil {
		return false
	}
	l.mu.Lock()
	for _, r := range pending {
		l.pendingBytes -= int64(len(r.data))
	}
	l.pending = l.pending[len(pending):]
	l.mu.Unlock()
	l.checkpoint()
	return true
}

// flushAll writes what waited for the disk when it was called.
func (l *Log) flushAll() {
	l.mu.Lock()
	pending := l.pending
	l.mu.Unlock()
	for len(pending) > 0 {
		part := group(pending)
		if !l.flush(part) {
			return
		}
		pending = pending[len(part):]
	}
}

// runUpdate runs what Update was given.
func (l *Log) runUpdate(r *request) {
	l.mu.Lock()
	waiting := len(l.pending) > 0
	l.mu.Unlock()
	if health := l.Health(); waiting && health != nil { // events before it could not be written
		r.err = health
		close(r.done)
		return
	}
	var own error // of fn
	err := func() error {
		tx, err := l.conn.BeginTx(context.Background(), nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // after Commit it does nothing, and before it the error is told
		if own = r.update(tx); own != nil {
			return own
		}
		return tx.Commit()
	}()
	if own != nil && !ofDisk(own) {
		r.err = l.explain("update", own)
	} else {
		r.err = l.wrote(l.explain("update", err))
	}
	close(r.done)
	l.checkpoint()
}

// commit writes batches in one transaction. After nil they are on stable storage.
func (l *Log) commit(batches []*request) error {
	ctx := context.Background()
	err := func() error {
		if _, err := l.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
			return err
		}
		for _, r := range batches {
			if _, err := l.insert.ExecContext(ctx, int64(r.first), r.count, int64(r.at), r.data); err != nil {
				return err
			}
		}
		_, err := l.conn.ExecContext(ctx, "COMMIT")
		return err
	}()
	if err == nil {
		b := batches[len(batches)-1]
		last := b.first + uint64(b.count) - 1
		l.lock.acknowledge(l.id, last)
		l.mu.Lock()
		l.committed = last
		l.mu.Unlock()
	}
	return l.wrote(l.explain("write", err))
}

// wrote notes how a write has ended. After an error it makes sure that the
// transaction does not come back, and returns one that wraps ErrUnavailable.
func (l *Log) wrote(err error) error {
	if err == nil {
		l.retryAt = time.Time{}
		l.setFailure(&l.failure, nil)
		return nil
	}
	_, _ = l.conn.ExecContext(context.Background(), "ROLLBACK") // fails when SQLite has rolled back
	l.retryAt = time.Now().Add(l.cfg.retry)
	if settleErr := l.settle(err); settleErr != nil {
		err = fmt.Errorf("%w; and it may yet turn up after a crash: %w", err, settleErr)
		l.setFailure(&l.failure, err)
		return err
	}
	err = fmt.Errorf("%w: %w", eventlog.ErrUnavailable, err)
	l.setFailure(&l.failure, err)
	return err
}

// settle cuts off what a failed transaction has left in the WAL. Its frames are
// no part of the database, but if the last one got there and only the sync after
// it failed, a process that opens the file after a crash would take them for
// committed.
func (l *Log) settle(cause error) error {
	var failed *modernc.Error
	if errors.As(cause, &failed) && failed.Code()&0xff == sqlite3.SQLITE_READONLY || l.cfg.unsettle {
		return nil // nothing was written
	}
	frames, _, err := l.walCheckpoint("NOOP")
	if err != nil {
		return err
	}
	size := int64(0)
	if frames > 0 {
		size = walHeader + frames*(frameHeader+l.pageSize)
	}
	f, err := os.OpenFile(l.walPath(), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() <= size {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync())
}

// Of SQLite's WAL, by https://www.sqlite.org/fileformat2.html#walformat.
const (
	walHeader   = 32
	frameHeader = 24
)

// walCheckpoint runs the pragma. frames are those of the WAL that count, done
// those of them that are in the file.
func (l *Log) walCheckpoint(mode string) (frames, done int64, err error) {
	var busy bool // readers hold it back: the next one goes on
	err = l.conn.QueryRowContext(context.Background(), "PRAGMA wal_checkpoint("+mode+")").Scan(&busy, &frames, &done)
	return frames, done, err
}

// checkpoint takes the WAL into the file when it has grown, so that it begins
// anew. It comes after the answer, so nobody waits for it but the next group.
// When it fails, what is committed stays safe in the WAL, which grows: appends
// go on, and Health tells.
func (l *Log) checkpoint() {
	if time.Until(l.checkpointAt) > 0 {
		return
	}
	frames, done, err := l.walCheckpoint("NOOP")
	if err == nil {
		if (frames-done)*l.pageSize < l.cfg.walGrown {
			return
		}
		_, _, err = l.walCheckpoint("PASSIVE")
	}
	if err != nil {
		l.checkpointAt = time.Now().Add(l.cfg.retry)
	}
	l.setFailure(&l.behind, l.explain("checkpoint", err))
}

// ofDisk reports whether an error is of the file and not of what was asked of it.
func ofDisk(err error) bool {
	var failed *modernc.Error
	if !errors.As(err, &failed) {
		return false
	}
	switch failed.Code() & 0xff {
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS:
		return true
	}
	return false
}

// probe tries to write after a write has failed.
func (l *Log) probe() {
	_, err := l.conn.ExecContext(context.Background(), "UPDATE log SET probes = probes + 1")
	_ = l.wrote(l.explain("write", err))
}

// setFailure notes in one of the log's fields why it fails, or that it does not.
func (l *Log) setFailure(field *error, err error) {
	l.mu.Lock()
	before := *field
	*field = err
	l.mu.Unlock()
	switch {
	case err != nil && before == nil:
		l.cfg.Logger.Error("the log's disk fails", slog.Any("error", err))
	case err == nil && before != nil:
		l.cfg.Logger.Info("the log's disk is well again")
	}
}
