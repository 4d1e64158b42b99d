package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// served is a running `midspan serve` and its addresses.
type served struct{ api, grpc, http string }

// startServe starts the program; it must end well at the test's end.
func startServe(t *testing.T, env []string, args ...string) served {
	t.Helper()
	stdout, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// By this name the test binary is the program: see TestMain.
	cmd := &exec.Cmd{
		Path: os.Args[0], Dir: t.TempDir(), Env: append(os.Environ(), env...), Stdout: w, Stderr: os.Stderr,
		Args: append([]string{"midspan", "serve", "--listen", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0"}, args...),
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("it ended with %v", err)
		}
		stdout.Close()
	})
	return addressesOf(t, stdout)
}

// addressesOf reads what the program says at its start.
func addressesOf(t *testing.T, stdout io.Reader) served {
	t.Helper()
	in := bufio.NewReader(stdout)
	watch, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	send, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`^Watch it at (http://127\.0\.0\.1:\d+)/monitor/\nSend OTLP to (127\.0\.0\.1:\d+) by gRPC, to http://(127\.0\.0\.1:\d+) by HTTP\n$`).
		FindStringSubmatch(watch + send)
	if said == nil {
		t.Fatalf("it said %q", watch+send)
	}
	return served{said[1], said[2], said[3]}
}

// sendBySDK has the official SDK send one span with a child, and waits for the answer.
func sendBySDK(t *testing.T, exporter sdktrace.SpanExporter, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSyncer(exporter),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "shop"))),
	)
	spanCtx, parent := provider.Tracer("test").Start(ctx, name)
	_, child := provider.Tracer("test").Start(spanCtx, name+" child", trace.WithAttributes(
		attribute.String("activity.type", "work_item"), attribute.String("activity.description.final", "Charged the card")))
	child.End()
	parent.End()
	if err := provider.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}

type listed struct {
	Name    string  `json:"name"`
	ID      string  `json:"activity_id"`
	Parent  *string `json:"parent_id"`
	State   string  `json:"state"`
	Type    string  `json:"type"`
	Service string  `json:"service"`
	Lease   string  `json:"lease"`
	Final   *string `json:"what_it_did"`
}

func listAll(t *testing.T, api, token string) map[string]listed {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api+"/activity/all", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %v", resp.Status, body, err)
	}
	var page struct{ Activities []listed }
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]listed)
	for _, a := range page.Activities {
		out[a.Name] = a
	}
	return out
}

// What the official SDK sends, by either protocol, is there when it was answered.
func TestServe(t *testing.T) {
	s := startServe(t, nil)
	byGRPC, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpoint(s.grpc), otlptracegrpc.WithInsecure(), otlptracegrpc.WithCompressor("gzip"))
	if err != nil {
		t.Fatal(err)
	}
	byHTTP, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpoint(s.http), otlptracehttp.WithInsecure(), otlptracehttp.WithCompression(otlptracehttp.GzipCompression))
	if err != nil {
		t.Fatal(err)
	}
	sendBySDK(t, byGRPC, "by gRPC")
	sendBySDK(t, byHTTP, "by HTTP")
	all := listAll(t, s.api, "")
	if len(all) != 4 {
		t.Errorf("%d activities: %v", len(all), all)
	}
	for _, name := range []string{"by gRPC", "by HTTP"} {
		parent, child := all[name], all[name+" child"]
		if parent.State != "COMPLETED" || parent.Service != "shop" || parent.Lease != "none" || parent.Parent != nil {
			t.Errorf("%s: %+v", name, parent)
		}
		if child.Type != "work_item" || child.Final == nil || *child.Final != "Charged the card" || child.Parent == nil || *child.Parent != parent.ID {
			t.Errorf("%s: its child is %+v", name, child)
		}
	}
}

// With a token nobody reads or sends without it.
func TestServeToken(t *testing.T) {
	const token, sender = "0123456789abcdef", "fedcba9876543210"
	s := startServe(t, []string{"MIDSPAN_TOKEN_READ=" + token, "MIDSPAN_TOKEN_INGEST=" + sender})
	with := map[string]string{"Authorization": "Bearer " + sender}
	byHTTP, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpoint(s.http), otlptracehttp.WithInsecure(), otlptracehttp.WithHeaders(with))
	if err != nil {
		t.Fatal(err)
	}
	sendBySDK(t, byHTTP, "admitted")
	if all := listAll(t, s.api, token); len(all) != 2 {
		t.Errorf("%d activities", len(all))
	}
	without, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpoint(s.http), otlptracehttp.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider()
	_, span := provider.Tracer("test").Start(t.Context(), "not admitted")
	span.End()
	err = without.ExportSpans(t.Context(), []sdktrace.ReadOnlySpan{span.(sdktrace.ReadOnlySpan)})
	if err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without a token: %v", err)
	}
	if err := without.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if all := listAll(t, s.api, token); len(all) != 2 {
		t.Errorf("%d activities", len(all))
	}
}

// What the flags say to be a secret is taken out, under the key of the file.
func TestServeRedact(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, nil, "--redact-key-file", key, "--redact-pattern", "order=ORD-[0-9]{2,}", "--redact-deny", "activity.description.final", "--redact-keep", "nothing")
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpoint(s.http), otlptracehttp.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	sendBySDK(t, exporter, "pay ORD-17 password=hunter2")
	// HMAC-SHA-256 of "hunter2", as in internal/redact, and of the others by openssl.
	all := listAll(t, s.api, "")
	const name = "pay redacted:hmac:80f7ee69c13cc0c2 password=redacted:hmac:deda27db21d02fd2"
	if child := all[name+" child"]; child.Final == nil || *child.Final != "redacted:hmac:16de25bcea00bd47" {
		t.Errorf("%+v", all)
	}
}

// What is finished goes on to the targets, by either protocol, with their headers.
func TestServeForward(t *testing.T) {
	const token = "0123456789abcdef"
	end := startServe(t, []string{"MIDSPAN_TOKEN=" + token})
	for _, to := range []string{"grpc://" + end.grpc, "http://" + end.http} {
		s := startServe(t, []string{"MIDSPAN_FORWARD_HEADERS=Authorization=Bearer%20" + token}, "--forward", to, "--data", t.TempDir())
		exporter, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpoint(s.grpc), otlptracegrpc.WithInsecure())
		if err != nil {
			t.Fatal(err)
		}
		sendBySDK(t, exporter, to)
		deadline := time.Now().Add(20 * time.Second)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for all := listAll(t, end.api, token); all[to].State != "COMPLETED" || all[to+" child"].Final == nil; all = listAll(t, end.api, token) {
			if time.Now().After(deadline) {
				t.Fatalf("the target has %v", all)
			}
			<-tick.C
		}
	}
}
