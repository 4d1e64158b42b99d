package redact

import (
	"math"
	"strconv"
	"strings"

	"github.com/midspan/midspan/activity"
)

// form is what tokens of one kind look like: how they begin, and what follows.
type form struct {
	prefix string
	least  int    // bytes after the prefix, of letters, digits, "-", "_" and
	more   string // these
	// known says that 16 characters of base 32 behind the prefix are enough.
	known bool
	// fits, where it is set, looks at the whole token and returns its end, or 0.
	fits func(s string, from int) int
	by   rule // byToken where it is zero
}

// forms are tokens that show what they are: by a prefix that their issuer chose
// so that scanners find them, or by their structure.
var forms = []form{
	{prefix: "1%2F%2F0", least: 40},
	{prefix: "1%2f%2f0", least: 40},
	{prefix: "1//0", least: 40},
	{prefix: "A3-", least: 28},
	{prefix: "AA", fits: telegram},
	{prefix: "AAAAAAAAAAAAAAAAAAAAAA", fits: twitter},
	{prefix: "ABIA", least: 16, known: true},
	{prefix: "ABSK", least: 100, more: "+/="},
	{prefix: "ACCA", least: 16, known: true},
	{prefix: "AGE-SECRET-KEY-1", least: 50},
	{prefix: "AIza", least: 34},
	{prefix: "AKCp", least: 60},
	{prefix: "AKIA", least: 16, known: true},
	{prefix: "API-", fits: octopus},
	{prefix: "AQVN", least: 34},
	{prefix: "ASIA", least: 16, known: true},
	{prefix: "ATATT3", least: 60, more: "="},
	{prefix: "EAA", least: 80},
	{prefix: "EAAA", least: 50},
	{prefix: "EZAK", least: 50},
	{prefix: "EZTK", least: 50},
	{prefix: "FLWPUBK", least: 30},
	{prefix: "FLWSECK-", least: 30},
	{prefix: "FLWSECK_TEST-", least: 12},
	{prefix: "GOCSPX-", least: 24},
	{prefix: "GR1348941", least: 20},
	{prefix: "HRKU-", least: 50},
	{prefix: "LTAI", least: 16},
	{prefix: "NRAK-", least: 20},
	{prefix: "NRII-", least: 20},
	{prefix: "NRJS-", least: 19},
	{prefix: "PMAK-", least: 50},
	{prefix: "SG.", least: 60, more: "."},
	{prefix: "SK", fits: twilio},
	{prefix: "YC", fits: yandex},
	{prefix: "ZXlK", least: 100, more: "+/="},
	{prefix: "access-development-", least: 30},
	{prefix: "access-production-", least: 30},
	{prefix: "access-sandbox-", least: 30},
	{prefix: "api_org_", least: 30},
	{prefix: "authress_", fits: authress},
	{prefix: "cmVmd", least: 50},
	{prefix: "dapi", fits: databricks},
	{prefix: "dnkey-", least: 50},
	{prefix: "doo_v1_", least: 40},
	{prefix: "dop_v1_", least: 40},
	{prefix: "dor_v1_", least: 40},
	{prefix: "dp.", fits: doppler},
	{prefix: "dt0c01.", least: 60, more: "."},
	{prefix: "duffel_live_", least: 30, more: "="},
	{prefix: "duffel_test_", least: 30, more: "="},
	{prefix: "ext_", fits: authress},
	{prefix: "eyJ", fits: jwt, by: byJWT},
	{prefix: "eyJrIjoi", least: 60, more: "+/="},
	{prefix: "fio-u-", least: 40, more: "="},
	{prefix: "fm1a_", least: 40, more: "+/="},
	{prefix: "fm1r_", least: 40, more: "+/="},
	{prefix: "fm2_", least: 40, more: "+/="},
	{prefix: "fo1_", least: 40},
	{prefix: "gho_", least: 30},
	{prefix: "ghp_", least: 30},
	{prefix: "ghr_", least: 30},
	{prefix: "ghs_", least: 30},
	{prefix: "ghu_", least: 30},
	{prefix: "github_pat_", least: 40},
	{prefix: "glagent-", least: 40},
	{prefix: "glc_", least: 32, more: "+/="},
	{prefix: "glcbt-", least: 20},
	{prefix: "gldt-", least: 20},
	{prefix: "glffct-", least: 20},
	{prefix: "glft-", least: 20},
	{prefix: "glimt-", least: 20},
	{prefix: "gloas-", least: 40},
	{prefix: "glpat-", least: 20, more: "."},
	{prefix: "glptt-", least: 40},
	{prefix: "glrt-", least: 20, more: "."},
	{prefix: "glsa_", least: 30},
	{prefix: "glsoat-", least: 20},
	{prefix: "hf_", least: 30},
	{prefix: "hvb.", least: 100},
	{prefix: "hvs.", least: 24},
	{prefix: "ico-", least: 32},
	{prefix: "key-", fits: mailgun},
	{prefix: "lin_api_", least: 36},
	{prefix: "npm_", least: 30},
	{prefix: "ntn_", least: 40},
	{prefix: "ops_eyJ", least: 100, more: "+/="},
	{prefix: "pat", fits: airtable},
	{prefix: "pat.", least: 60, more: "."},
	{prefix: "pk.", least: 80, more: "."},
	{prefix: "pscale_oauth_", least: 30, more: ".="},
	{prefix: "pscale_pw_", least: 30, more: ".="},
	{prefix: "pscale_tkn_", least: 30, more: ".="},
	{prefix: "pubkey-", fits: mailgun},
	{prefix: "pul-", least: 40},
	{prefix: "pypi-", least: 50},
	{prefix: "rdme_", least: 60},
	{prefix: "rk_live_", least: 16},
	{prefix: "rk_test_", least: 16},
	{prefix: "rubygems_", least: 40},
	{prefix: "s-s4t2", least: 60},
	{prefix: "sat.", least: 60, more: "."},
	{prefix: "sbp_", least: 40},
	{prefix: "sc_", fits: authress},
	{prefix: "sgp_", least: 40},
	{prefix: "sha256~", least: 40},
	{prefix: "shippo_live_", least: 40},
	{prefix: "shippo_test_", least: 40},
	{prefix: "shpat_", least: 30},
	{prefix: "shpca_", least: 30},
	{prefix: "shppa_", least: 30},
	{prefix: "shpss_", least: 30},
	{prefix: "sk-", least: 20},
	{prefix: "sk_live_", least: 16},
	{prefix: "sk_test_", least: 16},
	{prefix: "sl.", least: 100},
	{prefix: "sm_aat_", least: 16},
	{prefix: "sm_pat_", least: 16},
	{prefix: "sm_sat_", least: 16},
	{prefix: "sntrys_", least: 80, more: "+/="},
	{prefix: "sntryu_", least: 40},
	{prefix: "sq0atp-", least: 20},
	{prefix: "t1.", least: 100, more: ".="},
	{prefix: "tfp_", least: 40, more: ".="},
	{prefix: "tk-us-", least: 40},
	{prefix: "v1.0-", least: 140},
	{prefix: "xapp-", least: 20},
	{prefix: "xkeysib-", least: 60},
	{prefix: "xoxa-", least: 10},
	{prefix: "xoxb-", least: 10},
	{prefix: "xoxc-", least: 10},
	{prefix: "xoxd-", least: 10, more: "%+/="},
	{prefix: "xoxe-", least: 20},
	{prefix: "xoxe.", least: 60, more: "."},
	{prefix: "xoxo-", least: 10},
	{prefix: "xoxp-", least: 10},
	{prefix: "xoxr-", least: 10},
	{prefix: "xoxs-", least: 10},
	{prefix: "ya29.", least: 30, more: "."},
}

