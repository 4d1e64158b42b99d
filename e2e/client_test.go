//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/midspan/midspan/e2e/run"
)

// TestClient runs a user's own JavaScript client, unchanged, against the demo at its default address.
func TestClient(t *testing.T) {
	startDemo(t, exec.Command(setting(t, "MIDSPAN_BIN"), "demo"), "127.0.0.1:18080")
	for _, tt := range []struct {
		name    string
		command []string
	}{
		{"Node", []string{"node", "--experimental-websocket", "client/client.js"}},
		{"Chromium", []string{"node", "client/browser.js", setting(t, "CHROMIUM")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, err := run.Start(exec.Command(tt.command[0], tt.command[1:]...))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = client.Stop() }) // a client has no end of its own
			err = run.Poll(deadline(t, time.Minute), 100*time.Millisecond, func() error {
				if err := saw(client.Output()); err != nil {
					return err
				}
				select {
				case <-client.Done:
					return run.Final{Err: fmt.Errorf("the client ended: %w", client.Wait(t.Context()))}
				default:
					return nil
				}
			})
			if err != nil {
				t.Fatalf("%v\nthe client printed:\n%s", err, client.Output())
			}
		})
	}
}

// TestSaw proves that TestClient can fail.
func TestSaw(t *testing.T) {
	good := strings.Repeat("started | claim | Claiming\ncompleted | claim | Claimed\n", 10)
	for _, tt := range []struct {
		name, output string
		want         string // part of the error
	}{
		{"good", good, ""},
		{"a line still being written", good + "sta", ""},
		{"nothing", "", "0 started"},
		{"a message that is no activity", good + "undefined | x | y\n", "undefined"},
		{"a name that is not there", good + "started | undefined | y\n", "undefined"},
		{"closed", good + "closed | 1006 | \n", "closed"},
		{"a thrown error", good + "TypeError: cannot read\n", "TypeError"},
		{"says nothing", strings.ReplaceAll(good, "Claimed", "null"), "0 said what they did"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := saw(tt.output)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// saw tells what is wrong or still missing in what the client printed.
func saw(output string) error {
	started, completed, doing, did := 0, 0, 0, 0
	for line := range strings.Lines(output) {
		if !strings.HasSuffix(line, "\n") {
			break
		}
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " | ", 3)
		if len(fields) != 3 || !slices.Contains([]string{"planned", "started", "updated", "completed", "failed", "cancelled"}, fields[0]) ||
			fields[1] == "undefined" || fields[1] == "" || fields[2] == "undefined" {
			// Node says once on its standard error that WebSocket is experimental.
			if strings.Contains(line, "ExperimentalWarning") || strings.Contains(line, "--trace-warnings") {
				continue
			}
			return run.Final{Err: fmt.Errorf("the client printed %q", line)}
		}
		said := fields[2] != "null"
		switch fields[0] {
		case "started":
			started++
		case "completed":
			completed++
			did += count(said)
		}
		doing += count(said && fields[0] != "completed")
	}
	if started < 10 || completed < 10 || doing == 0 || did == 0 {
		return fmt.Errorf("%d started, %d completed; %d said what they are doing, %d said what they did", started, completed, doing, did)
	}
	return nil
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func deadline(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
