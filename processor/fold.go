package processor

import (
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/midspan/midspan/activity"
)

// folder makes events of operations. Whoever holds mu is the owner.
type folder struct {
	folded atomic.Uint64 // operations ever folded

	mu     sync.Mutex // guards everything below
	ix     Index
	next   []sdktrace.SpanProcessor
	limits sdktrace.SpanLimits // of the SDK, as OpenTelemetry's variables set them
	open   activity.IDMap[*openSpan]
	// last is the span of the last operation, if it is open: several often follow
	// one another.
	last struct {
		id   activity.ID
		span *openSpan
	}
	spare []*openSpan
	leaks []leak
	// ending holds spans whose last attributes are set and whose end is due.
	ending []activity.ID

	events []activity.Event
	attrs  []activity.Attr // of events; their arena

	resources map[attribute.Distinct]*activity.Resource
	scopes    map[instrumentation.Scope]*activity.Scope
}

// openSpan is what the owner knows of a span in flight.
type openSpan struct {
	span    sdktrace.ReadWriteSpan // the SDK's own, never the live one
	rev     uint32
	sole    bool // the live provider alone tells of it
	nattrs  int  // that were set; the same twice counts twice
	invalid bool // some that were set: the SDK drops them, and counts
	planned bool // and not started yet
	ending  bool // its final state is set, its end not here yet
	status  codes.Code
	text    string         // of the status
	stated  activity.State // activity.state as last set
	name    string
	found   int     // live spans beside the first, by OpenSpan
	leaked  bool    // nothing holds the first any more
	pc      uintptr // of who started it
	// What the index has of its attributes: those of the start, as they are in
	// the caller's memory, and those set since. A key may stand in both.
	start  []attribute.KeyValue
	later  []knownAttr
	sum    uint64 // of the fingerprints of all, each key's latest
	links  int    // handed over
	events int    // handed over
	held   held
}

// knownAttr is an attribute that was set after the start.
type knownAttr struct {
	key  attribute.Key
	mark uint64
}

// held is what was set while an end was due.
type held struct {
	at     activity.Time
	attrs  []attribute.KeyValue
	status codes.Code
	text   string
	links  []activity.Link
	events []activity.SpanEvent
}

type leak struct {
	span sdktrace.ReadWriteSpan
	pc   uintptr
}

// maxEvents is how many events are applied at a time: as many as the processor's
// nearest cache holds.
const maxEvents = 64

func (f *folder) init(ix Index, next []sdktrace.SpanProcessor) {
	f.ix, f.next, f.limits = ix, next, sdktrace.NewSpanLimits()
	f.resources = make(map[attribute.Distinct]*activity.Resource)
	f.scopes = make(map[instrumentation.Scope]*activity.Scope)
}

// fold folds a batch and empties it. f.mu is held.
func (f *folder) fold(b *batch) {
	attrs, starts, more := b.attrs, b.starts, b.added
	for i := range b.ops {
		o := &b.ops[i]
		own := attrs[:o.nattrs]
		attrs = attrs[o.nattrs:]
		switch o.kind {
		case opStart:
			f.start(o, &starts[0], own)
			starts = starts[1:]
		case opAttrs:
			f.set(o, own)
		case opName:
			f.setName(o)
		case opStatus:
			f.setStatus(o)
		case opAdd:
			f.add(o, &more[0])
			more = more[1:]
		case opEnd:
			f.end(o)
		case opAbandoned:
			if s := f.find(o.id); s != nil {
				s.leaked, s.pc = true, o.pc
				f.leak(s)
			}
		case opReleased:
			if s := f.find(o.id); s != nil {
				s.found--
				f.leak(s)
			}
		}
		if len(f.events) >= maxEvents {
			f.apply()
		}
	}
	for _, id := range f.ending {
		if s := f.find(id); s != nil && s.ending {
			f.release(id, s)
		}
	}
	f.ending = f.ending[:0]
	f.apply()
	clear(b.ops) // hold no spans
	clear(b.attrs)
	clear(b.starts)
	clear(b.added)
	b.ops, b.attrs, b.starts, b.added = b.ops[:0], b.attrs[:0], b.starts[:0], b.added[:0]
	clear(f.events[:cap(f.events)])
	clear(f.attrs[:cap(f.attrs)])
}

// apply gives the events to the index and takes their memory back.
func (f *folder) apply() {
	f.ix.Apply(f.events)
	f.events, f.attrs = f.events[:0], f.attrs[:0]
}

