package processor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	rtrace "runtime/trace"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/midspan/midspan/activity"
)

// Provider is a TracerProvider whose spans tell every change while they are
// open. It is safe for concurrent use.
type Provider struct {
	embedded.TracerProvider
	sdk   *sdktrace.TracerProvider
	p     *Processor
	flush func(context.Context) error
}

// Live wraps the SDK's provider. Code that gets its tracers from the result is
// live, whatever it knows of Midspan.
//
// Register p with the SDK's provider too where something else starts or changes
// its spans: code that has that one, another SpanProcessor, limits that
// OpenTelemetry's variables don't set. Then the end of each span is compared with
// what is known of it. Otherwise leave it out, and have what exports be
// [Config.Next]: an SDK without a SpanProcessor makes no copy of a span that ends,
// which is a third of what the SDK costs a span's caller. Shut p down then.
func Live(sdk *sdktrace.TracerProvider, p *Processor) *Provider {
	pr := &Provider{sdk: sdk, p: p}
	pr.flush = func(ctx context.Context) error { return errors.Join(p.ForceFlush(ctx), sdk.ForceFlush(ctx)) }
	return pr
}

// FlushBy sets what ForceFlush does, where more than the SDK's provider is to be
// flushed. Call it before the provider is used.
func (pr *Provider) FlushBy(flush func(context.Context) error) { pr.flush = flush }

// ForceFlush flushes the Processor and the SDK's provider, or does what FlushBy
// says.
func (pr *Provider) ForceFlush(ctx context.Context) error { return pr.flush(ctx) }

// Tracer implements trace.TracerProvider.
func (pr *Provider) Tracer(name string, opts ...trace.TracerOption) trace.Tracer {
	observed := os.Getenv("OTEL_GO_X_OBSERVABILITY") != "" || os.Getenv("OTEL_GO_X_SELF_OBSERVABILITY") != ""
	return &liveTracer{sdk: pr.sdk.Tracer(name, opts...), provider: pr, kept: observed}
}

// OpenSpan returns the open span of an id, of any tracer of this provider or of
// the SDK's that it wraps.
func (pr *Provider) OpenSpan(t trace.TraceID, s trace.SpanID) (trace.Span, bool) {
	id := activity.ID{Trace: activity.TraceID(t), Span: activity.SpanID(s)}
	pr.p.Flush()
	f := &pr.p.folder
	f.mu.Lock()
	defer f.mu.Unlock()
	open := f.open.Get(id)
	if open == nil {
		return nil, false
	}
	open.found++
	found := &liveSpan{ReadWriteSpan: open.span, id: id, tracer: &liveTracer{provider: pr}, told: !open.sole}
	runtime.AddCleanup(found, released, abandonment{p: pr.p, id: id})
	return found, true
}

type liveTracer struct {
	embedded.Tracer
	sdk      trace.Tracer
	provider *Provider
	source   source // of its spans; the owner's
	// kept says that the SDK, which observes itself then, keeps the context of a
	// start as long as its span. It must not be a part of the live span: nothing
	// that the index holds may hold one.
	kept bool
}

// Start implements trace.Tracer.
func (t *liveTracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if ctx == nil {
		ctx = context.Background()
	}
	s := &liveSpan{tracer: t}
	start := (*startContext)(s)
	traced := rtrace.IsEnabled()
	if t.kept || traced { // the start's context lives on
		start = &startContext{tracer: t}
	}
	start.ctx, start.parent, start.name = ctx, trace.SpanFromContext(ctx), name
	if parent, ok := start.parent.(*liveSpan); ok {
		// The SDK counts the children of its own spans only.
		start.parent = parent.ReadWriteSpan
	}
	inner, span := t.sdk.Start(start, name, opts...)
	rw, ok := span.(sdktrace.ReadWriteSpan)
	if !ok { // not recording
		return trace.ContextWithSpan(ctx, span), span
	}
	s.ReadWriteSpan, s.id, s.ctx = rw, idOf(rw.SpanContext()), ctx
	if traced { // the SDK put its task there
		s.ctx = inner
	}
	if s.told = start.told; !s.told {
		t.provider.p.started(start, start, rw)
	}
	start.attrs = nil
	if t.provider.p.cfg.DetectPlainLeaks {
		var pc [1]uintptr
		runtime.Callers(2, pc[:])
		s.DetectLeak(pc[0])
	}
	return (*spanContext)(s), s
}

