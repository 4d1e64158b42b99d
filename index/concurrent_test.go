package index

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
)

// Writers of every sort and readers of every sort, at once.
func TestIndexConcurrentSafe(t *testing.T) {
	x := New(Config{MaxFinished: 1000, MaxEvents: 1000, MaxInFlight: 500})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const writers, each = 4, 500
	var writing, reading sync.WaitGroup
	var events atomic.Int64
	for w := range writers {
		writing.Go(func() {
			g := newGenerator(uint64(w))
			for n := range each {
				i := id(1+w*each+n/10, 1+w*each+n)
				start := ev(i, 1, at(time.Duration(n)), activity.EventStarted, str(activity.KeyPlanned, g.words(2)), str(fmt.Sprint("k", g.IntN(3000)), "v"))
				start.Name, start.Resource = g.words(1), g.resources[g.IntN(3)]
				if n%10 > 0 {
					start.Parent = id(i2(i), 1+w*each+n-1)
				}
				batch := []activity.Event{start}
				for u := range g.IntN(3) {
					batch = append(batch, ev(i, uint32(u+2), at(time.Duration(n+u)), activity.EventUpdated, str(activity.KeyCurrent, g.words(1))))
				}
				batch = append(batch, ev(i, 9, at(time.Duration(n+5)), activity.EventCompleted, str(activity.KeyFinal, g.words(2))))
				if n%7 == 0 && n > 0 { // late
					batch = append(batch, ev(id(1+w*each+(n-1)/10, 1+w*each+n-1), 10, at(time.Duration(n)), activity.EventUpdated, str("late", "x")))
				}
				if n%50 == 0 {
					batch = batch[:1] // stays open
				}
				events.Add(int64(len(batch)))
				x.Apply(batch)
			}
		})
	}
	read := func(fn func(g *rand.Rand) error) {
		reading.Go(func() {
			g := rand.New(rand.NewPCG(1, 2))
			for range 25 { // enough to meet the writers, who wait for readers
				if err := fn(g); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
		})
	}
	read(func(g *rand.Rand) error {
		_, err := x.List(ctx, &activity.Query{Limit: 20, Sort: activity.Sort(g.IntN(4)), Filter: activity.Filter{Terms: []string{"deploy"}}})
		return err
	})
	read(func(g *rand.Rand) error {
		return x.Scan(ctx, &activity.Filter{Services: []string{"service-1"}}, func(a *activity.Activity) error {
			if a.Service() != "service-1" || a.ID.IsZero() {
				return fmt.Errorf("scanned %s", a.AppendJSON(nil))
			}
			return nil
		})
	})
	read(func(*rand.Rand) error {
		_, err := x.Tree(ctx, &activity.TreeQuery{Depth: 3, Limit: 50})
		return err
	})
	read(func(g *rand.Rand) error {
		n := 1 + g.IntN(writers*each)
		d, err := x.Get(ctx, id(n, n))
		if err == nil && d.Activity.Name == "" {
			return fmt.Errorf("got %s", d.Activity.AppendJSON(nil))
		}
		_, err = x.Resolve(ctx, id(n, n).Span)
		return err
	})
	read(func(*rand.Rand) error {
		s, err := x.Stats(ctx)
		if err == nil && s.Held.Finished > 1000 {
			return fmt.Errorf("%d held", s.Held.Finished)
		}
		return err
	})
	read(func(g *rand.Rand) error { // follows the log
		pos := x.Head().Seq
		for range 50 {
			changed := x.Changed()
			changes, err := x.Read(pos, 100)
			switch {
			case errors.Is(err, activity.ErrGap):
				pos = x.Head().Seq
			case err != nil:
				return err
			case len(changes) == 0:
				select {
				case <-changed:
				case <-ctx.Done():
				}
			}
			for _, c := range changes {
				if pos++; c.Seq != pos || c.Activity == nil || c.Activity.ID.IsZero() {
					return fmt.Errorf("change %d after %d: %v", c.Seq, pos-1, c.Activity)
				}
			}
		}
		return nil
	})
	writing.Wait()
	cancel()
	reading.Wait()
	s := stats(t, x)
	if s.Total != writers*each || s.All.Finished+s.Held.InFlight != s.Total || s.Held.Finished+s.Evicted != s.All.Finished {
		t.Errorf("total %d, finished %d, in flight %d, held %d, evicted %d", s.Total, s.All.Finished, s.Held.InFlight, s.Held.Finished, s.Evicted)
	}
	if uint64(events.Load()) < x.Head().Seq {
		t.Errorf("%d events made a sequence of %d", events.Load(), x.Head().Seq)
	}
	checkCounts(t, x)
}

// i2 is the number of an id's trace.
func i2(i activity.ID) int {
	return int(i.Trace[12])<<24 | int(i.Trace[13])<<16 | int(i.Trace[14])<<8 | int(i.Trace[15])
}

// What is let go of beside readers, and beside what comes.
func TestRetireConcurrentSafe(t *testing.T) {
	clock := newClock()
	store := newShelf()
	x := New(Config{LogID: "01LOG", Archive: store, MaxBytes: 1, MaxAge: time.Hour, Now: clock.Now})
	tr := newTraffic(1)
	for range 20 {
		x.Apply(clone(tr.next(1_000)))
		store.store(x)
	}
	clock.advance(2 * time.Hour)
	var all sync.WaitGroup
	all.Go(func() { retireAll(t, x) })
	all.Go(func() {
		for range 20 {
			x.Apply(clone(tr.next(100)))
		}
	})
	for range 2 {
		all.Go(func() {
			for n := range 5 {
				_, err := x.StatsOf(t.Context(), &activity.Filter{Services: []string{"mail"}})
				_, other := x.List(t.Context(), &activity.Query{Limit: 20, Sort: activity.Sort(n % 4)})
				_, stats := x.Stats(t.Context())
				if err := errors.Join(err, other, stats); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	checkCounts(t, x)
}
