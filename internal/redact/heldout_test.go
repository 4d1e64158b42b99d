package redact

import "testing"

// heldOutCanaries are of the kinds that the hash of their names held out: these
// forms were written after the rules, and first met them as they then were.
var heldOutCanaries = []canary{
	{kind: "1password-service-account-token", form: "ops_eyJ{b250}"},
	{kind: "adafruit-api-key", key: "adafruit_api_key", form: "{w32}"},
	{kind: "adobe-client-secret", form: "p8e-{A32}"},
	{kind: "airtable-api-key", key: "airtable_api_key", form: "{a17}"},
	{kind: "anthropic-api-key", form: "sk-ant-api03-{w93}AA"},
	{kind: "asana-client-id", key: "asana_client_id", form: "{d16}"},
	{kind: "authress-service-client-access-key", form: "sc_{a20}.{a5}.acc-{a12}.{b40}="},
	{kind: "azure-ad-client-secret", form: "{A3}8Q~{w34}"},
	{kind: "basic-header", form: "{b40}", text: "GET /v1/items HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Basic %s\r\nAccept: */*"},
	{kind: "bearer-header", form: "{w40}", text: "GET /v1/items HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer %s\r\nAccept: */*"},
	{kind: "cisco-meraki-api-key", key: "meraki_api_key", form: "{h40}"},
	{kind: "clojars-api-token", form: "CLOJARS_{a60}"},
	{kind: "codecov-access-token", key: "codecov_token", form: "{a32}"},
	{kind: "coinbase-access-token", key: "coinbase_access_token", form: "{w64}"},
	{kind: "confluent-secret-key", key: "confluent_secret_key", form: "{a64}"},
	{kind: "connection-string-password", form: "{A20}", text: "Server=tcp:db.example.com,1433;Database=shop;User ID=app;Password=%s;Encrypt=True"},
	{kind: "cookie-header", form: "{A40}", text: "GET / HTTP/1.1\r\nCookie: theme=dark; sid=%s; lang=en\r\nAccept: */*"},
	{kind: "databricks-api-token", form: "dapi{h32}-2"},
	{kind: "datadog-access-token", key: "datadog_access_token", form: "{a40}"},
	{kind: "digitalocean-access-token", form: "doo_v1_{h64}"},
	{kind: "discord-client-id", key: "discord_client_id", form: "{d18}"},
	{kind: "doppler-api-token", form: "dp.pt.{A43}"},
	{kind: "droneci-access-token", key: "droneci_access_token", form: "{a32}"},
	{kind: "dropbox-long-lived-api-token", key: "dropbox_token", form: "{a11}AAAAAAAAAA{w43}"},
	{kind: "dropbox-short-lived-api-token", form: "sl.{w135}"},
	{kind: "dynatrace-api-token", form: "dt0c01.{U24}.{U64}"},
	{kind: "facebook-page-access-token", form: "EAAM{A110}"},
	{kind: "fastly-api-token", key: "fastly_api_token", form: "{w32}"},
	{kind: "flutterwave-encryption-key", form: "FLWSECK_TEST-{h12}"},
	{kind: "flutterwave-secret-key", form: "FLWSECK_TEST-{h32}-X"},
	{kind: "freemius-secret-key", key: "secret_key", form: "sk_{b29}"},
	{kind: "freshbooks-access-token", key: "freshbooks_access_token", form: "{a64}"},
	{kind: "gcp-api-key", form: "AIza{w35}"},
	{kind: "gcp-service-account", form: "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC{b200}", text: `{"type":"service_account","private_key_id":"x","private_key":"-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n"}`},
	{kind: "github-app-token", form: "ghs_{A36}"},
	{kind: "github-fine-grained-pat", form: "github_pat_{A22}_{A59}"},
	{kind: "github-oauth", form: "gho_{A36}"},
	{kind: "gitlab-feature-flag-client-token", form: "glffct-{w20}"},
	{kind: "gitlab-kubernetes-agent-token", form: "glagent-{w50}"},
	{kind: "gitlab-oauth-app-secret", form: "gloas-{w64}"},
	{kind: "gitlab-ptt", form: "glptt-{h40}"},
	{kind: "gitlab-runner-authentication-token", form: "glrt-{w20}"},
	{kind: "gitlab-runner-authentication-token-routable", form: "glrt-t1_{w27}.0q.{a9}"},
	{kind: "grafana-api-key", form: "eyJrIjoi{A90}="},
	{kind: "heroku-api-key", key: "heroku_api_key", form: "{u}"},
	{kind: "hubspot-api-key", key: "hubspot_api_key", form: "{u}"},
	{kind: "intra42-client-secret", form: "s-s4t2ud-{h64}"},
	{kind: "jfrog-api-key", key: "jfrog_api_key", form: "{a73}"},
	{kind: "jwt", form: "eyJ{w33}.eyJ{w60}.{w43}"},
	{kind: "jwt-base64", form: "ZXlK{A160}=="},
	{kind: "kucoin-access-token", key: "kucoin_access_token", form: "{h24}"},
	{kind: "kucoin-secret-key", key: "kucoin_secret_key", form: "{u}"},
	{kind: "linkedin-client-id", key: "linkedin_client_id", form: "{a14}"},
	{kind: "mailgun-private-api-token", form: "key-{h32}"},
	{kind: "mailgun-pub-key", form: "pubkey-{h32}"},
	{kind: "mailgun-signing-key", key: "mailgun_signing_key", form: "{h32}-{h8}-{h8}"},
	{kind: "mapbox-api-token", form: "pk.{a60}.{a22}"},
	{kind: "new-relic-browser-api-token", form: "NRJS-{h19}"},
	{kind: "new-relic-user-api-id", key: "new_relic_user_api_id", form: "{a64}"},
	{kind: "new-relic-user-api-key", form: "NRAK-{U27}"},
	{kind: "okta-access-token", key: "okta_access_token", form: "00{w40}"},
	{kind: "perplexity-api-key", form: "pplx-{A48}"},
	{kind: "planetscale-api-token", form: "pscale_tkn_{w43}"},
	{kind: "planetscale-password", form: "pscale_pw_{w43}"},
	{kind: "prefect-api-token", form: "pnu_{a36}"},
	{kind: "private-key", form: "{b64}\n{b64}\n{b40}", text: "-----BEGIN RSA PRIVATE KEY-----\n%s\n-----END RSA PRIVATE KEY-----"},
	{kind: "privateai-api-token", key: "privateai_api_token", form: "{a32}"},
	{kind: "rapidapi-access-token", key: "rapidapi_access_token", form: "{w50}"},
	{kind: "sendgrid-api-token", form: "SG.{w22}.{w43}"},
	{kind: "sentry-org-token", form: "sntrys_eyJpYXQiO{b100}_{b43}"},
	{kind: "shippo-api-token", form: "shippo_live_{h40}"},
	{kind: "shopify-custom-access-token", form: "shpca_{h32}"},
	{kind: "sidekiq-sensitive-url", form: "{h8}", text: "https://cafeb4b3:%s@enterprise.contribsys.com:443/"},
	{kind: "slack-bot-token", form: "xoxb-{d12}-{d12}-{A24}"},
	{kind: "slack-config-access-token", form: "xoxe.xoxp-1-{U166}"},
	{kind: "slack-legacy-token", form: "xoxs-{d12}-{d12}-{d12}-{h32}"},
	{kind: "snyk-api-token", key: "snyk_token", form: "{u}"},
	{kind: "sonar-api-token", key: "sonar_login", form: "squ_{a40}"},
	{kind: "telegram-bot-api-token", form: "{d9}:AA{w33}"},
	{kind: "twitch-api-token", key: "twitch_api_token", form: "{a30}"},
	{kind: "twitter-api-key", key: "twitter_api_key", form: "{a25}"},
	{kind: "twitter-bearer-token", form: "AAAAAAAAAAAAAAAAAAAAAA{A90}"},
	{kind: "url-password", form: "{A20}", text: "amqp://shop:%s@mq.example.com:5672/orders"},
	{kind: "vault-batch-token", form: "hvb.{w150}"},
	{kind: "vault-service-token", form: "hvs.{w95}"},
	{kind: "yandex-access-token", form: "t1.{w80}.{w86}"},
	{kind: "zendesk-secret-key", key: "zendesk_secret_key", form: "{a40}"},
}

func TestHeldOutCanaries(t *testing.T) {
	testCanaries(t, newRedactor(t, Config{}), heldOutCanaries, true)
}

// TestAllKinds holds that every kind has a canary.
func TestAllKinds(t *testing.T) {
	have := map[string]int{}
	for _, list := range [][]canary{canaries, heldOutCanaries} {
		for _, c := range list {
			have[c.kind]++
		}
	}
	for _, kind := range kinds {
		if have[kind] != 1 {
			t.Errorf("%s has %d canaries, want 1", kind, have[kind])
		}
	}
	if len(have) != len(kinds) {
		t.Errorf("%d kinds have canaries, want %d", len(have), len(kinds))
	}
}
