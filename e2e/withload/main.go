// Command withload runs a command beside a server whose activities change at a steady rate, as POST requests to
// MIDSPAN_LOAD ask: ?activities=N makes so many at once, ?rate=N then changes activities N times a second, and
// ?say=TEXT has one open span, which knows only OpenTelemetry, tell what it is doing. The command is told the
// server's own address by MIDSPAN_URL.
//
//	go run ./e2e/withload -- npm --prefix dashboard run budgets
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan"
	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

func main() {
	flag.Parse()
	err := withLoad(context.Background(), flag.Args())
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "withload:", err)
		os.Exit(1)
	}
}

func withLoad(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("no command to run beside the load")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m, err := midspan.New(midspan.Config{Service: "load"})
	if err != nil {
		return err
	}
	var listen net.ListenConfig
	server, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control, err := listen.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx, server) }()
	_, plain := m.TracerProvider().Tracer("withload").Start(ctx, "A plain span")
	defer plain.End()
	l := load{plain: plain}
	go l.run(ctx)
	controller := &http.Server{Handler: &l, ReadHeaderTimeout: time.Second}
	go func() { _ = controller.Serve(control) }()
	defer func() { _ = controller.Close() }()

	command := exec.CommandContext(ctx, args[0], args[1:]...)
	command.Env = append(command.Environ(),
		"MIDSPAN_URL=http://"+server.Addr().String(), "MIDSPAN_LOAD=http://"+control.Addr().String())
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = command.Run()
	cancel()
	return errors.Join(err, <-served)
}

// load makes activities, fifty to a trace.
type load struct {
	rate  atomic.Int64 // changes a second
	plain trace.Span

	mu      sync.Mutex // guards what follows
	made    int64
	current context.Context // of the trace
	root    *work
}

// changes is how often one activity changes: it starts, says what it does, and ends.
const changes = 3

// ServeHTTP takes the orders of the command.
func (l *load) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if text := r.FormValue("say"); text != "" {
		l.plain.SetAttributes(attribute.String("activity.description.current", text))
	}
	for _, order := range []struct {
		name string
		do   func(n int64)
	}{
		{"activities", func(n int64) {
			for range n {
				l.start().end()
			}
		}},
		{"rate", l.rate.Store},
	} {
		text := r.FormValue(order.name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			http.Error(w, order.name+" is no number: "+text, http.StatusBadRequest)
			return
		}
		order.do(n)
	}
	w.WriteHeader(http.StatusNoContent)
}

// run changes activities at the rate, each of them over a fifth of a second.
func (l *load) run(ctx context.Context) {
	const beat, life = 10 * time.Millisecond, 20
	tick := time.NewTicker(beat)
	defer tick.Stop()
	var open [life][]*work
	var due float64
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, w := range open[(n+life/2)%life] {
			w.say()
		}
		for _, w := range open[n%life] {
			w.end()
		}
		open[n%life] = open[n%life][:0]
		due += float64(l.rate.Load()) / changes * beat.Seconds()
		for ; due >= 1; due-- {
			open[n%life] = append(open[n%life], l.start())
		}
	}
}

// work is one activity; every fiftieth fails.
type work struct {
	n int64
	*tracing.Activity
}

// start starts an activity below the root of its trace, which ends when the next trace begins.
func (l *load) start() *work {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made++
	n := l.made
	if n%50 == 1 {
		if l.root != nil {
			l.root.end()
		}
		ctx, a := tracing.Start(context.Background(), activity.WorkItem, fmt.Sprintf("Order of %d parts", n), "Change fifty parts")
		l.current, l.root = ctx, &work{n, a}
	}
	kind := activity.Types[n%int64(len(activity.Types))]
	_, a := tracing.Start(l.current, kind, fmt.Sprintf("Work on part %d", n%1000), "Take the part, change it, put it back",
		tracing.WithThread(fmt.Sprintf("worker-%d", n%40), fmt.Sprintf("Worker %d", n%40)),
		tracing.WithAttributes(attribute.Int64("part.id", n)))
	return &work{n, a}
}

func (w *work) say() { w.Say("Changing the part") }

func (w *work) end() {
	if w.n%50 == 0 {
		w.Fail(fmt.Errorf("part %d does not fit", w.n%7))
		return
	}
	w.Complete(fmt.Sprintf("Put part %d back", w.n))
}
