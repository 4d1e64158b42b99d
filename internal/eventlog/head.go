package eventlog

import (
	"sync"

	"github.com/midspan/midspan/activity"
)

// Head is what a driver tells of its ends, and wakes who waits for more. Its zero
// value is that of an empty log.
type Head struct {
	mu          sync.Mutex // guards everything below
	floor, last uint64
	changed     chan struct{} // nil until somebody waits
}

// Bounds returns the sequence before the oldest event and that of the last one.
func (h *Head) Bounds() (floor, last uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.floor, h.last
}

// Changed is that of a Log.
func (h *Head) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed
}

// Grow sets the last sequence.
func (h *Head) Grow(last uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = last
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// Trim sets the floor.
func (h *Head) Trim(floor uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.floor = floor
}

// Check returns activity.ErrGap unless a reader may go on after a sequence, and
// whether there is anything for it.
func (h *Head) Check(after uint64) (more bool, err error) {
	floor, last := h.Bounds()
	if after < floor || after > last {
		return false, activity.ErrGap
	}
	return after < last, nil
}
