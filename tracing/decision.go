package tracing

import (
	"math"

	"go.opentelemetry.io/otel/attribute"

	"github.com/midspan/midspan/activity"
)

// Decision is why something was decided. Empty fields are not set, so a
// decision can be told in parts: the alternatives when they are weighed, the
// choice when it falls, the outcome when it shows.
type Decision struct {
	Reasoning    string
	Choice       string
	Alternatives []string // what was weighed
	Outcome      string
	Confidence   *float64 // 0 to 1; new(0.8) makes one
}

// Decide records a decision in the activity, which may be of any type.
func (a *Activity) Decide(d Decision) {
	if a == nil {
		return
	}
	attrs := make([]attribute.KeyValue, 0, 5)
	if d.Reasoning != "" {
		attrs = append(attrs, attribute.String(activity.KeyReasoning, d.Reasoning))
	}
	if d.Choice != "" {
		attrs = append(attrs, attribute.String(activity.KeyChoice, d.Choice))
	}
	if len(d.Alternatives) > 0 {
		attrs = append(attrs, attribute.StringSlice(activity.KeyAlternatives, d.Alternatives))
	}
	if d.Outcome != "" {
		attrs = append(attrs, attribute.String(activity.KeyOutcome, d.Outcome))
	}
	if c := d.Confidence; c != nil && !math.IsNaN(*c) {
		attrs = append(attrs, attribute.Float64(activity.KeyConfidence, min(max(*c, 0), 1)))
	}
	a.Set(attrs...)
}
