package index

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// recorded encodes the events and decodes them again.
func recorded(keys *keyTable, events []activity.Event) []activity.Event {
	o := &openActivity{enc: encoder{keys: keys}}
	for i := range events {
		e := events[i]
		o.append(&e)
		o.head.Apply(&e)
	}
	return o.decode()
}

// plain returns the event as a record tells it: received when sent, an end at
// its own time unless it says otherwise.
func plain(e activity.Event) activity.Event {
	e.ReceivedAt, e.First = e.At, false
	if e.EndTime == 0 && e.Kind.Ends() {
		e.EndTime = e.At
	}
	return e
}

var asRecorded = cmp.Options{
	cmp.Exporter(func(reflect.Type) bool { return true }),
	cmp.Comparer(func(a, b activity.Value) bool { return a.Equal(b) }),
}

func TestRecord(t *testing.T) {
	i := id(1, 1)
	attr := func(v activity.Value) func(*activity.Event) {
		return func(e *activity.Event) { e.Attrs = []activity.Attr{{Key: "k", Value: v}} }
	}
	list := func(vs ...activity.Value) activity.Value { return activity.SliceValue(vs) }
	resource := &activity.Resource{Service: "s", Instance: "i", SchemaURL: "u", Attrs: []activity.Attr{str("service.name", "s"), num("pid", 7)}}
	scope := &activity.Scope{Name: "n", Version: "v", SchemaURL: "u", Attrs: []activity.Attr{str("a", "b")}}
	for _, tt := range []struct {
		name string
		set  func(e *activity.Event)
	}{
		{"nothing", func(*activity.Event) {}},
		{"name", func(e *activity.Event) { e.Name = "Ünï\x00\xff" }},
		{"parent", func(e *activity.Event) { e.Parent = id(1, 2) }},
		{"kind", func(e *activity.Event) { e.SpanKind = activity.KindConsumer }},
		{"start", func(e *activity.Event) { e.StartTime = -5 }},
		{"end", func(e *activity.Event) { e.EndTime = 17 }},
		{"status", func(e *activity.Event) { e.Status, e.StatusMessage = activity.StatusError, "m" }},
		{"status without a message", func(e *activity.Event) { e.Status = activity.StatusOK }},
		{"sampling", func(e *activity.Event) { e.Sampling = activity.Unsampled }},
		{"trace state", func(e *activity.Event) { e.TraceState = "a=b" }},
		{"resource", func(e *activity.Event) { e.Resource = resource }},
		{"bare resource", func(e *activity.Event) { e.Resource = &activity.Resource{} }},
		{"scope", func(e *activity.Event) { e.Scope = scope }},
		{"links", func(e *activity.Event) {
			e.Links = []activity.Link{{ID: id(3, 4), TraceState: "x=y", Attrs: []activity.Attr{str("a", "b")}}, {ID: id(5, 6)}}
		}},
		{"span events", func(e *activity.Event) {
			e.SpanEvents = []activity.SpanEvent{{At: -1, Name: "exception", Attrs: []activity.Attr{str("a", "b")}}, {}}
		}},
		{"flags", func(e *activity.Event) { e.Flags, e.Sampling = 0x101, activity.Sampled }},
		{"flags, parent elsewhere", func(e *activity.Event) { e.Flags, e.Sampling = 0x300, activity.Unsampled }},
		{"flags of one unsampled or not", func(e *activity.Event) { e.Flags = 0x100 }},
		{"flags, sampled alone", func(e *activity.Event) { e.Flags, e.Sampling = 1, activity.Sampled }},
		{"flags that contradict", func(e *activity.Event) { e.Flags, e.Sampling = 0x100, activity.Sampled }},
		{"flags of all kinds", func(e *activity.Event) { e.Flags, e.Sampling = math.MaxUint32, activity.Sampled }},
		{"what was dropped of a resource", func(e *activity.Event) { r := *resource; r.Dropped = math.MaxUint32; e.Resource = &r }},
		{"what was dropped of a scope", func(e *activity.Event) { s := *scope; s.Dropped = 1; e.Scope = &s }},
		{"what was dropped of links", func(e *activity.Event) {
			e.Links = []activity.Link{{ID: id(3, 4), Dropped: 7, Flags: 0x101}, {ID: id(5, 6)}, {ID: id(7, 8), Flags: math.MaxUint32, Attrs: []activity.Attr{num("a", 1)}}}
		}},
		{"what was dropped of span events", func(e *activity.Event) {
			e.SpanEvents = []activity.SpanEvent{{At: 1, Name: "a"}, {At: 2, Name: "b", Dropped: 2}}
		}},
		{"dropped", func(e *activity.Event) { e.Dropped = [3]uint32{1, 0, math.MaxUint32} }},
		{"merged", func(e *activity.Event) { e.FromSeq, e.FromAt = e.Seq-3, e.At-7 }},
		{"merged of a clock that went back", func(e *activity.Event) { e.FromSeq, e.FromAt = 1, math.MinInt64 }},
		{"far times", func(e *activity.Event) { e.At = math.MaxInt64 }},
		{"times far back", func(e *activity.Event) { e.At = math.MinInt64 }},
		{"empty value", attr(activity.Value{})},
		{"true", attr(activity.BoolValue(true))},
		{"false", attr(activity.BoolValue(false))},
		{"int", attr(activity.IntValue(-17))},
		{"largest int", attr(activity.IntValue(math.MaxInt64))},
		{"smallest int", attr(activity.IntValue(math.MinInt64))},
		{"float", attr(activity.FloatValue(0.1))},
		{"large float", attr(activity.FloatValue(1234567))},
		{"largest float", attr(activity.FloatValue(math.MaxFloat64))},
		{"smallest float", attr(activity.FloatValue(math.SmallestNonzeroFloat64))},
		{"minus nought", attr(activity.FloatValue(math.Copysign(0, -1)))},
		{"NaN", attr(activity.FloatValue(math.NaN()))},
		{"Inf", attr(activity.FloatValue(math.Inf(-1)))},
		{"string", attr(activity.StringValue("x\x00\xff"))},
		{"empty string", attr(activity.StringValue(""))},
		{"bytes", attr(activity.BytesValue("\x00\xff"))},
		{"list", attr(list(activity.IntValue(1), list(), list(activity.StringValue("a"))))},
		{"map", attr(activity.MapValue([]activity.Attr{{Key: "", Value: list(activity.Value{})}, {Key: "m", Value: activity.MapValue([]activity.Attr{num("n", 1)})}}))},
		{"state", func(e *activity.Event) { e.Attrs = []activity.Attr{str(activity.KeyState, "CANCELLED")} }},
		{"state in lower case", func(e *activity.Event) { e.Attrs = []activity.Attr{str(activity.KeyState, "cancelled")} }},
		{"state that is none", func(e *activity.Event) { e.Attrs = []activity.Attr{num(activity.KeyState, 3)} }},
		{"type", func(e *activity.Event) { e.Attrs = []activity.Attr{str(activity.KeyType, "scheduler_tick")} }},
		{"a state's name elsewhere", func(e *activity.Event) { e.Attrs = []activity.Attr{str("k", "CANCELLED"), str("", "LOST")} }},
		{"one key twice", func(e *activity.Event) { e.Attrs = []activity.Attr{num("k", 1), num("k", 2)} }},
		{"a long key", func(e *activity.Event) { e.Attrs = []activity.Attr{str(strings.Repeat("k", maxKeyLen+1), "v")} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var events []activity.Event
			for n := range uint32(4) { // as the first event, among others, the same again, and without number
				e := ev(i, n+1, activity.Time(n+1), activity.Kind(1+n))
				e.Seq = uint64(10 * (n + 1))
				if n != 1 {
					tt.set(&e)
				}
				if n == 3 {
					e.Rev = 0
				}
				events = append(events, e)
			}
			got := recorded(newKeyTable(), events)
			want := make([]activity.Event, len(events))
			for n := range events {
				want[n] = plain(events[n])
				// What the base tells is not told again.
				if n > 0 {
					b := events[0]
					if want[n].Name == b.Name {
						want[n].Name, got[n].Name = "", ""
					}
					for _, e := range []*activity.Event{&want[n], &got[n]} {
						e.Parent, e.SpanKind, e.StartTime, e.Sampling, e.Resource, e.Scope = activity.ID{}, 0, 0, 0, nil, nil
					}
				}
			}
			if diff := cmp.Diff(want, got, asRecorded); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := difference(activity.Fold(clone(events)), activity.Fold(got)); diff != "" {
				t.Errorf("folds otherwise (-want +got):\n%s", diff)
			}
		})
	}
}

