package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// exitCodes ends the help of every command that can fail in more than one way.
const exitCodes = `Exit codes:
  0  it did what was asked; an interrupt (SIGINT, SIGTERM) is a normal end
  1  it failed; the error says what to do
  2  the command line or the configuration is wrong`

// noArguments refuses arguments by name.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("'%s' takes no argument, but was given %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// oneAddress takes one argument at most.
func oneAddress(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("'%s' takes one address, but was given %q", cmd.CommandPath(), args)
	}
	return nil
}

var errTwice = errors.New("given twice")

// once is the value of a flag that takes one: the last of several would win
// without a word.
type once struct {
	pflag.Value
	given bool
}

func (o *once) Set(s string) error {
	if o.given {
		return errTwice
	}
	o.given = true
	return o.Value.Set(s)
}

// giveOnce refuses the repetition of every flag that does not take several values.
func giveOnce(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if _, many := f.Value.(pflag.SliceValue); many {
			return
		}
		f.Value = &once{Value: f.Value}
		if f.DefValue == "0s" {
			f.DefValue = "0" // the help knows that as nothing to tell
		}
	})
}

// flagError says what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		if short := e.GetSpecifiedShortnames(); short != "" {
			if name, _, _ := strings.Cut(short, "="); cmd.Flags().Lookup(name) != nil {
				return usagef("there is no flag -%s: write --%s", short, short)
			}
			return usagef("there is no flag -%s", short)
		}
		return usagef("there is no flag --%s", e.GetSpecifiedName())
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return usagef("--%s needs a value", e.GetFlag().Name)
	}
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		if errors.Is(err, errTwice) {
			return usagef("--%s is given more than once", e.GetFlag().Name)
		}
		return usagef("--%s is %q: %s", e.GetFlag().Name, e.GetValue(), wanted(e))
	}
	if e, ok := errors.AsType[*pflag.InvalidSyntaxError](err); ok {
		return usagef("%q is no flag: write --name=value", e.GetSpecifiedFlag())
	}
	return &usageError{err}
}

const wantedList = `give values separated by commas; one that holds a comma or a quote stands in "quotes", with quotes in it doubled`

// wanted says what a flag's value should look like.
func wanted(e *pflag.InvalidValueError) string {
	switch e.GetFlag().Value.Type() {
	case "bool":
		return "give true or false"
	case "int", "int64":
		return "give a whole number"
	case "float64":
		return "give a number, such as 4 or 0.5"
	case "duration":
		if errors.Is(e, errAge) {
			return errAge.Error()
		}
		return "give a duration, such as 90s or 5m"
	case "stringSlice":
		return wantedList
	}
	return fmt.Sprint(errors.Unwrap(e))
}
