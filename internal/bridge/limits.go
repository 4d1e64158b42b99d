package bridge

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/eventlog/memory"
	"github.com/midspan/midspan/internal/eventlog/sqlite"
	"github.com/midspan/midspan/internal/liveness"
	"github.com/midspan/midspan/internal/receiver"
)

// Limit is a bound that an operator may set. How often it was hit is the metric
// midspan.limit.hits, by its name, where that can be known.
type Limit struct {
	Name        string // of the flag, and in the metric
	Default     int64
	Least, Most int64  // that it may be
	Help        string // what it bounds, and what is beyond it
	set         func(*bounded, int64)
	hits        func(*counted) int64 // nil where gRPC and HTTP do not tell
}

// Time is how long something of a connection may take, which an operator may set.
type Time struct {
	Name                 string // of the flag
	Default, Least, Most time.Duration
	Help                 string
	at                   func(*bounded) *time.Duration
}

// Times are all times of connections.
var Times = []Time{
	{
		"otlp-header-timeout", receiver.DefaultHeader, 100 * time.Millisecond, time.Hour, "how long the head of an OTLP request by HTTP and the handshake of gRPC may take",
		func(b *bounded) *time.Duration { return &b.receiver.Connections.Header },
	},
	{
		"otlp-request-timeout", receiver.DefaultRequest, 100 * time.Millisecond, 24 * time.Hour, "how long an OTLP request may take to come",
		func(b *bounded) *time.Duration { return &b.receiver.Connections.Request },
	},
	{
		"otlp-idle-timeout", receiver.DefaultIdle, time.Second, 24 * time.Hour, "close a connection of OTLP by HTTP that has no request for so long",
		func(b *bounded) *time.Duration { return &b.receiver.Connections.Idle },
	},
	{
		"otlp-grpc-ping", receiver.DefaultPing, time.Second, 24 * time.Hour, "ask on a gRPC connection that is silent for so long whether the sender is there",
		func(b *bounded) *time.Duration { return &b.receiver.Connections.Ping },
	},
	{
		"otlp-grpc-ping-timeout", receiver.DefaultPingTimeout, 100 * time.Millisecond, time.Hour, "close a gRPC connection whose sender does not answer that for so long",
		func(b *bounded) *time.Duration { return &b.receiver.Connections.PingTimeout },
	},
	{
		"otlp-grpc-min-ping", receiver.DefaultMinPing, time.Millisecond, 24 * time.Hour, "close a gRPC connection whose sender asks more often than this whether the bridge is there",
		func(b *bounded) *time.Duration { return &b.receiver.Connections.MinPing },
	},
	{
		"otlp-grpc-max-age", 0, 0, 30 * 24 * time.Hour, "close a gRPC connection so old when its requests are answered, so that senders spread anew; 0 keeps it",
		func(b *bounded) *time.Duration { return &b.receiver.Connections.MaxAge },
	},
	{
		"api-header-timeout", api.DefaultHeader, 100 * time.Millisecond, time.Hour, "how long the head of a request of the API may take",
		func(b *bounded) *time.Duration { return &b.apiHeader },
	},
	{
		"api-idle-timeout", api.DefaultIdle, time.Second, 24 * time.Hour, "close a connection of the API that has no request for so long",
		func(b *bounded) *time.Duration { return &b.apiIdle },
	},
}

// bounded is what limits are set in.
type bounded struct {
	receiver receiver.Config
	index    index.Config
	api      api.Config
	leases   liveness.Config
	memory   memory.Config
	sqlite   sqlite.Config
	// How long the API's connections are held.
	apiHeader, apiIdle time.Duration
}

// counted is where hits are read from.
type counted struct {
	receiver receiver.Stats
	index    index.Hits
	api      api.Hits
	leases   liveness.Stats
	trimmed  uint64
	pending  int64
}

const huge = 1 << 50

