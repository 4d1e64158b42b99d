package api

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/index"
)

// visit is a request as it comes to the door.
type visit struct {
	name    string
	listen  string // the default when empty
	allow   string // a host allowed beside
	local   string // address that the connection came in by
	tls     bool
	token   bool   // the server has one
	method  string // GET when empty
	path    string // /activity/all when empty
	host    string // localhost:18080 when empty, none when "-"
	origin  string
	site    string // Sec-Fetch-Site
	nav     string // Sec-Fetch-Dest of a navigation
	bearer  string
	session string // "live", "forged", "ended"
	want    int
}

const (
	lan      = "192.168.1.5:18080"
	anywhere = "0.0.0.0:18080"
	monitor  = "/monitor/"
)

// reader is a token that may only read.
const reader = "a-token-that-only-reads"

var visits = []visit{
	// Host, on loopback without a token.
	{name: "localhost", want: 200},
	{name: "127.0.0.1", host: "127.0.0.1:18080", want: 200},
	{name: "all of 127/8", host: "127.1.2.3:18080", want: 200},
	{name: "IPv6 loopback", host: "[::1]:18080", want: 200},
	{name: "IPv6 loopback in full", host: "[0:0:0:0:0:0:0:1]:18080", want: 200},
	{name: "IPv4 in IPv6", host: "[::ffff:127.0.0.1]:18080", want: 200},
	{name: "upper case", host: "LOCALHOST:18080", want: 200},
	{name: "last dot", host: "localhost.:18080", want: 200},
	{name: "no port", host: "localhost", want: 200},
	{name: "a forwarded port", host: "localhost:8080", want: 200},
	{name: "rebound name", host: "evil.example:18080", want: 421},
	{name: "rebound name on our port", host: "evil.example", want: 421},
	{name: "looks like localhost", host: "localhost.evil.example:18080", want: 421},
	{name: "ends like localhost", host: "evil-localhost:18080", want: 421},
	{name: "below localhost", host: "evil.localhost:18080", want: 421},
	{name: "looks like 127.0.0.1", host: "127.0.0.1.evil.example", want: 421},
	{name: "decimal address", host: "2130706433:18080", want: 421},
	{name: "any address", host: "0.0.0.0:18080", want: 421},
	{name: "another machine's address", host: "192.168.1.5:18080", want: 421},
	{name: "user in host", host: "localhost@evil.example", want: 421},
	{name: "two ports", host: "localhost:18080:80", want: 421},
	{name: "port is no number", host: "localhost:http", want: 421},
	{name: "empty port", host: "localhost:", want: 421},
	{name: "space in host", host: "localhost evil.example", want: 421},
	{name: "zone", host: "[::1%25lo]:18080", want: 421},
	{name: "bracket not closed", host: "[::1:18080", want: 421},
	{name: "no host", host: "-", want: 421},

	// Host, beyond loopback.
	{name: "listen address", listen: lan, token: true, bearer: token, host: lan, want: 200},
	{name: "listen address, other port", listen: lan, token: true, bearer: token, host: "192.168.1.5", want: 200},
	{name: "localhost stays allowed", listen: lan, token: true, bearer: token, want: 200},
	{name: "other address of the net", listen: lan, token: true, bearer: token, host: "192.168.1.6:18080", want: 421},
	{name: "any, by the address it came to", listen: anywhere, local: lan, token: true, bearer: token, host: lan, want: 200},
	{name: "any, IPv6", listen: "[::]:18080", local: "[fd00::5]:18080", token: true, bearer: token, host: "[fd00::5]:18080", want: 200},
	{name: "any, by another address", listen: anywhere, local: lan, token: true, bearer: token, host: "10.0.0.1:18080", want: 421},
	{name: "any, by a name", listen: anywhere, local: lan, token: true, bearer: token, host: "evil.example:18080", want: 421},
	{name: "any, by 0.0.0.0", listen: anywhere, local: lan, token: true, bearer: token, host: anywhere, want: 421},
	{name: "allowed name", listen: anywhere, allow: "box.lan", token: true, bearer: token, host: "box.lan:9", want: 200},
	{name: "allowed name in any case", listen: anywhere, allow: "Box.lan", token: true, bearer: token, host: "bOX.lan", want: 200},
	{name: "allowed name and port", listen: anywhere, allow: "box.lan:443", token: true, bearer: token, host: "box.lan:443", want: 200},
	{name: "allowed name, other port", listen: anywhere, allow: "box.lan:443", token: true, bearer: token, host: "box.lan:80", want: 421},
	{name: "below an allowed name", listen: anywhere, allow: "box.lan", token: true, bearer: token, host: "evil.box.lan", want: 421},

	// Origin.
	{name: "own page", origin: "http://localhost:18080", want: 200},
	{name: "own page by IPv6", host: "[::1]:18080", origin: "http://[::1]:18080", want: 200},
	{name: "own page on the scheme's port", host: "localhost", origin: "http://localhost", want: 200},
	{name: "own page, port said by one", host: "localhost:80", origin: "http://localhost", want: 200},
	{name: "own page behind a TLS proxy", host: "localhost:443", origin: "https://localhost", want: 200},
	{name: "other port of this machine", origin: "http://localhost:3000", want: 403},
	{name: "other name of this machine", origin: "http://127.0.0.1:18080", want: 403},
	{name: "foreign page", origin: "http://evil.example", want: 403},
	{name: "foreign page on our port", origin: "http://evil.example:18080", want: 403},
	{name: "rebound page", host: "evil.example:18080", origin: "http://evil.example:18080", want: 421},
	{name: "null", origin: "null", want: 403},
	{name: "file", origin: "file://", want: 403},
	{name: "extension", origin: "chrome-extension://localhost:18080", want: 403},
	{name: "origin with a path", origin: "http://localhost:18080/x", want: 403},
	{name: "origin with a user", origin: "http://evil@localhost:18080", want: 403},
	{name: "origin without a scheme", origin: "localhost:18080", want: 403},
	{name: "two origins in one", origin: "http://localhost:18080, http://evil.example", want: 403},
	{name: "origin that goes on", origin: "http://localhost:18080.evil.example", want: 403},
	{name: "plain page of a TLS server", tls: true, origin: "http://localhost:18080", want: 403},
	{name: "TLS page of a TLS server", tls: true, origin: "https://localhost:18080", want: 200},
	{name: "allowed name behind a proxy", allow: "midspan.example", origin: "https://midspan.example", want: 200},
	{name: "allowed name, other port of it", allow: "midspan.example", origin: "https://midspan.example:8443", want: 403},
	{name: "a token does not help a foreign page", token: true, bearer: token, origin: "http://evil.example", want: 403},
	{name: "a session does not help a foreign page", token: true, session: "live", origin: "http://evil.example", want: 403},

	// Sec-Fetch-Site.
	{name: "same-origin", site: "same-origin", origin: "http://localhost:18080", want: 200},
	{name: "typed", site: "none", want: 200},
	{name: "image of another site", site: "cross-site", want: 403},
	{name: "image of another port", site: "same-site", want: 403},
	{name: "unknown site", site: "sometimes", want: 403},
	{name: "link from another site to data", site: "cross-site", nav: "document", want: 403},
	{name: "link from another site to the page", path: monitor, site: "cross-site", nav: "document", want: 200},
	{name: "link from Jaeger to the page", path: monitor, site: "same-site", nav: "document", want: 200},
	{name: "page in a frame", path: monitor, site: "cross-site", nav: "iframe", want: 403},
	{name: "script of the page elsewhere", path: monitor + "app.js", site: "cross-site", want: 403},
	{name: "foreign page fetches the page", path: monitor, origin: "http://evil.example", site: "cross-site", want: 403},

	// Token and session.
	{name: "token wanted", token: true, want: 401},
	{name: "right token", token: true, bearer: token, want: 200},
	{name: "wrong token", token: true, bearer: token + "x", want: 401},
	{name: "a part of the token", token: true, bearer: token[:8], want: 401},
	{name: "empty token", token: true, bearer: " ", want: 401},
	{name: "session", token: true, session: "live", want: 200},
	{name: "forged session", token: true, session: "forged", want: 401},
	{name: "session that was ended", token: true, session: "ended", want: 401},
	{name: "session beside a wrong token", token: true, session: "live", bearer: "wrong", want: 401},
	{name: "plain cookie over TLS", token: true, tls: true, session: "live", want: 401},
	{name: "right token, rebound name", token: true, bearer: token, host: "evil.example", want: 421},
	{name: "page without a token", token: true, path: monitor, want: 200},
	{name: "page's files without a token", token: true, path: monitor + "app.js", want: 200},
	{name: "no way around the page", token: true, path: monitor + "..%2factivity/all", want: 200}, // the dashboard's, whatever it makes of it
	{name: "root without a token", token: true, path: "/", want: 302},
	{name: "openapi without a token", token: true, path: "/openapi.json", want: 401},
	{name: "unknown path without a token", token: true, path: "/nothing", want: 401},
	{name: "profiles without a token", token: true, path: "/debug/pprof/", want: 401},
	{name: "profiles with the scope admin", token: true, bearer: token, path: "/debug/pprof/", want: 200},
	{name: "profiles with the scope read", token: true, bearer: reader, path: "/debug/pprof/", want: 403},
	{name: "profiles with the scope read, written otherwise", token: true, bearer: reader, path: "/%64ebug/pprof/", want: 403},
	{name: "profiles by a session", token: true, session: "live", path: "/debug/pprof/", want: 403},
	{name: "profiles of a server without tokens", path: "/debug/pprof/", want: 404},
	{name: "double slash is no way around", token: true, path: "//monitor/", want: 401},

	// Probes.
	{name: "health by any name", token: true, path: "/healthz", host: "10.1.2.3:18080", want: 200},
	{name: "readiness by any name", token: true, path: "/readyz", host: "midspan.default.svc", want: 200},
	{name: "metrics by any name", path: "/metrics", host: "midspan.default.svc", want: 200},
	{name: "metrics want the token", token: true, path: "/metrics", host: "midspan.default.svc", want: 401},
	{name: "metrics with the token", token: true, bearer: token, path: "/metrics", host: "midspan.default.svc", want: 200},
	{name: "health by a foreign page", path: "/healthz", origin: "http://evil.example", want: 403},
	{name: "health-like path", path: "/healthz/", host: "evil.example", want: 421},

	// Signing in.
	{name: "sign in", token: true, method: "POST", path: "/session", want: 204},
	{name: "sign in from the page", token: true, method: "POST", path: "/session", origin: "http://localhost:18080", site: "same-origin", want: 204},
	{name: "sign in from a foreign page", token: true, method: "POST", path: "/session", origin: "http://evil.example", site: "cross-site", want: 403},
	{name: "sign in from another port", token: true, method: "POST", path: "/session", site: "same-site", want: 403},
	{name: "sign in of no page", token: true, method: "POST", path: "/session", site: "none", want: 403},
	{name: "sign in by a form in a window", token: true, method: "POST", path: "/session", site: "cross-site", nav: "document", want: 403},
	{name: "sign in by a rebound name", token: true, method: "POST", path: "/session", host: "evil.example", want: 421},
	{name: "sign out", token: true, method: "DELETE", path: "/session", session: "live", want: 204},
	{name: "sign out from a foreign page", token: true, method: "DELETE", path: "/session", session: "live", origin: "http://evil.example", want: 403},
}

