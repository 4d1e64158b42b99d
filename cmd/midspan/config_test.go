package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// serveSettings returns the settings of `midspan serve` for a command line, an
// environment and a file's text, which may be nil.
func serveSettings(t *testing.T, args, environ []string, file *string) (*settings, error) {
	t.Helper()
	cmd := newServe()
	giveOnce(cmd.Flags())
	if file != nil {
		path := filepath.Join(t.TempDir(), "midspan.yaml")
		if err := os.WriteFile(path, []byte(*file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return configure(cmd.Flags(), environ)
}

func (s *settings) text(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	if err := s.write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// values tells each flag's value, as YAML has it.
func (s *settings) values(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(s.text(t)) {
		if name, rest, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "#") {
			out[name], _, _ = strings.Cut(rest, " # ")
		}
	}
	return out
}

// Whatever is a flag is a setting: in the environment, in the file, and in what
// --print-config prints, which gives the same when it is read again.
func TestEveryFlagIsASetting(t *testing.T) {
	samples := map[string]string{
		"bool": "true", "int": "17", "int64": "17", "uint64": "17", "float64": "0.5", "duration": "17m0s", "string": "17", "stringArray": "17", "stringSlice": "17",
	}
	count := 0
	newServe().Flags().VisitAll(func(f *pflag.Flag) {
		if slices.Contains(commandLineOnly, f.Name) {
			return
		}
		count++
		sample, known := samples[f.Value.Type()]
		if !known {
			t.Fatalf("--%s is a %s: add a sample", f.Name, f.Value.Type())
		}
		want := sample
		switch f.Value.Type() {
		case "string":
			want = `"17"`
		case "stringArray", "stringSlice":
			want = `["17"]`
		}
		byFile := f.Name + ": " + sample
		for name, give := range map[string]func() (*settings, error){
			"environment": func() (*settings, error) {
				return serveSettings(t, nil, []string{variable(f.Name) + "=" + sample}, nil)
			},
			"file": func() (*settings, error) { return serveSettings(t, nil, nil, &byFile) },
			"flag": func() (*settings, error) { return serveSettings(t, []string{"--" + f.Name + "=" + sample}, nil, nil) },
		} {
			s, err := give()
			if err != nil {
				t.Fatalf("%s by %s: %v", f.Name, name, err)
			}
			if got := s.values(t); got[f.Name] != want {
				t.Errorf("%s by %s is %s, want %s", f.Name, name, got[f.Name], want)
			}
			text := s.text(t)
			again, err := serveSettings(t, nil, nil, &text)
			if err != nil {
				t.Fatalf("%s by %s, read again: %v\n%s", f.Name, name, err, text)
			}
			if diff := cmp.Diff(s.values(t), again.values(t)); diff != "" {
				t.Errorf("%s by %s, read again:\n%s", f.Name, name, diff)
			}
		}
	})
	if count < 10 {
		t.Errorf("%d flags were looked at", count)
	}
}

// A flag goes before the environment, that before the file, that before the default.
func TestSettingsPrecedence(t *testing.T) {
	const file = "data: in the file\nack: in the file\nretain-age: 1h\nforward: [http://a, http://b]\nallow-host: one\n"
	flag, environ := []string{"--data", "by the flag"}, []string{
		"MIDSPAN_DATA=by the variable", "MIDSPAN_ACK=by the variable", `MIDSPAN_FORWARD=http://c,"http://d,e"`, "MIDSPAN_RETAIN_AGE=",
		"MIDSPAN_TOKEN=hunter2", "MIDSPAN_PORT=tcp://10.0.0.1:4317", "PATH=/", "MIDSPAN_PRINT_CONFIG=true",
	}
	text := file
	s, err := serveSettings(t, flag, environ, &text)
	if err != nil {
		t.Fatal(err)
	}
	got := s.values(t)
	for name, want := range map[string]string{
		"data": "by the flag", "ack": "by the variable", "retain-age": "1h0m0s", "otlp-grpc": "127.0.0.1:4317",
		"forward": "['http://c', 'http://d,e']", "allow-host": "[one]",
	} {
		if got[name] != want {
			t.Errorf("%s is %s, want %s", name, got[name], want)
		}
	}
	for name, want := range map[string]string{"data": "--data", "ack": "MIDSPAN_ACK", "retain-age": "midspan.yaml:3", "otlp-grpc": "default"} {
		if !strings.HasSuffix(s.from[name], want) {
			t.Errorf("%s comes from %s, want %s", name, s.from[name], want)
		}
	}
	if diff := cmp.Diff([]string{"MIDSPAN_PORT", "MIDSPAN_PRINT_CONFIG"}, s.unknown); diff != "" {
		t.Errorf("unknown variables: %s", diff)
	}
	if out := s.text(t); strings.Contains(out, "hunter2") || !strings.HasPrefix(out, "# MIDSPAN_TOKEN is set") {
		t.Errorf("it prints\n%s", out)
	}
}

// MIDSPAN_CONFIG names the file where --config does not; a password in a URL is
// not printed.
func TestConfigVariable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.yaml")
	if err := os.WriteFile(path, []byte("jaeger-url: http://u:hunter2@host\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := serveSettings(t, nil, []string{"MIDSPAN_CONFIG=" + path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.values(t)["jaeger-url"]; got != "http://u:xxxxx@host" {
		t.Errorf("it prints %s", got)
	}
	empty := "# nothing yet\n"
	if s, err = serveSettings(t, nil, []string{"MIDSPAN_CONFIG=" + path}, &empty); err != nil || s.values(t)["jaeger-url"] != `""` {
		t.Errorf("--config does not go before MIDSPAN_CONFIG: %v %v", s, err)
	}
}

// What can't be meant is told with its place.
func TestSettingsRefused(t *testing.T) {
	for _, tt := range []struct{ name, file, variable, want string }{
		{"unknown key", "data: x\nlistn: y\n", "", `midspan.yaml:2: there is no setting "listn"`},
		{"a flag's variable as key", "otlp_grpc: y\n", "", `midspan.yaml:1: there is no setting "otlp_grpc": write otlp-grpc`},
		{"a nested key", "otlp:\n  grpc: y\n", "", `midspan.yaml:1: there is no setting "otlp"`},
		{"no setting", "print-config: true\n", "", `midspan.yaml:1: there is no setting "print-config"`},
		{"twice", "data: x\ndata: y\n", "", `midspan.yaml:2: data is given more than once`},
		{"no value", "\ndata:\n", "", `midspan.yaml:2: data has no value`},
		{"a mapping", "data: {a: b}\n", "", `midspan.yaml:1: data takes a value or a list`},
		{"list of mappings", "forward: [a, {b: c}]\n", "", `midspan.yaml:1: forward holds what is no text`},
		{"list for one value", "data: [a]\n", "", `midspan.yaml:1: data takes one value, not a list`},
		{"a list", "- data\n", "", `midspan.yaml:1: write one setting a line`},
		{"no YAML", "data: 'x\n", "", `midspan.yaml: yaml: `},
		{"two documents", "data: x\n---\ndata: y\n", "", `more than one document`},
		{"too large", "data: " + strings.Repeat("x", maxConfigBytes) + "\n", "", `is larger than 1048576 bytes`},
		{"wrong duration", "retain-age: long\n", "", `midspan.yaml:1: retain-age is "long": give a duration, such as 90m, 12h or 14d`},
		{"wrong bool", "insecure: perhaps\n", "", `midspan.yaml:1: insecure is "perhaps": give true or false`},
		{"wrong number", "max-requests: 1.5\n", "", `midspan.yaml:1: max-requests is "1.5": give a whole number`},
		{"wrong variable", "", "MIDSPAN_MAX_REQUESTS=few", `MIDSPAN_MAX_REQUESTS: max-requests is "few": give a whole number`},
		{"wrong list", "", `MIDSPAN_FORWARD=a"b`, `MIDSPAN_FORWARD is "a\"b": give values separated by commas`},
		{"no file", "", "MIDSPAN_CONFIG=nowhere.yaml", `configuration: open nowhere.yaml`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := &tt.file
			if tt.file == "" {
				file = nil
			}
			_, err := serveSettings(t, nil, []string{tt.variable}, file)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if _, ok := errors.AsType[*usageError](err); !ok {
				t.Errorf("%T ends with another code than 2", err)
			}
		})
	}
}

// FuzzConfig holds that a file of settings is refused by its line, or is what is
// written and read again.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"", "listen: :80\nforward: [a, b]\n", "ack: disk # why\n", "a: &x 1\nb: *x", "listen: {}", "listen: ~", "- x", "listen: 1\nlisten: 2",
		"listen: !!binary aGk=", "<<: {listen: x}", "? [a]\n: b", "listen: \"\\ud800\"", "---\n...\n---\n", "%YAML 1.2\n---\nx", "listen: |\n  x\n", "\xef\xbb\xbflisten: x",
	} {
		f.Add(seed)
	}
	flags := newServe().Flags()
	f.Fuzz(func(t *testing.T, text string) {
		file := configFile{"midspan.yaml", flags}
		read, err := file.Unmarshal([]byte(text))
		if err != nil {
			if _, usage := errors.AsType[*usageError](err); !usage || !strings.HasPrefix(err.Error(), "midspan.yaml:") {
				t.Errorf("%v", err)
			}
			return
		}
		for name, v := range read {
			s, ok := v.(setting)
			if !ok || flags.Lookup(name) == nil || slices.Contains(commandLineOnly, name) || !strings.HasPrefix(s.At, "midspan.yaml:") {
				t.Errorf("%q reads as %+v", name, v)
			}
		}
	})
}

