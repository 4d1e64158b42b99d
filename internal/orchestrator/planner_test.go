package orchestrator

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// testShelf writes documents to a folder of their own.
func testShelf(t *testing.T, texts map[string]string) *shelf {
	t.Helper()
	s := &shelf{name: "books", root: t.TempDir()}
	for name, text := range texts {
		name = filepath.Join(s.root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.list(); err != nil {
		t.Fatal(err)
	}
	return s
}

func testPlanner(t *testing.T, s *shelf, handler http.Handler) *planner {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	m, err := newModel(server.URL+"/v1/", "secret", standInModel, true, 1, server.Client())
	if err != nil {
		t.Fatal(err)
	}
	store := testStore(t)
	if err := store.saveProject(t.Context(), &project{Name: s.name, Documents: len(s.documents), Bytes: s.bytes()}); err != nil {
		t.Fatal(err)
	}
	return newPlanner(store, m, map[string]*shelf{s.name: s})
}

func TestPlan(t *testing.T) {
	r := record(t)
	p := testPlanner(t, testShelf(t, map[string]string{
		"tides.md": "# Tides\nThe moon pulls the sea twice a day.\n", "winds.md": "# Winds\nThe sun warms the land.\n",
		"rain.md": "# Rain\nThe clouds rise and cool.\n", "snow.md": "# Snow\nThe cold makes crystals.\n",
	}), standIn{key: "secret"})
	opened, err := p.plan(t.Context())
	if err != nil || opened == 0 {
		t.Fatalf("plan opened %d, %v", opened, err)
	}
	requirements, err := p.store.openRequirements(t.Context(), 100)
	if err != nil || len(requirements) != opened {
		t.Fatalf("%d requirements are open, %v; want %d", len(requirements), err, opened)
	}
	for _, s := range r.spans() {
		if s.typ() != "ai_inference" {
			continue
		}
		if s.Name != "chat "+standInModel || s.text(genAIOperationName) != "chat" || s.text(genAIProviderName) != "midspan.stand_in" ||
			s.text(genAIRequestModel) != standInModel || s.text(genAIResponseModel) != standInModel ||
			s.attrs[genAIUsageInTokens].AsInt64() == 0 || s.attrs[genAIUsageOutTokens].AsInt64() == 0 {
			t.Errorf("the inference has the attributes %v", s.Attributes)
		}
		if !strings.Contains(s.text("activity.description.final"), "stand-in") {
			t.Errorf("the inference does not say that the stand-in answered: %q", s.text("activity.description.final"))
		}
		return
	}
	t.Error("no inference was recorded")
}

func TestPlanShortensPrompt(t *testing.T) {
	r := record(t)
	long := strings.Repeat("a b c d e f g h. ", 2000)
	p := testPlanner(t, testShelf(t, map[string]string{"a.md": "# A\n" + long, "b.md": "# B\n" + long}), standIn{key: "secret"})
	if _, err := p.plan(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range r.spans() {
		if s.typ() == "ai_inference" || s.Name == "Shorten the prompt" {
			got = append(got, s.Name+" "+s.state()+" "+s.text("error.type"))
		}
	}
	want := []string{"chat midspan-stand-in FAILED context_length_exceeded", "Shorten the prompt COMPLETED ", "chat midspan-stand-in COMPLETED "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what happened (-want +got):\n%s", diff)
	}
	if p.budget >= firstBudget {
		t.Errorf("the budget is still %.0f bytes after a refusal", p.budget)
	}
}

func TestPlanWithoutModel(t *testing.T) {
	p := testPlanner(t, testShelf(t, map[string]string{"a.md": "# A\n"}), http.NotFoundHandler())
	if _, err := p.plan(t.Context()); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("plan = %v, want the endpoint's error", err)
	}
	if _, err := newModel("not a url", "k", "m", false, 0, nil); err == nil || !strings.Contains(err.Error(), "OpenAI base URL") {
		t.Errorf("newModel = %v, want an error that says what to mend", err)
	}
}

func TestWeigh(t *testing.T) {
	s := testShelf(t, map[string]string{"tides.md": "# Tides\nThe moon pulls the sea.\n", "winds.md": "# Winds\n"})
	offered := []proposal{
		{Title: "Inventory the moon", Kind: kindInventory, Documents: []string{"winds.md"}, Priority: 1, Because: "Bananas ripen slowly"},
		{Title: "Index tides", Kind: kindIndex, Documents: []string{"tides.md"}, Priority: 3, Because: "The moon pulls the sea"},
		{Title: "Invented kind", Kind: "poem", Documents: []string{"tides.md"}, Priority: 3},
		{Title: "Invented document", Kind: kindIndex, Documents: []string{"waves.md"}, Priority: 3},
		{Title: "", Kind: kindIndex, Priority: 3},
	}
	weighed, refused := weigh(s, offered, []string{"Inventory the moon"})
	if refused != 3 {
		t.Errorf("%d were refused, want 3", refused)
	}
	var got []string
	for _, w := range weighed {
		got = append(got, w.Title)
	}
	if diff := cmp.Diff([]string{"Index tides", "Inventory the moon"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if weighed[1].fresh != 0 || weighed[0].grounded != 1 {
		t.Errorf("an open title is %.2f fresh, a quoted sentence is %.2f grounded", weighed[1].fresh, weighed[0].grounded)
	}
}

func TestParseProposals(t *testing.T) {
	tests := []struct {
		name, answer string
		want         int // requirements; -1 is an error
	}{
		{"plain", `{"requirements":[{"title":"a"}]}`, 1},
		{"talked around", "Sure!\n```json\n{\"requirements\":[{\"title\":\"a\"},{\"title\":\"b\"}]}\n```", 2},
		{"no object", "I can't do that", -1},
		{"broken", `{"requirements":[{]}`, -1},
		{"turned around", "} {", -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseProposals(test.answer)
			if (err != nil) != (test.want < 0) || err == nil && len(got.Requirements) != test.want {
				t.Errorf("got %d requirements, %v; want %d", len(got.Requirements), err, test.want)
			}
		})
	}
}
