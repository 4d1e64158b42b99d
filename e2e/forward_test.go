//go:build e2e

package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/e2e/run"
	"github.com/midspan/midspan/internal/loadgen"
	"github.com/midspan/midspan/internal/otlpclient"
)

// TestForward forwards to a real Jaeger that is stopped and started under load. Every span that the bridge has
// accepted must be found there in the end, or, where it keeps them in memory, be one of those that it took before it
// was stopped the last time. Then what is exported in Jaeger's JSON is compared with Jaeger's own.
func TestForward(t *testing.T) {
	for _, tt := range []struct {
		name   string
		onDisk bool
		rate   int // spans a second: Badger takes less than a thousand where much else goes on
	}{{"disk", true, 500}, {"memory", false, 2000}} {
		t.Run(tt.name, func(t *testing.T) {
			config := ""
			if tt.onDisk {
				config = jaegerOnDisk(t)
			}
			backend := newJaeger(t) // which must end before its folder does
			if config != "" {
				backend.config = config
			}
			forwardUnderLoad(t, backend, tt.onDisk, tt.rate)
		})
	}
}

func forwardUnderLoad(t *testing.T, backend *jaeger, onDisk bool, rate int) {
	backend.start(t)
	var addresses [3]string
	for i := range addresses {
		var err error
		if addresses[i], err = run.FreeAddress(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	data := t.TempDir()
	midspan := startDemo(t, exec.Command(setting(t, "MIDSPAN_BIN"), "serve", "--data", data, "--forward", "grpc://"+backend.grpc,
		"--otlp-grpc", addresses[1], "--otlp-http", addresses[2]), addresses[0])
	var load loadgen.Result
	done := make(chan error, 1)
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	go func() {
		var err error
		load, err = loadgen.Run(ctx, loadgen.Config{Endpoint: otlpclient.Config{URL: "grpc://" + addresses[1]}, For: time.Hour, Rate: rate})
		done <- err
	}()
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	wait(5 * time.Second)
	backend.stop(t)
	wait(10 * time.Second)
	before := forwarding(t, midspan)
	if before.State != "away" || before.LagSpans < 5*rate || before.LagSeconds < 5 {
		t.Errorf("without Jaeger: %+v", before)
	}
	backend.start(t)
	at := poll(t, func() (forwarded, error) { // it waits some seconds between two tries
		now := forwarding(t, midspan)
		if now.Sent == before.Sent {
			return now, fmt.Errorf("Jaeger is back: %+v", now)
		}
		return now, nil
	})
	began := time.Now()
	caught := poll(t, func() (forwarded, error) {
		now := forwarding(t, midspan)
		if now.LagSpans > rate {
			return now, fmt.Errorf("%v after its return Jaeger is behind: %+v", time.Since(began), now)
		}
		return now, nil
	})
	drained := float64(caught.Sent-before.Sent) / time.Since(began).Seconds()
	t.Logf("%d spans behind, drained at %.0f spans/s while %d/s came in", at.LagSpans, drained, rate)
	// Badger's pace is not ours.
	if !onDisk && drained < 2*float64(rate) {
		t.Errorf("a backlog of %d spans drains at %.0f/s, less than twice the rate of ingest", at.LagSpans, drained)
	}
	gone := 0     // spans that Jaeger took before it was stopped the last time
	for range 2 { // flapping
		wait(time.Second)
		backend.stop(t)
		gone = poll(t, func() (int, error) {
			now := forwarding(t, midspan)
			if now.State != "away" {
				return 0, fmt.Errorf("Jaeger is stopped: %+v", now)
			}
			return now.Sent, nil
		})
		backend.start(t)
	}
	wait(5 * time.Second)
	if err := post(t.Context(), "http://"+addresses[2]+"/v1/traces", rich); err != nil { // what it was told of may be gone
		t.Fatal(err)
	}
	enough()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	end := poll(t, func() (forwarded, error) {
		now := forwarding(t, midspan)
		if now.LagSpans > 0 {
			return now, fmt.Errorf("behind: %+v", now)
		}
		return now, nil
	})
	t.Logf("%d spans accepted, %+v", load.Accepted, end)
	if end.State != "ok" || end.Rejected+end.Dropped != 0 || end.Retries == 0 || load.Rejected != 0 || end.LagSeconds != 0 {
		t.Errorf("%+v; %+v", end, load)
	}
	traces := known(t, midspan)
	accepted := 0
	for _, spans := range traces {
		accepted += len(spans)
	}
	if want := int(load.Accepted) + 3; accepted != want {
		t.Errorf("the bridge knows %d spans of %d that it accepted", accepted, want)
	}
	there, complete := 0, []string{}
	for id, spans := range traces {
		found, err := backend.trace(t.Context(), id)
		if err != nil && !strings.Contains(err.Error(), "404") {
			t.Fatal(err)
		}
		n := there
		for _, spanID := range spans {
			if found[spanID].SpanID != "" {
				there++
			}
		}
		if there-n == len(spans) {
			complete = append(complete, id)
		}
	}
	if onDisk {
		gone = 0
	}
	t.Logf("Jaeger has %d spans of %d, and took %d before it was stopped the last time", there, accepted, gone)
	if there+gone < accepted {
		t.Errorf("%d spans never came to Jaeger", accepted-there-gone)
	}
	if !slices.Contains(complete, richTrace) {
		t.Errorf("Jaeger has not all of trace %s", richTrace)
	}
	t.Run("export", func(t *testing.T) {
		if err := midspan.Stop(); err != nil {
			t.Fatal(err)
		}
		sameAsJaeger(t, data, backend, len(traces), complete)
	})
}

// jaegerOnDisk is the configuration of deploy/ with Badger in place of memory, without a queue before it: what it
// answers is stored.
func jaegerOnDisk(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../deploy/jaeger/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for _, change := range [][2]string{
		{"        memory:\n          max_traces: 100000\n", fmt.Sprintf(
			"        badger:\n          directories: {keys: %q, values: %q}\n          ephemeral: false\n", filepath.Join(folder, "keys"), filepath.Join(folder, "values"))},
		{"processors: [batch]", "processors: []"},
	} {
		if !strings.Contains(string(text), change[0]) {
			t.Fatalf("deploy/jaeger/config.yaml has not %q", change[0])
		}
		text = []byte(strings.Replace(string(text), change[0], change[1], 1))
	}
	path := filepath.Join(folder, "config.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// forwarded is how a target fares, by /activity/stats.
type forwarded struct {
	LagSeconds float64 `json:"lag_seconds"`
	LagSpans   int     `json:"lag_spans"`
	Sent       int     `json:"sent"`
	Rejected   int     `json:"rejected"`
	Dropped    int     `json:"dropped"`
	Retries    int     `json:"retries"`
	State      string  `json:"state"`
}

func forwarding(t *testing.T, midspan *run.Demo) forwarded {
	t.Helper()
	var stats struct{ Forwarding []forwarded }
	if err := get(t.Context(), midspan.URL+"/activity/stats", &stats); err != nil {
		t.Fatal(err)
	}
	if len(stats.Forwarding) != 1 {
		t.Fatalf("%d targets", len(stats.Forwarding))
	}
	return stats.Forwarding[0]
}

// known returns the ids of all spans that the bridge has, by trace.
func known(t *testing.T, midspan *run.Demo) map[string][]string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, midspan.URL+"/activity/export?format=ndjson", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	traces := make(map[string][]string)
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var a struct {
			TraceID string `json:"trace_id"`
			SpanID  string `json:"span_id"`
		}
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		traces[a.TraceID] = append(traces[a.TraceID], a.SpanID)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return traces
}

func post(ctx context.Context, url, body string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || strings.Contains(string(answer), "rejected")) {
		err = errors.New(response.Status + ": " + string(answer))
	}
	return err
}

const richTrace = "aaaabbbbccccddddeeeeffff00001111"

// rich is a trace with a bit of everything, of two processes.
var rich = strings.ReplaceAll(`{"resourceSpans":[
{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},{"key":"host.cpus","value":{"intValue":"8"}}]},
 "scopeSpans":[{"scope":{"name":"http","version":"1.2"},"spans":[
  {"traceId":"TRACE","spanId":"00000000000000a1","name":"GET /","kind":2,"flags":1,"startTimeUnixNano":"START00000000","endTimeUnixNano":"START90000000","traceState":"vendor=1",
   "attributes":[{"key":"s","value":{"stringValue":"<é>"}},{"key":"i","value":{"intValue":"-5"}},{"key":"big","value":{"intValue":"9007199254740993"}},
    {"key":"d","value":{"doubleValue":1.25}},{"key":"b","value":{"boolValue":true}},{"key":"bytes","value":{"bytesValue":"AQID"}},
    {"key":"list","value":{"arrayValue":{"values":[{"stringValue":"a<"},{"intValue":"1"}]}}},{"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"doubleValue":0.5}}]}}}],
   "events":[{"timeUnixNano":"START10000000","name":"retry","attributes":[{"key":"n","value":{"intValue":"2"}}]},{"timeUnixNano":"START20000000","name":"x","attributes":[{"key":"event","value":{"stringValue":"own"}}]}],
   "status":{"code":2,"message":"no stock"}},
  {"traceId":"TRACE","spanId":"00000000000000a2","parentSpanId":"00000000000000a1","name":"pack","kind":1,"flags":1,"startTimeUnixNano":"START20000000","endTimeUnixNano":"START30000000","status":{"code":1},
   "links":[{"traceId":"TRACE","spanId":"00000000000000a3"},{"traceId":"11112222333344445555666677778888","spanId":"00000000000000b1","attributes":[{"key":"opentracing.ref_type","value":{"stringValue":"child_of"}}]}]}]}]},
{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"stock"}}]},
 "scopeSpans":[{"scope":{},"spans":[
  {"traceId":"TRACE","spanId":"00000000000000a3","parentSpanId":"00000000000000a1","name":"","kind":3,"flags":1,"startTimeUnixNano":"START20000000","endTimeUnixNano":"START40000000"}]}]}]}`,
	"TRACE", richTrace)

func init() {
	// Ten digits of seconds and one of tenths: START00000000 has nanoseconds.
	now := time.Now().Add(-time.Minute)
	rich = strings.ReplaceAll(rich, "START", fmt.Sprintf("%d0", now.Unix()))
}

// sameAsJaeger compares traces of an export in Jaeger's JSON with what Jaeger's page gets for the same spans.
func sameAsJaeger(t *testing.T, data string, backend *jaeger, all int, traces []string) {
	file := filepath.Join(t.TempDir(), "jaeger.json")
	if out, err := exec.Command(setting(t, "MIDSPAN_BIN"), "export", data, "--format", "jaeger", "-o", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	exported := jaegerTraces(t, text)
	if len(exported) != all {
		t.Errorf("%d traces of %d", len(exported), all)
	}
	for _, id := range append([]string{richTrace}, traces[:min(50, len(traces))]...) {
		var answer json.RawMessage
		if err := get(t.Context(), "http://"+backend.query+"/api/traces/"+id, &answer); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(jaegerTraces(t, answer)[id], exported[id]); diff != "" {
			t.Errorf("trace %s: Jaeger (-), exported (+):\n%s", id, diff)
		}
	}
}

// jaegerTraces returns traces by id: their spans by id, each with its process in place of that one's number, and
// pairs in the order of their keys. Jaeger's own warnings are left out.
func jaegerTraces(t *testing.T, text []byte) map[string]map[string]any {
	t.Helper()
	var file struct {
		Data []struct {
			TraceID   string                    `json:"traceID"`
			Spans     []map[string]any          `json:"spans"`
			Processes map[string]map[string]any `json:"processes"`
		} `json:"data"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	byKey := func(pairs any) {
		list, _ := pairs.([]any)
		slices.SortStableFunc(list, func(a, b any) int {
			return strings.Compare(a.(map[string]any)["key"].(string), b.(map[string]any)["key"].(string))
		})
	}
	traces := make(map[string]map[string]any)
	for _, trace := range file.Data {
		spans := make(map[string]any)
		for _, s := range trace.Spans {
			process := trace.Processes[s["processID"].(string)]
			byKey(process["tags"])
			s["process"] = process
			delete(s, "processID")
			delete(s, "warnings")
			byKey(s["tags"])
			for _, log := range s["logs"].([]any) {
				byKey(log.(map[string]any)["fields"])
			}
			spans[s["spanID"].(string)] = s
		}
		traces[trace.TraceID] = spans
	}
	return traces
}
