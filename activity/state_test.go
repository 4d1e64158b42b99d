package activity_test

import (
	"testing"

	"github.com/midspan/midspan/activity"
)

func TestParseState(t *testing.T) {
	for _, s := range activity.States {
		for _, text := range []string{s.String(), lower(s.String())} {
			if got, ok := activity.ParseState(text); !ok || got != s {
				t.Errorf("ParseState(%q) = %v, %v", text, got, ok)
			}
		}
		var back activity.State
		text, err := s.MarshalText()
		if err != nil || back.UnmarshalText(text) != nil || back != s {
			t.Errorf("%v became %q and %v", s, text, back)
		}
	}
	for _, text := range []string{"", "UNKNOWN", "DONE", " PLANNED", "STALLED"} {
		if got, ok := activity.ParseState(text); ok {
			t.Errorf("ParseState(%q) = %v", text, got)
		}
	}
	var s activity.State
	if err := s.UnmarshalText([]byte("DONE")); err == nil {
		t.Error("UnmarshalText took DONE")
	}
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func TestStateKinds(t *testing.T) {
	for _, tt := range []struct {
		state       activity.State
		open, ended bool
		kind        string
	}{
		{activity.StateUnknown, false, false, "updated"},
		{activity.Planned, true, false, "planned"},
		{activity.InProgress, true, false, "started"},
		{activity.Completed, false, true, "completed"},
		{activity.Failed, false, true, "failed"},
		{activity.Cancelled, false, true, "cancelled"},
		{activity.Lost, false, false, "lost"},
	} {
		t.Run(tt.state.String(), func(t *testing.T) {
			if tt.state.Open() != tt.open || tt.state.Ended() != tt.ended {
				t.Errorf("open %v, ended %v", tt.state.Open(), tt.state.Ended())
			}
			kind := tt.state.Kind()
			if kind.String() != tt.kind || kind.State() != tt.state || kind.Ends() != tt.ended {
				t.Errorf("kind %v, which leads to %v and ends: %v", kind, kind.State(), kind.Ends())
			}
			if got, ok := activity.ParseKind(tt.kind); !ok || got != kind {
				t.Errorf("ParseKind(%q) = %v, %v", tt.kind, got, ok)
			}
		})
	}
	for _, text := range []string{"", "PLANNED", "activity.planned", "ended"} {
		if got, ok := activity.ParseKind(text); ok {
			t.Errorf("ParseKind(%q) = %v", text, got)
		}
	}
	if s := activity.Kind(200).String(); s != "" {
		t.Errorf("Kind(200) = %q", s)
	}
}

// The drawing of State, every pair. Beyond it the fold takes what it must when
// events are missing: a terminal state beats an open one, whatever lay between.
func TestTransitions(t *testing.T) {
	const ignored = activity.StateUnknown
	kinds := []activity.Kind{
		activity.EventPlanned, activity.EventStarted, activity.EventUpdated, activity.EventCompleted,
		activity.EventFailed, activity.EventCancelled, activity.EventLost,
	}
	for _, tt := range []struct {
		from activity.State
		to   [7]activity.State // by kinds; ignored where the state stays
	}{
		{activity.StateUnknown, [7]activity.State{
			activity.Planned, activity.InProgress, activity.InProgress, activity.Completed, activity.Failed, activity.Cancelled, activity.Lost,
		}},
		{activity.Planned, [7]activity.State{
			ignored, activity.InProgress, ignored, activity.Completed, activity.Failed, activity.Cancelled, activity.Lost,
		}},
		{activity.InProgress, [7]activity.State{
			ignored, ignored, ignored, activity.Completed, activity.Failed, activity.Cancelled, activity.Lost,
		}},
		{activity.Completed, [7]activity.State{}},
		{activity.Failed, [7]activity.State{}},
		{activity.Cancelled, [7]activity.State{}},
		{activity.Lost, [7]activity.State{
			activity.Planned, activity.InProgress, activity.InProgress, activity.Completed, activity.Failed, activity.Cancelled, ignored,
		}},
	} {
		for i, kind := range kinds {
			t.Run(tt.from.String()+" "+kind.String(), func(t *testing.T) {
				h := activity.Head{State: tt.from}
				ok := h.Apply(&activity.Event{ID: mustID(t, idText), At: 5, Kind: kind})
				want := tt.to[i]
				if wantOK := want != ignored || kind == activity.EventUpdated; ok != wantOK {
					t.Errorf("applied = %v, want %v", ok, wantOK)
				}
				if want == ignored {
					want = tt.from
				}
				if h.State != want {
					t.Errorf("state = %v, want %v", h.State, want)
				}
			})
		}
	}
}
