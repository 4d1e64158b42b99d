package redact

import (
	"slices"
	"strings"
)

const (
	maxRandom = 512     // bytes of a value that is looked at for being random
	maxLook   = 8 << 10 // bytes of a line
)

// valueSpan is where a value stands in a text.
type valueSpan struct {
	from, to int
	quote    string // what stands around it: "\"", "'", or with backslashes; empty for a bare word
	spaced   bool   // space stands before it
	bracket  bool   // an array or object, brackets included
}

// assignment looks at both sides of a sign such as "=": is the left one the
// name of a secret? It returns where to go on.
func (sc *scanner) assignment(i, sign int) int {
	s := sc.s
	next := i + sign
	begin, end, quoted := nameBefore(s, i)
	if begin == end {
		return next
	}
	class := sc.classAt(begin, end)
	if class == plain && begin > 0 && s[begin-1] == '\\' && strings.IndexByte("nrt", s[begin]) >= 0 {
		begin++ // of an escape, not of the name
		class = sc.classAt(begin, end)
	}
	if class == plain {
		switch name := s[begin:end]; {
		case strings.EqualFold(name, "value"):
			class = sc.pairClass(begin)
		case strings.EqualFold(name, "kind"):
			sc.kubernetes(next)
		}
	}
	if class < weak {
		return next
	}
	colon := sign == 1 && s[i] == ':' || sign == 3 && s[i+2]|0x20 == 'a'
	if colon && !quoted && begin > 0 && (s[begin-1] == '/' || s[begin-1] == ':') {
		return next // a path and its line, an image and its tag, an ARN
	}
	for next < len(s) && next < i+sign+2 && strings.IndexByte("=>~", s[next]) >= 0 {
		next++
	}
	v := sc.valueOf(class, next)
	if !quoted {
		if strings.ContainsAny(s[next:v.from], "\r\n") || v.quote != "" && endsQuoted(s[v.from:]) {
			return next // the line or the quoted text ends, and there is no value
		}
	}
	if sign == 3 {
		v = encodedValueAt(s, next)
	}
	if v.from == v.to || v.to > len(s) {
		return next
	}
	if v.bracket {
		if class < denied && !class.takesWord(s[v.from:v.to]) || sign == 3 || isEmptyBracket(s[v.from:v.to]) {
			return next
		}
		q := ""
		if quoted {
			q = quoteOf(s[begin-1-backslashes(s, begin-1):])
		}
		sc.cuts = append(sc.cuts, cut{v.from, v.to, byAssignment, q})
		return v.to
	}
	if class == deniedLine && v.quote == "" && colon && !quoted {
		if v.from < sc.dull {
			return next
		}
		v.to = lineEnd(s, v.from)
		if v.to == v.from || !isTelling(s[v.from:v.to]) && !strings.Contains(s[v.from:v.to], "=") {
			sc.dull = v.to
			return next
		}
		return sc.found(v.from, v.to, byAssignment)
	}
	v = withoutScheme(s, v)
	value := s[v.from:v.to]
	switch {
	case value == "" || isPlaceholder(value) || isReplacement(value):
		return next
	case !class.takes(value):
		return next
	case v.quote == "" && quoted && v.to > v.from: // a number or a word of JSON
		if value == "true" || value == "false" || value == "null" {
			return next
		}
		sc.cuts = append(sc.cuts, cut{v.from, v.to, byAssignment, quoteOf(s[end:])})
		return v.to
	case v.quote == "" && (colon || v.spaced) && class >= denied && !sc.isStrong(begin, end) && !isTelling(value):
		return next // "unexpected token: end of file"
	}
	return sc.found(v.from, v.to, byAssignment)
}

// valueOf finds the value at a place. For a weak name it does not look as far
// as for one whose value is taken out in any case: a text of nothing but weak
// names is looked at in a time that grows with its length.
func (sc *scanner) valueOf(of class, at int) valueSpan {
	if of < denied {
		return valueAt(sc.s[:min(len(sc.s), at+maxRandom+16)], at)
	}
	return valueAt(sc.s, at)
}

