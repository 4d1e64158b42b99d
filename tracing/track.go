package tracing

import (
	"context"

	"github.com/midspan/midspan/activity"
)

// Track wraps a function once; every call of what it returns is an activity,
// ended as [Activity.End] says by what the function returned. Inside,
// [FromContext] gives the activity.
//
//	decide := tracing.Track(activity.Decision, "Select strategy", "Weigh the strategies", selectStrategy)
//	strategy, err := decide(ctx, metrics)
func Track[I, O any](t activity.Type, name, will string, fn func(context.Context, I) (O, error), opts ...Option) func(context.Context, I) (O, error) {
	keep := keepsResult(opts)
	return func(ctx context.Context, in I) (out O, err error) {
		ctx, a := begin(ctx, t, activity.InProgress, name, will, opts)
		return run(ctx, a, in, fn, keep)
	}
}

func keepsResult(opts []Option) bool {
	var c config
	c.read(opts)
	return c.keepResult
}

// run calls fn and ends a by what comes of it.
func run[I, O any](ctx context.Context, a *Activity, in I, fn func(context.Context, I) (O, error), keep bool) (out O, err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if p := recover(); p != nil {
			a.panicked(p, panicStack())
			panic(p)
		}
		a.end(nil, false)
	}()
	out, err = fn(ctx, in)
	returned = true
	if keep && err == nil && a.span.IsRecording() {
		a.Complete("", out)
	} else {
		a.end(err, true)
	}
	return out, err
}
