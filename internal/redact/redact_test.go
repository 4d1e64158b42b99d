package redact

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/redact/canary"
)

// testKey makes the hashes of the tests the same each time.
var testKey = []byte("0123456789abcdef")

func str(s string) activity.Value { return activity.StringValue(s) }

// one returns an attribute after it went through a Redactor.
func one(r *Redactor, key string, v activity.Value) activity.Value {
	e := []activity.Event{{Changes: activity.Changes{Attrs: []activity.Attr{{Key: key, Value: v}}}}}
	r.Events(e)
	return e[0].Attrs[0].Value
}

func TestText(t *testing.T) {
	r := newRedactor(t, Config{Remove: true})
	for _, tt := range []struct{ in, want string }{
		{"password=hunter2", "password=[redacted]"},
		{"pwd=x", "pwd=[redacted]"},
		{"password: hunter2, user: eve", "password: [redacted], user: eve"},
		{"password: correct horse", "password: [redacted] horse"},
		{`password="a b,c" x=1`, `password="[redacted]" x=1`},
		{`{"password":"a\"b","n":1}`, `{"password":"[redacted]","n":1}`},
		{`{"password":12345,"n":1}`, `{"password":"[redacted]","n":1}`},
		{`{"password":12345}`, `{"password":"[redacted]"}`},
		{`{"cookie":["a=b","c=d"],"n":1}`, `{"cookie":"[redacted]","n":1}`},
		{`{"secrets":{"a":{"b":1}},"n":1}`, `{"secrets":"[redacted]","n":1}`},
		{`{"a":"{\"password\":\"hunter2\",\"b\":[1]}"}`, `{"a":"{\"password\":\"[redacted]\",\"b\":[1]}"}`},
		{`{"a":"{\"token\":123456789}"}`, `{"a":"{\"token\":\"[redacted]\"}"}`},
		{`{"password":"cut off he`, `{"password":"[redacted]`},
		{`{"name":"Authorization","value":"Basic eHg6eXk="}`, `{"name":"Authorization","value":"Basic [redacted]"}`},
		{"Password=p,w;d&x;Database=shop", "Password=[redacted];Database=shop"},
		{"user=eve&password=a%26b&page=2", "user=eve&password=[redacted]&page=2"},
		{"postgres://app:s3cr@t@db:5432/shop", "postgres://app:[redacted]@db:5432/shop"},
		{"postgres://app:a/b@db:5432/shop", "postgres://app:[redacted]@db:5432/shop"},
		{"mongodb://app:pw1@a:1,b:2/shop?x=y", "mongodb://app:[redacted]@a:1,b:2/shop?x=y"},
		{"next=https%3A%2F%2Fapp%3Ahunter2%40db%3A80%2Fshop&n=1", "next=https%3A%2F%2Fapp%3A[redacted]%40db%3A80%2Fshop&n=1"},
		{"next=https%3a%2f%2fapp%3ah%2540r%40db", "next=https%3a%2f%2fapp%3a[redacted]%40db"},
		{"next=https%3A%2F%2Fdb%3A80%2Fa%40b%3Ac%40d", "next=https%3A%2F%2Fdb%3A80%2Fa%40b%3Ac%40d"},
		{"next=https%3A%2F%2Fapp%40db%3A80&mail=a%40b", "next=https%3A%2F%2Fapp%40db%3A80&mail=a%40b"},
		{"next=https%3A%2F%2F%4", "next=https%3A%2F%2F%4"},
		{"Config { user: Some(\"eve\"), password: Some(\"hunter2\"), port: 1 }", "Config { user: Some(\"eve\"), password: Some(\"[redacted]\"), port: 1 }"},
		{"User(name='eve', password=SecretStr('hunter2'))", "User(name='eve', password=SecretStr('[redacted]'))"},
		{`{"text":"password: Some(Ok(\"hunter2\"))"}`, `{"text":"password: Some(Ok(\"[redacted]\"))"}`},
		{"Authorization: NTLM abc123DEF456==", "Authorization: NTLM [redacted]"},
		{"app:hunter2@tcp(db:3306)/shop", "app:[redacted]@tcp(db:3306)/shop"},
		{"https://0123456789abcdef0123456789abcdef@o1.ingest.example.com/1", "https://[redacted]@o1.ingest.example.com/1"},
		{"Authorization: Bearer abc123def", "Authorization: Bearer [redacted]"},
		{"authorization=Basic dXNlcjpwYXNz then", "authorization=Basic [redacted] then"},
		{"Cookie: a=b; sid=c\nHost: x", "Cookie: [redacted]\nHost: x"},
		{"sent with Bearer abcDEF123 twice", "sent with Bearer [redacted] twice"},
		{"mysql --user root --password hunter2 shop", "mysql --user root --password [redacted] shop"},
		{"curl --user eve:hunter2 https://x", "curl --user eve:[redacted] https://x"},
		{"CREATE USER eve IDENTIFIED BY 'hunter2'", "CREATE USER eve IDENTIFIED BY '[redacted]'"},
		{"ALTER ROLE eve PASSWORD 'hunter2' VALID", "ALTER ROLE eve PASSWORD '[redacted]' VALID"},
		{"the password is hunter2!", "the password is [redacted]!"},
		{"API key: abc123def456", "API key: [redacted]"},
		{"paid with 4111 1111 1111 1111, thanks", "paid with [redacted], thanks"},
		{"paid with 4111-1111-1111-1111.", "paid with [redacted]."},
		{"paid with 3782 822463 10005", "paid with [redacted]"},
		{"paid with 4111\u00a01111\u00a01111\u00a01111.", "paid with [redacted]."},
		{"paid with 3782\u202f822463\u202f10005", "paid with [redacted]"},
		{"paid with 4111\u20111111\u20111111\u20111111", "paid with [redacted]"},
		{"/pay?card=4111+1111+1111+1111&n=1", "/pay?card=[redacted]&n=1"},
		{"/pay?card=4111%C2%A01111%C2%A01111%C2%A01111&n=1", "/pay?card=[redacted]&n=1"},
		{"pan%3D4111%201111%201111%201111", "pan%3D[redacted]"},
		{`{"pan":"4111\u00a01111\u00a01111\u00a01111"}`, `{"pan":"[redacted]"}`},
		{`{"body":"{\"pan\":\"4111\\u00a01111\\u00a01111\\u00a01111\"}"}`, `{"body":"{\"pan\":\"[redacted]\"}"}`},
		{"4111 1111\u00a01111 1111", "4111 1111\u00a01111 1111"},
		{"4111 1111 1111", "4111 1111 1111"},
		{"4111\u00a0", "4111\u00a0"},
		{`4111\`, `4111\`},
		{"paid with 4111111111111112", "paid with 4111111111111112"},
		{`{"number":4111111111111111,"n":1}`, `{"number":"[redacted]","n":1}`},
		{`[4111111111111111]`, `["[redacted]"]`},
		{"https://hooks.example.com/catch/123/abc456 said no", "https://hooks.example.com/catch/[redacted] said no"},
		{"POST /services/T01234567/B01234567/abcdefghijklmnopqrstuvwx", "POST /services/[redacted]"},
		{"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----[redacted]-----END PRIVATE KEY-----\n"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----\ncut off", "-----BEGIN OPENSSH PRIVATE KEY-----[redacted]"},
		{"password=[redacted] token=[redacted]", "password=[redacted] token=[redacted]"},
		{"acme_live_a1B2c3D4e5F6g7H8i9J0k1L2", "acme_[redacted]"},
		{"Schlüssel: password=hünter2 – fin", "Schlüssel: password=[redacted] – fin"},
	} {
		if got := r.text(tt.in); got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
		if got := r.text(tt.want); got != tt.want {
			t.Errorf("%s\nbecomes, a second time, %s", tt.want, got)
		}
		if json.Valid([]byte(tt.in)) && !json.Valid([]byte(r.text(tt.in))) {
			t.Errorf("%s is no JSON any more: %s", tt.in, r.text(tt.in))
		}
	}
}

// A card's number is one as a number, too, and the same one.
func TestCardNumber(t *testing.T) {
	r := newRedactor(t, Config{HashKey: testKey, Keep: []string{"order.id"}})
	want := one(r, "n", str("4111111111111111"))
	if want.Str() == "4111111111111111" {
		t.Fatal("nothing was taken out of the text")
	}
	number, list := activity.IntValue(4111111111111111), activity.SliceValue
	for name, tt := range map[string]struct{ in, want activity.Value }{
		"number":   {number, want},
		"double":   {activity.FloatValue(4111111111111111), want},
		"in array": {list([]activity.Value{activity.IntValue(1), number}), list([]activity.Value{activity.IntValue(1), want})},
		"in map":   {activity.MapValue([]activity.Attr{{Key: "k", Value: number}}), activity.MapValue([]activity.Attr{{Key: "k", Value: want}})},
	} {
		if got := one(r, "n", tt.in); !got.Equal(tt.want) {
			t.Errorf("%s: %s, want %s", name, got.Text(), tt.want.Text())
		}
	}
	if got := one(r, "order.id", number); !got.Equal(number) {
		t.Errorf("a number that is kept became %s", got.Text())
	}
}

func TestKeys(t *testing.T) {
	for _, tt := range []struct {
		key  string
		want class
	}{
		{"password", denied}, {"db.password", denied}, {"dbPassword", denied}, {"DB_PASSWORD", denied}, {"user.password.old", denied},
		{"http.request.header.authorization", denied}, {"http.request.header.x-api-key", denied}, {"X-Api-Key", denied}, {"apikey", denied},
		{"http.request.header.cookie", deniedLine}, {"Set-Cookie", deniedLine}, {"AWSSecretKey", denied}, {"clientSecret", denied}, {"AccountKey", denied},
		{"access_token", denied}, {"token", denied}, {"Token", denied}, {"credentials", denied}, {"JSESSIONID", denied}, {"PHPSESSID", denied},
		{"client_id", weak}, {"X-Amz-Signature", weak}, {"X-Amz-Credential", denied}, {"auth", weakWord}, {"proxy_auth", weakWord},
		{"pin", denied}, {"card.pin", denied}, {"userPin", denied}, {"sessionid", denied}, {"connectionString", denied}, {"ConnectionStrings__Shop", plain}, {"app.connection_string", denied},
		{"gen_ai.usage.input_tokens", plain}, {"token_type", plain}, {"k8s.secret.name", plain}, {"messaging.client.id", plain},
		{"author", plain}, {"monkey", plain}, {"key", plain}, {"cache.key", plain}, {"compass", plain}, {"next_token", plain}, {"session.id", plain}, {"sessionId", plain}, {"", plain},
		{"spin", plain}, {"pinned", plain}, {"pin.count", plain}, {"gpio.pin", plain}, {"db.connection_string", plain},
	} {
		if got := newRedactor(t, Config{}).keys.of(tt.key).class; got != tt.want {
			t.Errorf("%q: %d, want %d", tt.key, got, tt.want)
		}
	}
}

func TestConfiguredKeys(t *testing.T) {
	r := newRedactor(t, Config{Remove: true, Deny: []string{"customer.email", "*iban*", "Token_Type", "x-*-id"}, Keep: []string{"public.token", "*.password.hint"}})
	for _, tt := range []struct{ key, want string }{
		{"customer.email", removed}, {"Customer-Email", removed}, {"customerEmail", removed}, {"customer.emails", "v"}, {"old.customer.email", "v"},
		{"payee.iban.text", removed}, {"IBAN", removed}, {"token_type", removed}, {"x-tenant-id", removed}, {"x-id", "v"},
		{"public.token", "v"}, {"private.token", removed}, {"user.password.hint", "v"}, {"note", "v"},
	} {
		if got := one(r, tt.key, str("v")).Str(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.key, got, tt.want)
		}
	}
	for in, want := range map[string]string{
		`{"customer":{"email":"a@b"},"customer_email":"eve@example.com"}`: `{"customer":{"email":"a@b"},"customer_email":"[redacted]"}`,
		"iban=DE123 public_token=abc":                                     "iban=[redacted] public_token=abc",
	} {
		if got := r.text(in); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
	// What is kept is kept whole, whatever it looks like.
	if got := one(r, "public.token", str("ghp_0123456789abcdefghij0123456789abcdef")).Str(); got == removed {
		t.Error("a key that Keep lists was redacted")
	}
}

func TestAllow(t *testing.T) {
	r := newRedactor(t, Config{Remove: true, Allow: []string{"http.route", "order.*", "config"}})
	for _, tt := range []struct {
		key  string
		v    activity.Value
		want string
	}{
		{"http.route", str("/v1"), "/v1"},
		{"order.id", str("42"), "42"},
		{"order.password", str("hunter2"), removed}, // denied is denied
		{"order.note", str("pwd=hunter2"), "pwd=" + removed},
		{"customer", str("eve"), removed},
		{"n", activity.IntValue(3), removed},
		{"ok", activity.BoolValue(true), "true"},
		{"list", activity.SliceValue([]activity.Value{str("a"), str("b")}), `["[redacted]","[redacted]"]`},
		{"config", activity.MapValue([]activity.Attr{{Key: "any", Value: str("x")}, {Key: "token", Value: str("y")}}), `{"any":"x","token":"[redacted]"}`},
		{activity.KeyCurrent, str("Packing tea"), "Packing tea"},
		{activity.KeyType, str("decision"), "decision"},
		{activity.KeyServiceName, str("shop"), "shop"},
		{activity.KeyThreadIDSemconv, activity.IntValue(7), "7"},
		{activity.KeyErrorType, str("timeout"), "timeout"},
		{activity.KeyExceptionMessage, str("no such customer: eve"), removed},
		{activity.KeyAgentName, str("planner"), "planner"},
		{"db.system.name", str("sqlite"), "sqlite"},
		{"http.request.method", str("GET"), "GET"},
		{activity.KeyHTTPStatus, activity.IntValue(404), "404"},
	} {
		if got := one(r, tt.key, tt.v).Text(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.key, got, tt.want)
		}
	}
}

func TestPatterns(t *testing.T) {
	r := newRedactor(t, Config{Remove: true, Patterns: []Pattern{{Name: "customer", Expr: `CUST-\d{6}`}, {Name: "seat", Expr: `(?i)seat (\d+[a-f])`}}})
	got := r.text("for CUST-123456 and cust-123456 in Seat 12c, password=CUST-654321")
	if want := "for [redacted] and cust-123456 in Seat [redacted], password=[redacted]"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	counts := map[string]uint64{}
	for _, c := range r.Counts() {
		counts[c.Rule] = c.N
	}
	if counts["customer"] != 1 || counts["seat"] != 1 || counts["assignment"] != 1 {
		t.Errorf("counts %v", counts)
	}
}

func TestCounts(t *testing.T) {
	r := newRedactor(t, Config{})
	e := []activity.Event{{Changes: activity.Changes{
		Name: "pay 4111111111111111", StatusMessage: "https://a:b1c2d3@h/ and ghp_0123456789abcdefghij0123456789abcdef",
		Attrs: []activity.Attr{{Key: "password", Value: str("x")}, {Key: "note", Value: str("Bearer abc123def and password=y")}},
	}}}
	r.Events(e)
	got := map[string]uint64{}
	for _, c := range r.Counts() {
		if c.N > 0 {
			got[c.Rule] = c.N
		}
	}
	want := map[string]uint64{"card": 1, "url": 1, "token": 1, "key": 1, "header": 1, "assignment": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(r.Counts()) != len(ruleNames) {
		t.Errorf("%d rules are counted, want %d", len(r.Counts()), len(ruleNames))
	}
}

func TestHash(t *testing.T) {
	a, b := newRedactor(t, Config{HashKey: testKey}), newRedactor(t, Config{HashKey: testKey})
	first := one(a, "password", str("hunter2")).Str()
	// HMAC-SHA-256 of "hunter2" under the key, by `openssl dgst -sha256 -mac HMAC -macopt key:0123456789abcdef`.
	if want := "redacted:hmac:deda27db21d02fd2"; first != want {
		t.Errorf("got %s, want %s", first, want)
	}
	if got := one(b, "token", str("hunter2")).Str(); got != first {
		t.Errorf("with one key, one secret is %s and %s", first, got)
	}
	if got := a.text("x password=hunter2 y"); got != "x password="+first+" y" {
		t.Errorf("within a text it is %s", got)
	}
	if got := one(a, "password", str("hunter3")).Str(); got == first {
		t.Error("two secrets have one hash")
	}
	random := newRedactor(t, Config{})
	if got := one(random, "password", str("hunter2")).Str(); got == first || got == one(newRedactor(t, Config{}), "password", str("hunter2")).Str() {
		t.Error("two random keys make one hash")
	}
	if got := one(a, "password", str(first)).Str(); got != first {
		t.Errorf("a hash was hashed to %s", got)
	}
}

func TestConfigErrors(t *testing.T) {
	many := func(n int) (p []Pattern) {
		for i := range n {
			p = append(p, Pattern{Name: fmt.Sprint("p", i), Expr: "x"})
		}
		return p
	}
	for _, tt := range []struct {
		name string
		cfg  Config
		want string // empty for none
	}{
		{"default", Config{}, ""},
		{"hash key at the least", Config{HashKey: make([]byte, MinHashKey)}, ""},
		{"hash key below", Config{HashKey: make([]byte, MinHashKey-1)}, "the hash key has 15 bytes: give at least 16"},
		{"patterns at the most", Config{Patterns: many(MaxPatterns)}, ""},
		{"patterns beyond", Config{Patterns: many(MaxPatterns + 1)}, "65 patterns: give at most 64"},
		{"pattern at the longest", Config{Patterns: []Pattern{{"p", strings.Repeat("x", MaxPattern)}}}, ""},
		{"pattern beyond", Config{Patterns: []Pattern{{"p", strings.Repeat("x", MaxPattern+1)}}}, `pattern 1, "p": its expression has 1025 bytes`},
		{"pattern without a name", Config{Patterns: []Pattern{{"", "x"}}}, "it has no name"},
		{"name at the longest", Config{Patterns: []Pattern{{strings.Repeat("x", MaxName), "x"}}}, ""},
		{"name beyond", Config{Patterns: []Pattern{{strings.Repeat("x", MaxName+1), "x"}}}, "give at most 64 letters"},
		{"name of a sentence", Config{Patterns: []Pattern{{"our ids", "x"}}}, "give at most 64 letters"},
		{"pattern that is none", Config{Patterns: []Pattern{{"p", "("}}}, "missing closing )"},
		{"pattern of another syntax", Config{Patterns: []Pattern{{"p", "(?=x)"}}}, "invalid or unsupported Perl syntax"},
		{"pattern that matches nothing", Config{Patterns: []Pattern{{"p", "x*"}}}, "matches the empty text"},
		{"name of a rule", Config{Patterns: []Pattern{{"card", "x"}}}, "the name is taken"},
		{"a name twice", Config{Patterns: []Pattern{{"p", "x"}, {"p", "y"}}}, "the name is taken"},
		{"keys at the most", Config{Deny: slices.Repeat([]string{"a"}, MaxKeys)}, ""},
		{"keys beyond", Config{Deny: slices.Repeat([]string{"a"}, MaxKeys+1)}, "Deny lists 1001 keys: give at most 1000"},
		{"key at the longest", Config{Allow: []string{strings.Repeat("a", MaxKeyLen)}}, ""},
		{"key beyond", Config{Allow: []string{strings.Repeat("a", MaxKeyLen+1)}}, "Allow: a key of 257 bytes"},
		{"a key of nothing", Config{Keep: []string{"*"}}, `Keep: key "*" names nothing`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestShared holds that what events share is not written to, and stays shared.
func TestShared(t *testing.T) {
	r := newRedactor(t, Config{Remove: true})
	dirty := &activity.Resource{Service: "shop", Attrs: []activity.Attr{{Key: "db.password", Value: str("hunter2")}}}
	clean := &activity.Resource{Service: "shop", Attrs: []activity.Attr{{Key: "host.name", Value: str("a")}}}
	scope := &activity.Scope{Name: "lib", Attrs: []activity.Attr{{Key: "token", Value: str("hunter2")}}}
	list := []activity.Value{str("password=hunter2")}
	nested := []activity.Attr{{Key: "token", Value: str("hunter2")}}
	make := func(res *activity.Resource) activity.Event {
		return activity.Event{Changes: activity.Changes{Resource: res, Scope: scope, Attrs: []activity.Attr{
			{Key: "list", Value: activity.SliceValue(list)}, {Key: "map", Value: activity.MapValue(nested)},
		}}}
	}
	first, second := []activity.Event{make(dirty), make(clean), make(dirty)}, []activity.Event{make(dirty)}
	r.Events(first)
	r.Events(second)
	if got := first[0].Resource; got == dirty || got.Attrs[0].Value.Str() != removed || got != first[2].Resource || got != second[0].Resource {
		t.Errorf("the resource became %v, %v and %v", got, first[2].Resource, second[0].Resource)
	}
	if first[1].Resource != clean {
		t.Error("a resource without secrets was copied")
	}
	if first[0].Scope == scope || first[0].Scope != second[0].Scope {
		t.Error("the scope is not shared any more")
	}
	if dirty.Attrs[0].Value.Str() != "hunter2" || scope.Attrs[0].Value.Str() != "hunter2" || list[0].Str() != "password=hunter2" || nested[0].Value.Str() != "hunter2" {
		t.Error("something shared was written to")
	}
	if got := first[0].Attrs; got[0].Value.Slice()[0].Str() != "password="+removed || got[1].Value.Map()[0].Value.Str() != removed {
		t.Errorf("attributes %v", got)
	}
	before := r.Counts()
	r.Events(first) // what is clean stays as it is
	if diff := cmp.Diff(before, r.Counts()); diff != "" {
		t.Error(diff)
	}
}

// TestManyShared holds that resources are remembered up to a bound.
func TestManyShared(t *testing.T) {
	r := newRedactor(t, Config{})
	for range 2 * maxShared {
		e := []activity.Event{{Changes: activity.Changes{Resource: &activity.Resource{Attrs: []activity.Attr{{Key: "password", Value: str("x")}}}}}}
		r.Events(e)
		if !isReplacement(e[0].Resource.Attrs[0].Value.Str()) {
			t.Fatalf("got %v", e[0].Resource.Attrs)
		}
	}
	if n := len(r.resources.known); n > maxShared {
		t.Errorf("%d resources are remembered, at most %d may", n, maxShared)
	}
	large := strings.Repeat("a ", 1<<20)
	for i := range 3 * maxSharedBytes / len(large) {
		r.Resource(&activity.Resource{Service: large[i:]})
	}
	if n := r.resources.bytes; n > maxSharedBytes || len(r.resources.known)*len(large) > 2*maxSharedBytes {
		t.Errorf("%d bytes of %d resources are remembered, at most %d may", n, len(r.resources.known), maxSharedBytes)
	}
}

// TestLease holds that leases are told apart whatever their names look like.
func TestLease(t *testing.T) {
	for _, cfg := range []Config{{}, {Remove: true}, {Remove: true, Deny: []string{activity.KeyLeaseID}}} {
		r := newRedactor(t, cfg)
		seen := map[string]bool{}
		for _, id := range []string{strings.Repeat("pwd=x ", activity.MaxLeaseID/6), "ghp_0123456789abcdefghij0123456789abcdef", "ghp_0123456789abcdefghij0123456789abcdeg"} {
			got := r.Resource(activity.NewResource([]activity.Attr{{Key: activity.KeyLeaseID, Value: str(id)}}, "")).Lease()
			if !isReplacement(got) || seen[got] {
				t.Errorf("%+v: %s became %q", cfg, id, got)
			}
			seen[got] = true
		}
		const id = "9f86d081884c7d659a2feaa0c55ad015"
		if got := r.Resource(activity.NewResource([]activity.Attr{{Key: activity.KeyLeaseID, Value: str(id)}}, "")).Lease(); cfg.Deny == nil && got != id {
			t.Errorf("%s became %q", id, got)
		}
	}
}

// TestResource holds that a resource's own fields follow its attributes.
func TestResource(t *testing.T) {
	r := newRedactor(t, Config{Deny: []string{"service.name"}, Remove: true})
	in := activity.NewResource([]activity.Attr{{Key: "service.name", Value: str("acme")}, {Key: "service.instance.id", Value: str("i-1")}}, "")
	in.Dropped = 3
	if got := r.Resource(in); got.Service != removed || got.Instance != "i-1" || got.Dropped != 3 || in.Service != "acme" {
		t.Errorf("%+v", got)
	}
}

// TestLength holds that a text full of secrets does not grow beyond what an
// attribute may be.
func TestLength(t *testing.T) {
	r := newRedactor(t, Config{})
	for _, n := range []int{activity.MaxString / 6, activity.MaxString} {
		in := strings.Repeat("pwd=x ", n)
		most := max(2*len(in), activity.MaxString)
		if got := r.text(in); len(got) > most || len(got) < most-4 || strings.Contains(got, "pwd=x") {
			t.Errorf("%d bytes became %d", len(in), len(got))
		}
	}
	if got := r.text("pwd=x"); got == "pwd=x" {
		t.Error("a short text may grow")
	}
}

// TestHostile holds that a text made to be slow is not: each rule looks at a
// bounded part for each place at which it begins.
func TestHostile(t *testing.T) {
	r := newRedactor(t, Config{})
	var slowest time.Duration
	var of string
	for _, part := range []string{
		"a", "\\", "-", "=", ":", "\"", "token=", "token:[", "sig:[", `client_id="`, `sig='a `, "cookie: a ", "authorization: digest ", "@tcp(", "://a:b", "://a:b/",
		"https://hooks.x/a/", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "kind: Secret data: ", "kind: Secret\ndata:\n a: b\n", "<token>", "%3D", `\"token\":`,
		"eyJaaaaaaaaaaaaa.", "eyJ-", "eyJaaaaaaaaaaa.", "AKIA", "ghp_", "sk-", "s-s4t2", "sc_", "ext_", "sc_.", "dp.", "dp.a.", "key-", "t1.", "SG.", "pat.", "4111 ", "4111-1111-1111-1111-", "AAAAAAAAAAAAAAAAAAAAAA", "aB1_", "a-b_c.d", "--token ", "--token",
		"curl -u ", "curl --user a:", "x is ", "token is ", "value=", `"value":`, `{"name":"token","value":`, "password '", "a&b=", ",", "é", "1", "9.atlasv1.", "_mmk",
	} {
		for _, text := range []string{strings.Repeat(part, activity.MaxString/len(part)), "password=" + strings.Repeat(part, activity.MaxString/len(part))} {
			start := time.Now()
			r.text(text)
			took := time.Since(start)
			if took > slowest {
				slowest, of = took, part
			}
			if took > 5*time.Second {
				t.Errorf("%d bytes of %q took %v", len(text), part, took)
			}
		}
	}
	t.Logf("the slowest text took %v: %d bytes of %q", slowest, activity.MaxString, of)
}

// A rule that fails takes the whole text, and not the process.
func TestFailure(t *testing.T) {
	r := newRedactor(t, Config{Remove: true})
	r.keys = nil
	if got := r.text("the password=hunter2 is well known"); strings.Contains(got, "the") || strings.Contains(got, "hunter2") {
		t.Errorf("left is %q", got)
	}
	for _, c := range r.Counts() {
		if c.Rule == "failure" && c.N == 1 {
			return
		}
	}
	t.Errorf("it is not counted: %v", r.Counts())
}

func TestConcurrentSafe(t *testing.T) {
	r := newRedactor(t, Config{HashKey: testKey})
	res := &activity.Resource{Attrs: []activity.Attr{{Key: "password", Value: str("hunter2")}}}
	var wg sync.WaitGroup
	got := make([]*activity.Resource, 8)
	for i := range got {
		wg.Go(func() {
			for j := range 500 {
				e := []activity.Event{{Changes: activity.Changes{Resource: res, Name: fmt.Sprintf("key%d=%d password=%d", j, j, j)}}}
				r.Events(e)
				got[i] = e[0].Resource
				if strings.HasSuffix(e[0].Name, fmt.Sprintf("password=%d", j)) {
					t.Errorf("the name is %q", e[0].Name)
				}
			}
		})
	}
	wg.Wait()
	for _, g := range got {
		if g != got[0] {
			t.Error("one resource became several")
		}
	}
}

// FuzzText holds that no text makes trouble: what comes out is as long as it may
// be, is not changed by a second time, and stays JSON where it was.
func FuzzText(f *testing.F) {
	for _, c := range slices.Concat(canary.Known, canary.HeldOut) {
		f.Add(c.Mention(c.Secret(1)))
	}
	for line := range strings.Lines(ordinary) {
		f.Add(line)
	}
	f.Add(`{"kind":"Secret","data":{"a":"b"}}`)
	f.Add("kind: Secret\ndata:\n a: b\n")
	r, err := New(Config{Patterns: []Pattern{{"x", `x(\d+)`}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := r.text(s)
		if len(got) > max(2*len(s), activity.MaxString) {
			t.Errorf("%d bytes became %d", len(s), len(got))
		}
		for _, c := range r.scan(s) {
			if c.from < 0 || c.from >= c.to || c.to > len(s) || c.by == byFailure {
				t.Errorf("%q: a part from %d to %d by %v", s, c.from, c.to, c.by)
			}
		}
	})
}

// FuzzPattern holds that an operator's pattern is refused in words or takes out
// parts of a text, whatever it is.
func FuzzPattern(f *testing.F) {
	f.Add("order", `ORD-(\d+)`, "ORD-17 and ORD-18")
	f.Add("word", `\bx`, "x xx")
	f.Add("end", "$", "x")
	f.Add("group", "(a)?b", "b ab")
	f.Add("case", "(?i)é+", "\xc3É\xff")
	f.Add("card", "x", "x")
	f.Fuzz(func(t *testing.T, name, expr, text string) {
		r, err := New(Config{Patterns: []Pattern{{name, expr}}, Remove: true})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "redact: pattern 1, ") {
				t.Errorf("%v", err)
			}
			return
		}
		for _, c := range r.scan(text) {
			if c.from < 0 || c.from >= c.to || c.to > len(text) {
				t.Errorf("a part from %d to %d", c.from, c.to)
			}
		}
		r.text(text)
	})
}

// FuzzKeys holds that a list of keys is refused in words, or a key that stands in
// it is what the list says.
func FuzzKeys(f *testing.F) {
	for _, seed := range [][2]string{{"*.email", "user.email"}, {"iban", "IBAN"}, {"**", "x"}, {"apiKeyID*", "apiKeyIDs"}, {"é*", "É"}, {"*_pass*", "a__pass"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		deny, err := newKeys(Config{Deny: []string{pattern}})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "redact: Deny: ") {
				t.Errorf("%v", err)
			}
			return
		}
		keeps, err := newKeys(Config{Keep: []string{pattern}})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(pattern, "*") {
			name = pattern
		}
		denied, kept := deny.of(name).class == denied, keeps.of(name).class == keep
		if kept && !denied || name == pattern && !kept {
			t.Errorf("%q in the list %q: denied %v, kept %v", name, pattern, denied, kept)
		}
		first := deny.of(name)
		if again := deny.of(name); again != first { // it was kept
			t.Errorf("%+v at first, then %+v", first, again)
		}
	})
}
