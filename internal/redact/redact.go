// Package redact takes secrets out of events before anything is written: by
// the attribute's key, and by what a text shows of itself. What it takes out is
// replaced by a keyed hash, so that equal secrets can still be told to be
// equal, or by a fixed word.
//
// It looks for what got into telemetry by accident. It does not keep a sender
// from hiding something on purpose.
package redact

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/midspan/midspan/activity"
)

// Limits of Config.
const (
	MaxPatterns = 64   // own patterns
	MaxPattern  = 1024 // bytes of one expression
	MaxKeys     = 1000 // of each list of keys
	MaxKeyLen   = 256  // bytes of one of them
	MaxName     = 64   // bytes of a pattern's name
	MinHashKey  = 16   // bytes
)

const (
	removed    = "[redacted]"
	hashPrefix = "redacted:hmac:"
	hashDigits = 16
	// maxShared and maxSharedBytes bound the resources and the scopes that are
	// remembered.
	maxShared      = 1 << 15
	maxSharedBytes = 16 << 20
)

// Config says what is a secret. The zero Config takes out what is commonly one.
//
// Keys are compared without regard to case and separators: "user.email" also
// means user_email, User-Email and userEmail. An asterisk stands for any text.
type Config struct {
	// Allow, when it is set, lists the only attributes that keep their values.
	// Midspan's own attributes and those that say what a span is and who made
	// it always do: see AlwaysAllowed.
	Allow []string
	// Deny lists keys whose values are always taken out, beside those of
	// DeniedByDefault: of attributes, and of assignments and JSON within a text.
	Deny []string
	// Keep lists keys whose values are left alone, whatever they look like.
	Keep []string
	// Patterns are looked for in every text, beside the built-in rules; at most
	// MaxPatterns.
	Patterns []Pattern
	// Remove replaces by "[redacted]" instead of a keyed hash.
	Remove bool
	// HashKey keys the hashes, in at least MinHashKey bytes; with the same key
	// a secret has the same hash in every process. Defaults to a random one.
	HashKey []byte
}

// Pattern is a secret of the operator's own.
type Pattern struct {
	// Name is what it is counted by: at most MaxName letters, digits, "_", "-" and ".".
	Name string
	// Expr is a regular expression in RE2's syntax, of at most MaxPattern
	// bytes. Where it has a group, the first one is what is taken out.
	Expr string
}

// rule is what something was taken out by.
type rule int

const (
	byAllow rule = iota
	byKey
	byAssignment
	byHeader
	byURL
	byToken
	byJWT
	byPrivateKey
	byCard
	byWebhook
	byKubernetes
	byFailure // a text that the rules can't read
	byPattern // the first of Config.Patterns, and on from there
)

var ruleNames = [...]string{
	"allow", "key", "assignment", "header", "url", "token", "jwt", "private_key", "card", "webhook", "kubernetes", "failure",
}

// Count is how often a rule has taken something out. What many events share,
// a resource or a scope, counts once.
type Count struct {
	Rule string
	N    uint64
}

// Redactor takes secrets out of events. It is safe for concurrent use.
type Redactor struct {
	remove   bool
	hashKey  []byte
	keys     *keys
	patterns []pattern
	counts   []atomic.Uint64 // by rule

	mu        sync.Mutex // guards everything below
	resources shared[activity.Resource]
	scopes    shared[activity.Scope]
}

type pattern struct {
	name    string
	expr    *regexp.Regexp
	literal string // stands in every match, at its begin
}

