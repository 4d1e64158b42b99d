package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"github.com/midspan/midspan/activity"
)

// writeTimeout is how long an ordinary answer may take to be read, once it
// begins. Exports and streams set deadlines of their own, write by write.
const writeTimeout = 30 * time.Second

// API is the handler of everything that the package serves. It is safe for
// concurrent use.
type API struct {
	cfg      Config
	door     *door
	sessions *sessions
	hub      *hub
	metrics  *metrics
	router   *mux.Router
	exports  chan struct{} // holds a value for each heavy request under way
	replays  chan struct{} // and for each replay
	patience time.Duration // countPatience, but in tests
	refused  atomic.Int64
	hits     struct{ streams, replays, exports atomic.Int64 } // of limits

	closing  chan struct{} // closed by Shutdown
	shutdown sync.Once
	streams  sync.WaitGroup

	mu     sync.Mutex // guards everything below, and additions to streams
	closed bool
	open   int // streams
	wires  map[wire]struct{}
}

// New returns an API, or an error that says what is wrong with the
// configuration. It starts nothing: a goroutine runs while there are streams.
func New(cfg Config) (*API, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &API{
		cfg:      cfg,
		door:     newDoor(cfg),
		sessions: newSessions(cfg),
		exports:  make(chan struct{}, cfg.MaxExports),
		replays:  make(chan struct{}, cfg.MaxReplays),
		patience: countPatience,
		closing:  make(chan struct{}),
		wires:    make(map[wire]struct{}),
	}
	a.hub = newHub(cfg, a.appendChange)
	if a.metrics, err = newMetrics(a); err != nil {
		return nil, err
	}
	if cfg.Keys != nil {
		for _, name := range cfg.Keys.guessable() {
			cfg.Logger.Warn("api: a token shorter than 16 characters can be guessed; make one with `openssl rand -hex 16`", slog.String("token", name))
		}
	}
	if cfg.Insecure && cfg.Keys == nil {
		cfg.Logger.Warn("api: everyone who reaches this address can read all activities", slog.String("listen", cfg.Listen))
	}
	a.router = a.routes()
	return a, nil
}

// handler answers a request, or returns the error to answer with; it must not
// have written anything then.
type handler func(w http.ResponseWriter, r *http.Request) error

func (a *API) routes() *mux.Router {
	// Encoded and not cleaned: a thread's id may hold any character, slashes
	// and dots too.
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	read := []string{http.MethodGet, http.MethodHead}
	handle := func(path string, methods []string, h handler) {
		router.Handle(path, a.endpoint(path, methods, h))
	}
	handle("/", read, a.toDashboard)
	handle("/monitor", read, a.toDashboard)
	router.PathPrefix("/monitor/").Handler(a.endpoint("/monitor/", read, a.dashboard))
	router.PathPrefix(debugPath).Handler(a.endpoint(debugPath, read, a.debug))
	handle("/activity/active", read, a.active)
	handle("/activity/all", read, a.all)
	handle("/activity/at", read, a.at)
	handle("/activity/decisions", read, a.decisions)
	handle("/activity/thread/{thread_id:.+}", read, a.thread)
	handle("/activity/tree", read, a.tree)
	handle("/activity/activity/{activity_id}", read, a.detail)
	handle("/activity/stats", read, a.stats)
	handle("/activity/summary", read, a.summary)
	handle("/activity/export", read, a.export)
	handle("/activity/stream", []string{http.MethodGet}, a.stream)
	handle("/activity/replay", []string{http.MethodGet}, a.replay)
	handle("/activity/{activity_id:[0-9a-fA-F]{32}-[0-9a-fA-F]{16}}", read, a.detail)
	handle("/activity/{activity_id:[0-9a-fA-F]{16}}", read, a.detail)
	handle("/openapi.json", read, a.openapi)
	handle("/healthz", read, a.healthz)
	handle("/readyz", read, a.readyz)
	handle("/metrics", read, a.metrics.serve)
	handle("/session", []string{http.MethodPost, http.MethodDelete}, a.session)
	router.NotFoundHandler = a.endpoint("", nil, func(http.ResponseWriter, *http.Request) error {
		return &problem{status: http.StatusNotFound, detail: "nothing is here; /openapi.json lists what is"}
	})
	return router
}

// endpoint answers other methods than those given with 405, and errors as
// problems. No methods means any.
func (a *API) endpoint(route string, methods []string, h handler) http.Handler {
	allow := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer a.metrics.measure(w, r, route)()
		if methods != nil && !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", allow)
			(&problem{status: http.StatusMethodNotAllowed, detail: "this endpoint takes " + allow}).write(w)
			return
		}
		if err := h(w, r); err != nil {
			p := a.asProblem(r, err)
			if p.status == http.StatusServiceUnavailable || p.status == http.StatusTooManyRequests {
				a.refused.Add(1)
			}
			p.write(w)
		}
	})
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w}
	a.door.harden(rec, r)
	if p := a.admit(rec, r); p != nil {
		a.refused.Add(1)
		done := a.metrics.measure(rec, r, "")
		p.write(rec)
		done()
		return
	}
	a.router.ServeHTTP(rec, r)
}

// admit returns why a request is refused, or nil.
func (a *API) admit(w http.ResponseWriter, r *http.Request) *problem {
	if n := len(r.RequestURI); n > maxURL {
		return &problem{status: http.StatusRequestURITooLong, detail: "the URL has " + strconv.Itoa(n) + " bytes; at most " + strconv.Itoa(maxURL) + " are allowed"}
	}
	if p := a.door.admit(r); p != nil {
		return p
	}
	if a.door.free(r.URL.Path) {
		return nil
	}
	grant, ok := a.sessions.authorized(w, r)
	switch {
	case !ok:
		w.Header().Set("WWW-Authenticate", challenge)
		why := "send a token as Authorization: Bearer TOKEN, or sign in at /monitor/"
		if _, sent := bearer(r); sent {
			why = "this server does not know the token that was sent, or not any more"
		}
		return &problem{status: http.StatusUnauthorized, detail: why}
	case !grant.Scope.Has(wanted(r.URL.Path)):
		return forbidden(w, grant, wanted(r.URL.Path))
	}
	return nil
}

