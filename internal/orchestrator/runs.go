package orchestrator

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// runState is where a run, one attempt at a work item, stands.
//
//	DELAYED ──▶ QUEUED ──▶ CLAIMED ──▶ RUNNING ──▶ SUCCEEDED
//	   │           │          ├──▶ REJECTED └────▶ FAILED
//	   └───────────┴──────────┴───────────┴──────▶ CANCELLED
//
// A retry is DELAYED until its backoff has passed. CLAIMED means that one agent
// has it and asks for approval. A claimed run can fail too, when the approval
// can't be had.
type runState string

const (
	runDelayed   runState = "DELAYED"
	runQueued    runState = "QUEUED"
	runClaimed   runState = "CLAIMED"
	runRunning   runState = "RUNNING"
	runSucceeded runState = "SUCCEEDED"
	runFailed    runState = "FAILED"
	runRejected  runState = "REJECTED"
	runCancelled runState = "CANCELLED"
)

// moves says which states may follow a state; a state that is missing is final.
var moves = map[runState][]runState{
	runDelayed: {runQueued, runCancelled},
	runQueued:  {runClaimed, runCancelled},
	runClaimed: {runRunning, runRejected, runFailed, runCancelled},
	runRunning: {runSucceeded, runFailed, runCancelled},
}

// before returns the states from which a run may come to state to.
func before(to runState) []runState {
	var from []runState
	for state, next := range moves {
		if slices.Contains(next, to) {
			from = append(from, state)
		}
	}
	slices.Sort(from)
	return from
}

// run is one attempt at a work item.
type run struct {
	ID         int64
	WorkItemID int64
	Attempt    int
	ActivityID string // of an attempt that was planned, else empty
	NotBefore  time.Time
}

// errMoved says that a run was not in a state from which it could move as
// asked, mostly since it has been cancelled.
var errMoved = errors.New("the run is in another state")

// moveRun moves a run to a state, with what that state is to remember.
func (s *store) moveRun(ctx context.Context, id int64, to runState, note string) error {
	return moveRun(ctx, s.db, id, to, note)
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func moveRun(ctx context.Context, db execer, id int64, to runState, note string) error {
	set, args := "state = ?", []any{to}
	switch to {
	case runClaimed:
		set, args = set+", claimed_at = ?, agent = ?", append(args, now(), note)
	case runRunning:
		set, args = set+", started_at = ?", append(args, now())
	case runSucceeded, runFailed, runRejected, runCancelled:
		set, args = set+", ended_at = ?, error = ?", append(args, now(), note)
	}
	from := before(to)
	args = append(args, id)
	for _, state := range from {
		args = append(args, state)
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(from)), ", ")
	// Only column names and question marks are put together here.
	result, err := db.ExecContext(ctx, "UPDATE runs SET "+set+" WHERE id = ? AND state IN ("+marks+")", args...)
	if err != nil {
		return fmt.Errorf("move run %d to %s: %w", id, to, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("move run %d to %s: %w", id, to, errMoved)
	}
	return nil
}

// claimRun gives a queued run to an agent. Of several that ask one gets it;
// the others get errMoved.
func (s *store) claimRun(ctx context.Context, id int64, agent string) (run, error) {
	if err := s.moveRun(ctx, id, runClaimed, agent); err != nil {
		return run{}, err
	}
	r := run{ID: id}
	row := s.db.QueryRowContext(ctx, `SELECT work_item_id, attempt, activity_id FROM runs WHERE id = ?`, id)
	if err := row.Scan(&r.WorkItemID, &r.Attempt, &r.ActivityID); err != nil {
		return run{}, fmt.Errorf("claim run %d: %w", id, err)
	}
	return r, nil
}

// dueRuns queues the delayed runs whose backoff has passed and returns them.
func (s *store) dueRuns(ctx context.Context) ([]run, error) {
	rs, err := all(ctx, s, func(rows *sql.Rows, r *run) error { return rows.Scan(&r.ID, &r.WorkItemID, &r.Attempt) }, `
		UPDATE runs SET state = 'QUEUED' WHERE state = 'DELAYED' AND not_before <= ?
		RETURNING id, work_item_id, attempt`, now())
	if err != nil {
		return nil, fmt.Errorf("queue due runs: %w", err)
	}
	return rs, nil
}

// runCounts returns how many runs are in each state that is not final.
func (s *store) runCounts(ctx context.Context) (map[runState]int, error) {
	type count struct {
		state runState
		n     int
	}
	counts, err := all(ctx, s, func(rows *sql.Rows, c *count) error { return rows.Scan(&c.state, &c.n) }, `
		SELECT state, count(*) FROM runs WHERE state IN ('DELAYED', 'QUEUED', 'CLAIMED', 'RUNNING') GROUP BY state`)
	if err != nil {
		return nil, fmt.Errorf("count runs: %w", err)
	}
	out := make(map[runState]int, len(counts))
	for _, c := range counts {
		out[c.state] = c.n
	}
	return out, nil
}

// saveRetry records a retry decision about a failed run. With a next run it is
// created, delayed; without one the work item is closed as failed.
func (s *store) saveRetry(ctx context.Context, failed run, d retry, next *run) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO retry_decisions (run_id, choice, reasoning, confidence, backoff_ms, decided_at) VALUES (?, ?, ?, ?, ?, ?)`,
			failed.ID, d.choice, d.reasoning, d.confidence, d.backoff.Milliseconds(), now())
		if err != nil {
			return err
		}
		if next == nil {
			return closeWorkItem(ctx, tx, failed.WorkItemID, itemFailed, d.reasoning)
		}
		// It may have been cancelled since its run failed.
		row := tx.QueryRowContext(ctx, `
			INSERT INTO runs (work_item_id, attempt, state, activity_id, not_before)
			SELECT id, ?, 'DELAYED', ?, ? FROM work_items WHERE id = ? AND state = 'OPEN' RETURNING id`,
			next.Attempt, next.ActivityID, next.NotBefore.UnixMilli(), failed.WorkItemID)
		if err := row.Scan(&next.ID); errors.Is(err, sql.ErrNoRows) {
			return errNotFound
		} else if err != nil {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save retry decision about run %d: %w", failed.ID, err)
	}
	return nil
}
