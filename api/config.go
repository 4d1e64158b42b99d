package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/metric"

	"github.com/midspan/midspan/activity"
)

// Reader is what the API reads. Activities come with Usual, Stalled, Lease and
// Agent filled in, and may be shared: the API changes none.
type Reader interface {
	List(ctx context.Context, q *activity.Query) (*activity.Page, error)
	// Get returns activity.ErrNotFound for an id that is not held.
	Get(ctx context.Context, id activity.ID) (*activity.Detail, error)
	// Resolve returns the ids of all activities held that have the span id.
	Resolve(ctx context.Context, span activity.SpanID) ([]activity.ID, error)
	// Tree returns activity.ErrNotFound for a root that is not held.
	Tree(ctx context.Context, q *activity.TreeQuery) (*activity.Tree, error)
	Stats(ctx context.Context) (*activity.Stats, error)
	// StatsOf counts what the filter selects among what is held.
	StatsOf(ctx context.Context, f *activity.Filter) (*activity.Stats, error)
	// Scan calls fn with everything the filter selects, the finished first in
	// the order of their end, then the open. It holds no lock while fn runs and
	// returns fn's error.
	Scan(ctx context.Context, f *activity.Filter, fn func(*activity.Activity) error) error
	// Head returns the log's id and its last sequence.
	Head() activity.Position
	// Read returns at most limit events after a sequence, each with the activity
	// as of it, or activity.ErrGap when the log does not hold them.
	Read(after uint64, limit int) ([]activity.Change, error)
	// Changed returns a channel that is closed when the log grows beyond what
	// Head said before the call.
	Changed() <-chan struct{}
}

// Token is a secret that admits its bearer, of characters that a header can
// carry. It prints as asterisks; what is shorter than 16 is warned of.
type Token string

func (Token) String() string { return "****" }

// GoString implements fmt.GoStringer.
func (Token) GoString() string { return `"****"` }

// LogValue implements slog.LogValuer.
func (Token) LogValue() slog.Value { return slog.StringValue("****") }

// MarshalText implements encoding.TextMarshaler.
func (Token) MarshalText() ([]byte, error) { return []byte("****"), nil }

// ExportStats tells how spans go on to a tracing backend.
type ExportStats struct {
	Endpoint string // empty when nothing is exported
	Dropped  int64  // spans that were lost on the way out
}

// BridgeStats tells how a bridge is told of this program's activities.
type BridgeStats struct {
	Endpoint  string // empty when there is no bridge
	Connected bool   // it took what it was told last
	Dropped   int64  // changes that it never got
}

// ForwardStats tells how finished spans go on to one target. Counts are since
// the start.
type ForwardStats struct {
	Target    string // where it is, without credentials
	Lag       time.Duration
	LagEvents uint64 // of the log that the target may still get; spans, at most
	Sent      int64  // spans that it took
	Rejected  int64  // spans that it will never take
	Dropped   int64  // events that the log let go of before they were read
	Retries   int64  // requests sent again
	Away      bool   // it did not take the latest request
}

// Defaults of Config.
const (
	DefaultListen      = "127.0.0.1:18080"
	DefaultMaxStreams  = 1000
	DefaultMaxExports  = 4
	DefaultMaxReplays  = 8
	DefaultRingEvents  = 16384
	DefaultRingBytes   = 32 << 20
	DefaultMaxSessions = 1000
	DefaultSessionIdle = 24 * time.Hour
)

