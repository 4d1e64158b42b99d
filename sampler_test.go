package midspan

import (
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func TestParseSampler(t *testing.T) {
	parent := sdktrace.ParentBased
	for _, tt := range []struct {
		name, sampler, arg string
		want               sdktrace.Sampler
		bad                bool
	}{
		{name: "unset", want: parent(sdktrace.AlwaysSample())},
		{name: "on", sampler: "always_on", want: sdktrace.AlwaysSample()},
		{name: "off, odd case", sampler: " Always_Off ", want: sdktrace.NeverSample()},
		{name: "parent on", sampler: "parentbased_always_on", want: parent(sdktrace.AlwaysSample())},
		{name: "parent off", sampler: "parentbased_always_off", want: parent(sdktrace.NeverSample())},
		{name: "ratio", sampler: "traceidratio", arg: "0.25", want: sdktrace.TraceIDRatioBased(0.25)},
		{name: "ratio unset", sampler: "traceidratio", want: sdktrace.TraceIDRatioBased(1)},
		{name: "parent ratio", sampler: "parentbased_traceidratio", arg: " 0.5 ", want: parent(sdktrace.TraceIDRatioBased(0.5))},
		{name: "negative", sampler: "traceidratio", arg: "-1", want: sdktrace.TraceIDRatioBased(1), bad: true},
		{name: "not a number", sampler: "parentbased_traceidratio", arg: "NaN", want: parent(sdktrace.TraceIDRatioBased(1)), bad: true},
		{name: "words", sampler: "traceidratio", arg: "half", want: sdktrace.TraceIDRatioBased(1), bad: true},
		{name: "unknown", sampler: "jaeger_remote", want: parent(sdktrace.AlwaysSample()), bad: true},
		{name: "nothing to be based on", sampler: "parentbased_", want: parent(sdktrace.AlwaysSample()), bad: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseSampler(tt.sampler, tt.arg)
			if got.Description() != tt.want.Description() || (err != nil) != tt.bad {
				t.Errorf("%s, %v; want %s", got.Description(), err, tt.want.Description())
			}
		})
	}
}
