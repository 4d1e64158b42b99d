// Package forward sends finished spans on to other OTLP endpoints, by a durable
// cursor over the log for each: an endpoint may be away for hours.
package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/otlpclient"
)

// Defaults of Config.
const (
	DefaultBatchSpans = 2048
	// MaxBatchSpans is the most that Config.BatchSpans may be.
	MaxBatchSpans = 8192
)

const (
	inFlight     = 2       // requests of one target under way; together a batch
	maxBytes     = 4 << 20 // of a batch, which is what gRPC servers take of a request
	maxNameBytes = 150     // of a target; a cursor's name has 200
)

// Activities is what a Forwarder asks about activities that were lost, as
// index.Index answers it.
type Activities interface {
	// Get returns activity.ErrNotFound for an id that is not held.
	Get(ctx context.Context, id activity.ID) (*activity.Detail, error)
	// Taken returns about when the log took an event, or false when it is forgotten.
	Taken(seq uint64) (activity.Time, bool)
}

// Target is one endpoint.
type Target struct {
	// Name is what its cursor is stored under. Defaults to host and path of URL.
	Name string
	// URL and Headers are those of otlpclient.Config.
	URL     string
	Headers map[string]otlpclient.Secret
}

// Config says what a Forwarder sends where. Log is required.
type Config struct {
	Log     eventlog.Log
	Targets []Target
	// BatchSpans is how many spans may be under way to a target, unanswered: as
	// many may come twice after a crash. A target that is far away takes more by
	// larger batches. Defaults to DefaultBatchSpans.
	BatchSpans int
	// Drain has Stop first send what the log holds: of a log that is gone with
	// this process.
	Drain bool
	// LostAfter forwards an activity the first time that it was LOST for so long, as
	// a span that failed. Its late end would then show twice. 0 forwards none.
	LostAfter time.Duration
	// Activities tells what the lost ones were. Required with LostAfter.
	Activities Activities
	// Trace is called before a request to a target, and what it returns after it.
	// Nil traces nothing.
	Trace func(target string, spans []*activity.Event) func(error)
	// Logger is told when a target goes away, comes back or rejects spans.
	// Defaults to slog.Default.
	Logger *slog.Logger
}

// Stats tells how one target fares. Counts are since the start.
type Stats struct {
	Name, Endpoint string // Endpoint holds no secret
	Cursor         uint64 // the target has everything up to it
	LagEvents      uint64 // of the log, behind the cursor; not all are finished spans
	Lag            time.Duration
	Sent           int64 // spans that the target took
	Rejected       int64 // spans that it will never take
	Dropped        int64 // events that the log let go of before they were read
	Retries        int64 // requests sent again
	LastError      string
	LastErrorAt    time.Time
	Away           bool // the latest request was not answered or told to come again
}

// Forwarder sends finished, sampled spans to targets, in the order of the log,
// but for the requests under way at a time. A target gets each at least once:
// again only what was unanswered at a crash, or answered too late.
//
// What arrived as in flight is never sent, whatever became of it: the event of
// a finished span is the one with an end time.
//
//	log ─▶ reader ─▶ batch ─▶ request ─▶ endpoint   reader: one goroutine a stream
//	                    └───▶ request ─▶    │       requests: at most two at a time
//	      cursor ◀── in their order ────────┘
type Forwarder struct {
	cfg     Config
	targets []*target
	streams []*stream

	running  sync.WaitGroup
	cancel   context.CancelFunc
	stop     chan struct{} // closed: read no more than there is
	stopOnce sync.Once
}

