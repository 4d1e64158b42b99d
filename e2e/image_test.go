//go:build e2e && linux

package e2e_test

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/midspan/midspan/e2e/run"
)

// TestImage runs the program as deploy/Dockerfile and docker-compose.yml do, where nothing else is: a root with
// the program, an empty /tmp, no environment, no rights. It is called by the names that are allowed there.
func TestImage(t *testing.T) {
	address, err := run.FreeAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(address, ":")
	command := exec.Command("/midspan", "demo",
		"--insecure", "--allow-host=localhost", "--allow-host=127.0.0.1", "--jaeger-url=http://localhost:16686")
	command.Path, command.Err = "/midspan", nil
	command.Dir, command.Env = "/", []string{"OTEL_SERVICE_NAME=midspan-demo"}
	command.SysProcAttr = alone(t, image(t))
	demo := startDemo(t, command, "0.0.0.0:"+port)
	demo.URL = "http://" + address
	for _, tt := range []struct {
		host string
		want int
	}{
		{"localhost:" + port, http.StatusOK},
		{"127.0.0.1:" + port, http.StatusOK},
		{"attacker.example", http.StatusMisdirectedRequest},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, demo.URL+"/activity/stats", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = tt.host
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != tt.want {
			t.Errorf("Host %s: got %s, want %d", tt.host, response.Status, tt.want)
		}
	}
	finished := poll(t, func() ([]activity, error) { return varied(t, demo) })
	if link := text(finished[0].TraceURL); !strings.HasPrefix(link, "http://localhost:16686/trace/"+finished[0].TraceID) {
		t.Errorf("trace_url: got %q", link)
	}
	if all, err := list(t, demo, url.Values{"service": {"midspan-demo"}, "limit": {"1"}}); err != nil || len(all) == 0 {
		t.Errorf("OTEL_SERVICE_NAME is not heeded: %v", err)
	}
}

// image lays out what deploy/Dockerfile puts into the image.
func image(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for folder := root; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
		if err := os.Chmod(folder, 0o755); err != nil { // another user must get in
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	source, err := os.Open(setting(t, "MIDSPAN_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	binary, err := os.OpenFile(filepath.Join(root, "midspan"), os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(binary, source); err != nil {
		t.Fatal(err)
	}
	if err := binary.Close(); err != nil {
		t.Fatal(err)
	}
	return root
}

// alone confines a program to a root of its own as user 65532. Who is not root does it in a user namespace.
func alone(t *testing.T, root string) *syscall.SysProcAttr {
	t.Helper()
	const user = 65532
	if os.Geteuid() == 0 {
		return &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: user, Gid: user}}
	}
	return &syscall.SysProcAttr{
		Chroot:      root,
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getegid(), Size: 1}},
		Credential:  &syscall.Credential{Uid: user, Gid: user, NoSetGroups: true},
	}
}
