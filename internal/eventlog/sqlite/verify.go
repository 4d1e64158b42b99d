package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/midspan/midspan/activity"
)

// Verify reads the whole file: SQLite's own check of it, each batch with its
// checksum, and that none is missing. An error that wraps eventlog.ErrCorrupt
// says what is damaged. Appends go on meanwhile; the WAL grows.
func (l *Log) Verify(ctx context.Context) error {
	return l.View(ctx, func(tx *sql.Tx) error {
		var result string
		if err := tx.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&result); err != nil {
			return err
		}
		if result != "ok" {
			return l.damaged(result)
		}
		var id string
		var floor, received, sum int64
		if err := tx.QueryRowContext(ctx, "SELECT id, floor, received_at, checksum FROM log").Scan(&id, &floor, &received, &sum); err != nil {
			return l.explainScan("verify", err)
		}
		if sum != logSum(id, uint64(floor), activity.Time(received)) {
			return l.damaged("the row of the table log has not the checksum that it tells")
		}
		if err := l.verifyBatches(ctx, tx, uint64(floor)); err != nil {
			return err
		}
		return l.verifyCursors(ctx, tx)
	})
}

func (l *Log) verifyBatches(ctx context.Context, tx *sql.Tx, last uint64) error {
	rows, err := tx.QueryContext(ctx, "SELECT first, count, received_at, events FROM batch ORDER BY first")
	if err != nil {
		return err
	}
	defer rows.Close()
	at := activity.Time(0)
	for rows.Next() {
		events, err := l.scanBatch(rows)
		if err != nil {
			return err
		}
		if events[0].Seq != last+1 || events[0].ReceivedAt < at {
			return l.damaged(fmt.Sprintf("the batch of event %d follows on event %d", events[0].Seq, last))
		}
		last, at = events[len(events)-1].Seq, events[0].ReceivedAt
	}
	return rows.Err()
}

func (l *Log) verifyCursors(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, "SELECT name, seq, checksum FROM cursor")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var seq, sum int64
		if err := rows.Scan(&name, &seq, &sum); err != nil {
			return l.explainScan("verify", err)
		}
		if sum != cursorSum(name, uint64(seq)) {
			return l.damaged(fmt.Sprintf("cursor %q has not the checksum that it tells", name))
		}
	}
	return rows.Err()
}
