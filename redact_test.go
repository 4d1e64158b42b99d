package midspan_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan"
	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/bridge"
	"github.com/midspan/midspan/internal/redact/canary"
	"github.com/midspan/midspan/tracing"
)

// secretsOf sends secrets in every place that a span has, and returns the kinds
// that are left in what the API tells, in what is exported, and in what a bridge
// is told.
func secretsOf(t *testing.T, cfg *midspan.Redact) map[string][]string {
	var mu sync.Mutex
	said := map[string]string{}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		said["backend"] += string(body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	t.Cleanup(backend.Close)
	b, _ := runBridge(t, bridge.Config{})
	canaries := slices.Concat(canary.Known, canary.HeldOut)
	const seed = 5
	resources := make([]attribute.KeyValue, 0, len(canaries))
	for i, c := range canaries {
		resources = append(resources, attribute.String(fmt.Sprint("note.", i), c.Mention(c.Secret(seed))))
	}
	ctx, m := start(t, midspan.Config{
		OTLPEndpoint: backend.URL, Bridge: "http://" + b.HTTPAddr().String(), Redact: cfg,
		Resource: resource.NewSchemaless(resources...), Logger: slog.New(slog.DiscardHandler),
	})
	for _, c := range canaries {
		secret := c.Secret(seed)
		text := c.Mention(secret)
		key, held := c.Key, secret
		if key == "" {
			key, held = "note", text
		}
		attrs := []attribute.KeyValue{
			attribute.String(key, held), attribute.StringSlice("list", []string{"a", text}), attribute.ByteSlice("raw", []byte(text)),
			attribute.Map("config", attribute.String(key, held), attribute.Slice("list", attribute.Int("n", 1).Value, attribute.String("s", text).Value)),
		}
		_, open := tracing.Start(ctx, activity.WorkItem, text, "Will use "+text)
		open.Say("Using " + text)
		span := open.Span()
		span.SetAttributes(attrs...)
		span.AddEvent(text, trace.WithAttributes(attrs...))
		span.AddLink(trace.Link{SpanContext: span.SpanContext(), Attributes: attrs})
		span.RecordError(errors.New(text))
		_, ended := tracing.Start(ctx, activity.WorkItem, text, "Will use "+text)
		ended.Span().SetAttributes(attrs...)
		ended.Span().AddEvent(text, trace.WithAttributes(attrs...))
		ended.Span().AddLink(trace.Link{SpanContext: span.SpanContext(), Attributes: attrs})
		ended.Span().SetStatus(codes.Error, text)
		ended.Fail(errors.New(text))
		defer open.Complete("Used " + text)
	}
	if err := m.ForceFlush(t.Context()); err != nil {
		t.Error(err)
	}
	for name, h := range map[string]func(path string) string{
		"API": func(path string) string {
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
			r.Host = "localhost"
			m.Handler().ServeHTTP(w, r)
			return w.Body.String()
		},
		"bridge": func(path string) string {
			resp, err := http.Get("http://" + b.Addr().String() + path)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(body)
		},
	} {
		for _, path := range []string{"/activity/export?format=otlp", "/activity/all?limit=1000", "/metrics", "/healthz"} {
			mu.Lock()
			said[name] += h(path)
			mu.Unlock()
		}
	}
	http.DefaultClient.CloseIdleConnections()
	mu.Lock()
	defer mu.Unlock()
	left, f := map[string][]string{}, canary.NewFinder(canaries, seed)
	for where, text := range said {
		left[where] = f.Find([]byte(text))
	}
	if cfg != nil && !strings.Contains(said["API"], `midspan_redact_rule="token"`) {
		t.Error("/metrics does not count what was taken out")
	}
	return left
}

// Secrets leave neither by the API nor by the exporter, nor for a bridge. The
// control, without redaction, finds them.
func TestRedact(t *testing.T) {
	for where, kinds := range secretsOf(t, &midspan.Redact{}) {
		if len(kinds) > 0 {
			t.Errorf("%s: secrets of %d kinds are left: %s", where, len(kinds), kinds)
		}
	}
	all := len(canary.Known) + len(canary.HeldOut)
	left := secretsOf(t, nil)
	for _, where := range []string{"API", "backend", "bridge"} {
		if len(left[where]) != all {
			t.Errorf("without redaction %s has secrets of %d kinds, want %d", where, len(left[where]), all)
		}
	}
}

// What is exported is the span but for its secrets.
func TestRedactConfig(t *testing.T) {
	if _, err := midspan.New(midspan.Config{Redact: &midspan.Redact{Patterns: map[string]string{"order": "("}}}); err == nil ||
		!strings.Contains(err.Error(), `pattern 1, "order": error parsing regexp`) {
		t.Error(err)
	}
	_, m := start(t, midspan.Config{Redact: &midspan.Redact{Remove: true, Deny: []string{"iban"}, Patterns: map[string]string{"order": "ORD-[0-9]+"}}})
	_, span := m.TracerProvider().Tracer("").Start(t.Context(), "pay ORD-17")
	span.SetAttributes(attribute.String("iban", "DE02"), attribute.Int64("pin.password", 4711), attribute.IntSlice("passwords", []int{1, 2}), attribute.Bool("ok", true))
	span.End()
	a := get(t, m, activity.ID{Trace: activity.TraceID(span.SpanContext().TraceID()), Span: activity.SpanID(span.SpanContext().SpanID())})
	got := a.Name
	for _, attr := range a.Attributes {
		got += " " + attr.Key + "=" + attr.Value.Text()
	}
	if want := `pay [redacted] iban=[redacted] pin.password=[redacted] passwords=["[redacted]","[redacted]"] ok=true`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
