package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/eventlog/eventlogtest"
)

// edit changes a database with plain SQLite.
func edit(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOpenRefuses holds that a file which is not ours is refused in words, and
// left as it is.
func TestOpenRefuses(t *testing.T) {
	made := func(t *testing.T, folder string) {
		l := open(t, Config{Folder: folder})
		if err := l.Append(t.Context(), eventlogtest.Events("a", 0, 10)); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, folder, path string)
		want    string
		corrupt bool
	}{
		{"text", func(t *testing.T, _, path string) {
			if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "no SQLite database", true},
		{"another program's", func(t *testing.T, _, path string) { edit(t, path, "CREATE TABLE t (x)") }, "another program's database", false},
		{"another application id", func(t *testing.T, _, path string) { edit(t, path, "PRAGMA application_id = 7", "CREATE TABLE t (x)") }, "0x7", false},
		{"newer", func(t *testing.T, folder, path string) {
			made(t, folder)
			edit(t, path, fmt.Sprintf("PRAGMA user_version = %d", len(migrations)+1))
		}, fmt.Sprintf("version %d and this midspan knows %d", len(migrations)+1, len(migrations)), false},
		{"no version", func(t *testing.T, folder, path string) { made(t, folder); edit(t, path, "PRAGMA user_version = 0") }, "no version", true},
		{"floor changed", func(t *testing.T, folder, path string) { made(t, folder); edit(t, path, "UPDATE log SET floor = 1") }, "checksum", true},
		{"a batch gone", func(t *testing.T, folder, path string) { made(t, folder); edit(t, path, "DELETE FROM batch") }, "10 were acknowledged", true},
		{"a batch moved", func(t *testing.T, folder, path string) {
			made(t, folder)
			edit(t, path, "UPDATE batch SET first = first + 1")
		}, "batch of event 2", true},
		{"a batch of another time", func(t *testing.T, folder, path string) {
			made(t, folder)
			edit(t, path, "UPDATE batch SET received_at = received_at + 1")
		}, "batch of event 1", true},
		{"another count", func(t *testing.T, folder, path string) { made(t, folder); edit(t, path, "UPDATE batch SET count = 9") }, "count", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			path := filepath.Join(folder, fileName)
			tt.prepare(t, folder, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			l, err := Open(t.Context(), Config{Folder: folder, Logger: quiet})
			if err == nil {
				l.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) || errors.Is(err, eventlog.ErrCorrupt) != tt.corrupt {
				t.Errorf("the error is: %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || !tt.corrupt && !bytes.Equal(before, after) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

// Nobody else reads what is in the folder.
func TestFileModes(t *testing.T) {
	folder := t.TempDir()
	l := open(t, Config{Folder: folder})
	defer l.Close()
	if err := l.Append(t.Context(), eventlogtest.Events("a", 0, 10)); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %v", file.Name(), info.Mode())
		}
	}
}

func TestOpenLocks(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "made", "on the way?#%")
	l := open(t, Config{Folder: folder})
	if _, err := Open(t.Context(), Config{Folder: folder, Logger: quiet}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("opened twice: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, Config{Folder: folder}).Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("opened without a folder")
	}
}

// TestOpenReadsBack opens a log on a file layer without shared memory, where
// SQLite can't have a WAL and stays with another journal.
func TestOpenReadsBack(t *testing.T) {
	d := newDisk(t, 1)
	cfg := onDisk(d)
	cfg.vfs = noWALName
	_, err := Open(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "journal_mode is delete") {
		t.Errorf("opened without a WAL: %v", err)
	}
}

// TestMigrate takes a log of the first version to one with a step more.
func TestMigrate(t *testing.T) {
	folder := t.TempDir()
	l := open(t, Config{Folder: folder})
	events := eventlogtest.Events("a", 0, 3)
	if err := l.Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	before := migrations
	defer func() { migrations = before }()
	migrations = append(slices.Clip(migrations), "CREATE TABLE extra (x); INSERT INTO extra VALUES (5);", "CREATE TABLE broken (x); CREATE TABLE broken (x);")
	for range 2 {
		if _, err := Open(t.Context(), Config{Folder: folder, Logger: quiet}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("migrate to version %d", len(migrations))) {
			t.Fatalf("a broken step: %v", err)
		}
	}
	migrations = migrations[:len(migrations)-1]
	l = open(t, Config{Folder: folder})
	if got := eventlogtest.All(t, l, 0, 10); len(got) != 3 {
		t.Errorf("%d events after the migration", len(got))
	}
	var x int
	if err := l.View(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow("SELECT x FROM extra").Scan(&x) }); err != nil || x != 5 {
		t.Errorf("%d, %v", x, err)
	}
}

func TestUpdateAndView(t *testing.T) {
	for _, level := range []eventlog.Level{eventlog.Disk, eventlog.Memory} {
		t.Run(level.String(), func(t *testing.T) {
			d := newDisk(t, 1)
			cfg := onDisk(d)
			cfg.Level = level
			l := open(t, cfg)
			if err := l.Append(t.Context(), eventlogtest.Events("a", 0, 3)); err != nil {
				t.Fatal(err)
			}
			count := func(l *Log) (n int) {
				t.Helper()
				if err := l.View(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow("SELECT count(*) FROM extra").Scan(&n) }); err != nil {
					t.Fatal(err)
				}
				return n
			}
			if err := l.Update(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.Exec("CREATE TABLE extra (x PRIMARY KEY); INSERT INTO extra VALUES (1)")
				return err
			}); err != nil {
				t.Fatal(err)
			}
			own := errors.New("no")
			if err := l.Update(t.Context(), func(tx *sql.Tx) error {
				if _, err := tx.Exec("INSERT INTO extra VALUES (2)"); err != nil {
					t.Error(err)
				}
				return own
			}); !errors.Is(err, own) {
				t.Errorf("an error of the update itself: %v", err)
			}
			if err := l.Update(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.Exec("INSERT INTO extra VALUES (1)")
				return err
			}); err == nil || errors.Is(err, eventlog.ErrUnavailable) || l.Health() != nil {
				t.Errorf("a constraint: %v, %v", err, l.Health())
			}
			if n := count(l); n != 1 {
				t.Errorf("%d rows, want 1", n)
			}
			if err := l.View(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.Exec("INSERT INTO extra VALUES (3)")
				return err
			}); err == nil {
				t.Error("a view could write")
			}
			// It and the events before it outlast a power cut.
			after := open(t, Config{Folder: d.powerCut(t)})
			if n := count(after); n != 1 {
				t.Errorf("%d rows after a power cut, want 1", n)
			}
			if got := eventlogtest.All(t, after, 0, 10); len(got) != 3 {
				t.Errorf("%d events after a power cut, want 3", len(got))
			}
			d.set(func() {
				d.fault = func(int, string) (fault, bool) { return fault{code: 13}, true } // SQLITE_FULL
			})
			if err := l.Update(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.Exec("INSERT INTO extra VALUES (4)")
				return err
			}); !errors.Is(err, eventlog.ErrUnavailable) || !strings.Contains(err.Error(), "disk is full") {
				t.Errorf("on a full disk: %v", err)
			}
			if n := count(l); n != 1 {
				t.Errorf("reading on a full disk: %d rows, want 1", n)
			}
			if l.Health() == nil {
				t.Error("healthy on a full disk")
			}
			d.set(func() { d.fault = nil })
			eventually(t, func() bool { return l.Health() == nil }) // nobody asks for anything: it tries by itself
		})
	}
}

