//go:build e2e

package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/e2e/run"
)

// TestJaeger runs the demo against a real Jaeger and reads both: what Jaeger was told must be what Midspan
// shows. Then Jaeger goes away and comes back.
func TestJaeger(t *testing.T) {
	for _, tt := range []struct {
		name, protocol string
		endpoint       func(*jaeger) string
	}{
		{"gRPC", "grpc", func(j *jaeger) string { return j.grpc }},
		{"HTTP", "http/protobuf", func(j *jaeger) string { return j.http }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			backend := newJaeger(t)
			backend.start(t)
			address, err := run.FreeAddress(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			command := exec.Command(setting(t, "MIDSPAN_BIN"), "demo", "--jaeger-url", "http://"+backend.query)
			command.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+tt.endpoint(backend),
				"OTEL_EXPORTER_OTLP_PROTOCOL="+tt.protocol, "OTEL_BSP_SCHEDULE_DELAY=500",
				"OTEL_BSP_MAX_QUEUE_SIZE=256") // so small that an outage of seconds overflows it
			demo := startDemo(t, command, address)

			finished := poll(t, func() ([]activity, error) { return varied(t, demo) })
			t.Run("same", func(t *testing.T) { same(t, demo, backend, finished) })
			t.Run("outage", func(t *testing.T) { outage(t, demo, backend, finished) })
		})
	}
}

// varied returns the finished activities once there are all kinds among them.
func varied(t *testing.T, demo *run.Demo) ([]activity, error) {
	t.Helper()
	finished, err := list(t, demo, url.Values{"state": {"completed", "failed", "cancelled"}})
	if err != nil {
		return nil, err
	}
	has := map[string]bool{}
	for _, a := range finished {
		has[a.State] = true
		has[a.Type] = true
		has["child"] = has["child"] || a.ParentID != nil
		has["error"] = has["error"] || a.Error != nil && text(a.Error.Message) != ""
		has["alternatives"] = has["alternatives"] || a.Decision != nil && len(a.Decision.Alternatives) > 0
		has["result"] = has["result"] || a.Result != nil
	}
	for _, kind := range []string{
		"COMPLETED", "FAILED", "CANCELLED", "decision", "thread", "async_task", "api_call", "database_operation", "ai_inference",
		"work_item", "agent_action", "scheduler_tick", "child", "error", "alternatives", "result",
	} {
		if !has[kind] {
			return nil, fmt.Errorf("%d activities, none is %s", len(finished), kind)
		}
	}
	return finished, nil
}

