package tracing

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
)

// Complete ends the activity as done. did says what it did; a result is kept as
// JSON (several as an array), cut at [activity.MaxResult] bytes.
//
// The first end wins. A later one changes nothing, is counted in [Ignored], and
// the first of all is told to OpenTelemetry's error handler.
func (a *Activity) Complete(did string, result ...any) {
	if a == nil || !a.claim("completion", ending) {
		return
	}
	defer a.release(ending)
	a.complete(did, result)
}

func (a *Activity) complete(did string, result []any) {
	attrs := append(make([]attribute.KeyValue, 0, 2), attribute.String(activity.KeyState, activity.Completed.String()))
	if did != "" {
		attrs = append(attrs, attribute.String(activity.KeyFinal, did))
	}
	if a.waits() { // what was never started has waited until now
		attrs = append(attrs, attribute.Int64(activity.KeyStartedAt, time.Now().UnixNano()))
	}
	if len(result) > 0 {
		attrs = appendResult(attrs, result)
	}
	a.span.SetAttributes(attrs...)
	a.span.End()
}

// Fail ends the activity as failed. error.type is what err's own ErrorType()
// string says, or else its Go type below what fmt.Errorf wrapped around it. Any
// error fails it, context.Canceled too: see [Activity.End].
func (a *Activity) Fail(err error) {
	if a == nil || !a.claim("failure", ending) {
		return
	}
	defer a.release(ending)
	a.fail(err)
}

var errNone = errors.New("failed without an error")

func (a *Activity) fail(err error) {
	if isNil(err) {
		err = errNone
	}
	if p, ok := errors.AsType[*PanicError](err); ok {
		a.exception(semconv.ErrorType(err).Value.AsString(), err.Error(), p.Stack)
		return
	}
	a.failed(err.Error(), semconv.ErrorType(err), func() { a.span.RecordError(err) })
}

// failed ends the activity as failed. The state is set first: what follows it
// up to the end is told as one change.
func (a *Activity) failed(message string, errorType attribute.KeyValue, record func()) {
	a.span.SetAttributes(attribute.String(activity.KeyState, activity.Failed.String()), errorType)
	record()
	a.span.SetStatus(codes.Error, message)
	a.span.End()
}

// isNil tells a nil pointer in an error too, whose Error method would panic.
func isNil(err error) bool {
	if err == nil {
		return true
	}
	v := reflect.ValueOf(err)
	return v.Kind() == reflect.Pointer && v.IsNil()
}

// Cancel ends the activity as cancelled: it was not wanted any more. The reason
// is its final description.
func (a *Activity) Cancel(reason string) {
	if a == nil || !a.claim("cancellation", ending) {
		return
	}
	defer a.release(ending)
	a.cancel(reason)
}

func (a *Activity) cancel(reason string) {
	attrs := append(make([]attribute.KeyValue, 0, 2), attribute.String(activity.KeyState, activity.Cancelled.String()))
	if reason != "" {
		attrs = append(attrs, attribute.String(activity.KeyFinal, reason))
	}
	a.span.SetAttributes(attrs...)
	a.span.End()
}

// End ends the activity as its function ended. Defer it, itself and not in a
// closure, with the address of the function's named error:
//
//	func work(ctx context.Context) (err error) {
//		ctx, a := tracing.Start(ctx, activity.WorkItem, "Work", "Do the work")
//		defer a.End(&err)
//
// No error (or a nil errp) completes it, an error that is context.Canceled
// cancels it, any other fails it. A panic fails it with the stack and goes on
// panicking; so does runtime.Goexit, which is what t.FailNow calls. After
// Complete, Fail or Cancel a deferred End without an error does nothing.
//
// A panic may end the program. So before it goes on the provider of the span is
// flushed, if it has a ForceFlush, as Midspan's and the SDK's have: a bridge or
// a backend is told. One that is away costs the panic 200 ms, also if it is
// recovered further up; for a second after that no panic waits.
func (a *Activity) End(errp *error) {
	if p := recover(); p != nil {
		a.panicked(p, panicStack())
		panic(p)
	}
	if a == nil {
		return
	}
	var err error
	if errp != nil {
		err = *errp
	}
	a.end(err, !leaving())
}

// end ends the activity with what its function returned, if it did return.
func (a *Activity) end(err error, returned bool) {
	if err == nil && returned && !a.span.IsRecording() {
		return
	}
	if !a.claim("end", ending) {
		return
	}
	defer a.release(ending)
	switch {
	case !returned:
		a.exception("runtime.Goexit", ErrGoexit.Error(), panicStack())
	case isNil(err):
		a.complete("", nil)
	case errors.Is(err, context.Canceled):
		a.cancel(err.Error())
	default:
		a.fail(err)
	}
}

// panicked fails the activity with what a panic threw, and has that sent.
func (a *Activity) panicked(p any, stack string) {
	if a == nil {
		return
	}
	if a.claim("panic", ending) {
		e := &PanicError{Value: p, Stack: stack}
		a.exception(e.ErrorType(), e.Error(), stack)
		a.release(ending)
	}
	flush(a.span.TracerProvider())
}

func (a *Activity) exception(errorType, message, stack string) {
	a.failed(message, semconv.ErrorTypeKey.String(errorType), func() {
		a.span.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(
			semconv.ExceptionType(errorType),
			semconv.ExceptionMessage(message),
			semconv.ExceptionStacktrace(stack),
		))
	})
}

// panicStack returns this goroutine's stack from the call that panicked or left.
func panicStack() string {
	stack := string(debug.Stack())
	for _, from := range [...]string{"\npanic(", "\nruntime.Goexit("} {
		if _, after, ok := strings.Cut(stack, from); ok {
			if _, after, ok = strings.Cut(after, "\n"); ok { // its arguments
				if _, after, ok = strings.Cut(after, "\n"); ok { // its file and line
					stack = after
				}
			}
			break
		}
	}
	return activity.Cut(stack, activity.MaxString)
}

var goexitEntry = reflect.ValueOf(runtime.Goexit).Pointer()

// leaving reports whether End was called by runtime.Goexit: the function that
// deferred it is being left without a return. Only its direct caller tells,
// since deferred functions may themselves have deferred an End.
func leaving() bool {
	var pc [1]uintptr
	if runtime.Callers(3, pc[:]) == 0 {
		return false
	}
	f := runtime.FuncForPC(pc[0] - 1)
	return f != nil && f.Entry() == goexitEntry
}

// appendResult appends a result as JSON text.
func appendResult(attrs []attribute.KeyValue, result []any) []attribute.KeyValue {
	var v any = result
	if len(result) == 1 {
		v = result[0]
	}
	text := resultJSON(v)
	cut := activity.Cut(text, activity.MaxResult)
	attrs = append(attrs, attribute.String(activity.KeyResult, cut))
	if len(cut) < len(text) {
		attrs = append(attrs, attribute.Bool(activity.KeyResultTruncated, true))
	}
	return attrs
}

// resultJSON never fails: what JSON can't hold is told as a string.
func resultJSON(v any) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = quote(fmt.Sprintf("%T: marshalling panicked: %v", v, p))
		}
	}()
	switch r := v.(type) {
	case json.RawMessage:
		if json.Valid(r) {
			return string(r)
		}
	case error:
		if _, ok := v.(json.Marshaler); !ok {
			return quote(r.Error())
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return quote(fmt.Sprintf("%T: %v", v, err))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func quote(s string) string { return string(activity.AppendString(nil, s)) }
