package index

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// shelf is an archive in memory: what a database would hold.
type shelf struct {
	mu       sync.Mutex // guards everything below
	state    []byte
	seq      uint64
	segments map[uint64]*Restored
	parts    map[cacheKey][]byte
	loads    int
	of       map[Part]int // loads of each
	broken   error
	rotten   map[cacheKey]bool
}

func (s *shelf) Load(_ context.Context, segment uint64, p Part) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	s.of[p]++
	if s.rotten[cacheKey{segment, p}] {
		return nil, &DamageError{segment, p, errors.New("its checksum is wrong")}
	}
	data, ok := s.parts[cacheKey{segment, p}]
	if !ok && s.broken == nil {
		return nil, fmt.Errorf("there is no %v of segment %d", p, segment)
	}
	return data, s.broken
}

// store does what a transaction would.
func (s *shelf) store(x *Index) {
	c := x.Checkpoint()
	s.mu.Lock()
	for i := range c.Segments {
		seg := &c.Segments[i]
		if seg.Summary == nil {
			s.segments[seg.Number].Dead = seg.Dead
			continue
		}
		for _, p := range Parts {
			data := seg.AppendPart(nil, p)
			s.parts[cacheKey{seg.Number, p}] = data
			seg.Stored += int64(len(data))
		}
		s.segments[seg.Number] = &Restored{seg.Number, seg.Summary, seg.Dead, seg.Stored}
	}
	for _, number := range c.Retired {
		delete(s.segments, number)
		for _, p := range Parts {
			delete(s.parts, cacheKey{number, p})
		}
	}
	s.state, s.seq = c.State, c.Seq
	s.mu.Unlock()
	x.Saved(c)
}

