package tracing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

var errTest = errors.New("disk full")

type codedError struct{ code string }

func (e *codedError) Error() string     { return "code " + e.code }
func (e *codedError) ErrorType() string { return e.code }

func TestFail(t *testing.T) {
	_, notThere := os.Open("/does/not/exist")
	for _, tt := range []struct {
		name, errType, message string
		err                    error
	}{
		{"plain", "*errors.errorString", "disk full", errTest},
		{"wrapped", "*fs.PathError", "read config: open /does/not/exist: no such file or directory", fmt.Errorf("read config: %w", notThere)},
		{"own type", "quota_exceeded", "write: code quota_exceeded", fmt.Errorf("write: %w", &codedError{"quota_exceeded"})},
		{"canceled", "*errors.errorString", "context canceled", context.Canceled},
		{"nil", "*errors.errorString", "failed without an error", nil},
		{"nil pointer", "*errors.errorString", "failed without an error", (*fs.PathError)(nil)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, rec := recorder(t)
			_, a := tracing.Start(ctx, activity.WorkItem, "x", "")
			a.Fail(tt.err)
			span := ended(t, rec)
			wantAttrs(t, span, map[attribute.Key]any{
				"activity.type": "work_item", "activity.state": "FAILED", "error.type": tt.errType,
			})
			if got := span.Status(); got.Code != codes.Error || got.Description != tt.message {
				t.Errorf("status = %v, want Error %q", got, tt.message)
			}
			if events := span.Events(); len(events) != 1 || events[0].Name != "exception" {
				t.Errorf("events = %v, want the exception", events)
			}
		})
	}
}

func TestEnd(t *testing.T) {
	for _, tt := range []struct {
		name, state string
		err         error
		final       any
	}{
		{name: "nil", state: "COMPLETED"},
		{name: "canceled", err: fmt.Errorf("fetch: %w", context.Canceled), state: "CANCELLED", final: "fetch: context canceled"},
		{name: "deadline", err: context.DeadlineExceeded, state: "FAILED"},
		{name: "error", err: errTest, state: "FAILED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, rec := recorder(t)
			work := func() (err error) {
				_, a := tracing.Start(ctx, activity.WorkItem, "x", "")
				defer a.End(&err)
				return tt.err
			}
			if err := work(); !errors.Is(err, tt.err) {
				t.Errorf("End changed the error to %v", err)
			}
			got := attrs(ended(t, rec))
			if got["activity.state"] != tt.state || got["activity.description.final"] != tt.final {
				t.Errorf("state %v, final %v; want %v, %v", got["activity.state"], got["activity.description.final"], tt.state, tt.final)
			}
			if status := ended(t, rec).Status().Code; (status == codes.Error) != (tt.state == "FAILED") {
				t.Errorf("status = %v", status)
			}
		})
	}
}

func TestEndAfterAnEnd(t *testing.T) {
	ctx, rec := recorder(t)
	before := tracing.Ignored()
	work := func(outcome error) (err error) {
		_, a := tracing.Start(ctx, activity.WorkItem, "x", "")
		defer a.End(&err)
		a.Complete("done", 42)
		return outcome
	}
	if err := work(nil); err != nil {
		t.Error(err)
	}
	if n := tracing.Ignored() - before; n != 0 {
		t.Error("a deferred End after Complete was counted as a second end")
	}
	if err := work(errTest); !errors.Is(err, errTest) {
		t.Error(err)
	}
	if n := tracing.Ignored() - before; n != 1 {
		t.Errorf("%d ignored, want the failure after Complete", n)
	}
	for _, span := range rec.Ended() {
		if got := attrs(span)["activity.state"]; got != "COMPLETED" {
			t.Errorf("state = %v, want COMPLETED", got)
		}
	}
}

func explode() { panic("boom") }

