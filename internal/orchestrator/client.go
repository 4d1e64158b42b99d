package orchestrator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
)

// client asks the orchestrator's own API. Its requests carry the activity that
// they are made in, so the server's work is part of the same tree.
type client struct {
	http  *http.Client
	base  string
	token string
}

// callTime is how long a request may take; the server is in the same process.
const callTime = 10 * time.Second

type routeKey struct{}

// apiError is an answer of the API that is no success.
type apiError struct {
	status int
	text   string
}

func (e *apiError) Error() string { return e.text }

func (e *apiError) Is(target error) bool {
	return target == errNotFound && e.status == http.StatusNotFound
}

// instrument returns a transport whose requests are activities, named by their
// method and route: a name with an id in it could not be compared with others.
func instrument(base http.RoundTripper) http.RoundTripper {
	return otelhttp.NewTransport(base, otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string {
		if route, ok := r.Context().Value(routeKey{}).(string); ok {
			return r.Method + " " + route
		}
		return r.Method + " " + r.URL.Path
	}))
}

func (c *client) create(ctx context.Context, requirementID int64, activityID string) (out created, err error) {
	err = c.call(ctx, http.MethodPost, "/work-items", 0, createRequest{requirementID, activityID}, &out)
	return out, err
}

func (c *client) workItem(ctx context.Context, id int64) (out workItem, err error) {
	err = c.call(ctx, http.MethodGet, "/work-items/{id}", id, nil, &out)
	return out, err
}

func (c *client) approval(ctx context.Context, id int64) (out approval, err error) {
	err = c.call(ctx, http.MethodPost, "/work-items/{id}/approval", id, nil, &out)
	return out, err
}

func (c *client) start(ctx context.Context, id, runID int64) error {
	return c.call(ctx, http.MethodPost, "/work-items/{id}/start", id, startRequest{runID}, nil)
}

func (c *client) complete(ctx context.Context, id, runID int64, state runState, note string) error {
	return c.call(ctx, http.MethodPost, "/work-items/{id}/completion", id, completionRequest{runID, state, note}, nil)
}

func (c *client) cancel(ctx context.Context, id int64, reason string) error {
	return c.call(ctx, http.MethodDelete, "/work-items/{id}", id, cancelRequest{reason}, nil)
}

// call sends in as JSON, if it is not nil, and reads the answer into out, if it
// is not nil. An answer that is no success is the error that its problem tells.
//
// A request that is on its way is seen to its end though ctx is cancelled: it
// takes no time, and whoever cancels wants to know what has been done.
func (c *client) call(ctx context.Context, method, route string, id int64, in, out any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTime)
	defer cancel()
	body := new(bytes.Buffer)
	if in != nil {
		if err := json.NewEncoder(body).Encode(in); err != nil {
			return err
		}
	}
	path := bytes.Replace([]byte(route), []byte("{id}"), fmt.Append(nil, id), 1)
	r, err := http.NewRequestWithContext(context.WithValue(ctx, routeKey{}, route), method, c.base+string(path), body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	// Read to the end: the activity of the request ends with its body, and the
	// connection can be used again.
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode >= 300 {
		p := problem{Title: response.Status}
		_ = json.Unmarshal(text, &p) // without a problem the status must do
		return &apiError{response.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, path, p.Title, p.Detail)}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
