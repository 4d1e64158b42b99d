package tracing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

func leave() { runtime.Goexit() }

func double(ctx context.Context, n int) (int, error) {
	if n < 0 {
		return 0, errTest
	}
	_, a := tracing.Start(ctx, activity.WorkItem, "child", "")
	defer a.End(nil)
	return 2 * n, nil
}

func TestTrack(t *testing.T) {
	ctx, rec := recorder(t)
	tracked := tracing.Track(activity.Decision, "Double", "Double it", double, tracing.KeepResult())
	if got, err := tracked(ctx, 21); got != 42 || err != nil {
		t.Errorf("tracked = %v, %v", got, err)
	}
	if _, err := tracked(ctx, -1); !errors.Is(err, errTest) {
		t.Errorf("err = %v", err)
	}
	spans := rec.Ended()
	child, done, failed := spans[0], spans[1], spans[2]
	if child.Parent().SpanID() != done.SpanContext().SpanID() {
		t.Error("the inner activity is not the tracked one's child")
	}
	if got := attrs(done); got["activity.state"] != "COMPLETED" || got["activity.result"] != "42" || got["activity.type"] != "decision" {
		t.Errorf("attributes = %v", got)
	}
	if got := attrs(failed); got["activity.state"] != "FAILED" || got["activity.result"] != nil {
		t.Errorf("attributes = %v", got)
	}
}

func TestTrackKeepsTheEndOfTheFunction(t *testing.T) {
	ctx, rec := recorder(t)
	before := tracing.Ignored()
	tracked := tracing.Track(activity.Decision, "x", "", func(ctx context.Context, _ struct{}) (string, error) {
		tracing.FromContext(ctx).Complete("chose canary")
		return "canary", nil
	}, tracing.KeepResult())
	if _, err := tracked(ctx, struct{}{}); err != nil {
		t.Fatal(err)
	}
	if got := attrs(ended(t, rec))["activity.description.final"]; got != "chose canary" {
		t.Errorf("final = %v", got)
	}
	if n := tracing.Ignored() - before; n != 0 {
		t.Errorf("%d ends ignored, want none", n)
	}
}

func TestTrackPanics(t *testing.T) {
	ctx, rec := recorder(t)
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("the panic did not go on as it was")
			}
		}()
		_, _ = tracing.Track(activity.WorkItem, "x", "", func(context.Context, int) (int, error) {
			explode()
			return 0, nil
		})(ctx, 0)
	}()
	span := ended(t, rec)
	if span.Status().Code != codes.Error || !strings.HasPrefix(exceptionStack(span), "github.com/midspan/midspan/tracing_test.explode(") {
		t.Errorf("status %v, stack %s", span.Status(), exceptionStack(span))
	}
}

func TestGo(t *testing.T) {
	ctx, rec := recorder(t)
	start := tracing.Go("Worker", "Double things", double)
	first, second := start(ctx, 1), start(ctx, 2)
	for i, task := range []*tracing.Task[int]{first, second} {
		<-task.Done()
		if got, err := task.Wait(t.Context()); got != 2*(i+1) || err != nil {
			t.Errorf("Wait = %v, %v", got, err)
		}
	}
	threads := map[any]int{}
	for _, span := range rec.Ended() {
		got := attrs(span)
		threads[got["activity.thread.id"]]++
		if got["thread.name"] != "Worker" {
			t.Errorf("%s is in thread %v, want Worker", span.Name(), got["thread.name"])
		}
		if want := map[string]any{"Worker": "thread", "child": "work_item"}[span.Name()]; got["activity.type"] != want {
			t.Errorf("%s has type %v, want %v", span.Name(), got["activity.type"], want)
		}
	}
	if len(threads) != 2 {
		t.Errorf("threads = %v, want two of two activities", threads)
	}
	for id, n := range threads {
		if id == nil || n != 2 {
			t.Errorf("thread %v has %d activities, want 2", id, n)
		}
	}
	named := tracing.Go("Worker", "", double, tracing.WithThread("worker-3", "Third"))(ctx, 1)
	if _, err := named.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := attrs(rec.Ended()[5])["activity.thread.id"]; got != "worker-3" {
		t.Errorf("thread = %v, want the named one", got)
	}
}

func TestAsync(t *testing.T) {
	ctx, rec := recorder(t)
	release := make(chan struct{})
	task := tracing.Async("Fetch", "Fetch it", func(_ context.Context, name string) (string, error) {
		<-release
		return name, nil
	})(ctx, "x")
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := task.Wait(short); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v before the outcome, want the context's error", err)
	}
	if got := attrs(rec.Started()[0]); got["activity.type"] != "async_task" || got["activity.planned_at"] == nil {
		t.Errorf("attributes = %v", got)
	}
	close(release)
	if got, err := task.Wait(t.Context()); got != "x" || err != nil {
		t.Errorf("Wait = %v, %v", got, err)
	}
	if got, err := task.Wait(short); got != "x" || err != nil {
		t.Errorf("Wait = %v, %v after the outcome, whatever the context", got, err)
	}
	got := attrs(ended(t, rec))
	if got["activity.state"] != "COMPLETED" || got["activity.started_at"].(int64) < got["activity.planned_at"].(int64) {
		t.Errorf("attributes = %v", got)
	}
	if task.Activity().ID() != idOf(ended(t, rec).SpanContext()) {
		t.Error("the task's activity is another")
	}
}

