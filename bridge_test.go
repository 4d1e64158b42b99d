package midspan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/midspan/midspan"
	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/internal/bridge"
	"github.com/midspan/midspan/tracing"
)

// runBridge runs a bridge on free ports until the test ends, or until stop.
func runBridge(t *testing.T, cfg bridge.Config) (*bridge.Bridge, func()) {
	t.Helper()
	for _, address := range []*string{&cfg.Listen, &cfg.OTLPGRPC, &cfg.OTLPHTTP} {
		if *address == "" {
			*address = "127.0.0.1:0"
		}
	}
	cfg.Logger = slog.New(slog.DiscardHandler)
	b, err := bridge.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- b.Run(ctx) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("bridge: %v", err)
		}
	}
	t.Cleanup(stop)
	return b, stop
}

// client keeps no connection that would look like a leak.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// shown is an activity as an API shows it.
type shown map[string]any

// from asks an API for one activity; ok is false while it has none.
func from(t *testing.T, address, token string, id activity.ID) (a shown, ok bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/activity/"+id.String(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	switch resp.StatusCode {
	case http.StatusNotFound:
		return nil, false
	case http.StatusOK:
		var answer struct{ Activity shown }
		if err := json.Unmarshal(body, &answer); err != nil {
			t.Fatal(err)
		}
		return answer.Activity, true
	}
	t.Fatalf("%s: %s", resp.Status, body)
	return nil, false
}

// until asks until the activity is as wanted, and returns how long that took.
func until(t *testing.T, address, token string, id activity.ID, what string, is func(a shown) bool) (shown, time.Duration) {
	t.Helper()
	start := time.Now()
	for {
		a, ok := from(t, address, token, id)
		if ok && is(a) {
			return a, time.Since(start)
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%s: not in the bridge after 30 s; it has %v", what, a)
		}
	}
}

// What a program does is in the bridge's API in a moment, by either protocol,
// and both show the same in the end.
func TestBridge(t *testing.T) {
	for _, tt := range []struct {
		name    string
		grpc    bool
		token   string
		sampler sdktrace.Sampler
	}{
		{name: "HTTP"},
		{name: "gRPC", grpc: true},
		{name: "token by HTTP", token: "a-token-of-some-length"},
		{name: "token by gRPC", token: "a-token-of-some-length", grpc: true},
		{name: "unsampled", sampler: sdktrace.NeverSample()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var keys *api.Keyring
			if tt.token != "" {
				var err error
				if keys, err = api.NewKeyring(api.Grant{Name: "test", Token: api.Token(tt.token), Scope: api.ScopeAdmin}); err != nil {
					t.Fatal(err)
				}
			}
			b, _ := runBridge(t, bridge.Config{Keys: keys})
			address := b.HTTPAddr().String()
			if tt.grpc {
				t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
				address = b.GRPCAddr().String()
			}
			ctx, m := start(t, midspan.Config{Service: "orders", Bridge: "http://" + address, BridgeToken: api.Token(tt.token), Sampler: tt.sampler})
			// The first request makes a connection, which is not what is timed.
			_, first := tracing.Start(ctx, activity.WorkItem, "first", "")
			until(t, b.Addr().String(), tt.token, first.ID(), "first", func(shown) bool { return true })
			first.Complete("")

			var waits []time.Duration
			see := func(what string, id activity.ID, is func(a shown) bool) {
				t.Helper()
				_, took := until(t, b.Addr().String(), tt.token, id, what, is)
				waits = append(waits, took)
			}
			inner, a := tracing.Plan(ctx, activity.WorkItem, "Ship order", "Pack and ship")
			see("planned", a.ID(), func(a shown) bool { return a["state"] == "PLANNED" && a["what_it_will_do"] == "Pack and ship" })
			a.Start()
			see("started", a.ID(), func(a shown) bool { return a["state"] == "IN_PROGRESS" })
			a.Sayf("Packing %s", "tea")
			a.Progress(0.5)
			see("update", a.ID(), func(a shown) bool { return a["what_its_doing"] == "Packing tea" && a["progress"] == 0.5 })
			_, d := tracing.Start(inner, activity.Decision, "Choose carrier", "Weigh price against time")
			d.Decide(tracing.Decision{Choice: "rail", Alternatives: []string{"rail", "air"}, Reasoning: "Nobody waits for it"})
			d.Complete("Rail")
			see("decision", d.ID(), func(a shown) bool { return a["state"] == "COMPLETED" && a["decision"] != nil })
			_, f := tracing.Start(inner, activity.APICall, "Call", "Call the carrier")
			see("call", f.ID(), func(shown) bool { return true })
			f.Fail(fmt.Errorf("no answer"))
			see("failed", f.ID(), func(a shown) bool { return a["state"] == "FAILED" })
			a.Complete("Handed over", []string{"tea"})
			see("completed", a.ID(), func(a shown) bool { return a["state"] == "COMPLETED" && a["what_it_did"] == "Handed over" })
			// The median: a machine may be busy with other things for a moment.
			slices.Sort(waits)
			if median := waits[len(waits)/2]; median > 250*time.Millisecond {
				t.Errorf("changes took %v", waits)
			}

			if err := m.ForceFlush(t.Context()); err != nil {
				t.Error(err)
			}
			own := own(t, m)
			for _, id := range []activity.ID{first.ID(), a.ID(), d.ID(), f.ID()} {
				here, _ := from(t, own, "", id)
				there, _ := from(t, b.Addr().String(), tt.token, id)
				if there["lease"] != "live" {
					t.Errorf("lease: %v", there["lease"])
				}
				for _, view := range []shown{here, there} {
					for _, key := range []string{"lease", "usual_ms"} { // what each index knows by itself
						delete(view, key)
					}
				}
				if diff := cmp.Diff(here, there); diff != "" {
					t.Errorf("the program (-) and the bridge (+) show:\n%s", diff)
				}
				if want := tt.sampler == nil; here["sampled"] != want {
					t.Errorf("sampled: %v", here["sampled"])
				}
			}
			if got, spans := bridgeOf(t, own); got.Endpoint != "http://"+address || !got.Connected || got.Dropped != 0 || spans != 0 {
				t.Errorf("stats: %+v, %d spans dropped", got, spans)
			}
		})
	}
}