// event adds an event of a span, to be filled in.
func (f *folder) event(id activity.ID, s *openSpan, kind activity.Kind, at activity.Time) *activity.Event {
	s.rev++
	// In its place: an event is large.
	f.events = slices.Grow(f.events, 1)[:len(f.events)+1]
	e := &f.events[len(f.events)-1]
	*e = activity.Event{}
	e.ID, e.Rev, e.Kind, e.At, e.ReceivedAt = id, s.rev, kind, at, at
	return e
}

func (f *folder) start(o *op, st *start, inherited []attribute.KeyValue) {
	span := st.span
	s := f.newOpen()
	s.span, s.name, s.sole = span, o.text, st.sole
	f.open.Put(o.id, s)
	f.last.id, f.last.span = o.id, s
	if s.sole {
		s.learn(st.attrs)
	} else {
		s.start, s.sum = st.attrs, fingerprints(st.attrs)
		s.stated = stateIn(st.attrs)
	}
	s.learn(inherited)
	kind := activity.EventStarted
	if s.stated == activity.Planned {
		kind, s.planned = activity.EventPlanned, true
	}
	e := f.event(o.id, s, kind, o.at)
	e.First, e.Name, e.StartTime, e.Attrs = true, o.text, o.at, f.convert(st.attrs, inherited)
	e.SpanKind, e.Sampling = st.kind, st.sampling
	if st.parent != (activity.SpanID{}) {
		e.Parent = activity.ID{Trace: o.id.Trace, Span: st.parent}
	}
	src := f.sourceOf(st.tracer, span)
	e.Resource, e.Scope = src.resource, src.scope
	if o.look {
		e.TraceState = span.SpanContext().TraceState().String()
		e.Links = linksOf(span.Links())
		s.links = len(e.Links)
	}
}

// find returns what is known of an open span, or nil.
func (f *folder) find(id activity.ID) *openSpan {
	if f.last.id != id || f.last.span == nil {
		f.last.id, f.last.span = id, f.open.Get(id)
	}
	return f.last.span
}

func (f *folder) newOpen() *openSpan {
	if n := len(f.spare); n > 0 {
		s := f.spare[n-1]
		f.spare = f.spare[:n-1]
		return s
	}
	return new(openSpan)
}

// leak notes a span that nothing holds any more.
func (f *folder) leak(s *openSpan) {
	if s.leaked && s.found == 0 {
		f.leaks = append(f.leaks, leak{s.span, s.pc})
	}
}

func (f *folder) setName(o *op) {
	if s := f.find(o.id); s != nil && o.text != s.name {
		s.name = o.text
		f.event(o.id, s, activity.EventUpdated, o.at).Name = o.text
	}
}

func (f *folder) setStatus(o *op) {
	s := f.find(o.id)
	code := codes.Code(o.status)
	if s == nil || code == codes.Unset || code < s.status { // Unset, Error, Ok: the SDK keeps the highest
		return
	}
	s.status, s.text = code, o.text
	if s.ending {
		s.held.status, s.held.text = code, o.text
		return
	}
	e := f.event(o.id, s, activity.EventUpdated, o.at)
	e.Status, e.StatusMessage = statusOf(code), o.text
}

// add tells links, and those of the span's events that are new.
func (f *folder) add(o *op, a *added) {
	s := f.find(o.id)
	if s == nil {
		return
	}
	var events []activity.SpanEvent
	if total := a.dropped + len(a.events); total > s.events {
		for _, se := range a.events[max(0, len(a.events)-(total-s.events)):] {
			events = append(events, spanEventOf(se))
		}
		s.events = total
	}
	s.links += len(a.links)
	switch {
	case s.ending:
		s.held.links = append(s.held.links, a.links...)
		s.held.events = append(s.held.events, events...)
	case len(a.links) > 0 || len(events) > 0:
		e := f.event(o.id, s, activity.EventUpdated, o.at)
		e.Links, e.SpanEvents = a.links, events
	}
}

