package canary

// Later are those that were found to be missed after the others were chosen.
var Later = []Canary{
	{Kind: "aws-access-token without a digit", Form: "AKIA{C16}"},
	{Kind: "aws-session-token without a digit", Form: "ASIA{C16}"},
	{Kind: "connection string", Key: "connectionString", Form: "{A24}"},
	{Kind: "pin", Key: "pin", Form: "{d12}"},
	{Kind: "session", Key: "sessionid", Form: "{a32}"},
	{Kind: "auth without a digit", Key: "auth", Form: "tzJjbJuhTkUhqVsJ"},
}
