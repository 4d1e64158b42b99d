package midspan_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/midspan/midspan"
	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/api"
	"github.com/midspan/midspan/processor"
	"github.com/midspan/midspan/tracing"
)

func TestMain(m *testing.M) {
	for _, name := range os.Environ() { // the machine's own set-up is not tested
		if name, _, _ = strings.Cut(name, "="); strings.HasPrefix(name, "OTEL_") {
			if err := os.Unsetenv(name); err != nil {
				panic(err)
			}
		}
	}
	if os.Getenv("MIDSPAN_TEST_BACKEND") != "" {
		backend()
		os.Exit(0)
	}
	if bridge := os.Getenv("MIDSPAN_TEST_PANIC"); bridge != "" {
		runPanic(bridge)
	}
	goleak.VerifyTestMain(m)
}

func start(t *testing.T, cfg midspan.Config) (context.Context, *midspan.Midspan) {
	t.Helper()
	cfg.NoGlobals = true
	m, err := midspan.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return tracing.ContextWithProvider(context.Background(), m.TracerProvider()), m
}

func get(t *testing.T, m *midspan.Midspan, id activity.ID) *activity.Activity {
	t.Helper()
	d, err := m.Index().Get(context.Background(), id)
	if err != nil {
		t.Fatalf("activity %v: %v", id, err)
	}
	return d.Activity
}

func TestResource(t *testing.T) {
	t.Setenv("OTEL_SERVICE_NAME", "by-operator")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.version=2")
	ctx, m := start(t, midspan.Config{Service: "by-code", Version: "1"})
	_, a := tracing.Start(ctx, activity.WorkItem, "x", "")
	a.Complete("")
	r := get(t, m, a.ID()).Resource
	got := map[string]string{}
	for _, attr := range r.Attrs {
		got[attr.Key] = attr.Value.Text()
	}
	for key, want := range map[string]string{
		"service.name": "by-operator", "service.version": "2", "deployment.environment.name": "test",
		"telemetry.sdk.language": "go", "process.pid": fmt.Sprint(os.Getpid()),
	} {
		if got[key] != want {
			t.Errorf("%s = %q, want %q", key, got[key], want)
		}
	}
	if len(r.Instance) != 36 {
		t.Errorf("instance = %q, want a UUID", r.Instance)
	}
	for key := range got {
		if strings.HasPrefix(key, "process.command") {
			t.Errorf("%s tells the command line, which may hold secrets", key)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  midspan.Config
		env  map[string]string
		want string
	}{
		{name: "endpoint", cfg: midspan.Config{OTLPEndpoint: "localhost:4317"}, want: "write it as http://host:port"},
		{name: "two exporters", cfg: midspan.Config{OTLPEndpoint: "http://localhost:4317", Exporter: tracetest.NewNoopExporter()}, want: "choose one"},
		{name: "bridge", cfg: midspan.Config{Bridge: "localhost:4318"}, want: "bridge \"localhost:4318\": write it as http://host:port"},
		{name: "lease", cfg: midspan.Config{Bridge: "http://localhost:4318", BridgeLease: time.Second - 1}, want: "give 1s to 5m0s"},
		{name: "long lease", cfg: midspan.Config{Bridge: "http://localhost:4318", BridgeLease: 5*time.Minute + 1}, want: "give 1s to 5m0s"},
		{name: "open to all", cfg: midspan.Config{Listen: "0.0.0.0:18080"}, want: "token"},
		{name: "protocol", env: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "carrier-pigeon"}, want: "use grpc, http/protobuf or http/json"},
		{name: "exporter", env: map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, want: "use otlp or none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			_, err := midspan.New(tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want one that says %q", err, tt.want)
			}
		})
	}
}

