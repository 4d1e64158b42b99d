package processor

import (
	"math/bits"
	"slices"
	"unsafe"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
)

func idOf(sc trace.SpanContext) activity.ID {
	return activity.ID{Trace: activity.TraceID(sc.TraceID()), Span: activity.SpanID(sc.SpanID())}
}

// kindOf uses that both number the kinds as OTLP does.
func kindOf(k trace.SpanKind) activity.SpanKind { return activity.SpanKind(trace.ValidateSpanKind(k)) }

func statusOf(c codes.Code) activity.Status {
	switch c {
	case codes.Ok:
		return activity.StatusOK
	case codes.Error:
		return activity.StatusError
	}
	return activity.StatusUnset
}

func linkOf(l sdktrace.Link) activity.Link {
	return activity.Link{
		ID: idOf(l.SpanContext), TraceState: l.SpanContext.TraceState().String(), Attrs: AttrsOf(l.Attributes),
	}
}

// linksOf leaves out those that the SDK keeps for their attributes alone.
func linksOf(links []sdktrace.Link) (out []activity.Link) {
	for _, l := range links {
		if l.SpanContext.IsValid() {
			out = append(out, linkOf(l))
		}
	}
	return out
}

func spanEventOf(e sdktrace.Event) activity.SpanEvent {
	return activity.SpanEvent{At: activity.TimeOf(e.Time), Name: e.Name, Attrs: AttrsOf(e.Attributes)}
}

// AttrsOf returns attributes as an activity has them. Texts are shared.
func AttrsOf(kvs []attribute.KeyValue) []activity.Attr {
	if len(kvs) == 0 {
		return nil
	}
	attrs := make([]activity.Attr, len(kvs))
	for i := range kvs {
		attrs[i] = activity.Attr{Key: string(kvs[i].Key), Value: valueOf(kvs[i].Value)}
	}
	return attrs
}

// stateIn returns the state that attributes set, or StateUnknown.
func stateIn(attrs []attribute.KeyValue) activity.State {
	for i := range slices.Backward(attrs) { // the last one set counts
		if attrs[i].Key == activity.KeyState {
			state, _ := activity.ParseState(attrs[i].Value.AsString())
			return state
		}
	}
	return activity.StateUnknown
}

// words is a KeyValue as the words that it is made of.
type words [unsafe.Sizeof(attribute.KeyValue{}) / 8]uint64

// fingerprint tells an attribute from what another processor may have made of
// it. It is of the memory of the KeyValue itself, which says where its key and
// its text lie, not what they say: those of one call of SetAttributes lie in one
// place, in the SDK and here.
func fingerprint(kv *attribute.KeyValue) uint64 {
	// Rotated, so that words of little range don't meet in the same bits, and
	// mixed at the end: the sum over attributes is what is compared, and two that
	// exchange their values must change it.
	var even, odd uint64
	w := (*words)(unsafe.Pointer(kv))
	for i := 0; i+1 < len(w); i += 2 {
		even = bits.RotateLeft64(even, 15) ^ w[i]
		odd = bits.RotateLeft64(odd, 15) ^ w[i+1]
	}
	sum := even*0x9E3779B97F4A7C15 + odd*0xD6E8FEB86659FD93
	return (sum ^ sum>>29) * 0xBF58476D1CE4E5B9
}

// setValue sets a value in its place: values are large, and most are strings.
func setValue(to *activity.Value, v *attribute.Value) {
	if v.Type() == attribute.STRING {
		*to = activity.StringValue(v.AsString())
	} else {
		*to = valueOf(*v)
	}
}

func valueOf(v attribute.Value) activity.Value {
	switch v.Type() {
	case attribute.STRING:
		return activity.StringValue(v.AsString())
	case attribute.INT64:
		return activity.IntValue(v.AsInt64())
	case attribute.FLOAT64:
		return activity.FloatValue(v.AsFloat64())
	case attribute.BOOL:
		return activity.BoolValue(v.AsBool())
	case attribute.BYTESLICE:
		return activity.BytesValue(string(v.AsByteSlice()))
	case attribute.STRINGSLICE:
		return sliceOf(v.AsStringSlice(), activity.StringValue)
	case attribute.INT64SLICE:
		return sliceOf(v.AsInt64Slice(), activity.IntValue)
	case attribute.FLOAT64SLICE:
		return sliceOf(v.AsFloat64Slice(), activity.FloatValue)
	case attribute.BOOLSLICE:
		return sliceOf(v.AsBoolSlice(), activity.BoolValue)
	case attribute.SLICE:
		return sliceOf(v.AsSlice(), valueOf)
	case attribute.MAP:
		return activity.MapValue(AttrsOf(v.AsMap()))
	}
	return activity.Value{}
}

func sliceOf[T any](list []T, value func(T) activity.Value) activity.Value {
	vs := make([]activity.Value, len(list))
	for i, e := range list {
		vs[i] = value(e)
	}
	return activity.SliceValue(vs)
}

// fingerprints returns the sum over attributes.
func fingerprints(attrs []attribute.KeyValue) (sum uint64) {
	for i := range attrs {
		if attrs[i].Valid() {
			sum += fingerprint(&attrs[i])
		}
	}
	return sum
}
