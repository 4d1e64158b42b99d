package api

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/index"
)

func TestAccept(t *testing.T) {
	offers := []string{"text/plain", "text/markdown", "application/json"}
	for accept, want := range map[string]string{
		"":                                      "text/plain",
		"*/*":                                   "text/plain",
		"application/json":                      "application/json",
		"Application/JSON":                      "application/json",
		"text/*":                                "text/plain",
		"text/*;q=0.5, text/markdown":           "text/markdown",
		"text/plain;q=0.1, application/json":    "application/json",
		"text/plain;q=0, text/*":                "text/markdown",
		"text/plain;q=0, */*;q=0.1":             "text/markdown",
		"application/json;q=0":                  "",
		"image/png":                             "",
		"text/markdown;charset=utf-8;q=0.9":     "text/markdown",
		"text/markdown;q=nonsense":              "",
		"text/markdown;q=2":                     "",
		"text/html, application/xml;q=0.9, */*": "text/plain",
		",,":                                    "",
	} {
		r := &http.Request{Header: http.Header{}}
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		if got := preferred(r, offers...); got != want {
			t.Errorf("%q: %q, want %q", accept, got, want)
		}
	}
	for encoding, want := range map[string]bool{"": false, "gzip": true, "br, GZIP;q=0.5": true, "gzip;q=0": false, "*": true, "*;q=0": false, "*, gzip;q=0": false, "br": false} {
		r := &http.Request{Header: http.Header{"Accept-Encoding": {encoding}}}
		if got := acceptsGzip(r); got != want {
			t.Errorf("%q: gzip %v, want %v", encoding, got, want)
		}
	}
}