// Many attributes of the program leave room for those of the activity.
func TestActivityAttributesHaveRoom(t *testing.T) {
	ctx, m := start(t, midspan.Config{})
	_, a := tracing.Start(ctx, activity.Decision, "x", "will")
	for i := range sdktrace.DefaultAttributeCountLimit {
		a.Set(attribute.Int(fmt.Sprintf("mine.%d", i), i))
	}
	a.Say("doing")
	a.Decide(tracing.Decision{Reasoning: "r", Choice: "c", Alternatives: []string{"c"}, Outcome: "o", Confidence: new(0.5)})
	a.Progress(1)
	a.Complete("did", "result")
	span := a.Span().(sdktrace.ReadOnlySpan)
	if n := span.DroppedAttributes(); n != 0 {
		t.Errorf("%d attributes were dropped", n)
	}
	if got := get(t, m, a.ID()); got.Final != "did" || got.Result != `"result"` || got.Decision.Outcome != "o" {
		t.Errorf("final %q, result %q, decision %+v", got.Final, got.Result, got.Decision)
	}
}

func TestGlobals(t *testing.T) {
	provider, propagator := otel.GetTracerProvider(), otel.GetTextMapPropagator()
	t.Cleanup(func() {
		otel.SetTracerProvider(provider)
		otel.SetTextMapPropagator(propagator)
	})
	_, m := start(t, midspan.Config{})
	if otel.GetTracerProvider() == m.TracerProvider() {
		t.Error("NoGlobals set the global provider")
	}
	t.Setenv("OTEL_PROPAGATORS", "b3")
	m, err := midspan.New(midspan.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if otel.GetTracerProvider() != m.TracerProvider() {
		t.Error("the global provider is another")
	}
	if got := otel.GetTextMapPropagator().Fields(); len(got) == 0 || strings.Contains(strings.Join(got, " "), "traceparent") {
		t.Errorf("propagator of %v, want OTEL_PROPAGATORS' b3", got)
	}
	_, a := tracing.Plan(context.Background(), activity.WorkItem, "x", "")
	found, ok := tracing.Find(a.ID())
	if !ok {
		t.Fatal("an open activity is not found")
	}
	found.Start()
	found.Complete("by id")
	if got := get(t, m, a.ID()); got.State != activity.Completed || got.Final != "by id" {
		t.Errorf("%v, %q; want what was done by id", got.State, got.Final)
	}
	if err := errors.Join(m.Shutdown(t.Context()), m.Shutdown(t.Context())); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// The index sees all, the exporter what the sampler chose.
func TestSampler(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	exporter := tracetest.NewInMemoryExporter()
	ctx, m := start(t, midspan.Config{Exporter: exporter})
	ctx, a := tracing.Start(ctx, activity.WorkItem, "x", "")
	_, child := tracing.Start(ctx, activity.WorkItem, "child", "")
	child.Complete("")
	a.Complete("did")
	if got := get(t, m, child.ID()); got.State != activity.Completed || got.Parent != a.ID() || got.Sampling != activity.Unsampled {
		t.Errorf("%v below %v, sampling %v", got.State, got.Parent, got.Sampling)
	}
	if err := m.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(exporter.GetSpans()); n != 0 {
		t.Errorf("%d unsampled spans were exported", n)
	}
}

// Code that knows only OpenTelemetry is live.
func TestPlainOpenTelemetry(t *testing.T) {
	_, m := start(t, midspan.Config{})
	tracer := m.TracerProvider().Tracer("shop")
	ctx, span := tracer.Start(context.Background(), "Reprice", trace.WithAttributes(
		attribute.String("activity.type", "work_item"),
		attribute.String("activity.state", "PLANNED"),
		attribute.String("activity.description.planned", "Reprice the catalogue")))
	id := activity.ID{Trace: activity.TraceID(span.SpanContext().TraceID()), Span: activity.SpanID(span.SpanContext().SpanID())}
	if got := get(t, m, id); got.State != activity.Planned || got.Planned != "Reprice the catalogue" || got.Type != activity.WorkItem {
		t.Errorf("%v %v %q at its planning", got.Type, got.State, got.Planned)
	}
	span.SetAttributes(attribute.String("activity.state", "IN_PROGRESS"),
		attribute.String("activity.description.current", "Repricing shoes"), attribute.Float64("activity.progress", 0.25))
	if got := get(t, m, id); got.State != activity.InProgress || got.Current != "Repricing shoes" || got.Progress != 0.25 {
		t.Errorf("%v, %q, %v in mid-span", got.State, got.Current, got.Progress)
	}
	_, query := tracer.Start(ctx, "SELECT prices", trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("db.system.name", "sqlite")))
	queryID := activity.ID{Trace: id.Trace, Span: activity.SpanID(query.SpanContext().SpanID())}
	if got := get(t, m, queryID); got.Type != activity.DatabaseOperation || got.State != activity.InProgress || got.Parent != id {
		t.Errorf("a query is %v, %v below %v", got.Type, got.State, got.Parent)
	}
	query.End()
	span.SetAttributes(attribute.String("activity.description.final", "Repriced 812 articles"))
	span.End()
	if got := get(t, m, id); got.State != activity.Completed || got.Final != "Repriced 812 articles" {
		t.Errorf("%v, %q at its end", got.State, got.Final)
	}
}

func TestLeak(t *testing.T) {
	ctx, m := start(t, midspan.Config{})
	var id activity.ID
	var line int
	func() {
		_, a := tracing.Start(ctx, activity.WorkItem, "forgotten", "")
		_, _, line, _ = runtime.Caller(0)
		id = a.ID()
	}()
	for deadline := time.Now().Add(20 * time.Second); ; {
		runtime.GC()
		got := get(t, m, id)
		if got.State == activity.Failed {
			if want := fmt.Sprintf("midspan_test.go:%d", line-1); !strings.Contains(got.Error.Message+got.Error.Stack, want) {
				t.Errorf("error %+v does not tell %s", got.Error, want)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody saw that it was dropped")
		}
		runtime.Gosched()
	}
	stats, err := m.Index().Stats(t.Context())
	if err != nil || stats.Leaked != 1 {
		t.Errorf("leaked = %d, %v; want 1", stats.Leaked, err)
	}
}

func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, m := start(t, midspan.Config{Listen: address, Service: "orders"})
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- m.Serve(ctx, l) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/healthz", "/activity/all", "/monitor/", "/activity/stats"} {
		resp, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(resp.Body)
			t.Errorf("%s: %s %s", path, resp.Status, body)
		}
		resp.Body.Close()
	}
	// An open stream does not keep it from stopping.
	stream, err := client.Get("http://" + address + "/activity/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if _, err := io.Copy(io.Discard, stream.Body); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("stream: %v", err)
	}
	if err := m.ListenAndServe(t.Context()); err == nil {
		t.Error("it serves again after its end")
	}
}

