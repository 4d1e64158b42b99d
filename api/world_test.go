package api

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// world is a running server over a real index.
type world struct {
	*index.Index
	api    *API
	url    string
	server *httptest.Server
}

// t0 is when the tests' activities begin; the index's clock stands ten minutes later.
var t0 = activity.TimeOf(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))

func at(d time.Duration) activity.Time { return t0 + activity.Time(d) }

func newWorld(t *testing.T, change func(c *Config, i *index.Config)) *world {
	t.Helper()
	indexConfig := index.Config{Now: func() time.Time { return at(10 * time.Minute).Time() }}
	cfg := Config{
		Service: "orders", Version: "v1.2.3", JaegerURL: "http://localhost:16686/",
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&cfg, &indexConfig)
	}
	w := &world{Index: index.New(indexConfig)}
	if cfg.Reader == nil {
		cfg.Reader = w.Index
	}
	if _, ok := cfg.Moments.(later); ok {
		cfg.Moments = w.Index
	}
	var err error
	if w.api, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	w.server = httptest.NewUnstartedServer(nil)
	w.server.Config = NewServer(w.api, cfg.Logger)
	w.server.Start()
	w.url = w.server.URL
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.api.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		w.server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return w
}

// id returns the n-th id of the tests; those of one hundred share a trace.
func id(n int) activity.ID {
	var i activity.ID
	binary.BigEndian.PutUint64(i.Trace[8:], uint64(n/100+1))
	binary.BigEndian.PutUint64(i.Span[:], uint64(n+1))
	return i
}

func str(key, value string) activity.Attr {
	return activity.Attr{Key: key, Value: activity.StringValue(value)}
}

func num(key string, value float64) activity.Attr {
	return activity.Attr{Key: key, Value: activity.FloatValue(value)}
}

var (
	orders = &activity.Resource{Service: "orders", Instance: "orders-1", SchemaURL: "https://opentelemetry.io/schemas/1.43.0", Attrs: []activity.Attr{
		str("service.name", "orders"), str("service.instance.id", "orders-1"), {Key: "process.pid", Value: activity.IntValue(4711)},
	}}
	stock = &activity.Resource{Service: "stock", Instance: "stock-1", Attrs: []activity.Attr{str("service.name", "stock")}}
	scope = &activity.Scope{Name: "example/orders", Version: "0.9.0"}
)

// event returns an event; At and Rev are its place in the activity's life.
func event(n int, rev uint32, kind activity.Kind, when activity.Time, attrs ...activity.Attr) activity.Event {
	e := activity.Event{ID: id(n), Rev: rev, Kind: kind, At: when, ReceivedAt: when}
	e.Attrs = attrs
	if rev == 1 {
		e.StartTime, e.Resource, e.Scope, e.SpanKind = when, orders, scope, activity.KindInternal
	}
	if kind.Ends() {
		e.EndTime = when
	}
	return e
}

func named(e activity.Event, name string, parent int) activity.Event {
	e.Name = name
	if parent >= 0 {
		e.Parent = id(parent)
	}
	return e
}

