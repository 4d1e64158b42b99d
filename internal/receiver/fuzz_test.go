package receiver

import (
	"bytes"
	"net/http"
	"slices"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/midspan/midspan/activity"
)

// Whatever a body holds, it is answered as OTLP says, and changes nothing when it
// is sent again.
func FuzzHandler(f *testing.F) {
	for _, levels := range []int{1, 200} {
		f.Add(deep(levels), false, false)
	}
	f.Add([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{}]}]}]}`), true, false)
	f.Add([]byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"1"},{"startTimeUnixNano":"x"}]}]}]}`), true, false)
	f.Add([]byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"attributes":[{"key":"partial.event","value":{"stringValue":"stop"}}]}]}]}]}`), true, true)
	f.Fuzz(func(t *testing.T, body []byte, isJSON, logs bool) {
		path, kind := "/v1/traces", typeProto
		if logs {
			path = "/v1/logs"
		}
		if isJSON {
			kind = typeJSON
		}
		x := newIndex()
		r := newReceiver(t, Config{Sink: sink{x}})
		w := post(t, r, path, body, "Content-Type", kind)
		if !slices.Contains([]int{http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge}, w.Code) {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		seq := x.Head().Seq
		again := post(t, r, path, body, "Content-Type", kind)
		if got := x.Head().Seq; got != seq || again.Code != w.Code || !bytes.Equal(again.Body.Bytes(), w.Body.Bytes()) {
			t.Errorf("sent again, it changed something: %d events, then %d; %d %s, then %d %s", seq, got, w.Code, w.Body, again.Code, again.Body)
		}
	})
}

// A log record, of an activity, a lease or a partial span, is taken or rejected
// with a reason, never both.
func FuzzLogs(f *testing.F) {
	f.Add("activity.started", []byte("x"), "activity.rev", "1", int64(3), true)
	f.Add(activity.LeaseRenewed, []byte(nil), activity.KeyLeaseTTL, "", int64(5000), false)
	f.Add("", []byte(`{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","startTimeUnixNano":"1"}]}]}]}`),
		keyPartial, "heartbeat", int64(0), true)
	f.Add("", []byte("CgA="), keyPartial, "stop", int64(0), true)
	f.Add("", deep(3), keyPartial, "stop", int64(9), false)
	f.Fuzz(func(t *testing.T, event string, body []byte, key, value string, n int64, text bool) {
		ld := plog.NewLogs()
		rl := ld.ResourceLogs().AppendEmpty()
		rl.Resource().Attributes().PutStr(activity.KeyLeaseID, "a")
		r := rl.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		r.SetEventName(event)
		r.SetTraceID(pcommon.TraceID{1})
		r.SetSpanID(pcommon.SpanID{2})
		r.SetTimestamp(pcommon.Timestamp(n))
		if text {
			r.Body().SetStr(string(body))
			r.Attributes().PutStr(key, value)
		} else {
			r.Body().SetEmptyBytes().FromRaw(body)
			r.Attributes().PutInt(key, n)
		}
		b := batch{r: newReceiver(t, Config{Sink: sink{newIndex()}})}
		b.logs(ld)
		if b.rejected > 1 || (b.rejected == 1) != (b.message("log record") != "") || b.rejected == 1 && len(b.events) > 0 {
			t.Errorf("%d rejected, %d events, %q", b.rejected, len(b.events), b.message("log record"))
		}
		for _, e := range b.events {
			if e.ID.IsZero() || e.EndTime != 0 || e.Kind == activity.EventLost {
				t.Errorf("it made %+v", e)
			}
		}
	})
}

// A pending span of Logfire tells of the span that it stands for.
func FuzzPending(f *testing.F) {
	f.Add("work (pending)", "53995c3f42cd8ad8", uint64(1), uint64(2))
	f.Add("", "0000000000000000", uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, name, parent string, start, own uint64) {
		td := ptrace.NewTraces()
		s := td.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		s.SetName(name)
		s.SetTraceID(pcommon.TraceID{1})
		s.SetSpanID(pcommon.SpanID{1, byte(own)})
		s.SetParentSpanID(pcommon.SpanID{2})
		s.SetStartTimestamp(pcommon.Timestamp(start))
		s.SetEndTimestamp(pcommon.Timestamp(start))
		s.Attributes().PutStr(keySpanType, pendingSpan)
		s.Attributes().PutStr(keyPendingParent, parent)
		b := batch{r: newReceiver(t, Config{Sink: sink{newIndex()}})}
		b.traces(td)
		if len(b.events)+int(b.rejected) != 1 {
			t.Fatalf("%d events, %d rejected", len(b.events), b.rejected)
		}
		for _, e := range b.events {
			want := activity.ID{}
			if id, err := activity.ParseSpanID(parent); err == nil {
				want = activity.ID{Trace: activity.TraceID{1}, Span: id}
			}
			if e.ID != (activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{2}}) || e.Parent != want || e.Kind.Ends() || e.EndTime != 0 || len(e.Attrs) != 0 {
				t.Errorf("it made %+v", e)
			}
		}
	})
}

// What is looked through before it is decoded, and taken apart when it does not
// decode, is never changed by that.
func FuzzScrub(f *testing.F) {
	f.Add(deep(3))
	f.Add(append(alone([]byte{8, 1}), alone([]byte{0x12, 0})...))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		s := survey{limit: 1000}
		bounded := s.protobuf(body) == nil
		items := 0
		kept, ok := scrub(body, wholeRequest, func([]byte) bool { items++; return true })
		if !bytes.Equal(before, body) {
			t.Fatal("the body was written to")
		}
		if bounded && items*itemWeight > 1000 {
			t.Errorf("%d items passed", items)
		}
		if !ok || !bounded {
			return
		}
		want, err := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(body)
		got, again := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(kept)
		if (err == nil) != (again == nil) {
			t.Fatalf("%v, then %v", err, again)
		}
		if err == nil && want.SpanCount() != got.SpanCount() {
			t.Errorf("%d spans became %d", want.SpanCount(), got.SpanCount())
		}
		none, ok := scrub(body, wholeRequest, func([]byte) bool { return false })
		if left, err := new(ptrace.ProtoUnmarshaler).UnmarshalTraces(none); ok && err == nil && left.SpanCount() != 0 {
			t.Errorf("%d spans are left of none", left.SpanCount())
		}
	})
}
