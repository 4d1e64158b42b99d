package orchestrator

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// itemState is where a work item stands. It is OPEN from its creation until one
// of its runs succeeds, the last one fails or is rejected, or it is cancelled.
type itemState string

const (
	itemOpen      itemState = "OPEN"
	itemDone      itemState = "DONE"
	itemFailed    itemState = "FAILED"
	itemCancelled itemState = "CANCELLED"
)

// workItem is one request to fulfil a requirement.
type workItem struct {
	ID            int64     `json:"id"`
	RequirementID int64     `json:"requirement_id"`
	Project       string    `json:"project"`
	Title         string    `json:"title"`
	Kind          kind      `json:"kind"`
	Documents     []string  `json:"documents"` // paths; none means all of the project
	Bytes         int64     `json:"bytes"`
	Priority      int       `json:"priority"`
	ActivityID    string    `json:"activity_id"`
	State         itemState `json:"state"`
	RunID         int64     `json:"run_id"` // the latest run
}

func (w *workItem) whole() bool { return len(w.Documents) == 0 }

// createWorkItem creates a work item of a requirement and queues its first run.
func (s *store) createWorkItem(ctx context.Context, requirementID int64, activityID string) (itemID, runID int64, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE requirements SET state = 'SCHEDULED' WHERE id = ? AND state = 'OPEN'`, requirementID)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, errNotFound)
		}
		row := tx.QueryRowContext(ctx, `
			INSERT INTO work_items (requirement_id, activity_id, state, created_at) VALUES (?, ?, 'OPEN', ?) RETURNING id`,
			requirementID, activityID, now())
		if err := row.Scan(&itemID); err != nil {
			return err
		}
		row = tx.QueryRowContext(ctx, `INSERT INTO runs (work_item_id, attempt, state) VALUES (?, 1, 'QUEUED') RETURNING id`, itemID)
		return row.Scan(&runID)
	})
	if err != nil {
		return 0, 0, fmt.Errorf("create work item of open requirement %d: %w", requirementID, err)
	}
	return itemID, runID, nil
}

// workItem returns a work item, or errNotFound.
func (s *store) workItem(ctx context.Context, id int64) (workItem, error) {
	var w workItem
	var documents string
	row := s.db.QueryRowContext(ctx, `
		SELECT work_items.id, requirement_id, activity_id, work_items.state,
			(SELECT max(id) FROM runs WHERE work_item_id = work_items.id),
			projects.name, title, kind, requirements.documents, requirements.bytes, priority
		FROM work_items JOIN requirements ON requirements.id = requirement_id JOIN projects ON projects.id = project_id
		WHERE work_items.id = ?`, id)
	err := row.Scan(&w.ID, &w.RequirementID, &w.ActivityID, &w.State, &w.RunID, &w.Project, &w.Title, &w.Kind, &documents, &w.Bytes, &w.Priority)
	if errors.Is(err, sql.ErrNoRows) {
		err = errNotFound
	}
	if err == nil {
		err = json.Unmarshal([]byte(documents), &w.Documents)
	}
	if err != nil {
		return workItem{}, fmt.Errorf("read work item %d: %w", id, err)
	}
	return w, nil
}

// completeRun ends a run. A success closes its work item; a failure leaves it
// open for the retry decision.
func (s *store) completeRun(ctx context.Context, itemID, runID int64, to runState, note string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		if to == runFailed {
			return moveRun(ctx, tx, runID, to, note)
		}
		if err := moveRun(ctx, tx, runID, to, ""); err != nil {
			return err
		}
		return closeWorkItem(ctx, tx, itemID, itemDone, note)
	})
	if err != nil {
		return fmt.Errorf("complete run %d: %w", runID, err)
	}
	return nil
}

// saveApproval records whether a claimed run may begin. One that may not is
// rejected, and its work item cancelled.
func (s *store) saveApproval(ctx context.Context, itemID, runID int64, a approval) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO approvals (run_id, approved, score, reasoning) VALUES (?, ?, ?, ?)`,
			runID, a.Approved, a.Score, a.Reasoning)
		if err != nil || a.Approved {
			return err
		}
		if err := moveRun(ctx, tx, runID, runRejected, a.Reasoning); err != nil {
			return err
		}
		return closeWorkItem(ctx, tx, itemID, itemCancelled, a.Reasoning)
	})
	if err != nil {
		return fmt.Errorf("save approval of run %d: %w", runID, err)
	}
	return nil
}

