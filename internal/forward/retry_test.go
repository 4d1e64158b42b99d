package forward

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/otlpclient"
)

// fakeClient stands for the network, which time that is not real can't wait for.
type fakeClient struct {
	t    testing.TB
	send func(*exportRequest) error

	mu  sync.Mutex // guards what follows while requests are under way
	got []*exportRequest
}

func (c *fakeClient) Close() error { return nil }

func (c *fakeClient) Send(_ context.Context, request []byte) (otlpclient.Result, error) {
	r := &exportRequest{}
	if err := proto.Unmarshal(request, r); err != nil {
		c.t.Error(err)
	}
	if c.send != nil {
		if err := c.send(r); err != nil {
			return otlpclient.Result{}, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, r)
	return otlpclient.Result{}, nil
}

// startFake forwards to a client; a second one by the same name goes on at its
// cursor.
func startFake(t testing.TB, cfg Config, c *fakeClient) *Forwarder {
	t.Helper()
	cfg.Targets = []Target{{URL: "http://fake"}}
	cfg.Logger = quiet
	f, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.targets[0].client = c
	f.Start()
	return f
}

// The pauses between tries grow to half a minute and never end; a target's own
// advice is heeded.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, m := newLog(eventlog.Disk), newMaker(20)
		var mu sync.Mutex // guards the next three: time that is not real orders nothing
		var tries []time.Time
		var after time.Duration
		away := true
		c := &fakeClient{t: t, send: func(*exportRequest) error {
			mu.Lock()
			defer mu.Unlock()
			tries = append(tries, time.Now())
			if away {
				return &otlpclient.Error{Text: "connection refused", Retry: true, After: after}
			}
			return nil
		}}
		f := startFake(t, Config{Log: log}, c)
		receive(t, log, m.request(1))
		time.Sleep(12 * time.Hour)
		mu.Lock()
		for i := range len(tries) - 1 {
			most := min(minBackoff<<min(i, 10), maxBackoff)
			if pause := tries[i+1].Sub(tries[i]); pause < most/2 || pause > most {
				t.Errorf("try %d came after %s, want %s to %s", i+1, pause, most/2, most)
			}
		}
		if s := f.Stats()[0]; len(tries) < 12*60*2 || !s.Away || s.LagEvents != 1 || s.Lag < 12*time.Hour-time.Minute || s.LastError != "connection refused" {
			t.Errorf("%d tries, %+v", len(tries), s)
		}
		after = 5 * time.Minute
		tries = nil
		mu.Unlock()
		time.Sleep(time.Hour)
		mu.Lock()
		for i := range len(tries) - 1 {
			if pause := tries[i+1].Sub(tries[i]); pause != after {
				t.Errorf("try %d came after %s, though the target had said %s", i+1, pause, after)
			}
		}
		away = false
		mu.Unlock()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if s := f.Stats()[0]; s.Away || s.Sent != 1 || s.LagEvents != 0 || s.Lag != 0 {
			t.Errorf("%+v", s)
		}
		_ = f.Stop(t.Context())
	})
}

// Spans that come one by one go out together.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, m := newLog(eventlog.Disk), newMaker(21)
		c := &fakeClient{t: t}
		f := startFake(t, Config{Log: log}, c)
		for range 500 {
			receive(t, log, m.request(1))
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(c.got); n > 26 || len(apart(c.got...)) != 500 {
			t.Errorf("%d requests in 5 s, %d spans", n, len(apart(c.got...)))
		}
		if log.stores > 28 {
			t.Errorf("the cursor was stored %d times in 5 s", log.stores)
		}
		_ = f.Stop(t.Context())
	})
}

// partLog returns fewer events than are asked for, as logs do that take no batch
// apart.
type partLog struct{ *testLog }

func (l partLog) Read(ctx context.Context, after uint64, limit int) ([]activity.Event, error) {
	return l.testLog.Read(ctx, after, min(limit, 500))
}

// A backlog is read without a pause: nobody waits for more spans to fill a
// request while the log has them.
func TestBacklogIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, m := partLog{newLog(eventlog.Disk)}, newMaker(23)
		m.short = true
		c := &fakeClient{t: t}
		prepared, err := New(t.Context(), Config{Log: log, Targets: []Target{{URL: "http://fake"}}}) // the target is known before the first span
		if err != nil {
			t.Fatal(err)
		}
		_ = prepared.Stop(t.Context())
		receive(t, log, m.request(5000), m.request(5000))
		began := time.Now()
		f := startFake(t, Config{Log: log}, c)
		for seq := uint64(0); seq < 10_000; seq, _ = f.Floor() {
			time.Sleep(time.Millisecond)
			synctest.Wait()
			if time.Since(began) > time.Minute {
				t.Fatalf("the cursor is at %d", seq)
			}
		}
		if took := time.Since(began); took > 2*linger {
			t.Errorf("10,000 spans took %s of waiting", took)
		}
		_ = f.Stop(t.Context())
	})
}

