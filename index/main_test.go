package index

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/midspan/midspan/activity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testClock is what Config.Now reads.
type testClock struct{ ns atomic.Int64 }

var testStart = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func newClock() *testClock {
	c := new(testClock)
	c.ns.Store(testStart.UnixNano())
	return c
}

func (c *testClock) Now() time.Time          { return time.Unix(0, c.ns.Load()) }
func (c *testClock) time() activity.Time     { return activity.Time(c.ns.Load()) }
func (c *testClock) advance(d time.Duration) { c.ns.Add(int64(d)) }

// at is a moment after testStart.
func at(d time.Duration) activity.Time { return activity.TimeOf(testStart.Add(d)) }

// id names the activity n of trace.
func id(trace, n int) activity.ID {
	var i activity.ID
	binary.BigEndian.PutUint64(i.Trace[8:], uint64(trace))
	binary.BigEndian.PutUint64(i.Span[:], uint64(n))
	return i
}

func str(key, value string) activity.Attr {
	return activity.Attr{Key: key, Value: activity.StringValue(value)}
}

func num(key string, value int64) activity.Attr {
	return activity.Attr{Key: key, Value: activity.IntValue(value)}
}

// ev is an event of an activity.
func ev(i activity.ID, rev uint32, t activity.Time, kind activity.Kind, attrs ...activity.Attr) activity.Event {
	e := activity.Event{ID: i, Rev: rev, At: t, Kind: kind}
	e.Attrs = attrs
	return e
}

// run applies the events of an activity that starts and ends.
func run(x *Index, i activity.ID, from, to activity.Time, set func(e *activity.Event)) {
	start := ev(i, 1, from, activity.EventStarted)
	start.StartTime = from
	if set != nil {
		set(&start)
	}
	x.Apply([]activity.Event{start, ev(i, 2, to, activity.EventCompleted)})
}

func get(t testing.TB, x *Index, i activity.ID) *activity.Detail {
	t.Helper()
	d, err := x.Get(context.Background(), i)
	if err != nil {
		t.Fatalf("Get(%v): %v", i, err)
	}
	return d
}

func stats(t testing.TB, x *Index) *activity.Stats {
	t.Helper()
	s, err := x.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func list(t testing.TB, x *Index, q activity.Query) *activity.Page {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	page, err := x.List(context.Background(), &q)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// all returns every held activity, by id.
func all(t testing.TB, x *Index) map[activity.ID]*activity.Activity {
	t.Helper()
	m := make(map[activity.ID]*activity.Activity)
	err := x.Scan(context.Background(), &activity.Filter{}, func(a *activity.Activity) error {
		if m[a.ID] != nil {
			return fmt.Errorf("%v comes twice", a.ID)
		}
		m[a.ID] = a
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// checkCounts holds that what Stats counts is what Scan finds.
func checkCounts(t testing.TB, x *Index) {
	t.Helper()
	s := stats(t, x)
	states, types, services := map[activity.State]int64{}, map[activity.Type]int64{}, map[string]int64{}
	for _, state := range activity.States {
		states[state] = 0
	}
	var open, finished int64
	for _, a := range all(t, x) {
		states[a.State]++
		types[a.Type]++
		services[a.Service()]++
		if a.State.Open() {
			open++
		} else {
			finished++
		}
	}
	for name, diff := range map[string]string{
		"ByState": cmp.Diff(states, s.ByState), "ByType": cmp.Diff(types, s.ByType), "ByService": cmp.Diff(services, s.ByService),
	} {
		if diff != "" {
			t.Errorf("%s (-recount +Stats):\n%s", name, diff)
		}
	}
	if s.Held.Finished != finished || s.Held.InFlight != open || s.InProgress+s.Planned != open {
		t.Errorf("held %d finished, %d in flight; a recount finds %d, %d", s.Held.Finished, s.Held.InFlight, finished, open)
	}
}

// difference compares what the fold makes of an activity, and nothing else.
func difference(want, got activity.Activity) string {
	for _, a := range []*activity.Activity{&want, &got} {
		a.Seq, a.Usual, a.Stalled, a.Lease = 0, 0, false, 0
		if a.Decision != nil && math.IsNaN(a.Decision.Confidence) {
			d := *a.Decision
			d.Confidence = -1
			a.Decision = &d
		}
	}
	if reflect.DeepEqual(want, got) { // many times as fast
		return ""
	}
	return cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true }))
}

// generator makes random events.
type generator struct {
	*rand.Rand
	resources []*activity.Resource
	scopes    []*activity.Scope
}

func newGenerator(seed uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 2))}
	for i := range 3 {
		g.resources = append(g.resources, &activity.Resource{
			Service: fmt.Sprint("service-", i), Instance: "i", SchemaURL: "s", Dropped: uint32(i), Attrs: []activity.Attr{str("service.name", fmt.Sprint("service-", i))},
		})
		g.scopes = append(g.scopes, &activity.Scope{Name: fmt.Sprint("scope-", i), Version: "1", Dropped: uint32(i), Attrs: []activity.Attr{num("n", int64(i))}})
	}
	return g
}

func (g *generator) text() string {
	return []string{"", "a", "Straße", "Analyze the metrics", "ĀB", "x\x00\x80\xff", "order 17"}[g.IntN(7)]
}

