package midspan_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan"
	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// The reference activity, see docs/PERFORMANCE.md.
const (
	refName, refPlanned  = "Select deployment strategy", "Analyze the metrics of the last hour and pick a rollout"
	refCurrent, refFinal = "Analyzing deployment metrics", "Chose blue/green: error budget 82 % left, load low"
)

var refAttributes = []attribute.KeyValue{
	attribute.String("order.id", "ord-2026-11-22-000817"),
	attribute.String("customer.tier", "gold"),
	attribute.Int("order.items", 17),
	attribute.Float64("order.total", 812.55),
	attribute.String("region", "eu-central-1"),
}

// referenceActivities returns what makes the reference activity by hand, with an
// SDK that does nothing with it, and by package tracing with leak detection.
func referenceActivities(tb testing.TB) (byHand, byTracing func()) {
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(idle{})).Tracer("bench")
	byHand = func() {
		_, span := tracer.Start(context.Background(), refName, trace.WithAttributes(append([]attribute.KeyValue{
			attribute.String(activity.KeyType, activity.Decision.String()),
			attribute.String(activity.KeyState, activity.InProgress.String()),
			attribute.String(activity.KeyPlanned, refPlanned),
		}, refAttributes...)...))
		span.SetAttributes(attribute.String(activity.KeyCurrent, refCurrent))
		span.SetAttributes(
			attribute.String(activity.KeyState, activity.Completed.String()),
			attribute.String(activity.KeyFinal, refFinal))
		span.End()
	}
	ctx := tracing.ContextWithProvider(context.Background(), startBench(tb, midspan.Config{}).TracerProvider())
	byTracing = func() {
		_, a := tracing.Start(ctx, activity.Decision, refName, refPlanned, tracing.WithAttributes(refAttributes...))
		a.Say(refCurrent)
		a.Complete(refFinal)
	}
	return byHand, byTracing
}

// BenchmarkActivity counts what a reference activity made by package tracing,
// with leak detection, costs beside the same span made by hand with an SDK that
// does nothing with it.
func BenchmarkActivity(b *testing.B) {
	byHand, byTracing := referenceActivities(b)
	run := func(name string, reference func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				reference()
			}
		})
	}
	run("by-hand", byHand)
	run("tracing", byTracing)
}

// An activity takes about as many allocations as the span made by hand with an
// SDK that copies it when it ends.
func TestActivityAllocations(t *testing.T) {
	byHand, byTracing := referenceActivities(t)
	plain, all := testing.AllocsPerRun(5000, byHand), testing.AllocsPerRun(5000, byTracing)
	if all-plain > 1 {
		t.Errorf("%v allocations added, %v in all", all-plain, all)
	}
}

type idle struct{}

func (idle) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (idle) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (idle) Shutdown(context.Context) error                  { return nil }
func (idle) ForceFlush(context.Context) error                { return nil }

func startBench(tb testing.TB, cfg midspan.Config) *midspan.Midspan {
	tb.Helper()
	cfg.NoGlobals = true
	m, err := midspan.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.Shutdown(context.Background()) })
	return m
}

// BenchmarkStream measures the time from Complete to the client's having read
// the message, at 5,000 events a second, with 10 clients of everything and 90
// filtered to about 20 events a second, all with batch=1.
func BenchmarkStream(b *testing.B) {
	m := startBench(b, midspan.Config{})
	server := httptest.NewServer(m.Handler())
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	var sent sync.Map // order number to the time of its Complete
	var late latencies
	var read atomic.Int64
	for i := range 100 {
		query := url.Values{"batch": {"1"}}
		if i >= 10 {
			query.Set("attr.shard", fmt.Sprint(i*7%250))
		}
		conn, _, err := websocket.DefaultDialer.DialContext(ctx,
			strings.Replace(server.URL, "http", "ws", 1)+"/activity/stream?"+query.Encode(), nil)
		if err != nil {
			b.Fatal(err)
		}
		clients.Go(func() {
			for {
				_, data, err := conn.ReadMessage()
				if err != nil {
					return
				}
				now := time.Now()
				// Decoding all of it would cost more than what is measured.
				for _, msg := range bytes.Split(data, []byte(`{"event":"`))[1:] {
					read.Add(1)
					if !bytes.HasPrefix(msg, []byte("completed")) {
						continue
					}
					var number int64
					_, digits, _ := bytes.Cut(msg, []byte(`"order":`))
					for _, c := range digits {
						if c < '0' || c > '9' {
							break
						}
						number = number*10 + int64(c-'0')
					}
					if at, ok := sent.Load(number); ok {
						late.add(now.Sub(at.(time.Time)))
					} else {
						b.Errorf("message of no order: %s", msg)
					}
				}
			}
		})
		defer conn.Close()
	}
	actCtx := tracing.ContextWithProvider(ctx, m.TracerProvider())
	order := int64(0)
	for b.Loop() {
		// 2,500 activities a second are 5,000 events: a start and an end.
		begin := time.Now()
		for i := range 2500 * 10 {
			time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / 2500)))
			order++
			_, a := tracing.Start(actCtx, activity.WorkItem, "order", "ship it", tracing.WithAttributes(
				attribute.Int64("order", order), attribute.Int64("shard", order%250)))
			sent.Store(order, time.Now())
			a.Complete("shipped")
		}
		b.ReportMetric(float64(order*2)/time.Since(begin).Seconds(), "events/s")
	}
	cancel()
	b.ReportMetric(late.quantile(0.50), "p50-ms")
	b.ReportMetric(late.quantile(0.99), "p99-ms")
	b.ReportMetric(float64(read.Load()), "messages")
}

type latencies struct {
	mu   sync.Mutex // guards all
	list []time.Duration
}

func (l *latencies) add(d time.Duration) {
	l.mu.Lock()
	l.list = append(l.list, d)
	l.mu.Unlock()
}

func (l *latencies) quantile(q float64) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.list) == 0 {
		return -1
	}
	slices.Sort(l.list)
	return float64(l.list[int(q*float64(len(l.list)-1))]) / 1e6
}
