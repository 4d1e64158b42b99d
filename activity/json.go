package activity

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// AppendJSON appends a as the API answers it: every field is there, absent
// ones are null. The known activity.* attributes are fields of their own and
// stand only there.
func (a *Activity) AppendJSON(b []byte) []byte {
	b = append(b, `{"activity_id":"`...)
	b = a.ID.Append(b)
	b = append(b, `","trace_id":"`...)
	b = appendHex(b, a.ID.Trace[:])
	b = append(b, `","span_id":"`...)
	b = appendHex(b, a.ID.Span[:])
	b = append(b, `","parent_id":`...)
	if a.Parent.IsZero() {
		b = append(b, "null"...)
	} else {
		b = append(b, '"')
		b = a.Parent.Append(b)
		b = append(b, '"')
	}
	b = append(b, `,"type":"`...)
	b = append(b, a.Type.String()...)
	b = append(b, `","state":"`...)
	b = append(b, a.State.String()...)
	b = append(b, `","stalled":`...)
	b = strconv.AppendBool(b, a.Stalled)
	b = append(b, `,"name":`...)
	b = AppendString(b, a.Name)
	b = appendTextField(b, "what_it_will_do", a.Planned)
	b = appendTextField(b, "what_its_doing", a.Current)
	b = appendTextField(b, "what_it_did", a.Final)
	b = append(b, `,"progress":`...)
	if a.HasProgress() {
		b = AppendFloat(b, a.Progress)
	} else {
		b = append(b, "null"...)
	}
	b = appendTimeField(b, "planned_at", a.PlannedAt)
	b = appendTimeField(b, "started_at", a.StartedAt)
	b = appendTimeField(b, "ended_at", a.EndedAt)
	b = append(b, `,"wait_ms":`...)
	if wait, ok := a.Wait(a.LastSeenAt); ok && (a.StartedAt != 0 || a.EndedAt != 0) {
		b = AppendMillis(b, wait)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"duration_ms":`...)
	if d, ok := a.Duration(a.EndedAt); ok && a.EndedAt != 0 {
		b = AppendMillis(b, d)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"usual_ms":`...)
	if a.Usual > 0 {
		b = AppendMillis(b, a.Usual)
	} else {
		b = append(b, "null"...)
	}
	b = appendTimeField(b, "last_seen_at", a.LastSeenAt)
	b = appendTextField(b, "service", a.Service())
	b = appendTextField(b, "instance", a.Instance())
	b = append(b, `,"lease":"`...)
	b = append(b, a.Lease.String()...)
	b = append(b, '"')
	b = appendTextField(b, "agent", a.Agent)
	b = appendTextField(b, "thread_id", a.ThreadID)
	b = appendTextField(b, "thread_name", a.ThreadName)
	b = append(b, `,"decision":`...)
	b = a.Decision.appendJSON(b)
	b = append(b, `,"result":`...)
	b = appendResult(b, a.Result, a.ResultTruncated)
	b = append(b, `,"result_truncated":`...)
	b = strconv.AppendBool(b, a.ResultTruncated)
	b = append(b, `,"error":`...)
	b = a.Error.appendJSON(b)
	b = append(b, `,"attributes":`...)
	b = AppendAttrs(b, a.Attributes, func(key string) bool { return !IsField(key) })
	b = append(b, `,"links":[`...)
	for i, l := range a.Links {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"activity_id":"`...)
		b = l.ID.Append(b)
		b = append(b, `"}`...)
	}
	b = append(b, `],"sampled":`...)
	b = strconv.AppendBool(b, a.Sampling != Unsampled)
	b = appendTextField(b, "trace_url", a.TraceURL)
	return append(b, '}')
}

// MarshalJSON implements json.Marshaler.
func (a *Activity) MarshalJSON() ([]byte, error) { return a.AppendJSON(nil), nil }

func (d *DecisionRecord) appendJSON(b []byte) []byte {
	if d == nil {
		return append(b, "null"...)
	}
	b = append(b, `{"reasoning":`...)
	b = appendText(b, d.Reasoning)
	b = appendTextField(b, "choice", d.Choice)
	b = append(b, `,"alternatives":[`...)
	for i, s := range d.Alternatives {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, s)
	}
	b = append(b, ']')
	b = appendTextField(b, "outcome", d.Outcome)
	b = append(b, `,"confidence":`...)
	b = AppendFloat(b, d.Confidence)
	return append(b, '}')
}

