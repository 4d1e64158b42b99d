package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/tracing"
)

// model asks a language model through the official OpenAI client.
type model struct {
	chat     openai.ChatCompletionService
	name     string
	provider string // gen_ai.provider.name
	server   []attribute.KeyValue
	standIn  bool
	seed     int64
}

const maxAnswerTokens = 2000

// newModel returns a model behind an OpenAI-compatible endpoint. It reads no
// environment: openai.NewClient would.
func newModel(baseURL, key, name string, standIn bool, seed int64, client *http.Client) (*model, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Host == "" {
		return nil, errors.Join(fmt.Errorf("OpenAI base URL %q is not a URL with a host, as https://api.openai.com/v1 is", baseURL), err)
	}
	m := &model{name: name, provider: "openai", standIn: standIn, seed: seed, server: []attribute.KeyValue{semconv.ServerAddress(u.Hostname())}}
	if port, err := strconv.Atoi(u.Port()); err == nil {
		m.server = append(m.server, semconv.ServerPort(port))
	}
	if standIn {
		m.provider = "midspan.stand_in"
	}
	m.chat = openai.NewChatCompletionService(
		option.WithBaseURL(baseURL), option.WithAPIKey(key), option.WithHTTPClient(client),
		// The planner decides about retries itself, where they can be seen.
		option.WithMaxRetries(0))
	return m, nil
}

// promptTooLongError is the model's refusal of a prompt for its length.
type promptTooLongError struct{ message string }

func (e *promptTooLongError) Error() string     { return e.message }
func (e *promptTooLongError) ErrorType() string { return "context_length_exceeded" }

// ask sends one prompt and returns the answer's text.
func (m *model) ask(ctx context.Context, will, system, prompt string) (answer string, err error) {
	ctx, a := tracing.Start(ctx, activity.AIInference, "chat "+m.name, will,
		tracing.WithSpanKind(trace.SpanKindClient),
		tracing.WithAttributes(m.server...),
		tracing.WithAttributes(
			genAIOperationName.String("chat"), genAIProviderName.String(m.provider), genAIRequestModel.String(m.name),
			genAIRequestTokens.Int(maxAnswerTokens), genAIRequestSeed.Int64(m.seed), genAIOutputType.String("json")))
	defer a.End(&err)

	a.Sayf("Waiting for the answer to %s", size(int64(len(system)+len(prompt))))
	completion, err := m.chat.New(ctx, openai.ChatCompletionNewParams{
		Model:               m.name,
		Messages:            []openai.ChatCompletionMessageParamUnion{openai.SystemMessage(system), openai.UserMessage(prompt)},
		MaxCompletionTokens: openai.Int(maxAnswerTokens),
		Seed:                openai.Int(m.seed),
	})
	var refused *openai.Error
	if errors.As(err, &refused) && refused.Code == "context_length_exceeded" {
		return "", &promptTooLongError{refused.Message}
	}
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", m.name, err)
	}
	a.Set(genAIResponseID.String(completion.ID), genAIResponseModel.String(completion.Model),
		genAIUsageInTokens.Int64(completion.Usage.PromptTokens), genAIUsageOutTokens.Int64(completion.Usage.CompletionTokens))
	if len(completion.Choices) == 0 {
		return "", fmt.Errorf("ask %s: the answer has no choices", m.name)
	}
	choice := completion.Choices[0]
	a.Set(genAIFinishReasons.StringSlice([]string{choice.FinishReason}))
	did := fmt.Sprintf("%s answered %d tokens to %d", completion.Model, completion.Usage.CompletionTokens, completion.Usage.PromptTokens)
	if m.standIn {
		did += "; it is the local stand-in, no model"
	}
	a.Complete(did)
	return choice.Message.Content, nil
}
