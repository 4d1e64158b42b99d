package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/midspan/midspan/cmd/midspan/internal/plain"
	"github.com/midspan/midspan/internal/history"
)

// damagedError is why fsck ends with exitDamaged.
type damagedError struct {
	folder string
	n      int
}

func (e *damagedError) Error() string {
	s := "s"
	if e.n == 1 {
		s = ""
	}
	return fmt.Sprintf("%s is damaged: %d thing%s found", e.folder, e.n, s)
}

func newFsck() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "fsck FOLDER",
		Short: "Check what midspan serve --data keeps, and say what is damaged",
		Long: `Read all of a folder of midspan serve --data, or the database in it, and tell what
is not as it was written: SQLite's pages, each event of the log and its place, the
history and its checkpoint, where each reader stands. Nothing is changed. The folder
must not be in use.

Exit codes:
  0  nothing is damaged
  1  it could not be checked; the error says why
  2  the command line is wrong
  3  something is damaged`,
		Example: `  midspan fsck midspan-data
  midspan fsck --json /var/lib/midspan | jq .damages`,
		Args: oneArgument("folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runFsck(cmd.Context(), args[0], asJSON, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// oneArgument demands one argument, named so.
func oneArgument(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("'%s' takes one %s, but was given %q", cmd.CommandPath(), what, args)
		}
		return nil
	}
}

// folderOf returns the folder that is meant by itself or by the database in it.
func folderOf(path string) string {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return filepath.Dir(path)
	}
	return path
}

func runFsck(ctx context.Context, path string, asJSON bool, stdout io.Writer) error {
	folder := folderOf(path)
	r, err := history.Check(ctx, folder)
	if err != nil {
		return err
	}
	n := len(r.Damages) + r.More
	if asJSON {
		err = printReportJSON(stdout, r)
	} else {
		err = printReport(stdout, folder, r)
	}
	if err == nil && n > 0 {
		err = &damagedError{folder, n}
	}
	return err
}

func printReport(w io.Writer, folder string, r *history.Report) error {
	for _, d := range r.Damages {
		if _, err := fmt.Fprintf(w, "%s\n    %s\n", plain.Text(d.What), d.Advice); err != nil {
			return err
		}
	}
	if r.More > 0 {
		_, err := fmt.Fprintf(w, "and %d more\n", r.More)
		return err
	}
	if len(r.Damages) > 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "%s is sound: %d finished and %d open activities, %d segments of history up to event %d, %d events in the log up to %d\n",
		folder, r.Finished, r.Open, r.Segments, r.Checkpoint, r.Events, r.Last)
	return err
}

func printReportJSON(w io.Writer, r *history.Report) error {
	type damage struct {
		What   string `json:"what"`
		Advice string `json:"advice"`
	}
	damages := make([]damage, len(r.Damages))
	for i, d := range r.Damages {
		damages[i] = damage(d)
	}
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return out.Encode(map[string]any{
		"log_id": r.LogID, "floor": r.Floor, "last": r.Last, "checkpoint": r.Checkpoint, "events": r.Events, "segments": r.Segments,
		"finished": r.Finished, "open": r.Open, "damages": damages, "more": r.More,
	})
}
