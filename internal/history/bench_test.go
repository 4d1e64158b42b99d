package history

import (
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/eventlog/sqlite"
)

var benchActivities = flag.Int("activities", 50_000, "how many activities BenchmarkMoment has in its file")

// BenchmarkMoment measures what a past moment costs over a file of -activities,
// one begun each millisecond: most take a tenth of a second, every thousandth a
// tenth of all the time, every ten thousandth never ends. Memory has the share of
// them that it has of 10,000,000 in a bridge, whose bound is 256 MiB.
//
//	go test -run '^$' -bench Moment ./internal/history -activities 10000000
func BenchmarkMoment(b *testing.B) {
	n := *benchActivities
	log, err := sqlite.Open(b.Context(), sqlite.Config{Folder: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	store, err := NewStore(log)
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	begin := activity.TimeOf(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	end := begin + activity.Time(n)*activity.Time(time.Millisecond)
	x, _, err := Open(b.Context(), store, log, index.Config{MaxBytes: int64(n) * 27, Now: func() time.Time { return end.Time() }})
	if err != nil {
		b.Fatal(err)
	}
	save := func() {
		c := x.Checkpoint()
		if err := store.Write(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		x.Saved(c)
	}
	var events []activity.Event
	seq := uint64(0)
	tell := func(k int, rev uint32, kind activity.Kind, at activity.Time, attrs ...activity.Attr) {
		if k < 0 {
			return
		}
		seq++
		e := activity.Event{ID: benchID(k), Seq: seq, ReceivedAt: at, Rev: rev, Kind: kind, At: at}
		e.Attrs = attrs
		switch {
		case rev == 1:
			e.Name, e.StartTime, e.Resource = fmt.Sprintf("work %d", k%1000), at, res
			if k%16 != 0 {
				e.Parent = benchID(k / 16 * 16)
			}
		case kind.Ends():
			e.EndTime = at
		}
		events = append(events, e)
	}
	str := activity.StringValue
	long := max(n/10, 200)
	for k := range n {
		at := begin + activity.Time(k)*activity.Time(time.Millisecond)
		tell(k, 1, activity.EventStarted, at,
			activity.Attr{Key: activity.KeyType, Value: str(activity.Types[1+k%9].String())},
			activity.Attr{Key: "order.id", Value: str(fmt.Sprintf("ord-2026-11-22-%08d", k))},
			activity.Attr{Key: "customer.tier", Value: str([]string{"gold", "silver", "free"}[k%3])})
		tell(k-50, 2, activity.EventUpdated, at, activity.Attr{Key: activity.KeyCurrent, Value: str("Analyzing deployment metrics")})
		if done := k - 100; done%1000 != 0 {
			tell(done, 3, activity.EventCompleted, at)
		}
		if done := k - long; done%1000 == 0 && done%10_000 != 0 {
			tell(done, 3, activity.EventCompleted, at)
		}
		if len(events) > 4000 || k == n-1 {
			x.Apply(events)
			events = events[:0]
		}
		if k%50_000 == 49_999 {
			save()
		}
	}
	save()
	part := func(of float64) activity.Moment {
		m, err := x.Moment(begin + activity.Time(of*float64(end-begin)))
		if err != nil {
			b.Fatal(err)
		}
		return m
	}
	for _, f := range []struct {
		name string
		activity.Filter
	}{
		{name: "newest"},
		{"2-filters", activity.Filter{Types: []activity.Type{activity.Decision}, States: []activity.State{activity.InProgress}}},
		{"open", activity.Filter{States: []activity.State{activity.Planned, activity.InProgress}}},
	} {
		p99(b, f.name, func(i int) {
			m := part([]float64{0.02, 0.25, 0.5, 0.75, 0.98}[i%5])
			page, err := x.List(b.Context(), &activity.Query{Filter: f.Filter, Limit: 100, At: &m})
			if err != nil || len(page.Activities) == 0 {
				b.Fatal(len(page.Activities), err)
			}
		})
	}
	p99(b, "replay-512", func(i int) {
		m := part([]float64{0.02, 0.25, 0.5, 0.75, 0.98}[i%5])
		for _, err := range x.Changes(b.Context(), m.Seq, min(m.Seq+512, seq)) {
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchID(k int) (id activity.ID) {
	binary.BigEndian.PutUint64(id.Trace[8:], uint64(1+k/16)*0x9E3779B97F4A7C15)
	binary.BigEndian.PutUint64(id.Span[:], uint64(1+k)*0xC2B2AE3D27D4EB4F)
	return id
}

// p99 reports the 99th percentile of fn's time in milliseconds.
func p99(b *testing.B, name string, fn func(i int)) {
	b.Run(name, func(b *testing.B) {
		var took []time.Duration
		for i := 0; b.Loop(); i++ {
			begin := time.Now()
			fn(i)
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
	})
}
