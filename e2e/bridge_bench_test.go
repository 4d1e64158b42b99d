//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	otel "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan"
	words "github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/e2e/run"
	"github.com/midspan/midspan/internal/loadgen"
	"github.com/midspan/midspan/internal/otlpclient"
)

// bridge is `midspan serve` at work.
type bridge struct {
	*run.Process
	api, grpc, http string // addresses
	folder          string // of --data
}

// newBridge starts a bridge; whoever stops it before the test's end may.
func newBridge(t testing.TB, args ...string) *bridge {
	t.Helper()
	b := &bridge{api: freeAddress(t), grpc: freeAddress(t), http: freeAddress(t)}
	if i := slices.Index(args, "--data"); i >= 0 {
		b.folder = args[i+1]
	}
	b.Process = started(t, exec.Command(setting(t, "MIDSPAN_BIN"),
		append([]string{"serve", "--listen", b.api, "--otlp-grpc", b.grpc, "--otlp-http", b.http}, args...)...), b.api)
	return b
}

// settled waits until as many activities are held as were accepted, and returns how long that took and the bytes on
// disk.
func (b *bridge) settled(t testing.TB, accepted int64) (took time.Duration, size float64) {
	t.Helper()
	began := time.Now()
	for {
		var stats struct{ Total int64 }
		if err := get(context.Background(), "http://"+b.api+"/activity/stats", &stats); err != nil {
			t.Fatal(err)
		}
		if stats.Total == accepted {
			break
		}
		if time.Since(began) > 5*time.Second {
			t.Fatalf("%d of %d accepted spans are held 5 s after the end", stats.Total, accepted)
		}
		time.Sleep(20 * time.Millisecond)
	}
	took = time.Since(began)
	info, err := os.Stat(filepath.Join(b.folder, "midspan.db"))
	if err != nil {
		t.Fatal(err)
	}
	return took, float64(info.Size())
}

// watch opens a stream and calls take with each message, from the greeting on, until ctx is done.
func (b *bridge) watch(ctx context.Context, t testing.TB, query url.Values, take func(message []byte)) {
	t.Helper()
	connection, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+b.api+"/activity/stream?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	leave := context.AfterFunc(ctx, func() { connection.Close() })
	reading.Go(func() {
		defer leave()
		for {
			_, message, err := connection.ReadMessage()
			if err != nil {
				connection.Close()
				return
			}
			take(message)
		}
	})
	t.Cleanup(reading.Wait)
}

// BenchmarkMidSpan measures the time from a span's SetAttributes in this process to a watcher's message, by way of
// `midspan serve --data`: 1,000 spans a second, each changed once in its midst.
func BenchmarkMidSpan(b *testing.B) {
	const rate, length, midway = 1000, 10 * time.Second, 500
	server := newBridge(b, "--data", b.TempDir())
	m, err := midspan.New(midspan.Config{Service: "bench", NoGlobals: true, NoDashboard: true, Bridge: "http://" + server.http})
	if err != nil {
		b.Fatal(err)
	}
	tracer := m.TracerProvider().Tracer("bench")
	var late []time.Duration
	for b.Loop() {
		ctx, cancel := context.WithCancel(context.Background())
		said := make([]atomic.Int64, int(length/time.Second)*rate)
		var mu sync.Mutex // guards late
		server.watch(ctx, b, url.Values{"batch": {"1"}}, func(message []byte) {
			now := time.Now().UnixNano()
			mark := []byte(`"what_its_doing":"step `)
			for rest := message; ; {
				_, after, ok := bytes.Cut(rest, mark)
				if !ok {
					return
				}
				rest = after
				number, _, _ := bytes.Cut(after, []byte(`"`))
				n, err := strconv.Atoi(string(number))
				if err != nil {
					b.Errorf("step %s", number)
					return
				}
				if at := said[n].Swap(0); at != 0 { // the first message that has it
					mu.Lock()
					late = append(late, time.Duration(now-at))
					mu.Unlock()
				}
			}
		})
		tick := time.NewTicker(time.Second / rate)
		spans := make([]trace.Span, len(said))
		for n := range spans {
			<-tick.C
			_, spans[n] = tracer.Start(ctx, "work", trace.WithAttributes(otel.String(words.KeyType, words.WorkItem.String())))
			if n >= midway {
				said[n].Store(time.Now().UnixNano())
				spans[n-midway].SetAttributes(otel.String(words.KeyCurrent, "step "+strconv.Itoa(n)))
			}
			if n >= 2*midway {
				spans[n-2*midway].End()
			}
		}
		tick.Stop()
		time.Sleep(2 * time.Second)
		cancel()
		for _, span := range spans[len(spans)-2*midway:] {
			span.End()
		}
		if want := len(said) - midway; len(late) != want {
			b.Fatalf("%d of %d changes came", len(late), want)
		}
	}
	slices.Sort(late)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(late[len(late)/2])/1e6, "p50-ms")
	b.ReportMetric(float64(late[len(late)*99/100])/1e6, "p99-ms")
	if err := m.Shutdown(context.Background()); err != nil {
		b.Error(err)
	}
}

