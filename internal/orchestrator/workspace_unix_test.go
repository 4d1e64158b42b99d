//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package orchestrator

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a killed orchestrator left is removed by the next; what a live one has
// is not, nor what is no workspace.
func TestWorkspaces(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	notes, link := filepath.Join(temp, "midspan-notes"), filepath.Join(temp, "midspan-link")
	if err := os.Mkdir(notes, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "MIDSPAN_TEST_WORKSPACE=1")
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	other := strings.TrimSpace(line)
	if err != nil || filepath.Dir(other) != temp {
		t.Fatalf("the other's workspace is %q, %v", other, err)
	}
	dead := filepath.Join(t.TempDir(), "dead") // as a workspace would be that somebody's link leads to
	if err := os.Mkdir(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead, lockName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dead, link); err != nil {
		t.Fatal(err)
	}

	there := func(paths ...string) {
		t.Helper()
		for _, path := range paths {
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s is gone: %v", path, err)
			}
		}
	}
	begin := func() {
		t.Helper()
		dir, remove, err := openWorkspace()
		if err != nil {
			t.Fatal(err)
		}
		there(dir, notes, link, filepath.Join(dir, lockName))
		if err := remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	begin()
	there(other)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it was not killed")
	}
	there(other) // nobody could remove it
	begin()
	if _, err := os.Stat(other); !os.IsNotExist(err) {
		t.Errorf("%s, of one that was killed, is left: %v", other, err)
	}
}