// classAt returns the class of a name in the text. "API key" is two words of one.
func (sc *scanner) classAt(begin, end int) class {
	s := sc.s
	name := strings.Trim(s[begin:end], "-._")
	if name == "" || len(name) > maxSeenKey {
		return plain
	}
	class := sc.keys.of(name).class
	if class == plain && begin > 1 && s[begin-1] == ' ' && isOneOf(name, "key", "id", "number", "code", "phrase") {
		from := identifier(s, begin-1)
		class = sc.keys.of(s[from:end]).class
	}
	return class
}

// isStrong reports whether a name is that of a password: an ordinary word may
// be one.
func (sc *scanner) isStrong(begin, end int) bool {
	n := normal(sc.s[begin:end])
	return strings.Contains(n, "passw") || strings.HasSuffix(n, "pwd") || strings.HasSuffix(n, "passphrase")
}

// pairClass returns the class of the name in a pair: {"name":"Cookie","value":…
// or <add key="Password" value=…, of which the value begins at the given place.
func (sc *scanner) pairClass(value int) class {
	s := sc.s
	end := value
	for end > 0 && strings.IndexByte(" \t\r\n,\"'\\", s[end-1]) >= 0 {
		end--
	}
	if end == value || end == 0 {
		return plain
	}
	begin := identifier(s, end)
	if begin == end || begin == 0 || s[begin-1] != '"' && s[begin-1] != '\'' {
		return plain
	}
	return sc.keys.of(s[begin:end]).class
}

// element looks at the text of an XML element named as a secret.
func (sc *scanner) element(i int) int {
	s := sc.s
	begin := identifier(s, i)
	if begin == i || begin == 0 || s[begin-1] != '<' {
		return i + 1
	}
	class := sc.classAt(begin, i)
	end := strings.IndexByte(s[i:], '<')
	if end < 0 {
		end = len(s) - i
	}
	if value := s[i+1 : i+end]; value == "" || !class.takes(value) || isPlaceholder(value) {
		return i + 1
	}
	return sc.found(i+1, i+end, byAssignment)
}

// nameBefore finds the name to the left of a sign, and whether it stands in
// quotes: password=, "password": or headers["password"] =.
func nameBefore(s string, i int) (begin, end int, quoted bool) {
	end = i
	for end > 0 && i-end < 3 && s[end-1] == ' ' {
		end--
	}
	if end > 0 && s[end-1] == ']' {
		end--
	}
	if end > 2 && s[end-3] == '%' && s[end-2] == '2' && (s[end-1] == '2' || s[end-1] == '7') { // an encoded quote
		end -= 3
	}
	if end > 0 && strings.IndexByte("\"'`", s[end-1]) >= 0 {
		end--
		quoted = true
		for end > 0 && s[end-1] == '\\' {
			end--
		}
	}
	begin = identifier(s, end)
	if begin >= 2 && s[begin-1] == '%' { // the digits of an encoded byte are no part of the name
		if end-begin > 2 && isHex(s[begin]) && isHex(s[begin+1]) {
			begin += 2
		}
	}
	if quoted && (begin == 0 || strings.IndexByte("\"'`", s[begin-1]) < 0) {
		quoted = false
	}
	return begin, end, quoted
}

// identifier returns where the name that ends at a place begins.
func identifier(s string, end int) int {
	begin := end
	for begin > 0 && end-begin < maxSeenKey && (table[s[begin-1]]&(alnum|dash) != 0 || s[begin-1] == '.') {
		begin--
	}
	return begin
}

// valueAt finds the value that begins at a place, after some space.
func valueAt(s string, at int) valueSpan {
	from := at
	for from < len(s) && from-at < 16 && table[s[from]]&space != 0 {
		from++
	}
	v := valueSpan{from: from, to: from, spaced: from > at}
	if from == len(s) {
		return v
	}
	if s[from] == '[' || s[from] == '{' {
		if end := balanced(s, from); end > from+1 && !strings.HasPrefix(s[from:], "{{") && !strings.HasPrefix(s[from:], removed) {
			v.to, v.bracket = end, true
			return v
		}
	}
	open := from + wrapper(s[from:])
	for open < len(s) && s[open] == '\\' {
		open++
	}
	if open < len(s) && strings.IndexByte("\"'`", s[open]) >= 0 {
		v.quote = strings.TrimLeft(s[from:open+1], wrapping)
		v.from = open + 1
		v.to = v.from + closing(s[v.from:], v.quote)
		return v
	}
	v.to = from + bareEnd(s[from:])
	return v
}

