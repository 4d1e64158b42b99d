package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/midspan/midspan/internal/bridge"
)

// docs/limits.md names every limit that has a flag, and its default.
func TestLimitsDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| ([^|]+) \\|").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]] = row[2]
	}
	flags := newServe().Flags()
	limits := []string{"retain-age", "retain-bytes"}
	for _, l := range bridge.Limits {
		limits = append(limits, l.Name)
		if f := flags.Lookup(l.Name); f == nil {
			t.Errorf("--%s is no flag", l.Name)
		} else if f.DefValue != strconv.FormatInt(l.Default, 10) {
			t.Errorf("--%s is %s by default, not %d", l.Name, f.DefValue, l.Default)
		}
	}
	for _, d := range bridge.Times {
		limits = append(limits, d.Name)
		if f := flags.Lookup(d.Name); f == nil {
			t.Errorf("--%s is no flag", d.Name)
		} else if f.DefValue != d.Default.String() {
			t.Errorf("--%s is %s by default, not %v", d.Name, f.DefValue, d.Default)
		}
	}
	for _, name := range limits {
		want := flags.Lookup(name).DefValue
		if n, err := strconv.ParseInt(want, 10, 64); err == nil {
			want = inWords(n, strings.HasSuffix(name, "-bytes"))
		} else if want == "0s" {
			want = "0"
		} else { // 2m0s
			want = strings.TrimSuffix(want, "m0s") + strings.Repeat("m", strings.Count(want, "m0s"))
		}
		if documented[name] != want {
			t.Errorf("docs/limits.md says %q of --%s, whose default is %s", documented[name], name, want)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("docs/limits.md tells of --%s, which is no limit", name)
	}
}

// inWords writes 4194304 bytes as 4 MiB, and 250000 as 250,000.
func inWords(n int64, bytes bool) string {
	if bytes && n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
