package api

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/gorilla/mux"

	"github.com/midspan/midspan/activity"
)

// pathVar returns a part of the path, still in URL encoding.
func pathVar(r *http.Request, name string) string { return mux.Vars(r)[name] }

// detail tells everything about one activity.
func (a *API) detail(w http.ResponseWriter, r *http.Request) error {
	text, err := url.PathUnescape(pathVar(r, "activity_id"))
	if err != nil {
		return invalid("activity_id", "is not in URL encoding")
	}
	id, err := resolveID(r.Context(), a.cfg.Reader, "activity_id", text)
	if err != nil {
		return err
	}
	if err := a.params(r).finish(); err != nil {
		return err
	}
	d, err := a.cfg.Reader.Get(r.Context(), id)
	if err != nil {
		return err
	}
	answer(w, func(b []byte) []byte { return a.appendDetail(b, d) })
	return nil
}

func (a *API) appendDetail(b []byte, d *activity.Detail) []byte {
	b = append(b, `{"activity":`...)
	b = a.appendActivity(b, d.Activity, true)
	b = append(b, `,"ancestors":[`...)
	for i, n := range d.Ancestors {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(a.appendNodeHead(b, n), '}')
	}
	b = append(b, `],"children":[`...)
	b = a.appendActivities(b, d.Children)
	b = append(b, `],"child_count":`...)
	b = strconv.AppendInt(b, int64(d.ChildCount), 10)
	b = append(b, `,"history":[`...)
	for i := range d.History {
		if i > 0 {
			b = append(b, ',')
		}
		b = d.History[i].AppendJSON(b)
	}
	b = append(b, `],"history_merged":`...)
	b = strconv.AppendInt(b, int64(d.Merged), 10)
	b = append(b, `,"span":`...)
	b = appendSpan(b, d.Activity)
	b = appendIncomplete(append(b, ','), d.Incomplete)
	return append(appendPosition(b, d.AsOf), '}')
}

// appendSpan appends what the activity's span has beyond the activity.
func appendSpan(b []byte, act *activity.Activity) []byte {
	b = append(b, `{"kind":"`...)
	b = append(b, act.Kind.String()...)
	b = append(b, `","scope":`...)
	if act.Scope == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, `{"name":`...)
		b = activity.AppendString(b, act.Scope.Name)
		b = append(b, `,"version":`...)
		b = activity.AppendString(b, act.Scope.Version)
		b = append(b, '}')
	}
	b = append(b, `,"resource":`...)
	var resource []activity.Attr
	if act.Resource != nil {
		resource = act.Resource.Attrs
	}
	b = activity.AppendAttrs(b, resource, nil)
	b = append(b, `,"status":"`...)
	b = append(b, act.Status.String()...)
	b = append(b, '"')
	if message := act.StatusMessage(); message != "" {
		b = append(b, `,"status_message":`...)
		b = activity.AppendString(b, message)
	}
	b = append(b, `,"trace_state":`...)
	b = activity.AppendString(b, act.TraceState)
	b = append(b, `,"events":`...)
	b = activity.AppendSpanEvents(b, act.SpanEvents)
	return append(b, '}')
}
