package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/metrics"
	"slices"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
)

// million returns an index with n finished reference activities: a name of 26
// bytes (one of 1,000), three descriptions of 55, 28 and 50 bytes and 8
// attributes, half of whose values do not repeat. Every tenth failed.
func million(n int) *Index {
	x := New(Config{MaxFinished: -1, MaxBytes: -1})
	start := activity.TimeOf(time.Now()) - activity.Time(n)*activity.Time(time.Millisecond)
	events := make([]activity.Event, 0, 256)
	for i := range n {
		events = appendReference(events, i, start+activity.Time(i)*activity.Time(time.Millisecond))
		if len(events) >= 252 {
			x.Apply(events)
			events = events[:0]
		}
	}
	x.Apply(events)
	return x
}

var benchResources = func() (list [8]*activity.Resource) {
	for i := range list {
		list[i] = &activity.Resource{Service: fmt.Sprintf("service-%d", i), Instance: "1"}
	}
	return list
}()

func referenceID(i int) activity.ID {
	var id activity.ID
	binary.BigEndian.PutUint64(id.Trace[:8], uint64(i/16+1)*0x9E3779B97F4A7C15)
	binary.BigEndian.PutUint64(id.Trace[8:], uint64(i/16+1))
	binary.BigEndian.PutUint64(id.Span[:], uint64(i+1)*0xC2B2AE3D27D4EB4F)
	return id
}

func appendReference(events []activity.Event, i int, at activity.Time) []activity.Event {
	id := referenceID(i)
	parent := activity.ID{}
	if i%16 != 0 {
		parent = referenceID(i / 16 * 16)
	}
	str := activity.StringValue
	attr := func(key string, v activity.Value) activity.Attr { return activity.Attr{Key: key, Value: v} }
	ms := activity.Time(time.Millisecond)
	end, status := activity.EventCompleted, activity.StatusUnset
	if i%10 == 0 {
		end, status = activity.EventFailed, activity.StatusError
	}
	return append(events,
		activity.Event{ID: id, Rev: 1, At: at, Kind: activity.EventStarted, First: true, Changes: activity.Changes{
			Name: fmt.Sprintf("Select deployment step %03d", i%1000), Parent: parent, SpanKind: activity.KindInternal,
			StartTime: at, Sampling: activity.Sampled, Resource: benchResources[i%8],
			Attrs: []activity.Attr{
				attr(activity.KeyType, str(activity.Types[1+i%9].String())),
				attr(activity.KeyState, str("IN_PROGRESS")),
				attr(activity.KeyPlanned, str("Analyze the metrics of the last hour and pick a rollout")),
				attr("order.id", str(fmt.Sprintf("ord-2026-11-22-%08d", i))),
				attr("customer.tier", str([]string{"gold", "silver", "free"}[i%3])),
				attr("order.items", activity.IntValue(int64(i%40))),
				attr("order.total", activity.FloatValue(float64(i%100_000)/100)),
				attr("region", str("eu-central-1")),
			},
		}},
		activity.Event{ID: id, Rev: 2, At: at + ms, Kind: activity.EventUpdated, Changes: activity.Changes{
			Attrs: []activity.Attr{attr(activity.KeyCurrent, str("Analyzing deployment metrics"))},
		}},
		activity.Event{ID: id, Rev: 3, At: at + 2*ms, Kind: activity.EventUpdated, Changes: activity.Changes{
			Attrs: []activity.Attr{attr(activity.KeyFinal, str("Chose blue/green: error budget 82 % left, load low"))},
		}},
		activity.Event{ID: id, Rev: 4, At: at + 3*ms, Kind: end, Changes: activity.Changes{
			EndTime: at + 3*ms, Status: status,
		}},
	)
}

