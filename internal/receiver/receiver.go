package receiver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/midspan/midspan/activity"
)

// Defaults of Config.
const (
	DefaultGRPC           = "127.0.0.1:4317"
	DefaultHTTP           = "127.0.0.1:4318"
	DefaultMaxBytes       = 4 << 20
	DefaultMaxHeaderBytes = 64 << 10
	DefaultMaxPending     = 64
	DefaultMaxStreams     = 128
	DefaultMaxDepth       = 32
	DefaultMaxValues      = 250_000
	DefaultMaxItemValues  = 16_384
	DefaultHeader         = 10 * time.Second
	DefaultRequest        = 30 * time.Second
	DefaultIdle           = 2 * time.Minute
	DefaultPing           = time.Minute
	DefaultPingTimeout    = 20 * time.Second
	DefaultMinPing        = 10 * time.Second
	// MaxBytesLimit and MaxDepthLimit are the most that Config.MaxBytes and
	// Config.MaxDepth may be: they keep the decoder's recursion over nested values
	// within a goroutine's stack.
	MaxBytesLimit = 16 << 20
	MaxDepthLimit = 40

	// maxSource bounds a resource or scope, as bytes of its values: whoever holds
	// a span holds these too.
	maxSource = 64 << 10

	retryAfter = time.Second
)

// Sink takes events, as a log does. When Append returns nil they are as safe as
// the bridge promises. A [*RejectedError] says that all were taken but some that
// never can be. Any other error means that the same events may be appended later;
// the sender is told so.
type Sink interface {
	Append(ctx context.Context, events []activity.Event) error
}

// RejectedError is why a Sink will never take some of the events. It took the
// others.
type RejectedError struct {
	Events int // so many
	Reason string
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("%d events rejected: %s", e.Events, e.Reason)
}

// Leases is told of the processes that events come from. Its methods must be
// fast. The resources have a lease: see [activity.Resource.Lease].
type Leases interface {
	// Renewed says that a process has renewed its lease, and returns why that is
	// not taken.
	Renewed(r *activity.Resource, ttl time.Duration, seq uint64, sentAt activity.Time) error
	// Ended says that a process has stopped, and ended its lease.
	Ended(r *activity.Resource)
	// Seen says that events of the process were appended.
	Seen(r *activity.Resource)
	// Deaf says that a request was turned away which may have held a renewal.
	Deaf()
}

// Config says what a Receiver takes. Only Sink is required.
type Config struct {
	Sink Sink
	// Leases is told of leases. Nil means that lease events are counted as taken
	// and do nothing.
	Leases Leases

	// MaxBytes bounds one request, as sent and as unpacked; at most
	// MaxBytesLimit. Defaults to DefaultMaxBytes, 4 MiB.
	MaxBytes int
	// MaxHeaderBytes bounds a request's headers. Defaults to
	// DefaultMaxHeaderBytes, 64 KiB.
	MaxHeaderBytes int
	// MaxPending bounds the requests under way, of traces and of logs each: those
	// that have been read, and, as bytes, MaxBytes times as many of those that are
	// being read. Further ones are refused and told to come again in a second.
	// Defaults to DefaultMaxPending.
	MaxPending int
	// MaxStreams bounds the requests under way on one gRPC connection: further
	// ones wait at their sender. Defaults to DefaultMaxStreams.
	MaxStreams int
	// MaxDepth bounds how deep arrays and maps lie in each other: a span with
	// deeper ones is rejected. At most MaxDepthLimit. Defaults to DefaultMaxDepth.
	MaxDepth int
	// MaxValues bounds the attributes, elements of arrays, span events and links
	// of a request, a span or log record counted as eight: what holds more is
	// refused before it is decoded. Defaults to DefaultMaxValues.
	MaxValues int
	// MaxItemValues bounds the same of one span, with all that it holds: one with
	// more is rejected. Defaults to DefaultMaxItemValues.
	MaxItemValues int
	// KeepClock keeps the attributes of resources that tell how their times were shifted,
	// as of what a bridge has exported. Else nobody may say so, and they are left out.
	KeepClock bool
	// Connections says how long connections are held.
	Connections Connections
	// TLS has both servers speak TLS. Nil means plain text.
	TLS *tls.Config
	// Admit judges the token that a request bears. Its error says why it does not
	// admit, and wraps ErrScope for a token that is known. Nil admits every request.
	Admit func(token string) error
	// Quote returns what an answer may tell of what a decoder said, which may quote
	// what was sent. Nil means all of it.
	Quote func(string) string
	// Trace is called when a request has been read, with its path by HTTP. What it
	// returns goes to Sink, and is called when the request is done, with why it was
	// not taken. Nil traces nothing.
	Trace func(ctx context.Context, path string) (context.Context, func(why string))
	// Logger is told what the servers have to say. Defaults to slog.Default.
	Logger *slog.Logger
}

