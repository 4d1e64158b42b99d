package otlpclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNew(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		headers   map[string]Secret
		grpc      bool
		want      string // of the error
	}{
		{name: "HTTP", url: "http://localhost:4318"},
		{name: "path", url: "https://localhost/otlp"},
		{name: "registered port", url: "http://localhost:4317", grpc: true},
		{name: "secure", url: "https://collector.example:4317", grpc: true},
		{name: "any port", url: "grpc://localhost:1234", grpc: true},
		{name: "any port, secure", url: "grpcs://localhost:1234", grpc: true},
		{name: "no scheme", url: "localhost:4317", want: "write it as"},
		{name: "other scheme", url: "ftp://localhost:4317", want: "write it as"},
		{name: "empty", want: "write it as"},
		{name: "password", url: "http://me:hunter2@localhost:4318", want: "Authorization"},
		{name: "password in no URL", url: "http://me:hunter2@local host", want: "write it as"},
		{name: "query", url: "http://localhost:4318?token=hunter2", want: "query"},
		{name: "no port", url: "grpc://localhost", want: "name its port"},
		{name: "path of gRPC", url: "grpc://localhost:1/v1", want: "no path"},
		{name: "header", url: "http://localhost", headers: map[string]Secret{"x-tenant": "a"}},
		{name: "name of a header", url: "http://localhost", headers: map[string]Secret{"x tenant": "hunter2"}, want: `"x tenant"`},
		{name: "value of a header", url: "http://localhost", headers: map[string]Secret{"a": "hunter2\n"}, want: "printable"},
		{name: "gRPC's own header", url: "http://localhost", headers: map[string]Secret{"grpc-timeout": "1S"}, want: "grpc-timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := New(Config{URL: tt.url, Headers: tt.headers})
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, is := c.transport.(*grpcTransport); is != tt.grpc {
				t.Errorf("%T", c.transport)
			}
			if c.Endpoint() != tt.url {
				t.Errorf("%s", c.Endpoint())
			}
		})
	}
}

func TestSecret(t *testing.T) {
	const secret = Secret("hunter2")
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "header", secret)
	j, err := json.Marshal(map[string]Secret{"a": secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(secret), fmt.Sprintf("%v %+v %#v %q", secret, Config{Headers: map[string]Secret{"a": secret}}, secret, secret), logged.String(), string(j)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s", text)
		}
	}
}

var body = func() []byte {
	b, err := proto.Marshal(&collectorpb.ExportTraceServiceRequest{})
	if err != nil {
		panic(err)
	}
	return append(b, 0x0a, 0x02, 0x1a, 0x00) // resource_spans { schema_url: "" }
}()

