package transfer

import (
	"cmp"
	"fmt"
	"io"

	"github.com/midspan/midspan/activity"
)

// chromeFile is Chrome's trace event format, JSON object form, as chrome://tracing
// and Perfetto read it ("Trace Event Format", the document of the Chromium
// project). A service is a process. In it each trace has threads of its own, since
// the spans of a thread must lie within each other: what overlaps without that
// gets another thread. Spans are complete events, open ones begin and do not end,
// and span events are instants.
type chromeFile struct {
	some      bool
	processes map[string]int
	threads   int
}

type chromeEvent struct {
	Name     string         `json:"name"`
	Category string         `json:"cat,omitempty"`
	Phase    string         `json:"ph"`
	At       float64        `json:"ts"` // microseconds
	Duration *float64       `json:"dur,omitempty"`
	Process  int            `json:"pid"`
	Thread   int            `json:"tid"`
	Scope    string         `json:"s,omitempty"` // of an instant: t, its thread
	Args     map[string]any `json:"args,omitempty"`
}

func newChromeFile() *chromeFile { return &chromeFile{processes: make(map[string]int)} }

func (c *chromeFile) begin(w io.Writer) error {
	_, err := io.WriteString(w, `{"displayTimeUnit":"ms","traceEvents":[`)
	return err
}

func (c *chromeFile) end(w io.Writer) error {
	_, err := io.WriteString(w, "\n]}\n")
	return err
}

// lane is a thread: the spans that are open in it at a place, by their ends.
type lane struct {
	thread int
	ends   []activity.Time
}

// takes reports whether a span that starts last of all so far lies within what
// the lane holds then, and adds it.
func (l *lane) takes(start, end activity.Time) bool {
	for len(l.ends) > 0 && l.ends[len(l.ends)-1] <= start {
		l.ends = l.ends[:len(l.ends)-1]
	}
	if len(l.ends) > 0 && l.ends[len(l.ends)-1] < end {
		return false
	}
	l.ends = append(l.ends, end)
	return true
}

func (c *chromeFile) trace(w io.Writer, spans []*activity.Activity) error {
	lanes := make(map[int][]*lane)
	for _, a := range spans {
		pid, err := c.process(w, a)
		if err != nil {
			return err
		}
		start, end := startOf(a), endOf(a)
		if a.EndedAt == 0 {
			end = 1<<63 - 1 // it goes on
		}
		var in *lane
		for _, l := range lanes[pid] {
			if l.takes(start, end) {
				in = l
				break
			}
		}
		if in == nil {
			c.threads++
			in = &lane{thread: c.threads, ends: []activity.Time{end}}
			lanes[pid] = append(lanes[pid], in)
			name := "trace " + a.ID.Trace.String()
			if n := len(lanes[pid]); n > 1 {
				name += fmt.Sprintf(" (%d)", n)
			}
			if err := c.write(w, chromeEvent{Name: "thread_name", Phase: "M", Process: pid, Thread: in.thread, Args: map[string]any{"name": name}}); err != nil {
				return err
			}
		}
		if err := c.span(w, a, pid, in.thread); err != nil {
			return err
		}
	}
	return nil
}

func (c *chromeFile) process(w io.Writer, a *activity.Activity) (int, error) {
	service := cmp.Or(a.Service(), "unknown service")
	pid, ok := c.processes[service]
	if ok {
		return pid, nil
	}
	pid = len(c.processes) + 1
	c.processes[service] = pid
	return pid, c.write(w, chromeEvent{Name: "process_name", Phase: "M", Process: pid, Args: map[string]any{"name": service}})
}

func (c *chromeFile) span(w io.Writer, a *activity.Activity, pid, tid int) error {
	e := chromeEvent{
		Name: cmp.Or(a.Name, a.Type.String()), Category: a.Type.String(), Phase: "B", At: micros(startOf(a)), Process: pid, Thread: tid,
		Args: map[string]any{"activity_id": a.ID.String(), "state": a.State.String()},
	}
	if a.EndedAt != 0 {
		duration := float64(endOf(a)-startOf(a)) / 1000
		e.Phase, e.Duration = "X", &duration
	}
	if !a.Parent.IsZero() {
		e.Args["parent_id"] = a.Parent.String()
	}
	for _, text := range []struct{ name, value string }{
		{"what_it_will_do", a.Planned}, {"what_its_doing", a.Current}, {"what_it_did", a.Final}, {"result", a.Result},
	} {
		if text.value != "" {
			e.Args[text.name] = text.value
		}
	}
	if a.Error != nil {
		e.Args["error"] = a.Error.Message
	}
	for i := range a.Attributes {
		if key := a.Attributes[i].Key; e.Args[key] == nil {
			e.Args[key] = plain(a.Attributes[i].Value)
		}
	}
	if len(a.Links) > 0 {
		var links []string
		for i := range a.Links {
			links = append(links, a.Links[i].ID.String())
		}
		e.Args["links"] = links
	}
	if err := c.write(w, e); err != nil {
		return err
	}
	for i := range a.SpanEvents {
		se := &a.SpanEvents[i]
		args := make(map[string]any, len(se.Attrs))
		for k := range se.Attrs {
			args[se.Attrs[k].Key] = plain(se.Attrs[k].Value)
		}
		if err := c.write(w, chromeEvent{Name: cmp.Or(se.Name, "event"), Category: "event", Phase: "i", Scope: "t", At: micros(se.At), Process: pid, Thread: tid, Args: args}); err != nil {
			return err
		}
	}
	return nil
}

func micros(t activity.Time) float64 { return float64(t) / 1000 }

func (c *chromeFile) write(w io.Writer, e chromeEvent) error { return writeJSON(w, &c.some, e) }
