package api

import (
	"crypto/sha256"
	"encoding/json"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	challenge      = `Bearer realm="midspan"`
	maxSessionBody = 4 << 10
	// A sign-in that fails is counted by address: loginBurst at once, then one
	// each loginEvery. Bearer tokens are not limited so: behind one address a
	// program with an old token would lock all others out, and a token of which
	// New does not warn is not guessed over HTTP.
	loginBurst   = 10
	loginEvery   = 6 * time.Second
	maxAddresses = 1000 // remembered at a time

	maxEnded = 10_000 // ids of ended sessions that are remembered
	// A cookie is set again once it is a tenth of SessionIdle old, so that its age
	// tells after a restart how long a session was not used, and not when it began.
	renewals = 10
	// clockSkew is how far in the future a cookie may have been set: before a
	// restart the clock may have been ahead.
	clockSkew = time.Minute
)

// sessions admits requests by token, and knows the browsers that have signed
// in. A session of which it does not know, since it began before a restart, goes
// on by the ticket in its cookie. One that ended here does not come back.
type sessions struct {
	keys   *Keyring // nil when everyone is admitted
	cookie string   // name; its port keeps servers on one host apart, which cookies don't
	max    int
	idle   time.Duration

	displaced atomic.Int64 // sessions that ended since there were too many

	mu     sync.Mutex // guards everything below
	held   map[sessionID]*session
	ended  map[sessionID]struct{} // at most maxEnded
	since  time.Time              // tickets from before it make no session: ended was full then
	logins map[string]*login      // failures by address
}

// session is a browser that has signed in, which may read. It ends with its
// token.
type session struct {
	id    sessionID
	token [sha256.Size]byte // hash
	seal  seal              // of the token
	used  time.Time
	done  chan struct{} // closed when it ends; nil for the bearer of a token
}

// login is a token bucket that was last filled at a time.
type login struct {
	left float64
	at   time.Time
}

func newSessions(cfg Config) *sessions {
	_, port, _ := net.SplitHostPort(cfg.Listen)
	s := &sessions{
		keys: cfg.Keys, cookie: "midspan-" + port, max: cfg.MaxSessions, idle: cfg.SessionIdle,
		held:   make(map[sessionID]*session),
		ended:  make(map[sessionID]struct{}),
		logins: make(map[string]*login),
	}
	return s
}

