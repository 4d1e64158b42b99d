package redact

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"
)

// DeniedByDefault are the keys whose values are always taken out.
var DeniedByDefault = strings.Fields(`
*password* *passwd* *pwd *_pass pass *passphrase* *passcode*
*secret* *token *access_token* *refresh_token* *auth_token* *csrf* *xsrf*
*api_key* *apikey* *access_key* *accesskey* *private_key* *privatekey* *secret_key*
*encryption_key *enc_key *signing_key *auth_key *authkey *account_key *accountkey *shared_key *master_key *license_key
*licence_key *subscription_key *insert_key *user_key *service_key *consumer_key *session_key *storage_key *app_key
*application_key *client_key *write_key *deploy_key *ssh_key *admin_key *root_key *integration_key
*authorization *auth_header *cookie *cookies *credential *credentials *jwt *bearer
*access_id *accessid *bundle_*_com *bundle_*_org *sessid *sessionid *connection_string *connectionstring pin *_pin *otp *cvv *cvc *ssn *card_number *cardnumber *mnemonic *seed_phrase *recovery_code* *backup_code*
*passwort* *otp_code *client_assertion *code_verifier *saml_response *samlresponse
`)

// KeptByDefault are keys that a denied word stands in, but no secret.
var KeptByDefault = strings.Fields(`
*_count *_length *_len *_size *_type *_kind *_policy *_name *_version *_path *_file *_arn *_ttl *_expiry *_expires
*_expires_at *_expires_in *_expires_on *_age *_required *_enabled *_valid *_limit *_namespace *_engine *_manager
*next_token *page_token *continuation_token *sync_token *cancellation_token *max_token
db_connection_string *gpio_pin *led_pin
`)

// weakKeys are keys whose values are taken out where they look random: the same
// words often hold an ordinary name.
var weakKeys = strings.Fields(`
*client_id *clientid *api_id *consumer_id *signature *sig *_session
`)

// weakWords are keys whose values are taken out where they look random by their
// letters alone, too.
var weakWords = strings.Fields(`*_auth auth`)

// ordinaryKeys are no weak ones for all that.
var ordinaryKeys = strings.Fields(`messaging_* kafka_* mqtt_*`)

// AlwaysAllowed are the keys that Config.Allow need not list: Midspan's own,
// and what says what a span is and who made it.
var AlwaysAllowed = strings.Fields(`
activity_* midspan_* service_* telemetry_* thread_id thread_name error_type exception_type
gen_ai_operation_name gen_ai_agent_name db_system_name db_system messaging_operation_type messaging_operation messaging_system
http_request_method http_method http_response_status_code http_status_code rpc_system_name rpc_system
`)

// class is what a key says about its value.
type class uint8

const (
	plain    class = iota
	keep           // never a secret
	weak           // one where it looks random
	weakWord       // one where it does, or where its letters do
	denied         // one
	// deniedLine is one that goes to the end of its line in a text.
	deniedLine
)

// takes reports whether a value is taken out under a key of the class.
func (c class) takes(value string) bool {
	switch c {
	case weak:
		return isRandom(value)
	case weakWord:
		return isRandom(value) || isShuffled(value)
	}
	return c >= denied
}

// key is what is known of a key.
type key struct {
	class   class
	allowed bool
	dirty   bool // it is itself a secret
}

// keys knows what keys say about their values. It remembers those seen last.
type keys struct {
	allow, deny, keep []glob // allow is nil where every key is allowed
	r                 *Redactor
	seed              maphash.Seed
	seen              [seenKeys]atomic.Pointer[seenKey]
}

const (
	seenKeys   = 4096 // a power of two
	maxSeenKey = 256  // bytes of a key that is remembered
)

type seenKey struct {
	name string
	key  key
}

