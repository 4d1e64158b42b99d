package activity

import (
	"encoding/hex"
	"errors"
)

// TraceID is an OpenTelemetry trace id.
type TraceID [16]byte

// SpanID is an OpenTelemetry span id.
type SpanID [8]byte

// ID names one activity: the trace and the span that it is. Its text is
// "trace_id-span_id" in lower-case hex.
type ID struct {
	Trace TraceID
	Span  SpanID
}

// IDLen is the length of an ID's text.
const IDLen = 32 + 1 + 16

// ErrID is returned for text that is not an activity id.
var ErrID = errors.New("activity id is not 32 hex digits, a hyphen and 16 hex digits")

// IsZero reports whether the id names nothing. A W3C trace context forbids
// all-zero trace and span ids, so either one makes the id name nothing.
func (id ID) IsZero() bool { return id.Trace == TraceID{} || id.Span == SpanID{} }

func (t TraceID) String() string { return hex.EncodeToString(t[:]) }

func (s SpanID) String() string { return hex.EncodeToString(s[:]) }

func (id ID) String() string { return string(id.Append(make([]byte, 0, IDLen))) }

// Append appends the id's text to b.
func (id ID) Append(b []byte) []byte {
	b = hex.AppendEncode(b, id.Trace[:])
	b = append(b, '-')
	return hex.AppendEncode(b, id.Span[:])
}

// ParseID reads the text of an ID. It takes hex digits of either case and
// returns ErrID for anything else, all-zero ids included.
func ParseID(s string) (ID, error) {
	if len(s) != IDLen || s[32] != '-' {
		return ID{}, ErrID
	}
	var id ID
	if !decodeHex(id.Trace[:], s[:32]) || !decodeHex(id.Span[:], s[33:]) || id.IsZero() {
		return ID{}, ErrID
	}
	return id, nil
}

// ParseTraceID reads 32 hex digits that are not all zero.
func ParseTraceID(s string) (TraceID, error) {
	var t TraceID
	if !decodeHex(t[:], s) || t == (TraceID{}) {
		return TraceID{}, errors.New("trace id is not 32 hex digits")
	}
	return t, nil
}

// ParseSpanID reads 16 hex digits that are not all zero.
func ParseSpanID(s string) (SpanID, error) {
	var p SpanID
	if !decodeHex(p[:], s) || p == (SpanID{}) {
		return SpanID{}, errors.New("span id is not 16 hex digits")
	}
	return p, nil
}

func decodeHex(dst []byte, s string) bool {
	if len(s) != 2*len(dst) {
		return false
	}
	_, err := hex.Decode(dst, []byte(s))
	return err == nil
}

// MarshalText implements encoding.TextMarshaler; a zero id is empty.
func (id ID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return nil, nil
	}
	return id.Append(nil), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	parsed, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
