package midspan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// stand is an exporter that stands for a bridge: it keeps what it is told and
// when, unless it fails.
type stand struct {
	mu     sync.Mutex
	told   []told
	fail   func(records []sdklog.Record) error
	calls  int
	closed bool
}

type told struct {
	at    time.Time
	event string
	span  byte // the id's last
	attrs map[string]attribute.Value
	sdklog.Record
}

func (s *stand) Export(ctx context.Context, records []sdklog.Record) error {
	s.mu.Lock()
	fail := s.fail
	s.calls++
	s.mu.Unlock()
	if fail != nil {
		if err := fail(records); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		id := r.SpanID()
		one := told{at: time.Now(), event: strings.TrimPrefix(r.EventName(), activity.LogEventPrefix), span: id[7], attrs: map[string]attribute.Value{}, Record: r}
		r.WalkAttributes(func(kv attribute.KeyValue) bool {
			one.attrs[string(kv.Key)] = kv.Value
			return true
		})
		s.told = append(s.told, one)
	}
	return ctx.Err()
}

func (s *stand) Shutdown(context.Context) error   { s.closed = true; return nil }
func (s *stand) ForceFlush(context.Context) error { return nil }

func (s *stand) failWith(err error) {
	s.failBy(func([]sdklog.Record) error { return err })
}

func (s *stand) failBy(fail func([]sdklog.Record) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// take returns what was told since, drawn as "event:span:rev".
func (s *stand) take() (drawn []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.told {
		drawn = append(drawn, fmt.Sprintf("%s:%d:%d", t.event, t.span, t.attrs[activity.KeyRev].AsInt64()))
	}
	s.told = nil
	return drawn
}

// line is a sender between an index and the stand of a bridge.
type line struct {
	*sender
	t         *testing.T
	ix        *index.Index
	out, life *stand
	log       bytes.Buffer
	revs      map[byte]uint32
}

// newLine must be called in a bubble of synctest.
func newLine(t *testing.T, cfg index.Config) *line {
	t.Helper()
	l := &line{t: t, ix: index.New(cfg), out: &stand{}, life: &stand{}, revs: map[byte]uint32{}}
	res := resource.NewSchemaless(attribute.String(activity.KeyLeaseID, "lease-1"))
	l.sender = newSender(l.ix, l.out, newRecorder(res), newLease(l.life, newRecorder(res), activity.DefaultLeaseTTL), "http://bridge:4318", slog.New(slog.NewTextHandler(&l.log, nil)))
	synctest.Wait()
	return l
}

// stop ends the sender before its bubble ends.
func (l *line) stop() {
	l.t.Helper()
	if err := l.shutdown(l.t.Context(), sent); err != nil {
		l.t.Errorf("shutdown: %v", err)
	}
}

// sent says that there are no spans to wait for.
var sent = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func lineID(span byte) activity.ID {
	return activity.ID{Trace: activity.TraceID{15: 1}, Span: activity.SpanID{7: span}}
}

// event applies an event of a span, which is sampled.
func (l *line) event(span byte, kind activity.Kind, attrs ...activity.Attr) {
	l.revs[span]++
	e := activity.Event{ID: lineID(span), Rev: l.revs[span], Kind: kind, At: activity.TimeOf(time.Now()), Changes: activity.Changes{Attrs: attrs}}
	if e.Rev == 1 {
		e.First, e.Sampling, e.StartTime, e.Name = true, activity.Sampled, e.At, fmt.Sprintf("span %d", span)
	}
	if kind.Ends() {
		e.EndTime = e.At
	}
	l.ix.Apply([]activity.Event{e})
}

// pass lets time pass, and the sender work.
func (l *line) pass(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func (l *line) wants(what string, want ...string) {
	l.t.Helper()
	if got := l.out.take(); !slices.Equal(got, want) {
		l.t.Errorf("%s: told %v, want %v", what, got, want)
	}
}

func doing(text string) activity.Attr {
	return activity.Attr{Key: activity.KeyCurrent, Value: activity.StringValue(text)}
}

// A change of state is told at once, and updates ten times a second.
func TestSenderCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, index.Config{})
		defer l.stop()
		l.event(1, activity.EventPlanned)
		l.pass(gatherFor)
		l.wants("planned", "planned:1:1")
		l.event(1, activity.EventStarted)
		l.pass(gatherFor)
		l.wants("started", "started:1:2")
		l.event(1, activity.EventUpdated, doing("a"))
		l.event(1, activity.EventUpdated, doing("b"), activity.Attr{Key: "x", Value: activity.IntValue(1)})
		l.pass(coolFor - 2*gatherFor)
		l.wants("an update right behind")
		l.pass(2 * gatherFor)
		if n := len(l.out.told); n != 1 || l.out.told[0].attrs[activity.KeyCurrent].AsString() != "b" || l.out.told[0].attrs["x"].AsInt64() != 1 {
			t.Errorf("updates: %+v", l.out.told)
		}
		l.wants("both in one", "updated:1:4")

		l.pass(time.Second)
		from := time.Now()
		for n := range 1000 { // for two seconds
			l.event(1, activity.EventUpdated, doing(fmt.Sprint(n)))
			l.pass(2 * time.Millisecond)
		}
		l.pass(coolFor)
		var last time.Time
		for _, r := range l.out.told {
			if r.event != "updated" || !last.IsZero() && r.at.Sub(last) < coolFor {
				t.Errorf("%s at %v, %v behind", r.event, r.at.Sub(from), r.at.Sub(last))
			}
			last = r.at
		}
		if n := len(l.out.told); n < 15 || n > 21 || l.out.told[n-1].attrs[activity.KeyCurrent].AsString() != "999" {
			t.Errorf("%d updates in two seconds, the last %v", n, l.out.told[n-1].attrs)
		}
		l.out.take()

		l.event(1, activity.EventUpdated, doing("c"))
		l.pass(gatherFor)
		l.out.take()
		l.event(1, activity.EventUpdated, doing("d"))
		ended := activity.TimeOf(time.Now())
		l.event(1, activity.EventCompleted)
		l.pass(gatherFor)
		if n := len(l.out.told); n != 1 || l.out.told[0].attrs[activity.KeyCurrent].AsString() != "d" || activity.TimeOf(l.out.told[0].Timestamp()) != ended {
			t.Errorf("end: %+v", l.out.told)
		}
		l.wants("the end with what came before", fmt.Sprintf("completed:1:%d", l.revs[1]))
		l.pass(time.Minute)
		l.wants("nothing more")
		if len(l.waiting) != 0 || len(l.order) != 0 {
			t.Errorf("%d and %d are remembered", len(l.waiting), len(l.order))
		}
	})
}

