package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

func testStore(t *testing.T) *store {
	t.Helper()
	s, err := openStore(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// testProject creates a project with requirements of these titles, all to
// inventory a.md.
func testProject(t *testing.T, s *store, titles ...string) (project, []requirement) {
	t.Helper()
	p := project{Name: "books", Documents: 3, Bytes: 300}
	if err := s.saveProject(t.Context(), &p); err != nil {
		t.Fatal(err)
	}
	var rs []requirement
	for _, title := range titles {
		rs = append(rs, requirement{ProjectID: p.ID, Title: title, Kind: kindInventory, Documents: []string{"a.md"}, Bytes: 100, Priority: 2, PlannedBy: "x"})
	}
	if _, err := s.saveRequirements(t.Context(), rs); err != nil {
		t.Fatal(err)
	}
	open, err := s.openRequirements(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	return p, open
}

func TestProjects(t *testing.T) {
	s, ctx := testStore(t), t.Context()
	p := project{Name: "books", Documents: 3, Bytes: 300}
	q := project{Name: "papers", Documents: 1, Bytes: 10}
	for _, p := range []*project{&p, &q} {
		if err := s.saveProject(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	p.Documents = 4
	if err := s.saveProject(ctx, &p); err != nil {
		t.Fatal(err)
	}
	got, err := s.projects(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]project{p, q}, got); diff != "" {
		t.Errorf("projects (-want +got):\n%s", diff)
	}
	if _, err := s.saveRequirements(ctx, []requirement{{ProjectID: p.ID, Title: "x", Kind: kindIndex, Priority: 1}}); err != nil {
		t.Fatal(err)
	}
	next, open, err := s.leastPlanned(ctx)
	if err != nil || next.Name != "papers" || open != 0 {
		t.Errorf("leastPlanned = %s, %d, %v; want papers with no open requirement", next.Name, open, err)
	}
	if err := s.deleteProject(ctx, p.ID); err != nil {
		t.Error(err)
	}
	if err := s.deleteProject(ctx, p.ID); !errors.Is(err, errNotFound) {
		t.Errorf("second delete = %v, want errNotFound", err)
	}
	if open, err := s.openRequirements(ctx, 10); err != nil || len(open) != 0 {
		t.Errorf("requirements of a deleted project: %v, %v", open, err)
	}
}

func TestRequirementLife(t *testing.T) {
	s, ctx := testStore(t), t.Context()
	p, open := testProject(t, s, "one", "two")
	again := requirement{ProjectID: p.ID, Title: "one", Kind: kindInventory, Documents: []string{"a.md"}, Priority: 5}
	if opened, err := s.saveRequirements(ctx, []requirement{again}); err != nil || opened != 0 {
		t.Errorf("saving an open requirement opened %d, %v; want none", opened, err)
	}
	if err := s.dropRequirement(ctx, open[0].ID); err != nil {
		t.Fatal(err)
	}
	if titles, err := s.openTitles(ctx, p.ID); err != nil || !cmp.Equal(titles, []string{"two"}) {
		t.Errorf("open titles = %q, %v; want two", titles, err)
	}
	if opened, err := s.saveRequirements(ctx, []requirement{again}); err != nil || opened != 1 {
		t.Errorf("saving a done requirement opened %d, %v; want it", opened, err)
	}
	if err := s.dropRequirement(ctx, open[1].ID); err != nil {
		t.Fatal(err)
	}
	if n, err := s.reopenRequirements(ctx, 10); err != nil || n != 1 {
		t.Errorf("reopened %d, %v; want 1", n, err)
	}
	bad := again
	bad.Title, bad.Priority = "bad", 6
	if _, err := s.saveRequirements(ctx, []requirement{bad}); err == nil {
		t.Error("a priority of 6 was saved")
	}
}

func TestRunStates(t *testing.T) {
	states := []runState{runDelayed, runQueued, runClaimed, runRunning, runSucceeded, runFailed, runRejected, runCancelled}
	s, ctx := testStore(t), t.Context()
	_, open := testProject(t, s, "one")
	itemID, runID, err := s.createWorkItem(ctx, open[0].ID, "x")
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{
		"DELAYED QUEUED": true, "DELAYED CANCELLED": true,
		"QUEUED CLAIMED": true, "QUEUED CANCELLED": true,
		"CLAIMED RUNNING": true, "CLAIMED REJECTED": true, "CLAIMED FAILED": true, "CLAIMED CANCELLED": true,
		"RUNNING SUCCEEDED": true, "RUNNING FAILED": true, "RUNNING CANCELLED": true,
	}
	for _, from := range states {
		for _, to := range states {
			if _, err := s.db.ExecContext(ctx, `UPDATE runs SET state = ? WHERE work_item_id = ?`, from, itemID); err != nil {
				t.Fatal(err)
			}
			err := s.moveRun(ctx, runID, to, "note")
			name := fmt.Sprintf("%s %s", from, to)
			if allowed[name] && err != nil {
				t.Errorf("%s: %v", name, err)
			} else if !allowed[name] && !errors.Is(err, errMoved) {
				t.Errorf("%s: got %v, want errMoved", name, err)
			}
		}
	}
}

func TestOneAgentClaims(t *testing.T) {
	s, ctx := testStore(t), t.Context()
	_, open := testProject(t, s, "one")
	_, runID, err := s.createWorkItem(ctx, open[0].ID, "x")
	if err != nil {
		t.Fatal(err)
	}
	var agents sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		agents.Go(func() { _, errs[i] = s.claimRun(ctx, runID, fmt.Sprint("builder-", i)) })
	}
	agents.Wait()
	claimed := 0
	for _, err := range errs {
		if err == nil {
			claimed++
		} else if !errors.Is(err, errMoved) {
			t.Error(err)
		}
	}
	if claimed != 1 {
		t.Errorf("%d agents claimed the run, want 1", claimed)
	}
}

func TestRetryOfCancelledWorkItem(t *testing.T) {
	s, ctx := testStore(t), t.Context()
	_, open := testProject(t, s, "one")
	itemID, runID, err := s.createWorkItem(ctx, open[0].ID, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cancelWorkItem(ctx, itemID, "not wanted"); err != nil {
		t.Fatal(err)
	}
	if err := s.cancelWorkItem(ctx, itemID, "not wanted"); !errors.Is(err, errNotFound) {
		t.Errorf("second cancel = %v, want errNotFound", err)
	}
	err = s.saveRetry(ctx, run{ID: runID, WorkItemID: itemID, Attempt: 1}, retry{choice: choiceAgain}, &run{Attempt: 2})
	if !errors.Is(err, errNotFound) {
		t.Errorf("retry = %v, want errNotFound", err)
	}
	if due, err := s.dueRuns(ctx); err != nil || len(due) != 0 {
		t.Errorf("due runs = %v, %v; want none", due, err)
	}
}

func TestPrune(t *testing.T) {
	s, ctx := testStore(t), t.Context()
	_, open := testProject(t, s, "one", "two", "three")
	for _, r := range open {
		itemID, runID, err := s.createWorkItem(ctx, r.ID, "x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.claimRun(ctx, runID, "builder-1"); err != nil {
			t.Fatal(err)
		}
		if r.Title == "three" {
			continue
		}
		if err := s.moveRun(ctx, runID, runRunning, ""); err != nil {
			t.Fatal(err)
		}
		if err := s.completeRun(ctx, itemID, runID, runSucceeded, "done"); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.prune(ctx, 1); err != nil || n != 1 {
		t.Errorf("pruned %d, %v; want 1", n, err)
	}
	if n, err := s.forgetRequirements(ctx, 0); err != nil || n != 1 {
		t.Errorf("forgot %d requirements, %v; want 1", n, err)
	}
	if counts, err := s.runCounts(ctx); err != nil || counts[runClaimed] != 1 {
		t.Errorf("runs = %v, %v; want the claimed one", counts, err)
	}
	if n, err := s.cancelAll(ctx, "over"); err != nil || n != 1 {
		t.Errorf("cancelled %d, %v; want 1", n, err)
	}
}

func TestStoreSpans(t *testing.T) {
	r := record(t)
	s := testStore(t)
	if err := s.saveProject(t.Context(), &project{Name: "no parent"}); err != nil {
		t.Fatal(err)
	}
	if spans := r.spans(); len(spans) != 0 {
		t.Errorf("statements outside of any activity made %d spans", len(spans))
	}
	ctx, a := tracing.Start(t.Context(), activity.AgentAction, "Test", "")
	p := project{Name: "books"}
	if err := s.saveProject(ctx, &p); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.leastPlanned(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.saveRequirements(ctx, []requirement{{ProjectID: p.ID, Title: "x", Kind: kindIndex, Priority: 1}}); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.projects(cancelled); err == nil {
		t.Error("a cancelled query succeeded")
	}
	a.Complete("")
	type operation struct{ Name, System, Operation, Table string }
	var got []operation
	for _, span := range r.spans() {
		if span.Name != "Test" {
			got = append(got, operation{span.Name, span.text("db.system.name"), span.text("db.operation.name"), span.text("db.collection.name")})
		}
	}
	want := []operation{
		{"INSERT projects", "sqlite", "INSERT", "projects"},
		{"SELECT projects", "sqlite", "SELECT", "projects"},
		{"INSERT requirements", "sqlite", "INSERT", "requirements"},
		{"UPDATE projects", "sqlite", "UPDATE", "projects"},
		{"COMMIT", "sqlite", "COMMIT", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}
