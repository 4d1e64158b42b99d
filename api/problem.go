package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/midspan/midspan/activity"
)

// problem is an answer of RFC 9457. Its type is always about:blank: the status
// says what kind it is, the parameter which input is at fault.
type problem struct {
	status     int
	detail     string
	parameter  string        // empty when no parameter is at fault
	matches    []activity.ID // of a 409
	retryAfter int           // seconds, 0 for no word on it
}

func (p *problem) Error() string {
	if p.parameter != "" {
		return fmt.Sprintf("%d %s: %s", p.status, p.parameter, p.detail)
	}
	return fmt.Sprintf("%d %s", p.status, p.detail)
}

// invalid returns a 400 that blames a parameter.
func invalid(parameter, format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, parameter: parameter, detail: fmt.Sprintf(format, args...)}
}

func (p *problem) appendJSON(b []byte) []byte {
	b = append(b, `{"type":"about:blank","title":`...)
	b = activity.AppendString(b, http.StatusText(p.status))
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(p.status), 10)
	b = append(b, `,"detail":`...)
	b = activity.AppendString(b, p.detail)
	if p.parameter != "" {
		b = append(b, `,"parameter":`...)
		b = activity.AppendString(b, p.parameter)
	}
	if len(p.matches) > 0 {
		b = append(b, `,"matches":[`...)
		for i, id := range p.matches {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, '"')
			b = id.Append(b)
			b = append(b, '"')
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func (p *problem) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Del("Content-Disposition")
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	b := append(p.appendJSON(nil), '\n')
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(p.status)
	w.Write(b)
}

// asProblem says an error as an answer. What is not the client's fault goes to
// the log: its text may tell more than a client should know.
func (a *API) asProblem(r *http.Request, err error) *problem {
	var p *problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, activity.ErrNotFound):
		return &problem{status: http.StatusNotFound, detail: "no such activity: it was never seen here, or has been evicted"}
	case errors.Is(err, activity.ErrUnreadable):
		// What is damaged was told to the log when it was found.
		return &problem{status: http.StatusInternalServerError, detail: "it may stand in a part of the history that is damaged: " + err.Error() + "; 'midspan fsck' tells what to do"}
	case r.Context().Err() != nil || errors.Is(err, context.Canceled):
		// The client has gone; nobody reads this.
		return &problem{status: http.StatusServiceUnavailable, detail: "the request was cancelled"}
	}
	a.cfg.Logger.ErrorContext(r.Context(), "api: request", "method", r.Method, "path", r.URL.Path, "error", err)
	return &problem{status: http.StatusInternalServerError, detail: "the server could not answer; its log says why"}
}
