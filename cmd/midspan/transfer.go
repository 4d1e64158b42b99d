package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/index"
	"github.com/midspan/midspan/internal/redact"
	"github.com/midspan/midspan/internal/transfer"
)

// formatCSV is the API's, not one that is imported.
const formatCSV = "csv"

type exportFlags struct {
	format, output, from, to string
	services, states, types  []string
}

func newExport() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export FOLDER",
		Short: "Write what midspan serve --data keeps to a file",
		Long: `Write the activities of a folder of midspan serve --data. Nothing in the folder is
changed, and it must not be in use; /activity/export is for one that is.

Formats:
  ndjson  an activity a line, with all of its events: midspan import takes it back
  otlp    lines of OTLP's JSON, for Collectors and backends: midspan import takes it
          back, with what was in flight and every state
  csv     a table, as /activity/export has it
  jaeger  what Jaeger's page takes by "Upload"
  chrome  Chrome's trace event format, for Perfetto and chrome://tracing

` + exitCodes,
		Example: `  midspan export midspan-data -o backup.ndjson.gz
  midspan export midspan-data --format otlp --from 2026-11-26T00:00:00Z --to 2026-11-27T00:00:00Z
  midspan export midspan-data --format csv --state failed --from 24h > failed.csv
  midspan export midspan-data --format jaeger --service orders -o orders.json`,
		Args: oneArgument("folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runExport(cmd.Context(), args[0], &f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.format, "format", string(transfer.NDJSON), "`format`: ndjson, otlp, csv, jaeger or chrome")
	flags.StringVarP(&f.output, "output", "o", "", "write to this `file`, packed when it ends in .gz; without it to the standard output")
	flags.StringVar(&f.from, "from", "", "what was still going on at this `time` (RFC 3339) or so long ago (15m), or began later")
	flags.StringVar(&f.to, "to", "", "what began until this `time` (RFC 3339) or so long ago (15m)")
	flags.StringSliceVar(&f.services, "service", nil, "of this `service`; may be repeated")
	flags.StringSliceVar(&f.states, "state", nil, "in this `state`, such as failed; may be repeated")
	flags.StringSliceVar(&f.types, "type", nil, "of this `type`, such as decision; may be repeated")
	return cmd
}

