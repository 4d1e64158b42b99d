package api

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	"github.com/pb33f/libopenapi/datamodel"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

func openAPIModel(t *testing.T) libopenapi.Document {
	t.Helper()
	// A tree's nodes hold nodes, in arrays that may be empty.
	doc, err := libopenapi.NewDocumentWithConfiguration(openapiDocument, &datamodel.DocumentConfiguration{IgnoreArrayCircularReferences: true})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func openAPI(t *testing.T) validator.Validator {
	t.Helper()
	v, errs := validator.NewValidator(openAPIModel(t))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	t.Cleanup(v.Release)
	return v
}

func TestOpenAPIDocument(t *testing.T) {
	if ok, errs := openAPI(t).ValidateDocument(); !ok {
		for _, err := range errs {
			t.Error(err)
		}
	}
}

// TestOpenAPIStreams holds the messages of streams, and the lines of NDJSON,
// against their schemas: OpenAPI 3.1 can't say what they are of.
func TestOpenAPIStreams(t *testing.T) {
	model, err := openAPIModel(t).BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	schemas := schema_validation.NewSchemaValidator()
	check := func(name, object string) {
		t.Helper()
		if ok, errs := schemas.ValidateSchemaString(model.Model.Components.Schemas.GetOrZero(name).Schema(), object); !ok {
			for _, err := range errs {
				t.Errorf("%s: %v, %v, in %s", name, err, err.SchemaValidationErrors, object)
			}
		}
	}
	w := newWorld(t, nil)
	w.Apply(story())
	_, _, lines := w.get(t, "/activity/export?format=ndjson")
	for line := range strings.Lines(lines) {
		check("Activity", line)
	}
	for query, n := range map[string]int{"?hello=1&after=other:1": 6, "?after=" + activity.Position{LogID: w.Head().LogID}.String(): 14} {
		c := w.dial(t, query)
		for range n {
			data, err := c.read()
			if err != nil {
				t.Fatal(err)
			}
			check("StreamMessage", data)
		}
	}
	past := newWorld(t, func(c *Config, i *index.Config) { withPast(c, i); i.Now = nil })
	past.Apply(logged(story()))
	c := past.dialPath(t, "/activity/replay?speed=1000&from="+stamp(t0.Time().Add(-time.Second))+"&to="+stamp(t0.Time().Add(time.Second)))
	c.say("?")
	kinds := make(map[string]bool)
	for !kinds["end"] {
		data, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		check("ReplayMessage", data)
		kinds[object(t, data)["event"].(string)] = true
	}
	if !kinds["clock"] || !kinds["started"] {
		t.Errorf("of a replay only %v", kinds)
	}
}

// TestOpenAPIAnswers holds what the running server answers against the document.
func TestOpenAPIAnswers(t *testing.T) {
	v := openAPI(t)
	w := newWorld(t, nil)
	w.Apply(story())
	same := named(event(0, 1, activity.EventStarted, t0), "another trace, the same span id", -1)
	same.ID.Trace[0] = 7
	locked := newWorld(t, func(c *Config, _ *index.Config) { c.Keys = keyring(t, token); c.MaxStreams = 1 })
	ambiguous := newWorld(t, nil)
	ambiguous.Apply(story())
	ambiguous.Apply([]activity.Event{same})

	asked := make(map[string]bool)
	ask := func(w *world, method, path string, want int, body string, header ...string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			if header[i] == "Host" {
				r.Host = header[i+1]
			}
			r.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != want {
			t.Errorf("%s %s: status %d, want %d: %s", method, path, res.StatusCode, want, b)
			return
		}
		asked[method+" "+r.URL.Path] = true
		res.Body = io.NopCloser(bytes.NewReader(b))
		r.URL, _ = url.Parse(path)
		r.Body = io.NopCloser(strings.NewReader(body))
		if want < 300 {
			if ok, errs := v.ValidateHttpRequestSync(r); !ok {
				for _, err := range errs {
					t.Errorf("%s %s: request: %v", method, path, err)
				}
			}
		}
		if ok, errs := v.ValidateHttpResponse(r, res); !ok {
			for _, err := range errs {
				t.Errorf("%s %s: %d: %v, %s", method, path, res.StatusCode, err, err.Reason)
				for _, e := range err.SchemaValidationErrors {
					t.Errorf("  %s: %s", e.FieldPath, e.Reason)
				}
			}
		}
	}
	get := func(path string, want int, header ...string) {
		t.Helper()
		ask(w, http.MethodGet, path, want, "", header...)
	}
	lists := []string{"/activity/active", "/activity/all", "/activity/decisions", "/activity/thread/w", "/activity/tree", "/activity/stats", "/activity/summary", "/activity/export"}
	for _, path := range lists {
		get(path, 200)
		get(path+"?service=orders&service=stock&q=order&since=2026-01-01T00:00:00Z&min_duration=1ms", 200)
		get(path+"?nonsense=1", 400)
		get(path+"?parent=00000000000000ff", 404)
		get(path, 421, "Host", "evil.example")
		get(path, 403, "Origin", "http://evil.example")
		ask(locked, http.MethodGet, path, 401, "")
		ask(ambiguous, http.MethodGet, path+"?parent="+same.ID.Span.String(), 409, "")
	}
	past := newWorld(t, withPast)
	past.Apply(logged(story()))
	ask(past, http.MethodGet, "/activity/at?time=15m&service=orders&q=order", 200, "")
	ask(past, http.MethodGet, "/activity/at", 400, "")
	ask(past, http.MethodGet, "/activity/at?time=15m", 421, "", "Host", "evil.example")
	get("/activity/at?time=15m", 404)
	ask(past, http.MethodGet, "/activity/replay?from=15m", 426, "")
	ask(past, http.MethodGet, "/activity/replay?from=15m&speed=0", 400, "")
	ask(past, http.MethodGet, "/activity/replay?from=15m", 421, "", "Host", "evil.example")
	get("/activity/replay?from=15m", 404)
	get("/activity/all?sort=-duration&limit=1", 200)
	get("/activity/all?cursor=x", 400)
	get("/activity/tree?root="+id(0).String()+"&depth=1&limit=10", 200)
	get("/activity/tree?root="+id(77).String(), 404)
	for n := range 8 {
		if n != 5 {
			get("/activity/activity/"+id(n).String(), 200)
		}
	}
	get("/activity/activity/"+id(1).Span.String(), 200)
	get("/activity/activity/"+id(5).String(), 404)
	get("/activity/activity/x", 400)
	ask(ambiguous, http.MethodGet, "/activity/activity/"+same.ID.Span.String(), 409, "")
	get("/activity/summary", 200, "Accept", "application/json")
	get("/activity/summary", 200, "Accept", "text/markdown")
	get("/activity/summary", 406, "Accept", "image/png")
	for _, format := range []string{"json", "ndjson", "csv", "otlp"} {
		get("/activity/export?format="+format, 200)
	}
	get("/activity/stream", 406, "Accept", "text/html")
	get("/activity/stream?batch=2", 400)
	get("/openapi.json", 200)
	get("/healthz", 200)
	get("/readyz", 200)
	get("/metrics", 200)
	ask(w, http.MethodPost, "/session", 404, `{"token":"x"}`, "Content-Type", "application/json")
	ask(locked, http.MethodPost, "/session", 401, `{"token":"x"}`, "Content-Type", "application/json")
	ask(locked, http.MethodPost, "/session", 400, `{}`, "Content-Type", "application/json")
	ask(locked, http.MethodPost, "/session", 415, `token=x`, "Content-Type", "application/x-www-form-urlencoded")
	ask(locked, http.MethodPost, "/session", 204, `{"token":"`+token+`"}`, "Content-Type", "application/json")
	ask(locked, http.MethodDelete, "/session", 204, "")
	for range loginBurst {
		locked.do(t, http.MethodPost, "/session", `{"token":"x"}`, "Content-Type", "application/json")
	}
	ask(locked, http.MethodPost, "/session", 429, `{"token":"x"}`, "Content-Type", "application/json")

	// Every endpoint of the document was asked.
	doc := object(t, string(openapiDocument))
	for path, item := range doc["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			prefix, _, _ := strings.Cut(path, "{")
			if !slices.ContainsFunc(keys(asked), func(a string) bool {
				return a == strings.ToUpper(method)+" "+path || prefix != path && strings.HasPrefix(a, strings.ToUpper(method)+" "+prefix)
			}) {
				t.Errorf("%s %s was never asked", method, path)
			}
		}
	}
}

func keys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

const token = "correct-horse-battery"
