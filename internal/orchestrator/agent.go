package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// agent takes work items from a lane, one after the other.
type agent struct {
	*orchestrator
	name string // as builder-2
	lane *lane
	rand *rand.Rand
}

func (g *agent) work(ctx context.Context) {
	for {
		it, ok := g.lane.take(ctx)
		if !ok {
			return
		}
		g.handle(ctx, it)
	}
}

// handle carries out one run of a work item and closes the work item, unless
// the run failed and another is to follow.
func (g *agent) handle(ctx context.Context, it *openItem) {
	ctx, stop := context.WithCancelCause(it.activity.Context(ctx))
	defer stop(nil)
	if !g.desk.begin(it, stop) {
		return
	}
	run, err := g.store.claimRun(ctx, it.RunID, g.name)
	if err != nil {
		g.abandon(ctx, it, fmt.Errorf("claim: %w", err))
		return
	}
	if run.Attempt == 1 {
		it.activity.Start()
	}
	it.activity.Sayf("%s has claimed it, attempt %d", g.name, run.Attempt)
	did, result, err := g.attempt(ctx, it, run)
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause // what a cancellation looks like from inside varies
	}
	switch {
	case err == nil:
		it.activity.Complete(did, result)
		g.desk.close(it, itemDone)
	case errors.Is(err, context.Canceled):
		it.activity.Cancel(err.Error())
		g.desk.close(it, itemCancelled)
	default:
		g.afterFailure(ctx, it, run, err)
	}
}

// abandon gives up a work item whose bookkeeping failed.
func (g *agent) abandon(ctx context.Context, it *openItem, err error) {
	state := itemFailed
	if cause := context.Cause(ctx); cause != nil || errors.Is(err, errMoved) || errors.Is(err, errNotFound) {
		state = itemCancelled
		if cause != nil {
			err = cause
		}
	}
	if state == itemCancelled {
		it.attempt.Cancel(err.Error())
		it.activity.Cancel(err.Error())
	} else {
		it.attempt.Fail(err)
		it.activity.Fail(err)
	}
	g.desk.close(it, state)
}

// attempt carries out one run: it asks for approval, starts, works in a thread
// of its own, has the result reviewed and reports.
func (g *agent) attempt(ctx context.Context, it *openItem, run run) (did string, result any, err error) {
	a := it.attempt
	attributes := append(agentAttributes("invoke_agent", g.name), keyRun.Int64(run.ID), keyAttempt.Int(run.Attempt), keyKind.String(string(it.Kind)))
	if a != nil {
		ctx = a.Context(ctx)
		a.Set(attributes...)
		a.Start()
	} else {
		ctx, a = tracing.Start(ctx, activity.AgentAction, it.attemptName(),
			fmt.Sprintf("Have attempt %d approved, carry it out, have it reviewed", run.Attempt), append(it.options(), tracing.WithAttributes(attributes...))...)
	}
	defer a.End(&err)

	a.Say("Asking for approval")
	approved, err := g.client.approval(ctx, it.ID)
	if err != nil {
		return "", nil, g.failed(ctx, it, run, err)
	}
	if !approved.Approved {
		return "", nil, &cancelledError{"not approved: " + approved.Reasoning}
	}
	if err := g.client.start(ctx, it.ID, run.ID); err != nil {
		return "", nil, g.failed(ctx, it, run, err)
	}
	shelf := g.shelves[it.Project]
	documents := slices.DeleteFunc(slices.Clone(shelf.pick(it.Documents)), func(d document) bool { return slices.Contains(it.leaveOut, d.Path) })
	task := g.newTask(it.Kind, shelf, documents)
	a.Sayf("Working on %s", count(len(documents), "document"))
	thread := tracing.Go(it.Kind.verb()+" "+extent(it.whole())+" documents", fmt.Sprintf("%s %s of %s", it.Kind.verb(), count(len(documents), "document"), it.Project),
		func(ctx context.Context, ds []document) (string, error) { return g.carryOut(ctx, it, task, shelf, ds) },
		append(it.options(), tracing.WithThread(fmt.Sprintf("run-%d", run.ID), g.name))...)
	// Not ctx: the thread has it too, and a run ends when its thread has.
	if did, err = thread(ctx, documents).Wait(context.WithoutCancel(ctx)); err != nil {
		return "", nil, g.failed(ctx, it, run, err)
	}
	a.Say("Waiting for the review")
	if err := review(ctx, it.workItem, task, did); err != nil {
		return "", nil, g.failed(ctx, it, run, err)
	}
	if err := g.client.complete(ctx, it.ID, run.ID, runSucceeded, did); err != nil {
		return "", nil, err
	}
	_, result = task.finish()
	a.Complete(did)
	return did, result, nil
}

