// Package canary holds made-up secrets of many kinds, those of gitleaks' rules
// and a few more, with which tests look for a place that redaction missed.
package canary

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Canary is a made-up secret of one kind.
type Canary struct {
	Kind string
	// Key is the name that such a secret has where it is used; empty for one that
	// shows by itself, or by text, what it is.
	Key string
	// Form describes it: text with {h32} and the like for 32 random characters
	// of a set, {u} for a UUID, {card} for a card's number.
	Form string
	Text string // what stands around it, with %s
}

var sets = map[byte]string{
	'A': "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
	'a': "abcdefghijklmnopqrstuvwxyz0123456789",
	'U': "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
	'Q': "ABCDEFGHJKLMNPQRSTUVWXYZ234567", // base 32 and what is like it
	'C': "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
	'l': "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
	'h': "0123456789abcdef",
	'd': "0123456789",
	'b': "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
	'w': "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
}

var placeholder = regexp.MustCompile(`\{([A-Za-z])(\d*)\}|\{card\}`)

// Secret makes the canary's secret; the same one for the same seed.
func (c Canary) Secret(seed uint64) string {
	h := fnv.New64a()
	h.Write([]byte(c.Kind))
	rng := rand.New(rand.NewPCG(seed, h.Sum64()))
	pick := func(set string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = set[rng.IntN(len(set))]
		}
		// What a sentence would end with, or a name begin with, is no part of a word.
		if strings.IndexByte("-_+/", b[0]) >= 0 {
			b[0] = 'k'
		}
		if strings.IndexByte("-_+/", b[n-1]) >= 0 {
			b[n-1] = '7'
		}
		return string(b)
	}
	return placeholder.ReplaceAllStringFunc(c.Form, func(p string) string {
		switch p {
		case "{u}":
			return pick(sets['h'], 8) + "-" + pick(sets['h'], 4) + "-4" + pick(sets['h'], 3) + "-a" + pick(sets['h'], 3) + "-" + pick(sets['h'], 12)
		case "{card}":
			for {
				if n := "4" + pick(sets['d'], 15); luhn(n) {
					return n
				}
			}
		}
		n, err := strconv.Atoi(p[2 : len(p)-1])
		if err != nil || sets[p[1]] == "" {
			panic("canary " + c.Kind + ": " + p)
		}
		return pick(sets[p[1]], n)
	})
}

// luhn is written the other way round than what it tests.
func luhn(n string) bool {
	doubled := [10]int{0, 2, 4, 6, 8, 1, 3, 5, 7, 9}
	sum := 0
	for i, c := range n {
		if (len(n)-i)%2 == 0 {
			sum += doubled[c-'0']
		} else {
			sum += int(c - '0')
		}
	}
	return sum%10 == 0
}

// Mention is a text with a secret in it.
func (c Canary) Mention(secret string) string {
	switch {
	case c.Text != "":
		return fmt.Sprintf(c.Text, secret)
	case c.Key != "":
		return c.Key + "=" + secret
	}
	return "it was refused with " + secret + " just now"
}

// Part is how long the parts are that [Canary.Parts] returns, in bytes.
const Part = 12

// Parts returns what must not be left of a secret: every Part bytes in a row, or
// all of a short one. What every secret of its kind begins with does not count.
func (c Canary) Parts(secret string) []string {
	fixed, _, _ := strings.Cut(c.Form, "{")
	secret = secret[len(fixed):]
	parts := []string{secret[:min(len(secret), Part)]}
	for i := 1; i+Part <= len(secret); i++ {
		parts = append(parts, secret[i:i+Part])
	}
	return parts
}

// Remains returns a part of a secret that is still in a text, or "".
func (c Canary) Remains(secret, text string) string {
	for _, p := range c.Parts(secret) {
		if strings.Contains(text, p) {
			return p
		}
	}
	return ""
}

// Finder finds secrets in a text, much faster than Remains.
type Finder struct {
	canaries []Canary
	parts    map[[Part]byte]int // to the place in canaries
	short    map[string]int
	begins   []bool // by the first three bytes: most of a text is done with by them
}

// NewFinder returns a Finder of the secrets of canaries.
func NewFinder(canaries []Canary, seed uint64) *Finder {
	f := &Finder{canaries: canaries, parts: map[[Part]byte]int{}, short: map[string]int{}, begins: make([]bool, 1<<24)}
	for i, c := range canaries {
		for _, p := range c.Parts(c.Secret(seed)) {
			if len(p) < Part {
				f.short[p] = i
				continue
			}
			f.parts[[Part]byte([]byte(p))] = i
			f.begins[threeBytes([]byte(p))] = true
		}
	}
	return f
}

func threeBytes(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// Find returns the kinds of which a text holds a part of the secret, in order.
func (f *Finder) Find(text []byte) []string {
	found := map[string]bool{}
	for p, i := range f.short {
		if bytes.Contains(text, []byte(p)) {
			found[f.canaries[i].Kind] = true
		}
	}
	for i := 0; i+Part <= len(text); i++ {
		if f.begins[threeBytes(text[i:])] {
			if at, ok := f.parts[[Part]byte(text[i:])]; ok {
				found[f.canaries[at].Kind] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
