package bridge

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/midspan/midspan/api"
)

const free = "127.0.0.1:0"

// Any address that other machines reach needs a token or the operator's word.
func TestExposed(t *testing.T) {
	const open = "0.0.0.0:0"
	for _, tt := range []struct {
		name    string
		cfg     Config
		exposed bool
	}{
		{"loopback", Config{Listen: free, OTLPGRPC: free, OTLPHTTP: "localhost:0"}, false},
		{"API", Config{Listen: open, OTLPGRPC: free, OTLPHTTP: free}, true},
		{"gRPC", Config{Listen: free, OTLPGRPC: open, OTLPHTTP: free}, true},
		{"HTTP", Config{Listen: free, OTLPGRPC: free, OTLPHTTP: ":0"}, true},
		{"with a token", Config{Listen: free, OTLPGRPC: open, OTLPHTTP: open, Tokens: []api.Token{"0123456789abcdef"}}, false},
		{"insecure", Config{Listen: free, OTLPGRPC: open, OTLPHTTP: open, Insecure: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Logger = slog.New(slog.DiscardHandler)
			b, err := New(t.Context(), tt.cfg)
			if _, exposed := errors.AsType[*ExposedError](err); exposed != tt.exposed || !exposed && err != nil {
				t.Fatalf("%v", err)
			}
			if b != nil {
				stop(t, b)
			}
		})
	}
}

// stop runs a bridge that is told to stop at once.
func stop(t *testing.T, b *Bridge) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Run(ctx); err != nil {
		t.Error(err)
	}
}

// An address that is taken is told, and the others are let go.
func TestAddressTaken(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", free)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	first, err := new(net.ListenConfig).Listen(t.Context(), "tcp", free)
	if err != nil {
		t.Fatal(err)
	}
	address := first.Addr().String()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = New(t.Context(), Config{Listen: address, OTLPGRPC: free, OTLPHTTP: taken.Addr().String(), Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Fatalf("%v", err)
	}
	again, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("the first address was not let go: %v", err)
	}
	again.Close()
}

// What was answered is read, and the end is clean while a stream is open.
func TestRun(t *testing.T) {
	b, err := New(t.Context(), Config{Listen: free, OTLPGRPC: free, OTLPHTTP: free, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	stream := do(t, client, http.MethodGet, "http://"+b.Addr().String()+"/activity/stream?hello=1", "")
	defer stream.Body.Close()
	sent := do(t, client, http.MethodPost, "http://"+b.HTTPAddr().String()+"/v1/traces", `{"resourceSpans":[{"scopeSpans":[{"spans":[
		{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"charge card","startTimeUnixNano":"10"}]}]}]}`)
	sent.Body.Close()
	list := do(t, client, http.MethodGet, "http://"+b.Addr().String()+"/activity/active", "")
	body, err := io.ReadAll(list.Body)
	list.Body.Close()
	if err != nil || !strings.Contains(string(body), `"name":"charge card"`) || !strings.Contains(string(body), `"lease":"none"`) {
		t.Errorf("%s %v", body, err)
	}
	lines := bufio.NewScanner(stream.Body)
	told := false
	for !told && lines.Scan() {
		told = strings.Contains(lines.Text(), `"name":"charge card"`)
	}
	if !told {
		t.Errorf("the stream ended without it: %v", lines.Err())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
}

func do(t *testing.T, client *http.Client, method, url, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answered %s", url, resp.Status)
	}
	return resp
}