// own serves a program's own API, and returns its address.
func own(t *testing.T, m *midspan.Midspan) string {
	t.Helper()
	server := httptest.NewServer(m.Handler())
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// bridgeOf returns what a program says of its bridge.
func bridgeOf(t *testing.T, own string) (bridge struct {
	Endpoint  string
	Connected bool
	Dropped   int64
}, spansDropped int64) {
	t.Helper()
	resp, err := client.Get("http://" + own + "/activity/stats") //nolint:noctx // The test's end ends it.
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var stats struct {
		Export struct{ Dropped int64 }
		Bridge *struct {
			Endpoint  string
			Connected bool
			Dropped   int64
		}
	}
	stats.Bridge = &bridge
	if err := json.NewDecoder(resp.Body).Decode(&stats); err != nil {
		t.Fatal(err)
	}
	return bridge, stats.Export.Dropped
}

// A program whose bridge is away runs on, and the one that comes back, with
// nothing left of what it knew, shows what is open and what has ended.
func TestBridgeAwayAndBack(t *testing.T) {
	b, stop := runBridge(t, bridge.Config{})
	address := b.HTTPAddr().String()
	ctx, m := start(t, midspan.Config{Bridge: "http://" + address, Logger: slog.New(slog.DiscardHandler)})
	_, long := tracing.Start(ctx, activity.WorkItem, "long", "Outlive the bridge")
	until(t, b.Addr().String(), "", long.ID(), "long", func(shown) bool { return true })
	_, ends := tracing.Start(ctx, activity.WorkItem, "ends", "End while nobody looks")
	until(t, b.Addr().String(), "", ends.ID(), "ends", func(shown) bool { return true })
	stop()
	long.Say("Alone")
	ends.Complete("Done alone")
	noticed := time.Now()
	own := own(t, m)
	for {
		if got, _ := bridgeOf(t, own); !got.Connected {
			break
		}
		if time.Since(noticed) > 10*time.Second {
			t.Fatal("the bridge is gone, and still connected")
		}
	}
	begin := time.Now()
	for range 20_000 {
		_, a := tracing.Start(ctx, activity.WorkItem, "work", "")
		a.Complete("")
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("20,000 spans took %v with the bridge away", took)
	}
	_, late := tracing.Start(ctx, activity.WorkItem, "late", "Start while nobody looks")

	again, _ := runBridge(t, bridge.Config{OTLPHTTP: address})
	api := again.Addr().String()
	until(t, api, "", long.ID(), "long", func(a shown) bool {
		return a["what_its_doing"] == "Alone" && a["what_it_will_do"] == "Outlive the bridge" && a["state"] == "IN_PROGRESS"
	})
	until(t, api, "", ends.ID(), "ends", func(a shown) bool { return a["state"] == "COMPLETED" && a["what_it_did"] == "Done alone" })
	until(t, api, "", late.ID(), "late", func(a shown) bool { return a["name"] == "late" })
	long.Complete("")
	late.Complete("")
	until(t, api, "", long.ID(), "long", func(a shown) bool { return a["state"] == "COMPLETED" })
	if err := m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// Of what is the bridge's to send on nothing goes to the backend directly,
// unless that is asked for.
func TestBridgeStandsForTheBackend(t *testing.T) {
	var mu sync.Mutex
	paths := ""
	backend := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		paths += r.URL.Path
	}))
	defer backend.Close()
	server := backend.URL
	b, _ := runBridge(t, bridge.Config{})
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server)
	for _, tt := range []struct {
		cfg  midspan.Config
		want string
	}{
		{midspan.Config{}, ""},
		{midspan.Config{OTLPEndpoint: server}, "/v1/traces"},
	} {
		tt.cfg.Bridge, tt.cfg.NoGlobals = "http://"+b.HTTPAddr().String(), true
		m, err := midspan.New(tt.cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, a := tracing.Start(tracing.ContextWithProvider(t.Context(), m.TracerProvider()), activity.WorkItem, "x", "")
		a.Complete("")
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if paths != tt.want {
			t.Errorf("endpoint %q: the backend was asked for %q", tt.cfg.OTLPEndpoint, paths)
		}
		if _, ok := from(t, b.Addr().String(), "", a.ID()); !ok {
			t.Error("shutdown did not tell the bridge")
		}
	}
}

