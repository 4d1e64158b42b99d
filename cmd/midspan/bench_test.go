package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkDemoStart measures the time from the start of the built binary to
// the first answer of its API.
func BenchmarkDemoStart(b *testing.B) {
	bin := filepath.Join(b.TempDir(), "midspan")
	build := exec.Command("go", "build", "-trimpath", "-o", bin, ".")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	var took []time.Duration
	for b.Loop() {
		took = append(took, startDemo(b, bin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
}

func startDemo(b *testing.B, bin string) time.Duration {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	demo := exec.CommandContext(ctx, bin, "demo", "--listen", address)
	begin := time.Now()
	if err := demo.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		cancel()
		_ = demo.Wait() // killed
	}()
	url := fmt.Sprintf("http://%s/activity/all?limit=1", address)
	for ctx.Err() == nil {
		resp, err := http.Get(url) //nolint:noctx // bounded by the process
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		took := time.Since(begin)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			b.Fatalf("first answer: %s", resp.Status)
		}
		return took
	}
	b.Fatal("no answer within 10 s")
	return 0
}

// What bench says was accepted is what serve has, by either protocol, with the
// token that is asked for.
func TestBench(t *testing.T) {
	const token = "0123456789abcdef"
	t.Setenv("MIDSPAN_TOKEN", token)
	s := startServe(t, nil)
	total := 0
	for _, address := range []string{"grpc://" + s.grpc, s.http} {
		var out, stderr bytes.Buffer
		if code := execute(t.Context(), []string{"bench", address, "--for", "300ms", "--rate", "2000", "--batch", "50", "--connections", "2", "--json"}, &out, &stderr); code != 0 {
			t.Fatalf("%d %s", code, &stderr)
		}
		var r struct {
			Accepted int
			Rejected int
			P99      float64 `json:"p99_ms"`
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Accepted == 0 || r.Rejected != 0 || r.P99 <= 0 {
			t.Errorf("%s %v", &out, err)
		}
		total += r.Accepted
	}
	var out bytes.Buffer
	if code := execute(t.Context(), []string{"bench", s.http, "--for", "100ms", "--batch", "10", "--connections", "1", "--rate", "100"}, &out, &out); code != 0 || !strings.Contains(out.String(), "accepted  ") {
		t.Errorf("%d %s", code, &out)
	}
	said := regexp.MustCompile(`spans/s: (\d+) in`).FindStringSubmatch(out.String())
	if said == nil {
		t.Fatalf("it said %s", &out)
	}
	more, err := strconv.Atoi(said[1])
	if err != nil {
		t.Fatal(err)
	}
	total += more
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.api+"/activity/all?limit=1", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var page struct{ Total int }
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil || page.Total != total {
		t.Errorf("%d activities, though %d spans were accepted: %v", page.Total, total, err)
	}
}
