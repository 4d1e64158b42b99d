// Package loadgen drives an OTLP endpoint with finished spans, as fast as it
// takes them or at a rate. The requests are encoded beforehand and made new in
// place, so that little of the machine goes into the driver.
package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midspan/midspan/internal/otlpclient"
)

// Defaults and limits of Config.
const (
	DefaultFor   = 10 * time.Second
	DefaultBatch = 512
	DefaultNames = 1000

	MaxBatch       = 8192
	MaxConnections = 1024

	refusedPause = 20 * time.Millisecond // after a refusal without advice
)

// Config says what is sent where. Only Endpoint.URL is required.
type Config struct {
	Endpoint otlpclient.Config
	// For is how long it is sent. Defaults to DefaultFor.
	For time.Duration
	// Rate is in spans a second; 0 is as many as the endpoint takes.
	Rate int
	// Connections send one request each at a time. Defaults to two for each
	// processor.
	Connections int
	// Batch is how many spans a request has. Defaults to DefaultBatch.
	Batch int
}

// Result is what became of it.
type Result struct {
	Elapsed  time.Duration
	Accepted int64 // spans that the endpoint took
	Rejected int64 // spans that it will never take
	Refused  int64 // requests that it told to come again; they did
	Requests int64 // that were answered
	Bytes    int64 // of the accepted requests, before compression
	// Latencies of accepted requests. At a rate they count from when the request
	// was due: an endpoint that makes the driver wait does not look fast.
	P50, P95, P99, Max time.Duration
	// CPU is what this process used, the driver and all else in it; 0 where the
	// system does not tell.
	CPU       time.Duration
	LastError string
}

// PerSecond returns the accepted spans a second.
func (r *Result) PerSecond() float64 { return float64(r.Accepted) / r.Elapsed.Seconds() }

func (c *Config) withDefaults() (Config, error) {
	d := *c
	if d.For == 0 {
		d.For = DefaultFor
	}
	if d.Connections == 0 {
		d.Connections = 2 * runtime.GOMAXPROCS(0)
	}
	if d.Batch == 0 {
		d.Batch = DefaultBatch
	}
	switch {
	case d.For < 0:
		return d, fmt.Errorf("a time of %s: give one above 0", d.For)
	case d.Rate < 0:
		return d, fmt.Errorf("a rate of %d: give spans a second, or 0 for as many as the endpoint takes", d.Rate)
	case d.Connections < 1 || d.Connections > MaxConnections:
		return d, fmt.Errorf("%d connections: give 1 to %d", d.Connections, MaxConnections)
	case d.Batch < 1 || d.Batch > MaxBatch:
		return d, fmt.Errorf("a batch of %d spans: give 1 to %d", d.Batch, MaxBatch)
	}
	return d, nil
}

// Check returns an error that says what is wrong with cfg, or nil.
func (c *Config) Check() error {
	if _, err := c.withDefaults(); err != nil {
		return err
	}
	return c.Endpoint.Check()
}

// worker is one connection.
type worker struct {
	client    *otlpclient.Client
	templates []*template
	random    *rand.PCG

	result    Result
	latencies []time.Duration
}

// Run drives the endpoint until Config.For is over or ctx is done. It returns an
// error when cfg is wrong or nothing was accepted; what the endpoint answered is
// in the Result.
func Run(ctx context.Context, cfg Config) (_ Result, err error) {
	if cfg, err = cfg.withDefaults(); err != nil {
		return Result{}, err
	}
	names := nameList(DefaultNames)
	var workers []*worker
	defer func() {
		for _, w := range workers {
			err = errors.Join(err, w.client.Close())
		}
	}()
	for i := range cfg.Connections {
		w := &worker{random: rand.NewPCG(rand.Uint64(), rand.Uint64())}
		if w.client, err = otlpclient.New(cfg.Endpoint); err != nil {
			return Result{}, err
		}
		workers = append(workers, w)
		// Two services each, so that resources alternate.
		for k := range 2 {
			t, err := newTemplate(rand.New(w.random), 2*i+k, cfg.Batch, names)
			if err != nil {
				return Result{}, err
			}
			w.templates = append(w.templates, t)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.For)
	defer cancel()
	began, used := time.Now(), cpu()
	var due schedule
	if cfg.Rate > 0 {
		due = schedule{began: began, every: float64(cfg.Batch) / float64(cfg.Rate) * float64(time.Second)}
	}
	var running sync.WaitGroup
	for _, w := range workers {
		running.Go(func() { w.run(ctx, &due) })
	}
	running.Wait()
	total := Result{Elapsed: time.Since(began), CPU: cpu() - used}
	var latencies []time.Duration
	for _, w := range workers {
		r := &w.result
		total.Accepted += r.Accepted
		total.Rejected += r.Rejected
		total.Refused += r.Refused
		total.Requests += r.Requests
		total.Bytes += r.Bytes
		if r.LastError != "" {
			total.LastError = r.LastError
		}
		latencies = append(latencies, w.latencies...)
	}
	slices.Sort(latencies)
	if n := len(latencies); n > 0 {
		at := func(q float64) time.Duration { return latencies[int(q*float64(n-1))] }
		total.P50, total.P95, total.P99, total.Max = at(0.50), at(0.95), at(0.99), latencies[n-1]
	}
	if total.Accepted == 0 {
		err = fmt.Errorf("%s took no span: %s", workers[0].client.Endpoint(), total.LastError)
	}
	return total, err
}

// schedule gives out when requests are due; the zero value: at once.
type schedule struct {
	began time.Time
	every float64 // nanoseconds
	next  atomic.Int64
}

// wait returns when the next request was due, once it is, or false when ctx is
// done before.
func (s *schedule) wait(ctx context.Context) (time.Time, bool) {
	now := time.Now()
	if s.every == 0 {
		return now, ctx.Err() == nil
	}
	at := s.began.Add(time.Duration(float64(s.next.Add(1)-1) * s.every))
	return at, at.Before(now) && ctx.Err() == nil || pause(ctx, at.Sub(now))
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (w *worker) run(ctx context.Context, due *schedule) {
	for i := 0; ; i++ {
		at, ok := due.wait(ctx)
		if !ok {
			return
		}
		t := w.templates[i%len(w.templates)]
		t.renew(w.random, time.Now())
		if due.every == 0 {
			at = time.Now()
		}
		if !w.send(ctx, t, at) {
			return
		}
	}
}

// send sends a request until it is taken or rejected. It reports false when ctx
// is done.
func (w *worker) send(ctx context.Context, t *template, due time.Time) bool {
	r, spans := &w.result, int64(len(t.spans))
	for {
		// A request under way at the end is waited for: it may have been taken.
		result, err := w.client.Send(context.WithoutCancel(ctx), t.body)
		if err == nil {
			bad := min(result.Rejected, spans)
			r.Requests++
			r.Accepted += spans - bad
			r.Rejected += bad
			r.Bytes += int64(len(t.body))
			w.latencies = append(w.latencies, time.Since(due))
			if result.Message != "" {
				r.LastError = result.Message
			}
			return true
		}
		t.body = slices.Clone(t.body) // the old one may still be read
		r.LastError = err.Error()
		failed, _ := errors.AsType[*otlpclient.Error](err)
		if failed != nil && !failed.Retry {
			r.Requests++
			r.Rejected += spans
			return true
		}
		r.Refused++
		wait := refusedPause
		if failed != nil && failed.After > 0 {
			wait = failed.After
		}
		if !pause(ctx, wait) {
			return false
		}
	}
}
