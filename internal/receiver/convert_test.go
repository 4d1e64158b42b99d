package receiver

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

const charge = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"

// Whatever a span carries is kept.
func TestSpanIsKept(t *testing.T) {
	x := newIndex()
	r := newReceiver(t, Config{Sink: sink{x}})
	for _, s := range fixture(t, "full.json") {
		mustPost(t, r, s.Path, s.Body)
	}
	got := get(t, x, id(t, charge))
	const start = activity.Time(1763900000000000000)
	str, at := activity.StringValue, func(ms int64) activity.Time { return start + activity.Time(ms*1e6) }
	for _, f := range []struct {
		name      string
		got, want any
	}{
		{"state", got.State, activity.Failed},
		{"type", got.Type, activity.DatabaseOperation},
		{"name", got.Name, "charge card"},
		{"kind", got.Kind, activity.KindClient},
		{"parent", got.Parent.String(), "4bf92f3577b34da6a3ce929d0e0e4736-53995c3f42cd8ad8"},
		{"start", got.StartedAt, start},
		{"end", got.EndedAt, at(1500)},
		{"sampling", got.Sampling, activity.Sampled},
		{"trace state", got.TraceState, "rojo=00f067aa0ba902b7"},
		{"dropped", got.Dropped, [3]uint32{3, 2, 1}},
		{"status", got.Status, activity.StatusError},
		{"error", *got.Error, activity.Error{Type: "net.Error", Message: "connection reset", Stack: "at main"}},
		{"resource", *got.Resource, activity.Resource{
			Service: "shop", Instance: "shop-1", SchemaURL: "https://opentelemetry.io/schemas/1.37.0",
			Attrs: []activity.Attr{{Key: "service.name", Value: str("shop")}, {Key: "service.instance.id", Value: str("shop-1")}},
		}},
		{"scope", *got.Scope, activity.Scope{
			Name: "lib", Version: "1.2.3", SchemaURL: "https://opentelemetry.io/schemas/1.36.0",
			Attrs: []activity.Attr{{Key: "part", Value: str("db")}},
		}},
		{"links", got.Links, []activity.Link{{
			ID: id(t, "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"), TraceState: "a=b",
			Attrs: []activity.Attr{{Key: "why", Value: str("retry")}},
		}}},
		{"events", got.SpanEvents, []activity.SpanEvent{{At: at(5), Name: "exception", Attrs: []activity.Attr{
			{Key: "exception.type", Value: str("net.Error")},
			{Key: "exception.message", Value: str("reset")},
			{Key: "exception.stacktrace", Value: str("at main")},
		}}}},
		{"attributes", got.Attributes, []activity.Attr{
			{Key: "db.system.name", Value: str("postgresql")},
			{Key: "n", Value: activity.IntValue(7)},
			{Key: "ratio", Value: activity.FloatValue(0.25)},
			{Key: "ok", Value: activity.BoolValue(true)},
			{Key: "many", Value: activity.SliceValue([]activity.Value{str("a"), str("b")})},
			{Key: "raw", Value: activity.BytesValue("\x00\xff")},
			{Key: "map", Value: activity.MapValue([]activity.Attr{{Key: "inner", Value: str("x")}})},
		}},
	} {
		if diff := cmp.Diff(f.want, f.got); diff != "" {
			t.Errorf("%s: %s", f.name, diff)
		}
	}
}

