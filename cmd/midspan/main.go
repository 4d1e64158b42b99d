// Command midspan shows what a system will do, is doing and did, while it is
// doing it. See `midspan help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/midspan/midspan/cmd/midspan/internal/plain"
)

// The exit codes, as the help documents them.
const (
	exitOK = iota
	exitFailure
	exitUsage
	exitDamaged // of fsck
)

func main() { os.Exit(run()) }

// run runs the command line of this process and returns its exit code.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	return execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// usageError is a command line that can't be meant.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	began := false
	root := newRoot(&began)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "midspan: %s\n", plain.Text(explain(err)))
	var usage *usageError
	if !began || errors.As(err, &usage) {
		fmt.Fprintf(stderr, "Run '%s --help' for usage.\n", cmd.CommandPath())
		return exitUsage
	}
	if _, ok := errors.AsType[*damagedError](err); ok {
		return exitDamaged
	}
	return exitFailure
}

// explain returns the error's text without the packages that it comes from.
func explain(err error) string {
	text := err.Error()
	for _, prefix := range []string{"midspan: ", "api: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

func newRoot(began *bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "midspan",
		Short: "Watch a system while it works",
		Long:  "Midspan shows what a system will do, is doing and did, while it is doing it.\n\n" + exitCodes + "\n  3  fsck: something is damaged",
		Example: `  midspan demo                     a real orchestrator to watch at http://127.0.0.1:18080/monitor/
  midspan serve                    the spans of any program that sends OTLP
  midspan tail --state failed      what fails, as it fails
  midspan tail --json | jq .       every change as a line of JSON`,
		Args:              cobra.NoArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		PersistentPreRun:  func(*cobra.Command, []string) { *began = true },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(newDemo(), newServe(), newTail(), newBench(), newFsck(), newExport(), newImport(), newVersion())
	root.SetFlagErrorFunc(flagError)
	for _, cmd := range root.Commands() {
		giveOnce(cmd.Flags())
	}
	return root
}
