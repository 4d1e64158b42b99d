package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/midspan/midspan/activity"
)

// The parts of a segment as bytes, as an archive stores them. docs/format.md
// draws them. All integers are little-endian or varints; a column is the values
// of all rows.
//
//	spans   := span id (8 bytes) of each row
//	codes   := name, thread, agent, resource, scope (2 bytes) of each row,
//	           type, state, kind (1 byte: sampling, 2 bits; span kind, 3; number of the flags,
//	           2; was planned) of each row,
//	           names, threads, agents, resources, scopes
//	places  := trace id (16), parent (8) of each row, then varints of each row:
//	           planned and begun, each less the row's before; start and started,
//	           less planned; ended, less started; seq, less begun; record length
//	text    := the records, one behind the other
//	grams   := a Bloom filter of 2^13 to 2^18 bits, bit 0 in the lowest of the first byte
//
// A time that is absent is 0, as is what is taken from it then.

var errPart = errors.New("it is not what was written")

// appendPart appends a part of a sealed segment, or of a snapshot.
func (s *segment) appendPart(b []byte, p Part) []byte {
	switch p {
	case PartSpans:
		for i := range s.n {
			b = append(b, s.span[i][:]...)
		}
	case PartCodes:
		return s.appendCodes(b)
	case PartPlaces:
		return s.appendPlaces(b)
	case PartText:
		b = append(b, s.text...)
	case PartGrams:
		b = s.grams().append(b)
	case PartCounts:
		b = s.appendCounts(b)
	}
	return b
}

func (s *segment) appendCodes(b []byte) []byte {
	for _, column := range [...]*[rowsPerSegment]uint16{&s.name, &s.thread, &s.agent, &s.source, &s.scope} {
		for _, v := range column[:s.n] {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
	}
	for _, t := range s.typ[:s.n] {
		b = append(b, byte(t))
	}
	for _, state := range s.state[:s.n] {
		b = append(b, byte(state))
	}
	b = append(b, s.kind[:s.n]...)
	for _, t := range [...]*table{&s.names, &s.threads, &s.agents} {
		b = binary.AppendUvarint(b, uint64(t.len()))
		for k := range t.len() {
			b = appendString(b, t.text(uint16(k)))
		}
	}
	enc := encoder{keys: noKeys(), buf: b}
	enc.buf = binary.AppendUvarint(enc.buf, uint64(len(s.sources)-1))
	for _, r := range s.sources[1:] {
		enc.resource(r)
	}
	enc.buf = binary.AppendUvarint(enc.buf, uint64(len(s.scopes)-1))
	for _, sc := range s.scopes[1:] {
		enc.scope(sc)
	}
	return enc.buf
}

func (s *segment) appendPlaces(b []byte) []byte {
	for i := range s.n {
		b = append(b, s.trace[i][:]...)
	}
	for i := range s.n {
		b = append(b, s.parent[i][:]...)
	}
	var before activity.Time
	for _, t := range s.planned[:s.n] {
		b = binary.AppendVarint(b, int64(t-before))
		before = t
	}
	var begun uint64
	for _, seq := range s.begun[:s.n] {
		b = binary.AppendVarint(b, int64(seq-begun))
		begun = seq
	}
	for i := range s.n {
		b = binary.AppendVarint(b, int64(s.start[i]-s.planned[i]))
	}
	for i := range s.n {
		b = binary.AppendVarint(b, int64(s.started[i]-s.planned[i]))
	}
	for i := range s.n {
		b = binary.AppendVarint(b, int64(s.ended[i]-s.started[i]))
	}
	for i := range s.n {
		b = binary.AppendUvarint(b, s.seq[i]-s.begun[i])
	}
	for i := range s.n {
		b = binary.AppendUvarint(b, uint64(s.recordLen(i)))
	}
	return b
}

// decodePart returns a copy of the segment with one part alone, or an error
// that is no more than a guard: an archive sums up what it stores.
func decodePart(of *segment, p Part, data []byte) (_ *segment, err error) {
	defer func() {
		if recover() != nil { // a slice beyond the data
			err = errPart
		}
	}()
	s := *of
	s.spans, s.places, s.codes, s.tables, s.text = nil, nil, nil, nil, nil
	switch p {
	case PartSpans:
		s.spans = new(spans)
		for i := range s.n {
			copy(s.span[i][:], data[8*i:8*i+8])
		}
		data = data[8*s.n:]
	case PartCodes:
		data = s.decodeCodes(data)
	case PartPlaces:
		data = s.decodePlaces(data)
	case PartText:
		s.text, data = data, nil
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("%w: %d bytes are left", errPart, len(data))
	}
	return &s, nil
}

// decodeCodes returns what is left of the data.
func (s *segment) decodeCodes(data []byte) []byte {
	s.codes, s.tables = new(codes), new(tables)
	for _, column := range [...]*[rowsPerSegment]uint16{&s.name, &s.thread, &s.agent, &s.source, &s.scope} {
		for i := range s.n {
			column[i] = binary.LittleEndian.Uint16(data[2*i:])
		}
		data = data[2*s.n:]
	}
	for i, c := range data[:s.n] {
		s.typ[i] = activity.Type(c)
	}
	for i, c := range data[s.n : 2*s.n] {
		s.state[i] = activity.State(c)
	}
	copy(s.kind[:], data[2*s.n:3*s.n])
	d := decoder{rec: string(data[3*s.n:])}
	for _, t := range [...]*table{&s.names, &s.threads, &s.agents} {
		full := table{list: make([]string, d.count())}
		for k := range full.list {
			full.list[k] = d.string()
		}
		*t = full.sealed()
	}
	s.sources = make([]*activity.Resource, 1+d.count())
	for k := range s.sources[1:] {
		s.sources[1+k] = d.resource()
	}
	s.scopes = make([]*activity.Scope, 1+d.count())
	for k := range s.scopes[1:] {
		s.scopes[1+k] = d.scope()
	}
	for i := range s.n {
		if int(s.name[i]) >= s.names.len() || int(s.thread[i]) >= s.threads.len() || int(s.agent[i]) >= s.agents.len() ||
			int(s.source[i]) >= len(s.sources) || int(s.scope[i]) >= len(s.scopes) {
			panic(errPart)
		}
	}
	return data[len(data)-len(d.rec):]
}

// decodePlaces returns what is left of the data.
func (s *segment) decodePlaces(data []byte) []byte {
	s.places = new(places)
	for i := range s.n {
		copy(s.trace[i][:], data[16*i:16*i+16])
	}
	data = data[16*s.n:]
	for i := range s.n {
		copy(s.parent[i][:], data[8*i:8*i+8])
	}
	data = data[8*s.n:]
	at := 0
	unsigned := func() (x uint64) {
		for shift := 0; ; shift += 7 {
			c := data[at]
			at++
			x |= uint64(c&0x7f) << shift
			if c < 0x80 {
				return x
			}
		}
	}
	signed := func() int64 {
		u := unsigned()
		return int64(u>>1) ^ -int64(u&1)
	}
	var before activity.Time
	for i := range s.n {
		before += activity.Time(signed())
		s.planned[i] = before
	}
	var begun uint64
	for i := range s.n {
		begun += uint64(signed())
		s.begun[i] = begun
	}
	for i := range s.n {
		s.start[i] = s.planned[i] + activity.Time(signed())
	}
	for i := range s.n {
		s.started[i] = s.planned[i] + activity.Time(signed())
	}
	for i := range s.n {
		s.ended[i] = s.started[i] + activity.Time(signed())
	}
	for i := range s.n {
		s.seq[i] = s.begun[i] + unsigned()
	}
	var end uint64
	for i := range s.n {
		end += unsigned()
		s.end[i] = uint32(end)
	}
	return data[at:]
}

// count reads a number of things of which each takes a byte or more.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.rec)) {
		panic(errPart)
	}
	return int(n)
}

