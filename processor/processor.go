// Package processor turns the life of OpenTelemetry spans into events of
// activities: a SpanProcessor for their start and end, and around it a live
// TracerProvider for every change between.
//
// With the SpanProcessor alone, starts and ends are live. With the Provider of
// [Live] every call on a span is, whoever makes it: the span it hands out
// forwards to the SDK's own and hands over what the call changed. It needs no
// help of the SDK for that.
//
// The span's goroutine only hands over. One owner at a time folds what was
// handed over into the index; who finds the hand-over full, or wants to read,
// becomes the owner and helps. Nothing is dropped.
package processor

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/midspan/midspan/activity"
)

// Index takes the events that a Processor makes, in their order. The slice, and
// the attributes in it, are the Processor's again when Apply returns.
type Index interface {
	Apply([]activity.Event)
}

// Config sets how a Processor works. Its zero value is ready to use.
type Config struct {
	// Latency is how long a change may wait for others, so that they are folded
	// together. A reader that flushes does not wait. Defaults to 2 ms.
	Latency time.Duration
	// Capacity bounds the changes that wait. The caller that reaches it folds the
	// oldest of them itself. Defaults to 8,192; with one processor, where the
	// goroutine would need the caller's, no more than some hundred wait.
	Capacity int
	// DetectPlainLeaks watches every span of the live provider for being dropped
	// without an end, not only the activities of package tracing. It costs about
	// a quarter of a microsecond a span.
	DetectPlainLeaks bool
	// Next take the spans that have ended, once the index has: the SDK's batch
	// processor with an exporter, as a rule. Their OnEnd is called by whoever
	// folds, not by the span's goroutine, for every span that started since the
	// Processor did, sampled or not. It must not block, nor use the Processor, the
	// index or spans of the live provider: it would wait for itself. What does is
	// put behind a batch processor. OnStart is not called. ForceFlush and Shutdown
	// reach them.
	Next []sdktrace.SpanProcessor
}

// Processor is a SpanProcessor that hands the life of every span to an Index.
// Register it with the SDK's TracerProvider, and wrap that one by [Live]. It is
// safe for concurrent use.
type Processor struct {
	cfg Config

	mu      sync.Mutex // guards what is handed over
	pending *batch     // is being filled
	full    []*batch   // the oldest first
	spare   []*batch   // emptied; the last one is the warmest
	handed  uint64     // operations ever handed over
	resting bool       // the goroutine waits to be woken
	stopped bool

	size  int           // operations of a batch
	wake  chan struct{} // something waits, and the goroutine rests
	hurry chan struct{} // batches are full
	quit  chan struct{}
	done  chan struct{}
	once  sync.Once

	nextOnce sync.Once
	nextErr  error // of the shutdown of Config.Next

	clock  atomic.Pointer[clock]
	folder folder
}

// clock is a moment by both of the system's clocks. The time since is read from
// the monotonic one alone, at half the cost of reading both; the owner winds it
// up every second, so that it follows a wall clock that is set.
type clock struct{ time.Time }

func (c *clock) now() activity.Time { return activity.Time(c.UnixNano() + int64(time.Since(c.Time))) }

func (p *Processor) wind() {
	if c := p.clock.Load(); c == nil || time.Since(c.Time) > time.Second {
		p.clock.Store(&clock{time.Now()})
	}
}

// batch is a part of what waits to be folded. It is small enough to stay in the
// caches while it is filled, folded and filled again.
type batch struct {
	ops    []op
	attrs  []attribute.KeyValue // of the ops, each one's behind that of the one before
	starts []start
	added  []added // of the ops that add
}

const (
	batchSize = 64
	// hurryAt is how many full batches hurry the goroutine: to wake it takes the
	// caller as long as some ten operations.
	hurryAt = 4
	// maxSpare bounds the batches that are kept when they are empty.
	maxSpare = 16
)

type opKind uint8

const (
	opStart opKind = iota
	opEnd
	opAttrs
	opName
	opStatus
	opAdd // of links and span events
	opAbandoned
	opReleased // one that OpenSpan found
)

// op is one thing that happened to a span. It fills a line of the cache: every
// one of them moves from the caller's to the owner's.
type op struct {
	id     activity.ID
	at     activity.Time // of all but an end that the SDK told
	text   string        // name, or the status' description
	pc     uintptr       // of who started the span, when that is abandoned
	nattrs int32         // how many of batch.attrs are this op's
	kind   opKind
	status uint8 // codes.Code
	// look says that the span of a start holds what is seldom there, and not
	// here: links, a trace state.
	look bool
}

