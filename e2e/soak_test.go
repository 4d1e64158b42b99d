//go:build e2e

package e2e_test

import (
	"bufio"
	"cmp"
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/midspan/midspan/internal/loadgen"
	"github.com/midspan/midspan/internal/otlpclient"
)

// TestSoak holds that a bridge which takes 2,000 spans a second, is watched and asked, and keeps as much as it may,
// holds no more goroutines, files and memory as time goes by. MIDSPAN_SOAK says how long (20s); the memory of a
// short one is still growing to its bounds, so its growth is judged from five minutes on.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv("MIDSPAN_SOAK"), "20s"))
	if err != nil {
		t.Fatal(err)
	}
	server := newBridge(t, "--data", t.TempDir(), "--retain-bytes", strconv.Itoa(16<<20), "--max-memory-bytes", strconv.Itoa(8<<20))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	idle := sampled(t, server)

	var streamed atomic.Int64
	server.watch(ctx, t, url.Values{"batch": {"1"}}, func([]byte) { streamed.Add(1) })
	var driven loadgen.Result
	done := make(chan error, 1)
	go func() {
		var err error
		driven, err = loadgen.Run(ctx, loadgen.Config{
			Endpoint: otlpclient.Config{URL: "grpc://" + server.grpc}, For: length, Rate: 2000, Batch: 100, Connections: 4,
		})
		done <- err
	}()
	reads := []string{
		"/activity/all?limit=100&state=FAILED", "/activity/stats?service=mail", "/activity/tree?limit=50", "/activity/all?q=upstream",
		"/activity/all?q=nowhere", "/activity/summary", "/activity/active", "/metrics",
	}
	var samples []sample
	began, every := time.Now(), max(length/500, time.Second)
	next := began.Add(every)
loop:
	for n := 0; ; n++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			break loop
		case <-time.After(250 * time.Millisecond):
		}
		response, err := http.Get("http://" + server.api + reads[n%len(reads)])
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Fatalf("GET %s: %s", reads[n%len(reads)], response.Status)
		}
		if time.Now().After(next) {
			next = next.Add(every)
			samples = append(samples, sampled(t, server))
		}
	}
	cancel()
	http.DefaultClient.CloseIdleConnections()
	if want := int64(0.95 * 2000 * length.Seconds()); driven.Accepted < want || driven.Rejected > 0 {
		t.Errorf("%d spans accepted, %d rejected; want %d", driven.Accepted, driven.Rejected, want)
	}
	if streamed.Load() == 0 {
		t.Error("nothing was streamed")
	}

	// Midst against end: the first third is the way there.
	third := len(samples) / 3
	if third == 0 {
		t.Fatalf("%d samples in %v", len(samples), length)
	}
	midst, end := floor(samples[third:2*third]), floor(samples[2*third:])
	t.Logf("%v at 2,000 spans/s: goroutines %.0f, then %.0f; files %.0f, then %.0f; heap %.1f MB, then %.1f; database %.1f MB, then %.1f",
		length, midst.goroutines, end.goroutines, midst.files, end.files, midst.heap/1e6, end.heap/1e6, midst.database/1e6, end.database/1e6)
	if end.goroutines > midst.goroutines+10 {
		t.Errorf("goroutines rise from %.0f to %.0f", midst.goroutines, end.goroutines)
	}
	if end.files > midst.files+5 {
		t.Errorf("open files rise from %.0f to %.0f", midst.files, end.files)
	}
	if length >= 5*time.Minute {
		if end.heap > 1.1*midst.heap {
			t.Errorf("the heap rises from %.0f to %.0f bytes", midst.heap, end.heap)
		}
		if end.database > 1.1*midst.database {
			t.Errorf("the database rises from %.0f to %.0f bytes", midst.database, end.database)
		}
	}
	// And it goes when the load does; the log keeps its connections, so not all files.
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		rest := sampled(t, server)
		if rest.goroutines <= idle.goroutines+2 && rest.files <= end.files {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%.0f goroutines and %.0f files are left of %.0f, idle, and %.0f", rest.goroutines, rest.files, idle.goroutines, end.files)
		}
	}
	if err := server.Stop(); err != nil {
		t.Errorf("%v\n%s", err, server.Output())
	}
}

// sample is what a bridge holds at a moment.
type sample struct{ goroutines, files, heap, database float64 }

// floor returns the least of each: what a moment's load adds comes and goes, and what leaks stays.
func floor(samples []sample) sample {
	f := samples[0]
	for _, s := range samples {
		f = sample{min(f.goroutines, s.goroutines), min(f.files, s.files), min(f.heap, s.heap), min(f.database, s.database)}
	}
	return f
}

func sampled(t testing.TB, server *bridge) sample {
	t.Helper()
	response, err := http.Get("http://" + server.api + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	values := make(map[string]float64)
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), " "); ok {
			values[name], _ = strconv.ParseFloat(value, 64) // comments are none
		}
	}
	info, err := os.Stat(filepath.Join(server.folder, "midspan.db"))
	if err != nil {
		t.Fatal(err)
	}
	s := sample{values["go_goroutines"], values["process_open_fds"], values["go_memstats_heap_inuse_bytes"], float64(info.Size())}
	if s.goroutines == 0 || s.files == 0 || s.heap == 0 {
		t.Fatalf("/metrics tell %+v", s)
	}
	return s
}
