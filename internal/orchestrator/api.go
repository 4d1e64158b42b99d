package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/gorilla/mux"
	"go.opentelemetry.io/contrib/instrumentation/github.com/gorilla/mux/otelmux"
)

// api serves work items over HTTP. Only whoever has the token may ask, which is
// this orchestrator's own client: the listener is on the loopback address, but
// so is everybody's browser.
type api struct {
	store *store
	token string
	// cancelled ends what is still going on for a cancelled work item.
	cancelled func(itemID int64, reason string)
}

// The requests' bodies.
type (
	createRequest struct {
		RequirementID int64  `json:"requirement_id"`
		ActivityID    string `json:"activity_id"`
	}
	created struct {
		ID    int64 `json:"id"`
		RunID int64 `json:"run_id"`
	}
	startRequest struct {
		RunID int64 `json:"run_id"`
	}
	completionRequest struct {
		RunID int64    `json:"run_id"`
		State runState `json:"state"` // SUCCEEDED or FAILED
		Note  string   `json:"note"`  // what was done, or the error
	}
	cancelRequest struct {
		Reason string `json:"reason"`
	}
	problem struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
		Status int    `json:"status"`
	}
)

func (s *api) handler() http.Handler {
	r := mux.NewRouter()
	r.Use(otelmux.Middleware("orchestrator", otelmux.WithSpanNameFormatter(func(route string, r *http.Request) string {
		return r.Method + " " + route
	})), s.authorize)
	r.Methods(http.MethodPost).Path("/work-items").HandlerFunc(handle(http.StatusCreated,
		func(ctx context.Context, _ int64, in createRequest) (out created, err error) {
			out.ID, out.RunID, err = s.store.createWorkItem(ctx, in.RequirementID, in.ActivityID)
			return out, err
		}))
	r.Methods(http.MethodGet).Path("/work-items/{id}").HandlerFunc(handle(http.StatusOK,
		func(ctx context.Context, id int64, _ struct{}) (workItem, error) { return s.store.workItem(ctx, id) }))
	r.Methods(http.MethodPost).Path("/work-items/{id}/approval").HandlerFunc(handle(http.StatusOK,
		func(ctx context.Context, id int64, _ struct{}) (approval, error) {
			w, err := s.store.workItem(ctx, id)
			if err != nil {
				return approval{}, err
			}
			return approve(ctx, s.store, w)
		}))
	r.Methods(http.MethodPost).Path("/work-items/{id}/start").HandlerFunc(handle(http.StatusOK,
		func(ctx context.Context, _ int64, in startRequest) (struct{}, error) {
			return struct{}{}, s.store.moveRun(ctx, in.RunID, runRunning, "")
		}))
	r.Methods(http.MethodPost).Path("/work-items/{id}/completion").HandlerFunc(handle(http.StatusOK,
		func(ctx context.Context, id int64, in completionRequest) (struct{}, error) {
			if in.State != runSucceeded && in.State != runFailed {
				return struct{}{}, errBadState
			}
			return struct{}{}, s.store.completeRun(ctx, id, in.RunID, in.State, in.Note)
		}))
	r.Methods(http.MethodDelete).Path("/work-items/{id}").HandlerFunc(handle(http.StatusOK,
		func(ctx context.Context, id int64, in cancelRequest) (struct{}, error) {
			err := s.store.cancelWorkItem(ctx, id, in.Reason)
			if err == nil {
				s.cancelled(id, in.Reason)
			}
			return struct{}{}, err
		}))
	return r
}

var errBadState = errors.New("a run completes as SUCCEEDED or FAILED")

func (s *api) authorize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+s.token {
			answer(w, http.StatusUnauthorized, problem{Title: "no token", Detail: "this API is the orchestrator's own", Status: http.StatusUnauthorized})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// handle makes a handler of a function that takes the id in the path, 0 without
// one, and the JSON body.
func handle[I, O any](status int, fn func(ctx context.Context, id int64, in I) (O, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in I
		if r.ContentLength != 0 {
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&in); err != nil {
				answer(w, http.StatusBadRequest, problem{Title: "malformed body", Detail: err.Error(), Status: http.StatusBadRequest})
				return
			}
		}
		// What is no number is 0, and no work item is.
		id, _ := strconv.ParseInt(mux.Vars(r)["id"], 10, 64)
		out, err := fn(r.Context(), id, in)
		if err != nil {
			p := problem{Title: "not done", Detail: err.Error(), Status: statusOf(err)}
			answer(w, p.Status, p)
			return
		}
		answer(w, status, out)
	}
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, errNotFound):
		return http.StatusNotFound
	case errors.Is(err, errMoved):
		return http.StatusConflict
	case errors.Is(err, errBadState):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	if _, ok := body.(problem); ok {
		w.Header().Set("Content-Type", "application/problem+json")
	}
	w.WriteHeader(status)
	// The client that has gone is the only one who could be told of an error.
	_ = json.NewEncoder(w).Encode(body)
}
