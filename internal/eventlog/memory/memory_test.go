package memory_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/eventlog/eventlogtest"
	"github.com/midspan/midspan/internal/eventlog/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	eventlogtest.Run(t, eventlogtest.Driver{
		Open: func(_ *testing.T, _ string, apply func([]activity.Event), now func() time.Time) eventlog.Log {
			return memory.Open(memory.Config{Apply: apply, Now: now})
		},
	})
}

func TestBounds(t *testing.T) {
	fill := func(cfg memory.Config, appends, events int) memory.Stats {
		l := memory.Open(cfg)
		defer l.Close()
		for i := range appends {
			if err := l.Append(t.Context(), eventlogtest.Events("a", i*events, events)); err != nil {
				t.Fatal(err)
			}
		}
		stats := l.Stats()
		floor, last := l.Bounds()
		if stats.Events != last-floor || stats.Trimmed != floor || last != uint64(appends*events) {
			t.Errorf("%+v with the bounds %d and %d", stats, floor, last)
		}
		return stats
	}
	if got := fill(memory.Config{MaxEvents: 100}, 10, 10); got.Events != 100 {
		t.Errorf("%d events at the bound of 100", got.Events)
	}
	if got := fill(memory.Config{MaxEvents: 100}, 11, 10); got.Events != 100 || got.Trimmed != 10 {
		t.Errorf("one append past the bound of 100 events: %+v", got)
	}
	all := fill(memory.Config{}, 10, 10)
	if got := fill(memory.Config{MaxBytes: all.Bytes}, 10, 10); got.Trimmed != 0 {
		t.Errorf("at the bound of %d bytes: %+v", all.Bytes, got)
	}
	if got := fill(memory.Config{MaxBytes: all.Bytes - 1}, 10, 10); got.Trimmed != 10 || got.Bytes >= all.Bytes {
		t.Errorf("one byte past the bound of %d bytes: %+v", all.Bytes-1, got)
	}
	if got := fill(memory.Config{MaxEvents: 1, MaxBytes: 1}, 2, 10); got.Events != 10 || got.Trimmed != 10 {
		t.Errorf("the last append is held: %+v", got)
	}
}
