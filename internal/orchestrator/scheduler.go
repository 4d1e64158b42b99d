package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// scheduler makes work items of open requirements, at the rate it is given, and
// queues the retries that are due.
type scheduler struct {
	*orchestrator
	ticks  int
	credit float64 // work items that may be made by now
	last   time.Time
	plan   chan<- int // asks the planner for so many requirements
}

const (
	tickEvery    = 500 * time.Millisecond
	pruneEvery   = 20 // ticks
	makersAtOnce = 8
	longQueue    = 2   // work items that wait for an indexer, so that none is idle
	keepClosed   = 300 // work items, and requirements that none of them names
)

func (s *scheduler) run(ctx context.Context) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	s.last = time.Now()
	s.credit = 2 + indexers // so that nobody waits for the first ticks
	for {
		if err := s.tick(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("scheduler tick", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tick is one look at everything that is open.
func (s *scheduler) tick(ctx context.Context) (err error) {
	root := ctx
	s.ticks++
	s.credit = min(s.credit+s.cfg.Rate*time.Since(s.last).Seconds(), max(1, 2*s.cfg.Rate))
	s.last = time.Now()
	ctx, a := tracing.Start(ctx, activity.SchedulerTick, "Scheduler tick",
		fmt.Sprintf("Queue due retries and up to %s, tick %d", count(int(s.credit), "work item"), s.ticks))
	defer a.End(&err)

	due, err := s.store.dueRuns(ctx)
	if err != nil {
		return err
	}
	for _, r := range due {
		s.desk.queue(r.WorkItemID)
	}
	counts, err := s.store.runCounts(ctx)
	if err != nil {
		return err
	}
	a.Sayf("%d runs are queued, %d running, %d wait for a retry", counts[runQueued], counts[runRunning]+counts[runClaimed], counts[runDelayed])
	made, err := s.makeWorkItems(ctx, root, a)
	if err != nil {
		return err
	}
	if s.ticks%pruneEvery == 0 {
		if err := s.prune(ctx); err != nil {
			return err
		}
	}
	a.Complete(fmt.Sprintf("Queued %s and %d due for a retry; %s open", count(made, "new work item"), len(due), plural(s.desk.len(), "work item is", "work items are")),
		map[string]int{"made": made, "due": len(due), "open": s.desk.len(), "queued": counts[runQueued], "running": counts[runRunning]})
	return nil
}

// makeWorkItems makes as many work items as the rate allows.
func (s *scheduler) makeWorkItems(ctx, root context.Context, tick *tracing.Activity) (made int, err error) {
	wanted := min(int(s.credit), s.cfg.maxOpen()-s.desk.len())
	if wanted <= 0 {
		return 0, nil
	}
	idle := s.desk.long.len() < longQueue
	if idle {
		if err := s.store.reopenWhole(ctx); err != nil {
			return 0, err
		}
	}
	open, err := s.store.openRequirements(ctx, 3*wanted+10)
	if err != nil {
		return 0, err
	}
	if missing := 2*wanted + 10 - len(open); missing > 0 {
		select {
		case s.plan <- missing:
		default: // the planner is at it
		}
	}
	if len(open) < wanted {
		// Documents are to be looked after again and again; besides, a model
		// that has to be paid for is asked seldom.
		if _, err := s.store.reopenRequirements(ctx, wanted-len(open)); err != nil {
			return 0, err
		}
		if open, err = s.store.openRequirements(ctx, 3*wanted+10); err != nil || len(open) == 0 {
			return 0, err
		}
	}
	chosen, err := s.choose(ctx, open, wanted, idle)
	if err != nil {
		return 0, err
	}
	s.credit -= float64(len(chosen))
	// At a high rate several are made at a time: one after the other would take
	// longer than the time between two ticks.
	var makers sync.WaitGroup
	errs := make([]error, len(chosen))
	places := make(chan struct{}, makersAtOnce)
	for i, r := range chosen {
		places <- struct{}{}
		makers.Go(func() {
			errs[i] = s.makeWorkItem(root, tick, r)
			<-places
		})
	}
	makers.Wait()
	for _, err := range errs {
		if err == nil {
			made++
		}
	}
	return made, errors.Join(errs...)
}

// makeWorkItem plans the activity of a work item, a tree of its own, and has
// the API create the work item in it.
func (s *scheduler) makeWorkItem(ctx context.Context, tick *tracing.Activity, r requirement) error {
	will := fmt.Sprintf("%s: %s, priority %d", r.Title, size(r.Bytes), r.Priority)
	options := []tracing.Option{
		tracing.WithLinks(tick.ID()),
		tracing.WithAttributes(keyProject.String(r.Project), keyKind.String(string(r.Kind)), keyPriority.Int(r.Priority)),
	}
	if planned, err := activity.ParseID(r.PlannedBy); err == nil {
		options = append(options, tracing.WithLinks(planned))
	}
	if len(r.Documents) == 0 {
		options = append(options, tracing.LongRunning())
	}
	ctx, a := tracing.Plan(trace.ContextWithSpan(ctx, nil), activity.WorkItem, fmt.Sprintf("%s %s of %s", r.Kind.verb(), extent(len(r.Documents) == 0), r.Project), will, options...)
	made, err := s.client.create(ctx, r.ID, a.ID().String())
	if err != nil {
		a.End(&err)
		return err
	}
	a.Set(keyWorkItem.Int64(made.ID))
	s.desk.add(&openItem{activity: a, workItem: workItem{
		ID: made.ID, RequirementID: r.ID, Project: r.Project, Title: r.Title, Kind: r.Kind, Documents: r.Documents,
		Bytes: r.Bytes, Priority: r.Priority, ActivityID: a.ID().String(), State: itemOpen, RunID: made.RunID,
	}})
	return nil
}

// choose decides which requirements come next. When the indexers are about to
// run out of work, one on a whole project gains half a point.
func (s *scheduler) choose(ctx context.Context, open []requirement, wanted int, idle bool) (chosen []requirement, err error) {
	ctx, a := tracing.Start(ctx, activity.Decision, "Choose requirements",
		fmt.Sprintf("Choose %d of %s by priority, age and size", min(wanted, len(open)), count(len(open), "open requirement")))
	defer a.End(&err)

	type candidate struct {
		requirement
		score float64
	}
	var oldest time.Duration
	for _, r := range open {
		oldest = max(oldest, time.Since(r.OpenedAt))
	}
	candidates := make([]candidate, len(open))
	for i, r := range open {
		age := float64(time.Since(r.OpenedAt)) / float64(max(oldest, 1))
		small := 1 / (1 + float64(r.Bytes)/100_000)
		candidates[i] = candidate{r, 0.4*float64(r.Priority)/5 + 0.4*age + 0.2*small}
		if idle && len(r.Documents) == 0 {
			candidates[i].score += 0.5
		}
	}
	slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(b.score, a.score) })
	var alternatives, titles []string
	firstOut := 0.0
	for i, c := range candidates {
		if len(alternatives) < 8 {
			alternatives = append(alternatives, fmt.Sprintf("%s in %s (%.2f)", c.Title, c.Project, c.score))
		}
		if len(chosen) == wanted {
			firstOut = candidates[i].score
			break
		}
		if len(c.Documents) == 0 {
			free, err := s.clearTheWay(ctx, c.requirement)
			if err != nil {
				return nil, err
			}
			if !free {
				continue
			}
		}
		chosen = append(chosen, c.requirement)
		titles = append(titles, c.Title)
	}
	best := candidates[0]
	confidence := min(1, 0.5+(best.score-firstOut)/2)
	a.Decide(tracing.Decision{
		Reasoning: fmt.Sprintf("%q of %s leads with %.2f: priority %d of 5, open for %s, %s",
			best.Title, best.Project, best.score, best.Priority, round(time.Since(best.OpenedAt)), size(best.Bytes)),
		Choice: cmp.Or(some(titles, 3), "none"), Alternatives: alternatives, Confidence: &confidence,
		Outcome: count(len(chosen), "work item") + " to be made",
	})
	a.Complete("Chose " + cmp.Or(some(titles, 3), "none"))
	return chosen, nil
}

// clearTheWay decides about work on the whole of a project when the same is
// open already. It is true if the new one is to be made.
func (s *scheduler) clearTheWay(ctx context.Context, r requirement) (free bool, err error) {
	other, progress, running := s.desk.same(r.Kind, r.Project)
	if other == nil {
		return true, nil
	}
	if !running && r.Priority <= other.Priority {
		return false, s.store.dropRequirement(ctx, r.ID) // what waits will do
	}
	ctx, a := tracing.Start(ctx, activity.Decision, "Supersede or keep",
		fmt.Sprintf("%s is asked for while work item %d does the same to %s", r.Title, other.ID, r.Project), tracing.WithLinks(other.activity.ID()))
	defer a.End(&err)

	// Work that is done weighs as much as four steps of priority.
	gain, loss := float64(r.Priority), float64(other.Priority)+4*progress
	choice, outcome := "keep it", "the new requirement is dropped"
	if gain > loss {
		choice, outcome, free = "supersede it", fmt.Sprintf("work item %d is cancelled", other.ID), true
	}
	a.Decide(tracing.Decision{
		Reasoning: fmt.Sprintf("The new one has priority %d; the other has priority %d and has done %.0f %%, which together count as %.1f",
			r.Priority, other.Priority, progress*100, loss),
		Choice: choice, Alternatives: []string{"supersede it", "keep it"}, Outcome: outcome,
		Confidence: new(0.5 + 0.5*min(1, max(gain-loss, loss-gain)/4)),
	})
	if !free {
		if err := s.store.dropRequirement(ctx, r.ID); err != nil {
			return false, err
		}
		a.Complete(fmt.Sprintf("Kept work item %d", other.ID))
		return false, nil
	}
	reason := fmt.Sprintf("superseded at %.0f %% by %q, which has priority %d", progress*100, r.Title, r.Priority)
	if err := s.client.cancel(ctx, other.ID, reason); errors.Is(err, errNotFound) {
		gone := fmt.Sprintf("work item %d closed before it could be cancelled", other.ID)
		a.Decide(tracing.Decision{Outcome: gone})
		a.Complete("Nothing to cancel: " + gone)
		return true, nil
	} else if err != nil {
		return false, err
	}
	a.Complete(fmt.Sprintf("Superseded work item %d", other.ID))
	return true, nil
}

// prune lets the store forget what closed long ago.
func (s *scheduler) prune(ctx context.Context) error {
	items, err := s.store.prune(ctx, keepClosed)
	requirements, err2 := s.store.forgetRequirements(ctx, keepClosed)
	tracing.FromContext(ctx).Sayf("Forgot %d work items and %d requirements", items, requirements)
	return errors.Join(err, err2)
}
