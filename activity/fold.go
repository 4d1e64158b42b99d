package activity

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// MaxAttributes bounds the attributes that one activity holds; what comes
// beyond is counted in Dropped.
const MaxAttributes = 1024

// Fold returns the activity that the events make. It aligns their times ([Align]),
// sorts them into [Canonical] order and applies them; the order and the repetition in
// which they arrived do not matter. All events must be of one activity.
func Fold(events []Event) Activity {
	var a Activity
	Align(events)
	for _, e := range Canonical(events) {
		a.Apply(&e)
	}
	return a
}

// Canonical sorts the events of one activity into the one order in which the
// fold applies them, and drops those whose Rev was there before. It works in
// place and returns the part of events that remains.
//
// Numbered events stand by their number. Those without one stand by time among
// them, where a numbered event's time is the latest up to its number: a sender
// whose clock went back does not turn its own order around. Of equals the one
// that came later stands later.
func Canonical(events []Event) []Event {
	type placed struct {
		at    Time
		event Event
	}
	numbered := make([]placed, 0, len(events))
	var rest []placed
	for _, e := range events {
		if e.Rev != 0 {
			numbered = append(numbered, placed{e.At, e})
		} else {
			rest = append(rest, placed{e.At, e})
		}
	}
	slices.SortStableFunc(numbered, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.event.Rev, b.event.Rev), cmp.Compare(a.event.Seq, b.event.Seq))
	})
	numbered = slices.CompactFunc(numbered, func(a, b placed) bool { return a.event.Rev == b.event.Rev })
	for i := 1; i < len(numbered); i++ {
		numbered[i].at = max(numbered[i].at, numbered[i-1].at)
	}
	slices.SortStableFunc(rest, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.event.Seq, b.event.Seq))
	})
	out := events[:0]
	for len(numbered) > 0 || len(rest) > 0 {
		if len(rest) == 0 || len(numbered) > 0 && numbered[0].at <= rest[0].at {
			out = append(out, numbered[0].event)
			numbered = numbered[1:]
		} else {
			out = append(out, rest[0].event)
			rest = rest[1:]
		}
	}
	return out
}

// moves reports whether a state may follow another. See State for the drawing.
func moves(from, to State) bool {
	switch from {
	case StateUnknown:
		return true
	case Planned:
		return to != Planned
	case InProgress:
		return to.Ended() || to == Lost
	case Lost:
		return to != Lost
	}
	return false
}

// Apply applies the event that follows all that were applied before, in
// [Canonical] order. It reports false when the event asked for a transition
// that the state does not allow: its fields are set all the same, but it counts
// as an update.
func (h *Head) Apply(e *Event) bool {
	h.ID = e.ID
	h.Seq = max(h.Seq, e.Seq)
	if e.Name != "" {
		h.Name = shown(e.Name)
	}
	if !e.Parent.IsZero() {
		h.Parent = e.Parent
	}
	if e.SpanKind != KindUnset {
		h.Kind = e.SpanKind
	}
	if e.StartTime != 0 {
		h.SpanStart = e.StartTime
	}
	// As in the SDK: Ok is final, and Unset never takes an Error back.
	if e.Status == StatusOK || e.Status == StatusError && h.Status != StatusOK {
		h.Status = e.Status
	}
	if e.Sampling != 0 {
		h.Sampling = e.Sampling
	}
	if e.Resource != nil {
		h.Resource = e.Resource
	}
	if e.Kind != EventLost || h.LastSeenAt == 0 { // that is a verdict, not a sign of life
		h.LastSeenAt = max(h.LastSeenAt, e.At)
	}
	startedAt := Time(0)
	for i := range e.Attrs {
		v := e.Attrs[i].Value
		switch key := e.Attrs[i].Key; key {
		case KeyType:
			if t, ok := ParseType(v.Str()); ok {
				h.Type, h.typed = t, true
			}
		case KeyCurrent:
			h.Reports = h.Reports || e.Kind == EventUpdated
		case KeyProgress:
			if p := v.Float(); !math.IsNaN(p) {
				h.Progress, h.hasProgress = min(max(p, 0), 1), true
				h.Reports = true
			}
		case KeyPlannedAt:
			if v.Int() > 0 {
				h.PlannedAt, h.WasPlanned = Time(v.Int()), true
			}
		case KeyStartedAt:
			if v.Int() > 0 {
				startedAt = Time(v.Int())
				h.StartedAt = startedAt
			}
		case KeyThreadID:
			h.ThreadID, h.ownThread = shown(v.Text()), true
		case KeyThreadIDSemconv:
			if !h.ownThread {
				h.ThreadID = shown(v.Text())
			}
		case KeyThreadName:
			h.ThreadName = shown(v.Text())
		case KeyAgentName:
			h.Agent = shown(v.Text())
		case KeyLongRunning:
			h.LongRunning = v.Bool()
		default:
			told, about := hintOf(key, v)
			h.hints = h.hints&^about | told
		}
	}
	if !h.typed {
		h.Type = h.hints.typeOf(h.Kind)
	}
	return h.move(e, startedAt)
}