// The log's own troubles are waited for.
func TestLogUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, m := &sickLog{testLog: newLog(eventlog.Disk)}, newMaker(22)
		c := &fakeClient{t: t}
		f := startFake(t, Config{Log: log}, c)
		log.sick.Store(true)
		receive(t, log, m.request(5))
		time.Sleep(time.Minute)
		if s := f.Stats()[0]; s.Cursor != 0 || !strings.Contains(s.LastError, "disk full") {
			t.Errorf("%+v", s)
		}
		log.sick.Store(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := f.Stats()[0]; s.Cursor != 5 || s.Sent != 5 {
			t.Errorf("%+v", s)
		}
		_ = f.Stop(t.Context())
	})
}

type sickLog struct {
	*testLog
	sick atomic.Bool
}

func (l *sickLog) Read(ctx context.Context, after uint64, limit int) ([]activity.Event, error) {
	if l.sick.Load() {
		return nil, errors.Join(errors.New("disk full"), eventlog.ErrUnavailable)
	}
	return l.testLog.Read(ctx, after, limit)
}

// An activity that stays lost is forwarded once, as a span that failed when it
// was last seen; one that was seen again is not, and a restart changes nothing.
func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const after = time.Minute
		log := newLog(eventlog.Disk)
		idx := index.New(index.Config{})
		tell := func(events ...activity.Event) {
			t.Helper()
			appendTo(t, log, events...)
			idx.Apply(events)
		}
		c := &fakeClient{t: t}
		cfg := Config{Log: log, LostAfter: after, Activities: idx}
		f := startFake(t, cfg, c)

		id := func(n byte) activity.ID {
			return activity.ID{Trace: activity.TraceID{9}, Span: activity.SpanID{n}}
		}
		began := activity.TimeOf(time.Now())
		shop := &activity.Resource{Service: "shop", Attrs: []activity.Attr{{Key: "service.name", Value: activity.StringValue("shop")}}}
		begin := func(n byte, sampling activity.Sampling) activity.Event {
			return activity.Event{ID: id(n), Kind: activity.EventStarted, At: began, Changes: activity.Changes{
				Name: "charge card", Parent: id(99), SpanKind: activity.KindClient, StartTime: began, Resource: shop, Sampling: sampling,
				Attrs: []activity.Attr{{Key: "order", Value: activity.IntValue(17)}},
			}}
		}
		lose := func(n byte) activity.Event {
			return activity.Event{ID: id(n), Kind: activity.EventLost, At: activity.TimeOf(time.Now())}
		}
		const lost, back, unsampled, twice, late = 1, 2, 3, 4, 5
		for _, n := range []byte{lost, back, twice, late} {
			tell(begin(n, activity.Sampled))
		}
		tell(begin(unsampled, activity.Unsampled))
		time.Sleep(10 * time.Second)
		seen := activity.TimeOf(time.Now())
		tell(activity.Event{ID: id(lost), Kind: activity.EventUpdated, At: seen, Changes: activity.Changes{
			Attrs: []activity.Attr{{Key: activity.KeyProgress, Value: activity.FloatValue(0.5)}},
		}})
		time.Sleep(5 * time.Second)
		tell(lose(lost), lose(back), lose(unsampled), lose(twice))
		time.Sleep(after / 2)
		tell(activity.Event{ID: id(back), Kind: activity.EventUpdated, At: activity.TimeOf(time.Now()), Changes: activity.Changes{
			Attrs: []activity.Attr{{Key: activity.KeyProgress, Value: activity.FloatValue(0.1)}},
		}})
		tell(activity.Event{ID: id(twice), Kind: activity.EventUpdated, At: activity.TimeOf(time.Now()), Changes: activity.Changes{
			Attrs: []activity.Attr{{Key: activity.KeyProgress, Value: activity.FloatValue(0.1)}},
		}})
		tell(lose(twice))
		time.Sleep(after/2 - time.Second)
		if n := len(apart(c.got...)); n != 0 {
			t.Errorf("%d spans were forwarded too early", n)
		}
		kill(f) // it is found again
		f = startFake(t, cfg, c)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		got := apart(c.got...)
		if len(got) != 1 {
			t.Fatalf("%d spans were forwarded, want the one that stayed lost", len(got))
		}
		want := requestOf(nil...)
		want.ResourceSpans[0].Resource.Attributes = append(want.ResourceSpans[0].Resource.Attributes, str("service.name", "shop"))
		s := spanOf(got[0])
		if s.EndTimeUnixNano != uint64(seen) || s.StartTimeUnixNano != uint64(began) || s.Name != "charge card" || s.Flags != 1 ||
			s.Status.GetCode() != 2 || s.SpanId[0] != lost || s.ParentSpanId[0] != 99 || s.Kind != 3 ||
			!proto.Equal(got[0].Resource, want.ResourceSpans[0].Resource) {
			t.Errorf("%v", got[0])
		}
		attrs := make(map[string]string)
		for _, a := range s.Attributes {
			attrs[a.Key] = a.Value.String()
		}
		if attrs["error.type"] != str("", "lost").Value.String() || !strings.Contains(attrs["order"], "17") || len(attrs) != 3 {
			t.Errorf("%v", attrs)
		}
		kill(f)
		f = startFake(t, cfg, c)
		time.Sleep(after)
		synctest.Wait()
		if got := apart(c.got...); len(got) != 2 || spanOf(got[1]).SpanId[0] != twice {
			t.Errorf("%v", got[1:])
		}

		// Gone for longer than that: it is found at the next start, once.
		kill(f)
		tell(lose(late))
		time.Sleep(time.Hour)
		f = startFake(t, cfg, c)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := apart(c.got...); len(got) != 3 || spanOf(got[2]).SpanId[0] != late {
			t.Errorf("%v", got[2:])
		}
		_, last := log.Bounds()
		if seq, _ := f.Floor(); seq != last {
			t.Errorf("the log may be trimmed up to %d of %d", seq, last)
		}
		_ = f.Stop(t.Context())
	})
}

