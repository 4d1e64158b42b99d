package liveness

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/midspan/midspan/activity"
)

// renewal is one, sent at so much by the sender's clock and received so much later by
// ours.
type renewal struct{ sent, later time.Duration }

// even are renewals 1.7 s apart, each so long later as the way and the clock have it.
func even(n int, from, later time.Duration) (out []renewal) {
	for i := range n {
		out = append(out, renewal{from + time.Duration(i)*1700*time.Millisecond, later + time.Duration(i*7%5)*10*time.Millisecond})
	}
	return out
}

func TestShiftOfClock(t *testing.T) {
	const hour, s = time.Hour, time.Second
	known := func(by time.Duration) activity.Shift { return activity.Shift{By: by, Known: true} }
	set := func(by time.Duration) activity.Shift { return activity.Shift{By: by, Known: true, Set: true} }
	for _, tt := range []struct {
		name  string
		sent  []renewal
		want  activity.Shift
		found int // how often it was found to be off from the first
	}{
		{"right", even(40, hour, 5*time.Millisecond), activity.Shift{}, 0},
		{"less than a second", even(40, hour, 900*time.Millisecond), activity.Shift{}, 0},
		{"ahead, told once", even(1, hour, -hour), known(-hour), 1},
		{"ahead, to a tenth", even(20, hour, -hour+260*time.Millisecond), known(-hour + 300*time.Millisecond), 1},
		{"behind by an hour, told once", even(1, hour, hour), known(hour), 1},
		{"behind by an hour", even(20, hour, hour), known(hour), 1},
		{"behind by less than a way may take, told once", even(1, hour, 30*s), activity.Shift{}, 0},
		{"behind by that, told twice", even(2, hour, 30*s), known(30 * s), 1},
		{"the first was long under way", append(even(1, hour, 3*s), even(5, hour+2*s, 0)...), activity.Shift{}, 0},
		{"one was long under way", append(append(even(5, hour, 0), even(1, hour+9*s, 3*s)...), even(5, hour+11*s, 0)...), activity.Shift{}, 0},
		{"the way is long for a while", append(even(5, hour, 0), even(10, hour+9*s, 3*s)...), activity.Shift{}, 0},
		{"a queue is let go", []renewal{{hour, 300 * s}, {hour + 2*s, 298 * s}, {hour + 4*s, 296 * s}, {hour + 6*s, 294 * s}}, activity.Shift{}, 0},
		{"a queue of hours is let go", []renewal{{hour, 2 * hour}, {hour + 2*s, 2*hour - 2*s}, {hour + 4*s, 2*hour - 4*s}}, set(0), 1},
		{"a known process's queue is let go", append(even(20, hour, 0), []renewal{{2 * hour, 300 * s}, {2*hour + 2*s, 298 * s}, {2*hour + 4*s, 296 * s}}...), activity.Shift{}, 0},
		{"set ahead", append(even(5, hour, 0), even(1, 2*hour+9*s, -hour)...), set(-hour), 0},
		{"set back, told twice", append(even(5, 2*hour, 0), even(2, hour+9*s, hour)...), activity.Shift{}, 0},
		{"set back", append(even(5, 2*hour, 0), even(3, hour+9*s, hour)...), set(hour), 0},
		{"set back by little", append(even(5, hour, 0), even(16, hour, 3*s)...), set(3 * s), 0},
		{"set right from ahead", append(even(5, 2*hour, -hour), even(3, hour+9*s, 0)...), set(0), 1},
		{"set right from behind", append(even(5, 2*hour, hour), even(1, 3*hour+9*s, 0)...), set(0), 1},
		{"wanders by less than half a second", append(even(20, hour, -10*s), even(20, 2*hour, -10*s+400*time.Millisecond)...), known(-10 * s), 1},
		{"wanders by more", append(even(20, hour, -10*s), even(20, 2*hour, -10*s-600*time.Millisecond)...), set(-10*s - 600*time.Millisecond), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var c clock
			found := 0
			for _, r := range tt.sent {
				if c.add(activity.Time(r.sent+r.later), activity.Time(r.sent)) {
					found++
				}
			}
			if c.shift != tt.want || found != tt.found {
				t.Errorf("%+v, found %d times, want %+v, %d", c.shift, found, tt.want, tt.found)
			}
		})
	}
}

