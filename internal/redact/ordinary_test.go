package redact

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/midspan/midspan/activity"
)

// ordinary values are no secrets, whatever they look like. A line is one, with
// the key it comes with before it where that matters.
const ordinary = `
4bf92f3577b34da6a3ce929d0e0e4736
00f067aa0ba902b7
00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7
trace 4bf92f3577b34da6a3ce929d0e0e4736 went on in span 00f067aa0ba902b7
traceparent=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01; trace_id=4bf92f3577b34da6a3ce929d0e0e4736
{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","level":"info"}
x-b3-traceid: 4bf92f3577b34da6a3ce929d0e0e4736
f47ac10b-58cc-4372-a567-0e02b2c3d479
request f47ac10b-58cc-4372-a567-0e02b2c3d479 took 12ms
urn:uuid:f47ac10b-58cc-4372-a567-0e02b2c3d479
/api/v1/orders/f47ac10b-58cc-4372-a567-0e02b2c3d479/items?limit=100
api-f47ac10b-58cc-4372-a567-0e02b2c3d479
test_4bf92f3577b34da6a3ce929d0e0e4736
550e8400e29b41d4a716446655440000
01ARZ3NDEKTSV4RRFFQ69G5FAV
order_01ARZ3NDEKTSV4RRFFQ69G5FAV
test-01HXYZ3NDEKTSV4RRFFQ69G5FA
9c04974b1f0d4f6f8a3a4b1e0a9b6c7d8e9f0a1b
commit 9c04974 on main
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
registry.example.com/shop/api@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
registry.example.com/shop/token-service:v1.12.3
my-secret:1.2.3
2026-11-22T10:00:00.000000001Z
2026-11-22 10:00:00,123 INFO  [main] o.e.Shop - started
Sun, 22 Nov 2026 10:00:00 GMT
1795341600
1795341600123
1795341600123456
1795341600123456789
took 1795341600123456 us
3.14159265358979
+49 30 901820
1234-5678-1234-5678
orders-7f9c8d6b5-x2x1z
api-gateway-7f9c8d6b5c-x2x1z
kafka-0.kafka-headless.shop.svc.cluster.local:9092
ip-10-0-12-34.eu-central-1.compute.internal
arn:aws:iam::123456789012:role/shop-deploy
arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/db-AbCdEf
i-0abcd1234efgh5678
vpc-0a1b2c3d4e5f67890
10.0.12.34:5432
[2001:db8::1]:8080
http://localhost:8080/monitor/#/trace/4bf92f3577b34da6a3ce929d0e0e4736
https://example.com:8443/path/@user/list?page=2&sort=-planned_at
https://www.example.com/wiki/Token_ring#History
https://api.example.com/v2/webhooks/orders/12345
https://user@example.com/repo.git
git@github.com:midspan/midspan.git
ssh://git@github.com/midspan/midspan.git
jdbc:postgresql://db.internal:5432/shop?sslmode=require
postgres://shop@db.internal:5432/shop?sslmode=disable
mailto:someone@example.com
SELECT id, token FROM sessions WHERE user_id = $1 AND created_at > now() - interval '1 day'
SELECT * FROM users u JOIN tokens t ON t.user_id = u.id WHERE t.token = $2 LIMIT 10
UPDATE users SET password = $2, updated_at = $3 WHERE id = $1
UPDATE users SET password = ? WHERE id = ?
UPDATE users SET password = :password WHERE id = :id
INSERT INTO users (email, password_hash, api_key) VALUES ($1, $2, $3)
SELECT name, secret_name FROM vault WHERE name = 'shop'
CREATE INDEX tokens_by_key ON tokens (key, user_id)
select 'a:b' as key, count(*) from items group by key having count(*) > 10
GET user:1234:profile
SET session:4bf92f35 EX 3600
HGETALL cart:f47ac10b-58cc-4372-a567-0e02b2c3d479
/var/lib/midspan/events.db
/usr/lib/python3.12/site-packages/secrets/token.py:123
C:\Program Files\Midspan\midspan.exe
/run/secrets/db_password
/etc/passwd
src/auth/password_test.go:42: want 3, got 4
at com.example.auth.TokenService.verify(TokenService.java:128)
goroutine 1 [running]: main.main() /app/main.go:12 +0x1d
panic: runtime error: index out of range [3] with length 3
SyntaxError: Unexpected token < in JSON at position 0
SyntaxError: Unexpected token: end of file
unexpected token: identifier
invalid token: expired
token: invalid
Bearer of bad news
Basic Information about the order
basic authentication is required
the password is wrong
the token is not valid any more
password: required
password=***
password=
Password must be at least 8 characters
secret: none
api_key: <your key>
api_key=${API_KEY}
Authorization: Bearer ${TOKEN}
token = null
password: null, email: "someone@example.com"
{"password":null,"token":"","secret":false,"email":"someone@example.com"}
{"max_tokens":2000,"input_tokens":812,"output_tokens":64,"token_type":"Bearer","expires_in":3600}
{"id":"chatcmpl-B9MBs8CjcGOU2jLn4n570S5qMJKcT","model":"gpt-4o-2024-08-06","choices":[{"index":0}]}
chatcmpl-B9MBs8CjcGOU2jLn4n570S5qMJKcT
msg_01XFDUDYJgAACzvnptvVoYEL
cus_NffrFeUfNV2Hib
pi_3MtwBwLkdIwHu7ix28a3tqPa
run_abc123def456ghi789jkl012
eyJpZCI6MTIzLCJhdCI6IjIwMjYtMTEtMjIifQ==
cursor=eyJpZCI6MTIzLCJhdCI6IjIwMjYtMTEtMjIifQ
W/"33a64df551425fcc55e4d42a148795d9f25f89d4"
text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8
Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36
Analyze metrics and choose a strategy: canary, blue-green or rolling
Decision: rail, since nobody waits for it (confidence 0.8)
Pack all 12 items and hand them over; key: fragile
Rotate the API keys of tenant 42
The secret of a good tea: time.
Schlüssel: unter der Matte – 鍵は下
cache.key = user:1234:profile, hit ratio 0.93, ttl 300s
k=v a=1 b=2 c="three" d='four'
level=info ts=2026-11-22T10:00:00Z caller=main.go:12 msg="started" dur=12.5ms
map[a:1 b:[2 3] c:map[d:4]]
&{ID:42 Name:tea Tokens:[1 2 3]}
<item id="42"><name>tea</name><price currency="EUR">3.50</price></item>
-----BEGIN CERTIFICATE-----
-----BEGIN PUBLIC KEY-----
git clone --depth 1 --branch main https://github.com/midspan/midspan.git
kubectl get secret shop -o name
docker run --rm -p 8080:8080 -v /data:/data midspan serve --token-file /run/token
go test -run TestTokens ./...
curl -u deploy https://example.com
npm_config_registry
sk-learn and sk-image
pat.example.com
SKU 4711-0815
v1.0-rc.1
API-Version: 2026-01-01
x-request-id: f47ac10b-58cc-4372-a567-0e02b2c3d479
etag: "5d8c72a5edda8d6a"
content-type: application/json; charset=utf-8
thread.name=http-nio-8080-exec-1
feature.key=new-checkout
partition key: 7
primary key: id
routing_key=orders.created.v2
idempotency_key=f47ac10b-58cc-4372-a567-0e02b2c3d479
messaging.client_id=rdkafka-consumer-4f2a91c07d31
next_token=AAMA-EFRSURBSGVXUkl1cXVOZz
token_type=urn:ietf:params:oauth:token-type:access_token
client_id=web-frontend
client_id: storefront-production
signature=verify(token, key)
code: ECONNREFUSED
{"errors":[{"code":"E1042","field":"password","message":"is too short"}]}
["password","email","name"]
authorized by role 'admin'; scope: read
auth: basic
session=active
user logged in; session opened
please pin the version to 1.2.3
pin: the message stays at the top
spin=20ms; pinned=true; gpio_pin=17
ASIAPACIFICNORTHEAST
region ASIAPACIFICSOUTHEAST, ASIANINFRASTRUCTUREBANKS
AKIA
XAKIALIODBBFHJFKOFXLR
AKIALIODBBFHJFKOFXLRS
AKIALIODBBFHJFKOFXLR_NAME
auth: KerberosNegotiate
auth=PasswordAuthentication
`

