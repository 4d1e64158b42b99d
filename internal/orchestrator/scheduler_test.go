package orchestrator

import (
	"context"
	"testing"
)

func TestClearTheWay(t *testing.T) {
	tests := []struct {
		name      string
		priority  int     // of the new one; the other has 2
		progress  float64 // of the other
		closed    bool    // the other, in the store, when it is to be cancelled
		free      bool
		cancelled int
		outcome   string
	}{
		{"urgent", 5, 0.1, false, true, 1, "work item 1 is cancelled"},
		{"nearly done", 5, 0.9, false, false, 0, "the new requirement is dropped"},
		{"done at that moment", 5, 0.1, true, true, 0, "work item 1 closed before it could be cancelled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := record(t)
			s, ctx := testStore(t), t.Context()
			_, open := testProject(t, s, "one", "two")
			c, cancelled := testAPI(t, s)
			made, err := c.create(ctx, open[0].ID, "")
			if err != nil {
				t.Fatal(err)
			}
			o := &orchestrator{store: s, client: c, desk: newDesk()}
			it := testItem(t, made.ID, 2)
			defer it.activity.Complete("")
			o.desk.add(it)
			_, stop := context.WithCancelCause(ctx)
			defer stop(nil)
			if !o.desk.begin(it, stop) {
				t.Fatal("can't begin")
			}
			o.desk.report(it, tt.progress)
			if tt.closed {
				if err := s.cancelWorkItem(ctx, made.ID, "closed"); err != nil {
					t.Fatal(err)
				}
			}

			fresh := requirement{ID: open[1].ID, Project: it.Project, Title: "all", Kind: it.Kind, Priority: tt.priority}
			free, err := (&scheduler{orchestrator: o}).clearTheWay(ctx, fresh)
			if err != nil || free != tt.free || len(*cancelled) != tt.cancelled {
				t.Errorf("free %v, %d cancelled, %v; want %v, %d", free, len(*cancelled), err, tt.free, tt.cancelled)
			}
			for _, span := range rec.spans() {
				if span.Name == "Supersede or keep" && (span.text("activity.outcome") != tt.outcome || span.state() != "COMPLETED") {
					t.Errorf("the decision: %v", span.attrs)
				}
			}
		})
	}
}
