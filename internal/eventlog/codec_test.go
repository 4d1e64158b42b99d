package eventlog

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/midspan/midspan/activity"
)

// driverEvents are finished spans as a load driver sends them: random ids, 1,000
// names, 8 attributes of which half have values that do not repeat.
func driverEvents(n int, seed uint64) []activity.Event {
	r := rand.New(rand.NewPCG(seed, 0))
	resource := &activity.Resource{Service: "orders", Instance: "a-1", Attrs: []activity.Attr{
		{Key: "service.name", Value: activity.StringValue("orders")},
		{Key: "service.instance.id", Value: activity.StringValue("a-1")},
	}}
	scope := &activity.Scope{Name: "driver", Version: "1.0"}
	events := make([]activity.Event, n)
	at := activity.Time(1_790_000_000_000_000_000)
	for i := range events {
		e := &events[i]
		at += activity.Time(r.IntN(1_000_000))
		for k := range 2 {
			putUint64(e.ID.Trace[8*k:], r.Uint64())
		}
		putUint64(e.ID.Span[:], r.Uint64())
		e.At, e.EndTime, e.StartTime = at, at, at-activity.Time(r.IntN(50_000_000))
		e.Kind = activity.EventCompleted
		e.Name = fmt.Sprintf("GET /orders/{id}/%d", r.IntN(1000))
		e.SpanKind, e.Sampling, e.Flags = activity.KindServer, activity.Sampled, 0x101
		e.Resource, e.Scope = resource, scope
		e.Attrs = []activity.Attr{
			{Key: "http.request.method", Value: activity.StringValue("GET")},
			{Key: "http.route", Value: activity.StringValue(e.Name[4:])},
			{Key: "http.response.status_code", Value: activity.IntValue(200)},
			{Key: "server.address", Value: activity.StringValue("orders.example")},
			{Key: "url.path", Value: activity.StringValue(fmt.Sprintf("/orders/%x", r.Uint64()))},
			{Key: "user.id", Value: activity.StringValue(fmt.Sprintf("%x", r.Uint32()))},
			{Key: "client.address", Value: activity.StringValue(fmt.Sprintf("10.0.%d.%d", r.IntN(256), r.IntN(256)))},
			{Key: "http.request.body.size", Value: activity.IntValue(r.Int64N(1 << 20))},
		}
	}
	return events
}

func putUint64(b []byte, v uint64) {
	for i := range 8 {
		b[i] = byte(v >> (8 * i))
	}
}

