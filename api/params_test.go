package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

func TestFilterParams(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	yes := true
	for _, tt := range []struct {
		query string
		want  activity.Filter
	}{
		{"", activity.Filter{}},
		{"type=Decision&type=SPAN", activity.Filter{Types: []activity.Type{activity.Decision, activity.Span}}},
		{"state=in_progress&state=Lost", activity.Filter{States: []activity.State{activity.InProgress, activity.Lost}}},
		{"stalled=true", activity.Filter{Stalled: &yes}},
		{"stalled=1", activity.Filter{Stalled: &yes}},
		{"service=a&service=b&agent=c&thread=d%2Fe", activity.Filter{Services: []string{"a", "b"}, Agents: []string{"c"}, Threads: []string{"d/e"}}},
		{"trace=" + strings.ToUpper(id(1).Trace.String()), activity.Filter{Traces: []activity.TraceID{id(1).Trace}}},
		{"parent=" + id(1).String(), activity.Filter{Parents: []activity.ID{id(1)}}},
		{`q=one+%22two+Three%22`, activity.Filter{Terms: []string{"one", "two three"}}},
		{"since=15m", activity.Filter{Since: activity.TimeOf(now.Add(-15 * time.Minute))}},
		{"since=2d&until=1h30m", activity.Filter{Since: activity.TimeOf(now.Add(-48 * time.Hour)), Until: activity.TimeOf(now.Add(-90 * time.Minute))}},
		{"since=2026-11-22T10:00:00%2B01:00", activity.Filter{Since: activity.TimeOf(now.Add(-time.Hour))}},
		{"until=2026-11-22T10:00:00.5Z", activity.Filter{Until: activity.TimeOf(now.Add(500 * time.Millisecond))}},
		{"min_duration=250ms&max_duration=1.5s", activity.Filter{MinDuration: 250 * time.Millisecond, MaxDuration: 1500 * time.Millisecond}},
		{"attr.b=2&attr.a.b=1&attr.b=3&attr.c=", activity.Filter{Attrs: []activity.AttrFilter{{Key: "a.b", Values: []string{"1"}}, {Key: "b", Values: []string{"2", "3"}}, {Key: "c", Values: []string{""}}}}},
	} {
		p := parseParams(t.Context(), nil, now, tt.query)
		got := p.filter()
		if err := p.finish(); err != nil {
			t.Errorf("%s: %v", tt.query, err)
		}
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.query, diff)
		}
		if all := selectsAll(&got); all != (tt.query == "") {
			t.Errorf("%s: selects all: %v", tt.query, all)
		}
	}
}

