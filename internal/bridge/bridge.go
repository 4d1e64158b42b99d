// Package bridge wires `midspan serve`: what the receiver takes from other
// processes goes into an index, which the API and the dashboard read.
package bridge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"google.golang.org/grpc"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/dashboard"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/forward"
	"github.com/midspan/midspan/internal/liveness"
	"github.com/midspan/midspan/internal/receiver"
	"github.com/midspan/midspan/internal/redact"
)

const (
	stopTimeout = 10 * time.Second
	// forwardTimeout is how long what a log in memory still holds is forwarded.
	forwardTimeout = 5 * time.Second
)

// Config says what a bridge opens and to whom.
type Config struct {
	// Listen is the address of the API and the dashboard, OTLPGRPC and OTLPHTTP
	// are those that take spans. Port 0 takes any free one.
	Listen, OTLPGRPC, OTLPHTTP string
	// Keys knows the tokens that admit readers and senders. Without it an address
	// beyond loopback is refused, unless Insecure allows it.
	Keys     *api.Keyring
	Insecure bool
	// AllowHosts and JaegerURL are those of api.Config.
	AllowHosts []string
	JaegerURL  string
	Version    string
	// Storage says where it is kept.
	Storage Storage
	// Redact says what is a secret, which is taken out of all that comes before it is
	// kept or shown. Nil leaves everything as it came.
	Redact *redact.Config
	// Forward says to which targets finished spans go on. The bridge sets the log
	// and what tells of lost activities.
	Forward forward.Config
	// Limits are values of [Limits], by name. What is not here has its default.
	Limits map[string]int64
	// Times are values of [Times], by name. What is not here has its default.
	Times map[string]time.Duration
	// Receiver says what is taken, but for Limits and Times. The bridge sets where it goes, who
	// is told of leases, who is admitted, and what is left of the texts that it quotes.
	Receiver receiver.Config
	// TLS has the API and the dashboard speak TLS, and OTLPTLS both addresses that
	// take spans; they may name the same files. The zero value is
	// plain text.
	TLS, OTLPTLS receiver.TLSFiles

	// SelfEndpoint is where the bridge's own traces go, as otlpclient.Config.URL;
	// empty means that it makes none. It must be no address of the bridge.
	SelfEndpoint string

	Logger *slog.Logger
}

// ExposedError is an address that other machines reach and nothing guards.
type ExposedError struct{ Address string }

func (e *ExposedError) Error() string { return e.Address + " can be reached from other machines" }

// StorageError is why what was kept can't be opened.
type StorageError struct{ Err error }

func (e *StorageError) Error() string { return e.Err.Error() }

// Unwrap returns the error itself.
func (e *StorageError) Unwrap() error { return e.Err }

// Bridge takes spans of other processes and shows them. Its addresses are open
// from New on; they are served while Run runs.
type Bridge struct {
	cfg       Config
	store     *store
	self      *self // nil without an endpoint
	leases    *liveness.Leases
	receiver  *receiver.Receiver
	api       *api.API
	tls       *tls.Config // of the API; nil for plain text
	bounds    *bounded
	listeners [3]net.Listener // API, gRPC, HTTP
}

// Check says what is wrong with a configuration, as far as that can be told
// without opening its addresses and its folder.
func Check(cfg Config) error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if _, err := cfg.check(); err != nil {
		return err
	}
	if _, err := cfg.bounds(); err != nil {
		return err
	}
	for _, files := range []receiver.TLSFiles{cfg.TLS, cfg.OTLPTLS} {
		if files == (receiver.TLSFiles{}) {
			continue
		}
		if _, err := files.Config(cfg.Logger); err != nil {
			return err
		}
	}
	return nil
}

// check returns what takes the secrets out, which is nil without.
func (c *Config) check() (*redact.Redactor, error) {
	if !c.Insecure && c.Keys == nil {
		for _, address := range []string{c.Listen, c.OTLPGRPC, c.OTLPHTTP} {
			if host, _, err := net.SplitHostPort(address); err == nil && !api.Loopback(host) {
				return nil, &ExposedError{address}
			}
		}
	}
	if c.Redact == nil {
		return nil, nil
	}
	return redact.New(*c.Redact)
}

