package orchestrator

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// embedded is the library that is always there: this package's own source and
// the handbook that explains it.
//
//go:embed *.go handbook
var embedded embed.FS

const (
	maxDocuments = 240       // of a project
	maxDocument  = 256 << 10 // bytes; what is longer is no document to be read
)

// document is a file that agents work on. Nobody has opened it yet when it is
// listed, so it may turn out to be unreadable.
type document struct {
	Path  string // below the shelf's root, with slashes
	Bytes int64
}

// shelf is the documents of one project.
type shelf struct {
	name      string
	root      string
	documents []document // by path
}

func (s *shelf) bytes() int64 { return totalBytes(s.documents) }

func totalBytes(ds []document) (n int64) {
	for _, d := range ds {
		n += d.Bytes
	}
	return n
}

// pick returns the documents of these paths, or all for none.
func (s *shelf) pick(paths []string) []document {
	if len(paths) == 0 {
		return s.documents
	}
	var out []document
	for _, d := range s.documents {
		if slices.Contains(paths, d.Path) {
			out = append(out, d)
		}
	}
	return out
}

func (s *shelf) read(d document) ([]byte, error) {
	f, err := os.Open(filepath.Join(s.root, filepath.FromSlash(d.Path)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxDocument))
}

// openLibrary unpacks the embedded projects below workspace and lists their
// documents and those of the Go project in dir, if there is one.
func openLibrary(workspace, dir string) ([]*shelf, error) {
	if err := unpack(workspace); err != nil {
		return nil, fmt.Errorf("unpack library: %w", err)
	}
	if err := addDrafts(filepath.Join(workspace, "handbook", "drafts")); err != nil {
		return nil, fmt.Errorf("add drafts: %w", err)
	}
	shelves := []*shelf{
		{name: "handbook", root: filepath.Join(workspace, "handbook")},
		{name: "orchestrator", root: filepath.Join(workspace, "orchestrator")},
	}
	if name, ok := goProject(dir); ok {
		shelves = append(shelves, &shelf{name: name, root: dir})
	}
	for _, s := range shelves {
		if err := s.list(); err != nil {
			return nil, fmt.Errorf("list documents of %s: %w", s.name, err)
		}
	}
	return slices.DeleteFunc(shelves, func(s *shelf) bool { return len(s.documents) == 0 }), nil
}

func unpack(workspace string) error {
	return fs.WalkDir(embedded, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		to := name
		if path.Dir(name) == "." {
			to = path.Join("orchestrator", name)
		}
		to = filepath.Join(workspace, filepath.FromSlash(to))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o600)
	})
}

// addDrafts puts into the handbook what every folder of documents has sooner or
// later: a link to a text that nobody wrote, a link to itself, and a folder with
// the name of a text. Whoever opens one of them gets the system's own error.
func addDrafts(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "appendix.md"), 0o700); err != nil {
		return err
	}
	links := errors.Join(
		os.Symlink("not-written-yet.md", filepath.Join(dir, "roadmap.md")),
		os.Symlink("see-also.md", filepath.Join(dir, "see-also.md")),
	)
	if links != nil && !errors.Is(links, fs.ErrExist) && filepath.Separator == '/' {
		return links // elsewhere a link can need rights that most users lack
	}
	return nil
}

// goProject returns the name of the Go project in dir.
func goProject(dir string) (string, bool) {
	if dir == "" {
		return "", false
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", false
	}
	for line := range strings.Lines(string(mod)) {
		if module, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			name := path.Base(strings.Trim(module, `" `))
			return name, name != "handbook" && name != "orchestrator"
		}
	}
	return "", false
}

var documentTypes = []string{".go", ".md", ".ts", ".js", ".svelte", ".css", ".html", ".yml", ".yaml", ".txt", ".sql", ".proto"}

// list walks the shelf's root, leaving out hidden folders and what others made.
func (s *shelf) list() error {
	s.documents = nil
	return filepath.WalkDir(s.root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if len(s.documents) == maxDocuments {
			return fs.SkipAll
		}
		base := entry.Name()
		isDocument := slices.Contains(documentTypes, filepath.Ext(base)) && !strings.HasPrefix(base, ".")
		if entry.IsDir() && !isDocument {
			others := base == "node_modules" || base == "vendor" || base == "dist" || base == "bin"
			if name != s.root && (others || strings.HasPrefix(base, ".")) {
				return fs.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil || !isDocument || info.Size() > maxDocument {
			return nil //nolint:nilerr // a file that went away while we walked is no document
		}
		relative, err := filepath.Rel(s.root, name)
		if err != nil {
			return err
		}
		s.documents = append(s.documents, document{Path: filepath.ToSlash(relative), Bytes: info.Size()})
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}
