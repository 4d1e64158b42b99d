package orchestrator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
	"unicode"
)

const (
	standInModel = "midspan-stand-in"
	standInNote  = "This is the local stand-in of the demo: no language model was asked. It picks headings and sentences out of the prompt."
	// standInWindow is how many tokens a prompt may have. It is small, so that
	// the planner meets the limit that every model has.
	standInWindow = 4096
)

// standIn answers as an OpenAI-compatible server does, where no model is to be
// had. It is deterministic: it proposes work on the documents of the prompt,
// titled by their own headings and reasoned with their own sentences.
type standIn struct{ key string }

type chatRequest struct {
	Model    string `json:"model"`
	Messages []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
}

func (s standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+s.key {
		refuse(w, http.StatusUnauthorized, "invalid_api_key", "the key is not that of this stand-in")
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" {
		refuse(w, http.StatusNotFound, "unknown_url", "the stand-in answers POST /v1/chat/completions only")
		return
	}
	var request chatRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&request); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_json", err.Error())
		return
	}
	tokens, prompt := 0, ""
	for _, m := range request.Messages {
		tokens += countTokens(m.Content)
		if m.Role == "user" {
			prompt = m.Content
		}
	}
	if tokens > standInWindow {
		refuse(w, http.StatusBadRequest, "context_length_exceeded",
			fmt.Sprintf("the prompt has %d tokens, this model takes %d", tokens, standInWindow))
		return
	}
	answer, err := json.Marshal(propose(prompt))
	if err != nil {
		refuse(w, http.StatusInternalServerError, "internal", err.Error())
		return
	}
	out := countTokens(string(answer))
	reply(w, http.StatusOK, map[string]any{
		"id": fmt.Sprintf("chatcmpl-standin-%08x", checksum(prompt)), "object": "chat.completion", "created": 0, "model": standInModel,
		"choices": []any{map[string]any{
			"index": 0, "finish_reason": "stop",
			"message": map[string]string{"role": "assistant", "content": string(answer)},
		}},
		"usage": map[string]int{"prompt_tokens": tokens, "completion_tokens": out, "total_tokens": tokens + out},
	})
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	reply(w, status, map[string]any{"error": map[string]string{"code": code, "type": "invalid_request_error", "message": "stand-in: " + message, "param": ""}})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client that has gone is the only one who could be told of an error.
	_ = json.NewEncoder(w).Encode(body)
}

// countTokens counts as byte-pair encodings do on average: a word of up to six
// letters is one token, a longer one more, and so is every sign.
func countTokens(text string) (n int) {
	letters := 0
	for _, r := range text {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			if letters%6 == 0 {
				n++
			}
			letters++
			continue
		}
		letters = 0
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

func checksum(text string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(text))
	return h.Sum32()
}

// proposal is one requirement as a model proposes it.
type proposal struct {
	Title     string   `json:"title"`
	Kind      kind     `json:"kind"`
	Documents []string `json:"documents"` // paths; none means all of the project
	Priority  int      `json:"priority"`
	Because   string   `json:"because"`
}

// proposals is the answer that the planner's prompt asks for.
type proposals struct {
	Requirements []proposal `json:"requirements"`
	Note         string     `json:"note,omitempty"`
}

// excerpt is a document as the prompt has it.
type excerpt struct {
	path, text string
}

// promptDocuments finds the documents in a prompt of writePrompt.
func promptDocuments(prompt string) (found []excerpt) {
	_, rest, _ := strings.Cut(prompt, documentMark)
	for part := range strings.SplitSeq(rest, documentMark) {
		head, text, _ := strings.Cut(part, "\n")
		name, _, _ := strings.Cut(head, " (")
		if name != "" {
			found = append(found, excerpt{path: name, text: text})
		}
	}
	return found
}

// propose makes as many proposals as there are documents, but two at least.
func propose(prompt string) proposals {
	documents := promptDocuments(prompt)
	answer := proposals{Requirements: []proposal{}, Note: standInNote}
	if len(documents) == 0 {
		return answer
	}
	turn := int(checksum(prompt) % 1024)
	for i, d := range documents {
		k := kinds[(turn+i)%len(kinds)]
		// A neighbour or two go along, as many as the heading has words.
		length := min(1+len(strings.Fields(headingOf(d)))%4, len(documents))
		var paths []string
		for j := range length {
			paths = append(paths, documents[(i+j)%len(documents)].path)
		}
		title := fmt.Sprintf("%s “%s”", k.verb(), headingOf(d))
		if length > 1 {
			title += fmt.Sprintf(" and %d more", length-1)
		}
		answer.Requirements = append(answer.Requirements, proposal{
			Title: title, Kind: k, Documents: paths, Priority: urgency(d), Because: sentenceOf(d),
		})
	}
	// All of the project once in a while: the kinds take turns.
	answer.Requirements = append(answer.Requirements, proposal{
		Title: fmt.Sprintf("%s the whole project for “%s”", kinds[turn%len(kinds)].verb(), headingOf(documents[turn%len(documents)])), Kind: kinds[turn%len(kinds)], Documents: []string{},
		Priority: urgency(documents[turn%len(documents)]), Because: sentenceOf(documents[turn%len(documents)]),
	})
	return answer
}

// headingOf returns the first heading of a document: Markdown's, or the first
// function or type of a Go source.
func headingOf(d excerpt) string {
	for line := range strings.Lines(d.text) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "# "); ok {
			return title
		}
		for _, word := range []string{"func ", "type "} {
			if rest, ok := strings.CutPrefix(line, word); ok {
				if name := strings.FieldsFunc(rest, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }); len(name) > 0 {
					return name[0]
				}
			}
		}
	}
	return d.path
}

// sentenceOf returns the document's sentence with the most distinct terms. In a
// Go source, only comments have sentences.
func sentenceOf(d excerpt) string {
	var prose []string
	for line := range strings.Lines(d.text) {
		line = strings.TrimSpace(line)
		comment, isComment := strings.CutPrefix(line, "//")
		switch {
		case isComment:
			prose = append(prose, strings.Fields(comment)...)
		case !strings.HasSuffix(d.path, ".go") && !strings.HasPrefix(line, "#"):
			prose = append(prose, strings.Fields(line)...)
		}
	}
	sentences := slices.Collect(strings.SplitSeq(strings.Join(prose, " "), ". "))
	best := slices.MaxFunc(sentences, func(a, b string) int {
		return cmp.Or(cmp.Compare(min(len(termsOf(a)), 20), min(len(termsOf(b)), 20)), cmp.Compare(b, a))
	})
	if runes := []rune(best); len(runes) > 160 {
		best = string(runes[:160]) + "…"
	}
	if best == "" {
		return "nothing of " + d.path + " could be read"
	}
	return best
}

// urgency is higher the more of a document's words tell of limits and failures.
func urgency(d excerpt) int {
	all, alarming := 0, 0
	for term := range terms(d.text) {
		all++
		switch term {
		case "must", "never", "fail", "fails", "failed", "error", "errors", "deadline", "limit", "urgent", "panic":
			alarming++
		}
	}
	return min(1+100*alarming/max(all, 1), 5)
}