// same holds that Jaeger knows every activity as Midspan shows it, and no span that Midspan doesn't know.
func same(t *testing.T, demo *run.Demo, backend *jaeger, finished []activity) {
	traces := map[string][]activity{}
	for _, a := range finished {
		if !a.Sampled {
			t.Errorf("%s was not sampled, though the demo samples everything", a.ID)
		}
		traces[a.TraceID] = append(traces[a.TraceID], a)
	}
	compared := 0
	for id, activities := range traces {
		spans := poll(t, func() (map[string]span, error) {
			spans, err := backend.trace(t.Context(), id)
			for _, a := range activities {
				if _, ok := spans[a.SpanID]; !ok && err == nil {
					return nil, fmt.Errorf("trace %s: Jaeger has %d spans, not %s %q, which ended at %v", id, len(spans), a.SpanID, a.Name, a.EndedAt)
				}
			}
			return spans, err
		})
		for _, a := range activities {
			got, err := spans[a.SpanID].view(a.Type)
			if err != nil {
				t.Errorf("%s: %v", a.ID, err)
				continue
			}
			if diff := gocmp.Diff(shown(a), got); diff != "" {
				t.Errorf("%s: Midspan (-), Jaeger (+):\n%s", a.ID, diff)
			}
			compared++
		}
		known, err := list(t, demo, url.Values{"trace": {id}})
		if err != nil {
			t.Error(err)
		}
		for spanID, s := range spans {
			if !slices.ContainsFunc(known, func(a activity) bool { return a.SpanID == spanID }) {
				t.Errorf("trace %s: Jaeger has %s %q, Midspan has not", id, spanID, s.Name)
			}
		}
	}
	t.Logf("compared %d activities of %d traces", compared, len(traces))

	// What Jaeger's page shows comes from its older API: the failure must be seen there too.
	failed := finished[slices.IndexFunc(finished, func(a activity) bool { return a.State == "FAILED" })]
	var page struct {
		Data []struct {
			Spans []struct {
				SpanID string `json:"spanID"`
				Tags   []struct {
					Key   string `json:"key"`
					Value any    `json:"value"`
				} `json:"tags"`
			} `json:"spans"`
		} `json:"data"`
	}
	if err := get(t.Context(), "http://"+backend.query+"/api/traces/"+failed.TraceID, &page); err != nil {
		t.Fatal(err)
	}
	red := false
	for _, trace := range page.Data {
		for _, s := range trace.Spans {
			for _, tag := range s.Tags {
				red = red || s.SpanID == failed.SpanID && tag.Key == "error" && tag.Value == true
			}
		}
	}
	if !red {
		t.Errorf("Jaeger does not mark %s %q as an error", failed.ID, failed.Name)
	}
	if got, want := text(failed.TraceURL), "http://"+backend.query+"/trace/"+failed.TraceID; !strings.HasPrefix(got, want) {
		t.Errorf("trace_url: got %q, want %q", got, want)
	}
}

// outage stops Jaeger and starts it again: the index loses nothing, the program keeps its pace, what could not be
// sent is counted, and Jaeger hears of what comes after.
func outage(t *testing.T, demo *run.Demo, backend *jaeger, before []activity) {
	if dropped := stats(t, demo).Export.Dropped; dropped != 0 {
		t.Errorf("%d spans were dropped while Jaeger was there", dropped)
	}
	perSecond := func(some int64) float64 {
		first, start := stats(t, demo).finished(), time.Now()
		last := poll(t, func() (int64, error) {
			n := stats(t, demo).finished() - first
			if n < some {
				return 0, fmt.Errorf("%d activities finished in %v, want %d", n, time.Since(start), some)
			}
			return n, nil
		})
		return float64(last) / time.Since(start).Seconds()
	}
	usual := perSecond(600)
	backend.stop(t)
	during := perSecond(1500)
	backend.start(t)
	after := perSecond(600)
	dropped := stats(t, demo).Export.Dropped
	t.Logf("finished a second: %.0f, without Jaeger %.0f, with Jaeger again %.0f; %d spans dropped", usual, during, after, dropped)
	// Nothing there waits for Jaeger, so what differs is the noise of the machine: half is far off.
	for _, slow := range []float64{during, after} {
		if slow < usual/2 {
			t.Errorf("%.0f activities finished a second, %.0f before the outage", slow, usual)
		}
	}
	if dropped == 0 {
		t.Error("no dropped span is counted")
	}

	now, err := list(t, demo, url.Values{"state": {"completed", "failed", "cancelled"}})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, a := range now {
		there[a.ID] = true
	}
	for _, a := range before {
		if !there[a.ID] {
			t.Errorf("%s %q is no longer in the index", a.ID, a.Name)
		}
	}
	if want := len(before) + 600 + 1500 + 600; len(now) < want {
		t.Errorf("the index holds %d finished activities, want at least %d", len(now), want)
	}

	began := time.Now()
	poll(t, func() (struct{}, error) {
		newest, err := list(t, demo, url.Values{"state": {"completed"}, "sort": {"-ended_at"}, "limit": {"50"}})
		if err != nil {
			return struct{}{}, err
		}
		for _, a := range newest {
			if spans, err := backend.trace(t.Context(), a.TraceID); err == nil && spans[a.SpanID].SpanID != "" {
				return struct{}{}, nil
			}
		}
		return struct{}{}, fmt.Errorf("Jaeger is back for %v and has heard of none of the newest %d activities", time.Since(began), len(newest))
	})
}

