package transfer

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// traffic makes 10,000 traces of 8 spans of 8 attributes, 50 of them under way at
// a time.
func traffic() (events []activity.Event) {
	const traces, each, abreast = 10_000, 8, 50
	from := &activity.Resource{Service: "shop", Attrs: []activity.Attr{{Key: "service.name", Value: activity.StringValue("shop")}}}
	for group := range traces / abreast {
		for n := range each {
			for k := range abreast {
				var id activity.ID
				binary.BigEndian.PutUint64(id.Trace[8:], uint64(1+group*abreast+k))
				binary.BigEndian.PutUint64(id.Span[:], uint64(1+(group*abreast+k)*each+n))
				end := began + activity.Time((group*each+n)*abreast+k)*1e6
				e := activity.Event{ID: id, Kind: activity.EventCompleted, At: end, Changes: activity.Changes{
					Name: fmt.Sprint("work ", k), StartTime: end - 1e6, EndTime: end, Resource: from, Sampling: activity.Sampled,
				}}
				if n > 0 {
					e.Parent = activity.ID{Trace: id.Trace, Span: activity.SpanID(binary.BigEndian.AppendUint64(nil, binary.BigEndian.Uint64(id.Span[:])-uint64(n)))}
				}
				for a := range 8 {
					e.Attrs = append(e.Attrs, activity.Attr{Key: fmt.Sprint("key.", a), Value: activity.StringValue(fmt.Sprint("value ", a*group))})
				}
				events = append(events, e)
			}
		}
	}
	return events
}

func BenchmarkExport(b *testing.B) {
	folder := keep(b, traffic())
	for _, format := range []Format{NDJSON, OTLP, Jaeger, Chrome} {
		b.Run(string(format), func(b *testing.B) {
			spans := 0
			for b.Loop() {
				if err := View(b.Context(), folder, func(x *index.Index) (err error) {
					spans, err = Export(b.Context(), io.Discard, x, &activity.Filter{}, format)
					return err
				}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*spans)/b.Elapsed().Seconds(), "spans/s")
		})
	}
}
