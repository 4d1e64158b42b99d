package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
)

// Verify reads the whole file: SQLite's own check of it, each batch with its
// checksum, and that none is missing. An error that wraps eventlog.ErrCorrupt
// says what is damaged first. Appends go on meanwhile; the WAL grows.
func (l *Log) Verify(ctx context.Context) error {
	var first error
	err := l.Check(ctx, func(damage error) bool {
		first = damage
		return false
	})
	if err != nil {
		return err
	}
	return first
}

// Check is Verify, but tells of each damage, until report returns false. Its own
// error is why it could not read on.
func (l *Log) Check(ctx context.Context, report func(damage error) bool) error {
	err := l.View(ctx, func(tx *sql.Tx) error {
		c := checker{l, tx, report}
		for _, step := range []func(context.Context) error{c.pages, c.log, c.cursors} {
			if err := c.damage(step(ctx)); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

type checker struct {
	*Log
	tx     *sql.Tx
	report func(error) bool
}

var errEnough = errors.New("no more is asked for")

// damage reports an error that tells of damage, and returns any other.
func (c *checker) damage(err error) error {
	err = c.explain("verify", err)
	switch {
	case !errors.Is(err, eventlog.ErrCorrupt):
		return err
	case c.report(err):
		return nil
	}
	return errEnough
}

// maxPageDamages bounds what SQLite tells of its pages.
const maxPageDamages = 20

func (c *checker) pages(ctx context.Context) error {
	rows, err := c.tx.QueryContext(ctx, fmt.Sprintf("PRAGMA integrity_check(%d)", maxPageDamages))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var result string
		if err := rows.Scan(&result); err != nil {
			return err
		}
		if result != "ok" {
			if err := c.damage(c.damaged(result)); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

func (c *checker) log(ctx context.Context) error {
	var id string
	var floor, received, sum int64
	if err := c.tx.QueryRowContext(ctx, "SELECT id, floor, received_at, checksum FROM log").Scan(&id, &floor, &received, &sum); err != nil {
		return c.explainScan("verify", err)
	}
	if sum != logSum(id, uint64(floor), activity.Time(received)) {
		if err := c.damage(c.damaged("the row of the table log has not the checksum that it tells")); err != nil {
			return err
		}
	}
	rows, err := c.tx.QueryContext(ctx, "SELECT first, count, received_at, events FROM batch ORDER BY first")
	if err != nil {
		return err
	}
	defer rows.Close()
	last, at := uint64(floor), activity.Time(0)
	for rows.Next() {
		var first, count, received int64
		var data sql.RawBytes
		if err := rows.Scan(&first, &count, &received, &data); err != nil {
			return c.explainScan("verify", err)
		}
		if uint64(first) != last+1 || activity.Time(received) < at {
			if err := c.damage(c.damaged(fmt.Sprintf("the batch of event %d follows on event %d", first, last))); err != nil {
				return err
			}
		}
		events, err := c.decoder.DecodeBatch(data, uint64(first), activity.Time(received))
		if err != nil || int64(len(events)) != count {
			if err := c.damage(c.damaged(fmt.Sprintf("the batch of event %d: %v", first, cmpErr(err, "its count is another")))); err != nil {
				return err
			}
		}
		last, at = uint64(first+max(count, 1)-1), activity.Time(received)
	}
	return rows.Err()
}

func (c *checker) cursors(ctx context.Context) error {
	rows, err := c.tx.QueryContext(ctx, "SELECT name, seq, checksum FROM cursor")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var seq, sum int64
		if err := rows.Scan(&name, &seq, &sum); err != nil {
			return c.explainScan("verify", err)
		}
		if sum != cursorSum(name, uint64(seq)) {
			if err := c.damage(c.damaged(fmt.Sprintf("cursor %q has not the checksum that it tells", name))); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}
