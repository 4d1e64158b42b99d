package bridge

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"

	"github.com/midspan/midspan/internal/liveness"
	"github.com/midspan/midspan/internal/receiver"
)

// instruments registers the metrics of what was received, of leases, of what was
// redacted and of forwarding.
func (b *Bridge) instruments(meter metric.Meter) error {
	var failed error
	if b.store.redact != nil {
		failed = b.store.redact.Instruments(meter)
	}
	type reading struct {
		in   metric.Int64Observable
		read func(*receiver.Stats, *liveness.Stats) int64
	}
	var readings []reading
	var all []metric.Observable
	add := func(in metric.Int64Observable, err error, read func(*receiver.Stats, *liveness.Stats) int64) {
		if err != nil && failed == nil {
			failed = err
		}
		readings, all = append(readings, reading{in, read}), append(all, in)
	}
	counter := func(name, unit, description string, read func(*receiver.Stats, *liveness.Stats) int64) {
		in, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		add(in, err, read)
	}
	gauge := func(name, unit, description string, read func(*receiver.Stats, *liveness.Stats) int64) {
		in, err := meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		add(in, err, read)
	}
	type r = *receiver.Stats
	type l = *liveness.Stats
	counter("midspan.receiver.requests", "{request}", "OTLP requests that were taken.", func(s r, _ l) int64 { return s.Requests })
	counter("midspan.receiver.events", "{event}", "Events made of what was received.", func(s r, _ l) int64 { return s.Events })
	counter("midspan.receiver.rejected", "{item}", "Spans and log records that were wrong.", func(s r, _ l) int64 { return s.Rejected })
	counter("midspan.receiver.refused", "{request}", "OTLP requests that were told to come again: too many were under way.", func(s r, _ l) int64 { return s.Refused })
	counter("midspan.receiver.unavailable", "{request}", "OTLP requests that were told to come again: they could not be stored.", func(s r, _ l) int64 { return s.Unavailable })
	gauge("midspan.receiver.pending", "{request}", "OTLP requests under way.", func(s r, _ l) int64 { return int64(s.Pending) })
	gauge("midspan.receiver.limit", "{request}", "OTLP requests that may be under way, of traces and of logs each.", func(s r, _ l) int64 { return int64(s.MaxPending) })
	gauge("midspan.lease.live", "{lease}", "Processes whose lease is live.", func(_ r, s l) int64 { return int64(s.Live) })
	gauge("midspan.lease.over", "{lease}", "Leases that have expired or ended, as far as they are remembered.", func(_ r, s l) int64 { return int64(s.Over) })
	gauge("midspan.lease.limit", "{lease}", "Leases that may be known.", func(_ r, s l) int64 { return int64(s.Max) })
	counter("midspan.lease.refused", "{lease}", "Leases that found no room.", func(_ r, s l) int64 { return s.Refused })
	counter("midspan.lease.lost", "{activity}", "Activities lost with their process.", func(_ r, s l) int64 { return s.Lost })
	counter("midspan.lease.back", "{activity}", "Lost activities that went on: their process had only been cut off.", func(_ r, s l) int64 { return s.Back })
	if failed != nil {
		return failed
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		received, leases := b.receiver.Stats(), b.leases.Stats()
		for _, one := range readings {
			o.ObserveInt64(one.in, one.read(&received, &leases))
		}
		return nil
	}, all...)
	return errors.Join(err, b.forwardInstruments(meter), b.limitInstruments(meter), b.damageInstrument(meter))
}

// damageInstrument registers the metric of what can't be read.
func (b *Bridge) damageInstrument(meter metric.Meter) error {
	_, err := meter.Int64ObservableUpDownCounter("midspan.history.damaged", metric.WithUnit("{segment}"),
		metric.WithDescription("Segments of the history of which a part is damaged, as far as is known."),
		metric.WithInt64Callback(func(ctx context.Context, o metric.Int64Observer) error {
			o.Observe(int64(len(b.store.index.Damages(ctx))))
			return nil
		}))
	return err
}
