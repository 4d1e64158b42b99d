package midspan

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// exportConfig says where finished spans go.
type exportConfig struct {
	endpoint string // empty means nowhere
	explicit bool   // the endpoint is not the environment's
	protocol string // empty means by the port
	bridge   bool   // it is a bridge
	token    string // that admits to it
}

// environmentExport reads what the exporters themselves don't decide: whether
// there is one, and which. Headers, TLS, compression and timeouts they read
// themselves.
// Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
func environmentExport(endpoint string) (exportConfig, error) {
	c := exportConfig{endpoint: endpoint, explicit: endpoint != ""}
	if !c.explicit {
		c.endpoint = firstSet(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT"))
		switch exporter := strings.TrimSpace(os.Getenv("OTEL_TRACES_EXPORTER")); exporter {
		case "", "otlp":
		case "none":
			c.endpoint = ""
		default:
			return c, fmt.Errorf("midspan: OTEL_TRACES_EXPORTER is %q: use otlp or none, or set Config.Exporter", exporter)
		}
	}
	c.protocol = firstSet(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"))
	switch c.protocol {
	case "", "grpc", "http/protobuf", "http/json":
		return c, nil
	}
	return c, fmt.Errorf("midspan: OTEL_EXPORTER_OTLP_PROTOCOL is %q: use grpc, http/protobuf or http/json", c.protocol)
}

// sdkDisabled reports whether the operator has switched OpenTelemetry off. What
// is neither true nor false counts as false, and is told to the error handler.
// Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration
func sdkDisabled() bool {
	value := strings.ToLower(strings.TrimSpace(os.Getenv("OTEL_SDK_DISABLED")))
	if value != "" && value != "true" && value != "false" {
		otel.Handle(fmt.Errorf("OTEL_SDK_DISABLED: %q is neither true nor false: it counts as false", value))
	}
	return value == "true"
}

func firstSet(values ...string) string {
	for _, v := range values {
		if v = strings.TrimSpace(v); v != "" {
			return v
		}
	}
	return ""
}

// grpc reports whether the protocol is gRPC: as named, or else by the port
// that is registered for it.
func (c exportConfig) grpc() bool {
	if c.protocol != "" {
		return c.protocol == "grpc"
	}
	return strings.HasSuffix(strings.TrimRight(c.endpoint, "/"), ":4317")
}

func (c exportConfig) newExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if c.grpc() {
		var opts []otlptracegrpc.Option
		if c.explicit {
			opts = append(opts, otlptracegrpc.WithEndpointURL(c.endpoint))
		}
		if c.bridge {
			opts = append(opts, otlptracegrpc.WithDialOption(reconnect()), otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{
				Enabled: true, InitialInterval: firstRetry, MaxInterval: lastRetry, MaxElapsedTime: retryFor,
			}))
		}
		if h := c.headers(); h != nil {
			opts = append(opts, otlptracegrpc.WithHeaders(h))
		}
		return otlptracegrpc.New(ctx, opts...)
	}
	var opts []otlptracehttp.Option
	if c.explicit {
		endpoint, err := c.path("v1", "traces")
		if err != nil {
			return nil, err
		}
		opts = append(opts, otlptracehttp.WithEndpointURL(endpoint))
	}
	if c.bridge {
		opts = append(opts, otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: firstRetry, MaxInterval: lastRetry, MaxElapsedTime: retryFor,
		}))
	}
	if h := c.headers(); h != nil {
		opts = append(opts, otlptracehttp.WithHeaders(h))
	}
	return otlptracehttp.New(ctx, opts...)
}

// path returns the endpoint of a signal by HTTP.
func (c exportConfig) path(elem ...string) (string, error) {
	u, err := url.Parse(c.endpoint)
	if err != nil {
		return "", err
	}
	return u.JoinPath(elem...).String(), nil
}

// exportQueue stands around the SDK's batch processor and its exporter and
// knows what became of every span: it refuses one itself before the SDK's
// queue, made to hold all that it admits, would drop it unseen. It never
// blocks. An unreachable backend is logged when that begins and when it ends.
//
//	OnEnd ─▶ pending < limit ─▶ batch processor ─▶ countingExporter ─▶ exporter
//	              └─ dropped ◀──────────────────────────┘ what it lost
type exportQueue struct {
	sdktrace.SpanProcessor // the SDK's batch processor

	limit   int64
	pending atomic.Int64 // admitted, outcome unknown
	dropped atomic.Int64
	out     *countingExporter
	once    sync.Once
	stopErr error
}

