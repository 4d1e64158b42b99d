package tracing

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync/atomic"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/midspan/midspan/activity"
)

// Task is a call that runs in its own goroutine. It is safe for concurrent use.
type Task[O any] struct {
	activity *Activity
	done     chan struct{}
	// out and err may be read once done is closed.
	out    O
	err    error
	waited *atomic.Bool // somebody wants the outcome; apart, for unclaimed
}

// PanicError is the error of a [Task] whose function panicked. An activity that
// fails by it has its stack.
type PanicError struct {
	Value any
	Stack string // of the panic
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// ErrorType is the value's own error.type when it is an error, or else "panic".
func (e *PanicError) ErrorType() string {
	if err, ok := e.Value.(error); ok && !isNil(err) {
		return semconv.ErrorType(err).Value.AsString()
	}
	return "panic"
}

// Unwrap returns the panic's value when it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ErrGoexit is the error of what left its goroutine by runtime.Goexit instead
// of returning.
var ErrGoexit = errors.New("left its goroutine by runtime.Goexit before it returned")

// Go wraps a function that is a line of work of its own. Every call runs in a
// goroutine of its own as an activity of type thread, with a new logical thread
// that all activities in it inherit. [WithThread] names a fixed one instead.
//
// The context's values and its cancellation reach the function; what outlives
// its caller takes context.WithoutCancel(ctx).
//
// A panic fails the activity with its stack and becomes the task's error, a
// [*PanicError], for whoever waits. When nobody ever asked for the outcome and
// the task is dropped, the program crashes with the panic, as Go does for a
// goroutine's, at the next garbage collection: it is never lost.
func Go[I, O any](name, will string, fn func(context.Context, I) (O, error), opts ...Option) func(context.Context, I) *Task[O] {
	keep := keepsResult(opts)
	return func(ctx context.Context, in I) *Task[O] {
		if ctx == nil {
			ctx = background
		}
		ctx = activity.ContextWithThread(ctx, activity.LogicalThread{
			ID: strconv.FormatUint(rand.Uint64(), 36), Name: name,
		})
		ctx, a := begin(ctx, activity.Thread, activity.InProgress, name, will, opts)
		t := newTask[O](a)
		go work(ctx, t, in, fn, keep)
		return t
	}
}

// Async wraps a function that is done in the background. Every call is an
// activity of type async_task: planned when it is called, started when its
// goroutine runs. Everything else is as with [Go], but it stays in the logical
// thread of its caller.
func Async[I, O any](name, will string, fn func(context.Context, I) (O, error), opts ...Option) func(context.Context, I) *Task[O] {
	keep := keepsResult(opts)
	return func(ctx context.Context, in I) *Task[O] {
		ctx, a := begin(ctx, activity.AsyncTask, activity.Planned, name, will, opts)
		t := newTask[O](a)
		go work(ctx, t, in, fn, keep)
		return t
	}
}

func newTask[O any](a *Activity) *Task[O] {
	return &Task[O]{activity: a, done: make(chan struct{}), waited: new(atomic.Bool)}
}

// work runs the task in the current goroutine, its own.
func work[I, O any](ctx context.Context, t *Task[O], in I, fn func(context.Context, I) (O, error), keep bool) {
	t.err = ErrGoexit
	defer func() {
		if p := recover(); p != nil {
			e := &PanicError{Value: p, Stack: panicStack()}
			t.err = e
			runtime.AddCleanup(t, unclaimed, claimable{t.waited, e})
		}
		close(t.done)
	}()
	if t.activity.phase.Load() == phasePlanned {
		t.activity.Start()
	}
	t.out, t.err = run(ctx, t.activity, in, fn, keep)
}

type claimable struct {
	waited *atomic.Bool
	err    *PanicError
}

// unclaimed runs when the panicked task is unreachable.
func unclaimed(c claimable) {
	if !c.waited.Load() {
		panic(fmt.Sprintf("%v\n\n%s", c.err, c.err.Stack)) // nobody else tells where it was
	}
}

// Wait returns what the function returned, once it has, or ctx's error when
// that is done before. The function goes on then.
func (t *Task[O]) Wait(ctx context.Context) (O, error) {
	select {
	case <-t.done:
	default:
		select {
		case <-t.done:
		case <-ctx.Done():
			var none O
			return none, ctx.Err()
		}
	}
	t.waited.Store(true)
	return t.out, t.err
}

// Done returns a channel that is closed when the outcome can be had from Wait.
func (t *Task[O]) Done() <-chan struct{} {
	t.waited.Store(true)
	return t.done
}

// Activity returns the task's activity.
func (t *Task[O]) Activity() *Activity { return t.activity }