// A field that changes and changes back is told as it is at the end.
func TestRecordOfWhatComesBack(t *testing.T) {
	g := newGenerator(1)
	i := id(1, 1)
	var events []activity.Event
	for n := range 5 {
		e := ev(i, uint32(n+1), at(time.Duration(n)), activity.EventUpdated)
		k := n % 2
		e.Name, e.Parent, e.SpanKind = []string{"a", "b"}[k], id(1, 5+k), activity.SpanKind(1+k)
		e.StartTime, e.Sampling = at(-time.Duration(1+k)), activity.Sampling(1+k)
		e.Resource, e.Scope = g.resources[k], g.scopes[k]
		events = append(events, e)
	}
	for n := 1; n <= len(events); n++ {
		if diff := difference(activity.Fold(clone(events[:n])), activity.Fold(recorded(newKeyTable(), events[:n]))); diff != "" {
			t.Errorf("after %d events (-want +got):\n%s", n, diff)
		}
		x := New(Config{})
		x.Apply(clone(events[:n]))
		end := ev(i, 9, at(time.Second), activity.EventCompleted)
		x.Apply([]activity.Event{end})
		if diff := difference(activity.Fold(append(clone(events[:n]), end)), *get(t, x, i).Activity); diff != "" {
			t.Errorf("finished after %d events (-want +got):\n%s", n, diff)
		}
	}
}

