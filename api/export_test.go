package api

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// TestOTLPIsOTLP reads the export by OpenTelemetry's own messages, which
// refuse a field that they don't know and a value of the wrong kind. OTLP's
// ids are hex, which protobuf's mapping reads as base64: they are looked at on
// their own.
func TestOTLPIsOTLP(t *testing.T) {
	w := newWorld(t, nil)
	odd := named(event(50, 1, activity.EventStarted, at(0), num("nan", math.NaN()), num("inf", math.Inf(-1)),
		activity.Attr{Key: "empty"}, activity.Attr{Key: "int", Value: activity.IntValue(math.MinInt64)}), "odd\x00\xff", -1)
	odd.Resource, odd.Scope, odd.Dropped = nil, nil, [3]uint32{1, 2, 3}
	w.Apply(append(story(), odd))
	_, header, body := w.get(t, "/activity/export?format=otlp")
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	var data tracev1.TracesData
	if err := protojson.Unmarshal([]byte(body), &data); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	spans := map[string]*tracev1.Span{}
	services := map[string]string{}
	for _, rs := range data.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			for _, span := range ss.Spans {
				spans[span.Name] = span
				for _, attr := range rs.Resource.Attributes {
					if attr.Key == "service.name" {
						services[span.Name] = attr.Value.GetStringValue()
					}
				}
			}
		}
	}
	if len(spans) != 8 {
		t.Fatalf("%d spans", len(spans))
	}
	query := spans["SELECT orders"]
	if query.Kind != tracev1.Span_SPAN_KIND_CLIENT || query.Status.Code != tracev1.Status_STATUS_CODE_ERROR || query.Status.Message != "deadlock detected" ||
		len(query.Events) != 1 || query.Events[0].Name != "exception" || query.Events[0].TimeUnixNano != uint64(at(3200e6)) ||
		query.StartTimeUnixNano != uint64(at(3e9)) || query.EndTimeUnixNano != uint64(at(3250e6)) || services["SELECT orders"] != "orders" {
		t.Errorf("%v", query)
	}
	ship := spans["=SHIP(1)"]
	if ship.Flags != 0 || ship.TraceState != "vendor=1" || len(ship.Links) != 1 || services["=SHIP(1)"] != "stock" {
		t.Errorf("%v", ship)
	}
	if tick := spans["tick"]; tick.EndTimeUnixNano != 0 || tick.Flags != 1 {
		t.Errorf("an open span: %v", tick)
	}
	if o := spans["odd\x00\ufffd"]; o.DroppedAttributesCount != 1 || o.DroppedEventsCount != 2 || o.DroppedLinksCount != 3 {
		t.Errorf("%v", o)
	}
	if !strings.Contains(body, fmt.Sprintf(`"traceId":"%s","spanId":"%s"`, id(2).Trace, id(2).Span)) || !strings.Contains(body, fmt.Sprintf(`"parentSpanId":"%s"`, id(0).Span)) {
		t.Error("the ids are not hex")
	}
}

// A span that came by OTLP is exported with all that it carried.
func TestExportOTLPWhole(t *testing.T) {
	w := newWorld(t, nil)
	w.Apply([]activity.Event{{ID: id(1), Kind: activity.EventCompleted, At: at(2), Changes: activity.Changes{
		Name: "GET /", StartTime: at(1), EndTime: at(2), Sampling: activity.Sampled, Flags: 0x301, Dropped: [3]uint32{3, 4, 5},
		Resource:   &activity.Resource{Dropped: 9},
		Scope:      &activity.Scope{Name: "lib", Dropped: 6},
		Links:      []activity.Link{{ID: id(2), Dropped: 7, Flags: 0x101}},
		SpanEvents: []activity.SpanEvent{{At: at(1), Name: "e", Dropped: 2}},
	}}, {ID: id(3), Kind: activity.EventCompleted, At: at(2), Changes: activity.Changes{
		Name: "unknown", StartTime: at(1), EndTime: at(2), Flags: 0x100, Resource: &activity.Resource{}, Scope: &activity.Scope{},
	}}})
	_, _, body := w.get(t, "/activity/export?format=otlp")
	var got tracev1.TracesData
	if err := protojson.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.ResourceSpans) != 2 {
		t.Fatal(body)
	}
	rs := got.ResourceSpans[0]
	ss := rs.ScopeSpans[0]
	s := ss.Spans[0]
	if s.Name != "GET /" {
		rs = got.ResourceSpans[1]
		ss = rs.ScopeSpans[0]
		s = ss.Spans[0]
	}
	if s.Flags != 0x301 || s.DroppedAttributesCount != 3 || s.DroppedEventsCount != 4 || s.DroppedLinksCount != 5 ||
		rs.Resource.DroppedAttributesCount != 9 || ss.Scope.DroppedAttributesCount != 6 ||
		s.Links[0].DroppedAttributesCount != 7 || s.Links[0].Flags != 0x101 || s.Events[0].DroppedAttributesCount != 2 {
		t.Errorf("%v", rs)
	}
	if strings.Count(body, `"flags":256`) != 1 {
		t.Errorf("what is not known to be sampled: %s", body)
	}
}

