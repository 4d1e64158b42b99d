package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	modernc "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
)

// makeFolder makes a folder and sees that it is on stable storage.
func makeFolder(folder string) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(folder))
}

// makeFile makes a file that is not there. What spans tell is nobody else's to
// read: SQLite would make it for all, and gives those beside it the same mode.
func makeFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// openPool opens a pool of connections to the file, each with the pragmas that
// hold for a connection.
func (l *Log) openPool(connections int, pragmas ...string) (*sql.DB, error) {
	query := url.Values{"_pragma": append([]string{
		"busy_timeout(10000)",
		"cell_size_check(1)", // finds damage earlier
		"trusted_schema(0)",
		"temp_store(2)", // memory: no files beside ours
	}, pragmas...), "_txlock": {"immediate"}}
	if l.cfg.vfs != "" {
		query.Set("vfs", l.cfg.vfs)
	}
	if name, value, ok := strings.Cut(l.inspected, "="); ok {
		query.Set(name, value)
	}
	path := filepath.ToSlash(l.path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// prepare makes the file one of this version, whose writes are as safe as they
// have to be. It refuses a file that it does not know.
func (l *Log) prepare(ctx context.Context) error {
	if err := l.checkHeader(); err != nil {
		return err
	}
	version, err := l.version(ctx)
	if err != nil {
		return err
	}
	// FULL, not NORMAL: NORMAL can roll back acknowledged commits after power loss.
	synchronous := "FULL"
	if l.cfg.unsafe {
		synchronous = "NORMAL"
	}
	pragmas := [][3]string{ // what is set, to what, and what must be read then
		{"journal_mode", "WAL", "wal"},
		{"synchronous", synchronous, map[string]string{"FULL": "2", "NORMAL": "1"}[synchronous]},
		{"fullfsync", "1", "1"}, // of macOS: fsync there does not reach the disk
		{"checkpoint_fullfsync", "1", "1"},
		{"wal_autocheckpoint", "0", "0"}, // checkpoint does it, and sees the errors
		{"journal_size_limit", strconv.Itoa(walLimit), strconv.Itoa(walLimit)},
		{"cache_size", "-8192", "-8192"},
		{"foreign_keys", "1", "1"},
	}
	if version == 0 {
		pragmas = append([][3]string{{"page_size", strconv.Itoa(l.cfg.pageSize), strconv.Itoa(l.cfg.pageSize)}}, pragmas...)
	}
	for _, p := range pragmas {
		if _, err := l.conn.ExecContext(ctx, "PRAGMA "+p[0]+" = "+p[1]); err != nil {
			return l.explain("PRAGMA "+p[0], err)
		}
	}
	for _, p := range pragmas {
		var got string
		if err := l.conn.QueryRowContext(ctx, "PRAGMA "+p[0]).Scan(&got); err != nil {
			return l.explain("PRAGMA "+p[0], err)
		}
		if got != p[2] {
			return fmt.Errorf("open %s: %s is %s after it was set to %s: the file system can't hold a log that survives a power cut",
				l.path, p[0], got, p[1])
		}
	}
	for ; version < len(migrations); version++ {
		if err := l.migrate(ctx, version); err != nil {
			return err
		}
	}
	if err := l.conn.QueryRowContext(ctx, "PRAGMA page_size").Scan(&l.pageSize); err != nil {
		return l.explain("PRAGMA page_size", err)
	}
	return nil
}

// checkHeader refuses a file that is no database, before SQLite touches it.
func (l *Log) checkHeader() error {
	f, err := os.Open(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	var header [16]byte
	switch n, err := io.ReadFull(f, header[:]); {
	case n == 0 && errors.Is(err, io.EOF):
		return nil
	case string(header[:]) != "SQLite format 3\x00":
		return fmt.Errorf("open %s: %w: it is no SQLite database; choose another folder, or put the file back from a copy",
			l.path, eventlog.ErrCorrupt)
	}
	return nil
}

// version returns the file's version, 0 for a new one, or why it is not ours.
func (l *Log) version(ctx context.Context) (int, error) {
	var id int64
	var version, tables int
	for pragma, dest := range map[string]any{
		"PRAGMA application_id": &id, "PRAGMA user_version": &version, "SELECT count(*) FROM sqlite_schema": &tables,
	} {
		if err := l.conn.QueryRowContext(ctx, pragma).Scan(dest); err != nil {
			return 0, l.explain(pragma, err)
		}
	}
	switch {
	case id == 0 && tables == 0 && version == 0:
		return 0, nil
	case id != applicationID:
		return 0, fmt.Errorf("open %s: it is another program's database (application_id %#x, not %#x): choose another folder",
			l.path, id, applicationID)
	case version > len(migrations):
		return 0, fmt.Errorf("open %s: it is of version %d and this midspan knows %d: run the midspan that wrote it, or a newer one",
			l.path, version, len(migrations))
	case version == 0:
		return 0, fmt.Errorf("open %s: %w: it has no version", l.path, eventlog.ErrCorrupt)
	}
	return version, nil
}

// migrate takes the step from a version to the next.
func (l *Log) migrate(ctx context.Context, version int) error {
	tx, err := l.conn.BeginTx(ctx, nil)
	if err != nil {
		return l.explain("migrate", err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it does nothing, and before it the error is told
	steps := []string{migrations[version]}
	if version == 0 {
		steps = append(steps, fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	}
	steps = append(steps, fmt.Sprintf("PRAGMA user_version = %d", version+1))
	for _, step := range steps {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return l.explain(fmt.Sprintf("migrate to version %d", version+1), err)
		}
	}
	if version == 0 {
		id := activity.NewLogID()
		if _, err := tx.ExecContext(ctx, "INSERT INTO log VALUES (1, ?, 0, 0, ?, 0)", id, logSum(id, 0, 0)); err != nil {
			return l.explain("create", err)
		}
	}
	return l.explain("migrate", tx.Commit())
}

// load reads where the log stands.
func (l *Log) load(ctx context.Context) error {
	var floor, received, sum int64
	if err := l.conn.QueryRowContext(ctx, "SELECT id, floor, received_at, checksum FROM log").Scan(&l.id, &floor, &received, &sum); err != nil {
		return l.explainScan("open", err)
	}
	if sum != logSum(l.id, uint64(floor), activity.Time(received)) {
		return l.damaged("the row of the table log has not the checksum that it tells")
	}
	l.last, l.at = uint64(floor), activity.Time(received)
	l.head.Trim(uint64(floor))
	first, err := l.oneBatch(ctx, "SELECT first, count, received_at, events FROM batch ORDER BY first LIMIT 1")
	if err != nil {
		return err
	}
	if len(first) > 0 {
		if first[0].Seq != uint64(floor)+1 {
			return l.damaged(fmt.Sprintf("event %d follows on %d", first[0].Seq, floor))
		}
		end, err := l.oneBatch(ctx, "SELECT first, count, received_at, events FROM batch ORDER BY first DESC LIMIT 1")
		if err != nil {
			return err
		}
		if len(end) > 0 {
			l.last, l.at = end[len(end)-1].Seq, end[0].ReceivedAt
		}
	}
	l.head.Grow(l.last)
	if acknowledged := l.lock.acknowledged(l.id); acknowledged > l.last {
		return l.damaged(fmt.Sprintf("it ends with event %d, and %d were acknowledged: the file or %s has lost some. "+
			"To go on without them, remove %s", l.last, acknowledged, walName, l.lock.file.Name()))
	}
	return nil
}

func (l *Log) oneBatch(ctx context.Context, query string) ([]activity.Event, error) {
	rows, err := l.conn.QueryContext(ctx, query)
	if err != nil {
		return nil, l.explain("open", err)
	}
	defer rows.Close()
	var events []activity.Event
	for rows.Next() {
		if events, err = l.scanBatch(rows); err != nil {
			return nil, err
		}
	}
	return events, l.explain("open", rows.Err())
}

// scanBatch reads a row of the table batch.
func (l *Log) scanBatch(rows *sql.Rows) ([]activity.Event, error) {
	var first, count, received int64
	var data sql.RawBytes
	if err := rows.Scan(&first, &count, &received, &data); err != nil {
		return nil, l.explainScan("read", err)
	}
	events, err := l.decoder.DecodeBatch(data, uint64(first), activity.Time(received))
	if err != nil || int64(len(events)) != count {
		return nil, l.damaged(fmt.Sprintf("the batch of event %d: %v", first, cmpErr(err, "its count is another")))
	}
	return events, nil
}

func cmpErr(err error, otherwise string) string {
	if err != nil {
		return err.Error()
	}
	return otherwise
}

// checksum is CRC-32C over what a row holds.
func checksum(text string, numbers ...uint64) int64 {
	b := []byte(text)
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return int64(crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func logSum(id string, floor uint64, receivedAt activity.Time) int64 {
	return checksum(id, floor, uint64(receivedAt))
}

func cursorSum(name string, seq uint64) int64 { return checksum(name, seq) }

// damaged is the error of a file that is not what was written.
func (l *Log) damaged(what string) error {
	if l.inspected != "" { // by who knows what to do
		return fmt.Errorf("%w: %s", eventlog.ErrCorrupt, what)
	}
	return fmt.Errorf("%s is damaged: %w: %s; stop midspan, keep a copy of the folder, and run midspan fsck", l.path, eventlog.ErrCorrupt, what)
}

// explain says what an error of SQLite means for who runs it.
func (l *Log) explain(doing string, err error) error {
	var failed *modernc.Error
	if err == nil || !errors.As(err, &failed) {
		return err
	}
	switch failed.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return l.damaged(doing + ": " + err.Error())
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%s %s: the disk is full: %w", doing, l.path, err)
	case sqlite3.SQLITE_READONLY:
		return fmt.Errorf("%s %s: it is read-only: %w", doing, l.path, err)
	}
	return fmt.Errorf("%s %s: %w", doing, l.path, err)
}

// explainScan does so for a row that was read: one whose values are not what
// they have to be is damaged.
func (l *Log) explainScan(doing string, err error) error {
	var failed *modernc.Error
	switch {
	case err == nil, errors.As(err, &failed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return l.explain(doing, err)
	}
	return l.damaged(doing + ": " + err.Error())
}
