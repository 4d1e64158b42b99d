package api

import (
	"bytes"
	"errors"
	"net/http"

	"github.com/midspan/midspan/activity"
)

// Moments tells what was known when. A Reader beside it answers a Query of a
// moment.
type Moments interface {
	// Moment returns what was known at a time, by the clock of whoever holds the
	// log. It returns activity.ErrForgotten when something of then is gone.
	Moment(at activity.Time) (activity.Moment, error)
}

// at lists what was known at a moment, as it was then.
func (a *API) at(w http.ResponseWriter, r *http.Request) error {
	p := a.params(r)
	when := p.moment("time")
	if !p.values.Has("time") {
		p.fail(invalid("time", "is missing: give a time as in 2026-11-22T10:00:00Z or a duration back from now as in 15m"))
	}
	q := activity.Query{Filter: p.filter(), Sort: p.sort(), Limit: p.integer("limit", defaultLimit, 1, maxLimit)}
	q.Cursor = p.cursor(q.Sort)
	if err := p.finish(); err != nil {
		return err
	}
	moment, err := a.cfg.Moments.Moment(when)
	if errors.Is(err, activity.ErrForgotten) {
		return &problem{status: http.StatusGone, parameter: "time", detail: "lies before what is held: something of then is gone"}
	}
	if err != nil {
		return err
	}
	q.At = &moment
	page, err := a.cfg.Reader.List(r.Context(), &q)
	if err != nil {
		return err
	}
	answer(w, func(b []byte) []byte { return a.appendPage(b, page) })
	return nil
}

// describe returns the OpenAPI document without what a server does not offer. The
// document is written by hand, so a path is where it looks to be.
func describe(cfg *Config) []byte {
	doc := openapiDocument
	if cfg.Moments == nil {
		before, rest, _ := bytes.Cut(doc, []byte("\n    \"/activity/at\": {"))
		_, after, _ := bytes.Cut(rest, []byte("\n    },"))
		doc = bytes.Join([][]byte{before, after}, nil)
	}
	return doc
}
