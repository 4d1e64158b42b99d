package forward

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
	"github.com/midspan/midspan/internal/otlpclient"
)

const (
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
	// maxSplits bounds the requests that look for the span at fault in one that
	// was refused.
	maxSplits = 64
	// logEvery is how often the same trouble is told.
	logEvery = time.Minute
)

// client is what a target needs of otlpclient.Client.
type client interface {
	Send(ctx context.Context, request []byte) (otlpclient.Result, error)
	Close() error
}

// target is an endpoint and what became of what was sent to it.
type target struct {
	name, endpoint string
	client         client
	log            eventlog.Log
	drain          bool
	trace          func(target string, spans []*activity.Event) func(error)
	logger         *slog.Logger
	streams        []*stream // the first is that of finished spans
	minBackoff     time.Duration

	sent, rejected, dropped, retries atomic.Int64

	mu          sync.Mutex // guards everything below
	lastError   string
	lastErrorAt time.Time
	away        bool
	told        map[string]time.Time // what was logged, and when
}

func (t *target) stats(now time.Time) Stats {
	s := Stats{
		Name: t.name, Endpoint: t.endpoint, Cursor: t.streams[0].committed.Load(),
		Sent: t.sent.Load(), Rejected: t.rejected.Load(), Dropped: t.dropped.Load(), Retries: t.retries.Load(),
	}
	if _, last := t.log.Bounds(); last > s.Cursor {
		s.LagEvents = last - s.Cursor
		oldest := t.streams[0].waiting.Load()
		if oldest == 0 {
			oldest = t.streams[0].reading.Load()
		}
		if oldest != 0 {
			s.Lag = max(now.Sub(activity.Time(oldest).Time()), 0)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.LastError, s.LastErrorAt, s.Away = t.lastError, t.lastErrorAt, t.away
	return s
}

// deliver sends spans until the target has taken or refused each of them. It
// returns an error when ctx is done before, or a try has failed after giveUp.
func (t *target) deliver(ctx context.Context, giveUp <-chan struct{}, spans []*activity.Event) (err error) {
	if len(spans) == 0 {
		return nil
	}
	if t.trace != nil {
		end := t.trace(t.name, spans)
		defer func() { end(err) }()
	}
	parts := [][]*activity.Event{spans} // the last is the next
	for splits := 0; len(parts) > 0; {
		part := parts[len(parts)-1]
		parts = parts[:len(parts)-1]
		result, err := t.send(ctx, giveUp, appendRequest(nil, part))
		refused, _ := errors.AsType[*otlpclient.Error](err)
		switch {
		case err == nil:
			bad := min(result.Rejected, int64(len(part)))
			t.sent.Add(int64(len(part)) - bad)
			t.reject(bad, result.Message)
		case refused == nil:
			return err
		case len(part) > 1 && splits < maxSplits:
			// One span spoils the rest, or they are too many: which is it?
			splits++
			half := len(part) / 2
			parts = append(parts, part[half:], part[:half])
		default:
			t.reject(int64(len(part)), refused.Text)
		}
	}
	return nil
}

// send sends one request, again and again while the target is away or busy. It
// returns an *otlpclient.Error only for one that the target will never take.
func (t *target) send(ctx context.Context, giveUp <-chan struct{}, request []byte) (otlpclient.Result, error) {
	for backoff := t.minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		result, err := t.client.Send(ctx, request)
		if err == nil {
			t.back()
			return result, nil
		}
		failed, ok := errors.AsType[*otlpclient.Error](err)
		if !ok {
			return result, err
		}
		if !failed.Retry {
			t.back() // it answers
			t.note(failed.Text)
			return result, err
		}
		t.gone(failed.Text)
		// Half of it by chance, so that those who failed together come apart.
		pause := backoff/2 + rand.N(backoff/2+1)
		if !wait(ctx, giveUp, nil, max(pause, failed.After)) {
			return result, errStopped
		}
		t.retries.Add(1)
	}
}

var errStopped = errors.New("stopped before the target took it")

// reject counts spans that the target will never take, and says why.
func (t *target) reject(n int64, why string) {
	if n == 0 {
		return
	}
	t.rejected.Add(n)
	t.note(why)
	if t.tell("rejected") {
		t.logger.Warn("forward: the target rejects spans; this is told once a minute",
			slog.Int64("spans", n), slog.Int64("rejected", t.rejected.Load()), slog.String("reason", why))
	}
}

// fault tells of a trouble with our own log.
func (t *target) fault(what string, err error) {
	t.note(what + ": " + err.Error())
	if t.tell(what) {
		t.logger.Error("forward: "+what, slog.Any("error", err))
	}
}

// tell reports whether it is time to log something again.
func (t *target) tell(what string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if at, ok := t.told[what]; ok && now.Sub(at) < logEvery {
		return false
	}
	if t.told == nil {
		t.told = make(map[string]time.Time)
	}
	t.told[what] = now
	return true
}

func (t *target) note(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lastError, t.lastErrorAt = why, time.Now()
}

func (t *target) gone(why string) {
	t.note(why)
	t.mu.Lock()
	before := t.away
	t.away = true
	t.mu.Unlock()
	if !before {
		t.logger.Warn("forward: the target takes no spans; they stay in the log until it does", slog.String("error", why))
	}
}

func (t *target) back() {
	t.mu.Lock()
	before := t.away
	t.away = false
	t.mu.Unlock()
	if before {
		t.logger.Info("forward: the target takes spans again")
	}
}
