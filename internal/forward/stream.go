package forward

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
)

const (
	readEvents = 1024 // at a time
	// How long a request may wait to be filled, and for its first span: then
	// there is only the cursor to store.
	linger      = 200 * time.Millisecond
	lingerEmpty = time.Second
)

// picker returns the span to send for an event, or nil. Its error ends the
// stream, as ctx does.
type picker func(ctx context.Context, e *activity.Event) (*activity.Event, error)

// finished picks finished spans that are sampled.
func finished(_ context.Context, e *activity.Event) (*activity.Event, error) {
	if e.EndTime == 0 || e.Sampling == activity.Unsampled {
		return nil, nil //nolint:nilnil // no span is no error
	}
	return e, nil
}

// stream reads the log by a cursor of its own and sends what is picked of it.
type stream struct {
	target     *target
	cursor     string
	pick       picker
	behind     time.Duration // events are read when they are so old
	batchSpans int
	stop       <-chan struct{}
	slots      chan struct{} // one for each request under way, up to its commit

	committed atomic.Uint64
	// When the log took the oldest event that is under way, and that of the
	// request that is filled, in Unix nanoseconds; 0 when there is none.
	waiting, reading atomic.Int64
}

// request is a part of the log on its way: what was picked of the events up to
// upTo. It may be empty.
type request struct {
	upTo   uint64
	spans  []*activity.Event
	bytes  int
	last   source        // of spans
	begun  time.Time     // when its first event was read
	oldest activity.Time // ReceivedAt of that
	done   chan error    // the outcome, once
}

// run forwards until ctx is done, or after stop once what that leaves is sent.
func (s *stream) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	giveUp := s.stop // what the log holds can be sent after the next start
	if s.target.drain {
		giveUp = nil
	}
	order := make(chan *request, inFlight)
	var sending sync.WaitGroup
	sending.Go(func() {
		s.commit(ctx, order)
		cancel() // what is not committed by now never will be
	})
	s.read(ctx, func(r *request) bool {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		order <- r // which has a place for each slot
		sending.Go(func() { r.done <- s.target.deliver(ctx, giveUp, r.spans) })
		return true
	})
	close(order)
	sending.Wait()
}

// read makes requests of the log and hands them to send, until it returns false,
// ctx is done, or the stream is stopped.
func (s *stream) read(ctx context.Context, send func(*request) bool) {
	log := s.target.log
	pos := s.committed.Load()
	r := newRequest()
	flush := func() bool {
		s.reading.Store(0)
		ok := send(r)
		r = newRequest()
		return ok
	}
	for ctx.Err() == nil {
		stopped := s.stopped() // then what is read now is all
		if stopped && !s.target.drain {
			return
		}
		changed := log.Changed()
		events, err := log.Read(ctx, pos, readEvents)
		switch {
		case errors.Is(err, activity.ErrGap):
			pos = s.gap(pos)
			continue
		case errors.Is(err, eventlog.ErrClosed):
			return
		case err != nil:
			s.target.fault("read the log", err)
			if !s.pause(ctx, nil, time.Second) {
				return
			}
			continue
		}
		// A log often returns fewer than were asked for.
		_, last := log.Bounds()
		more := len(events) > 0 && events[len(events)-1].Seq < last
		due := time.Hour
		if n := s.old(events); n < len(events) {
			due = time.Until(events[n].ReceivedAt.Time().Add(s.behind))
			events, more, changed = events[:n], false, nil
		}
		for i := range events {
			e := &events[i]
			span, err := s.pick(ctx, e)
			if err != nil {
				return
			}
			if span != nil && !s.fits(r, span) && !flush() {
				return
			}
			if r.upTo == 0 {
				r.begun, r.oldest = time.Now(), e.ReceivedAt
				s.reading.Store(int64(e.ReceivedAt))
			}
			r.upTo = e.Seq
			if span != nil {
				r.add(span)
			}
			pos = e.Seq
		}
		switch {
		case r.upTo == 0:
			if stopped {
				return
			}
			s.pause(ctx, changed, due)
		case r.left() <= 0 || stopped:
			if !flush() {
				return
			}
		case !more:
			s.pause(ctx, changed, r.left())
		}
	}
}

