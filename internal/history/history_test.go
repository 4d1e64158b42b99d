package history

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/eventlog/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bridge is a log, an index and what keeps it, as a bridge has them.
type bridge struct {
	*index.Index
	log    *sqlite.Log
	store  *Store
	keeper *Keeper
}

func open(t testing.TB, folder string, cfg index.Config, keep Config) *bridge {
	t.Helper()
	b := new(bridge)
	var err error
	b.log, err = sqlite.Open(t.Context(), sqlite.Config{Folder: folder, Logger: slog.New(slog.DiscardHandler), Apply: func(events []activity.Event) { b.Apply(events) }})
	if err != nil {
		t.Fatal(err)
	}
	if b.store, err = NewStore(b.log); err != nil {
		t.Fatal(err)
	}
	var checkpoint uint64
	if b.Index, checkpoint, err = Open(t.Context(), b.store, b.log, cfg); err != nil {
		t.Fatal(err)
	}
	keep.Store, keep.Log, keep.Index = b.store, b.log, b.Index
	keep.Logger = slog.New(slog.DiscardHandler)
	b.keeper = NewKeeper(keep, checkpoint)
	return b
}

// die closes without a checkpoint, as a process that is killed leaves its file.
func (b *bridge) die(t testing.TB) {
	t.Helper()
	b.keeper.once.Do(func() {
		close(b.keeper.stop)
		b.keeper.stopped.Wait()
	})
	if err := errors.Join(b.store.Close(), b.log.Close()); err != nil {
		t.Fatal(err)
	}
}

var res = &activity.Resource{Service: "orders", Attrs: []activity.Attr{{Key: "service.name", Value: activity.StringValue("orders")}}}

// spans returns the events of n activities from number first on; every tenth is
// left open.
func spans(first, n int) []activity.Event {
	var events []activity.Event
	for k := first; k < first+n; k++ {
		var id activity.ID
		binary.BigEndian.PutUint64(id.Trace[8:], uint64(1+k/10))
		binary.BigEndian.PutUint64(id.Span[:], uint64(1+k))
		at := activity.TimeOf(time.Date(2026, 11, 22, 10, 0, 0, k, time.UTC))
		start := activity.Event{ID: id, Rev: 1, Kind: activity.EventStarted, At: at}
		start.Name, start.StartTime, start.Resource = fmt.Sprintf("work %d", k%40), at, res
		start.Attrs = []activity.Attr{{Key: "order.id", Value: activity.IntValue(int64(k))}}
		events = append(events, start)
		if k%10 != 3 {
			end := activity.Event{ID: id, Rev: 2, Kind: activity.EventCompleted, At: at + 1000}
			end.EndTime = end.At
			events = append(events, end)
		}
	}
	return events
}

func list(t *testing.T, x *index.Index, q activity.Query) []string {
	t.Helper()
	q.Limit = 1000
	page, err := x.List(t.Context(), &q)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{fmt.Sprint(page.Total, page.AsOf)}
	for _, a := range page.Activities {
		out = append(out, string(a.AppendJSON(nil)))
	}
	return out
}

