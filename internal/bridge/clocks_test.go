package bridge

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/forward"
)

// host is a process whose clock is ahead of ours. Times are given by ours.
type host struct {
	b        *served
	name     string
	ahead    time.Duration
	resource string // as it is sent
	seq      int64
}

func (s *served) host(name string, ahead time.Duration, more ...string) *host {
	attrs := append([]string{text("service.name", name), text("service.instance.id", name+"-1"), text("midspan.lease.id", "lease of "+name)}, more...)
	return &host{b: s, name: name, ahead: ahead, resource: strings.Join(attrs, ",")}
}

func (h *host) clock(at time.Time) int64 { return at.Add(h.ahead).UnixNano() }

func (h *host) renewal(ttl time.Duration) string {
	h.seq++
	return fmt.Sprintf(`{"eventName":"midspan.lease.renewed","attributes":[%s,%s,%s]}`,
		number("ttl_ms", ttl.Milliseconds()), number("seq", h.seq), number("sent_at", h.clock(time.Now())))
}

func (h *host) renew() { h.b.send("/v1/logs", records(h.resource, h.renewal(time.Minute))) }

func (h *host) event(n int, event string, at time.Time, attrs ...string) string {
	return fmt.Sprintf(`{"traceId":%q,"spanId":"%016x","eventName":"activity.%s","timeUnixNano":"%d","attributes":[%s]}`,
		trace, n, event, h.clock(at), strings.Join(attrs, ","))
}

func (h *host) tell(n int, event string, at time.Time, attrs ...string) {
	h.b.send("/v1/logs", records(h.resource, h.event(n, event, at, attrs...)))
}

func (h *host) span(n, parent int, start, end time.Time) string {
	return span(trace, n, parent, h.clock(start), h.clock(end))
}

func (h *host) finish(n, parent int, start, end time.Time) {
	h.b.send("/v1/traces", spans(h.resource, h.span(n, parent, start, end)))
}

// stamp is a time as the API writes it.
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000000000Z") }

// list tells the numbers of the activities of a list, in its order.
func (s *served) list(path string) (numbers []int) {
	s.t.Helper()
	var page struct{ Activities []seen }
	s.read(path, &page)
	for _, a := range page.Activities {
		var n int
		if _, err := fmt.Sscanf(a.ID, trace+"-%x", &n); err != nil {
			s.t.Fatalf("%s: %v", a.ID, err)
		}
		numbers = append(numbers, n)
	}
	return numbers
}

func (s *served) activity(n int) (a seen) {
	s.t.Helper()
	var got struct{ Activity seen }
	s.read(fmt.Sprintf("/activity/%s-%016x", trace, n), &got)
	return got.Activity
}

// about fails unless a time is at most so far from the one wanted.
func about(t *testing.T, what string, got *string, want time.Time, most time.Duration) {
	t.Helper()
	if got == nil {
		t.Errorf("%s: none, want %v", what, want)
		return
	}
	at, err := time.Parse(time.RFC3339Nano, *got)
	if d := at.Sub(want); err != nil || d < -most || d > most {
		t.Errorf("%s is %v off", what, d)
	}
}

// precision is how well a clock is corrected.
const precision = time.Second

