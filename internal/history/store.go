package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/eventlog"
)

// Database is what a Store stands on, as the SQLite log offers it.
type Database interface {
	// Update runs fn in a transaction of its own, which is on stable storage
	// when Update returns nil.
	Update(ctx context.Context, fn func(*sql.Tx) error) error
	// View runs fn in a transaction that reads what was committed.
	View(ctx context.Context, fn func(*sql.Tx) error) error
}

// Store keeps checkpoints in a database. It is an index.Archive. Its tables are
// those of the database's migrations. It is safe for concurrent use.
type Store struct {
	db   Database
	pack *packer
	gen  int64 // of the state that counts
	// swept is false until the parts that a dead process has left are gone.
	swept bool
}

// stateChunk is how much of a state one row holds, before it is packed.
const stateChunk = 4 << 20

// NewStore returns what keeps checkpoints in db. Close it before the database.
func NewStore(db Database) (*Store, error) {
	pack, err := newPacker()
	if err != nil {
		return nil, err
	}
	return &Store{db: db, pack: pack}, nil
}

// Close lets go of the store's memory.
func (s *Store) Close() error { return s.pack.close() }

// partBits are the low bits of a part's key, which number the part.
const partBits = 3

// partID is the key of a segment's part.
func partID(segment uint64, p index.Part) int64 { return int64(segment)<<partBits | int64(p) }

// Load implements index.Archive.
func (s *Store) Load(ctx context.Context, segment uint64, p index.Part) (data []byte, err error) {
	var blob []byte
	err = s.db.View(ctx, func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, "SELECT data FROM part WHERE id = ?", partID(segment, p)).Scan(&blob)
	})
	if err == nil {
		if data, err = s.pack.unpack(blob); err == nil {
			return data, nil
		}
	} else if errors.Is(err, sql.ErrNoRows) {
		err = errors.New("it is not there")
	} else if !errors.Is(err, eventlog.ErrCorrupt) { // it may be well the next time
		return nil, fmt.Errorf("history: load the %v of segment %d: %w", p, segment, err)
	}
	return nil, &index.DamageError{Segment: segment, Part: p, Err: err}
}

// Write stores a checkpoint. The parts of new segments go before it, each in a
// transaction of its own, and count for nothing until the last transaction names
// their segments; those of segments that have retired go after it likewise: the
// log's writer is never held up for long.
func (s *Store) Write(ctx context.Context, c *index.Checkpoint) error {
	for i := range c.Segments {
		if c.Segments[i].Summary != nil {
			if err := s.writeParts(ctx, &c.Segments[i]); err != nil {
				return err
			}
		}
	}
	gen := s.gen + 1
	if err := s.writeState(ctx, gen, c.State); err != nil {
		return err
	}
	if err := s.db.Update(ctx, func(tx *sql.Tx) error { return s.commit(ctx, tx, gen, c) }); err != nil {
		return fmt.Errorf("history: write a checkpoint: %w", err)
	}
	s.gen = gen
	if len(c.Retired) == 0 && s.swept {
		return nil
	}
	return s.sweep(ctx)
}

// sweep lets go of the parts of segments before the first one that there is: they
// have retired, maybe in a process that died before it came to this.
func (s *Store) sweep(ctx context.Context) error {
	atATime := 8 * len(index.Parts)
	for left := int64(atATime); left == int64(atATime); {
		if err := s.db.Update(ctx, func(tx *sql.Tx) error {
			done, err := tx.ExecContext(ctx, `DELETE FROM part WHERE id IN (SELECT id FROM part
				WHERE id < (SELECT coalesce(min(number), 1 << 59) FROM segment) << ? ORDER BY id LIMIT ?)`, partBits, atATime)
			if err == nil {
				left, err = done.RowsAffected()
			}
			return err
		}); err != nil {
			return fmt.Errorf("history: let go of what has retired: %w", err)
		}
	}
	s.swept = true
	return nil
}

