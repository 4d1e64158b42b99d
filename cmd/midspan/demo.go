package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.opentelemetry.io/otel"

	"github.com/midspan/midspan"
	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/internal/orchestrator"
)

// stopTimeout is how long the demo's end may take: spans that are on their way
// to a backend, and clients that are being answered.
const stopTimeout = 5 * time.Second

type demoFlags struct {
	listen       string
	rate         float64
	duration     time.Duration
	jaegerURL    string
	otlpEndpoint string
	bridge       string
	tokenFile    string
	insecure     bool
	allowHosts   []string
}

func newDemo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a real orchestrator and watch it work",
		Long: `Run a small but real orchestrator: agents plan, decide, hash, parse, compress and
index real files, fail, retry and are cancelled, and every step can be watched
while it is taken. In a folder with a go.mod its files are read too.

It runs until it is interrupted, or for --for.

Environment:
  OPENAI_BASE_URL, OPENAI_API_KEY  let the planner ask a real model (OPENAI_MODEL
                                   names it); without both, a stand-in answers
  OTEL_*                           OpenTelemetry's own variables, such as
                                   OTEL_EXPORTER_OTLP_ENDPOINT
  MIDSPAN_TOKEN                    admits clients, as --token-file does

` + exitCodes,
		Example: `  midspan demo
  midspan demo --rate 20 --for 1m
  midspan demo --otlp-endpoint http://localhost:4317 --jaeger-url http://localhost:16686
  midspan demo --bridge http://localhost:4318
  midspan demo --listen 0.0.0.0:18080 --token-file token`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", api.DefaultListen, "`address` to serve on; port 0 takes any free one")
	flags.Float64Var(&f.rate, "rate", 4, "work items made per second")
	flags.DurationVar(&f.duration, "for", 0, "stop after this `duration`; 0 runs until interrupted")
	flags.StringVar(&f.jaegerURL, "jaeger-url", "", "link activities to their traces in the Jaeger at this `URL`")
	flags.StringVar(&f.otlpEndpoint, "otlp-endpoint", "", "export finished spans to this `URL`; port 4317 is taken for gRPC")
	flags.StringVar(&f.bridge, "bridge", "", "show everything live in the 'midspan serve' that takes OTLP at this `URL` too")
	flags.StringVar(&f.tokenFile, "token-file", "", "admit only clients with a token of this `file`, one a line")
	flags.BoolVar(&f.insecure, "insecure", false, "allow an address beyond loopback without a token")
	flags.StringArrayVar(&f.allowHosts, "allow-host", nil, "further `name` by which clients reach this server; may be repeated")
	return cmd
}

func (f *demoFlags) check() error {
	switch {
	case !(f.rate > 0 && f.rate <= 10_000):
		return usagef("--rate is %v: give more than 0 and at most 10000", f.rate)
	case f.duration < 0:
		return usagef("--for is %v: it must not be negative", f.duration)
	}
	return checkAddress("--listen", f.listen, api.DefaultListen)
}

func runDemo(ctx context.Context, f demoFlags, stdout, stderr io.Writer) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	tokens, err := readTokens(f.tokenFile, api.ScopeRead)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { logger.Warn("opentelemetry", slog.Any("error", err)) }))

	// Before anything slow: who connects from now on is answered.
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("%w: choose another address by --listen, or port 0 for any free one", err)
	}
	version, _ := buildVersion()
	m, err := midspan.New(midspan.Config{
		Service: "midspan-demo", Version: version,
		Listen: f.listen, AllowHosts: f.allowHosts, Tokens: tokens, Insecure: f.insecure,
		JaegerURL: f.jaegerURL, OTLPEndpoint: f.otlpEndpoint, Bridge: f.bridge, Logger: logger,
	})
	if errors.Is(err, api.ErrExposed) {
		err = fmt.Errorf("--listen %s can be reached from other machines: give --token-file, listen on 127.0.0.1, or let everyone read by --insecure", f.listen)
	}
	if err != nil {
		return errors.Join(&usageError{err}, l.Close())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if f.duration > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, f.duration)
		defer stop()
	}
	served := make(chan error, 1)
	go func() {
		err := m.Serve(context.WithoutCancel(ctx), l) // until Shutdown: the end can be watched too
		served <- err
		cancel(err)
	}()
	_, unsaid := fmt.Fprintf(stdout, "Watch it at %s\n", monitorURL("http", f.listen, l.Addr()))
	if unsaid != nil {
		cancel(unsaid)
	}

	dir, err := os.Getwd()
	if err != nil {
		dir = "" // only the embedded projects, then
	}
	failed := orchestrator.Run(ctx, orchestrator.Config{
		Rate: f.rate, Dir: dir, Logger: logger,
		OpenAIBaseURL: os.Getenv("OPENAI_BASE_URL"), OpenAIKey: os.Getenv("OPENAI_API_KEY"), OpenAIModel: os.Getenv("OPENAI_MODEL"),
	})
	if ctx.Err() != nil && errors.Is(failed, ctx.Err()) {
		failed = nil // it was told to stop
	}
	end, done := context.WithTimeout(context.Background(), stopTimeout)
	defer done()
	if err := m.Shutdown(end); err != nil {
		logger.Warn("stopped, but not all was delivered", slog.Any("error", err))
	}
	return errors.Join(unsaid, failed, <-served)
}

// monitorURL returns the dashboard's address for a browser on this machine.
func monitorURL(scheme, listen string, bound net.Addr) string {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return scheme + "://" + bound.String() + "/monitor/"
	}
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		port = ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/monitor/"
}
