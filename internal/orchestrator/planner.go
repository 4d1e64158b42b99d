package orchestrator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// planner finds out what a project needs: it shows some of its documents to a
// model and selects among the requirements that the model proposes.
type planner struct {
	store   *store
	model   *model
	shelves map[string]*shelf
	// looked counts how often a prompt had a document, by project and path.
	looked map[string]int
	// budget is how many bytes of excerpts a prompt gets. How many the model
	// takes depends on its way of counting; a refusal tells that it was too
	// much, an answer that a little more may do.
	budget float64
}

func newPlanner(s *store, m *model, shelves map[string]*shelf) *planner {
	return &planner{store: s, model: m, shelves: shelves, looked: map[string]int{}, budget: firstBudget}
}

const (
	promptLength = 7        // documents in a prompt
	firstBudget  = 12 << 10 // bytes: 4 a token, by rule of thumb
	outlineBytes = 300      // of an excerpt, when the model refused the longer ones
	documentMark = "\n### document: "
)

const plannerRole = `You plan the upkeep of a library of documents. Propose requirements for the documents that you are shown.
Answer with one JSON object and nothing else:
{"requirements":[{"title":"…","kind":"inventory|outline|bundle|index","documents":["path",…],"priority":1-5,"because":"one sentence from the documents"}]}
inventory hashes, outline parses, bundle compresses, index makes searchable. An empty list of documents means the whole project.
Name only documents that you are shown. A priority of 5 is done in half the usual time or fails.`

// plan plans the project that was planned least often. It returns how many
// requirements are open now that were not.
func (p *planner) plan(ctx context.Context) (opened int, err error) {
	ctx, a := tracing.Start(ctx, activity.AgentAction, "Plan requirements",
		"Show documents of the project that was planned least to "+p.model.name+" and select among the requirements that it proposes",
		tracing.WithAttributes(agentAttributes("plan", "planner")...))
	defer a.End(&err)

	project, open, err := p.store.leastPlanned(ctx)
	if err != nil {
		return 0, err
	}
	a.Set(keyProject.String(project.Name))
	a.Sayf("Choose documents of %s, which has %s open", project.Name, count(open, "requirement"))
	shelf := p.shelves[project.Name]
	shown := p.choose(ctx, shelf)
	answer, err := p.ask(ctx, shelf, shown)
	if err != nil {
		return 0, err
	}
	a.Sayf("Select among %s", count(len(answer.Requirements), "proposal"))
	titles, err := p.store.openTitles(ctx, project.ID)
	if err != nil {
		return 0, err
	}
	selected, err := p.selectProposals(ctx, shelf, answer.Requirements, titles)
	if err != nil {
		return 0, err
	}
	var requirements []requirement
	var names []string
	for _, s := range selected {
		requirements = append(requirements, requirement{
			ProjectID: project.ID, Title: s.Title, Kind: s.Kind, Documents: s.Documents, Bytes: totalBytes(shelf.pick(s.Documents)),
			Priority: min(max(s.Priority, 1), 5), PlannedBy: a.ID().String(),
		})
		names = append(names, s.Title)
	}
	opened, err = p.store.saveRequirements(ctx, requirements)
	if err != nil {
		return 0, err
	}
	a.Complete(fmt.Sprintf("Opened %s of %s; selected were %s", count(opened, "requirement"), project.Name, some(names, 3)),
		map[string]any{"project": project.Name, "selected": names, "opened": opened})
	return opened, nil
}

