package index

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// asked are the queries that are put to an index with damage and to a sound one.
var asked = []struct {
	name string
	ask  func(x *Index) (ids []string, incomplete bool, err error)
}{
	{"newest", listed(activity.Query{Limit: 10})},
	{"oldest", listed(activity.Query{Sort: activity.OldestPlanned, Limit: 100})},
	{"longest", listed(activity.Query{Sort: activity.LongestFirst, Limit: 100})},
	{"a service", listed(activity.Query{Sort: activity.OldestPlanned, Limit: 100, Filter: activity.Filter{Services: []string{"mail"}}})},
	{"a word", listed(activity.Query{Sort: activity.OldestPlanned, Limit: 1000, Filter: activity.Filter{Terms: []string{"do 12"}}})},
	{"an attribute", listed(activity.Query{Limit: 1000, Filter: activity.Filter{Attrs: []activity.AttrFilter{{Key: "order.id", Values: []string{"17", "11900"}}}}})},
	{"a moment", listed(activity.Query{Sort: activity.OldestPlanned, Limit: 100, At: &activity.Moment{Seq: 20_000, Time: at(20 * time.Second)}})},
	{"a scan", func(x *Index) (ids []string, incomplete bool, err error) {
		err = x.Scan(context.Background(), &activity.Filter{Services: []string{"stock"}}, func(a *activity.Activity) error {
			ids = append(ids, a.ID.String())
			return nil
		})
		if errors.Is(err, activity.ErrUnreadable) {
			incomplete, err = true, nil
		}
		return ids, incomplete, err
	}},
}

func listed(q activity.Query) func(*Index) ([]string, bool, error) {
	return func(x *Index) (ids []string, incomplete bool, err error) {
		page, err := x.List(context.Background(), &q)
		if err != nil {
			return nil, false, err
		}
		for _, a := range page.Activities {
			ids = append(ids, a.ID.String())
		}
		if page.Incomplete && page.Exact {
			err = errors.New("an incomplete page says that its total is exact")
		}
		return ids, page.Incomplete, err
	}
}

// What is in a damaged segment is missing and said to be, and nothing else; it is
// back when the archive is sound again.
func TestDamagedSegment(t *testing.T) {
	clock := newClock()
	store := newShelf()
	cfg := Config{LogID: "01LOG", Archive: store, MaxBytes: 1, Now: clock.Now}
	x := New(cfg)
	sound := New(Config{LogID: "01LOG", Now: clock.Now})
	tr := newTraffic(1)
	for range 14 {
		events := tr.next(1_000)
		x.Apply(clone(events))
		sound.Apply(clone(events))
		store.store(x)
	}
	x = store.restore(t, cfg)
	number := x.segs[0].first
	if len(store.segments) < 2 {
		t.Fatalf("the archive holds %d segments", len(store.segments))
	}
	whole, err := x.fetch(t.Context(), x.segs[0], allParts)
	if err != nil {
		t.Fatal(err)
	}
	within := make(map[string]bool)
	var one activity.ID // of the segment
	for i := range whole.n {
		if !whole.isDead(i) {
			within[whole.id(i).String()], one = true, whole.id(i)
		}
	}
	for _, p := range Parts {
		for _, early := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, found at start %v", p, early), func(t *testing.T) {
				var told []error
				cfg := cfg
				cfg.Damaged = func(segment uint64, err error) {
					if segment != number {
						t.Errorf("of segment %d: %v", segment, err)
					}
					told = append(told, err)
				}
				store.mu.Lock()
				store.rotten = map[cacheKey]bool{{number, p}: early}
				store.mu.Unlock()
				x := store.restore(t, cfg)
				store.mu.Lock()
				store.rotten = map[cacheKey]bool{{number, p}: true}
				store.mu.Unlock()
				derived := p.Derived()
				for range 2 {
					compareDamaged(t, x, sound, func(id string) bool { return !derived && within[id] })
				}
				_, err := x.Get(t.Context(), one)
				if derived != (err == nil) || !derived && !errors.Is(err, activity.ErrUnreadable) {
					t.Errorf("one of the segment: %v", err)
				}
				_, err = x.Resolve(t.Context(), one.Span)
				if lost := p == PartSpans || p == PartPlaces; lost != errors.Is(err, activity.ErrUnreadable) {
					t.Errorf("its span: %v", err)
				}
				if d := get(t, x, tr.ids[len(tr.ids)-1]); d.Incomplete {
					t.Error("of the newest something is missing")
				}
				if _, err := x.Get(t.Context(), id(1<<20, 1)); !errors.Is(err, activity.ErrNotFound) {
					t.Errorf("one that never was: %v", err)
				}
				tree, err := x.Tree(t.Context(), &activity.TreeQuery{Depth: 9, Limit: 10_000})
				if err != nil || tree.Incomplete == derived {
					t.Errorf("the tree: incomplete %v, %v", tree != nil && tree.Incomplete, err)
				}
				for _, err := range x.Changes(t.Context(), 0, 2_000) {
					if err != nil {
						t.Errorf("the changes: %v", err)
					}
				}
				if p != PartCounts && (len(told) != 1 || told[0] == nil || len(x.Damages(t.Context())) != 1) {
					t.Errorf("told: %v; known: %v", told, x.Damages(t.Context()))
				}

				store.mu.Lock()
				store.rotten = nil
				store.mu.Unlock()
				clock.advance(damageAgain + time.Second)
				if left := x.Damages(t.Context()); len(left) > 0 || len(told) > 0 && told[len(told)-1] != nil {
					t.Fatalf("it is not taken back: %v, told %v", left, told)
				}
				compareDamaged(t, x, sound, func(string) bool { return false })
				get(t, x, one)
			})
		}
	}
}

