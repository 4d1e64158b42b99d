package orchestrator

import (
	"context"
	"fmt"
	"strings"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// review checks a finished work and decides whether its result is accepted. It
// returns an error when it is not.
func review(ctx context.Context, w workItem, t task, did string) (err error) {
	ctx, a := tracing.Start(ctx, activity.AgentAction, "Review result", "Check what was done: "+did,
		tracing.WithAttributes(agentAttributes("invoke_agent", "reviewer")...))
	defer a.End(&err)

	checks, err := t.check(ctx)
	if err != nil {
		return fmt.Errorf("review: %w", err)
	}
	accepted, err := accept(ctx, w, checks)
	if err != nil {
		return err
	}
	a.Complete(accepted)
	return nil
}

// refusedError is a result that the reviewer refused.
type refusedError struct{ outcome string }

func (e *refusedError) Error() string     { return "the reviewer refused the result: " + e.outcome }
func (e *refusedError) ErrorType() string { return "result_refused" }

// accept decides by the checks. To refuse is a decision too, and no failure of it.
func accept(ctx context.Context, w workItem, checks []check) (outcome string, err error) {
	_, a := tracing.Start(ctx, activity.Decision, "Accept result", "Decide whether the result of "+w.Title+" is good enough")
	defer a.End(nil)

	passed := 0
	var told []string
	for _, c := range checks {
		verdict := "no: "
		if c.passed {
			passed++
			verdict = "yes: "
		}
		told = append(told, verdict+c.what)
	}
	// Laplace's rule of succession: few checks never make certain.
	confidence := float64(passed+1) / float64(len(checks)+2)
	choice := "accept"
	if confidence < 0.5 {
		choice, confidence = "refuse", 1-confidence
	}
	outcome = fmt.Sprintf("%d of %s passed", passed, count(len(checks), "check"))
	a.Decide(tracing.Decision{
		Reasoning: strings.Join(told, "; "), Choice: choice, Alternatives: []string{"accept", "refuse"},
		Outcome: outcome, Confidence: &confidence,
	})
	a.Complete("Decided to " + choice + ": " + outcome)
	if choice == "refuse" {
		return "", &refusedError{outcome}
	}
	return outcome, nil
}
