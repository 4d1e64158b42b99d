package activity

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Kind says what an event does to its activity.
type Kind uint8

// The kinds of events.
const (
	EventPlanned Kind = iota + 1
	EventStarted
	EventUpdated
	EventCompleted
	EventFailed
	EventCancelled
	EventLost
)

var kindNames = [...]string{"", "planned", "started", "updated", "completed", "failed", "cancelled", "lost"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return ""
}

// ParseKind reads an event's name, as the stream and the log events of the
// bridge ("activity." before it) have it.
func ParseKind(s string) (Kind, bool) {
	for k := EventPlanned; k <= EventLost; k++ {
		if kindNames[k] == s {
			return k, true
		}
	}
	return 0, false
}

// State returns the state that an event of this kind leads to, or
// StateUnknown for an update, which leads to none.
func (k Kind) State() State {
	switch k {
	case EventPlanned:
		return Planned
	case EventStarted:
		return InProgress
	case EventCompleted:
		return Completed
	case EventFailed:
		return Failed
	case EventCancelled:
		return Cancelled
	case EventLost:
		return Lost
	}
	return StateUnknown
}

// Kind returns the kind of event that leads to the state.
func (s State) Kind() Kind {
	for k := EventPlanned; k <= EventLost; k++ {
		if k.State() == s && s != StateUnknown {
			return k
		}
	}
	return EventUpdated
}

// Ends reports whether an event of this kind is a real end.
func (k Kind) Ends() bool { return k.State().Ended() }

// Event is one change of one activity. Events are the only way an activity
// changes.
type Event struct {
	Seq        uint64 // place in the log, from 1; 0 before it is appended
	ReceivedAt Time   // by the clock of whoever holds the log
	At         Time   // by the sender's clock, shifted by what the resource tells
	ID         ID
	// Rev numbers the events of one activity from 1, as the sender does.
	// 0 means that the source has no numbers.
	Rev  uint32
	Kind Kind
	// First says that the source vouches for it: nothing of the activity was
	// ever told before. A process knows that of the spans it starts.
	First bool
	// FromSeq and FromAt are set on an update that stands for several which a record
	// has merged: those of the first of them, as Seq and At are of the last.
	FromSeq uint64
	FromAt  Time
	Changes
}

// Changes names the fields that an event sets. A zero field is not set.
type Changes struct {
	Name          string
	Parent        ID // the parent's trace is the activity's own
	SpanKind      SpanKind
	StartTime     Time // of the span: planning for one that is planned first
	EndTime       Time
	Status        Status
	StatusMessage string
	Sampling      Sampling
	TraceState    string
	Resource      *Resource // shared by all events of one source; never changed
	Scope         *Scope    // shared likewise
	Attrs         []Attr    // set, each by its key
	Links         []Link    // added
	SpanEvents    []SpanEvent
	// Dropped counts what the sender's SDK dropped: attributes, events, links.
	Dropped [3]uint32
	// Flags are the span's, all 32 bits as OTLP has them. Sampling says what they
	// tell of that.
	Flags uint32
}

// SpanKind is OpenTelemetry's, with its numbers in OTLP.
type SpanKind uint8

// The span kinds.
const (
	KindUnset SpanKind = iota
	KindInternal
	KindServer
	KindClient
	KindProducer
	KindConsumer
)

