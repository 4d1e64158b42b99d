package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// embeddedShelves unpacks the library that is always there.
func embeddedShelves(t *testing.T) map[string]*shelf {
	t.Helper()
	shelves, err := openLibrary(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*shelf{}
	for _, s := range shelves {
		byName[s.name] = s
	}
	return byName
}

func testCodec(t *testing.T) *codec {
	t.Helper()
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Every kind of work goes well on every embedded project, and its proof holds.
func TestKindsOfWork(t *testing.T) {
	shelves := embeddedShelves(t)
	o := &orchestrator{codec: testCodec(t)}
	for _, s := range shelves {
		readable := s.documents[:0:0]
		for _, d := range s.documents {
			if _, err := s.read(d); err == nil {
				readable = append(readable, d)
			}
		}
		for _, k := range kinds {
			t.Run(string(k)+" "+s.name, func(t *testing.T) {
				task := o.newTask(k, s, readable)
				if err := together(t.Context(), k, task, s, readable, time.Minute); err != nil {
					t.Fatal(err)
				}
				did, result := task.finish()
				checks, err := task.check(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				text, err := json.Marshal(result)
				if err != nil || !strings.Contains(string(text), `"documents":`) {
					t.Errorf("result %s, %v", text, err)
				}
				t.Log(did)
				for _, c := range checks {
					if !c.passed {
						t.Errorf("not so: %s", c.what)
					}
				}
				if len(checks) == 0 {
					t.Error("nothing was checked")
				}
				if err := review(t.Context(), workItem{}, task, did); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestUnreadableDocuments(t *testing.T) {
	s := embeddedShelves(t)["handbook"]
	o := &orchestrator{codec: testCodec(t)}
	err := together(t.Context(), kindInventory, o.newTask(kindInventory, s, s.documents), s, s.documents, time.Minute)
	got := map[string]string{}
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var one *unreadableError
		if !errors.As(e, &one) {
			t.Fatalf("%v is no unreadable document", e)
		}
		got[one.path] = one.ErrorType()
	}
	want := map[string]string{
		"drafts/appendix.md": "is a directory", "drafts/roadmap.md": "no such file or directory", "drafts/see-also.md": "too many levels of symbolic links",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	passedOver, err := bySegments(t.Context(), kindIndex, o.newTask(kindIndex, s, s.documents), s, s.documents, time.Microsecond, func(float64) {})
	if err != nil || passedOver != len(want) {
		t.Errorf("long work passed over %d, %v; want %d", passedOver, err, len(want))
	}
}

func TestDeadlinePasses(t *testing.T) {
	s := embeddedShelves(t)["orchestrator"]
	o := &orchestrator{codec: testCodec(t)}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	err := together(ctx, kindBundle, o.newTask(kindBundle, s, s.documents), s, s.documents, time.Nanosecond)
	var tooLate *lateError
	if !errors.As(err, &tooLate) || tooLate.allowed != time.Nanosecond || tooLate.done != 0 {
		t.Errorf("got %v, want a deadline that passed before anything was done", err)
	}
}

func TestLongWorkStops(t *testing.T) {
	s := embeddedShelves(t)["handbook"]
	o := &orchestrator{codec: testCodec(t)}
	ctx, cancel := context.WithCancelCause(t.Context())
	var reported []float64
	// After the third document somebody wants it no more.
	_, err := bySegments(ctx, kindIndex, o.newTask(kindIndex, s, s.documents), s, s.documents, time.Microsecond, func(p float64) {
		if reported = append(reported, p); len(reported) == 3 {
			cancel(&cancelledError{"not wanted"})
		}
	})
	if !errors.Is(err, context.Canceled) || err.Error() != "not wanted" {
		t.Errorf("got %v, want the cause of the cancellation", err)
	}
	if n := len(reported); n != 3 {
		t.Errorf("%d documents were read, want it to stop after 3", n)
	}
}

// The pace is the only thing that makes long work last.
func TestPace(t *testing.T) {
	shelves := embeddedShelves(t)
	codec := testCodec(t)
	synctest.Test(t, func(t *testing.T) {
		s := shelves["handbook"]
		o := &orchestrator{codec: codec}
		began := time.Now()
		if _, err := bySegments(t.Context(), kindIndex, o.newTask(kindIndex, s, s.documents), s, s.documents, 250*time.Millisecond, func(float64) {}); err != nil {
			t.Fatal(err)
		}
		if took, want := time.Since(began), time.Duration(len(s.documents))*250*time.Millisecond; took != want {
			t.Errorf("took %s, want %s", took, want)
		}
	})
}

func TestSpeed(t *testing.T) {
	s := &speed{perByte: map[kind]float64{}}
	if got := s.allow(kindBundle, 1000, 3); got != leastTime {
		t.Errorf("a short run gets %s, want %s", got, leastTime)
	}
	s.learn(kindBundle, 1000, time.Second)
	if got, want := s.allow(kindBundle, 1000, 3), patience*time.Second; got != want {
		t.Errorf("a run gets %s, want %s", got, want)
	}
	if got, want := s.allow(kindBundle, 1000, urgent), time.Second/2; got != want {
		t.Errorf("an urgent run gets %s, want %s", got, want)
	}
	s.learn(kindBundle, 1000, 2*time.Second)
	if got, want := s.allow(kindBundle, 1000, urgent), 600*time.Millisecond; got != want {
		t.Errorf("an urgent run gets %s, want %s", got, want)
	}
	if got := s.allow(kindOutline, 1, urgent); got != leastUrgent {
		t.Errorf("an urgent run of one byte gets %s, want %s", got, leastUrgent)
	}
}

func TestTextIndex(t *testing.T) {
	x, y := newTextIndex(), newTextIndex()
	x.add("tides", "The moon pulls the sea, the sea follows the moon")
	x.add("winds", "The sun warms the land and the sea")
	y.add("moons", "Moon after moon goes round")
	x.merge(y)
	for query, want := range map[string][]string{
		"moon": {"moons", "tides"}, "SEA land": {"winds", "tides"}, "nothing": nil, "of": nil,
	} {
		var got []string
		for _, h := range x.search(query, 2) {
			got = append(got, h.document)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("search %q (-want +got):\n%s", query, diff)
		}
	}
}

func TestTermSets(t *testing.T) {
	a, b := termsOf("The moon, the SEA"), termsOf("sea and land")
	if got := a.within(b); got != 1.0/3 {
		t.Errorf("within = %v", got)
	}
	if got := a.likeness(b); got != 1.0/5 {
		t.Errorf("likeness = %v", got)
	}
	if termsOf().within(a) != 0 || termsOf().likeness(termsOf()) != 0 {
		t.Error("an empty set has something in common")
	}
}