// BenchmarkWatchers measures what watchers take from ingest at 5,000 spans a second: 500 of two or three
// of a thousand names each, some 12 events a second, 50 of which never read, and 10 of everything. Midspan's CPU time and the latency of requests
// are compared with those of a bridge that nobody watches.
func BenchmarkWatchers(b *testing.B) {
	const rate, length = 5000, 15 * time.Second
	for b.Loop() {
		drive := func(watch func(ctx context.Context, server *bridge)) (loadgen.Result, time.Duration) {
			server := newBridge(b)
			ctx, cancel := context.WithCancel(context.Background())
			watch(ctx, server)
			result, err := loadgen.Run(ctx, loadgen.Config{
				Endpoint: otlpclient.Config{URL: "grpc://" + server.grpc}, For: length, Rate: rate, Batch: 100,
			})
			cancel()
			used := processorTime(b, server.Process)
			if err == nil {
				err = server.Stop()
			}
			if err != nil {
				b.Fatalf("%v\n%s", err, server.Output())
			}
			return result, used
		}
		var events atomic.Int64
		none, idle := drive(func(context.Context, *bridge) {})
		watched, busy := drive(func(ctx context.Context, server *bridge) {
			count := func(message []byte) { events.Add(int64(bytes.Count(message, []byte(`"event":"completed"`)))) }
			for n := range 500 {
				query := url.Values{"q": {fmt.Sprintf(`"GET /v1/item/0%03d"`, n%100)}}
				if n < 50 {
					connection, _, err := websocket.DefaultDialer.DialContext(ctx, "ws://"+server.api+"/activity/stream?"+query.Encode(), nil)
					if err != nil {
						b.Fatal(err)
					}
					context.AfterFunc(ctx, func() { connection.Close() })
					continue
				}
				server.watch(ctx, b, query, count)
			}
			for range 10 {
				server.watch(ctx, b, url.Values{}, count)
			}
		})
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(watched.PerSecond()/none.PerSecond(), "watched/none")
		b.ReportMetric(float64(none.P99)/1e6, "none-p99-ms")
		b.ReportMetric(float64(watched.P99)/1e6, "watched-p99-ms")
		b.ReportMetric(idle.Seconds()/length.Seconds(), "none-cpu")
		b.ReportMetric(busy.Seconds()/length.Seconds(), "watched-cpu")
		b.ReportMetric(float64(events.Load())/length.Seconds(), "events/s")
	}
}

// processorTime returns the processor time that a process has used, as Linux tells it.
func processorTime(t testing.TB, p *run.Process) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')'):]) // from the state on
	var ticks int64
	for _, field := range fields[12:14] { // user, system
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	const perSecond = 100 // USER_HZ
	return time.Duration(ticks) * time.Second / perSecond
}
