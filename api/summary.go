package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/midspan/midspan/activity"
)

const (
	// summaryBack is how far back failures, losses and decisions are told.
	summaryBack      = 15 * time.Minute
	summaryRunning   = 8
	summaryPlanned   = 3
	summaryFailures  = 4
	summaryLost      = 3
	summaryDecisions = 3
)

// The answer of /activity/summary as JSON; the texts say the same in words.
type (
	summaryAnswer struct {
		LogID      string                  `json:"log_id"`
		AsOfSeq    uint64                  `json:"as_of_seq"`
		Now        activity.Time           `json:"now"`
		Incomplete bool                    `json:"incomplete,omitempty"`
		Service    string                  `json:"service"`
		InProgress int64                   `json:"in_progress"`
		Planned    int64                   `json:"planned"`
		Stalled    int64                   `json:"stalled"`
		Windows    map[string]windowAnswer `json:"windows"`
		Running    []runningAnswer         `json:"running"`
		Waiting    []runningAnswer         `json:"waiting"`
		Since      activity.Time           `json:"since"`
		// FailuresCounted of FailuresTotal are in Failures; the total is a lower
		// bound from activity.ExactTotal on.
		FailuresTotal   int             `json:"failures_total"`
		FailuresCounted int             `json:"failures_counted"`
		FailureGroups   int             `json:"failure_groups"` // of which Failures has the first
		Failures        []failureAnswer `json:"failures"`
		// LostTotal is counted over the activity.ExactTotal lost ones that were
		// planned last.
		LostTotal int              `json:"lost_total"`
		Lost      []lostAnswer     `json:"lost"`
		Decisions []decisionAnswer `json:"decisions"`
	}
	// runningAnswer is an activity that is open: for how long it has run, or
	// waited, and how long its like usually run.
	runningAnswer struct {
		ActivityID string        `json:"activity_id"`
		Type       activity.Type `json:"type"`
		Name       string        `json:"name"`
		Text       *string       `json:"text"` // what it is doing, or will do
		Progress   *float64      `json:"progress"`
		Stalled    bool          `json:"stalled"`
		Since      activity.Time `json:"since"`
		ForMs      float64       `json:"for_ms"`
		UsualMs    *float64      `json:"usual_ms"`
	}
	failureAnswer struct {
		Error  string        `json:"error"`
		Count  int           `json:"count"`
		LastAt activity.Time `json:"last_at"`
		// Of the latest one.
		ActivityID string `json:"activity_id"`
		Name       string `json:"name"`
	}
	lostAnswer struct {
		ActivityID string        `json:"activity_id"`
		Name       string        `json:"name"`
		Text       *string       `json:"text"` // what it was doing, or would have done
		LastSeenAt activity.Time `json:"last_seen_at"`
		LostAt     activity.Time `json:"lost_at"`
	}
	decisionAnswer struct {
		ActivityID string        `json:"activity_id"`
		Name       string        `json:"name"`
		At         activity.Time `json:"at"`
		Choice     *string       `json:"choice"`
		Reasoning  *string       `json:"reasoning"`
		Confidence *float64      `json:"confidence"`
	}
)

func (a *API) summary(w http.ResponseWriter, r *http.Request) error {
	p := a.params(r)
	f := p.filter()
	if err := p.finish(); err != nil {
		return err
	}
	kind := preferred(r, "text/plain", "text/markdown", "application/json")
	w.Header().Set("Vary", "Accept")
	if kind == "" {
		return &problem{status: http.StatusNotAcceptable, detail: "the summary comes as text/plain, text/markdown or application/json"}
	}
	s, err := a.summarize(r.Context(), &f)
	if err != nil {
		return err
	}
	switch kind {
	case "text/plain":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		answer(w, func(b []byte) []byte { return s.appendText(b, plainStyle) })
	case "text/markdown":
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		answer(w, func(b []byte) []byte { return s.appendText(b, markdownStyle) })
	default:
		return answerJSON(w, s)
	}
	return nil
}