// What is over before it was told is told by its final span alone, if there is one.
func TestSenderLeavesShortOnesToTheSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, index.Config{})
		defer l.stop()
		l.event(1, activity.EventStarted)
		l.event(1, activity.EventUpdated)
		l.event(1, activity.EventCompleted)
		e := activity.Event{ID: lineID(2), Rev: 1, First: true, Kind: activity.EventStarted, At: 1, Changes: activity.Changes{Name: "quiet", Sampling: activity.Unsampled, Parent: lineID(1), SpanKind: activity.KindClient}}
		end := activity.Event{ID: lineID(2), Rev: 2, Kind: activity.EventFailed, At: 2, Changes: activity.Changes{Status: activity.StatusError, StatusMessage: "no"}}
		l.ix.Apply([]activity.Event{e, end})
		l.pass(gatherFor)
		first, second := l.out.told[0], l.out.told[1]
		if first.TraceFlags().IsSampled() || first.attrs[activity.KeySampled].AsBool() || first.attrs[activity.KeySampled].Type() != attribute.BOOL ||
			first.attrs[activity.KeyName].AsString() != "quiet" || first.attrs[activity.KeyParentSpanID].AsString() != "0000000000000001" ||
			first.attrs[activity.KeySpanKind].AsString() != "client" || second.attrs[activity.KeyErrorMessage].AsString() != "no" {
			t.Errorf("told %+v, %+v", first.attrs, second.attrs)
		}
		l.wants("the unsampled one", "started:2:1", "failed:2:2")
	})
}

