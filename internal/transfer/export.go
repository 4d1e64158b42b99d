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

// atATime is how many activities are looked at together. The events of each are
// at most 1 MiB.
const atATime = 64

// Export writes all that a filter selects, and returns how many activities that
// were. Nothing may be written to x meanwhile. Memory does not grow with what is
// written but, for Jaeger and Chrome, by some bytes for each trace and by the
// largest one.
func Export(ctx context.Context, w io.Writer, x *index.Index, f *activity.Filter, format Format) (n int, err error) {
	out := bufio.NewWriterSize(w, 256<<10)
	switch format {
	case NDJSON:
		n, err = exportNDJSON(ctx, out, x, f)
	case OTLP:
		n, err = exportOTLP(ctx, out, x, f)
	case Jaeger:
		n, err = exportTraces(ctx, out, x, f, new(jaegerFile))
	case Chrome:
		n, err = exportTraces(ctx, out, x, f, newChromeFile())
	default:
		return 0, fmt.Errorf("%q is no format", format)
	}
	if err == nil {
		err = out.Flush()
	}
	return n, err
}

// each calls fn with every activity and its events: the finished ones in the
// order of their end, then the open ones.
func each(ctx context.Context, x *index.Index, f *activity.Filter, fn func(*activity.Activity, []activity.Event) error) error {
	held := make([]*activity.Activity, 0, atATime)
	ids := make([]activity.ID, 0, atATime)
	flush := func() error {
		ids = ids[:0]
		for _, a := range held {
			ids = append(ids, a.ID)
		}
		histories, err := x.Histories(ctx, ids)
		if err != nil {
			return err
		}
		for i, a := range held {
			if err := fn(a, histories[i]); err != nil {
				return err
			}
		}
		held = held[:0]
		return nil
	}
	if err := x.Scan(ctx, f, func(a *activity.Activity) error {
		if held = append(held, a); len(held) < atATime {
			return nil
		}
		return flush()
	}); err != nil {
		return err
	}
	return flush()
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
	err = each(ctx, x, f, func(a *activity.Activity, events []activity.Event) error {
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
