package api

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		"", "type=decision&state=failed&stalled=1", "q=%22a+b%22+c&since=15m&until=2026-11-22T10:00:00Z",
		"min_duration=1ms&max_duration=2h&attr.http.route=%2Fa&attr.x=", "sort=-duration&limit=5&cursor=AQ",
		"parent=00000000000000ff&trace=000102030405060708090a0b0c0d0e0f", "%zz", "a;b", "type=a&type=b&&=", "since=106752d",
	} {
		f.Add(seed)
	}
	reader := index.New(index.Config{})
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, query string) {
		p := parseParams(context.Background(), reader, now, query)
		filter := p.filter()
		sort := p.sort()
		p.cursor(sort)
		limit := p.integer("limit", defaultLimit, 1, maxLimit)
		if p.finish() != nil {
			return
		}
		if limit < 1 || limit > maxLimit || len(filter.Terms) > maxTerms || len(filter.Attrs) > maxAttrFilters ||
			filter.MinDuration < 0 || filter.MaxDuration < 0 || filter.Until != 0 && filter.Since > filter.Until {
			t.Errorf("%q gives %+v, limit %d", query, filter, limit)
		}
		var a activity.Activity
		filter.Match(&a, activity.TimeOf(now))
	})
}

func FuzzCursor(f *testing.F) {
	f.Add("")
	for _, c := range []activity.Cursor{{ID: id(1)}, {Sort: activity.LatestEnded, Key: math.MinInt64, ID: id(2)}} {
		f.Add(string(appendCursor(nil, &c)))
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := parseCursor(s)
		if err != nil {
			return
		}
		if again := string(appendCursor(nil, c)); again != s {
			t.Errorf("%q reads as %+v, which is written %q", s, c, again)
		}
	})
}

func FuzzTicket(f *testing.F) {
	f.Add("")
	f.Add((&session{id: newSessionID(), seal: sealOf(token)}).ticket().String())
	keys := must(NewKeyring(Grant{"a", "a-token-of-nobody-here", ScopeRead}))
	f.Fuzz(func(t *testing.T, s string) {
		ticket, ok := parseTicket(s)
		if !ok {
			return
		}
		if again := ticket.String(); again != s {
			t.Errorf("%q is written %q", s, again)
		}
		if _, ok := keys.sealer(ticket); ok {
			t.Errorf("%q is taken for authentic", s)
		}
	})
}

func TestCursorIsChecked(t *testing.T) {
	c := activity.Cursor{Sort: activity.LongestFirst, Key: -5, ID: id(3)}
	text := string(appendCursor(nil, &c))
	got, err := parseCursor(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&c, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for i := range text {
		other := byte('A')
		if text[i] == other {
			other = 'B'
		}
		if _, err := parseCursor(text[:i] + string(other) + text[i+1:]); err == nil {
			t.Errorf("a cursor with another character at %d is taken", i)
		}
	}
}

// FuzzID asks for activities by anything.
func FuzzID(f *testing.F) {
	x := index.New(index.Config{})
	x.Apply(story())
	a, err := New(Config{Reader: x})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{id(0).String(), id(0).Span.String(), "", "%00", "a/b", "..", id(5).String(), strings.Repeat("0", 16)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = "localhost"
		r.URL.Path, r.URL.RawPath = "/activity/activity/"+s, ""
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code == http.StatusOK && !strings.Contains(w.Body.String(), strings.ToLower(s)) || w.Code >= 500 {
			t.Errorf("%q: %d %s", s, w.Code, w.Body)
		}
	})
}

func FuzzStreamParams(f *testing.F) {
	for _, seed := range [][2]string{{"", ""}, {"batch=1&hello=1&snapshot=1", ""}, {"after=01J:5", "01J:6"}, {"after=a:b:18446744073709551615", ""}, {"type=decision&batch=0", ":"}} {
		f.Add(seed[0], seed[1])
	}
	reader := index.New(index.Config{})
	f.Fuzz(func(t *testing.T, query, last string) {
		s, err := parseStream(parseParams(context.Background(), reader, time.Unix(0, 0), query), last)
		if err != nil {
			return
		}
		if last != "" && s.after.String() != last && s.after.LogID == "" {
			t.Errorf("Last-Event-ID %q reads as %v", last, s.after)
		}
		if s.after != (activity.Position{}) {
			if again, err := parsePosition(s.after.String()); err != nil || again != s.after {
				t.Errorf("%v is read back as %v, %v", s.after, again, err)
			}
		}
	})
}

func FuzzHost(f *testing.F) {
	for _, seed := range []string{"localhost:18080", "[::1]:80", "evil.example", "a@b", "[::1%25x]", "127.0.0.1.", ":", "[]", "a:b:c"} {
		f.Add(seed)
	}
	d := newDoor(Config{Listen: DefaultListen})
	f.Fuzz(func(t *testing.T, host string) {
		r := &http.Request{Host: host}
		if !d.host(r) {
			return
		}
		name, _, _ := splitHost(host)
		if !Loopback(name) {
			t.Errorf("%q is admitted as %q", host, name)
		}
	})
}

// FuzzGrants holds that a file of tokens is read or refused by a line, and that no
// refusal tells a token.
func FuzzGrants(f *testing.F) {
	f.Add("# ours\n" + token + "\ngrafana read,ingest " + token + "2\n")
	f.Add("a write b")
	f.Add("a admin b c")
	f.Add("a read" + token + " b")
	f.Add("\x00 read \xff")
	f.Fuzz(func(t *testing.T, text string) {
		grants, err := parseGrants("f", []byte(text))
		if err != nil {
			if strings.Contains(err.Error(), token) {
				t.Errorf("the error tells the token: %v", err)
			}
			return
		}
		if len(grants) == 0 {
			t.Error("no error, and no token")
		}
		keys, err := NewKeyring(grants...)
		if err != nil {
			return
		}
		for _, g := range grants {
			if got, ok := keys.Grant(string(g.Token)); !ok || got.Name != g.Name || got.Scope != g.Scope || got.Token != "" {
				t.Errorf("%q became %+v", g.Name, got)
			}
		}
	})
}

// FuzzAccept holds that a weight is one, and that what is preferred was offered.
func FuzzAccept(f *testing.F) {
	for _, seed := range []string{"", "text/html, */*;q=0.1", "application/json;q=NaN", "text/*;q=1e-9,;;=,q", "gzip;q=0, *", "gzip;Q=2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := &http.Request{Header: http.Header{"Accept": {header}, "Accept-Encoding": {header}}}
		if got := preferred(r, "application/json", "text/html"); got != "" && got != "application/json" && got != "text/html" {
			t.Errorf("%q is preferred", got)
		}
		if q := quality(header, "text/html"); !(q >= 0 && q <= 1) {
			t.Errorf("its weight is %v", q)
		}
		acceptsGzip(r)
	})
}
