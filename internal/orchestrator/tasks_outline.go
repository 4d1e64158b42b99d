package orchestrator

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// outline parses documents: Go sources by Go's own parser, all others for
// Markdown's headings and links. It follows links to other documents.
type outline struct {
	shelf     *shelf
	documents []document

	mu    sync.Mutex // guards found
	found map[string]headings
}

type headings struct {
	titles  []string // functions and types of a Go source
	longest int      // lines of the longest function
	broken  []string // links that lead nowhere
}

var (
	markdownHeading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	markdownLink    = regexp.MustCompile(`\]\(([^)#?\s]+)[^)]*\)`)
)

func (t *outline) document(_ context.Context, d document, text []byte) (string, error) {
	var found headings
	if strings.HasSuffix(d.Path, ".go") {
		var err error
		if found, err = goHeadings(d.Path, text); err != nil {
			return "", fmt.Errorf("parse %s: %w", d.Path, err)
		}
	} else {
		found = headings{titles: markdownTitles(text), broken: t.brokenLinks(d, text)}
	}
	if len(found.titles) == 0 {
		found.titles = []string{firstLine(text)}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found[d.Path] = found
	did := fmt.Sprintf("Found %s: %s", count(len(found.titles), "heading"), some(found.titles, 3))
	if len(found.broken) > 0 {
		did += "; broken links: " + some(found.broken, 3)
	}
	return did, nil
}

func markdownTitles(text []byte) (titles []string) {
	for _, m := range markdownHeading.FindAllSubmatch(text, -1) {
		titles = append(titles, string(m[1]))
	}
	return titles
}

// firstLine stands for the heading of a document without any.
func firstLine(text []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte{'\n'})
	return strings.ToValidUTF8(string(line[:min(60, len(line))]), "")
}

func goHeadings(name string, text []byte) (headings, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, text, parser.SkipObjectResolution)
	if err != nil {
		return headings{}, err
	}
	var found headings
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			found.titles = append(found.titles, decl.Name.Name)
			found.longest = max(found.longest, files.Position(decl.End()).Line-files.Position(decl.Pos()).Line+1)
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if spec, ok := spec.(*ast.TypeSpec); ok {
					found.titles = append(found.titles, spec.Name.Name)
				}
			}
		}
	}
	return found, nil
}

// brokenLinks returns the links to files that are not there.
func (t *outline) brokenLinks(d document, text []byte) (broken []string) {
	dir := filepath.Dir(filepath.Join(t.shelf.root, filepath.FromSlash(d.Path)))
	for _, m := range markdownLink.FindAllSubmatch(text, -1) {
		link := string(m[1])
		if strings.Contains(link, ":") || strings.HasPrefix(link, "/") {
			continue // not a file beside this one
		}
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(link))); err != nil {
			broken = append(broken, link)
		}
	}
	return broken
}

func (t *outline) finish() (string, any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	titles, longest, broken := 0, 0, []string{}
	for name, found := range t.found {
		titles += len(found.titles)
		longest = max(longest, found.longest)
		for _, link := range found.broken {
			broken = append(broken, name+" → "+link)
		}
	}
	did := fmt.Sprintf("Parsed %s with %s", count(len(t.found), "document"), count(titles, "heading"))
	if longest > 0 {
		did += fmt.Sprintf("; the longest function has %s", count(longest, "line"))
	}
	if len(broken) > 0 {
		did += "; broken links: " + some(broken, 2)
	}
	return did, map[string]any{"documents": len(t.found), "headings": titles, "longest_function_lines": longest, "broken_links": broken}
}

// check looks for the headings of the smallest and the largest document in
// their text, without a parser.
func (t *outline) check(context.Context) ([]check, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var checks []check
	for _, d := range extremes(t.documents, func(d document) bool { _, ok := t.found[d.Path]; return ok }) {
		text, err := t.shelf.read(d)
		if err != nil {
			return nil, &unreadableError{path: d.Path, err: err}
		}
		missing := 0
		for _, title := range t.found[d.Path].titles {
			if !bytes.Contains(text, []byte(title)) {
				missing++
			}
		}
		checks = append(checks, check{"headings stand in " + d.Path, missing == 0})
	}
	return checks, nil
}
