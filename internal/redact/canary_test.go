package redact

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/midspan/midspan/activity"
)

// canary is a made-up secret of one kind.
type canary struct {
	kind string
	// key is the name that such a secret has where it is used; empty for one that
	// shows by itself, or by text, what it is.
	key string
	// form describes it: text with {h32} and the like for 32 random characters
	// of a set, {u} for a UUID, {card} for a card's number.
	form string
	text string // what stands around it, with %s
}

var sets = map[byte]string{
	'A': "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
	'a': "abcdefghijklmnopqrstuvwxyz0123456789",
	'U': "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
	'Q': "ABCDEFGHJKLMNPQRSTUVWXYZ234567", // base 32 and what is like it
	'l': "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
	'h': "0123456789abcdef",
	'd': "0123456789",
	'b': "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
	'w': "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
}

var placeholder = regexp.MustCompile(`\{([A-Za-z])(\d*)\}|\{card\}`)

// secret makes the canary's secret; the same one for the same seed.
func (c canary) secret(seed uint64) string {
	h := fnv.New64a()
	h.Write([]byte(c.kind))
	rng := rand.New(rand.NewPCG(seed, h.Sum64()))
	pick := func(set string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = set[rng.IntN(len(set))]
		}
		// What a sentence would end with, or a name begin with, is no part of a word.
		if strings.IndexByte("-_+/", b[0]) >= 0 {
			b[0] = 'k'
		}
		if strings.IndexByte("-_+/", b[n-1]) >= 0 {
			b[n-1] = '7'
		}
		return string(b)
	}
	return placeholder.ReplaceAllStringFunc(c.form, func(p string) string {
		switch p {
		case "{u}":
			return pick(sets['h'], 8) + "-" + pick(sets['h'], 4) + "-4" + pick(sets['h'], 3) + "-a" + pick(sets['h'], 3) + "-" + pick(sets['h'], 12)
		case "{card}":
			for {
				if n := "4" + pick(sets['d'], 15); luhn(n) {
					return n
				}
			}
		}
		n, err := strconv.Atoi(p[2 : len(p)-1])
		if err != nil || sets[p[1]] == "" {
			panic("canary " + c.kind + ": " + p)
		}
		return pick(sets[p[1]], n)
	})
}

// luhn is written the other way round than what it tests.
func luhn(n string) bool {
	doubled := [10]int{0, 2, 4, 6, 8, 1, 3, 5, 7, 9}
	sum := 0
	for i, c := range n {
		if (len(n)-i)%2 == 0 {
			sum += doubled[c-'0']
		} else {
			sum += int(c - '0')
		}
	}
	return sum%10 == 0
}

// mention is a text with a secret in it.
func (c canary) mention(secret string) string {
	switch {
	case c.text != "":
		return fmt.Sprintf(c.text, secret)
	case c.key != "":
		return c.key + "=" + secret
	}
	return "it was refused with " + secret + " just now"
}