// story is a small system in the middle of its work: every type of answer
// has something to say about it.
func story() []activity.Event {
	sec := func(s float64) activity.Time { return at(time.Duration(s * float64(time.Second))) }
	query := named(event(2, 1, activity.EventStarted, sec(3), str("db.system.name", "postgresql")), "SELECT orders", 0)
	query.SpanKind = activity.KindClient
	queryFailed := event(2, 2, activity.EventFailed, sec(3.25), str("error.type", "deadlock_detected"))
	queryFailed.Status, queryFailed.StatusMessage = activity.StatusError, "deadlock detected"
	queryFailed.SpanEvents = []activity.SpanEvent{{At: sec(3.2), Name: "exception", Attrs: []activity.Attr{
		str("exception.type", "*pq.Error"), str("exception.message", "deadlock detected"), str("exception.stacktrace", "main.go:12\nmain.go:7"),
	}}}
	ship := named(event(6, 1, activity.EventStarted, sec(5), str(activity.KeyType, "api_call")), "=SHIP(1)", 99)
	ship.Resource, ship.Sampling, ship.TraceState = stock, activity.Unsampled, "vendor=1"
	ship.Links = []activity.Link{{ID: id(250), Attrs: []activity.Attr{str("why", "retry")}}}
	shipped := event(6, 2, activity.EventCompleted, sec(7),
		str(activity.KeyResult, `{"parcel": 7, "tags": ["<b>", "&"]}`),
		activity.Attr{Key: "sizes", Value: activity.SliceValue([]activity.Value{activity.IntValue(1), activity.FloatValue(2.5), activity.BoolValue(true)})},
		activity.Attr{Key: "raw", Value: activity.BytesValue("\x00\xff")},
		activity.Attr{Key: "nested", Value: activity.MapValue([]activity.Attr{str("a", "b")})},
		activity.Attr{Key: "big", Value: activity.IntValue(1 << 60)})
	return []activity.Event{
		named(event(0, 1, activity.EventStarted, sec(0), str(activity.KeyType, "agent_action"), str(activity.KeyPlanned, "Handle the order from start to end"),
			str(activity.KeyThreadID, "worker/3 ü"), str("thread.name", "Worker 3"), str("gen_ai.agent.name", "clerk")), "Handle order 42", -1),
		named(event(1, 1, activity.EventStarted, sec(1), str(activity.KeyType, "decision"), str(activity.KeyPlanned, "Analyze metrics"),
			str(activity.KeyReasoning, "Error rate is low"),
			activity.Attr{Key: activity.KeyAlternatives, Value: activity.SliceValue([]activity.Value{activity.StringValue("canary"), activity.StringValue("all at once")})},
			num(activity.KeyConfidence, 0.8)), "Select deployment strategy", 0),
		event(1, 2, activity.EventUpdated, sec(1.5), str(activity.KeyCurrent, "Analyzing deployment metrics"), num(activity.KeyProgress, 0.4)),
		event(1, 3, activity.EventCompleted, sec(2), str(activity.KeyFinal, "Chose *canary*"), str(activity.KeyChoice, "canary"), str(activity.KeyOutcome, "rolled out")),
		query,
		queryFailed,
		named(event(3, 1, activity.EventPlanned, sec(4), str(activity.KeyType, "work_item"), str(activity.KeyPlanned, "Pack the parcel")), "Pack order 42", 0),
		named(event(4, 1, activity.EventPlanned, sec(4), str(activity.KeyType, "async_task")), "Send mail", 0),
		event(4, 2, activity.EventStarted, sec(4.5)),
		event(4, 3, activity.EventCancelled, sec(5), str(activity.KeyFinal, "No longer wanted")),
		ship,
		shipped,
		event(0, 2, activity.EventUpdated, sec(8), str(activity.KeyCurrent, "Waiting for the parcel"), num(activity.KeyProgress, 0.6), str("order.id", "42")),
		named(event(7, 1, activity.EventStarted, sec(9), str(activity.KeyType, "scheduler_tick")), "tick", -1),
	}
}

// get asks the running server and returns the status, the header and the body.
func (w *world) get(t *testing.T, path string, header ...string) (int, http.Header, string) {
	t.Helper()
	return w.do(t, http.MethodGet, path, "", header...)
}

func (w *world) do(t *testing.T, method, path, body string, header ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Add(header[i], header[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// object decodes an answer.
func object(t *testing.T, body string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}

var indexBytes = regexp.MustCompile(`"bytes":[0-9]+`)

// golden compares with a file of testdata, in which the log's id is LOG.
func (w *world) golden(t *testing.T, name, got string) {
	t.Helper()
	got = strings.ReplaceAll(got, w.Head().LogID, "LOG")
	got = indexBytes.ReplaceAllString(got, `"bytes":0`) // the index's own affair
	if strings.HasSuffix(name, ".json") {
		var v any
		if err := json.Unmarshal([]byte(got), &v); err != nil {
			t.Fatalf("%v in %s", err, got)
		}
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		got = string(b) + "\n"
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), renew with -update:\n%s", path, diff)
	}
}
