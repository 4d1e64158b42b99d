package midspan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/dashboard"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/redact"
	"github.com/midspan/midspan/processor"
	"github.com/midspan/midspan/tracing"
)

// reservedAttributes is the room that an activity's own attributes need beside
// those that OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT leaves to the program.
const reservedAttributes = 32

// Midspan watches one process. It is safe for concurrent use.
type Midspan struct {
	cfg      Config
	index    *index.Index
	sdk      *sdktrace.TracerProvider // nil when OTEL_SDK_DISABLED
	provider trace.TracerProvider
	process  *processor.Processor // nil when OTEL_SDK_DISABLED
	api      *api.API
	redact   *redact.Redactor // nil without Config.Redact
	export   *exportQueue     // nil when nothing is exported
	bridge   *bridgeLink      // nil without a bridge

	mu      sync.Mutex // guards everything below
	stopped bool
	servers map[*http.Server]struct{}
	once    sync.Once
	stopErr error
}

// New returns what watches this process, at work: its provider is
// OpenTelemetry's global one unless cfg.NoGlobals is set. Nothing listens yet;
// see [Midspan.ListenAndServe] and [Midspan.Handler]. Call [Midspan.Shutdown]
// at the program's end.
//
// With OTEL_SDK_DISABLED=true nothing is traced: the provider is a no-op, and
// what is served is an empty index.
//
// The error says what is wrong with the configuration. Nothing is left running
// then.
func New(cfg Config) (*Midspan, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Listen == "" {
		cfg.Listen = api.DefaultListen
	}
	res, err := newResource(&cfg)
	if err != nil {
		return nil, err
	}
	clean, err := newRedactor(cfg.Redact)
	if err != nil {
		return nil, fmt.Errorf("midspan: %w", err)
	}
	if clean != nil {
		res = cleanResource(clean, res)
	}
	m := &Midspan{cfg: cfg, redact: clean, index: index.New(cfg.Index), servers: make(map[*http.Server]struct{})}
	if err := m.openAPI(serviceOf(res)); err != nil {
		return nil, err
	}
	if sdkDisabled() {
		cfg.Logger.Info("midspan: OTEL_SDK_DISABLED is true: nothing is traced, watched or exported")
		m.provider = noop.NewTracerProvider()
	} else if err := m.trace(res); err != nil {
		return nil, errors.Join(err, m.api.Shutdown(context.Background()))
	}
	if !cfg.NoGlobals {
		otel.SetTracerProvider(m.provider)
		otel.SetTextMapPropagator(m.propagator())
	}
	return m, nil
}

// trace makes the provider, from its spans to the index and the export.
func (m *Midspan) trace(res *resource.Resource) (err error) {
	cfg := &m.cfg
	if m.export, err = m.openExport(); err != nil {
		return err
	}
	if m.bridge, err = m.openBridge(res); err != nil {
		if m.export != nil {
			err = errors.Join(err, m.export.Shutdown(context.Background()))
		}
		return err
	}
	sampler := cfg.Sampler
	if sampler == nil {
		sampler = environmentSampler()
	}
	limits := sdktrace.NewSpanLimits()
	if limits.AttributeCountLimit >= 0 { // negative is no limit
		limits.AttributeCountLimit += reservedAttributes
	}
	var into processor.Index = m.index
	if m.redact != nil {
		into = cleanIndex{m.index, m.redact}
	}
	process := cfg.Processor
	process.Next = slices.Clone(process.Next)
	if m.export != nil {
		process.Next = append(process.Next, m.export)
	}
	if m.bridge != nil {
		process.Next = append(process.Next, m.bridge.spans)
	}
	p := processor.New(into, process)
	m.index.BeforeRead(p.Flush)
	opts := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(res),
		sdktrace.WithSampler(processor.Sampler(sampler)),
		sdktrace.WithRawSpanLimits(limits),
	}
	if len(cfg.SpanProcessors) > 0 { // which may change spans unseen
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	for _, sp := range cfg.SpanProcessors {
		opts = append(opts, sdktrace.WithSpanProcessor(sp))
	}
	m.sdk = sdktrace.NewTracerProvider(opts...)
	live := processor.Live(m.sdk, p)
	live.FlushBy(m.ForceFlush)
	m.process, m.provider = p, live
	return nil
}

func (m *Midspan) openAPI(service string) (err error) {
	cfg := api.Config{
		Reader:     m.index,
		Listen:     m.cfg.Listen,
		AllowHosts: m.cfg.AllowHosts,
		Insecure:   m.cfg.Insecure,
		JaegerURL:  m.cfg.JaegerURL,
		Service:    service,
		Version:    m.cfg.Version,
		Export:     m.exportStats,
		Ignored:    func() int64 { return int64(tracing.Ignored()) },
		Bridge:     m.bridgeStats,
		Logger:     m.cfg.Logger,
	}
	if m.redact != nil {
		cfg.Instruments = m.redact.Instruments
	}
	if len(m.cfg.Tokens) > 0 {
		grants := make([]api.Grant, len(m.cfg.Tokens))
		for i, token := range m.cfg.Tokens {
			grants[i] = api.Grant{Name: fmt.Sprintf("Config.Tokens[%d]", i), Token: token, Scope: api.ScopeRead}
		}
		if cfg.Keys, err = api.NewKeyring(grants...); err != nil {
			return fmt.Errorf("midspan: %w", err)
		}
	}
	if !m.cfg.NoDashboard {
		cfg.Dashboard = dashboard.Handler()
	}
	m.api, err = api.New(cfg)
	return err
}

