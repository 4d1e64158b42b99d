package index

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/midspan/midspan/activity"
)

// counts are what statistics need of a segment whose rows all count alike: none
// is lost or dead, and all lie on one side of each border of time. An archive
// keeps them, so that statistics of a long history read no rows.
//
//	counts := min and max started, groups
//	group  := service, type (1), state (1), rows, started, durations, waits
//	durations, waits := number, and unless that is 0: sum (8 bytes, a float),
//	          buckets, and of each its number less that of the one before, count

// appendCounts appends those of a segment whose codes and places are there.
func (s *segment) appendCounts(b []byte) []byte {
	type key struct {
		service string
		typ     activity.Type
		state   activity.State
	}
	type group struct {
		rows, started    uint64
		durations, waits map[int]uint64
		sums             [2]float64
	}
	groups := make(map[key]*group)
	var keys []key
	minStarted, maxStarted := activity.Time(math.MaxInt64), activity.Time(0)
	for i := range s.n {
		h := s.head(i)
		k := key{s.service(i), h.Type, h.State}
		g := groups[k]
		if g == nil {
			g = &group{durations: make(map[int]uint64), waits: make(map[int]uint64)}
			groups[k] = g
			keys = append(keys, k)
		}
		g.rows++
		if h.StartedAt != 0 {
			g.started++
			minStarted, maxStarted = min(minStarted, h.StartedAt), max(maxStarted, h.StartedAt)
		}
		if d, ok := h.Duration(h.EndedAt); ok {
			g.durations[durationBucket(uint64(d))]++
			g.sums[0] += float64(d)
		}
		if w, ok := h.Wait(h.EndedAt); ok {
			g.waits[durationBucket(uint64(w))]++
			g.sums[1] += float64(w)
		}
	}
	b = binary.AppendVarint(b, int64(minStarted))
	b = binary.AppendVarint(b, int64(maxStarted))
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for _, k := range keys {
		g := groups[k]
		b = appendString(b, k.service)
		b = append(b, byte(k.typ), byte(k.state))
		b = binary.AppendUvarint(b, g.rows)
		b = binary.AppendUvarint(b, g.started)
		for n, buckets := range [...]map[int]uint64{g.durations, g.waits} {
			b = appendBuckets(b, buckets, g.sums[n])
		}
	}
	return b
}

func appendBuckets(b []byte, buckets map[int]uint64, sum float64) []byte {
	total, order := uint64(0), make([]int, 0, len(buckets))
	for k, n := range buckets {
		total += n
		order = append(order, k)
	}
	if b = binary.AppendUvarint(b, total); total == 0 {
		return b
	}
	slices.Sort(order)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(sum))
	b = binary.AppendUvarint(b, uint64(len(order)))
	before := 0
	for _, k := range order {
		b = binary.AppendUvarint(b, uint64(k-before))
		b = binary.AppendUvarint(b, buckets[k])
		before = k
	}
	return b
}

// countable reports whether what the matcher selects of a segment can be told by
// its counts, but for the borders of the windows.
func (m *matcher) countable(seg *segment) bool {
	f := m.f
	return !seg.has(partPlaces) && !seg.lost && !seg.dead.any() && m.headOnly && m.at == nil &&
		f.MinDuration == 0 && f.MaxDuration == 0 && len(f.Threads) == 0 && len(f.Traces) == 0 && len(f.Parents) == 0 &&
		(f.Since == 0 || seg.minEnded >= f.Since) && (f.Until == 0 || seg.maxPlanned <= f.Until)
}

// counted adds a segment by its encoded counts. It returns false, and has added
// nothing, when a window begins in its midst.
func (t *selected) counted(m *matcher, seg *segment, data []byte) (ok bool, err error) {
	defer func() {
		if recover() != nil { // a slice beyond the data
			err = errPart
		}
	}()
	d := decoder{rec: string(data)}
	minStarted, maxStarted := activity.Time(d.varint()), activity.Time(d.varint())
	first, last := min(minStarted, seg.minEnded), max(maxStarted, seg.maxEnded)
	var in [len(t.windows)]bool
	for i := range t.windows {
		w := &t.windows[i]
		switch {
		case w.holds(first) && w.holds(last):
			in[i] = true
		case last >= w.since && (w.until == 0 || first <= w.until):
			return false, nil
		}
	}
	if last > t.st.SecondsEnd-activity.Time(len(t.st.Seconds))*activity.Time(time.Second) {
		return false, nil
	}
	for range d.count() {
		service := d.string()
		typ, state := d.byte(), d.byte()
		rows, started := int64(d.uvarint()), int64(d.uvarint())
		if m.types>>typ&1 == 0 || m.states>>state&1 == 0 || len(m.f.Services) > 0 && !slices.Contains(m.f.Services, service) {
			d.skipBuckets()
			d.skipBuckets()
			continue
		}
		t.st.Total += rows
		t.states[state&7] += rows
		t.types[typ&15] += rows
		if service != "" {
			t.st.ByService[service] += rows
		}
		for i := range t.windows {
			if in[i] {
				t.windows[i].w.Started += started
				t.windows[i].finished(activity.State(state), rows)
			}
		}
		t.buckets(&d, in, func(w *selectedWindow) *durations { return &w.duration }, in[hour])
		t.buckets(&d, in, func(w *selectedWindow) *durations { return &w.wait }, false)
	}
	if d.rec != "" {
		return false, errPart
	}
	return true, nil
}

// buckets adds durations to some windows, and to the histogram.
func (t *selected) buckets(d *decoder, in [len(selectedWindows{})]bool, of func(*selectedWindow) *durations, drawn bool) {
	total := int64(d.uvarint())
	if total == 0 {
		return
	}
	var bits [8]byte
	d.copy(bits[:])
	sum := math.Float64frombits(binary.LittleEndian.Uint64(bits[:]))
	var to []*durations
	for i := range t.windows {
		if in[i] {
			to = append(to, of(&t.windows[i]))
		}
	}
	for _, s := range to {
		s.count += total
		s.sum += sum
	}
	k := 0
	for range d.count() {
		k += int(d.uvarint())
		n := d.uvarint()
		for _, s := range to {
			s.buckets[k] += uint32(n)
		}
		if drawn {
			t.draw(k, int64(n))
		}
	}
}

func (d *decoder) skipBuckets() {
	if d.uvarint() == 0 {
		return
	}
	var bits [8]byte
	d.copy(bits[:])
	for range d.count() {
		d.uvarint()
		d.uvarint()
	}
}
