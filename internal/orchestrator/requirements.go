package orchestrator

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// requirement is something that a project needs. It is OPEN until a work item
// is made of it, SCHEDULED until that work item is closed, and then DONE. A
// planner that asks for it again, or a scheduler short of work, opens it again.
type requirement struct {
	ID        int64
	ProjectID int64
	Project   string
	Title     string
	Kind      kind
	Documents []string // paths; none means all of the project
	Bytes     int64    // of the documents
	Priority  int      // 1 to 5, 5 is urgent
	PlannedBy string   // the activity that planned it
	OpenedAt  time.Time
}

const requirementColumns = `requirements.id, project_id, projects.name, title, kind, requirements.documents,
	requirements.bytes, priority, planned_by, opened_at`

func scanRequirement(rows *sql.Rows, r *requirement) error {
	var documents string
	var opened int64
	err := rows.Scan(&r.ID, &r.ProjectID, &r.Project, &r.Title, &r.Kind, &documents, &r.Bytes, &r.Priority, &r.PlannedBy, &opened)
	if err != nil {
		return err
	}
	r.OpenedAt = time.UnixMilli(opened)
	return json.Unmarshal([]byte(documents), &r.Documents)
}

// saveRequirements opens requirements, in one transaction. One that is open or
// scheduled already stays as it is. It returns how many are open now that were not.
func (s *store) saveRequirements(ctx context.Context, rs []requirement) (opened int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		for _, r := range rs {
			if r.Documents == nil {
				r.Documents = []string{}
			}
			documents, err := json.Marshal(r.Documents)
			if err != nil {
				return err
			}
			result, err := tx.ExecContext(ctx, `
				INSERT INTO requirements (project_id, title, kind, documents, bytes, priority, state, planned_by, opened_at)
				VALUES (?, ?, ?, ?, ?, ?, 'OPEN', ?, ?)
				ON CONFLICT (project_id, title) DO UPDATE SET state = 'OPEN', priority = excluded.priority,
					documents = excluded.documents, bytes = excluded.bytes, planned_by = excluded.planned_by, opened_at = excluded.opened_at
				WHERE state = 'DONE'`,
				r.ProjectID, r.Title, r.Kind, string(documents), r.Bytes, r.Priority, r.PlannedBy, now())
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return err
			}
			opened += int(n)
		}
		_, err := tx.ExecContext(ctx, `UPDATE projects SET plans = plans + 1 WHERE id = ?`, rs[0].ProjectID)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("save %d requirements: %w", len(rs), err)
	}
	return opened, nil
}

// openRequirements returns the open requirements: those on a whole project
// before all others, which are many, and else the oldest first.
func (s *store) openRequirements(ctx context.Context, limit int) ([]requirement, error) {
	rs, err := all(ctx, s, scanRequirement, `SELECT `+requirementColumns+`
		FROM requirements JOIN projects ON projects.id = project_id
		WHERE state = 'OPEN' ORDER BY requirements.documents = '[]' DESC, opened_at, requirements.id LIMIT ?`, limit)
	if err != nil {
		return nil, fmt.Errorf("list open requirements: %w", err)
	}
	return rs, nil
}

// openTitles returns the titles of a project's open requirements.
func (s *store) openTitles(ctx context.Context, projectID int64) ([]string, error) {
	titles, err := all(ctx, s, func(rows *sql.Rows, title *string) error { return rows.Scan(title) },
		`SELECT title FROM requirements WHERE project_id = ? AND state <> 'DONE' LIMIT 200`, projectID)
	if err != nil {
		return nil, fmt.Errorf("list titles: %w", err)
	}
	return titles, nil
}

// dropRequirement marks an open requirement as done: another work item covers it.
func (s *store) dropRequirement(ctx context.Context, id int64) error {
	_, err := s.db.ExecContext(ctx, `UPDATE requirements SET state = 'DONE' WHERE id = ? AND state = 'OPEN'`, id)
	if err != nil {
		return fmt.Errorf("drop requirement %d: %w", id, err)
	}
	return nil
}

// reopenWhole opens the done requirement on a whole project that was opened the
// longest time ago.
func (s *store) reopenWhole(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE requirements SET state = 'OPEN', opened_at = ? WHERE id = (
			SELECT id FROM requirements WHERE state = 'DONE' AND documents = '[]' ORDER BY opened_at, id LIMIT 1)`, now())
	if err != nil {
		return fmt.Errorf("reopen a requirement on a whole project: %w", err)
	}
	return nil
}

// reopenRequirements opens the done requirements that were opened the longest
// time ago: documents are to be checked again and again.
func (s *store) reopenRequirements(ctx context.Context, limit int) (int64, error) {
	result, err := s.db.ExecContext(ctx, `
		UPDATE requirements SET state = 'OPEN', opened_at = ? WHERE id IN (
			SELECT id FROM requirements WHERE state = 'DONE' ORDER BY opened_at, id LIMIT ?)`, now(), limit)
	if err != nil {
		return 0, fmt.Errorf("reopen requirements: %w", err)
	}
	return result.RowsAffected()
}

// forgetRequirements deletes the done requirements beyond the newest keep, but
// none that a work item still names.
func (s *store) forgetRequirements(ctx context.Context, keep int) (int64, error) {
	result, err := s.db.ExecContext(ctx, `
		DELETE FROM requirements WHERE state = 'DONE'
			AND id NOT IN (SELECT requirement_id FROM work_items)
			AND id <= (SELECT id FROM requirements WHERE state = 'DONE' ORDER BY id DESC LIMIT 1 OFFSET ?)`, keep)
	if err != nil {
		return 0, fmt.Errorf("forget requirements: %w", err)
	}
	return result.RowsAffected()
}
