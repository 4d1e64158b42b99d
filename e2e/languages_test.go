//go:build e2e

package e2e_test

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/midspan/midspan/e2e/run"
)

// TestLanguages runs the examples against `midspan serve`: each is seen while its order is being packed, and
// completed afterwards, as one activity under a live lease.
func TestLanguages(t *testing.T) {
	examples, err := filepath.Abs("../docs/examples")
	if err != nil {
		t.Fatal(err)
	}
	addresses := make([]string, 3)
	for i := range addresses {
		if addresses[i], err = run.FreeAddress(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	serve, err := run.Start(exec.Command(setting(t, "MIDSPAN_BIN"), "serve",
		"--listen", addresses[0], "--otlp-grpc", addresses[1], "--otlp-http", addresses[2]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := serve.Stop(); err != nil {
			t.Errorf("serve: %v\n%s", err, serve.Output())
		}
	})
	bridge := &run.Demo{Process: serve, URL: "http://" + addresses[0]}
	if err := serve.Ready(deadline(t, 30*time.Second), bridge.URL+"/readyz"); err != nil {
		t.Fatal(err)
	}

	bin := t.TempDir()
	install := exec.Command("npm", "ci", "--no-audit", "--no-fund")
	install.Dir = filepath.Join(examples, "node")
	build := exec.Command("go", "build", "-o", bin+"/", "./plain", "./bridge")
	build.Dir = filepath.Join(examples, "go")
	for _, prepare := range []*exec.Cmd{install, build} {
		if out, err := prepare.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", prepare.Args, err, out)
		}
	}

	for _, tt := range []struct {
		service string
		command []string
		env     []string
	}{
		{"node-example", []string{"node", "example.mjs"}, []string{"STEP_MS=1500"}},
		{"go-plain-example", []string{filepath.Join(bin, "plain"), "-step", "1500ms"}, nil},
		{"go-bridge-example", []string{filepath.Join(bin, "bridge"), "-step", "1500ms", "-bridge", "http://" + addresses[2]}, nil},
	} {
		t.Run(tt.service, func(t *testing.T) {
			command := exec.Command(tt.command[0], tt.command[1:]...)
			command.Dir = filepath.Join(examples, "node")
			command.Env = append(append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT=http://"+addresses[2]), tt.env...)
			program, err := run.Start(command)
			if err != nil {
				t.Fatal(err)
			}
			orders := func(is func(a activity) error) {
				t.Helper()
				err := run.Poll(deadline(t, 20*time.Second), 50*time.Millisecond, func() error {
					found, err := list(t, bridge, url.Values{"service": {tt.service}, "type": {"work_item"}})
					if err != nil {
						return err
					}
					if len(found) > 1 {
						return run.Final{Err: fmt.Errorf("%d activities", len(found))}
					}
					if len(found) == 0 {
						return fmt.Errorf("no activity yet")
					}
					return is(found[0])
				})
				if err != nil {
					_ = program.Stop()
					t.Fatalf("%v\n%s", err, program.Output())
				}
			}
			var id string
			orders(func(a activity) error {
				if id = a.ID; a.State == "IN_PROGRESS" && text(a.Current) == "Packing cup" && a.Lease == "live" {
					return nil
				}
				if a.State != "IN_PROGRESS" {
					return run.Final{Err: fmt.Errorf("it is %s before it was seen at work", a.State)}
				}
				return fmt.Errorf("%+v", a)
			})
			if err := program.Wait(deadline(t, 20*time.Second)); err != nil {
				t.Fatalf("%v\n%s", err, program.Output())
			}
			orders(func(a activity) error {
				if a.ID == id && a.State == "COMPLETED" && text(a.Final) == "Handed over" && a.Sampled {
					return nil
				}
				return fmt.Errorf("%+v", a)
			})
		})
	}
}
