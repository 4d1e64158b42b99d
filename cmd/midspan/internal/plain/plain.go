// Package plain makes text from elsewhere safe to print on a terminal.
package plain

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Unsafe reports whether a terminal might obey a character instead of
// showing it: controls of either set, format characters such as the ones that
// turn the direction of text, and line separators.
func Unsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Text makes text from elsewhere safe to print on one line: white space becomes
// a space, and what a terminal might obey is shown as an escape.
func Text(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	if strings.IndexFunc(s, Unsafe) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case Unsafe(r):
			b.WriteString(escape(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func escape(r rune) string {
	if r > 0xffff { // a surrogate pair, as JSON has it
		r -= 0x10000
		return fmt.Sprintf(`\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// AppendJSON appends JSON on one line that a terminal only shows: outside
// ASCII, characters stand in strings alone, where an escape means the same.
func AppendJSON(b []byte, raw []byte) []byte {
	raw = bytes.TrimSpace(raw)
	for len(raw) > 0 {
		r, size := utf8.DecodeRune(raw)
		switch {
		case r == '\n' || r == '\r' || r == '\t': // between values
		case Unsafe(r) || r == utf8.RuneError && size == 1:
			b = append(b, escape(r)...)
		default:
			b = append(b, raw[:size]...)
		}
		raw = raw[size:]
	}
	return b
}
