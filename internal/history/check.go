package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/eventlog/sqlite"
)

// Report is what Check has found in a folder.
type Report struct {
	LogID string
	// Floor is the last event that the log has let go of, Last its last event,
	// Checkpoint that of the history. Events is how many the log holds.
	Floor, Last, Checkpoint, Events uint64
	Segments                        int
	Finished, Open                  int64 // activities; 0 when it can't be told

	Damages []Damage
	// More are damages that were found and are not listed.
	More int
}

// Damage is one thing that is not what was written.
type Damage struct {
	What   string
	Advice string
}

// maxDamages bounds what a Report lists.
const maxDamages = 100

const (
	adviceBackup  = "put the folder back from a copy; what a sender or another bridge still has can be sent again"
	adviceRows    = "put the folder back from a copy; without one midspan serve takes and shows all but these activities, and says where they may be missing"
	adviceDerived = "nothing is missing: midspan serve reads the activities themselves instead, which takes longer"
	adviceWrong   = "put the folder back from a copy; without one midspan serve may answer wrongly where it needs these activities"
	adviceState   = "midspan serve will not start with it: put the folder back from a copy"
	adviceEnd     = "if no copy has them, remove midspan.lock: midspan serve then goes on without the events that are missing at the end"
)

func (r *Report) add(what error, advice string) bool {
	if len(r.Damages) == maxDamages {
		r.More++
		return true
	}
	text := what.Error()
	text = strings.TrimPrefix(text, eventlog.ErrCorrupt.Error()+": ")
	r.Damages = append(r.Damages, Damage{text, advice})
	return true
}

// damage adds an error that tells of damage, and returns any other.
func (r *Report) damage(err error) error {
	if errors.Is(err, eventlog.ErrCorrupt) {
		r.add(err, adviceBackup)
		return nil
	}
	return err
}

// Check reads all of a folder and changes nothing in it: SQLite's pages, each
// event with the codec, that no sequence is missing, cursors, every segment of
// the history against itself, and the checkpoint against the log. What is damaged
// stands in the report; the error is why the folder can't be read: it is not
// there (os.ErrNotExist), in use (sqlite.ErrInUse), or of a newer version.
func Check(ctx context.Context, folder string) (*Report, error) {
	r := new(Report)
	log, err := sqlite.Inspect(ctx, folder)
	if errors.Is(err, eventlog.ErrCorrupt) {
		advice := adviceBackup
		if log != nil {
			advice = adviceEnd
		}
		r.add(err, advice)
	} else if err != nil {
		return nil, err
	}
	if log == nil {
		return r, nil
	}
	defer log.Close() //nolint:errcheck // nothing was written
	r.LogID = log.ID()
	r.Floor, r.Last = log.Bounds()
	r.Events = r.Last - r.Floor
	if err := r.damage(log.Check(ctx, func(damage error) bool { return r.add(damage, adviceBackup) })); err != nil {
		return nil, err
	}
	store, err := NewStore(log)
	if err != nil {
		return nil, err
	}
	defer store.Close() //nolint:errcheck // it is memory alone
	if err := r.damage(r.blobs(ctx, store)); err != nil {
		return nil, err
	}
	x, checkpoint, err := Open(ctx, store, log, index.Config{MaxFinished: -1, MaxBytes: -1})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if len(r.Damages) == 0 { // else it was told already
			r.add(err, adviceState)
		}
		return r, nil
	}
	r.Checkpoint = checkpoint
	if err := x.Check(ctx, func(segment uint64, damage error) bool {
		advice := adviceWrong
		if d, ok := errors.AsType[*index.DamageError](damage); ok {
			if advice = adviceRows; d.Part.Derived() {
				advice = adviceDerived
			}
		}
		return r.add(fmt.Errorf("segment %d of the history: %w", segment, damage), advice)
	}); err != nil {
		return nil, err
	}
	stats, err := x.Stats(ctx)
	if err != nil {
		return nil, err
	}
	r.Finished, r.Open = stats.Held.Finished, stats.Held.InFlight
	return r, nil
}

// blobs holds each blob but those of parts against its checksum, the parts against
// the segments that they are of, and counts the segments.
func (r *Report) blobs(ctx context.Context, s *Store) error {
	return s.db.View(ctx, func(tx *sql.Tx) error {
		var orphans int
		for _, q := range []struct {
			query, what, advice string
		}{
			{"SELECT number, summary FROM segment ORDER BY number", "the summary of segment %d", adviceState},
			{"SELECT number, dead FROM segment ORDER BY number", "the dead rows of segment %d", adviceState},
			{"SELECT chunk, data FROM state WHERE generation = (SELECT generation FROM checkpoint) ORDER BY chunk", "chunk %d of the state", adviceState},
		} {
			if err := r.eachBlob(ctx, tx, s, q.query, q.what, q.advice); err != nil {
				return err
			}
		}
		if err := tx.QueryRowContext(ctx, "SELECT count(*), coalesce(sum((SELECT count(*) FROM part WHERE id >> ? = number) <> ?), 0) FROM segment", partBits, len(index.Parts)).
			Scan(&r.Segments, &orphans); err != nil {
			return err
		}
		if orphans > 0 {
			r.add(fmt.Errorf("%d segments of the history are without some of their parts", orphans), adviceRows)
		}
		return nil
	})
}

func (r *Report) eachBlob(ctx context.Context, tx *sql.Tx, s *Store, query, what, advice string) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var number int64
		var blob []byte
		if err := rows.Scan(&number, &blob); err != nil {
			return err
		}
		if _, err := s.pack.unpack(blob); err != nil {
			r.add(fmt.Errorf(what+": %w", number, err), advice)
		}
	}
	return rows.Err()
}