// TestBadRequests asks the running server what it must refuse, and holds the
// parameter that it blames.
func TestBadRequests(t *testing.T) {
	w := newWorld(t, nil)
	w.Apply(story())
	_, _, body := w.get(t, "/activity/all?limit=1")
	cursor := object(t, body)["next_cursor"].(string)
	long := strings.Repeat("x", maxValue+1)
	many := strings.Repeat("&service=a", maxValues+1)[1:]
	for _, tt := range []struct {
		path, parameter string
		status          int
	}{
		{"/activity/all?typ=decision", "typ", 400},
		{"/activity/all?type=decison", "type", 400},
		{"/activity/all?type=", "type", 400},
		{"/activity/all?state=DONE", "state", 400},
		{"/activity/all?state=UNKNOWN", "state", 400},
		{"/activity/all?stalled=yes", "stalled", 400},
		{"/activity/all?stalled=1&stalled=0", "stalled", 400},
		{"/activity/all?service=", "service", 400},
		{"/activity/all?service=" + long, "service", 400},
		{"/activity/all?" + many, "service", 400},
		{"/activity/all?trace=1234", "trace", 400},
		{"/activity/all?trace=" + strings.Repeat("0", 32), "trace", 400},
		{"/activity/all?parent=1234", "parent", 400},
		{"/activity/all?parent=00000000000000ff", "parent", 404},
		{"/activity/all?q=a&q=b", "q", 400},
		{"/activity/all?q=%22%22", "q", 400},
		{"/activity/all?q=" + strings.Repeat("x", maxQ+1), "q", 400},
		{"/activity/all?q=" + strings.Repeat("x+", maxTerms+1), "q", 400},
		{"/activity/all?since=yesterday", "since", 400},
		{"/activity/all?since=-15m", "since", 400},
		{"/activity/all?since=15", "since", 400},
		{"/activity/all?since=0", "since", 400},
		{"/activity/all?since=0001-01-01T00:00:00Z", "since", 400},
		{"/activity/all?since=9999-01-01T00:00:00Z", "since", 400},
		{"/activity/all?since=1m&until=2m", "since", 400},
		{"/activity/all?until=99999999d", "until", 400},
		{"/activity/all?min_duration=1", "min_duration", 400},
		{"/activity/all?min_duration=-1s", "min_duration", 400},
		{"/activity/all?max_duration=long", "max_duration", 400},
		{"/activity/all?min_duration=2s&max_duration=1s", "min_duration", 400},
		{"/activity/all?attr.=x", "attr.", 400},
		{"/activity/all?attr." + strings.Repeat("k", maxAttrKey+1) + "=x", "attr." + strings.Repeat("k", 59) + "…", 400},
		{"/activity/all?" + attrQuery(maxAttrFilters+1), "attr.*", 400},
		{"/activity/all?" + attrQuery(maxParams+1), "", 400},
		{"/activity/all?sort=name", "sort", 400},
		{"/activity/all?sort=planned_at&sort=-planned_at", "sort", 400},
		{"/activity/all?limit=0", "limit", 400},
		{"/activity/all?limit=1001", "limit", 400},
		{"/activity/all?limit=ten", "limit", 400},
		{"/activity/all?limit=10&limit=10", "limit", 400},
		{"/activity/all?cursor=x", "cursor", 400},
		{"/activity/all?cursor=" + cursor + "A", "cursor", 400},
		{"/activity/all?cursor=" + strings.ToLower(cursor), "cursor", 400},
		{"/activity/all?sort=planned_at&cursor=" + cursor, "cursor", 400},
		{"/activity/all?%zz", "", 400},
		{"/activity/all?a;b", "", 400},
		{"/activity/active?state=COMPLETED", "state", 400},
		{"/activity/active?sort=-duration", "sort", 400},
		{"/activity/active?sort=-ended_at", "sort", 400},
		{"/activity/decisions?type=decision", "type", 400},
		{"/activity/thread/a?thread=a", "thread", 400},
		{"/activity/thread/" + long, "thread_id", 400},
		{"/activity/thread/", "", 404},
		{"/activity/activity/nothing", "activity_id", 400},
		{"/activity/activity/" + id(0).String() + "0", "activity_id", 400},
		{"/activity/activity/00000000000000ff", "activity_id", 404},
		{"/activity/activity/" + id(77).String(), "", 404},
		{"/activity/activity/" + id(0).String() + "?depth=1", "depth", 400},
		{"/activity/" + strings.Repeat("g", 16), "", 404},
		{"/activity/tree?depth=-1", "depth", 400},
		{"/activity/tree?depth=129", "depth", 400},
		{"/activity/tree?limit=10001", "limit", 400},
		{"/activity/tree?root=x", "root", 400},
		{"/activity/tree?root=00000000000000ff", "root", 404},
		{"/activity/tree?root=" + id(77).String(), "", 404},
		{"/activity/tree?cursor=x", "cursor", 400},
		{"/activity/stats?limit=1", "limit", 400},
		{"/activity/summary?sort=planned_at", "sort", 400},
		{"/activity/export?format=xml", "format", 400},
		{"/activity/export?limit=1", "limit", 400},
		{"/activity/stream?batch=yes", "batch", 400},
		{"/activity/stream?hello=", "hello", 400},
		{"/activity/stream?after=x", "after", 400},
		{"/activity/stream?after=x:", "after", 400},
		{"/activity/stream?after=:1", "after", 400},
		{"/activity/stream?after=x:%2B1", "after", 400},
		{"/activity/stream?after=x:-1", "after", 400},
		{"/activity/stream?after=x:18446744073709551616", "after", 400},
		{"/activity/stream?after=" + strings.Repeat("x", maxAfter) + ":1", "after", 400},
		{"/activity/stream?limit=1", "limit", 400},
		{"/healthz?x=1", "x", 400},
		{"/readyz?x=1", "x", 400},
		{"/openapi.json?x=1", "x", 400},
		{"/session", "", 405},
		{"/nothing", "", 404},
		{"/activity", "", 404},
		{"/activity/all/", "", 404},
		{"/activity/all?q=" + strings.Repeat("x", maxURL), "", 414},
	} {
		name := tt.path
		if len(name) > 80 {
			name = name[:80]
		}
		t.Run(name, func(t *testing.T) {
			status, header, body := w.get(t, tt.path)
			if status != tt.status || header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("status %d, want %d, %s: %s", status, tt.status, header.Get("Content-Type"), body)
			}
			p := object(t, body)
			got, _ := p["parameter"].(string)
			if got != tt.parameter || p["type"] != "about:blank" || p["status"] != float64(status) || p["title"] != http.StatusText(status) || p["detail"] == "" {
				t.Errorf("%s, want the parameter %q", body, tt.parameter)
			}
		})
	}
	if status, _, body := w.get(t, "/activity/stream", "Accept", "text/event-stream", "Last-Event-ID", "x"); status != 400 || object(t, body)["parameter"] != "Last-Event-ID" {
		t.Errorf("Last-Event-ID: %d %s", status, body)
	}
}

func attrQuery(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&attr.k%d=v", i)
	}
	return b.String()[1:]
}

