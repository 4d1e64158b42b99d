package midspan

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/api"
)

// spanDelay is how long an ended span waits for others on its way to a bridge,
// unless OTEL_BSP_SCHEDULE_DELAY says so.
const spanDelay = 100 * time.Millisecond

// bridgeLink is the way to a bridge: its spans, and the log events that tell of
// activities while they are open.
type bridgeLink struct {
	spans  *exportQueue
	sender *sender
}

func (m *Midspan) openBridge(res *resource.Resource) (*bridgeLink, error) {
	cfg := &m.cfg
	if cfg.Bridge == "" {
		return nil, nil //nolint:nilnil // There is none, and that is no error.
	}
	to, err := environmentExport(cfg.Bridge)
	if err != nil {
		return nil, err
	}
	to.bridge, to.token = true, string(cfg.BridgeToken)
	var logs [2]sdklog.Exporter
	spans, err := to.newExporter(context.Background())
	for i := range logs {
		if err == nil {
			logs[i], err = to.newLogExporter(context.Background())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("midspan: open OTLP exporter to the bridge %s: %w", cfg.Bridge, err)
	}
	return &bridgeLink{
		spans: newExportQueue(m.clean(spans), cfg.Bridge, cfg.Logger, func(o *sdktrace.BatchSpanProcessorOptions) {
			if os.Getenv("OTEL_BSP_SCHEDULE_DELAY") == "" {
				o.BatchTimeout = spanDelay
			}
		}),
		sender: newSender(m.index, logs[0], newRecorder(res), newLease(logs[1], newRecorder(res), cmp.Or(cfg.BridgeLease, activity.DefaultLeaseTTL)), cfg.Bridge, cfg.Logger),
	}, nil
}

func (b *bridgeLink) stats() api.BridgeStats {
	return api.BridgeStats{Endpoint: b.sender.endpoint, Connected: b.sender.connected.Load(), Dropped: b.sender.dropped.Load()}
}

// flush sends what there is.
func (b *bridgeLink) flush(ctx context.Context) error {
	sent := make(chan error, 1)
	go func() { sent <- b.spans.ForceFlush(ctx) }()
	return distinct([]error{b.sender.flush(ctx), <-sent})
}

// shutdown sends what there is, the end of the lease last. The error is the
// sender's: the spans' is the SDK's to tell.
func (b *bridgeLink) shutdown(ctx context.Context) error {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_ = b.spans.Shutdown(ctx)
	}()
	return b.sender.shutdown(ctx, sent)
}

// A bridge that comes back is found soon.
const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Second
	retryFor   = time.Minute // a batch of spans
)

func (c exportConfig) headers() map[string]string {
	if c.token == "" {
		return nil
	}
	return map[string]string{"Authorization": "Bearer " + c.token}
}

// reconnect has gRPC look for a bridge that is away every few seconds, not every
// two minutes.
func reconnect() grpc.DialOption {
	b := backoff.DefaultConfig
	b.BaseDelay, b.MaxDelay = firstRetry, lastRetry
	return grpc.WithConnectParams(grpc.ConnectParams{Backoff: b, MinConnectTimeout: lastRetry})
}

// newLogExporter returns one that tries once: the sender has its own patience.
func (c exportConfig) newLogExporter(ctx context.Context) (sdklog.Exporter, error) {
	if c.grpc() {
		opts := []otlploggrpc.Option{
			otlploggrpc.WithEndpointURL(c.endpoint), otlploggrpc.WithRetry(otlploggrpc.RetryConfig{}), otlploggrpc.WithDialOption(reconnect()),
		}
		if h := c.headers(); h != nil {
			opts = append(opts, otlploggrpc.WithHeaders(h))
		}
		return otlploggrpc.New(ctx, opts...)
	}
	endpoint, err := c.path("v1", "logs")
	if err != nil {
		return nil, err
	}
	opts := []otlploghttp.Option{otlploghttp.WithEndpointURL(endpoint), otlploghttp.WithRetry(otlploghttp.RetryConfig{})}
	if h := c.headers(); h != nil {
		opts = append(opts, otlploghttp.WithHeaders(h))
	}
	return otlploghttp.New(ctx, opts...)
}
