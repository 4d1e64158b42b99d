package api

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/midspan/midspan/activity"
)

// greet sends what comes before the log's events: the hello, the word of a
// gap, the snapshot.
func (s *stream) greet(q streamParams, gap bool, head activity.Position) error {
	snapshot := gap || q.snapshot && q.after == (activity.Position{})
	if q.hello {
		at := s.position
		if snapshot {
			// A client that resumed from here would miss the rows to come.
			at = activity.Position{}
		}
		if err := s.say(s.appendHello(nil), at); err != nil {
			return err
		}
	}
	if gap {
		// Of another log nothing is known here; its gap is all of this one.
		from := uint64(1)
		if q.after.LogID == head.LogID && q.after.Seq < head.Seq {
			from = q.after.Seq + 1
		}
		if err := s.say(appendGap(nil, from, head), activity.Position{}); err != nil {
			return err
		}
	}
	if snapshot {
		return s.snapshot(nil)
	}
	return nil
}

// say sends one object on its own.
func (s *stream) say(object []byte, at activity.Position) error {
	if s.batch {
		object = append(append([]byte{'['}, object...), ']')
	}
	b := s.wire.begin(make([]byte, 0, len(object)+128), len(object), at)
	return s.write(s.wire.end(append(b, object...)))
}

func (s *stream) appendHello(b []byte) []byte {
	b = append(b, `{"event":"hello",`...)
	b = appendLogSeq(b, s.position.LogID, s.position.Seq)
	b = append(b, `,"now":`...)
	b = activity.TimeOf(time.Now()).AppendJSON(b)
	b = append(b, `,"lease_ms":`...)
	if lease := s.api.cfg.Lease; lease > 0 {
		b = strconv.AppendInt(b, lease.Milliseconds(), 10)
	} else {
		b = append(b, "null"...)
	}
	if _, missing := s.api.cfg.Damage(); missing {
		b = append(b, `,"incomplete":true`...)
	}
	return append(b, '}')
}

func appendGap(b []byte, from uint64, head activity.Position) []byte {
	b = append(b, `{"event":"gap","log_id":`...)
	b = activity.AppendString(b, head.LogID)
	b = append(b, `,"from":`...)
	b = strconv.AppendUint(b, from, 10)
	b = append(b, `,"to":`...)
	b = strconv.AppendUint(b, head.Seq, 10)
	return append(b, '}')
}

func appendLogSeq(b []byte, logID string, seq uint64) []byte {
	b = append(b, `"log_id":`...)
	b = activity.AppendString(b, logID)
	b = append(b, `,"seq":`...)
	return strconv.AppendUint(b, seq, 10)
}

// snapshot sends what is planned or in progress, now or at a moment, the oldest
// first, a page at a time. Rows of now are as of when their page was read, which is after the position
// from which the stream goes on: wants leaves out the events they have had.
func (s *stream) snapshot(at *activity.Moment) error {
	f := s.filter
	f.States = slices.DeleteFunc(slices.Clone(openStates), func(state activity.State) bool {
		return len(s.filter.States) > 0 && !slices.Contains(s.filter.States, state)
	})
	limit := maxLimit
	if at != nil {
		limit = 10 * maxLimit // each page is folded anew
	}
	if len(f.States) > 0 {
		if err := s.snapshotRows(&activity.Query{Filter: f, Sort: activity.OldestPlanned, Limit: limit, At: at}); err != nil {
			return err
		}
	}
	end := append(appendLogSeq([]byte(`{"event":"snapshot_end",`), s.position.LogID, s.position.Seq), '}')
	return s.say(end, s.position)
}

func (s *stream) snapshotRows(q *activity.Query) error {
	for {
		select {
		case <-s.wire.gone():
			return errEnding(clientGone)
		case <-s.api.closing:
			return errEnding(goingAway)
		default:
		}
		page, err := s.api.cfg.Reader.List(context.Background(), q)
		if err != nil {
			return err
		}
		if err := s.sendRows(page.Activities); err != nil {
			return err
		}
		if page.Next == nil {
			return nil
		}
		q.Cursor = page.Next
	}
}

func (s *stream) sendRows(rows []*activity.Activity) error {
	var array []byte
	b := make([]byte, 0, messageBytes)
	for i, act := range rows {
		if act.Seq > s.position.Seq {
			if s.rows == nil {
				s.rows = make(map[activity.ID]uint64)
			}
			s.rows[act.ID] = act.Seq
			s.newest = max(s.newest, act.Seq)
		}
		if s.batch {
			array = append(array, "[,"[min(len(array), 1)])
			array = s.appendRow(array, act)
			if len(array) >= messageBytes || i == len(rows)-1 {
				array = append(array, ']')
				b = s.wire.end(append(s.wire.begin(b, len(array), activity.Position{}), array...))
				array = array[:0]
			}
		} else {
			array = s.appendRow(array[:0], act)
			b = s.wire.end(append(s.wire.begin(b, len(array), activity.Position{}), array...))
		}
		if len(b) >= messageBytes || i == len(rows)-1 {
			if err := s.write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	return nil
}

func (s *stream) appendRow(b []byte, act *activity.Activity) []byte {
	b = append(b, `{"event":"active",`...)
	b = appendLogSeq(b, s.position.LogID, s.position.Seq)
	b = append(b, `,"at":`...)
	b = act.LastSeenAt.AppendJSON(b)
	b = append(b, `,"activity":`...)
	return append(s.api.appendActivity(b, act, false), '}')
}

// appendChange appends an event as a stream tells it.
func (a *API) appendChange(b []byte, logID string, c *activity.Change) []byte {
	b = append(b, `{"event":"`...)
	b = append(b, c.Kind.String()...)
	b = append(b, `",`...)
	b = appendLogSeq(b, logID, c.Seq)
	b = append(b, `,"at":`...)
	b = c.At.AppendJSON(b)
	b = append(b, `,"activity":`...)
	return append(a.appendActivity(b, c.Activity, false), '}')
}