// TestPending fills what may wait for the disk at level Memory.
func TestPending(t *testing.T) {
	d := newDisk(t, 1)
	cfg := onDisk(d)
	cfg.Level, cfg.MaxPending = eventlog.Memory, 64<<10
	l := open(t, cfg)
	d.set(func() {
		d.fault = func(int, string) (fault, bool) { return fault{code: 10}, true } // SQLITE_IOERR
	})
	acknowledged := 0
	for {
		err := l.Append(t.Context(), eventlogtest.Events("a", acknowledged, 50))
		if errors.Is(err, eventlog.ErrUnavailable) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		acknowledged += 50
	}
	if n := l.Overflows(); n != 1 {
		t.Errorf("the limit was hit %d times", n)
	}
	pending := l.Sizes().Pending
	if pending > cfg.MaxPending || pending < cfg.MaxPending/2 {
		t.Errorf("%d bytes wait, at most %d may", pending, cfg.MaxPending)
	}
	if got := len(eventlogtest.All(t, l, 0, 1000)); got != acknowledged {
		t.Errorf("%d of %d events can be read", got, acknowledged)
	}
	d.set(func() { d.fault = nil })
	eventually(t, func() bool { return l.Sizes().Pending == 0 }) // it writes them by itself
	after := open(t, Config{Folder: d.powerCut(t)})
	if got := len(eventlogtest.All(t, after, 0, 1000)); got != acknowledged {
		t.Errorf("%d of %d events are on disk", got, acknowledged)
	}
	d.set(func() { d.dead = true })
	if err := l.Append(t.Context(), eventlogtest.Events("a", acknowledged, 50)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("events from %d on are not on disk", acknowledged+1)) {
		t.Errorf("closed with events that are not on disk: %v", err)
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("not within 30 s")
		}
	}
}

