package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

func locked(c *Config, _ *index.Config) { c.Keys = must(NewKeyring(Grant{"test", token, ScopeAdmin})) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// keyring returns one of tokens that allow everything.
func keyring(t *testing.T, tokens ...Token) *Keyring {
	t.Helper()
	grants := make([]Grant, len(tokens))
	for i, token := range tokens {
		grants[i] = Grant{fmt.Sprint("token ", i), token, ScopeAdmin}
	}
	return must(NewKeyring(grants...))
}

// signIn returns the cookie header of a new session.
func (w *world) signIn(t *testing.T) string {
	t.Helper()
	status, header, body := w.do(t, http.MethodPost, "/session", `{"token":"`+token+`"}`, "Content-Type", "application/json")
	if status != http.StatusNoContent || body != "" {
		t.Fatalf("%d %s", status, body)
	}
	cookie, err := http.ParseSetCookie(header.Get("Set-Cookie"))
	if err != nil {
		t.Fatal(err)
	}
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" || cookie.Domain != "" || len(cookie.Value) < 26 || cookie.Name != "midspan-18080" || cookie.Secure {
		t.Errorf("cookie %+v", cookie)
	}
	return cookie.Name + "=" + cookie.Value
}

func TestSession(t *testing.T) {
	w := newWorld(t, func(c *Config, i *index.Config) {
		locked(c, i)
		withPast(c, i)
		i.LogID, i.Now = "", nil
	})
	cookie := w.signIn(t)
	if other := w.signIn(t); other == cookie {
		t.Error("two sessions have one id")
	}
	if status, _, _ := w.get(t, "/activity/all", "Cookie", cookie); status != http.StatusOK {
		t.Errorf("with the cookie: %d", status)
	}
	stream := w.dial(t, "?hello=1", "Cookie", cookie)
	stream.want("hello 0")
	replay := w.dialPath(t, "/activity/replay?from=1h&speed=0.1", "Cookie", cookie)
	replay.want("hello 0")
	other := w.dial(t, "?hello=1", "Authorization", "Bearer "+token)
	other.want("hello 0")

	status, header, _ := w.do(t, http.MethodDelete, "/session", "", "Cookie", cookie)
	if gone, err := http.ParseSetCookie(header.Get("Set-Cookie")); status != http.StatusNoContent || err != nil || gone.MaxAge >= 0 {
		t.Errorf("sign out: %d %v", status, header)
	}
	if status, _, _ := w.get(t, "/activity/all", "Cookie", cookie); status != http.StatusUnauthorized {
		t.Errorf("after signing out: %d", status)
	}
	if code, reason := stream.closed(); code != websocket.ClosePolicyViolation || reason != "signed out" {
		t.Errorf("the session's stream: %d %q", code, reason)
	}
	if code, reason := replay.closed(); code != websocket.ClosePolicyViolation || reason != "signed out" {
		t.Errorf("the session's replay: %d %q", code, reason)
	}
	flood(w.Index, 0, 1)
	other.want("started 1 work 0")
	if status, _, _ := w.do(t, http.MethodDelete, "/session", "", "Cookie", cookie); status != http.StatusNoContent {
		t.Errorf("signing out twice: %d", status)
	}
}

// interrupted are moments before whose answer something happens.
type interrupted struct {
	Moments
	by func()
}

func (m interrupted) Moment(at activity.Time) (activity.Moment, error) {
	m.by()
	return m.Moments.Moment(at)
}

// A session that ends while its replay begins has none.
func TestSessionEndsBeforeItsReplay(t *testing.T) {
	w := newWorld(t, func(c *Config, i *index.Config) {
		locked(c, i)
		withPast(c, i)
		i.LogID, i.Now = "", nil
	})
	cookie := w.signIn(t)
	w.api.cfg.Moments = interrupted{w.api.cfg.Moments, func() {
		w.do(t, http.MethodDelete, "/session", "", "Cookie", cookie)
	}}
	replay := w.dialPath(t, "/activity/replay?from=1h&speed=0.1", "Cookie", cookie)
	if code, reason := replay.closed(); code != websocket.ClosePolicyViolation || reason != "signed out" {
		t.Errorf("%d %q", code, reason)
	}
}

