package orchestrator

import (
	"context"
	"database/sql"
	"fmt"
)

// project is a set of documents that requirements are about.
type project struct {
	ID        int64
	Name      string
	Documents int
	Bytes     int64
	Plans     int // how often it was planned
}

func scanProject(rows *sql.Rows, p *project) error {
	return rows.Scan(&p.ID, &p.Name, &p.Documents, &p.Bytes, &p.Plans)
}

// saveProject creates a project, or updates the one of that name.
func (s *store) saveProject(ctx context.Context, p *project) error {
	row := s.db.QueryRowContext(ctx, `
		INSERT INTO projects (name, documents, bytes) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET documents = excluded.documents, bytes = excluded.bytes
		RETURNING id, plans`, p.Name, p.Documents, p.Bytes)
	if err := row.Scan(&p.ID, &p.Plans); err != nil {
		return fmt.Errorf("save project %s: %w", p.Name, err)
	}
	return nil
}

// leastPlanned returns the project that was planned least often, with the
// number of its open requirements.
func (s *store) leastPlanned(ctx context.Context) (p project, open int, err error) {
	row := s.db.QueryRowContext(ctx, `
		SELECT id, name, documents, bytes, plans,
			(SELECT count(*) FROM requirements WHERE project_id = projects.id AND state = 'OPEN')
		FROM projects ORDER BY plans, id LIMIT 1`)
	err = row.Scan(&p.ID, &p.Name, &p.Documents, &p.Bytes, &p.Plans, &open)
	if err != nil {
		return p, 0, fmt.Errorf("choose a project: %w", err)
	}
	return p, open, nil
}

// deleteProject deletes a project with all that belongs to it.
func (s *store) deleteProject(ctx context.Context, id int64) error {
	result, err := s.db.ExecContext(ctx, `DELETE FROM projects WHERE id = ?`, id)
	if err != nil {
		return fmt.Errorf("delete project %d: %w", id, err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return fmt.Errorf("delete project %d: %w", id, errNotFound)
	}
	return nil
}

func (s *store) projects(ctx context.Context) ([]project, error) {
	ps, err := all(ctx, s, scanProject, `SELECT id, name, documents, bytes, plans FROM projects ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("list projects: %w", err)
	}
	return ps, nil
}