// appendSummary appends what a segment keeps in memory when its parts are away.
//
//	summary := rows, types, states, min and max planned, min and max ended, max
//	           duration, min begun, max seq, lost (1), Bloom filter of the traces, digest
//	digest   := Bloom filters of the codes and of the threads (256 bytes each)
//	dead    := a bit of each row, the first in the lowest of the first byte
func (s *segment) appendSummary(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(s.n))
	b = binary.AppendUvarint(b, uint64(s.types))
	b = binary.AppendUvarint(b, uint64(s.states))
	for _, t := range [...]activity.Time{s.minPlanned, s.maxPlanned, s.minEnded, s.maxEnded, s.maxDuration} {
		b = binary.AppendVarint(b, int64(t))
	}
	b = binary.AppendUvarint(b, s.minBegun)
	b = binary.AppendUvarint(b, s.maxSeq)
	lost := byte(0)
	if s.lost {
		lost = 1
	}
	b = append(b, lost)
	for _, word := range s.traces {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	coded := s.coded
	if coded == nil {
		coded = s.digest()
	}
	for _, filter := range [...]*smallBloom{&coded.codes, &coded.threads} {
		for _, word := range filter {
			b = binary.LittleEndian.AppendUint64(b, word)
		}
	}
	return b
}

func (s *segment) appendDead(b []byte) []byte {
	for k := range (s.n + 31) / 32 {
		b = binary.LittleEndian.AppendUint32(b, s.dead.rows[k].Load())
	}
	return b
}

// decodeSummary returns a saved segment whose parts are away.
func decodeSummary(first uint64, summaryBytes, dead []byte) (s *segment, err error) {
	defer func() {
		if recover() != nil {
			s, err = nil, errPart
		}
	}()
	d := decoder{rec: string(summaryBytes)}
	n := d.uvarint()
	if n > rowsPerSegment || len(dead) != int(n+31)/32*4 {
		return nil, errPart
	}
	s = &segment{first: first, n: int(n), dead: new(deadRows), saved: true, summary: summary{traces: new(bloom)}}
	s.types, s.states = uint32(d.uvarint()), uint32(d.uvarint())
	for _, t := range [...]*activity.Time{&s.minPlanned, &s.maxPlanned, &s.minEnded, &s.maxEnded, &s.maxDuration} {
		*t = activity.Time(d.varint())
	}
	s.minBegun, s.maxSeq = d.uvarint(), d.uvarint()
	s.lost = d.byte() != 0
	for k := range s.traces {
		var word [8]byte
		d.copy(word[:])
		s.traces[k] = binary.LittleEndian.Uint64(word[:])
	}
	s.coded = new(digest)
	for _, filter := range [...]*smallBloom{&s.coded.codes, &s.coded.threads} {
		for k := range filter {
			var word [8]byte
			d.copy(word[:])
			filter[k] = binary.LittleEndian.Uint64(word[:])
		}
	}
	if d.rec != "" {
		return nil, errPart
	}
	for k := range (s.n + 31) / 32 {
		word := binary.LittleEndian.Uint32(dead[4*k:])
		s.dead.rows[k].Store(word)
		s.dead.n += bits.OnesCount32(word)
	}
	s.dead.saved = s.dead.n
	return s, nil
}
