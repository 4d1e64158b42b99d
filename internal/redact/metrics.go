package redact

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Instruments registers a count of what was taken out, by rule: the built-in ones
// and at most MaxPatterns of the operator's.
func (r *Redactor) Instruments(meter metric.Meter) error {
	var rules []metric.MeasurementOption
	for _, c := range r.Counts() {
		rules = append(rules, metric.WithAttributeSet(attribute.NewSet(attribute.String("midspan.redact.rule", c.Rule))))
	}
	_, err := meter.Int64ObservableCounter("midspan.redact.secrets", metric.WithUnit("{secret}"), metric.WithDescription("Secrets that were taken out, by the rule that found them."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for i, c := range r.Counts() {
				o.Observe(int64(c.N), rules[i])
			}
			return nil
		}))
	return err
}
