package transfer

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// Format names what Export writes.
type Format string

// The formats.
const (
	NDJSON Format = "ndjson"
	OTLP   Format = "otlp"
	Jaeger Format = "jaeger"
	Chrome Format = "chrome"
)

// Export writes all that a filter selects, and returns how many activities that
// were. Nothing may be written to x meanwhile. Memory does not grow with what is
// written but, for Jaeger and Chrome, by some bytes for each trace, and by the
// traces under way at a time or the largest one. When some of it is damaged all the
// rest is written, and the error is an activity.ErrUnreadable.
func Export(ctx context.Context, w io.Writer, from *index.Index, f *activity.Filter, format Format) (n int, err error) {
	out := bufio.NewWriterSize(w, 256<<10)
	x := &readable{source: from}
	switch format {
	case NDJSON:
		n, err = exportNDJSON(ctx, out, x, f)
	case OTLP:
		n, err = exportOTLP(ctx, out, x, f)
	case Jaeger:
		n, err = exportTraces(ctx, out, x, f, new(jaegerFile), maxHeldSpans)
	case Chrome:
		n, err = exportTraces(ctx, out, x, f, newChromeFile(), maxHeldSpans)
	default:
		return 0, fmt.Errorf("%q is no format", format)
	}
	if err == nil {
		err = out.Flush()
	}
	return n, cmp.Or(err, x.lacks)
}

// source is what is exported.
type source interface {
	Scan(ctx context.Context, f *activity.Filter, fn func(*activity.Activity) error) error
	ScanEvents(ctx context.Context, f *activity.Filter, fn func(*activity.Activity, []activity.Event) error) error
}

// readable is a source without what is damaged, which it notes.
type readable struct {
	source
	lacks error
}

func (r *readable) Scan(ctx context.Context, f *activity.Filter, fn func(*activity.Activity) error) error {
	return r.note(r.source.Scan(ctx, f, fn))
}

func (r *readable) ScanEvents(ctx context.Context, f *activity.Filter, fn func(*activity.Activity, []activity.Event) error) error {
	return r.note(r.source.ScanEvents(ctx, f, fn))
}

func (r *readable) note(err error) error {
	if errors.Is(err, activity.ErrUnreadable) {
		r.lacks, err = err, nil
	}
	return err
}

// line is an activity in NDJSON. What it is as of now is for whoever reads it;
// it is imported from its events.
type line struct {
	TextID   string             `json:"activity_id"`
	Activity *activity.Activity `json:"activity,omitempty"`
	Events   []*wireEvent       `json:"events"`
}

func exportNDJSON(ctx context.Context, w io.Writer, x source, f *activity.Filter) (n int, err error) {
	var enc encoder
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	err = x.ScanEvents(ctx, f, func(a *activity.Activity, events []activity.Event) error {
		l := line{TextID: a.ID.String(), Activity: a, Events: make([]*wireEvent, len(events))}
		for i := range events {
			if l.Events[i], err = enc.event(&events[i]); err != nil {
				return err
			}
		}
		n++
		return out.Encode(l)
	})
	return n, err
}
