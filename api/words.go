package api

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/midspan/midspan/activity"
)

// style is how a summary's words are set.
type style struct {
	title, heading func(s string) string
	bullet         string
	text           func(s string) string // of an activity: data, never markup
	strong         func(s string) string // of a text already set
}

var (
	plainStyle = style{
		title:   func(s string) string { return s },
		heading: func(s string) string { return s },
		bullet:  "  ",
		text:    func(s string) string { return s },
		strong:  func(s string) string { return s },
	}
	markdownStyle = style{
		title:   func(s string) string { return "# " + s },
		heading: func(s string) string { return "**" + s + "**\n" },
		bullet:  "- ",
		text:    escapeMarkdown,
		strong:  func(s string) string { return "**" + s + "**" },
	}
)

// Bytes of what a line may show of a text.
const (
	nameWidth = 60
	textWidth = 90
)

// appendText appends the summary in at most about 35 lines.
func (s *summaryAnswer) appendText(b []byte, st style) []byte {
	text := func(v string, width int) string { return st.text(oneLine(v, width)) }
	name := func(name, id string) string { return st.strong(text(cmp.Or(name, id), nameWidth)) } // it may not have told its name yet
	line := func(format string, args ...any) { b = fmt.Appendf(b, format+"\n", args...) }
	title := "Midspan"
	if s.Service != "" {
		title = text(s.Service, nameWidth)
	}
	line("%s", st.title(title+" at "+s.Now.Time().Format("15:04:05")+" UTC"))
	if st.bullet == markdownStyle.bullet {
		line("")
	}
	overview := fmt.Sprintf("%d running, %d planned", s.InProgress, s.Planned)
	if s.Stalled > 0 {
		overview += fmt.Sprintf(", %d stalled", s.Stalled)
	}
	line("%s. Last minute: %s. Last hour: %s.", overview, windowWords(s.Windows["1m"]), windowWords(s.Windows["1h"]))
	if s.Incomplete {
		line("Some of it may be missing: a part of the history can't be read.")
	}
	section := func(heading string) {
		line("")
		line("%s", st.heading(heading))
	}
	more := func(shown int, total int64) {
		if rest := total - int64(shown); shown > 0 && rest > 0 {
			line("%sand %d more", st.bullet, rest)
		}
	}
	if len(s.Running) > 0 {
		section("Running, longest over its usual time first")
		for i := range s.Running {
			r := &s.Running[i]
			words := name(r.Name, r.ActivityID) + " for " + lapse(r.ForMs) + usualWords(r)
			if r.Progress != nil {
				words += ", " + strconv.Itoa(int(*r.Progress*100)) + " %"
			}
			if r.Stalled {
				words += ", stalled"
			}
			if r.Text != nil {
				words += ": " + text(*r.Text, textWidth)
			}
			line("%s%s", st.bullet, words)
		}
		more(len(s.Running), s.InProgress)
	}
	if len(s.Waiting) > 0 {
		section("Planned, longest waiting first")
		for i := range s.Waiting {
			r := &s.Waiting[i]
			words := name(r.Name, r.ActivityID) + " waits for " + lapse(r.ForMs)
			if r.Text != nil {
				words += ": " + text(*r.Text, textWidth)
			}
			line("%s%s", st.bullet, words)
		}
		more(len(s.Waiting), s.Planned)
	}
	if len(s.Failures)+len(s.Lost) > 0 {
		heading := "Failed"
		switch {
		case len(s.Failures) == 0:
			heading = "Lost"
		case len(s.Lost) > 0:
			heading = "Failed or lost"
		}
		heading += " in the last " + lapse(millis(s.Now.Sub(s.Since)))
		if s.FailuresCounted < s.FailuresTotal {
			heading += fmt.Sprintf(", the latest %d of %d", s.FailuresCounted, s.FailuresTotal)
			if s.FailuresTotal >= activity.ExactTotal {
				heading += " or more"
			}
		}
		section(heading)
		for i := range s.Failures {
			f := &s.Failures[i]
			line("%s%d × %s, last %s, %s ago", st.bullet, f.Count, text(f.Error, textWidth), name(f.Name, f.ActivityID), lapse(millis(s.Now.Sub(f.LastAt))))
		}
		more(len(s.Failures), int64(s.FailureGroups))
		for i := range s.Lost {
			l := &s.Lost[i]
			words := "lost: " + name(l.Name, l.ActivityID) + ", last seen " + lapse(millis(s.Now.Sub(l.LastSeenAt))) + " ago"
			if l.Text != nil {
				words += ": " + text(*l.Text, textWidth)
			}
			line("%s%s", st.bullet, words)
		}
		if rest := s.LostTotal - len(s.Lost); rest > 0 {
			line("%sand %d more lost", st.bullet, rest)
		}
	}
	if len(s.Decisions) > 0 {
		section("Decided")
		for i := range s.Decisions {
			d := &s.Decisions[i]
			words := name(d.Name, d.ActivityID)
			if d.Choice != nil {
				words += ": " + text(*d.Choice, nameWidth)
			}
			if d.Confidence != nil {
				words += fmt.Sprintf(" (%.0f %% sure)", *d.Confidence*100)
			}
			if d.Reasoning != nil {
				words += ", because " + text(*d.Reasoning, textWidth)
			}
			line("%s%s", st.bullet, words)
		}
	}
	if len(s.Running)+len(s.Waiting)+len(s.Failures)+len(s.Lost)+len(s.Decisions) == 0 {
		line("")
		line("Nothing is running, and nothing failed or was decided lately.")
	}
	return b[:len(b)-1] // answer ends the last line
}

func windowWords(w windowAnswer) string {
	if w.Finished == 0 {
		return "nothing finished"
	}
	words := fmt.Sprintf("%d finished", w.Finished)
	if w.Failed > 0 {
		words += fmt.Sprintf(", %d failed", w.Failed)
	}
	if w.Lost > 0 {
		words += fmt.Sprintf(", %d lost", w.Lost)
	}
	if w.Duration.P50 != nil {
		words += ", half within " + lapse(*w.Duration.P50)
	}
	return words
}

func usualWords(r *runningAnswer) string {
	switch {
	case r.UsualMs == nil:
		return ""
	case r.ForMs >= 2**r.UsualMs:
		return fmt.Sprintf(" (%.1f × the usual %s)", r.ForMs / *r.UsualMs, lapse(*r.UsualMs))
	}
	return " (usually " + lapse(*r.UsualMs) + ")"
}

// lapse writes milliseconds as a person says them, in two units at most.
func lapse(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.2f ms", ms)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", ms)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return units(d, time.Minute, "min", time.Second, "s")
	case d < 48*time.Hour:
		return units(d, time.Hour, "h", time.Minute, "min")
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

func units(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	s := fmt.Sprintf("%d %s", d/large, largeName)
	if rest := d % large / small; rest > 0 {
		s += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return s
}

// oneLine returns a text in one line of at most width bytes, without the
// characters that would move a terminal's cursor, turn the direction of
// writing, or not be seen at all.
func oneLine(s string, width int) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs):
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		if b.Len()+utf8.RuneLen(r) > width {
			return strings.TrimRight(b.String(), " ") + "…"
		}
		b.WriteRune(r)
	}
	return b.String()
}

// escapeMarkdown returns a text whose every character shows as itself.
func escapeMarkdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '&':
			b.WriteString("&amp;")
		case strings.ContainsRune("\\`*_{}[]()#+-.!|>~:/@", r):
			// The last four keep addresses from becoming links.
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
