package processor

import (
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Sampler returns a sampler that decides as base does but has every span
// recorded: the index sees all, an exporter what base samples. It also spares
// the live provider a copy of each span's start attributes.
func Sampler(base sdktrace.Sampler) sdktrace.Sampler { return recordAll{base} }

// recordAll does what sdktrace.AlwaysRecord does, and leaves the start's
// attributes in the context of the live provider. One sampler for both: the
// parameters are large, and copied for each.
type recordAll struct{ base sdktrace.Sampler }

// ShouldSample implements sdktrace.Sampler.
func (s recordAll) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	result := s.base.ShouldSample(p)
	if result.Decision == sdktrace.Drop {
		result = sdktrace.SamplingResult{
			Decision:   sdktrace.RecordOnly,
			Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState(),
		}
	}
	// Once: a SpanProcessor may start spans of its own in that start.
	if c, ok := startOf(p.ParentContext); ok && !c.captured && len(result.Attributes) == 0 {
		c.attrs, c.kind, c.linked, c.captured = p.Attributes, kindOf(p.Kind), len(p.Links) > 0, true
	}
	return result
}

// Description implements sdktrace.Sampler.
func (s recordAll) Description() string { return "AlwaysRecord{root:" + s.base.Description() + "}" }