// The state at a span's end follows from its attribute and its status.
func TestFinalState(t *testing.T) {
	for _, tt := range []struct {
		name, state, status string
		want                activity.State
	}{
		{"unset", "", `{}`, activity.Completed},
		{"ok", "", `{"code":1}`, activity.Completed},
		{"error", "", `{"code":2}`, activity.Failed},
		{"cancelled", "CANCELLED", `{}`, activity.Cancelled},
		{"cancelled wins", "CANCELLED", `{"code":2}`, activity.Cancelled},
		{"left in progress", "IN_PROGRESS", `{}`, activity.Completed},
		{"says completed, is an error", "COMPLETED", `{"code":2}`, activity.Failed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newIndex()
			mustPost(t, newReceiver(t, Config{Sink: sink{x}}), "/v1/traces", fmt.Appendf(nil,
				`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7",
				"name":"a","startTimeUnixNano":"10","endTimeUnixNano":"20","status":%s,
				"attributes":[{"key":"activity.state","value":{"stringValue":%q}}]}]}]}]}`, tt.status, tt.state))
			if got := get(t, x, id(t, charge)).State; got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// A log event says whether a span will follow, by its flags or in words.
func TestSamplingOfLogEvents(t *testing.T) {
	for _, tt := range []struct {
		record string
		want   activity.Sampling
	}{
		{`"flags":1`, activity.Sampled},
		{`"flags":0`, 0}, // as one that sets none
		{`"flags":2`, activity.Unsampled},
		{`"flags":0,"attributes":[{"key":"activity.sampled","value":{"boolValue":false}}]`, activity.Unsampled},
		{`"attributes":[{"key":"activity.sampled","value":{"boolValue":true}}]`, activity.Sampled},
	} {
		x := newIndex()
		mustPost(t, newReceiver(t, Config{Sink: sink{x}}), "/v1/logs", fmt.Appendf(nil,
			`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7",
			"eventName":"activity.started","timeUnixNano":"10",%s}]}]}]}`, tt.record))
		if got := get(t, x, id(t, charge)); got.Sampling != tt.want || len(got.Attributes) != 0 {
			t.Errorf("%s: %v, attributes %v", tt.record, got.Sampling, got.Attributes)
		}
	}
}

// A span's trace flags say whether it is sampled, ended or in flight; flags
// without them say so too, but for the SDKs that leave them out.
func TestSamplingOfSpans(t *testing.T) {
	for _, tt := range []struct {
		flags uint32
		sdk   string
		want  activity.Sampling
	}{
		{0, "", 0},
		{1, "", activity.Sampled},
		{0x301, "", activity.Sampled},
		{0x101, "python", activity.Sampled},
		{2, "", activity.Unsampled}, // random, and not sampled
		{0x100, "", activity.Unsampled},
		{0x300, "", activity.Unsampled},
		{0x100, "java", activity.Unsampled},
		{0x102, "python", activity.Unsampled},
		{0x100, "python", 0},
		{0x300, "go", 0},
		{0x100, "erlang", 0},
	} {
		for _, end := range []string{"20", "0"} {
			x := newIndex()
			mustPost(t, newReceiver(t, Config{Sink: sink{x}}), "/v1/traces", fmt.Appendf(nil,
				`{"resourceSpans":[{"resource":{"attributes":[{"key":"telemetry.sdk.language","value":{"stringValue":%q}}]},"scopeSpans":[{"spans":[
				{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","startTimeUnixNano":"10","endTimeUnixNano":%q,"flags":%d}]}]}]}`,
				tt.sdk, end, tt.flags))
			if got := get(t, x, id(t, charge)).Sampling; got != tt.want {
				t.Errorf("flags %#x of %q, end %s: %v, want %v", tt.flags, tt.sdk, end, got, tt.want)
			}
		}
	}
}

// counted returns what the statistics count, without the time.
func counted(t *testing.T, x *index.Index) *activity.Stats {
	t.Helper()
	s, err := x.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Now, s.SecondsEnd, s.Seconds, s.Held.Bytes = 0, 0, [60]activity.Second{}, 0
	for _, w := range []*activity.Window{&s.All, &s.Minute, &s.FiveMinutes, &s.Hour} {
		w.PerSecond = 0
	}
	return s
}

// A request that is sent again changes nothing.
func TestRepetition(t *testing.T) {
	for _, name := range []string{"full.json", "open-span.json", "logfire.json", "g-research.json", "log-events.json"} {
		t.Run(name, func(t *testing.T) {
			x := newIndex()
			r := newReceiver(t, Config{Sink: sink{x}})
			requests := fixture(t, name)
			for _, s := range requests {
				mustPost(t, r, s.Path, s.Body)
			}
			seq, want, counts := x.Head().Seq, get(t, x, id(t, charge)), counted(t, x)
			for range 3 {
				for _, s := range requests {
					mustPost(t, r, s.Path, s.Body)
				}
			}
			if got := x.Head().Seq; got != seq {
				t.Errorf("the log went on from %d to %d", seq, got)
			}
			if diff := cmp.Diff(counts, counted(t, x)); diff != "" {
				t.Errorf("the statistics: %s", diff)
			}
			if diff := cmp.Diff(string(want.AppendJSON(nil)), string(get(t, x, id(t, charge)).AppendJSON(nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Each in-flight form shows an open activity, and makes one activity with its
// final span, in whatever order both arrive.
func TestInFlightForms(t *testing.T) {
	for _, tt := range []struct {
		file  string
		first activity.State
	}{
		{"open-span.json", activity.InProgress},
		{"logfire.json", activity.InProgress},
		{"g-research.json", activity.InProgress},
		{"log-events.json", activity.Planned},
	} {
		t.Run(tt.file, func(t *testing.T) {
			requests := fixture(t, tt.file)
			var want string
			permute(requests, func(order []sent) {
				x := newIndex()
				r := newReceiver(t, Config{Sink: sink{x}})
				for i, s := range order {
					mustPost(t, r, s.Path, s.Body)
					if n := count(t, x); n != 1 {
						t.Fatalf("%d activities after %d requests", n, i+1)
					}
				}
				a := get(t, x, id(t, charge))
				if a.State != activity.Completed || a.Name != "charge card" || a.Kind != activity.KindClient ||
					a.Parent.String() != "4bf92f3577b34da6a3ce929d0e0e4736-53995c3f42cd8ad8" || a.Service() != "shop" ||
					a.Attr("http.request.method").Str() != "POST" || a.EndedAt.Sub(a.SpanStart) != 9e8 && a.SpanStart != 0 {
					t.Fatalf("it became %s", a.AppendJSON(nil))
				}
				slices.SortFunc(a.Attributes, func(a, b activity.Attr) int { return strings.Compare(a.Key, b.Key) })
				a.Usual = 0 // of the index, not of the activity
				got := string(a.AppendJSON(nil))
				if want == "" {
					want = got
				}
				if got != want {
					t.Errorf("another order gave another activity: %s", cmp.Diff(want, got))
				}
			})
			x := newIndex()
			mustPost(t, newReceiver(t, Config{Sink: sink{x}}), requests[0].Path, requests[0].Body)
			a := get(t, x, id(t, charge))
			if a.State != tt.first || a.Name != "charge card" || a.Parent.IsZero() {
				t.Errorf("its first request gave %s", a.AppendJSON(nil))
			}
			for _, attr := range a.Attributes {
				if strings.HasPrefix(attr.Key, "logfire.pending") || strings.HasPrefix(attr.Key, "partial.") || attr.Key == activity.KeyRev {
					t.Errorf("%s tells of the form, not of the activity", attr.Key)
				}
			}
		})
	}
}

// permute calls fn with every order of list.
func permute[T any](list []T, fn func([]T)) {
	var place func(k int)
	place = func(k int) {
		if k == len(list) {
			fn(slices.Clone(list))
			return
		}
		for i := k; i < len(list); i++ {
			list[k], list[i] = list[i], list[k]
			place(k + 1)
			list[k], list[i] = list[i], list[k]
		}
	}
	place(0)
}

// The public measurement of this problem is an agent's run of which 16 of 17
// spans arrived as orphans: children end first, the root comes last. A watcher
// sees one tree from the first message on, and no node moves.
func TestRootLast(t *testing.T) {
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	span := func(n, parent, end int) []byte {
		return fmt.Appendf(nil, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":%q,"spanId":"%016x","parentSpanId":%q,"name":"step %d",
			"startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}`, trace, n,
			map[bool]string{true: "", false: fmt.Sprintf("%016x", parent)}[parent == 0], n, 1763900000000000000+n, 1763900000000000000+end)
	}
	for _, tt := range []struct {
		name    string
		rootEnd int
	}{
		{"root ends last", 9000},
		{"root ends before its children", 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newIndex()
			r := newReceiver(t, Config{Sink: sink{x}})
			parents := map[activity.ID]activity.ID{}
			look := func(seen int) {
				tr := tree(t, x)
				if len(tr.Roots) != 1 {
					t.Fatalf("%d trees after %d spans", len(tr.Roots), seen)
				}
				if root := tr.Roots[0]; root.ID.Span != (activity.SpanID{7: 1}) || (root.Activity == nil) != (seen < 17) {
					t.Fatalf("after %d spans the root is %v, activity %v", seen, root.ID, root.Activity)
				}
				nodes := 0
				var walk func(n *activity.Node, parent activity.ID)
				walk = func(n *activity.Node, parent activity.ID) {
					if was, ok := parents[n.ID]; ok && was != parent {
						t.Errorf("%v moved from %v to %v", n.ID, was, parent)
					}
					parents[n.ID] = parent
					if n.Activity != nil {
						nodes++
					}
					for _, c := range n.Children {
						walk(c, n.ID)
					}
				}
				walk(tr.Roots[0], activity.ID{})
				if nodes != seen {
					t.Errorf("%d of %d spans are in the tree", nodes, seen)
				}
			}
			for n := 17; n > 1; n-- { // the children of the root, last to first
				mustPost(t, r, "/v1/traces", span(n, 1, 100+n))
				look(18 - n)
			}
			mustPost(t, r, "/v1/traces", span(1, 0, tt.rootEnd))
			look(17)
		})
	}
}

// Nested steps come in the order of their ends. Each stands under its parent
// from the first moment; what is not seen yet is a placeholder.
func TestNestedRootLast(t *testing.T) {
	x := newIndex()
	r := newReceiver(t, Config{Sink: sink{x}})
	// 1 → 2 → 4, 5; 1 → 3 → 6, 7
	parentOf := map[int]int{2: 1, 3: 1, 4: 2, 5: 2, 6: 3, 7: 3}
	for i, n := range []int{4, 5, 2, 6, 7, 3, 1} {
		parent := ""
		if p := parentOf[n]; p != 0 {
			parent = fmt.Sprintf("%016x", p)
		}
		mustPost(t, r, "/v1/traces", fmt.Appendf(nil, `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736",
			"spanId":"%016x","parentSpanId":%q,"name":"step","startTimeUnixNano":"%d","endTimeUnixNano":"%d"}]}]}]}`, n, parent, n, 100+i))
		var walk func(node *activity.Node, parent int)
		walk = func(node *activity.Node, parent int) {
			n := int(node.ID.Span[7])
			if node.Activity != nil && parentOf[n] != parent {
				t.Errorf("after %d spans %d stands under %d", i+1, n, parent)
			}
			for _, c := range node.Children {
				walk(c, n)
			}
		}
		for _, root := range tree(t, x).Roots {
			walk(root, 0)
		}
	}
	if tr := tree(t, x); len(tr.Roots) != 1 || tr.Roots[0].ID.Span[7] != 1 {
		t.Errorf("in the end there are %d roots", len(tr.Roots))
	}
}

// Resources that say the same are one in memory.
func TestSourcesAreShared(t *testing.T) {
	x := newIndex()
	r := newReceiver(t, Config{Sink: sink{x}})
	body := fixture(t, "full.json")[0].Body
	mustPost(t, r, "/v1/traces", body)
	mustPost(t, r, "/v1/traces", bytes.ReplaceAll(body, []byte("00f067aa0ba902b7"), []byte("00f067aa0ba902b8")))
	a := get(t, x, id(t, charge))
	b := get(t, x, id(t, "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8"))
	if a.Resource != b.Resource || a.Scope != b.Scope {
		t.Error("each batch has a resource and a scope of its own")
	}
}

// A pending span whose parent is no id is rejected; zeros, or none, stand for a root.
func TestPendingParent(t *testing.T) {
	for parent, rejected := range map[string]bool{
		`,{"key":"logfire.pending_parent_id","value":{"stringValue":"0000000000000000"}}`: false,
		`,{"key":"logfire.pending_parent_id","value":{"stringValue":"53995c3f42cd8ad8"}}`: false,
		``: false,
		`,{"key":"logfire.pending_parent_id","value":{"stringValue":"53995c3f42cd8ad"}}`: true,
		`,{"key":"logfire.pending_parent_id","value":{"intValue":"5"}}`:                  true,
	} {
		x := newIndex()
		w := post(t, newReceiver(t, Config{Sink: sink{x}}), "/v1/traces", []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","parentSpanId":"00f067aa0ba902b8",
			"startTimeUnixNano":"10","endTimeUnixNano":"10","attributes":[{"key":"logfire.span_type","value":{"stringValue":"pending_span"}}`+parent+`]}]}]}]}`))
		if said := strings.Contains(w.Body.String(), "1 span rejected: logfire.pending_parent_id is not 16 hex digits"); said != rejected || (count(t, x) == 0) != rejected {
			t.Errorf("%s: %s", parent, w.Body)
		}
	}
}
