package index

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
)

var update = flag.Bool("update", false, "write testdata/state.bin anew")

// kept are the events that the states in testdata were made of.
func kept() []activity.Event {
	resource := &activity.Resource{
		Service: "shop", Instance: "shop-1", SchemaURL: "https://opentelemetry.io/schemas/1.37.0", Dropped: 9,
		Attrs: []activity.Attr{str("service.name", "shop"), str("service.instance.id", "shop-1"), num("pid", 7)},
	}
	scope := &activity.Scope{Name: "lib", Version: "1.2.3", SchemaURL: "u", Dropped: 6, Attrs: []activity.Attr{str("part", "db")}}
	plain, bare := &activity.Resource{Service: "bank", Attrs: []activity.Attr{str("service.name", "bank")}}, &activity.Scope{Name: "http"}
	var events []activity.Event
	tell := func(n int, rev uint32, kind activity.Kind, c activity.Changes) {
		e := activity.Event{ID: id(1, n), Rev: rev, Kind: kind, At: at(time.Duration(len(events)) * time.Second), Changes: c}
		if kind.Ends() {
			e.EndTime = e.At
		}
		e.Seq, e.ReceivedAt = uint64(len(events)+1), e.At
		events = append(events, e)
	}
	for n, flags := range []uint32{0, 1, 0x100, 0x101, 0x300, 0x301, 1 << 31} {
		sampling := activity.Sampling(0)
		if flags&1 != 0 {
			sampling = activity.Sampled
		}
		tell(10+n, 0, activity.EventCompleted, activity.Changes{
			Name: "GET /", Parent: id(1, 99), SpanKind: activity.KindClient, StartTime: at(0), Sampling: sampling, Flags: flags,
			Resource: plain, Scope: bare, Attrs: []activity.Attr{num("n", int64(n))},
		})
	}
	tell(20, 0, activity.EventFailed, activity.Changes{
		Name: "charge card", SpanKind: activity.KindServer, StartTime: at(0), Sampling: activity.Sampled, Flags: 0x301, TraceState: "a=b",
		Status: activity.StatusError, StatusMessage: "no", Resource: resource, Scope: scope, Dropped: [3]uint32{3, 4, 5},
		Links:      []activity.Link{{ID: id(3, 4), TraceState: "q=r", Dropped: 7, Flags: 0x101, Attrs: []activity.Attr{num("l", 1)}}, {ID: id(5, 6)}},
		SpanEvents: []activity.SpanEvent{{At: at(1), Name: "exception", Dropped: 2, Attrs: []activity.Attr{str("exception.type", "E")}}, {At: at(2), Name: "note"}},
	})
	for _, n := range []int{30, 31} { // one ends, the other does not
		tell(n, 1, activity.EventPlanned, activity.Changes{Name: "pack", Sampling: activity.Sampled, Resource: resource, Scope: scope})
		tell(n, 2, activity.EventStarted, activity.Changes{})
		tell(n, 3, activity.EventUpdated, activity.Changes{Attrs: []activity.Attr{str(activity.KeyCurrent, "taping")}})
	}
	tell(30, 0, activity.EventCompleted, activity.Changes{
		Name: "pack", StartTime: at(0), Sampling: activity.Sampled, Flags: 0x101, Resource: resource, Scope: scope,
		Links: []activity.Link{{ID: id(3, 4), Flags: 0x301}},
	})
	tell(40, 0, activity.EventStarted, activity.Changes{Name: "open", StartTime: at(0), Sampling: activity.Sampled, Flags: 0x301, Resource: plain, Scope: bare})
	tell(41, 0, activity.EventStarted, activity.Changes{Name: "gone", StartTime: at(0), Flags: 0x100, Resource: plain, Scope: bare})
	tell(41, 0, activity.EventLost, activity.Changes{})
	return events
}

// withoutRest takes out of events what was not kept before.
func withoutRest(events []activity.Event) []activity.Event {
	for i := range events {
		e := &events[i]
		e.Flags = 0
		for k := range e.Links {
			e.Links[k].Flags, e.Links[k].Dropped = 0, 0
		}
		for k := range e.SpanEvents {
			e.SpanEvents[k].Dropped = 0
		}
		if r := e.Resource; r != nil {
			r.Dropped = 0
		}
		if s := e.Scope; s != nil {
			s.Dropped = 0
		}
	}
	return events
}

// A state that was written before is read: what it held is there, and an event
// that is told again is known.
func TestRestoreOld(t *testing.T) {
	cfg := Config{LogID: "01LOG", Archive: newShelf()}
	if *update {
		x := New(cfg)
		x.Apply(kept())
		if err := os.WriteFile(filepath.Join("testdata", "state.bin"), x.Checkpoint().State, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		file string
		want []activity.Event
	}{
		{"state.bin", kept()},
		{"state-without-flags.bin", withoutRest(kept())}, // of 2026-11-27
	} {
		t.Run(tt.file, func(t *testing.T) {
			state, err := os.ReadFile(filepath.Join("testdata", tt.file))
			if err != nil {
				t.Fatal(err)
			}
			x, err := Restore(t.Context(), cfg, state, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := x.Check(t.Context(), func(n uint64, damage error) bool { t.Errorf("segment %d: %v", n, damage); return true }); err != nil {
				t.Fatal(err)
			}
			of := map[activity.ID][]activity.Event{}
			for _, e := range tt.want {
				of[e.ID] = append(of[e.ID], e)
			}
			same := func() {
				t.Helper()
				for i, events := range of {
					d := get(t, x, i)
					if diff := difference(activity.Fold(clone(events)), *d.Activity); diff != "" {
						t.Errorf("%v (-want +got):\n%s", i, diff)
					}
					if len(d.History) != len(events) {
						t.Errorf("%v has %d events, want %d", i, len(d.History), len(events))
					}
				}
			}
			same()
			again := kept()
			for i := range again {
				again[i].Seq += uint64(len(again))
			}
			if unseen := x.Unseen(t.Context(), again); len(unseen) != len(again)-9 {
				t.Errorf("%d of %d events are not known", len(unseen), len(again))
			}
			x.Apply(again)
			same()
		})
	}
}