// A bridge that is away costs nothing, and is told what it missed: each open
// activity from its start, and what ended meanwhile.
func TestSenderOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, index.Config{})
		defer l.stop()
		for span := byte(1); span <= 3; span++ {
			l.event(span, activity.EventStarted)
		}
		l.pass(gatherFor)
		l.wants("before", "started:1:1", "started:2:1", "started:3:1")
		if !l.connected.Load() {
			t.Error("not connected")
		}

		down := errors.New("connection refused")
		l.out.failWith(down)
		l.life.failWith(down)
		l.event(1, activity.EventUpdated, doing("a"))
		l.event(2, activity.EventCompleted)
		l.pass(time.Second)
		l.event(4, activity.EventStarted)
		l.event(1, activity.EventUpdated, doing("b"))
		l.event(5, activity.EventStarted)
		l.event(5, activity.EventFailed)
		if err := l.flush(t.Context()); !errors.Is(err, down) {
			t.Errorf("flush: %v", err)
		}
		l.pass(time.Minute)
		l.wants("away")
		if l.connected.Load() || len(l.waiting) != 0 {
			t.Errorf("connected %v, %d remembered", l.connected.Load(), len(l.waiting))
		}
		if calls := l.out.calls + l.life.calls; calls > 100 {
			t.Errorf("%d requests in a minute", calls)
		}

		l.out.failWith(nil)
		l.life.failWith(nil)
		l.pass(maxBackoff)
		l.wants("back", "started:2:1", "completed:2:2", "started:5:1", "failed:5:2", "started:3:1", "started:4:1", "started:1:1", "updated:1:3")
		if n := l.dropped.Load(); n != 0 || !l.connected.Load() {
			t.Errorf("%d dropped, connected %v", n, l.connected.Load())
		}
		l.event(1, activity.EventUpdated, doing("c"))
		l.pass(coolFor)
		l.wants("as before", "updated:1:4")
		if lines := strings.Split(strings.TrimSpace(l.log.String()), "\n"); len(lines) != 2 ||
			!strings.Contains(lines[0], "the bridge is away") || !strings.Contains(lines[1], "the bridge is back") {
			t.Errorf("log:\n%s", &l.log)
		}
	})
}

// Nothing to tell: it is the lease that finds that the bridge is away, and back.
func TestSenderFindsOutByItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, index.Config{})
		defer l.stop()
		l.event(1, activity.EventStarted)
		l.pass(gatherFor)
		l.out.take()
		l.life.failWith(errors.New("connection refused"))
		l.pass(10 * time.Second)
		l.life.failWith(nil)
		l.pass(maxBackoff)
		l.wants("a bridge that may have forgotten", "started:1:1")
	})
}

// What the index evicted before the bridge came back is counted, exactly.
func TestSenderCountsWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, index.Config{MaxFinished: 10})
		defer l.stop()
		for n := range 14 { // told before they are evicted
			l.event(byte(100+n), activity.EventStarted)
			l.pass(time.Second)
			l.event(byte(100+n), activity.EventCompleted)
			l.pass(time.Second)
		}
		l.out.take()
		down := errors.New("down")
		l.out.failWith(down)
		l.event(1, activity.EventStarted)
		l.pass(time.Second)
		for n := range 50 {
			l.event(byte(10+n), activity.EventStarted)
			l.event(byte(10+n), activity.EventCompleted)
		}
		l.out.failWith(nil)
		l.pass(maxBackoff)
		if got := l.out.take(); len(got) != 21 || l.dropped.Load() != 40 {
			t.Errorf("told %d, dropped %d; want 10 finished ones, an open one, and 40", len(got), l.dropped.Load())
		}
	})
}