// move applies the event's transition.
func (h *Head) move(e *Event, startedAt Time) bool {
	to, ok := e.Kind.State(), true
	if to == StateUnknown {
		// A sign of life: of one that nobody saw start, or that was given up.
		switch {
		case h.State == Lost && h.StartedAt == 0 && h.WasPlanned:
			to = Planned
		case h.State == Lost || h.State == StateUnknown:
			to = InProgress
		}
	}
	if to != StateUnknown {
		if ok = moves(h.State, to); ok {
			h.State = to
		}
	}
	begun := e.StartTime
	if begun == 0 {
		begun = e.At
	}
	switch {
	case !ok || to == StateUnknown || to == Lost:
	case to == Planned:
		h.WasPlanned = true
		if h.PlannedAt == 0 {
			h.PlannedAt = begun
		}
	case to == InProgress && h.StartedAt == 0:
		if h.WasPlanned {
			begun = e.At // the span itself began when it was planned
		}
		h.StartedAt = begun
	case to.Ended():
		h.EndedAt = e.EndTime
		if h.EndedAt == 0 {
			h.EndedAt = e.At
		}
		// An end is all that was seen of it: a span without its start.
		if h.StartedAt == 0 && !h.WasPlanned {
			h.StartedAt, h.endOnly = begun, e.StartTime == 0
		}
		// A clock that was set: only the span's own times are of one.
		if h.StartedAt != begun && e.EndTime != 0 && e.StartTime != 0 && !h.WasPlanned && e.Resource.Shift().Set {
			h.StartedAt = e.StartTime
		}
	}
	if h.endOnly && e.StartTime != 0 && !h.WasPlanned {
		h.StartedAt, h.endOnly = e.StartTime, false
	}
	if startedAt != 0 {
		h.StartedAt = startedAt
	}
	if h.PlannedAt == 0 || !h.WasPlanned && h.StartedAt != 0 {
		h.PlannedAt = cmp.Or(h.StartedAt, h.SpanStart, e.At)
	}
	return ok
}

// Apply does what [Head.Apply] does, for the whole activity.
func (a *Activity) Apply(e *Event) bool {
	ok := a.Head.Apply(e)
	if e.Kind == EventLost {
		a.LostAt = max(a.LostAt, e.At)
	}
	switch {
	case a.Status == StatusOK:
		a.statusMessage = ""
	case e.Status == StatusError && e.StatusMessage != "":
		a.statusMessage = shown(e.StatusMessage)
	}
	if e.Scope != nil {
		a.Scope = e.Scope
	}
	if e.TraceState != "" {
		a.TraceState = e.TraceState
	}
	if e.Flags != 0 {
		a.Flags = e.Flags
	}
	for i, n := range e.Dropped {
		a.Dropped[i] = max(a.Dropped[i], n)
	}
	for i := range e.Attrs {
		a.set(&e.Attrs[i])
	}
	for _, l := range e.Links {
		if !l.ID.IsZero() && !slices.ContainsFunc(a.Links, func(have Link) bool { return have.ID == l.ID }) {
			a.Links = append(a.Links, l)
		}
	}
	for _, se := range e.SpanEvents {
		a.addSpanEvent(se)
	}
	a.Error = a.failure()
	return ok
}

