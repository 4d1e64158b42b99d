package sqlite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/midspan/midspan/internal/eventlog/eventlogtest"
)

// contents returns the bytes of the database and its WAL.
func contents(t *testing.T, folder string) [2][]byte {
	t.Helper()
	var out [2][]byte
	for i, name := range []string{fileName, walName} {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		out[i] = b
	}
	return out
}

// copyFolder returns a copy of a folder as a crash of its process would leave it.
func copyFolder(t *testing.T, folder string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	return to
}

// Whatever a process has left, with and without a WAL, is read as it is and
// stays so; nothing can be written.
func TestInspect(t *testing.T) {
	folder := t.TempDir()
	l, err := Open(t.Context(), Config{Folder: folder, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := l.Append(t.Context(), eventlogtest.Events("a", 10*i, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.SetCursor(t.Context(), "reader", 7); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(t.Context(), folder); !errors.Is(err, ErrInUse) {
		t.Errorf("of a folder in use: %v", err)
	}
	killed := copyFolder(t, folder)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if w := contents(t, killed)[1]; len(w) == 0 {
		t.Fatal("the copy has no WAL: the test shows nothing")
	}
	for name, folder := range map[string]string{"closed": folder, "killed": killed, "without a lock": func() string {
		to := copyFolder(t, killed)
		if err := os.Remove(filepath.Join(to, lockName)); err != nil {
			t.Fatal(err)
		}
		return to
	}()} {
		t.Run(name, func(t *testing.T) {
			before := contents(t, folder)
			l, err := Inspect(t.Context(), folder)
			if err != nil {
				t.Fatal(err)
			}
			if got := eventlogtest.All(t, l, 0, 100); len(got) != 50 {
				t.Errorf("%d events", len(got))
			}
			if err := l.Verify(t.Context()); err != nil {
				t.Error(err)
			}
			if seq, ok, err := l.Cursor(t.Context(), "reader"); seq != 7 || !ok || err != nil {
				t.Errorf("cursor %d %v %v", seq, ok, err)
			}
			for what, err := range map[string]error{
				"append": l.Append(t.Context(), eventlogtest.Events("b", 0, 1)),
				"cursor": l.SetCursor(t.Context(), "reader", 8),
				"trim":   l.Trim(t.Context(), 5),
			} {
				if !errors.Is(err, ErrReadOnly) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			after := contents(t, folder)
			if !bytes.Equal(before[0], after[0]) || !bytes.Equal(before[1], after[1]) {
				t.Error("the files are others")
			}
		})
	}
}

func TestInspectRefuses(t *testing.T) {
	if _, err := Inspect(t.Context(), t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := Inspect(t.Context(), filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, fileName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Inspect(t.Context(), folder); err == nil {
		t.Error("an empty file was read")
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v %v", entries, err)
	}
}