// set tells attributes. A span that is not open has ended, and its end told
// everything.
func (f *folder) set(o *op, attrs []attribute.KeyValue) {
	s := f.find(o.id)
	if s == nil {
		return
	}
	kind := activity.EventUpdated
	if state := stateIn(attrs); state == activity.InProgress && s.planned {
		kind, s.planned = activity.EventStarted, false
	} else if state.Ended() && !s.ending {
		s.ending = true
		f.ending = append(f.ending, o.id)
	}
	if s.ending {
		// Package tracing sets its last attributes and ends the span: one event,
		// not several. If the end is not in this batch, release tells them.
		s.held.at = o.at
		s.held.attrs = append(s.held.attrs, attrs...)
		return
	}
	s.learn(attrs)
	f.event(o.id, s, kind, o.at).Attrs = f.convert(attrs, nil)
}

// release tells what was held for an end that did not follow at once.
func (f *folder) release(id activity.ID, s *openSpan) {
	h := &s.held
	s.learn(h.attrs)
	e := f.event(id, s, activity.EventUpdated, h.at)
	e.Attrs, e.Links, e.SpanEvents = f.convert(h.attrs, nil), h.links, h.events
	e.Status, e.StatusMessage = statusOf(h.status), h.text
	*h = held{}
	s.ending = false
}

// end makes the event of a span's end. What the SDK's span holds then is the
// authority: what the live provider did not see (other processors, everything
// when only the SpanProcessor is installed) is told now. Where the live provider
// alone tells of a span there is nothing else, and the span is not read: the SDK
// would make a map of its attributes first.
func (f *folder) end(o *op) {
	s := f.find(o.id)
	if s == nil {
		return // it began before the Processor did
	}
	f.open.Delete(o.id)
	f.last.span = nil
	span := s.span
	e := f.event(o.id, s, activity.EventCompleted, o.at)
	from := len(f.attrs)
	s.learn(s.held.attrs)
	f.convert(s.held.attrs, nil) // though the SDK may have dropped them
	e.Links, e.SpanEvents = s.held.links, s.held.events
	code, text := s.status, s.text
	switch {
	case !s.sole || o.at == 0:
		e.At = activity.TimeOf(span.EndTime())
		e.ReceivedAt = e.At
		if attrs := span.Attributes(); s.sole || fingerprints(attrs) != s.sum {
			f.news(s, attrs)
		}
		if name := span.Name(); name != s.name {
			e.Name = name
		}
		status := span.Status()
		code, text = status.Code, status.Description
		f.rest(s, span, e)
	case s.exceeds(&f.limits):
		f.rest(s, span, e)
	}
	e.EndTime = e.At
	e.Attrs = f.attrs[from:len(f.attrs):len(f.attrs)]
	switch {
	case s.stated == activity.Cancelled:
		e.Kind = activity.EventCancelled
	case code == codes.Error:
		e.Kind = activity.EventFailed
	}
	if s.ending || code != s.status || text != s.text {
		e.Status, e.StatusMessage = statusOf(code), text
	}
	for _, next := range f.next {
		next.OnEnd(span)
	}
	f.forget(s)
}

// exceeds reports whether the SDK may have dropped something of a sole span.
func (s *openSpan) exceeds(l *sdktrace.SpanLimits) bool {
	over := func(n, limit int) bool { return limit >= 0 && n > limit }
	return s.invalid || over(s.nattrs, l.AttributeCountLimit) || over(s.events, l.EventCountLimit) || over(s.links, l.LinkCountLimit)
}

// rest tells what few spans have. Where others added some too, all are told:
// the fold knows which it has.
func (f *folder) rest(s *openSpan, span sdktrace.ReadOnlySpan, e *activity.Event) {
	if links := span.Links(); len(links)+span.DroppedLinks() != s.links {
		e.Links = append(e.Links, linksOf(links)...)
	}
	if events := span.Events(); len(events)+span.DroppedEvents() != s.events {
		for _, se := range events {
			e.SpanEvents = append(e.SpanEvents, spanEventOf(se))
		}
	}
	e.Dropped = [3]uint32{uint32(span.DroppedAttributes()), uint32(span.DroppedEvents()), uint32(span.DroppedLinks())}
}

// forget empties an openSpan for its next use.
func (f *folder) forget(s *openSpan) {
	if len(f.spare) < 4096 && cap(s.later) <= 256 {
		clear(s.later)
		*s = openSpan{later: s.later[:0]}
		f.spare = append(f.spare, s)
	}
}