func decode(t testing.TB, b []byte, first uint64, at activity.Time) []activity.Event {
	t.Helper()
	events, err := new(Decoder).DecodeBatch(b, first, at)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// numbered returns events as a log gives them back.
func numbered(events []activity.Event, first uint64, at activity.Time) []activity.Event {
	events = slices.Clone(events)
	for i := range events {
		events[i].Seq, events[i].ReceivedAt = first+uint64(i), at
	}
	return events
}

func TestBatch(t *testing.T) {
	text := strings.Repeat("long ", 100)
	nested := activity.MapValue([]activity.Attr{{Key: "list", Value: activity.SliceValue([]activity.Value{
		{}, activity.BoolValue(true), activity.BoolValue(false), activity.IntValue(math.MinInt64), activity.FloatValue(math.NaN()),
		activity.BytesValue("\x00\xff"), activity.StringValue(""), activity.SliceValue(nil), activity.MapValue(nil),
	})}})
	other := activity.Event{
		At: math.MinInt64, ID: id(3, 4), Kind: 200,
		Changes: activity.Changes{
			StartTime: math.MaxInt64, EndTime: -1, Parent: id(9, 0), SpanKind: 255, Status: 255, Sampling: 255,
			Dropped: [3]uint32{1, 0, math.MaxUint32}, Flags: math.MaxUint32, StatusMessage: text, TraceState: "a=b",
			Attrs: []activity.Attr{{Key: "", Value: nested}, {Key: text, Value: activity.StringValue(text)}},
			Links: []activity.Link{{ID: id(1, 2), TraceState: "a=b", Attrs: []activity.Attr{{Key: "k"}}, Dropped: 1, Flags: 2}, {}},
			SpanEvents: []activity.SpanEvent{
				{At: 5, Name: "exception", Attrs: []activity.Attr{{Key: "k", Value: activity.FloatValue(0.5)}}, Dropped: 7}, {},
			},
		},
	}
	for name, events := range map[string][]activity.Event{
		"zero":            {{}},
		"driver":          driverEvents(100, 1),
		"everything":      {{At: math.MaxInt64, ID: id(1, 2), Kind: 1, First: true, Rev: math.MaxUint32}, other, other},
		"parent of trace": {{ID: id(1, 2), Changes: activity.Changes{Parent: id(1, 3)}}, {ID: id(1, 4), Changes: activity.Changes{Parent: id(0, 3)}}},
	} {
		t.Run(name, func(t *testing.T) {
			prefix := []byte("kept")
			b, err := EncodeBatch(prefix, events)
			if err != nil {
				t.Fatal(err)
			}
			if string(b[:4]) != "kept" {
				t.Fatalf("begins with %q", b[:4])
			}
			b = SealBatch(b[4:], 7, 99)
			got := decode(t, b, 7, 99)
			if diff := cmp.Diff(numbered(events, 7, 99), got, cmp.Comparer(activity.Value.Equal)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func id(trace, span byte) (id activity.ID) {
	id.Trace[0], id.Span[7] = trace, span
	return id
}

// TestBatchCarriesEveryField sets each field of an event in turn, also of what an
// event holds, and fails for one that the codec does not know.
func TestBatchCarriesEveryField(t *testing.T) {
	left := map[string]bool{
		"Seq": true, "ReceivedAt": true, // they follow from the batch
		"FromSeq": true, "FromAt": true, // only a record of the index merges
	}
	fields := 0
	var try func(path string, kind reflect.Type, place func(reflect.Value) activity.Event)
	try = func(path string, kind reflect.Type, place func(reflect.Value) activity.Event) {
		for i := range kind.NumField() {
			f := kind.Field(i)
			name := path + f.Name
			if left[name] {
				continue
			}
			with := func(v reflect.Value) activity.Event {
				s := reflect.New(kind).Elem()
				s.Field(i).Set(v)
				return place(s)
			}
			switch {
			case f.Anonymous:
				try(path, f.Type, with)
				continue
			case f.Type.Kind() == reflect.Pointer:
				try(name+".", f.Type.Elem(), func(v reflect.Value) activity.Event {
					p := reflect.New(v.Type())
					p.Elem().Set(v)
					return with(p)
				})
			case f.Type.Kind() == reflect.Slice && f.Type.Elem() != reflect.TypeFor[activity.Attr]():
				try(name+".", f.Type.Elem(), func(v reflect.Value) activity.Event {
					return with(reflect.Append(reflect.MakeSlice(f.Type, 0, 1), v))
				})
			}
			fields++
			event := with(sample(t, name, f.Type))
			b, err := EncodeBatch(nil, []activity.Event{event})
			if err != nil {
				t.Fatal(err)
			}
			got := decode(t, SealBatch(b, 0, 0), 0, 0)
			if diff := cmp.Diff([]activity.Event{event}, got, cmp.Comparer(activity.Value.Equal)); diff != "" {
				t.Errorf("%s is not carried:\n%s", name, diff)
			}
		}
	}
	try("", reflect.TypeFor[activity.Event](), func(v reflect.Value) activity.Event { return v.Interface().(activity.Event) })
	if fields < 40 {
		t.Errorf("only %d fields were tried", fields)
	}
}

// sample returns a value of a field that is not its zero value, in all its parts.
func sample(t *testing.T, name string, kind reflect.Type) reflect.Value {
	v := reflect.New(kind).Elem()
	switch kind.Kind() {
	case reflect.String:
		v.SetString("text of " + name)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(-3)
	case reflect.Uint8, reflect.Uint32:
		v.SetUint(5)
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).Set(sample(t, name, kind.Elem()))
		}
	case reflect.Pointer:
		v.Set(reflect.New(kind.Elem()))
	case reflect.Slice:
		v = reflect.Append(v, sample(t, name, kind.Elem()))
	case reflect.Struct:
		if kind == reflect.TypeFor[activity.Attr]() {
			return reflect.ValueOf(activity.Attr{Key: "k", Value: activity.StringValue("v")})
		}
		for i := range v.NumField() {
			v.Field(i).Set(sample(t, name, kind.Field(i).Type))
		}
	default:
		t.Fatalf("%s is of a kind that the test does not know: %s", name, kind)
	}
	return v
}

func TestBatchDamaged(t *testing.T) {
	events := driverEvents(3, 2)
	b, err := EncodeBatch(nil, events)
	if err != nil {
		t.Fatal(err)
	}
	b = SealBatch(b, 10, 20)
	var d Decoder
	for name, damaged := range map[string]struct {
		b     []byte
		first uint64
		at    activity.Time
	}{
		"other sequence": {b, 11, 20},
		"other time":     {b, 10, 21},
		"empty":          {nil, 10, 20},
		"cut":            {b[:len(b)-1], 10, 20},
		"version":        {SealBatch(append([]byte{2}, b[1:len(b)-4]...), 10, 20), 10, 20},
		"more":           {SealBatch(append(slices.Clone(b[:len(b)-4]), 0), 10, 20), 10, 20},
		"too large":      {make([]byte, MaxBatchBytes+1), 10, 20},
	} {
		if _, err := d.DecodeBatch(damaged.b, damaged.first, damaged.at); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for bit := range 8 * len(b) {
		flipped := slices.Clone(b)
		flipped[bit/8] ^= 1 << (bit % 8)
		if _, err := d.DecodeBatch(flipped, 10, 20); !errors.Is(err, ErrCorrupt) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
}

func TestBatchLimits(t *testing.T) {
	most := make([]activity.Event, MaxBatchEvents+1)
	for _, n := range []int{0, MaxBatchEvents + 1} {
		if _, err := EncodeBatch(nil, most[:n]); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d events: %v", n, err)
		}
	}
	b, err := EncodeBatch(nil, most[:MaxBatchEvents])
	if err != nil {
		t.Fatal(err)
	}
	if got := decode(t, SealBatch(b, 1, 1), 1, 1); len(got) != MaxBatchEvents {
		t.Errorf("%d of %d events", len(got), MaxBatchEvents)
	}

	deep := func(levels int) []activity.Event {
		v := activity.IntValue(1)
		for i := range levels {
			if i%2 == 0 {
				v = activity.SliceValue([]activity.Value{v})
			} else {
				v = activity.MapValue([]activity.Attr{{Key: "k", Value: v}})
			}
		}
		attrs := []activity.Attr{{Key: "deep", Value: v}}
		return []activity.Event{{Changes: activity.Changes{Attrs: attrs, Resource: &activity.Resource{Attrs: attrs}}}}
	}
	if _, err := EncodeBatch(nil, deep(maxValueDepth+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d levels: %v", maxValueDepth+1, err)
	}
	if b, err = EncodeBatch(nil, deep(maxValueDepth)); err != nil {
		t.Fatal(err)
	}
	decode(t, SealBatch(b, 1, 1), 1, 1)

	// The bytes around one attribute of which nothing but its text grows.
	text := strings.Repeat("x", MaxBatchBytes)
	sized := func(n int) []activity.Event {
		return []activity.Event{{Changes: activity.Changes{Attrs: []activity.Attr{{Key: "k", Value: activity.StringValue(text[:n])}}}}}
	}
	if b, err = EncodeBatch(nil, sized(MaxBatchBytes-100)); err != nil {
		t.Fatal(err)
	}
	around := len(b) + 4 - (MaxBatchBytes - 100)
	if b, err = EncodeBatch(nil, sized(MaxBatchBytes-around)); err != nil {
		t.Fatalf("%d bytes: %v", MaxBatchBytes, err)
	}
	if b = SealBatch(b, 1, 1); len(b) != MaxBatchBytes {
		t.Fatalf("%d bytes, want %d", len(b), MaxBatchBytes)
	}
	decode(t, b, 1, 1)
	if _, err = EncodeBatch(nil, sized(MaxBatchBytes-around+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d bytes: %v", MaxBatchBytes+1, err)
	}
}

func TestDecoderInterns(t *testing.T) {
	var d Decoder
	read := func(service string, extra int) *activity.Event {
		r := &activity.Resource{Service: service, Attrs: []activity.Attr{{Key: "pad", Value: activity.StringValue(strings.Repeat("x", extra))}}}
		b, err := EncodeBatch(nil, []activity.Event{{Changes: activity.Changes{Resource: r, Scope: &activity.Scope{Name: service}}}})
		if err != nil {
			t.Fatal(err)
		}
		events, err := d.DecodeBatch(SealBatch(b, 1, 1), 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		return &events[0]
	}
	a, b, c := read("a", 0), read("a", 0), read("b", 0)
	if a.Resource != b.Resource || a.Scope != b.Scope {
		t.Error("equal ones are not the same")
	}
	if a.Resource == c.Resource || a.Scope == c.Scope {
		t.Error("others are the same")
	}
	for i := range 100 { // 16 MiB of them
		read(fmt.Sprint(i), 160<<10)
		if d.held > maxInterned {
			t.Fatalf("holds %d bytes, at most %d", d.held, maxInterned)
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	for _, events := range [][]activity.Event{driverEvents(2, 1), {{}}, {{Changes: activity.Changes{
		Parent: id(1, 1), Links: []activity.Link{{}}, SpanEvents: []activity.SpanEvent{{Name: "e"}}, Dropped: [3]uint32{1, 2, 3},
		Attrs: []activity.Attr{{Key: "m", Value: activity.MapValue([]activity.Attr{{Key: "s", Value: activity.SliceValue([]activity.Value{activity.FloatValue(1)})}})}},
	}}}} {
		b, err := EncodeBatch(nil, events)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Decoder
		events, err := d.DecodeBatch(SealBatch(slices.Clone(b), 1, 2), 1, 2)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := EncodeBatch(nil, events)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.DecodeBatch(SealBatch(again, 1, 2), 1, 2)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(events, got, cmp.Comparer(activity.Value.Equal), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}

func BenchmarkEncodeBatch(b *testing.B) {
	events := driverEvents(512, 3)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = EncodeBatch(buf[:0], events)
		buf = SealBatch(buf, 1, 1)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
	b.ReportMetric(float64(len(buf))/float64(len(events)), "B/event")
}

func BenchmarkDecodeBatch(b *testing.B) {
	events := driverEvents(512, 3)
	buf, _ := EncodeBatch(nil, events)
	buf = SealBatch(buf, 1, 1)
	var d Decoder
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.DecodeBatch(buf, 1, 1); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
}
