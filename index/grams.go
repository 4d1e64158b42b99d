package index

import (
	"context"
	"encoding/binary"
	"math/bits"

	"github.com/midspan/midspan/activity"
)

// grams is a Bloom filter, of one probe, of what a segment's text holds: of all
// runs of 4 and of 8 printable ASCII characters, in lower case. The short ones
// tell words apart, the long ones tell ids apart, whose short ones all occur. An
// archive keeps it so that a search reads the text of few segments.
type grams []uint64

// Their size in bits is a power of two; the smallest is taken that is at most
// half full, which a segment of ordinary spans' text is with the largest.
const (
	minGramBits = 1 << 13
	maxGramBits = 1 << 18
)

// grams returns those of a segment whose codes and text are there.
func (s *segment) grams() grams {
	full := make(grams, maxGramBits/64)
	add := func(hash uint32) { full[hash%maxGramBits/64] |= 1 << (hash % 64) }
	activity.EachGram(s.text, add)
	for k := range s.names.len() {
		activity.EachGram(s.names.text(uint16(k)), add)
	}
	for len(full) > minGramBits/64 {
		half := make(grams, len(full)/2)
		set := 0
		for k := range half {
			half[k] = full[k] | full[k+len(half)]
			set += bits.OnesCount64(half[k])
		}
		if set > len(half)*32 {
			break
		}
		full = half
	}
	return full
}

func (g grams) append(b []byte) []byte {
	for _, word := range g {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	return b
}

// holdsGrams reports whether all hashes stand in encoded grams, whose size must
// be a power of two.
func holdsGrams(encoded []byte, hashes []uint32) bool {
	mask := uint32(8*len(encoded) - 1)
	for _, h := range hashes {
		if h &= mask; encoded[h/8]>>(h%8)&1 == 0 {
			return false
		}
	}
	return true
}

// gramsOf returns the grams that a text has to hold which the filter selects.
func gramsOf(needles []needle) (hashes []uint32) {
	for i := range needles {
		hashes = append(hashes, activity.TermGrams(needles[i].term)...)
	}
	return hashes
}

// mayHold reports whether the text of a segment that is away may hold the grams.
// They are not kept: each search asks for those of most segments, once.
func (x *Index) mayHold(ctx context.Context, seg *segment, hashes []uint32) (bool, error) {
	encoded, err := x.derived(ctx, seg, PartGrams)
	if n := len(encoded); err == nil && (n < minGramBits/8 || n > maxGramBits/8 || n&(n-1) != 0) {
		err = x.damaged(seg, &DamageError{seg.first, PartGrams, errPart}, false)
	}
	if unreadable(err) {
		return true, nil // the text itself tells
	}
	return err == nil && holdsGrams(encoded, hashes), err
}
