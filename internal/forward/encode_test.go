package forward

import (
	"bytes"
	"context"
	"net/http/httptest"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/midspan/midspan/activity"
)

// collect keeps the events that a receiver makes.
type collect struct{ events []*activity.Event }

func (c *collect) Append(_ context.Context, events []activity.Event) error {
	for i := range events {
		c.events = append(c.events, &events[i])
	}
	return nil
}

// What the receiver makes of any request, encoded and received again, is the
// same; OpenTelemetry's own code can read it, and it is no longer than foreseen.
func FuzzEncode(f *testing.F) {
	m := newMaker(30)
	m.short = true
	for _, n := range []int{1, 2, 20} {
		body, err := proto.Marshal(m.request(n))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add(invalidRequest())
	f.Fuzz(func(t *testing.T, body []byte) {
		first := received(t, body)
		if len(first) == 0 {
			return
		}
		size, last := 0, source{}
		for i, e := range first {
			if of := (source{e.Resource, e.Scope}); i == 0 || of != last {
				size += of.size()
				last = of
			}
			size += sizeOf(e)
		}
		request := appendRequest(nil, first)
		if utf8.Valid(body) && len(request) > size {
			t.Errorf("%d bytes, foreseen %d", len(request), size)
		}
		r := &exportRequest{}
		if err := proto.Unmarshal(request, r); err != nil {
			t.Fatal(err)
		}
		if n := count(r); n != len(first) {
			t.Fatalf("%d spans of %d", n, len(first))
		}
		second := received(t, request)
		if again := appendRequest(nil, second); !bytes.Equal(request, again) {
			t.Errorf("sent on again it is another: %x, before %x", again, request)
		}
	})
}

// received returns the finished spans in a request, or none if it is refused.
func received(t testing.TB, body []byte) []*activity.Event {
	t.Helper()
	sink := &collect{}
	h := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/traces", bytes.NewReader(body))
	h.Header.Set("Content-Type", "application/x-protobuf")
	newReceiver(t, sink).Handler().ServeHTTP(httptest.NewRecorder(), h)
	var events []*activity.Event
	for _, e := range sink.events {
		if e, err := finished(t.Context(), e); err != nil {
			t.Error(err)
		} else if e != nil {
			events = append(events, e)
		}
	}
	return events
}

// invalidRequest has texts that are no UTF-8, which the generated code refuses to
// encode.
func invalidRequest() []byte {
	e := &activity.Event{
		ID:      activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{2}},
		Changes: activity.Changes{Name: "XXXXXX", StartTime: 1, EndTime: 2, TraceState: "Y"},
	}
	body := appendRequest(nil, []*activity.Event{e})
	body = bytes.Replace(body, []byte("XXXXXX"), []byte("ab\xc3\xff c"), 1)
	return bytes.Replace(body, []byte("\x1a\x01Y"), []byte("\x1a\x01\xfe"), 1)
}

// Lengths change their own length at 128 and at 16,384.
func TestLengths(t *testing.T) {
	for _, n := range []int{0, 1, 100, 126, 127, 128, 129, 16200, 16383, 16384, 16385, 1 << 21} {
		e := &activity.Event{ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{2}}, Changes: activity.Changes{
			EndTime: 1, Attrs: []activity.Attr{{Key: "k", Value: activity.BytesValue(string(bytes.Repeat([]byte{'x'}, n)))}},
		}}
		r := &exportRequest{}
		if err := proto.Unmarshal(appendRequest(nil, []*activity.Event{e}), r); err != nil || len(spanOf(apart(r)[0]).Attributes[0].Value.GetBytesValue()) != n {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	m := newMaker(31)
	m.short = true
	var events []*activity.Event
	for range 512 {
		body, err := proto.Marshal(requestOf(m.span()))
		if err != nil {
			b.Fatal(err)
		}
		events = append(events, received(b, body)...)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendRequest(buf[:0], events)
	}
	b.SetBytes(int64(len(buf)))
	b.ReportMetric(float64(b.N*len(events))/b.Elapsed().Seconds(), "spans/s")
}
