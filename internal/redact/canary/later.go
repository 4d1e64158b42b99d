package canary

// Later are those that were found to be missed after the others were chosen.
var Later = []Canary{
	{Kind: "aws-access-token without a digit", Form: "AKIA{C16}"},
	{Kind: "aws-session-token without a digit", Form: "ASIA{C16}"},
	{Kind: "connection string", Key: "connectionString", Form: "{A24}"},
	{Kind: "pin", Key: "pin", Form: "{d12}"},
	{Kind: "session", Key: "sessionid", Form: "{a32}"},
	{Kind: "google-oauth-access-token", Form: "ya29.a0{w150}"},
	{Kind: "google-oauth-client-secret", Form: "GOCSPX-{w28}"},
	{Kind: "google-oauth-refresh-token", Form: "1//0g{w90}"},
	{Kind: "slack-browser-cookie", Form: "xoxd-{b100}"},
	{Kind: "slack-browser-token", Form: "xoxc-{d12}-{d12}-{d12}-{h64}"},
	{Kind: "supabase-access-token", Form: "sbp_{h40}"},
	{Kind: "auth without a digit", Key: "auth", Form: "tzJjbJuhTkUhqVsJ"},
}