// byStart holds the forms by their first two bytes.
var byStart = func() map[[2]byte][]form {
	by := map[[2]byte][]form{}
	for _, f := range forms {
		at := [2]byte{f.prefix[0], f.prefix[1]}
		by[at] = append(by[at], f)
	}
	return by
}()

// starts has a bit for each three bytes with which a form begins; others may
// share it. Most words of most texts are done with after one look at it.
var starts = func() *[1 << 10]uint64 {
	bits := new([1 << 10]uint64)
	for _, f := range forms {
		for c := range 256 {
			if len(f.prefix) > 2 && byte(c) != f.prefix[2] {
				continue
			}
			at := mix(f.prefix[0], f.prefix[1], byte(c))
			bits[at>>6] |= 1 << (at & 63)
		}
	}
	return bits
}()

func mix(a, b, c byte) uint16 { return uint16(a) ^ uint16(b)<<5 ^ uint16(c)<<9 }

// startsToken reports whether a token may begin at a place.
func startsToken(s string, at int) bool {
	if at+2 >= len(s) {
		return false
	}
	bit := mix(s[at], s[at+1], s[at+2])
	return starts[bit>>6]&(1<<(bit&63)) != 0
}

// How far token looks to know a token, which may go on behind it: at one of
// many parts, and at one that is a run of them.
const (
	maxParts = 4096
	maxNear  = 320
)

