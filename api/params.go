package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/midspan/midspan/activity"
)

// Limits of a request. Each is told in the error that it causes.
const (
	maxURL         = 16 << 10 // bytes of path and query
	maxValue       = 2 << 10  // bytes of one parameter's value
	maxValues      = 100      // values of one parameter
	maxParams      = 300      // values of all parameters
	maxQ           = 1 << 10  // bytes of q
	maxTerms       = 32       // words and phrases of q
	maxAttrFilters = 20       // different attr.KEY
	maxAttrKey     = 256      // bytes of KEY
)

// params reads a query. The first fault is kept, later reads give zero values,
// and finish reports it, or the parameter that nobody asked for.
type params struct {
	ctx    context.Context
	reader Reader
	now    time.Time
	values url.Values
	asked  map[string]bool
	fault  error
}

func (a *API) params(r *http.Request) *params {
	return parseParams(r.Context(), a.cfg.Reader, time.Now(), r.URL.RawQuery)
}

func parseParams(ctx context.Context, reader Reader, now time.Time, query string) *params {
	p := &params{ctx: ctx, reader: reader, now: now, asked: make(map[string]bool)}
	// Not URL.Query, which drops what it can't read.
	values, err := url.ParseQuery(query)
	if err != nil {
		p.fail(&problem{status: http.StatusBadRequest, detail: "the query is not in URL encoding: " + err.Error()})
		return p
	}
	p.values = values
	total := 0
	for _, name := range p.names() {
		vs := values[name]
		total += len(vs)
		if len(vs) > maxValues {
			p.fail(invalid(clip(name), "has %d values; at most %d are allowed", len(vs), maxValues))
		}
		for _, v := range vs {
			if len(v) > maxValue {
				p.fail(invalid(clip(name), "has a value of %d bytes; at most %d are allowed", len(v), maxValue))
			}
		}
	}
	if total > maxParams {
		p.fail(&problem{status: http.StatusBadRequest, detail: "the query has " + strconv.Itoa(total) + " parameters; at most " + strconv.Itoa(maxParams) + " are allowed"})
	}
	return p
}

// names returns the query's names in order: the same query gives the same error.
func (p *params) names() []string {
	names := make([]string, 0, len(p.values))
	for name := range p.values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func clip(s string) string {
	if len(s) > 64 {
		return activity.Cut(s, 64) + "…"
	}
	return s
}

func (p *params) fail(err error) {
	if p.fault == nil {
		p.fault = err
	}
}

// finish returns the first fault.
func (p *params) finish() error {
	if p.fault != nil {
		return p.fault
	}
	for _, name := range p.names() {
		if !p.asked[name] {
			return invalid(clip(name), "is not a parameter of this endpoint")
		}
	}
	return nil
}

// many returns the values of a parameter that may be repeated.
func (p *params) many(name string) []string {
	p.asked[name] = true
	vs := p.values[name]
	if slices.Contains(vs, "") {
		p.fail(invalid(name, "is empty"))
		return nil
	}
	return vs
}

// one returns the value of a parameter that stands at most once.
func (p *params) one(name string) (string, bool) {
	vs := p.many(name)
	switch len(vs) {
	case 0:
		return "", false
	case 1:
		return vs[0], true
	}
	p.fail(invalid(name, "is given %d times; once is allowed", len(vs)))
	return "", false
}

func (p *params) flag(name string) bool {
	v, ok := p.one(name)
	if !ok {
		return false
	}
	switch v {
	case "1", "true":
		return true
	case "0", "false":
		return false
	}
	p.fail(invalid(name, "%q is not 1, 0, true or false", clip(v)))
	return false
}

func (p *params) integer(name string, def, low, high int) int {
	v, ok := p.one(name)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		p.fail(invalid(name, "%q is not a whole number from %d to %d", clip(v), low, high))
		return def
	}
	return n
}

// moment reads RFC 3339, or a duration back from now.
func (p *params) moment(name string) activity.Time {
	v, ok := p.one(name)
	if !ok {
		return 0
	}
	t, err := parseMoment(name, v, p.now)
	if err != nil {
		p.fail(err)
	}
	return t
}

// parseMoment reads a time, or a duration back from now.
func parseMoment(name, v string, now time.Time) (activity.Time, error) {
	if d, ok := ParseDuration(v); ok {
		return activity.TimeOf(now.Add(-d)), nil
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	// Beyond these years a Unix time in nanoseconds overflows.
	if err != nil || t.Year() < 1678 || t.Year() > 2261 {
		return 0, invalid(name, "%q is neither a time as in 2026-11-22T10:00:00Z nor a duration back from now as in 15m", clip(v))
	}
	return activity.TimeOf(t), nil
}

func (p *params) duration(name string) time.Duration {
	v, ok := p.one(name)
	if !ok {
		return 0
	}
	d, ok := ParseDuration(v)
	if !ok {
		p.fail(invalid(name, "%q is not a duration as in 250ms, 1.5s, 15m or 2h", clip(v)))
	}
	return d
}

// ParseDuration reads a duration that is not negative: Go's form, or whole
// days as in 7d. A bare number has no unit and is refused, 0 included.
func ParseDuration(s string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil && n <= 36500
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0 && s != "0" && s[0] != '+' && s[0] != '-'
}

// id reads an activity id, or a bare span id that only one activity has.
func (p *params) id(name, v string) activity.ID {
	id, err := resolveID(p.ctx, p.reader, name, v)
	if err != nil {
		p.fail(err)
	}
	return id
}

func resolveID(ctx context.Context, reader Reader, name, v string) (activity.ID, error) {
	if id, err := activity.ParseID(v); err == nil {
		return id, nil
	}
	span, err := activity.ParseSpanID(v)
	if err != nil {
		return activity.ID{}, invalid(name, "%q is neither an activity id (32 hex digits, a hyphen, 16 hex digits) nor a span id (16 hex digits)", clip(v))
	}
	ids, err := reader.Resolve(ctx, span)
	switch {
	case err != nil:
		return activity.ID{}, err
	case len(ids) == 0:
		return activity.ID{}, &problem{status: http.StatusNotFound, parameter: name, detail: "no activity with the span id " + span.String() + " is held"}
	case len(ids) > 1:
		return activity.ID{}, &problem{
			status: http.StatusConflict, parameter: name, matches: ids,
			detail: strconv.Itoa(len(ids)) + " activities have the span id " + span.String() + ": name one by its whole id",
		}
	}
	return ids[0], nil
}
