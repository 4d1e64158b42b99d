package history

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// BenchmarkHistory measures what a bridge answers from a file of finished
// activities, and the start of one with 100,000 in flight beside them. They are
// as those of `midspan bench`, evenly over a day.
//
//	go test -run '^$' -bench History -timeout 60m ./internal/history -activities 10000000
func BenchmarkHistory(b *testing.B) {
	rows := *benchActivities
	folder := b.TempDir()
	d := newDay(rows)
	x := open(b, folder, index.Config{}, Config{})
	for i := 0; i < rows; i += 2048 {
		if err := x.log.Append(b.Context(), d.spans(i, min(2048, rows-i))); err != nil {
			b.Fatal(err)
		}
	}
	for i := 0; i < 100_000; i += 2000 {
		if err := x.log.Append(b.Context(), d.open(i, 2000)); err != nil {
			b.Fatal(err)
		}
	}
	if err := x.keeper.Checkpoint(b.Context()); err != nil {
		b.Fatal(err)
	}
	sizes := x.log.Sizes()
	x.die(b)

	var took time.Duration
	b.Run("start", func(b *testing.B) {
		begin := time.Now()
		x = open(b, folder, index.Config{}, Config{})
		took = time.Since(begin)
		for b.Loop() {
		}
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(float64(sizes.File)/float64(rows), "B/activity")
		b.ReportMetric(0, "ns/op")
	})
	defer x.die(b)

	query := func(want int, f activity.Filter) func(int) {
		return func(int) {
			page, err := x.List(b.Context(), &activity.Query{Filter: f, Limit: 100})
			if err != nil || len(page.Activities) != want {
				b.Fatalf("%d rows, %v", len(page.Activities), err)
			}
		}
	}
	p99(b, "list-service-state", query(100, activity.Filter{Services: []string{"service 3"}, States: []activity.State{activity.Failed}}))
	p99(b, "list-type-state-none", query(0, activity.Filter{Types: []activity.Type{activity.Decision}, States: []activity.State{activity.Cancelled}}))
	p99(b, "by-id", func(i int) {
		e := d.spans(i*7919%rows, 1)
		if _, err := x.Get(b.Context(), e[0].ID); err != nil {
			b.Fatal(err)
		}
	})
	p99(b, "word-common", query(100, activity.Filter{Terms: []string{"upstream"}}))
	p99(b, "word-one", func(i int) {
		e := d.spans(i*104_729%rows, 1)
		query(1, activity.Filter{Terms: []string{e[0].Attrs[4].Value.Str()}})(i)
	})
	p99(b, "word-none", query(0, activity.Filter{Terms: []string{"zebrafish"}}))
	p99(b, "stats-of-day", func(int) {
		st, err := x.StatsOf(b.Context(), &activity.Filter{Since: d.begin - activity.Time(time.Hour)})
		if err != nil || st.Total < int64(rows) {
			b.Fatal(st, err)
		}
	})
	p99(b, "stats-of-service", func(int) {
		st, err := x.StatsOf(b.Context(), &activity.Filter{Services: []string{"service 3"}})
		if err != nil || st.Total == 0 {
			b.Fatal(st, err)
		}
	})
}

// day makes the spans of a day that ends now.
type day struct {
	begin, step activity.Time
	resources   []*activity.Resource
	names       []string
}

func newDay(rows int) *day {
	const length = activity.Time(24 * time.Hour)
	d := &day{begin: activity.TimeOf(time.Now()) - length, step: length / activity.Time(rows)}
	for i := range 8 {
		name := fmt.Sprintf("service %d", i)
		d.resources = append(d.resources, &activity.Resource{Service: name, Attrs: []activity.Attr{text("service.name", name), text("host.name", fmt.Sprintf("host-%02d", i))}})
	}
	for i := range 1000 {
		d.names = append(d.names, fmt.Sprintf("GET /v1/item/%05d", i))
	}
	return d
}

func text(key, value string) activity.Attr {
	return activity.Attr{Key: key, Value: activity.StringValue(value)}
}

// spans returns n spans as the receiver gives them, from number first on.
func (d *day) spans(first, n int) []activity.Event {
	events := make([]activity.Event, n)
	for i := range events {
		e := &events[i]
		k := first + i
		random := rand.NewChaCha8([32]byte{byte(k), byte(k >> 8), byte(k >> 16), byte(k >> 24)})
		trace := rand.NewChaCha8([32]byte{31: 1, 0: byte(k >> 3), 1: byte(k >> 11), 2: byte(k >> 19)})
		_, _ = trace.Read(e.ID.Trace[:])
		_, _ = random.Read(e.ID.Span[:])
		e.Parent.Trace = e.ID.Trace
		_, _ = random.Read(e.Parent.Span[:])
		e.First, e.Rev, e.Kind = true, 1, activity.EventCompleted
		e.StartTime = d.begin + activity.Time(k)*d.step
		e.At = e.StartTime + activity.Time(random.Uint64()%uint64(500*time.Millisecond))
		e.EndTime = e.At
		e.Name, e.SpanKind, e.Resource = d.names[k*37%len(d.names)], activity.SpanKind(1+k%5), d.resources[k/512%8]
		if k%20 == 0 {
			e.Kind, e.Status, e.StatusMessage = activity.EventFailed, activity.StatusError, "upstream timed out"
		}
		fresh := func() string {
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], random.Uint64())
			return hex.EncodeToString(b[:])
		}
		e.Attrs = []activity.Attr{
			text("http.request.method", []string{"GET", "POST", "PUT", "DELETE"}[k%4]),
			{Key: "http.response.status_code", Value: activity.IntValue(int64(200 + k%3))},
			text("cloud.region", []string{"eu-central-1", "us-east-1", "ap-south-1"}[k%3]),
			{Key: "cart.total", Value: activity.FloatValue(float64(k%100) + 0.5)},
			text("request.id", fresh()), text("user.id", fresh()), text("order.id", fresh()), text("session.id", fresh()),
		}
	}
	return events
}

// open returns the starts of n activities.
func (d *day) open(first, n int) []activity.Event {
	events := d.spans(1<<29+first, n)
	for i := range events {
		e := &events[i]
		e.ID.Trace[0] ^= 0xff
		e.Kind, e.At, e.EndTime, e.Status, e.StatusMessage = activity.EventStarted, e.StartTime, 0, 0, ""
	}
	return events
}