// Config says what an API serves and to whom. Only Reader is required.
type Config struct {
	// Reader is what the answers are read from.
	Reader Reader

	// Moments tells what was known when, for /activity/at and /activity/replay,
	// which list from Reader. Nil means that they are a 404.
	Moments Moments

	// Listen is the address that the server listens on: its host is one of the
	// hosts that requests may name, and any but a loopback one demands Keys.
	// Nothing is opened here. Defaults to DefaultListen.
	Listen string
	// AllowHosts are further names by which clients reach the server, as
	// "name" for any port or "name:port". Loopback names and the host of Listen
	// are always allowed.
	AllowHosts []string
	// Keys knows the tokens that admit a request. Nil means that everyone who
	// reaches the address may read.
	Keys *Keyring
	// Insecure allows a Listen address beyond loopback without a token.
	Insecure bool

	// JaegerURL is the base of links to traces, such as
	// "http://localhost:16686". Empty means that trace_url is null.
	JaegerURL string
	// Dashboard serves /monitor/. Nil means that there is none, and a 404.
	Dashboard http.Handler
	// Debug serves /debug/ to the bearers of tokens with ScopeAdmin, and to nobody
	// without Keys: it may tell whatever the process holds. Nil means that there is
	// none, and a 404.
	Debug http.Handler
	// Service and Version name this program in /healthz.
	Service, Version string
	// Export tells how the export to a tracing backend goes, for the
	// statistics. It is called at each request for them and must be fast. Nil
	// means that nothing is exported.
	Export func() ExportStats
	// Ignored tells likewise how many transitions were ignored before the Reader
	// heard of them. Nil means none.
	Ignored func() int64
	// Bridge tells likewise how a bridge is told. Nil means that there is none.
	Bridge func() BridgeStats
	// Forwarding tells likewise of each target that finished spans go on to, in
	// the order to be shown. Nil means that there is none.
	Forwarding func() []ForwardStats
	// Ready returns why the server can't take what it is for, for /readyz: a
	// sentence that an operator understands. It must be fast. Nil means that it
	// always can.
	Ready func() error
	// Ack names what an acknowledgement has waited for, for /healthz: "memory" or
	// "disk". Empty means that nothing is acknowledged.
	Ack string
	// Processes tells of the processes that hold a lease, or held one, for the
	// statistics: at most 100, in the order to be shown. It must be fast. Nil means
	// that there are none.
	Processes func() []activity.Process
	// Instruments registers further metrics, for /metrics. It may be nil.
	Instruments func(metric.Meter) error
	// Collectors are told of in /metrics, too, such as the Go runtime's. A program
	// that has metrics of its own tells of that there.
	Collectors []prometheus.Collector
	// Damage tells what can't be read of what is kept, a sentence for each, and whether
	// activities are missing for it. Nil means that all of it can. It is called often.
	Damage func() (what []string, missing bool)
	// Lease is how long a process is taken for alive after its last sign of
	// life, told in a stream's hello; 0 means that there are no leases.
	Lease time.Duration

	// MaxStreams bounds the streams open at a time. Defaults to DefaultMaxStreams.
	MaxStreams int
	// MaxExports bounds the exports, filtered statistics and text summaries
	// under way at a time. Defaults to DefaultMaxExports.
	MaxExports int
	// MaxReplays bounds the replays under way at a time; each is a stream, too.
	// Defaults to DefaultMaxReplays.
	MaxReplays int
	// RingEvents and RingBytes bound what the streams share: a client that is
	// further behind is closed and may resume. Default to DefaultRingEvents and
	// DefaultRingBytes.
	RingEvents, RingBytes int
	// MaxSessions bounds the dashboard's sessions: beyond it the one unused for
	// longest ends. Defaults to DefaultMaxSessions.
	MaxSessions int
	// SessionIdle ends a session that was not used for so long. After a restart it
	// counts from when the session's cookie was set, which is at most a tenth of it
	// before its last request. Defaults to DefaultSessionIdle.
	SessionIdle time.Duration

	// Logger is told of what an operator should know. Defaults to slog.Default.
	Logger *slog.Logger
}

// ErrExposed is why a Config without Keys is refused on an address beyond
// loopback.
var ErrExposed = errors.New("can be reached from other machines")

// withDefaults returns the configuration with its defaults, or an error that
// says what to do.
func (c Config) withDefaults() (Config, error) {
	if c.Reader == nil {
		return c, errors.New("api: Config.Reader is nil: give it the index to read from")
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return c, fmt.Errorf("api: listen address %q: %w: write it as host:port, for example %s", c.Listen, err, DefaultListen)
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return c, fmt.Errorf("api: listen address %q: %q is no port", c.Listen, port)
	}
	if !Loopback(host) && c.Keys == nil && !c.Insecure {
		return c, fmt.Errorf("api: %s %w: set a token, listen on 127.0.0.1, or set Config.Insecure to let everyone read", c.Listen, ErrExposed)
	}
	for _, h := range c.AllowHosts {
		if _, err := parseAllowed(h); err != nil {
			return c, fmt.Errorf("api: allowed host %q: %w", h, err)
		}
	}
	if c.JaegerURL != "" {
		u, err := url.Parse(c.JaegerURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
			return c, fmt.Errorf("api: Jaeger URL %q: write it as http://host:port", c.JaegerURL)
		}
		c.JaegerURL = strings.TrimRight(c.JaegerURL, "/")
	}
	for _, limit := range []struct {
		name  string
		value *int
		def   int
	}{
		{"MaxStreams", &c.MaxStreams, DefaultMaxStreams},
		{"MaxExports", &c.MaxExports, DefaultMaxExports},
		{"MaxReplays", &c.MaxReplays, DefaultMaxReplays},
		{"RingEvents", &c.RingEvents, DefaultRingEvents},
		{"RingBytes", &c.RingBytes, DefaultRingBytes},
		{"MaxSessions", &c.MaxSessions, DefaultMaxSessions},
	} {
		switch {
		case *limit.value < 0:
			return c, fmt.Errorf("api: %s is %d: it must not be negative", limit.name, *limit.value)
		case *limit.value == 0:
			*limit.value = limit.def
		}
	}
	if c.SessionIdle < 0 || c.Lease < 0 {
		return c, errors.New("api: SessionIdle and Lease must not be negative")
	}
	if c.SessionIdle == 0 {
		c.SessionIdle = DefaultSessionIdle
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	if c.Damage == nil {
		c.Damage = func() ([]string, bool) { return nil, false }
	}
	if c.Processes == nil {
		c.Processes = func() []activity.Process { return nil }
	}
	if c.Export == nil {
		c.Export = func() ExportStats { return ExportStats{} }
	}
	if c.Ignored == nil {
		c.Ignored = func() int64 { return 0 }
	}
	if c.Forwarding == nil {
		c.Forwarding = func() []ForwardStats { return nil }
	}
	if c.Bridge == nil {
		c.Bridge = func() BridgeStats { return BridgeStats{} }
	}
	return c, nil
}

// Loopback reports whether a host can only be reached from this machine.
func Loopback(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
