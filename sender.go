package midspan

import (
	"cmp"
	"context"
	"log/slog"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

const (
	// gatherFor is how long a change waits for others, which go with it.
	gatherFor = 20 * time.Millisecond
	// coolFor is how long an activity's updates wait behind what was told of it
	// last: ten a second. Changes of its state don't.
	coolFor = 100 * time.Millisecond
	// maxWaiting bounds the activities with something to tell: the rest waits in
	// the index's log.
	maxWaiting = 8192
	// maxRecords and maxBytes bound one request.
	maxRecords = 512
	maxBytes   = 1 << 20

	minBackoff = 250 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// sender tells a bridge what happens to activities, by log events. It is a
// cursor over the index's log and holds no events itself: what changed is read
// from the index when it is told, so a bridge that is slow or away slows nobody
// and costs no memory. One that comes back is told of everything that is open or
// has ended meanwhile; what the index no longer holds by then is counted.
//
// An activity that began and ended since the sender looked last is told by its
// final span alone, if there will be one.
type sender struct {
	index    *index.Index
	out      sdklog.Exporter
	lease    *lease
	endpoint string
	logger   *slog.Logger

	ctx     context.Context //nolint:containedctx // It bounds the requests of the goroutine, not a call.
	abort   context.CancelFunc
	flushes chan flushing
	quit    chan struct{}
	done    chan struct{}
	once    sync.Once
	stopErr error

	dropped   atomic.Int64
	connected atomic.Bool

	// Of the goroutine alone.
	rec     *recorder
	cursor  uint64 // the events up to here were looked at
	ended   int64  // activities that have ended up to there
	waiting map[activity.ID]*waiting
	order   []*waiting // the same, in the order of their coming
	touches []index.Touch
	away    bool
	backoff time.Duration
	behind  bool   // what is open, and what has changed after since, must be told again
	since   uint64 // all before was told
	refused bool   // something was, and was logged
}

// waiting is an activity with something to tell, or of which something was told
// just now.
type waiting struct {
	id      activity.ID
	told    uint64    // its events up to here were told
	next    uint64    // those up to here are on their way
	readyAt time.Time // before it updates wait
	changed bool
	urgent  bool // a change of state is among the changes
	whole   bool // told again from the start
}

type flushing struct {
	ctx  context.Context //nolint:containedctx // It is a call's own, handed to the goroutine.
	done chan error
}

func newSender(ix *index.Index, out sdklog.Exporter, rec *recorder, l *lease, endpoint string, logger *slog.Logger) *sender {
	s := &sender{
		index: ix, out: out, rec: rec, lease: l, endpoint: endpoint, logger: logger,
		flushes: make(chan flushing), quit: make(chan struct{}), done: make(chan struct{}),
		waiting: make(map[activity.ID]*waiting),
	}
	s.ctx, s.abort = context.WithCancel(context.Background())
	go l.hold(s.ctx)
	go s.run()
	return s
}

func (s *sender) run() {
	defer close(s.done)
	nap := time.NewTimer(gatherFor)
	defer nap.Stop()
	for {
		changed := s.index.Changed()
		s.read()
		var due <-chan time.Time
		if s.away || s.behind || len(s.order) > 0 {
			nap.Reset(cmp.Or(s.backoff, gatherFor))
			due, changed = nap.C, nil
		}
		select {
		case <-s.quit:
			return
		case <-changed:
		case <-due:
			_ = s.tell(s.ctx, false)
		case r := <-s.lease.renewed:
			switch {
			case r.err == nil && s.away:
				_ = s.tell(s.ctx, false)
			case r.err == nil:
				s.connected.Store(true)
			case !s.away:
				_ = s.lost(r.err)
			}
		case f := <-s.flushes:
			f.done <- s.tell(f.ctx, true)
		}
	}
}

// read looks at what is new in the log.
func (s *sender) read() {
	for !s.behind && len(s.order) < maxWaiting {
		var err error
		if s.touches, err = s.index.Touches(s.touches[:0], s.cursor, maxWaiting); err != nil {
			s.fallBehind()
			return
		}
		if len(s.touches) == 0 {
			return
		}
		for i := range s.touches {
			s.touch(&s.touches[i])
		}
	}
}

func (s *sender) touch(t *index.Touch) {
	s.cursor = t.Seq
	if t.Kind.Ends() {
		s.ended++
	}
	w := s.waiting[t.ID]
	if w == nil {
		w = &waiting{id: t.ID, told: t.Seq - 1}
		s.waiting[t.ID] = w
		s.order = append(s.order, w)
	}
	if t.Seq > w.told {
		w.changed = true
		w.urgent = w.urgent || t.Kind != activity.EventUpdated
	}
}

// fallBehind gives up the place in the log: what is due will be read from the
// index as it is then.
func (s *sender) fallBehind() {
	if s.behind {
		return
	}
	s.behind, s.since = true, s.cursor
	for _, w := range s.order {
		if w.changed {
			s.since = min(s.since, w.told)
		}
	}
	clear(s.waiting)
	s.order = nil
}

// lost notes that the bridge can't be reached. It returns the reason.
func (s *sender) lost(err error) error {
	if s.away {
		s.backoff = min(2*s.backoff, maxBackoff)
		return err
	}
	s.away, s.backoff = true, minBackoff
	s.connected.Store(false)
	s.fallBehind()
	s.logger.Warn("midspan: the bridge is away; it will be told what the index still holds when it is back",
		slog.String("endpoint", s.endpoint), slog.Any("error", err))
	return err
}

// tell tells what is due, or everything. It returns why it could not.
func (s *sender) tell(ctx context.Context, all bool) error {
	err := s.tellDue(ctx, all)
	if err != nil && ctx.Err() == nil { // else it is the caller who had no time
		return s.lost(err)
	}
	return err
}

func (s *sender) tellDue(ctx context.Context, all bool) error {
	if s.away { // first of all a sign of life, of which the bridge may know nothing any more
		if err := s.lease.renew(ctx); err != nil {
			return err
		}
	}
	if s.behind {
		if err := s.tellAgain(ctx); err != nil {
			return err
		}
	}
	if s.away {
		s.away, s.backoff = false, 0
		select {
		case <-s.lease.renewed: // an outcome of before
		default:
		}
		s.connected.Store(true)
		s.logger.Info("midspan: the bridge is back", slog.String("endpoint", s.endpoint), slog.Int64("dropped", s.dropped.Load()))
	}
	for {
		s.read()
		now := time.Now()
		var due []*waiting
		for _, w := range s.order {
			if w.changed && (all || w.urgent || !now.Before(w.readyAt)) {
				due = append(due, w)
			}
		}
		if err := s.tellEach(ctx, due); err != nil {
			return err
		}
		for _, w := range due {
			w.changed, w.urgent, w.readyAt = false, false, now.Add(coolFor)
		}
		s.order = slices.DeleteFunc(s.order, func(w *waiting) bool {
			settled := !w.changed && !now.Before(w.readyAt)
			if settled {
				delete(s.waiting, w.id)
			}
			return settled
		})
		if !all || len(due) == 0 {
			return nil
		}
	}
}

// tellAgain tells of what has ended since the bridge was told all, and of
// everything that is open.
func (s *sender) tellAgain(ctx context.Context) error {
	now, err := s.index.Standing(ctx, s.since)
	if err != nil {
		return err
	}
	gone := now.Ended - s.ended
	byPlace := func(a, b index.Touch) int { return cmp.Compare(a.Seq, b.Seq) }
	slices.SortFunc(now.Finished, byPlace)
	slices.SortFunc(now.Open, byPlace)
	for _, t := range now.Finished {
		if t.Seq > s.cursor {
			gone--
		}
	}
	s.dropped.Add(max(gone, 0))
	s.cursor, s.ended = now.Seq, now.Ended
	for _, list := range [][]index.Touch{now.Finished, now.Open} {
		for part := range slices.Chunk(list, maxRecords) {
			group := make([]*waiting, len(part))
			for i := range part {
				group[i] = &waiting{id: part[i].ID, whole: true}
			}
			if err := s.tellEach(ctx, group); err != nil {
				return err
			}
			if part[0].Kind.Ends() {
				s.since = part[len(part)-1].Seq
			}
		}
	}
	s.behind = false
	return nil
}

// tellEach tells of some activities what was not told before.
func (s *sender) tellEach(ctx context.Context, all []*waiting) error {
	for group := range slices.Chunk(all, maxRecords) {
		ids := make([]activity.ID, len(group))
		for i, w := range group {
			ids[i] = w.id
		}
		histories, err := s.index.Histories(ctx, ids)
		if err != nil {
			return err
		}
		s.rec.take() // of a group that failed
		for i, w := range group {
			s.record(w, histories[i])
			if len(s.rec.records) >= maxRecords || s.rec.bytes >= maxBytes {
				if err := s.send(ctx, s.rec.take()); err != nil {
					return err
				}
			}
		}
		if err := s.send(ctx, s.rec.take()); err != nil {
			return err
		}
		for _, w := range group {
			w.told = w.next
		}
	}
	return nil
}

// record makes the records of what was not told of an activity. Updates in a
// row, and those before the end, are one.
func (s *sender) record(w *waiting, events []activity.Event) {
	if len(events) == 0 { // evicted, before it was told
		s.dropped.Add(1)
		w.next = w.told
		return
	}
	var scope *activity.Scope
	var sampling activity.Sampling
	for i := range events {
		scope = cmp.Or(events[i].Scope, scope)
		sampling = cmp.Or(events[i].Sampling, sampling)
		w.next = max(w.next, events[i].Seq)
	}
	sampled := sampling == activity.Sampled
	if !w.whole && sampled && events[0].Seq > w.told && events[len(events)-1].Kind.Ends() {
		return // by its final span alone
	}
	var update *activity.Event
	for i := range events {
		e := &events[i]
		if e.Seq <= w.told {
			continue
		}
		switch {
		case update != nil && e.Kind == activity.EventUpdated:
			*update = activity.Merge(*update, *e)
			continue
		case update != nil && e.Kind.Ends():
			at := e.At
			*e = activity.Merge(*update, *e)
			e.At = at
			update = nil
		case e.Kind == activity.EventUpdated:
			update = e
			continue
		}
		if update != nil {
			s.rec.event(update, scope, sampled)
			update = nil
		}
		s.rec.event(e, scope, sampled)
	}
	if update != nil {
		s.rec.event(update, scope, sampled)
	}
}

// send sends records. What the bridge will never take is dropped, one by one,
// and counted.
func (s *sender) send(ctx context.Context, records []sdklog.Record) error {
	if len(records) == 0 {
		return nil
	}
	err := s.out.Export(ctx, records)
	switch n, partial := rejectedOf(err); {
	case err == nil:
		return nil
	case partial:
		s.refuse(n, err)
		return nil
	case !hopeless(err):
		return err
	case len(records) == 1:
		s.refuse(1, err)
		return nil
	}
	half := len(records) / 2
	if err := s.send(ctx, records[:half]); err != nil {
		return err
	}
	return s.send(ctx, records[half:])
}

func (s *sender) refuse(n int64, err error) {
	s.dropped.Add(n)
	if n > 0 && !s.refused {
		s.refused = true
		s.logger.Warn("midspan: the bridge rejects what it is told; that is dropped and counted, and not logged again",
			slog.String("endpoint", s.endpoint), slog.Any("error", err))
	}
}

// hopeless reports whether a request would fail again however often it is sent.
func hopeless(err error) bool {
	if st, ok := status.FromError(err); ok {
		switch st.Code() {
		case codes.InvalidArgument, codes.OutOfRange:
			return true
		case codes.ResourceExhausted: // overload, if the bridge says when to come again; else size
			return !slices.ContainsFunc(st.Details(), func(d any) bool { _, ok := d.(*errdetails.RetryInfo); return ok })
		}
	}
	return badRequest.MatchString(err.Error())
}

// The HTTP exporter tells the status in words only.
var badRequest = regexp.MustCompile(`failed to send logs to \S+: (400|413|422) `)

// flush tells everything that the index holds, and returns why it could not.
func (s *sender) flush(ctx context.Context) error {
	f := flushing{ctx, make(chan error, 1)}
	select {
	case s.flushes <- f:
	case <-s.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shutdown tells everything and, when the spans are sent too, ends the lease,
// until ctx is done. No goroutine is left then.
func (s *sender) shutdown(ctx context.Context, spans <-chan struct{}) error {
	s.once.Do(func() {
		err := s.flush(ctx)
		s.abort() // what is still under way fails now
		close(s.quit)
		<-s.done
		if err != nil {
			s.fallBehind()
			if left, _ := s.index.Standing(context.Background(), s.since); left.Seq > s.since { //nolint:contextcheck // ctx may be done, and memory answers at once.
				s.dropped.Add(int64(len(left.Open) + len(left.Finished)))
			}
		}
		<-spans
		s.stopErr = distinct([]error{err, s.lease.end(ctx), s.out.Shutdown(ctx)})
	})
	return s.stopErr
}