func TestExportsAgree(t *testing.T) {
	w := newWorld(t, nil)
	w.Apply(story())
	for _, query := range []string{"", "&type=decision&type=span", "&service=nobody"} {
		_, _, whole := w.get(t, "/activity/export?format=json"+query)
		want := object(t, whole)["activities"].([]any)
		_, _, lines := w.get(t, "/activity/export?format=ndjson"+query)
		got := []any{}
		for line := range strings.Lines(lines) {
			got = append(got, object(t, line))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -json +ndjson:\n%s", query, diff)
		}
		_, _, page := w.get(t, "/activity/all?limit=1000"+query)
		if n := len(object(t, page)["activities"].([]any)); n != len(want) {
			t.Errorf("%s: %d exported, %d listed", query, len(want), n)
		}
	}
}

// No resource has more spans than one who reads it should hold.
func TestOTLPGroups(t *testing.T) {
	e, b := new(otlpEncoding), []byte(nil)
	act := new(activity.Activity)
	b = e.begin(b, activity.Position{})
	for range 2*maxOTLPGroup + 1 {
		b = e.activity(b, act)
	}
	var request struct {
		ResourceSpans []struct {
			ScopeSpans []struct{ Spans []json.RawMessage }
		}
	}
	if err := json.Unmarshal(e.end(b), &request); err != nil {
		t.Fatal(err)
	}
	if n := len(request.ResourceSpans); n != 3 || len(request.ResourceSpans[0].ScopeSpans[0].Spans) != maxOTLPGroup || len(request.ResourceSpans[2].ScopeSpans[0].Spans) != 1 {
		t.Errorf("%d groups", n)
	}
}