func TestEndOfAPanic(t *testing.T) {
	for _, tt := range []struct {
		name, errType, message string
		panics                 func()
	}{
		{"value", "panic", "panic: boom", explode},
		{"error", "*errors.errorString", "panic: disk full", func() { panic(errTest) }},
		{"runtime error", "runtime.boundsError", "panic: runtime error: index out of range [3] with length 0", func() {
			var s []int
			_ = s[len("abc")]
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, rec := recorder(t)
			var thrown any
			func() {
				defer func() { thrown = recover() }()
				_, a := tracing.Start(ctx, activity.WorkItem, "x", "")
				defer a.End(nil)
				tt.panics()
			}()
			if thrown == nil {
				t.Fatal("the panic did not go on")
			}
			span := ended(t, rec)
			if got := span.Status(); got.Code != codes.Error || got.Description != tt.message {
				t.Errorf("status = %v, want %q", got, tt.message)
			}
			if got := attrs(span)["error.type"]; got != tt.errType {
				t.Errorf("error.type = %v, want %v", got, tt.errType)
			}
			stack := exceptionStack(span)
			if !strings.Contains(stack, "tracing_test.") || strings.Contains(stack, "debug.Stack") {
				t.Errorf("stack = %s", stack)
			}
			if tt.name == "value" && !strings.HasPrefix(stack, "github.com/midspan/midspan/tracing_test.explode(") {
				t.Errorf("the stack does not begin where it panicked:\n%s", stack)
			}
		})
	}
}

func exceptionStack(span sdktrace.ReadOnlySpan) string {
	for _, e := range span.Events() {
		for _, kv := range e.Attributes {
			if kv.Key == "exception.stacktrace" {
				return kv.Value.AsString()
			}
		}
	}
	return ""
}

func TestEndInACleanupDuringAPanic(t *testing.T) {
	ctx, rec := recorder(t)
	func() {
		defer func() { _ = recover() }()
		defer func() {
			_, a := tracing.Start(ctx, activity.WorkItem, "rollback", "")
			defer a.End(nil)
		}()
		explode()
	}()
	if got := attrs(ended(t, rec))["activity.state"]; got != "COMPLETED" {
		t.Errorf("the rollback is %v, want COMPLETED: the panic is not its own", got)
	}
}

func TestEndOfGoexit(t *testing.T) {
	ctx, rec := recorder(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			_, a := tracing.Start(ctx, activity.WorkItem, "cleanup", "")
			defer a.End(nil)
		}()
		_, a := tracing.Start(ctx, activity.WorkItem, "work", "")
		defer a.End(nil)
		leave()
	}()
	<-done
	for _, span := range rec.Ended() {
		want := map[string]string{"work": "FAILED", "cleanup": "COMPLETED"}[span.Name()]
		if got := attrs(span)["activity.state"]; got != want {
			t.Errorf("%s is %v, want %v", span.Name(), got, want)
		}
		if span.Name() == "work" && !strings.Contains(exceptionStack(span), "tracing_test.leave") {
			t.Errorf("the stack does not tell who left:\n%s", exceptionStack(span))
		}
	}
}

func TestFirstEndWins(t *testing.T) {
	ctx, rec := recorder(t)
	before := tracing.Ignored()
	_, a := tracing.Start(ctx, activity.WorkItem, "x", "")
	a.Cancel("first")
	a.Complete("second")
	a.Fail(errTest)
	a.Span().End()
	wantAttrs(t, ended(t, rec), map[attribute.Key]any{
		"activity.type": "work_item", "activity.state": "CANCELLED", "activity.description.final": "first",
	})
	if n := tracing.Ignored() - before; n != 2 {
		t.Errorf("%d ends ignored, want 2", n)
	}
}

func TestFirstEndWinsConcurrentSafe(t *testing.T) {
	const rounds, enders = 200, 8
	ctx, rec := recorder(t)
	before := tracing.Ignored()
	for range rounds {
		ctx, a := tracing.Plan(ctx, activity.WorkItem, "x", "")
		var wg sync.WaitGroup
		for i := range enders {
			handle := a
			if i%2 == 1 {
				handle = tracing.FromContext(ctx)
			}
			wg.Go(func() {
				handle.Say("about to end")
				if i%3 == 0 {
					handle.Fail(errTest)
				} else {
					handle.Complete("done")
				}
			})
		}
		wg.Wait()
	}
	spans := rec.Ended()
	if len(spans) != rounds {
		t.Fatalf("%d spans ended, want %d", len(spans), rounds)
	}
	for _, span := range spans {
		got := attrs(span)
		failed := got["activity.state"] == "FAILED"
		if failed != (span.Status().Code == codes.Error) || failed != (got["error.type"] != nil) || failed == (got["activity.description.final"] != nil) {
			t.Fatalf("two ends are mixed: status %v, %v", span.Status(), got)
		}
	}
	if n := tracing.Ignored() - before; n != rounds*(enders-1) {
		t.Errorf("%d ends ignored, want %d", n, rounds*(enders-1))
	}
}