// Limits are all bounds that can be set, but for Storage.MaxAge and MaxBytes. The
// fixed ones stand in docs/limits.md.
var Limits = []Limit{
	{
		"max-request-bytes", receiver.DefaultMaxBytes, 1, receiver.MaxBytesLimit, "`bytes` of an OTLP request, as sent and as unpacked; a larger one is refused",
		func(b *bounded, n int64) { b.receiver.MaxBytes = int(n) }, func(c *counted) int64 { return c.receiver.TooLarge },
	},
	{
		"max-requests", receiver.DefaultMaxPending, 1, 1 << 20, "OTLP `requests` under way at a time, of traces and of logs each; further ones are told to come again",
		func(b *bounded, n int64) { b.receiver.MaxPending = int(n) }, func(c *counted) int64 { return c.receiver.Refused },
	},
	{
		"max-header-bytes", receiver.DefaultMaxHeaderBytes, 1 << 10, 16 << 20, "`bytes` of the headers of an OTLP request; one with more is refused",
		func(b *bounded, n int64) { b.receiver.MaxHeaderBytes = int(n) }, nil,
	},
	{
		"max-grpc-calls", receiver.DefaultMaxStreams, 1, 1 << 20, "`calls` under way on one gRPC connection; further ones wait at the sender",
		func(b *bounded, n int64) { b.receiver.MaxStreams = int(n) }, nil,
	},
	{
		"max-values", receiver.DefaultMaxValues, 1, 1 << 30, "`values` in an OTLP request: attributes, elements, span events and links, a span counted as 8; one with more is refused",
		func(b *bounded, n int64) { b.receiver.MaxValues = int(n) }, func(c *counted) int64 { return c.receiver.TooMany },
	},
	{
		"max-span-values", receiver.DefaultMaxItemValues, 1, 1 << 30, "`values` of one span or log record; one with more is rejected",
		func(b *bounded, n int64) { b.receiver.MaxItemValues = int(n) }, func(c *counted) int64 { return c.receiver.TooManyInItem },
	},
	{
		"max-depth", receiver.DefaultMaxDepth, 1, receiver.MaxDepthLimit, "`levels` of arrays and maps within each other; a span with deeper ones is rejected",
		func(b *bounded, n int64) { b.receiver.MaxDepth = int(n) }, func(c *counted) int64 { return c.receiver.TooDeep },
	},
	{
		"max-leases", liveness.DefaultMaxLeases, 1, 1 << 30, "`leases` of processes that are known; a further one is refused",
		func(b *bounded, n int64) { b.leases.MaxLeases = int(n) }, func(c *counted) int64 { return c.leases.Refused },
	},
	{
		"max-in-flight", index.DefaultMaxInFlight, 1, 1 << 30, "open `activities`; a start beyond it is kept in the log, and not shown",
		func(b *bounded, n int64) { b.index.MaxInFlight = int(n) }, func(c *counted) int64 { return c.index.NotIndexed },
	},
	{
		"max-finished", 0, 0, 1 << 40, "finished `activities`, those of --data included; the oldest go. 0 is no bound with --data, and without it 1,000,000",
		func(b *bounded, n int64) { b.index.MaxFinished = int(n) }, func(c *counted) int64 { return c.index.ByCount },
	},
	{
		"max-memory-bytes", index.DefaultMaxBytes, index.LeastMaxBytes, huge, "`bytes` of memory for finished activities; with --data further ones are read from there, without it the oldest go",
		func(b *bounded, n int64) { b.index.MaxBytes = n }, func(c *counted) int64 { return c.index.ByMemory },
	},
	{
		"max-log-events", memory.DefaultMaxEvents, 1, 1 << 40, "`events` that a log without --data holds for what reads it; the oldest go",
		func(b *bounded, n int64) { b.memory.MaxEvents = int(n) }, func(c *counted) int64 { return int64(c.trimmed) },
	},
	{
		"max-log-bytes", memory.DefaultMaxBytes, 1, huge, "`bytes` that a log without --data holds for what reads it; the oldest go",
		func(b *bounded, n int64) { b.memory.MaxBytes = n }, func(c *counted) int64 { return int64(c.trimmed) },
	},
	{
		"max-pending-bytes", sqlite.DefaultMaxPending, 1, huge, "`bytes` that wait for the disk with --ack memory; further requests are told to come again",
		func(b *bounded, n int64) { b.sqlite.MaxPending = n }, func(c *counted) int64 { return c.pending },
	},
	{
		"max-streams", api.DefaultMaxStreams, 1, 1 << 30, "`streams` open at a time; a further one is told to come again",
		func(b *bounded, n int64) { b.api.MaxStreams = int(n) }, func(c *counted) int64 { return c.api.Streams },
	},
	{
		"max-replays", api.DefaultMaxReplays, 1, 1 << 20, "`replays` of the past at a time, which are streams, too; a further one is told to come again",
		func(b *bounded, n int64) { b.api.MaxReplays = int(n) }, func(c *counted) int64 { return c.api.Replays },
	},
	{
		"max-stream-events", api.DefaultRingEvents, 1, 1 << 30, "`events` that a stream's client may be behind; one further behind is closed, and may resume",
		func(b *bounded, n int64) { b.api.RingEvents = int(n) }, func(c *counted) int64 { return c.api.Slow },
	},
	{
		"max-stream-bytes", api.DefaultRingBytes, 1, huge, "`bytes` that a stream's client may be behind; one further behind is closed, and may resume",
		func(b *bounded, n int64) { b.api.RingBytes = int(n) }, func(c *counted) int64 { return c.api.Slow },
	},
	{
		"max-exports", api.DefaultMaxExports, 1, 1 << 20, "`exports`, filtered statistics and summaries at a time; a further one is told to come again",
		func(b *bounded, n int64) { b.api.MaxExports = int(n) }, func(c *counted) int64 { return c.api.Exports },
	},
	{
		"max-sessions", api.DefaultMaxSessions, 1, 1 << 30, "`sessions` of the dashboard; beyond it the one unused for longest ends",
		func(b *bounded, n int64) { b.api.MaxSessions = int(n) }, func(c *counted) int64 { return c.api.Sessions },
	},
}

