package orchestrator

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func paths(ds []document) (out []string) {
	for _, d := range ds {
		out = append(out, d.Path)
	}
	return out
}

func TestListLeavesOut(t *testing.T) {
	s := testShelf(t, map[string]string{
		"b.md": "b", "a/c.go": "package c", ".git/x.md": "", "node_modules/x.md": "", "dist/x.md": "", "a/.hidden.md": "", "x.bin": "",
		"long.md": string(make([]byte, maxDocument+1)),
	})
	if diff := cmp.Diff([]string{"a/c.go", "b.md"}, paths(s.documents)); diff != "" {
		t.Errorf("documents (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b.md"}, paths(s.pick([]string{"b.md", "nowhere.md"}))); diff != "" {
		t.Errorf("picked (-want +got):\n%s", diff)
	}
}

func TestListIsBounded(t *testing.T) {
	texts := map[string]string{}
	for i := range maxDocuments + 10 {
		texts[fmt.Sprintf("%04d.md", i)] = "x"
	}
	if s := testShelf(t, texts); len(s.documents) != maxDocuments {
		t.Errorf("%d documents were listed, want %d", len(s.documents), maxDocuments)
	}
}

func TestOpenLibrary(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module example.org/tides\n", "tide.go": "package tide\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name, dir string
		want      []string
	}{
		{"no folder", "", []string{"handbook", "orchestrator"}},
		{"no Go project", t.TempDir(), []string{"handbook", "orchestrator"}},
		{"a Go project", dir, []string{"handbook", "orchestrator", "tides"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			shelves, err := openLibrary(t.TempDir(), test.dir)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range shelves {
				got = append(got, s.name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("projects (-want +got):\n%s", diff)
			}
		})
	}
}

// The handbook's pages link to each other; the only broken links would be a
// mistake of ours.
func TestHandbookLinks(t *testing.T) {
	s := embeddedShelves(t)["handbook"]
	o := &outline{shelf: s, documents: s.documents, found: map[string]headings{}}
	for _, d := range s.documents {
		text, err := s.read(d)
		if err != nil {
			continue // a draft
		}
		if broken := o.brokenLinks(d, text); len(broken) > 0 {
			t.Errorf("%s links to %v", d.Path, broken)
		}
	}
}

func TestWords(t *testing.T) {
	got := []string{size(999), size(1500), size(2_500_000), count(1, "entry"), count(2, "entry"), count(0, "line"), some([]string{"a", "b", "c"}, 2), upperFirst("give up")}
	want := []string{"999 B", "1.5 kB", "2.5 MB", "1 entry", "2 entries", "0 lines", "a, b and 1 more", "Give up"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
}