func (s *shelf) restore(t *testing.T, cfg Config) *Index {
	t.Helper()
	s.mu.Lock()
	var segments []Restored
	for _, number := range slices.Sorted(maps.Keys(s.segments)) {
		segments = append(segments, *s.segments[number])
	}
	state := slices.Clone(s.state)
	s.mu.Unlock()
	x, err := Restore(t.Context(), cfg, state, segments)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func newShelf() *shelf {
	return &shelf{of: make(map[Part]int), segments: make(map[uint64]*Restored), parts: make(map[cacheKey][]byte)}
}

// traffic makes the numbered events of activities that start, report, end, are
// told of again and come late.
type traffic struct {
	*rand.Rand
	seq       uint64
	ids       []activity.ID
	resources []*activity.Resource
	scope     *activity.Scope
	log       []activity.Event
}

func newTraffic(seed uint64) *traffic {
	tr := &traffic{Rand: rand.New(rand.NewPCG(seed, 1)), scope: &activity.Scope{Name: "lib", Version: "2"}}
	for _, service := range []string{"orders", "stock", "mail"} {
		tr.resources = append(tr.resources, &activity.Resource{Service: service, Instance: service + "-1", Attrs: []activity.Attr{str("service.name", service)}})
	}
	return tr
}

// next returns the events of n more activities.
func (tr *traffic) next(n int) []activity.Event {
	from := len(tr.log)
	add := func(e activity.Event) {
		tr.seq++
		e.Seq, e.ReceivedAt = tr.seq, at(time.Duration(tr.seq)*time.Millisecond)
		tr.log = append(tr.log, e)
	}
	for range n {
		k := len(tr.ids)
		i := id(1+k/8, k+1)
		tr.ids = append(tr.ids, i)
		begin := at(time.Duration(k) * time.Millisecond)
		start := ev(i, 1, begin, activity.EventStarted,
			str(activity.KeyType, activity.Types[k%len(activity.Types)].String()),
			str(activity.KeyPlanned, fmt.Sprintf("do %d", k)), num("order.id", int64(k)))
		start.Name, start.StartTime = fmt.Sprintf("work %d", k%50), begin
		start.Resource, start.Scope = tr.resources[k%3], tr.scope
		if k%8 != 0 {
			start.Parent = id(1+k/8, k+1-tr.IntN(k%8+1))
			if start.Parent == i {
				start.Parent = activity.ID{}
			}
		} else {
			start.Attrs = append(start.Attrs, str("gen_ai.agent.name", fmt.Sprintf("agent %d", k%5)))
		}
		if k%3 == 0 {
			start.Attrs = append(start.Attrs, str(activity.KeyThreadID, fmt.Sprintf("t%d", k%7)))
		}
		add(start)
		if k%4 == 0 {
			add(ev(i, 2, begin+10, activity.EventUpdated, str(activity.KeyCurrent, fmt.Sprintf("half of %d", k))))
		}
		end := ev(i, 3, begin+activity.Time(1+tr.IntN(1_000_000_000)), activity.EventCompleted, str(activity.KeyFinal, "done"))
		switch {
		case k%97 == 0: // never ends
			continue
		case k%10 == 0:
			end.Kind, end.Status, end.StatusMessage = activity.EventFailed, activity.StatusError, fmt.Sprintf("out of %d", k%13)
		case k%31 == 0:
			end.Kind = activity.EventLost
		}
		add(end)
		if k%11 == 0 { // told again
			add(end)
		}
		if k%7 == 0 { // a late word of one before
			j := tr.IntN(k + 1)
			if k%2 == 0 {
				j = max(0, k-tr.IntN(20))
			}
			add(ev(tr.ids[j], uint32(4+tr.IntN(3)), at(time.Duration(k)*time.Millisecond), activity.EventUpdated, str("late", fmt.Sprint(k))))
		}
	}
	return tr.log[from:]
}

// An index that lets its archive hold what has ended, and starts anew from a
// checkpoint now and then, answers as one that holds all in memory.
func TestArchive(t *testing.T) {
	for seed := range uint64(1) {
		clock := newClock()
		store := newShelf()
		whole := New(Config{LogID: "01LOG", MaxFinished: -1, MaxBytes: -1, Now: clock.Now})
		cfg := Config{LogID: "01LOG", Archive: store, MaxBytes: 1, MaxCache: 4 << 20, Now: clock.Now}
		x := New(cfg)
		tr := newTraffic(seed)
		for round := range 24 {
			events := tr.next(1 + tr.IntN(2_000))
			whole.Apply(clone(events))
			x.Apply(clone(events))
			clock.advance(time.Second)
			if round%2 == 0 {
				store.store(x)
			}
			if tr.IntN(4) == 0 && store.state != nil { // the process dies
				x = store.restore(t, cfg)
				at := slices.IndexFunc(tr.log, func(e activity.Event) bool { return e.Seq > store.seq })
				if at >= 0 {
					x.Apply(clone(tr.log[at:]))
				}
			}
		}
		if x.cooled < 2 {
			t.Fatalf("%d of %d segments are away: nothing was tried", x.cooled, len(x.segs))
		}
		store.loads = 0
		compare(t, whole, x, tr)
		if store.loads == 0 {
			t.Error("nothing was read from the archive")
		}
		clock.advance(2 * time.Hour)
		compareStats(t, whole, x)
	}
}

var archiveFilters = map[string]activity.Filter{
	"all":         {},
	"two filters": {Types: []activity.Type{activity.Types[2]}, States: []activity.State{activity.Failed}},
	"text":        {Terms: []string{"out of 7"}},
	"attribute":   {Attrs: []activity.AttrFilter{{Key: "order.id", Values: []string{"777", "7778"}}}},
	"agent":       {Agents: []string{"agent 3"}, Threads: []string{"t3"}},
	"service":     {Services: []string{"mail"}, MinDuration: 900 * time.Millisecond},
	"trace":       {Traces: []activity.TraceID{id(5, 0).Trace, id(900, 0).Trace}},
	"time":        {Since: at(3 * time.Second), Until: at(4 * time.Second)},
	"since":       {Since: at(2 * time.Second)},
	"until":       {Until: at(5 * time.Second), Services: []string{"mail"}},
	"lost":        {States: []activity.State{activity.Lost, activity.InProgress}},
}

// compareStats holds that two indexes count the same.
func compareStats(t *testing.T, want, got *Index) {
	t.Helper()
	for name, f := range archiveFilters {
		a, errA := want.StatsOf(t.Context(), &f)
		b, errB := got.StatsOf(t.Context(), &f)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		a.Held, b.Held = activity.Held{}, activity.Held{}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("statistics of %s (-want +got):\n%s", name, diff)
		}
	}
}

