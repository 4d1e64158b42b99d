package orchestrator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// Config says how an orchestrator works. The zero Config is complete.
type Config struct {
	// Rate is how many work items are made in a second. Defaults to 4.
	Rate float64
	// Seed makes the backoff of retries and the model's answers repeatable.
	Seed uint64
	// Dir is looked after as a project too, besides the embedded ones, when it
	// is that of a Go module. It is only read. Defaults to none.
	Dir string
	// OpenAIBaseURL and OpenAIKey are those of an OpenAI-compatible endpoint.
	// Without both, a stand-in on the loopback address answers.
	OpenAIBaseURL, OpenAIKey string
	// OpenAIModel is the model to ask there. Defaults to gpt-5-mini.
	OpenAIModel string
	// Pace is the time between two documents of a long work, which leaves the
	// machine to what is short. Defaults to 250 ms.
	Pace time.Duration
	// Logger hears of the start, the stop and of what no activity tells.
	// Defaults to none.
	Logger *slog.Logger
}

func (c *Config) setDefaults() {
	if c.Rate <= 0 {
		c.Rate = 4
	}
	if c.OpenAIModel == "" {
		c.OpenAIModel = "gpt-5-mini"
	}
	if c.Pace <= 0 {
		c.Pace = 250 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// pace returns the time between two documents of a long work. An index is what
// nobody waits for.
func (c *Config) pace(k kind) time.Duration {
	if k == kindIndex {
		return c.Pace
	}
	return c.Pace / 3
}

// maxOpen bounds the work items that are open at a time: what comes faster than
// it is done is not made at all.
func (c *Config) maxOpen() int { return min(max(40, int(5*c.Rate)), maxOpen) }

const (
	indexers = 3
	stopTime = 5 * time.Second
)

// builders returns how many agents share the short works.
func (c *Config) builders() int { return min(3+int(c.Rate/25), 16) }

// orchestrator is what its parts share.
type orchestrator struct {
	cfg     Config
	store   *store
	shelves map[string]*shelf
	client  *client
	model   *model
	codec   *codec
	desk    *desk
	speed   *speed

	closers []func() error // run last to first
}

// errStopped is the cause of every cancellation when the orchestrator stops.
var errStopped = &cancelledError{"the orchestrator was stopped"}

// Run runs an orchestrator until ctx is done. Nothing of it is left when it
// returns: no goroutine, no open activity, no file. The files of one that was
// killed are removed by the next.
func Run(ctx context.Context, cfg Config) error {
	o, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	return o.run(ctx)
}

// open makes the parts and starts the servers.
func open(ctx context.Context, cfg Config) (_ *orchestrator, err error) {
	cfg.setDefaults()
	o := &orchestrator{cfg: cfg, shelves: map[string]*shelf{}, desk: newDesk(), speed: &speed{perByte: map[kind]float64{}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.close())
		}
	}()
	ctx, a := tracing.Start(ctx, activity.AgentAction, "Open library", "Unpack the documents, list them, create the store, serve the API",
		tracing.WithAttributes(agentAttributes("invoke_agent", "librarian")...))
	defer a.End(&err)

	workspace, remove, err := openWorkspace()
	if err != nil {
		return nil, err
	}
	o.closers = append(o.closers, remove)
	a.Say("Creating the store")
	if o.store, err = openStore(ctx, filepath.Join(workspace, "orchestrator.db")); err != nil {
		return nil, err
	}
	o.closers = append(o.closers, o.store.close)
	if o.codec, err = newCodec(); err != nil {
		return nil, err
	}
	o.closers = append(o.closers, o.codec.close)
	a.Say("Listing documents")
	if err := o.openShelves(ctx, workspace, a); err != nil {
		return nil, err
	}
	a.Say("Starting the API")
	return o, o.serve()
}

func (o *orchestrator) openShelves(ctx context.Context, workspace string, a *tracing.Activity) error {
	shelves, err := openLibrary(workspace, o.cfg.Dir)
	if err != nil {
		return err
	}
	documents := 0
	for _, s := range shelves {
		o.shelves[s.name] = s
		documents += len(s.documents)
		p := project{Name: s.name, Documents: len(s.documents), Bytes: s.bytes()}
		if err := o.store.saveProject(ctx, &p); err != nil {
			return err
		}
		if _, err := o.store.saveRequirements(ctx, standing(p, a.ID().String())); err != nil {
			return err
		}
	}
	a.Sayf("%s in %s", count(documents, "document"), count(len(shelves), "project"))
	return nil
}

// standing returns what every project needs all the time: each kind of work on
// all of it.
func standing(p project, by string) (rs []requirement) {
	for _, k := range kinds {
		rs = append(rs, requirement{ProjectID: p.ID, Title: fmt.Sprintf("Keep the %s of %s up to date", k, p.Name), Kind: k, Bytes: p.Bytes, Priority: 1, PlannedBy: by})
	}
	return rs
}

// serve starts the API and, where no model is to be had, the stand-in.
func (o *orchestrator) serve() error {
	token := rand.Text()
	transport := &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute}
	caller := &http.Client{Transport: instrument(transport)}
	service := &api{store: o.store, token: token, cancelled: func(id int64, reason string) { o.desk.cancel(id, reason) }}
	base, err := o.listen(service.handler())
	if err != nil {
		return err
	}
	o.client = &client{http: caller, base: base, token: token}
	url, key, name, noModel := o.cfg.OpenAIBaseURL, o.cfg.OpenAIKey, o.cfg.OpenAIModel, false
	if url == "" || key == "" {
		if url, err = o.listen(standIn{key: token}); err != nil {
			return err
		}
		url, key, name, noModel = url+"/v1/", token, standInModel, true
	}
	o.closers = append(o.closers, func() error { transport.CloseIdleConnections(); return nil })
	if o.model, err = newModel(url, key, name, noModel, int64(o.cfg.Seed), caller); err != nil {
		return err
	}
	if noModel {
		o.cfg.Logger.Info("the planner asks the local stand-in, no language model; set OPENAI_BASE_URL and OPENAI_API_KEY for one", "url", url)
	} else {
		o.cfg.Logger.Info("the planner asks a language model", "url", url, "model", name)
	}
	return nil
}

