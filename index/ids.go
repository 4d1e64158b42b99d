package index

import (
	"encoding/binary"

	"github.com/midspan/midspan/activity"
)

// idTable finds the rows of sealed segments by their span id. It is a hash
// table of open addressing whose slots hold part of the hash and the low bits
// of the row number, and no pointers: 8 bytes a slot. It is split in shards
// that grow on their own, so no insertion ever moves the whole; a segment's
// rows are inserted together, shard by shard, since a table of this size is in
// no cache.
type idTable struct {
	shards [256]idShard
}

type idShard struct {
	slots []uint64 // hash<<32 | row+1; 0 is empty
	n     int
}

func hashSpan(s activity.SpanID) uint64 {
	h := binary.LittleEndian.Uint64(s[:]) * 0x9E3779B97F4A7C15
	h ^= h >> 32
	h *= 0xC2B2AE3D27D4EB4F
	return h ^ h>>29
}

// insertAll adds the rows of a segment that are not dead.
func (t *idTable) insertAll(seg *segment) {
	var hashes [rowsPerSegment]uint64
	var order [rowsPerSegment]uint16
	var ends [256]int
	for i := range seg.n {
		hashes[i] = hashSpan(seg.span[i])
		ends[hashes[i]>>56]++
	}
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	for i := seg.n - 1; i >= 0; i-- {
		shard := hashes[i] >> 56
		ends[shard]--
		order[ends[shard]] = uint16(i)
	}
	for _, i := range order[:seg.n] {
		if !seg.isDead(int(i)) {
			t.shards[hashes[i]>>56].insert(hashes[i], uint32(seg.first)+uint32(i))
		}
	}
}

func (sh *idShard) insert(h uint64, row uint32) {
	if 8*(sh.n+1) > 7*len(sh.slots) {
		sh.grow()
	}
	sh.put(uint64(uint32(h))<<32 | uint64(row+1))
	sh.n++
}

func (sh *idShard) grow() {
	old := sh.slots
	sh.slots = make([]uint64, max(16, 2*len(old)))
	for _, slot := range old {
		if slot != 0 {
			sh.put(slot)
		}
	}
}

func (sh *idShard) put(slot uint64) {
	mask := len(sh.slots) - 1
	for i := int(slot>>32) & mask; ; i = (i + 1) & mask {
		if sh.slots[i] == 0 {
			sh.slots[i] = slot
			return
		}
	}
}

// find calls fn with the rows that the span may have until fn says that it is
// the one. Rows of other spans come among them, seldom.
func (t *idTable) find(s activity.SpanID, fn func(row uint32) bool) {
	h := hashSpan(s)
	sh := &t.shards[h>>56]
	if len(sh.slots) == 0 {
		return
	}
	mask := len(sh.slots) - 1
	for i := int(uint32(h)) & mask; sh.slots[i] != 0; i = (i + 1) & mask {
		if slot := sh.slots[i]; uint32(slot>>32) == uint32(h) && fn(uint32(slot)-1) {
			return
		}
	}
}

// remove takes a row out. The slots behind it move up, so that no tombstones
// gather.
func (t *idTable) remove(s activity.SpanID, row uint32) {
	h := hashSpan(s)
	sh := &t.shards[h>>56]
	if len(sh.slots) == 0 {
		return
	}
	mask := len(sh.slots) - 1
	i := int(uint32(h)) & mask
	for want := uint64(uint32(h))<<32 | uint64(row+1); sh.slots[i] != want; i = (i + 1) & mask {
		if sh.slots[i] == 0 {
			return
		}
	}
	for j := i; ; {
		j = (j + 1) & mask
		if sh.slots[j] == 0 {
			break
		}
		// A slot may move to i if its own place is not between i and j.
		if home := int(sh.slots[j]>>32) & mask; (j-home)&mask >= (j-i)&mask {
			sh.slots[i] = sh.slots[j]
			i = j
		}
	}
	sh.slots[i] = 0
	sh.n--
}

func (t *idTable) bytes() int64 {
	n := 0
	for i := range t.shards {
		n += 8 * len(t.shards[i].slots)
	}
	return int64(n)
}

// recentIDs finds the rows of the segment that is being written. It is small
// enough to stay in a near cache. Dead rows stay in it until the segment is
// sealed.
type recentIDs [2 * rowsPerSegment]uint16 // row+1; 0 is empty

func (r *recentIDs) insert(s activity.SpanID, row int) {
	for i := hashSpan(s) % uint64(len(r)); ; i = (i + 1) % uint64(len(r)) {
		if r[i] == 0 {
			r[i] = uint16(row + 1)
			return
		}
	}
}

// find calls fn with the rows of the span until fn says that it is the one.
func (r *recentIDs) find(seg *segment, s activity.SpanID, fn func(row uint32) bool) {
	for i := hashSpan(s) % uint64(len(r)); r[i] != 0; i = (i + 1) % uint64(len(r)) {
		if row := uint32(r[i] - 1); seg.span[row] == s && fn(uint32(seg.first)+row) {
			return
		}
	}
}
