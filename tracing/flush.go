package tracing

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

const (
	// flushFor bounds what a panic waits until it is told to where spans go.
	flushFor = 200 * time.Millisecond
	// noFlushFor is how long no other panic waits after one that waited in vain:
	// the activities that a panic passes through would each wait as long.
	noFlushFor = time.Second
)

// inVain is when a panic waited in vain last.
var inVain atomic.Pointer[time.Time]

// flush has a provider send what it holds, if it can, before a panic goes on
// that may end the program. Whatever the provider does, it returns in time.
func flush(p trace.TracerProvider) {
	f, ok := p.(interface {
		ForceFlush(ctx context.Context) error
	})
	if !ok {
		return
	}
	if last := inVain.Load(); last != nil {
		if ago := time.Since(*last); ago >= 0 && ago < noFlushFor {
			return
		}
	}
	ctx, cancel := context.WithTimeout(background, flushFor)
	done := make(chan struct{})
	go func() {
		defer cancel()
		defer close(done)
		_ = f.ForceFlush(ctx)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		now := time.Now()
		inVain.Store(&now)
	}
}