// carryOut does a run's work, within the time that it is allowed.
func (g *agent) carryOut(ctx context.Context, it *openItem, t task, s *shelf, ds []document) (string, error) {
	a := tracing.FromContext(ctx)
	if it.whole() {
		skipped, err := bySegments(ctx, it.Kind, t, s, ds, g.cfg.pace(it.Kind), func(p float64) {
			g.desk.report(it, p)
			it.activity.Progress(p)
		})
		if err != nil {
			return "", err
		}
		did, _ := t.finish()
		if skipped > 0 {
			did += fmt.Sprintf("; %s could not be read", count(skipped, "document"))
		}
		a.Complete(did)
		return did, nil
	}
	bytes := totalBytes(ds)
	allowed := it.allowed
	if allowed == 0 {
		allowed = g.speed.allow(it.Kind, bytes, it.Priority)
	}
	a.Sayf("%s has %s for %s", g.name, round(allowed), size(bytes))
	began := time.Now()
	limited, cancel := context.WithDeadline(ctx, began.Add(allowed))
	defer cancel()
	if err := together(limited, it.Kind, t, s, ds, allowed); err != nil {
		return "", err
	}
	g.speed.learn(it.Kind, bytes, time.Since(began))
	did, _ := t.finish()
	a.Complete(did)
	return did, nil
}

// failed reports a failed run and returns the failure. A run that was cancelled
// is known as that already.
func (g *agent) failed(ctx context.Context, it *openItem, run run, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if reported := g.client.complete(ctx, it.ID, run.ID, runFailed, err.Error()); reported != nil {
		return errors.Join(err, reported)
	}
	return err
}

// afterFailure decides on a retry. One is planned at once and waits on the desk.
func (g *agent) afterFailure(ctx context.Context, it *openItem, failed run, failure error) {
	it.attempt = nil // it has ended
	it.activity.Sayf("Attempt %d failed, deciding on a retry", failed.Attempt)
	documents := g.shelves[it.Project].pick(it.Documents)
	r := decideRetry(ctx, it.workItem, failed.Attempt, documents, failure, g.rand.Float64())
	if !r.again {
		if err := g.store.saveRetry(ctx, failed, r, nil); err != nil {
			g.abandon(ctx, it, errors.Join(failure, err))
			return
		}
		it.activity.Fail(failure)
		g.desk.close(it, itemFailed)
		return
	}
	_, planned := tracing.Plan(ctx, activity.AgentAction, it.attemptName(),
		fmt.Sprintf("%s, after a wait of %s", upperFirst(r.choice), round(r.backoff)), it.options()...)
	next := run{Attempt: failed.Attempt + 1, ActivityID: planned.ID().String(), NotBefore: time.Now().Add(r.backoff)}
	if err := g.store.saveRetry(ctx, failed, r, &next); err != nil {
		it.attempt = planned
		g.abandon(ctx, it, errors.Join(failure, err))
		return
	}
	it.activity.Sayf("Attempt %d failed, attempt %d waits: %s", failed.Attempt, next.Attempt, r.choice)
	if !g.desk.delay(it, next.ID, planned, r) {
		reason := context.Cause(ctx)
		planned.Cancel(reason.Error())
		it.activity.Cancel(reason.Error())
		g.desk.close(it, itemCancelled)
	}
}
