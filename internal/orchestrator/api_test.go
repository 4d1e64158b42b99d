package orchestrator

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func testAPI(t *testing.T, s *store) (*client, *[]int64) {
	t.Helper()
	var cancelled []int64
	service := &api{store: s, token: "secret", cancelled: func(id int64, _ string) { cancelled = append(cancelled, id) }}
	server := httptest.NewServer(service.handler())
	t.Cleanup(server.Close)
	return &client{http: server.Client(), base: server.URL, token: "secret"}, &cancelled
}

func TestWorkItemOverHTTP(t *testing.T) {
	s, ctx := testStore(t), t.Context()
	_, open := testProject(t, s, "one")
	c, _ := testAPI(t, s)
	made, err := c.create(ctx, open[0].ID, "activity")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.claimRun(ctx, made.RunID, "builder-1"); err != nil {
		t.Fatal(err)
	}
	approved, err := c.approval(ctx, made.ID)
	if err != nil || !approved.Approved {
		t.Fatalf("approval = %+v, %v", approved, err)
	}
	if err := c.start(ctx, made.ID, made.RunID); err != nil {
		t.Fatal(err)
	}
	if err := c.complete(ctx, made.ID, made.RunID, runSucceeded, "did it"); err != nil {
		t.Fatal(err)
	}
	got, err := c.workItem(ctx, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := workItem{
		ID: made.ID, RequirementID: open[0].ID, Project: "books", Title: "one", Kind: kindInventory, Documents: []string{"a.md"},
		Bytes: 100, Priority: 2, ActivityID: "activity", State: itemDone, RunID: made.RunID,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("work item (-want +got):\n%s", diff)
	}
}

func TestRejection(t *testing.T) {
	s, ctx := testStore(t), t.Context()
	_, open := testProject(t, s, "one", "two")
	c, _ := testAPI(t, s)
	for i, r := range open {
		made, err := c.create(ctx, r.ID, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.claimRun(ctx, made.RunID, "builder-1"); err != nil {
			t.Fatal(err)
		}
		approved, err := c.approval(ctx, made.ID)
		if err != nil {
			t.Fatal(err)
		}
		// Both do the same to the same document.
		if want := i == 0; approved.Approved != want {
			t.Errorf("work item %d: approved is %v, want %v: %s", i+1, approved.Approved, want, approved.Reasoning)
		}
		if i == 1 {
			if w, err := c.workItem(ctx, made.ID); err != nil || w.State != itemCancelled {
				t.Errorf("the rejected work item is %s, %v", w.State, err)
			}
			return
		}
		if err := c.start(ctx, made.ID, made.RunID); err != nil {
			t.Fatal(err)
		}
		if err := c.complete(ctx, made.ID, made.RunID, runSucceeded, ""); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPIProblems(t *testing.T) {
	s := testStore(t)
	_, open := testProject(t, s, "one", "two")
	c, cancelled := testAPI(t, s)
	made, err := c.create(t.Context(), open[0].ID, "")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, method, path, token, body string
		status                          int
	}{
		{"no token", http.MethodGet, "/work-items/1", "", "", http.StatusUnauthorized},
		{"not there", http.MethodGet, "/work-items/99", "secret", "", http.StatusNotFound},
		{"no number", http.MethodGet, "/work-items/x", "secret", "", http.StatusNotFound},
		{"no JSON", http.MethodPost, "/work-items", "secret", "x", http.StatusBadRequest},
		{"scheduled already", http.MethodPost, "/work-items", "secret", `{"requirement_id":1}`, http.StatusNotFound},
		{"start before claim", http.MethodPost, "/work-items/1/start", "secret", `{"run_id":1}`, http.StatusConflict},
		{"bad state", http.MethodPost, "/work-items/1/completion", "secret", `{"run_id":1,"state":"QUEUED"}`, http.StatusBadRequest},
		{"cancel", http.MethodDelete, "/work-items/1", "secret", `{"reason":"enough"}`, http.StatusOK},
		{"cancel again", http.MethodDelete, "/work-items/1", "secret", `{"reason":"enough"}`, http.StatusNotFound},
		{"method", http.MethodPut, "/work-items/1", "secret", "", http.StatusMethodNotAllowed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, c.base+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+test.token)
			response, err := c.http.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.StatusCode != test.status {
				t.Errorf("status %d, want %d", response.StatusCode, test.status)
			}
		})
	}
	if diff := cmp.Diff([]int64{made.ID}, *cancelled); diff != "" {
		t.Errorf("cancelled (-want +got):\n%s", diff)
	}
}