// BenchmarkUpdates measures what one more update of an activity of many costs.
func BenchmarkUpdates(b *testing.B) {
	x := New(Config{LogID: "01LOG"})
	e := ev(id(1, 1), 1, at(0), activity.EventStarted)
	e.Name, e.Resource = "work", benchResources[0]
	events := []activity.Event{e}
	attrs := []activity.Attr{str(activity.KeyCurrent, "Analyzing deployment metrics"), num("n", 1)}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		events[0].Seq, events[0].ReceivedAt = uint64(n+1), at(time.Duration(n)*time.Millisecond)
		x.Apply(events)
		events[0] = ev(id(1, 1), uint32(n+2), at(time.Duration(n)*time.Millisecond), activity.EventUpdated, attrs...)
	}
}

// BenchmarkMillion measures an index with 1,000,000 finished reference
// activities: its heap, and the 99th percentile of each kind of read.
func BenchmarkMillion(b *testing.B) {
	const n = 1_000_000
	before := heapBytes()
	x := million(n)
	ctx := context.Background()
	b.Run("heap", func(b *testing.B) {
		for b.Loop() {
			b.ReportMetric(float64(heapBytes()-before)/n, "B/activity")
		}
		b.ReportMetric(0, "ns/op")
	})
	list := func(f activity.Filter) func(int) {
		return func(i int) {
			q := &activity.Query{Filter: f, Limit: 100}
			page, err := x.List(ctx, q)
			if err != nil || len(page.Activities) == 0 {
				b.Fatalf("%d rows, %v", len(page.Activities), err)
			}
		}
	}
	p99(b, "list-2-filters", list(activity.Filter{Types: []activity.Type{activity.Decision}, States: []activity.State{activity.Failed}}))
	p99(b, "list-2-rare", list(activity.Filter{Services: []string{"service-3"}, Traces: []activity.TraceID{referenceID(500_003).Trace}}))
	p99(b, "by-id", func(i int) {
		if _, err := x.Get(ctx, referenceID(i*7919%n)); err != nil {
			b.Fatal(err)
		}
	})
	p99(b, "stats", func(int) {
		if _, err := x.Stats(ctx); err != nil {
			b.Fatal(err)
		}
	})
	p99(b, "text-rare", func(i int) {
		list(activity.Filter{Terms: []string{fmt.Sprintf("ord-2026-11-22-%08d", i*7919%n)}})(i)
	})
	p99(b, "text-word", list(activity.Filter{Terms: []string{"blue/green"}}))
	p99(b, "text-nothing", func(int) {
		page, err := x.List(ctx, &activity.Query{Filter: activity.Filter{Terms: []string{"canary"}}, Limit: 100})
		if err != nil || page.Total != 0 {
			b.Fatal(page.Total, err)
		}
	})
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

// BenchmarkCollection measures what share of the CPU the garbage collector
// takes while 20,000 activities a second go into an index that holds
// 1,000,000: of what one core and of what this process used.
func BenchmarkCollection(b *testing.B) {
	const n, rate = 1_000_000, 20_000
	x := million(n)
	for b.Loop() {
		gc, used, begin := gcSeconds(), userSeconds(), time.Now()
		events := make([]activity.Event, 0, 256)
		for i := range rate * 5 {
			if due := begin.Add(time.Duration(i) * time.Second / rate); i%64 == 0 {
				time.Sleep(time.Until(due))
			}
			events = appendReference(events[:0], n+i, activity.TimeOf(time.Now()))
			x.Apply(events)
		}
		gc, used = gcSeconds()-gc, userSeconds()-used
		b.ReportMetric(100*gc/time.Since(begin).Seconds(), "%-of-a-core")
		b.ReportMetric(100*gc/(used+gc), "%-of-used")
	}
}

func heapBytes() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func gcSeconds() float64   { return readMetric("/cpu/classes/gc/total:cpu-seconds") }
func userSeconds() float64 { return readMetric("/cpu/classes/user:cpu-seconds") }

func readMetric(name string) float64 {
	runtime.GC() // the CPU classes are brought up to date by a collection
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	return s[0].Value.Float64()
}
