package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
)

// TestUnit reads the unit as systemd does, and where systemd is, has it verify and rate the unit.
func TestUnit(t *testing.T) {
	text := read(t, "deploy/systemd/midspan.service")
	options, err := unit.DeserializeOptions(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []*unit.UnitOption{
		unit.NewUnitOption("Service", "ExecStart", "/usr/local/bin/midspan serve --config /etc/midspan/midspan.yaml"),
		unit.NewUnitOption("Service", "DynamicUser", "yes"),
		unit.NewUnitOption("Service", "StateDirectory", "midspan"),
		unit.NewUnitOption("Service", "ProtectSystem", "strict"),
		unit.NewUnitOption("Service", "CapabilityBoundingSet", ""),
		unit.NewUnitOption("Service", "NoNewPrivileges", "yes"),
	} {
		if !slices.ContainsFunc(options, func(o *unit.UnitOption) bool { return *o == *want }) {
			t.Errorf("it has no %s=%s", want.Name, want.Value)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd is not here: the unit was only parsed")
		return
	}
	// The binary is not installed here.
	file := filepath.Join(t.TempDir(), "midspan.service")
	text = regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAllString(text, "ExecStart=/bin/true")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// It warns of what it does not know, and ends well.
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || strings.Contains(string(out), file) {
		t.Errorf("verify: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", file).CombinedOutput()
	rated := regexp.MustCompile(`exposure level for midspan.service: (\d+\.\d)`).FindSubmatch(out)
	if rated == nil {
		t.Logf("this systemd does not rate: %v %s", err, out)
		return
	}
	if exposure, err := strconv.ParseFloat(string(rated[1]), 64); err != nil || exposure > 1.5 {
		t.Errorf("its exposure is %s: %v\n%s", rated[1], err, out)
	}
}
