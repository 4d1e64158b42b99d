package deploy

import (
	"bufio"
	"context"
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
	"time"
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

// metrics returns the names of what a running bridge with a folder and a target tells at /metrics.
func metrics(t *testing.T) map[string]bool {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "serve", "--listen=127.0.0.1:0", "--otlp-grpc=127.0.0.1:0", "--otlp-http=127.0.0.1:0",
		"--data="+t.TempDir(), "--forward=http://127.0.0.1:1")
	cmd.Env = []string{}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	address := regexp.MustCompile(`http://[^/]+`).FindString(line)
	if err != nil || address == "" {
		t.Fatalf("it says %q: %v", line, err)
	}
	var body []byte
	for range 2 { // the second tells of the first request
		resp, err := http.Get(address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	names := map[string]bool{"up": true} // Prometheus' own
	for line := range strings.Lines(string(body)) {
		if name := regexp.MustCompile(`^[a-z_]+`).FindString(line); name != "" {
			names[name] = true
		}
	}
	if len(names) < 20 {
		t.Fatalf("it tells %d metrics: %s", len(names), body)
	}
	return names
}
