package redact

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/redact/canary"
)

func quoted(v any) string {
	b := &strings.Builder{}
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

// textsOf returns the ways in which a secret comes within a text.
func textsOf(c canary.Canary, secret string) map[string]string {
	m := c.Mention(secret)
	t := map[string]string{
		"alone":           m,
		"sentence":        "call failed: " + m + ", giving up.",
		"line":            "first line\n" + m + "\nlast line",
		"json":            quoted(map[string]any{"n": 1, "said": map[string]any{"text": m}, "ok": true}),
		"json in json":    quoted(map[string]any{"body": quoted(map[string]any{"text": m, "n": 2})}),
		"array of json":   quoted([]any{1, "two", []any{m}}),
		"log of a struct": fmt.Sprintf("%+v", struct{ A, Text string }{"x", m}),
	}
	if c.Text != "" {
		return t
	}
	if c.Key == "" {
		t["path"] = "https://api.example.com/v1/" + url.PathEscape(secret) + "/items?limit=5"
		t["query"] = "https://api.example.com/v1/items?limit=5&q=" + url.QueryEscape(secret) + "&page=2"
		t["plain query"] = "/v1/items?q=" + secret + "&page=2"
		t["quoted"] = `the value "` + secret + `" is refused`
		t["assigned"] = "x=" + secret + ";y=2"
		t["begin of json"] = `{"` + secret + `":1}`
		t["encoded json"] = url.QueryEscape(`{"note":"` + secret + `"}`)
		return t
	}
	maps.Copy(t, map[string]string{
		"yaml":         c.Key + ": " + secret + "\nother: 1\n",
		"yaml, quoted": "a:\n  " + c.Key + ": '" + secret + "'\n  b: 1\n",
		"toml":         c.Key + ` = "` + secret + `"`,
		"ini":          "[x]\n" + c.Key + " = " + secret + "\ny = 1\n",
		"environment":  "export " + strings.ToUpper(normal(c.Key)) + "=" + secret + " PATH=/bin",
		"colon":        c.Key + ":" + secret,
		"code":         `config["` + c.Key + `"] = "` + secret + `";`,
		"map of Go":    fmt.Sprint(map[string]string{"a": "b", c.Key: secret, "z": "y"}),
		"header of Go": fmt.Sprint(map[string][]string{"Accept": {"*/*"}, c.Key: {secret}}),
		"ruby":         `{:a=>1, "` + c.Key + `"=>"` + secret + `"}`,
		"java":         "Config{a=1, " + c.Key + "=" + secret + ", z=2}",
		"json key":     quoted(map[string]any{"a": map[string]any{c.Key: secret, "b": 1}}),
		"json keys":    quoted(map[string]any{c.Key: []string{secret, "x"}, "b": 1}),
		"json pretty":  "{\n  \"" + c.Key + "\": \"" + secret + "\",\n  \"b\": 1\n}",
		"json pair":    quoted([]any{map[string]any{"name": c.Key, "value": secret}}),
		"escaped json": quoted(map[string]any{"body": quoted(map[string]any{c.Key: secret})}),
		"deep json":    quoted(map[string]any{"body": quoted(map[string]any{"inner": quoted(map[string]any{c.Key: secret})})}),
		"query":        "https://api.example.com/v1/items?limit=5&" + c.Key + "=" + url.QueryEscape(secret) + "&page=2",
		"form":         "a=1&" + c.Key + "=" + url.QueryEscape(secret),
		"encoded json": url.QueryEscape(`{"a":1,"` + c.Key + `":"` + secret + `"}`),
		"option":       "run --verbose --" + strings.ReplaceAll(normal(c.Key), "_", "-") + " " + secret + " --dry-run",
		"option with=": "run --" + strings.ReplaceAll(normal(c.Key), "_", "-") + "=" + secret,
		"header":       "X-" + strings.ReplaceAll(normal(c.Key), "_", "-") + ": " + secret,
		"xml":          "<c><" + c.Key + ">" + secret + "</" + c.Key + "></c>",
	})
	return t
}

// eventsOf returns events that hold the secret of a canary in every place that an event has.
func eventsOf(c canary.Canary, secret string) map[string]activity.Event {
	s := activity.StringValue
	key := c.Key
	held := s(secret) // a value whose key tells
	if key == "" {
		key, held = "note", s(c.Mention(secret))
	}
	texts := textsOf(c, secret)
	m := texts["sentence"]
	attr := func(k string, v activity.Value) []activity.Attr {
		return []activity.Attr{{Key: "before", Value: activity.IntValue(1)}, {Key: k, Value: v}, {Key: "after", Value: activity.BoolValue(true)}}
	}
	nested := activity.MapValue(attr("list", activity.SliceValue([]activity.Value{activity.MapValue(attr(key, held))})))
	changes := map[string]activity.Changes{
		"name":           {Name: m},
		"status":         {StatusMessage: m, Status: activity.StatusError},
		"description":    {Attrs: attr(activity.KeyCurrent, s(m))},
		"final":          {Attrs: attr(activity.KeyFinal, s(m))},
		"reasoning":      {Attrs: attr(activity.KeyReasoning, s(m))},
		"alternatives":   {Attrs: attr(activity.KeyAlternatives, activity.SliceValue([]activity.Value{s("a"), s(m)}))},
		"attribute":      {Attrs: attr(key, held)},
		"bytes":          {Attrs: attr(key, activity.BytesValue(held.Str()))},
		"prefixed":       {Attrs: attr("app.config."+key, held)},
		"array":          {Attrs: attr(key, activity.SliceValue([]activity.Value{held, held}))},
		"nested":         {Attrs: attr("config", nested)},
		"nested array":   {Attrs: attr("config", activity.SliceValue([]activity.Value{activity.SliceValue([]activity.Value{s(m)}), nested}))},
		"link":           {Links: []activity.Link{{ID: id, Attrs: attr(key, held)}}},
		"span event":     {SpanEvents: []activity.SpanEvent{{Name: "retry", Attrs: attr(key, held)}}},
		"exception":      {SpanEvents: []activity.SpanEvent{{Name: "exception", Attrs: attr(activity.KeyExceptionStacktrace, s(m))}}},
		"event name":     {SpanEvents: []activity.SpanEvent{{Name: m}}},
		"resource":       {Resource: &activity.Resource{Service: "shop", Attrs: attr(key, held)}},
		"command":        {Resource: &activity.Resource{Service: "shop", Attrs: attr("process.command_line", s(m))}},
		"instance":       {Resource: &activity.Resource{Service: "shop", Instance: m}},
		"scope":          {Scope: &activity.Scope{Name: "lib", Attrs: attr(key, held)}},
		"scope name":     {Scope: &activity.Scope{Name: m}},
		"scope version":  {Scope: &activity.Scope{Name: "lib", Version: m}},
		"service":        {Resource: &activity.Resource{Service: m}},
		"schema":         {Resource: &activity.Resource{SchemaURL: "https://example.com/" + m}},
		"tracestate":     {TraceState: "vendor=" + m},
		"link's state":   {Links: []activity.Link{{ID: id, TraceState: m}}},
		"attribute key":  {Attrs: attr(c.Mention(secret), s("x"))},
		"name and value": {Attrs: attr("header", activity.MapValue([]activity.Attr{{Key: "name", Value: s(key)}, {Key: "value", Value: held}}))},
	}
	if c.Key == "" && c.Text == "" {
		changes["alone"] = activity.Changes{Attrs: attr("note", s(secret))}
		changes["alone, as a name"] = activity.Changes{Name: secret}
		changes["alone, in an array"] = activity.Changes{Attrs: attr("notes", activity.SliceValue([]activity.Value{s(secret)}))}
	}
	if c.Key != "" {
		changes["arguments"] = activity.Changes{Attrs: attr("process.command_args", activity.SliceValue([]activity.Value{
			s("run"), s("--" + strings.ReplaceAll(normal(key), "_", "-")), s(secret), s("-v"),
		}))}
	}
	for name, text := range texts {
		changes["text: "+name] = activity.Changes{Attrs: attr("message", s(text))}
		changes["result: "+name] = activity.Changes{Attrs: attr(activity.KeyResult, s(quoted(map[string]any{"out": text})))}
	}
	events := map[string]activity.Event{}
	for name, ch := range changes {
		events[name] = activity.Event{At: 5, ID: id, Kind: activity.EventUpdated, Changes: ch}
	}
	return events
}

var id = activity.ID{Trace: activity.TraceID{1, 2, 3}, Span: activity.SpanID{4, 5}}

// everything returns all texts of an event.
func everything(e *activity.Event) []string {
	var out []string
	var value func(v activity.Value)
	attrs := func(list []activity.Attr) {
		for _, a := range list {
			out = append(out, a.Key)
			value(a.Value)
		}
	}
	value = func(v activity.Value) {
		out = append(out, v.Text(), v.Str())
		for _, e := range v.Slice() {
			value(e)
		}
		for _, a := range v.Map() {
			out = append(out, a.Key)
			value(a.Value)
		}
	}
	out = append(out, e.Name, e.StatusMessage, e.TraceState)
	if r := e.Resource; r != nil {
		out = append(out, r.Service, r.Instance, r.SchemaURL)
		attrs(r.Attrs)
	}
	if s := e.Scope; s != nil {
		out = append(out, s.Name, s.Version, s.SchemaURL)
		attrs(s.Attrs)
	}
	attrs(e.Attrs)
	for _, l := range e.Links {
		out = append(out, l.TraceState)
		attrs(l.Attrs)
	}
	for _, s := range e.SpanEvents {
		out = append(out, s.Name)
		attrs(s.Attrs)
	}
	return out
}

// survivors returns the places in which a part of the canary's secret is left.
func survivors(t *testing.T, c canary.Canary, r *Redactor, seed uint64) []string {
	t.Helper()
	secret := c.Secret(seed)
	var places []string
	for place, e := range eventsOf(c, secret) {
		events := []activity.Event{e}
		before := strings.Join(everything(&e), "\n")
		if c.Remains(secret, before) == "" && !strings.Contains(before, url.QueryEscape(secret)) {
			t.Fatalf("%s: %s holds no secret", c.Kind, place)
		}
		r.Events(events)
		for _, text := range everything(&events[0]) {
			if p := c.Remains(secret, text); p != "" || strings.Contains(text, url.QueryEscape(secret)) {
				places = append(places, fmt.Sprintf("%s: %q", place, text))
				break
			}
		}
	}
	slices.Sort(places)
	return places
}

// seeds of the canaries' secrets. More find what hangs on a single character.
var seeds = []uint64{1, 2, 3}

func TestCanaries(t *testing.T) {
	r := newRedactor(t, Config{})
	testCanaries(t, r, canary.Known, false)
}

// What was missed once, and texts in which it was.
func TestLaterCanaries(t *testing.T) {
	r := newRedactor(t, Config{})
	for _, c := range canary.Later {
		for _, seed := range seeds {
			if left := survivors(t, c, r, seed); len(left) > 0 {
				t.Errorf("%s is left in %d places:\n\t%s", c.Kind, len(left), strings.Join(left[:min(len(left), 4)], "\n\t"))
			}
		}
	}
	for _, text := range []string{"key=AKIALIODBBFHJFKOFXLR", "s3://AKIALIODBBFHJFKOFXLR:abcd@b", "https://AKIALIODBBFHJFKOFXLR@host/x", "https://h/ASIAQWERTYUIOPLKJHGF/x", "AKIALIODBBFHJFKOFXLR-2026"} {
		if got := r.text(text); strings.Contains(got, "LIODBBFHJFKO") || strings.Contains(got, "QWERTYUIOPLK") {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func testCanaries(t *testing.T, r *Redactor, list []canary.Canary, held bool) {
	t.Helper()
	caught := 0
	for _, c := range list {
		if heldOut(c.Kind) != held {
			t.Errorf("%s stands in the wrong file", c.Kind)
		}
		var left []string
		for _, seed := range seeds {
			left = append(left, survivors(t, c, r, seed)...)
		}
		if len(left) == 0 {
			caught++
			continue
		}
		t.Errorf("%s is left in %d places of %d:\n\t%s", c.Kind, len(left), len(seeds)*len(eventsOf(c, "x")), strings.Join(left[:min(len(left), 4)], "\n\t"))
	}
	t.Logf("%d of %d kinds are caught everywhere", caught, len(list))
}

func newRedactor(t testing.TB, cfg Config) *Redactor {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
