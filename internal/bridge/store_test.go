package bridge

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/eventlog/memory"
	"github.com/midspan/midspan/internal/forward"
	"github.com/midspan/midspan/internal/receiver"
)

// A request that is sent again, as after an answer that got lost, reaches a
// target once.
func TestRetryIsForwardedOnce(t *testing.T) {
	backend := serve(t, Config{})
	b := serve(t, Config{Storage: Storage{Folder: t.TempDir()}, Forward: forward.Config{
		Targets: []forward.Target{{URL: "http://" + backend.HTTPAddr().String()}},
	}})
	request := func(first, n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = span(fmt.Sprintf("%032x", 7), first+i, 0, 1000, 2000)
		}
		return spans(text("service.name", "shop"), list...)
	}
	b.send("/v1/traces", request(1, 20))
	b.send("/v1/traces", request(1, 20))
	b.send("/v1/traces", request(11, 20)) // half of it new
	_, last := b.store.Bounds()
	if last != 30 {
		t.Errorf("the log has %d events", last)
	}
	eventually(t, 10*time.Second, func() string {
		if s := b.store.forward.Stats()[0]; s.Sent != 30 || s.LagEvents != 0 {
			return fmt.Sprintf("%+v", s)
		}
		return ""
	})
	if got := backend.receiver.Stats().Events; got != 30 {
		t.Errorf("the target got %d spans", got)
	}
}

// slowLog answers when it is told to.
type slowLog struct {
	eventlog.Log
	answers chan error // in place of the log's own, unless nil
}

func (l slowLog) Append(ctx context.Context, events []activity.Event) error {
	if err := <-l.answers; err != nil {
		return err
	}
	return l.Log.Append(ctx, events)
}