// token returns where the token ends that begins at a word, or 0.
func token(whole string, from int) (end int, by rule) {
	s := whole[:min(len(whole), from+maxParts)]
	if len(s) < from+2 {
		return 0, 0
	}
	for i := range byStart[[2]byte{s[from], s[from+1]}] {
		f := &byStart[[2]byte{s[from], s[from+1]}][i]
		if !strings.HasPrefix(s[from:], f.prefix) {
			continue
		}
		if end = f.end(s, from); end == 0 {
			continue
		}
		switch {
		case f.fits == nil && end == from+maxNear:
			end = tokenEnd(whole, end, "-_"+f.more)
		case f.fits != nil && end == from+maxParts:
			end = tokenEnd(whole, end, "-_.")
		}
		if f.by != 0 {
			return end, f.by
		}
		return end, byToken
	}
	return 0, 0
}

// end returns where a token of the form ends, or 0 where it is none.
func (f *form) end(s string, from int) int {
	if f.fits != nil {
		return f.fits(s, from)
	}
	s = s[:min(len(s), from+maxNear)]
	begin := from + len(f.prefix)
	end := tokenEnd(s, begin, "-_"+f.more)
	for end > begin && s[end-1] == '.' { // of a sentence
		end--
	}
	switch body := s[begin:end]; {
	case end-begin < f.least:
		return 0
	case hasDigit(body) || hasInnerCapital(body):
		return end
	case f.known && isKeyID(body):
		return begin + keyIDLen
	}
	return 0
}

// keyIDLen is how long an AWS key's id is behind its prefix.
const keyIDLen = 16