// Connections says how long connections are held. Zero values stand for the
// defaults.
type Connections struct {
	// Header and Request bound how long the head of an HTTP request and the whole
	// of it may take, Header the handshake of gRPC and Request a call, too. Default
	// to 10 s and 30 s.
	Header, Request time.Duration
	// Idle closes an HTTP connection without requests. Defaults to 2 minutes.
	Idle time.Duration
	// Ping is how long a gRPC connection may be silent before it is asked whether
	// its peer is there, and PingTimeout how long the peer has to answer. Default
	// to 1 minute and 20 s.
	Ping, PingTimeout time.Duration
	// MinPing is how often a gRPC peer may ask: one that asks more often is cut
	// off. Defaults to 10 s.
	MinPing time.Duration
	// MaxAge closes gRPC connections so old, when their requests are answered, so
	// that senders spread anew over the bridges behind one name. 0 means never.
	MaxAge time.Duration
}

func (c Config) withDefaults() (Config, error) {
	if c.Sink == nil {
		return c, errors.New("receiver: Config.Sink is nil: give it the log to write to")
	}
	for _, limit := range []struct {
		name     string
		value    *int
		def, max int
	}{
		{"MaxBytes", &c.MaxBytes, DefaultMaxBytes, MaxBytesLimit},
		{"MaxHeaderBytes", &c.MaxHeaderBytes, DefaultMaxHeaderBytes, 16 << 20},
		{"MaxPending", &c.MaxPending, DefaultMaxPending, 1 << 20},
		{"MaxStreams", &c.MaxStreams, DefaultMaxStreams, 1 << 20},
		{"MaxDepth", &c.MaxDepth, DefaultMaxDepth, MaxDepthLimit},
		{"MaxValues", &c.MaxValues, DefaultMaxValues, 1 << 30},
		{"MaxItemValues", &c.MaxItemValues, DefaultMaxItemValues, 1 << 30},
	} {
		if *limit.value == 0 {
			*limit.value = limit.def
		}
		if *limit.value < 1 || *limit.value > limit.max {
			return c, fmt.Errorf("receiver: %s is %d: give 1 to %d", limit.name, *limit.value, limit.max)
		}
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"Header", &c.Connections.Header, DefaultHeader},
		{"Request", &c.Connections.Request, DefaultRequest},
		{"Idle", &c.Connections.Idle, DefaultIdle},
		{"Ping", &c.Connections.Ping, DefaultPing},
		{"PingTimeout", &c.Connections.PingTimeout, DefaultPingTimeout},
		{"MinPing", &c.Connections.MinPing, DefaultMinPing},
		{"MaxAge", &c.Connections.MaxAge, 0},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
		if *d.value < 0 {
			return c, fmt.Errorf("receiver: Connections.%s is %v: it must not be negative", d.name, *d.value)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Quote == nil {
		c.Quote = func(s string) string { return s }
	}
	return c, nil
}

// Stats counts what was received since the start.
type Stats struct {
	Requests    int64 // answered, with or without rejections
	Events      int64 // taken
	Rejected    int64 // spans and log records that no retry will make good
	Refused     int64 // requests that were told to come again: too many were under way
	Unavailable int64 // requests that were told to come again: the sink could not take them
	// TooLarge and TooMany are requests that were beyond MaxBytes and MaxValues,
	// TooManyInItem and TooDeep spans and log records beyond MaxItemValues and
	// MaxDepth.
	TooLarge, TooMany, TooManyInItem, TooDeep int64

	Pending    int // requests under way now, which have been read
	MaxPending int // that may be, of traces and of logs each
}

// Receiver makes events of OTLP requests. It is safe for concurrent use.
type Receiver struct {
	cfg     Config
	sources sources
	pending [signals]chan struct{} // read, and under way
	reading [signals]reading

	requests, events, rejected, refused, unavailable atomic.Int64
	tooLarge, tooMany, tooManyInItem, tooDeep        atomic.Int64
}

// New returns a Receiver, or an error that says what is wrong with cfg.
func New(cfg Config) (*Receiver, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Receiver{cfg: cfg, sources: sources{keepClock: cfg.KeepClock}}
	for i := range r.pending {
		r.pending[i] = make(chan struct{}, cfg.MaxPending)
		r.reading[i].free = cfg.MaxPending * r.counts(len(sizes)+1)
	}
	return r, nil
}

// Stats returns what was received so far.
func (r *Receiver) Stats() Stats {
	return Stats{
		Requests: r.requests.Load(), Events: r.events.Load(), Rejected: r.rejected.Load(),
		Refused: r.refused.Load(), Unavailable: r.unavailable.Load(),
		TooLarge: r.tooLarge.Load(), TooMany: r.tooMany.Load(), TooManyInItem: r.tooManyInItem.Load(), TooDeep: r.tooDeep.Load(),
		Pending: len(r.pending[traces]) + len(r.pending[logs]), MaxPending: r.cfg.MaxPending,
	}
}

// failure is why a whole request is not taken.
type failure struct {
	code  codes.Code
	http  int
	text  string
	retry bool
}

var errBusy = &failure{
	code: codes.ResourceExhausted, http: http.StatusTooManyRequests, retry: true,
	text: "too many requests are under way: send it again in a second",
}

var errUnavailable = &failure{
	code: codes.Unavailable, http: http.StatusServiceUnavailable, retry: true,
	text: "what was sent cannot be stored now: send it again later",
}

// ErrScope is that a token is not for senders.
var ErrScope = errors.New("the token is not for sending")

var errToken = &failure{
	code: codes.Unauthenticated, http: http.StatusUnauthorized,
	text: `the request bears no valid token: send it as "Authorization: Bearer TOKEN"`,
}

// begin takes a place among the requests under way, for one that has been read.
// The caller must call end when it returns true.
func (r *Receiver) begin(s *signal, body []byte) bool {
	select {
	case r.pending[s.number] <- struct{}{}:
		return true
	default:
		r.refuse(s, body)
		return false
	}
}

// refuse counts a request that is told to come again: body is nil when it was not
// read, or can't be.
func (r *Receiver) refuse(s *signal, body []byte) {
	r.refused.Add(1)
	if s.number == logs && r.cfg.Leases != nil && (body == nil || bytes.Contains(body, []byte(leasePrefix))) {
		r.cfg.Leases.Deaf()
	}
}

func (r *Receiver) end(s *signal) { <-r.pending[s.number] }

// admits returns why the values of an Authorization header do not admit a
// request, or nil.
func (r *Receiver) admits(values []string) *failure {
	if r.cfg.Admit == nil {
		return nil
	}
	why := errToken
	for _, v := range values {
		scheme, token, _ := strings.Cut(v, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			continue
		}
		err := r.cfg.Admit(strings.TrimSpace(token))
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrScope) {
			why = &failure{code: codes.PermissionDenied, http: http.StatusForbidden, text: err.Error()}
		}
	}
	return why
}

