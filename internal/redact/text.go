package redact

import (
	"cmp"
	"slices"
	"strings"

	"github.com/midspan/midspan/activity"
)

// shortest is the least that a text must have to hold a secret that can be
// told: "pwd=x".
const shortest = 5

// cut is a part of a text that is taken out.
type cut struct {
	from, to int
	by       rule
	quote    string // put around what replaces it
}

// text returns a text without secrets: the same one where there are none.
func (r *Redactor) text(s string) string {
	if len(s) < shortest {
		return s
	}
	cuts := r.scan(s)
	if len(cuts) == 0 {
		return s
	}
	slices.SortFunc(cuts, func(a, b cut) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	var b strings.Builder
	b.Grow(len(s) + 32*len(cuts))
	done := 0
	for i := 0; i < len(cuts); {
		c := cuts[i]
		for i++; i < len(cuts) && cuts[i].from < c.to; i++ {
			c.to = max(c.to, cuts[i].to) // two rules found parts of one secret
		}
		b.WriteString(s[done:c.from])
		b.WriteString(c.quote)
		b.WriteString(r.replacement(s[c.from:c.to], c.by))
		b.WriteString(c.quote)
		done = c.to
	}
	b.WriteString(s[done:])
	// A text of nothing but short secrets grows; up to what an activity shows it may.
	return activity.Cut(b.String(), max(2*len(s), activity.MaxString))
}

// dirty reports whether a text holds a secret.
func (r *Redactor) dirty(s string) bool { return len(s) >= shortest && len(r.scan(s)) > 0 }

// scan finds the secrets of a text. If a rule fails, all of it counts as one: a
// text must neither end the process nor pass unread.
func (r *Redactor) scan(s string) (cuts []cut) {
	defer func() {
		if recover() != nil {
			cuts = []cut{{0, len(s), byFailure, ""}}
		}
	}()
	sc := scanner{s: s, keys: r.keys}
	sc.scan()
	for i := range r.patterns {
		p := &r.patterns[i]
		if !strings.Contains(s, p.literal) {
			continue
		}
		for _, m := range p.expr.FindAllStringSubmatchIndex(s, -1) {
			from, to := m[0], m[1]
			if len(m) > 2 && m[2] >= 0 {
				from, to = m[2], m[3]
			}
			if from < to && !isReplacement(s[from:to]) {
				sc.cuts = append(sc.cuts, cut{from, to, byPattern + rule(i), ""})
			}
		}
	}
	return sc.cuts
}

// Bytes that the scanner tells apart.
const (
	alnum   = 1 << iota
	dash    // and underscore: with alnum what tokens are made of
	special // where a rule other than a word's may begin
	space
	dot
)

var table = func() (t [256]uint8) {
	for c := range t {
		switch b := byte(c); {
		case isLower(b), isUpper(b), isDigit(b):
			t[c] = alnum
		case b == '-':
			t[c] = dash | special
		case b == '_':
			t[c] = dash
		case b == '.':
			t[c] = dot
		case strings.IndexByte("=:>@%\\~", b) >= 0:
			t[c] = special
		case strings.IndexByte(" \t\r\n", b) >= 0:
			t[c] = space
		}
	}
	return t
}()

// scanner goes through a text once, from word to word: a word is letters and
// digits. What a rule looks for begins with a word that it knows, by the first
// two bytes of a token or by a few names, or stands around a sign such as "=",
// so that most of most texts costs a few compares.
type scanner struct {
	s    string
	keys *keys
	cuts []cut
	curl bool // the text is a command line with curl
	kube bool // its Secret was looked at
	dull int  // up to where no cookie was found
}

func (sc *scanner) scan() {
	s := sc.s
	for i := 0; i < len(s); {
		switch t := table[s[i]]; {
		case t&alnum != 0:
			end := i + 1
			for end < len(s) && table[s[end]]&alnum != 0 {
				end++
			}
			i = sc.word(i, end)
		case t&special != 0:
			i = sc.sign(i)
		default:
			i++
		}
	}
}

// found takes a part out and returns where to go on.
func (sc *scanner) found(from, to int, by rule) int {
	if from < to && !isReplacement(sc.s[from:to]) {
		sc.cuts = append(sc.cuts, cut{from: from, to: to, by: by})
	}
	return to
}

// sign looks at a sign and returns where to go on.
func (sc *scanner) sign(i int) int {
	s := sc.s
	rest := s[i:]
	switch s[i] {
	case '=':
		return sc.assignment(i, 1)
	case ':':
		if strings.HasPrefix(rest, "://") {
			return sc.url(i)
		}
		if strings.HasPrefix(rest, "::") {
			return i + 2
		}
		return sc.assignment(i, 1)
	case '>':
		return sc.element(i)
	case '%':
		if len(rest) > 2 && isHex(rest[1]) && isHex(rest[2]) {
			if len(rest) > 9 && strings.EqualFold(rest[:9], "%3A%2F%2F") {
				return sc.encodedURL(i)
			}
			if rest[1] == '3' && (rest[2]|0x20 == 'd' || rest[2]|0x20 == 'a') { // = and :
				return sc.assignment(i, 3)
			}
			return i + 3
		}
	case '\\':
		if len(rest) > 1 && strings.IndexByte(`nrtbf"\/`, rest[1]) >= 0 {
			return i + 2
		}
		if len(rest) > 5 && rest[1] == 'u' {
			return i + 6
		}
	case '@':
		// A data source of Go's MySQL driver: user:password@tcp(host)/database.
		if strings.HasPrefix(rest, "@tcp(") || strings.HasPrefix(rest, "@unix(") {
			from := i
			for from > 0 && i-from < maxSeenKey && table[s[from-1]]&space == 0 && s[from-1] != '"' && s[from-1] != '\'' {
				from--
			}
			if colon := strings.IndexByte(s[from:i], ':'); colon >= 0 {
				sc.found(from+colon+1, i, byURL)
			}
		}
	case '~':
		if from, end := azure(s, i); end > 0 {
			return sc.found(from, end, byToken)
		}
	case '-':
		switch {
		case strings.HasPrefix(rest, "-----BEGIN "):
			return sc.privateKey(i)
		case len(rest) > 2 && rest[1] == '-' && table[rest[2]]&alnum != 0 && (i == 0 || table[s[i-1]]&space != 0):
			return sc.option(i)
		case sc.curl && (strings.HasPrefix(rest, "-u ") || strings.HasPrefix(rest, "-u'") || strings.HasPrefix(rest, `-u"`)):
			return sc.user(i + 2)
		}
	}
	return i + 1
}

// word looks at a word and returns where to go on.
func (sc *scanner) word(from, to int) int {
	s := sc.s
	if startsToken(s, from) {
		if end, by := token(s, from); end > from {
			return sc.found(from, end, by)
		}
	}
	if to < len(s) && table[s[to]]&(dash|dot) != 0 {
		if end := prefixedToken(s, from, to); end > to {
			return sc.found(from, end, byToken)
		}
		if end := vendorToken(s, from, to); end > to {
			return sc.found(from, end, byToken)
		}
	}
	n := to - from
	if n == 32 {
		if end := mailchimp(s, from, to); end > 0 {
			return sc.found(from, end, byToken)
		}
	}
	if isDigit(s[from]) {
		if n == 4 || n >= 13 {
			return sc.card(from, to)
		}
		return to
	}
	if from > 0 && (n == 3 || n == 7) {
		if begin, end := suffixed(s, from, to); end > 0 {
			return sc.found(begin, end, byToken)
		}
	}
	if n > 10 || to == len(s) {
		return to
	}
	switch w := s[from:to]; n {
	case 2:
		if w == "is" {
			return sc.prose(from, to)
		}
	case 4:
		sc.curl = sc.curl || w == "curl"
	case 5:
		if s[to] == ' ' && strings.EqualFold(w, "basic") {
			return sc.scheme(to, 8)
		}
	case 6:
		if s[to] == ' ' && strings.EqualFold(w, "bearer") {
			return sc.scheme(to, 6)
		}
	case 8:
		if w == "services" {
			return sc.slackHook(to)
		}
		if s[to] == ' ' && strings.EqualFold(w, "password") {
			return sc.literal(to, " '")
		}
	case 10:
		if strings.EqualFold(w, "identified") {
			return sc.literal(to, " by '")
		}
	}
	return to
}

// card looks at a word of digits.
func (sc *scanner) card(from, to int) int {
	end := card(sc.s, from, to)
	if end <= from {
		return to
	}
	if quote := sc.inJSON(from); quote != "" {
		sc.cuts = append(sc.cuts, cut{from, end, byCard, quote})
		return end
	}
	return sc.found(from, end, byCard)
}

// scheme looks at what follows the name of an HTTP authentication scheme.
func (sc *scanner) scheme(at, least int) int {
	s := sc.s
	end := tokenEnd(s, at+1, "-_.~+/=")
	if v := s[at+1 : end]; len(v) >= least && (hasDigit(v) || hasInnerCapital(v) || len(v) > 30) {
		return sc.found(at+1, end, byHeader)
	}
	return at
}

// literal looks at a quoted text that follows a word, as in the SQL
// "IDENTIFIED BY 'secret'".
func (sc *scanner) literal(at int, between string) int {
	s := sc.s
	if len(s)-at <= len(between) || !strings.EqualFold(s[at:at+len(between)], between) {
		return at
	}
	v := valueAt(s, at+len(between)-1)
	if v.from == v.to || isPlaceholder(s[v.from:v.to]) {
		return at
	}
	return sc.found(v.from, v.to, byAssignment)
}

// prose looks at what is said to be a secret: "the password is hunter2".
func (sc *scanner) prose(from, to int) int {
	s := sc.s
	if from < 2 || to >= len(s) || s[from-1] != ' ' || s[to] != ' ' {
		return to
	}
	begin := identifier(s, from-1)
	if sc.classAt(begin, from-1) < denied {
		return to
	}
	v := valueAt(s, to)
	if v.quote == "" && !isTelling(s[v.from:v.to]) {
		return to
	}
	return sc.found(v.from, v.to, byAssignment)
}

// option looks at a command's option whose value follows after a space.
func (sc *scanner) option(i int) int {
	s := sc.s
	begin := i + 2
	end := begin
	for end < len(s) && table[s[end]]&(alnum|dash) != 0 {
		end++
	}
	if end == len(s) || s[end] != ' ' {
		return begin
	}
	if sc.curl && s[begin:end] == "user" {
		return sc.user(end)
	}
	class := sc.keys.of(s[begin:end]).class
	if class < weak {
		return begin
	}
	v := valueAt(s, end)
	if v.from == v.to || s[v.from] == '-' || isPlaceholder(s[v.from:v.to]) || !class.takes(s[v.from:v.to]) {
		return end
	}
	return sc.found(v.from, v.to, byAssignment)
}

// user looks at the "name:password" that curl takes.
func (sc *scanner) user(at int) int {
	v := valueAt(sc.s, at)
	colon := strings.IndexByte(sc.s[v.from:v.to], ':')
	if colon < 0 || isPlaceholder(sc.s[v.from+colon+1:v.to]) {
		return at
	}
	return sc.found(v.from+colon+1, v.to, byHeader)
}

// privateKey looks at the begin of a PEM block.
func (sc *scanner) privateKey(i int) int {
	s := sc.s
	const begin = "-----BEGIN "
	label := s[i+len(begin):]
	label = label[:min(len(label), 64)]
	end := strings.Index(label, "-----")
	if end < 0 || !strings.Contains(label[:end], "PRIVATE KEY") {
		return i + len(begin)
	}
	from := i + len(begin) + end + len("-----")
	to := len(s)
	if end = strings.Index(s[from:], "-----END"); end >= 0 {
		to = from + end
	}
	return sc.found(from, to, byPrivateKey)
}

// inJSON returns a quote where a number stands alone as a value in JSON: what
// replaces it is a string.
func (sc *scanner) inJSON(at int) string {
	s := sc.s
	if s[0] != '{' && s[0] != '[' {
		return ""
	}
	before := strings.TrimRight(s[:at], " \t\r\n")
	if before == "" || strings.IndexByte(":,[", before[len(before)-1]) < 0 {
		return ""
	}
	return quoteOf(s)
}

// quoteOf returns the quotes that a text of JSON has, with the backslashes that
// they have within another one.
func quoteOf(s string) string {
	at := strings.IndexByte(s, '"')
	if at < 0 {
		return `"`
	}
	from := at
	for from > 0 && s[from-1] == '\\' {
		from--
	}
	return s[from : at+1]
}

// tokenEnd returns where letters, digits and the other bytes given end, which
// may be encoded as in a URL.
func tokenEnd(s string, at int, others string) int {
	for at < len(s) {
		switch c := s[at]; {
		case table[c]&alnum != 0 || strings.IndexByte(others, c) >= 0:
			at++
		case c == '%' && at+2 < len(s) && strings.IndexByte(others, '=') >= 0 && isOneOf(s[at+1:at+3], "2B", "2F", "3D"):
			at += 3
		default:
			return at
		}
	}
	return at
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

func hasDigit(s string) bool { return strings.ContainsAny(s, "0123456789") }

// hasInnerCapital reports whether a capital follows another letter or a digit,
// and there are small letters too.
func hasInnerCapital(s string) bool {
	capital, small := false, false
	for i := range len(s) {
		capital = capital || i > 0 && isUpper(s[i])
		small = small || isLower(s[i])
	}
	return capital && small
}