// liveSpan is the SDK's span, with every change told.
type liveSpan struct {
	sdktrace.ReadWriteSpan
	id     activity.ID
	tracer *liveTracer
	ctx    context.Context // in which it was started
	// Of the start alone, and a part of the span so that it costs no allocation.
	parent   trace.Span // the SDK's own
	name     string
	attrs    []attribute.KeyValue
	kind     activity.SpanKind
	linked   bool
	captured bool // the sampler left the start's attributes here
	told     bool // the SDK tells the Processor of its start and its end
}

var _ trace.Span = (*liveSpan)(nil)

// spanContext is a live span as the context of what is done in it:
// trace.ContextWithSpan without an allocation of its own.
type spanContext liveSpan

func (c *spanContext) Deadline() (time.Time, bool) { return c.ctx.Deadline() }
func (c *spanContext) Done() <-chan struct{}       { return c.ctx.Done() }
func (c *spanContext) Err() error                  { return c.ctx.Err() }

func (c *spanContext) Value(key any) any {
	switch key {
	case spanKey:
		return trace.Span((*liveSpan)(c))
	case startKey{}: // that start is over
		return nil
	}
	return c.ctx.Value(key)
}

// startContext is a live span as the context in which the SDK starts its own:
// the parent in it is the SDK's own, and the sampler leaves the start's
// attributes in it.
type startContext liveSpan

func (c *startContext) Deadline() (time.Time, bool) { return c.ctx.Deadline() }
func (c *startContext) Done() <-chan struct{}       { return c.ctx.Done() }
func (c *startContext) Err() error                  { return c.ctx.Err() }

type startKey struct{}

// startOf returns the start of the live provider that a context belongs to.
func startOf(ctx context.Context) (*startContext, bool) {
	if c, ok := ctx.(*startContext); ok {
		return c, true
	}
	c, ok := ctx.Value(startKey{}).(*startContext) // of a new root, which the SDK wrapped
	return c, ok
}

func (c *startContext) Value(key any) any {
	switch key {
	case spanKey:
		return c.parent
	case startKey{}:
		return c
	}
	return c.ctx.Value(key)
}

// spanKey is the key under which package trace keeps the span in a context. It
// is not exported, but asked of every context.
var spanKey = func() any {
	var p keyProbe
	trace.SpanFromContext(&p)
	return p.key
}()

type keyProbe struct {
	context.Context
	key any
}

func (p *keyProbe) Value(key any) any {
	p.key = key
	return nil
}

// TracerProvider implements trace.Span: what a library starts by it is live too.
func (s *liveSpan) TracerProvider() trace.TracerProvider { return s.tracer.provider }

// SetAttributes implements trace.Span.
func (s *liveSpan) SetAttributes(attrs ...attribute.KeyValue) {
	s.ReadWriteSpan.SetAttributes(attrs...)
	if len(attrs) > 0 {
		s.hand(&op{kind: opAttrs}, attrs, nil)
	}
}

// SetName implements trace.Span.
func (s *liveSpan) SetName(name string) {
	s.ReadWriteSpan.SetName(name)
	s.hand(&op{kind: opName, text: name}, nil, nil)
}

// SetStatus implements trace.Span.
func (s *liveSpan) SetStatus(code codes.Code, description string) {
	s.ReadWriteSpan.SetStatus(code, description)
	if code != codes.Error {
		description = "" // as in the SDK
	}
	s.hand(&op{kind: opStatus, status: uint8(code), text: description}, nil, nil)
}

