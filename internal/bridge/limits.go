package bridge

import (
	"context"
	"fmt"

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
// midspan.limit.hits, by its name.
type Limit struct {
	Name        string // of the flag, and in the metric
	Default     int64
	Least, Most int64  // that it may be
	Help        string // what it bounds, and what is beyond it
	set         func(*bounded, int64)
	hits        func(*counted) int64
}

// bounded is what limits are set in.
type bounded struct {
	receiver receiver.Config
	index    index.Config
	api      api.Config
	leases   liveness.Config
	memory   memory.Config
	sqlite   sqlite.Config
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
	b := &bounded{receiver: c.Receiver}
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
				o.Observe(l.hits(&c), names[i])
			}
			o.Observe(c.index.ByAge, age)
			o.Observe(c.index.ByArchive, archive)
			return nil
		}))
	return err
}