func newKeys(cfg Config) (*keys, error) {
	k := &keys{seed: maphash.MakeSeed()}
	for _, list := range []struct {
		name     string
		own      []string
		defaults []string
		to       *[]glob
	}{
		{"Allow", cfg.Allow, AlwaysAllowed, &k.allow},
		{"Deny", cfg.Deny, DeniedByDefault, &k.deny},
		{"Keep", cfg.Keep, nil, &k.keep},
	} {
		if len(list.own) > MaxKeys {
			return nil, fmt.Errorf("redact: %s lists %d keys: give at most %d", list.name, len(list.own), MaxKeys)
		}
		for _, pattern := range list.own {
			if len(pattern) > MaxKeyLen {
				return nil, fmt.Errorf("redact: %s: a key of %d bytes: give at most %d", list.name, len(pattern), MaxKeyLen)
			}
			if strings.Trim(pattern, "*._- ") == "" {
				return nil, fmt.Errorf("redact: %s: key %q names nothing", list.name, pattern)
			}
		}
		if list.name != "Allow" || len(list.own) > 0 {
			*list.to = globs(slices.Concat(list.own, list.defaults))
		}
	}
	return k, nil
}

// of returns what is known of a key.
func (k *keys) of(name string) key {
	if len(name) > maxSeenKey {
		return k.judge(name)
	}
	slot := &k.seen[maphash.String(k.seed, name)%seenKeys]
	if seen := slot.Load(); seen != nil && seen.name == name {
		return seen.key
	}
	judged := k.judge(name)
	if !judged.dirty { // a secret is not remembered
		slot.Store(&seenKey{strings.Clone(name), judged})
	}
	return judged
}

var (
	defaultKeep     = globs(KeptByDefault)
	defaultWeak     = globs(weakKeys)
	defaultWeakWord = globs(weakWords)
	defaultOrdinary = globs(ordinaryKeys)
	lineKeys        = globs([]string{"*cookie", "*cookies"})
)

func (k *keys) judge(name string) key {
	n := normal(name)
	j := key{allowed: k.allow == nil || match(k.allow, n)}
	own := len(k.deny) - len(DeniedByDefault)
	switch {
	case match(k.keep, n):
		j.class = keep
	case match(k.deny[:own], n):
		j.class = denied
	case match(defaultKeep, n):
	case match(lineKeys, n):
		j.class = deniedLine
	case match(k.deny[own:], n):
		j.class = denied
	case match(defaultWeak, n) && !match(defaultOrdinary, n):
		j.class = weak
	case match(defaultWeakWord, n):
		j.class = weakWord
	}
	j.dirty = j.class != keep && k.r != nil && k.r.dirty(name)
	return j
}

// normal returns a key's words in lower case, joined by underscores:
// "http.request.header.X-Api-Key" and "apiKey" are to be compared with others.
func normal(name string) string {
	b := make([]byte, 0, len(name)+8)
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			// Before a capital that follows a small letter, and before the last of
			// several when a small one follows: apiKey, AWSSecret.
			if i > 0 && (isLower(name[i-1]) || isDigit(name[i-1]) ||
				isUpper(name[i-1]) && i+1 < len(name) && isLower(name[i+1])) {
				b = append(b, '_')
			}
			b = append(b, c|0x20)
		case c == '.' || c == '-' || c == ' ' || c == '/' || c == ':' || c == '_':
			if len(b) > 0 && b[len(b)-1] != '_' {
				b = append(b, '_')
			}
		default:
			b = append(b, c)
		}
	}
	return strings.TrimSuffix(string(b), "_")
}

// glob is a text with asterisks for any text, cut at them.
type glob []string

func globs(patterns []string) []glob {
	gs := make([]glob, 0, len(patterns))
	for _, pattern := range patterns {
		parts := strings.Split(pattern, "*")
		for i := range parts {
			// A separator at an asterisk is part of the text: "*_pass".
			before, after := i > 0 && startsSeparated(parts[i]), i < len(parts)-1 && endsSeparated(parts[i])
			parts[i] = normal(parts[i])
			if before && parts[i] != "" {
				parts[i] = "_" + parts[i]
			}
			if after && parts[i] != "" {
				parts[i] += "_"
			}
		}
		gs = append(gs, parts)
	}
	return gs
}

func startsSeparated(s string) bool { return s != "" && strings.IndexByte("._- /:", s[0]) >= 0 }

func endsSeparated(s string) bool { return s != "" && startsSeparated(s[len(s)-1:]) }

func match(gs []glob, s string) bool {
	return slices.ContainsFunc(gs, func(g glob) bool { return g.match(s) })
}

func (g glob) match(s string) bool {
	if len(g) == 1 {
		return s == g[0]
	}
	first, last := g[0], g[len(g)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range g[1 : len(g)-1] {
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s = s[at+len(part):]
	}
	return true
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