func (e *Error) appendJSON(b []byte) []byte {
	if e == nil {
		return append(b, "null"...)
	}
	b = append(b, `{"type":`...)
	b = appendText(b, e.Type)
	b = appendTextField(b, "message", e.Message)
	b = appendTextField(b, "stack", e.Stack)
	return append(b, '}')
}

// AppendJSON appends what an event changed, for a timeline: its place, time
// and kind, and under "changes" the fields by the names they have in an
// activity.
func (e *Event) AppendJSON(b []byte) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	b = appendTimeField(b, "at", e.At)
	if e.FromSeq != 0 {
		b = append(b, `,"from_seq":`...)
		b = strconv.AppendUint(b, e.FromSeq, 10)
		b = appendTimeField(b, "from_at", e.FromAt)
	}
	b = append(b, `,"event":"`...)
	b = append(b, e.Kind.String()...)
	b = append(b, `","changes":{`...)
	sep := func() {
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
	}
	if e.Name != "" {
		b = append(b, `"name":`...)
		b = AppendString(b, e.Name)
	}
	var plain bool
	for i := range e.Attrs {
		key, field := e.Attrs[i].Key, fieldName(e.Attrs[i].Key)
		if field == "" {
			plain = plain || !IsField(key)
			continue
		}
		sep()
		b = AppendString(b, field)
		b = append(b, ':')
		b = e.Attrs[i].Value.AppendJSON(b)
	}
	if e.Status != StatusUnset {
		sep()
		b = append(b, `"status":`...)
		b = AppendString(b, e.Status.String())
		if e.StatusMessage != "" {
			b = append(b, `,"status_message":`...)
			b = AppendString(b, e.StatusMessage)
		}
	}
	if plain {
		sep()
		b = append(b, `"attributes":`...)
		b = AppendAttrs(b, e.Attrs, func(key string) bool { return !IsField(key) })
	}
	if len(e.Links) > 0 {
		sep()
		b = append(b, `"links":[`...)
		for i, l := range e.Links {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"activity_id":"`...)
			b = l.ID.Append(b)
			b = append(b, `"}`...)
		}
		b = append(b, ']')
	}
	if len(e.SpanEvents) > 0 {
		sep()
		b = append(b, `"span_events":`...)
		b = AppendSpanEvents(b, e.SpanEvents)
	}
	return append(b, `}}`...)
}

