package deploy

import (
	"path/filepath"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/confmap/provider/yamlprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/otlpexporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/batchprocessor"
	"go.opentelemetry.io/collector/processor/memorylimiterprocessor"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

// dryRun checks configurations as `otelcol validate` does.
func dryRun(t *testing.T, uris ...string) error {
	t.Helper()
	collector, err := otelcol.NewCollector(otelcol.CollectorSettings{
		BuildInfo: component.NewDefaultBuildInfo(),
		Factories: func() (otelcol.Factories, error) {
			return otelcol.Factories{
				Receivers:  map[component.Type]receiver.Factory{component.MustNewType("otlp"): otlpreceiver.NewFactory()},
				Processors: map[component.Type]processor.Factory{component.MustNewType("batch"): batchprocessor.NewFactory(), component.MustNewType("memory_limiter"): memorylimiterprocessor.NewFactory()},
				Exporters:  map[component.Type]exporter.Factory{component.MustNewType("otlp"): otlpexporter.NewFactory()},
				Telemetry:  otelconftelemetry.NewFactory(),
			}, nil
		},
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			URIs: uris, ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory(), yamlprovider.NewFactory()},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return collector.DryRun(t.Context())
}

// TestCollector has the Collector's own code check its configuration.
func TestCollector(t *testing.T) {
	file, err := filepath.Abs(filepath.Join(root, "deploy/compose/collector/config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := dryRun(t, "file:"+file); err != nil {
		t.Error(err)
	}
	for name, wrong := range map[string]string{
		"a key that is none": "yaml:exporters::otlp::endpont: x", "no such processor": "yaml:service::pipelines::traces::processors: [sample]",
	} {
		if err := dryRun(t, "file:"+file, wrong); err == nil || strings.Contains(err.Error(), "scheme") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
