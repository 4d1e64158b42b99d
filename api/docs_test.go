package api

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// TestDocumentedExamples asks for every URL of the reference's examples.
func TestDocumentedExamples(t *testing.T) {
	b, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil)
	e := named(event(0, 1, activity.EventStarted, t0, str(activity.KeyThreadID, "worker-3")), "Select deployment strategy", -1)
	if e.ID, err = activity.ParseID("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"); err != nil {
		t.Fatal(err)
	}
	w.Apply([]activity.Event{e})
	urls := regexp.MustCompile(`'http://localhost:18080(/[^']*)'`).FindAllStringSubmatch(string(b), -1)
	if len(urls) < 25 {
		t.Fatalf("%d examples", len(urls))
	}
	for _, m := range urls {
		if strings.HasPrefix(m[1], "/activity/stream") {
			_, query, _ := strings.Cut(m[1], "?")
			c := w.events(t, "?"+query)
			c.want("snapshot_end 1")
			continue
		}
		if status, _, body := w.get(t, m[1]); status != http.StatusOK {
			t.Errorf("%s: %d %s", m[1], status, body)
		}
	}
}

// TestDocumentedEndpoints holds that the reference names every path and
// parameter of the OpenAPI document, and every metric.
func TestDocumentedEndpoints(t *testing.T) {
	b, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	reference := string(b)
	doc := object(t, string(openapiDocument))
	for path := range doc["paths"].(map[string]any) {
		if !strings.Contains(reference, path) {
			t.Errorf("%s is not documented", path)
		}
	}
	for _, p := range doc["components"].(map[string]any)["parameters"].(map[string]any) {
		name := p.(map[string]any)["name"].(string)
		if !regexp.MustCompile("`" + name + "[`=]|\\{" + name + "\\}").MatchString(reference) {
			t.Errorf("the parameter %s is not documented", name)
		}
	}
	w := newWorld(t, func(_ *Config, _ *index.Config) {})
	_, _, metrics := w.get(t, "/metrics")
	for _, m := range regexp.MustCompile(`# TYPE (midspan_[a-z_]+)`).FindAllStringSubmatch(metrics, -1) {
		last := m[1]
		for _, suffix := range []string{"_total", "_bytes", "_ratio"} {
			last = strings.TrimSuffix(last, suffix)
		}
		parts := strings.SplitN(last, "_", 3)
		if !strings.Contains(reference, strings.Join(parts, ".")) && !strings.Contains(reference, "`."+strings.ReplaceAll(parts[2], "_", ".")+"`") && !strings.Contains(reference, "`."+parts[2]+"`") {
			t.Errorf("the metric %s is not documented", m[1])
		}
	}
}