func TestExportZipped(t *testing.T) {
	w := newWorld(t, nil)
	w.Apply(story())
	_, _, plain := w.get(t, "/activity/export?format=ndjson")
	_, header, zipped := w.get(t, "/activity/export?format=ndjson", "Accept-Encoding", "gzip")
	if header.Get("Content-Encoding") != "gzip" || header.Get("Vary") != "Accept-Encoding" {
		t.Fatalf("%v", header)
	}
	r, err := gzip.NewReader(strings.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil || string(b) != plain {
		t.Errorf("%v, %d bytes, want %d", err, len(b), len(plain))
	}
}

// scanner is a Reader whose Scan is the test's.
type scanner struct {
	Reader
	scan func(ctx context.Context, fn func(*activity.Activity) error) error
}

func (s scanner) Scan(ctx context.Context, _ *activity.Filter, fn func(*activity.Activity) error) error {
	return s.scan(ctx, fn)
}

func TestExportIsFlat(t *testing.T) {
	const rows = 20_000
	x := index.New(index.Config{})
	x.Apply(story())
	page, err := x.List(t.Context(), &activity.Query{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	act := page.Activities[0]
	for _, format := range []string{"json", "ndjson", "csv", "otlp"} {
		t.Run(format, func(t *testing.T) {
			var most uint64
			var before runtime.MemStats
			w := newWorld(t, func(c *Config, _ *index.Config) {
				c.Reader = scanner{x, func(_ context.Context, fn func(*activity.Activity) error) error {
					runtime.GC()
					runtime.ReadMemStats(&before)
					for i := range rows {
						if err := fn(act); err != nil {
							return err
						}
						if i%(rows/4) == rows/4-1 {
							var now runtime.MemStats
							runtime.GC()
							runtime.ReadMemStats(&now)
							most = max(most, now.HeapAlloc-min(before.HeapAlloc, now.HeapAlloc))
						}
					}
					return nil
				}}
			})
			res, err := http.Get(w.url + "/activity/export?format=" + format)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if most > 4<<20 {
				t.Errorf("%d bytes more are held after %d were written", most, n)
			}
		})
	}
}

func TestExportBreaksOff(t *testing.T) {
	act := new(activity.Activity)
	act.ID = id(1)
	w := newWorld(t, func(c *Config, _ *index.Config) {
		c.Reader = scanner{index.New(index.Config{}), func(_ context.Context, fn func(*activity.Activity) error) error {
			for range 1000 {
				if err := fn(act); err != nil {
					return err
				}
			}
			return errors.New("the index is broken")
		}}
	})
	for _, header := range [][]string{nil, {"Accept-Encoding", "gzip"}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/activity/export", nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != nil {
			r.Header.Set(header[0], header[1])
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			continue // broken off before anything was sent
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil {
			t.Errorf("an export that broke off looks whole: %d bytes", len(b))
		}
	}
}

func TestExportsAreLimited(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(c *Config, _ *index.Config) {
		c.MaxExports = 1
		c.Reader = scanner{index.New(index.Config{}), func(context.Context, func(*activity.Activity) error) error {
			enter <- struct{}{}
			<-leave
			return nil
		}}
	})
	w.api.patience = time.Millisecond
	done := make(chan int)
	go func() {
		status, _, _ := w.get(t, "/activity/export")
		done <- status
	}()
	<-enter
	for _, path := range []string{"/activity/export?format=csv", "/activity/stats?type=span", "/activity/summary?type=span"} {
		status, header, body := w.get(t, path)
		if status != http.StatusServiceUnavailable || header.Get("Retry-After") != "2" || header.Get("Content-Disposition") != "" {
			t.Errorf("%s: %d %v %s", path, status, header, body)
		}
	}
	if n := w.api.Hits().Exports; n != 3 {
		t.Errorf("the limit was hit %d times", n)
	}
	leave <- struct{}{}
	if status := <-done; status != http.StatusOK {
		t.Errorf("the first: %d", status)
	}
	if status, _, _ := w.get(t, "/activity/stats"); status != http.StatusOK {
		t.Errorf("plain statistics: %d", status)
	}
}

// What counts waits for its turn, an export does not.
func TestHeavyRequestsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &API{exports: make(chan struct{}, 1)}
		leave := must(a.heavy(t.Context(), 0))
		begun := time.Now()
		if _, err := a.heavy(t.Context(), 0); err == nil || time.Since(begun) != 0 {
			t.Errorf("an export was told %v after %v", err, time.Since(begun))
		}
		if _, err := a.heavy(t.Context(), countPatience); err == nil || time.Since(begun) != countPatience || a.hits.exports.Load() != 2 {
			t.Errorf("what counts was told %v after %v, as hit %d", err, time.Since(begun), a.hits.exports.Load())
		}
		gone, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.heavy(gone, countPatience); !errors.Is(err, context.DeadlineExceeded) || a.hits.exports.Load() != 2 {
			t.Errorf("whose client left was told %v, as hit %d", err, a.hits.exports.Load())
		}
		begun = time.Now()
		time.AfterFunc(time.Second, leave)
		must(a.heavy(t.Context(), countPatience))()
		if waited := time.Since(begun); waited != time.Second || len(a.exports) != 0 {
			t.Errorf("its turn came after %v, and %d are under way", waited, len(a.exports))
		}
	})
}

func TestClientLeavesExport(t *testing.T) {
	left := make(chan error, 1)
	act := new(activity.Activity)
	act.ID, act.Name = id(1), strings.Repeat("x", 10_000)
	w := newWorld(t, func(c *Config, _ *index.Config) {
		c.Reader = scanner{index.New(index.Config{}), func(ctx context.Context, fn func(*activity.Activity) error) error {
			for {
				if err := errors.Join(fn(act), ctx.Err()); err != nil {
					left <- err
					return err
				}
			}
		}}
	})
	res, err := http.Get(w.url + "/activity/export")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if err := <-left; err == nil {
		t.Error("the export goes on without its client")
	}
}

func TestTallyAgreesWithTheIndex(t *testing.T) {
	w := newWorld(t, nil)
	// What the index counts by arrival the tally counts by the activity's own
	// times: make both the same.
	var events []activity.Event
	for i := range 500 {
		begin := at(9*time.Minute) + activity.Time(i)*1e6
		events = append(events, named(event(i, 1, activity.EventStarted, begin), "work", -1))
		if i%10 != 0 {
			kind := []activity.Kind{activity.EventCompleted, activity.EventFailed, activity.EventCancelled}[i%3]
			events = append(events, event(i, 2, kind, begin+activity.Time(1+i*i)*1e4))
		}
	}
	w.Apply(events)
	_, _, all := w.get(t, "/activity/stats")
	_, _, filtered := w.get(t, "/activity/stats?type=span")
	a, b := object(t, all), object(t, filtered)
	for _, key := range []string{"total", "active", "planned", "in_progress", "by_state", "by_type", "by_service", "held"} {
		if diff := cmp.Diff(a[key], b[key]); diff != "" {
			t.Errorf("%s: -index +tally:\n%s", key, diff)
		}
	}
	for _, name := range []string{"all", "1h"} {
		wa, wb := a["windows"].(map[string]any)[name].(map[string]any), b["windows"].(map[string]any)[name].(map[string]any)
		for _, key := range []string{"started", "finished", "completed", "failed", "cancelled", "lost", "success_rate"} {
			if diff := cmp.Diff(wa[key], wb[key]); diff != "" {
				t.Errorf("%s %s: -index +tally:\n%s", name, key, diff)
			}
		}
		da, db := wa["duration_ms"].(map[string]any), wb["duration_ms"].(map[string]any)
		for _, key := range []string{"average", "p50", "p95", "p99"} {
			if x, y := da[key].(float64), db[key].(float64); math.Abs(x-y) > 0.03*x {
				t.Errorf("%s %s: %v by the index, %v by the tally", name, key, x, y)
			}
		}
	}
}

