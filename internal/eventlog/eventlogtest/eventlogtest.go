// Package eventlogtest holds the drivers of eventlog.Log to its rules.
package eventlogtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/eventlog"
)

// Driver is what the suite must know of a driver.
type Driver struct {
	// Open opens the log of a folder, which is made when it is not there.
	Open func(t *testing.T, folder string, apply func([]activity.Event), now func() time.Time) eventlog.Log
	// Lasting says that a log opened again has what it had when it was closed.
	Lasting bool
	// PowerCut makes a folder as it would be found after a power cut at this
	// moment of an open log: without what was not on stable storage. A driver of
	// level Disk must have it.
	PowerCut func(t *testing.T, folder string) string
	// Fail makes the next writes of the folder fail until heal is called. nil if
	// the driver can't fail.
	Fail func(t *testing.T, folder string) (heal func())
}

// Run holds a driver to the rules of eventlog.Log.
func Run(t *testing.T, d Driver) {
	for _, rule := range []struct {
		name string
		test func(*testing.T, Driver)
	}{
		{"Numbers", numbers},
		{"Clock", clock},
		{"Apply", applies},
		{"Read", read},
		{"Interns", interns},
		{"Limits", limits},
		{"Changed", changed},
		{"Trim", trim},
		{"Cursors", cursors},
		{"Context", withContext},
		{"ConcurrentSafe", concurrent},
		{"Close", closes},
		{"Reopen", reopen},
		{"PowerCut", powerCut},
		{"Unavailable", unavailable},
	} {
		t.Run(rule.name, func(t *testing.T) { rule.test(t, d) })
	}
}

func open(t *testing.T, d Driver, folder string, apply func([]activity.Event)) eventlog.Log {
	t.Helper()
	l := d.Open(t, folder, apply, time.Now)
	t.Cleanup(func() { _ = l.Close() }) // the rules that look at the error close it themselves
	return l
}

// Events returns n events of one source that are told apart by their names and
// numbered by Rev from first on.
func Events(source string, first, n int) []activity.Event {
	resource := &activity.Resource{Service: source, Attrs: []activity.Attr{{Key: activity.KeyServiceName, Value: activity.StringValue(source)}}}
	scope := &activity.Scope{Name: "eventlogtest"}
	events := make([]activity.Event, n)
	for i := range events {
		rev := first + i
		e := &events[i]
		copy(e.ID.Trace[:], source)
		e.ID.Trace[15], e.ID.Span[7] = 1, 1
		e.At, e.Rev, e.Kind = activity.Time(1e18+int64(rev)), uint32(rev), activity.EventUpdated
		e.Changes = activity.Changes{
			Name: fmt.Sprintf("%s %d", source, rev), Resource: resource, Scope: scope,
			Attrs: []activity.Attr{{Key: activity.KeyCurrent, Value: activity.StringValue(strings.Repeat("working ", rev%50))}},
		}
	}
	return events
}

func mustAppend(t *testing.T, l eventlog.Log, events []activity.Event) {
	t.Helper()
	if err := l.Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

// All reads what a log holds after a sequence, by the limit given.
func All(t testing.TB, l eventlog.Log, after uint64, limit int) []activity.Event {
	t.Helper()
	var all []activity.Event
	for {
		events, err := l.Read(context.Background(), after, limit)
		if err != nil {
			t.Fatalf("read after %d: %v", after, err)
		}
		if len(events) == 0 {
			return all
		}
		all = append(all, events...)
		after = events[len(events)-1].Seq
	}
}

func same(t *testing.T, want, got []activity.Event) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.Comparer(activity.Value.Equal), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-appended +read:\n%s", diff)
	}
}

func numbers(t *testing.T, d Driver) {
	l := open(t, d, t.TempDir(), nil)
	if id := l.ID(); len(id) != 26 {
		t.Errorf("the id has %d characters: %q", len(id), id)
	}
	if floor, last := l.Bounds(); floor != 0 || last != 0 {
		t.Errorf("an empty log has the bounds %d and %d", floor, last)
	}
	before := activity.TimeOf(time.Now())
	next := uint64(1)
	for _, n := range []int{1, 3, 512} {
		events := Events("a", int(next), n)
		mustAppend(t, l, events)
		for i := range events {
			if e := &events[i]; e.Seq != next+uint64(i) || e.ReceivedAt < before || e.ReceivedAt > activity.TimeOf(time.Now()) {
				t.Fatalf("event %d is numbered %d, received at %v", next+uint64(i), e.Seq, e.ReceivedAt.Time())
			}
		}
		next += uint64(n)
		if floor, last := l.Bounds(); floor != 0 || last != next-1 {
			t.Errorf("bounds are %d and %d, want 0 and %d", floor, last, next-1)
		}
	}
}

