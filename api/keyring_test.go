package api

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/index"
)

func TestScope(t *testing.T) {
	for _, tt := range []struct {
		text              string
		read, send, admin bool
	}{
		{"read", true, false, false}, {"ingest", false, true, false}, {"read,ingest", true, true, false}, {"admin", true, true, true},
	} {
		s, err := ParseScope(tt.text)
		if err != nil || s.String() != tt.text || s.Has(ScopeRead) != tt.read || s.Has(ScopeIngest) != tt.send || s.Has(ScopeAdmin) != tt.admin {
			t.Errorf("%s: %v %v", tt.text, s, err)
		}
	}
	for _, text := range []string{"", "write", "read,", "Read"} {
		if s, err := ParseScope(text); !errors.Is(err, errNoScope) {
			t.Errorf("%q: %v", text, s)
		}
	}
}

func TestKeyringErrors(t *testing.T) {
	many := func(n int) (grants []Grant) {
		for i := range n {
			grants = append(grants, Grant{fmt.Sprint(i), Token(fmt.Sprintf("%016d", i)), ScopeRead})
		}
		return grants
	}
	for _, tt := range []struct {
		name   string
		grants []Grant
		want   string // empty for none
	}{
		{"none", nil, "there is no token"},
		{"at the most", many(MaxGrants), ""},
		{"beyond", many(MaxGrants + 1), "there are 1001 tokens: give at most 1000"},
		{"no scope", []Grant{{"a", token, 0}}, `"a" has no scope`},
		{"an unknown scope", []Grant{{"a", token, 8}}, `"a" has no scope`},
		{"empty", []Grant{{"a", "", ScopeRead}}, "openssl rand"},
		{"a space", []Grant{{"a", token + " ", ScopeRead}}, "openssl rand"},
		{"a line break", []Grant{{"a", "a\nb", ScopeRead}}, "letters and digits"},
		{"at the longest", []Grant{{"a", Token(strings.Repeat("x", MaxTokenLen)), ScopeRead}}, ""},
		{"too long", []Grant{{"a", Token(strings.Repeat("x", MaxTokenLen+1)), ScopeRead}}, "has 1025 bytes: give at most 1024"},
		{"a name twice", []Grant{{"a", token, ScopeRead}, {"a", token + "2", ScopeRead}}, `two tokens have the name "a"`},
		{"a token twice", []Grant{{"a", token, ScopeRead}, {"b", token, ScopeRead}}, `"a" and "b" are the same token`},
	} {
		_, err := NewKeyring(tt.grants...)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), token)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestGrants(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	for _, tt := range []struct {
		name, text string
		want       string // the grants, or the error
	}{
		{"one", token + "\n", "[line 1:" + token + ":admin]"},
		{"some", "# ours\n\n" + token + "\ngrafana  read\tR\r\n  collector ingest I\nci read,ingest X", "[line 3:" + token + ":admin grafana:R:read collector:I:ingest ci:X:read,ingest]"},
		{"none", "# nothing\n", "holds no token: write one"},
		{"two fields", token + " read\n", "line 1: write a token alone, or a name, scopes and a token"},
		{"four fields", "a read " + token + " b\n", "line 1: write a token alone"},
		{"no scope", "\na write " + token + "\n", "line 2: its second word is not a scope: give read, ingest or admin"},
		{"the token in its place", "a read," + token + " b", "line 1: its second word is not a scope"},
		{"name", `"a" read ` + token, "line 1: the name is of at most 64 letters"},
		{"long name", strings.Repeat("a", MaxGrantName+1) + " read " + token, "line 1: the name is of at most 64 letters"},
		{"large", strings.Repeat("#", maxKeyringFile+1), "is larger than 262144 bytes"},
	} {
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		grants, err := ReadGrants(file)
		var got []string
		for _, g := range grants {
			got = append(got, g.Name+":"+string(g.Token)+":"+g.Scope.String())
		}
		if err != nil && (!strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), token)) || err == nil && fmt.Sprint(got) != tt.want {
			t.Errorf("%s: %v %v, want %s", tt.name, got, err, tt.want)
		}
	}
	if _, err := OpenKeyring(file+".none", slog.Default()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// What a request may do is its token's scope, and what the dashboard's session
// may is to read.
func TestScopes(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *index.Config) {
		c.Keys = must(NewKeyring(Grant{"reader", "reads-0123456789", ScopeRead}, Grant{"sender", "sends-0123456789", ScopeIngest}, Grant{"admin", "rules-0123456789", ScopeAdmin}))
	})
	for _, tt := range []struct {
		token string
		want  int
	}{
		{"reads-0123456789", 200}, {"sends-0123456789", 403}, {"rules-0123456789", 200}, {"other-0123456789", 401}, {"", 401},
	} {
		var headers []string
		if tt.token != "" {
			headers = []string{"Authorization", "Bearer " + tt.token}
		}
		for _, path := range []string{"/activity/all", "/activity/stream?hello=1", "/metrics", "/openapi.json"} {
			if path == "/activity/stream?hello=1" && tt.want == 200 {
				continue // it does not end
			}
			status, header, body := w.get(t, path, headers...)
			if status != tt.want {
				t.Errorf("%s with %q: %d, want %d: %s", path, tt.token, status, tt.want, body)
			}
			if challenged := header.Get("WWW-Authenticate"); (status != 200) != strings.HasPrefix(challenged, challenge) || (status == 403) != strings.Contains(challenged, `error="insufficient_scope", scope="read"`) {
				t.Errorf("%s with %q: challenge %q", path, tt.token, challenged)
			}
			if status == 403 && !strings.Contains(body, `the token \"sender\" has the scope ingest: this needs read`) {
				t.Errorf("%s: %s", path, body)
			}
		}
		if tt.token == "" {
			continue
		}
		status, header, body := w.do(t, http.MethodPost, "/session", `{"token":"`+tt.token+`"}`, "Content-Type", "application/json")
		cookie, _ := http.ParseSetCookie(header.Get("Set-Cookie"))
		if tt.want != 200 {
			if status != tt.want || cookie != nil {
				t.Errorf("sign-in with %q: %d %v %s", tt.token, status, cookie, body)
			}
			continue
		}
		if status, _, _ := w.get(t, "/activity/all", "Cookie", cookie.Name+"="+cookie.Value); status != 200 {
			t.Errorf("session of %q: %d", tt.token, status)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.AddCookie(cookie)
		if grant, ok := w.api.sessions.authorized(httptest.NewRecorder(), r); !ok || grant.Scope != ScopeRead {
			t.Errorf("session of %q: %+v", tt.token, grant)
		}
	}
}