// What was appended is found again after any end, from memory and file alike,
// and the log holds no more than a restart needs.
func TestRestart(t *testing.T) {
	folder := t.TempDir()
	cfg := index.Config{MaxBytes: 1}
	queries := []activity.Query{
		{}, {Sort: activity.OldestPlanned},
		{Filter: activity.Filter{States: []activity.State{activity.InProgress}}},
		{Filter: activity.Filter{Attrs: []activity.AttrFilter{{Key: "order.id", Values: []string{"17", "9000", "29000"}}}}},
	}
	b := open(t, folder, cfg, Config{Events: 5_000, Every: 50 * time.Millisecond})
	n := 0
	for round := range 4 {
		for range 10 {
			if err := b.log.Append(t.Context(), spans(n, 1_000)); err != nil {
				t.Fatal(err)
			}
			n += 1_000
		}
		if round == 1 {
			if err := b.keeper.Checkpoint(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		var want [][]string
		for _, q := range queries {
			want = append(want, list(t, b.Index, q))
		}
		if round == 2 {
			if err := errors.Join(b.keeper.Stop(t.Context()), b.keeper.Stop(t.Context()), b.store.Close(), b.log.Close()); err != nil {
				t.Fatal(err)
			}
		} else {
			b.die(t)
		}
		b = open(t, folder, cfg, Config{Events: 1 << 40, Every: time.Hour})
		if round == 2 {
			if floor, last := b.log.Bounds(); floor != last {
				t.Errorf("after a clean stop the log holds the events after %d up to %d", floor, last)
			}
		}
		for i, q := range queries {
			if diff := cmp.Diff(want[i], list(t, b.Index, q)); diff != "" {
				t.Fatalf("round %d, query %d (-before +after):\n%s", round, i, diff)
			}
		}
	}
	b.die(t)
}

// A reader that is behind keeps the log.
func TestKeep(t *testing.T) {
	needed := uint64(100)
	b := open(t, t.TempDir(), index.Config{}, Config{Every: time.Hour, Keep: func(context.Context) (uint64, error) { return needed, nil }})
	defer b.die(t)
	for n := range 5 {
		if err := b.log.Append(t.Context(), spans(100*n, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.keeper.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if floor, _ := b.log.Bounds(); floor > needed {
		t.Errorf("the log let go of the events up to %d; %d is needed", floor, needed+1)
	}
	needed = 1 << 40
	if err := b.keeper.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if floor, last := b.log.Bounds(); floor != last {
		t.Errorf("the log holds the events after %d up to %d", floor, last)
	}
}

// An event of what can't be read now stays in the log until it can.
func TestLateEventOfDamage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		repair string // after this
	}{{"repaired before a restart", ""}, {"repaired after a restart", "restart"}, {"repaired at work", "none"}} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			var later atomic.Int64 // than now
			cfg := index.Config{MaxBytes: 1, Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }}
			b := open(t, folder, cfg, Config{Every: time.Hour})
			for n := range 14 {
				if err := b.log.Append(t.Context(), spans(1_000*n, 1_000)); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.keeper.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			update := func(query string) {
				t.Helper()
				if err := b.log.Update(t.Context(), func(tx *sql.Tx) error {
					_, err := tx.ExecContext(t.Context(), query)
					return err
				}); err != nil {
					t.Fatal(err)
				}
			}
			again := func() {
				t.Helper()
				b.die(t)
				b = open(t, folder, cfg, Config{Every: time.Hour})
			}
			update("CREATE TABLE good AS SELECT id, data FROM part WHERE id = 3")
			update("UPDATE part SET data = zeroblob(length(data)) WHERE id = 3")
			again()
			late := spans(0, 1)
			late[1].Rev, late[1].Attrs = 3, []activity.Attr{{Key: "late", Value: activity.StringValue("precious")}}
			if err := b.log.Append(t.Context(), late[1:]); err != nil {
				t.Fatal(err)
			}
			_, last := b.log.Bounds()
			for range 2 { // more comes, and a checkpoint
				if err := errors.Join(b.log.Append(t.Context(), spans(14_000, 100)), b.keeper.Checkpoint(t.Context())); err != nil {
					t.Fatal(err)
				}
				if floor, _ := b.log.Bounds(); floor >= last {
					t.Fatalf("the log let go of the events up to %d; %d is not in the history", floor, last)
				}
				if tt.repair == "restart" {
					again()
				}
			}
			if seqs, why := b.Waiting(); len(seqs) != 1 || seqs[0] != last || why == nil || !strings.Contains(why.Error(), "segment 0") {
				t.Fatalf("%v wait: %v", seqs, why)
			}
			update("UPDATE part SET data = (SELECT data FROM good WHERE good.id = part.id) WHERE id = 3")
			if tt.repair == "none" {
				later.Store(int64(2 * time.Minute)) // what is damaged is not tried all the time
				b.keeper.tend(t.Context())
			} else {
				again()
			}
			defer func() { b.die(t) }()
			d, err := b.Get(t.Context(), late[1].ID)
			if err != nil || !strings.Contains(string(d.Activity.AppendJSON(nil)), "precious") {
				t.Errorf("%v, %v", d, err)
			}
			if err := b.keeper.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if floor, last := b.log.Bounds(); floor != last || b.Waits() != 0 {
				t.Errorf("the log holds the events after %d up to %d, %d wait", floor, last, b.Waits())
			}
		})
	}
}

