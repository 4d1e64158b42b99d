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
	b = appendScope(b, act.Scope)
	var resource activity.Resource
	if act.Resource != nil {
		resource = *act.Resource
	}
	b = append(b, `,"resource":`...)
	b = activity.AppendAttrs(b, resource.Attrs, nil)
	b = append(b, `,"resource_schema_url":`...)
	b = activity.AppendString(b, resource.SchemaURL)
	b = append(b, `,"status":"`...)
	b = append(b, act.Status.String()...)
	b = append(b, '"')
	if message := act.StatusMessage(); message != "" {
		b = append(b, `,"status_message":`...)
		b = activity.AppendString(b, message)
	}
	b = append(b, `,"trace_state":`...)
	b = activity.AppendString(b, act.TraceState)
	b = append(b, `,"flags":`...)
	b = strconv.AppendUint(b, uint64(act.Flags), 10)
	b = append(b, `,"events":`...)
	b = activity.AppendSpanEvents(b, act.SpanEvents)
	b = append(b, `,"links":[`...)
	for i := range act.Links {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendLink(b, &act.Links[i])
	}
	b = append(b, `],"dropped":{`...)
	for i, n := range [...]struct {
		name  string
		count uint32
	}{{"attributes", act.Dropped[0]}, {"events", act.Dropped[1]}, {"links", act.Dropped[2]}, {"resource", resource.Dropped}} {
		if i > 0 {
			b = append(b, ',')
		}
		b = activity.AppendString(b, n.name)
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(n.count), 10)
	}
	return append(b, `}}`...)
}

func appendScope(b []byte, scope *activity.Scope) []byte {
	if scope == nil {
		return append(b, "null"...)
	}
	b = append(b, `{"name":`...)
	b = activity.AppendString(b, scope.Name)
	b = append(b, `,"version":`...)
	b = activity.AppendString(b, scope.Version)
	b = append(b, `,"schema_url":`...)
	b = activity.AppendString(b, scope.SchemaURL)
	b = append(b, `,"attributes":`...)
	b = activity.AppendAttrs(b, scope.Attrs, nil)
	return append(activity.AppendDropped(b, scope.Dropped), '}')
}

func appendLink(b []byte, l *activity.Link) []byte {
	b = append(b, `{"activity_id":"`...)
	b = l.ID.Append(b)
	b = append(b, `","trace_state":`...)
	b = activity.AppendString(b, l.TraceState)
	b = append(b, `,"flags":`...)
	b = strconv.AppendUint(b, uint64(l.Flags), 10)
	b = append(b, `,"attributes":`...)
	b = activity.AppendAttrs(b, l.Attrs, nil)
	return append(activity.AppendDropped(b, l.Dropped), '}')
}