// Of hosts whose clocks are an hour apart what is open and what has ended stands
// where it belongs, in every view: in the order of what happened, with the ages and
// durations of what happened.
func TestClocksApartEverywhere(t *testing.T) {
	b := serve(t, Config{})
	hosts := []*host{b.host("ahead", time.Hour), b.host("behind", -time.Hour), b.host("right", 0)}
	now := time.Now()
	began := func(n int) time.Time { return now.Add(time.Duration(20*n-400) * time.Second) } // 380, 360, … s ago
	// 1 to 6 are open, 7 to 12 took 15 s. The root's host is ahead, its children's vary.
	for n := 1; n <= 12; n++ {
		h := hosts[n%3]
		if n <= 3 { // the renewal comes with the event, behind it
			b.send("/v1/logs", records(h.resource, h.event(n, "started", began(n), text("activity.parent_span_id", fmt.Sprintf("%016x", 100))), h.renewal(time.Minute)))
			continue
		}
		if n <= 6 {
			h.tell(n, "started", began(n), text("activity.parent_span_id", fmt.Sprintf("%016x", 100)))
			h.tell(n, "updated", now, text("activity.description.current", "at it"))
			continue
		}
		h.finish(n, 100, began(n), began(n).Add(15*time.Second))
	}
	hosts[0].tell(100, "started", began(0))
	down := func(from, to int) (out []int) {
		for n := from; n >= to; n-- {
			out = append(out, n)
		}
		return out
	}
	for path, want := range map[string][]int{
		"/activity/all":                                           append(down(12, 1), 100),
		"/activity/all?sort=planned_at":                           append([]int{100}, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
		"/activity/all?sort=-ended_at":                            down(12, 7),
		"/activity/active":                                        append(down(6, 1), 100),
		"/activity/all?since=200s":                                append(down(12, 10), append(down(6, 1), 100)...), // 9 ended 205 s ago
		"/activity/all?until=290s":                                append(down(5, 1), 100),                          // 6 began 280 s ago
		"/activity/active?min_duration=5m":                        append(down(5, 1), 100),
		"/activity/active?max_duration=5m":                        {6},
		"/activity/at?time=" + url.QueryEscape(stamp(time.Now())): append(down(12, 1), 100),
		"/activity/all?stalled=true":                              nil,
	} {
		if got := b.list(path); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	for n := 1; n <= 12; n++ {
		a := b.activity(n)
		about(t, fmt.Sprintf("the start of %d", n), a.StartedAt, began(n), precision)
		if n > 6 && (a.DurationMs == nil || *a.DurationMs != 15e3) {
			t.Errorf("%d took %v", n, a.DurationMs)
		}
		if 3 < n && n <= 6 {
			about(t, fmt.Sprintf("the last sign of %d", n), a.LastSeenAt, now, precision)
		}
	}
	var tree struct{ Roots []node }
	b.read("/activity/tree?trace="+trace, &tree)
	var order []int
	for _, c := range tree.Roots[0].Children {
		var n int
		_, _ = fmt.Sscanf(c.id(), trace+"-%x", &n)
		order = append(order, n)
	}
	if slices.Reverse(order); len(tree.Roots) != 1 || !slices.Equal(order, down(12, 1)) {
		t.Errorf("the tree has %v", order)
	}
}

// What was told before a clock was known is shifted when it is: at once what is open,
// by its end what ends, whose final span counts in whole.
func TestClockKnownLater(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			b := serve(t, Config{})
			h := b.host("far", ahead)
			now := time.Now()
			start := now.Add(-time.Minute)
			for n := 1; n <= 3; n++ {
				h.tell(n, "started", start)
			}
			h.tell(3, "updated", start.Add(time.Second), text("activity.description.current", "at it"))
			messages := b.watch("trace=" + trace)
			h.renew()
			for range 3 { // each is told to who watches
				if m := <-messages; m.Event != "updated" || m.Activity.State != "IN_PROGRESS" {
					t.Errorf("%+v", m)
				} else {
					about(t, "the start", m.Activity.StartedAt, start, precision)
				}
			}
			about(t, "the last sign", b.activity(3).LastSeenAt, start.Add(time.Second), precision)
			h.finish(2, 0, start, start.Add(30*time.Second))
			h.tell(3, "completed", start.Add(10*time.Second))
			h.finish(3, 0, start, start.Add(10*time.Second))
			for n, want := range map[int]float64{2: 30e3, 3: 10e3} {
				a := b.activity(n)
				if a.State != "COMPLETED" || a.DurationMs == nil || *a.DurationMs != want {
					t.Errorf("%d is %s and took %v", n, a.State, a.DurationMs)
				}
				about(t, "the start", a.StartedAt, start, precision)
				about(t, "the end", a.EndedAt, start.Add(time.Duration(want)*time.Millisecond), precision)
			}
			if got := b.list("/activity/active?max_duration=90s&min_duration=30s"); !slices.Equal(got, []int{1}) {
				t.Errorf("%v are open", got)
			}
		})
	}
}

