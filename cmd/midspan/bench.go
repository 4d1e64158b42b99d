package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/internal/loadgen"
	"github.com/midspan/midspan/internal/otlpclient"
)

type benchFlags struct {
	duration    time.Duration
	rate        int
	connections int
	batch       int
	gzip        bool
	tokenFile   string
	json        bool
}

func newBench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench ADDRESS",
		Short: "Drive an OTLP endpoint with spans and tell how many it takes",
		Long: `Send finished spans to any OTLP endpoint, as fast as it takes them or at a rate,
and tell what it took. By gRPC where the port is 4317 or the address begins with
grpc:// or grpcs://, else by HTTP.

A span has 8 attributes, half of them of values that never repeat, random ids and
one of 1,000 names; 8 of them are a trace. Requests are encoded beforehand and made
new in place, so the driver costs little.

Environment:
  MIDSPAN_TOKEN  is sent with each request, as that of --token-file is

` + exitCodes,
		Example: `  midspan bench localhost:4317
  midspan bench http://localhost:4318 --for 60s --rate 20000
  midspan bench grpc://localhost:14317 --connections 8 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("'%s' takes one address, but was given %q", cmd.CommandPath(), args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runBench(cmd.Context(), args[0], &f, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&f.duration, "for", loadgen.DefaultFor, "how long to send")
	flags.IntVar(&f.rate, "rate", 0, "`spans` a second; without it as many as the endpoint takes")
	flags.IntVar(&f.connections, "connections", 0, "connections, each with one request under way (two for each processor)")
	flags.IntVar(&f.batch, "batch", loadgen.DefaultBatch, "`spans` in a request")
	flags.BoolVar(&f.gzip, "gzip", false, "pack the requests, at the driver's cost")
	flags.StringVar(&f.tokenFile, "token-file", "", "send the first token of this `file` with each request")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

func runBench(ctx context.Context, address string, f *benchFlags, stdout io.Writer) error {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	if f.duration <= 0 {
		return usagef("--for is %s: give a time above 0", f.duration)
	}
	tokens, err := readTokens(f.tokenFile, api.ScopeIngest)
	if err != nil {
		return err
	}
	var headers map[string]otlpclient.Secret
	if len(tokens) > 0 {
		headers = map[string]otlpclient.Secret{"Authorization": "Bearer " + otlpclient.Secret(tokens[0])}
	}
	cfg := loadgen.Config{
		Endpoint: otlpclient.Config{URL: address, Headers: headers, Gzip: f.gzip},
		For:      f.duration, Rate: f.rate, Connections: f.connections, Batch: f.batch,
	}
	if err := cfg.Check(); err != nil {
		return &usageError{err}
	}
	r, err := loadgen.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if f.json {
		return json.NewEncoder(stdout).Encode(map[string]any{
			"seconds": r.Elapsed.Seconds(), "accepted": r.Accepted, "accepted_per_second": r.PerSecond(),
			"rejected": r.Rejected, "refused_requests": r.Refused, "requests": r.Requests, "bytes": r.Bytes,
			"p50_ms": ms(r.P50), "p95_ms": ms(r.P95), "p99_ms": ms(r.P99), "max_ms": ms(r.Max),
			"driver_cpu_seconds": r.CPU.Seconds(), "last_error": r.LastError,
		})
	}
	_, err = fmt.Fprintf(stdout, `accepted  %.0f spans/s: %d in %.1f s, %.1f MB, %.1f MB/s
rejected  %d spans
refused   %d requests, sent again
latency   p50 %.1f ms, p95 %.1f ms, p99 %.1f ms, max %.1f ms a request of %d spans
driver    %.0f %% of a processor, %.2f µs a span
`, r.PerSecond(), r.Accepted, r.Elapsed.Seconds(), float64(r.Bytes)/1e6, float64(r.Bytes)/1e6/r.Elapsed.Seconds(),
		r.Rejected, r.Refused, ms(r.P50), ms(r.P95), ms(r.P99), ms(r.Max), f.batch,
		100*r.CPU.Seconds()/r.Elapsed.Seconds(), 1e6*r.CPU.Seconds()/float64(r.Accepted))
	if err == nil && r.LastError != "" {
		_, err = fmt.Fprintf(stdout, "last word %s\n", r.LastError)
	}
	return err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