// A request that comes again while the first one is under way waits for that: it
// is told so when its spans were taken, and takes them itself when they were not.
func TestRetryUnderWay(t *testing.T) {
	for _, tt := range []struct {
		name          string
		first, second error // of the log
	}{
		{"taken", nil, errors.New("it was appended again")},
		{"refused", eventlog.ErrUnavailable, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at, err := (&Config{}).bounds()
				if err != nil {
					t.Fatal(err)
				}
				s, err := openStore(t.Context(), Storage{}, at, forward.Config{Targets: []forward.Target{{URL: "http://127.0.0.1:1"}}}, nil, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				slow := slowLog{s.Log, make(chan error)}
				s.Log = slow
				batch := func(first, n byte) (events []activity.Event) {
					for i := range n {
						events = append(events, activity.Event{
							ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{first + i}}, Kind: activity.EventCompleted, At: 20,
							Changes: activity.Changes{Name: "ship", StartTime: 10, EndTime: 20},
						})
					}
					return events
				}
				took := make(chan error, 2)
				send := func(events []activity.Event) {
					go func() { took <- s.Append(t.Context(), events) }()
					synctest.Wait()
				}
				send(batch(1, 10))
				send(batch(1, 10))
				gone, cancel := context.WithCancel(t.Context())
				cancel()
				if err := s.Append(gone, batch(10, 2)); !errors.Is(err, context.Canceled) {
					t.Errorf("one whose sender is gone: %v", err)
				}
				slow.answers <- tt.first
				if err := <-took; !errors.Is(err, tt.first) {
					t.Errorf("the first: %v", err)
				}
				synctest.Wait()
				select {
				case slow.answers <- tt.second:
				default: // nobody appends
				}
				if err := <-took; err != nil {
					t.Errorf("the second: %v", err)
				}
				if _, last := s.Bounds(); last != 10 {
					t.Errorf("the log has %d events", last)
				}
				if n := len(s.underWay.spans); n != 0 {
					t.Errorf("%d spans are under way for ever", n)
				}
				if err := s.close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// The log in memory keeps what a target has not taken, and nothing else.
func TestMemoryLogHoldsWhatIsNeeded(t *testing.T) {
	held := func(b *served) uint64 { return b.store.Log.(*memory.Log).Stats().Events }
	send := func(b *served, n int) {
		for i := range n {
			b.send("/v1/traces", spans(text("service.name", "shop"), span(fmt.Sprintf("%032x", 8), i+1, 0, 1000, 2000)))
		}
	}
	alone := serve(t, Config{})
	send(alone, 20)
	if n := held(alone); n != 1 {
		t.Errorf("without a target it holds %d events", n)
	}
	away := serve(t, Config{Forward: forward.Config{Targets: []forward.Target{{URL: "http://127.0.0.1:1"}}}})
	send(away, 20)
	if n := held(away); n != 20 {
		t.Errorf("with one that is away it holds %d events", n)
	}
	there := serve(t, Config{Forward: forward.Config{Targets: []forward.Target{{URL: "http://" + alone.HTTPAddr().String()}}}})
	send(there, 20)
	eventually(t, 10*time.Second, func() string {
		if n := there.store.forward.Stats()[0].LagEvents; n != 0 {
			return fmt.Sprintf("%d events behind", n)
		}
		return ""
	})
	there.send("/v1/traces", spans(text("service.name", "shop"), span(fmt.Sprintf("%032x", 9), 1, 0, 1000, 2000)))
	if n := held(there); n != 1 {
		t.Errorf("with one that has all it holds %d events", n)
	}
}

// narrowLog takes batches of a few events, none of which is large.
type narrowLog struct {
	*memory.Log
	full bool
}

func (l *narrowLog) Append(ctx context.Context, events []activity.Event) error {
	for i := range events {
		if len(events) > 4 || events[i].Name == "large" {
			return fmt.Errorf("append %w", eventlog.ErrTooLarge)
		}
		if l.full && events[i].Name == "last" {
			return eventlog.ErrUnavailable
		}
	}
	return l.Log.Append(ctx, events)
}

// What no batch holds is rejected alone, and what needs several goes in several.
func TestTooLarge(t *testing.T) {
	log := &narrowLog{Log: memory.Open(memory.Config{})}
	s := &store{Log: log, index: index.New(index.Config{})}
	var events []activity.Event
	for i := range 30 {
		name := "small"
		if i%10 == 9 {
			name = "large"
		}
		events = append(events, activity.Event{ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{byte(i + 1)}}, Changes: activity.Changes{Name: name}})
	}
	rejected, ok := errors.AsType[*receiver.RejectedError](s.Append(t.Context(), events))
	if !ok || rejected.Events != 3 || !strings.Contains(rejected.Reason, "larger") {
		t.Errorf("%+v", rejected)
	}
	if _, last := log.Bounds(); last != 27 {
		t.Errorf("%d events were taken", last)
	}
	log.full = true
	events[29].Name = "last"
	if err := s.Append(t.Context(), events); !errors.Is(err, eventlog.ErrUnavailable) {
		t.Errorf("%v", err)
	}
	if err := s.Append(t.Context(), events[:1]); err != nil {
		t.Errorf("%v", err)
	}
}

// What is too old goes also while nothing comes.
func TestRetireAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := index.New(index.Config{LogID: "01LOG", MaxAge: time.Minute})
		e := activity.Event{Seq: 1, ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{1}}, Kind: activity.EventCompleted, At: activity.TimeOf(time.Now()), ReceivedAt: activity.TimeOf(time.Now())}
		x.Apply([]activity.Event{e})
		ctx, cancel := context.WithCancel(t.Context())
		var retiring sync.WaitGroup
		retiring.Go(func() { retire(ctx, x) })
		for _, want := range []int64{0, 1} {
			time.Sleep(59 * time.Second)
			synctest.Wait()
			if got := x.Hits().ByAge; got != want {
				t.Errorf("%d have gone, want %d", got, want)
			}
		}
		cancel()
		retiring.Wait()
	})
}

// What is taken and can't be shown has the bridge say why.
func TestHealthOfLateEvents(t *testing.T) {
	at, err := (&Config{}).bounds()
	if err != nil {
		t.Fatal(err)
	}
	cfg := Storage{Folder: t.TempDir()}
	opened := func() *store {
		t.Helper()
		s, err := openStore(t.Context(), cfg, at, forward.Config{}, nil, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ended := func(n int, attrs ...activity.Attr) activity.Event {
		e := activity.Event{ID: activity.ID{Trace: activity.TraceID{1}}, Kind: activity.EventCompleted, At: activity.Time(1000 + n)}
		binary.BigEndian.PutUint64(e.ID.Span[:], uint64(n))
		e.Attrs = attrs
		return e
	}
	s := opened()
	for first := 1; first < 14_000; first += 1_000 {
		var events []activity.Event
		for n := range 1_000 {
			events = append(events, ended(first+n))
		}
		if err := s.Append(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.keeper.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.sqlite.Update(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), "UPDATE part SET data = zeroblob(length(data)) WHERE id = 3")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = opened()
	if err := s.health(); err != nil {
		t.Errorf("before: %v", err)
	}
	if err := s.Append(t.Context(), []activity.Event{ended(1, activity.Attr{Key: "k", Value: activity.StringValue("v")})}); err != nil {
		t.Errorf("a late event: %v", err)
	}
	if err := s.health(); err == nil || !strings.Contains(err.Error(), "1 late events") || !strings.Contains(err.Error(), "segment 0") {
		t.Errorf("then: %v", err)
	}
	if err := s.close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