// What an endpoint answers by HTTP, and what is made of it.
func TestHTTP(t *testing.T) {
	partial, err := proto.Marshal(&collectorpb.ExportTraceServiceResponse{
		PartialSuccess: &collectorpb.ExportTracePartialSuccess{RejectedSpans: 3, ErrorMessage: "too  old\n"},
	})
	if err != nil {
		t.Fatal(err)
	}
	bad, err := proto.Marshal(&statuspb.Status{Code: 3, Message: "no such field"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		status int
		header map[string]string
		body   string
		want   Result
		err    *Error
	}{
		{name: "taken", status: 200},
		{name: "taken, told otherwise", status: 202, body: "{}"},
		{name: "partial", status: 200, body: string(partial), want: Result{Rejected: 3, Message: "too old"}},
		{name: "busy", status: 429, err: &Error{Text: "429 Too Many Requests", Retry: true}},
		{name: "busy for a while", status: 503, header: map[string]string{"Retry-After": "7"}, body: "later", err: &Error{Text: "503 Service Unavailable: later", Retry: true, After: 7 * time.Second}},
		{name: "nonsense", status: 503, header: map[string]string{"Retry-After": "-1"}, err: &Error{Text: "503 Service Unavailable", Retry: true}},
		{name: "gateway", status: 502, err: &Error{Text: "502 Bad Gateway", Retry: true}},
		{name: "slow gateway", status: 504, err: &Error{Text: "504 Gateway Timeout", Retry: true}},
		{name: "bad", status: 400, header: map[string]string{"Content-Type": contentProto}, body: string(bad), err: &Error{Text: "400 Bad Request: no such field"}},
		{name: "bad, in JSON", status: 400, header: map[string]string{"Content-Type": "application/json"}, body: `{"code":3,"message":"no such field"}`, err: &Error{Text: "400 Bad Request: no such field"}},
		{name: "broken", status: 500, body: strings.Repeat("é", 10_000), err: &Error{Text: "500 Internal Server Error: " + strings.Repeat("é", 242) + "…"}},
		{name: "too large", status: 413, err: &Error{Text: "413 Request Entity Too Large"}},
		{name: "token", status: 401, err: &Error{Text: "401 Unauthorized", Retry: true}},
		{name: "wrong address", status: 404, err: &Error{Text: "404 Not Found", Retry: true}},
		{name: "moved", status: 308, header: map[string]string{"Location": "http://elsewhere.example/"}, err: &Error{Text: "308 Permanent Redirect: it is served elsewhere", Retry: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got, err := io.ReadAll(r.Body)
				if err != nil || string(got) != string(body) || r.URL.Path != "/base/v1/traces" || r.Method != http.MethodPost ||
					r.Header.Get("X-Tenant") != "shop" || r.Header.Get("Content-Type") != contentProto {
					t.Errorf("%s %s %v %q %v", r.Method, r.URL, r.Header, got, err)
				}
				for k, v := range tt.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer server.Close()
			c, err := New(Config{URL: server.URL + "/base", Headers: map[string]Secret{"X-Tenant": "shop"}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			check(t, c, tt.want, tt.err)
		})
	}
}

func check(t *testing.T, c *Client, want Result, wantErr *Error) {
	t.Helper()
	got, err := c.Send(t.Context(), body)
	failed, _ := errors.AsType[*Error](err)
	switch {
	case wantErr == nil && (err != nil || got != want):
		t.Errorf("%+v %v, want %+v", got, err, want)
	case wantErr != nil && (failed == nil || failed.Text != wantErr.Text || failed.Retry != wantErr.Retry || failed.After != wantErr.After):
		t.Errorf("%+v, want %+v", failed, wantErr)
	}
}

type service struct {
	collectorpb.UnimplementedTraceServiceServer
	answer func(context.Context) (*collectorpb.ExportTraceServiceResponse, error)
}

func (s *service) Export(ctx context.Context, _ *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	return s.answer(ctx)
}

// What an endpoint answers by gRPC, and what is made of it.
func TestGRPC(t *testing.T) {
	advised, err := status.New(codes.ResourceExhausted, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(3 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		err  error
		want *Error
	}{
		{"taken", nil, nil},
		{"away", status.Error(codes.Unavailable, "draining"), &Error{Text: "Unavailable: draining", Retry: true}},
		{"busy", advised.Err(), &Error{Text: "ResourceExhausted: busy", Retry: true, After: 3 * time.Second}},
		{"too large", status.Error(codes.ResourceExhausted, "larger than 4 MiB"), &Error{Text: "ResourceExhausted: larger than 4 MiB"}},
		{"bad", status.Error(codes.InvalidArgument, "no"), &Error{Text: "InvalidArgument: no"}},
		{"broken", status.Error(codes.Internal, "no"), &Error{Text: "Internal: no"}},
		{"token", status.Error(codes.Unauthenticated, "no"), &Error{Text: "Unauthenticated: no", Retry: true}},
		{"no such service", status.Error(codes.Unimplemented, "no"), &Error{Text: "Unimplemented: no", Retry: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := serve(t, &service{answer: func(ctx context.Context) (*collectorpb.ExportTraceServiceResponse, error) {
				md, _ := metadata.FromIncomingContext(ctx)
				if got := md.Get("x-tenant"); len(got) != 1 || got[0] != "shop" {
					t.Errorf("%v", md)
				}
				return &collectorpb.ExportTraceServiceResponse{}, tt.err
			}})
			for _, packed := range []bool{false, true} {
				c, err := New(Config{URL: url, Headers: map[string]Secret{"X-Tenant": "shop"}, Gzip: packed})
				if err != nil {
					t.Fatal(err)
				}
				check(t, c, Result{}, tt.want)
				check(t, c, Result{}, tt.want) // with what the first has pooled
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func serve(t *testing.T, s *service) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(server, s)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-done })
	return "grpc://" + l.Addr().String()
}

// An endpoint that does not answer in time, or not at all, is to be tried again;
// the caller's own end is no failure of the endpoint.
func TestNoAnswer(t *testing.T) {
	silent := make(chan struct{})
	defer close(silent)
	slow := serve(t, &service{answer: func(ctx context.Context) (*collectorpb.ExportTraceServiceResponse, error) {
		select {
		case <-ctx.Done():
		case <-silent:
		}
		return nil, ctx.Err()
	}})
	for _, url := range []string{slow, "grpc://127.0.0.1:1", "http://127.0.0.1:1"} {
		c, err := New(Config{URL: url, Timeout: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Send(t.Context(), body); err == nil {
			t.Errorf("%s answered", url)
		} else if failed, ok := errors.AsType[*Error](err); !ok || !failed.Retry {
			t.Errorf("%s: %v", url, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Send(ctx, body); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", url, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "30": 30 * time.Second, "-5": 0, "soon": 0, "999999999": 24 * time.Hour,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q is %s, want %s", value, got, want)
		}
	}
}

// FuzzAnswer holds that whatever an endpoint answers is a result or an error in
// words that fit a line, and asks for no wait without an end.
func FuzzAnswer(f *testing.F) {
	partial := ptraceotlp.NewExportResponse()
	partial.PartialSuccess().SetRejectedSpans(-3)
	partial.PartialSuccess().SetErrorMessage("a\nb")
	taken, err := partial.MarshalProto()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(200, "", "", taken)
	f.Add(429, contentProto, "7", []byte("\x12\x04busy"))
	f.Add(503, "application/json; charset=utf-8", "Fri, 27 Nov 2026 10:00:00 GMT", []byte(`{"message":"away","details":[{"@type":"x"}]}`))
	f.Add(308, "text/html", "-1", []byte("<html>\xff"))
	f.Fuzz(func(t *testing.T, code int, kind, after string, body []byte) {
		got := answer(body)
		if got.Rejected < 0 {
			t.Errorf("%d are rejected", got.Rejected)
		}
		resp := &http.Response{StatusCode: code, Status: strconv.Itoa(code), Header: http.Header{"Content-Type": {kind}, "Retry-After": {after}}}
		e := httpError(resp, body)
		for _, text := range []string{got.Message, e.Text} {
			if len(text) > maxText+len("…") || !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n") {
				t.Errorf("%q is no line", text)
			}
		}
		if e.After < 0 || e.After > 0 && !e.Retry || e.Text == "" {
			t.Errorf("%+v", e)
		}
	})
}

// FuzzURL holds that an address is refused without its password, or stands for
// itself.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{"http://localhost:4318", "grpc://[::1]:4317/", "https://u:hunter2@h", "grpcs://h", "http://h/%zz", "http://h:4317/x", ":", "http://h?x=hunter2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parse(text)
		if err != nil {
			given, _ := url.Parse(text)
			if given == nil {
				return
			}
			// What stands elsewhere, too, is told.
			password, _ := given.User.Password()
			if password == "hunter2" && strings.Count(text, password) == 1 && strings.Contains(err.Error(), password) {
				t.Errorf("the error tells the password: %v", err)
			}
			return
		}
		again, err := parse(u.String())
		if err != nil || again.String() != u.String() || isGRPC(again) != isGRPC(u) || secure(again) != secure(u) {
			t.Errorf("%q is read as %v, then as %v, %v", text, u, again, err)
		}
	})
}
