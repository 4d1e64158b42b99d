package api

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"github.com/midspan/midspan/index"
)

// process returns the sessions of a server that was just started.
func process(keys *Keyring) *sessions {
	return newSessions(Config{Listen: DefaultListen, Keys: keys, MaxSessions: 2, SessionIdle: time.Hour})
}

// ticketIssued returns a ticket of another moment.
func (of *session) ticketIssued(at time.Time) ticket {
	t := of.ticket()
	binary.BigEndian.PutUint64(t[idEnd:], uint64(at.UnixNano()))
	copy(t[timeEnd:], of.seal.mac(t[:timeEnd]))
	return t
}

// A session goes on at a server that was started since, for lists and streams,
// and is signed out there.
func TestSessionSurvivesARestart(t *testing.T) {
	cookie := newWorld(t, locked).signIn(t)
	w := newWorld(t, locked)
	stream := w.dial(t, "?hello=1", "Cookie", cookie)
	stream.want("hello 0")
	if status, _, _ := w.get(t, "/activity/all", "Cookie", cookie); status != http.StatusOK {
		t.Errorf("with the cookie: %d", status)
	}
	if status, _, _ := w.do(t, http.MethodDelete, "/session", "", "Cookie", cookie); status != http.StatusNoContent {
		t.Errorf("sign out: %d", status)
	}
	if code, reason := stream.closed(); code != websocket.ClosePolicyViolation || reason != "signed out" {
		t.Errorf("its stream: %d %q", code, reason)
	}
	if status, _, _ := w.get(t, "/activity/all", "Cookie", cookie); status != http.StatusUnauthorized {
		t.Errorf("after signing out: %d", status)
	}

	// One whose first request is to sign out is not taken back either.
	w = newWorld(t, locked)
	w.do(t, http.MethodDelete, "/session", "", "Cookie", cookie)
	if status, _, _ := w.get(t, "/activity/all", "Cookie", cookie); status != http.StatusUnauthorized {
		t.Errorf("after signing out at once: %d", status)
	}
}

func TestTicketAfterARestart(t *testing.T) {
	const short = "too-short-token"
	for _, tt := range []struct {
		name  string
		token Token         // of the session; the tests' own when empty
		after []Grant       // the tokens after the restart; as before when nil
		age   time.Duration // of the ticket
		want  bool
	}{
		{name: "the same token", want: true},
		{name: "another name and more tokens", after: []Grant{{"a", "another-0123456789", ScopeRead}, {"b", token, ScopeRead}, {"c", "third-0123456789", ScopeAdmin}}, want: true},
		{name: "the token is gone", after: []Grant{{"a", "another-0123456789", ScopeAdmin}}},
		{name: "the token is longer", after: []Grant{{"a", token + "x", ScopeAdmin}}},
		{name: "the token may no longer read", after: []Grant{{"a", token, ScopeIngest}, {"b", "another-0123456789", ScopeRead}}},
		{name: "a token that can be guessed", token: short},
		{name: "just not too old", age: time.Hour - 1, want: true},
		{name: "too old", age: time.Hour},
		{name: "from a clock that was ahead", age: -clockSkew, want: true},
		{name: "from the future", age: -clockSkew - 1},
		{name: "from long ago", age: 1<<63 - 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tt.token == "" {
					tt.token = token
				}
				before := []Grant{{"a", tt.token, ScopeAdmin}}
				if tt.after == nil {
					tt.after = before
				}
				of := process(must(NewKeyring(before...))).start(string(tt.token))
				s := process(must(NewKeyring(tt.after...)))
				if got := s.admits(of.ticketIssued(time.Now().Add(-tt.age)).String()); got != tt.want {
					t.Errorf("admitted: %v", got)
				}
				if len(s.held) > 0 != tt.want {
					t.Errorf("%d sessions are held", len(s.held))
				}
			})
		})
	}
}

func TestForgedTickets(t *testing.T) {
	keys := keyring(t, "another-0123456789", token)
	s := process(keys)
	good := s.start(token).ticket()
	forged := []string{
		"", "x", good.String()[1:], good.String() + "A", good.String() + "=", " " + good.String(),
		good.String()[:70] + "+/+/+", strings.Repeat("A", len(good.String())), strings.Repeat("A", 8<<10),
		(&session{id: good.id()}).ticket().String(),
		(&session{id: good.id(), seal: keys.sum(token)}).ticket().String(),
		(&session{id: good.id(), seal: sealOf("another-0123456789")}).ticket().String(), // authentic, but not of this session
	}
	for i := range good {
		bad := good
		bad[i] ^= 1
		forged = append(forged, bad.String())
	}
	last := good.String()
	forged = append(forged, last[:len(last)-1]+string(last[len(last)-1]+1)) // bits that nothing reads
	for _, value := range forged {
		if s.admits(value) {
			t.Errorf("%.80q is admitted", value)
		}
	}
	after := process(keyring(t, "third-0123456789", token))
	for _, value := range forged {
		if after.admits(value) {
			t.Errorf("%.80q is admitted after a restart", value)
		}
	}
	for _, s := range []*sessions{s, after} {
		if !s.admits(good.String()) || len(s.held) != 1 {
			t.Errorf("the ticket itself is refused, or %d sessions are held", len(s.held))
		}
	}
}

// sum is the plain hash of a token, which must seal nothing.
func (k *Keyring) sum(token string) seal {
	for _, key := range *k.keys.Load() {
		if key.seal == sealOf(token) {
			return key.sum
		}
	}
	panic("no such token")
}

