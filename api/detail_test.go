package api

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// What a span carries is shown, with what its SDK dropped of it.
func TestDetailOfSpan(t *testing.T) {
	w := newWorld(t, nil)
	e := named(event(300, 1, activity.EventStarted, at(0)), "whole", -1)
	e.Flags, e.Sampling, e.Dropped = 769, activity.Sampled, [3]uint32{3, 4, 5}
	e.Resource = &activity.Resource{Service: "stock", SchemaURL: "https://example.com/r", Dropped: 6}
	e.Scope = &activity.Scope{Name: "lib", Version: "1", SchemaURL: "https://example.com/s", Attrs: []activity.Attr{str("a", "b")}, Dropped: 7}
	e.Links = []activity.Link{{ID: id(250), TraceState: "v=1", Attrs: []activity.Attr{str("c", "d")}, Dropped: 8, Flags: 257}}
	e.SpanEvents = []activity.SpanEvent{{At: at(0), Name: "retry", Dropped: 9}}
	w.Apply([]activity.Event{e})
	_, _, body := w.get(t, "/activity/activity/"+id(300).String())
	var got struct {
		Span map[string]any `json:"span"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"kind": "internal", "status": "unset", "trace_state": "", "flags": 769.0,
		"resource": map[string]any{}, "resource_schema_url": "https://example.com/r",
		"scope": map[string]any{
			"name": "lib", "version": "1", "schema_url": "https://example.com/s", "attributes": map[string]any{"a": "b"}, "dropped_attributes": 7.0,
		},
		"events":  []any{map[string]any{"name": "retry", "at": at(0).String(), "attributes": map[string]any{}, "dropped_attributes": 9.0}},
		"links":   []any{map[string]any{"activity_id": id(250).String(), "trace_state": "v=1", "flags": 257.0, "attributes": map[string]any{"c": "d"}, "dropped_attributes": 8.0}},
		"dropped": map[string]any{"attributes": 3.0, "events": 4.0, "links": 5.0, "resource": 6.0},
	}
	if diff := cmp.Diff(want, got.Span); diff != "" {
		t.Error(diff)
	}
}