// Who goes on after the end harms nobody.
func TestAfterShutdown(t *testing.T) {
	ctx, m := start(t, midspan.Config{})
	_, open := tracing.Start(ctx, activity.WorkItem, "open", "")
	if err := m.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	open.Complete("too late to be seen")
	_, late := tracing.Start(ctx, activity.WorkItem, "late", "")
	late.Say("on its own")
	late.Complete("")
	if err := m.ForceFlush(t.Context()); err != nil {
		t.Error(err)
	}
	if got := get(t, m, open.ID()); got.State != activity.InProgress {
		t.Errorf("what was open is %v, want as it was last seen", got.State)
	}
	if _, err := m.Index().Get(t.Context(), late.ID()); !errors.Is(err, activity.ErrNotFound) {
		t.Errorf("an activity after the end: %v, want ErrNotFound", err)
	}
}

// An operator can switch tracing off; the program goes on, the context travels,
// and there is nothing to see.
func TestSDKDisabled(t *testing.T) {
	for _, tt := range []struct {
		value    string
		disabled bool
	}{{"true", true}, {" True ", true}, {"false", false}, {"1", false}, {"", false}} {
		t.Run(tt.value, func(t *testing.T) {
			t.Setenv("OTEL_SDK_DISABLED", tt.value)
			exporter := tracetest.NewInMemoryExporter()
			var log bytes.Buffer
			beside, next := &shutdowns{}, &shutdowns{}
			ctx, m := start(t, midspan.Config{
				Exporter: exporter, Logger: slog.New(slog.NewTextHandler(&log, nil)),
				SpanProcessors: []sdktrace.SpanProcessor{beside}, Processor: processor.Config{Next: []sdktrace.SpanProcessor{next}},
			})
			ignored := tracing.Ignored()
			remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true})
			ctx, a := tracing.Start(trace.ContextWithRemoteSpanContext(ctx, remote), activity.WorkItem, "x", "")
			a.Say("doing")
			if got := trace.SpanContextFromContext(ctx).TraceID(); got != remote.TraceID() {
				t.Errorf("the context carries trace %v on, want %v", got, remote.TraceID())
			}
			_, planned := tracing.Plan(ctx, activity.AsyncTask, "y", "")
			planned.Start()
			planned.Complete("")
			if out, err := tracing.Async("z", "", func(context.Context, int) (int, error) { return 7, nil })(ctx, 0).Wait(ctx); out != 7 || err != nil {
				t.Errorf("a task returned %d, %v", out, err)
			}
			a.Complete("", 42)
			if err := m.ForceFlush(t.Context()); err != nil {
				t.Error(err)
			}
			w := httptest.NewRecorder()
			m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/activity/all", http.NoBody))
			var list struct{ Total int }
			if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || w.Code != http.StatusOK {
				t.Fatalf("%d, %v: %s", w.Code, err, w.Body)
			}
			want := 3
			if tt.disabled {
				want = 0
			}
			if exported := len(exporter.GetSpans()); list.Total != want || exported != want {
				t.Errorf("%d activities are served, %d exported; want %d", list.Total, exported, want)
			}
			if strings.Contains(log.String(), "OTEL_SDK_DISABLED") != tt.disabled {
				t.Errorf("log: %s", &log)
			}
			if n := tracing.Ignored() - ignored; n != 0 {
				t.Errorf("%d calls were taken for mistakes", n)
			}
			if err := m.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			if beside.n != 1 || next.n != 1 {
				t.Errorf("the SpanProcessors were shut down %d times, those of Next %d times", beside.n, next.n)
			}
		})
	}
}

