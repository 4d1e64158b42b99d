package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/eventlog/eventlogtest"
)

func TestMain(m *testing.M) {
	if folder := os.Getenv(killChild); folder != "" {
		appendUntilKilled(folder)
		return
	}
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

func open(t testing.TB, cfg Config) *Log {
	t.Helper()
	cfg.Logger = quiet
	l, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestConformance(t *testing.T) {
	for _, level := range []eventlog.Level{eventlog.Disk, eventlog.Memory} {
		t.Run(level.String(), func(t *testing.T) {
			driver := eventlogtest.Driver{
				// Every folder is behind a disk of its own, named by the folder that the suite knows.
				Open: func(t *testing.T, folder string, apply func([]activity.Event), now func() time.Time) eventlog.Log {
					cfg := Config{Folder: folder, Level: level, Apply: apply, Now: now, MaxPending: 1 << 20, retry: time.Millisecond}
					if diskOf(folder) == nil {
						addDisk(t, folder, 1)
					}
					cfg.vfs = diskName
					return open(t, cfg)
				},
				Lasting:  true,
				PowerCut: func(t *testing.T, folder string) string { return diskOf(folder).powerCut(t) },
				Fail: func(_ *testing.T, folder string) func() {
					d := diskOf(folder)
					d.set(func() {
						d.fault = func(int, string) (fault, bool) { return fault{code: sqlite3.SQLITE_FULL}, true }
					})
					return func() { d.set(func() { d.fault = nil }) }
				},
			}
			eventlogtest.Run(t, driver)
		})
	}
}

// The file knows of a trim before the log tells of it: a reader that comes between
// has lost its place, and nothing is damaged.
func TestReadWhileTrimmed(t *testing.T) {
	l, err := Open(t.Context(), Config{Folder: t.TempDir(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range 3 {
		if err := l.Append(t.Context(), eventlogtest.Events("a", 10*i, 10)); err != nil {
			t.Fatal(err)
		}
	}
	for _, upTo := range []uint64{10, 30} {
		if err := l.Update(t.Context(), func(tx *sql.Tx) error {
			_, _, err := l.trimSome(t.Context(), tx, upTo)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if events, err := l.Read(t.Context(), 5, 100); !errors.Is(err, activity.ErrGap) {
			t.Errorf("trimmed up to %d: %d events, %v", upTo, len(events), err)
		}
	}
}

// A read that is given up at any moment ends: rows whose bytes are still held may
// not be asked for their error.
func TestReadGivenUp(t *testing.T) {
	l, err := Open(t.Context(), Config{Folder: t.TempDir(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range 20 {
		if err := l.Append(t.Context(), eventlogtest.Events("a", 10*i, 10)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2000 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.Gosched()
			cancel()
		}()
		if events, err := l.Read(ctx, 0, 100); err != nil && !errors.Is(err, context.Canceled) || err == nil && len(events) != 100 {
			t.Fatalf("%d events, %v", len(events), err)
		}
		<-done
	}
}
