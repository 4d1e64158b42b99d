package deploy

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	"go.uber.org/zap"
)

// newCollector returns a Collector with the components that the configuration names, and what overrides it.
func newCollector(t *testing.T, overrides ...string) *otelcol.Collector {
	t.Helper()
	file, err := filepath.Abs(filepath.Join(root, "deploy/compose/collector/config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
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
			URIs: append([]string{"file:" + file}, overrides...), ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory(), yamlprovider.NewFactory()},
		}},
		DisableGracefulShutdown: true, // signals are the test's
		SkipSettingGRPCLogger:   true,
		LoggingOptions:          []zap.Option{zap.IncreaseLevel(zap.ErrorLevel)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return collector
}

// TestCollector checks the configuration as `otelcol validate` does.
func TestCollector(t *testing.T) {
	if err := newCollector(t).DryRun(t.Context()); err != nil {
		t.Error(err)
	}
	for name, wrong := range map[string]string{
		"a key that is none": "yaml:exporters::otlp::endpont: x", "no such processor": "yaml:service::pipelines::traces::processors: [sample]",
	} {
		if err := newCollector(t, wrong).DryRun(t.Context()); err == nil || strings.Contains(err.Error(), "scheme") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCollectorFeedsBridge runs the Collector before a bridge: what is finished and what is open gets there.
func TestCollectorFeedsBridge(t *testing.T) {
	b := start(t)
	at := map[string]string{}
	for _, protocol := range []string{"grpc", "http"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at[protocol] = l.Addr().String()
		l.Close()
	}
	collector := newCollector(t, "yaml:exporters::otlp::endpoint: "+b.grpc,
		"yaml:receivers::otlp::protocols::grpc::endpoint: "+at["grpc"], "yaml:receivers::otlp::protocols::http::endpoint: "+at["http"])
	ended := make(chan error, 1)
	go func() { ended <- collector.Run(t.Context()) }()
	defer func() {
		collector.Shutdown()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	const ids = `"traceId":"4bf92f3577b34da6a3ce929d0e0e4736",`
	requests := map[string]string{
		"/v1/traces": `{"resourceSpans":[{"scopeSpans":[{"spans":[{` + ids + `"spanId":"00f067aa0ba902b7","name":"finished","startTimeUnixNano":"10","endTimeUnixNano":"20"}]}]}]}`,
		"/v1/logs": `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{` + ids + `"spanId":"00f067aa0ba902b8","timeUnixNano":"10","eventName":"activity.started",
			"attributes":[{"key":"activity.name","value":{"stringValue":"open"}}]}]}]}]}`,
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); ; <-tick.C {
		for path, body := range requests {
			resp, err := http.Post("http://"+at["http"]+path, "application/json", strings.NewReader(body))
			if err != nil {
				continue // it starts
			}
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				delete(requests, path)
			}
		}
		all := b.get(t, "/activity/all")
		if strings.Contains(all, `"state":"COMPLETED","stalled":false,"name":"finished"`) && strings.Contains(all, `"state":"IN_PROGRESS","stalled":false,"name":"open"`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the bridge has %s", all)
		}
	}
}