// A token that is taken from the file admits no longer, and ends what it began;
// a broken file changes nothing.
func TestKeyringReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		write("a read first-0123456789\nb read second-0123456789\n")
		keys, err := OpenKeyring(file, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		w := newPipeWorld(t, func(c *Config, _ *index.Config) { c.Keys = keys })
		byBearer := w.dial("?hello=1", "Authorization", "Bearer first-0123456789")
		byCookie := w.dial("?hello=1", "Cookie", w.api.sessions.cookie+"="+w.api.sessions.start("first-0123456789").ticket().String())
		stays := w.dial("?hello=1", "Authorization", "Bearer second-0123456789")
		for _, c := range []*client{byBearer, byCookie, stays} {
			c.want("hello 0")
		}
		admits := func(want ...string) {
			t.Helper()
			var got []string
			for _, token := range []string{"first-0123456789", "second-0123456789", "third-0123456789"} {
				if g, ok := keys.Grant(token); ok {
					got = append(got, g.Name)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v are admitted, want %v", got, want)
			}
		}
		write("b read second-0123456789\nc read third-0123456789\n")
		admits("a", "b") // until it looks again
		time.Sleep(tokensEvery)
		admits("b", "c")
		for _, broken := range []string{"", "b write second-0123456789\n"} {
			write(broken)
			for range 3 {
				time.Sleep(tokensEvery)
				admits("b", "c")
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(tokensEvery)
		admits("b", "c")
		if n := strings.Count(log.String(), "the last good tokens admit on"); n != 3 || strings.Contains(log.String(), "0123456789") {
			t.Errorf("%d warnings, want one for each fault, without a token: %s", n, &log)
		}
		for _, c := range []*client{byBearer, byCookie} {
			if code, reason := c.closed(); code != websocket.ClosePolicyViolation || reason != "signed out" {
				t.Errorf("its stream: %d %q", code, reason)
			}
		}
		flood(w.Index, 0, 1)
		stays.want("started 1 work 0")
		for _, c := range []*client{byBearer, byCookie, stays} {
			c.conn.Close()
		}
		w.stop()
	})
}