// shutdowns is a SpanProcessor that counts them.
type shutdowns struct{ n int }

func (*shutdowns) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (*shutdowns) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (*shutdowns) ForceFlush(context.Context) error                { return nil }
func (s *shutdowns) Shutdown(context.Context) error                { s.n++; return nil }

func TestListenAndServeUntilShutdown(t *testing.T) {
	_, m := start(t, midspan.Config{Listen: "127.0.0.1:0", Tokens: []api.Token{"0123456789abcdef"}, NoDashboard: true})
	served := make(chan error)
	go func() { served <- m.ListenAndServe(context.Background()) }()
	if err := m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil && !strings.Contains(err.Error(), "shut down") {
		t.Errorf("ListenAndServe = %v", err)
	}
}

func TestConcurrentSafe(t *testing.T) {
	ctx, m := start(t, midspan.Config{Exporter: tracetest.NewInMemoryExporter()})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				ctx, a := tracing.Start(ctx, activity.WorkItem, "outer", "will")
				_, child := tracing.Plan(ctx, activity.AsyncTask, "inner", "")
				a.Say("doing")
				child.Start()
				child.Complete("")
				a.Complete("did", 1)
				if got := get(t, m, a.ID()); got.State != activity.Completed {
					t.Errorf("one's own end is not seen: %v", got.State)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			_ = m.ForceFlush(ctx)
			m.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://localhost/activity/stats", nil))
		}
	})
	wg.Wait()
	page, err := m.Index().List(t.Context(), &activity.Query{Limit: 1})
	if err != nil || page.Total != 3200 {
		t.Errorf("total = %v, %v; want 3200", page, err)
	}
}

