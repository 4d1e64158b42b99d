package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Scope is what a token allows: one of the scopes, or several.
type Scope uint8

// The scopes.
const (
	ScopeRead   Scope = 1 << iota // read activities and metrics
	ScopeIngest                   // send spans
	ScopeAdmin                    // everything, and what tells of the process itself
)

var scopeNames = [...]string{"read", "ingest", "admin"}

// String returns the names, as [ParseScope] reads them.
func (s Scope) String() string {
	var names []string
	for i, name := range scopeNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// Has reports whether the scope allows what another one asks for.
func (s Scope) Has(asked Scope) bool { return s&ScopeAdmin != 0 || s&asked == asked }

// errNoScope does not tell what stands there: in a file it may be the token.
var errNoScope = errors.New("not a scope: give read, ingest or admin, or several with commas between them")

// ParseScope reads names of scopes with commas between them.
func ParseScope(text string) (Scope, error) {
	var s Scope
names:
	for name := range strings.SplitSeq(text, ",") {
		for i, known := range scopeNames {
			if name == known {
				s |= 1 << i
				continue names
			}
		}
		return 0, errNoScope
	}
	return s, nil
}

// Grant is a token, what it allows, and the name by which messages tell it.
type Grant struct {
	Name  string
	Token Token
	Scope Scope
}

// Limits of a Keyring.
const (
	MaxGrants      = 1000
	MaxTokenLen    = 1024 // bytes of a token
	MaxGrantName   = 64   // bytes of a name
	maxKeyringFile = 256 << 10
	shortToken     = 16 // characters below which a token can be guessed

	// tokensEvery is how long a change of a keyring's file may go unnoticed.
	tokensEvery = time.Second
)

// Keyring knows the tokens that admit, by hashes of them. What leaks of these
// opens nothing by itself, but the seals sign cookies of sessions, which may
// read. It is safe for concurrent use.
type Keyring struct {
	keys atomic.Pointer[[]keyed]

	file   string // empty when the tokens stay as they are
	logger *slog.Logger
	mu     sync.Mutex // guards everything below
	looked time.Time
	text   []byte
	failed string // what was told last
}

// keyed is a grant without its token.
type keyed struct {
	Grant
	sum  [sha256.Size]byte
	seal seal
	weak bool
}

// NewKeyring returns a Keyring of at least one grant, or an error that says what
// is wrong with one, by its name.
func NewKeyring(grants ...Grant) (*Keyring, error) {
	k := &Keyring{}
	if err := k.set(grants); err != nil {
		return nil, err
	}
	return k, nil
}

// OpenKeyring returns a Keyring of the grants in a file, which is read again when
// it changes. What is wrong with it later is told to the logger; the last good
// tokens admit on.
func OpenKeyring(file string, logger *slog.Logger) (*Keyring, error) {
	k := &Keyring{file: file, logger: logger, looked: time.Now()}
	text, err := readKeyring(file)
	if err != nil {
		return nil, err
	}
	if err := k.load(text); err != nil {
		return nil, err
	}
	return k, nil
}

// ReadGrants returns what a file of tokens grants. Each of its lines is a name,
// scopes as [ParseScope] reads them, and a token, with space between them; or a
// token alone, which allows everything. Blank lines and those that start with #
// say nothing.
func ReadGrants(file string) ([]Grant, error) {
	text, err := readKeyring(file)
	if err != nil {
		return nil, err
	}
	return parseGrants(file, text)
}

func readKeyring(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read token file: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxKeyringFile+1))
	if err != nil {
		return nil, fmt.Errorf("read token file: %w", err)
	}
	if len(text) > maxKeyringFile {
		return nil, fmt.Errorf("token file %s is larger than %d bytes", name, maxKeyringFile)
	}
	return text, nil
}

func parseGrants(file string, text []byte) ([]Grant, error) {
	var grants []Grant
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		switch len(fields) {
		case 1:
			grants = append(grants, Grant{Name: fmt.Sprintf("line %d", n), Token: Token(fields[0]), Scope: ScopeAdmin})
		case 3:
			scope, err := ParseScope(fields[1])
			if err != nil {
				return nil, fmt.Errorf("token file %s, line %d: its second word is %w", file, n, err)
			}
			if len(fields[0]) > MaxGrantName || strings.Trim(fields[0], nameLetters) != "" {
				return nil, fmt.Errorf("token file %s, line %d: the name is of at most %d letters, digits, \"_\", \"-\" and \".\"", file, n, MaxGrantName)
			}
			grants = append(grants, Grant{Name: fields[0], Token: Token(fields[2]), Scope: scope})
		default: // none of it is told: one of them is a token
			return nil, fmt.Errorf("token file %s, line %d: write a token alone, or a name, scopes and a token, such as `grafana read TOKEN`", file, n)
		}
	}
	if len(grants) == 0 {
		return nil, fmt.Errorf("token file %s holds no token: write one into it, for example by `openssl rand -hex 16 > %s`", file, file)
	}
	return grants, nil
}

const nameLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."

// load makes a text the current one, or leaves it. k.mu is held, or nobody else
// has k.
func (k *Keyring) load(text []byte) error {
	grants, err := parseGrants(k.file, text)
	if err != nil {
		return err
	}
	if err := k.set(grants); err != nil {
		return fmt.Errorf("token file %s: %w", k.file, err)
	}
	k.text = text
	return nil
}

func (k *Keyring) set(grants []Grant) error {
	switch {
	case len(grants) == 0:
		return errors.New("there is no token: give one")
	case len(grants) > MaxGrants:
		return fmt.Errorf("there are %d tokens: give at most %d", len(grants), MaxGrants)
	}
	keys := make([]keyed, 0, len(grants))
	for _, g := range grants {
		switch {
		case g.Scope == 0 || g.Scope > ScopeRead|ScopeIngest|ScopeAdmin:
			return fmt.Errorf("the token %q has no scope", g.Name)
		case g.Token == "" || strings.TrimSpace(string(g.Token)) != string(g.Token):
			return fmt.Errorf("the token %q is empty or has space around it: give one of at least %d characters, for example from `openssl rand -hex 16`", g.Name, shortToken)
		case len(g.Token) > MaxTokenLen:
			return fmt.Errorf("the token %q has %d bytes: give at most %d", g.Name, len(g.Token), MaxTokenLen)
		case strings.ContainsFunc(string(g.Token), func(r rune) bool { return r <= ' ' || r > '~' }):
			return fmt.Errorf("the token %q has characters that a header can't carry: use letters and digits", g.Name)
		}
		key := keyed{
			Grant: Grant{Name: g.Name, Scope: g.Scope},
			sum:   sha256.Sum256([]byte(g.Token)), seal: sealOf(string(g.Token)), weak: len(g.Token) < shortToken,
		}
		for i := range keys {
			if keys[i].Name == key.Name {
				return fmt.Errorf("two tokens have the name %q", key.Name)
			}
			if keys[i].sum == key.sum {
				return fmt.Errorf("%q and %q are the same token", keys[i].Name, key.Name)
			}
		}
		keys = append(keys, key)
	}
	k.keys.Store(&keys)
	return nil
}

// Grant returns what a token grants, without the token, or false for an unknown
// one. It compares with every token, in a time that tells nothing of them.
func (k *Keyring) Grant(token string) (Grant, bool) { return k.grantOf(sha256.Sum256([]byte(token))) }

func (k *Keyring) grantOf(sum [sha256.Size]byte) (Grant, bool) {
	k.refresh()
	keys := *k.keys.Load()
	found := 0
	for i := range keys {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(sum[:], keys[i].sum[:]), i+1, found)
	}
	if found == 0 {
		return Grant{}, false
	}
	return keys[found-1].Grant, true
}

// sealer returns the key whose seal a ticket bears, of those that may read. It
// tries every one, as Grant does.
func (k *Keyring) sealer(t ticket) (keyed, bool) {
	k.refresh()
	var found keyed
	ok := false
	for _, key := range *k.keys.Load() {
		if key.Scope.Has(ScopeRead) && t.sealed(key.seal) {
			found, ok = key, true
		}
	}
	return found, ok
}

// guessable returns the names of tokens that are too short.
func (k *Keyring) guessable() (names []string) {
	for _, key := range *k.keys.Load() {
		if key.weak {
			names = append(names, key.Name)
		}
	}
	return names
}

// refresh reads the file again if it was not looked at for a while.
func (k *Keyring) refresh() {
	if k.file == "" || !k.mu.TryLock() { // who looks at it now looks for all
		return
	}
	defer k.mu.Unlock()
	if time.Since(k.looked) < tokensEvery {
		return
	}
	k.looked = time.Now()
	text, err := readKeyring(k.file)
	if err == nil {
		if bytes.Equal(text, k.text) {
			k.failed = ""
			return
		}
		err = k.load(text)
	}
	switch {
	case err == nil:
		k.failed = ""
		k.logger.Info("tokens were read again", slog.String("file", k.file), slog.Int("tokens", len(*k.keys.Load())))
	case err.Error() != k.failed: // once, not at each request
		k.failed = err.Error()
		k.logger.Warn("the token file changed and cannot be used: the last good tokens admit on", slog.Any("error", err))
	}
}