// clock turns the clock back, within a log's life and between two.
func clock(t *testing.T, d Driver) {
	folder := t.TempDir()
	var mu sync.Mutex
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	turn := func(by time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(by)
	}
	read := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	l := d.Open(t, folder, nil, read)
	defer func() { _ = l.Close() }()
	var last activity.Time
	appendOne := func(by time.Duration) {
		t.Helper()
		turn(by)
		events := Events("a", 1, 2)
		mustAppend(t, l, events)
		if events[0].ReceivedAt < last || events[1].ReceivedAt < events[0].ReceivedAt {
			t.Errorf("the time of receipt goes back from %v to %v, %v", last, events[0].ReceivedAt, events[1].ReceivedAt)
		}
		last = events[1].ReceivedAt
	}
	appendOne(0)
	appendOne(-time.Hour)
	if last != activity.TimeOf(read().Add(time.Hour)) {
		t.Errorf("received at %v", last.Time())
	}
	if !d.Lasting {
		return
	}
	reopened := func() {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = d.Open(t, folder, nil, read)
	}
	reopened()
	appendOne(-time.Hour)
	_, end := l.Bounds()
	if err := l.Trim(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	reopened()
	appendOne(-time.Hour)
}

func applies(t *testing.T, d Driver) {
	var mu sync.Mutex
	var applied []uint64
	busy := false
	l := open(t, d, t.TempDir(), func(events []activity.Event) {
		mu.Lock()
		if busy {
			t.Error("applied by two at a time")
		}
		busy = true
		mu.Unlock()
		runtime.Gosched() // leave others room
		mu.Lock()
		defer mu.Unlock()
		busy = false
		for i := range events {
			if events[i].ReceivedAt == 0 {
				t.Error("applied without its time")
			}
			applied = append(applied, events[i].Seq)
		}
	})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 20 {
				events := Events(fmt.Sprint(g), 3*i, 3)
				if err := l.Append(context.Background(), events); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if !slices.Contains(applied, events[2].Seq) {
					t.Errorf("append of %d returned before it was applied", events[2].Seq)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(applied) != 240 {
		t.Errorf("%d events applied, want 240", len(applied))
	}
	for i, seq := range applied {
		if seq != uint64(i)+1 {
			t.Fatalf("applied as number %d: event %d", i+1, seq)
		}
	}
}

func read(t *testing.T, d Driver) {
	l := open(t, d, t.TempDir(), nil)
	var want []activity.Event
	for i := range 20 {
		events := Events("a", len(want)+1, 1+i*7%13)
		mustAppend(t, l, events)
		want = append(want, events...)
	}
	for _, limit := range []int{-1, 0, 1, 5, 7, 1000} {
		same(t, want, All(t, l, 0, limit))
	}
	for after := range want {
		events, err := l.Read(t.Context(), uint64(after), 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 || len(events) > 3 {
			t.Fatalf("read after %d: %d events, want 1 to 3", after, len(events))
		}
		same(t, want[after:after+len(events)], events)
	}
	if events, err := l.Read(t.Context(), uint64(len(want)), 10); len(events) > 0 || err != nil {
		t.Errorf("read after the last: %d events, %v", len(events), err)
	}
	if _, err := l.Read(t.Context(), uint64(len(want))+1, 10); !errors.Is(err, activity.ErrGap) {
		t.Errorf("read beyond the log: %v", err)
	}
	// What was appended is not what was read: neither changes with the other.
	events := Events("b", 1, 2)
	mustAppend(t, l, events)
	seq := events[0].Seq
	wantName, wantValue := events[0].Name, events[0].Attrs[0].Value
	events[0].Name, events[0].Attrs[0].Value = "changed", activity.StringValue("changed")
	for range 2 {
		got, err := l.Read(t.Context(), seq-1, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Name != wantName || !got[0].Attrs[0].Value.Equal(wantValue) {
			t.Errorf("read %q after the caller had changed its slice", got[0].Name)
		}
		got[0].Name = "changed by the reader"
	}
}

func interns(t *testing.T, d Driver) {
	l := open(t, d, t.TempDir(), nil)
	for range 3 {
		mustAppend(t, l, Events("a", 1, 2))
		mustAppend(t, l, Events("b", 1, 2))
	}
	resources, scopes := map[*activity.Resource]bool{}, map[*activity.Scope]bool{}
	for range 2 {
		for _, e := range All(t, l, 0, 2) {
			resources[e.Resource], scopes[e.Scope] = true, true
		}
	}
	if len(resources) != 2 || len(scopes) != 1 {
		t.Errorf("%d resources and %d scopes, want 2 and 1", len(resources), len(scopes))
	}
}

func limits(t *testing.T, d Driver) {
	l := open(t, d, t.TempDir(), nil)
	for name, events := range map[string][]activity.Event{
		"no event": nil,
		"too many": make([]activity.Event, eventlog.MaxBatchEvents+1),
	} {
		if err := l.Append(t.Context(), events); !errors.Is(err, eventlog.ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, last := l.Bounds(); last != 0 {
		t.Errorf("last is %d after appends that were rejected", last)
	}
	for n, ok := range map[int]bool{0: false, 1: true, eventlog.MaxCursorName: true, eventlog.MaxCursorName + 1: false} {
		if err := l.SetCursor(t.Context(), strings.Repeat("x", n), 1); (err == nil) != ok {
			t.Errorf("cursor name of %d bytes: %v", n, err)
		}
	}
}

func changed(t *testing.T, d Driver) {
	l := open(t, d, t.TempDir(), nil)
	for i := range 3 {
		change := l.Changed()
		select {
		case <-change:
			t.Fatal("changed before anything was appended")
		default:
		}
		mustAppend(t, l, Events("a", i, 1))
		select {
		case <-change:
		default:
			t.Fatal("not changed after an append")
		}
	}
}

func trim(t *testing.T, d Driver) {
	folder := t.TempDir()
	l := open(t, d, folder, nil)
	var want []activity.Event
	for i := range 10 {
		events := Events("a", 10*i, 10)
		mustAppend(t, l, events)
		want = append(want, events...)
	}
	check := func(least, most uint64) {
		t.Helper()
		floor, last := l.Bounds()
		if floor < least || floor > most || last != 100 {
			t.Fatalf("bounds are %d and %d, want %d to %d and 100", floor, last, least, most)
		}
		same(t, want[floor:], All(t, l, floor, 7))
		if floor > 0 {
			if _, err := l.Read(t.Context(), floor-1, 10); !errors.Is(err, activity.ErrGap) {
				t.Errorf("read after %d with floor %d: %v", floor-1, floor, err)
			}
		}
	}
	for _, upTo := range []uint64{0, 9, 35, 35, 20} {
		if err := l.Trim(t.Context(), upTo); err != nil {
			t.Fatal(err)
		}
		check(0, max(upTo, 35))
	}
	check(30, 35)
	reopened := func() {
		if !d.Lasting {
			return
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, d, folder, nil)
	}
	reopened()
	check(30, 35)
	if err := l.Trim(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	check(100, 100)
	reopened()
	check(100, 100)
	events := Events("a", 100, 1)
	mustAppend(t, l, events)
	if events[0].Seq != 101 {
		t.Errorf("numbered %d after all was trimmed, want 101", events[0].Seq)
	}
	same(t, events, All(t, l, 100, 10))
}

func cursors(t *testing.T, d Driver) {
	folder := t.TempDir()
	l := open(t, d, folder, nil)
	get := func(name string, want uint64, wantOK bool) {
		t.Helper()
		if seq, ok, err := l.Cursor(t.Context(), name); seq != want || ok != wantOK || err != nil {
			t.Errorf("cursor %s is %d, %v, %v, want %d, %v", name, seq, ok, err, want, wantOK)
		}
	}
	set := func(name string, seq uint64) {
		t.Helper()
		if err := l.SetCursor(t.Context(), name, seq); err != nil {
			t.Fatal(err)
		}
	}
	get("a", 0, false)
	set("a", 0)
	get("a", 0, true)
	set("a", 7)
	set("b", 1<<64-1)
	get("a", 7, true)
	get("b", 1<<64-1, true)
	set("a", 3)
	if d.Lasting {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, d, folder, nil)
	}
	get("a", 3, true)
	get("b", 1<<64-1, true)
	get("c", 0, false)
}

func withContext(t *testing.T, d Driver) {
	hold, held := make(chan struct{}), make(chan struct{}, 10)
	l := open(t, d, t.TempDir(), func([]activity.Event) {
		held <- struct{}{}
		<-hold
	})
	first := make(chan error, 1)
	go func() { first <- l.Append(context.Background(), Events("a", 1, 1)) }()
	<-held
	ctx, cancel := context.WithCancel(t.Context())
	var results []chan error
	for i := range 5 { // some of them wait for their turn
		result := make(chan error, 1)
		results = append(results, result)
		go func() { result <- l.Append(ctx, Events("b", i, 1)) }()
	}
	cancel()
	close(hold)
	if err := <-first; err != nil {
		t.Error(err)
	}
	added := map[string]bool{"a 1": true}
	for i, result := range results {
		switch err := <-result; {
		case err == nil:
			added[fmt.Sprintf("b %d", i)] = true
		case !errors.Is(err, context.Canceled):
			t.Error(err)
		}
	}
	mustAppend(t, l, Events("c", 1, 1))
	added["c 1"] = true
	all := All(t, l, 0, 100)
	for _, e := range all {
		if !added[e.Name] {
			t.Errorf("%s is in the log, but its append returned an error", e.Name)
		}
	}
	if len(all) != len(added) {
		t.Errorf("%d events in the log, want %d", len(all), len(added))
	}
}

// concurrent has everything called at a time.
func concurrent(t *testing.T, d Driver) {
	l := open(t, d, t.TempDir(), nil)
	const appenders, appends = 4, 25
	var appending, others sync.WaitGroup
	for g := range appenders {
		appending.Go(func() {
			for i := range appends {
				if err := l.Append(context.Background(), Events(fmt.Sprint(g), 4*i, 4)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	stop := make(chan struct{})
	running := func(fn func()) {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					fn()
				}
			}
		})
	}
	for range 2 {
		after := uint64(0)
		revs := map[string]int{}
		running(func() {
			change := l.Changed()
			events, err := l.Read(context.Background(), after, 10)
			if errors.Is(err, activity.ErrGap) {
				floor, _ := l.Bounds()
				after = floor
				clear(revs)
				return
			}
			if err != nil {
				t.Error(err)
			}
			for _, e := range events {
				if e.Seq != after+1 {
					t.Errorf("event %d after %d", e.Seq, after)
				}
				if before, ok := revs[e.Resource.Service]; ok && int(e.Rev) != before+1 {
					t.Errorf("%s follows on number %d", e.Name, before)
				}
				after, revs[e.Resource.Service] = e.Seq, int(e.Rev)
			}
			if len(events) == 0 {
				select {
				case <-change:
				case <-stop:
				}
			}
		})
	}
	running(func() {
		_, last := l.Bounds()
		if err := l.SetCursor(context.Background(), "c", last); err != nil {
			t.Error(err)
		}
		if seq, ok, err := l.Cursor(context.Background(), "c"); !ok || seq < last || err != nil {
			t.Errorf("cursor is %d, %v, %v after %d was set", seq, ok, err, last)
		}
		if err := l.Trim(context.Background(), last/2); err != nil {
			t.Error(err)
		}
	})
	appending.Wait()
	close(stop)
	others.Wait()
	if _, last := l.Bounds(); last != appenders*appends*4 {
		t.Errorf("last is %d, want %d", last, appenders*appends*4)
	}
}

func closes(t *testing.T, d Driver) {
	hold, held := make(chan struct{}), make(chan struct{}, 10)
	l := d.Open(t, t.TempDir(), func([]activity.Event) {
		held <- struct{}{}
		<-hold
	}, time.Now)
	appended := make(chan error, 1)
	go func() { appended <- l.Append(context.Background(), Events("a", 1, 1)) }()
	<-held
	closed := make(chan error, 2)
	for range 2 {
		go func() { closed <- l.Close() }()
	}
	select {
	case err := <-closed:
		t.Error("closed while an append was under way", err)
	default:
	}
	close(hold)
	if err := <-appended; err != nil {
		t.Errorf("an append that Close waits for: %v", err)
	}
	for range 2 {
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
	ctx := t.Context()
	_, readErr := l.Read(ctx, 0, 1)
	_, _, cursorErr := l.Cursor(ctx, "c")
	for name, err := range map[string]error{
		"Append": l.Append(ctx, Events("a", 2, 1)), "Read": readErr, "Trim": l.Trim(ctx, 1),
		"Cursor": cursorErr, "SetCursor": l.SetCursor(ctx, "c", 1),
	} {
		if !errors.Is(err, eventlog.ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

func reopen(t *testing.T, d Driver) {
	if !d.Lasting {
		l := open(t, d, t.TempDir(), nil)
		if l.Level() == eventlog.Disk {
			t.Error("it claims to be on disk and does not last")
		}
		return
	}
	folder := t.TempDir()
	var want []activity.Event
	id := ""
	for i := range 3 {
		l := open(t, d, folder, nil)
		if id != "" && l.ID() != id {
			t.Errorf("the id was %s and is %s", id, l.ID())
		}
		id = l.ID()
		same(t, want, All(t, l, 0, 100))
		for k := range 3 {
			events := Events("a", 10*i+k, 5)
			mustAppend(t, l, events)
			want = append(want, events...)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, d, folder, nil)
	same(t, want, All(t, l, 0, 100))
}

func powerCut(t *testing.T, d Driver) {
	folder := t.TempDir()
	l := open(t, d, folder, nil)
	if l.Level() != eventlog.Disk {
		return
	}
	if d.PowerCut == nil {
		t.Fatal("it claims to be on disk, and its suite cuts no power")
	}
	var want []activity.Event
	for i := range 20 {
		events := Events("a", 5*i, 5)
		mustAppend(t, l, events)
		want = append(want, events...)
		if i%7 == 0 {
			if err := l.SetCursor(t.Context(), "c", events[4].Seq); err != nil {
				t.Fatal(err)
			}
		}
		if i%5 != 4 {
			continue
		}
		after := open(t, d, d.PowerCut(t, folder), nil)
		same(t, want, All(t, after, 0, 100))
		if seq, ok, err := after.Cursor(t.Context(), "c"); !ok || err != nil || seq != uint64(i/7*7+1)*5 {
			t.Errorf("cursor is %d, %v, %v", seq, ok, err)
		}
		if err := after.Close(); err != nil {
			t.Error(err)
		}
	}
}

// unavailable has writes fail while several append, and then no longer.
func unavailable(t *testing.T, d Driver) {
	if d.Fail == nil {
		return
	}
	folder := t.TempDir()
	var mu sync.Mutex
	applied := map[string]bool{}
	l := open(t, d, folder, func(events []activity.Event) {
		mu.Lock()
		defer mu.Unlock()
		for i := range events {
			applied[events[i].Name] = true
		}
	})
	var want []string
	one := func(i int) error {
		events := Events("a", i, 2)
		err := l.Append(t.Context(), events)
		if err == nil {
			want = append(want, events[0].Name, events[1].Name)
		}
		return err
	}
	if err := one(0); err != nil {
		t.Fatal(err)
	}
	heal := d.Fail(t, folder)
	refused := 0
	for i := 10; refused < 3; i += 2 {
		if i > 1<<20 {
			t.Fatal("a log that can't write takes everything")
		}
		if err := one(i); errors.Is(err, eventlog.ErrUnavailable) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	All(t, l, 0, 100) // reading goes on
	heal()
	deadline := time.Now().Add(30 * time.Second)
	for i := 1 << 21; ; i += 2 {
		err := one(i)
		if err == nil {
			break
		}
		if !errors.Is(err, eventlog.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		var got []string
		for _, e := range All(t, l, 0, 100) {
			got = append(got, e.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-acknowledged +read:\n%s", diff)
		}
	}
	check()
	mu.Lock()
	if len(applied) != len(want) {
		t.Errorf("%d events applied, %d acknowledged", len(applied), len(want))
	}
	mu.Unlock()
	if d.Lasting {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, d, folder, nil)
		check()
	}
}