// compare holds that two indexes give the same answers.
func compare(t *testing.T, want, got *Index, tr *traffic) {
	t.Helper()
	if a, b := want.Head(), got.Head(); a != b {
		t.Fatalf("the head is %v, want %v", b, a)
	}
	a, b := stats(t, want), stats(t, got)
	a.Held, b.Held = activity.Held{Finished: a.Held.Finished, InFlight: a.Held.InFlight}, activity.Held{Finished: b.Held.Finished, InFlight: b.Held.InFlight}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("statistics (-want +got):\n%s", diff)
	}
	draw := func(as []*activity.Activity) (out []string) {
		for _, a := range as {
			out = append(out, string(a.AppendJSON(nil)))
		}
		return out
	}
	sorts := []activity.Sort{activity.NewestPlanned, activity.OldestPlanned, activity.LongestFirst, activity.LatestEnded}
	compareStats(t, want, got)
	for name, f := range archiveFilters {
		two := tr.IntN(len(sorts)) // each filter by two orders: all four take minutes with the race detector
		for _, sort := range []activity.Sort{sorts[two], sorts[(two+1)%len(sorts)]} {
			q := activity.Query{Filter: f, Sort: sort, Limit: 40}
			for range 2 {
				a, b := list(t, want, q), list(t, got, q)
				if a.Total != b.Total || a.Exact != b.Exact {
					t.Fatalf("%s by %v: %d (%v), want %d (%v)", name, sort, b.Total, b.Exact, a.Total, a.Exact)
				}
				if diff := cmp.Diff(draw(a.Activities), draw(b.Activities)); diff != "" {
					t.Fatalf("%s by %v (-want +got):\n%s", name, sort, diff)
				}
				if diff := cmp.Diff(a.Next, b.Next); diff != "" {
					t.Fatalf("%s by %v, the cursor (-want +got):\n%s", name, sort, diff)
				}
				if q.Cursor = a.Next; q.Cursor == nil {
					break
				}
			}
		}
		q := activity.TreeQuery{Filter: f, Depth: 10, Limit: 300}
		a, errA := want.Tree(t.Context(), &q)
		b, errB := got.Tree(t.Context(), &q)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if diff := cmp.Diff(drawTree(a), drawTree(b)); diff != "" {
			t.Fatalf("the tree of %s (-want +got):\n%s", name, diff)
		}
	}
	for range 100 {
		i := tr.ids[tr.IntN(len(tr.ids))]
		a, b := get(t, want, i), get(t, got, i)
		if diff := cmp.Diff(draw([]*activity.Activity{a.Activity}), draw([]*activity.Activity{b.Activity})); diff != "" {
			t.Fatalf("Get (-want +got):\n%s", diff)
		}
		if len(a.Ancestors) != len(b.Ancestors) || a.ChildCount != b.ChildCount || len(a.History) != len(b.History) {
			t.Fatalf("Get: %d ancestors, %d children, %d events; want %d, %d, %d",
				len(b.Ancestors), b.ChildCount, len(b.History), len(a.Ancestors), a.ChildCount, len(a.History))
		}
		found, err := got.Resolve(t.Context(), i.Span)
		if err != nil || !slices.Equal(found, []activity.ID{i}) {
			t.Fatalf("Resolve: %v, %v", found, err)
		}
	}
	if x, y := len(all(t, want)), len(all(t, got)); x != y {
		t.Fatalf("%d scanned, want %d", y, x)
	}
}

func drawTree(tree *activity.Tree) (out []string) {
	var walk func(indent string, nodes []*activity.Node)
	walk = func(indent string, nodes []*activity.Node) {
		for _, n := range nodes {
			line := fmt.Sprintf("%s%v %d", indent, n.ID, n.ChildCount)
			if n.Activity != nil {
				line += string(n.Activity.AppendJSON(nil))
			}
			out = append(out, line)
			walk(indent+" ", n.Children)
		}
	}
	walk("", tree.Roots)
	return append(out, fmt.Sprint(tree.RootCount, tree.Truncated))
}