// Two real processes, joined by W3C trace context and baggage, are one tree.
func TestTwoProcesses(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "MIDSPAN_TEST_BACKEND=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stdin.Close() // ends it
		if err := cmd.Wait(); err != nil {
			t.Errorf("backend: %v", err)
		}
	}()
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + strings.TrimSpace(address)

	ctx, m := start(t, midspan.Config{Service: "frontend"})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: otelhttp.NewTransport(transport, otelhttp.WithTracerProvider(m.TracerProvider()),
		otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})))}
	member, err := baggage.NewMember("tenant", "acme")
	if err != nil {
		t.Fatal(err)
	}
	bag, err := baggage.New(member)
	if err != nil {
		t.Fatal(err)
	}
	ctx, order := tracing.Start(baggage.ContextWithBaggage(ctx, bag), activity.AgentAction, "Order", "Order a thing")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/work", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %v", resp.Status, body, err)
	}
	order.Complete("Ordered")

	// Ours: Order, and below it the call. Theirs, below the call: the request,
	// and the work.
	here, err := m.Index().Tree(t.Context(), &activity.TreeQuery{Root: order.ID(), Depth: 10, Limit: 100})
	if err != nil || len(here.Roots) != 1 || len(here.Roots[0].Children) != 1 {
		t.Fatalf("tree here: %+v, %v", here, err)
	}
	call := here.Roots[0].Children[0].Activity
	if call.Type != activity.APICall || call.State != activity.Completed {
		t.Errorf("the call is %v, %v", call.Type, call.State)
	}
	plain := &http.Client{Transport: transport}
	treeResp, err := plain.Get(base + "/activity/tree?trace=" + order.ID().Trace.String())
	if err != nil {
		t.Fatal(err)
	}
	defer treeResp.Body.Close()
	type node struct {
		ID          string `json:"activity_id"`
		Placeholder bool
		Activity    struct {
			Name       string
			Service    string
			Attributes map[string]any
		}
		Children []node
	}
	var there struct{ Roots []node }
	if err := json.NewDecoder(treeResp.Body).Decode(&there); err != nil {
		t.Fatal(err)
	}
	if len(there.Roots) != 1 || len(there.Roots[0].Children) != 1 || len(there.Roots[0].Children[0].Children) != 1 {
		t.Fatalf("tree there: %+v", there)
	}
	root, work := there.Roots[0], there.Roots[0].Children[0].Children[0]
	if !root.Placeholder || root.ID != call.ID.String() {
		t.Errorf("the other process's tree hangs on %s, want our call %v", root.ID, call.ID)
	}
	if work.Activity.Name != "Make the thing" || work.Activity.Service != "backend" || work.Activity.Attributes["tenant"] != "acme" {
		t.Errorf("work = %+v, want the backend's with the baggage's tenant", work.Activity)
	}
}

// backend is the other process of TestTwoProcesses.
func backend() {
	m, err := midspan.New(midspan.Config{Service: "backend"})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", m.Handler())
	mux.Handle("/work", otelhttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, a := tracing.Start(r.Context(), activity.WorkItem, "Make the thing", "")
		a.Set(attribute.String("tenant", baggage.FromContext(r.Context()).Member("tenant").Value()))
		a.Complete("Made")
	}), "work"))
	server := httptest.NewServer(mux)
	fmt.Println(server.Listener.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	server.Close()
	if err := m.Shutdown(context.Background()); err != nil {
		panic(err)
	}
}

// lines are what a logger writes, line by line.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// Who serves is told where to look, and what to change when somebody else is
// there.
func TestListenAndServeSaysWhere(t *testing.T) {
	log := make(lines, 100)
	_, m := start(t, midspan.Config{Listen: "127.0.0.1:0", NoGlobals: true, Logger: slog.New(slog.NewTextHandler(log, nil))})
	served := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { served <- m.ListenAndServe(ctx) }()
	line := <-log
	_, url, _ := strings.Cut(line, "midspan: watch it at ")
	url, _, found := strings.Cut(url, "\"")
	if !found {
		t.Fatalf("it logs %q", line)
	}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasSuffix(url, "/monitor/") {
		t.Errorf("%s: %s", url, resp.Status)
	}
	_, second := start(t, midspan.Config{Listen: strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/monitor/"), NoGlobals: true})
	if err := second.ListenAndServe(t.Context()); err == nil || !strings.Contains(err.Error(), "choose another Config.Listen") {
		t.Errorf("on an address in use: %v", err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// What package tracing ignores is counted where the index's own is.
func TestIgnoredIsCounted(t *testing.T) {
	ctx, m := start(t, midspan.Config{})
	ignored := func() (n int64) {
		resp, err := client.Get("http://" + own(t, m) + "/activity/stats")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var stats struct{ Ignored *int64 }
		if err := json.NewDecoder(resp.Body).Decode(&stats); err != nil {
			t.Fatal(err)
		}
		return *stats.Ignored
	}
	before := ignored()
	_, a := tracing.Start(ctx, activity.WorkItem, "twice", "")
	a.Complete("once")
	a.Complete("twice")
	a.Cancel("late")
	if n := ignored() - before; n != 2 {
		t.Errorf("%d counted, want 2", n)
	}
}
