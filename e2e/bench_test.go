//go:build e2e

package e2e_test

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/midspan/midspan/e2e/run"
	"github.com/midspan/midspan/internal/loadgen"
	"github.com/midspan/midspan/internal/otlpclient"
)

// rival is a program that takes OTLP by gRPC.
type rival struct {
	name  string
	start func(t testing.TB) (p *run.Process, address string)
}

// BenchmarkIngest drives a receiver that only decodes, a real Jaeger that keeps everything in memory, and
// `midspan serve`, each alone on the machine but for the driver. They take turns; the best of the rounds counts,
// since what else the machine does only takes away. MIDSPAN_BENCH_FOR is how long each is driven (8s),
// MIDSPAN_BENCH_ROUNDS how often (3).
func BenchmarkIngest(b *testing.B) {
	every, err := time.ParseDuration(cmp.Or(os.Getenv("MIDSPAN_BENCH_FOR"), "8s"))
	if err != nil {
		b.Fatal(err)
	}
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("MIDSPAN_BENCH_ROUNDS"), "3"))
	if err != nil {
		b.Fatal(err)
	}
	decoder := filepath.Join(b.TempDir(), "decoder")
	if out, err := exec.Command("go", "build", "-o", decoder, "./decoder").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	var disk *bridge // of the round under way
	rivals := []rival{
		{"decoder", func(t testing.TB) (*run.Process, string) {
			address := freeAddress(t)
			return started(t, exec.Command(decoder, "-grpc", address), address), address
		}},
		{"jaeger", func(t testing.TB) (*run.Process, string) {
			j := newJaeger(t)
			j.start(t)
			p := j.process
			j.process = nil // stopped by the round
			return p, j.grpc
		}},
		{"midspan-memory", func(t testing.TB) (*run.Process, string) {
			address := freeAddress(t)
			return started(t, exec.Command(setting(t, "MIDSPAN_BIN"), "serve", "--listen", freeAddress(t),
				"--otlp-grpc", address, "--otlp-http", freeAddress(t)), address), address
		}},
		{"midspan-disk", func(t testing.TB) (*run.Process, string) {
			b := newBridge(t, "--ack", "disk", "--data", t.TempDir())
			disk = b
			return b.Process, b.grpc
		}},
	}
	best := map[string]loadgen.Result{}
	memory := map[string]float64{}
	for b.Loop() {
		for round := range rounds {
			for _, r := range rivals {
				process, address := r.start(b)
				before := resident(b, process)
				result, err := loadgen.Run(context.Background(), loadgen.Config{
					Endpoint: otlpclient.Config{URL: "grpc://" + address}, For: every,
				})
				if err != nil {
					b.Fatalf("%s: %v\n%s", r.name, err, process.Output())
				}
				if r.name == "midspan-disk" {
					settled, size := disk.settled(b, result.Accepted)
					b.ReportMetric(settled.Seconds(), "midspan-disk-searchable-s")
					b.ReportMetric(size/float64(result.Accepted), "midspan-disk-B/span")
				}
				held := resident(b, process) - before
				if err := process.Stop(); err != nil {
					b.Fatalf("%s: %v\n%s", r.name, err, process.Output())
				}
				b.Logf("%d %-15s %7.0f spans/s, %d refused, %d rejected, p50 %s, p99 %s, driver %.2f µs a span, %.0f B of RSS a span",
					round+1, r.name, result.PerSecond(), result.Refused, result.Rejected, result.P50, result.P99,
					1e6*result.CPU.Seconds()/float64(result.Accepted), held/float64(result.Accepted))
				if had, ok := best[r.name]; !ok || result.PerSecond() > had.PerSecond() {
					best[r.name], memory[r.name] = result, held/float64(result.Accepted)
				}
			}
		}
	}
	for _, r := range rivals {
		result := best[r.name]
		b.ReportMetric(result.PerSecond(), r.name+"-spans/s")
		b.ReportMetric(1e6*result.CPU.Seconds()/float64(result.Accepted), r.name+"-driver-µs/span")
		if strings.HasPrefix(r.name, "midspan") {
			jaeger := best["jaeger"]
			b.ReportMetric(result.PerSecond()/jaeger.PerSecond(), r.name+"/jaeger")
		}
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}

func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := run.FreeAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// started starts a program and waits until it listens.
func started(t testing.TB, command *exec.Cmd, address string) *run.Process {
	t.Helper()
	p, err := run.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop() }) // a test that fails leaves it
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := run.Poll(ctx, 20*time.Millisecond, func() error {
		select {
		case <-p.Done:
			return run.Final{Err: fmt.Errorf("%s ended\n%s", command.Path, p.Output())}
		default:
		}
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

// resident returns the bytes of memory that a process has in use, as Linux tells it.
func resident(t testing.TB, p *run.Process) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				t.Fatal(err)
			}
			return kilobytes * 1024
		}
	}
	t.Fatalf("no VmRSS in %s", text)
	return 0
}