// Take appends what a request of a file holds, as the servers do with one that
// was sent: path is that of OTLP by HTTP, such as "/v1/traces". It tells how many
// items were rejected, and why. An error means that none was taken. The bounds on
// requests under way and on their bytes are the servers'.
func (r *Receiver) Take(ctx context.Context, path string, body []byte, isJSON bool) (rejected int64, why string, err error) {
	for _, s := range served {
		if s.path != path {
			continue
		}
		b := batch{r: r}
		if refused := b.load(s, body, isJSON); refused != nil {
			return 0, "", errors.New(refused.text)
		}
		if len(b.events) > 0 {
			err = r.cfg.Sink.Append(ctx, b.events)
		}
		return b.rejected, b.message(s.item), err
	}
	return 0, "", fmt.Errorf("receiver: nothing is served at %s", path)
}

// take appends what a request holds, and returns its answer.
func (r *Receiver) take(ctx context.Context, s *signal, body []byte, isJSON bool) (_ message, failed *failure) {
	if r.cfg.Trace != nil {
		traced, end := r.cfg.Trace(ctx, s.path)
		ctx = traced
		defer func() {
			if failed != nil {
				end(failed.text)
			} else {
				end("")
			}
		}()
	}
	b := batch{r: r}
	if why := b.load(s, body, isJSON); why != nil {
		return nil, why
	}
	taken := len(b.events)
	if taken > 0 {
		// Who goes away meanwhile leaves it to us whether it was taken.
		err := r.cfg.Sink.Append(context.WithoutCancel(ctx), b.events)
		if rejected, ok := errors.AsType[*RejectedError](err); ok {
			taken -= rejected.Events
			for range rejected.Events {
				b.reject(rejected.Reason)
			}
		} else if err != nil {
			r.unavailable.Add(1)
			return nil, errUnavailable
		}
	}
	if r.cfg.Leases != nil {
		for _, res := range b.leased {
			r.cfg.Leases.Seen(res)
		}
	}
	r.requests.Add(1)
	r.events.Add(int64(taken))
	r.rejected.Add(b.rejected)
	return s.answer(b.rejected, b.message(s.item)), nil
}