// A program that dies of a panic has told its bridge what it died of: of an
// activity that the bridge knew, and of one it had not heard of.
func TestBridgeHearsOfAPanic(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			b, _ := runBridge(t, bridge.Config{})
			address := b.HTTPAddr()
			if protocol == "grpc" {
				address = b.GRPCAddr()
			}
			program := exec.CommandContext(t.Context(), os.Args[0])
			program.Env = append(os.Environ(), "MIDSPAN_TEST_PANIC=http://"+address.String(), "MIDSPAN_TEST_PROTOCOL="+protocol)
			var stdout, stderr bytes.Buffer
			program.Stdout, program.Stderr = &stdout, &stderr
			if err := program.Run(); err == nil || !strings.Contains(stderr.String(), "panic: boom") {
				t.Fatalf("the program did not die of its panic: %v\n%s", err, &stderr)
			}
			ids := strings.Fields(stdout.String())
			if len(ids) != 2 {
				t.Fatalf("it wrote %q", &stdout)
			}
			for i, name := range []string{"known", "new"} {
				id, err := activity.ParseID(ids[i])
				if err != nil {
					t.Fatal(err)
				}
				a, ok := from(t, b.Addr().String(), "", id)
				if !ok || a["state"] != "FAILED" {
					t.Fatalf("%s: %v", name, a)
				}
				why, _ := a["error"].(map[string]any)
				stack, _ := why["stack"].(string)
				if why["message"] != "panic: boom" || !strings.Contains(stack, "explode") {
					t.Errorf("%s: %v", name, why)
				}
			}
		})
	}
}

// runPanic is the program of TestBridgeHearsOfAPanic.
func runPanic(bridge string) {
	err := os.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", os.Getenv("MIDSPAN_TEST_PROTOCOL"))
	if err != nil {
		panic(err)
	}
	m, err := midspan.New(midspan.Config{Bridge: bridge})
	if err != nil {
		panic(err)
	}
	ctx, known := tracing.Start(context.Background(), activity.WorkItem, "known", "")
	defer known.End(nil)
	if err := m.ForceFlush(ctx); err != nil {
		panic(err)
	}
	_, young := tracing.Start(ctx, activity.WorkItem, "new", "")
	defer young.End(nil)
	fmt.Println(known.ID(), young.ID())
	explode()
}

func explode() { panic("boom") }
