package bridge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/midspan/midspan/internal/forward"
	"github.com/midspan/midspan/internal/otlpclient"
)

// How forwarding goes is told for each target, without what the target is told
// in secret.
func TestForwardingIsTold(t *testing.T) {
	const secret = "hush-hush-0123456789"
	backend := serve(t, Config{})
	there, away := "http://"+backend.HTTPAddr().String(), "http://127.0.0.1:1"
	b := serve(t, Config{Forward: forward.Config{Targets: []forward.Target{
		{URL: there}, {URL: away, Headers: map[string]otlpclient.Secret{"authorization": secret}},
	}}})
	trace := fmt.Sprintf("%032x", 1)
	b.send("/v1/traces", spans(text("service.name", "shop"), span(trace, 1, 0, 1000, 2000), span(trace, 2, 1, 1000, 2000), span(trace, 3, 1, 1000, 0)))

	type told struct {
		Target string  `json:"target"`
		Lag    float64 `json:"lag_seconds"`
		Behind int     `json:"lag_spans"`
		Sent   int     `json:"sent"`
		State  string  `json:"state"`
	}
	var stats struct{ Forwarding []told }
	eventually(t, 10*time.Second, func() string {
		b.read("/activity/stats", &stats)
		f := stats.Forwarding
		if len(f) == 2 && f[0] == (told{Target: there, Sent: 2, State: "ok"}) &&
			f[1].Target == away && f[1].Behind == 3 && f[1].Lag > 0 && f[1].State == "away" {
			return ""
		}
		return fmt.Sprintf("%+v", f)
	})
	var metrics, raw string
	b.read("/metrics", &metrics)
	for name, values := range map[string][2]string{
		"midspan_forward_sent_total": {"2", "0"}, "midspan_forward_pending": {"0", "3"}, "midspan_forward_away": {"0", "1"},
		"midspan_forward_rejected_total": {"0", "0"}, "midspan_forward_dropped_total": {"0", "0"}, "midspan_forward_lag_seconds": {"0", ""},
		"midspan_forward_retries_total": {"0", ""},
	} {
		for i, target := range []string{there, away} {
			found := false
			for line := range strings.Lines(metrics) {
				found = found || strings.HasPrefix(line, name+"{") && strings.Contains(line, `midspan_forward_target="`+target+`"`) &&
					(values[i] == "" || strings.HasSuffix(line, " "+values[i]+"\n"))
			}
			if !found {
				t.Errorf("no %s of %s that is %q", name, target, values[i])
			}
		}
	}
	b.read("/activity/stats", &raw)
	if strings.Contains(metrics+raw, secret) {
		t.Error("the secret is told")
	}
}