// isKeyID reports whether a text begins with an AWS key's id, of which one in 28
// has no digit. A continent's parts in capitals are none.
func isKeyID(s string) bool {
	return strings.Trim(s[:keyIDLen], "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == "" && (len(s) == keyIDLen || s[keyIDLen] == '-') &&
		!strings.HasPrefix(s, "PACIFIC")
}

// vendorToken returns where a token ends that says what it is by the word at the
// given place, as in acme_live_…, sk-…, api_key_…, or 0. Ids that many systems
// put behind a word are none: trace and span ids, digests, UUIDs and ULIDs.
func vendorToken(s string, from, to int) int {
	switch s[from:to] {
	case "sk", "pw", "pat", "key", "tok", "tkn", "api", "live", "test", "prod", "token", "oauth", "secret", "sandbox":
	default:
		return 0
	}
	begin := to + 1
	end := tokenEnd(s, begin, "")
	for words := 0; words < 2 && end-begin < 10 && end < len(s) && table[s[end]]&dash != 0; words++ { // live_pub_…
		begin = end + 1
		end = tokenEnd(s, begin, "")
	}
	body := s[begin:end]
	if len(body) < 20 || !hasDigit(body) || strings.Trim(body, "0123456789") == "" || isDigest(body) || isULID(body) {
		return 0
	}
	return tokenEnd(s, end, "-_")
}

// prefixedToken returns where a token ends that nobody here knows, but that has
// a short prefix and behind it more randomness than an id needs, or 0. An id
// of 128 bits has 22 letters and digits; what was made to be a secret, and
// marked by its maker, has more.
func prefixedToken(s string, from, to int) int {
	if to-from > 12 || isDigit(s[from]) || from > 0 && table[s[from-1]]&(alnum|dash) != 0 && (from < 3 || s[from-3] != '%') {
		return 0
	}
	end := tokenEnd(s, to, "-_")
	if end-to < 31 {
		return 0
	}
	for part := range strings.FieldsFuncSeq(s[to:end], func(r rune) bool { return r == '-' || r == '_' }) {
		var digits, groups int // a group is digits in a row
		lower, upper := false, false
		for i := range len(part) {
			switch c := part[i]; {
			case isDigit(c):
				digits++
				if i == 0 || !isDigit(part[i-1]) {
					groups++
				}
			case isLower(c):
				lower = true
			default:
				upper = true
			}
		}
		mixed := lower && upper && len(part) >= 16 && groups >= 2
		long := len(part) >= 30 && groups >= 4 && digits < len(part) && !isHexText(part)
		if mixed || long {
			return end
		}
	}
	return 0
}

// isDigest reports whether a word is as long as a common id or digest in hex.
func isDigest(s string) bool {
	switch len(s) {
	case 16, 24, 32, 40, 56, 64, 96, 128:
		return isHexText(s)
	}
	return false
}

func isHexText(s string) bool { return strings.Trim(s, "0123456789abcdefABCDEF") == "" }

func isULID(s string) bool {
	return len(s) == 26 && s[0] <= '7' && strings.Trim(s, "0123456789ABCDEFGHJKMNPQRSTVWXYZabcdefghjkmnpqrstvwxyz") == ""
}

// jwt looks for the three parts of a signed token or the five of an encrypted
// one, of which a text may have been cut. Cursors of many APIs begin like a
// token, but have one part.
func jwt(s string, from int) int {
	if from > 0 && table[s[from-1]]&dash != 0 {
		return 0
	}
	end := tokenEnd(s, from, "-_=")
	if end-from < 10 {
		return 0
	}
	parts := 1
	for end+1 < len(s) && s[end] == '.' && table[s[end+1]]&(alnum|dash) != 0 {
		begin := end + 1
		end = tokenEnd(s, begin, "-_=")
		parts++
		if parts == 2 && end == len(s) && strings.HasPrefix(s[begin:], "eyJ") {
			return end
		}
	}
	if parts < 3 {
		return 0
	}
	return end
}

// telegram is a bot's number, a colon, AA and 33 bytes, of which the number is
// known to all.
func telegram(s string, from int) int {
	number := strings.TrimSuffix(strings.TrimSuffix(s[:from], ":"), "%3A")
	end := tokenEnd(s, from, "-_")
	if len(number) == from || len(number) < 8 || strings.Trim(number[len(number)-8:], "0123456789") != "" || end-from < 34 {
		return 0
	}
	return end
}

// twitter is 22 letters A and at least 80 letters and digits, some of them
// encoded. Zeros in base64 begin so too, within other letters.
func twitter(s string, from int) int {
	end := tokenEnd(s, from, "%")
	if end-from < 22+80 || s[from+22] == 'A' && s[from+23] == 'A' || from > 0 && s[from-1] == '+' || !hasDigit(s[from:end]) {
		return 0
	}
	return end
}

// authress is an id, a key's id, an account and a key.
func authress(s string, from int) int {
	if from > 0 && table[s[from-1]]&(dash|dot) != 0 {
		return 0
	}
	end := tokenEnd(s, from, "-_.+/=")
	if parts := strings.Split(s[from:end], "."); len(parts) < 4 || !strings.HasPrefix(parts[2], "acc") || len(parts[3]) < 30 {
		return 0
	}
	return end
}

// databricks is dapi and 32 hex digits.
func databricks(s string, from int) int {
	end := tokenEnd(s, from, "-_")
	if end-from < 36 || !isHexText(s[from+4:from+36]) {
		return 0
	}
	return end
}

// doppler is dp, what sort of token it is, and at least 40 letters and digits.
func doppler(s string, from int) int {
	if from > 0 && s[from-1] == '.' {
		return 0
	}
	end := tokenEnd(s, from, ".")
	if parts := strings.Split(s[from:end], "."); len(parts) != 3 || len(parts[1]) > 5 || len(parts[2]) < 40 {
		return 0
	}
	return end
}

// mailgun is a word and 32 hex digits.
func mailgun(s string, from int) int {
	if from > 0 && table[s[from-1]]&dash != 0 {
		return 0
	}
	end := tokenEnd(s, from, "-_")
	word, digits, _ := strings.Cut(s[from:end], "-")
	if len(digits) != 32 || !isHexText(digits) || word != "key" && word != "pubkey" {
		return 0
	}
	return end
}

// octopus is API- and 26 capitals and digits.
func octopus(s string, from int) int {
	end := tokenEnd(s, from, "-_")
	body := s[from+len("API-") : end]
	if len(body) != 26 || strings.Trim(body, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" || !hasDigit(body) {
		return 0
	}
	return end
}

// twilio is SK and 32 hex digits.
func twilio(s string, from int) int {
	end := tokenEnd(s, from, "-_")
	if end-from != 34 || !isHexText(s[from+2:end]) {
		return 0
	}
	return end
}

// yandex is YC and 38 bytes.
func yandex(s string, from int) int {
	end := tokenEnd(s, from, "-_")
	if end-from != 40 || !hasDigit(s[from:end]) || !hasInnerCapital(s[from:end]) {
		return 0
	}
	return end
}

// airtable is pat, 14 letters and digits, a dot and 64 hex digits.
func airtable(s string, from int) int {
	end := tokenEnd(s, from, ".")
	if end-from < 3+14+1+64 || s[from+17] != '.' || !isHexText(s[from+18:from+82]) {
		return 0
	}
	return end
}

// suffixed returns the bounds of a token that shows at its end or within what
// it is, by the word at a place, or 0.
func suffixed(s string, from, to int) (begin, end int) {
	switch s[from:to] {
	case "mmk": // MaxMind's license keys
		begin = identifier(s, from)
		if to-begin >= 40 {
			return begin, to
		}
	case "atlasv1": // Terraform Cloud
		begin, end = identifier(s, from), tokenEnd(s, to, ".-_=")
		if from-begin >= 10 && end-to > 50 {
			return begin, end
		}
	}
	return 0, 0
}

// azure returns the bounds of a client secret of Entra ID, which has a digit
// and "Q~" behind three bytes, or 0.
func azure(s string, tilde int) (from, end int) {
	from = tilde - 5
	if from < 0 || s[tilde-1] != 'Q' || !isDigit(s[tilde-2]) {
		return 0, 0
	}
	if end = tokenEnd(s, tilde, "-_.~"); end-tilde < 30 {
		return 0, 0
	}
	return from, end
}

// mailchimp returns the end of 32 hex digits and a data center, or 0.
func mailchimp(s string, from, to int) int {
	if !strings.HasPrefix(s[to:], "-us") || !isHexText(s[from:to]) {
		return 0
	}
	end := tokenEnd(s, to+3, "")
	if n := end - to - 3; n < 1 || n > 2 || strings.Trim(s[to+3:end], "0123456789") != "" {
		return 0
	}
	return end
}

// separators stand between the groups of a card's number: spaces and hyphens,
// Unicode's too, as they are and as URLs, HTML and JSON write them.
var separators = [...]string{
	" ", "-", "+", "\u00a0", "\u2007", "\u2009", "\u202f", "\u2010", "\u2011", "\u2012", "\u2013", "\u2212",
	"%20", "%C2%A0", "%c2%a0", "%E2%80%AF", "%e2%80%af", "&nbsp;", "&#160;", "u00a0", "u00A0", "u202f", "u202F", "u2011",
}

// separator returns the separator at a place, or "".
func separator(s string, at int) string {
	begin := at
	for at < len(s) && s[at] == '\\' { // of JSON, and of JSON within it
		at++
	}
	for _, sep := range separators {
		if strings.HasPrefix(s[at:], sep) && (sep[0] == 'u') == (at > begin) {
			return s[begin : at+len(sep)]
		}
	}
	return ""
}

// card returns where the number of a payment card ends that begins at a word
// of digits, or 0: in one piece, or in groups of four (or of 4, 6 and 5).
func card(s string, from, to int) int {
	if n := to - from; n != 4 && (n < 13 || n > 19) || s[from] < '2' || s[from] > '6' {
		return 0
	}
	if from > 0 && strings.IndexByte("-_.+", s[from-1]) >= 0 {
		return 0
	}
	var digits [19]byte
	n := 0
	end := from
	if to-from == 4 {
		between := separator(s, to)
		if between == "" {
			return 0
		}
		for {
			begin := end
			for end < len(s) && isDigit(s[end]) {
				if n == len(digits) {
					return 0
				}
				digits[n] = s[end]
				n++
				end++
			}
			if end == begin || end-begin > 6 {
				return 0
			}
			next := end + len(between)
			if n >= 15 || next >= len(s) || s[end:next] != between || !isDigit(s[next]) {
				break
			}
			end = next
		}
	} else {
		for ; end < to; end++ {
			if !isDigit(s[end]) {
				return 0
			}
			digits[n] = s[end]
			n++
		}
	}
	if end < len(s) && (isAlnum(s[end]) || strings.IndexByte("-_", s[end]) >= 0 || s[end] == '.' && end+1 < len(s) && isDigit(s[end+1])) {
		return 0
	}
	if !issued(string(digits[:n])) {
		return 0
	}
	return end
}

// cardNumber returns the digits of a number that is one of a payment card, or "".
// Those of 13 and of 19 digits are left to texts: too many ids are as long.
func cardNumber(v activity.Value) string {
	n := v.Int()
	if v.Kind() == activity.KindFloat {
		if f := v.Float(); f >= 1e13 && f < 1e16 && f == math.Trunc(f) {
			n = int64(f)
		}
	}
	if n < 1e13 || n >= 1e16 {
		return ""
	}
	if digits := strconv.FormatInt(n, 10); issued(digits) {
		return digits
	}
	return ""
}

// issued reports whether a number begins and is as long as those of the large
// card schemes, and its check digit is right (ISO/IEC 7812-1, Luhn).
func issued(n string) bool {
	two, four := n[:2], n[:4]
	switch {
	case n[0] == '4' && (len(n) == 13 || len(n) == 16 || len(n) == 19):
	case len(n) == 16 && (two >= "51" && two <= "55" || four >= "2221" && four <= "2720"):
	case len(n) == 15 && (two == "34" || two == "37"):
	case len(n) == 14 && (two == "36" || two == "38" || n[:3] >= "300" && n[:3] <= "305"):
	case len(n) == 16 && (four == "6011" || two == "65" || four >= "3528" && four <= "3589"):
	default:
		return false
	}
	sum := 0
	for i := range len(n) {
		d := int(n[len(n)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