func quoted(v any) string {
	b := &strings.Builder{}
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

// texts are the ways in which a secret comes within a text.
func (c canary) texts(secret string) map[string]string {
	m := c.mention(secret)
	t := map[string]string{
		"alone":           m,
		"sentence":        "call failed: " + m + ", giving up.",
		"line":            "first line\n" + m + "\nlast line",
		"json":            quoted(map[string]any{"n": 1, "said": map[string]any{"text": m}, "ok": true}),
		"json in json":    quoted(map[string]any{"body": quoted(map[string]any{"text": m, "n": 2})}),
		"array of json":   quoted([]any{1, "two", []any{m}}),
		"log of a struct": fmt.Sprintf("%+v", struct{ A, Text string }{"x", m}),
	}
	if c.text != "" {
		return t
	}
	if c.key == "" {
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
		"yaml":         c.key + ": " + secret + "\nother: 1\n",
		"yaml, quoted": "a:\n  " + c.key + ": '" + secret + "'\n  b: 1\n",
		"toml":         c.key + ` = "` + secret + `"`,
		"ini":          "[x]\n" + c.key + " = " + secret + "\ny = 1\n",
		"environment":  "export " + strings.ToUpper(normal(c.key)) + "=" + secret + " PATH=/bin",
		"colon":        c.key + ":" + secret,
		"code":         `config["` + c.key + `"] = "` + secret + `";`,
		"map of Go":    fmt.Sprint(map[string]string{"a": "b", c.key: secret, "z": "y"}),
		"header of Go": fmt.Sprint(map[string][]string{"Accept": {"*/*"}, c.key: {secret}}),
		"ruby":         `{:a=>1, "` + c.key + `"=>"` + secret + `"}`,
		"java":         "Config{a=1, " + c.key + "=" + secret + ", z=2}",
		"json key":     quoted(map[string]any{"a": map[string]any{c.key: secret, "b": 1}}),
		"json keys":    quoted(map[string]any{c.key: []string{secret, "x"}, "b": 1}),
		"json pretty":  "{\n  \"" + c.key + "\": \"" + secret + "\",\n  \"b\": 1\n}",
		"json pair":    quoted([]any{map[string]any{"name": c.key, "value": secret}}),
		"escaped json": quoted(map[string]any{"body": quoted(map[string]any{c.key: secret})}),
		"deep json":    quoted(map[string]any{"body": quoted(map[string]any{"inner": quoted(map[string]any{c.key: secret})})}),
		"query":        "https://api.example.com/v1/items?limit=5&" + c.key + "=" + url.QueryEscape(secret) + "&page=2",
		"form":         "a=1&" + c.key + "=" + url.QueryEscape(secret),
		"encoded json": url.QueryEscape(`{"a":1,"` + c.key + `":"` + secret + `"}`),
		"option":       "run --verbose --" + strings.ReplaceAll(normal(c.key), "_", "-") + " " + secret + " --dry-run",
		"option with=": "run --" + strings.ReplaceAll(normal(c.key), "_", "-") + "=" + secret,
		"header":       "X-" + strings.ReplaceAll(normal(c.key), "_", "-") + ": " + secret,
		"xml":          "<c><" + c.key + ">" + secret + "</" + c.key + "></c>",
	})
	return t
}

// events hold the secret of a canary in every place that an event has.
func (c canary) events(secret string) map[string]activity.Event {
	s := activity.StringValue
	key := c.key
	held := s(secret) // a value whose key tells
	if key == "" {
		key, held = "note", s(c.mention(secret))
	}
	texts := c.texts(secret)
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
		"attribute key":  {Attrs: attr(c.mention(secret), s("x"))},
		"name and value": {Attrs: attr("header", activity.MapValue([]activity.Attr{{Key: "name", Value: s(key)}, {Key: "value", Value: held}}))},
	}
	if c.key == "" && c.text == "" {
		changes["alone"] = activity.Changes{Attrs: attr("note", s(secret))}
		changes["alone, as a name"] = activity.Changes{Name: secret}
		changes["alone, in an array"] = activity.Changes{Attrs: attr("notes", activity.SliceValue([]activity.Value{s(secret)}))}
	}
	if c.key != "" {
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

// remains returns a part of a secret that is still in a text: any 12 bytes in a
// row, or all of a short one. What every secret of its kind begins with does
// not count.
func (c canary) remains(secret, text string) string {
	fixed, _, _ := strings.Cut(c.form, "{")
	secret = secret[len(fixed):]
	const part = 12
	for i := 0; i == 0 || i+part <= len(secret); i++ {
		if p := secret[i:min(len(secret), i+part)]; strings.Contains(text, p) {
			return p
		}
	}
	return ""
}

// survivors returns the places in which a part of the canary's secret is left.
func (c canary) survivors(t *testing.T, r *Redactor, seed uint64) []string {
	t.Helper()
	secret := c.secret(seed)
	var places []string
	for place, e := range c.events(secret) {
		events := []activity.Event{e}
		before := strings.Join(everything(&e), "\n")
		if c.remains(secret, before) == "" && !strings.Contains(before, url.QueryEscape(secret)) {
			t.Fatalf("%s: %s holds no secret", c.kind, place)
		}
		r.Events(events)
		for _, text := range everything(&events[0]) {
			if p := c.remains(secret, text); p != "" || strings.Contains(text, url.QueryEscape(secret)) {
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
	testCanaries(t, r, canaries, false)
}

func testCanaries(t *testing.T, r *Redactor, list []canary, held bool) {
	t.Helper()
	caught := 0
	for _, c := range list {
		if heldOut(c.kind) != held {
			t.Errorf("%s stands in the wrong file", c.kind)
		}
		var left []string
		for _, seed := range seeds {
			left = append(left, c.survivors(t, r, seed)...)
		}
		if len(left) == 0 {
			caught++
			continue
		}
		t.Errorf("%s is left in %d places of %d:\n\t%s", c.kind, len(left), len(seeds)*len(c.events("x")), strings.Join(left[:min(len(left), 4)], "\n\t"))
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