func TestDefuse(t *testing.T) {
	for s, want := range map[string]string{
		"":              "",
		"plain":         "plain",
		"a=b":           "a=b",
		"=1+1":          "'=1+1",
		"+1":            "'+1",
		"-1":            "'-1",
		"@SUM(A1)":      "'@SUM(A1)",
		"\t=1":          "'\t=1",
		"\r=1":          "'\r=1",
		"\n=1":          "'\n=1",
		" =1":           "' =1",
		"\u00a0=1":      "'\u00a0=1",
		"＝1":            "'＝1",
		"＠x":            "'＠x",
		"|cmd":          "'|cmd",
		"'quoted":       "''quoted",
		"\x00=1":        "\ufffd=1",
		"a\xffb":        "a\ufffdb",
		"{\"a\":\"=\"}": "{\"a\":\"=\"}",
	} {
		if got := defuse(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestCSVReadsBack(t *testing.T) {
	w := newWorld(t, nil)
	nasty := "a,\"b\"\r\nc; =d"
	w.Apply([]activity.Event{
		started(1, nasty),
		named(event(2, 1, activity.EventStarted, t0), "=HYPERLINK(\"http://evil.example\")", -1),
	})
	_, header, body := w.get(t, "/activity/export?format=csv")
	rows, err := csv.NewReader(strings.NewReader(body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 3 || len(rows[0]) != len(csvColumns) || rows[1][7]+rows[2][7] == "" {
		t.Fatalf("%q", rows)
	}
	got := map[string]bool{rows[1][7]: true, rows[2][7]: true}
	// The reader of CSV makes \n of \r\n.
	if !got[strings.ReplaceAll(nasty, "\r\n", "\n")] || !got["'=HYPERLINK(\"http://evil.example\")"] {
		t.Errorf("%v", got)
	}
	if d := header.Get("Content-Disposition"); !strings.HasPrefix(d, `attachment; filename="midspan-`) || !strings.HasSuffix(d, `.csv"`) {
		t.Errorf("Content-Disposition: %s", d)
	}
}

func TestLapse(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                                "0.00 ms",
		250 * time.Microsecond:           "0.25 ms",
		42 * time.Millisecond:            "42 ms",
		1500 * time.Millisecond:          "1.5 s",
		59 * time.Second:                 "59 s",
		60 * time.Second:                 "1 min",
		62 * time.Second:                 "1 min 2 s",
		3 * time.Hour:                    "3 h",
		3*time.Hour + 5*time.Minute + 59: "3 h 5 min",
		100 * time.Hour:                  "4 days",
	} {
		if got := lapse(millis(d)); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// TestSummaryIsShortAndTame floods the summary, with texts that attack the
// terminal and the page that shows them.
func TestSummaryIsShortAndTame(t *testing.T) {
	w := newWorld(t, nil)
	evil := "\x1b[31m<script>alert(1)</script>\u202e [x](http://evil.example) **b** `c`\n# head " + strings.Repeat("long ", 50)
	for i := range 60 {
		n := 100 + 4*i
		w.Apply([]activity.Event{
			named(event(n, 1, activity.EventStarted, at(time.Duration(i)*time.Second), str(activity.KeyCurrent, evil)), evil, -1),
			named(event(n+1, 1, activity.EventPlanned, at(time.Duration(i)*time.Second), str(activity.KeyPlanned, evil)), evil, -1),
			named(event(n+2, 1, activity.EventStarted, t0, str(activity.KeyType, "decision"), str(activity.KeyReasoning, evil), str(activity.KeyChoice, evil)), evil, -1),
			event(n+2, 2, activity.EventCompleted, at(time.Second)),
			named(event(n+3, 1, activity.EventStarted, t0), evil, -1),
		})
		fail := event(n+3, 2, activity.EventFailed, at(time.Second), str("error.type", "E"+strings.Repeat("x", i%7)))
		fail.Status, fail.StatusMessage = activity.StatusError, evil
		w.Apply([]activity.Event{fail})
	}
	for _, accept := range []string{"text/plain", "text/markdown"} {
		_, header, body := w.get(t, "/activity/summary", "Accept", accept)
		if got := header.Get("Content-Type"); got != accept+"; charset=utf-8" {
			t.Errorf("Content-Type %q", got)
		}
		lines := strings.Count(body, "\n")
		if limit := map[string]int{"text/plain": 31, "text/markdown": 37}[accept]; lines > limit {
			t.Errorf("%d lines:\n%s", lines, body)
		}
		if strings.ContainsAny(body, "\x1b\u202e\r") {
			t.Errorf("control characters in %q", body)
		}
		for line := range strings.Lines(body) {
			if len(line) > 500 {
				t.Errorf("a line of %d bytes: %s", len(line), line)
			}
		}
		if accept == "text/markdown" {
			for _, markup := range []string{"<script", "[x](", "`c`", "http://"} {
				if strings.Contains(body, markup) {
					t.Errorf("%q in %s", markup, body)
				}
			}
		}
		for _, want := range []string{"60 running, 60 planned", "and 52 more", "and 57 more"} {
			if !strings.Contains(body, want) {
				t.Errorf("no %q in %s", want, body)
			}
		}
	}
}

func TestSummaryOfNothing(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *index.Config) { c.Service = "" })
	_, _, body := w.get(t, "/activity/summary")
	want := "Midspan at 10:10:00 UTC\n0 running, 0 planned. Last minute: nothing finished. Last hour: nothing finished.\n\nNothing is running, and nothing failed or was decided lately.\n"
	if body != want {
		t.Errorf("%q, want %q", body, want)
	}
}

func TestSummaryShowsOverruns(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 5 { // usually a second
		w.Apply([]activity.Event{started(i, "build"), event(i, 2, activity.EventCompleted, at(time.Duration(i+1)*time.Second))})
	}
	w.Apply([]activity.Event{named(event(10, 1, activity.EventStarted, at(0)), "unknown", -1), named(event(11, 1, activity.EventStarted, at(10*time.Minute-10*time.Second)), "build", -1)})
	_, _, body := w.get(t, "/activity/summary")
	if !strings.Contains(body, "  build for 10 s (10.0 × the usual 1.0 s)\n  unknown for 10 min\n") {
		t.Errorf("%s", body)
	}
}

func TestSummarySaysWhatItCounts(t *testing.T) {
	for _, tt := range []struct {
		failed int
		want   string
	}{
		{maxLimit, "\nFailed in the last 15 min\n  1000 × E, last work 999,"},
		{maxLimit + 1, "\nFailed in the last 15 min, the latest 1000 of 1001\n  1000 × E, last work 1000,"},
		{activity.ExactTotal + 1, "\nFailed in the last 15 min, the latest 1000 of 10000 or more\n  1000 × E,"},
	} {
		w := newWorld(t, nil)
		flood(w.Index, 0, tt.failed)
		for i := range tt.failed {
			w.Apply([]activity.Event{event(i, 2, activity.EventFailed, at(time.Duration(i)*time.Millisecond+time.Second), str("error.type", "E"))})
		}
		if _, _, body := w.get(t, "/activity/summary"); !strings.Contains(body, tt.want) {
			t.Errorf("no %q in %s", tt.want, body)
		}
	}
}

// What began before a thousand others and was lost just now is among the lost.
func TestSummaryTellsOfOldLosses(t *testing.T) {
	const n = maxLimit + 2
	w := newWorld(t, nil)
	flood(w.Index, 0, n)
	for i := range n {
		when := at(-time.Hour) // long ago but for the first one
		if i == 0 {
			when = at(time.Second)
		}
		w.Apply([]activity.Event{event(i, 2, activity.EventLost, when)})
	}
	if _, _, body := w.get(t, "/activity/summary"); !strings.Contains(body, "lost: work 0") {
		t.Errorf("the one that began first is not there: %s", body)
	}
}

// What has not told its name yet, as an update does that comes before its start, goes
// by its id.
func TestSummaryOfWhatHasNoName(t *testing.T) {
	w := newWorld(t, nil)
	w.Apply([]activity.Event{event(1, 2, activity.EventUpdated, at(0), str(activity.KeyCurrent, "Asking the bank"))})
	_, _, page := w.get(t, "/activity/all")
	_, _, body := w.get(t, "/activity/summary")
	_, id, _ := strings.Cut(page, `"activity_id":"`)
	id, _, _ = strings.Cut(id, `"`)
	if want := "\n  " + id + " for "; id == "" || !strings.Contains(body, want) {
		t.Errorf("%s\nwant %q", body, want)
	}
}

// Of what it has no room for the summary says how much it is, and what is lost
// it names.
func TestSummaryTellsOfAllFailuresAndLosses(t *testing.T) {
	w := newWorld(t, nil)
	for i := range 7 {
		w.Apply([]activity.Event{started(i, "work"), event(i, 2, activity.EventFailed, at(time.Second), str("error.type", "E"+strconv.Itoa(i)))})
	}
	for i := range 5 {
		n := 100 + i
		w.Apply([]activity.Event{
			named(event(n, 1, activity.EventStarted, at(0), str(activity.KeyCurrent, "Counting")), "import "+strconv.Itoa(i), -1),
			event(n, 2, activity.EventUpdated, at(2*time.Minute)),
			event(n, 3, activity.EventLost, at(3*time.Minute+time.Duration(i)*time.Second)),
		})
	}
	long := event(200, 2, activity.EventLost, at(-6*time.Minute)) // 16 minutes ago
	w.Apply([]activity.Event{named(event(200, 1, activity.EventStarted, at(-time.Hour)), "old", -1), long})
	_, _, body := w.get(t, "/activity/summary")
	_, section, _ := strings.Cut(body, "\nFailed or lost in the last 15 min\n")
	want := "  and 3 more\n" +
		"  lost: import 4, last seen 8 min ago: Counting\n" +
		"  lost: import 3, last seen 8 min ago: Counting\n" +
		"  lost: import 2, last seen 8 min ago: Counting\n" +
		"  and 2 more lost\n"
	if strings.Count(section, "1 × E") != 4 || !strings.HasSuffix(section, want) {
		t.Errorf("%s\nwant 4 errors and\n%s", body, want)
	}
	_, _, body = w.get(t, "/activity/summary", "Accept", "application/json")
	var got struct {
		FailureGroups int `json:"failure_groups"`
		LostTotal     int `json:"lost_total"`
		Lost          []json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.FailureGroups != 7 || got.LostTotal != 5 || len(got.Lost) != 3 {
		t.Errorf("%v: %+v in %s", err, got, body)
	}
}