// choose decides which documents the model is shown: what it has seen least
// often, and of those what fits the prompt.
func (p *planner) choose(ctx context.Context, s *shelf) []document {
	_, a := tracing.Start(ctx, activity.Decision, "Choose documents to show",
		fmt.Sprintf("Choose up to %d of the %s of %s", promptLength, count(len(s.documents), "document"), s.name),
		tracing.WithAttributes(agentAttributes("plan", "planner")...))
	defer a.End(nil) // for a panic

	type candidate struct {
		document
		score float64
	}
	candidates := make([]candidate, len(s.documents))
	for i, d := range s.documents {
		// A document that was never shown scores 1 for that; one that fits its
		// part of the prompt scores 1 for that, a longer one less.
		fits := min(1, p.budget/promptLength/float64(max(d.Bytes, 1)))
		candidates[i] = candidate{d, 0.8/float64(1+p.looked[s.name+"/"+d.Path]) + 0.2*fits}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
	chosen := min(promptLength, len(candidates))
	before := p.looked[s.name+"/"+candidates[0].Path]
	var shown []document
	var alternatives []string
	for i, c := range candidates[:min(chosen+3, len(candidates))] {
		alternatives = append(alternatives, fmt.Sprintf("%s (%.2f)", c.Path, c.score))
		if i < chosen {
			p.looked[s.name+"/"+c.Path]++
			shown = append(shown, c.document)
		}
	}
	// All of the confidence is in the distance to the first that stays out.
	confidence := 1.0
	if chosen < len(candidates) {
		confidence = 0.5 + 0.5*(candidates[0].score-candidates[chosen].score)/candidates[0].score
	}
	a.Decide(tracing.Decision{
		Reasoning: fmt.Sprintf("%s leads: it was shown %s before and has %s, of which %s fit. What was shown seldom counts four times as much as what fits",
			candidates[0].Path, plural(before, "time", "times"), size(candidates[0].Bytes), size(int64(p.budget/promptLength))),
		Choice:       some(alternatives[:chosen], 3),
		Alternatives: alternatives,
		Outcome:      fmt.Sprintf("%s with %s", count(chosen, "document"), size(totalBytes(shown))),
		Confidence:   &confidence,
	})
	a.Complete("Chose " + count(chosen, "document"))
	return shown
}

// ask asks the model. A prompt that is too long for it is asked once more with
// shorter excerpts, which is a decision too.
func (p *planner) ask(ctx context.Context, s *shelf, shown []document) (proposals, error) {
	limit := int(p.budget) / len(shown)
	prompt := writePrompt(s, shown, limit)
	will := fmt.Sprintf("Ask for requirements of %s, showing %s", s.name, count(len(shown), "document"))
	text, err := p.model.ask(ctx, will, plannerRole, prompt)
	if tooLong, ok := errors.AsType[*promptTooLongError](err); ok {
		p.budget *= 0.9
		shorter := writePrompt(s, shown, outlineBytes)
		_, a := tracing.Start(ctx, activity.Decision, "Shorten the prompt", "Decide how to go on after the model refused the prompt")
		a.Decide(tracing.Decision{
			Reasoning: fmt.Sprintf("%s. Excerpts were up to %s; %d bytes of each leave %.0f %% of the prompt",
				tooLong, size(int64(limit)), outlineBytes, share(len(shorter), len(prompt))),
			Choice:       "Show the beginnings only",
			Alternatives: []string{"Show the beginnings only", "Show fewer documents", "Give up"},
			Outcome: fmt.Sprintf("the prompt shrinks from %s to %s; from now on excerpts have %s in all",
				size(int64(len(prompt))), size(int64(len(shorter))), size(int64(p.budget))),
			Confidence: new(1 - float64(len(shorter))/float64(len(prompt))),
		})
		a.Complete("Ask again with shorter excerpts")
		text, err = p.model.ask(ctx, will+", the beginnings only", plannerRole, shorter)
	} else if err == nil {
		p.budget *= 1.01
	}
	if err != nil {
		return proposals{}, err
	}
	return parseProposals(text)
}

// writePrompt writes the documents' names and what can be read of them, up to a
// number of bytes of each.
func writePrompt(s *shelf, shown []document, limit int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The project %q has %d documents. These are some of them.\n", s.name, len(s.documents))
	for _, d := range shown {
		fmt.Fprintf(&b, "%s%s (%d bytes)\n", documentMark, d.Path, d.Bytes)
		text, err := s.read(d)
		if err != nil {
			b.WriteString("(not readable now)\n")
			continue
		}
		b.WriteString(strings.ToValidUTF8(string(text[:min(limit, len(text))]), ""))
		b.WriteByte('\n')
	}
	return b.String()
}

// parseProposals reads the JSON object in an answer; models like to talk around it.
func parseProposals(answer string) (out proposals, err error) {
	from, to := strings.IndexByte(answer, '{'), strings.LastIndexByte(answer, '}')
	if from < 0 || to < from {
		return out, errors.New("read proposals: the answer has no JSON object")
	}
	if err := json.Unmarshal([]byte(answer[from:to+1]), &out); err != nil {
		return out, fmt.Errorf("read proposals: %w", err)
	}
	return out, nil
}

// scored is a proposal with what speaks for it.
type scored struct {
	proposal
	grounded, fresh, score float64
}

// selectProposals decides which proposals become requirements.
func (p *planner) selectProposals(ctx context.Context, s *shelf, offered []proposal, titles []string) (selected []proposal, err error) {
	_, a := tracing.Start(ctx, activity.Decision, "Select requirements",
		fmt.Sprintf("Weigh %s by their ground in the documents, by what is new in them and by their priority", count(len(offered), "proposal")),
		tracing.WithAttributes(agentAttributes("plan", "planner")...))
	defer a.End(&err)

	weighed, refused := weigh(s, offered, titles)
	if len(weighed) == 0 {
		return nil, fmt.Errorf("none of %d proposals names a known kind and documents of %s", len(offered), s.name)
	}
	// The better half, but three at least where there are so many.
	n := min(len(weighed), max(3, (len(weighed)+1)/2))
	var alternatives, choice []string
	for i, w := range weighed {
		alternatives = append(alternatives, fmt.Sprintf("%s (%.2f)", w.Title, w.score))
		if i < n {
			selected = append(selected, w.proposal)
			choice = append(choice, w.Title)
		}
	}
	best, confidence := weighed[0], weighed[0].score
	if n < len(weighed) && best.score > 0 {
		confidence = min(1, 0.5+(weighed[n-1].score-weighed[n].score)/best.score)
	}
	a.Decide(tracing.Decision{
		Reasoning: fmt.Sprintf("%q leads: %.0f %% of its terms stand in its documents, it is %.0f %% unlike every open requirement, its priority is %d. %d refused: unknown kind or document",
			best.Title, 100*best.grounded, 100*best.fresh, best.Priority, refused),
		Choice: some(choice, 4), Alternatives: alternatives, Confidence: &confidence,
		Outcome: fmt.Sprintf("%d of %s selected", n, count(len(offered), "proposal")),
	})
	a.Complete("Selected " + some(choice, 4))
	return selected, nil
}

// weigh scores proposals, best first. It leaves out those of an unknown kind or
// with a document that the shelf does not have: models make things up.
func weigh(s *shelf, offered []proposal, titles []string) (weighed []scored, refused int) {
	open := make([]termSet, len(titles))
	for i, title := range titles {
		open[i] = termsOf(title)
	}
	for _, o := range offered {
		if !slices.Contains(kinds, o.Kind) || len(s.pick(o.Documents)) < len(o.Documents) || o.Title == "" {
			refused++
			continue
		}
		texts := []string{string(o.Kind), o.Kind.verb()}
		for _, d := range s.pick(o.Documents)[:min(4, len(s.pick(o.Documents)))] {
			texts = append(texts, d.Path)
			if text, err := s.read(d); err == nil {
				texts = append(texts, string(text))
			}
		}
		w := scored{proposal: o, grounded: termsOf(o.Title, o.Because).within(termsOf(texts...)), fresh: 1}
		for _, other := range open {
			w.fresh = min(w.fresh, 1-termsOf(o.Title).likeness(other))
		}
		w.score = 0.5*w.grounded + 0.3*w.fresh + 0.2*float64(min(max(o.Priority, 1), 5))/5
		weighed = append(weighed, w)
	}
	slices.SortStableFunc(weighed, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	return weighed, refused
}

// planEvery is how long the planner rests between two plans: a real model costs
// money, the stand-in does not.
func (m *model) planEvery() time.Duration {
	if m.standIn {
		return 100 * time.Millisecond
	}
	return 15 * time.Second
}