// New opens the bridge's addresses. The error says what is wrong; nothing is
// open then.
func New(ctx context.Context, cfg Config) (_ *Bridge, err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	clean, err := cfg.check()
	if err != nil {
		return nil, err
	}
	at, err := cfg.bounds()
	if err != nil {
		return nil, err
	}
	b := &Bridge{cfg: cfg, bounds: at, leases: liveness.New(liveness.Config{Logger: cfg.Logger, MaxLeases: at.leases.MaxLeases})}
	if b.self, err = newSelf(cfg.SelfEndpoint, cfg.Version, cfg.Logger); err != nil {
		return nil, fmt.Errorf("own traces: %w", err)
	}
	defer func() {
		if err != nil {
			b.self.close(context.WithoutCancel(ctx))
		}
	}()
	if b.self != nil {
		cfg.Forward.Trace, at.receiver.Trace = b.self.forwarding, b.self.receive
	}
	at.index.Lease = b.leases.Of
	if b.store, err = openStore(ctx, cfg.Storage, at, cfg.Forward, clean, cfg.Logger); err != nil {
		return nil, &StorageError{err}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.store.close(context.WithoutCancel(ctx)))
		}
	}()
	b.store.self, b.store.leases = b.self, b.leases
	b.restoreLeases()
	takes := at.receiver
	takes.Sink, takes.Leases, takes.Logger = b.store, b.leases, cfg.Logger
	if cfg.Keys != nil {
		takes.Admit = func(token string) error { return admitSender(cfg.Keys, token) }
	}
	if clean != nil {
		takes.Leases, takes.Quote = cleanLeases{b.leases, clean}, clean.Text
	}
	for _, t := range []struct {
		files receiver.TLSFiles
		to    **tls.Config
	}{{cfg.TLS, &b.tls}, {cfg.OTLPTLS, &takes.TLS}} {
		if t.files == (receiver.TLSFiles{}) {
			continue
		}
		if *t.to, err = t.files.Config(cfg.Logger); err != nil {
			return nil, err
		}
	}
	if b.receiver, err = receiver.New(takes); err != nil {
		return nil, err
	}
	if b.api, err = api.New(api.Config{
		Reader: b.store.index, Moments: b.store.index, Ready: b.store.health, Damage: b.store.damage, Ack: b.store.Level().String(), Listen: cfg.Listen, AllowHosts: cfg.AllowHosts, Keys: cfg.Keys, Insecure: cfg.Insecure,
		JaegerURL: cfg.JaegerURL, Dashboard: dashboard.Handler(), Debug: profiles(), Service: "midspan", Version: cfg.Version, Logger: cfg.Logger,
		Lease: activity.DefaultLeaseTTL, Processes: func() []activity.Process { return b.leases.Processes(100) }, Forwarding: b.forwarding, Instruments: b.instruments,
		// Under the names that dashboards of any Go program look for.
		Collectors: []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})},
		MaxStreams: at.api.MaxStreams, MaxReplays: at.api.MaxReplays, MaxExports: at.api.MaxExports, MaxSessions: at.api.MaxSessions, RingEvents: at.api.RingEvents, RingBytes: at.api.RingBytes,
	}); err != nil {
		return nil, err
	}
	for i, address := range []string{cfg.Listen, cfg.OTLPGRPC, cfg.OTLPHTTP} {
		if b.listeners[i], err = new(net.ListenConfig).Listen(ctx, "tcp", address); err != nil {
			for _, l := range b.listeners[:i] {
				err = errors.Join(err, l.Close())
			}
			return nil, errors.Join(err, b.api.Shutdown(context.WithoutCancel(ctx)))
		}
	}
	if err = b.notToItself(ctx); err != nil {
		for _, l := range b.listeners {
			err = errors.Join(err, l.Close())
		}
		return nil, errors.Join(err, b.api.Shutdown(context.WithoutCancel(ctx)))
	}
	return b, nil
}