// A process of a wrong clock that dies is lost when it died, and what comes of it late
// has its right times.
func TestClocksApartLost(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			b := serve(t, Config{})
			h := b.host("far", ahead, number("midspan.lease.ttl_ms", 1000))
			start := time.Now().Add(-10 * time.Second)
			b.send("/v1/logs", records(h.resource, h.renewal(time.Second)))
			h.tell(1, "started", start)
			h.tell(2, "started", start)
			died := time.Now()
			eventually(t, 20*time.Second, func() string {
				if a := b.activity(1); a.State != "LOST" {
					return a.State
				}
				return ""
			})
			var summary struct {
				Lost []struct {
					LostAt     *string `json:"lost_at"`
					LastSeenAt *string `json:"last_seen_at"`
				}
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.Addr().String()+"/activity/summary", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept", "application/json")
			resp, err := b.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			err = json.NewDecoder(resp.Body).Decode(&summary)
			resp.Body.Close()
			if err != nil || len(summary.Lost) != 2 {
				t.Fatalf("%v %+v", err, summary)
			}
			if at := *summary.Lost[0].LostAt; at < stamp(died.Add(-precision)) || at > stamp(time.Now().Add(precision)) {
				t.Errorf("lost at %s, after %s", at, stamp(died))
			}
			about(t, "the last sign", summary.Lost[0].LastSeenAt, start, precision)
			h.finish(2, 0, start, died) // its exporter was slow
			if a := b.activity(2); a.State != "COMPLETED" || *a.DurationMs != float64(h.clock(died)-h.clock(start))/1e6 {
				t.Errorf("%+v", a)
			}
			b.send("/v1/logs", records(h.resource, h.renewal(time.Second)))
			eventually(t, 10*time.Second, func() string {
				if a := b.activity(1); a.State != "IN_PROGRESS" {
					return a.State
				}
				return ""
			})
			about(t, "the start", b.activity(1).StartedAt, start, precision)
		})
	}
}

// What is sent again changes nothing, also when the clock is seen otherwise by then,
// after a start of the bridge and after the clock was set.
func TestClocksApartAgain(t *testing.T) {
	cfg := Config{Storage: Storage{Folder: t.TempDir()}}
	b := serve(t, cfg)
	far := b.host("far", time.Hour)
	start := time.Now().Add(-time.Minute)
	batch := func() {
		t.Helper()
		b.send("/v1/logs", records(far.resource,
			far.event(1, "started", start, number("activity.rev", 1)), far.event(1, "updated", start.Add(time.Second), number("activity.rev", 2)), far.event(3, "started", start)))
		b.send("/v1/traces", spans(far.resource, far.span(2, 1, start, start.Add(5*time.Second)), far.span(4, 1, start.Add(time.Second), start.Add(5*time.Second))))
	}
	all := func() (text string) {
		t.Helper()
		var page struct{ Activities []map[string]any }
		b.read("/activity/all?trace="+trace, &page)
		for _, a := range page.Activities {
			text += fmt.Sprintln(a)
		}
		return text
	}
	far.renew()
	batch()
	want := all()
	batch()
	if diff := cmp.Diff(want, all()); diff != "" {
		t.Errorf("sent again: %s", diff)
	}
	b.stop()
	b = serve(t, cfg)
	far.b = b
	if diff := cmp.Diff(want, all()); diff != "" {
		t.Errorf("after a start: %s", diff)
	}
	far.tell(5, "started", start) // before it has renewed: the log tells how far its clock is off
	about(t, "a start after that of the bridge", b.activity(5).StartedAt, start, precision)
	far.finish(5, 0, start, start.Add(time.Second))
	far.renew()
	want = all()
	batch()
	if diff := cmp.Diff(want, all()); diff != "" {
		t.Errorf("sent again after a start: %s", diff)
	}
	set := *far
	set.ahead = 3 * time.Hour
	set.renew()
	far.seq = set.seq
	set.tell(6, "started", start)
	about(t, "a start after the clock was set", b.activity(6).StartedAt, start, precision)
	set.finish(6, 0, start, start.Add(time.Second))
	want = all()
	batch()
	if diff := cmp.Diff(want, all()); diff != "" {
		t.Errorf("sent again after the clock was set: %s", diff)
	}
}