// New returns a Redactor, or an error that says what is wrong with cfg.
func New(cfg Config) (*Redactor, error) {
	r := &Redactor{remove: cfg.Remove, hashKey: slices.Clone(cfg.HashKey)}
	switch n := len(r.hashKey); {
	case n == 0:
		r.hashKey = make([]byte, sha256.Size)
		_, _ = rand.Read(r.hashKey) // never fails
	case n < MinHashKey:
		return nil, fmt.Errorf("redact: the hash key has %d bytes: give at least %d, for example from `openssl rand -hex 32`", n, MinHashKey)
	}
	if len(cfg.Patterns) > MaxPatterns {
		return nil, fmt.Errorf("redact: %d patterns: give at most %d", len(cfg.Patterns), MaxPatterns)
	}
	for i, p := range cfg.Patterns {
		compiled, err := compile(p)
		if err != nil {
			return nil, fmt.Errorf("redact: pattern %d, %q: %w", i+1, p.Name, err)
		}
		if slices.Contains(ruleNames[:], p.Name) || slices.ContainsFunc(r.patterns, func(q pattern) bool { return q.name == p.Name }) {
			return nil, fmt.Errorf("redact: pattern %d, %q: the name is taken", i+1, p.Name)
		}
		r.patterns = append(r.patterns, compiled)
	}
	var err error
	if r.keys, err = newKeys(cfg); err != nil {
		return nil, err
	}
	r.keys.r = r
	r.counts = make([]atomic.Uint64, int(byPattern)+len(r.patterns))
	return r, nil
}

const nameLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."

func compile(p Pattern) (pattern, error) {
	switch {
	case p.Name == "":
		return pattern{}, errors.New("it has no name")
	case len(p.Name) > MaxName || strings.Trim(p.Name, nameLetters) != "":
		return pattern{}, fmt.Errorf("its name is that of a count: give at most %d letters, digits, \"_\", \"-\" and \".\"", MaxName)
	case len(p.Expr) > MaxPattern:
		return pattern{}, fmt.Errorf("its expression has %d bytes: at most %d are allowed", len(p.Expr), MaxPattern)
	}
	expr, err := regexp.Compile(p.Expr)
	if err != nil {
		return pattern{}, err
	}
	if expr.MatchString("") {
		return pattern{}, errors.New("its expression matches the empty text, so it would match everywhere")
	}
	literal, _ := expr.LiteralPrefix()
	return pattern{name: p.Name, expr: expr, literal: literal}, nil
}

// Counts returns what was taken out since the start, by rule.
func (r *Redactor) Counts() []Count {
	counts := make([]Count, len(r.counts))
	for i := range counts {
		counts[i] = Count{Rule: r.name(rule(i)), N: r.counts[i].Load()}
	}
	return counts
}

func (r *Redactor) name(by rule) string {
	if by < byPattern {
		return ruleNames[by]
	}
	return r.patterns[by-byPattern].name
}

// Events takes the secrets out of events, in place. Resources, scopes and
// nested values may be shared, so they are replaced and never written to.
func (r *Redactor) Events(events []activity.Event) {
	var resource, cleanResource *activity.Resource
	var scope, cleanScope *activity.Scope
	for i := range events {
		e := &events[i]
		if e.Resource != nil {
			if e.Resource != resource {
				resource, cleanResource = e.Resource, r.Resource(e.Resource)
			}
			e.Resource = cleanResource
		}
		if e.Scope != nil {
			if e.Scope != scope {
				scope, cleanScope = e.Scope, r.scope(e.Scope)
			}
			e.Scope = cleanScope
		}
		e.Name = r.text(e.Name)
		e.StatusMessage = r.text(e.StatusMessage)
		e.TraceState = r.text(e.TraceState)
		r.Attrs(e.Attrs)
		for j := range e.Links {
			l := &e.Links[j]
			l.TraceState = r.text(l.TraceState)
			r.Attrs(l.Attrs)
		}
		for j := range e.SpanEvents {
			s := &e.SpanEvents[j]
			s.Name = r.text(s.Name)
			r.Attrs(s.Attrs)
		}
	}
}

// Text returns a text without secrets: the same one where there are none.
func (r *Redactor) Text(s string) string { return r.text(s) }

