package activity_test

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// FuzzIDMap does to an IDMap and to a map what the bytes say. Span ids are few,
// so that traces share them.
func FuzzIDMap(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 130, 131, 4, 0x80, 0})
	f.Add([]byte{0x00, 0x10, 0x20, 0x80, 0x10, 0x00, 0x90, 0xa0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var got activity.IDMap[int]
		want := map[activity.ID]int{}
		for n, op := range ops {
			id := activity.ID{Trace: activity.TraceID{1 + op>>4&7}, Span: activity.SpanID{1 + op&3}}
			if op < 0x80 {
				got.Put(id, n+1)
				want[id] = n + 1
			} else {
				got.Delete(id)
				delete(want, id)
			}
			if got.Get(id) != want[id] || got.Len() != len(want) {
				t.Fatalf("after %d operations: Get(%v) = %d, Len %d; want %d, %d", n+1, id, got.Get(id), got.Len(), want[id], len(want))
			}
		}
		if diff := cmp.Diff(want, maps.Collect(got.All())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		for range got.All() {
			break
		}
	})
}
