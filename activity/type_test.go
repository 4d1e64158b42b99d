package activity_test

import (
	"testing"

	"github.com/midspan/midspan/activity"
)

func TestParseType(t *testing.T) {
	for _, typ := range activity.Types {
		if got, ok := activity.ParseType(typ.String()); !ok || got != typ {
			t.Errorf("ParseType(%q) = %v, %v", typ.String(), got, ok)
		}
		var back activity.Type
		text, err := typ.MarshalText()
		if err != nil || back.UnmarshalText(text) != nil || back != typ {
			t.Errorf("%v became %q and %v", typ, text, back)
		}
	}
	if got, ok := activity.ParseType("AI_Inference"); !ok || got != activity.AIInference {
		t.Errorf("ParseType in mixed case = %v, %v", got, ok)
	}
	for _, text := range []string{"", "task", "span "} {
		if got, ok := activity.ParseType(text); ok {
			t.Errorf("ParseType(%q) = %v", text, got)
		}
	}
}

func TestTypeBySemanticConventions(t *testing.T) {
	attrs := func(kv ...string) []activity.Attr {
		var out []activity.Attr
		for i := 0; i < len(kv); i += 2 {
			out = append(out, activity.Attr{Key: kv[i], Value: activity.StringValue(kv[i+1])})
		}
		return out
	}
	for _, tt := range []struct {
		name  string
		kind  activity.SpanKind
		attrs []activity.Attr
		want  activity.Type
	}{
		{"nothing", activity.KindInternal, nil, activity.Span},
		{"database", activity.KindClient, attrs("db.system.name", "postgresql"), activity.DatabaseOperation},
		{"database, old name", activity.KindClient, attrs("db.system", "sqlite"), activity.DatabaseOperation},
		{"database, internal", activity.KindInternal, attrs("db.system.name", "sqlite"), activity.DatabaseOperation},
		{"HTTP client", activity.KindClient, attrs("http.request.method", "GET"), activity.APICall},
		{"HTTP client, old name", activity.KindClient, attrs("http.method", "GET"), activity.APICall},
		{"HTTP server", activity.KindServer, attrs("http.request.method", "GET"), activity.Span},
		{"HTTP internal", activity.KindInternal, attrs("http.request.method", "GET"), activity.Span},
		{"RPC client", activity.KindClient, attrs("rpc.system", "grpc"), activity.APICall},
		{"RPC client, new name", activity.KindClient, attrs("rpc.system.name", "grpc"), activity.APICall},
		{"RPC server", activity.KindServer, attrs("rpc.system", "grpc"), activity.Span},
		{"chat", activity.KindClient, attrs("gen_ai.operation.name", "chat"), activity.AIInference},
		{"embeddings", activity.KindClient, attrs("gen_ai.operation.name", "embeddings"), activity.AIInference},
		{"invoke_agent", activity.KindInternal, attrs("gen_ai.operation.name", "invoke_agent"), activity.AgentAction},
		{"execute_tool", activity.KindInternal, attrs("gen_ai.operation.name", "execute_tool"), activity.AgentAction},
		{"plan", activity.KindInternal, attrs("gen_ai.operation.name", "plan"), activity.AgentAction},
		{"chat over HTTP", activity.KindClient, attrs("http.request.method", "POST", "gen_ai.operation.name", "chat"), activity.AIInference},
		{"a database over HTTP", activity.KindClient, attrs("http.request.method", "POST", "db.system.name", "elasticsearch"), activity.DatabaseOperation},
		{"process", activity.KindConsumer, attrs("messaging.system", "kafka", "messaging.operation.type", "process"), activity.WorkItem},
		{"process, old name", activity.KindConsumer, attrs("messaging.operation", "process"), activity.WorkItem},
		{"deliver, old value", activity.KindConsumer, attrs("messaging.operation", "deliver"), activity.WorkItem},
		{"send", activity.KindProducer, attrs("messaging.operation.type", "send"), activity.AsyncTask},
		{"publish, old value", activity.KindProducer, attrs("messaging.operation", "publish"), activity.AsyncTask},
		{"receive", activity.KindConsumer, attrs("messaging.operation.type", "receive"), activity.WorkItem},
		{"messaging producer", activity.KindProducer, attrs("messaging.system", "kafka"), activity.AsyncTask},
		{"messaging internal", activity.KindInternal, attrs("messaging.system", "kafka"), activity.Span},
		{"its own type wins", activity.KindClient, attrs("db.system.name", "sqlite", activity.KeyType, "decision"), activity.Decision},
		{"its own plain span", activity.KindClient, attrs("db.system.name", "sqlite", activity.KeyType, "span"), activity.Span},
		{"its own in any case", activity.KindInternal, attrs(activity.KeyType, "Work_Item"), activity.WorkItem},
		{"a type that is none", activity.KindClient, attrs(activity.KeyType, "nonsense", "db.system", "x"), activity.DatabaseOperation},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := activity.Event{ID: mustID(t, idText), Rev: 1, At: 1, Kind: activity.EventStarted}
			e.SpanKind, e.Attrs = tt.kind, tt.attrs
			if a := activity.Fold([]activity.Event{e}); a.Type != tt.want {
				t.Errorf("type = %v, want %v", a.Type, tt.want)
			}
			// The same told late, piece by piece.
			events := []activity.Event{{ID: e.ID, Rev: 1, At: 1, Kind: activity.EventStarted}}
			for i, attr := range tt.attrs {
				u := activity.Event{ID: e.ID, Rev: uint32(i + 2), At: activity.Time(i + 2), Kind: activity.EventUpdated}
				u.Attrs = []activity.Attr{attr}
				events = append(events, u)
			}
			end := activity.Event{ID: e.ID, Rev: 99, At: 99, Kind: activity.EventCompleted}
			end.SpanKind = tt.kind
			if a := activity.Fold(append(events, end)); a.Type != tt.want {
				t.Errorf("told piece by piece: type = %v, want %v", a.Type, tt.want)
			}
		})
	}
}

// The last value of an attribute counts, for the type too.
func TestTypeFollowsTheLastValue(t *testing.T) {
	id := mustID(t, idText)
	set := func(rev uint32, key, value string) activity.Event {
		e := activity.Event{ID: id, Rev: rev, At: activity.Time(rev), Kind: activity.EventUpdated}
		e.Attrs = []activity.Attr{{Key: key, Value: activity.StringValue(value)}}
		return e
	}
	a := activity.Fold([]activity.Event{set(1, "gen_ai.operation.name", "plan"), set(2, "gen_ai.operation.name", "chat")})
	if a.Type != activity.AIInference {
		t.Errorf("plan, then chat: type = %v", a.Type)
	}
	a = activity.Fold([]activity.Event{set(1, "messaging.operation", "send"), set(2, "messaging.operation", "process")})
	if a.Type != activity.WorkItem {
		t.Errorf("send, then process: type = %v", a.Type)
	}
}