// Resource returns a resource without secrets: the same one for the same one,
// since whoever holds events compares resources by their place in memory.
func (r *Redactor) Resource(of *activity.Resource) *activity.Resource {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.resources.clean(of, func() (*activity.Resource, int) {
		attrs := slices.Clone(of.Attrs)
		changed := r.Attrs(attrs)
		for i := range attrs {
			// What tells processes apart still does, and is not too long to do so.
			if before := &of.Attrs[i].Value; attrs[i].Key == activity.KeyLeaseID && !attrs[i].Value.Equal(*before) {
				attrs[i].Value = activity.StringValue(r.hash(before.Text()))
			}
		}
		c := activity.NewResource(attrs, r.text(of.SchemaURL))
		if c.Dropped = of.Dropped; c.Service == "" {
			c.Service = r.text(of.Service)
		}
		if c.Instance == "" {
			c.Instance = r.text(of.Instance)
		}
		size := len(c.Service) + len(c.Instance) + len(c.SchemaURL) + sizeOf(attrs)
		if !changed && c.Service == of.Service && c.Instance == of.Instance && c.SchemaURL == of.SchemaURL {
			return of, size
		}
		return c, 2 * size
	})
}

func (r *Redactor) scope(of *activity.Scope) *activity.Scope {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.scopes.clean(of, func() (*activity.Scope, int) {
		c := *of
		c.Name, c.Version, c.SchemaURL = r.text(c.Name), r.text(c.Version), r.text(c.SchemaURL)
		c.Attrs = slices.Clone(c.Attrs)
		changed := r.Attrs(c.Attrs)
		size := len(c.Name) + len(c.Version) + len(c.SchemaURL) + sizeOf(c.Attrs)
		if !changed && c.Name == of.Name && c.Version == of.Version && c.SchemaURL == of.SchemaURL {
			return of, size
		}
		return &c, 2 * size
	})
}

// shared remembers what was made of shared values. When it holds too much it
// forgets all, which costs time and nothing else. Its zero value is ready to use.
type shared[T any] struct {
	known map[*T]*T
	bytes int
}

// clean returns what was made of a shared value, with the bytes that are held for
// it. What was made is itself remembered as clean, since an event may come by twice.
func (s *shared[T]) clean(of *T, redact func() (*T, int)) *T {
	if c := s.known[of]; c != nil {
		return c
	}
	c, size := redact()
	if s.bytes += size; s.known == nil || len(s.known) >= maxShared-1 || s.bytes > maxSharedBytes {
		s.known, s.bytes = make(map[*T]*T), size
	}
	s.known[of], s.known[c] = c, c
	return c
}

// sizeOf returns the bytes of attributes, about.
func sizeOf(attrs []activity.Attr) int {
	n := 0
	for i := range attrs {
		n += len(attrs[i].Key) + sizeOfValue(&attrs[i].Value)
	}
	return n
}

func sizeOfValue(v *activity.Value) int {
	n := int(unsafe.Sizeof(activity.Attr{})) + len(v.Str()) + sizeOf(v.Map())
	list := v.Slice()
	for i := range list {
		n += sizeOfValue(&list[i])
	}
	return n
}

// Attrs takes the secrets out of attributes, in place, and reports whether it
// changed any. Nested values are replaced.
func (r *Redactor) Attrs(attrs []activity.Attr) (changed bool) {
	for i := range attrs {
		a := &attrs[i]
		key := r.keys.of(a.Key)
		value, differs := r.value(a.Value, key, true)
		if differs {
			a.Value, changed = value, true
		}
		if key.dirty { // a key that is itself a secret
			a.Key, changed = r.text(a.Key), true
		}
	}
	return changed
}

// value returns a value without secrets, and whether it differs. top says that
// its key is an attribute's, so that it may be one that is not allowed.
func (r *Redactor) value(v activity.Value, key key, top bool) (activity.Value, bool) {
	switch {
	case key.class == keep:
		return v, false
	case key.class >= denied:
		return r.replaced(v, byKey)
	case top && !key.allowed:
		return r.replaced(v, byAllow)
	}
	switch v.Kind() {
	case activity.KindString, activity.KindBytes:
		s := v.Str()
		if key.class.takes(s) {
			return r.replaced(v, byKey)
		}
		if clean := r.text(s); len(clean) != len(s) || clean != s {
			if v.Kind() == activity.KindBytes {
				return activity.BytesValue(clean), true
			}
			return activity.StringValue(clean), true
		}
	case activity.KindInt, activity.KindFloat:
		if n := cardNumber(v); n != "" {
			return activity.StringValue(r.replacement(n, byCard)), true
		}
	case activity.KindSlice:
		return r.slice(v, key)
	case activity.KindMap:
		return r.object(v)
	}
	return v, false
}

