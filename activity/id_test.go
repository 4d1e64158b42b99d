package activity_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/midspan/midspan/activity"
)

const (
	traceText = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanText  = "00f067aa0ba902b7"
	idText    = traceText + "-" + spanText
)

// mustID returns the id of a text that is one.
func mustID(t testing.TB, s string) activity.ID {
	t.Helper()
	id, err := activity.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestParseID(t *testing.T) {
	for _, tt := range []struct {
		name, text, want string
	}{
		{"lower case", idText, idText},
		{"upper case", strings.ToUpper(idText), idText},
		{"empty", "", ""},
		{"trace alone", traceText, ""},
		{"span alone", spanText, ""},
		{"underscore", traceText + "_" + spanText, ""},
		{"short", idText[1:], ""},
		{"long", idText + "0", ""},
		{"space before", " " + idText[1:], ""},
		{"not hex", "g" + idText[1:], ""},
		{"hyphen at another place", traceText[:31] + "-" + "0" + spanText, ""},
		{"zero trace", strings.Repeat("0", 32) + "-" + spanText, ""},
		{"zero span", traceText + "-" + strings.Repeat("0", 16), ""},
		{"wide digits", strings.Repeat("０", 16) + "-", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := activity.ParseID(tt.text)
			if tt.want == "" {
				if !errors.Is(err, activity.ErrID) || id != (activity.ID{}) {
					t.Errorf("ParseID = %v, %v; want no id and ErrID", id, err)
				}
				return
			}
			if err != nil || id.String() != tt.want {
				t.Errorf("ParseID = %v, %v; want %s", id, err, tt.want)
			}
		})
	}
}

func TestParseParts(t *testing.T) {
	for _, tt := range []struct {
		name, trace, span string
		ok                bool
	}{
		{"digits", traceText, spanText, true},
		{"upper case", strings.ToUpper(traceText), strings.ToUpper(spanText), true},
		{"zero", strings.Repeat("0", 32), strings.Repeat("0", 16), false},
		{"short", traceText[1:], spanText[1:], false},
		{"long", traceText + "0", spanText + "0", false},
		{"not hex", "x" + traceText[1:], "x" + spanText[1:], false},
		{"empty", "", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trace, err := activity.ParseTraceID(tt.trace)
			if (err == nil) != tt.ok || tt.ok && trace.String() != traceText {
				t.Errorf("ParseTraceID = %v, %v", trace, err)
			}
			span, err := activity.ParseSpanID(tt.span)
			if (err == nil) != tt.ok || tt.ok && span.String() != spanText {
				t.Errorf("ParseSpanID = %v, %v", span, err)
			}
		})
	}
}

func TestIDIsZero(t *testing.T) {
	id := mustID(t, idText)
	for _, tt := range []struct {
		name string
		id   activity.ID
		want bool
	}{
		{"zero", activity.ID{}, true},
		{"no span", activity.ID{Trace: id.Trace}, true},
		{"no trace", activity.ID{Span: id.Span}, true},
		{"both", id, false},
	} {
		if got := tt.id.IsZero(); got != tt.want {
			t.Errorf("%s: IsZero = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestIDText(t *testing.T) {
	type row struct {
		ID activity.ID `json:"id"`
	}
	for _, tt := range []struct{ name, text string }{
		{"id", `{"id":"` + idText + `"}`},
		{"zero", `{"id":""}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r row
			if err := json.Unmarshal([]byte(tt.text), &r); err != nil {
				t.Fatal(err)
			}
			if b, err := json.Marshal(r); err != nil || string(b) != tt.text {
				t.Errorf("back to %s, %v; want %s", b, err, tt.text)
			}
		})
	}
	var id activity.ID
	if err := id.UnmarshalText([]byte("nonsense")); !errors.Is(err, activity.ErrID) {
		t.Errorf("UnmarshalText = %v, want ErrID", err)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add(idText)
	f.Add(strings.ToUpper(idText))
	f.Add(traceText)
	f.Add(strings.Repeat("0", 32) + "-" + spanText)
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := activity.ParseID(s)
		if err != nil {
			if id != (activity.ID{}) {
				t.Fatalf("ParseID(%q) = %v with an error", s, id)
			}
			return
		}
		if id.IsZero() || id.String() != strings.ToLower(s) {
			t.Fatalf("ParseID(%q) = %v", s, id)
		}
		if trace, err := activity.ParseTraceID(s[:32]); err != nil || trace != id.Trace {
			t.Fatalf("ParseTraceID(%q) = %v, %v", s[:32], trace, err)
		}
		if span, err := activity.ParseSpanID(s[33:]); err != nil || span != id.Span {
			t.Fatalf("ParseSpanID(%q) = %v, %v", s[33:], span, err)
		}
	})
}
