package transfer

import (
	"bufio"
	"context"
	"encoding/json"
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
// traces under way at a time or the largest one.
func Export(ctx context.Context, w io.Writer, x *index.Index, f *activity.Filter, format Format) (n int, err error) {
	out := bufio.NewWriterSize(w, 256<<10)
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
	return n, err
}

// line is an activity in NDJSON. What it is as of now is for whoever reads it;
// it is imported from its events.
type line struct {
	TextID   string             `json:"activity_id"`
	Activity *activity.Activity `json:"activity,omitempty"`
	Events   []*wireEvent       `json:"events"`
}

func exportNDJSON(ctx context.Context, w io.Writer, x *index.Index, f *activity.Filter) (n int, err error) {
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