// old returns how many of the events the stream may read by now.
func (s *stream) old(events []activity.Event) int {
	if s.behind == 0 {
		return len(events)
	}
	until := activity.TimeOf(time.Now().Add(-s.behind))
	n, _ := slices.BinarySearchFunc(events, until+1, func(e activity.Event, t activity.Time) int { return cmp.Compare(e.ReceivedAt, t) })
	return n
}

func newRequest() *request { return &request{done: make(chan error, 1)} }

// left returns how long the request may still be filled.
func (r *request) left() time.Duration {
	if len(r.spans) == 0 {
		return lingerEmpty - time.Since(r.begun)
	}
	return linger - time.Since(r.begun)
}

// fits reports whether a span still has room in a request.
func (s *stream) fits(r *request, span *activity.Event) bool {
	if len(r.spans) == 0 {
		return true
	}
	bytes := r.bytes + sizeOf(span)
	if of := (source{span.Resource, span.Scope}); of != r.last {
		bytes += of.size()
	}
	return len(r.spans) < max(s.batchSpans/inFlight, 1) && bytes <= maxBytes/inFlight
}

func (r *request) add(span *activity.Event) {
	r.bytes += sizeOf(span)
	if of := (source{span.Resource, span.Scope}); of != r.last || len(r.spans) == 0 {
		r.bytes += of.size()
		r.last = of
	}
	r.spans = append(r.spans, span)
}

// commit stores the cursor of requests that were answered, in their order. It
// ends when order is closed, or at the first that has no answer.
func (s *stream) commit(ctx context.Context, order <-chan *request) {
	var next *request // taken from order, not waited for
	for {
		r := next
		if r == nil {
			s.waiting.Store(0)
			if r = <-order; r == nil {
				return
			}
		}
		s.waiting.Store(int64(r.oldest))
		if <-r.done != nil {
			return
		}
		n := 1
		// What is answered by now shares the write.
		for next = takeNow(order); next != nil; next = takeNow(order) {
			select {
			case err := <-next.done:
				if err != nil {
					s.store(ctx, r.upTo)
					return
				}
				r, n = next, n+1
				continue
			default:
			}
			break
		}
		if !s.store(ctx, r.upTo) {
			return
		}
		for range n {
			<-s.slots
		}
	}
}

// takeNow returns the next request, or nil when none is there now.
func takeNow(order <-chan *request) *request {
	select {
	case r := <-order:
		return r
	default:
		return nil
	}
}

// store keeps the cursor. It reports false when it can't before ctx is done.
func (s *stream) store(ctx context.Context, upTo uint64) bool {
	for {
		err := s.target.log.SetCursor(ctx, s.cursor, upTo)
		if err == nil {
			s.committed.Store(upTo)
			return true
		}
		if ctx.Err() != nil || errors.Is(err, eventlog.ErrClosed) {
			return false
		}
		s.target.fault("store the cursor", err)
		if !s.pause(ctx, nil, time.Second) {
			return false
		}
	}
}

// gap goes on where the log begins, and counts what is missing.
func (s *stream) gap(pos uint64) uint64 {
	floor, _ := s.target.log.Bounds()
	if floor > pos { // it may have moved on since
		s.target.dropped.Add(int64(floor - pos))
		s.target.logger.Error("forward: the log let go of events before they were forwarded; they are dropped",
			slog.Uint64("from", pos+1), slog.Uint64("to", floor), slog.Uint64("events", floor-pos))
	}
	return floor
}

func (s *stream) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// pause waits until something is to be looked at again. It reports false when
// ctx is done or the stream is stopped.
func (s *stream) pause(ctx context.Context, changed <-chan struct{}, d time.Duration) bool {
	return wait(ctx, s.stop, changed, d)
}

func wait(ctx context.Context, stop, changed <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-stop:
		return false
	case <-changed:
	case <-timer.C:
	}
	return true
}