func (a *Activity) set(attr *Attr) {
	v := attr.Value.shown()
	switch attr.Key {
	case KeyPlanned:
		a.Planned = v.Text()
	case KeyCurrent:
		a.Current = v.Text()
	case KeyFinal:
		a.Final = v.Text()
	case KeyResult:
		text := v.Text()
		a.Result, a.resultCut = Cut(text, MaxResult), len(text) > MaxResult
		a.ResultTruncated = a.resultCut || a.Attr(KeyResultTruncated).Bool()
	case KeyResultTruncated:
		a.ResultTruncated = a.resultCut || v.Bool()
	case KeyReasoning:
		a.decision().Reasoning = v.Text()
	case KeyChoice:
		a.decision().Choice = v.Text()
	case KeyAlternatives:
		a.decision().Alternatives = v.Strings()
	case KeyOutcome:
		a.decision().Outcome = v.Text()
	case KeyConfidence:
		if c := v.Float(); !math.IsNaN(c) {
			a.decision().Confidence = min(max(c, 0), 1)
		}
	}
	for i := range a.Attributes {
		if a.Attributes[i].Key == attr.Key {
			a.Attributes[i].Value = v
			return
		}
	}
	if len(a.Attributes) == MaxAttributes {
		a.Dropped[0]++
		return
	}
	a.Attributes = append(a.Attributes, Attr{attr.Key, v})
}

func (a *Activity) decision() *DecisionRecord {
	if a.Decision == nil {
		a.Decision = &DecisionRecord{Confidence: math.NaN()}
	}
	return a.Decision
}

func (a *Activity) addSpanEvent(se SpanEvent) {
	for i := range a.SpanEvents {
		if have := &a.SpanEvents[i]; have.At == se.At && have.Name == se.Name && equalAttrs(have.Attrs, se.Attrs) {
			return
		}
	}
	a.SpanEvents = append(a.SpanEvents, se)
	if se.Name != "exception" {
		return
	}
	a.exception = Error{}
	for _, attr := range se.Attrs {
		switch attr.Key {
		case KeyExceptionType:
			a.exception.Type = attr.Value.Text()
		case KeyExceptionMessage:
			a.exception.Message = attr.Value.Text()
		case KeyExceptionStacktrace:
			a.exception.Stack = attr.Value.Text()
		}
	}
}

// failure returns the error of an activity that failed: what the status and
// error.type say, completed by the last recorded exception, and where there is
// none by the HTTP status.
func (a *Activity) failure() *Error {
	if a.Status != StatusError && a.State != Failed {
		return nil
	}
	e := &Error{
		Type:    cmp.Or(a.Attr(KeyErrorType).Str(), a.exception.Type),
		Message: cmp.Or(a.statusMessage, a.exception.Message),
		Stack:   a.exception.Stack,
	}
	if e.Type == "" || e.Message == "" {
		a.completeByHTTP(e)
	}
	return e
}

// completeByHTTP says what HTTP's semantic conventions leave unsaid: the status
// code of an error is its error.type, and stands in place of a description.
// Source: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status
func (a *Activity) completeByHTTP(e *Error) {
	code := cmp.Or(a.Attr(KeyHTTPStatus).Int(), a.Attr(keyHTTPStatusOld).Int())
	if code < 400 || code > 599 {
		return
	}
	e.Type = cmp.Or(e.Type, strconv.FormatInt(code, 10))
	e.Message = cmp.Or(e.Message, strings.TrimSpace(fmt.Sprintf("HTTP %d %s", code, http.StatusText(int(code)))))
}

// shown returns as much of a text as an activity holds.
func shown(s string) string {
	if len(s) <= MaxString {
		return s
	}
	return strings.Clone(Cut(s, MaxString))
}

// Cut returns s, or as much of it as n bytes hold without splitting a rune.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