func (m *Midspan) openExport() (*exportQueue, error) {
	cfg := &m.cfg
	if cfg.Exporter != nil {
		return newExportQueue(m.clean(cfg.Exporter), fmt.Sprintf("%T", cfg.Exporter), cfg.Logger), nil
	}
	if cfg.Bridge != "" && cfg.OTLPEndpoint == "" {
		return nil, nil //nolint:nilnil // The bridge sends on in our stead.
	}
	to, err := environmentExport(cfg.OTLPEndpoint)
	if err != nil || to.endpoint == "" {
		return nil, err
	}
	exporter, err := to.newExporter(context.Background())
	if err != nil {
		return nil, fmt.Errorf("midspan: open OTLP exporter to %s: %w", to.endpoint, err)
	}
	return newExportQueue(m.clean(exporter), to.endpoint, cfg.Logger), nil
}

// clean returns an exporter that spans reach without their secrets.
func (m *Midspan) clean(exporter sdktrace.SpanExporter) sdktrace.SpanExporter {
	if m.redact == nil {
		return exporter
	}
	return cleanExporter{exporter, m.redact}
}

func (m *Midspan) exportStats() (st api.ExportStats) {
	if m.bridge != nil {
		st = api.ExportStats{Endpoint: m.bridge.spans.out.endpoint, Dropped: m.bridge.spans.dropped.Load()}
	}
	if m.export != nil {
		st.Endpoint = m.export.out.endpoint
		st.Dropped += m.export.dropped.Load()
	}
	return st
}

func (m *Midspan) bridgeStats() api.BridgeStats {
	if m.bridge == nil { // none, or not yet
		return api.BridgeStats{Endpoint: m.cfg.Bridge}
	}
	return m.bridge.stats()
}

func (m *Midspan) propagator() propagation.TextMapPropagator {
	if m.cfg.Propagator != nil {
		return m.cfg.Propagator
	}
	return autoprop.NewTextMapPropagator() // reads OTEL_PROPAGATORS
}

// TracerProvider returns the live provider: every call on its spans shows at
// once.
func (m *Midspan) TracerProvider() trace.TracerProvider { return m.provider }

// Index returns what is read by the API.
func (m *Midspan) Index() *index.Index { return m.index }

// Handler returns the handler of /activity, /monitor/ and everything else that
// is served, to be mounted at the root of a server that the program has.
func (m *Midspan) Handler() http.Handler { return m.api }

// ForceFlush waits until the index has seen every change made before, and
// exports what has ended; a bridge is told of everything. It returns the error
// of what could not be exported.
func (m *Midspan) ForceFlush(ctx context.Context) error {
	if m.sdk == nil {
		return nil
	}
	m.process.Flush()
	bridged := make(chan error, 1)
	if m.bridge != nil { // at the same time: one that is away leaves the others theirs
		go func() { bridged <- m.bridge.flush(ctx) }()
	} else {
		bridged <- nil
	}
	return distinct([]error{m.process.ForceFlush(ctx), m.sdk.ForceFlush(ctx), <-bridged})
}

// Shutdown ends all streams and servers, exports what has ended, and stops.
// Give it a deadline: an unreachable backend is waited for until then. The
// index can still be read, but sees nothing new. A second call returns what the
// first did.
func (m *Midspan) Shutdown(ctx context.Context) error {
	m.once.Do(func() {
		m.mu.Lock()
		m.stopped = true
		m.mu.Unlock()
		errs := []error{m.stopServing(ctx)}
		if m.sdk == nil {
			for _, sp := range slices.Concat(m.cfg.SpanProcessors, m.cfg.Processor.Next) {
				errs = append(errs, sp.Shutdown(ctx))
			}
			if m.cfg.Exporter != nil {
				errs = append(errs, m.cfg.Exporter.Shutdown(ctx))
			}
		} else {
			bridged := make(chan error, 1)
			if m.bridge != nil { // at the same time: one that is away leaves the others theirs
				m.process.Flush()
				go func() { bridged <- m.bridge.shutdown(ctx) }()
			} else {
				bridged <- nil
			}
			// The SDK leaves its processors running when ctx is done.
			errs = append(errs, m.sdk.Shutdown(ctx), m.process.Shutdown(ctx), <-bridged)
		}
		if m.export != nil {
			errs = append(errs, m.export.Shutdown(ctx))
		}
		m.stopErr = distinct(errs)
	})
	return m.stopErr
}

// distinct joins errors, those that say the same once.
func distinct(errs []error) error {
	var out []error
	for _, err := range errs {
		if err != nil && !slices.ContainsFunc(out, func(e error) bool { return e.Error() == err.Error() }) {
			out = append(out, err)
		}
	}
	return errors.Join(out...)
}
