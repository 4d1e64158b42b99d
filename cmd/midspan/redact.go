package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/midspan/midspan/internal/redact"
)

// The values of --redact.
const (
	redactHash   = "hash"
	redactRemove = "remove"
	redactOff    = "off"
)

// maxKeyFile bounds the file of --redact-key-file, in bytes.
const maxKeyFile = 4096

type redactFlags struct {
	mode              string
	allow, deny, keep []string
	patterns          []string
	keyFile           string
}

// declare adds the flags, with the default of --redact.
func (f *redactFlags) declare(flags *pflag.FlagSet, mode string) {
	flags.StringVar(&f.mode, "redact", mode, "what becomes of secrets before anything is kept or shown: hash or remove replaces them, off leaves them")
	flags.StringSliceVar(&f.allow, "redact-allow", nil, "take out every attribute but those with these `keys`, such as http.*,order.id")
	flags.StringSliceVar(&f.deny, "redact-deny", nil, "take out what these `keys` hold too, such as *.email,iban")
	flags.StringSliceVar(&f.keep, "redact-keep", nil, "leave what these `keys` hold, whatever it looks like")
	flags.StringArrayVar(&f.patterns, "redact-pattern", nil, "take out what a regular expression finds, as `name=expression`, or its first group; may be repeated")
	flags.StringVar(&f.keyFile, "redact-key-file", "", "key the hashes by this `file`, for the same ones after a restart and in every bridge; a random key without it")
}

// config returns what is a secret, or nil when none is taken out.
func (f *redactFlags) config() (*redact.Config, error) {
	switch f.mode {
	case redactHash, redactRemove:
	case redactOff:
		if len(f.allow)+len(f.deny)+len(f.keep)+len(f.patterns) > 0 || f.keyFile != "" {
			return nil, usagef("--redact off takes nothing out: leave --redact-allow and the flags like it away")
		}
		return nil, nil //nolint:nilnil // There is none, and that is no error.
	default:
		return nil, usagef("--redact is %q: give hash, remove or off", f.mode)
	}
	cfg := &redact.Config{Allow: f.allow, Deny: f.deny, Keep: f.keep, Remove: f.mode == redactRemove}
	for _, p := range f.patterns {
		name, expr, ok := strings.Cut(p, "=")
		if !ok || expr == "" {
			return nil, usagef("--redact-pattern is %q: write it as name=expression, for example order=ORD-[0-9]+", p)
		}
		cfg.Patterns = append(cfg.Patterns, redact.Pattern{Name: name, Expr: expr})
	}
	if f.keyFile != "" {
		if cfg.Remove {
			return nil, usagef("--redact-key-file is of hashes: leave it away, or give --redact hash")
		}
		var err error
		if cfg.HashKey, err = readHashKey(f.keyFile); err != nil {
			return nil, err
		}
	}
	if _, err := redact.New(*cfg); err != nil {
		return nil, &usageError{err}
	}
	return cfg, nil
}

// readHashKey returns what a file holds, without the space around it.
func readHashKey(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the hash key: %w", err)
	}
	defer file.Close()
	key, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the hash key: %w", err)
	}
	key = bytes.TrimSpace(key)
	if len(key) > maxKeyFile || len(key) < redact.MinHashKey {
		return nil, fmt.Errorf("hash key file %s: give %d to %d bytes, for example by `openssl rand -hex 32 > %s`", name, redact.MinHashKey, maxKeyFile, name)
	}
	return key, nil
}