// slice returns an array without secrets. An argument that follows an option
// such as --password is one.
func (r *Redactor) slice(v activity.Value, key key) (activity.Value, bool) {
	list := v.Slice()
	var clean []activity.Value
	option := plain // what the argument before says of this one
	for i, e := range list {
		var c activity.Value
		var differs bool
		s := e.Str()
		if option.takes(s) {
			c, differs = r.replaced(e, byAssignment)
			option = plain
		} else {
			c, differs = r.value(e, key, false)
			option = plain
			if len(s) > 2 && s[0] == '-' && strings.IndexByte(s, '=') < 0 {
				option = r.keys.of(strings.TrimLeft(s, "-")).class
			}
		}
		if !differs {
			continue
		}
		if clean == nil {
			clean = slices.Clone(list)
		}
		clean[i] = c
	}
	if clean == nil {
		return v, false
	}
	return activity.SliceValue(clean), true
}

// object returns a map without secrets. Of a pair such as name=Cookie,
// value=… the name says what the value is.
func (r *Redactor) object(v activity.Value) (activity.Value, bool) {
	attrs := v.Map()
	var named key
	for i := range attrs {
		if k := attrs[i].Key; strings.EqualFold(k, "name") || strings.EqualFold(k, "key") {
			named = r.keys.of(attrs[i].Value.Str())
		}
	}
	var clean []activity.Attr
	for i, a := range attrs {
		key := r.keys.of(a.Key)
		if named.class >= weak && strings.EqualFold(a.Key, "value") {
			key = named
		}
		c, differs := r.value(a.Value, key, false)
		if !differs && !key.dirty {
			continue
		}
		if clean == nil {
			clean = slices.Clone(attrs)
		}
		clean[i].Value = c
		if key.dirty {
			clean[i].Key = r.text(a.Key)
		}
	}
	if clean == nil {
		return v, false
	}
	return activity.MapValue(clean), true
}

// replaced returns a value with everything in it taken out. Its form stays, and
// so do booleans: they tell nothing.
func (r *Redactor) replaced(v activity.Value, by rule) (activity.Value, bool) {
	switch v.Kind() {
	case activity.KindEmpty, activity.KindBool:
		return v, false
	case activity.KindSlice:
		list := slices.Clone(v.Slice())
		for i := range list {
			list[i], _ = r.replaced(list[i], by)
		}
		return activity.SliceValue(list), true
	case activity.KindMap:
		attrs := slices.Clone(v.Map())
		for i := range attrs {
			attrs[i].Value, _ = r.replaced(attrs[i].Value, by)
		}
		return activity.MapValue(attrs), true
	}
	s := v.Text()
	if s == "" || isReplacement(s) {
		return v, false
	}
	return activity.StringValue(r.replacement(s, by)), true
}

// replacement returns what stands for a secret, and counts it.
func (r *Redactor) replacement(secret string, by rule) string {
	r.counts[by].Add(1)
	if r.remove {
		return removed
	}
	return r.hash(secret)
}

func (r *Redactor) hash(secret string) string {
	mac := hmac.New(sha256.New, r.hashKey)
	mac.Write([]byte(secret))
	var sum [sha256.Size]byte
	return hashPrefix + hex.EncodeToString(mac.Sum(sum[:0])[:hashDigits/2])
}

// isReplacement reports whether a text is what replacement returned before.
func isReplacement(s string) bool {
	if digits, ok := strings.CutPrefix(s, hashPrefix); ok {
		return len(digits) == hashDigits && strings.Trim(digits, "0123456789abcdef") == ""
	}
	return s == removed
}