// A clock that is set while something goes on moves nothing of what was told, and what
// is told later is right.
func TestClockSetMeanwhile(t *testing.T) {
	b := serve(t, Config{})
	h := b.host("set", 0)
	now := time.Now()
	start := now.Add(-time.Minute)
	h.renew()
	h.tell(1, "started", start)
	h.tell(2, "started", start)
	h.ahead = time.Hour
	h.renew()
	h.tell(1, "updated", now, text("activity.description.current", "at it"))
	h.tell(2, "completed", now)
	h.finish(3, 0, start, now)
	for n := 1; n <= 3; n++ {
		a := b.activity(n)
		about(t, fmt.Sprintf("the start of %d", n), a.StartedAt, start, precision)
		about(t, "the last sign", a.LastSeenAt, now, precision)
	}
	if a := b.activity(2); *a.DurationMs < 59e3 || *a.DurationMs > 61e3 {
		t.Errorf("it took %v ms", *a.DurationMs)
	}
	h.ahead = 0 // it is set right, which is seen as soon as three renewals agree
	for range 3 {
		h.renew()
	}
	h.tell(4, "started", now)
	about(t, "the start", b.activity(4).StartedAt, now, precision)
}

// Nobody but the bridge says how times were shifted, and of a process without a lease
// nothing is known.
func TestForgedShift(t *testing.T) {
	b := serve(t, Config{})
	start := time.Now().Add(-time.Minute)
	forged := []string{number("midspan.clock.shift_ms", 7_200_000), `{"key":"midspan.clock.set","value":{"boolValue":true}}`}
	right, far := b.host("right", 0, forged...), b.host("far", time.Hour, forged...)
	none := &host{b: b, ahead: time.Hour, resource: strings.Join(append(forged, text("service.name", "none")), ",")}
	right.tell(4, "started", start) // before the renewal, too
	right.renew()
	far.renew()
	for n, h := range []*host{right, far, none} {
		h.tell(n+1, "started", start)
	}
	for n, want := range map[int]struct {
		start time.Time
		told  []string
	}{1: {start, nil}, 2: {start, []string{`"midspan.clock.shift_ms":-3600000`}}, 3: {start.Add(time.Hour), nil}, 4: {start, nil}} {
		about(t, fmt.Sprintf("the start of %d", n), b.activity(n).StartedAt, want.start, precision)
		var detail string
		b.read(fmt.Sprintf("/activity/%s-%016x", trace, n), &detail)
		if got := strings.Count(detail, "midspan.clock."); got != len(want.told) || len(want.told) > 0 && !strings.Contains(detail, want.told[0]) {
			t.Errorf("%d: %s", n, detail)
		}
	}
}

// spanTarget keeps the spans that it is sent, each with its resource, as JSON.
type spanTarget struct {
	mu    sync.Mutex // guards everything below
	spans map[string][]string
}

