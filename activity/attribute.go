package activity

import (
	"math"
	"slices"
	"strconv"
)

// Attribute keys of an activity. Type, state and planned description belong
// into the start options of a span: samplers see only those, and they can't be
// pushed out by the SDK's limit on attributes.
const (
	KeyType    = "activity.type"                // a Type's name
	KeyState   = "activity.state"               // a State's name
	KeyPlanned = "activity.description.planned" // what it will do
	KeyCurrent = "activity.description.current" // what it is doing
	KeyFinal   = "activity.description.final"   // what it did

	KeyProgress  = "activity.progress"   // float, 0 to 1
	KeyPlannedAt = "activity.planned_at" // int, Unix nanoseconds
	KeyStartedAt = "activity.started_at" // int, Unix nanoseconds: when work begins

	KeyResult          = "activity.result"           // JSON text, at most MaxResult bytes
	KeyResultTruncated = "activity.result.truncated" // bool: the sender cut the result

	KeyReasoning    = "activity.reasoning"
	KeyChoice       = "activity.choice"
	KeyAlternatives = "activity.alternatives" // string array
	KeyOutcome      = "activity.outcome"
	KeyConfidence   = "activity.confidence" // float, 0 to 1

	KeyThreadID    = "activity.thread.id" // string: the logical thread
	KeyLongRunning = "activity.long_running_expected"

	// Semantic conventions that an activity reads beside its own keys.
	KeyThreadName          = "thread.name"
	KeyThreadIDSemconv     = "thread.id" // int
	KeyAgentName           = "gen_ai.agent.name"
	KeyErrorType           = "error.type"
	KeyHTTPStatus          = "http.response.status_code" // int
	keyHTTPStatusOld       = "http.status_code"          // int, as it was called before
	KeyExceptionType       = "exception.type"
	KeyExceptionMessage    = "exception.message"
	KeyExceptionStacktrace = "exception.stacktrace"
	KeyServiceName         = "service.name"
	KeyServiceInstanceID   = "service.instance.id"
)

// Limits of what one activity holds. What is longer is cut at a rune's border,
// in the activity and not in its events: what is sent on is whole.
const (
	MaxString = 64 << 10 // bytes of one attribute value, name or description
	MaxResult = 16 << 10 // bytes of a result's JSON text
)

// ValueKind is the kind of a Value.
type ValueKind uint8

// The kinds are those of OTLP's AnyValue.
const (
	KindEmpty ValueKind = iota
	KindBool
	KindInt
	KindFloat
	KindString
	KindBytes
	KindSlice
	KindMap
)

// Value is an attribute's value. The zero Value is empty.
type Value struct {
	kind ValueKind
	num  uint64
	str  string // KindString, KindBytes
	list any    // []Value of KindSlice, []Attr of KindMap
}

// Attr is one attribute.
type Attr struct {
	Key   string
	Value Value
}

// BoolValue returns a boolean value.
func BoolValue(b bool) Value {
	v := Value{kind: KindBool}
	if b {
		v.num = 1
	}
	return v
}

// IntValue returns an integer value.
func IntValue(i int64) Value { return Value{kind: KindInt, num: uint64(i)} }

// FloatValue returns a floating-point value.
func FloatValue(f float64) Value { return Value{kind: KindFloat, num: math.Float64bits(f)} }

// StringValue returns a string value.
func StringValue(s string) Value { return Value{kind: KindString, str: s} }

// BytesValue returns a byte-string value that holds the bytes of s.
func BytesValue(s string) Value { return Value{kind: KindBytes, str: s} }

// SliceValue returns an array value; it keeps vs.
func SliceValue(vs []Value) Value { return Value{kind: KindSlice, list: vs} }

// MapValue returns a value of keys and values; it keeps attrs.
func MapValue(attrs []Attr) Value { return Value{kind: KindMap, list: attrs} }

// Kind returns the value's kind.
func (v Value) Kind() ValueKind { return v.kind }

// Bool returns a boolean, or false for any other kind.
func (v Value) Bool() bool { return v.kind == KindBool && v.num != 0 }

// Int returns an integer, or 0 for any other kind.
func (v Value) Int() int64 {
	if v.kind != KindInt {
		return 0
	}
	return int64(v.num)
}

// Float returns a number of either kind, or NaN.
func (v Value) Float() float64 {
	switch v.kind {
	case KindFloat:
		return math.Float64frombits(v.num)
	case KindInt:
		return float64(int64(v.num))
	}
	return math.NaN()
}

// Str returns a string or byte string, or "" for any other kind.
func (v Value) Str() string { return v.str }

// Slice returns an array's values, or nil for any other kind.
func (v Value) Slice() []Value {
	vs, _ := v.list.([]Value)
	return vs
}

// Map returns a map's attributes, or nil for any other kind.
func (v Value) Map() []Attr {
	attrs, _ := v.list.([]Attr)
	return attrs
}

// Strings returns the strings of an array.
func (v Value) Strings() []string {
	vs := v.Slice()
	if len(vs) == 0 {
		return nil
	}
	out := make([]string, 0, len(vs))
	for _, e := range vs {
		out = append(out, e.Text())
	}
	return out
}

// Text returns the value as a filter compares it and a person reads it:
// strings and integers as they are, everything else as JSON.
func (v Value) Text() string {
	if v.kind == KindString {
		return v.str
	}
	return string(v.appendText(nil))
}

// appendText appends the Text of any value but a string. JSON puts integers in
// quotes that JavaScript's numbers can't hold; here they have none.
func (v Value) appendText(b []byte) []byte {
	if v.kind == KindInt {
		return strconv.AppendInt(b, v.Int(), 10)
	}
	return v.AppendJSON(b)
}

// Equal reports whether both values are of one kind and hold the same.
// Floats are compared by their bits, so NaN equals itself.
func (v Value) Equal(w Value) bool {
	if v.kind != w.kind || v.num != w.num || v.str != w.str {
		return false
	}
	switch v.kind {
	case KindSlice:
		a, b := v.Slice(), w.Slice()
		if len(a) != len(b) {
			return false
		}
		for i := range a {
			if !a[i].Equal(b[i]) {
				return false
			}
		}
	case KindMap:
		a, b := v.Map(), w.Map()
		if len(a) != len(b) {
			return false
		}
		for i := range a {
			if a[i].Key != b[i].Key || !a[i].Value.Equal(b[i].Value) {
				return false
			}
		}
	}
	return true
}

// shown returns as much of the value as an activity holds.
func (v Value) shown() Value {
	switch {
	case v.kind == KindString:
		v.str = shown(v.str)
	case v.kind == KindBytes:
		v.str = v.str[:min(len(v.str), MaxString)]
	case v.kind >= KindSlice && v.long():
		if v.kind == KindSlice {
			list := slices.Clone(v.Slice())
			for i := range list {
				list[i] = list[i].shown()
			}
			return SliceValue(list)
		}
		attrs := slices.Clone(v.Map())
		for i := range attrs {
			attrs[i].Value = attrs[i].Value.shown()
		}
		return MapValue(attrs)
	}
	return v
}

// long reports whether something in the value is longer than an activity holds.
func (v Value) long() bool {
	switch v.kind {
	case KindSlice:
		return slices.ContainsFunc(v.Slice(), Value.long)
	case KindMap:
		return slices.ContainsFunc(v.Map(), func(a Attr) bool { return a.Value.long() })
	}
	return len(v.str) > MaxString
}

// ErrorLeaked is the error.type of an activity that nobody ended and nothing
// holds any more.
const ErrorLeaked = "leaked"