// AppendSpanEvents appends the events as an array of their time, name and
// attributes, with how many of these the sender's SDK dropped.
func AppendSpanEvents(b []byte, events []SpanEvent) []byte {
	b = append(b, '[')
	for i, se := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"name":`...)
		b = AppendString(b, se.Name)
		b = appendTimeField(b, "at", se.At)
		b = append(b, `,"attributes":`...)
		b = AppendAttrs(b, se.Attrs, nil)
		b = append(AppendDropped(b, se.Dropped), '}')
	}
	return append(b, ']')
}

// AppendDropped appends how many attributes the sender's SDK dropped, as a further
// member of an object, when there are any.
func AppendDropped(b []byte, n uint32) []byte {
	if n == 0 {
		return b
	}
	b = append(b, `,"dropped_attributes":`...)
	return strconv.AppendUint(b, uint64(n), 10)
}

// fieldName returns the name that the API gives to the field of an attribute.
func fieldName(key string) string {
	switch key {
	case KeyType:
		return "type"
	case KeyState:
		return "state"
	case KeyPlanned:
		return "what_it_will_do"
	case KeyCurrent:
		return "what_its_doing"
	case KeyFinal:
		return "what_it_did"
	case KeyProgress, KeyResult, KeyReasoning, KeyChoice, KeyAlternatives, KeyOutcome, KeyConfidence:
		return strings.TrimPrefix(key, "activity.")
	case KeyThreadID:
		return "thread_id"
	}
	return ""
}

// IsField reports whether an attribute is a field of the activity's own.
func IsField(key string) bool {
	if !strings.HasPrefix(key, "activity.") {
		return false
	}
	switch key {
	case KeyPlannedAt, KeyStartedAt, KeyResultTruncated, KeyLongRunning:
		return true
	}
	return fieldName(key) != ""
}

// AppendAttrs appends the attributes that keep admits as one object; a nil
// keep admits all.
func AppendAttrs(b []byte, attrs []Attr, keep func(key string) bool) []byte {
	b = append(b, '{')
	first := true
	for i := range attrs {
		if keep != nil && !keep(attrs[i].Key) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = AppendString(b, attrs[i].Key)
		b = append(b, ':')
		b = attrs[i].Value.AppendJSON(b)
	}
	return append(b, '}')
}

// AppendJSON appends the value: bytes in base64, integers beyond 2^53 and
// numbers that JSON does not know as strings.
func (v Value) AppendJSON(b []byte) []byte {
	switch v.kind {
	case KindBool:
		return strconv.AppendBool(b, v.num != 0)
	case KindInt:
		i := int64(v.num)
		if i > 1<<53 || i < -(1<<53) {
			b = append(b, '"')
			b = strconv.AppendInt(b, i, 10)
			return append(b, '"')
		}
		return strconv.AppendInt(b, i, 10)
	case KindFloat:
		f := math.Float64frombits(v.num)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return AppendString(b, strconv.FormatFloat(f, 'g', -1, 64))
		}
		return AppendFloat(b, f)
	case KindString:
		return AppendString(b, v.str)
	case KindBytes:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, []byte(v.str))
		return append(b, '"')
	case KindSlice:
		b = append(b, '[')
		for i, e := range v.Slice() {
			if i > 0 {
				b = append(b, ',')
			}
			b = e.AppendJSON(b)
		}
		return append(b, ']')
	case KindMap:
		return AppendAttrs(b, v.Map(), nil)
	}
	return append(b, "null"...)
}

func appendResult(b []byte, result string, cut bool) []byte {
	switch {
	case result == "":
		return append(b, "null"...)
	case cut || !json.Valid([]byte(result)):
		return AppendString(b, result)
	}
	result = strings.ToValidUTF8(result, "\ufffd") // json.Valid lets broken UTF-8 pass inside strings
	var compact bytes.Buffer                       // a line break would split a line of NDJSON
	if strings.ContainsAny(result, "\r\n") && json.Compact(&compact, []byte(result)) == nil {
		return append(b, compact.Bytes()...)
	}
	return append(b, result...)
}

func appendTextField(b []byte, name, s string) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return appendText(b, s)
}

func appendText(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return AppendString(b, s)
}

func appendTimeField(b []byte, name string, t Time) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return t.AppendJSON(b)
}

// AppendJSON appends t as RFC 3339 in UTC with nine digits, or null.
func (t Time) AppendJSON(b []byte) []byte {
	if t == 0 {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.Append(b)
	return append(b, '"')
}

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil), nil }

// Append appends t as RFC 3339 in UTC with nine digits. It is time.AppendFormat
// for one layout, at a fifth of the cost: a stream writes five times an event.
func (t Time) Append(b []byte) []byte {
	u := time.Unix(0, int64(t)).UTC()
	year, month, day := u.Date()
	hour, minute, sec := u.Clock()
	b = appendPadded(b, year, 4)
	b = append(b, '-')
	b = appendPadded(b, int(month), 2)
	b = append(b, '-')
	b = appendPadded(b, day, 2)
	b = append(b, 'T')
	b = appendPadded(b, hour, 2)
	b = append(b, ':')
	b = appendPadded(b, minute, 2)
	b = append(b, ':')
	b = appendPadded(b, sec, 2)
	b = append(b, '.')
	b = appendPadded(b, u.Nanosecond(), 9)
	return append(b, 'Z')
}

func (t Time) String() string { return string(t.Append(nil)) }

func appendPadded(b []byte, n, width int) []byte {
	var digits [9]byte
	for i := width - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, digits[:width]...)
}

// AppendMillis appends a duration in milliseconds, exact to the nanosecond.
func AppendMillis(b []byte, d time.Duration) []byte {
	return AppendFloat(b, float64(d)/float64(time.Millisecond))
}

// AppendFloat appends a number, or null for one that JSON does not know.
func AppendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, f, 'f', -1, 64)
}

const hexDigits = "0123456789abcdef"

func appendHex(b, src []byte) []byte {
	for _, c := range src {
		b = append(b, hexDigits[c>>4], hexDigits[c&15])
	}
	return b
}

// AppendString appends s as a JSON string. Broken UTF-8 becomes U+FFFD; the
// characters that are markup in HTML, and the line breaks of JavaScript, are
// escaped as encoding/json does.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' && c != 0x7f {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || r == '\u2028' || r == '\u2029' {
			b = append(b, s[start:i]...)
			if r == utf8.RuneError {
				b = append(b, `\ufffd`...)
			} else {
				b = append(b, `\u202`...)
				b = append(b, hexDigits[r&15])
			}
			start = i + size
		}
		i += size
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
