package history

import (
	"bytes"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/eventlog/sqlite"
)

// kept makes a folder with history, a checkpoint, and events behind it, as a
// process that was killed leaves it.
func kept(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	b := open(t, folder, index.Config{MaxBytes: 1}, Config{Events: 1 << 40, Every: time.Hour})
	for n := range 16 {
		if err := b.log.Append(t.Context(), spans(n*1_000, 1_000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.keeper.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.log.Append(t.Context(), spans(16_000, 100)); err != nil {
		t.Fatal(err)
	}
	b.die(t)
	return folder
}

func TestCheck(t *testing.T) {
	folder := kept(t)
	before, err := os.ReadFile(filepath.Join(folder, "midspan.db"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Check(t.Context(), folder)
	if err != nil || len(r.Damages) != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	if r.Segments < 1 || r.Finished != 16_100*9/10 || r.Open != 16_100/10 || r.Events != 190 || r.Checkpoint != r.Floor || r.Last != r.Floor+190 || len(r.LogID) != 26 {
		t.Errorf("%+v", r)
	}
	if after, err := os.ReadFile(filepath.Join(folder, "midspan.db")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file is another: %v", err)
	}
	b := open(t, folder, index.Config{}, Config{})
	if _, err := Check(t.Context(), folder); !errors.Is(err, sqlite.ErrInUse) {
		t.Errorf("of a folder in use: %v", err)
	}
	b.die(t)
	if _, err := Check(t.Context(), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of an empty folder: %v", err)
	}
}

// Each kind of damage is found and named, and advice is given.
func TestCheckFindsDamage(t *testing.T) {
	const cut = "X'00112233445566'"
	whole := kept(t)
	for _, tt := range []struct {
		name, damage string
		want         string
	}{
		{"a batch", "UPDATE batch SET events = substr(events, 1, length(events) - 1)", "the batch of event "},
		{"a batch is missing", "DELETE FROM batch WHERE first = (SELECT max(first) FROM batch)", "were acknowledged"},
		{"another order", "UPDATE batch SET first = first + 1", "follows on event"},
		{"the log's row", "UPDATE log SET floor = floor - 1", "the row of the table log"},
		{"a cursor", "INSERT INTO cursor VALUES ('reader', 7, 1)", `cursor "reader"`},
		{"a part", "UPDATE part SET data = " + cut + " WHERE id & 7 = 3", "the text of segment 0"},
		{"a part for searches", "UPDATE part SET data = " + cut + " WHERE id & 7 = 4", "the grams of segment 0"},
		{"a part for statistics", "UPDATE part SET data = " + cut + " WHERE id & 7 = 5", "the counts of segment 0"},
		{"a part is missing", "DELETE FROM part WHERE id = 2", "without some of their parts"},
		{"a summary", "UPDATE segment SET summary = " + cut + " WHERE number = 0", "the summary of segment 0"},
		{"dead rows", "UPDATE segment SET dead = " + cut + " WHERE number = 0", "the dead rows of segment 0"},
		{"the state", "UPDATE state SET data = " + cut, "chunk 0 of the state"},
		{"the checkpoint", "UPDATE checkpoint SET seq = seq - 1", "the checkpoint is of event"},
		{"no checkpoint", "DELETE FROM checkpoint", "the checkpoint is of event 0"},
		{"parts of another segment", "UPDATE part SET data = (SELECT data FROM part WHERE id = 4096 * 8 + 2) WHERE id = 2", "segment 0 of the history"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.CopyFS(folder, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open("sqlite", filepath.Join(folder, "midspan.db"))
			if err != nil {
				t.Fatal(err)
			}
			changed, err := db.ExecContext(t.Context(), tt.damage)
			if err != nil {
				t.Fatal(err)
			}
			if n, _ := changed.RowsAffected(); n == 0 {
				t.Fatal("nothing was damaged")
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			r, err := Check(t.Context(), folder)
			if err != nil || len(r.Damages) == 0 {
				t.Fatalf("%+v %v", r, err)
			}
			found := false
			for _, d := range r.Damages {
				found = found || strings.Contains(d.What, tt.want)
				if d.Advice == "" || strings.Contains(d.What, "run midspan fsck") {
					t.Errorf("%+v", d)
				}
			}
			if !found {
				t.Errorf("%q is not among %+v", tt.want, r.Damages)
			}
		})
	}
}

// What is made of rows for searches and statistics is held against them: a right
// checksum does not make it right.
func TestCheckFindsWhatIsNotOfTheRows(t *testing.T) {
	whole := kept(t)
	for _, tt := range []struct {
		part   index.Part
		tamper func(data []byte) []byte
	}{
		{index.PartGrams, func(b []byte) []byte { b[len(b)/2] ^= 8; return b }},
		{index.PartGrams, func(b []byte) []byte { return b[:len(b)/2] }},
		{index.PartCounts, func(b []byte) []byte { b[len(b)-1]++; return b }},
		{index.PartCounts, func(b []byte) []byte { return append(b, 0) }},
	} {
		t.Run(tt.part.String(), func(t *testing.T) {
			folder := t.TempDir()
			if err := os.CopyFS(folder, os.DirFS(whole)); err != nil {
				t.Fatal(err)
			}
			b := open(t, folder, index.Config{}, Config{Every: time.Hour})
			data, err := b.store.Load(t.Context(), 0, tt.part)
			if err != nil {
				t.Fatal(err)
			}
			blob := b.store.pack.pack(tt.tamper(bytes.Clone(data)))
			if err := b.log.Update(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.ExecContext(t.Context(), "UPDATE part SET data = ? WHERE id = ?", blob, partID(0, tt.part))
				return err
			}); err != nil {
				t.Fatal(err)
			}
			b.die(t)
			r, err := Check(t.Context(), folder)
			want := "segment 0 of the history: its " + tt.part.String() + " are not those of its rows"
			if err != nil || len(r.Damages) != 1 || !strings.HasPrefix(r.Damages[0].What, want) {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
}

// A page that SQLite can't read is damage too, not a failure of the check.
func TestCheckFindsBrokenPages(t *testing.T) {
	folder := kept(t)
	l, err := sqlite.Open(t.Context(), sqlite.Config{Folder: folder, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // the WAL is in the file now
		t.Fatal(err)
	}
	path := filepath.Join(folder, "midspan.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 2 << 14; at < len(b); at += 3 << 14 {
		copy(b[at:], bytes.Repeat([]byte{0xff}, 64))
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Check(t.Context(), folder); err != nil || len(r.Damages) == 0 {
		t.Errorf("%+v %v", r, err)
	}
	if err := os.WriteFile(path, []byte("no database at all, but long enough"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Check(t.Context(), folder); err != nil || len(r.Damages) != 1 {
		t.Errorf("%+v %v", r, err)
	}
}
