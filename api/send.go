package api

import (
	"slices"

	"github.com/midspan/midspan/activity"
)

// send sends those of the entries that the client asked for, and moves the
// position over all.
func (s *stream) send(entries []*entry) error {
	if len(entries) == 0 {
		return nil
	}
	kept := s.kept[:0]
	now := s.now()
	for _, e := range entries {
		if s.wants(e, now) {
			kept = append(kept, e)
		}
	}
	matched := kept
	if s.batch {
		kept = s.merge(kept)
	}
	for _, e := range kept {
		if e.json == nil { // not of the ring, so this stream's alone
			e.json = s.api.hub.render(nil, s.position.LogID, &e.Change)
		}
	}
	buffer := getBuffer()
	defer putBuffer(buffer)
	b := *buffer
	for rest := kept; len(rest) > 0; {
		n := 1
		size := len(rest[0].json)
		if s.batch {
			for n < len(rest) && size < messageBytes {
				size += len(rest[n].json) + 1
				n++
			}
			size += 2
		}
		at := activity.Position{LogID: s.position.LogID, Seq: rest[n-1].Seq}
		b = s.wire.begin(b, size, at)
		b = appendEntries(b, rest[:n], s.batch)
		b = s.wire.end(b)
		rest = rest[n:]
		if len(b) >= messageBytes || len(rest) == 0 {
			// What the reason of a close names must have gone out.
			s.position = at
			if err := s.write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	*buffer = b
	s.position.Seq = entries[len(entries)-1].Seq
	clear(matched) // or the ring's old entries stay for as long as the stream
	s.kept = matched[:0]
	return nil
}

func appendEntries(b []byte, entries []*entry, array bool) []byte {
	if !array {
		return append(b, entries[0].json...)
	}
	b = append(b, '[')
	for i, e := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e.json...)
	}
	return append(b, ']')
}

func (s *stream) wants(e *entry, now activity.Time) bool {
	if s.rows != nil {
		if e.Seq > s.newest {
			s.rows = nil
		} else if e.Seq <= s.rows[e.Activity.ID] {
			return false // the snapshot had it
		}
	}
	if len(s.grams) > 0 && !e.may(s.grams) {
		return false
	}
	return s.all || s.filter.Match(e.Activity, now)
}

// merge leaves out the updates that a later event of the same activity covers.
func (s *stream) merge(entries []*entry) []*entry {
	if len(entries) < 2 {
		return entries
	}
	if s.later == nil {
		s.later = make(map[activity.ID]struct{}, len(entries))
	}
	clear(s.later)
	to := len(entries)
	for _, e := range slices.Backward(entries) {
		_, covered := s.later[e.Activity.ID]
		if covered && e.Kind == activity.EventUpdated {
			continue
		}
		s.later[e.Activity.ID] = struct{}{}
		to--
		entries[to] = e
	}
	return entries[to:]
}