func TestSessionOverTLS(t *testing.T) {
	a, err := New(Config{Reader: index.New(index.Config{}), Keys: keyring(t, token)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(a)
	defer server.Close()
	client := server.Client()
	defer client.CloseIdleConnections()
	res, err := client.Post(server.URL+"/session", "application/json; charset=utf-8", strings.NewReader(`{"token":"`+token+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	cookie := res.Cookies()[0]
	if cookie.Name != "__Host-midspan-18080" || !cookie.Secure {
		t.Fatalf("cookie %+v", cookie)
	}
	r, _ := http.NewRequest(http.MethodGet, server.URL+"/activity/all", nil)
	r.AddCookie(cookie)
	if res, err = client.Do(r); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	res.Body.Close()
}

func TestBadSignIns(t *testing.T) {
	w := newWorld(t, locked)
	for _, tt := range []struct {
		body, kind string
		want       int
	}{
		{`{"token":"` + token + `"}`, "text/plain", 415},
		{`{"token":"` + token + `"}`, "", 415},
		{`token=` + token, "application/x-www-form-urlencoded", 415},
		{`{"token":"` + token + `","more":1}`, "application/json", 400},
		{`{"token":"` + token + `"} {}`, "application/json", 400},
		{`{"token":7}`, "application/json", 400},
		{`{"token":""}`, "application/json", 400},
		{`[`, "application/json", 400},
		{``, "application/json", 400},
		{`{"token":"` + strings.Repeat("x", maxSessionBody) + `"}`, "application/json", 400},
		{`{"token":"wrong"}`, "application/json", 401},
	} {
		status, header, body := w.do(t, http.MethodPost, "/session", tt.body, "Content-Type", tt.kind)
		if status != tt.want || header.Get("Set-Cookie") != "" {
			t.Errorf("%.40s: %d, want %d: %s", tt.body, status, tt.want, body)
		}
		if status == 401 && header.Get("WWW-Authenticate") != challenge {
			t.Errorf("%v", header)
		}
	}
}

// admits reports whether a cookie of this value opens a session.
func (s *sessions) admits(value string) bool {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: s.cookie, Value: value})
	_, ok := s.authorized(httptest.NewRecorder(), r)
	return ok
}

func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(Config{Listen: DefaultListen, Keys: keyring(t, token), MaxSessions: 3, SessionIdle: time.Hour})
		start := func() string { return s.start(token).ticket().String() }
		used, unused := start(), start()
		time.Sleep(40 * time.Minute)
		if !s.admits(used) {
			t.Error("ended before its time")
		}
		time.Sleep(40 * time.Minute)
		if !s.admits(used) || s.admits(unused) {
			t.Error("use must keep a session, and disuse end it")
		}
		first := start()
		time.Sleep(time.Second)
		second := start()
		time.Sleep(time.Second)
		s.admits(used)
		third := start() // one too many: the one unused for longest goes
		for value, want := range map[string]bool{used: true, first: false, second: true, third: true} {
			if s.admits(value) != want {
				t.Errorf("session held: %v, want %v", !want, want)
			}
		}
		if n := s.displaced.Load(); n != 1 {
			t.Errorf("%d sessions made room", n)
		}
		if len(s.held) != 3 {
			t.Errorf("%d sessions are held", len(s.held))
		}
	})
}

func TestExpiredSessionEndsItsStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newPipeWorld(t, func(c *Config, i *index.Config) {
			locked(c, i)
			c.SessionIdle = pingEvery / 2 // less than a stream takes to renew it
		})
		c := w.dial("?hello=1", "Cookie", w.api.sessions.cookie+"="+w.api.sessions.start(token).ticket().String())
		c.want("hello 0")
		if code, _ := c.closed(); code != websocket.ClosePolicyViolation {
			t.Errorf("code %d", code)
		}
		c.conn.Close()
		w.stop()
	})
}

func TestSignInsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions(Config{Listen: DefaultListen, Keys: keyring(t, token)})
		for i := range loginBurst {
			if !s.attempt("a") {
				t.Fatalf("attempt %d is refused", i)
			}
		}
		if s.attempt("a") {
			t.Error("one more is allowed")
		}
		if !s.attempt("b") {
			t.Error("another address is refused")
		}
		time.Sleep(loginEvery)
		if !s.attempt("a") || s.attempt("a") {
			t.Error("one is allowed each while")
		}
		s.forgive("a")
		if !s.attempt("a") {
			t.Error("who knew the token is refused")
		}
		// Memory is bounded: beyond that many, newcomers share.
		for i := range 2 * maxAddresses {
			s.attempt(fmt.Sprint(i))
		}
		if len(s.logins) > maxAddresses+1 {
			t.Errorf("%d addresses are remembered", len(s.logins))
		}
		if s.attempt("newcomer") {
			t.Error("a newcomer is allowed among so many")
		}
		time.Sleep(loginBurst * loginEvery)
		if !s.attempt("later") || len(s.logins) > 1 {
			t.Errorf("%d addresses are still remembered", len(s.logins))
		}
	})
}

func TestAddressOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234":          "192.0.2.7",
		"[::ffff:192.0.2.7]:1234": "192.0.2.7",
		"[2001:db8::1:2:3:4]:1":   "2001:db8::/64",
		"[fe80::1%eth0]:1":        "fe80::/64",
		"@":                       "?",
	} {
		if got := addressOf(&http.Request{RemoteAddr: remote}); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
