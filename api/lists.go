package api

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/midspan/midspan/activity"
)

// Limits of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

var openStates = []activity.State{activity.Planned, activity.InProgress}

func (a *API) all(w http.ResponseWriter, r *http.Request) error {
	p := a.params(r)
	return a.list(w, r, p, p.filter())
}

// active lists what is planned or in progress.
func (a *API) active(w http.ResponseWriter, r *http.Request) error {
	p := a.params(r)
	f := activity.Filter{States: p.states(openStates, "a state of an active activity")}
	if rest := p.filter(); p.fault == nil {
		rest.States = f.States
		f = rest
	}
	if len(f.States) == 0 {
		f.States = openStates
	}
	if sort, _ := p.one("sort"); sort == activity.LongestFirst.String() || sort == activity.LatestEnded.String() {
		p.fail(invalid("sort", "%q sorts what has ended, and an active activity has not", sort))
	}
	return a.list(w, r, p, f)
}

// decisions lists the activities of type decision.
func (a *API) decisions(w http.ResponseWriter, r *http.Request) error {
	p := a.params(r)
	if p.values.Has("type") {
		p.fail(invalid("type", "is not a parameter of this endpoint: it lists decisions only"))
	}
	f := p.filter()
	f.Types = []activity.Type{activity.Decision}
	return a.list(w, r, p, f)
}

// thread lists the activities of one logical thread.
func (a *API) thread(w http.ResponseWriter, r *http.Request) error {
	id, err := url.PathUnescape(pathVar(r, "thread_id"))
	if err != nil {
		return invalid("thread_id", "is not in URL encoding")
	}
	if len(id) > maxValue {
		return invalid("thread_id", "has %d bytes; at most %d are allowed", len(id), maxValue)
	}
	p := a.params(r)
	if p.values.Has("thread") {
		p.fail(invalid("thread", "is not a parameter of this endpoint: the path names the thread"))
	}
	f := p.filter()
	f.Threads = []string{id}
	return a.list(w, r, p, f)
}

func (a *API) list(w http.ResponseWriter, r *http.Request, p *params, f activity.Filter) error {
	q := activity.Query{Filter: f, Sort: p.sort(), Limit: p.integer("limit", defaultLimit, 1, maxLimit)}
	q.Cursor = p.cursor(q.Sort)
	if err := p.finish(); err != nil {
		return err
	}
	page, err := a.cfg.Reader.List(r.Context(), &q)
	if err != nil {
		return err
	}
	answer(w, func(b []byte) []byte { return a.appendPage(b, page) })
	return nil
}

func (a *API) appendPage(b []byte, page *activity.Page) []byte {
	b = append(b, `{"activities":[`...)
	b = a.appendActivities(b, page.Activities)
	b = append(b, `],"next_cursor":`...)
	if page.Next == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, '"')
		b = appendCursor(b, page.Next)
		b = append(b, '"')
	}
	b = append(b, `,"total":`...)
	b = strconv.AppendInt(b, int64(page.Total), 10)
	b = append(b, `,"total_relation":`...)
	if page.Exact {
		b = append(b, `"eq",`...)
	} else {
		b = append(b, `"gte",`...)
	}
	b = appendIncomplete(b, page.Incomplete)
	return append(appendPosition(b, page.AsOf), '}')
}

func (a *API) appendActivities(b []byte, list []*activity.Activity) []byte {
	for i, act := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = a.appendActivity(b, act, false)
	}
	return b
}

func (p *params) sort() activity.Sort {
	v, ok := p.one("sort")
	if !ok {
		return activity.NewestPlanned
	}
	s, ok := activity.ParseSort(v)
	if !ok {
		p.fail(invalid("sort", "%q is not one of -planned_at, planned_at, -duration, -ended_at", clip(v)))
	}
	return s
}

// cursor reads the cursor, which must be of a list in the order sort.
func (p *params) cursor(sort activity.Sort) *activity.Cursor {
	v, ok := p.one("cursor")
	if !ok {
		return nil
	}
	c, err := parseCursor(v)
	switch {
	case err != nil:
		p.fail(invalid("cursor", "%v", err))
		return nil
	case c.Sort != sort:
		p.fail(invalid("cursor", "is of a list sorted by %s, not %s", c.Sort, sort))
		return nil
	}
	return c
}