// wrapping are the bytes that a wrapper is made of.
const wrapping = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz("

// wrapper returns how long the name of a type is that stands around a quoted
// value, as in Some("…") and SecretStr('…'), up to the quote, or 0.
func wrapper(s string) int {
	n := 0
	for n < len(s) && n < 32 && (isLower(s[n]) || isUpper(s[n]) || s[n] == '(' && n > 0) {
		n++
	}
	if n < 2 || n == len(s) || s[n-1] != '(' || strings.IndexByte("\\\"'`", s[n]) < 0 {
		return 0
	}
	return n
}

// closing returns where a quoted text ends: at its quote, with as many
// backslashes before it as the opening one has, or at the end of what was cut.
func closing(s, quote string) int {
	escapes := len(quote) - 1
	for i := range len(s) {
		if s[i] != quote[escapes] {
			continue
		}
		if before := backslashes(s, i); before <= escapes {
			return i - before
		}
	}
	return len(s)
}

// endsQuoted reports whether what follows a quote says that it was a closing one.
func endsQuoted(s string) bool { return s == "" || strings.IndexByte(",]}:)", s[0]) >= 0 }

// backslashes counts those before a place.
func backslashes(s string, at int) int {
	n := 0
	for at-n > 0 && s[at-n-1] == '\\' {
		n++
	}
	return n
}

// bareEnd returns where a value without quotes ends. Signs that separate values
// may also stand in a password: they end it where another name follows.
func bareEnd(s string) int {
	end := 0
loop:
	for ; end < len(s); end++ {
		switch c := s[end]; c {
		case ' ', '\t', '\r', '\n', '"', '\'', '`', '<', '>':
			break loop
		case '\\':
			if escapes(s[end:]) {
				break loop
			}
			for end+1 < len(s) && s[end+1] == '\\' {
				end++
			}
		case '&', ',', ';', '#', '|':
			if separates(s[end+1:]) {
				break loop
			}
		}
	}
	return len(strings.TrimRight(s[:end], ")]},.;:!?"))
}

// escapes reports whether backslashes make a quote or the end of a line of what
// follows them.
func escapes(s string) bool {
	rest := strings.TrimLeft(s, `\`)
	return rest != "" && strings.IndexByte(`nrt"'`, rest[0]) >= 0
}

// separates reports whether what follows a separator is the end, a space or the
// next name.
func separates(s string) bool {
	i := 0
	for i < len(s) && (table[s[i]]&(alnum|dash) != 0 || s[i] == '.') {
		i++
	}
	if i == len(s) {
		return i == 0
	}
	return i == 0 && (table[s[0]]&space != 0 || s[0] == '"' || s[0] == '\'') || i > 0 && (s[i] == '=' || s[i] == ':')
}

// encodedValueAt finds a value in URL encoding.
func encodedValueAt(s string, at int) valueSpan {
	v := valueSpan{from: at}
	if strings.HasPrefix(s[at:], "%22") || strings.HasPrefix(s[at:], "%27") {
		v.from, v.quote = at+3, s[at:at+3]
	}
	end := strings.IndexAny(s[v.from:], "& \t\r\n\"'")
	if end < 0 {
		end = len(s) - v.from
	}
	for _, stop := range []string{v.quote, "%26", "%2C", "%7D", "%3B"} {
		if at := strings.Index(s[v.from:v.from+end], stop); stop != "" && at >= 0 {
			end = at
		}
	}
	v.to = v.from + end
	return v
}

// withoutScheme leaves the scheme of an Authorization header where it is.
func withoutScheme(s string, v valueSpan) valueSpan {
	word := tokenEnd(s[:v.to], v.from, "")
	if !isOneOf(s[v.from:word], "bearer", "basic", "token", "apikey", "digest", "negotiate", "ntlm", "splunk", "geniekey", "bot") {
		return v
	}
	from := word
	for from < len(s) && s[from] == ' ' {
		from++
	}
	switch {
	case from == word:
		return v
	case isOneOf(s[v.from:word], "digest"):
		v.to = lineEnd(s[:min(len(s), from+maxRandom)], from)
	case v.quote == "":
		v.to = from + bareEnd(s[from:])
	}
	v.from = min(from, v.to)
	v.spaced = false
	return v
}

// lineEnd returns where a line ends, or the quotes around it.
func lineEnd(s string, at int) int {
	s = s[:min(len(s), at+maxLook)]
	for end := at; end < len(s); end++ {
		switch s[end] {
		case '\n', '\r', '"', '\'', '`':
			return end
		case '\\':
			if escapes(s[end:]) {
				return end
			}
			for end+1 < len(s) && s[end+1] == '\\' {
				end++
			}
		}
	}
	return len(s)
}

// balanced returns where the array or object that begins at a place ends, or
// the end of what was cut.
func balanced(s string, at int) int {
	depth, quoted := 0, false
	for i := at; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i+1 < len(s) && s[i+1] != '"' {
				i++
			}
		case '"':
			quoted = !quoted
		case '[', '{':
			if !quoted {
				depth++
			}
		case ']', '}':
			if !quoted {
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	return len(s)
}

func isEmptyBracket(s string) bool { return strings.Trim(s, "[]{} \t\r\n") == "" }

// isPlaceholder reports whether a value stands for one that is elsewhere, or
// says that there is none.
func isPlaceholder(s string) bool {
	switch s[0] {
	case '?', '<':
		return len(s) == 1 || s[0] == '<'
	case '$':
		return len(s) > 1 && (isDigit(s[1]) && len(s) < 5 || s[1] == '{' || s[1] == '(')
	case '{':
		return strings.HasPrefix(s, "{{")
	case '%':
		return len(s) < 4
	case ':', '@':
		return len(s) < 32 && len(s) > 1 && isLower(s[1]) && !hasDigit(s)
	}
	if strings.Trim(s, "*.") == "" || len(s) > 2 && strings.Trim(s, "xX") == "" || strings.HasPrefix(s, removed[:len(removed)-1]) {
		return true
	}
	return isOneOf(s, "null", "nil", "none", "true", "false", "undefined", "empty", "missing", "invalid", "required", "expired",
		"incorrect", "wrong", "unset", "redacted", "filtered", "hidden", "must", "should", "is", "was", "not", "cannot", "yes", "no",
		"optional", "string", "ok", "failed", "denied", "changed", "unknown", "absent", "present", "and", "or", "for", "the", "of")
}

// isTelling reports whether a bare word is no word of a sentence.
func isTelling(s string) bool {
	if len(s) < 6 || isVersion(s) {
		return false
	}
	return hasDigit(s) || hasInnerCapital(s) || len(s) > 30 && strings.IndexByte(s, ' ') < 0
}

// isVersion reports whether a text is numbers and dots.
func isVersion(s string) bool {
	return strings.Trim(strings.TrimPrefix(s, "v"), "0123456789.") == "" && strings.IndexByte(s, '.') > 0
}

// isRandom reports whether a value looks like an id or a key that a machine
// made: one long word with digits of many different characters.
func isRandom(s string) bool {
	if len(s) < 14 || len(s) > maxRandom || s[0] == '/' {
		return false
	}
	var seen [256]bool
	different, digits := 0, 0
	for i := range len(s) {
		c := s[i]
		if table[c]&(alnum|dash) == 0 && strings.IndexByte(".+/=~|%:", c) < 0 {
			return false
		}
		if isDigit(c) {
			digits++
		}
		if !seen[c] {
			seen[c] = true
			different++
		}
	}
	return (digits >= 2 || digits == 1 && hasInnerCapital(s)) && different >= 6 && !strings.Contains(s, "://") && !isVersion(s)
}

// isShuffled reports whether a value is one word of letters that change their case
// as those of no name do.
func isShuffled(s string) bool {
	if len(s) < 14 || len(s) > maxRandom {
		return false
	}
	changes := 0
	for i := range len(s) {
		if !isLower(s[i]) && !isUpper(s[i]) {
			return false
		}
		if i > 0 && isLower(s[i]) != isLower(s[i-1]) {
			changes++
		}
	}
	return changes*3 >= len(s)
}

// takesWord reports whether a word of a text is taken out under a key of the class.
func (c class) takesWord(s string) bool {
	s = s[:min(len(s), 256)]
	return slices.ContainsFunc(strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("[]{},\"'\\ \t\r\n", r) }), c.takes)
}

func isAlnum(c byte) bool { return table[c]&alnum != 0 }

func isOneOf(s string, words ...string) bool {
	for _, w := range words {
		if len(s) == len(w) && strings.EqualFold(s, w) {
			return true
		}
	}
	return false
}