// TestSizes holds that neither the WAL nor the file grows with what was
// appended, when that is trimmed.
func TestSizes(t *testing.T) {
	l := open(t, onDisk(newDisk(t, 1)))
	fill := func() Sizes {
		for i := range 50 {
			if err := l.Append(t.Context(), eventlogtest.Events("a", 500*i, 500)); err != nil {
				t.Fatal(err)
			}
			if _, last := l.Bounds(); last > 5000 {
				if err := l.Trim(t.Context(), last-5000); err != nil {
					t.Fatal(err)
				}
			}
		}
		return l.Sizes()
	}
	first := fill()
	second := fill()
	if second.File > first.File+first.File/4 || second.WAL > 1<<20 {
		t.Errorf("%+v grew to %+v", first, second)
	}
	if second.Events < 5000 || second.Events > 5500 {
		t.Errorf("%d events", second.Events)
	}
}

// TestFormat holds docs/format.md to the code: the tables, the pragmas and the
// bytes of the lock.
func TestFormat(t *testing.T) {
	b, err := os.ReadFile("../../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	plain := func(s string) string {
		s = regexp.MustCompile(`--[^\n]*`).ReplaceAllString(s, "")
		return strings.Join(strings.Fields(s), " ")
	}
	for i, step := range migrations {
		if !strings.Contains(plain(doc), plain(step)) {
			t.Errorf("step %d is not in docs/format.md", i)
		}
	}
	folder := t.TempDir()
	l := open(t, Config{Folder: folder})
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)`(?:, `(\\w+)`)? \\| `?([\\w ]+)`? \\|").FindAllStringSubmatch(doc, -1) {
		for _, pragma := range m[1:3] {
			if pragma == "" {
				continue
			}
			var got string
			if err := l.conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"FULL": "2", "WAL": "wal", "64 MiB": "67108864", "8 MiB": "-8192"}[m[3]]
			if want == "" {
				want = m[3]
			}
			if got != want {
				t.Errorf("PRAGMA %s is %s, docs/format.md says %s", pragma, got, m[3])
			}
		}
	}
	if err := l.Append(t.Context(), eventlogtest.Events("a", 0, 3)); err != nil {
		t.Fatal(err)
	}
	l.lock.acknowledge("01ARZ3NDEKTSV4RRFFQ69G5FAV", 3)
	lock, err := os.ReadFile(filepath.Join(folder, lockName))
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(lock); got != "303141525a334e44454b545356345252464651363947354641560300000000000000c26a3911" {
		t.Errorf("the lock's bytes are %s", got)
	}
	var events []byte
	if err := l.View(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow("SELECT events FROM batch").Scan(&events) }); err != nil {
		t.Fatal(err)
	}
	if got, err := new(eventlog.Decoder).DecodeBatch(events, 1, receivedAt(t, l)); err != nil || len(got) != 3 {
		t.Errorf("%d events, %v", len(got), err)
	}
	if got := logSum("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1, 2); got != 3890739487 {
		t.Errorf("the sum of a row of log is %d", got)
	}
	if got := cursorSum("forward", 7); got != 2125700360 {
		t.Errorf("the sum of a row of cursor is %d", got)
	}
}

func receivedAt(t *testing.T, l *Log) activity.Time {
	events, err := l.Read(context.Background(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	return events[0].ReceivedAt
}
