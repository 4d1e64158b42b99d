package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

const (
	variablePrefix = "MIDSPAN_"
	configVariable = variablePrefix + "CONFIG"
	maxConfigBytes = 1 << 20
)

// secretVariables hold what no flag and no file of settings should.
var secretVariables = func() []string {
	names := []string{forwardHeaders}
	for _, v := range tokenVariables {
		names = append(names, v.name)
	}
	return names
}()

// commandLineOnly are the flags that are no settings.
var commandLineOnly = []string{"config", "print-config", "help"}

// variable returns the name of the environment variable that sets a flag.
func variable(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// setting is a flag's value as it was written.
type setting struct {
	Values []string // one, but of a flag that takes several any number
	At     string   // where it stands: "midspan.yaml:3", or a variable's name
}

// settings are a command's flags, and where their values came from.
type settings struct {
	flags   *pflag.FlagSet
	from    map[string]string // by flag; "default" where there is none
	secrets []string          // variables that are set, and whose values are never printed
	unknown []string          // variables that look like settings and are none
}

// configure sets the flags that the command line did not from the environment,
// and those that it did not either from the file of --config or MIDSPAN_CONFIG.
func configure(flags *pflag.FlagSet, environ []string) (*settings, error) {
	s := &settings{flags: flags, from: map[string]string{}}
	all := koanf.New(".") // later loads override earlier ones
	if err := s.loadFile(all, environ); err != nil {
		return nil, err
	}
	if err := s.loadEnvironment(all, environ); err != nil {
		return nil, err
	}
	var failed error
	flags.VisitAll(func(f *pflag.Flag) {
		from, set := all.Get(f.Name).(setting)
		switch {
		case f.Changed:
			s.from[f.Name] = "--" + f.Name
		case !set:
			s.from[f.Name] = "default"
		default:
			s.from[f.Name] = from.At
			if err := assign(flags, f, from); err != nil && failed == nil {
				failed = err
			}
		}
	})
	return s, failed
}

// place names a flag as it was given: "--listen", or "midspan.yaml:3: listen".
func (s *settings) place(flag string) string {
	if at := s.from[flag]; at != "" && at != "default" && at != "--"+flag {
		return at + ": " + flag
	}
	return "--" + flag
}

func assign(flags *pflag.FlagSet, f *pflag.Flag, from setting) error {
	if list, many := f.Value.(pflag.SliceValue); many {
		if err := list.Replace(from.Values); err != nil {
			return usagef("%s: %s is %q: %w", from.At, f.Name, from.Values, err)
		}
		return nil
	}
	if len(from.Values) != 1 {
		return usagef("%s: %s takes one value, but was given %d", from.At, f.Name, len(from.Values))
	}
	err := flags.Set(f.Name, from.Values[0])
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return usagef("%s: %s is %q: %s", from.At, f.Name, e.GetValue(), wanted(e))
	}
	return err
}

// loadFile loads the file of --config, or else of MIDSPAN_CONFIG.
func (s *settings) loadFile(all *koanf.Koanf, environ []string) error {
	path := s.flags.Lookup("config").Value.String()
	if path == "" {
		for _, v := range environ {
			if name, value, _ := strings.Cut(v, "="); name == configVariable {
				path = value
			}
		}
	}
	if path == "" {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return usagef("configuration: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxConfigBytes+1))
	if err != nil {
		return usagef("configuration: %w", err)
	}
	if len(text) > maxConfigBytes {
		return usagef("configuration %s is larger than %d bytes", path, maxConfigBytes)
	}
	return all.Load(rawbytes.Provider(text), configFile{path, s.flags})
}

// loadEnvironment loads the variables. An unknown one is no error: Kubernetes
// sets MIDSPAN_PORT and more in every pod beside a Service named midspan.
func (s *settings) loadEnvironment(all *koanf.Koanf, environ []string) error {
	flags := map[string]*pflag.Flag{configVariable: nil}
	s.flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(commandLineOnly, f.Name) {
			flags[variable(f.Name)] = f
		}
	})
	var failed error
	err := all.Load(env.Provider("", env.Opt{
		Prefix:      variablePrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			f, known := flags[name]
			switch {
			case value == "": // as if it were not set, as in OpenTelemetry
			case slices.Contains(secretVariables, name):
				s.secrets = append(s.secrets, name)
			case !known:
				s.unknown = append(s.unknown, name)
			case f != nil:
				values := []string{value}
				if _, many := f.Value.(pflag.SliceValue); many {
					var err error
					if values, err = csv.NewReader(strings.NewReader(value)).Read(); err != nil {
						failed = usagef("%s is %q: %s", name, value, wantedList)
					}
				}
				return f.Name, setting{values, name}
			}
			return "", nil
		},
	}), nil)
	slices.Sort(s.secrets)
	slices.Sort(s.unknown)
	return errors.Join(err, failed)
}

