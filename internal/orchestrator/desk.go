package orchestrator

import (
	"container/heap"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/midspan/midspan/tracing"
)

// openItem is a work item that is not closed, with the activities that stand
// for it. The desk's mutex guards what changes.
type openItem struct {
	workItem
	activity *tracing.Activity // of the work item
	// attempt is the activity of a retry that was planned, else nil.
	attempt  *tracing.Activity
	allowed  time.Duration // time for the next run; 0 is as usual
	leaveOut []string      // documents that the next run does without
	progress float64
	stop     context.CancelCauseFunc // of the run, while there is one
	turn     time.Time               // the lane's mutex guards it
	closed   bool
}

func (it *openItem) attemptName() string {
	return "Attempt to " + strings.ToLower(it.Kind.verb()) + " " + extent(it.whole())
}

// options are those of every activity that lasts as long as the work item's run.
func (it *openItem) options() []tracing.Option {
	if it.whole() {
		return []tracing.Option{tracing.LongRunning()}
	}
	return nil
}

// cancelledError is why a work item was cancelled. It counts as a cancellation,
// not as a failure, wherever it goes.
type cancelledError struct{ reason string }

func (e *cancelledError) Error() string { return e.reason }
func (e *cancelledError) Unwrap() error { return context.Canceled }

// desk holds the open work items and the two lanes in which they wait for an
// agent. It keeps their activities: one that nothing holds would count as leaked.
type desk struct {
	mu   sync.Mutex // guards everything below
	open map[int64]*openItem

	short, long *lane
	// closed hears of every work item that is closed. It must not block.
	closed func(workItem, itemState)
}

func newDesk() *desk {
	return &desk{open: map[int64]*openItem{}, short: newLane(), long: newLane(), closed: func(workItem, itemState) {}}
}

// laneOf returns where a work item waits: work on a whole project takes long,
// and would hold up the rest.
func (d *desk) laneOf(w *workItem) *lane {
	if w.whole() {
		return d.long
	}
	return d.short
}

// add opens a work item and queues its first run.
func (d *desk) add(it *openItem) {
	d.mu.Lock()
	d.open[it.ID] = it
	d.mu.Unlock()
	d.laneOf(&it.workItem).put(it)
}

// queue queues the work item again, for a run that is due.
func (d *desk) queue(itemID int64) {
	d.mu.Lock()
	it := d.open[itemID]
	d.mu.Unlock()
	if it != nil {
		d.laneOf(&it.workItem).put(it)
	}
}

// begin hands the work item to an agent. It is false if it was cancelled.
func (d *desk) begin(it *openItem, stop context.CancelCauseFunc) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if it.closed {
		return false
	}
	it.stop, it.progress = stop, 0
	return true
}

// report notes how far the work item's run is.
func (d *desk) report(it *openItem, progress float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	it.progress = progress
}

// delay gives the work item back until its retry is due. It is false if it was
// cancelled.
func (d *desk) delay(it *openItem, runID int64, attempt *tracing.Activity, r retry) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if it.closed {
		return false
	}
	it.stop, it.RunID, it.attempt, it.allowed = nil, runID, attempt, r.allowed
	it.leaveOut = append(it.leaveOut, r.leaveOut...)
	return true
}

// close takes the work item off the desk, if it is still there.
func (d *desk) close(it *openItem, state itemState) {
	d.mu.Lock()
	was := it.closed
	it.closed = true
	delete(d.open, it.ID)
	d.mu.Unlock()
	if !was {
		d.closed(it.workItem, state)
	}
}

// cancel cancels an open work item: a run is stopped, and its agent ends its
// activities; what only waits ends here.
func (d *desk) cancel(itemID int64, reason string) {
	d.mu.Lock()
	it := d.open[itemID]
	if it == nil {
		d.mu.Unlock()
		return
	}
	it.closed = true
	delete(d.open, itemID)
	stop := it.stop
	d.mu.Unlock()
	defer d.closed(it.workItem, itemCancelled)
	if stop != nil {
		stop(&cancelledError{reason})
		return
	}
	if it.attempt != nil {
		it.attempt.Cancel(reason)
	}
	it.activity.Cancel(reason)
}

// cancelAll cancels everything that is open.
func (d *desk) cancelAll(reason string) {
	d.mu.Lock()
	var ids []int64
	for id := range d.open {
		ids = append(ids, id)
	}
	d.mu.Unlock()
	for _, id := range ids {
		d.cancel(id, reason)
	}
}

func (d *desk) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open)
}

// same returns the open work item that does the same to the whole of a project,
// with its progress; running is false while it waits.
func (d *desk) same(k kind, project string) (it *openItem, progress float64, running bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, it := range d.open {
		if it.whole() && it.Kind == k && it.Project == project {
			return it, it.progress, it.stop != nil
		}
	}
	return nil, 0, false
}

// lane is a queue of work items. A step of priority is worth as much as
// stepWait of waiting, so that nothing waits for ever.
type lane struct {
	mu      sync.Mutex // guards waiting
	waiting waiting
	ready   chan struct{} // one for each that waits
}

// len returns how many work items wait.
func (l *lane) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

const stepWait = 10 * time.Second

// maxOpen bounds the work items on the desk, and so the length of a lane.
const maxOpen = 1000

func newLane() *lane { return &lane{ready: make(chan struct{}, 2*maxOpen)} }

func (l *lane) put(it *openItem) {
	l.mu.Lock()
	it.turn = time.Now().Add(-time.Duration(it.Priority) * stepWait)
	heap.Push(&l.waiting, it)
	l.mu.Unlock()
	l.ready <- struct{}{}
}

// take waits for a work item. It is false when ctx is done.
func (l *lane) take(ctx context.Context) (*openItem, bool) {
	select {
	case <-ctx.Done():
		return nil, false
	case <-l.ready:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return heap.Pop(&l.waiting).(*openItem), true
}

// waiting implements heap.Interface.
type waiting []*openItem

func (w waiting) Len() int           { return len(w) }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w waiting) Less(i, j int) bool { return w[i].turn.Before(w[j].turn) }
func (w *waiting) Push(it any)       { *w = append(*w, it.(*openItem)) }
func (w *waiting) Pop() any {
	last := len(*w) - 1
	it := (*w)[last]
	(*w)[last] = nil
	*w = (*w)[:last]
	return it
}
