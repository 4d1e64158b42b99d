package index

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// FuzzIDTable does to a table and to a map what the bytes say.
func FuzzIDTable(f *testing.F) {
	f.Add([]byte{1, 2, 3, 130, 131})
	f.Add(slices.Repeat([]byte{0, 1, 2, 128, 64, 192, 7, 135}, 40))
	for seed := range uint64(20) {
		ops := make([]byte, 2000)
		g := rand.New(rand.NewPCG(seed, 3))
		for i := range ops {
			ops[i] = byte(g.UintN(256))
		}
		f.Add(ops)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		var table idTable
		held := map[activity.SpanID][]uint32{}
		// All in one shard: few slots, many that lie side by side.
		spans := sameShard[:]
		next := uint32(0xFFFFFFF0) // row numbers go round
		for _, op := range ops {
			span := spans[int(op&0x7f)%len(spans)]
			rows := held[span]
			switch {
			case op < 0x80 || len(rows) == 0:
				h := hashSpan(span)
				table.shards[h>>56].insert(h, next)
				held[span] = append(rows, next)
				next++
			default:
				table.remove(span, rows[0])
				held[span] = rows[1:]
			}
		}
		n := 0
		for _, span := range spans {
			var got []uint32
			table.find(span, func(row uint32) bool {
				got = append(got, row)
				return false
			})
			want := held[span]
			n += len(want)
			slices.Sort(got)
			want = slices.Sorted(slices.Values(want))
			if !slices.Equal(got, want) {
				t.Fatalf("rows of %v: %v, want %v", span, got, want)
			}
			table.remove(span, 12345) // which is not there
		}
		total := 0
		for i := range table.shards {
			total += table.shards[i].n
		}
		if total != n {
			t.Fatalf("%d rows counted, want %d", total, n)
		}
	})
}

// sameShard holds span ids whose hashes share a shard and, many of them, a slot.
var sameShard = func() (spans [100]activity.SpanID) {
	var s activity.SpanID
	for i, n := 0, uint64(0); i < len(spans); n++ {
		binary.LittleEndian.PutUint64(s[:], n)
		if h := hashSpan(s); h>>56 == 7 && h&0xff < 0x60 {
			spans[i] = s
			i++
		}
	}
	return spans
}()

// Two activities of different traces may share a span id.
func TestResolve(t *testing.T) {
	x := New(Config{})
	want := []activity.ID{id(1, 7), id(2, 7), id(3, 7)}
	run(x, want[1], at(0), at(1), nil)
	x.Apply([]activity.Event{ev(want[2], 1, at(0), activity.EventStarted), ev(want[0], 1, at(0), activity.EventStarted)})
	run(x, id(1, 8), at(0), at(1), nil)
	for _, when := range []string{"in the segment being written", "in sealed segments"} {
		got, err := x.Resolve(t.Context(), want[0].Span)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
		for _, i := range want {
			if a := get(t, x, i).Activity; a.ID != i {
				t.Errorf("%s: Get(%v) = %v", when, i, a.ID)
			}
		}
		for n := range rowsPerSegment {
			run(x, id(9, n+100), at(0), at(1), nil)
		}
	}
	if got, err := x.Resolve(t.Context(), activity.SpanID{9}); err != nil || len(got) != 0 {
		t.Errorf("an unknown span: %v, %v", got, err)
	}
}