// Statistics of archived segments whose rows all count alike come from their
// counts, and are those of the rows.
func TestArchiveCounts(t *testing.T) {
	clock := newClock()
	store := newShelf()
	whole := New(Config{LogID: "01LOG", MaxFinished: -1, MaxBytes: -1, Now: clock.Now})
	x := New(Config{LogID: "01LOG", Archive: store, MaxBytes: 1, Now: clock.Now})
	random := rand.New(rand.NewPCG(1, 2))
	services := []*activity.Resource{nil, {Service: "mail"}, {Service: "search", Instance: "1"}, {Service: "search", Instance: "2"}}
	seq := uint64(0)
	for i := range 14 * rowsPerSegment {
		begin := clock.time()
		events := []activity.Event{
			ev(id(i/7, i), 1, begin, activity.EventStarted, str(activity.KeyType, activity.Types[random.IntN(4)].String())),
			ev(id(i/7, i), 2, begin+activity.Time(random.IntN(1e9)), []activity.Kind{activity.EventCompleted, activity.EventFailed, activity.EventCancelled}[random.IntN(3)]),
		}
		if i%3 == 0 {
			events = slices.Insert(events, 0, ev(id(i/7, i), 0, begin-activity.Time(random.IntN(1e9)), activity.EventPlanned))
		}
		for k := range events {
			seq++
			events[k].Seq, events[k].Rev, events[k].ReceivedAt = seq, uint32(k+1), begin
			events[k].Resource = services[i%len(services)]
		}
		whole.Apply(clone(events))
		x.Apply(clone(events))
		clock.advance(time.Millisecond)
		if i%1000 == 0 {
			store.store(x)
		}
	}
	store.store(x)
	x.Apply([]activity.Event{{Seq: seq + 1, ID: id(1<<20, 1), Rev: 1, At: clock.time(), Kind: activity.EventStarted}})
	whole.Apply([]activity.Event{{Seq: seq + 1, ID: id(1<<20, 1), Rev: 1, At: clock.time(), Kind: activity.EventStarted}})
	if x.cooled < 3 {
		t.Fatalf("%d segments are away", x.cooled)
	}
	for _, d := range []time.Duration{0, 50 * time.Second, 15 * time.Second, 3 * time.Minute, 2 * time.Hour} { // out of one window after the other
		clock.advance(d)
		store.of = make(map[Part]int)
		compareStats(t, whole, x)
		if d >= 3*time.Minute && store.of[PartCounts] == 0 {
			t.Errorf("no statistics of %v ago came from the counts", d)
		}
	}
}

// What was retired is gone, from the index and from the archive, and the oldest
// goes first.
// retireAll does what whoever holds an index does now and then.
func retireAll(t *testing.T, x *Index) {
	t.Helper()
	for n := 1; n > 0; {
		var err error
		if n, err = x.Retire(t.Context()); err != nil {
			t.Error(err)
			return
		}
	}
}

func TestArchiveRetires(t *testing.T) {
	clock := newClock()
	store := newShelf()
	x := New(Config{LogID: "01LOG", Archive: store, MaxBytes: 1, MaxFinished: 12_000, Now: clock.Now})
	tr := newTraffic(1)
	for range 30 {
		x.Apply(clone(tr.next(1_000)))
		retireAll(t, x)
		store.store(x)
	}
	s := stats(t, x)
	if s.Held.Finished > 12_000+rowsPerSegment || s.Held.Finished < 8_000 || s.Evicted == 0 || x.Hits() != (Hits{ByCount: s.Evicted}) {
		t.Errorf("%d are held, %d evicted, %+v", s.Held.Finished, s.Evicted, x.Hits())
	}
	x.cfg.MaxFinished, x.cfg.MaxArchive = 0, x.archived
	if stats(t, x); x.Hits().ByArchive != 0 {
		t.Errorf("at the limit of bytes: %+v", x.Hits())
	}
	x.cfg.MaxArchive--
	if stats(t, x); x.Hits().ByArchive == 0 {
		t.Errorf("past the limit of bytes: %+v", x.Hits())
	}
	if n := len(store.segments); n > 5 {
		t.Errorf("the archive holds %d segments", n)
	}
	checkCounts(t, x)
	if d := get(t, x, tr.ids[len(tr.ids)-1]); d.Activity.Name == "" {
		t.Error("the newest is not held")
	}
	if _, err := x.Get(t.Context(), tr.ids[1]); !errors.Is(err, activity.ErrNotFound) {
		t.Errorf("the oldest: %v", err)
	}
}