const debugPath = "/debug/"

// wanted returns the scope that a path asks for.
func wanted(path string) Scope {
	if strings.HasPrefix(path, debugPath) {
		return ScopeAdmin
	}
	return ScopeRead
}

// forbidden says that a token, or a session, has not the scope that is wanted.
// Source: https://datatracker.ietf.org/doc/html/rfc6750#section-3.1
func forbidden(w http.ResponseWriter, grant Grant, wanted Scope) *problem {
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`%s, error="insufficient_scope", scope="%s"`, challenge, wanted))
	who := "the session"
	if grant.Name != "" {
		who = fmt.Sprintf("the token %q", grant.Name)
	}
	return &problem{status: http.StatusForbidden, detail: fmt.Sprintf("%s has the scope %s: this needs %s", who, grant.Scope, wanted)}
}

// Shutdown closes all streams, telling each client that it may come back, and
// waits for them until ctx is done. /readyz says 503 from then on; other
// requests are still answered. A second call waits as the first does.
func (a *API) Shutdown(ctx context.Context) error {
	a.shutdown.Do(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.closed = true
		close(a.closing)
		for w := range a.wires {
			w.hurry()
		}
	})
	done := make(chan struct{})
	go func() {
		a.streams.Wait()
		a.hub.wait()
		close(done)
	}()
	select {
	case <-done:
		return a.metrics.shutdown(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Hits counts what limits turned away: streams, replays and exports beyond
// MaxStreams, MaxReplays and MaxExports, streams closed since their client was too slow for RingEvents or
// RingBytes, and sessions that ended for MaxSessions.
type Hits struct{ Streams, Replays, Exports, Slow, Sessions int64 }

// Hits returns the counts so far.
func (a *API) Hits() Hits {
	return Hits{
		Streams: a.hits.streams.Load(), Replays: a.hits.replays.Load(), Exports: a.hits.exports.Load(),
		Slow: a.metrics.slow.Load(), Sessions: a.sessions.displaced.Load(),
	}
}

// enter admits a stream; leave must be called at its end.
func (a *API) enter() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return &problem{status: http.StatusServiceUnavailable, retryAfter: 5, detail: "the server is shutting down"}
	}
	if a.open >= a.cfg.MaxStreams {
		a.hits.streams.Add(1)
		return &problem{status: http.StatusServiceUnavailable, retryAfter: 5, detail: strconv.Itoa(a.open) + " streams are open, and no more are allowed"}
	}
	a.open++
	a.streams.Add(1)
	return nil
}

func (a *API) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	a.streams.Done()
}

// track lets Shutdown hurry a connection until the function that it returns is called.
func (a *API) track(w wire) func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wires[w] = struct{}{}
	if a.closed {
		w.hurry()
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.wires, w)
	}
}

func (a *API) openStreams() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open
}

// heavy admits a request that reads everything, which waits for its turn as long
// as patience has it; the function that it returns must be called at the end.
func (a *API) heavy(ctx context.Context, patience time.Duration) (func(), error) {
	leave := func() { <-a.exports }
	select {
	case a.exports <- struct{}{}:
		return leave, nil
	default:
	}
	if patience > 0 {
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case a.exports <- struct{}{}:
			return leave, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-late.C:
		}
	}
	a.hits.exports.Add(1)
	return nil, &problem{status: http.StatusServiceUnavailable, retryAfter: 2, detail: strconv.Itoa(cap(a.exports)) + " exports are under way, and no more are allowed"}
}

func (a *API) toDashboard(w http.ResponseWriter, r *http.Request) error {
	target := url.URL{Path: "/monitor/", RawQuery: r.URL.RawQuery}
	http.Redirect(w, r, target.String(), http.StatusFound)
	return nil
}

func (a *API) dashboard(w http.ResponseWriter, r *http.Request) error {
	if a.cfg.Dashboard == nil {
		return &problem{status: http.StatusNotFound, detail: "this server has no dashboard"}
	}
	a.cfg.Dashboard.ServeHTTP(w, r)
	return nil
}

func (a *API) debug(w http.ResponseWriter, r *http.Request) error {
	if a.cfg.Debug == nil || a.cfg.Keys == nil {
		return &problem{status: http.StatusNotFound, detail: "this server tells nothing of itself here: 'midspan serve' with a token of the scope admin does"}
	}
	a.cfg.Debug.ServeHTTP(w, r)
	return nil
}

// traceURL returns the link to an activity's trace, or "": an unsampled span
// never reaches Jaeger.
func (a *API) traceURL(act *activity.Activity) string {
	if a.cfg.JaegerURL == "" || act.Sampling == activity.Unsampled {
		return ""
	}
	return a.cfg.JaegerURL + "/trace/" + act.ID.Trace.String()
}

// appendActivity appends an activity with its link to Jaeger; find makes the
// link point at the activity's own span.
func (a *API) appendActivity(b []byte, act *activity.Activity, find bool) []byte {
	link := a.traceURL(act)
	if link == "" {
		return act.AppendJSON(b)
	}
	linked := *act // readers share activities
	linked.TraceURL = link
	if find {
		linked.TraceURL += "?uiFind=" + act.ID.Span.String()
	}
	return linked.AppendJSON(b)
}