// What is open when a clock turns out to be off is shifted, without being heard of;
// what a process's end makes of it is told by our clock.
func TestAlignsWhatIsOpen(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			in(t, Config{}, func(w *world) {
				p, right := w.process(1, ahead), w.process(2, 0)
				begun := activity.TimeOf(time.Now())
				for n, kind := range map[byte]activity.Kind{1: activity.EventStarted, 2: activity.EventPlanned, 3: activity.EventStarted} {
					p.tell(n, 1, kind)
					right.tell(n, 1, kind)
				}
				time.Sleep(10 * time.Second)
				p.tell(3, 2, activity.EventCompleted)
				w.mu.Lock()
				w.full = true
				w.mu.Unlock()
				p.renew()
				right.renew()
				time.Sleep(2 * time.Second)
				w.mu.Lock()
				w.full = false
				w.mu.Unlock()
				p.live(2 * time.Second)
				right.live(2 * time.Second)
				for n, want := range map[byte]activity.State{1: activity.InProgress, 2: activity.Planned} {
					lease := activity.LeaseLive
					if a := p.state(n, want, lease); a.PlannedAt != begun || max(a.LastSeenAt-begun, begun-a.LastSeenAt) > 1 || a.Resource.Shift().By != -ahead {
						t.Errorf("activity %d began %v late, was heard of %v late: %+v", n, a.PlannedAt.Sub(begun), a.LastSeenAt.Sub(begun), a.Resource.Shift())
					}
					if a := right.state(n, want, lease); a.PlannedAt != begun || a.Resource != right.resource {
						t.Errorf("the other's activity %d: %+v", n, a)
					}
				}
				// It ended before anything was known.
				if a := p.state(3, activity.Completed, activity.LeaseLive); a.StartedAt.Sub(begun) != ahead || a.EndedAt.Sub(a.StartedAt) != 10*time.Second {
					t.Errorf("%v to %v", a.StartedAt, a.EndedAt)
				}
				w.mu.Lock()
				appended := w.appended
				w.mu.Unlock()
				if appended != 2 {
					t.Errorf("%d events were appended", appended)
				}
				died := activity.TimeOf(time.Now())
				time.Sleep(3 * ttl)
				if a := p.state(1, activity.Lost, activity.LeaseExpired); a.LostAt < died || a.LostAt > activity.TimeOf(time.Now()) || a.StartedAt != begun {
					t.Errorf("lost %v after its process died, begun %v late", a.LostAt.Sub(died), a.StartedAt.Sub(begun))
				}
				p.renew()
				if a := p.state(1, activity.InProgress, activity.LeaseLive); a.LastSeenAt != activity.TimeOf(time.Now()) || a.StartedAt != begun {
					t.Errorf("heard of %v, begun %v late", a.LastSeenAt, a.StartedAt.Sub(begun))
				}
			})
		})
	}
}

// Who died while the bridge was away is lost when that is seen, by our clock: nothing
// was heard of its own since, but the log tells how far it was off.
func TestLostAfterStart(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		in(t, Config{}, func(w *world) {
			p := w.process(1, 0) // its times are shifted
			p.resource = p.resource.WithShift(activity.Shift{By: -ahead, Known: true})
			p.tell(1, 1, activity.EventStarted)
			w.leases.Restore([]*activity.Resource{p.resource})
			time.Sleep(3 * ttl)
			if a := p.state(1, activity.Lost, activity.LeaseExpired); a.LostAt.Sub(a.StartedAt) != 2*ttl {
				t.Errorf("%v: lost %v after its start", ahead, a.LostAt.Sub(a.StartedAt))
			}
		})
	}
}

// A resource is shifted to the same one while the shift stays, and what a log holds
// tells it after a start.
func TestShifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Logger: slog.New(slog.DiscardHandler)})
		w := &world{T: t, leases: l}
		p, none := w.process(1, time.Hour), activity.NewResource(nil, "")
		if l.Shifted(p.resource) != p.resource || l.Shifted(nil) != nil || l.Shifts() != 0 {
			t.Error("nothing is known yet")
		}
		p.renew()
		to := l.Shifted(p.resource)
		if (to.Shift() != activity.Shift{By: -time.Hour, Known: true}) || l.Shifted(p.resource) != to || l.Shifted(to) != to || l.Shifted(none) != none || l.Shifts() != 1 {
			t.Errorf("%+v", to)
		}
		for range 2 * maxShifted { // that vary
			l.Shifted(activity.NewResource(p.resource.Attrs, ""))
		}
		if n := len(l.leases[p.resource.Lease()].shifted); n > maxShifted {
			t.Errorf("%d resources are remembered", n)
		}
		time.Sleep(time.Second)
		p.ahead += 2 * time.Hour
		p.renew()
		if got := l.Shifted(p.resource).Shift(); (got != activity.Shift{By: -3 * time.Hour, Known: true, Set: true}) {
			t.Errorf("after it was set: %+v", got)
		}
		again := New(Config{Logger: slog.New(slog.DiscardHandler)})
		again.Restore([]*activity.Resource{p.resource, to, l.Shifted(p.resource), to})
		if got := again.Shifted(p.resource).Shift(); (got != activity.Shift{By: -3 * time.Hour, Known: true, Set: true}) || again.Shifts() == 0 {
			t.Errorf("after a start: %+v", got)
		}
		again = New(Config{Logger: slog.New(slog.DiscardHandler)})
		again.Restore([]*activity.Resource{to})
		if err := again.Renewed(p.resource, ttl, 1, p.now()); err != nil {
			t.Error(err)
		}
		if got := again.Shifted(p.resource).Shift(); (got != activity.Shift{By: -3 * time.Hour, Known: true, Set: true}) {
			t.Errorf("set while the bridge was away: %+v", got)
		}
	})
}