// A refusal says what to do about it, and not what was done already.
func TestRefusalsSayWhy(t *testing.T) {
	for _, tt := range []struct {
		visit
		why string
	}{
		{visit{token: true}, "send a token as"},
		{visit{token: true, bearer: "wrong"}, "does not know the token"},
		{visit{host: "evil.example"}, "--allow-host, in a Go program with Config.AllowHosts"},
	} {
		tt.defaults()
		r := httptest.NewRequest(http.MethodGet, "/activity/all", nil)
		a := tt.api(t)
		r.Host, r.Header = tt.host, tt.header(a)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), tt.why) {
			t.Errorf("%+v: %s", tt.visit, w.Body)
		}
	}
}

// api makes the server that the visit comes to.
func (v *visit) api(t *testing.T) *API {
	t.Helper()
	cfg := Config{Reader: index.New(index.Config{}), Listen: v.listen}
	if v.allow != "" {
		cfg.AllowHosts = []string{v.allow}
	}
	if v.token {
		cfg.Keys = must(NewKeyring(
			Grant{"another", "another-token-of-this-server", ScopeAdmin}, Grant{"ours", token, ScopeAdmin}, Grant{"reader", reader, ScopeRead},
		))
	}
	cfg.Dashboard = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	cfg.Debug = cfg.Dashboard
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// header returns what the visit sends beside its Host.
func (v *visit) header(a *API) http.Header {
	h := http.Header{}
	set := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	set("Origin", v.origin)
	set("Sec-Fetch-Site", v.site)
	if v.nav != "" {
		h.Set("Sec-Fetch-Mode", "navigate")
		h.Set("Sec-Fetch-Dest", v.nav)
	}
	if v.bearer != "" {
		h.Set("Authorization", "Bearer "+v.bearer)
	}
	if v.session != "" {
		value := a.sessions.start(token).ticket().String()
		switch v.session {
		case "forged":
			value += "x"
		case "ended":
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.AddCookie(&http.Cookie{Name: a.sessions.cookie, Value: value})
			a.sessions.end(a.sessions.grant(r))
		}
		h.Set("Cookie", a.sessions.cookie+"="+value)
	}
	return h
}

func (v *visit) defaults() {
	if v.method == "" {
		v.method = http.MethodGet
	}
	if v.path == "" {
		v.path = "/activity/all"
	}
	switch v.host {
	case "":
		v.host = "localhost:18080"
	case "-":
		v.host = ""
	}
}

func TestDoor(t *testing.T) {
	if len(visits) < 60 {
		t.Fatalf("%d combinations, want at least 60", len(visits))
	}
	for _, v := range visits {
		t.Run(v.name, func(t *testing.T) {
			v.defaults()
			a := v.api(t)
			body := ""
			if v.method == http.MethodPost {
				body = `{"token":"` + token + `"}`
			}
			r := httptest.NewRequest(v.method, v.path, strings.NewReader(body))
			r.Header = v.header(a)
			r.Header.Set("Content-Type", "application/json")
			r.Host = v.host
			if v.tls {
				r.TLS = &tls.ConnectionState{}
			}
			if v.local != "" {
				r = r.WithContext(localAddr(r.Context(), v.local))
			}
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			if w.Code != v.want {
				t.Errorf("status %d, want %d: %s", w.Code, v.want, w.Body)
			}
			h := w.Result().Header
			for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"} {
				if got := h.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
				t.Errorf("Content-Security-Policy: %q", h.Get("Content-Security-Policy"))
			}
			for name := range h {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s: %q", name, h.Get(name))
				}
			}
			if w.Code == http.StatusUnauthorized && h.Get("WWW-Authenticate") != challenge {
				t.Errorf("WWW-Authenticate: %q", h.Get("WWW-Authenticate"))
			}
			if w.Code >= 400 && h.Get("Content-Type") != "application/problem+json" {
				t.Errorf("Content-Type: %q", h.Get("Content-Type"))
			}
		})
	}
}

