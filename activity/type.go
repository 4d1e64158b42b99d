package activity

import (
	"fmt"
	"strings"
)

// Type says what sort of work an activity is.
type Type uint8

// The types. Span is a plain span that no semantic convention types.
const (
	Span Type = iota
	Decision
	Thread
	AsyncTask
	APICall
	DatabaseOperation
	AIInference
	WorkItem
	AgentAction
	SchedulerTick
)

// Types lists every type.
var Types = []Type{Span, Decision, Thread, AsyncTask, APICall, DatabaseOperation, AIInference, WorkItem, AgentAction, SchedulerTick}

var typeNames = [...]string{
	"span", "decision", "thread", "async_task", "api_call", "database_operation",
	"ai_inference", "work_item", "agent_action", "scheduler_tick",
}

func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("Type(%d)", uint8(t))
}

// ParseType reads a type's name in any case.
func ParseType(s string) (Type, bool) {
	for _, t := range Types {
		if strings.EqualFold(s, typeNames[t]) {
			return t, true
		}
	}
	return Span, false
}

// MarshalText implements encoding.TextMarshaler.
func (t Type) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *Type) UnmarshalText(b []byte) error {
	parsed, ok := ParseType(string(b))
	if !ok {
		return fmt.Errorf("type %q is not one of %v", b, Types)
	}
	*t = parsed
	return nil
}

// hint is a set of what the semantic conventions tell about a span's type.
type hint uint8

const (
	hintGenAI hint = 1 << iota
	hintAgent      // a gen_ai operation that is an agent's own act
	hintDB
	hintProcess // messaging: processing of a message
	hintSend    // messaging: sending of a message
	hintMessaging
	hintRemote // HTTP or RPC, of either side
)

// typeOf types a plain span by the semantic conventions: the most specific one wins.
func (h hint) typeOf(kind SpanKind) Type {
	switch {
	case h&hintAgent != 0:
		return AgentAction
	case h&hintGenAI != 0:
		return AIInference
	case h&hintDB != 0:
		return DatabaseOperation
	case h&hintProcess != 0:
		return WorkItem
	case h&hintSend != 0:
		return AsyncTask
	case h&hintMessaging != 0 && kind == KindConsumer:
		return WorkItem
	case h&hintMessaging != 0 && kind == KindProducer:
		return AsyncTask
	case h&hintRemote != 0 && kind == KindClient:
		return APICall
	}
	return Span
}

// hintOf reads one attribute: what it tells, and all that it could tell, which
// an earlier value may have told. Old names (db.system, http.method,
// messaging.operation) count as the new ones do.
// Source: OpenTelemetry semantic conventions 1.43.
func hintOf(key string, v Value) (told, about hint) {
	switch key {
	case "gen_ai.operation.name":
		switch v.Str() {
		case "invoke_agent", "create_agent", "execute_tool", "plan", "invoke_workflow":
			return hintGenAI | hintAgent, hintGenAI | hintAgent
		}
		return hintGenAI, hintGenAI | hintAgent
	case "db.system.name", "db.system":
		return hintDB, hintDB
	case "messaging.operation.type", "messaging.operation":
		switch v.Str() {
		case "process", "deliver":
			return hintMessaging | hintProcess, hintMessaging | hintProcess | hintSend
		case "send", "publish", "create":
			return hintMessaging | hintSend, hintMessaging | hintProcess | hintSend
		}
		return hintMessaging, hintMessaging | hintProcess | hintSend
	case "messaging.system":
		return hintMessaging, hintMessaging
	case "http.request.method", "http.method", "rpc.system", "rpc.system.name":
		return hintRemote, hintRemote
	}
	return 0, 0
}