func (s *spanTarget) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sent := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		sent, _ = gzip.NewReader(r.Body)
	}
	body, err := io.ReadAll(sent)
	req := ptraceotlp.NewExportRequest()
	if err != nil || req.UnmarshalProto(body) != nil {
		http.Error(w, "no OTLP", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	apart(req.Traces(), s.spans)
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// apart adds each span, with its resource and scope, to those of its id.
func apart(td ptrace.Traces, to map[string][]string) {
	for _, rs := range td.ResourceSpans().All() {
		for _, ss := range rs.ScopeSpans().All() {
			for _, s := range ss.Spans().All() {
				one := ptrace.NewTraces()
				of := one.ResourceSpans().AppendEmpty()
				rs.Resource().CopyTo(of.Resource())
				ss.Scope().CopyTo(of.ScopeSpans().AppendEmpty().Scope())
				s.CopyTo(of.ScopeSpans().At(0).Spans().AppendEmpty())
				text, _ := new(ptrace.JSONMarshaler).MarshalTraces(one)
				id := s.SpanID().String()
				to[id] = append(to[id], string(text))
			}
		}
	}
}

// What is forwarded is what was sent, field by field, and once.
func TestClocksApartForwarded(t *testing.T) {
	target := &spanTarget{spans: map[string][]string{}}
	to := httptest.NewServer(target)
	defer to.Close()
	b := serve(t, Config{Forward: forward.Config{Targets: []forward.Target{{URL: to.URL}}}})
	want := map[string][]string{}
	start := time.Now().Add(-time.Minute)
	for n, h := range []*host{b.host("ahead", time.Hour), b.host("behind", -time.Hour), b.host("right", 0)} {
		full := func(n int) string {
			at := func(key string, after time.Duration) string { return number(key, h.clock(start.Add(after))) }
			return strings.TrimSuffix(h.span(n, 9, start, start.Add(time.Minute)), "}") + fmt.Sprintf(
				`,"kind":2,"flags":1,"attributes":[%s,%s,%s],"events":[{"name":"exception","timeUnixNano":"%d"},{"name":"timeless"}],"status":{"code":2,"message":"no"}}`,
				at("activity.planned_at", 0), at("activity.started_at", time.Second), at("order.at", 0), h.clock(start.Add(time.Second)))
		}
		send := func(body string) {
			b.send("/v1/traces", body)
			td, err := new(ptrace.JSONUnmarshaler).UnmarshalTraces([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			apart(td, want)
		}
		send(spans(h.resource, full(10*n+1)))
		h.renew()
		send(spans(h.resource, full(10*n+2), h.span(10*n+3, 0, start, start.Add(time.Second))))
		b.send("/v1/traces", spans(h.resource, full(10*n+1), full(10*n+2))) // again
		about(t, "the start", b.activity(10*n+2).StartedAt, start.Add(time.Second), precision)
	}
	eventually(t, 20*time.Second, func() string {
		target.mu.Lock()
		defer target.mu.Unlock()
		return cmp.Diff(want, target.spans)
	})
}

// A clock that turns out to be off while an event is on its way to the index has the
// event shifted, too.
func TestClockKnownMeanwhile(t *testing.T) {
	b := serve(t, Config{})
	h := b.host("far", time.Hour)
	start := time.Now()
	h.tell(1, "started", start)
	resource := activity.NewResource([]activity.Attr{{Key: activity.KeyLeaseID, Value: activity.StringValue("lease of far")}}, "")
	id, err := activity.ParseID(fmt.Sprintf("%s-%016x", trace, 2))
	if err != nil {
		t.Fatal(err)
	}
	events := []activity.Event{{ID: id, Kind: activity.EventStarted, At: activity.Time(h.clock(start)), Changes: activity.Changes{Resource: resource}}}
	indexed := b.store.shift(events)
	h.renew()
	eventually(t, 10*time.Second, func() string { // what was open then has been seen to
		if a := b.activity(1); *a.StartedAt > stamp(start.Add(precision)) {
			return *a.StartedAt
		}
		return ""
	})
	if err := b.store.append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	about(t, "the start at first", b.activity(2).StartedAt, start.Add(time.Hour), precision)
	indexed()
	eventually(t, 10*time.Second, func() string {
		if a := b.activity(2); *a.StartedAt > stamp(start.Add(precision)) {
			return *a.StartedAt
		}
		return ""
	})
}
