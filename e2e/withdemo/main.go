// Command withdemo runs a command beside a demo of its own, which it tells by MIDSPAN_URL and MIDSPAN_BIN.
//
//	go run ./e2e/withdemo -bin bin/midspan -- npm --prefix dashboard run e2e
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/midspan/midspan/e2e/run"
)

func main() {
	binary := flag.String("bin", "bin/midspan", "the midspan program")
	flag.Parse()
	err := withDemo(context.Background(), *binary, flag.Args())
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "withdemo:", err)
		os.Exit(1)
	}
}

func withDemo(ctx context.Context, binary string, args []string) (err error) {
	if len(args) == 0 {
		return errors.New("no command to run beside the demo")
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return err
	}
	address, err := run.FreeAddress(ctx)
	if err != nil {
		return err
	}
	demo, err := run.StartDemo(ctx, exec.Command(binary, "demo"), address)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, args[0], args[1:]...)
	command.Env = append(command.Environ(), "MIDSPAN_URL="+demo.URL, "MIDSPAN_BIN="+binary)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = command.Run()
	if stopped := demo.Stop(); stopped != nil {
		err = errors.Join(err, fmt.Errorf("demo: %w\n%s", stopped, demo.Output()))
	}
	return err
}