// start is what only a start carries. It is read from the span where it starts:
// later, on another processor, that takes ten times as long, and has the span's
// own goroutine wait when it writes to it next.
type start struct {
	span     sdktrace.ReadWriteSpan // the SDK's own
	attrs    []attribute.KeyValue   // nobody writes them
	tracer   *liveTracer            // nil unless the live provider started it
	parent   activity.SpanID        // of the same trace
	kind     activity.SpanKind
	sampling activity.Sampling
	sole     bool // the live provider alone tells of the span
}

// added is what the rare operations carry.
type added struct {
	links   []activity.Link
	events  []sdktrace.Event // all that the span holds
	dropped int              // before these
}

var _ sdktrace.SpanProcessor = (*Processor)(nil)

// New returns a Processor that feeds the index, and starts its goroutine.
// Shutdown ends it.
func New(ix Index, cfg Config) *Processor {
	if cfg.Latency <= 0 {
		cfg.Latency = 2 * time.Millisecond
	}
	if cfg.Capacity <= 0 {
		cfg.Capacity = 8192
	}
	p := &Processor{
		cfg:   cfg,
		size:  min(batchSize, cfg.Capacity),
		wake:  make(chan struct{}, 1),
		hurry: make(chan struct{}, 1),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	p.pending = p.newBatch()
	p.resting = true
	p.wind()
	p.folder.init(ix, cfg.Next)
	go p.own()
	return p
}

// own folds what is handed over until the Processor stops. As long as there is
// something, it looks every now and then, and nobody has to wake it.
func (p *Processor) own() {
	defer close(p.done)
	nap := time.NewTimer(p.cfg.Latency)
	defer nap.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-p.wake:
		}
		for busy := true; busy; busy = !p.rest() {
			nap.Reset(p.cfg.Latency)
			select {
			case <-p.quit:
				return
			case <-p.hurry:
				// What is being filled will be full soon, and stays where it is warm.
				p.mu.Lock()
				filled := p.handed - uint64(len(p.pending.ops))
				p.mu.Unlock()
				p.fold(filled)
			case <-nap.C:
				p.Flush()
			}
			p.wind()
			p.endLeaked()
		}
	}
}

// rest reports whether nothing waits, and has the next operation wake the
// goroutine then.
func (p *Processor) rest() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resting = len(p.pending.ops) == 0 && len(p.full) == 0
	return p.resting
}

// OnStart implements sdktrace.SpanProcessor.
func (p *Processor) OnStart(ctx context.Context, s sdktrace.ReadWriteSpan) {
	c, live := startOf(ctx)
	if live && (c.told || c.tracer.provider.p != p) {
		// Another SpanProcessor started a span of its own in that start, or the live
		// provider is another Processor's.
		c = nil
	} else if live {
		c.told = true
	}
	p.started(ctx, c, s)
}

// started hands a start over. c is the live provider's, or nil.
func (p *Processor) started(ctx context.Context, c *startContext, s sdktrace.ReadWriteSpan) {
	sc := s.SpanContext()
	o := op{kind: opStart, id: idOf(sc), at: activity.TimeOf(s.StartTime())}
	st := start{span: s, sampling: activity.Unsampled}
	if sc.IsSampled() {
		st.sampling = activity.Sampled
	}
	if parent := s.Parent(); parent.SpanID().IsValid() && parent.TraceID() == sc.TraceID() {
		st.parent = activity.SpanID(parent.SpanID())
	}
	st.sole = c != nil && !c.told
	if c != nil && c.captured {
		o.text, o.look = c.name, c.linked
		st.attrs, st.tracer, st.kind = c.attrs, c.tracer, c.kind
	} else {
		o.text, o.look = s.Name(), true
		st.attrs, st.kind = s.Attributes(), kindOf(s.SpanKind())
	}
	o.look = o.look || sc.TraceState().Len() > 0
	var inherited []attribute.KeyValue
	if t := activity.ThreadFromContext(ctx); t != nil && !hasKey(st.attrs, activity.KeyThreadID) {
		inherited = []attribute.KeyValue{
			attribute.String(activity.KeyThreadID, t.ID),
			attribute.String(activity.KeyThreadName, t.Name),
		}
		s.SetAttributes(inherited...)
	}
	p.hand(&o, inherited, &st, nil)
}

// OnEnd implements sdktrace.SpanProcessor. What the end tells the owner reads from
// the span that started: nobody writes to it any more, and the span's goroutine need
// not wait for that.
func (p *Processor) OnEnd(s sdktrace.ReadOnlySpan) {
	p.hand(&op{kind: opEnd, id: idOf(s.SpanContext())}, nil, nil, nil)
}

