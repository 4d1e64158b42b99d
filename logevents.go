package midspan

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
)

// recorder makes the log records by which a bridge is told of activities. The
// SDK's provider gives them their resource and scope, and hands them back here
// instead of exporting them. It is not safe for concurrent use.
type recorder struct {
	resource *resource.Resource
	provider *sdklog.LoggerProvider
	loggers  map[*activity.Scope]log.Logger
	records  []sdklog.Record
	bytes    int // about, of the records as sent
}

// maxScopes bounds the scopes that a recorder knows by their place in memory.
const maxScopes = 1024

func newRecorder(r *resource.Resource) *recorder {
	rec := &recorder{resource: r}
	rec.reset()
	return rec
}

func (rec *recorder) reset() {
	rec.loggers = make(map[*activity.Scope]log.Logger)
	rec.provider = sdklog.NewLoggerProvider(
		sdklog.WithResource(rec.resource), sdklog.WithProcessor((*kept)(rec)),
		// An activity has limits of its own, and its keys are told apart.
		sdklog.WithAttributeCountLimit(-1), sdklog.WithAttributeValueLengthLimit(-1), sdklog.WithAllowKeyDuplication(),
	)
}

// kept is a recorder as the SDK sees it.
type kept recorder

func (k *kept) Enabled(context.Context, sdklog.EnabledParameters) bool { return true }

func (k *kept) OnEmit(_ context.Context, r *sdklog.Record) error {
	k.records = append(k.records, r.Clone())
	return nil
}

func (k *kept) Shutdown(context.Context) error   { return nil }
func (k *kept) ForceFlush(context.Context) error { return nil }

// take returns the records since it was called last.
func (rec *recorder) take() []sdklog.Record {
	records := rec.records
	rec.records, rec.bytes = nil, 0
	return records
}

func (rec *recorder) logger(s *activity.Scope) log.Logger {
	if l := rec.loggers[s]; l != nil {
		return l
	}
	if len(rec.loggers) >= maxScopes {
		rec.reset()
	}
	var l log.Logger
	if s == nil {
		l = rec.provider.Logger("github.com/midspan/midspan")
	} else {
		l = rec.provider.Logger(s.Name, log.WithInstrumentationVersion(s.Version), log.WithSchemaURL(s.SchemaURL),
			log.WithInstrumentationAttributes(keyValues(s.Attrs)...))
	}
	rec.loggers[s] = l
	return l
}

// event makes the record of an event of an activity that is sampled or not. It
// carries what a log event can: links and span events come with the final span.
func (rec *recorder) event(e *activity.Event, scope *activity.Scope, sampled bool) {
	var r log.Record
	r.SetEventName(activity.LogEventPrefix + e.Kind.String())
	r.SetTimestamp(e.At.Time())
	attrs := make([]attribute.KeyValue, 0, len(e.Attrs)+5)
	attrs = append(attrs, attribute.Int64(activity.KeyRev, int64(e.Rev)))
	if e.Name != "" {
		attrs = append(attrs, attribute.String(activity.KeyName, e.Name))
	}
	if !e.Parent.IsZero() {
		attrs = append(attrs, attribute.String(activity.KeyParentSpanID, e.Parent.Span.String()))
	}
	if e.SpanKind != activity.KindUnset {
		attrs = append(attrs, attribute.String(activity.KeySpanKind, e.SpanKind.String()))
	}
	if e.Sampling == activity.Unsampled {
		attrs = append(attrs, attribute.Bool(activity.KeySampled, false))
	}
	if e.Kind == activity.EventFailed && e.StatusMessage != "" {
		attrs = append(attrs, attribute.String(activity.KeyErrorMessage, e.StatusMessage))
	}
	rec.bytes += 100 + len(e.Name) + len(e.StatusMessage)
	for i := range e.Attrs {
		attrs = append(attrs, attribute.KeyValue{Key: attribute.Key(e.Attrs[i].Key), Value: otelValue(e.Attrs[i].Value)})
		rec.bytes += len(e.Attrs[i].Key) + sizeOf(e.Attrs[i].Value)
	}
	r.AddAttributes(attrs...)
	of := trace.SpanContextConfig{TraceID: trace.TraceID(e.ID.Trace), SpanID: trace.SpanID(e.ID.Span)}
	if sampled {
		of.TraceFlags = trace.FlagsSampled
	}
	rec.logger(scope).Emit(trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(of)), r)
}

func keyValues(attrs []activity.Attr) []attribute.KeyValue {
	out := make([]attribute.KeyValue, len(attrs))
	for i := range attrs {
		out[i] = attribute.KeyValue{Key: attribute.Key(attrs[i].Key), Value: otelValue(attrs[i].Value)}
	}
	return out
}

// otelValue returns a value as OpenTelemetry has it.
func otelValue(v activity.Value) attribute.Value {
	switch v.Kind() {
	case activity.KindString:
		return attribute.StringValue(v.Str())
	case activity.KindInt:
		return attribute.Int64Value(v.Int())
	case activity.KindFloat:
		return attribute.Float64Value(v.Float())
	case activity.KindBool:
		return attribute.BoolValue(v.Bool())
	case activity.KindBytes:
		return attribute.ByteSliceValue([]byte(v.Str()))
	case activity.KindSlice:
		list := make([]attribute.Value, len(v.Slice()))
		for i, e := range v.Slice() {
			list[i] = otelValue(e)
		}
		return attribute.SliceValue(list...)
	case activity.KindMap:
		return attribute.MapValue(keyValues(v.Map())...)
	}
	return attribute.Value{}
}

// sizeOf returns about how many bytes a value takes as sent.
func sizeOf(v activity.Value) int {
	n := 12 + len(v.Str())
	for _, e := range v.Slice() {
		n += sizeOf(e)
	}
	for _, a := range v.Map() {
		n += len(a.Key) + sizeOf(a.Value)
	}
	return n
}
