package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/midspan/midspan/api"
)

// tokenVariable holds a token that allows everything; those with a scope's name
// behind it hold one that allows that.
const tokenVariable = "MIDSPAN_TOKEN"

var tokenVariables = []struct {
	name  string
	scope api.Scope
}{
	{tokenVariable, api.ScopeAdmin},
	{tokenVariable + "_READ", api.ScopeRead},
	{tokenVariable + "_INGEST", api.ScopeIngest},
	{tokenVariable + "_ADMIN", api.ScopeAdmin},
}

// environmentGrants returns the tokens of the environment, which may be none. No
// token stands on the command line, where every user could read it.
func environmentGrants() (grants []api.Grant) {
	for _, v := range tokenVariables {
		if token := strings.TrimSpace(os.Getenv(v.name)); token != "" {
			grants = append(grants, api.Grant{Name: v.name, Token: api.Token(token), Scope: v.scope})
		}
	}
	return grants
}

// openKeyring returns who is admitted by the tokens of a file, which is read again
// when it changes, or without one by those of the environment: nil when there is
// none.
func openKeyring(file string, logger *slog.Logger) (*api.Keyring, error) {
	if file != "" {
		return api.OpenKeyring(file, logger)
	}
	grants := environmentGrants()
	if len(grants) == 0 {
		return nil, nil //nolint:nilnil // There is none, and that is no error.
	}
	return api.NewKeyring(grants...)
}

// readTokens returns the tokens that allow something: of a file, or without one of
// the environment. Of a file there is at least one.
func readTokens(file string, scope api.Scope) (tokens []api.Token, err error) {
	grants := environmentGrants()
	if file != "" {
		if grants, err = api.ReadGrants(file); err != nil {
			return nil, err
		}
	}
	for _, g := range grants {
		if g.Scope.Has(scope) {
			tokens = append(tokens, g.Token)
		}
	}
	if file != "" && len(tokens) == 0 {
		return nil, fmt.Errorf("token file %s holds no token with the scope %s", file, scope)
	}
	return tokens, nil
}
