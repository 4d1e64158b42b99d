package orchestrator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
)

// inventory hashes documents, so that copies and changes show.
type inventory struct {
	shelf     *shelf
	documents []document

	mu     sync.Mutex // guards hashes
	hashes map[string]digest
}

type digest struct {
	sum   [sha256.Size]byte
	lines int
}

func (t *inventory) document(_ context.Context, d document, text []byte) (string, error) {
	found := digest{sum: sha256.Sum256(text), lines: bytes.Count(text, []byte{'\n'})}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hashes[d.Path] = found
	return fmt.Sprintf("SHA-256 is %s…, %s", hex.EncodeToString(found.sum[:6]), count(found.lines, "line")), nil
}

func (t *inventory) finish() (string, any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	distinct := map[[sha256.Size]byte]bool{}
	lines := 0
	for _, d := range t.hashes {
		distinct[d.sum] = true
		lines += d.lines
	}
	copies := len(t.hashes) - len(distinct)
	did := fmt.Sprintf("Hashed %s with %s", count(len(t.hashes), "document"), count(lines, "line"))
	if copies > 0 {
		did += fmt.Sprintf("; %s found twice", count(copies, "document"))
	}
	return did, map[string]int{"documents": len(t.hashes), "lines": lines, "copies": copies}
}

// check hashes the smallest and the largest document again.
func (t *inventory) check(context.Context) ([]check, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var checks []check
	for _, d := range extremes(t.documents, func(d document) bool { _, ok := t.hashes[d.Path]; return ok }) {
		text, err := t.shelf.read(d)
		if err != nil {
			return nil, &unreadableError{path: d.Path, err: err}
		}
		checks = append(checks, check{"hash of " + d.Path + " is still the same", sha256.Sum256(text) == t.hashes[d.Path].sum})
	}
	return checks, nil
}

// extremes returns the smallest and the largest of the documents that count.
func extremes(ds []document, counts func(document) bool) []document {
	var out []document
	for _, d := range ds {
		switch {
		case !counts(d):
		case len(out) == 0:
			out = append(out, d)
		case len(out) == 1 && d.Bytes < out[0].Bytes:
			out = []document{d, out[0]}
		case len(out) == 1:
			out = append(out, d)
		case d.Bytes < out[0].Bytes:
			out[0] = d
		case d.Bytes > out[1].Bytes:
			out[1] = d
		}
	}
	return out
}
