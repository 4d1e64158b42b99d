//go:build unix

package sqlite

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/eventlog/memory"
)

// finished are spans as a load driver sends them: fresh ids, 1,000 names, 8
// attributes of which half have values that do not repeat.
func finished(n int) []activity.Event {
	resource := &activity.Resource{Service: "orders", Attrs: []activity.Attr{{Key: activity.KeyServiceName, Value: activity.StringValue("orders")}}}
	scope := &activity.Scope{Name: "driver", Version: "1.0"}
	events := make([]activity.Event, n)
	for i := range events {
		e := &events[i]
		for k := range e.ID.Trace {
			e.ID.Trace[k] = byte(rand.Uint32())
		}
		for k := range e.ID.Span {
			e.ID.Span[k] = byte(rand.Uint32())
		}
		e.At = activity.Time(1_790_000_000_000_000_000 + rand.Int64N(1e9))
		e.StartTime, e.EndTime = e.At-activity.Time(rand.IntN(50_000_000)), e.At
		e.Kind, e.SpanKind, e.Sampling, e.Flags = activity.EventCompleted, activity.KindServer, activity.Sampled, 0x101
		e.Name, e.Resource, e.Scope = fmt.Sprintf("GET /orders/{id}/%d", rand.IntN(1000)), resource, scope
		e.Attrs = []activity.Attr{
			{Key: "http.request.method", Value: activity.StringValue("GET")},
			{Key: "http.route", Value: activity.StringValue(e.Name[4:])},
			{Key: "http.response.status_code", Value: activity.IntValue(200)},
			{Key: "server.address", Value: activity.StringValue("orders.example")},
			{Key: "url.path", Value: activity.StringValue(fmt.Sprintf("/orders/%x", rand.Uint64()))},
			{Key: "user.id", Value: activity.StringValue(fmt.Sprintf("%x", rand.Uint32()))},
			{Key: "client.address", Value: activity.StringValue(fmt.Sprintf("10.0.%d.%d", rand.IntN(256), rand.IntN(256)))},
			{Key: "http.request.body.size", Value: activity.IntValue(rand.Int64N(1 << 20))},
		}
	}
	return events
}

// BenchmarkAppend is what a log takes of 4 appenders with batches of 512, with
// nothing that applies them.
func BenchmarkAppend(b *testing.B) {
	for _, level := range []eventlog.Level{eventlog.Disk, eventlog.Memory} {
		b.Run(level.String(), func(b *testing.B) { benchmarkAppend(b, Config{Level: level}) })
	}
	b.Run("no file", func(b *testing.B) {
		l := memory.Open(memory.Config{})
		defer l.Close()
		appendAll(b, l)
	})
}

// BenchmarkPageSize compares page sizes, and when the WAL is taken into the file.
func BenchmarkPageSize(b *testing.B) {
	for _, size := range []int{4 << 10, 16 << 10, 32 << 10, 64 << 10} {
		for _, grown := range []int64{1 << 20, 4 << 20, 16 << 20} {
			b.Run(fmt.Sprintf("page=%d/wal=%dMiB", size, grown>>20), func(b *testing.B) {
				benchmarkAppend(b, Config{pageSize: size, walGrown: grown})
			})
		}
	}
}

func benchmarkAppend(b *testing.B, cfg Config) {
	cfg.Folder = b.TempDir()
	l := open(b, cfg)
	appendAll(b, l)
	sizes := l.Sizes()
	b.ReportMetric(float64(sizes.File)/float64(sizes.Events), "file-B/event")
	b.ReportMetric(float64(sizes.WAL)/(1<<20), "WAL-MiB")
}

func appendAll(b *testing.B, l eventlog.Log) {
	batches := make([][]activity.Event, 16)
	for i := range batches {
		batches[i] = finished(512)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	before := cpu(b)
	b.ResetTimer()
	for range 4 {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				events := append([]activity.Event(nil), batches[i%16]...)
				for l.Append(b.Context(), events) != nil { // at level Memory it may be full
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(512*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(cpu(b)-before)/float64(512*b.N), "cpu-ns/event")
}

// cpu is what the process has used, in ns: what else the machine does counts less in it.
func cpu(b *testing.B) int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}