func TestRecordCutsLongStrings(t *testing.T) {
	long := strings.Repeat("é", activity.MaxString)
	e := ev(id(1, 1), 1, 1, activity.EventStarted, str("k", "x"+long), str(long, "v"))
	e.Name = long
	got := recorded(newKeyTable(), []activity.Event{e})[0]
	if n := len(got.Attrs[0].Value.Str()); n != activity.MaxString-1 {
		t.Errorf("a value of %d bytes, want it cut at a rune's border", n)
	}
	if n := len(got.Attrs[1].Key); n != activity.MaxString {
		t.Errorf("a key of %d bytes", n)
	}
	x := New(Config{})
	x.Apply([]activity.Event{e, ev(e.ID, 2, 2, activity.EventCompleted)})
	if a := get(t, x, e.ID).Activity; len(a.Name) != activity.MaxString || len(a.Attr("k").Str()) != activity.MaxString-1 {
		t.Errorf("finished: a name of %d bytes, a value of %d", len(a.Name), len(a.Attr("k").Str()))
	}
}

func TestKeyTableFull(t *testing.T) {
	keys := newKeyTable()
	e := ev(id(1, 1), 1, 1, activity.EventStarted, num("first", 1))
	for n := range maxKeys + 10 {
		e.Attrs = append(e.Attrs, num(fmt.Sprint("key-", n), int64(n)))
	}
	for range 2 {
		got := recorded(keys, []activity.Event{e})
		if !reflect.DeepEqual(e.Attrs, got[0].Attrs) {
			t.Fatal("what is told with more keys than the table has is not what was set")
		}
	}
	if len(keys.keys) > maxKeys+1 || len(keys.numbers) > maxKeys {
		t.Errorf("%d keys in the table", len(keys.keys))
	}
}