// hand hands an operation over. It copies attrs, and keeps those of a start.
func (p *Processor) hand(o *op, attrs []attribute.KeyValue, st *start, more *added) {
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		return
	}
	b := p.pending
	o.nattrs = int32(len(attrs))
	b.ops = append(b.ops, *o)
	if len(attrs) > 0 {
		b.attrs = append(b.attrs, attrs...)
	}
	switch {
	case st != nil:
		b.starts = append(b.starts, *st)
	case more != nil:
		b.added = append(b.added, *more)
	}
	p.handed++
	wake := p.resting
	p.resting = false
	full, handed := 0, p.handed
	if len(b.ops) == p.size {
		p.full, p.pending = append(p.full, b), p.newBatch()
		full = len(p.full)
	}
	p.mu.Unlock()
	if wake {
		signal(p.wake)
	}
	switch {
	case full == 0:
	case runtime.GOMAXPROCS(0) == 1:
		p.fold(handed)
	case full*p.size >= p.cfg.Capacity:
		p.fold(handed - uint64((full-1)*p.size)) // the oldest, if nobody has yet
	case full >= hurryAt:
		signal(p.hurry)
	}
}

// newBatch returns an empty batch. p.mu is held, or nobody else has p.
func (p *Processor) newBatch() *batch {
	if n := len(p.spare) - 1; n >= 0 {
		b := p.spare[n]
		p.spare = p.spare[:n]
		return b
	}
	return &batch{ops: make([]op, 0, p.size)}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fold folds what waits, the oldest first, until so many operations are folded
// of those ever handed over.
func (p *Processor) fold(until uint64) {
	f := &p.folder
	for f.folded.Load() < until {
		f.mu.Lock()
		if f.folded.Load() < until {
			b := p.take()
			n := uint64(len(b.ops))
			f.fold(b)
			p.giveBack(b)
			f.folded.Add(n)
		}
		f.mu.Unlock()
	}
}

// take takes the oldest batch. The caller is the owner.
func (p *Processor) take() *batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.full) == 0 {
		b := p.pending
		p.pending = p.newBatch()
		return b
	}
	b := p.full[0]
	p.full = slices.Delete(p.full, 0, 1)
	return b
}

// giveBack keeps an empty batch for its next use.
func (p *Processor) giveBack(b *batch) {
	p.mu.Lock()
	if len(p.spare) < maxSpare {
		p.spare = append(p.spare, b)
	}
	p.mu.Unlock()
}

// Flush returns when everything is in the index that was handed over before it
// was called. A reader that calls it first sees its own writes.
func (p *Processor) Flush() {
	p.mu.Lock()
	handed := p.handed
	p.mu.Unlock()
	p.fold(handed)
}

// ForceFlush implements sdktrace.SpanProcessor: it flushes the Processor, and
// Config.Next.
func (p *Processor) ForceFlush(ctx context.Context) error {
	p.Flush()
	var err error
	for _, next := range p.cfg.Next {
		err = errors.Join(err, next.ForceFlush(ctx))
	}
	return err
}

// Shutdown implements sdktrace.SpanProcessor: it folds what waits, ends the
// Processor's goroutine, and shuts Config.Next down. What happens to spans
// afterwards is not indexed.
func (p *Processor) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.once.Do(func() { close(p.quit) })
	p.Flush()
	var err error
	select {
	case <-p.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.nextOnce.Do(func() {
		for _, next := range p.cfg.Next {
			p.nextErr = errors.Join(p.nextErr, next.Shutdown(ctx))
		}
	})
	return errors.Join(err, p.nextErr)
}

// endLeaked ends the spans that nothing holds any more and nobody ended.
func (p *Processor) endLeaked() {
	p.folder.mu.Lock()
	leaks := p.folder.leaks
	p.folder.leaks = nil
	p.folder.mu.Unlock()
	for _, l := range leaks {
		what := "leaked: nothing holds it any more and nobody ended it"
		if l.pc != 0 {
			frame, _ := runtime.CallersFrames([]uintptr{l.pc}).Next()
			what += "; started at " + frame.File + ":" + strconv.Itoa(frame.Line)
		}
		l.span.SetAttributes(
			attribute.String(activity.KeyState, activity.Failed.String()),
			attribute.String(activity.KeyErrorType, activity.ErrorLeaked),
		)
		l.span.SetStatus(codes.Error, what)
		l.span.End()
		p.OnEnd(l.span) // unless the SDK has told it
	}
}

func hasKey(attrs []attribute.KeyValue, key attribute.Key) bool {
	for i := range attrs {
		if attrs[i].Key == key {
			return true
		}
	}
	return false
}