// notToItself returns an error when the bridge would send to its own addresses.
func (b *Bridge) notToItself(ctx context.Context) error {
	if s := b.self; s != nil && ownAddress(ctx, s.endpoint, b.listeners[:]) {
		return fmt.Errorf("own traces: %s is this bridge's own address: its traces would never end", s.endpoint)
	}
	for _, t := range b.cfg.Forward.Targets {
		if ownAddress(ctx, t.URL, b.listeners[:]) {
			return fmt.Errorf("forward: %s is this bridge's own address: it has these spans", t.URL)
		}
	}
	return nil
}

// profiles serves Go's profiles of the process under /debug/pprof/.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

var errUnknownToken = errors.New("the token is not known")

// admitSender returns why a token does not admit a sender.
func admitSender(keys *api.Keyring, token string) error {
	grant, ok := keys.Grant(token)
	switch {
	case !ok:
		return errUnknownToken
	case !grant.Scope.Has(api.ScopeIngest):
		return fmt.Errorf("%w: %q has the scope %s, this needs ingest", receiver.ErrScope, grant.Name, grant.Scope)
	}
	return nil
}

// restoreLeases gives the processes of what is open their time: who still lives
// will renew.
func (b *Bridge) restoreLeases() {
	var held []*activity.Resource
	b.store.index.OpenOf(func(r *activity.Resource) bool {
		if r.Lease() != "" {
			held = append(held, r)
		}
		return false
	})
	b.leases.Restore(held)
}

// Addr returns the address of the API and the dashboard.
func (b *Bridge) Addr() net.Addr { return b.listeners[0].Addr() }

// GRPCAddr returns the address that takes OTLP by gRPC.
func (b *Bridge) GRPCAddr() net.Addr { return b.listeners[1].Addr() }

// HTTPAddr returns the address that takes OTLP by HTTP.
func (b *Bridge) HTTPAddr() net.Addr { return b.listeners[2].Addr() }

// Run serves until ctx is done, and returns nil then. Requests under way are
// answered first.
func (b *Bridge) Run(ctx context.Context) error {
	reads := api.NewServer(b.api, b.cfg.Logger)
	reads.Handler, reads.TLSConfig = b.self.query(reads.Handler), b.tls
	reads.ReadHeaderTimeout, reads.IdleTimeout = b.bounds.apiHeader, b.bounds.apiIdle
	takes, calls := b.receiver.HTTPServer(), b.receiver.GRPCServer()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if b.store.forward != nil {
		b.store.forward.Start()
	}
	var running sync.WaitGroup
	failed := make(chan error, len(b.listeners))
	for i, serve := range []func(net.Listener) error{
		func(l net.Listener) error { return receiver.Serve(reads, l) }, calls.Serve, func(l net.Listener) error { return receiver.Serve(takes, l) },
	} {
		running.Go(func() {
			if err := serve(b.listeners[i]); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
				failed <- fmt.Errorf("serve %s: %w", b.listeners[i].Addr(), err)
				cancel()
			}
		})
	}
	running.Go(func() { b.leases.Run(ctx, b.store.index, verdicts{b.store}) })
	if b.store.keeper == nil { // which does it too
		running.Go(func() { retire(ctx, b.store.index) })
	}
	<-ctx.Done()

	end, done := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer done()
	// Senders first: what they are answered can still be read.
	stopped := context.AfterFunc(end, calls.Stop) // who does not end in time is cut off
	var senders sync.WaitGroup
	senders.Go(calls.GracefulStop)
	senders.Go(func() { closeServer(end, takes) })
	senders.Wait()
	stopped()
	err := b.api.Shutdown(end) // its streams, for which the server would wait
	closeServer(end, reads)
	running.Wait()
	err = errors.Join(err, b.store.close(end))
	b.self.close(end)
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	return err
}

// retire has an index let go of what is too old, also while nothing comes.
func retire(ctx context.Context, x *index.Index) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_, _ = x.Retire(ctx) // it is all in memory
		}
	}
}

// closeServer ends a server; who does not take an answer in time is cut off.
func closeServer(ctx context.Context, s *http.Server) {
	if s.Shutdown(ctx) != nil {
		_ = s.Close()
	}
}
