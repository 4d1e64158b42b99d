package orchestrator

import (
	"context"
	"fmt"
	"math"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// approval is the answer to the question whether a run may begin.
type approval struct {
	Approved  bool    `json:"approved"`
	Score     float64 `json:"score"`
	Reasoning string  `json:"reasoning"`
}

// approvedBytes is how much a run may read without losing points for it.
const approvedBytes = 1 << 20

// approve decides whether a claimed run may begin: by how much of it was not
// done just now, by how works of its kind went, and by its size.
func approve(ctx context.Context, s *store, w workItem) (out approval, err error) {
	ctx, a := tracing.Start(ctx, activity.Decision, "Approve run",
		"Weigh need, record and size of "+w.Title, tracing.WithAttributes(keyWorkItem.Int64(w.ID), keyKind.String(string(w.Kind))))
	defer a.End(&err)

	h, err := s.history(ctx, w)
	if err != nil {
		return out, err
	}
	need, why := h.need(w)
	// One success and no failure is assumed before there is a record.
	trust := float64(h.succeeded+1) / float64(h.succeeded+h.failed+1)
	fits := min(1, approvedBytes/float64(max(w.Bytes, 1)))
	out.Score = 0.6*need + 0.25*trust + 0.15*fits
	out.Approved = out.Score >= 0.5
	out.Reasoning = fmt.Sprintf("%s (need %.2f); %d of the last %d of its kind went well (record %.2f); it reads %s (size %.2f). The score is %.2f, 0.50 is asked for.",
		why, need, h.succeeded, h.succeeded+h.failed, trust, size(w.Bytes), fits, out.Score)
	choice, outcome := "approve", "the run begins"
	if !out.Approved {
		choice, outcome = "reject", "the work item is cancelled"
	}
	confidence := 0.5 + math.Abs(out.Score-0.5)
	a.Decide(tracing.Decision{
		Reasoning: out.Reasoning, Choice: choice, Alternatives: []string{"approve", "reject"}, Outcome: outcome, Confidence: &confidence,
	})
	if err := s.saveApproval(ctx, w.ID, w.RunID, out); err != nil {
		return out, err
	}
	a.Complete(map[bool]string{true: "Approved ", false: "Rejected "}[out.Approved]+w.Title, out)
	return out, nil
}

// need returns the share of the work item that was not done just now, and says
// how it is known.
func (h history) need(w workItem) (share float64, why string) {
	done := map[string]bool{}
	for _, paths := range h.recent {
		if len(paths) == 0 {
			return 0, fmt.Sprintf("The same was done to the whole project within %d work items", recentItems)
		}
		for _, path := range paths {
			done[path] = true
		}
	}
	if w.whole() {
		return 1, fmt.Sprintf("It was not done to the whole project within %d work items", recentItems)
	}
	missing := 0
	for _, path := range w.Documents {
		if !done[path] {
			missing++
		}
	}
	return float64(missing) / float64(len(w.Documents)),
		fmt.Sprintf("It was not done to %d of %s within %d work items", missing, count(len(w.Documents), "document"), recentItems)
}
