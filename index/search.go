package index

import (
	"bytes"
	"slices"
	"sort"
	"strings"
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

// needlesOf returns what a record must hold that the filter selects.
func needlesOf(f *activity.Filter) (needles []needle) {
	for _, term := range f.Terms {
		needles = append(needles, newNeedle(term))
	}
	for i := range f.Attrs {
		if n, ok := attrNeedle(&f.Attrs[i]); ok {
			needles = append(needles, n)
		}
	}
	return needles
}

// attrNeedle returns what a record must hold in which an attribute has the
// value's text, and false when that can't be told of its bytes: booleans and
// lists are not written as their text.
func attrNeedle(f *activity.AttrFilter) (needle, bool) {
	if len(f.Values) != 1 || f.Key == activity.KeyState || f.Key == activity.KeyType {
		return needle{}, false
	}
	switch v := f.Values[0]; {
	case v == "", v == "true", v == "false", v == "null", v[0] == '[', v[0] == '{', v[0] == '"', strings.ContainsFunc(v, func(r rune) bool { return r > '~' }):
		return needle{}, false
	default:
		return newNeedle(strings.ToLower(v)), true
	}
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
	for pos := 0; ; {
		if pos = n.next(text, form, pos); pos < 0 {
			return any
		}
		row := sort.Search(seg.n, func(i int) bool { return int(seg.end[i]) > pos })
		set.add(row)
		any = true
		pos = int(seg.end[row]) // one find a row is enough
	}
}

// next returns where form stands from pos on as the term has it, or -1.
func (n *needle) next(text, form []byte, pos int) int {
	ascii := form[0] < utf8.RuneSelf
	for ; pos < len(text); pos++ {
		var k int
		if len(form) == 1 {
			k = bytes.IndexByte(text[pos:], form[0])
		} else {
			k = bytes.Index(text[pos:], form)
		}
		if k < 0 {
			return -1
		}
		if pos += k; !ascii || n.matches(text, pos-n.at) {
			return pos
		}
	}
	return -1
}

// in reports whether the term may stand in a text.
func (n *needle) in(text []byte) bool {
	return slices.ContainsFunc(n.forms, func(form []byte) bool { return n.next(text, form, 0) >= 0 })
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