// bounds returns the configurations with the limits set in them.
func (c *Config) bounds() (*bounded, error) {
	b := &bounded{receiver: c.Receiver, apiHeader: api.DefaultHeader, apiIdle: api.DefaultIdle}
	for _, l := range Limits {
		n, set := c.Limits[l.Name]
		if !set {
			continue
		}
		if n < l.Least || n > l.Most {
			return nil, fmt.Errorf("%s is %d: give %d to %d", l.Name, n, l.Least, l.Most)
		}
		l.set(b, n)
	}
	for _, t := range Times {
		d, set := c.Times[t.Name]
		if !set {
			continue
		}
		if d < t.Least || d > t.Most {
			return nil, fmt.Errorf("%s is %v: give %v to %v", t.Name, d, t.Least, t.Most)
		}
		*t.at(b) = d
	}
	return b, nil
}

// Beyond the limits of the table stand those of Storage.
const (
	limitAge     = "retain-age"
	limitArchive = "retain-bytes"
)

// limitInstruments registers how often each limit was hit.
func (b *Bridge) limitInstruments(meter metric.Meter) error {
	name := func(limit string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("midspan.limit", limit)))
	}
	age, archive := name(limitAge), name(limitArchive)
	names := make([]metric.MeasurementOption, len(Limits))
	for i, l := range Limits {
		names[i] = name(l.Name)
	}
	_, err := meter.Int64ObservableCounter("midspan.limit.hits", metric.WithUnit("{hit}"),
		metric.WithDescription("What was refused, rejected or let go of because a limit was reached, by the limit's flag."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			c := counted{receiver: b.receiver.Stats(), index: b.store.index.Hits(), api: b.api.Hits(), leases: b.leases.Stats()}
			switch {
			case b.store.sqlite != nil:
				c.pending = b.store.sqlite.Overflows()
			case b.store.forward != nil: // nobody else reads it
				c.trimmed = b.store.memory.Stats().Trimmed
			}
			for i, l := range Limits {
				if l.hits != nil {
					o.Observe(l.hits(&c), names[i])
				}
			}
			o.Observe(c.index.ByAge, age)
			o.Observe(c.index.ByArchive, archive)
			return nil
		}))
	return err
}
