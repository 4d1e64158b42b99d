package bridge

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/midspan/midspan/api"
)

// forwarding tells of each target that finished spans go on to.
func (b *Bridge) forwarding() []api.ForwardStats {
	if b.store.forward == nil {
		return nil
	}
	stats := b.store.forward.Stats()
	out := make([]api.ForwardStats, len(stats))
	for i, s := range stats {
		out[i] = api.ForwardStats{
			Target: s.Endpoint, Lag: s.Lag, LagEvents: s.LagEvents,
			Sent: s.Sent, Rejected: s.Rejected, Dropped: s.Dropped, Retries: s.Retries, Away: s.Away,
		}
	}
	return out
}

// forwardInstruments registers the metrics of forwarding, by target.
func (b *Bridge) forwardInstruments(meter metric.Meter) error {
	if b.store.forward == nil {
		return nil
	}
	lag, failed := meter.Float64ObservableGauge("midspan.forward.lag", metric.WithUnit("s"),
		metric.WithDescription("How long the oldest event that is under way to the target has waited."))
	all := []metric.Observable{lag}
	type reading struct {
		in   metric.Int64Observable
		read func(*api.ForwardStats) int64
	}
	var readings []reading
	add := func(in metric.Int64Observable, err error, read func(*api.ForwardStats) int64) {
		if err != nil && failed == nil {
			failed = err
		}
		readings, all = append(readings, reading{in, read}), append(all, in)
	}
	counter := func(name, unit, description string, read func(*api.ForwardStats) int64) {
		in, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		add(in, err, read)
	}
	gauge := func(name, unit, description string, read func(*api.ForwardStats) int64) {
		in, err := meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		add(in, err, read)
	}
	type s = *api.ForwardStats
	gauge("midspan.forward.pending", "{event}", "Events of the log that the target may still get.", func(s s) int64 { return int64(s.LagEvents) })
	counter("midspan.forward.sent", "{span}", "Spans that the target took.", func(s s) int64 { return s.Sent })
	counter("midspan.forward.rejected", "{span}", "Spans that the target will never take.", func(s s) int64 { return s.Rejected })
	counter("midspan.forward.dropped", "{event}", "Events that the log let go of before they were read.", func(s s) int64 { return s.Dropped })
	counter("midspan.forward.retries", "{request}", "Requests sent again.", func(s s) int64 { return s.Retries })
	gauge("midspan.forward.away", "{target}", "1 while the target does not take the latest request.", func(s s) int64 {
		if s.Away {
			return 1
		}
		return 0
	})
	if failed != nil {
		return failed
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, s := range b.forwarding() {
			target := metric.WithAttributes(attribute.String("midspan.forward.target", s.Target))
			o.ObserveFloat64(lag, s.Lag.Seconds(), target)
			for _, one := range readings {
				o.ObserveInt64(one.in, one.read(&s), target)
			}
		}
		return nil
	}, all...)
	return err
}