// compareDamaged asks both indexes the same; the first misses what lost says.
func compareDamaged(t *testing.T, x, sound *Index, lost func(id string) bool) {
	t.Helper()
	for _, q := range asked {
		// A page of the sound one may be filled by what the other misses.
		want, _, err := q.ask(sound)
		if err != nil {
			t.Fatal(err)
		}
		got, incomplete, err := q.ask(x)
		if err != nil {
			t.Errorf("%s: %v", q.name, err)
			continue
		}
		any := slices.ContainsFunc(want, lost)
		want = slices.DeleteFunc(want, lost)
		if any && !incomplete {
			t.Errorf("%s: it is not said that something is missing", q.name)
		}
		if slices.ContainsFunc(got, lost) || len(got) < len(want) {
			t.Errorf("%s: %d rows, of which some are lost; %d are not", q.name, len(got), len(want))
		} else if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
			t.Errorf("%s (-sound +damaged):\n%s", q.name, diff)
		}
	}
	for _, f := range []activity.Filter{{Services: []string{"orders"}}, {Services: []string{"orders"}, Terms: []string{"out of"}}} {
		want, err := sound.StatsOf(t.Context(), &f)
		if err != nil {
			t.Fatal(err)
		}
		got, err := x.StatsOf(t.Context(), &f)
		if err != nil || got.Incomplete != (got.Total < want.Total) {
			t.Errorf("statistics: %d of %d, incomplete %v: %v", got.Total, want.Total, got.Incomplete, err)
		}
	}
}

// What keeps no more than a bound lets go of a damaged segment when its time has
// come, and of nothing before.
func TestDamagedSegmentRetires(t *testing.T) {
	for _, rotten := range [][]Part{{PartSpans}, {PartCodes}, {PartPlaces}, {PartText}, {PartCodes, PartCounts}, {PartSpans, PartCodes}} {
		t.Run(fmt.Sprintf("%v", rotten), func(t *testing.T) {
			store := newShelf()
			x := New(Config{LogID: "01LOG", Archive: store, MaxBytes: 1, MaxCache: 1})
			tr := newTraffic(1)
			for range 20 {
				x.Apply(clone(tr.next(1_000)))
				store.store(x)
			}
			number, held := x.segs[0].first, x.finished
			dead := x.segs[0].dead.n
			store.mu.Lock()
			store.rotten = make(map[cacheKey]bool)
			for _, p := range rotten {
				store.rotten[cacheKey{number, p}] = true
			}
			store.mu.Unlock()
			x.cfg.MaxFinished = held - 1
			if stats(t, x); x.segs[0].first == number || x.finished >= held {
				t.Fatalf("%d rows of %d are held, from segment %d on", x.finished, held, x.segs[0].first)
			}
			store.store(x)
			if store.segments[number] != nil {
				t.Error("the archive still has it")
			}
			x.cfg.MaxFinished = 0
			if len(x.Damages(t.Context())) != 0 {
				t.Errorf("known: %v", x.Damages(t.Context()))
			}
			if dead == 0 || len(rotten) == 1 && rotten[0] != PartCodes {
				checkCounts(t, x)
			}
			x.Apply(clone(tr.next(1_000)))
			store.store(x)
		})
	}
}
