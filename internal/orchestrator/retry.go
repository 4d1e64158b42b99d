package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// retry is what is decided after a run has failed.
type retry struct {
	choice     string
	reasoning  string
	confidence float64
	backoff    time.Duration
	again      bool
	leaveOut   []string      // documents that the next run does without
	allowed    time.Duration // time for the next run; 0 is as usual
}

const (
	choiceGiveUp   = "give up"
	choiceLeaveOut = "try again without what can't be read"
	choiceMoreTime = "try again with more time"
	choiceAgain    = "try again as it was"

	maxAttempts = 3
	firstWait   = 400 * time.Millisecond
)

// way is a way to go on, with how promising it is from 0 to 1.
type way struct {
	choice string
	score  float64
	why    string
}

// decideRetry decides how to go on after a run has failed. jitter, from 0 to 1,
// keeps runs that failed together from coming back together.
func decideRetry(ctx context.Context, w workItem, attempt int, ds []document, failure error, jitter float64) retry {
	_, a := tracing.Start(ctx, activity.Decision, "Decide on a retry",
		fmt.Sprintf("Decide how to go on after attempt %d of %d", attempt, maxAttempts),
		tracing.WithAttributes(keyWorkItem.Int64(w.ID), keyAttempt.Int(attempt)))
	defer a.End(nil)

	r := retry{backoff: time.Duration((1 + jitter) * float64(firstWait<<(attempt-1)))}
	ways := r.weigh(attempt, ds, failure)
	slices.SortStableFunc(ways, func(a, b way) int { return cmp.Compare(b.score, a.score) })
	best := ways[0]
	r.choice, r.again = best.choice, best.choice != choiceGiveUp
	r.reasoning = fmt.Sprintf("%v: %s", failure, best.why)
	// How far the best is ahead of the next, of all that could be.
	r.confidence = min(1, 0.5+(best.score-ways[1].score)/2)
	var alternatives []string
	for _, o := range ways {
		alternatives = append(alternatives, fmt.Sprintf("%s (%.2f: %s)", o.choice, o.score, o.why))
	}
	outcome := "the work item fails"
	if r.again {
		outcome = fmt.Sprintf("attempt %d waits for %s", attempt+1, round(r.backoff))
	}
	if best.choice != choiceMoreTime {
		r.allowed = 0
	}
	if best.choice != choiceLeaveOut {
		r.leaveOut = nil
	}
	a.Decide(tracing.Decision{Reasoning: r.reasoning, Choice: r.choice, Alternatives: alternatives, Outcome: outcome, Confidence: &r.confidence})
	a.Complete("Decided to " + r.choice)
	return r
}

// weigh scores the ways to go on. It notes in r what each would need.
func (r *retry) weigh(attempt int, ds []document, failure error) []way {
	left := 1 - float64(attempt)/maxAttempts
	ways := []way{{choiceGiveUp, 0.2 + 0.8*(1-left)*(1-left), fmt.Sprintf("%d of %d attempts are used", attempt, maxAttempts)}}
	r.leaveOut = unreadable(failure)
	var tooLate *lateError
	var refused *refusedError
	switch {
	case len(r.leaveOut) > 0:
		rest := float64(len(ds)-len(r.leaveOut)) / float64(max(len(ds), 1))
		ways = append(ways,
			way{choiceLeaveOut, rest * (0.5 + left), fmt.Sprintf("%.0f %% of the documents are left without %s", 100*rest, some(r.leaveOut, 2))},
			way{choiceAgain, 0.1 * left, "a file that is missing rarely comes back by itself"})
	case errors.As(failure, &tooLate):
		r.allowed = time.Duration(float64(tooLate.allowed) * (2 + 4*(1-tooLate.done)))
		ways = append(ways,
			way{choiceMoreTime, 0.5*left + 0.5, fmt.Sprintf("%.0f %% was done in %s, so %s should do", 100*tooLate.done, round(tooLate.allowed), round(r.allowed))},
			way{choiceAgain, 0.3 * left * tooLate.done, "the same time would most likely not do again"})
	case errors.As(failure, &refused):
		ways = append(ways, way{choiceAgain, 0.3 * left, "the same documents give the same result"})
	default:
		ways = append(ways, way{choiceAgain, 0.9 * left, "nothing says that the failure stays"})
	}
	return ways
}

// unreadable returns the paths of the documents that an error says can't be read.
func unreadable(err error) (paths []string) {
	switch e := err.(type) { //nolint:errorlint // it unwraps step by step, to find all that were joined
	case nil:
	case *unreadableError:
		return []string{e.path}
	case interface{ Unwrap() []error }:
		for _, joined := range e.Unwrap() {
			paths = append(paths, unreadable(joined)...)
		}
	default:
		return unreadable(errors.Unwrap(err))
	}
	return paths
}
