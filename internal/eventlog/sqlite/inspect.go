package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/midspan/midspan/internal/eventlog"
)

// ErrReadOnly is returned by what would write to a log that Inspect has opened.
var ErrReadOnly = errors.New("the log is open to be read alone")

// ErrInUse says that another process has the folder open.
var ErrInUse = errors.New("in use by another process")

// Inspect opens the log of a folder to read it alone: neither the database nor
// its WAL is changed. It refuses a folder that another process has open, with an
// error that wraps ErrInUse, and one without a log, with one that wraps
// os.ErrNotExist. An error that wraps eventlog.ErrCorrupt says what is damaged;
// the log is returned too then, for Check, if it can be read at all.
func Inspect(ctx context.Context, folder string) (l *Log, err error) {
	folder, err = filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	l = &Log{cfg: Config{}.withDefaults(), path: filepath.Join(folder, fileName), inspected: "mode=ro", stopped: make(chan struct{})}
	close(l.stopped) // there is no writer
	if _, err := os.Stat(l.path); err != nil {
		return nil, fmt.Errorf("read the log in %s: %w", folder, err)
	}
	if l.lock, err = lockToRead(folder); err != nil {
		return nil, fmt.Errorf("read the log in %s: %w", folder, err)
	}
	fail := func(err error) (*Log, error) { return nil, errors.Join(err, l.release()) }
	if wal, err := os.Stat(l.walPath()); err != nil || wal.Size() == 0 {
		// SQLite makes a WAL where there is none, unless nothing can change.
		l.inspected = "immutable=1"
	}
	if err := l.checkHeader(); err != nil {
		return fail(err)
	}
	if l.writes, err = l.openPool(1, "query_only(1)"); err != nil {
		return fail(err)
	}
	if l.conn, err = l.writes.Conn(ctx); err != nil {
		return fail(l.explain("read", err))
	}
	version, err := l.version(ctx)
	switch {
	case err != nil:
		return fail(err)
	case version == 0:
		return fail(fmt.Errorf("read %s: it is empty: %w", l.path, os.ErrNotExist))
	case version < len(migrations):
		return fail(fmt.Errorf("read %s: it is of version %d and this midspan knows %d: let midspan serve open it once", l.path, version, len(migrations)))
	}
	if l.reads, err = l.openPool(2, "query_only(1)"); err != nil {
		return fail(err)
	}
	if l.views, err = l.openPool(l.cfg.Views, "query_only(1)"); err != nil {
		return fail(err)
	}
	err = l.load(ctx)
	if err != nil && !errors.Is(err, eventlog.ErrCorrupt) {
		return fail(err)
	}
	l.committed = l.last
	return l, err
}

// lockToRead locks a folder as lockFolder does, and makes nothing in it: without
// the file no process has ever had the folder open, or it was copied without.
func lockToRead(folder string) (*folderLock, error) {
	f, err := os.Open(filepath.Join(folder, lockName))
	if errors.Is(err, os.ErrNotExist) {
		return new(folderLock), nil
	}
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is %w: stop it first (%w)", folder, ErrInUse, err)
	}
	return &folderLock{f}, nil
}
