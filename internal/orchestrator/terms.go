package orchestrator

import (
	"iter"
	"strings"
	"unicode"
)

// terms yields the words of a text that can be searched for, in lower case:
// letters and digits, three at least.
func terms(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if len(word) >= 3 && !yield(strings.ToLower(word)) {
				return
			}
		}
	}
}

// termSet is the distinct terms of some texts.
type termSet map[string]struct{}

func termsOf(texts ...string) termSet {
	set := termSet{}
	for _, text := range texts {
		for term := range terms(text) {
			set[term] = struct{}{}
		}
	}
	return set
}

func (s termSet) common(t termSet) (n int) {
	for term := range s {
		if _, ok := t[term]; ok {
			n++
		}
	}
	return n
}

// within returns the share of s that t has too, 0 for an empty s.
func (s termSet) within(t termSet) float64 {
	if len(s) == 0 {
		return 0
	}
	return float64(s.common(t)) / float64(len(s))
}

// likeness returns the Jaccard index of both sets: 1 for the same, 0 for
// nothing in common.
func (s termSet) likeness(t termSet) float64 {
	common := s.common(t)
	if all := len(s) + len(t) - common; all > 0 {
		return float64(common) / float64(all)
	}
	return 0
}