// What was read of late is kept, up to MaxCache.
func TestCache(t *testing.T) {
	for _, tt := range []struct {
		name     string
		maxCache int64
		again    bool // the second time is from the archive, too
	}{
		{"of the default", 0, false},
		{"of one part", 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := newShelf()
			x := New(Config{LogID: "01LOG", Archive: store, MaxBytes: 1, MaxCache: tt.maxCache})
			tr := newTraffic(1)
			for range 20 {
				x.Apply(clone(tr.next(1_000)))
				store.store(x)
			}
			x = store.restore(t, x.cfg)
			var loads [2]int
			for round := range loads {
				before := store.loads
				for k := 0; k < len(tr.ids); k += 500 {
					get(t, x, tr.ids[k])
				}
				loads[round] = store.loads - before
			}
			if loads[0] == 0 || (loads[1] > 0) != tt.again {
				t.Errorf("%d loads, then %d", loads[0], loads[1])
			}
			if x.cache.bytes == 0 || x.cache.bytes > x.cfg.MaxCache && tt.maxCache == 0 {
				t.Errorf("%d bytes are kept, at most %d", x.cache.bytes, x.cfg.MaxCache)
			}
		})
	}
}

// An archive that can't be read is an error to readers, and no end of the index.
func TestArchiveBroken(t *testing.T) {
	store := newShelf()
	x := New(Config{LogID: "01LOG", Archive: store, MaxBytes: 1, MaxCache: 1})
	tr := newTraffic(1)
	for range 20 {
		x.Apply(clone(tr.next(1_000)))
		store.store(x)
	}
	disk := errors.New("input/output error")
	store.mu.Lock()
	store.broken = disk
	store.mu.Unlock()
	if _, err := x.Get(t.Context(), tr.ids[1]); !errors.Is(err, disk) {
		t.Errorf("Get: %v", err)
	}
	if _, err := x.List(t.Context(), &activity.Query{Sort: activity.OldestPlanned, Limit: 10}); !errors.Is(err, disk) {
		t.Errorf("List: %v", err)
	}
	before := stats(t, x).NotIndexed
	late := ev(tr.ids[1], 9, at(time.Hour), activity.EventUpdated)
	tr.seq++
	late.Seq = tr.seq
	x.Apply([]activity.Event{late})
	if n := stats(t, x).NotIndexed - before; n != 1 {
		t.Errorf("%d events are counted as not indexed", n)
	}
	store.mu.Lock()
	store.broken = nil
	store.mu.Unlock()
	if d := get(t, x, tr.ids[1]); d.Activity.ID != tr.ids[1] {
		t.Error("it does not recover")
	}
}

// What came while the archive could not be read waits, through a restart too, and
// is folded as if it had come in time.
func TestWaiting(t *testing.T) {
	clock := newClock()
	store := newShelf()
	cfg := Config{LogID: "01LOG", Archive: store, MaxBytes: 1, MaxCache: 1, Now: clock.Now}
	x := New(cfg)
	whole := New(Config{LogID: "01LOG", MaxFinished: -1, MaxBytes: -1, Now: clock.Now})
	tr := newTraffic(1)
	apply := func(events []activity.Event) {
		whole.Apply(clone(events))
		x.Apply(clone(events))
	}
	for range 20 {
		apply(tr.next(1_000))
		store.store(x)
	}
	disk := errors.New("input/output error")
	breaks := func(err error) {
		store.mu.Lock()
		defer store.mu.Unlock()
		store.broken = err
	}
	breaks(disk)
	var late []activity.Event
	for k := range 5 {
		e := ev(tr.ids[1+k], 90, at(time.Hour), activity.EventUpdated, num("late", int64(k)))
		tr.seq++
		e.Seq, e.ReceivedAt = tr.seq, clock.time()
		late = append(late, e)
	}
	apply(late)
	var want []uint64
	for _, e := range late {
		want = append(want, e.Seq)
	}
	waits := func(want []uint64) {
		t.Helper()
		if got, why := x.Waiting(); !slices.Equal(got, want) || (why != nil) != (len(want) > 0) || x.Waits() != len(want) {
			t.Fatalf("%v wait (%v), want %v", got, why, want)
		}
	}
	waits(want)
	if err := x.Retry(clone(late[2:3])[0]); !errors.Is(err, disk) {
		t.Errorf("while it is broken: %v", err)
	}
	waits(want)
	// One at once, also the last event of the log, the others after a restart.
	breaks(nil)
	for _, k := range []int{4, 1} {
		if err := x.Retry(clone(late[k : k+1])[0]); err != nil {
			t.Fatal(err)
		}
	}
	if changes, err := x.Read(late[3].Seq, 10); err != nil || len(changes) != 1 || changes[0].Activity.ID != late[4].ID || changes[0].Seq != late[4].Seq {
		t.Errorf("a stream that resumes reads %v, %v", changes, err)
	}
	waits([]uint64{want[0], want[2], want[3]})
	store.store(x)
	cfg.MaxCache = 0 // to compare sooner
	x = store.restore(t, cfg)
	waits([]uint64{want[0], want[2], want[3]})
	for range 2 { // again it changes nothing
		for _, e := range clone(late) {
			if err := x.Retry(e); err != nil {
				t.Fatal(err)
			}
		}
		waits(nil)
	}
	apply(tr.next(1_000))
	compare(t, whole, x, tr)
}