// An activity is forwarded by the first loss that lasts, however often it is taken
// back and lost again, over restarts, and whatever its process says of the time.
func TestLostOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const after = time.Minute
		log, idx, c := newLog(eventlog.Disk), index.New(index.Config{LogID: "01LOG"}), &fakeClient{t: t}
		cfg := Config{Log: log, LostAfter: after, Activities: idx}
		f := startFake(t, cfg, c)
		id := activity.ID{Trace: activity.TraceID{9}, Span: activity.SpanID{1}}
		began := activity.TimeOf(time.Now())
		tell := func(kind activity.Kind, rev uint32, at activity.Time) {
			t.Helper()
			events := []activity.Event{{ID: id, Kind: kind, Rev: rev, At: at}}
			appendTo(t, log, events...)
			idx.Apply(events)
		}
		now := func() activity.Time { return activity.TimeOf(time.Now()) }
		forwarded := func(want int) {
			t.Helper()
			synctest.Wait()
			if n := len(apart(c.got...)); n != want {
				t.Errorf("after %v: %d spans were forwarded, want %d", now().Time().Sub(began.Time()), n, want)
			}
		}
		tell(activity.EventStarted, 1, began)
		time.Sleep(time.Second)

		// It is back in time, and does not count.
		tell(activity.EventLost, 0, now())
		time.Sleep(after - time.Second)
		tell(activity.EventUpdated, 2, now())
		time.Sleep(after)
		forwarded(0)

		tell(activity.EventLost, 0, now())
		time.Sleep(after + 2*time.Second)
		forwarded(1)

		// What it did meanwhile it tells late, with the times of then.
		tell(activity.EventUpdated, 3, now()-activity.Time(after))
		time.Sleep(time.Second)
		tell(activity.EventLost, 0, now())
		time.Sleep(2 * after)
		forwarded(1)
		tell(activity.EventUpdated, 0, now())
		kill(f)
		tell(activity.EventLost, 0, now()+1)
		time.Sleep(2 * after)
		f = startFake(t, cfg, c)
		time.Sleep(2 * after)
		forwarded(1)
		_, last := log.Bounds()
		if seq, _ := f.Floor(); seq != last {
			t.Errorf("the log may be trimmed up to %d of %d", seq, last)
		}
		_ = f.Stop(t.Context())
	})
}

// A loss that lasted while nothing was read is forwarded when it is read, though
// it was taken back since; one that ended by then is not.
func TestLostReadLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const after = time.Minute
		log, idx, c := newLog(eventlog.Disk), index.New(index.Config{LogID: "01LOG"}), &fakeClient{t: t}
		cfg := Config{Log: log, LostAfter: after, Activities: idx}
		f := startFake(t, cfg, c)
		tell := func(n byte, kind activity.Kind) {
			t.Helper()
			events := []activity.Event{{ID: activity.ID{Trace: activity.TraceID{9}, Span: activity.SpanID{n}}, Kind: kind, At: activity.TimeOf(time.Now())}}
			appendTo(t, log, events...)
			idx.Apply(events)
			time.Sleep(time.Second)
		}
		kill(f)
		const back, short, ended = 1, 2, 3
		for _, kind := range []activity.Kind{activity.EventStarted, activity.EventLost} {
			tell(back, kind)
			tell(short, kind)
			tell(ended, kind)
		}
		tell(short, activity.EventUpdated)
		time.Sleep(2 * after)
		tell(back, activity.EventUpdated)
		tell(ended, activity.EventCompleted)
		f = startFake(t, cfg, c)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := apart(c.got...); len(got) != 1 || spanOf(got[0]).SpanId[0] != back {
			t.Errorf("%v", got)
		}
		_ = f.Stop(t.Context())
	})
}

// Without LostAfter a lost activity is never forwarded.
func TestLostOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, c := newLog(eventlog.Disk), &fakeClient{t: t}
		f := startFake(t, Config{Log: log}, c)
		appendTo(t, log, activity.Event{ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{1}}, Kind: activity.EventLost, At: 1})
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if s := f.Stats()[0]; len(c.got) != 0 || s.Cursor != 1 {
			t.Errorf("%v %+v", c.got, s)
		}
		_ = f.Stop(t.Context())
	})
}
