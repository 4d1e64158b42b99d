package processor_test

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/zpages"
	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/processor"
)

// The reference activity: a name of 26 bytes, three descriptions of 55, 28 and
// 50 bytes, and 8 attributes.
const (
	refName    = "Select deployment strategy"
	refPlanned = "Analyze the metrics of the last hour and pick a rollout"
	refCurrent = "Analyzing deployment metrics"
	refFinal   = "Chose blue/green: error budget 82 % left, load low"
)

func referenceAttributes() []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String(activity.KeyType, activity.Decision.String()),
		attribute.String(activity.KeyState, activity.InProgress.String()),
		attribute.String(activity.KeyPlanned, refPlanned),
		attribute.String("order.id", "ord-2026-11-22-000817"),
		attribute.String("customer.tier", "gold"),
		attribute.Int("order.items", 17),
		attribute.Float64("order.total", 812.55),
		attribute.String("region", "eu-central-1"),
	}
}

func reference(ctx context.Context, tracer trace.Tracer) {
	_, span := tracer.Start(ctx, refName, trace.WithAttributes(referenceAttributes()...))
	span.SetAttributes(attribute.String(activity.KeyCurrent, refCurrent))
	span.SetAttributes(attribute.String(activity.KeyFinal, refFinal))
	span.End()
}

type idle struct{}

func (idle) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (idle) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (idle) Shutdown(context.Context) error                  { return nil }
func (idle) ForceFlush(context.Context) error                { return nil }

// rival is what the benchmark compares: a processor, or Midspan with an index.
type rival struct {
	name      string
	processor func() sdktrace.SpanProcessor
	index     func() *index.Index
	// Of Midspan: with a batch processor behind it, and registered with the SDK.
	exports, registered bool

	// The least that a span took: of wall time, of the CPU time of its caller's
	// thread, and of that of all goroutines.
	wall, caller, cpu time.Duration
}

func rivals() []*rival {
	// A process that has run for a while: its index takes no more memory, for each
	// activity that ends it evicts the oldest.
	ix := index.New(index.Config{MaxFinished: 2 * roundSpans})
	full := func() *index.Index { return ix }
	return []*rival{
		{name: "idle", processor: func() sdktrace.SpanProcessor { return idle{} }},
		{name: "zpages", processor: func() sdktrace.SpanProcessor { return zpages.NewSpanProcessor() }},
		{name: "batch", processor: batch},
		{name: "midspan", index: func() *index.Index { return index.New(index.Config{MaxFinished: -1, MaxBytes: -1}) }},
		{name: "full", index: full},
		{name: "exports", index: full, exports: true},
		{name: "registered", index: full, registered: true},
	}
}

func batch() sdktrace.SpanProcessor {
	return sdktrace.NewBatchSpanProcessor(tracetest.NewNoopExporter())
}

// start returns the rival's provider, and what shuts it down and returns how
// many events its index took.
func (r *rival) start() (trace.TracerProvider, func() uint64) {
	if r.index == nil {
		tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r.processor()))
		return tp, func() uint64 { _ = tp.Shutdown(context.Background()); return 0 }
	}
	ix := r.index()
	before := ix.Head().Seq
	var cfg processor.Config
	if r.exports {
		cfg.Next = append(cfg.Next, batch())
	}
	p := processor.New(ix, cfg)
	tp := sdktrace.NewTracerProvider(sdktrace.WithSampler(processor.Sampler(sdktrace.ParentBased(sdktrace.AlwaysSample()))))
	if r.registered {
		tp.RegisterSpanProcessor(p)
	}
	return processor.Live(tp, p), func() uint64 {
		_, _ = tp.Shutdown(context.Background()), p.Shutdown(context.Background())
		return ix.Head().Seq - before
	}
}

const roundSpans = 30_000

// BenchmarkAdded compares what a processor adds to a span's caller and to the
// whole process, beside an SDK whose processor does nothing. A span is one
// reference activity made through the plain OpenTelemetry API: start, two
// changes of its description, end. The rivals take turns, twenty rounds, and the
// best round of each counts: these machines are never quiet. CPU time of the
// caller's own thread, which nothing else runs on, says what it pays when others
// want the processors too; wall time tells that only on a quiet machine.
func BenchmarkAdded(b *testing.B) {
	for _, procs := range []int{1, 2} {
		b.Run(fmt.Sprintf("procs=%d", procs), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			all := rivals()
			for b.Loop() {
				for range 20 {
					for _, r := range all {
						r.round(b)
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			base := all[0]
			for _, m := range []struct {
				name string
				of   func(*rival) time.Duration
			}{
				{"caller", func(r *rival) time.Duration { return r.caller }},
				{"cpu", func(r *rival) time.Duration { return r.cpu }},
				{"wall", func(r *rival) time.Duration { return r.wall }},
			} {
				b.ReportMetric(float64(m.of(base)), "idle-"+m.name+"-ns")
				for _, r := range all[1:] {
					b.ReportMetric(float64(m.of(r)-m.of(base)), r.name+"-"+m.name+"-ns-added")
				}
			}
			b.ReportMetric(float64(all[3].caller-base.caller)/float64(all[1].caller-base.caller), "midspan/zpages")
		})
	}
}

func (r *rival) round(b *testing.B) {
	provider, stop := r.start()
	tracer := provider.Tracer("bench")
	ctx := context.Background()
	runtime.GC()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpu, caller, begin := cpuTime(syscall.RUSAGE_SELF), cpuTime(thisThread), time.Now()
	for range roundSpans {
		reference(ctx, tracer)
	}
	caller = cpuTime(thisThread) - caller
	wall := time.Since(begin)
	events := stop()
	cpu = cpuTime(syscall.RUSAGE_SELF) - cpu
	if r.index != nil && events != roundSpans*4 {
		b.Fatalf("%d events of %d spans", events, roundSpans)
	}
	for least, took := range map[*time.Duration]time.Duration{&r.wall: wall, &r.caller: caller, &r.cpu: cpu} {
		if took /= roundSpans; *least == 0 || took < *least {
			*least = took
		}
	}
}

// BenchmarkSpan counts the allocations of one reference activity.
func BenchmarkSpan(b *testing.B) {
	for _, r := range rivals() {
		b.Run(r.name, func(b *testing.B) {
			provider, stop := r.start()
			defer stop()
			tracer := provider.Tracer("bench")
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				reference(ctx, tracer)
			}
		})
	}
}

// A plain span takes no more allocations than with an SDK that does nothing,
// whose copy of what ends it saves; where it does not, two more.
func TestAllocations(t *testing.T) {
	allocations := map[string]float64{}
	for _, r := range rivals() {
		provider, stop := r.start()
		tracer := provider.Tracer("bench")
		allocations[r.name] = testing.AllocsPerRun(5000, func() { reference(t.Context(), tracer) })
		stop()
	}
	for name, limit := range map[string]float64{"midspan": 0, "full": 0, "exports": 0, "registered": 2} {
		if added := allocations[name] - allocations["idle"]; added > limit {
			t.Errorf("%s: %v allocations added, %v in all", name, added, allocations[name])
		}
	}
}

// thisThread is RUSAGE_THREAD, which only Linux has.
const thisThread = 1

func cpuTime(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
