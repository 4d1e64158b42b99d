package deploy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// built is the folder of the program, for TestMain to remove.
var built string

// binary builds the program, with the flags of `make build` so that the compiler's work is done once.
var binary = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "midspan-deploy-")
	if err != nil {
		return "", err
	}
	built = folder
	path := filepath.Join(folder, "midspan")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./cmd/midspan")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// accepts has the program read a file of settings.
func accepts(t *testing.T, file string) error {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "serve", "--config", file, "--print-config")
	cmd.Env = []string{}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// TestSettings has the program itself read what is deployed with it.
func TestSettings(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(tokens, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, byChart := render(t, "midspan", "default", values{"auth": values{"existingSecret": "tokens"}})
	for name, text := range map[string]string{
		"compose": read(t, "deploy/compose/midspan.yaml"),
		"systemd": read(t, "deploy/systemd/midspan.yaml"),
		"chart":   strings.Replace(byChart, "/etc/midspan-tokens/tokens", tokens, 1),
	} {
		file := filepath.Join(t.TempDir(), "midspan.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := accepts(t, file); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	wrong := filepath.Join(t.TempDir(), "midspan.yaml")
	if err := os.WriteFile(wrong, []byte("retain_age: 1h\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if accepts(t, wrong) == nil {
		t.Error("what is no setting is accepted, so this proves nothing")
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// bridge is a running `midspan serve`.
type bridge struct{ api, grpc string } // URL of the one, address of the other

// start runs a bridge until the test ends.
func start(t *testing.T, args ...string) bridge {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append([]string{"serve", "--listen=127.0.0.1:0", "--otlp-grpc=127.0.0.1:0", "--otlp-http=127.0.0.1:0"}, args...)...)
	cmd.Env = []string{}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	said, lines := "", bufio.NewScanner(out)
	for range 2 {
		lines.Scan()
		said += lines.Text() + "\n"
	}
	found := regexp.MustCompile(`(http://[^/]+)/monitor/\nSend OTLP to (\S+) by gRPC`).FindStringSubmatch(said)
	if found == nil {
		t.Fatalf("it says %q", said)
	}
	return bridge{found[1], found[2]}
}

// get returns what is answered to a path of the API.
func (b bridge) get(t *testing.T, path string) string {
	t.Helper()
	resp, err := http.Get(b.api + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// metrics returns the names of what a running bridge with a folder and a target tells at /metrics.
func metrics(t *testing.T) map[string]bool {
	t.Helper()
	b := start(t, "--data="+t.TempDir(), "--forward=http://127.0.0.1:1")
	b.get(t, "/metrics")
	body := b.get(t, "/metrics")         // which tells of the first request
	names := map[string]bool{"up": true} // Prometheus' own
	for line := range strings.Lines(body) {
		if name := regexp.MustCompile(`^[a-z_]+`).FindString(line); name != "" {
			names[name] = true
		}
	}
	if len(names) < 20 {
		t.Fatalf("it tells %d metrics: %s", len(names), body)
	}
	return names
}
