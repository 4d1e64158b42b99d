package midspan

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// environmentSampler returns the sampler that OTEL_TRACES_SAMPLER names. The
// SDK reads the same, but keeps the sampler to itself, and ours stands around
// it. Like the SDK's, a bad value is told to OpenTelemetry's error handler and
// gives the default.
// Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#general-sdk-configuration
func environmentSampler() sdktrace.Sampler {
	s, err := parseSampler(os.Getenv("OTEL_TRACES_SAMPLER"), os.Getenv("OTEL_TRACES_SAMPLER_ARG"))
	if err != nil {
		otel.Handle(err)
	}
	return s
}

func parseSampler(name, arg string) (sdktrace.Sampler, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "" {
		name = "parentbased_always_on"
	}
	var root sdktrace.Sampler
	var err error
	switch strings.TrimPrefix(name, "parentbased_") {
	case "always_on":
		root = sdktrace.AlwaysSample()
	case "always_off":
		root = sdktrace.NeverSample()
	case "traceidratio":
		var ratio float64
		ratio, err = parseRatio(strings.TrimSpace(arg))
		root = sdktrace.TraceIDRatioBased(ratio)
	default:
		return sdktrace.ParentBased(sdktrace.AlwaysSample()), fmt.Errorf("OTEL_TRACES_SAMPLER: %q is not supported: everything is sampled", name)
	}
	if strings.HasPrefix(name, "parentbased_") {
		root = sdktrace.ParentBased(root)
	}
	return root, err
}

// parseRatio returns 1 for what is no ratio.
func parseRatio(arg string) (float64, error) {
	if arg == "" {
		return 1, nil
	}
	ratio, err := strconv.ParseFloat(arg, 64)
	if err == nil && !(ratio >= 0 && ratio <= 1) {
		err = errors.New("not between 0 and 1")
	}
	if err != nil {
		return 1, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: %q: %w: everything is sampled", arg, err)
	}
	return ratio, nil
}
