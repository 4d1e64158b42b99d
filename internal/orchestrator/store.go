package orchestrator

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/XSAM/otelsql"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"database/sql/driver"

	_ "modernc.org/sqlite" // the driver "sqlite", without cgo
)

// schema is created anew at every start: the store lives as long as its
// orchestrator.
const schema = `
CREATE TABLE projects (
	id        INTEGER PRIMARY KEY,
	name      TEXT    NOT NULL UNIQUE,
	documents INTEGER NOT NULL,
	bytes     INTEGER NOT NULL,
	plans     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE requirements (
	id         INTEGER PRIMARY KEY,
	project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
	title      TEXT    NOT NULL,
	kind       TEXT    NOT NULL,
	documents  TEXT    NOT NULL, -- JSON array of paths; empty means all of the project
	bytes      INTEGER NOT NULL,
	priority   INTEGER NOT NULL CHECK (priority BETWEEN 1 AND 5),
	state      TEXT    NOT NULL CHECK (state IN ('OPEN', 'SCHEDULED', 'DONE')),
	planned_by TEXT    NOT NULL, -- the activity that planned it
	opened_at  INTEGER NOT NULL,
	UNIQUE (project_id, title)
) STRICT;
CREATE INDEX requirements_by_state ON requirements (state, opened_at);
CREATE TABLE work_items (
	id             INTEGER PRIMARY KEY,
	requirement_id INTEGER NOT NULL REFERENCES requirements ON DELETE CASCADE,
	activity_id    TEXT    NOT NULL,
	state          TEXT    NOT NULL CHECK (state IN ('OPEN', 'DONE', 'FAILED', 'CANCELLED')),
	outcome        TEXT    NOT NULL DEFAULT '',
	created_at     INTEGER NOT NULL,
	closed_at      INTEGER
) STRICT;
CREATE INDEX work_items_by_state ON work_items (state, id);
CREATE INDEX work_items_by_requirement ON work_items (requirement_id, id);
CREATE TABLE runs (
	id           INTEGER PRIMARY KEY,
	work_item_id INTEGER NOT NULL REFERENCES work_items ON DELETE CASCADE,
	attempt      INTEGER NOT NULL,
	state        TEXT    NOT NULL,
	agent        TEXT    NOT NULL DEFAULT '',
	activity_id  TEXT    NOT NULL DEFAULT '', -- of an attempt that was planned
	not_before   INTEGER NOT NULL DEFAULT 0,
	claimed_at   INTEGER,
	started_at   INTEGER,
	ended_at     INTEGER,
	error        TEXT    NOT NULL DEFAULT '',
	UNIQUE (work_item_id, attempt)
) STRICT;
CREATE INDEX runs_by_state ON runs (state, not_before);
CREATE TABLE approvals (
	run_id     INTEGER PRIMARY KEY REFERENCES runs ON DELETE CASCADE,
	approved   INTEGER NOT NULL,
	score      REAL    NOT NULL,
	reasoning  TEXT    NOT NULL
) STRICT;
CREATE TABLE retry_decisions (
	run_id     INTEGER PRIMARY KEY REFERENCES runs ON DELETE CASCADE,
	choice     TEXT    NOT NULL,
	reasoning  TEXT    NOT NULL,
	confidence REAL    NOT NULL,
	backoff_ms INTEGER NOT NULL,
	decided_at INTEGER NOT NULL
) STRICT;
`

// store holds projects, requirements, work items and runs in one SQLite file.
// It is safe for concurrent use.
type store struct {
	db *sql.DB
}

var errNotFound = errors.New("not there")

func openStore(ctx context.Context, path string) (*store, error) {
	pragmas := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"journal_mode(WAL)",
		// OFF: the file is removed when the orchestrator stops, so there is
		// nothing that power loss could take.
		"synchronous(OFF)",
		"foreign_keys(ON)",
	}}
	dsn := (&url.URL{Scheme: "file", Opaque: path, RawQuery: pragmas.Encode()}).String()
	db, err := otelsql.Open("sqlite", dsn,
		otelsql.WithAttributes(semconv.DBSystemNameSQLite, semconv.DBNamespace("orchestrator")),
		otelsql.WithSpanNameFormatter(func(_ context.Context, m otelsql.Method, query string) string {
			operation, table := statement(m, query)
			return strings.TrimSuffix(operation+" "+table, " ")
		}),
		otelsql.WithAttributesGetter(func(_ context.Context, m otelsql.Method, query string, _ []driver.NamedValue) []attribute.KeyValue {
			operation, table := statement(m, query)
			if table == "" {
				return []attribute.KeyValue{semconv.DBOperationName(operation)}
			}
			return []attribute.KeyValue{semconv.DBOperationName(operation), semconv.DBCollectionName(table)}
		}),
		// What is left is what a reader knows as a database operation: the
		// statements and the ends of transactions.
		otelsql.WithSpanOptions(otelsql.SpanOptions{
			OmitConnResetSession: true, OmitConnPrepare: true, OmitConnectorConnect: true, OmitRows: true, DisableErrSkip: true,
			SpanFilter: func(ctx context.Context, m otelsql.Method, _ string, _ []driver.NamedValue) bool {
				return m != otelsql.MethodConnBeginTx && trace.SpanContextFromContext(ctx).IsValid()
			},
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	// SQLite has one writer. Callers queue for the one connection in the order
	// they came; its busy handler would let them poll.
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("create schema: %w", err), db.Close())
	}
	return &store{db: db}, nil
}

func (s *store) close() error { return s.db.Close() }

// statement returns the operation and the table of a statement of this
// package. What a SELECT reads follows the last FROM: those before it are of
// subqueries.
func statement(m otelsql.Method, query string) (operation, table string) {
	switch m {
	case otelsql.MethodTxCommit:
		return "COMMIT", ""
	case otelsql.MethodTxRollback:
		return "ROLLBACK", ""
	}
	var previous string
	for word := range strings.FieldsSeq(query) {
		switch {
		case operation == "":
			operation = word
		case table != "" && operation != "SELECT":
		case previous == "INTO" || previous == "FROM" || previous == "UPDATE" || previous == "TABLE":
			table = strings.Trim(word, "();")
		}
		previous = word
	}
	return operation, table
}

// write runs fn in a transaction.
func (s *store) write(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// all returns the rows of a query, each read by scan.
func all[T any](ctx context.Context, s *store, scan func(*sql.Rows, *T) error, query string, args ...any) ([]T, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var row T
		if err := scan(rows, &row); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

// prune deletes the work items that closed before the newest keep of them,
// with their runs and decisions, so that the store does not grow.
func (s *store) prune(ctx context.Context, keep int) (int64, error) {
	result, err := s.db.ExecContext(ctx, `
		DELETE FROM work_items WHERE state <> 'OPEN' AND id <= (
			SELECT id FROM work_items WHERE state <> 'OPEN' ORDER BY id DESC LIMIT 1 OFFSET ?)`, keep)
	if err != nil {
		return 0, fmt.Errorf("prune work items: %w", err)
	}
	return result.RowsAffected()
}

func now() int64 { return time.Now().UnixMilli() }
