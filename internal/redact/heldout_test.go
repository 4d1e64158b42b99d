package redact

import (
	"testing"

	"github.com/midspan/midspan/internal/redact/canary"
)

func TestHeldOutCanaries(t *testing.T) {
	testCanaries(t, newRedactor(t, Config{}), canary.HeldOut, true)
}

// TestAllKinds holds that every kind has a canary.
func TestAllKinds(t *testing.T) {
	have := map[string]int{}
	for _, list := range [][]canary.Canary{canary.Known, canary.HeldOut} {
		for _, c := range list {
			have[c.Kind]++
		}
	}
	for _, kind := range kinds {
		if have[kind] != 1 {
			t.Errorf("%s has %d canaries, want 1", kind, have[kind])
		}
	}
	if len(have) != len(kinds) {
		t.Errorf("%d kinds have canaries, want %d", len(have), len(kinds))
	}
}