func TestMethods(t *testing.T) {
	w := newWorld(t, nil)
	for _, tt := range []struct {
		method, path, allow string
		want                int
	}{
		{"OPTIONS", "/activity/all", "GET, HEAD", 405},
		{"POST", "/activity/all", "GET, HEAD", 405},
		{"DELETE", "/activity/activity/" + id(0).String(), "GET, HEAD", 405},
		{"HEAD", "/activity/stream", "GET", 405},
		{"PUT", "/session", "POST, DELETE", 405},
		{"BREW", "/healthz", "GET, HEAD", 405},
		{"HEAD", "/activity/all", "", 200},
		{"HEAD", "/activity/export", "", 200},
		{"HEAD", "/healthz", "", 200},
		{"GET", "/", "", 302},
		{"GET", "/monitor", "", 302},
		{"GET", "/monitor/", "", 404},
	} {
		status, header, body := w.do(t, tt.method, tt.path, "")
		if status != tt.want || header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d, Allow %q: %s", tt.method, tt.path, status, header.Get("Allow"), body)
		}
		if tt.method == "HEAD" && body != "" {
			t.Errorf("%s %s has a body", tt.method, tt.path)
		}
		if status == 302 && header.Get("Location") != "/monitor/" {
			t.Errorf("%s leads to %q", tt.path, header.Get("Location"))
		}
	}
}

func TestThreadPaths(t *testing.T) {
	w := newWorld(t, nil)
	ids := []string{"worker-3", "a/b", "a//b", "../x", "ü %41", "a?b#c", "/", "..", "a+b", "stats"}
	for i, thread := range ids {
		w.Apply([]activity.Event{named(event(i, 1, activity.EventStarted, t0, str(activity.KeyThreadID, thread)), thread, -1)})
	}
	for _, thread := range ids {
		_, _, body := w.get(t, "/activity/thread/"+strings.ReplaceAll(url.PathEscape(thread), ".", "%2E"))
		list, _ := object(t, body)["activities"].([]any)
		if len(list) != 1 || list[0].(map[string]any)["thread_id"] != thread {
			t.Errorf("%q: %s", thread, body)
		}
	}
	if _, _, body := w.get(t, "/activity/thread/a/b"); !strings.Contains(body, `"thread_id":"a/b"`) {
		t.Errorf("slashes as they are: %s", body)
	}
}

func TestPagesStayRight(t *testing.T) {
	w := newWorld(t, func(_ *Config, i *index.Config) { i.MaxFinished = 40 })
	finish := func(from, n int) {
		for i := from; i < from+n; i++ {
			w.Apply([]activity.Event{started(i, "row"), event(i, 2, activity.EventCompleted, at(time.Duration(i)*time.Second+time.Duration(i%7)*time.Millisecond))})
		}
	}
	for _, sort := range []string{"-planned_at", "planned_at", "-duration", "-ended_at"} {
		t.Run(sort, func(t *testing.T) {
			base := map[string]int{"-planned_at": 1000, "planned_at": 2000, "-duration": 3000, "-ended_at": 4000}[sort]
			finish(base, 40)
			seen := make(map[string]int)
			query := "/activity/all?limit=7&since=2000-01-01T00:00:00Z&sort=" + url.QueryEscape(sort)
			cursor, pages := "", 0
			for {
				_, _, body := w.get(t, query+cursor)
				page := object(t, body)
				for _, a := range page["activities"].([]any) {
					seen[a.(map[string]any)["activity_id"].(string)]++
				}
				if pages++; pages == 2 {
					finish(base+40, 10) // arrivals, which evict the ten oldest
				}
				next, ok := page["next_cursor"].(string)
				if !ok {
					break
				}
				cursor = "&cursor=" + next
			}
			for i := base + 10; i < base+40; i++ {
				if seen[id(i).String()] != 1 {
					t.Errorf("row %d was seen %d times", i-base, seen[id(i).String()])
				}
			}
		})
	}
}

// errReader is a Reader whose answers are errors.
type errReader struct {
	Reader
	err error
}

func (e errReader) List(context.Context, *activity.Query) (*activity.Page, error) { return nil, e.err }
func (e errReader) StatsOf(context.Context, *activity.Filter) (*activity.Stats, error) {
	return nil, e.err
}
func (e errReader) Stats(context.Context) (*activity.Stats, error) { return nil, e.err }
func (e errReader) Resolve(context.Context, activity.SpanID) ([]activity.ID, error) {
	return nil, e.err
}
func (e errReader) Get(context.Context, activity.ID) (*activity.Detail, error) { return nil, e.err }
func (e errReader) Tree(context.Context, *activity.TreeQuery) (*activity.Tree, error) {
	return nil, e.err
}
func (e errReader) Scan(context.Context, *activity.Filter, func(*activity.Activity) error) error {
	return e.err
}

func TestReaderFails(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *index.Config) {
		c.Reader = errReader{index.New(index.Config{}), fmt.Errorf("the secret path is broken")}
	})
	for _, path := range []string{
		"/activity/all", "/activity/tree", "/activity/activity/" + id(0).String(), "/activity/0000000000000001",
		"/activity/stats", "/activity/stats?type=span", "/activity/summary", "/activity/export",
	} {
		status, _, body := w.get(t, path)
		if status != http.StatusInternalServerError || strings.Contains(body, "secret") {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}