func (s *Store) writeParts(ctx context.Context, seg *index.SavedSegment) error {
	seg.Stored = 0
	var blobs [len(index.Parts)][]byte
	for i, p := range index.Parts {
		blobs[i] = s.pack.pack(seg.AppendPart(nil, p))
		seg.Stored += int64(len(blobs[i]))
	}
	err := s.db.Update(ctx, func(tx *sql.Tx) error {
		for i, p := range index.Parts {
			// What stands there is of a checkpoint that was never finished.
			if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO part (id, data) VALUES (?, ?)", partID(seg.Number, p), blobs[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("history: write segment %d: %w", seg.Number, err)
	}
	return nil
}

func (s *Store) writeState(ctx context.Context, gen int64, state []byte) error {
	for n := int64(0); n == 0 || len(state) > 0; n++ {
		chunk := state[:min(len(state), stateChunk)]
		state = state[len(chunk):]
		blob := s.pack.pack(chunk)
		if err := s.db.Update(ctx, func(tx *sql.Tx) error {
			if n == 0 { // what is left of a checkpoint that was never finished
				if _, err := tx.ExecContext(ctx, "DELETE FROM state WHERE generation = ?", gen); err != nil {
					return err
				}
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO state (generation, chunk, data) VALUES (?, ?, ?)", gen, n, blob)
			return err
		}); err != nil {
			return fmt.Errorf("history: write the state: %w", err)
		}
	}
	return nil
}

// commit makes a checkpoint the one that counts.
func (s *Store) commit(ctx context.Context, tx *sql.Tx, gen int64, c *index.Checkpoint) error {
	run := func(query string, args ...any) error {
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}
	for i := range c.Segments {
		seg := &c.Segments[i]
		var err error
		if seg.Summary != nil {
			err = run("INSERT OR REPLACE INTO segment (number, stored, summary, dead) VALUES (?, ?, ?, ?)",
				int64(seg.Number), seg.Stored, s.pack.pack(seg.Summary), s.pack.pack(seg.Dead))
		} else {
			err = run("UPDATE segment SET dead = ? WHERE number = ?", s.pack.pack(seg.Dead), int64(seg.Number))
		}
		if err != nil {
			return err
		}
	}
	for _, number := range c.Retired {
		if err := run("DELETE FROM segment WHERE number = ?", int64(number)); err != nil {
			return err
		}
	}
	if err := run("INSERT OR REPLACE INTO checkpoint (one, generation, seq) VALUES (1, ?, ?)", gen, int64(c.Seq)); err != nil {
		return err
	}
	return run("DELETE FROM state WHERE generation <> ?", gen)
}

// Restore returns an index as of the last checkpoint, and its sequence; without
// a checkpoint that is an empty one, and 0. cfg.Archive is set.
func (s *Store) Restore(ctx context.Context, cfg index.Config) (*index.Index, uint64, error) {
	cfg.Archive = s
	var seq int64
	var state []byte
	var segments []index.Restored
	err := s.db.View(ctx, func(tx *sql.Tx) (err error) {
		err = tx.QueryRowContext(ctx, "SELECT generation, seq FROM checkpoint WHERE one = 1").Scan(&s.gen, &seq)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			state, err = s.readState(ctx, tx)
		}
		if err == nil {
			segments, err = s.readSegments(ctx, tx)
		}
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("history: read the checkpoint: %w", err)
	}
	if state == nil {
		return index.New(cfg), 0, nil
	}
	x, err := index.Restore(ctx, cfg, state, segments)
	if err != nil {
		return nil, 0, fmt.Errorf("history: restore: %w", err)
	}
	if at := x.Head().Seq; at != uint64(seq) {
		return nil, 0, fmt.Errorf("history: the checkpoint is of event %d and its state of %d: the file is damaged", seq, at)
	}
	return x, uint64(seq), nil
}

func (s *Store) readState(ctx context.Context, tx *sql.Tx) (_ []byte, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT data FROM state WHERE generation = ? ORDER BY chunk", s.gen)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	state := []byte{}
	for rows.Next() {
		var blob []byte
		if err := rows.Scan(&blob); err != nil {
			return nil, err
		}
		chunk, err := s.pack.unpack(blob)
		if err != nil {
			return nil, fmt.Errorf("the state: %w", err)
		}
		state = append(state, chunk...)
	}
	return state, rows.Err()
}

func (s *Store) readSegments(ctx context.Context, tx *sql.Tx) (_ []index.Restored, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT number, stored, summary, dead FROM segment ORDER BY number")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var segments []index.Restored
	for rows.Next() {
		var r index.Restored
		var number int64
		var summary, dead []byte
		if err := rows.Scan(&number, &r.Stored, &summary, &dead); err != nil {
			return nil, err
		}
		r.Number = uint64(number)
		if r.Summary, err = s.pack.unpack(summary); err != nil {
			return nil, fmt.Errorf("the summary of segment %d: %w", number, err)
		}
		if r.Dead, err = s.pack.unpack(dead); err != nil {
			return nil, fmt.Errorf("the dead rows of segment %d: %w", number, err)
		}
		segments = append(segments, r)
	}
	return segments, rows.Err()
}
