package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

func TestGolden(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *index.Config) {
		c.Export = func() ExportStats { return ExportStats{Endpoint: "http://localhost:4318", Dropped: 2} }
		c.Processes = func() []activity.Process {
			return []activity.Process{
				{Service: "shop", Instance: "shop-1", Lease: activity.LeaseLive, RenewedAt: at(4 * time.Second), ClockOffset: -time.Hour, HasClock: true},
				{Lease: activity.LeaseExpired},
			}
		}
		c.Bridge = func() BridgeStats { return BridgeStats{Endpoint: "http://localhost:4318", Connected: true, Dropped: 1} }
		c.Forwarding = func() []ForwardStats {
			return []ForwardStats{
				{Target: "http://jaeger:4317", Sent: 5},
				{Target: "https://traces.example/v1/traces", Lag: 1500 * time.Millisecond, LagEvents: 6, Rejected: 1, Dropped: 2, Retries: 3, Away: true},
			}
		}
	})
	w.Apply(story())
	for _, tt := range []struct{ file, path, accept string }{
		{"all.json", "/activity/all", ""},
		{"active.json", "/activity/active", ""},
		{"decisions.json", "/activity/decisions", ""},
		{"thread.json", "/activity/thread/worker%2F3%20%C3%BC", ""},
		{"tree.json", "/activity/tree", ""},
		{"detail.json", "/activity/activity/" + id(2).String(), ""},
		{"detail-placeholder.json", "/activity/" + id(6).Span.String(), ""},
		{"stats.json", "/activity/stats", ""},
		{"stats-filtered.json", "/activity/stats?service=stock&since=2000-01-01T00:00:00Z", ""},
		{"summary.txt", "/activity/summary", ""},
		{"summary.md", "/activity/summary", "text/markdown"},
		{"summary.json", "/activity/summary", "application/json"},
		{"export.json", "/activity/export", ""},
		{"export.ndjson", "/activity/export?format=ndjson", ""},
		{"export.csv", "/activity/export?format=csv", ""},
		{"export.otlp.json", "/activity/export?format=otlp", ""},
		{"healthz.json", "/healthz", ""},
		{"readyz.json", "/readyz", ""},
	} {
		t.Run(tt.file, func(t *testing.T) {
			header := []string{}
			if tt.accept != "" {
				header = []string{"Accept", tt.accept}
			}
			status, _, body := w.get(t, tt.path, header...)
			if status != http.StatusOK {
				t.Fatalf("status %d: %s", status, body)
			}
			w.golden(t, tt.file, body)
		})
	}
}
