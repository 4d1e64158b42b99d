package activity_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
)

// difference compares everything that the fold makes, but for the sequence,
// which is the order of arrival.
func difference(want, got activity.Activity) string {
	for _, a := range []*activity.Activity{&want, &got} {
		a.Seq = 0
		if a.Decision != nil && math.IsNaN(a.Decision.Confidence) {
			d := *a.Decision
			d.Confidence = -1
			a.Decision = &d
		}
	}
	if reflect.DeepEqual(want, got) { // many times as fast
		return ""
	}
	return cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true }))
}

// generator makes random events of one activity, and of its family.
type generator struct {
	*rand.Rand
	resources []*activity.Resource
	scopes    []*activity.Scope
}

func newGenerator(seed uint64) *generator {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	for i := range 2 {
		g.resources = append(g.resources, &activity.Resource{Service: fmt.Sprint("service-", i), Instance: "i"})
		g.scopes = append(g.scopes, &activity.Scope{Name: fmt.Sprint("scope-", i)})
	}
	return g
}

func (g *generator) text() string {
	return []string{"", "a", "Straße", "say \"so\"", "<b>", "\xff", "line\nbreak"}[g.IntN(7)]
}

func (g *generator) value(depth int) activity.Value {
	switch g.IntN(9 - 3*depth) {
	case 0:
		return activity.BoolValue(g.IntN(2) == 0)
	case 1:
		return activity.IntValue(g.Int64N(9) - 4)
	case 2:
		return activity.FloatValue([]float64{0, 0.5, 2, math.NaN(), math.Inf(-1)}[g.IntN(5)])
	case 3:
		return activity.BytesValue(g.text())
	case 4:
		return activity.Value{}
	case 6:
		return activity.SliceValue([]activity.Value{g.value(depth + 1), g.value(depth + 1)})
	case 7:
		return activity.MapValue([]activity.Attr{{Key: "k", Value: g.value(depth + 1)}})
	}
	return activity.StringValue(g.text())
}

func (g *generator) attr(at int64) activity.Attr {
	switch g.IntN(20) {
	case 0:
		return str(activity.KeyType, []string{"decision", "work_item", "nonsense"}[g.IntN(3)])
	case 1:
		return float(activity.KeyProgress, []float64{0.1, 0.9, -1, 7, math.NaN()}[g.IntN(5)])
	case 2:
		return num(activity.KeyPlannedAt, int64(second(at-g.Int64N(3)))*g.Int64N(2))
	case 3:
		return num(activity.KeyStartedAt, int64(second(at-g.Int64N(3)))*g.Int64N(2))
	case 4:
		return str(activity.KeyThreadID, g.text())
	case 5:
		return num(activity.KeyThreadIDSemconv, g.Int64N(3))
	case 6:
		return str("gen_ai.operation.name", []string{"chat", "plan"}[g.IntN(2)])
	case 7:
		return float(activity.KeyConfidence, []float64{0.1, 3, math.NaN()}[g.IntN(3)])
	case 8:
		return boolean(activity.KeyResultTruncated, g.IntN(2) == 0)
	case 9:
		return activity.Attr{Key: activity.KeyAlternatives, Value: g.value(0)}
	}
	keys := []string{
		activity.KeyState, activity.KeyPlanned, activity.KeyCurrent, activity.KeyFinal, activity.KeyResult, activity.KeyReasoning,
		activity.KeyErrorType, activity.KeyAgentName, activity.KeyLongRunning, activity.KeyThreadName, "a", "b", "c", "db.system", "http.method",
	}
	return activity.Attr{Key: keys[g.IntN(len(keys))], Value: g.value(0)}
}

// changes sets some fields of e.
func (g *generator) changes(e *activity.Event, at int64) {
	for range g.IntN(4) {
		e.Attrs = append(e.Attrs, g.attr(at))
	}
	if g.IntN(4) == 0 {
		e.Name = []string{"name", "Name", "other"}[g.IntN(3)]
	}
	if g.IntN(6) == 0 {
		e.SpanKind = activity.SpanKind(g.IntN(6))
	}
	if g.IntN(6) == 0 {
		e.Status, e.StatusMessage = activity.Status(g.IntN(3)), g.text()
	}
	if g.IntN(6) == 0 {
		e.Sampling = activity.Sampling(g.IntN(3))
	}
	if g.IntN(6) == 0 {
		e.StartTime = second(at - g.Int64N(3))
	}
	if g.IntN(6) == 0 {
		e.Resource = g.resources[g.IntN(2)]
	}
	if g.IntN(6) == 0 {
		e.Scope = g.scopes[g.IntN(2)]
	}
	if g.IntN(6) == 0 {
		e.Links = append(e.Links, activity.Link{ID: activity.ID{Trace: activity.TraceID{1}, Span: activity.SpanID{byte(1 + g.IntN(3))}}})
	}
	if g.IntN(6) == 0 {
		e.SpanEvents = append(e.SpanEvents, activity.SpanEvent{
			At: second(g.Int64N(4)), Name: []string{"exception", "note"}[g.IntN(2)],
			Attrs: []activity.Attr{str(activity.KeyExceptionMessage, g.text())},
		})
	}
	if g.IntN(8) == 0 {
		e.Dropped[g.IntN(3)] = uint32(g.IntN(5))
	}
	if e.Kind.Ends() && g.IntN(2) == 0 {
		e.EndTime = second(at - g.Int64N(2))
	}
}

