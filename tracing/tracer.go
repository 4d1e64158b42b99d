package tracing

import (
	"context"
	"reflect"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
)

// scope is the instrumentation scope of every activity made here.
const scope = "github.com/midspan/midspan/tracing"

// source is a provider with its tracer, so that a start asks no map for it.
type source struct {
	provider trace.TracerProvider
	tracer   trace.Tracer
}

type providerKey struct{}

var (
	lastSource atomic.Pointer[source]
	// Most programs set the global provider only; then no start searches its
	// context for another.
	anyContextProvider atomic.Bool
)

// ContextWithProvider returns a context whose activities are made by p. It is
// for programs that do not set OpenTelemetry's global provider, and for tests.
func ContextWithProvider(ctx context.Context, p trace.TracerProvider) context.Context {
	anyContextProvider.Store(true)
	return context.WithValue(ctx, providerKey{}, &source{provider: p, tracer: p.Tracer(scope)})
}

func sourceFor(ctx context.Context) *source {
	if anyContextProvider.Load() {
		if s, ok := ctx.Value(providerKey{}).(*source); ok {
			return s
		}
	}
	p := otel.GetTracerProvider()
	if s := lastSource.Load(); s != nil && s.provider == p {
		return s
	}
	s := &source{provider: p, tracer: p.Tracer(scope)}
	// Only a comparable provider may be compared at the next start.
	if reflect.ValueOf(p).Comparable() {
		lastSource.Store(s)
	}
	return s
}