// An exporter that works synchronously may itself be traced.
func TestEndInsideAnEnd(t *testing.T) {
	var ctx context.Context
	nested := 0
	rec := endFunc(func() {
		if nested++; nested <= 200 {
			_, a := tracing.Start(ctx, activity.APICall, "export", "")
			a.Complete("")
		}
	})
	ctx, _ = recorder(t, sdktrace.WithSpanProcessor(rec))
	_, a := tracing.Start(ctx, activity.WorkItem, "x", "")
	a.Complete("")
	if nested != 201 {
		t.Errorf("%d ends, want 201", nested)
	}
}

type endFunc func()

func (f endFunc) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (f endFunc) OnEnd(sdktrace.ReadOnlySpan)                     { f() }
func (f endFunc) ForceFlush(context.Context) error                { return nil }
func (f endFunc) Shutdown(context.Context) error                  { return nil }

type badJSON struct{}

func (badJSON) MarshalJSON() ([]byte, error) { panic("bad") }

func TestResult(t *testing.T) {
	type cyclic struct{ Next *cyclic }
	loop := &cyclic{}
	loop.Next = loop
	long := strings.Repeat("ä", activity.MaxResult)
	for _, tt := range []struct {
		name   string
		result []any
		want   any
		cut    bool
	}{
		{name: "none"},
		{name: "nil", result: []any{nil}, want: "null"},
		{name: "one", result: []any{map[string]any{"a": "<b>"}}, want: `{"a":"<b>"}`},
		{name: "several", result: []any{1, "x", nil}, want: `[1,"x",null]`},
		{name: "raw", result: []any{json.RawMessage(`{"a": 1}`)}, want: `{"a": 1}`},
		{name: "error", result: []any{errTest}, want: `"disk full"`},
		{name: "channel", result: []any{(chan int)(nil)}, want: `"chan int: json: unsupported type: chan int"`},
		{name: "panics", result: []any{badJSON{}}, want: `"tracing_test.badJSON: marshalling panicked: bad"`},
		{name: "long", result: []any{long}, want: (`"` + long)[:activity.MaxResult-1], cut: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, rec := recorder(t)
			_, a := tracing.Start(ctx, activity.WorkItem, "x", "")
			a.Complete("", tt.result...)
			got := attrs(ended(t, rec))
			if got["activity.result"] != tt.want {
				t.Errorf("result = %.100v, want %.100v", got["activity.result"], tt.want)
			}
			if cut := got["activity.result.truncated"] == true; cut != tt.cut {
				t.Errorf("truncated = %v, want %v", cut, tt.cut)
			}
		})
	}
	ctx, rec := recorder(t)
	_, a := tracing.Start(ctx, activity.WorkItem, "x", "")
	a.Complete("", loop)
	if got, _ := attrs(ended(t, rec))["activity.result"].(string); !json.Valid([]byte(got)) {
		t.Errorf("result of a cycle = %q, want JSON", got)
	}
}

func FuzzResult(f *testing.F) {
	f.Add("plain", []byte{0xff, 0xfe}, 1.5)
	f.Add("\x00<>&\u2028", []byte("{}"), 0.0)
	f.Fuzz(func(t *testing.T, s string, b []byte, n float64) {
		ctx, rec := recorder(t)
		_, a := tracing.Start(ctx, activity.WorkItem, "x", "")
		a.Complete(s, map[string]any{s: b, "n": n}, json.RawMessage(b), errors.New(s))
		got, _ := attrs(ended(t, rec))["activity.result"].(string)
		if len(got) > activity.MaxResult {
			t.Fatalf("result of %d bytes", len(got))
		}
		if len(got) < activity.MaxResult-4 && !json.Valid([]byte(got)) {
			t.Fatalf("result is not JSON: %q", got)
		}
	})
}