// bearer returns the token that a request carries, and false without one.
func bearer(r *http.Request) (token string, ok bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

// authorized returns what a request may by its token, or by the cookie of a
// session, which it sets again in time. A wrong token is not made good by a
// cookie.
func (s *sessions) authorized(w http.ResponseWriter, r *http.Request) (Grant, bool) {
	if len(r.Header.Values("Authorization")) > 0 {
		token, ok := bearer(r)
		if !ok {
			return Grant{}, false
		}
		return s.keys.Grant(token)
	}
	of := s.grant(r)
	if of == nil {
		return Grant{}, false
	}
	if t, ok := s.ticketIn(r); ok && time.Since(t.issued()) >= s.idle/renewals {
		s.setTicket(w, r, of)
	}
	return Grant{Scope: ScopeRead}, true
}

// mayRead reports whether a token, by its hash, still admits a reader.
func (s *sessions) mayRead(token [sha256.Size]byte) bool {
	grant, ok := s.keys.grantOf(token)
	return ok && grant.Scope.Has(ScopeRead)
}

// cookieName returns the cookie's name. Over TLS the browser itself sees to it
// that no other host and no plain connection sets it.
func (s *sessions) cookieName(r *http.Request) string {
	if r.TLS != nil {
		return "__Host-" + s.cookie
	}
	return s.cookie
}

func (s *sessions) newCookie(r *http.Request, value string) *http.Cookie {
	return &http.Cookie{
		Name: s.cookieName(r), Value: value, Path: "/",
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	}
}

// setTicket gives a browser a ticket of its session.
func (s *sessions) setTicket(w http.ResponseWriter, r *http.Request, of *session) {
	http.SetCookie(w, s.newCookie(r, of.ticket().String()))
}

// ticketIn returns the ticket in a request's cookie, and false without one.
func (s *sessions) ticketIn(r *http.Request) (ticket, bool) {
	cookie, err := r.Cookie(s.cookieName(r))
	if err != nil {
		return ticket{}, false
	}
	return parseTicket(cookie.Value)
}

// grant returns the session of a request, or nil. The bearer of a token has one
// that lasts as long as the token.
func (s *sessions) grant(r *http.Request) *session {
	if s.keys == nil {
		return nil
	}
	if r.Header.Get("Authorization") != "" {
		token, _ := bearer(r)
		return &session{token: sha256.Sum256([]byte(token))}
	}
	t, ok := s.ticketIn(r)
	if !ok {
		return nil
	}
	return s.find(t)
}

// find returns the session of a ticket, or nil. It begins anew when this process
// has never held it.
func (s *sessions) find(t ticket) *session {
	s.mu.Lock()
	of := s.held[t.id()]
	s.mu.Unlock()
	if of == nil {
		// Every token is tried, and nobody waits for it.
		key, ok := s.keys.sealer(t)
		if !ok {
			return nil
		}
		of = newSession(t.id(), key.sum, key.seal)
	} else if !t.sealed(of.seal) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch have := s.held[of.id]; {
	case have != nil:
		of = have // another request may have been first
	case s.mayReturn(t):
		s.hold(of)
	default:
		return nil
	}
	if !s.renew(of) {
		return nil
	}
	return of
}

// mayReturn reports whether a ticket of no session that is held may make one:
// it was set not too long ago, and the session did not end here. s.mu is held.
func (s *sessions) mayReturn(t ticket) bool {
	_, ended := s.ended[t.id()]
	age := time.Since(t.issued())
	return !ended && -clockSkew <= age && age < s.idle && t.issued().After(s.since)
}

// admitted returns the grant of a request that was admitted, and false when its
// session has ended since.
func (s *sessions) admitted(r *http.Request) (*session, bool) {
	grant := s.grant(r)
	return grant, grant != nil || s.keys == nil
}

// touch keeps a session that a stream uses, and reports whether it still holds.
func (s *sessions) touch(of *session) bool {
	if of.done == nil {
		return s.mayRead(of.token)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[of.id] == of && s.renew(of)
}

// renew is false for a session that has expired, which ends. s.mu is held.
func (s *sessions) renew(of *session) bool {
	now := time.Now()
	if now.Sub(of.used) >= s.idle || !s.mayRead(of.token) {
		s.drop(of)
		return false
	}
	of.used = now
	return true
}

// drop ends a session, for as long as the process lives. s.mu is held.
func (s *sessions) drop(of *session) {
	delete(s.held, of.id)
	close(of.done)
	if len(s.ended) >= maxEnded {
		// Those that are forgotten have no later ticket.
		s.since = time.Now().Add(clockSkew)
		clear(s.ended)
	}
	s.ended[of.id] = struct{}{}
}

// start makes a session by a token.
func (s *sessions) start(token string) *session {
	made := newSession(newSessionID(), sha256.Sum256([]byte(token)), sealOf(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold(made)
	return made
}

func newSession(id sessionID, token [sha256.Size]byte, seal seal) *session {
	return &session{id: id, token: token, seal: seal, used: time.Now(), done: make(chan struct{})}
}

// hold takes a session in; beyond the limit the one unused for longest ends. s.mu
// is held.
func (s *sessions) hold(made *session) {
	for len(s.held) >= s.max {
		var oldest *session
		for _, have := range s.held {
			if oldest == nil || have.used.Before(oldest.used) {
				oldest = have
			}
		}
		s.drop(oldest)
		s.displaced.Add(1)
	}
	s.held[made.id] = made
}

func (s *sessions) end(of *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[of.id] == of {
		s.drop(of)
	}
}

// attempt takes one sign-in from an address's allowance. It returns false when
// none is left; give puts one back.
func (s *sessions) attempt(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	l := s.logins[address]
	if l == nil {
		for other, have := range s.logins {
			if now.Sub(have.at) >= loginBurst*loginEvery {
				delete(s.logins, other)
			}
		}
		// When so many addresses guess at once, newcomers share one allowance.
		if len(s.logins) >= maxAddresses {
			address = ""
			l = s.logins[address]
		}
		if l == nil {
			l = &login{left: loginBurst, at: now}
			s.logins[address] = l
		}
	}
	l.left = min(loginBurst, l.left+now.Sub(l.at).Seconds()/loginEvery.Seconds())
	l.at = now
	if l.left < 1 {
		return false
	}
	l.left--
	return true
}

// forgive forgets the failures of an address that knew the token.
func (s *sessions) forgive(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.logins, address)
}

// addressOf returns what sign-ins are counted by: an IPv4 address, or the /64
// of an IPv6 one, of which a single machine has all.
func addressOf(r *http.Request) string {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "?"
	}
	addr := at.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return addr.String()
}

// session signs a browser in, by token, or out.
func (a *API) session(w http.ResponseWriter, r *http.Request) error {
	if err := a.params(r).finish(); err != nil {
		return err
	}
	if a.cfg.Keys == nil {
		return &problem{status: http.StatusNotFound, detail: "this server has no token, and needs no session"}
	}
	if r.Method == http.MethodDelete {
		if of := a.sessions.grant(r); of != nil {
			a.sessions.end(of)
		}
		cookie := a.sessions.newCookie(r, "")
		cookie.MaxAge = -1
		http.SetCookie(w, cookie)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	token, err := tokenIn(w, r)
	if err != nil {
		return err
	}
	address := addressOf(r)
	if !a.sessions.attempt(address) {
		return &problem{status: http.StatusTooManyRequests, retryAfter: int(loginEvery / time.Second), detail: "too many sign-ins failed; wait a little"}
	}
	grant, ok := a.cfg.Keys.Grant(token)
	if !ok {
		a.refused.Add(1)
		w.Header().Set("WWW-Authenticate", challenge)
		return &problem{status: http.StatusUnauthorized, parameter: "token", detail: "this is not the server's token"}
	}
	a.sessions.forgive(address)
	if !grant.Scope.Has(ScopeRead) {
		a.refused.Add(1)
		return forbidden(w, grant, ScopeRead)
	}
	a.sessions.setTicket(w, r, a.sessions.start(token))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// tokenIn reads {"token":"…"}. Only JSON will do: a form of another site can't send it.
func tokenIn(w http.ResponseWriter, r *http.Request) (string, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return "", &problem{status: http.StatusUnsupportedMediaType, detail: "send the token as application/json"}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Second))
	var body struct {
		Token string `json:"token"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSessionBody))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil || body.Token == "" || decoder.More() {
		return "", invalid("token", `is missing: send {"token":"…"} in at most %d bytes`, maxSessionBody)
	}
	return body.Token, nil
}