func localAddr(ctx context.Context, address string) context.Context {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		panic(err)
	}
	return context.WithValue(ctx, http.LocalAddrContextKey, addr)
}

// TestDoorOfStreams makes every visit to the lists again as a WebSocket.
func TestDoorOfStreams(t *testing.T) {
	for _, v := range visits {
		if v.path != "" || v.method != "" || v.host == "-" || strings.ContainsAny(v.host, " %") {
			continue // Go's client does not send such a Host
		}
		t.Run(v.name, func(t *testing.T) {
			v.defaults()
			a := v.api(t)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if v.local != "" {
					r = r.WithContext(localAddr(r.Context(), v.local))
				}
				if v.tls {
					r.TLS = &tls.ConnectionState{}
				}
				a.ServeHTTP(w, r)
			}))
			defer server.Close()
			defer a.Shutdown(t.Context())
			header := v.header(a)
			header.Set("Host", v.host)
			conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/activity/stream", header)
			if conn != nil {
				defer conn.Close()
			}
			if res == nil {
				t.Fatal(err)
			}
			want := v.want
			if want == http.StatusOK {
				want = http.StatusSwitchingProtocols
			}
			// net/http itself answers some of what is no host at all.
			if got := res.StatusCode; got != want && !(want == 421 && got == http.StatusBadRequest) {
				t.Errorf("status %d, want %d", got, want)
			}
		})
	}
}

func TestDoorRepeatedHeaders(t *testing.T) {
	a := (&visit{}).api(t)
	for _, name := range []string{"Origin", "Sec-Fetch-Site"} {
		r := httptest.NewRequest(http.MethodGet, "/activity/all", nil)
		r.Host = "localhost:18080"
		value := map[string]string{"Origin": "http://localhost:18080", "Sec-Fetch-Site": "same-origin"}[name]
		r.Header[name] = []string{value, value}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != http.StatusForbidden {
			t.Errorf("two %s: status %d, want 403", name, w.Code)
		}
	}
}