// cancelWorkItem cancels an open work item with its open run. It returns
// errNotFound if it is not open.
func (s *store) cancelWorkItem(ctx context.Context, id int64, reason string) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		if err := closeWorkItem(ctx, tx, id, itemCancelled, reason); err != nil {
			return err
		}
		// Between a failed run and the decision about it none is open.
		_, err := tx.ExecContext(ctx, `
			UPDATE runs SET state = 'CANCELLED', ended_at = ?, error = ?
			WHERE work_item_id = ? AND state IN ('DELAYED', 'QUEUED', 'CLAIMED', 'RUNNING')`, now(), reason, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("cancel work item %d: %w", id, err)
	}
	return nil
}

// closeWorkItem closes an open work item and its requirement.
func closeWorkItem(ctx context.Context, tx *sql.Tx, id int64, to itemState, outcome string) error {
	row := tx.QueryRowContext(ctx, `
		UPDATE work_items SET state = ?, outcome = ?, closed_at = ? WHERE id = ? AND state = 'OPEN' RETURNING requirement_id`,
		to, outcome, now(), id)
	var requirementID int64
	if err := row.Scan(&requirementID); errors.Is(err, sql.ErrNoRows) {
		return errNotFound
	} else if err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE requirements SET state = 'DONE' WHERE id = ?`, requirementID)
	return err
}

// cancelAll cancels all open work items and runs. It returns how many work
// items they were.
func (s *store) cancelAll(ctx context.Context, reason string) (n int64, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE runs SET state = 'CANCELLED', ended_at = ?, error = ?
			WHERE state IN ('DELAYED', 'QUEUED', 'CLAIMED', 'RUNNING')`, now(), reason)
		if err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, `
			UPDATE work_items SET state = 'CANCELLED', outcome = ?, closed_at = ? WHERE state = 'OPEN'`, reason, now())
		if err != nil {
			return err
		}
		n, err = result.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("cancel all work items: %w", err)
	}
	return n, nil
}

// history says how works of a kind have gone.
type history struct {
	succeeded, failed int // of the newest 50 closed work items of the kind
	// recent lists the documents of each of the last recentItems work items
	// that did the same in the same project; none means all of it.
	recent [][]string
}

// recentItems is how many work items back something counts as just done.
const recentItems = 8

// history returns what is known of works like w.
func (s *store) history(ctx context.Context, w workItem) (h history, err error) {
	row := s.db.QueryRowContext(ctx, `
		SELECT coalesce(sum(closed = 'DONE'), 0), coalesce(sum(closed = 'FAILED'), 0) FROM (
			SELECT work_items.state AS closed FROM work_items JOIN requirements ON requirements.id = requirement_id
			WHERE kind = ? AND work_items.state <> 'OPEN' ORDER BY work_items.id DESC LIMIT 50)`, w.Kind)
	if err := row.Scan(&h.succeeded, &h.failed); err != nil {
		return h, fmt.Errorf("read history of kind %s: %w", w.Kind, err)
	}
	h.recent, err = all(ctx, s, func(rows *sql.Rows, paths *[]string) error {
		var documents string
		if err := rows.Scan(&documents); err != nil {
			return err
		}
		return json.Unmarshal([]byte(documents), paths)
	}, `
		SELECT requirements.documents FROM requirements JOIN work_items ON requirements.id = requirement_id JOIN projects ON projects.id = project_id
		WHERE projects.name = ? AND work_items.state = 'DONE' AND kind = ? AND work_items.id > ? AND work_items.id < ?`, w.Project, w.Kind, w.ID-recentItems, w.ID)
	if err != nil {
		return h, fmt.Errorf("read what was done to %s: %w", w.Project, err)
	}
	return h, nil
}