// A statistics is what these tests read of /activity/stats.
type statistics struct {
	Windows struct {
		All struct {
			Finished *int64 `json:"finished"`
		} `json:"all"`
	} `json:"windows"`
	Export struct {
		Dropped int64 `json:"dropped"`
	} `json:"export"`
}

// finished returns how many activities have ended since the demo began.
func (s statistics) finished() int64 { return *s.Windows.All.Finished }

func stats(t *testing.T, demo *run.Demo) statistics {
	t.Helper()
	var s statistics
	if err := get(t.Context(), demo.URL+"/activity/stats", &s); err != nil {
		t.Fatal(err)
	}
	if s.Windows.All.Finished == nil {
		t.Fatal("/activity/stats says nothing of windows.all.finished")
	}
	return s
}

// A jaeger is a real Jaeger with the configuration of deploy/, at ports of its own.
type jaeger struct {
	query, grpc, http string // addresses
	config            string // file
	env               []string
	process           *run.Process
}

func newJaeger(t testing.TB) *jaeger {
	t.Helper()
	free := func() (address, port string) {
		address, err := run.FreeAddress(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, port, err = net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		return address, port
	}
	j := &jaeger{config: "../deploy/jaeger/config.yaml"}
	var query, queryGRPC, grpc, http string
	j.query, query = free()
	_, queryGRPC = free()
	j.grpc, grpc = free()
	j.http, http = free()
	ui, err := filepath.Abs("../deploy/jaeger/ui.json")
	if err != nil {
		t.Fatal(err)
	}
	j.env = append(os.Environ(), "JAEGER_LISTEN_HOST=127.0.0.1", "JAEGER_UI_CONFIG="+ui,
		"JAEGER_QUERY_HTTP_PORT="+query, "JAEGER_QUERY_GRPC_PORT="+queryGRPC, "JAEGER_OTLP_GRPC_PORT="+grpc, "JAEGER_OTLP_HTTP_PORT="+http)
	t.Cleanup(func() {
		if j.process != nil {
			j.stop(t)
		}
	})
	return j
}

func (j *jaeger) start(t testing.TB) {
	t.Helper()
	command := exec.Command(setting(t, "MIDSPAN_JAEGER"), "--config", j.config)
	command.Env = j.env
	process, err := run.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	j.process = process
	if err := process.Ready(deadline(t, time.Minute), "http://"+j.query+"/api/services"); err != nil {
		t.Fatal(err)
	}
}

func (j *jaeger) stop(t testing.TB) {
	t.Helper()
	if err := j.process.Stop(); err != nil {
		t.Errorf("jaeger: %v\n%s", err, j.process.Output())
	}
	j.process = nil
}

// trace returns the spans of a trace by their ids.
func (j *jaeger) trace(ctx context.Context, id string) (map[string]span, error) {
	var answer struct {
		Result struct {
			ResourceSpans []struct {
				Resource struct {
					Attributes []attribute `json:"attributes"`
				} `json:"resource"`
				ScopeSpans []struct {
					Spans []span `json:"spans"`
				} `json:"scopeSpans"`
			} `json:"resourceSpans"`
		} `json:"result"`
	}
	if err := get(ctx, "http://"+j.query+"/api/v3/traces/"+id, &answer); err != nil {
		return nil, err
	}
	spans := map[string]span{}
	for _, resource := range answer.Result.ResourceSpans {
		attributes, err := values(resource.Resource.Attributes)
		if err != nil {
			return nil, err
		}
		service, _ := attributes["service.name"].(string)
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				if _, twice := spans[s.SpanID]; twice {
					return nil, fmt.Errorf("trace %s: Jaeger has span %s twice", id, s.SpanID)
				}
				s.service = service
				spans[s.SpanID] = s
			}
		}
	}
	return spans, nil
}