func (a *API) summarize(ctx context.Context, f *activity.Filter) (*summaryAnswer, error) {
	st, err := a.statsOf(ctx, f)
	if err != nil {
		return nil, err
	}
	s := &summaryAnswer{
		LogID: st.AsOf.LogID, AsOfSeq: st.AsOf.Seq, Now: st.Now, Incomplete: st.Incomplete, Service: a.cfg.Service,
		InProgress: st.InProgress, Planned: st.Planned, Stalled: st.Stalled,
		Windows: map[string]windowAnswer{"1m": windowOf(&st.Minute), "5m": windowOf(&st.FiveMinutes), "1h": windowOf(&st.Hour)},
		Since:   st.Now - activity.Time(summaryBack),
	}
	list := func(sort activity.Sort, limit int, restrict func(q *activity.Query) bool) (*activity.Page, error) {
		q := activity.Query{Filter: *f, Sort: sort, Limit: limit}
		if !restrict(&q) {
			return &activity.Page{}, nil
		}
		page, err := a.cfg.Reader.List(ctx, &q)
		s.Incomplete = s.Incomplete || err == nil && page.Incomplete
		return page, err
	}
	running, err := list(activity.OldestPlanned, maxLimit, func(q *activity.Query) bool {
		return only(&q.States, activity.InProgress)
	})
	if err != nil {
		return nil, err
	}
	s.Running = runningOf(running.Activities, st.Now)
	planned, err := list(activity.OldestPlanned, summaryPlanned, func(q *activity.Query) bool {
		return only(&q.States, activity.Planned)
	})
	if err != nil {
		return nil, err
	}
	s.Waiting = make([]runningAnswer, 0, len(planned.Activities))
	for _, act := range planned.Activities {
		s.Waiting = append(s.Waiting, openOf(act, act.PlannedAt, st.Now))
	}
	failures, err := list(activity.LatestEnded, maxLimit, func(q *activity.Query) bool {
		q.Since = max(q.Since, s.Since)
		return only(&q.States, activity.Failed)
	})
	if err != nil {
		return nil, err
	}
	s.FailuresTotal, s.FailuresCounted = failures.Total, len(failures.Activities)
	s.Failures = failuresOf(failures.Activities)
	s.FailureGroups = len(s.Failures)
	s.Failures = s.Failures[:min(len(s.Failures), summaryFailures)]
	s.Lost = make([]lostAnswer, 0)
	// What began long ago may have been lost just now.
	var cursor *activity.Cursor
	for looked := 0; looked < activity.ExactTotal; {
		lost, err := list(activity.NewestPlanned, maxLimit, func(q *activity.Query) bool {
			q.Cursor = cursor
			return only(&q.States, activity.Lost)
		})
		if err != nil {
			return nil, err
		}
		s.Lost = appendLost(s.Lost, lost.Activities, max(f.Since, s.Since))
		looked += len(lost.Activities)
		if cursor = lost.Next; cursor == nil {
			break
		}
	}
	slices.SortStableFunc(s.Lost, func(a, b lostAnswer) int { return cmp.Compare(b.LostAt, a.LostAt) })
	s.LostTotal = len(s.Lost)
	s.Lost = s.Lost[:min(len(s.Lost), summaryLost)]
	decisions, err := list(activity.LatestEnded, summaryDecisions, func(q *activity.Query) bool {
		q.Since = max(q.Since, s.Since)
		return only(&q.Types, activity.Decision)
	})
	if err != nil {
		return nil, err
	}
	s.Decisions = make([]decisionAnswer, 0, len(decisions.Activities))
	for _, act := range decisions.Activities {
		d := decisionAnswer{ActivityID: act.ID.String(), Name: act.Name, At: act.EndedAt}
		if record := act.Decision; record != nil {
			d.Choice, d.Reasoning = orNull(record.Choice), orNull(record.Reasoning)
			if record.Confidence == record.Confidence { // is a number
				d.Confidence = &record.Confidence
			}
		}
		s.Decisions = append(s.Decisions, d)
	}
	return s, nil
}

// only narrows what a filter asks for to one value; false if that is not in it.
func only[T comparable](asked *[]T, v T) bool {
	if len(*asked) > 0 && !slices.Contains(*asked, v) {
		return false
	}
	*asked = []T{v}
	return true
}

func openOf(act *activity.Activity, since, now activity.Time) runningAnswer {
	out := runningAnswer{
		ActivityID: act.ID.String(), Type: act.Type, Name: act.Name,
		Text: orNull(cmp.Or(act.Current, act.Planned)), Stalled: act.Stalled,
		Since: since, ForMs: millis(max(now.Sub(since), 0)),
	}
	if act.HasProgress() {
		out.Progress = &act.Progress
	}
	if act.Usual > 0 {
		usual := millis(act.Usual)
		out.UsualMs = &usual
	}
	return out
}

// runningOf returns the activities that are longest over their usual time;
// what has no usual time comes last, the oldest first.
func runningOf(list []*activity.Activity, now activity.Time) []runningAnswer {
	all := make([]runningAnswer, 0, len(list))
	for _, act := range list {
		all = append(all, openOf(act, act.StartedAt, now))
	}
	over := func(r *runningAnswer) float64 {
		if r.UsualMs == nil {
			return 0
		}
		return max(r.ForMs-*r.UsualMs, 0)
	}
	slices.SortStableFunc(all, func(a, b runningAnswer) int {
		return cmp.Or(cmp.Compare(over(&b), over(&a)), cmp.Compare(b.ForMs, a.ForMs))
	})
	return all[:min(len(all), summaryRunning)]
}

// failuresOf groups failures, the latest first, by their error; what happened
// most comes first.
func failuresOf(list []*activity.Activity) []failureAnswer {
	groups := make([]failureAnswer, 0)
	at := make(map[string]int)
	for _, act := range list {
		why := errorText(act.Error)
		i, ok := at[why]
		if !ok {
			i = len(groups)
			at[why] = i
			groups = append(groups, failureAnswer{Error: why, LastAt: act.EndedAt, ActivityID: act.ID.String(), Name: act.Name})
		}
		groups[i].Count++
	}
	slices.SortStableFunc(groups, func(a, b failureAnswer) int { return cmp.Compare(b.Count, a.Count) })
	return groups
}

// appendLost appends the activities that were called lost since a time.
func appendLost(all []lostAnswer, list []*activity.Activity, since activity.Time) []lostAnswer {
	for _, act := range list {
		if act.LostAt >= since {
			all = append(all, lostAnswer{act.ID.String(), act.Name, orNull(cmp.Or(act.Current, act.Planned)), act.LastSeenAt, act.LostAt})
		}
	}
	return all
}

func errorText(e *activity.Error) string {
	if e == nil {
		return "unknown error"
	}
	first, _, _ := strings.Cut(e.Message, "\n")
	switch {
	case e.Type == "" && first == "":
		return "unknown error"
	case e.Type == "" || strings.HasPrefix(first, e.Type):
		return first
	case first == "":
		return e.Type
	}
	return e.Type + ": " + first
}
