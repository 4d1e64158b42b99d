package api

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"net/http"

	"github.com/midspan/midspan/activity"
)

// Moments tells what was known when. A Reader beside it answers a Query of a
// moment.
type Moments interface {
	// Moment returns what was known at a time, by the clock of whoever holds the
	// log. It returns activity.ErrForgotten when something of then is gone.
	Moment(at activity.Time) (activity.Moment, error)
	// Changes yields the changes after a sequence and up to another, in the log's
	// order, each with its activity as it was then and with ReceivedAt. It ends
	// with activity.ErrForgotten when something of then is gone. It holds nothing
	// that a writer waits for while the caller has a change.
	Changes(ctx context.Context, after, upTo uint64) iter.Seq2[activity.Change, error]
}

// errNoPast is what a server without Moments answers.
var errNoPast = &problem{status: http.StatusNotFound, detail: "this server keeps no past: `midspan serve` does"}

// at lists what was known at a moment, as it was then.
func (a *API) at(w http.ResponseWriter, r *http.Request) error {
	if a.cfg.Moments == nil {
		return errNoPast
	}
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
	moment, err := a.moment("time", when)
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

// moment returns what was known at a time that a parameter gave.
func (a *API) moment(parameter string, at activity.Time) (activity.Moment, error) {
	m, err := a.cfg.Moments.Moment(at)
	if errors.Is(err, activity.ErrForgotten) {
		err = &problem{status: http.StatusGone, parameter: parameter, detail: "lies before what is held: something of then is gone"}
	}
	return m, err
}

// describe returns the OpenAPI document without what a server does not offer. The
// document is written by hand, so a path is where it looks to be.
func describe(cfg *Config) []byte {
	doc := openapiDocument
	if cfg.Moments == nil {
		for _, path := range []string{"at", "replay"} {
			before, rest, _ := bytes.Cut(doc, []byte("\n    \"/activity/"+path+"\": {"))
			_, after, _ := bytes.Cut(rest, []byte("\n    },"))
			doc = bytes.Join([][]byte{before, after}, nil)
		}
	}
	return doc
}
