package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(senderURL); url != "" {
		runSender(url)
		return
	}
	goleak.VerifyTestMain(m)
}

// served is a bridge that runs until the test ends, or until it is stopped.
type served struct {
	*Bridge
	t      *testing.T
	client *http.Client
	stop   func()
}

func serve(t *testing.T, cfg Config) *served {
	t.Helper()
	cfg.Listen, cfg.OTLPGRPC, cfg.OTLPHTTP = free, free, free
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	s := &served{Bridge: b, t: t, client: &http.Client{Transport: &http.Transport{}}}
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		s.client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(s.stop)
	return s
}

// send posts OTLP in JSON, which is taken whole.
func (s *served) send(path, body string) {
	s.t.Helper()
	resp := do(s.t, s.client, http.MethodPost, "http://"+s.HTTPAddr().String()+path, body)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || string(answer) != "{}" && string(answer) != `{"partialSuccess":{}}` {
		s.t.Fatalf("%s: %s %v", path, answer, err)
	}
}

// read answers what the API says, as JSON or, into a string, as text.
func (s *served) read(path string, into any) {
	s.t.Helper()
	resp := do(s.t, s.client, http.MethodGet, "http://"+s.Addr().String()+path, "")
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if text, ok := into.(*string); ok {
		*text = string(body)
	} else if err == nil {
		err = json.Unmarshal(body, into)
	}
	if err != nil {
		s.t.Fatalf("%s: %s %v", path, body, err)
	}
}

// seen is an activity as the API tells it, as far as tests read it.
type seen struct {
	ID         string   `json:"activity_id"`
	Parent     *string  `json:"parent_id"`
	State      string   `json:"state"`
	Name       string   `json:"name"`
	Lease      string   `json:"lease"`
	Stalled    bool     `json:"stalled"`
	StartedAt  *string  `json:"started_at"`
	EndedAt    *string  `json:"ended_at"`
	LastSeenAt *string  `json:"last_seen_at"`
	DurationMs *float64 `json:"duration_ms"`
}

type message struct {
	Event    string `json:"event"`
	Seq      uint64 `json:"seq"`
	Activity *seen  `json:"activity"`
}

// watch follows the stream from now on. Each message goes to the channel.
func (s *served) watch(query string) <-chan message {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr().String()+"/activity/stream?hello=1&"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%v %v", resp, err)
	}
	messages, done := make(chan message, 1000), make(chan struct{})
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	go func() {
		defer close(done)
		defer close(messages)
		for lines.Scan() {
			data, ok := strings.CutPrefix(lines.Text(), "data:")
			if !ok {
				continue
			}
			var m message
			if err := json.Unmarshal([]byte(data), &m); err != nil {
				s.t.Errorf("%s: %v", data, err)
			}
			messages <- m
		}
	}()
	s.t.Cleanup(func() { cancel(); resp.Body.Close(); <-done })
	if hello := <-messages; hello.Event != "hello" {
		s.t.Fatalf("the stream begins with %+v", hello)
	}
	return messages
}

// eventually waits until check says nothing more.
func eventually(t *testing.T, within time.Duration, check func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		wrong := check()
		if wrong == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after %v: %s", within, wrong)
		}
	}
}

// span is a span in OTLP's JSON.
func span(trace string, n, parent int, start, end int64) string {
	parentID := ""
	if parent != 0 {
		parentID = fmt.Sprintf("%016x", parent)
	}
	return fmt.Sprintf(`{"traceId":%q,"spanId":"%016x","parentSpanId":%q,"name":"step %d","startTimeUnixNano":"%d","endTimeUnixNano":"%d"}`,
		trace, n, parentID, n, start, end)
}

func spans(resource string, list ...string) string {
	return `{"resourceSpans":[{"resource":{"attributes":[` + resource + `]},"scopeSpans":[{"spans":[` + strings.Join(list, ",") + `]}]}]}`
}

func records(resource string, list ...string) string {
	return `{"resourceLogs":[{"resource":{"attributes":[` + resource + `]},"scopeLogs":[{"logRecords":[` + strings.Join(list, ",") + `]}]}]}`
}

// text is an attribute in OTLP's JSON.
func text(key, value string) string {
	return fmt.Sprintf(`{"key":%q,"value":{"stringValue":%q}}`, key, value)
}

func number(key string, value int64) string {
	return fmt.Sprintf(`{"key":%q,"value":{"intValue":"%d"}}`, key, value)
}
