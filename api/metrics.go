package api

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/midspan/midspan/activity"
)

// metrics are this server's own, in a registry of its own: a program that has
// metrics already finds none of ours among them.
type metrics struct {
	provider *sdkmetric.MeterProvider
	handler  http.Handler
	requests metric.Float64Histogram
	slow     atomic.Int64 // streams that were closed for being too slow
	stopped  sync.Once
}

func newMetrics(a *API) (*metrics, error) {
	registry := prometheus.NewRegistry()
	for _, c := range a.cfg.Collectors {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return nil, err
	}
	m := &metrics{
		provider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)),
		handler:  promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
	}
	meter := m.provider.Meter("github.com/midspan/midspan/api", metric.WithInstrumentationVersion(a.cfg.Version))
	m.requests, err = meter.Float64Histogram("http.server.request.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of HTTP requests; streams are not counted."),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	if err != nil {
		return nil, err
	}
	if a.cfg.Instruments != nil {
		if err := a.cfg.Instruments(m.provider.Meter("github.com/midspan/midspan", metric.WithInstrumentationVersion(a.cfg.Version))); err != nil {
			return nil, err
		}
	}
	return m, m.observe(a, meter)
}

// observe registers what is read from the statistics when a scraper asks.
func (m *metrics) observe(a *API, meter metric.Meter) error {
	type reading func(o metric.Observer, st *activity.Stats)
	var readings []reading
	var instruments []metric.Observable
	var failed error
	check := func(err error) {
		if failed == nil {
			failed = err
		}
	}
	gauge := func(name, unit, description string, read func(st *activity.Stats, say func(v int64, attrs ...attribute.KeyValue))) {
		in, err := meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		check(err)
		instruments = append(instruments, in)
		readings = append(readings, func(o metric.Observer, st *activity.Stats) {
			read(st, func(v int64, attrs ...attribute.KeyValue) { o.ObserveInt64(in, v, metric.WithAttributes(attrs...)) })
		})
	}
	counter := func(name, unit, description string, read func(st *activity.Stats, say func(v int64, attrs ...attribute.KeyValue))) {
		in, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		check(err)
		instruments = append(instruments, in)
		readings = append(readings, func(o metric.Observer, st *activity.Stats) {
			read(st, func(v int64, attrs ...attribute.KeyValue) { o.ObserveInt64(in, v, metric.WithAttributes(attrs...)) })
		})
	}
	type say = func(v int64, attrs ...attribute.KeyValue)
	state := attribute.Key(activity.KeyState)

	gauge("midspan.activity.active", "{activity}", "Activities that are planned or in progress.", func(st *activity.Stats, say say) {
		say(st.Planned, state.String(activity.Planned.String()))
		say(st.InProgress, state.String(activity.InProgress.String()))
	})
	gauge("midspan.activity.stalled", "{activity}", "Active activities that have gone silent.", func(st *activity.Stats, say say) { say(st.Stalled) })
	counter("midspan.activity.started", "{activity}", "Activities that began to work.", func(st *activity.Stats, say say) { say(st.All.Started) })
	counter("midspan.activity.finished", "{activity}", "Activities that ended, by outcome.", func(st *activity.Stats, say say) {
		say(st.All.Completed, state.String(activity.Completed.String()))
		say(st.All.Failed, state.String(activity.Failed.String()))
		say(st.All.Cancelled, state.String(activity.Cancelled.String()))
		say(st.All.Lost, state.String(activity.Lost.String()))
	})
	counter("midspan.activity.leaked", "{activity}", "Activities that failed because nothing held them any more.", func(st *activity.Stats, say say) { say(st.Leaked) })
	counter("midspan.activity.ignored", "{transition}", "Transitions that the state did not allow.", func(st *activity.Stats, say say) { say(st.Ignored + a.cfg.Ignored()) })
	gauge("midspan.index.held", "{activity}", "Activities that the index holds.", func(st *activity.Stats, say say) {
		say(st.Held.Finished, attribute.Bool("midspan.finished", true))
		say(st.Held.InFlight, attribute.Bool("midspan.finished", false))
	})
	gauge("midspan.index.size", "By", "Memory of the finished activities.", func(st *activity.Stats, say say) { say(st.Held.Bytes) })
	gauge("midspan.index.limit", "{activity}", "Activities that the index may hold; 0 is no limit.", func(st *activity.Stats, say say) {
		say(st.Held.MaxFinished, attribute.Bool("midspan.finished", true))
		say(st.Held.MaxInFlight, attribute.Bool("midspan.finished", false))
	})
	gauge("midspan.index.size.limit", "By", "Memory that the finished activities may take; 0 is no limit.", func(st *activity.Stats, say say) { say(st.Held.MaxBytes) })
	counter("midspan.index.evicted", "{activity}", "Finished activities dropped by a limit.", func(st *activity.Stats, say say) { say(st.Evicted) })
	counter("midspan.index.not_indexed", "{activity}", "Starts beyond the limit of what is in flight.", func(st *activity.Stats, say say) { say(st.NotIndexed) })
	counter("midspan.log.sequence", "{event}", "The last sequence of the log.", func(st *activity.Stats, say say) { say(int64(st.AsOf.Seq)) })
	counter("midspan.export.dropped", "{span}", "Spans lost on the way to the tracing backend.", func(st *activity.Stats, say say) { say(st.ExportDrops + a.cfg.Export().Dropped) })
	if a.cfg.Bridge().Endpoint != "" {
		counter("midspan.bridge.dropped", "{change}", "Changes that the bridge never got.", func(_ *activity.Stats, say say) { say(a.cfg.Bridge().Dropped) })
		gauge("midspan.bridge.connected", "{bridge}", "1 while the bridge takes what it is told.", func(_ *activity.Stats, say say) {
			connected := int64(0)
			if a.cfg.Bridge().Connected {
				connected = 1
			}
			say(connected)
		})
	}
	counter("midspan.api.refused", "{request}", "Requests and streams turned away.", func(st *activity.Stats, say say) { say(st.Refused + a.refused.Load()) })
	gauge("midspan.stream.active", "{stream}", "Streams that are open.", func(_ *activity.Stats, say say) { say(int64(a.openStreams())) })
	gauge("midspan.stream.limit", "{stream}", "Streams that may be open.", func(_ *activity.Stats, say say) { say(int64(a.cfg.MaxStreams)) })
	gauge("midspan.replay.active", "{replay}", "Replays under way.", func(_ *activity.Stats, say say) { say(int64(len(a.replays))) })
	gauge("midspan.replay.limit", "{replay}", "Replays that may be under way.", func(_ *activity.Stats, say say) { say(int64(cap(a.replays))) })
	counter("midspan.stream.slow", "{stream}", "Streams closed because their client was too slow.", func(_ *activity.Stats, say say) { say(m.slow.Load()) })
	counter("midspan.stream.read", "{event}", "Events read from the log for streams.", func(_ *activity.Stats, say say) { say(a.hub.read.Load()) })
	if failed != nil {
		return failed
	}
	_, err := meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		st, err := a.cfg.Reader.Stats(ctx)
		if err != nil {
			return err
		}
		for _, read := range readings {
			read(o, st)
		}
		return nil
	}, instruments...)
	return err
}

