package midspan

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/processor"
)

// Config says how a program is watched. Its zero value is ready to use: it
// serves the program's own activities on the loopback address and exports them
// when OpenTelemetry's environment variables name an endpoint.
//
// Where a field and an environment variable of OpenTelemetry say the same, the
// variable wins, unless the field says otherwise: it is the operator's.
type Config struct {
	// Service names the program. OTEL_SERVICE_NAME and the service.name of
	// OTEL_RESOURCE_ATTRIBUTES win. Defaults to "unknown_service:" and the
	// name of the executable.
	Service string
	// Version is the program's version, kept as service.version. Empty means
	// that it has none.
	Version string
	// Resource adds attributes to what every activity carries. Nil adds none.
	Resource *resource.Resource

	// Listen is the address that ListenAndServe opens, and whose host requests
	// may name. Any but a loopback address demands Tokens. Port 0 takes any free
	// one. Defaults to api.DefaultListen, 127.0.0.1:18080.
	Listen string
	// AllowHosts are further names by which clients reach the server, as "name"
	// for any port or "name:port". Loopback names and the host of Listen are
	// always allowed.
	AllowHosts []string
	// Tokens admit a request when it carries any of them. Empty means that
	// everyone who reaches the address may read.
	Tokens []api.Token
	// Insecure allows a Listen address beyond loopback without a token.
	Insecure bool
	// JaegerURL is the base of links to traces, such as
	// "http://localhost:16686". Empty means that there are no links.
	JaegerURL string
	// NoDashboard leaves /monitor/ away.
	NoDashboard bool

	// Index bounds what is held in memory. Its zero value holds up to 1,000,000
	// finished activities in 256 MiB.
	Index index.Config
	// Processor sets how changes reach the index. Its zero value is right for
	// nearly every program.
	Processor processor.Config

	// Sampler decides which spans are exported; the index sees all of them. Nil
	// means what OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG say, or else
	// everything that a remote parent has not left out. It wins over the
	// variables.
	Sampler sdktrace.Sampler
	// OTLPEndpoint is where finished spans go, written as
	// OTEL_EXPORTER_OTLP_ENDPOINT: "http://localhost:4318", or with port 4317 for
	// gRPC. It wins over that variable; headers, protocol, TLS and timeout are
	// still the variables'. Empty means what OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
	// or OTEL_EXPORTER_OTLP_ENDPOINT say; without them nothing is exported.
	OTLPEndpoint string
	// Exporter takes finished, sampled spans instead of the OTLP exporter. Nil
	// means the OTLP exporter, if there is an endpoint.
	Exporter sdktrace.SpanExporter
	// SpanProcessors stand beside Midspan's own in the SDK and are shut down with
	// it. They have the SDK copy each span that ends, about half a microsecond
	// for whoever ends it; what only takes ended spans is better in
	// Processor.Next. Nil adds none.
	SpanProcessors []sdktrace.SpanProcessor

	// Bridge is the address of a `midspan serve` that shows this program's
	// activities beside those of others, while they are open: OTLP's, written as
	// OTLPEndpoint is, such as "http://localhost:4318". It gets every change as a
	// log event, finished spans, and a lease by which it knows that this process
	// lives. It sends finished spans on in this program's stead, so
	// OpenTelemetry's variables for endpoints don't count beside it; OTLPEndpoint
	// and Exporter do. Empty means that there is none.
	Bridge string
	// BridgeToken admits to the bridge, which wants one beyond loopback. It wins
	// over OTEL_EXPORTER_OTLP_HEADERS. Empty means none.
	BridgeToken api.Token
	// BridgeLease is the period of this process's lease: it gives three signs of
	// life in it, and the bridge calls what it left open lost after two without
	// one. 1 second to 5 minutes. Defaults to 5 seconds.
	BridgeLease time.Duration

	// Redact takes secrets out of everything before it is indexed, shown, exported
	// or told to the bridge; SpanProcessors and Processor.Next see spans as they
	// are. Nil leaves everything as it is.
	Redact *Redact

	// Propagator carries the context between processes. It wins over
	// OTEL_PROPAGATORS. Nil means what that variable says, or else W3C trace
	// context and baggage.
	Propagator propagation.TextMapPropagator
	// NoGlobals leaves OpenTelemetry's global provider and propagator as they
	// are. Start activities with tracing.ContextWithProvider then.
	NoGlobals bool

	// Logger is told of what an operator should know. Nil means slog.Default.
	Logger *slog.Logger
}

// check returns an error that says what to do, or nil. What the API reads it
// checks itself.
func (c *Config) check() error {
	if c.OTLPEndpoint != "" && c.Exporter != nil {
		return errors.New("midspan: Config.OTLPEndpoint and Config.Exporter are both set: choose one")
	}
	if c.BridgeLease != 0 && (c.BridgeLease < activity.MinLeaseTTL || c.BridgeLease > activity.MaxLeaseTTL) {
		return fmt.Errorf("midspan: Config.BridgeLease is %v: give %v to %v", c.BridgeLease, activity.MinLeaseTTL, activity.MaxLeaseTTL)
	}
	for _, endpoint := range []struct{ what, url string }{{"OTLP endpoint", c.OTLPEndpoint}, {"bridge", c.Bridge}} {
		if endpoint.url == "" {
			continue
		}
		u, err := url.Parse(endpoint.url)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("midspan: %s %q: write it as http://host:port, for example http://localhost:4318", endpoint.what, endpoint.url)
		}
	}
	return nil
}