// What was changed in the file is found out, and names the place.
func TestDamage(t *testing.T) {
	for _, tt := range []struct{ name, change, want string }{
		{"a part", "UPDATE part SET data = zeroblob(length(data)) WHERE id % 4 = 3", "load the text of segment 0: its checksum is wrong"},
		{"the state", "UPDATE state SET data = substr(data, 1, length(data)-1)", "the state: its checksum is wrong"},
		{"a summary", "UPDATE segment SET summary = zeroblob(9)", "the summary of segment 0: its checksum is wrong"},
		{"the checkpoint's place", "UPDATE checkpoint SET seq = seq - 1", "the file is damaged"},
		{"the state is gone", "DELETE FROM state", "restore"},
		{"a part is gone", "DELETE FROM part WHERE id % 4 = 0", "spans"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			cfg := index.Config{MaxBytes: 1}
			b := open(t, folder, cfg, Config{Every: time.Hour})
			for n := range 14 {
				if err := b.log.Append(t.Context(), spans(1_000*n, 1_000)); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.keeper.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := b.log.Update(t.Context(), func(tx *sql.Tx) error {
				_, err := tx.ExecContext(t.Context(), tt.change)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(b.store.Close(), b.log.Close()); err != nil {
				t.Fatal(err)
			}
			log, err := sqlite.Open(t.Context(), sqlite.Config{Folder: folder, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			store, err := NewStore(log)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			x, _, err := Open(t.Context(), store, log, cfg)
			if err == nil { // the segments alone are damaged: all the rest is there
				page, listed := x.List(t.Context(), &activity.Query{Sort: activity.OldestPlanned, Limit: 1, Filter: activity.Filter{Terms: []string{"work"}}})
				if listed != nil || !page.Incomplete || len(page.Activities) != 1 {
					t.Errorf("%+v %v", page, listed)
				}
				if damages := x.Damages(t.Context()); len(damages) > 0 {
					err = damages[0]
				}
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// What is too old goes from the file also while nothing comes, and what a process
// that died has left of it goes later.
func TestRetired(t *testing.T) {
	folder := t.TempDir()
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	cfg := index.Config{MaxBytes: 1, MaxAge: 24 * time.Hour, Now: func() time.Time { return time.Unix(0, now.Load()) }}
	keep := Config{Every: time.Hour}
	b := open(t, folder, index.Config{MaxBytes: 1}, keep)
	for n := range 60 {
		if err := b.log.Append(t.Context(), spans(1_000*n, 1_000)); err != nil {
			t.Fatal(err)
		}
	}
	parts := func() (n int) {
		t.Helper()
		if err := b.store.db.View(t.Context(), func(tx *sql.Tx) error {
			return tx.QueryRowContext(t.Context(), "SELECT count(*) FROM part").Scan(&n)
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := b.keeper.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := parts(); n < 10*len(index.Parts) {
		t.Fatalf("%d parts: nothing will be tried", n)
	}
	b.die(t)
	// These ended five days ago and were heard of just now.
	b = open(t, folder, cfg, keep)
	b.keeper.tend(t.Context())
	stats, err := b.Stats(t.Context())
	if err != nil || stats.Held.Finished != 0 || stats.Held.InFlight != 6_000 {
		t.Fatalf("%+v, %v", stats.Held, err)
	}
	if err := b.keeper.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := parts(); n != 0 {
		t.Errorf("%d parts are left", n)
	}
	b.die(t)
	b = open(t, folder, cfg, keep)
	defer func() { b.die(t) }()
	if stats, err := b.Stats(t.Context()); err != nil || stats.Held.Finished != 0 || stats.Held.InFlight != 6_000 {
		t.Fatalf("after a restart: %+v, %v", stats.Held, err)
	}
	// A part that was left there.
	if err := b.log.Update(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "INSERT INTO part (id, data) VALUES (1, x'00')")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.keeper.Checkpoint(t.Context()); err != nil || parts() != 0 {
		t.Errorf("%d parts are left, %v", parts(), err)
	}
}

// What goes while somebody asks for statistics goes from the file, too.
func TestRetiredByStatistics(t *testing.T) {
	folder := t.TempDir()
	keep := Config{Every: time.Hour}
	b := open(t, folder, index.Config{}, keep)
	if err := b.log.Append(t.Context(), spans(0, 100)); err != nil {
		t.Fatal(err)
	}
	if err := b.keeper.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.die(t)
	held := func() int64 {
		t.Helper()
		stats, err := b.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return stats.Held.Finished
	}
	b = open(t, folder, index.Config{MaxAge: 24 * time.Hour}, keep) // these ended five days ago
	if n := held(); n != 0 {
		t.Fatalf("%d are held: nothing will be tried", n)
	}
	if err := b.keeper.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.die(t)
	b = open(t, folder, index.Config{}, keep)
	defer b.die(t)
	if n := held(); n != 0 {
		t.Errorf("%d are in the file again", n)
	}
}

// A checkpoint that can't be written is tried again, and what came meanwhile is
// in it.
func TestCheckpointFails(t *testing.T) {
	b := open(t, t.TempDir(), index.Config{}, Config{Every: time.Hour})
	defer b.die(t)
	if err := b.log.Append(t.Context(), spans(0, 100)); err != nil {
		t.Fatal(err)
	}
	failing := &Store{db: failingDatabase{b.log}, pack: b.store.pack}
	b.keeper.cfg.Store = failing
	if err := b.keeper.Checkpoint(t.Context()); !errors.Is(err, eventlog.ErrUnavailable) || b.keeper.Err() == nil {
		t.Fatalf("%v, %v", err, b.keeper.Err())
	}
	b.keeper.cfg.Store = b.store
	if err := b.keeper.Checkpoint(t.Context()); err != nil || b.keeper.Err() != nil {
		t.Fatalf("%v, %v", err, b.keeper.Err())
	}
}

type failingDatabase struct{ Database }

func (failingDatabase) Update(context.Context, func(*sql.Tx) error) error {
	return fmt.Errorf("disk full: %w", eventlog.ErrUnavailable)
}

func FuzzUnpack(f *testing.F) {
	p, err := newPacker()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = p.close() })
	f.Add(p.pack([]byte(strings.Repeat("text ", 100))))
	f.Add(p.pack([]byte{1, 2, 3}))
	f.Add([]byte(filepath.Join("not", "a", "blob")))
	f.Fuzz(func(t *testing.T, blob []byte) {
		data, err := p.unpack(blob)
		if err != nil {
			return
		}
		if again, err := p.unpack(p.pack(data)); err != nil || string(again) != string(data) {
			t.Errorf("%d bytes do not come back: %v", len(data), err)
		}
	})
}