// So is what a setting can't be, though it is a value of its kind.
func TestValuesRefused(t *testing.T) {
	for _, tt := range []struct{ name, file, variable, want string }{
		{"limit", "data: x\nmax-depth: 99\n", "", "midspan.yaml:2: max-depth is 99: give 1 to 40"},
		{"limit of a variable", "", "MIDSPAN_MAX_DEPTH=99", "MIDSPAN_MAX_DEPTH: max-depth is 99: give 1 to 40"},
		{"time", "otlp-idle-timeout: 0s\n", "", "midspan.yaml:1: otlp-idle-timeout is 0s: give 1s to 24h0m0s"},
		{"address", "listen: here\n", "", `midspan.yaml:1: listen is "here": write it as host:port`},
		{"level", "ack: maybe\n", "", `midspan.yaml:1: ack is "maybe": give disk or memory`},
		{"command line", "", "", `--max-depth is 99: give 1 to 40`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var args []string
			if path := filepath.Join(t.TempDir(), "midspan.yaml"); tt.file != "" {
				if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--config", path)
			}
			if name, value, ok := strings.Cut(tt.variable, "="); ok {
				t.Setenv(name, value)
			}
			if args == nil && tt.variable == "" {
				args = []string{"--max-depth", "99"}
			}
			cmd := newServe()
			cmd.SetArgs(append(args, "--print-config"))
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetOut(io.Discard)
			err := cmd.Execute()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if _, ok := errors.AsType[*usageError](err); !ok {
				t.Errorf("%T ends with another code than 2", err)
			}
		})
	}
}