func newImport() *cobra.Command {
	var f redactFlags
	cmd := &cobra.Command{
		Use:   "import FOLDER [FILE]...",
		Short: "Take exported activities into a folder of midspan serve --data",
		Long: `Take files of midspan export into a folder of midspan serve --data, which is made if
it is not there and must not be in use: NDJSON and OTLP, packed by gzip or not, and
what the Collector's file exporter writes as JSON. Without a file, or for -, the
standard input is read.

Secrets are taken out as midspan serve does; --redact off restores a folder that was
kept with them.

To import a file again changes nothing (with --redact hash under one key). At the first thing that is wrong the import
ends and names its line; what stands before it has been taken then.

` + exitCodes,
		Example: `  midspan import midspan-data backup.ndjson.gz
  curl -s http://localhost:18080/activity/export?format=otlp | midspan import copy`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("'%s' takes a folder, and files", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runImport(cmd.Context(), folderOf(args[0]), args[1:], &f, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.declare(cmd.Flags(), redactRemove)
	return cmd
}

// filter returns what the flags select, as of now.
func (f *exportFlags) filter(now time.Time) (filter activity.Filter, err error) {
	filter.Services = f.services
	for _, text := range f.states {
		state, ok := activity.ParseState(text)
		if !ok {
			return filter, usagef("--state is %q: it is none of planned, in_progress, completed, failed, cancelled, lost", text)
		}
		filter.States = append(filter.States, state)
	}
	for _, text := range f.types {
		kind, ok := activity.ParseType(text)
		if !ok {
			return filter, usagef("--type is %q: it is none of %v", text, activity.Types)
		}
		filter.Types = append(filter.Types, kind)
	}
	if filter.Since, err = exportTime("--from", f.from, now); err != nil {
		return filter, err
	}
	if filter.Until, err = exportTime("--to", f.to, now); err != nil {
		return filter, err
	}
	if filter.Since != 0 && filter.Until != 0 && filter.Until < filter.Since {
		return filter, usagef("--to lies before --from")
	}
	return filter, nil
}

// exportTime reads a time, or a duration back from now. Empty is 0.
func exportTime(flag, text string, now time.Time) (activity.Time, error) {
	if text == "" {
		return 0, nil
	}
	if back, ok := api.ParseDuration(text); ok {
		return activity.TimeOf(now.Add(-back)), nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, usagef("%s is %q: give a time such as 2026-11-27T10:00:00Z, or how long ago, such as 15m", flag, text)
	}
	return activity.TimeOf(at), nil
}

func runExport(ctx context.Context, folder string, f *exportFlags, stdout, stderr io.Writer) (err error) {
	switch transfer.Format(f.format) {
	case transfer.NDJSON, transfer.OTLP, transfer.Jaeger, transfer.Chrome, formatCSV:
	default:
		return usagef("--format is %q: give ndjson, otlp, csv, jaeger or chrome", f.format)
	}
	filter, err := f.filter(time.Now())
	if err != nil {
		return err
	}
	return transfer.View(ctx, folderOf(folder), func(x *index.Index) (err error) {
		// What is damaged is not in it, and nobody will ever write a better one.
		whole := func() bool { return err == nil || errors.Is(err, activity.ErrUnreadable) }
		out := stdout
		if f.output != "" {
			var file *newFile
			if file, err = createFile(f.output); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.finish(whole())) }()
			out = file
		}
		var n int
		if f.format == formatCSV {
			n, err = api.WriteCSV(ctx, out, x, &filter)
		} else {
			n, err = transfer.Export(ctx, out, x, &filter, transfer.Format(f.format))
		}
		if err != nil {
			err = fmt.Errorf("export %s: %w", folder, err)
		}
		if whole() {
			_, failed := fmt.Fprintf(stderr, "%d activities exported\n", n)
			err = errors.Join(err, failed)
		}
		return err
	})
}

// newFile is a file that appears under its name when it is whole.
type newFile struct {
	io.Writer
	name string
	file *os.File
	zip  *gzip.Writer
}

func createFile(name string) (*newFile, error) {
	file, err := os.OpenFile(name+".part", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	f := &newFile{Writer: file, name: name, file: file}
	if strings.HasSuffix(name, ".gz") {
		f.zip = gzip.NewWriter(file)
		f.Writer = f.zip
	}
	return f, nil
}

// finish gives the file its name, or removes it when it is not whole.
func (f *newFile) finish(whole bool) error {
	var err error
	if f.zip != nil {
		err = f.zip.Close()
	}
	err = errors.Join(err, f.file.Sync(), f.file.Close())
	if whole && err == nil {
		return os.Rename(f.file.Name(), f.name)
	}
	return errors.Join(err, os.Remove(f.file.Name()))
}

func runImport(ctx context.Context, folder string, files []string, f *redactFlags, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(files) == 0 {
		files = []string{"-"}
	}
	secrets, err := f.config()
	if err != nil {
		return err
	}
	var clean func([]activity.Event)
	if secrets != nil {
		r, err := redact.New(*secrets)
		if err != nil {
			return err
		}
		clean = r.Events
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	added, known := 0, 0
	for _, name := range files {
		r, err := importFile(ctx, folder, name, stdin, clean, logger)
		added += r.New
		known += r.Events - r.New
		if err != nil {
			return fmt.Errorf("import %s: %w", name, err)
		}
	}
	words := fmt.Sprintf("%d events imported", added)
	if known > 0 {
		words += fmt.Sprintf(", %d were there already", known)
	}
	_, err = fmt.Fprintln(stdout, words)
	return err
}

func importFile(ctx context.Context, folder, name string, stdin io.Reader, clean func([]activity.Event), logger *slog.Logger) (transfer.Result, error) {
	from := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return transfer.Result{}, err
		}
		defer file.Close()
		from = file
	}
	in := bufio.NewReader(from)
	from = in
	if magic, _ := in.Peek(2); string(magic) == "\x1f\x8b" {
		zip, err := gzip.NewReader(in)
		if err != nil {
			return transfer.Result{}, err
		}
		from = zip
	}
	return transfer.ImportFolder(ctx, folder, from, clean, logger)
}