// New returns a Forwarder of which each target's cursor is known: a new target
// begins behind what the log holds by now. The error says what is wrong with cfg.
func New(ctx context.Context, cfg Config) (_ *Forwarder, err error) {
	switch {
	case cfg.Log == nil:
		return nil, errors.New("forward: Config.Log is nil")
	case cfg.BatchSpans < 0 || cfg.BatchSpans > MaxBatchSpans:
		return nil, fmt.Errorf("forward: a batch of %d spans: give 1 to %d", cfg.BatchSpans, MaxBatchSpans)
	case cfg.LostAfter < 0:
		return nil, fmt.Errorf("forward: lost activities after %s: give a time above 0, or 0 for never", cfg.LostAfter)
	case cfg.LostAfter > 0 && cfg.Activities == nil:
		return nil, errors.New("forward: Config.Activities is nil: lost activities are asked of it")
	}
	if cfg.BatchSpans == 0 {
		cfg.BatchSpans = DefaultBatchSpans
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	f := &Forwarder{cfg: cfg, stop: make(chan struct{})}
	defer func() {
		if err != nil {
			for _, t := range f.targets {
				err = errors.Join(err, t.client.Close())
			}
		}
	}()
	names, addresses := make(map[string]bool), make(map[string]string)
	for _, target := range cfg.Targets {
		t, err := f.newTarget(target)
		if err != nil {
			return nil, err
		}
		f.targets = append(f.targets, t)
		if names[t.name] {
			return nil, fmt.Errorf("forward: two targets are named %s: name one of them otherwise", t.name)
		}
		names[t.name] = true
		if target.Name == "" {
			at := address(t.endpoint)
			if other := addresses[at]; other != "" {
				return nil, fmt.Errorf("forward: %s and %s are one target, which would get each span twice: leave one of them out", other, t.name)
			}
			addresses[at] = t.name
		}
		if err := f.addStreams(ctx, t); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// address returns what tells an endpoint from others however its URL is written:
// with the path that OTLP adds by HTTP or without, and with the default port.
func address(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	path := strings.TrimRight(u.Path, "/")
	path = strings.TrimRight(strings.TrimSuffix(path, "/v1/traces"), "/")
	return strings.ToLower(u.Hostname()) + ":" + port + path
}

func (f *Forwarder) newTarget(cfg Target) (*target, error) {
	if len(cfg.Name) > maxNameBytes {
		return nil, fmt.Errorf("forward: the target's name %.20q… has %d bytes: give one of at most %d", cfg.Name, len(cfg.Name), maxNameBytes)
	}
	client, err := otlpclient.New(otlpclient.Config{URL: cfg.URL, Headers: cfg.Headers, Gzip: true})
	if err != nil {
		return nil, fmt.Errorf("forward: %w", err)
	}
	t := &target{name: cfg.Name, client: client, endpoint: client.Endpoint(), log: f.cfg.Log, drain: f.cfg.Drain, trace: f.cfg.Trace, minBackoff: minBackoff}
	t.logger = f.cfg.Logger.With(slog.String("target", t.endpoint))
	if t.name == "" {
		_, t.name, _ = strings.Cut(t.endpoint, "://")
		t.name = t.name[:min(len(t.name), maxNameBytes)]
	}
	return t, nil
}

// addStreams adds the readers of a target, each at its cursor.
func (f *Forwarder) addStreams(ctx context.Context, t *target) error {
	streams := []*stream{{cursor: "forward:" + t.name, pick: finished}}
	if f.cfg.LostAfter > 0 {
		streams = append(streams, &stream{
			cursor: "forward-lost:" + t.name, pick: lostPicker(f.cfg.Activities, f.cfg.LostAfter, t), behind: f.cfg.LostAfter,
		})
	}
	for _, s := range streams {
		s.target, s.batchSpans, s.stop = t, f.cfg.BatchSpans, f.stop
		s.slots = make(chan struct{}, inFlight)
		seq, ok, err := f.cfg.Log.Cursor(ctx, s.cursor)
		_, last := f.cfg.Log.Bounds()
		if err == nil && ok && seq > last {
			t.logger.Error("forward: the cursor lies beyond the log: going on at its end",
				slog.Uint64("cursor", seq), slog.Uint64("last", last))
		}
		if err == nil && (!ok || seq > last) {
			seq = last
			err = f.cfg.Log.SetCursor(ctx, s.cursor, seq)
		}
		if err != nil {
			return fmt.Errorf("forward: cursor of %s: %w", t.name, err)
		}
		s.committed.Store(seq)
		t.streams = append(t.streams, s)
		f.streams = append(f.streams, s)
	}
	return nil
}

// Start begins to forward. It must be called once.
func (f *Forwarder) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	for _, s := range f.streams {
		f.running.Go(func() { s.run(ctx) })
	}
}

// Stop ends forwarding. With Config.Drain it first sends what the log holds,
// without it only what is under way; ctx cuts that short. It may be called twice,
// and before Start.
func (f *Forwarder) Stop(ctx context.Context) error {
	var err error
	f.stopOnce.Do(func() {
		close(f.stop)
		if f.cancel != nil {
			defer context.AfterFunc(ctx, f.cancel)()
			f.running.Wait()
			f.cancel()
		}
		for _, t := range f.targets {
			err = errors.Join(err, t.client.Close())
		}
	})
	return err
}

// Stats tells how the targets fare, in the order of Config.Targets.
func (f *Forwarder) Stats() []Stats {
	now := time.Now()
	stats := make([]Stats, len(f.targets))
	for i, t := range f.targets {
		stats[i] = t.stats(now)
	}
	return stats
}

// Floor returns the sequence up to which no target needs the log any more, or
// false when there is no target.
func (f *Forwarder) Floor() (seq uint64, ok bool) {
	for i, s := range f.streams {
		if at := s.committed.Load(); i == 0 || at < seq {
			seq = at
		}
	}
	return seq, len(f.streams) > 0
}
