package activity

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Filter selects activities. Its zero value selects all; of several values for
// one field any will do, and all fields that are set must hold.
type Filter struct {
	Types    []Type
	States   []State
	Stalled  *bool
	Services []string
	Agents   []string
	Threads  []string
	Traces   []TraceID
	Parents  []ID
	// Terms are words and phrases, in the form that Terms gives: every one must
	// stand in the activity's name, descriptions, error, result or a string or
	// number of its attributes, in any case, as a part of a word too.
	Terms []string
	// Since and Until select what overlaps them; 0 is no bound.
	Since, Until Time
	// MinDuration and MaxDuration bound the time at work, of an open activity
	// that until now; 0 is no bound. What never started has no duration.
	MinDuration, MaxDuration time.Duration
	Attrs                    []AttrFilter
}

// AttrFilter selects activities by the text of one attribute.
type AttrFilter struct {
	Key    string
	Values []string
}

// Match reports whether the filter selects a, at the time now.
func (f *Filter) Match(a *Activity, now Time) bool {
	if !f.MatchHead(&a.Head, now) {
		return false
	}
	if f.Stalled != nil && *f.Stalled != a.Stalled {
		return false
	}
	if len(f.Agents) > 0 && !slices.Contains(f.Agents, a.Agent) {
		return false
	}
	for i := range f.Attrs {
		v := a.Attr(f.Attrs[i].Key)
		if v.Kind() == KindEmpty || !v.isOneOf(f.Attrs[i].Values) {
			return false
		}
	}
	for _, term := range f.Terms {
		if !a.contains(term) {
			return false
		}
	}
	return true
}

// MatchHead reports whether the filter can select the activity of h: it judges
// all but the agent, which an ancestor may give, the flag stalled, and what
// only the whole activity holds.
func (f *Filter) MatchHead(h *Head, now Time) bool {
	if len(f.Types) > 0 && !slices.Contains(f.Types, h.Type) ||
		len(f.States) > 0 && !slices.Contains(f.States, h.State) ||
		len(f.Services) > 0 && !slices.Contains(f.Services, h.Service()) ||
		len(f.Threads) > 0 && !slices.Contains(f.Threads, h.ThreadID) ||
		len(f.Traces) > 0 && !slices.Contains(f.Traces, h.ID.Trace) ||
		len(f.Parents) > 0 && !slices.Contains(f.Parents, h.Parent) {
		return false
	}
	if f.Until != 0 && h.PlannedAt > f.Until {
		return false
	}
	if f.Since != 0 && h.EndedAt != 0 && h.EndedAt < f.Since {
		return false
	}
	if f.MinDuration != 0 || f.MaxDuration != 0 {
		d, ok := h.Duration(now)
		if !ok || d < f.MinDuration || f.MaxDuration != 0 && d > f.MaxDuration {
			return false
		}
	}
	return true
}

// HeadOnly reports whether MatchHead decides alone.
func (f *Filter) HeadOnly() bool {
	return f.Stalled == nil && len(f.Agents) == 0 && len(f.Attrs) == 0 && len(f.Terms) == 0
}

func (a *Activity) contains(term string) bool {
	for _, s := range [...]string{a.Name, a.Planned, a.Current, a.Final, a.Result} {
		if ContainsFold(s, term) {
			return true
		}
	}
	if e := a.Error; e != nil && (ContainsFold(e.Message, term) || ContainsFold(e.Type, term) || ContainsFold(e.Stack, term)) {
		return true
	}
	for i := range a.Attributes {
		if isCoded(a.Attributes[i].Key) {
			continue
		}
		if a.Attributes[i].Value.contains(term) {
			return true
		}
	}
	return false
}

// isOneOf reports whether the value's Text is any of texts.
func (v Value) isOneOf(texts []string) bool {
	if v.kind == KindString {
		return slices.Contains(texts, v.str)
	}
	var buf [64]byte
	b := v.appendText(buf[:0])
	return slices.ContainsFunc(texts, func(text string) bool { return text == string(b) })
}

// contains searches the strings and numbers of a value, each on its own.
func (v Value) contains(term string) bool {
	switch v.kind {
	case KindString:
		return ContainsFold(v.str, term)
	case KindInt, KindFloat:
		var text [32]byte
		return ContainsFold(string(v.AppendJSON(text[:0])), term)
	case KindSlice:
		return slices.ContainsFunc(v.Slice(), func(e Value) bool { return e.contains(term) })
	case KindMap:
		return slices.ContainsFunc(v.Map(), func(e Attr) bool { return e.Value.contains(term) })
	}
	return false
}

// isCoded reports whether an attribute is no text of the activity: its type,
// state and times have filters of their own.
func isCoded(key string) bool {
	switch key {
	case KeyType, KeyState, KeyProgress, KeyPlannedAt, KeyStartedAt, KeyLongRunning, KeyResultTruncated:
		return true
	}
	return false
}

// Terms splits a search text into the terms that a Filter takes: words apart
// at white space, phrases between double quotes, all in lower case. A quote
// that is not closed runs to the end.
func Terms(q string) []string {
	var terms []string
	for q != "" {
		if q[0] == '"' {
			phrase, rest, _ := strings.Cut(q[1:], `"`)
			if phrase = strings.TrimSpace(phrase); phrase != "" {
				terms = append(terms, strings.ToLower(phrase))
			}
			q = rest
			continue
		}
		end := strings.IndexFunc(q, func(r rune) bool { return unicode.IsSpace(r) || r == '"' })
		switch {
		case end < 0:
			return append(terms, strings.ToLower(q))
		case end > 0:
			terms = append(terms, strings.ToLower(q[:end]))
		}
		q = q[end:]
		if r, size := utf8.DecodeRuneInString(q); unicode.IsSpace(r) {
			q = q[size:]
		}
	}
	return terms
}

// ContainsFold reports whether s contains term, which is in lower case, in any
// case of its letters.
func ContainsFold(s, term string) bool {
	if term == "" {
		return true
	}
	if !isASCII(term) {
		return strings.Contains(strings.ToLower(s), term)
	}
	last := len(s) - len(term)
	lower := term[0]
	upper := lower
	if 'a' <= lower && lower <= 'z' {
		upper -= 'a' - 'A'
	}
	for i := 0; i <= last; i++ {
		if c := s[i]; (c == lower || c == upper) && equalFoldASCII(s[i:i+len(term)], term) {
			return true
		}
	}
	return false
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func equalFoldASCII(s, lower string) bool {
	for i := range len(lower) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
