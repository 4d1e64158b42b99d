package bridge

import (
	"encoding/binary"
	"log/slog"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
)

// BenchmarkAppend is what the door costs a finished span on its way to an index in
// memory: while every clock is right, while one is off, and of a process whose is.
func BenchmarkAppend(b *testing.B) {
	for _, bb := range []struct {
		name       string
		off, other time.Duration
	}{{"right", 0, 0}, {"another is off", 0, time.Hour}, {"off", time.Hour, 0}} {
		b.Run(bb.name, func(b *testing.B) {
			const free = "127.0.0.1:0"
			br, err := New(b.Context(), Config{Listen: free, OTLPGRPC: free, OTLPHTTP: free, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			var of []*activity.Resource
			for _, lease := range []string{"one", "two", "other"} {
				var attrs []activity.Attr
				for _, key := range []string{"service.name", "service.instance.id", "host.name", "os.type", "process.pid", "telemetry.sdk.language", "telemetry.sdk.name", activity.KeyLeaseID} {
					attrs = append(attrs, activity.Attr{Key: key, Value: activity.StringValue(lease)})
				}
				r := activity.NewResource(attrs, "")
				of = append(of, r)
				off := bb.off
				if lease == "other" {
					off = bb.other
				}
				if err := br.leases.Renewed(r, time.Minute, 1, activity.TimeOf(time.Now().Add(off))); err != nil {
					b.Fatal(err)
				}
			}
			const batch = 512
			var n uint64
			events := make([]activity.Event, batch)
			b.ResetTimer()
			for b.Loop() {
				now := activity.TimeOf(time.Now())
				for i := range events {
					n++
					e := activity.Event{Kind: activity.EventCompleted, At: now, Changes: activity.Changes{
						Name: "work", StartTime: now - 1000, EndTime: now, Resource: of[i/64%2],
						Attrs: []activity.Attr{{Key: "http.route", Value: activity.StringValue("/orders")}, {Key: "order", Value: activity.IntValue(int64(n))}},
					}}
					binary.BigEndian.PutUint64(e.ID.Trace[:], n)
					binary.BigEndian.PutUint64(e.ID.Span[:], n)
					events[i] = e
				}
				if err := br.store.Append(b.Context(), events); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/span")
			for _, l := range br.listeners {
				l.Close()
			}
			if err := br.store.close(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
