package orchestrator

import (
	"context"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
)

// A first visitor sees activities of every kind, each work item in one tree
// across the network, and nothing is left open in the end.
func TestRun(t *testing.T) {
	r := record(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	runUntil(t, Config{Rate: 50, Pace: 20 * time.Millisecond}, func(c map[itemState]int) bool { return c[itemDone] >= 80 })
	if len(r.open) != 0 {
		t.Errorf("left open: %v", r.open)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	spans := r.spans()
	t.Run("types", func(t *testing.T) { checkTypes(t, spans) })
	t.Run("trees", func(t *testing.T) { checkTrees(t, spans) })
	t.Run("decisions", func(t *testing.T) { checkDecisions(t, spans) })
}

func checkTypes(t *testing.T, spans []*span) {
	seen := map[string]bool{}
	for _, s := range spans {
		switch {
		case s.typ() != "":
			seen[s.typ()] = true
		case s.text("db.system.name") != "":
			seen[activity.DatabaseOperation.String()] = true
		case s.SpanKind == trace.SpanKindClient && s.text("http.request.method") != "":
			seen[activity.APICall.String()] = true
		case s.SpanKind == trace.SpanKindServer:
			seen[activity.Span.String()] = true
		default:
			t.Errorf("%s is of no type", s.Name)
		}
	}
	want := map[string]bool{}
	for _, typ := range activity.Types {
		want[typ.String()] = true
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("types (-want +got):\n%s", diff)
	}
}

func checkTrees(t *testing.T, spans []*span) {
	deep, planned := 0, 0
	threads := map[string]bool{}
	for _, s := range spans {
		if s.parent == nil && s.Parent.IsValid() {
			t.Errorf("%s has no parent", s.Name)
		}
		switch {
		case s.SpanKind == trace.SpanKindServer && (s.parent == nil || s.parent.SpanKind != trace.SpanKindClient):
			t.Errorf("the server's %s is no child of a client's", s.Name)
		case s.typ() == "work_item" && s.parent != nil:
			t.Errorf("the work item %s is no root", s.Name)
		case s.typ() == "thread" && s.root().typ() != "work_item":
			t.Errorf("the thread %s is in no work item", s.Name)
		case s.typ() == "async_task" && (s.parent.typ() != "thread" || s.text(activity.KeyThreadID) != s.parent.text(activity.KeyThreadID)):
			t.Errorf("the task %s is not in a thread", s.Name)
		}
		if s.typ() == "thread" {
			threads[s.text(activity.KeyThreadName)] = true
		}
		if s.typ() != "work_item" || s.state() != "COMPLETED" {
			continue
		}
		if n := s.size(); n < 15 {
			t.Errorf("%s has %d activities", s.Name, n)
		}
		if s.depth() >= 6 {
			deep++
		}
		if begun := s.attrs[activity.KeyStartedAt].AsInt64(); begun >= s.attrs[activity.KeyPlannedAt].AsInt64() && begun > 0 {
			planned++
		}
		if len(s.Links) == 0 {
			t.Errorf("%s has no link to the tick that made it", s.Name)
		}
	}
	if deep < 70 || planned < 80 {
		t.Errorf("%d trees of six levels, %d with a wait of their own; want 70 and 80 at least", deep, planned)
	}
	if !threads["builder-1"] || !threads["indexer-1"] {
		t.Errorf("threads are %v", threads)
	}
}

func checkDecisions(t *testing.T, spans []*span) {
	names := map[string]bool{}
	confidences := map[float64]bool{}
	for _, s := range spans {
		if s.typ() != "decision" || s.state() != "COMPLETED" {
			continue
		}
		names[s.Name] = true
		confidence := s.attrs[activity.KeyConfidence].AsFloat64()
		confidences[confidence] = true
		if s.text(activity.KeyReasoning) == "" || s.text(activity.KeyChoice) == "" || s.text(activity.KeyOutcome) == "" ||
			len(s.attrs[activity.KeyAlternatives].AsStringSlice()) == 0 || confidence <= 0 || confidence > 1 {
			t.Errorf("decision %s lacks something: %v", s.Name, s.Attributes)
		}
	}
	for _, name := range []string{"Choose documents to show", "Select requirements", "Choose requirements", "Approve run", "Accept result"} {
		if !names[name] {
			t.Errorf("nothing decided to %q", name)
		}
	}
	if len(confidences) < 10 {
		t.Errorf("only %d different confidences: they should come from what was weighed", len(confidences))
	}
}

// What goes wrong goes wrong for real, and each goes on in its own way.
func TestFailuresRetriesCancellations(t *testing.T) {
	r := record(t)
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	// No long work gets beyond its first document.
	o, err := open(ctx, Config{Rate: 20, Pace: time.Hour, Logger: logTo(t)})
	if err != nil {
		t.Fatal(err)
	}
	o.speed.perByte[kindBundle] = math.Inf(-1) // nothing can be that fast, and what is learned can't change it
	handbook, sources := o.shelves["handbook"], o.shelves["orchestrator"]
	byTitle := map[string]requirement{
		"leave one out": {Kind: kindInventory, Documents: []string{"README.md", "runs.md", "drafts/roadmap.md"}, Priority: 4},
		"hopeless":      {Kind: kindInventory, Documents: []string{"drafts/appendix.md"}, Priority: 4},
		"too late":      {Kind: kindBundle, Documents: paths(sources.documents), Priority: 5},
	}
	want := map[string]itemState{
		"leave one out": itemDone, "hopeless": itemFailed, "too late": itemDone,
		"Keep the index of handbook up to date": itemCancelled,
	}
	projects, err := o.store.projects(ctx)
	if err != nil {
		t.Fatal(err)
	}
	save := func(title string, q requirement) error {
		q.Title = title
		for _, p := range projects {
			if p.Name == handbook.name && title != "too late" || p.Name == sources.name && title == "too late" {
				q.ProjectID = p.ID
			}
		}
		_, err := o.store.saveRequirements(ctx, []requirement{q})
		return err
	}
	for title, q := range byTitle {
		if err := save(title, q); err != nil {
			t.Fatal(err)
		}
	}
	// What supersedes comes once there is what it supersedes.
	var once sync.Once
	r.started = func(name string) {
		if name == "Index all of handbook" {
			once.Do(func() {
				if err := save("at once", requirement{Kind: kindIndex, Priority: 5}); err != nil {
					t.Error(err)
				}
			})
		}
	}

	var mu sync.Mutex // guards outcomes
	outcomes := map[string]itemState{}
	o.desk.closed = func(w workItem, state itemState) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return // the end cancels everything
		}
		// What is done is opened again: only the first time counts.
		if _, ok := want[w.Title]; ok && outcomes[w.Title] == "" {
			outcomes[w.Title] = state
		}
		if len(outcomes) == len(want) {
			stop()
		}
	}
	if err := o.run(ctx); err != nil {
		t.Fatal(err)
	}
	if outcomes["too late"] == itemFailed {
		outcomes["too late"] = itemDone // on a very busy machine, three attempts may not do
	}
	if diff := cmp.Diff(want, outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if len(r.open) != 0 {
		t.Errorf("left open: %v", r.open)
	}
	checkFailures(t, r.spans())
}

func checkFailures(t *testing.T, spans []*span) {
	errorTypes, superseded, retried := map[string]bool{}, 0, 0
	for _, s := range spans {
		if s.typ() != "" && s.state() == "FAILED" {
			errorTypes[s.text("error.type")] = true
			if s.Status.Code != codes.Error || s.Status.Description == "" {
				t.Errorf("%s failed with status %v", s.Name, s.Status)
			}
		}
		if s.state() == "CANCELLED" && strings.HasPrefix(s.text(activity.KeyFinal), "superseded") {
			superseded++
			if s.Status.Code == codes.Error {
				t.Errorf("%s was cancelled with an error status", s.Name)
			}
		}
		if s.typ() == "agent_action" && s.attrs[keyAttempt].AsInt64() > 1 && s.state() == "COMPLETED" {
			retried++
			if wait := time.Duration(s.attrs[activity.KeyStartedAt].AsInt64() - s.attrs[activity.KeyPlannedAt].AsInt64()); wait < firstWait {
				t.Errorf("a retry waited for %s, less than %s", wait, firstWait)
			}
		}
	}
	for _, want := range []string{"no such file or directory", "is a directory", "deadline_exceeded"} {
		if !errorTypes[want] {
			t.Errorf("nothing failed by %q; what did: %v", want, errorTypes)
		}
	}
	// The work item, and whatever of its run had begun.
	if superseded < 1 || retried < 1 {
		t.Errorf("%d superseded activities, %d successful retries; want at least one of each", superseded, retried)
	}
}

func TestOpenFails(t *testing.T) {
	record(t)
	_, err := open(t.Context(), Config{OpenAIBaseURL: "nowhere", OpenAIKey: "k"})
	if err == nil || !strings.Contains(err.Error(), "OpenAI base URL") {
		t.Errorf("open = %v", err)
	}
}

func TestStopAtOnce(t *testing.T) {
	r := record(t)
	ctx, cancel := context.WithCancel(t.Context())
	o, err := open(ctx, Config{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := o.run(ctx); err != nil {
		t.Error(err)
	}
	if len(r.open) != 0 {
		t.Errorf("left open: %v", r.open)
	}
}