// A bridge that goes away again while it catches up is not told twice what it took.
func TestSenderResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, index.Config{})
		defer l.stop()
		l.out.failWith(errors.New("down"))
		const n = 4 * maxRecords
		for i := range n {
			id := activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{byte(i >> 8), byte(i), 1}}
			at := activity.TimeOf(time.Now())
			l.ix.Apply([]activity.Event{
				{ID: id, Rev: 1, First: true, Kind: activity.EventStarted, At: at, Changes: activity.Changes{Sampling: activity.Unsampled}},
				{ID: id, Rev: 2, Kind: activity.EventCompleted, At: at},
			})
		}
		l.pass(time.Second)
		taken := 0
		l.out.failBy(func([]sdklog.Record) error {
			if taken++; taken%4 == 0 {
				return errors.New("down")
			}
			return nil
		})
		l.pass(time.Minute)
		if got := len(l.out.take()); got < 2*n || got > 3*n || l.dropped.Load() != 0 {
			t.Errorf("%d records of %d events were taken, %d dropped", got, 2*n, l.dropped.Load())
		}
	})
}

// One whose place in the log was overrun catches up with the state of things.
func TestSenderOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, index.Config{MaxEvents: 100})
		defer l.stop()
		l.event(1, activity.EventStarted)
		l.pass(gatherFor)
		l.out.take()
		for n := range 500 {
			l.event(1, activity.EventUpdated, doing(fmt.Sprint(n)))
		}
		l.event(2, activity.EventStarted)
		l.event(2, activity.EventCompleted)
		l.pass(time.Second)
		var last told
		events := map[byte]int{}
		for _, r := range l.out.told {
			events[r.span]++
			if r.span == 1 {
				last = r
			}
		}
		if last.attrs[activity.KeyCurrent].AsString() != "499" || events[1] != 2 || events[2] != 2 || l.dropped.Load() != 0 {
			t.Errorf("told %v, the last %v; dropped %d", events, last.attrs, l.dropped.Load())
		}
	})
}

// What the bridge will never take is dropped alone and counted; overload is waited out.
func TestSenderRejections(t *testing.T) {
	overload, err := status.New(codes.ResourceExhausted, "busy").WithDetails(&errdetails.RetryInfo{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		err     error
		dropped int64
		waits   bool
	}{
		{"too large by gRPC", status.Error(codes.ResourceExhausted, "larger than max"), 1, false},
		{"malformed by gRPC", status.Error(codes.InvalidArgument, "bad"), 1, false},
		{"too large by HTTP", errors.New("failed to send logs to http://bridge:4318/v1/logs: 413 Request Entity Too Large (body: x)"), 1, false},
		{"partial success", errors.New("OTLP partial success: odd (1 logs rejected)"), 1, false},
		{"overload by gRPC", overload.Err(), 0, true},
		{"overload by HTTP", errors.New("retry-able request failure: body: 429"), 0, true},
		{"no token", status.Error(codes.Unauthenticated, "no token"), 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLine(t, index.Config{})
				defer l.stop()
				l.out.failBy(func(records []sdklog.Record) error {
					for _, r := range records {
						if id := r.SpanID(); id[7] == 3 {
							return tt.err
						}
					}
					return nil
				})
				for span := byte(1); span <= 5; span++ {
					l.event(span, activity.EventStarted)
				}
				l.pass(time.Second)
				if l.dropped.Load() != tt.dropped || l.away != tt.waits {
					t.Errorf("dropped %d, away %v", l.dropped.Load(), l.away)
				}
				if got := l.out.take(); !tt.waits && !strings.Contains(tt.name, "partial") && len(got) != 4 {
					t.Errorf("told %v", got)
				}
				l.out.failWith(nil)
				l.pass(maxBackoff)
			})
		})
	}
}

