package redact

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// ordinaryEvents are spans with 8 attributes each, as services write them.
func ordinaryEvents(n int) []activity.Event {
	res := &activity.Resource{Service: "shop", Instance: "i-1", Attrs: []activity.Attr{
		{Key: "service.name", Value: str("shop")}, {Key: "host.name", Value: str("ip-10-0-12-34")}, {Key: "process.pid", Value: activity.IntValue(42)},
	}}
	scope := &activity.Scope{Name: "net/http", Version: "0.70.0"}
	events := make([]activity.Event, n)
	for i := range events {
		events[i] = activity.Event{At: 5, ID: id, Kind: activity.EventCompleted, Changes: activity.Changes{
			Name: "GET /v1/orders/{id}", Resource: res, Scope: scope,
			Attrs: []activity.Attr{
				{Key: "http.request.method", Value: str("GET")},
				{Key: "http.route", Value: str("/v1/orders/{id}")},
				{Key: "url.path", Value: str(fmt.Sprintf("/v1/orders/%d", 100000+i))},
				{Key: "http.response.status_code", Value: activity.IntValue(200)},
				{Key: "server.address", Value: str("shop.example.com")},
				{Key: "user_agent.original", Value: str("Go-http-client/1.1")},
				{Key: "order.id", Value: str(fmt.Sprintf("f47ac10b-58cc-4372-a567-%012d", i))},
				{Key: "order.total", Value: activity.FloatValue(12.5)},
			},
		}}
	}
	return events
}

// BenchmarkEvents prints what redaction costs a span, and what part that is of
// the way into an index: without it, and with it.
func BenchmarkEvents(b *testing.B) {
	events := ordinaryEvents(512)
	into := make([]activity.Event, len(events))
	r := newRedactor(b, Config{})
	var alone, without, with float64
	run := func(name string, to *float64, fn func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := uint64(0)
			for b.Loop() {
				copyEvents(into, events)
				for i := range into {
					n++
					binary.BigEndian.PutUint64(into[i].ID.Span[:], n)
				}
				fn()
			}
			*to = float64(b.Elapsed().Nanoseconds()) / float64(n)
			b.ReportMetric(*to, "ns/span")
			if name == "redacted and indexed" && without > 0 {
				b.ReportMetric(with/without, "times-without")
			}
		})
	}
	run("redacted", &alone, func() { r.Events(into) })
	plain, redacted := index.New(index.Config{}), index.New(index.Config{})
	run("indexed", &without, func() { plain.Apply(into) })
	run("redacted and indexed", &with, func() {
		r.Events(into)
		redacted.Apply(into)
	})
}

func copyEvents(into, from []activity.Event) {
	for i := range from {
		attrs := append(into[i].Attrs[:0], from[i].Attrs...)
		into[i] = from[i]
		into[i].Attrs = attrs
	}
}

func BenchmarkText(b *testing.B) {
	r := newRedactor(b, Config{})
	for _, bm := range []struct{ name, text string }{
		{"word", "shop.example.com"},
		{"uuid", "f47ac10b-58cc-4372-a567-0e02b2c3d479"},
		{"sql", "SELECT o.id, o.total FROM orders o JOIN users u ON u.id = o.user_id WHERE u.id = $1 AND o.state = 'open' LIMIT 100"},
		{"json", `{"id":42,"items":[{"name":"tea","price":3.5,"amount":2},{"name":"cup","price":9.0,"amount":1}],"customer":{"id":"c-17","country":"DE"}}`},
		{"stack", "at com.example.auth.TokenService.verify(TokenService.java:128)\n\tat com.example.auth.Filter.doFilter(Filter.java:61)\n"},
		{"secret", "connect to postgres://app:hunter2@db:5432/shop failed"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.SetBytes(int64(len(bm.text)))
			b.ReportAllocs()
			for b.Loop() {
				r.text(bm.text)
			}
		})
	}
}
