package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/midspan/midspan/tracing"
)

// unreadableError is the failure to read one document.
type unreadableError struct {
	path string
	err  error // the system's
}

func (e *unreadableError) Error() string { return "read document: " + e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

// ErrorType implements what semconv.ErrorType asks for: the system's reason is
// a better type than that of a Go struct.
func (e *unreadableError) ErrorType() string {
	cause := e.err
	for {
		next := errors.Unwrap(cause)
		if next == nil {
			return cause.Error()
		}
		cause = next
	}
}

// lateError is a deadline that passed.
type lateError struct {
	allowed time.Duration
	done    float64 // how much of the work was done by then
}

func (e *lateError) Error() string {
	return fmt.Sprintf("deadline of %s passed with %.0f %% of the work done", round(e.allowed), e.done*100)
}
func (e *lateError) Unwrap() error     { return context.DeadlineExceeded }
func (e *lateError) ErrorType() string { return "deadline_exceeded" }

// late reports whether the deadline of ctx has passed. A context tells only
// when its timer has run, which can be a little later on a busy machine.
func late(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// together works on all documents at once, each as a background task, and
// fails if one of them does.
func together(ctx context.Context, k kind, t task, s *shelf, ds []document, allowed time.Duration) error {
	var done atomic.Int64
	total := totalBytes(ds)
	one := func(ctx context.Context, d document) (struct{}, error) {
		a := tracing.FromContext(ctx)
		text, err := s.read(d)
		if err != nil {
			return struct{}{}, &unreadableError{path: d.Path, err: err}
		}
		did, err := t.document(ctx, d, text)
		if late(ctx) {
			return struct{}{}, &lateError{allowed: allowed, done: float64(done.Load()) / float64(max(total, 1))}
		}
		if err != nil {
			return struct{}{}, err
		}
		done.Add(d.Bytes)
		a.Complete(did)
		return struct{}{}, nil
	}
	parent := tracing.FromContext(ctx)
	tasks := make([]*tracing.Task[struct{}], len(ds))
	for i, d := range ds {
		will := fmt.Sprintf("%s %s (%s)", k.each(), d.Path, size(d.Bytes))
		tasks[i] = tracing.Async(k.each()+" document", will, one)(ctx, d)
	}
	var errs []error
	for i, task := range tasks {
		// Not ctx: a task that still runs would work on after its run has ended.
		if _, err := task.Wait(context.WithoutCancel(ctx)); err != nil {
			errs = append(errs, err)
		}
		parent.Progress(float64(i+1) / float64(len(tasks)))
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Cause(ctx)
	}
	if err := errors.Join(errs...); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &lateError{allowed: allowed, done: float64(done.Load()) / float64(max(total, 1))}
}

// segmentLength is how many documents one background task of a long work takes.
const segmentLength = 8

// bySegments works on many documents one after the other, at the pace that is
// left for background work. It passes over those that can't be read and returns
// how many they were.
func bySegments(ctx context.Context, k kind, t task, s *shelf, ds []document, pace time.Duration, report func(float64)) (passedOver int, err error) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	parent := tracing.FromContext(ctx)
	done := 0
	segment := func(ctx context.Context, part []document) (passedOver int, err error) {
		a := tracing.FromContext(ctx)
		for i, d := range part {
			select {
			case <-ctx.Done():
				return passedOver, context.Cause(ctx)
			case <-tick.C:
			}
			if ctx.Err() != nil { // both were ready
				return passedOver, context.Cause(ctx)
			}
			a.Sayf("%s %s (%s)", k.each(), d.Path, size(d.Bytes))
			text, err := s.read(d)
			if err == nil {
				_, err = t.document(ctx, d, text)
			}
			if err != nil {
				passedOver++
				a.Sayf("Pass over %s: %v", d.Path, err)
			}
			done++
			a.Progress(float64(i+1) / float64(len(part)))
			parent.Progress(float64(done) / float64(len(ds)))
			report(float64(done) / float64(len(ds)))
		}
		a.Complete(fmt.Sprintf("Went through %s, %s", count(len(part), "document"), size(totalBytes(part))))
		return passedOver, nil
	}
	for part := range slices.Chunk(ds, segmentLength) {
		parent.Sayf("%d of %s done, next is %s", done, count(len(ds), "document"), part[0].Path)
		will := fmt.Sprintf("%s documents %d to %d of %d, from %s on", k.each(), done+1, done+len(part), len(ds), part[0].Path)
		// Not ctx: a task that still runs would work on after its run has ended.
		n, err := tracing.Async(k.each()+" segment", will, segment)(ctx, part).Wait(context.WithoutCancel(ctx))
		passedOver += n
		if err != nil {
			return passedOver, err
		}
	}
	return passedOver, nil
}