// FuzzRecord holds that a record folds to what its events fold to.
func FuzzRecord(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed, "text", []byte{1, 2, 0xff}, 1.5, int64(-3))
	}
	keys := newKeyTable()
	f.Fuzz(func(t *testing.T, seed uint64, text string, raw []byte, x float64, n int64) {
		if len(text) > 1000 || len(raw) > 1000 {
			return
		}
		g := newGenerator(seed)
		events := activity.Canonical(g.life(id(1, 1), id(1, 2), true))
		for k := range events {
			e := &events[k]
			e.Seq = uint64(k + 1)
			if k%2 == 0 {
				e.Attrs = append(e.Attrs, str(text, string(raw)), num(string(raw), n), activity.Attr{Key: "f", Value: activity.FloatValue(x)},
					activity.Attr{Key: "list", Value: activity.SliceValue([]activity.Value{activity.BytesValue(string(raw)), activity.FloatValue(x)})})
				e.Name = text
			}
		}
		if math.IsNaN(x) { // of many NaNs one comes back
			return
		}
		got := recorded(keys, events)
		if diff := difference(activity.Fold(slices.Clone(events)), activity.Fold(got)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// A record that someone made may nest its values deeper than the stack has room.
func TestRecordDepth(t *testing.T) {
	for _, tt := range []struct {
		depth int
		ok    bool
	}{{maxDepth, true}, {maxDepth + 1, false}, {10_000_000, false}} {
		d := decoder{rec: strings.Repeat(string([]byte{byte(activity.KindSlice), 1}), tt.depth) + string([]byte{byte(activity.KindBool), 1})}
		got := func() (ok bool) {
			defer func() { ok = recover() == nil }()
			d.value()
			return true
		}()
		if got != tt.ok || got && d.depth != 0 {
			t.Errorf("%d values within one another are read: %v", tt.depth, got)
		}
	}
}

func TestShorten(t *testing.T) {
	x := New(Config{})
	i := id(1, 1)
	var told []activity.Event
	apply := func(e activity.Event) {
		told = append(told, e)
		x.Apply(clone([]activity.Event{e}))
	}
	apply(ev(i, 1, at(0), activity.EventPlanned))
	apply(ev(i, 2, at(time.Second), activity.EventStarted))
	apply(ev(i, 0, at(time.Second), activity.EventLost))
	for n := range 1000 {
		apply(ev(i, uint32(n+3), at(time.Second+time.Duration(n+1)*time.Millisecond), activity.EventUpdated,
			str(activity.KeyCurrent, fmt.Sprint("step ", n)), num(fmt.Sprint("k", n%7), int64(n))))
	}
	d := get(t, x, i)
	if len(d.History) > maxHistory+1 || d.Merged+len(d.History) != len(told) {
		t.Errorf("%d events and %d merged of %d", len(d.History), d.Merged, len(told))
	}
	if diff := difference(activity.Fold(clone(told)), *d.Activity); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// When it was back is a state's time.
	for k, want := range []activity.Kind{activity.EventPlanned, activity.EventStarted, activity.EventLost, activity.EventUpdated} {
		if e := d.History[k]; e.Kind != want || e.At != told[k].At {
			t.Errorf("event %d is %v at %v", k, e.Kind, e.At)
		}
	}
	seq := x.Head().Seq
	x.Apply(clone(told[:500]))
	if now := x.Head().Seq; now != seq {
		t.Errorf("duplicates of what was merged: sequence %d became %d", seq, now)
	}
	apply(ev(i, 9000, at(time.Hour), activity.EventCompleted, str(activity.KeyFinal, "done")))
	d = get(t, x, i)
	if diff := difference(activity.Fold(clone(told)), *d.Activity); diff != "" {
		t.Errorf("at its end (-want +got):\n%s", diff)
	}
	if d.Merged+len(d.History) != len(told) {
		t.Errorf("at its end: %d events and %d merged of %d", len(d.History), d.Merged, len(told))
	}
	seq = x.Head().Seq
	x.Apply(clone(told[:500]))
	if now := x.Head().Seq; now != seq {
		t.Errorf("duplicates after its end: sequence %d became %d", seq, now)
	}
}

// An activity whose history cannot be shortened costs no more for it.
func TestShortenWhatCannotBe(t *testing.T) {
	x := New(Config{})
	i := id(1, 1)
	x.Apply([]activity.Event{ev(i, 1, at(0), activity.EventStarted)})
	for n := range 1500 { // a source that says started again and again
		x.Apply([]activity.Event{ev(i, uint32(n+2), at(time.Duration(n)), activity.EventStarted, num("n", int64(n)))})
	}
	if d := get(t, x, i); len(d.History) > 2*maxHistory || d.Activity.Attr("n").Int() != 1499 {
		t.Errorf("%d events, n = %s", len(d.History), d.Activity.Attr("n").Text())
	}
	// A large record is taken apart now and then, not with each event.
	i = id(1, 2)
	e := ev(i, 1, at(0), activity.EventStarted)
	for n := range 12 {
		e.Attrs = append(e.Attrs, str(fmt.Sprint("k", n), strings.Repeat("x", activity.MaxString)))
	}
	x.Apply([]activity.Event{e})
	began := time.Now()
	for n := range 4_000 {
		x.Apply([]activity.Event{ev(i, uint32(n+2), at(time.Duration(n)), activity.EventUpdated, num("n", int64(n)))})
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("4,000 updates of a large activity took %v", took)
	}
}

// Beyond maxRecord an event's fields are left out, its transition is not.
func TestRecordBound(t *testing.T) {
	x := New(Config{})
	i := id(1, 1)
	for n := range 40 {
		x.Apply([]activity.Event{ev(i, uint32(n+1), at(time.Duration(n)), activity.EventStarted, str(fmt.Sprint("k", n), strings.Repeat("x", activity.MaxString)))})
	}
	x.Apply([]activity.Event{ev(i, 99, at(time.Second), activity.EventCompleted, str("last", "x"))})
	d := get(t, x, i)
	if d.Activity.State != activity.Completed || d.Activity.Attr("last").Kind() != activity.KindEmpty {
		t.Errorf("state %v, last %v", d.Activity.State, d.Activity.Attr("last").Text())
	}
	if held := stats(t, x).Held.Bytes; held > maxRecord+4<<20 {
		t.Errorf("%d bytes held", held)
	}
}
