package index

import (
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/midspan/midspan/activity"
)

// usual keeps how long the activities of each type and name took of late: the
// last 64 that completed.
type usual struct {
	runs map[usualKey]*lastRuns
}

type usualKey struct {
	typ  activity.Type
	name string
}

type lastRuns struct {
	seconds [64]float32
	n       uint32
	last    atomic.Uint64 // n and the bits of the median then
}

// maxUsual bounds the names that are remembered: with more, any one is forgotten.
const maxUsual = 10_000

func (u *usual) add(t activity.Type, name string, d time.Duration) {
	key := usualKey{t, name}
	r := u.runs[key]
	if r == nil {
		if len(u.runs) >= maxUsual {
			for victim := range u.runs {
				delete(u.runs, victim)
				break
			}
		}
		r = new(lastRuns)
		u.runs[key] = r
	}
	r.seconds[r.n%64] = float32(d.Seconds())
	r.n++
}

// median returns the median duration, or 0 when none has completed yet.
func (u *usual) median(t activity.Type, name string) time.Duration {
	r := u.runs[usualKey{t, name}]
	if r == nil {
		return 0
	}
	last := r.last.Load()
	if uint32(last>>32) != r.n {
		last = uint64(r.n)<<32 | uint64(math.Float32bits(r.median()))
		r.last.Store(last) // several readers may, the same
	}
	return time.Duration(float64(math.Float32frombits(uint32(last))) * float64(time.Second))
}

func (r *lastRuns) median() float32 {
	seconds := r.seconds
	sorted := seconds[:min(r.n, 64)]
	slices.Sort(sorted)
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2] + sorted[n/2-1]) / 2
}
