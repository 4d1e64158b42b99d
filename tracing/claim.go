package tracing

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Several handles may stand for one span, and several goroutines may end it at
// once. The first wins by a claim on the span's id. A claim lives only while
// its winner is at work: afterwards the span itself tells that it has ended.
// No lock is held while the span is written to, since that runs processors.
type claim struct {
	span trace.SpanID
	what uint8
}

const (
	starting uint8 = iota
	ending
)

type stripe struct {
	mu     sync.Mutex
	claims []claim
	_      [32]byte // a cache line each
}

var (
	stripes [64]stripe
	ignored atomic.Uint64
	tellOne sync.Once
)

// Ignored returns how many starts and ends came too late since the program
// began: of an activity that had ended, or that was no longer waiting.
func Ignored() uint64 { return ignored.Load() }

// claim reports whether the caller may do what it names. It is false, counted
// and told once when the activity has ended, or another is at it; it is only
// false when the span never recorded.
func (a *Activity) claim(name string, what uint8) bool {
	id := a.span.SpanContext().SpanID()
	st := &stripes[id[7]%uint8(len(stripes))]
	st.mu.Lock()
	taken := slices.Contains(st.claims, claim{id, what})
	recording := a.span.IsRecording()
	if recording && !taken {
		st.claims = append(st.claims, claim{id, what})
	}
	st.mu.Unlock()
	if recording && !taken {
		return true
	}
	if taken || a.recorded() {
		a.ignore(name)
	}
	return false
}

func (a *Activity) release(what uint8) {
	id := a.span.SpanContext().SpanID()
	st := &stripes[id[7]%uint8(len(stripes))]
	st.mu.Lock()
	if i := slices.Index(st.claims, claim{id, what}); i >= 0 {
		last := len(st.claims) - 1
		st.claims[i] = st.claims[last]
		st.claims = st.claims[:last]
	}
	st.mu.Unlock()
}

// recorded reports whether the span records or once did: only such spans can be
// read.
func (a *Activity) recorded() bool {
	_, ok := a.span.(interface{ Attributes() []attribute.KeyValue })
	return ok
}

func (a *Activity) ignore(what string) {
	ignored.Add(1)
	tellOne.Do(func() {
		otel.Handle(fmt.Errorf("tracing: %s of activity %s ignored: it has ended or started before; "+
			"further ones are only counted, see tracing.Ignored", what, a.ID()))
	})
}
