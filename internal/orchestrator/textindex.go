package orchestrator

import (
	"cmp"
	"math"
	"slices"
)

// textIndex is an inverted index: for each term the documents that have it.
type textIndex struct {
	documents []string
	lengths   []int // terms of each document
	postings  map[string][]posting
	total     int // terms of all documents
}

type posting struct{ document, count int }

type hit struct {
	document string
	score    float64
}

func newTextIndex() *textIndex { return &textIndex{postings: map[string][]posting{}} }

func (x *textIndex) add(document, text string) {
	counts := map[string]int{}
	length := 0
	for term := range terms(text) {
		counts[term]++
		length++
	}
	n := len(x.documents)
	x.documents = append(x.documents, document)
	x.lengths = append(x.lengths, length)
	x.total += length
	for term, count := range counts {
		x.postings[term] = append(x.postings[term], posting{n, count})
	}
}

// merge adds what another index has.
func (x *textIndex) merge(y *textIndex) {
	shift := len(x.documents)
	x.documents = append(x.documents, y.documents...)
	x.lengths = append(x.lengths, y.lengths...)
	x.total += y.total
	for term, list := range y.postings {
		for _, p := range list {
			x.postings[term] = append(x.postings[term], posting{shift + p.document, p.count})
		}
	}
}

// search returns the best limit documents for the terms of a query, best first,
// ranked by BM25 with its usual constants.
func (x *textIndex) search(query string, limit int) []hit {
	const k1, b = 1.2, 0.75
	mean := float64(x.total) / float64(max(len(x.documents), 1))
	scores := map[int]float64{}
	for term := range termsOf(query) {
		list := x.postings[term]
		n := float64(len(list))
		rarity := math.Log(1 + (float64(len(x.documents))-n+0.5)/(n+0.5))
		for _, p := range list {
			count := float64(p.count)
			scores[p.document] += rarity * count * (k1 + 1) / (count + k1*(1-b+b*float64(x.lengths[p.document])/mean))
		}
	}
	hits := make([]hit, 0, len(scores))
	for document, score := range scores {
		hits = append(hits, hit{x.documents[document], score})
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.document, b.document))
	})
	return hits[:min(limit, len(hits))]
}