// listen serves on a loopback port of its own.
func (o *orchestrator) listen(h http.Handler) (base string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	o.closers = append(o.closers, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		err := server.Shutdown(ctx)
		if served := <-served; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	})
	return "http://" + listener.Addr().String(), nil
}

// run starts the agents, the planner and the scheduler, and stops them when ctx
// is done.
func (o *orchestrator) run(ctx context.Context) error {
	working, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var parts sync.WaitGroup
	plan := make(chan int, 1)
	parts.Go(func() { o.planning(working, plan) })
	employ := func(role string, n int, lane *lane) {
		for i := range n {
			g := &agent{
				orchestrator: o, lane: lane, name: fmt.Sprintf("%s-%d", role, i+1),
				rand: mathrand.New(mathrand.NewPCG(o.cfg.Seed, uint64(i))), // for jitter, which is no secret
			}
			parts.Go(func() { g.work(working) })
		}
	}
	employ("builder", o.cfg.builders(), o.desk.short)
	employ("indexer", indexers, o.desk.long)
	schedule := &scheduler{orchestrator: o, plan: plan}
	parts.Go(func() { schedule.run(working) })
	o.cfg.Logger.Info("orchestrator runs", "rate", o.cfg.Rate, "agents", o.cfg.builders()+indexers, "projects", len(o.shelves))

	<-ctx.Done()
	stop(errStopped)
	parts.Wait()
	err := errors.Join(o.cancelOpen(context.WithoutCancel(ctx)), o.close())
	o.cfg.Logger.Info("orchestrator stopped")
	return err
}

// planning plans whenever the scheduler asks for requirements, until it has them,
// but not more often than the model is to be asked.
func (o *orchestrator) planning(ctx context.Context, asked <-chan int) {
	p := newPlanner(o.store, o.model, o.shelves)
	rest := time.NewTicker(o.model.planEvery())
	defer rest.Stop()
	missing := 1
	for {
		opened, err := p.plan(trace.ContextWithSpan(ctx, nil))
		if err != nil && ctx.Err() == nil {
			o.cfg.Logger.Warn("plan", "error", err)
		}
		missing -= max(opened, 1)
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
		}
		if missing > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case missing = <-asked:
		}
	}
}

// cancelOpen cancels the work items that are still open when everybody has
// stopped working.
func (o *orchestrator) cancelOpen(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	ctx, a := tracing.Start(ctx, activity.AgentAction, "Close library", "Cancel what is still open",
		tracing.WithAttributes(agentAttributes("invoke_agent", "librarian")...))
	defer a.End(&err)
	o.desk.cancelAll(errStopped.reason)
	n, err := o.store.cancelAll(ctx, errStopped.reason)
	if err != nil {
		return err
	}
	a.Complete(fmt.Sprintf("Cancelled %s", count(int(n), "work item")))
	return nil
}

func (o *orchestrator) close() error {
	var errs []error
	for _, closer := range slices.Backward(o.closers) {
		errs = append(errs, closer())
	}
	o.closers = nil
	return errors.Join(errs...)
}
