package plain_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/cmd/midspan/internal/plain"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"plain ä € 🎉":           "plain ä € 🎉",
		"two\nlines\tand a tab": "two lines and a tab",
		"\x1b[2J\u009b31m":      `\u001b[2J\u009b31m`,
		"gnp\u202e.exe":         `gnp\u202e.exe`,
		"\U000E0001":            `\udb40\udc01`,
		"broken \xff":           "broken \ufffd",
	} {
		if got := plain.Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("plain ä €", []byte(`{"a":"\u001b"}`))
	f.Add("\x1b[31m\u009b\u2066\U000E0001\xff", []byte("{\"a\":\"\xc2\x9b\U000E0001\u2028\"}"))
	f.Fuzz(func(t *testing.T, s string, raw []byte) {
		if got := plain.Text(s); strings.IndexFunc(got, plain.Unsafe) >= 0 {
			t.Errorf("Text(%q) = %q", s, got)
		}
		if !json.Valid(raw) {
			return
		}
		got := plain.AppendJSON(nil, raw)
		if strings.IndexFunc(string(got), plain.Unsafe) >= 0 {
			t.Errorf("AppendJSON(%q) = %q", raw, got)
		}
		var before, after any
		if json.Unmarshal(raw, &before) == nil {
			if err := json.Unmarshal(got, &after); err != nil || !cmp.Equal(before, after) {
				t.Errorf("%q became %q: %v", raw, got, err)
			}
		}
	})
}
