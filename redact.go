package midspan

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/redact"
	"github.com/midspan/midspan/processor"
)

// Redact says what is a secret. Its zero value takes out what is commonly one:
// passwords, tokens, keys, cards, passwords in URLs; docs/redaction.md lists it.
//
// Keys are compared without regard to case and separators: "user.email" also
// means user_email and userEmail. An asterisk stands for any text.
type Redact struct {
	// Allow, when it is set, lists the only attributes that keep their values,
	// beside Midspan's own and those that say what a span is.
	Allow []string
	// Deny lists keys whose values are taken out too.
	Deny []string
	// Keep lists keys whose values are left alone, whatever they look like.
	Keep []string
	// Patterns are regular expressions in RE2's syntax by the name that they are
	// counted by: what they find is taken out, or their first group. At most 64, of
	// 1,024 bytes each.
	Patterns map[string]string
	// Remove replaces by "[redacted]" instead of a keyed hash.
	Remove bool
	// HashKey keys the hashes, in at least 16 bytes; with the same key a secret has
	// the same hash in every process. Defaults to a random one.
	HashKey []byte
}

// newRedactor returns nil for nil.
func newRedactor(cfg *Redact) (*redact.Redactor, error) {
	if cfg == nil {
		return nil, nil //nolint:nilnil // There is none, and that is no error.
	}
	to := redact.Config{Allow: cfg.Allow, Deny: cfg.Deny, Keep: cfg.Keep, Remove: cfg.Remove, HashKey: cfg.HashKey}
	for name, expr := range cfg.Patterns {
		to.Patterns = append(to.Patterns, redact.Pattern{Name: name, Expr: expr})
	}
	return redact.New(to)
}

// cleanIndex is the door: what comes through it is without secrets before it is
// indexed, shown or told to a bridge.
type cleanIndex struct {
	*index.Index
	redact *redact.Redactor
}

func (x cleanIndex) Apply(events []activity.Event) {
	x.redact.Events(events)
	x.Index.Apply(events)
}

// cleanExporter takes the secrets out of spans before they leave the process.
// Their resource is clean from the start.
type cleanExporter struct {
	sdktrace.SpanExporter
	redact *redact.Redactor
}

func (e cleanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	clean := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		clean[i] = cleanSpanOf(e.redact, s)
	}
	return e.SpanExporter.ExportSpans(ctx, clean)
}

// cleanSpan is a span without its secrets.
type cleanSpan struct {
	sdktrace.ReadOnlySpan
	context trace.SpanContext
	name    string
	status  sdktrace.Status
	attrs   []attribute.KeyValue
	links   []sdktrace.Link
	events  []sdktrace.Event
}

func cleanSpanOf(r *redact.Redactor, s sdktrace.ReadOnlySpan) *cleanSpan {
	c := &cleanSpan{
		ReadOnlySpan: s, context: cleanContext(r, s.SpanContext()), name: r.Text(s.Name()), status: s.Status(),
		attrs: cleanAttrs(r, s.Attributes()), links: slices.Clone(s.Links()), events: slices.Clone(s.Events()),
	}
	c.status.Description = r.Text(c.status.Description)
	for i := range c.links {
		l := &c.links[i]
		l.SpanContext, l.Attributes = cleanContext(r, l.SpanContext), cleanAttrs(r, l.Attributes)
	}
	for i := range c.events {
		e := &c.events[i]
		e.Name, e.Attributes = r.Text(e.Name), cleanAttrs(r, e.Attributes)
	}
	return c
}

func (s *cleanSpan) SpanContext() trace.SpanContext   { return s.context }
func (s *cleanSpan) Name() string                     { return s.name }
func (s *cleanSpan) Status() sdktrace.Status          { return s.status }
func (s *cleanSpan) Attributes() []attribute.KeyValue { return s.attrs }
func (s *cleanSpan) Links() []sdktrace.Link           { return s.links }
func (s *cleanSpan) Events() []sdktrace.Event         { return s.events }

// cleanContext leaves a trace state away that would be none without its secrets.
func cleanContext(r *redact.Redactor, sc trace.SpanContext) trace.SpanContext {
	state := sc.TraceState().String()
	clean := r.Text(state)
	if clean == state {
		return sc
	}
	parsed, err := trace.ParseTraceState(clean)
	if err != nil {
		parsed = trace.TraceState{}
	}
	return sc.WithTraceState(parsed)
}

// cleanAttrs returns attributes without secrets: the same ones where there are
// none.
func cleanAttrs(r *redact.Redactor, attrs []attribute.KeyValue) []attribute.KeyValue {
	after := processor.AttrsOf(attrs)
	if !r.Attrs(after) {
		return attrs
	}
	before := processor.AttrsOf(attrs)
	clean := slices.Clone(attrs)
	for i := range clean {
		clean[i].Key = attribute.Key(after[i].Key)
		if !after[i].Value.Equal(before[i].Value) {
			clean[i].Value = valueOf(after[i].Value)
		}
	}
	return clean
}

// valueOf returns an activity's value as an attribute's.
func valueOf(v activity.Value) attribute.Value {
	switch v.Kind() {
	case activity.KindBool:
		return attribute.BoolValue(v.Bool())
	case activity.KindInt:
		return attribute.Int64Value(v.Int())
	case activity.KindFloat:
		return attribute.Float64Value(v.Float())
	case activity.KindString:
		return attribute.StringValue(v.Str())
	case activity.KindBytes:
		return attribute.ByteSliceValue([]byte(v.Str()))
	case activity.KindSlice:
		return sliceOf(v.Slice())
	case activity.KindMap:
		kvs := make([]attribute.KeyValue, 0, len(v.Map()))
		for _, a := range v.Map() {
			kvs = append(kvs, attribute.KeyValue{Key: attribute.Key(a.Key), Value: valueOf(a.Value)})
		}
		return attribute.MapValue(kvs...)
	}
	return attribute.Value{}
}

// sliceOf returns an array of texts as such, which every backend knows.
func sliceOf(list []activity.Value) attribute.Value {
	texts, values := make([]string, 0, len(list)), make([]attribute.Value, 0, len(list))
	for _, e := range list {
		if e.Kind() == activity.KindString {
			texts = append(texts, e.Str())
		}
		values = append(values, valueOf(e))
	}
	if len(texts) == len(list) {
		return attribute.StringSliceValue(texts)
	}
	return attribute.SliceValue(values...)
}

func cleanResource(r *redact.Redactor, res *resource.Resource) *resource.Resource {
	return resource.NewWithAttributes(res.SchemaURL(), cleanAttrs(r, res.Attributes())...)
}