func (m *metrics) serve(w http.ResponseWriter, r *http.Request) error {
	w.Header().Del("Content-Type")
	m.handler.ServeHTTP(w, r)
	return nil
}

// measure starts a request's clock; the function that it returns stops it.
func (m *metrics) measure(w http.ResponseWriter, r *http.Request, route string) func() {
	if route == "/activity/stream" || route == "/activity/replay" {
		return func() {}
	}
	start := time.Now()
	return func() {
		status := http.StatusOK
		if rec, ok := w.(*recorder); ok && rec.status != 0 {
			status = rec.status
		}
		attrs := []attribute.KeyValue{
			attribute.String("http.request.method", knownMethod(r.Method)),
			attribute.Int("http.response.status_code", status),
		}
		if route != "" {
			attrs = append(attrs, attribute.String("http.route", route))
		}
		m.requests.Record(context.WithoutCancel(r.Context()), time.Since(start).Seconds(), metric.WithAttributes(attrs...))
	}
}

// knownMethod keeps a client from making a time series for each word it sends.
func knownMethod(method string) string {
	if slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodPut, http.MethodPatch, http.MethodOptions}, method) {
		return method
	}
	return "_OTHER"
}

func (m *metrics) shutdown(ctx context.Context) error {
	var err error
	m.stopped.Do(func() { err = m.provider.Shutdown(ctx) })
	return err
}