// pairs are attributes that are no secrets.
var pairs = [][2]string{
	{"trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"},
	{"session.id", "f47ac10b-58cc-4372-a567-0e02b2c3d479"},
	{"enduser.id", "someone"},
	{"gen_ai.response.id", "chatcmpl-B9MBs8CjcGOU2jLn4n570S5qMJKcT"},
	{"gen_ai.token.type", "input"},
	{"messaging.client.id", "rdkafka-consumer-4f2a91c07d31"},
	{"messaging.kafka.message.key", "f47ac10b58cc4372a5670e02b2c3d479"},
	{"messaging.rabbitmq.destination.routing_key", "orders.created"},
	{"aws.s3.key", "img/2026/11/f47ac10b58cc4372.png"},
	{"aws.secretsmanager.secret.arn", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/db-AbCdEf"},
	{"k8s.secret.name", "shop-db"},
	{"k8s.pod.uid", "f47ac10b-58cc-4372-a567-0e02b2c3d479"},
	{"container.id", "a3bf90e006b2a3bf90e006b2a3bf90e006b2a3bf90e006b2a3bf90e006b2a3bf"},
	{"container.image.repo_digests", "shop@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"},
	{"host.id", "fdbf79e8af94cb7f9e8df36789187052"},
	{"service.instance.id", "627cc493-f310-47de-96bd-71410b7dec09"},
	{"vcs.ref.head.revision", "9c04974b1f0d4f6f8a3a4b1e0a9b6c7d8e9f0a1b"},
	{"code.function.name", "com.example.TokenService.verify"},
	{"method.signature", "(Ljava/lang/String;)V"},
	{"password.reset.required", "yes"},
	{"oauth.token_type", "Bearer"},
	{"db.operation.name", "GET"},
	{"cache.key", "user:1234:profile"},
	{"http.response.header.etag", `W/"33a64df551425fcc55e4d42a148795d9f25f89d4"`},
	{"error.type", "InvalidTokenError"},
	{"activity.thread.id", "worker-3"},
	{"author", "someone"},
	{"monkey", "see"},
	{"pinned", "yes"},
	{"pin.count", "12"},
	{"gpio.pin", "17"},
	{"auth", "KerberosNegotiateAuth"},
	{"auth", "ServiceAccountCredentials"},
	{"session_id", "f47ac10b-58cc-4372-a567-0e02b2c3d479"},
	{"db.connection_string", "Server=(localdb)\\v11.0;Integrated Security=true;"},
}

func TestOrdinary(t *testing.T) {
	r := newRedactor(t, Config{})
	check := func(key string, v activity.Value) {
		t.Helper()
		attrs := []activity.Attr{{Key: key, Value: v}}
		e := []activity.Event{{Changes: activity.Changes{Name: v.Str(), StatusMessage: v.Str(), Attrs: attrs}}}
		r.Events(e)
		if got := e[0].Attrs[0]; got.Key != key || !got.Value.Equal(v) {
			t.Errorf("%s: %q became %q", key, v.Text(), got.Value.Text())
		}
		if e[0].Name != v.Str() {
			t.Errorf("the name %q became %q", v.Str(), e[0].Name)
		}
	}
	lines := strings.Split(strings.TrimSpace(ordinary), "\n")
	for _, line := range lines {
		check("note", activity.StringValue(line))
		check("note", activity.StringValue(quoted(map[string]any{"text": line, "n": []any{line}})))
		check("note", activity.SliceValue([]activity.Value{activity.StringValue(line)}))
	}
	check("note", activity.StringValue(ordinary))
	for _, p := range pairs {
		check(p[0], activity.StringValue(p[1]))
		check("note", activity.StringValue(p[0]+"="+p[1]))
		check("note", activity.StringValue(quoted(map[string]any{p[0]: p[1]})))
	}
	for _, v := range []activity.Value{
		activity.IntValue(42), activity.IntValue(1795341600123456789), activity.IntValue(1795341600123456), activity.FloatValue(0.25),
		activity.IntValue(4111111111111112), activity.IntValue(4111111111111111110), activity.IntValue(-4111111111111111), activity.FloatValue(4111111111111112), activity.FloatValue(411111111111111.1), activity.FloatValue(math.NaN()),
		activity.BoolValue(true), activity.BytesValue("\x00\x01\xff"), {},
	} {
		check("note", v)
	}
	check("gen_ai.usage.input_tokens", activity.IntValue(812))
	check("password.changed", activity.BoolValue(true))
	t.Logf("%d texts and %d attributes stay as they are", len(lines), len(pairs))
}

// TestOrdinaryIDs makes up ids of the usual kinds, of which none may be taken
// for a secret, wherever it stands.
func TestOrdinaryIDs(t *testing.T) {
	r := newRedactor(t, Config{})
	rng := rand.New(rand.NewPCG(7, 11))
	bytes := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.UintN(256))
		}
		return b
	}
	around := []string{
		"%s", "id %s", "id=%s", "id: %s", `{"id":"%s"}`, `{"id": "%s", "n": 1}`, "/v1/items/%s", "/v1/items/%s/parts", "https://example.com/v1/items/%s?x=1",
		"item-%s", "item_%s", "item:%s", "job.%s.log", "[%s]", "(%s)", "'%s'", "trace_id=%s", "x-request-id: %s", "cache:item:%s:v2", "%s,%s", "00-%s-01",
		"WHERE id = '%s'", "key-%s-x", "test/%s", "api/%s", "token %s", "secret %s", "the key %s",
	}
	crockford := "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	for range 2000 {
		id := bytes(16)
		ids := []string{
			hex.EncodeToString(id), hex.EncodeToString(id[:8]), strings.ToUpper(hex.EncodeToString(id)),
			fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]),
			hex.EncodeToString(bytes(20)), hex.EncodeToString(bytes(32)),
			activity.ID{Trace: activity.TraceID(id), Span: activity.SpanID(id[8:])}.String(),
			time.Unix(rng.Int64N(4e9), rng.Int64N(1e9)).UTC().Format(time.RFC3339Nano),
			fmt.Sprint(rng.Uint32()), fmt.Sprint(rng.IntN(1e12)), fmt.Sprint(int64(1.6e18) + rng.Int64N(4e17)),
		}
		ulid := make([]byte, 26)
		for i := range ulid {
			ulid[i] = crockford[rng.IntN(32)]
		}
		ulid[0] = '0'
		ids = append(ids, string(ulid))
		for _, id := range ids {
			text := around[rng.IntN(len(around))]
			text = fmt.Sprintf(strings.ReplaceAll(text, "%s", "%[1]s"), id)
			if got := r.text(text); got != text {
				t.Errorf("%q became %q", text, got)
			}
		}
	}
}

// TestOrdinaryBytes holds that pictures and other data in base64 stay whole.
func TestOrdinaryBytes(t *testing.T) {
	r := newRedactor(t, Config{})
	rng := rand.New(rand.NewPCG(3, 5))
	changed := 0
	const pictures = 300
	for range pictures {
		b := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"), make([]byte, 500)...)
		for i := 16; i < len(b); i++ {
			b[i] = byte(rng.UintN(256))
		}
		text := "data:image/png;base64," + base64.StdEncoding.EncodeToString(b)
		if got := r.text(text); got != text {
			changed++
			t.Logf("%q became %q", text, got)
		}
	}
	if changed > 0 {
		t.Errorf("%d of %d pictures were changed", changed, pictures)
	}
}