// A span is one of Jaeger's, in OTLP's JSON.
type span struct {
	TraceID, SpanID, ParentSpanID, Name string
	Start                               string      `json:"startTimeUnixNano"`
	End                                 string      `json:"endTimeUnixNano"`
	Attributes                          []attribute `json:"attributes"`
	Events                              []struct {
		Name       string
		Attributes []attribute
	}
	Links  []struct{ TraceID, SpanID string }
	Status struct {
		Code    int
		Message string
	}

	service string
}

type attribute struct {
	Key   string
	Value value
}

// A value has one member, which names its kind.
type value struct {
	StringValue *string
	BoolValue   *bool
	IntValue    *string
	DoubleValue *float64
	BytesValue  *string
	ArrayValue  *struct{ Values []value }
	KvlistValue *struct{ Values []attribute }
}

// A view is what both sides say of an activity.
type view struct {
	ID, Parent, Name, Service, State string
	Type                             string
	Planned, Current, Final          string
	PlannedAt, StartedAt, End        int64
	Error                            string
	ErrorType                        string
	Thread                           string
	Reasoning, Choice, Outcome       string
	Alternatives                     []string
	Confidence, Progress             float64
	Result                           any
	Links                            []string
	Attributes                       map[string]any
}

// shown is what Midspan says.
func shown(a activity) view {
	v := view{
		ID: a.ID, Parent: text(a.ParentID), Name: a.Name, Service: a.Service, State: a.State, Type: a.Type,
		Planned: text(a.Planned), Current: text(a.Current), Final: text(a.Final),
		PlannedAt: nanos(a.PlannedAt), StartedAt: nanos(a.StartedAt), End: nanos(a.EndedAt), Thread: text(a.ThreadID),
		Result: plain(a.Result), Attributes: map[string]any{},
	}
	if a.Progress != nil {
		v.Progress = *a.Progress
	}
	if a.Error != nil {
		v.Error, v.ErrorType = text(a.Error.Message), text(a.Error.Type)
	}
	if d := a.Decision; d != nil {
		v.Reasoning, v.Choice, v.Outcome, v.Alternatives = text(d.Reasoning), text(d.Choice), text(d.Outcome), d.Alternatives
		if d.Confidence != nil {
			v.Confidence = *d.Confidence
		}
	}
	for _, link := range a.Links {
		v.Links = append(v.Links, link.ID)
	}
	for key, value := range a.Attributes {
		v.Attributes[key] = plain(value)
	}
	return v
}

