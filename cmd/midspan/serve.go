package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/internal/bridge"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/forward"
	"github.com/midspan/midspan/internal/otlpclient"
	"github.com/midspan/midspan/internal/receiver"
)

type serveFlags struct {
	listen      string
	otlpGRPC    string
	otlpHTTP    string
	jaegerURL   string
	tokenFile   string
	insecure    bool
	allowHosts  []string
	data        string
	ack         string
	retainAge   time.Duration
	retainBytes int64
	limits      map[string]*int64
	times       map[string]*time.Duration
	forward     []string
	lostAfter   time.Duration
	redact      redactFlags
	tls, toTLS  receiver.TLSFiles // of the API, and of what takes OTLP
	selfOTLP    string
	logFormat   string
	logLevel    string
	printConfig bool
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Take spans of any process and show them",
		Long: `Take traces by OTLP from programs in any language and show them as activities:
finished spans, and spans that are still open where their sender tells of them.

With --data it is kept in one database in that folder, and a sender is answered
when it is on disk: nothing that was acknowledged is lost by a crash, and every
past moment can be asked for. Without it, up to 1,000,000 finished activities are
held in 256 MiB of memory, and gone when the command ends.

Secrets such as passwords, keys and card numbers are taken out before anything is
kept or shown; --redact and the flags like it say what is one.

Each flag is a setting: --retain-age can stand in the environment too, as
MIDSPAN_RETAIN_AGE, and in the YAML file of --config, as retain-age. A flag goes
before the environment, that before the file. Several values are separated by
commas in the environment, and a list in the file. --print-config shows what
holds, and where it came from.

Environment, for what no file should hold:
  MIDSPAN_TOKEN            admits readers and senders, as --token-file does;
                           MIDSPAN_TOKEN_READ, _INGEST and _ADMIN admit to these alone
  MIDSPAN_FORWARD_HEADERS  headers for --forward, as name=value,name=value with
                           values in percent-encoding

` + exitCodes,
		Example: `  midspan serve
  midspan serve --data /var/lib/midspan --retain-age 336h
  midspan serve --data /var/lib/midspan --forward http://jaeger:4317
  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 your-program
  midspan serve --otlp-grpc 127.0.0.1:14317 --otlp-http 127.0.0.1:14318
  midspan serve --otlp-http 0.0.0.0:4318 --token-file token
  midspan serve --data /var/lib/midspan --print-config > midspan.yaml
  midspan serve --config midspan.yaml`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := configure(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			return runServe(cmd.Context(), &f, s, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.String("config", "", "read settings from this YAML `file`, one a line, named as the flags are")
	flags.BoolVar(&f.printConfig, "print-config", false, "print the settings as a file for --config, and end")
	flags.StringVar(&f.listen, "listen", api.DefaultListen, "`address` of the dashboard and the API; port 0 takes any free one")
	flags.StringVar(&f.otlpGRPC, "otlp-grpc", receiver.DefaultGRPC, "`address` that takes OTLP by gRPC")
	flags.StringVar(&f.otlpHTTP, "otlp-http", receiver.DefaultHTTP, "`address` that takes OTLP by HTTP")
	flags.StringVar(&f.data, "data", "", "keep what is taken in this `folder`, for the next start too")
	flags.StringVar(&f.ack, "ack", "", "`level` at which a sender is answered: disk (the default with --data), when it is on stable storage, or memory")
	flags.Var((*age)(&f.retainAge), "retain-age", "let finished activities go that ended longer ago, such as 12h or 14d; 0 keeps them")
	flags.Int64Var(&f.retainBytes, "retain-bytes", 0, "let the oldest finished activities go when they take more bytes of --data; 0 keeps them")
	f.limits = make(map[string]*int64)
	for _, l := range bridge.Limits {
		f.limits[l.Name] = flags.Int64(l.Name, l.Default, "most "+l.Help)
	}
	f.times = make(map[string]*time.Duration)
	for _, t := range bridge.Times {
		d := t.Default
		f.times[t.Name] = &d
		flags.Var((*age)(&d), t.Name, t.Help)
	}
	flags.StringArrayVar(&f.forward, "forward", nil, "send finished spans on to the OTLP endpoint at this `URL`, by gRPC with port 4317 or grpc://, else by HTTP; may be repeated")
	flags.Var((*age)(&f.lostAfter), "forward-lost-after", "forward an activity that was LOST for so long, as a span that failed; a late end would then show twice")
	f.redact.declare(flags, redactHash)
	flags.StringVar(&f.selfOTLP, "self-otlp-endpoint", "", "send traces of the bridge itself to the OTLP endpoint at this `URL`, which must be another's")
	flags.StringVar(&f.logFormat, "log-format", "text", "`format` of the log on standard error: text or json")
	flags.StringVar(&f.logLevel, "log-level", "info", "least `level` that is logged: debug, info, warn or error")
	flags.StringVar(&f.jaegerURL, "jaeger-url", "", "link activities to their traces in the Jaeger at this `URL`")
	flags.StringVar(&f.tokenFile, "token-file", "", "admit only clients and senders with a token of this `file`: a token a line, or a name, scopes (read, ingest, admin) and a token")
	flags.StringVar(&f.tls.Cert, "tls-cert", "", "serve the dashboard and the API by TLS with the certificate in this `file`, read again when it changes")
	flags.StringVar(&f.tls.Key, "tls-key", "", "`file` of that certificate's key")
	flags.StringVar(&f.toTLS.Cert, "otlp-tls-cert", "", "take OTLP by TLS with the certificate in this `file`, which may be that of --tls-cert")
	flags.StringVar(&f.toTLS.Key, "otlp-tls-key", "", "`file` of that certificate's key")
	flags.StringVar(&f.toTLS.ClientCA, "otlp-client-ca", "", "take OTLP only from senders with a certificate that an authority in this `file` has signed")
	flags.BoolVar(&f.insecure, "insecure", false, "allow addresses beyond loopback without a token")
	flags.StringArrayVar(&f.allowHosts, "allow-host", nil, "further `name` by which clients reach this server; may be repeated")
	return cmd
}

// check tells what can't be meant, and where in s it stands.
func (f *serveFlags) check(s *settings) error {
	for _, a := range []struct{ flag, value, example string }{
		{"listen", f.listen, api.DefaultListen},
		{"otlp-grpc", f.otlpGRPC, receiver.DefaultGRPC},
		{"otlp-http", f.otlpHTTP, receiver.DefaultHTTP},
	} {
		if err := checkAddress(s.place(a.flag), a.value, a.example); err != nil {
			return err
		}
	}
	for _, l := range bridge.Limits {
		if n := *f.limits[l.Name]; n < l.Least || n > l.Most {
			return usagef("%s is %d: give %d to %d", s.place(l.Name), n, l.Least, l.Most)
		}
	}
	for _, t := range bridge.Times {
		if d := *f.times[t.Name]; d < t.Least || d > t.Most {
			return usagef("%s is %v: give %v to %v", s.place(t.Name), d, t.Least, t.Most)
		}
	}
	switch {
	case f.ack != "" && f.ack != eventlog.Disk.String() && f.ack != eventlog.Memory.String():
		return usagef("%s is %q: give disk or memory", s.place("ack"), f.ack)
	case f.data == "" && f.ack == eventlog.Disk.String():
		return usagef("--ack disk needs a folder: give --data")
	case (f.tls.Cert == "") != (f.tls.Key == ""):
		return usagef("--tls-cert and --tls-key go together: give both")
	case (f.toTLS.Cert == "") != (f.toTLS.Key == "") || f.toTLS.ClientCA != "" && f.toTLS.Cert == "":
		return usagef("--otlp-tls-cert and --otlp-tls-key go together, and --otlp-client-ca with them: give both")
	case f.data == "" && f.retainBytes != 0:
		return usagef("--retain-bytes is of what --data keeps: give a folder")
	case f.lostAfter < 0:
		return usagef("%s is %s: give a time above 0", s.place("forward-lost-after"), f.lostAfter)
	case f.lostAfter > 0 && len(f.forward) == 0:
		return usagef("--forward-lost-after is of what --forward sends: give a URL")
	case f.retainAge < 0 || f.retainBytes < 0:
		return usagef("--retain-age and --retain-bytes must not be negative")
	}
	return nil
}

// storage says where what is taken is kept.
func (f *serveFlags) storage() bridge.Storage {
	s := bridge.Storage{Folder: f.data, Ack: eventlog.Disk, MaxAge: f.retainAge, MaxBytes: f.retainBytes}
	if f.ack == eventlog.Memory.String() {
		s.Ack = eventlog.Memory
	}
	return s
}

// forwardHeaders holds secrets, so it is no flag.
const forwardHeaders = "MIDSPAN_FORWARD_HEADERS"

// targets says where finished spans go on to.
func (f *serveFlags) targets() (forward.Config, error) {
	cfg := forward.Config{LostAfter: f.lostAfter}
	headers := make(map[string]otlpclient.Secret)
	if text := os.Getenv(forwardHeaders); text != "" {
		for part := range strings.SplitSeq(text, ",") {
			name, value, ok := strings.Cut(part, "=")
			value, err := url.PathUnescape(strings.TrimSpace(value))
			if name = strings.TrimSpace(name); !ok || name == "" || err != nil {
				return cfg, usagef("%s: write it as name=value,name=value, with values in percent-encoding", forwardHeaders)
			}
			headers[name] = otlpclient.Secret(value)
		}
	}
	for _, text := range f.forward {
		target := otlpclient.Config{URL: text, Headers: headers}
		if err := target.Check(); err != nil {
			return cfg, usagef("--forward: %w", err)
		}
		cfg.Targets = append(cfg.Targets, forward.Target{URL: text, Headers: headers})
	}
	return cfg, nil
}

// checkAddress says how an address is written, when it is not.
func checkAddress(flag, value, example string) error {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return usagef("%s is %q: write it as host:port, for example %s, with port 0 for any free one", flag, value, example)
	}
	return nil
}

// newLogger returns a logger of the levels from the least on.
func newLogger(w io.Writer, format, least string) (*slog.Logger, error) {
	level, known := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[least]
	if !known {
		return nil, usagef("--log-level is %q: give debug, info, warn or error", least)
	}
	options := &slog.HandlerOptions{Level: level}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, usagef("--log-format is %q: give text or json", format)
}

func runServe(ctx context.Context, f *serveFlags, s *settings, stdout, stderr io.Writer) error {
	logger, err := newLogger(stderr, f.logFormat, f.logLevel)
	if err != nil {
		return err
	}
	for _, name := range s.unknown {
		logger.Warn("an environment variable is no setting", "name", name)
	}
	if err := f.check(s); err != nil {
		return err
	}
	keys, err := openKeyring(f.tokenFile, logger)
	if err != nil {
		return err
	}
	to, err := f.targets()
	if err != nil {
		return err
	}
	secrets, err := f.redact.config()
	if err != nil {
		return err
	}
	limits := make(map[string]int64, len(f.limits))
	for name, n := range f.limits {
		limits[name] = *n
	}
	times := make(map[string]time.Duration, len(f.times))
	for name, d := range f.times {
		times[name] = *d
	}
	version, _ := buildVersion()
	cfg := bridge.Config{
		Listen: f.listen, OTLPGRPC: f.otlpGRPC, OTLPHTTP: f.otlpHTTP,
		Keys: keys, Insecure: f.insecure, AllowHosts: f.allowHosts, JaegerURL: f.jaegerURL, Version: version,
		Storage: f.storage(), Forward: to, Redact: secrets, TLS: f.tls, OTLPTLS: f.toTLS, Limits: limits, Times: times, SelfEndpoint: f.selfOTLP, Logger: logger,
	}
	if f.printConfig {
		if err := bridge.Check(cfg); err != nil {
			return refused(err)
		}
		return s.write(stdout)
	}
	b, err := bridge.New(ctx, cfg)
	if err != nil {
		return refused(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, unsaid := fmt.Fprintf(stdout, "Watch it at %s\nSend OTLP to %s by gRPC, to %s://%s by HTTP\n",
		monitorURL(scheme(f.tls), f.listen, b.Addr()), b.GRPCAddr(), scheme(f.toTLS), b.HTTPAddr())
	if unsaid != nil {
		cancel()
	}
	return errors.Join(unsaid, b.Run(ctx))
}

// refused says what to do about an error for which a bridge does not begin.
func refused(err error) error {
	if exposed, ok := errors.AsType[*bridge.ExposedError](err); ok {
		return usagef("%w: give --token-file, take 127.0.0.1, or let everyone read and send by --insecure", exposed)
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%w: choose another address by --listen, --otlp-grpc or --otlp-http, or port 0 for any free one", err)
	}
	if failed, ok := errors.AsType[*bridge.StorageError](err); ok {
		return failed
	}
	return &usageError{err}
}

// scheme returns that of the URLs of what speaks TLS, or does not.
func scheme(files receiver.TLSFiles) string {
	if files == (receiver.TLSFiles{}) {
		return "http"
	}
	return "https"
}

// age is a flag's duration that may be told in days, as in the API's parameters.
type age time.Duration

var errAge = errors.New("give a duration, such as 90m, 12h or 14d")

func (a *age) Set(text string) error {
	d, ok := api.ParseDuration(text)
	if !ok {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			return errAge
		}
	}
	*a = age(d)
	return nil
}

func (a *age) String() string { return time.Duration(*a).String() }
func (a *age) Type() string   { return "duration" }