// What is stored of a state, cut or changed anywhere, is an error and no panic.
func FuzzRestore(f *testing.F) {
	store := newShelf()
	x := New(Config{LogID: "01LOG", Archive: store})
	tr := newTraffic(1)
	x.Apply(clone(tr.next(60)))
	store.store(x)
	f.Add(store.state, 0, byte(0))
	f.Add(append(slices.Clone(store.state), 2, 5, 1), 0, byte(0)) // events 5 and 6 wait
	f.Add(store.state[:len(store.state)/2], 0, byte(0))
	for place := 1; place < len(store.state); place += len(store.state) / 20 {
		f.Add(store.state, place, byte(0x81))
	}
	f.Fuzz(func(_ *testing.T, state []byte, place int, flip byte) {
		state = slices.Clone(state)
		if len(state) > 0 {
			state[(place%len(state)+len(state))%len(state)] ^= flip
		}
		_, _ = Restore(context.Background(), Config{LogID: "01LOG", Archive: store}, state, nil)
	})
}

// What is stored of a segment, cut or changed anywhere, is an error and no panic,
// and what is as it was written passes the check.
func FuzzSegment(f *testing.F) {
	x := New(Config{LogID: "01LOG"})
	x.Apply(clone(newTraffic(1).next(60)))
	written := x.segs[0].snapshot()
	var stored [len(Parts) + 2][]byte // the parts, the summary, the dead rows
	for _, p := range Parts {
		stored[p] = written.appendPart(nil, p)
	}
	const summaryOf, deadOf = len(Parts), len(Parts) + 1
	stored[summaryOf], stored[deadOf] = written.appendSummary(nil), written.appendDead(nil)
	for k, data := range stored {
		n := uint32(len(data))
		f.Add(byte(k), uint32(0), n, []byte{})
		f.Add(byte(k), uint32(0), n/2, []byte{})
		f.Add(byte(k), n/3, n, []byte{0xff, 0xff, 0xff, 0xff, 0x7f})
		f.Add(byte(k), uint32(1), n, []byte{0x81})
	}
	f.Fuzz(func(t *testing.T, what byte, place, length uint32, over []byte) {
		k := int(what) % len(stored)
		parts := stored
		data := slices.Clone(stored[k][:min(int64(length), int64(len(stored[k])))])
		copy(data[min(int64(place), int64(len(data))):], over)
		parts[k] = data
		seg, err := decodeSummary(written.first, parts[summaryOf], parts[deadOf])
		if err != nil {
			if slices.Equal(data, stored[k]) {
				t.Fatal(err)
			}
			return
		}
		store := newShelf()
		for _, p := range Parts {
			store.parts[cacheKey{seg.first, p}] = parts[p]
		}
		y := New(Config{LogID: "01LOG", Archive: store})
		y.keys = x.keys
		if err := y.checkSegment(t.Context(), seg); slices.Equal(data, stored[k]) && err != nil {
			t.Errorf("as it was written: %v", err)
		}
		_, _ = y.mayHold(t.Context(), seg, []uint32{1, 1 << 30})
		m := newMatcher(t.Context(), y, &activity.Filter{}, view{})
		_, _ = newSelected(&activity.Stats{}, &activity.Filter{}).counted(m, seg, parts[PartCounts])
	})
}
