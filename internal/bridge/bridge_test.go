package bridge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/midspan/midspan/api"
)

const free = "127.0.0.1:0"

// Any address that other machines reach needs a token or the operator's word.
func TestExposed(t *testing.T) {
	const open = "0.0.0.0:0"
	keys, err := api.NewKeyring(api.Grant{Name: "test", Token: "0123456789abcdef", Scope: api.ScopeRead})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		cfg     Config
		exposed bool
	}{
		{"loopback", Config{Listen: free, OTLPGRPC: free, OTLPHTTP: "localhost:0"}, false},
		{"API", Config{Listen: open, OTLPGRPC: free, OTLPHTTP: free}, true},
		{"gRPC", Config{Listen: free, OTLPGRPC: open, OTLPHTTP: free}, true},
		{"HTTP", Config{Listen: free, OTLPGRPC: free, OTLPHTTP: ":0"}, true},
		{"with a token", Config{Listen: free, OTLPGRPC: open, OTLPHTTP: open, Keys: keys}, false},
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

// Who may read may not send, and the other way round, by every protocol; a token
// that is taken away admits to none.
func TestScopes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("reader read reads-0123456789\nsender ingest sends-0123456789\nboth read,ingest both-0123456789\nadmin admin rules-0123456789\n")
	keys, err := api.OpenKeyring(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	b := serve(t, Config{Keys: keys})
	conn, err := grpc.NewClient(b.GRPCAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func(token string) (read, send int, call codes.Code, says string) {
		t.Helper()
		request := func(method, url string) (int, string) {
			req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+token)
			resp, err := b.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(body)
		}
		if code, says := request(http.MethodGet, "http://"+b.Addr().String()+"/debug/pprof/heap?debug=1"); (code == http.StatusOK) != strings.HasPrefix(says, "heap profile: ") || (code == http.StatusOK) != strings.HasPrefix(token, "rules-") {
			t.Errorf("a profile for %q: %d", token, code)
		}
		read, _ = request(http.MethodGet, "http://"+b.Addr().String()+"/activity/all")
		send, says = request(http.MethodPost, "http://"+b.HTTPAddr().String()+"/v1/traces")
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
		_, err := plogotlp.NewGRPCClient(conn).Export(ctx, plogotlp.NewExportRequest())
		return read, send, status.Code(err), says
	}
	for _, tt := range []struct {
		token      string
		read, send int
		call       codes.Code
	}{
		{"reads-0123456789", 200, 403, codes.PermissionDenied},
		{"sends-0123456789", 403, 200, codes.OK},
		{"both-0123456789", 200, 200, codes.OK},
		{"rules-0123456789", 200, 200, codes.OK},
		{"other-0123456789", 401, 401, codes.Unauthenticated},
	} {
		read, send, call, says := ask(tt.token)
		if read != tt.read || send != tt.send || call != tt.call {
			t.Errorf("%s: read %d, send %d, by gRPC %v, want %+v", tt.token, read, send, call, tt)
		}
		if send == 403 && !strings.Contains(says, `the token is not for sending: \"reader\" has the scope read, this needs ingest`) {
			t.Errorf("%s", says)
		}
	}
	write("other ingest other-0123456789\n")
	eventually(t, time.Minute, func() string {
		read, send, call, _ := ask("both-0123456789")
		if read != 401 || send != 401 || call != codes.Unauthenticated {
			return fmt.Sprintf("it still admits: %d %d %v", read, send, call)
		}
		return ""
	})
	if read, send, call, _ := ask("other-0123456789"); read != 403 || send != 200 || call != codes.OK {
		t.Errorf("the new one: %d %d %v", read, send, call)
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