func newExportQueue(exporter sdktrace.SpanExporter, endpoint string, logger *slog.Logger, opts ...sdktrace.BatchSpanProcessorOption) *exportQueue {
	q := &exportQueue{}
	ctx, abort := context.WithCancel(context.Background())
	q.out = &countingExporter{SpanExporter: exporter, q: q, endpoint: endpoint, logger: logger, ctx: ctx, abort: abort, stopped: make(chan struct{})}
	q.SpanProcessor = sdktrace.NewBatchSpanProcessor(q.out, append(opts, func(o *sdktrace.BatchSpanProcessorOptions) {
		// Beside those in the queue a batch may be on its way out.
		o.MaxQueueSize += o.MaxExportBatchSize
		q.limit = int64(o.MaxQueueSize)
	})...)
	return q
}

// OnEnd implements sdktrace.SpanProcessor.
func (q *exportQueue) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if q.pending.Add(1) > q.limit {
		q.pending.Add(-1)
		q.dropped.Add(1)
		return
	}
	q.SpanProcessor.OnEnd(s)
}

// ForceFlush exports what has ended. It returns the error of what could not be.
func (q *exportQueue) ForceFlush(ctx context.Context) error {
	before := q.out.failures.Load()
	if err := q.SpanProcessor.ForceFlush(ctx); err != nil {
		return err
	}
	if q.out.failures.Load() != before {
		return q.out.lastError()
	}
	return nil
}

// Shutdown exports what has ended, until ctx is done, and stops. No goroutine
// is left then, not even with a backend that does not answer.
func (q *exportQueue) Shutdown(ctx context.Context) error {
	q.once.Do(func() {
		before := q.out.failures.Load()
		q.stopErr = q.SpanProcessor.Shutdown(ctx)
		q.out.abort() // what is still under way fails now
		select {
		case <-q.out.stopped:
		case <-time.After(time.Second): // an exporter that does not heed its context
		}
		if q.stopErr == nil && q.out.failures.Load() != before {
			q.stopErr = q.out.lastError()
		}
		q.dropped.Add(max(q.pending.Swap(0), 0)) // ended while it stopped
	})
	return q.stopErr
}

// countingExporter tells its queue what became of each batch, and the logger
// when that changes. The batch processor hears of no error: it would log each.
type countingExporter struct {
	sdktrace.SpanExporter

	q        *exportQueue
	endpoint string
	logger   *slog.Logger
	ctx      context.Context //nolint:containedctx // It bounds the exporter's life, not a call.
	abort    context.CancelFunc
	stopped  chan struct{} // closed when the exporter is shut down
	once     sync.Once
	failures atomic.Int64 // of batches

	mu  sync.Mutex // guards err
	err error      // of the latest batch
}

func (e *countingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(e.ctx, cancel)
	defer stop()
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		e.q.dropped.Add(rejected(err, int64(len(spans))))
		e.failures.Add(1)
	}
	e.q.pending.Add(-int64(len(spans)))
	e.mu.Lock()
	before := e.err
	e.err = err
	e.mu.Unlock()
	switch {
	case err != nil && before == nil:
		e.logger.Warn("midspan: spans can't be exported; those of each failed batch are dropped and counted",
			slog.String("endpoint", e.endpoint), slog.Int("spans", len(spans)), slog.Any("error", err))
	case err == nil && before != nil:
		e.logger.Info("midspan: spans are exported again",
			slog.String("endpoint", e.endpoint), slog.Int64("dropped", e.q.dropped.Load()))
	}
	return nil
}

func (e *countingExporter) Shutdown(ctx context.Context) error {
	defer e.once.Do(func() { close(e.stopped) })
	return e.SpanExporter.Shutdown(ctx)
}

func (e *countingExporter) lastError() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

// A partial success says how much the backend refused; its type is internal to
// each exporter.
var partialSuccess = regexp.MustCompile(`OTLP partial success: .*\((\d+) (?:spans|logs) rejected\)`)

// rejectedOf returns how much an answer of partial success rejected, and false
// for any other error.
func rejectedOf(err error) (n int64, partial bool) {
	if err == nil {
		return 0, false
	}
	if m := partialSuccess.FindStringSubmatch(err.Error()); m != nil {
		n, err = strconv.ParseInt(m[1], 10, 64)
		return n, err == nil
	}
	return 0, false
}

// rejected returns how many of n spans an error lost.
func rejected(err error, n int64) int64 {
	if lost, partial := rejectedOf(err); partial {
		return min(lost, n)
	}
	return n
}
