package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/midspan/midspan/api"
)

const tokenVariable = "MIDSPAN_TOKEN"

// readTokens returns the tokens of a file, one a line, with blank lines and
// those that start with # left out; without a file that of MIDSPAN_TOKEN, or
// none. No token stands on the command line, where every user could read it.
func readTokens(file string) ([]api.Token, error) {
	if file == "" {
		if token := strings.TrimSpace(os.Getenv(tokenVariable)); token != "" {
			return []api.Token{api.Token(token)}, nil
		}
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read token file: %w", err)
	}
	var tokens []api.Token
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			tokens = append(tokens, api.Token(line))
		}
	}
	if len(tokens) == 0 {
		return nil, fmt.Errorf("token file %s holds no token: write one into it, for example by `openssl rand -hex 16 > %s`", file, file)
	}
	return tokens, nil
}
