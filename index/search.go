package index

import (
	"bytes"
	"sort"
	"unicode"
	"unicode/utf8"

	"github.com/midspan/midspan/activity"
)

// needle finds the rows whose text may contain a term. It looks at the records'
// bytes as they stand: each string in them is plain text, so a term of a row is
// always found; what is found beside (a description of before, a piece of
// coding) is judged again on the decoded activity.
type needle struct {
	term   string // in lower case
	at     int    // in term, of what is looked for first
	forms  [][]byte
	common int // how often that stands in text; small is rare
}

// newNeedle picks what is looked for: of an ASCII term its longest stretch
// without letters, if that is of some length, or else its rarest letter, in
// either case; of any other its first rune beyond ASCII, in all its cases.
func newNeedle(term string) needle {
	n := needle{term: term, common: 1 << 30}
	run := 0 // bytes without case up to here
	for i, r := range term {
		if r >= utf8.RuneSelf {
			n.at, n.common, n.forms = i, 0, nil
			for f := r; ; {
				n.forms = append(n.forms, utf8.AppendRune(nil, f))
				if f = unicode.SimpleFold(f); f == r {
					break
				}
			}
			return n
		}
		if unicode.IsLetter(r) {
			run = 0
		} else if run++; run >= 3 && -run < n.common {
			n.at, n.common = i+1-run, -run
			n.forms = [][]byte{[]byte(term[n.at : i+1])}
		}
		if f := byteFrequency(byte(r)); f < n.common {
			n.at, n.common = i, f
			n.forms = [][]byte{{byte(r)}}
			if upper := unicode.ToUpper(r); upper != r {
				n.forms = append(n.forms, []byte{byte(upper)})
			}
		}
	}
	return n
}

// byteFrequency tells roughly how many of a thousand bytes of such texts are c.
func byteFrequency(c byte) int {
	const letters = "zqjxkvbpygfwmucldrhsnioate" // by rising frequency in English
	for i := range len(letters) {
		if letters[i] == c {
			return 1 + 4*i
		}
	}
	switch {
	case '0' <= c && c <= '9':
		return 25
	case c == ' ':
		return 150
	}
	return 5
}

// rows returns the rows of a segment that may contain the term, or nil.
func (n *needle) rows(seg *segment) *rowSet {
	set := &rowSet{}
	any := false
	text := seg.text
	for _, form := range n.forms {
		any = n.find(seg, text, form, set) || any
	}
	names := make([]bool, seg.names.len())
	named := false
	for k := range names {
		names[k] = activity.ContainsFold(seg.names.text(uint16(k)), n.term)
		named = named || names[k]
	}
	if named {
		for i := range seg.n {
			if names[seg.name[i]] {
				set.add(i)
				any = true
			}
		}
	}
	if !any {
		return nil
	}
	return set
}

// find adds the rows in which form stands where the term has it.
func (n *needle) find(seg *segment, text, form []byte, set *rowSet) (any bool) {
	ascii := form[0] < utf8.RuneSelf
	for pos := 0; pos < len(text); {
		var k int
		if len(form) == 1 {
			k = bytes.IndexByte(text[pos:], form[0])
		} else {
			k = bytes.Index(text[pos:], form)
		}
		if k < 0 {
			return any
		}
		pos += k
		if !ascii || n.matches(text, pos-n.at) {
			row := sort.Search(seg.n, func(i int) bool { return int(seg.end[i]) > pos })
			set.add(row)
			any = true
			pos = int(seg.end[row]) // one find a row is enough
			continue
		}
		pos++
	}
	return any
}

// matches reports whether the ASCII term stands at text[start:].
func (n *needle) matches(text []byte, start int) bool {
	if start < 0 || start+len(n.term) > len(text) {
		return false
	}
	for i := range len(n.term) {
		c := text[start+i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != n.term[i] {
			return false
		}
	}
	return true
}

// rowSet is a set of rows of one segment.
type rowSet [rowsPerSegment / 64]uint64

func (s *rowSet) add(i int) { s[i/64] |= 1 << (i % 64) }
