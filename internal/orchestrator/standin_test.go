package orchestrator

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// askStandIn posts a chat request and returns the status and the body.
func askStandIn(t *testing.T, key, path, body string) (int, string) {
	t.Helper()
	server := httptest.NewServer(standIn{key: "secret"})
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func chatBody(t *testing.T, prompt string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"model": "any", "messages": []map[string]string{{"role": "user", "content": prompt}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

const testPrompt = `The project "books" has 2 documents. These are some of them.

### document: a.md (60 bytes)
# Tides and moons
The moon pulls the sea twice a day. It must never fail.

### document: b.go (60 bytes)
package b

func Pull() error { return nil }
`

func TestStandInIsDeterministic(t *testing.T) {
	status, first := askStandIn(t, "secret", "/v1/chat/completions", chatBody(t, testPrompt))
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, first)
	}
	if _, second := askStandIn(t, "secret", "/v1/chat/completions", chatBody(t, testPrompt)); first != second {
		t.Errorf("two answers to one prompt:\n%s\n%s", first, second)
	}
	if !strings.Contains(first, standInModel) || !strings.Contains(first, "stand-in of the demo: no language model was asked") {
		t.Errorf("the answer does not say that it is the stand-in's: %s", first)
	}
	answer := propose(testPrompt)
	if len(answer.Requirements) != 3 {
		t.Fatalf("%d proposals, want one for each document and one for the project", len(answer.Requirements))
	}
	first0 := answer.Requirements[0]
	if !strings.Contains(first0.Title, "“Tides and moons”") || first0.Documents[0] != "a.md" || !strings.Contains(testPrompt, first0.Because) {
		t.Errorf("the first proposal is not taken from the first document: %+v", first0)
	}
	if title := answer.Requirements[1].Title; !strings.Contains(title, "“Pull”") {
		t.Errorf("the second proposal has the title %q, want the function's name in it", title)
	}
}

func TestStandInRefuses(t *testing.T) {
	tests := []struct {
		name, key, path, body string
		status                int
		code                  string
	}{
		{"wrong key", "guess", "/v1/chat/completions", "{}", http.StatusUnauthorized, "invalid_api_key"},
		{"another path", "secret", "/v1/models", "{}", http.StatusNotFound, "unknown_url"},
		{"no JSON", "secret", "/v1/chat/completions", "hello", http.StatusBadRequest, "invalid_json"},
		{"too long", "secret", "/v1/chat/completions", chatBody(t, strings.Repeat("word ", standInWindow+1)), http.StatusBadRequest, "context_length_exceeded"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, body := askStandIn(t, test.key, test.path, test.body)
			if status != test.status || !strings.Contains(body, `"code":"`+test.code+`"`) {
				t.Errorf("got %d %s, want %d with code %s", status, body, test.status, test.code)
			}
		})
	}
}

func TestCountTokens(t *testing.T) {
	for text, want := range map[string]int{"": 0, "one": 1, "sixsix": 1, "sevense": 2, "a.b": 3, "if err != nil {": 6} {
		if got := countTokens(text); got != want {
			t.Errorf("countTokens(%q) = %d, want %d", text, got, want)
		}
	}
}

func FuzzPropose(f *testing.F) {
	f.Add(testPrompt)
	f.Add("")
	f.Add(documentMark + "x (1 bytes)\n")
	f.Fuzz(func(t *testing.T, prompt string) {
		answer := propose(prompt)
		if diff := cmp.Diff(answer, propose(prompt)); diff != "" {
			t.Errorf("two answers to one prompt:\n%s", diff)
		}
		for _, r := range answer.Requirements {
			if r.Priority < 1 || r.Priority > 5 || r.Title == "" {
				t.Errorf("bad proposal %+v", r)
			}
		}
	})
}