func TestTaskPanics(t *testing.T) {
	ctx, rec := recorder(t)
	task := tracing.Async("x", "", func(context.Context, int) (int, error) { panic(errTest) })(ctx, 0)
	_, err := task.Wait(t.Context())
	var p *tracing.PanicError
	if !errors.As(err, &p) || !errors.Is(err, errTest) || !strings.Contains(p.Stack, "TestTaskPanics") {
		t.Errorf("Wait = %v, want a PanicError with the stack", err)
	}
	if got := ended(t, rec).Status().Description; got != "panic: disk full" {
		t.Errorf("status = %q", got)
	}
	if p.Error() != "panic: disk full" {
		t.Errorf("error = %q", p)
	}
}

// Whoever waited fails by the panic too, and with its stack.
func TestTaskPanicsItsWaiter(t *testing.T) {
	ctx, rec := recorder(t)
	wait := func(value any) (err error) {
		ctx, a := tracing.Start(ctx, activity.WorkItem, "waiter", "")
		defer a.End(&err)
		_, err = tracing.Async("x", "", func(context.Context, int) (int, error) { panic(value) })(ctx, 0).Wait(t.Context())
		if err != nil {
			err = fmt.Errorf("wait: %w", err)
		}
		return err
	}
	for _, tt := range []struct {
		value              any
		errorType, message string
	}{
		{"boom", "panic", "wait: panic: boom"},
		{errTest, "*errors.errorString", "wait: panic: disk full"},
	} {
		if err := wait(tt.value); err == nil || err.Error() != tt.message {
			t.Errorf("error = %v, want %q", err, tt.message)
		}
		span := rec.Ended()[len(rec.Ended())-1]
		if span.Name() != "waiter" || span.Status().Description != tt.message || attrs(span)["error.type"] != tt.errorType {
			t.Errorf("%s: status %q, attributes %v", span.Name(), span.Status().Description, attrs(span))
		}
		var stack string
		for _, e := range span.Events() {
			for _, kv := range e.Attributes {
				if kv.Key == activity.KeyExceptionStacktrace {
					stack = kv.Value.AsString()
				}
			}
		}
		if !strings.Contains(stack, "TestTaskPanicsItsWaiter") {
			t.Errorf("stack = %q", stack)
		}
	}
}

func TestTaskGoexit(t *testing.T) {
	ctx, rec := recorder(t)
	task := tracing.Async("x", "", func(context.Context, int) (int, error) { leave(); return 0, nil })(ctx, 0)
	if _, err := task.Wait(t.Context()); !errors.Is(err, tracing.ErrGoexit) {
		t.Errorf("Wait = %v, want ErrGoexit", err)
	}
	if got := attrs(ended(t, rec)); got["activity.state"] != "FAILED" || got["error.type"] != "runtime.Goexit" {
		t.Errorf("attributes = %v", got)
	}
}

// A panic that nobody waits for crashes the program; one that somebody took
// does not. Each needs a program of its own.
func TestDroppedTaskThatPanicked(t *testing.T) {
	for _, tt := range []struct {
		task    string
		crashes bool
	}{{"dropped", true}, {"waited", false}} {
		t.Run(tt.task, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "MIDSPAN_TEST_TASK="+tt.task)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			err := cmd.Run()
			if crashed := err != nil; crashed != tt.crashes {
				t.Errorf("crashed: %v, want %v\n%s", crashed, tt.crashes, &stderr)
			}
			if tt.crashes && (!strings.Contains(stderr.String(), "panic: boom") || !strings.Contains(stderr.String(), "tracing_test.explode(")) {
				t.Errorf("the crash does not tell where it panicked:\n%s", &stderr)
			}
		})
	}
}

// runDropped is the program of TestDroppedTaskThatPanicked.
func runDropped(how string) {
	start := tracing.Async("x", "", func(context.Context, int) (int, error) { explode(); return 0, nil })
	dropped := make(chan struct{})
	func() {
		task := start(context.Background(), 0)
		if how == "waited" {
			_, _ = task.Wait(context.Background())
		}
		// Its end is seen without asking the task, which would claim the outcome.
		runtime.AddCleanup(task, func(c chan struct{}) { close(c) }, dropped)
	}()
	deadline := time.After(30 * time.Second)
	for {
		runtime.GC()
		select {
		case <-dropped:
			runtime.GC()
			if how == "waited" {
				os.Exit(0)
			}
		case <-deadline:
			fmt.Fprintln(os.Stderr, "the task was never dropped")
			os.Exit(0)
		default:
			runtime.Gosched()
		}
	}
}
