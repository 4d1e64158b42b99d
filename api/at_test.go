package api

import (
	"context"
	"iter"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

// withPast makes a server that knows what was known when: its index is fed by a log.
func withPast(c *Config, i *index.Config) {
	i.LogID = "01LOG"
	c.Moments = later{}
}

// later is replaced by the world's own index, which is made after the configuration.
type later struct{ Moments }

// logged numbers events as a log does; each was taken when it happened.
func logged(events []activity.Event) []activity.Event {
	var last activity.Time
	for k := range events {
		last = max(last, events[k].At)
		events[k].Seq, events[k].ReceivedAt = uint64(k+1), last
	}
	return events
}

// What is listed of a moment is what was known then.
func TestAt(t *testing.T) {
	w := newWorld(t, withPast)
	w.Apply(logged([]activity.Event{
		named(event(0, 1, activity.EventPlanned, t0), "ship", -1),
		event(0, 2, activity.EventStarted, at(time.Minute), str(activity.KeyCurrent, "packing")),
		event(0, 3, activity.EventUpdated, at(2*time.Minute), str(activity.KeyCurrent, "loading")),
		named(event(1, 1, activity.EventStarted, at(2*time.Minute)), "later", -1),
		event(0, 4, activity.EventCompleted, at(3*time.Minute), str(activity.KeyFinal, "gone")),
	}))
	for _, tt := range []struct {
		query string
		want  []string
		not   []string
	}{
		{"time=" + at(30*time.Second).Time().Format(time.RFC3339), []string{`"state":"PLANNED"`, `"as_of_seq":1`, `"total":1`}, []string{"packing", "later"}},
		{"time=" + at(90*time.Second).Time().Format(time.RFC3339), []string{`"what_its_doing":"packing"`, `"wait_ms":60000`, `"duration_ms":null`}, []string{"loading", "later"}},
		{"time=" + at(150*time.Second).Time().Format(time.RFC3339), []string{`"what_its_doing":"loading"`, `"later"`, `"total":2`}, []string{"gone"}},
		{"time=" + at(150*time.Second).Time().Format(time.RFC3339) + "&state=completed", []string{`"activities":[]`}, nil},
		{"time=" + at(time.Hour).Time().Format(time.RFC3339), []string{`"what_it_did":"gone"`}, nil},
		{"time=" + at(-time.Hour).Time().Format(time.RFC3339), []string{`"activities":[]`}, nil},
	} {
		status, _, body := w.get(t, "/activity/at?"+tt.query)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %s", tt.query, status, body)
		}
		for _, want := range tt.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s in %s", tt.query, want, body)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(body, not) {
				t.Errorf("%s: %s in %s", tt.query, not, body)
			}
		}
	}
	for query, parameter := range map[string]string{"": "time", "time=yesterday": "time", "time=15m&time=16m": "time", "time=15m&limit=0": "limit"} {
		status, _, body := w.get(t, "/activity/at?"+query)
		if status != http.StatusBadRequest || !strings.Contains(body, `"parameter":"`+parameter+`"`) {
			t.Errorf("%q: %d %s", query, status, body)
		}
	}
}

// forgetful knows no moment.
type forgetful struct{}

func (forgetful) Moment(activity.Time) (activity.Moment, error) {
	return activity.Moment{}, activity.ErrForgotten
}

func (forgetful) Changes(context.Context, uint64, uint64) iter.Seq2[activity.Change, error] {
	return nil
}

// A moment of which something is gone is told, and a server without a past says
// so in its description.
func TestAtWithoutAPast(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *index.Config) { c.Moments = forgetful{} })
	if status, _, body := w.get(t, "/activity/at?time=15m"); status != http.StatusGone {
		t.Errorf("%d %s", status, body)
	}
	if _, _, body := w.get(t, "/openapi.json"); !strings.Contains(body, "/activity/at") {
		t.Error("the path is not in the description")
	}
	w = newWorld(t, nil)
	if status, _, body := w.get(t, "/activity/at?time=15m"); status != http.StatusNotFound {
		t.Errorf("%d %s", status, body)
	}
	_, _, body := w.get(t, "/openapi.json")
	if paths := object(t, body)["paths"].(map[string]any); paths["/activity/at"] != nil || paths["/activity/decisions"] == nil {
		t.Error("the description tells of what is not there")
	}
}