// learn notes what the index knows.
func (s *openSpan) learn(attrs []attribute.KeyValue) {
	s.nattrs += len(attrs)
	for i := range attrs {
		kv := &attrs[i]
		if !kv.Valid() {
			s.invalid = true
			continue
		}
		if kv.Key == activity.KeyState {
			s.stated, _ = activity.ParseState(kv.Value.AsString())
		}
		if s.sole { // it is not compared when it ends
			continue
		}
		mark := fingerprint(kv)
		s.sum += mark
		if k := s.find(kv.Key); k != nil {
			s.sum -= k.mark
			k.mark = mark
			continue
		}
		if old := s.started(kv.Key); old != nil {
			s.sum -= fingerprint(old)
		}
		s.later = append(s.later, knownAttr{kv.Key, mark})
	}
}

// find returns what is known of a key that was set after the start, or nil.
func (s *openSpan) find(key attribute.Key) *knownAttr {
	for i := range s.later {
		if s.later[i].key == key {
			return &s.later[i]
		}
	}
	return nil
}

// started returns the attribute that a key had at the start, or nil.
func (s *openSpan) started(key attribute.Key) *attribute.KeyValue {
	for i := len(s.start) - 1; i >= 0; i-- {
		if s.start[i].Key == key {
			return &s.start[i]
		}
	}
	return nil
}

// knows reports whether the index has the attribute as it is.
func (s *openSpan) knows(kv *attribute.KeyValue) bool {
	if k := s.find(kv.Key); k != nil {
		return k.mark == fingerprint(kv)
	}
	old := s.started(kv.Key)
	return old != nil && fingerprint(old) == fingerprint(kv)
}

// news converts the attributes that the index does not know into the arena, and
// notes them.
func (f *folder) news(s *openSpan, attrs []attribute.KeyValue) {
	for i := range attrs {
		kv := &attrs[i]
		if s.knows(kv) {
			continue
		}
		f.attrs = append(f.attrs, activity.Attr{Key: string(kv.Key), Value: valueOf(kv.Value)})
	}
	s.learn(attrs)
}

// convert returns both lists as one, in the arena.
func (f *folder) convert(a, b []attribute.KeyValue) []activity.Attr {
	from := len(f.attrs)
	f.attrs = slices.Grow(f.attrs, len(a)+len(b))
	for _, list := range [2][]attribute.KeyValue{a, b} {
		for i := range list {
			if list[i].Valid() {
				f.attrs = f.attrs[:len(f.attrs)+1]
				attr := &f.attrs[len(f.attrs)-1]
				attr.Key = string(list[i].Key)
				setValue(&attr.Value, &list[i].Value)
			}
		}
	}
	return f.attrs[from:len(f.attrs):len(f.attrs)]
}

// maxSources bounds the resources and scopes that are kept apart by their
// content; a process has one resource and a few dozen scopes.
const maxSources = 1024

// source is what a tracer's spans have in common.
type source struct {
	resource *activity.Resource
	scope    *activity.Scope
}

// sourceOf returns the source of a span. A live tracer keeps it.
func (f *folder) sourceOf(t *liveTracer, span sdktrace.ReadOnlySpan) source {
	if t != nil && t.source.scope != nil {
		return t.source
	}
	src := source{f.resourceOf(span.Resource()), f.scopeOf(span.InstrumentationScope())}
	if t != nil {
		t.source = src
	}
	return src
}

func (f *folder) resourceOf(r *resource.Resource) *activity.Resource {
	if r == nil {
		return nil
	}
	key := r.Equivalent()
	if known := f.resources[key]; known != nil {
		return known
	}
	var attrs []activity.Attr
	for iter := r.Iter(); iter.Next(); {
		kv := iter.Attribute()
		attrs = append(attrs, activity.Attr{Key: string(kv.Key), Value: valueOf(kv.Value)})
	}
	res := activity.NewResource(attrs, r.SchemaURL())
	if len(f.resources) < maxSources {
		f.resources[key] = res
	}
	return res
}

func (f *folder) scopeOf(s instrumentation.Scope) *activity.Scope {
	if known := f.scopes[s]; known != nil {
		return known
	}
	scope := &activity.Scope{Name: s.Name, Version: s.Version, SchemaURL: s.SchemaURL}
	for iter := s.Attributes.Iter(); iter.Next(); {
		kv := iter.Attribute()
		scope.Attrs = append(scope.Attrs, activity.Attr{Key: string(kv.Key), Value: valueOf(kv.Value)})
	}
	if len(f.scopes) < maxSources {
		f.scopes[s] = scope
	}
	return scope
}