func TestMetrics(t *testing.T) {
	const foreign = "midspan_test_of_the_program"
	theirs := prometheus.NewGauge(prometheus.GaugeOpts{Name: foreign})
	prometheus.MustRegister(theirs)
	defer prometheus.Unregister(theirs)
	w := newWorld(t, func(c *Config, _ *index.Config) {
		c.Collectors = []prometheus.Collector{collectors.NewGoCollector()}
		c.Export = func() ExportStats { return ExportStats{Dropped: 3} }
		c.Bridge = func() BridgeStats { return BridgeStats{Endpoint: "http://localhost:4318", Connected: true, Dropped: 4} }
	})
	w.Apply(story())
	c := w.dial(t, "?hello=1")
	c.want("hello 14")
	w.get(t, "/activity/all")
	w.get(t, "/activity/all", "Host", "evil.example")
	w.do(t, "BREW", "/activity/all", "")
	_, header, body := w.get(t, "/metrics")
	if !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
		t.Errorf("Content-Type %q", header.Get("Content-Type"))
	}
	for _, want := range []string{
		`midspan_activity_active{activity_state="IN_PROGRESS"`,
		`midspan_activity_finished_total{activity_state="FAILED"`,
		"midspan_activity_stalled{", "midspan_index_size_bytes{", "midspan_index_evicted_total{",
		"midspan_export_dropped_total{", "midspan_bridge_dropped_total{", "midspan_bridge_connected{", "midspan_stream_active{", "midspan_stream_limit{", "midspan_api_refused_total{",
		`http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="/activity/all"`,
		`http_request_method="_OTHER",http_response_status_code="405"`,
		`http_request_method="GET",http_response_status_code="421"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
	for name, want := range map[string]string{"midspan_export_dropped_total": "3", "midspan_stream_active": "1", "midspan_api_refused_total": "1", "midspan_bridge_dropped_total": "4", "midspan_bridge_connected": "1"} {
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, name+"{") && !strings.HasSuffix(line, " "+want+"\n") {
				t.Errorf("%s, want %s", line, want)
			}
		}
	}
	if !strings.Contains(body, "\ngo_goroutines ") {
		t.Error("the Go runtime is not told of")
	}
	if strings.Contains(body, foreign) {
		t.Error("the registry is not its own")
	}
}

func TestDashboardIsMounted(t *testing.T) {
	w := newWorld(t, func(c *Config, i *index.Config) {
		locked(c, i)
		c.Dashboard = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "page ", r.URL.Path)
		})
	})
	for path, want := range map[string]string{"/monitor/": "page /monitor/", "/monitor/assets/app.js": "page /monitor/assets/app.js"} {
		status, header, body := w.get(t, path)
		if status != http.StatusOK || body != want || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'self'") || header.Get("Cache-Control") != "" {
			t.Errorf("%s: %d %q %v", path, status, body, header)
		}
	}
	status, header, _ := w.get(t, "/?q=a+b")
	if status != http.StatusFound || header.Get("Location") != "/monitor/?q=a+b" {
		t.Errorf("%d %v", status, header)
	}
}

func TestEveryAnswerIsJSON(t *testing.T) {
	w := newWorld(t, nil)
	nasty := event(1, 1, activity.EventStarted, t0, str(activity.KeyResult, "{\"a\":\n\xff}"), str("\xff\"\n", "\u2028"))
	w.Apply([]activity.Event{named(nasty, "\x00\"\\\xff", -1)})
	for _, path := range []string{"/activity/all", "/activity/tree", "/activity/" + id(1).String(), "/activity/export", "/activity/export?format=otlp", "/activity/summary"} {
		_, _, body := w.get(t, path, "Accept", "application/json")
		if !json.Valid([]byte(body)) || !utf8.ValidString(body) {
			t.Errorf("%s: %q", path, body)
		}
	}
}