// view is what Jaeger was told, read by the rules of docs/attributes.md. A plain span says no type: kind does.
func (s span) view(kind string) (view, error) {
	attributes, err := values(s.Attributes)
	if err != nil {
		return view{}, err
	}
	take := func(key string) any {
		value := attributes[key]
		delete(attributes, key)
		return value
	}
	str := func(key string) string { value, _ := take(key).(string); return value }
	number := func(key string) float64 { value, _ := take(key).(float64); return value }
	integer := func(key string) int64 {
		i, _ := strconv.ParseInt(str(key), 10, 64) // beyond 2^53: a string
		return i
	}

	v := view{
		ID: s.TraceID + "-" + s.SpanID, Name: s.Name, Service: s.service, Type: kind,
		Planned: str("activity.description.planned"), Current: str("activity.description.current"), Final: str("activity.description.final"),
		PlannedAt: integer("activity.planned_at"), StartedAt: integer("activity.started_at"),
		Thread: str("activity.thread.id"), Reasoning: str("activity.reasoning"), Choice: str("activity.choice"), Outcome: str("activity.outcome"),
		Confidence: number("activity.confidence"), Progress: number("activity.progress"),
	}
	if s.ParentSpanID != "" {
		v.Parent = s.TraceID + "-" + s.ParentSpanID
	}
	if stated := str("activity.type"); stated != "" {
		v.Type = stated
	}
	switch cancelled := str("activity.state") == "CANCELLED"; {
	case cancelled:
		v.State = "CANCELLED"
	case s.Status.Code == 2:
		v.State = "FAILED"
	default:
		v.State = "COMPLETED"
	}
	start, err := strconv.ParseInt(s.Start, 10, 64)
	if err != nil {
		return view{}, err
	}
	if v.End, err = strconv.ParseInt(s.End, 10, 64); err != nil {
		return view{}, err
	}
	if v.PlannedAt == 0 {
		v.StartedAt = cmp.Or(v.StartedAt, start)
		v.PlannedAt = v.StartedAt
	}
	if alternatives, ok := take("activity.alternatives").([]any); ok {
		for _, one := range alternatives {
			v.Alternatives = append(v.Alternatives, fmt.Sprint(one))
		}
	}
	result, cut := str("activity.result"), take("activity.result.truncated") == true
	if result != "" && (cut || json.Unmarshal([]byte(result), &v.Result) != nil) {
		v.Result = result
	}
	if s.Status.Code == 2 {
		v.Error = s.Status.Message
		v.ErrorType, _ = attributes["error.type"].(string)
		for _, event := range s.Events {
			if event.Name != "exception" {
				continue
			}
			exception, err := values(event.Attributes)
			if err != nil {
				return view{}, err
			}
			said := func(key string) string { value, _ := exception[key].(string); return value }
			v.Error, v.ErrorType = cmp.Or(v.Error, said("exception.message")), cmp.Or(v.ErrorType, said("exception.type"))
		}
		// What carries no words of its own is told by its status, as Midspan tells it.
		if code, ok := attributes["http.response.status_code"]; ok && v.Error == "" {
			if n, err := strconv.Atoi(fmt.Sprint(code)); err == nil && n >= 400 {
				v.Error = fmt.Sprintf("HTTP %d %s", n, http.StatusText(n))
				v.ErrorType = cmp.Or(v.ErrorType, strconv.Itoa(n))
			}
		}
	}
	for _, link := range s.Links {
		v.Links = append(v.Links, link.TraceID+"-"+link.SpanID)
	}
	take("activity.long_running_expected")
	take("@jaeger@warnings") // Jaeger's own remark, such as a parent that has not ended
	v.Attributes = attributes
	return v, nil
}

func values(attributes []attribute) (map[string]any, error) {
	all := map[string]any{}
	for _, a := range attributes {
		value, err := a.Value.plain()
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", a.Key, err)
		}
		all[a.Key] = value
	}
	return all, nil
}

// plain returns a value as Midspan's JSON has it: integers beyond 2^53 are strings.
func (v value) plain() (any, error) {
	switch {
	case v.StringValue != nil:
		return *v.StringValue, nil
	case v.BoolValue != nil:
		return *v.BoolValue, nil
	case v.IntValue != nil:
		i, err := strconv.ParseInt(*v.IntValue, 10, 64)
		if i > 1<<53 || i < -(1<<53) {
			return *v.IntValue, err
		}
		return float64(i), err
	case v.DoubleValue != nil:
		return *v.DoubleValue, nil
	case v.BytesValue != nil:
		return *v.BytesValue, nil
	case v.ArrayValue != nil:
		list := []any{}
		for _, element := range v.ArrayValue.Values {
			one, err := element.plain()
			if err != nil {
				return nil, err
			}
			list = append(list, one)
		}
		return list, nil
	case v.KvlistValue != nil:
		return values(v.KvlistValue.Values)
	}
	return nil, errors.New("of no known kind")
}

// plain turns the numbers of decoded JSON into float64.
func plain(value any) any {
	switch value := value.(type) {
	case json.Number:
		f, err := value.Float64()
		if err != nil {
			return value.String()
		}
		return f
	case []any:
		list := []any{}
		for _, element := range value {
			list = append(list, plain(element))
		}
		return list
	case map[string]any:
		all := map[string]any{}
		for key, element := range value {
			all[key] = plain(element)
		}
		return all
	}
	return value
}

func nanos(t *time.Time) int64 {
	if t == nil {
		return 0
	}
	return t.UnixNano()
}