// life returns the events of one activity: numbered ones whose clock may go
// back, and ones without number, each at a time of its own.
func (g *generator) life(id activity.ID) []activity.Event {
	var events []activity.Event
	times := g.Perm(40)
	numbered := g.IntN(8)
	for rev := range numbered {
		at := int64(times[rev])
		if g.IntN(4) > 0 {
			at = int64(10 * rev)
		}
		e := activity.Event{ID: id, Rev: uint32(rev + 1), At: second(at), Kind: activity.Kind(1 + g.IntN(7))}
		if g.IntN(2) == 0 {
			e.Kind = activity.EventUpdated
		}
		g.changes(&e, at)
		events = append(events, e)
	}
	for i := range g.IntN(5) + 1 - min(numbered, 1) {
		at := int64(times[numbered+i])
		e := activity.Event{ID: id, At: second(at), Kind: activity.Kind(1 + g.IntN(7))}
		g.changes(&e, at)
		events = append(events, e)
	}
	return events
}

// arrive returns the events in any order, some of them repeatedly, each with
// the sequence of its arrival.
func (g *generator) arrive(events []activity.Event) []activity.Event {
	var out []activity.Event
	for _, e := range events {
		for range 1 + g.IntN(3)/2*g.IntN(3) {
			out = append(out, e)
		}
	}
	g.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	for i := range out {
		out[i].Seq = uint64(i + 1)
	}
	return out
}

// Any interleaving and repetition of the same events folds to the same activity.
func TestFoldIsOneWhateverTheOrder(t *testing.T) {
	for seed := range uint64(400) {
		g := newGenerator(seed)
		id := mustID(t, idText)
		id.Span[7] = byte(seed)
		events := g.life(id)
		want := activity.Fold(slices.Clone(events))
		for range 4 {
			arrived := g.arrive(events)
			got := activity.Fold(slices.Clone(arrived))
			if diff := difference(want, got); diff != "" {
				t.Fatalf("seed %d: events\n%s\nas they arrived\n%s\n(-want +got):\n%s", seed, timeline(events), timeline(arrived), diff)
			}
		}
	}
}

// Two updates in a row and what Merge makes of them do the same.
func TestMergeIsBoth(t *testing.T) {
	for seed := range uint64(400) {
		g := newGenerator(seed)
		id := mustID(t, idText)
		var events []activity.Event
		for i := range 5 {
			e := activity.Event{ID: id, Rev: uint32(i + 1), At: second(int64(i)), Kind: activity.EventUpdated}
			if i == 0 {
				e.Kind = activity.EventStarted
			}
			g.changes(&e, int64(i))
			events = append(events, e)
		}
		events[4].Kind = activity.EventCompleted
		want := activity.Fold(slices.Clone(events))
		merged := activity.Merge(activity.Merge(events[1], events[2]), events[3])
		got := activity.Fold([]activity.Event{events[0], merged, events[4]})
		for _, a := range []*activity.Activity{&want, &got} { // Merge leaves out values that the fold ignores
			a.Attributes = slices.DeleteFunc(a.Attributes, func(attr activity.Attr) bool {
				switch attr.Key {
				case activity.KeyType, activity.KeyProgress, activity.KeyConfidence, activity.KeyPlannedAt, activity.KeyStartedAt:
					return true
				}
				return false
			})
		}
		if diff := difference(want, got); diff != "" {
			t.Fatalf("seed %d: events\n%s\n(-want +got):\n%s", seed, timeline(events), diff)
		}
	}
}

func timeline(events []activity.Event) string {
	var b []byte
	for i := range events {
		b = append(fmt.Appendf(b, "rev %d ", events[i].Rev), events[i].AppendJSON(nil)...)
		b = append(b, '\n')
	}
	return string(b)
}
