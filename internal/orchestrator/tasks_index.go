package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// indexing builds a text index of documents.
type indexing struct {
	shelf     *shelf
	documents []document

	mu    sync.Mutex // guards index
	index *textIndex
}

func (t *indexing) document(_ context.Context, d document, text []byte) (string, error) {
	// Indexed apart and merged, so that documents are read at the same time.
	part := newTextIndex()
	// The path belongs to it: that is what many look for.
	part.add(d.Path, d.Path+"\n"+string(text))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.index.merge(part)
	return fmt.Sprintf("Found %s, %d of them different", count(part.total, "term"), len(part.postings)), nil
}

func (t *indexing) finish() (string, any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.index
	return fmt.Sprintf("Indexed %s: %s, %d of them different", count(len(x.documents), "document"), count(x.total, "term"), len(x.postings)),
		map[string]int{"documents": len(x.documents), "terms": x.total, "different_terms": len(x.postings)}
}

// check searches for the title of some documents and expects each among the
// first three that the index finds.
func (t *indexing) check(context.Context) ([]check, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var checks []check
	for _, d := range extremes(t.documents, func(d document) bool { return slices.Contains(t.index.documents, d.Path) }) {
		text, err := t.shelf.read(d)
		if err != nil {
			return nil, &unreadableError{path: d.Path, err: err}
		}
		query := titleOf(d, text)
		found := slices.ContainsFunc(t.index.search(query, 3), func(h hit) bool { return h.document == d.Path })
		checks = append(checks, check{fmt.Sprintf("a search for %q finds %s", query, d.Path), found})
	}
	return checks, nil
}

// titleOf returns what a reader would look a document up by: its first headings.
func titleOf(d document, text []byte) string {
	titles := markdownTitles(text)
	if strings.HasSuffix(d.Path, ".go") {
		if found, err := goHeadings(d.Path, text); err == nil {
			titles = found.titles
		}
	}
	if len(titles) == 0 {
		return strings.NewReplacer("/", " ", ".", " ", "_", " ").Replace(d.Path)
	}
	return strings.Join(titles[:min(3, len(titles))], " ")
}
