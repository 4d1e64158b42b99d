// Package otlpclient sends encoded trace requests to one OTLP endpoint, by gRPC
// or HTTP, and tells what the endpoint made of them. It neither encodes nor
// sends again: that is for its caller.
package otlpclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// DefaultTimeout bounds one request, as OTLP's exporters do.
const DefaultTimeout = 10 * time.Second

// maxText bounds what is kept of an endpoint's words, in bytes.
const maxText = 512

// Secret is a header's value. It prints as asterisks.
type Secret string

func (Secret) String() string { return "****" }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return `"****"` }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue("****") }

// MarshalText implements encoding.TextMarshaler.
func (Secret) MarshalText() ([]byte, error) { return []byte("****"), nil }

// Config says where a Client sends. Only URL is required.
type Config struct {
	// URL is written as OTEL_EXPORTER_OTLP_ENDPOINT: "http://localhost:4318", to
	// which v1/traces is added, or with port 4317 for gRPC. With grpc:// or
	// grpcs:// any port means gRPC. The scheme decides on TLS.
	URL string
	// Headers are sent with each request, as metadata by gRPC.
	Headers map[string]Secret
	// Gzip packs the requests.
	Gzip bool
	// Timeout bounds one request. Defaults to DefaultTimeout.
	Timeout time.Duration
}

// Result is what an endpoint answered to a request that it took.
type Result struct {
	Rejected int64  // spans that it refused for good, by partial_success
	Message  string // why, in its words; may be a warning with nothing rejected
}

// Error is why a request was not taken.
type Error struct {
	Text string // in the endpoint's words, where it had any
	// Retry says that the same request may be taken later.
	Retry bool
	// After is how long the endpoint asks to wait, or 0.
	After time.Duration
	err   error
}

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.err }

// Client sends to one endpoint. It is safe for concurrent use.
type Client struct {
	endpoint  string
	timeout   time.Duration
	transport transport
}

// transport carries one request. Its error is an *Error.
type transport interface {
	send(ctx context.Context, request []byte) (Result, error)
	close() error
}

// New returns a Client, or an error that says what is wrong with cfg. It does
// not connect.
func New(cfg Config) (*Client, error) {
	u, err := parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	for name, value := range cfg.Headers {
		if !validHeader(name, string(value)) {
			return nil, fmt.Errorf("OTLP header %q: its name must be letters, digits and hyphens, its value printable", name)
		}
	}
	c := &Client{endpoint: u.String(), timeout: cfg.Timeout}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if isGRPC(u) {
		c.transport, err = newGRPC(u, cfg.Headers, cfg.Gzip)
	} else {
		c.transport, err = newHTTP(u, cfg.Headers, cfg.Gzip)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Check returns an error that says what is wrong with c, or nil.
func (c *Config) Check() error {
	client, err := New(*c)
	if err != nil {
		return err
	}
	return client.Close()
}

func parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "grpc" && u.Scheme != "grpcs":
		// The text may hold a password, which url.Error repeats.
		return nil, errors.New("OTLP endpoint: write it as http://host:port, for example http://localhost:4318, or grpc://localhost:4317")
	case u.User != nil:
		return nil, fmt.Errorf("OTLP endpoint %s: give the name and password as an Authorization header, not in the URL", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("OTLP endpoint %s: it must not have a query or fragment", u.Host)
	case isGRPC(u) && u.Port() == "":
		return nil, fmt.Errorf("OTLP endpoint %s: name its port, for example %s://%s:4317", u, u.Scheme, u.Host)
	case isGRPC(u) && strings.Trim(u.Path, "/") != "":
		return nil, fmt.Errorf("OTLP endpoint %s: gRPC has no path", u)
	}
	return u, nil
}

func isGRPC(u *url.URL) bool { return strings.HasPrefix(u.Scheme, "grpc") || u.Port() == "4317" }

func secure(u *url.URL) bool { return u.Scheme == "https" || u.Scheme == "grpcs" }

func validHeader(name, value string) bool {
	if name == "" || strings.HasPrefix(strings.ToLower(name), "grpc-") {
		return false
	}
	for _, c := range name {
		if c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' })
}

// Endpoint returns the URL that the Client was made with. It holds no secret.
func (c *Client) Endpoint() string { return c.endpoint }

// Send sends one encoded ExportTraceServiceRequest and waits for the answer. An
// error is an [*Error], or ctx's when that is done. After an error the request's
// bytes may still be read by the transport: the caller must not change them.
func (c *Client) Send(ctx context.Context, request []byte) (Result, error) {
	attempt, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	result, err := c.transport.send(attempt, request)
	if err != nil && ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	return result, err
}

// Close ends the connections.
func (c *Client) Close() error { return c.transport.close() }

// answer reads the body of a request that was taken. One that is no message of
// OTLP says nothing: the request was taken all the same.
func answer(body []byte) Result {
	resp := ptraceotlp.NewExportResponse()
	if resp.UnmarshalProto(body) != nil {
		return Result{}
	}
	partial := resp.PartialSuccess()
	return Result{Rejected: max(partial.RejectedSpans(), 0), Message: cut(partial.ErrorMessage())}
}

// cut makes an endpoint's words fit for a line of a log.
func cut(text string) string {
	text = strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "\ufffd")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}