// configFile parses the file of --config for koanf: one mapping of flags' names
// to their values.
type configFile struct {
	path  string
	flags *pflag.FlagSet
}

// Unmarshal implements koanf.Parser. A key that is no setting is an error.
func (c configFile) Unmarshal(text []byte) (map[string]any, error) {
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	var document, more yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, nil // nothing but comments
	} else if err != nil {
		return nil, usagef("%s: %w", c.path, err)
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, usagef("%s: it holds more than one document", c.path)
	}
	top := document.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, usagef("%s: write one setting a line, as name: value", c.at(top))
	}
	out := make(map[string]any, len(top.Content)/2)
	for i := 0; i < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		name := key.Value
		flag := c.flags.Lookup(name)
		if flag == nil || slices.Contains(commandLineOnly, name) {
			return nil, usagef("%s: there is no setting %q%s", c.at(key), name, c.similar(name))
		}
		if _, twice := out[name]; twice {
			return nil, usagef("%s: %s is given more than once", c.at(key), name)
		}
		values, err := c.values(name, value)
		if err != nil {
			return nil, err
		}
		if _, many := flag.Value.(pflag.SliceValue); value.Kind == yaml.SequenceNode && !many {
			return nil, usagef("%s: %s takes one value, not a list", c.at(value), name)
		}
		out[name] = setting{values, c.at(key)}
	}
	return out, nil
}

// Marshal implements koanf.Parser.
func (configFile) Marshal(map[string]any) ([]byte, error) { return nil, errors.ErrUnsupported }

func (c configFile) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", c.path, n.Line) }

// values returns a value's texts as they are written: 0x10 stays that.
func (c configFile) values(name string, n *yaml.Node) ([]string, error) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag != "!!null":
		return []string{n.Value}, nil
	case n.Kind == yaml.SequenceNode:
		values := make([]string, 0, len(n.Content))
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return nil, usagef("%s: %s holds what is no text and no number", c.at(item), name)
			}
			values = append(values, item.Value)
		}
		return values, nil
	case n.Kind == yaml.ScalarNode:
		return nil, usagef("%s: %s has no value: give one, or leave it out", c.at(n), name)
	}
	return nil, usagef("%s: %s takes a value or a list", c.at(n), name)
}

// similar names the setting that a key may mean.
func (c configFile) similar(key string) string {
	plain := func(s string) string {
		return strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "").Replace(s))
	}
	text := ": 'midspan serve --help' lists them by their flags"
	c.flags.VisitAll(func(f *pflag.Flag) {
		if plain(f.Name) == plain(key) && !slices.Contains(commandLineOnly, f.Name) {
			text = fmt.Sprintf(": write %s", f.Name)
		}
	})
	return text
}

// write prints the settings as a file that --config takes, and where each came
// from. What secrets hold is left out.
func (s *settings) write(w io.Writer) error {
	top := &yaml.Node{Kind: yaml.MappingNode}
	for _, name := range s.secrets {
		top.HeadComment += name + " is set in the environment; its value is not printed.\n"
	}
	s.flags.VisitAll(func(f *pflag.Flag) {
		if slices.Contains(commandLineOnly, f.Name) {
			return
		}
		key, value := &yaml.Node{Kind: yaml.ScalarNode, Value: f.Name}, &yaml.Node{Kind: yaml.ScalarNode}
		if list, many := f.Value.(pflag.SliceValue); many {
			value.Kind, value.Style = yaml.SequenceNode, yaml.FlowStyle
			for _, text := range list.GetSlice() {
				value.Content = append(value.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: withoutPassword(text)})
			}
		} else if value.Value = f.Value.String(); f.Value.Type() == "string" {
			value.Tag = "!!str" // quoted where it would be read as another
			value.Value = withoutPassword(value.Value)
		}
		value.LineComment = s.from[f.Name]
		top.Content = append(top.Content, key, value)
	})
	encoder := yaml.NewEncoder(w)
	return errors.Join(encoder.Encode(top), encoder.Close())
}

func withoutPassword(text string) string {
	if u, err := url.Parse(text); err == nil && u.User != nil {
		return u.Redacted()
	}
	return text
}