func (g *generator) value(depth int) activity.Value {
	switch g.IntN(10 - 3*depth) {
	case 0:
		return activity.BoolValue(g.IntN(2) == 0)
	case 1:
		return activity.IntValue([]int64{0, 1, -1, 12345, math.MaxInt64, math.MinInt64}[g.IntN(6)])
	case 2:
		return activity.FloatValue([]float64{0, 0.5, -2, 1234567.5, 1e300, math.NaN(), math.Inf(1), math.Inf(-1)}[g.IntN(8)])
	case 3:
		return activity.BytesValue(g.text())
	case 4:
		return activity.Value{}
	case 7:
		return activity.SliceValue([]activity.Value{g.value(depth + 1), g.value(depth + 1)})
	case 8:
		return activity.MapValue([]activity.Attr{{Key: "k", Value: g.value(depth + 1)}})
	}
	return activity.StringValue(g.text())
}

var attrKeys = []string{
	activity.KeyType, activity.KeyState, activity.KeyPlanned, activity.KeyCurrent, activity.KeyFinal, activity.KeyProgress, activity.KeyPlannedAt,
	activity.KeyStartedAt, activity.KeyResult, activity.KeyResultTruncated, activity.KeyReasoning, activity.KeyChoice, activity.KeyAlternatives,
	activity.KeyConfidence, activity.KeyThreadID, activity.KeyThreadName, activity.KeyLongRunning, activity.KeyErrorType, activity.KeyAgentName,
	"a", "b", "c", "", "db.system", "http.method",
}

func (g *generator) attr(t activity.Time) activity.Attr {
	key := attrKeys[g.IntN(len(attrKeys))]
	switch {
	case key == activity.KeyType && g.IntN(4) > 0:
		return str(key, activity.Types[g.IntN(len(activity.Types))].String())
	case key == activity.KeyState && g.IntN(4) > 0:
		return str(key, activity.States[g.IntN(len(activity.States))].String())
	case key == activity.KeyPlannedAt || key == activity.KeyStartedAt:
		return num(key, int64(t)-g.Int64N(3)*int64(time.Second))
	case (key == activity.KeyThreadID || key == activity.KeyAgentName) && g.IntN(4) > 0:
		return str(key, []string{"one", "two"}[g.IntN(2)])
	}
	return activity.Attr{Key: key, Value: g.value(0)}
}

// changes sets some fields of e.
func (g *generator) changes(e *activity.Event) {
	for range g.IntN(4) {
		e.Attrs = append(e.Attrs, g.attr(e.At))
	}
	some := func() bool { return g.IntN(6) == 0 }
	if some() {
		e.Name = []string{"name", "Name", "other"}[g.IntN(3)]
	}
	if some() {
		e.SpanKind = activity.SpanKind(g.IntN(6))
	}
	if some() {
		e.Status, e.StatusMessage = activity.Status(g.IntN(3)), g.text()
	}
	if e.Status == activity.StatusUnset {
		e.StatusMessage = "" // an event that sets no status has none
	}
	if some() {
		e.Sampling = activity.Sampling(g.IntN(3))
	}
	if some() {
		e.StartTime = e.At - activity.Time(g.Int64N(3))*activity.Time(time.Second)
	}
	if some() {
		e.TraceState = g.text()
	}
	if some() {
		e.Resource = g.resources[g.IntN(3)]
	}
	if some() {
		e.Scope = g.scopes[g.IntN(3)]
	}
	if some() {
		e.Links = append(e.Links, activity.Link{ID: id(99, 1+g.IntN(3)), TraceState: g.text(), Attrs: []activity.Attr{str("l", "v")}, Flags: uint32(g.IntN(2) * 0x101), Dropped: uint32(g.IntN(2))})
	}
	if some() {
		e.SpanEvents = append(e.SpanEvents, activity.SpanEvent{
			At: at(time.Duration(g.IntN(4))), Name: []string{"exception", "note"}[g.IntN(2)],
			Attrs: []activity.Attr{str(activity.KeyExceptionMessage, g.text())}, Dropped: uint32(g.IntN(2)),
		})
	}
	if some() {
		e.Dropped[g.IntN(3)] = uint32(g.IntN(5))
	}
	if some() {
		e.Flags = []uint32{1, 0x100, 0x101, 0x301, 1 << 31}[g.IntN(5)]
	}
	if (e.Kind.Ends() || some()) && g.IntN(2) == 0 {
		e.EndTime = e.At - activity.Time(g.Int64N(2))
	}
}

// life returns the events of one activity: numbered ones whose clock may go
// back, and ones without number, each at a time of its own.
func (g *generator) life(i, parent activity.ID, unnumbered bool) []activity.Event {
	var events []activity.Event
	times := g.Perm(40)
	numbered := 1 + g.IntN(7)
	for k := range numbered + g.IntN(4) {
		e := activity.Event{ID: i, At: at(time.Duration(times[k]) * time.Second), Kind: activity.EventUpdated}
		if k < numbered {
			e.Rev = uint32(k + 1)
			if g.IntN(4) > 0 {
				e.At = at(time.Duration(10*k) * time.Second)
			}
		} else if !unnumbered {
			break
		}
		if g.IntN(2) == 0 {
			e.Kind = activity.Kind(1 + g.IntN(7))
		}
		g.changes(&e)
		if k == 0 || g.IntN(4) == 0 {
			e.Parent = parent
		}
		events = append(events, e)
	}
	return events
}

// arrive returns the events in any order, some of them repeatedly.
func (g *generator) arrive(events []activity.Event) []activity.Event {
	var out []activity.Event
	for _, e := range events {
		for range 1 + g.IntN(3)/2*g.IntN(3) {
			out = append(out, e)
		}
	}
	g.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// clone copies events as a sender does: the index may write into what it is given.
func clone(events []activity.Event) []activity.Event {
	out := slices.Clone(events)
	for i := range out {
		out[i].Attrs = slices.Clone(out[i].Attrs)
	}
	return out
}