// AddEvent implements trace.Span.
func (s *liveSpan) AddEvent(name string, opts ...trace.EventOption) {
	s.ReadWriteSpan.AddEvent(name, opts...)
	s.addedEvent()
}

// RecordError implements trace.Span.
func (s *liveSpan) RecordError(err error, opts ...trace.EventOption) {
	if err == nil {
		return
	}
	s.ReadWriteSpan.RecordError(err, opts...)
	s.addedEvent()
}

// addedEvent tells the span event that the SDK just made, as it made it. Others
// may add some at the same time: whoever is first tells them all.
func (s *liveSpan) addedEvent() {
	if !s.IsRecording() {
		return
	}
	dropped := s.DroppedEvents() // first: what is dropped meanwhile is told by who dropped it
	s.hand(&op{kind: opAdd}, nil, &added{events: s.Events(), dropped: dropped})
}

// AddLink implements trace.Span.
func (s *liveSpan) AddLink(link trace.Link) {
	s.ReadWriteSpan.AddLink(link)
	if link.SpanContext.IsValid() {
		l := linkOf(sdktrace.Link{SpanContext: link.SpanContext, Attributes: link.Attributes})
		s.hand(&op{kind: opAdd}, nil, &added{links: []activity.Link{l}})
	}
}

// End implements trace.Span. A panic that it is deferred from is recorded as the
// SDK would, whose own End is not what was deferred: once the span has ended, it
// passes untouched.
func (s *liveSpan) End(opts ...trace.SpanEndOption) {
	if s.IsRecording() {
		if p := recover(); p != nil {
			defer panic(p)
			s.panicked(p, opts)
		}
	}
	s.ReadWriteSpan.End(opts...)
	if !s.told {
		s.tracer.provider.p.hand(&op{kind: opEnd, id: s.id, at: activity.TimeOf(s.EndTime())}, nil, nil, nil)
	}
}

// panicked adds the span event of a panic.
func (s *liveSpan) panicked(p any, opts []trace.SpanEndOption) {
	attrs := []attribute.KeyValue{semconv.ExceptionType(typeOf(p)), semconv.ExceptionMessage(fmt.Sprint(p))}
	cfg := trace.NewSpanEndConfig(opts...)
	if cfg.StackTrace() {
		stack := make([]byte, maxStack)
		attrs = append(attrs, semconv.ExceptionStacktrace(string(stack[:runtime.Stack(stack, false)])))
	}
	s.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(attrs...))
}

// maxStack is how much of a stack the SDK keeps.
const maxStack = 2048

// typeOf names a type as the SDK does.
func typeOf(v any) string {
	t := reflect.TypeOf(v)
	if t.PkgPath() == "" && t.Name() == "" {
		return t.String()
	}
	return t.PkgPath() + "." + t.Name()
}

func (s *liveSpan) hand(o *op, attrs []attribute.KeyValue, more *added) {
	p := s.tracer.provider.p
	o.id, o.at = s.id, p.clock.Load().now()
	p.hand(o, attrs, nil, more)
}

// DetectLeak has the span failed as leaked when nothing holds it any more and
// nobody has ended it. The program counter, of the caller that started it, is
// told as file and line then; 0 is unknown. Nothing of the Processor holds a
// live span, so that it can be found abandoned.
func (s *liveSpan) DetectLeak(pc uintptr) {
	runtime.AddCleanup(s, abandoned, abandonment{s.tracer.provider.p, s.id, pc})
}

type abandonment struct {
	p  *Processor
	id activity.ID
	pc uintptr
}

// released runs when a live span that OpenSpan found is collected.
func released(a abandonment) {
	a.p.hand(&op{kind: opReleased, id: a.id}, nil, nil, nil)
}

// abandoned runs when a live span is collected, ended or not: the owner knows.
func abandoned(a abandonment) {
	a.p.hand(&op{kind: opAbandoned, id: a.id, pc: a.pc}, nil, nil, nil)
}
