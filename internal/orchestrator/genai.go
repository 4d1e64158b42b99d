package orchestrator

import (
	"go.opentelemetry.io/otel/attribute"
)

// Attribute keys of OpenTelemetry's semantic conventions for generative AI,
// which have moved out of the Go semconv packages.
// Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/
const (
	genAIOperationName  = attribute.Key("gen_ai.operation.name")
	genAIProviderName   = attribute.Key("gen_ai.provider.name")
	genAIAgentName      = attribute.Key("gen_ai.agent.name")
	genAIRequestModel   = attribute.Key("gen_ai.request.model")
	genAIRequestTokens  = attribute.Key("gen_ai.request.max_tokens")
	genAIRequestSeed    = attribute.Key("gen_ai.request.seed")
	genAIOutputType     = attribute.Key("gen_ai.output.type")
	genAIResponseID     = attribute.Key("gen_ai.response.id")
	genAIResponseModel  = attribute.Key("gen_ai.response.model")
	genAIFinishReasons  = attribute.Key("gen_ai.response.finish_reasons")
	genAIUsageInTokens  = attribute.Key("gen_ai.usage.input_tokens")
	genAIUsageOutTokens = attribute.Key("gen_ai.usage.output_tokens")
)

// Attributes of this orchestrator's own.
const (
	keyWorkItem = attribute.Key("orchestrator.work_item.id")
	keyRun      = attribute.Key("orchestrator.run.id")
	keyAttempt  = attribute.Key("orchestrator.run.attempt")
	keyProject  = attribute.Key("orchestrator.project")
	keyKind     = attribute.Key("orchestrator.kind")
	keyPriority = attribute.Key("orchestrator.priority")
)

// agentAttributes are those of what an agent does.
func agentAttributes(operation, name string) []attribute.KeyValue {
	return []attribute.KeyValue{genAIOperationName.String(operation), genAIAgentName.String(name)}
}