// Requests hold no more than they may.
func TestSenderRequestSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, index.Config{})
		defer l.stop()
		largest, requests := 0, 0
		l.out.failBy(func(records []sdklog.Record) error {
			n := 0
			for _, r := range records {
				r.WalkAttributes(func(kv attribute.KeyValue) bool { n += len(kv.Value.String()); return true })
			}
			largest, requests = max(largest, n), requests+1
			return nil
		})
		text := strings.Repeat("x", activity.MaxString)
		for span := range byte(100) {
			l.event(span+1, activity.EventStarted, doing(text))
		}
		l.pass(time.Second)
		if len(l.out.told) != 100 || largest > maxBytes+2*activity.MaxString || requests < 6 {
			t.Errorf("%d told in %d requests of up to %d bytes", len(l.out.told), requests, largest)
		}
	})
}

// The lease is renewed three times in its duration and ended last.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, index.Config{})
		l.pass(20 * time.Second)
		n := len(l.life.told)
		if n < 12 || n > 13 {
			t.Errorf("renewed %d times in 20 s", n)
		}
		l.stop()
		for i, r := range l.life.told {
			want := activity.LeaseRenewed
			if i == n {
				want = activity.LeaseEnded
			}
			lease, _ := r.Resource().Set().Value(activity.KeyLeaseID)
			if r.EventName() != want || r.attrs[activity.KeyLeaseTTL].AsInt64() != 5000 || r.attrs[activity.KeyLeaseSeq].AsInt64() != int64(i+1) ||
				r.attrs[activity.KeyLeaseSentAt].AsInt64() != r.at.UnixNano() || lease.AsString() != "lease-1" || r.TraceID().IsValid() {
				t.Errorf("%d: %s %v of %q", i, r.EventName(), r.attrs, lease.AsString())
			}
		}
		if len(l.life.told) != n+1 || !l.life.closed || !l.out.closed {
			t.Errorf("%d events; closed %v and %v", len(l.life.told), l.life.closed, l.out.closed)
		}
	})
}

// Shutdown tells everything that waits, and heeds its deadline.
func TestSenderShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine(t, index.Config{})
		l.event(1, activity.EventStarted)
		l.pass(gatherFor)
		l.event(1, activity.EventUpdated, doing("a")) // would wait
		l.stop()
		l.wants("all", "started:1:1", "updated:1:2")

		l = newLine(t, index.Config{})
		l.out.failBy(func([]sdklog.Record) error {
			<-l.sender.ctx.Done() // never answers
			return context.Canceled
		})
		l.event(1, activity.EventStarted)
		l.event(2, activity.EventStarted)
		l.pass(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		before := time.Now()
		if err := l.shutdown(ctx, sent); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		if took := time.Since(before); took != 3*time.Second || l.dropped.Load() != 2 {
			t.Errorf("it took %v, dropped %d", took, l.dropped.Load())
		}
		if err := l.shutdown(t.Context(), sent); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("second shutdown: %v", err)
		}
	})
}

// A sender whose bridge never answers holds nothing, whatever happens.
func TestSenderMemory(t *testing.T) {
	ix := index.New(index.Config{MaxFinished: 1000, MaxEvents: 2000})
	life, out := &stand{}, &stand{}
	hang := func([]sdklog.Record) error { return errors.New("away") }
	out.failBy(hang)
	life.failBy(hang)
	res := resource.Empty()
	s := newSender(ix, out, newRecorder(res), newLease(life, newRecorder(res), activity.DefaultLeaseTTL), "x", slog.New(slog.DiscardHandler))
	defer func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = s.shutdown(ctx, sent)
	}()
	text := strings.Repeat("x", 1000)
	churn := func(n int) uint64 {
		for i := range n {
			id := activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{byte(i >> 16), byte(i >> 8), byte(i), 1}}
			at := activity.TimeOf(time.Now())
			ix.Apply([]activity.Event{
				{ID: id, Rev: 1, First: true, Kind: activity.EventStarted, At: at, Changes: activity.Changes{Name: "n", Attrs: []activity.Attr{doing(text)}}},
				{ID: id, Rev: 2, Kind: activity.EventCompleted, At: at},
			})
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := churn(5_000) // fills the log and the index
	if after := churn(20_000); after > before+8<<20 {
		t.Errorf("the heap grew from %d to %d MiB", before>>20, after>>20)
	}
}
