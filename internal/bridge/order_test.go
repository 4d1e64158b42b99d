package bridge

import (
	"fmt"
	"net/url"
	"testing"
	"time"
)

const trace = "4bf92f3577b34da6a3ce929d0e0e4736"

type node struct {
	seenID
	Placeholder bool   `json:"placeholder"`
	Children    []node `json:"children"`
}

type seenID struct {
	ID       string `json:"activity_id"`
	Activity *seen  `json:"activity"`
}

func (n *node) id() string {
	if n.Activity != nil {
		return n.Activity.ID
	}
	return n.ID
}

// The public measurement of this problem is an agent's run of 20 s of which 16
// of 17 spans arrived as orphans: children end first, the root comes last. A
// watcher of the stream and one of the tree see one tree from the first message
// on, no orphan, and no node that moves.
func TestAnyOrder(t *testing.T) {
	const start, s = int64(1763900000e9), int64(1e9)
	for _, tt := range []struct {
		name    string
		rootEnd int64
	}{
		{"root ends last", 20 * s},
		{"root ends before its children", s / 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := serve(t, Config{})
			messages := b.watch("trace=" + trace)
			parents := map[string]string{}
			root := trace + "-0000000000000001"
			stands := func(id string, parent *string) {
				under := ""
				if parent != nil {
					under = *parent
				}
				if was, known := parents[id]; known && was != under {
					t.Errorf("%s moved from %q to %q", id, was, under)
				}
				if parents[id] = under; id == root != (under == "") {
					t.Errorf("%s is under %q", id, under)
				}
			}
			look := func(held int) {
				t.Helper()
				m := <-messages
				if m.Activity == nil || m.Seq != uint64(held) {
					t.Fatalf("message %d: %+v", held, m)
				}
				stands(m.Activity.ID, m.Activity.Parent)
				var tree struct{ Roots []node }
				b.read("/activity/tree?trace="+trace, &tree)
				if len(tree.Roots) != 1 {
					t.Fatalf("%d trees after %d spans", len(tree.Roots), held)
				}
				top := &tree.Roots[0]
				if top.id() != root || top.Placeholder != (held < 17) {
					t.Fatalf("after %d spans the root is %s, a placeholder: %v", held, top.id(), top.Placeholder)
				}
				nodes := 0
				var walk func(n *node, parent *string)
				walk = func(n *node, parent *string) {
					id := n.id()
					if stands(id, parent); !n.Placeholder {
						nodes++
					}
					for i := range n.Children {
						walk(&n.Children[i], &id)
					}
				}
				if walk(top, nil); nodes != held {
					t.Errorf("%d of %d spans are in the tree", nodes, held)
				}
			}
			for n := int64(17); n > 1; n-- {
				b.send("/v1/traces", spans("", span(trace, int(n), 1, start+n*s/2, start+n*s)))
				look(int(18 - n))
			}
			b.send("/v1/traces", spans("", span(trace, 1, 0, start, start+tt.rootEnd)))
			look(17)
			var got struct{ Activity seen }
			b.read("/activity/"+url.PathEscape(root), &got)
			if want := float64(tt.rootEnd) / 1e6; got.Activity.DurationMs == nil || *got.Activity.DurationMs != want {
				t.Errorf("the root took %v ms, want %v", got.Activity.DurationMs, want)
			}
		})
	}
}

// Hosts whose clocks are an hour apart: what came first stands first in the
// stream, how long something took is by the clock of its own host, and how far
// the clocks are apart is shown. TestClocksApartEverywhere has the rest.
func TestClocksApart(t *testing.T) {
	b := serve(t, Config{})
	messages := b.watch("trace=" + trace)
	host := func(name string) string {
		return text("service.name", name) + "," + text("service.instance.id", name+"-1") + "," + text("midspan.lease.id", "lease of "+name)
	}
	clock := func(ahead time.Duration) int64 { return time.Now().Add(ahead).UnixNano() }
	renew := func(name string, ahead time.Duration) {
		b.send("/v1/logs", records(host(name), fmt.Sprintf(`{"eventName":"midspan.lease.renewed","attributes":[%s,%s]}`,
			number("seq", 1), number("sent_at", clock(ahead)))))
	}
	renew("near", 0)
	renew("far", -time.Hour)
	tell := func(name string, at int64, n int, event, attrs string) {
		b.send("/v1/logs", records(host(name), fmt.Sprintf(`{"traceId":%q,"spanId":"%016x","eventName":"activity.%s","timeUnixNano":"%d","attributes":[%s]}`,
			trace, n, event, at, attrs)))
	}
	near, far := clock(0), clock(-time.Hour)
	tell("near", near, 1, "started", "")
	tell("far", far, 2, "started", text("activity.parent_span_id", "0000000000000001"))
	b.send("/v1/traces", spans(host("far"), span(trace, 2, 1, far, far+2e9)))
	tell("near", near+1e9, 1, "updated", text("activity.description.current", "Adding up"))
	b.send("/v1/traces", spans(host("near"), span(trace, 1, 0, near, near+3e9)))
	for i, want := range []struct {
		n     int
		event string
	}{{1, "started"}, {2, "started"}, {2, "completed"}, {1, "updated"}, {1, "completed"}} {
		m := <-messages
		if m.Activity == nil || m.Event != want.event || m.Activity.ID != fmt.Sprintf("%s-%016x", trace, want.n) || m.Seq != uint64(i+1) {
			t.Errorf("message %d is %s of %+v, want %s of %d", i+1, m.Event, m.Activity, want.event, want.n)
		}
	}
	for n, want := range map[int]float64{1: 3000, 2: 2000} {
		var got struct{ Activity seen }
		b.read(fmt.Sprintf("/activity/%s-%016x", trace, n), &got)
		if d := got.Activity.DurationMs; d == nil || *d != want {
			t.Errorf("activity %d: %+v, want %v ms", n, got.Activity, want)
		}
	}
	var stats struct {
		Processes []struct {
			Service, Lease string
			Offset         *float64 `json:"clock_offset_ms"`
		}
	}
	b.read("/activity/stats", &stats)
	const hour = 3600e3
	if p := stats.Processes; len(p) != 2 || p[0].Service != "far" || p[0].Lease != "live" || p[0].Offset == nil || *p[0].Offset < hour || *p[0].Offset > hour+60e3 ||
		p[1].Offset == nil || *p[1].Offset < 0 || *p[1].Offset > 60e3 {
		t.Errorf("processes: %+v", p)
	}
}
