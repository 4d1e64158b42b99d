package midspan

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"

	"github.com/midspan/midspan/activity"
)

// lease is a process's word that it lives, which a bridge takes for as long as it
// is renewed. It has a connection of its own: a long request holds nobody up.
type lease struct {
	ttl     time.Duration
	out     sdklog.Exporter
	renewed chan renewal  // the latest, if anybody looks
	done    chan struct{} // hold has returned

	mu  sync.Mutex // guards everything below
	rec *recorder
	seq int64
}

// renewal is the outcome of one.
type renewal struct{ err error }

func newLease(out sdklog.Exporter, rec *recorder, ttl time.Duration) *lease {
	return &lease{ttl: ttl, out: out, rec: rec, renewed: make(chan renewal, 1), done: make(chan struct{})}
}

// hold renews the lease, three times in its duration, until ctx is done.
func (l *lease) hold(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(l.ttl / 3)
	defer tick.Stop()
	for {
		err := l.renew(ctx)
		if ctx.Err() != nil {
			return
		}
		select {
		case l.renewed <- renewal{err}:
		default:
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (l *lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.ttl)
	defer cancel()
	return l.say(ctx, activity.LeaseRenewed)
}

// end ends the lease, if it was ever held: the process stops of its own will.
func (l *lease) end(ctx context.Context) error {
	<-l.done
	err := l.say(ctx, activity.LeaseEnded)
	if stop := l.out.Shutdown(ctx); err == nil {
		err = stop
	}
	return err
}

func (l *lease) say(ctx context.Context, event string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	l.seq++
	now := time.Now()
	var r log.Record
	r.SetEventName(event)
	r.SetTimestamp(now)
	r.AddAttributes(
		attribute.Int64(activity.KeyLeaseTTL, l.ttl.Milliseconds()),
		attribute.Int64(activity.KeyLeaseSeq, l.seq),
		attribute.Int64(activity.KeyLeaseSentAt, now.UnixNano()),
	)
	l.rec.logger(nil).Emit(context.Background(), r)
	err := l.out.Export(ctx, l.rec.take())
	if _, partial := rejectedOf(err); partial {
		return nil // a bridge that knows no leases
	}
	return err
}