func (k SpanKind) String() string {
	names := [...]string{"unset", "internal", "server", "client", "producer", "consumer"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unset"
}

// Status is a span's status, with its numbers in OTLP.
type Status uint8

// The status codes.
const (
	StatusUnset Status = iota
	StatusOK
	StatusError
)

func (s Status) String() string {
	return [...]string{"unset", "ok", "error"}[min(s, StatusError)]
}

// Sampling says whether a span is sampled; the zero value says nothing.
type Sampling uint8

// Sampled spans go on to Jaeger; unsampled ones are only indexed.
const (
	Sampled Sampling = iota + 1
	Unsampled
)

// Resource is what made the span: a process.
type Resource struct {
	Service   string
	Instance  string
	SchemaURL string
	Attrs     []Attr // all of them, service.name and service.instance.id too
	Dropped   uint32 // attributes that the sender's SDK dropped
}

// NewResource returns the resource of the attributes, which it keeps.
func NewResource(attrs []Attr, schemaURL string) *Resource {
	r := &Resource{SchemaURL: schemaURL, Attrs: attrs}
	for i := range attrs {
		switch attrs[i].Key {
		case KeyServiceName:
			r.Service = attrs[i].Value.Text()
		case KeyServiceInstanceID:
			r.Instance = attrs[i].Value.Text()
		}
	}
	return r
}

// Lease returns the name of the process's lease, or "" when it has none.
func (r *Resource) Lease() string {
	if r == nil {
		return ""
	}
	for i := range r.Attrs {
		if r.Attrs[i].Key == KeyLeaseID {
			if id := r.Attrs[i].Value.Str(); len(id) <= MaxLeaseID {
				return id
			}
			return ""
		}
	}
	return ""
}

// LeaseTTL returns the period of the process's lease as its resource tells it,
// or DefaultLeaseTTL.
func (r *Resource) LeaseTTL() time.Duration {
	for i := range r.Attrs {
		if r.Attrs[i].Key == KeyLeaseResourceTTL {
			if ms := r.Attrs[i].Value.Int(); ms >= MinLeaseTTL.Milliseconds() && ms <= MaxLeaseTTL.Milliseconds() {
				return time.Duration(ms) * time.Millisecond
			}
		}
	}
	return DefaultLeaseTTL
}

// Scope is the instrumentation scope that made the span.
type Scope struct {
	Name, Version, SchemaURL string
	Attrs                    []Attr
	Dropped                  uint32 // attributes
}

// Link points to a related activity, of any trace. One whose ID is not whole
// was kept by the sender for its attributes: an activity does not show it.
type Link struct {
	ID         ID
	TraceState string
	Attrs      []Attr
	Dropped    uint32 // attributes
	Flags      uint32 // as OTLP has them
}

// SpanEvent is an OpenTelemetry span event; a recorded error is one named "exception".
type SpanEvent struct {
	At      Time
	Name    string
	Attrs   []Attr
	Dropped uint32 // attributes
}

// Same reports whether two events of one activity are the same one seen twice:
// by their number, or where they have none by all that they say. Their times may
// have been shifted differently.
func (e *Event) Same(f *Event) bool {
	if e.Rev != 0 || f.Rev != 0 {
		return e.Rev == f.Rev
	}
	if e.Kind != f.Kind {
		return false
	}
	if e.Resource != f.Resource && e.Resource != nil && f.Resource != nil {
		if by := e.Resource.Shift().By - f.Resource.Shift().By; by != 0 {
			moved := *f
			if !moved.Shift(by) {
				return false
			}
			f = &moved
		}
	}
	return e.At == f.At && e.equal(&f.Changes)
}

func (c *Changes) equal(d *Changes) bool {
	return c.Name == d.Name && c.Parent == d.Parent && c.SpanKind == d.SpanKind &&
		c.StartTime == d.StartTime && c.Status == d.Status && c.StatusMessage == d.StatusMessage &&
		c.Sampling == d.Sampling && c.TraceState == d.TraceState && c.Dropped == d.Dropped && c.Flags == d.Flags &&
		equalAttrs(c.Attrs, d.Attrs) &&
		slices.EqualFunc(c.Links, d.Links, func(a, b Link) bool {
			return a.ID == b.ID && a.TraceState == b.TraceState && a.Dropped == b.Dropped && a.Flags == b.Flags &&
				equalAttrs(a.Attrs, b.Attrs)
		}) &&
		slices.EqualFunc(c.SpanEvents, d.SpanEvents, func(a, b SpanEvent) bool {
			return a.At == b.At && a.Name == b.Name && a.Dropped == b.Dropped && equalAttrs(a.Attrs, b.Attrs)
		})
}

func equalAttrs(a, b []Attr) bool {
	return slices.EqualFunc(a, b, func(a, b Attr) bool { return a.Key == b.Key && a.Value.Equal(b.Value) })
}

// Merge returns one update that does what two updates in a row do. Of a value
// that the fold ignores it keeps the one before.
func Merge(a, b Event) Event {
	m := b
	m.Attrs = slices.Clone(a.Attrs)
	for _, attr := range b.Attrs {
		i := len(m.Attrs) - 1 // the last of them, should an event set a key twice
		for i >= 0 && m.Attrs[i].Key != attr.Key {
			i--
		}
		switch {
		case i < 0:
			m.Attrs = append(m.Attrs, attr)
		case !attr.ignored():
			m.Attrs[i] = attr
		}
	}
	m.Links = slices.Concat(a.Links, b.Links)
	m.SpanEvents = slices.Concat(a.SpanEvents, b.SpanEvents)
	m.At = max(a.At, b.At)
	m.Name = cmp.Or(b.Name, a.Name)
	switch {
	case m.Status == StatusUnset || a.Status == StatusOK:
		m.Status, m.StatusMessage = a.Status, a.StatusMessage
	case m.Status == StatusError && a.Status == StatusError:
		m.StatusMessage = cmp.Or(b.StatusMessage, a.StatusMessage)
	}
	m.Parent = cmp.Or(b.Parent, a.Parent)
	m.SpanKind = cmp.Or(b.SpanKind, a.SpanKind)
	m.StartTime = cmp.Or(b.StartTime, a.StartTime)
	m.Sampling = cmp.Or(b.Sampling, a.Sampling)
	m.TraceState = cmp.Or(b.TraceState, a.TraceState)
	m.Resource = cmp.Or(b.Resource, a.Resource)
	m.Scope = cmp.Or(b.Scope, a.Scope)
	m.Flags = cmp.Or(b.Flags, a.Flags)
	for i := range m.Dropped {
		m.Dropped[i] = max(a.Dropped[i], b.Dropped[i])
	}
	return m
}

// ignored reports whether the fold takes nothing from the attribute: it is a
// field of the activity with a value that the field cannot have.
func (a *Attr) ignored() bool {
	switch a.Key {
	case KeyType:
		_, ok := ParseType(a.Value.Str())
		return !ok
	case KeyProgress, KeyConfidence:
		return math.IsNaN(a.Value.Float())
	case KeyPlannedAt, KeyStartedAt:
		return a.Value.Int() <= 0
	}
	return false
}
