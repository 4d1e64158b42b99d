package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/midspan/midspan/cmd/midspan/internal/plain"
)

// shown is what a line shows of an activity.
type shown struct {
	ActivityID        string `json:"activity_id"`
	SpanID            string `json:"span_id"`
	Type, State, Name string
	Will              string `json:"what_it_will_do"`
	Doing             string `json:"what_its_doing"`
	Did               string `json:"what_it_did"`
	Progress          *float64
	DurationMS        *float64 `json:"duration_ms"`
	WaitMS            *float64 `json:"wait_ms"`
	Service           string
	Stalled           bool
	Error             *struct{ Type, Message string }
	Decision          *struct{ Choice, Reasoning string }
	LastSeenAt        time.Time `json:"last_seen_at"`
}

// ended reports whether it is over, as far as is known.
func (a *shown) ended() bool { return a.State != "PLANNED" && a.State != "IN_PROGRESS" }

// printer writes one line a change.
type printer struct {
	out   *bufio.Writer
	json  bool
	color bool
	ids   bool      // lines tell the span id
	tty   io.Writer // to ask for the width; nil when it is no terminal
	line  []byte
}

func newPrinter(w io.Writer, asJSON bool, color string) *printer {
	p := &printer{out: bufio.NewWriter(w), json: asJSON, color: color == "always"}
	if _, ok := terminal(w); ok {
		p.tty = w
		p.color = p.color || color == "auto" && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return p
}

func (p *printer) flush() error { return p.out.Flush() }

// print writes a change; flush tells of errors.
func (p *printer) print(raw json.RawMessage, m *message) {
	if p.json {
		p.line = plain.AppendJSON(p.line[:0], raw)
	} else {
		width := 0
		if p.tty != nil {
			width, _ = terminal(p.tty)
		}
		p.line = p.appendLine(p.line[:0], m, width)
	}
	p.line = append(p.line, '\n')
	_, _ = p.out.Write(p.line) // bufio keeps the error for flush
}

// The colours say the state; the text does too.
const (
	reset  = "\x1b[0m"
	faint  = "\x1b[2m"
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
)

var stateColors = map[string]string{
	"PLANNED": faint, "IN_PROGRESS": blue, "COMPLETED": green,
	"FAILED": red, "CANCELLED": yellow, "LOST": red,
}

// span is a piece of a line in one colour.
type span struct{ color, text string }

func (p *printer) appendLine(b []byte, m *message, width int) []byte {
	if m.Event == "gap" {
		return p.appendSpans(b, width, span{yellow, fmt.Sprintf("-- changes %d to %d are no longer held; what is active now: --", m.From, m.To)})
	}
	a := m.Activity
	if a == nil {
		return b
	}
	state, id := plain.Text(a.State), ""
	if p.ids {
		id = plain.Text(a.SpanID) + "  "
	}
	service := ""
	if a.Service != "" {
		service = plain.Text(a.Service) + "  "
	}
	return p.appendSpans(b, width,
		span{faint, m.At.Local().Format("15:04:05.000") + "  " + id},
		span{stateColors[a.State], fmt.Sprintf("%-11s ", state)},
		span{faint, fmt.Sprintf("%-18s ", plain.Text(a.Type)) + service},
		span{bold, plain.Text(first(a.Name, a.ActivityID))}, // it may not have told its name yet
		span{"", a.text()},
		span{faint, a.numbers()},
	)
}

// text says what it did, is doing or will do, whichever the state asks for.
func (a *shown) text() string {
	text := ""
	switch a.State {
	case "FAILED", "LOST":
		if a.Error != nil {
			text = a.Error.Message
			if text == "" {
				text = a.Error.Type
			}
		}
	case "PLANNED":
		text = a.Will
	case "IN_PROGRESS":
		text = first(a.Doing, a.Will)
	}
	text = first(text, a.Did, a.Doing, a.Will)
	if a.Decision != nil && a.Decision.Choice != "" && !strings.Contains(text, a.Decision.Choice) {
		text = first(text, "decided") + " [" + a.Decision.Choice + "]"
	}
	if text == "" {
		return ""
	}
	return ": " + plain.Text(text)
}

// numbers says how far it is and how long it took.
func (a *shown) numbers() string {
	var parts []string
	if a.Progress != nil && a.State == "IN_PROGRESS" {
		parts = append(parts, fmt.Sprintf("%.0f%%", 100**a.Progress))
	}
	if a.WaitMS != nil && *a.WaitMS >= 1 {
		parts = append(parts, "waited "+duration(*a.WaitMS))
	}
	if a.DurationMS != nil {
		parts = append(parts, duration(*a.DurationMS))
	}
	if a.Stalled {
		parts = append(parts, "stalled")
	}
	if len(parts) == 0 {
		return ""
	}
	return "  (" + strings.Join(parts, ", ") + ")"
}

func duration(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// appendSpans appends a line of at most width characters; 0 is no limit.
func (p *printer) appendSpans(b []byte, width int, spans ...span) []byte {
	room := width
	for _, s := range spans {
		text := s.text
		if width > 0 {
			if n := utf8.RuneCountInString(text); n > room {
				text = string([]rune(text)[:max(room-1, 0)]) + "…"
				room = 0
			} else {
				room -= n
			}
		}
		if p.color && s.color != "" && text != "" {
			b = append(append(append(b, s.color...), text...), reset...)
		} else {
			b = append(b, text...)
		}
		if width > 0 && room == 0 {
			break
		}
	}
	return b
}
