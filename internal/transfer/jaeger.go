package transfer

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/midspan/midspan/activity"
)

// jaegerFile is what Jaeger's page downloads, and takes back by "Upload": the
// answer of /api/traces. The fields are those of Jaeger's internal/uimodel; what
// stands in them follows the Collector's translation of OTLP to Jaeger
// (pkg/translator/jaeger, traces_to_jaegerproto.go), which Jaeger uses.
type jaegerFile struct{ some bool }

type (
	jaegerTrace struct {
		TraceID   string                   `json:"traceID"`
		Spans     []jaegerSpan             `json:"spans"`
		Processes map[string]jaegerProcess `json:"processes"`
		Warnings  []string                 `json:"warnings"`
	}
	jaegerSpan struct {
		TraceID    string       `json:"traceID"`
		SpanID     string       `json:"spanID"`
		Operation  string       `json:"operationName"`
		References []jaegerRef  `json:"references"`
		Start      int64        `json:"startTime"` // microseconds since the epoch
		Duration   int64        `json:"duration"`  // microseconds
		Tags       []jaegerPair `json:"tags"`
		Logs       []jaegerLog  `json:"logs"`
		ProcessID  string       `json:"processID"`
		Warnings   []string     `json:"warnings"`
	}
	jaegerRef struct {
		Type    string `json:"refType"`
		TraceID string `json:"traceID"`
		SpanID  string `json:"spanID"`
	}
	jaegerLog struct {
		At     int64        `json:"timestamp"` // microseconds since the epoch
		Fields []jaegerPair `json:"fields"`
	}
	jaegerPair struct {
		Key   string `json:"key"`
		Type  string `json:"type"`
		Value any    `json:"value"`
	}
	jaegerProcess struct {
		Service string       `json:"serviceName"`
		Tags    []jaegerPair `json:"tags"`
	}
)

func (j *jaegerFile) begin(w io.Writer) error {
	_, err := io.WriteString(w, `{"data":[`)
	return err
}

func (j *jaegerFile) end(w io.Writer) error {
	_, err := io.WriteString(w, "\n],\"total\":0,\"limit\":0,\"offset\":0,\"errors\":null}\n")
	return err
}

func (j *jaegerFile) trace(w io.Writer, spans []*activity.Activity) error {
	t := jaegerTrace{TraceID: spans[0].ID.Trace.String(), Processes: make(map[string]jaegerProcess)}
	processes := make(map[*activity.Resource]string)
	for _, a := range spans {
		id, ok := processes[a.Resource]
		if !ok {
			id = "p" + strconv.Itoa(len(processes)+1)
			processes[a.Resource] = id
			t.Processes[id] = processOf(a.Resource)
		}
		t.Spans = append(t.Spans, jaegerSpanOf(a, id))
	}
	return writeJSON(w, &j.some, t)
}

func processOf(r *activity.Resource) jaegerProcess {
	p := jaegerProcess{Service: "OTLPResourceNoServiceName", Tags: []jaegerPair{}}
	if r == nil || len(r.Attrs) == 0 {
		return p
	}
	p.Service = r.Service
	for i := range r.Attrs {
		if r.Attrs[i].Key != activity.KeyServiceName {
			p.Tags = append(p.Tags, pairOf(&r.Attrs[i]))
		}
	}
	return p
}

func jaegerSpanOf(a *activity.Activity, process string) jaegerSpan {
	s := jaegerSpan{
		TraceID: a.ID.Trace.String(), SpanID: a.ID.Span.String(), Operation: a.Name, ProcessID: process,
		Start: int64(startOf(a)) / 1000, Duration: int64(endOf(a)-startOf(a)) / 1000,
		References: []jaegerRef{}, Tags: []jaegerPair{}, Logs: []jaegerLog{},
	}
	if a.EndedAt == 0 {
		s.Warnings = []string{fmt.Sprintf("it had not ended when it was exported: it was %s", a.State)}
	}
	if !a.Parent.IsZero() {
		s.References = append(s.References, jaegerRef{"CHILD_OF", a.Parent.Trace.String(), a.Parent.Span.String()})
	}
	for i := range a.Links {
		l := &a.Links[i]
		kind := "FOLLOWS_FROM"
		for _, attr := range l.Attrs {
			if attr.Key == "opentracing.ref_type" && attr.Value.Str() == "child_of" {
				kind = "CHILD_OF"
			}
		}
		if !a.Parent.IsZero() && l.ID == a.Parent {
			s.References[0].Type = kind
			continue
		}
		s.References = append(s.References, jaegerRef{kind, l.ID.Trace.String(), l.ID.Span.String()})
	}
	text := func(key, value string) {
		if value != "" {
			s.Tags = append(s.Tags, jaegerPair{key, "string", value})
		}
	}
	if a.Scope != nil {
		text("otel.scope.name", a.Scope.Name)
		text("otel.scope.version", a.Scope.Version)
	}
	for i := range a.Attributes {
		s.Tags = append(s.Tags, pairOf(&a.Attributes[i]))
	}
	if kind := a.Head.Kind; kind != activity.KindUnset {
		text("span.kind", kind.String())
	}
	if a.Status != activity.StatusUnset {
		text("otel.status_code", strings.ToUpper(a.Status.String()))
	}
	if a.Status == activity.StatusError {
		s.Tags = append(s.Tags, jaegerPair{"error", "bool", true})
		text("otel.status_description", a.StatusMessage())
	}
	text("w3c.tracestate", a.TraceState)
	for i := range a.SpanEvents {
		e := &a.SpanEvents[i]
		log := jaegerLog{At: int64(e.At) / 1000, Fields: []jaegerPair{}}
		named := false
		for _, attr := range e.Attrs {
			named = named || attr.Key == "event"
		}
		if e.Name != "" && !named {
			log.Fields = append(log.Fields, jaegerPair{"event", "string", e.Name})
		}
		for k := range e.Attrs {
			log.Fields = append(log.Fields, pairOf(&e.Attrs[k]))
		}
		s.Logs = append(s.Logs, log)
	}
	return s
}

// maxSafe is the largest integer that JavaScript's numbers tell from its
// neighbours.
const maxSafe = 1<<53 - 1

func pairOf(a *activity.Attr) jaegerPair {
	p := jaegerPair{a.Key, "string", plain(a.Value)}
	switch a.Value.Kind() {
	case activity.KindBool:
		p.Type = "bool"
	case activity.KindInt:
		p.Type = "int64"
		if i := a.Value.Int(); i > maxSafe || i < -maxSafe {
			p.Value = strconv.FormatInt(i, 10)
		}
	case activity.KindFloat:
		p.Type = "float64"
	case activity.KindBytes:
		p.Type = "binary"
	case activity.KindSlice, activity.KindMap:
		b, _ := json.Marshal(p.Value) // plain makes nothing that JSON has not
		p.Value = string(b)
	case activity.KindEmpty:
		p.Value = ""
	}
	return p
}