// A session that ended does not come back while the process lives, whatever
// ended it and however many ended since.
func TestEndedSessionStaysEnded(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(s *sessions, of *session)
	}{
		{"signed out", func(s *sessions, of *session) { s.end(of) }},
		{"displaced", func(s *sessions, of *session) {
			time.Sleep(time.Second) // of is the older one
			s.start(token)
			s.start(token)
		}},
		{"its token was away", func(s *sessions, of *session) {
			grants := *s.keys.keys.Load()
			s.keys.keys.Store(&[]keyed{})
			s.touch(of)
			s.keys.keys.Store(&grants)
		}},
		{"signed out, and many since", func(s *sessions, of *session) {
			s.end(of)
			for range maxEnded + 1 {
				s.end(s.start(token))
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				keys := keyring(t, token)
				earlier := process(keys).start(token).ticket().String()
				time.Sleep(time.Second)
				for _, restarted := range []bool{false, true} {
					s := process(keys)
					of := s.start(token)
					value := of.ticket().String()
					if restarted {
						s = process(keys)
						of = s.find(of.ticket())
					}
					tt.end(s, of)
					select {
					case <-of.done:
					default:
						t.Error("it has not ended")
					}
					if s.admits(value) || s.admits(of.ticket().String()) {
						t.Errorf("restarted: %v: it came back", restarted)
					}
					if len(s.ended) > maxEnded {
						t.Errorf("%d ids are remembered", len(s.ended))
					}
					if want := s.since.IsZero(); s.admits(earlier) != want {
						t.Errorf("one from before this process: %v, want %v", !want, want)
					}
					if !s.admits(s.start(token).ticket().String()) {
						t.Error("a new one is refused")
					}
					if !process(keys).admits(value) {
						t.Error("another process can't know")
					}
				}
			})
		})
	}
}

// Sessions that come back displace others as those that begin do.
func TestReturningSessionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := keyring(t, token)
		s := process(keys)
		var values []string
		for range 3 {
			values = append(values, process(keys).start(token).ticket().String())
		}
		for _, value := range values {
			if !s.admits(value) {
				t.Error("it does not come back")
			}
			time.Sleep(time.Second)
		}
		if s.admits(values[0]) || !s.admits(values[1]) || !s.admits(values[2]) || len(s.held) != 2 || s.displaced.Load() != 1 {
			t.Errorf("%d sessions are held, %d made room", len(s.held), s.displaced.Load())
		}
	})
}

func TestSessionReturnsConcurrentSafe(t *testing.T) {
	tokens := []Token{token}
	for i := range 200 { // so many that requests look for the right one at a time
		tokens = append(tokens, Token(fmt.Sprintf("%s-%d", token, i)))
	}
	keys := keyring(t, tokens...)
	ticket := process(keys).start(token).ticket()
	s := process(keys)
	found := make([]*session, 8)
	var all sync.WaitGroup
	for i := range found {
		all.Go(func() { found[i] = s.find(ticket) })
	}
	all.Wait()
	if found[0] == nil || len(slices.Compact(found)) != 1 || len(s.held) != 1 {
		t.Errorf("%v, of which %d are held", found, len(s.held))
	}
}

// An answer sets a cookie that has grown old again, of the same session, so that
// its age after a restart is about the time of disuse.
func TestCookieIsSetAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := func() *pipeWorld {
			return newPipeWorld(t, func(c *Config, i *index.Config) {
				locked(c, i)
				c.SessionIdle = 10 * time.Hour
			})
		}
		w := start()
		first := w.api.sessions.newCookie(httptest.NewRequest(http.MethodGet, "/", nil), w.api.sessions.start(token).ticket().String())
		ask := func(w *pipeWorld, with *http.Cookie) (int, []*http.Cookie) {
			t.Helper()
			res := w.get("/activity/all", "Cookie", with.Name+"="+with.Value)
			res.Body.Close()
			return res.StatusCode, res.Cookies()
		}
		time.Sleep(time.Hour - time.Second)
		if status, set := ask(w, first); status != http.StatusOK || len(set) != 0 {
			t.Errorf("%d %v, want no cookie so soon", status, set)
		}
		time.Sleep(time.Second)
		status, set := ask(w, first)
		if status != http.StatusOK || len(set) != 1 || set[0].Value == first.Value || set[0].Name != first.Name ||
			!set[0].HttpOnly || set[0].SameSite != http.SameSiteStrictMode || set[0].Path != "/" {
			t.Fatalf("%d %v, want the cookie again", status, set)
		}
		second := set[0]
		if status, set := ask(w, second); status != http.StatusOK || len(set) != 0 {
			t.Errorf("%d %v, want no cookie so soon", status, set)
		}
		dialer := websocket.Dialer{NetDialContext: w.pipes.dial}
		conn, res, err := dialer.Dial("ws://localhost:18080/activity/stream", http.Header{"Cookie": {first.Name + "=" + first.Value}})
		if err != nil || len(res.Cookies()) != 1 {
			t.Errorf("%v %v, want a stream that sets the cookie again", res, err)
		}
		conn.Close()
		w.stop()

		time.Sleep(9 * time.Hour)
		w = start()
		if status, _ := ask(w, first); status != http.StatusUnauthorized {
			t.Errorf("the first cookie after a restart: %d", status)
		}
		if status, set := ask(w, second); status != http.StatusOK || len(set) != 1 {
			t.Errorf("the second: %d %v", status, set)
		}
		w.stop()
	})
}
