//go:build e2e

// Package e2e_test drives the built program as its users do: from outside, beside a real Jaeger and real browsers.
package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/midspan/midspan/e2e/run"
)

// An activity is what these tests read of one, as the API answers it.
type activity struct {
	ID         string         `json:"activity_id"`
	TraceID    string         `json:"trace_id"`
	SpanID     string         `json:"span_id"`
	ParentID   *string        `json:"parent_id"`
	Type       string         `json:"type"`
	State      string         `json:"state"`
	Name       string         `json:"name"`
	Planned    *string        `json:"what_it_will_do"`
	Current    *string        `json:"what_its_doing"`
	Final      *string        `json:"what_it_did"`
	PlannedAt  *time.Time     `json:"planned_at"`
	StartedAt  *time.Time     `json:"started_at"`
	EndedAt    *time.Time     `json:"ended_at"`
	Service    string         `json:"service"`
	ThreadID   *string        `json:"thread_id"`
	Progress   *float64       `json:"progress"`
	Decision   *decision      `json:"decision"`
	Result     any            `json:"result"`
	Error      *failure       `json:"error"`
	Attributes map[string]any `json:"attributes"`
	Links      []struct {
		ID string `json:"activity_id"`
	} `json:"links"`
	Sampled  bool    `json:"sampled"`
	Lease    string  `json:"lease"`
	TraceURL *string `json:"trace_url"`
}

type decision struct {
	Reasoning    *string  `json:"reasoning"`
	Choice       *string  `json:"choice"`
	Alternatives []string `json:"alternatives"`
	Outcome      *string  `json:"outcome"`
	Confidence   *float64 `json:"confidence"`
}

type failure struct {
	Type    *string `json:"type"`
	Message *string `json:"message"`
}

// TestNoEndpoint holds that without an OTLP endpoint nothing is tried and nothing is complained of.
func TestNoEndpoint(t *testing.T) {
	address, err := run.FreeAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	demo, err := run.Start(exec.Command(setting(t, "MIDSPAN_BIN"), "demo", "--listen", address, "--for", "8s"))
	if err != nil {
		t.Fatal(err)
	}
	if err := demo.Wait(deadline(t, time.Minute)); err != nil {
		t.Errorf("midspan demo --for 8s: %v", err)
	}
	output := demo.Output()
	if !strings.Contains(output, address) {
		t.Errorf("it does not say its address %s", address)
	}
	for line := range strings.Lines(output) {
		lower := strings.ToLower(line)
		for _, word := range []string{"export", "4317", "4318", "refused", "panic"} {
			if strings.Contains(lower, word) {
				t.Errorf("it printed %q", line)
			}
		}
	}
}

// setting returns what `make e2e` says of this machine.
func setting(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run these tests by `make e2e`", name)
	}
	return value
}

// startDemo starts the demo until the test ends; it must then end cleanly.
func startDemo(t *testing.T, command *exec.Cmd, address string) *run.Demo {
	t.Helper()
	demo, err := run.StartDemo(t.Context(), command, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := demo.Stop(); err != nil {
			t.Errorf("demo: %v", err)
		}
		if t.Failed() {
			t.Logf("the demo printed:\n%s", demo.Output())
		}
	})
	return demo
}

// list returns the activities of /activity/all that the query selects, of every page unless it sets a limit;
// an error if there are none.
func list(t *testing.T, demo *run.Demo, query url.Values) ([]activity, error) {
	t.Helper()
	var all []activity
	one := query.Has("limit")
	if !one {
		query.Set("limit", "1000")
	}
	for {
		var page struct {
			Activities []activity `json:"activities"`
			NextCursor *string    `json:"next_cursor"`
		}
		if err := get(t.Context(), demo.URL+"/activity/all?"+query.Encode(), &page); err != nil {
			return nil, err
		}
		all = append(all, page.Activities...)
		if one || page.NextCursor == nil {
			break
		}
		query.Set("cursor", *page.NextCursor)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no activity for %s", query.Encode())
	}
	return all, nil
}

// get decodes the JSON that an address answers with 200. Numbers stay as they are written.
func get(ctx context.Context, address string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", address, response.Status)
	}
	decoder := json.NewDecoder(response.Body)
	decoder.UseNumber()
	return decoder.Decode(into)
}

// poll returns the first answer that is no error, within three minutes.
func poll[T any](t *testing.T, ask func() (T, error)) T {
	t.Helper()
	var answer T
	err := run.Poll(deadline(t, 3*time.Minute), 100*time.Millisecond, func() (err error) {
		answer, err = ask()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
