package bridge

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	proto "go.opentelemetry.io/proto/otlp/trace/v1"
	encoding "google.golang.org/protobuf/proto"

	"github.com/midspan/midspan/activity"
	"github.com/midspan/midspan/internal/otlpclient"
)

// selfTraces bounds what is told of the bridge itself, in traces a second.
const selfTraces = 20

// self traces what the bridge does: it receives, appends, forwards and answers.
// Requests that hold nothing but such spans, which come back by way of another
// program or are another bridge's, are not traced, or there would be no end. A nil
// *self does nothing.
type self struct {
	endpoint string
	provider *sdktrace.TracerProvider
	tracer   oteltrace.Tracer
	second   atomic.Int64 // in which the traces of count began
	count    atomic.Int64
}

// newSelf returns nothing for an empty endpoint.
func newSelf(endpoint, version string, logger *slog.Logger) (*self, error) {
	if endpoint == "" {
		return nil, nil
	}
	client, err := otlpclient.New(otlpclient.Config{URL: endpoint})
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(context.Background(), &exporting{client: client, logger: logger})
	if err != nil {
		return nil, err
	}
	s := &self{endpoint: client.Endpoint()}
	s.provider = sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", selfService), attribute.String("service.version", version), attribute.String("service.instance.id", selfInstance+rand.Text()))),
	)
	s.tracer = s.provider.Tracer("github.com/midspan/midspan", oteltrace.WithInstrumentationVersion(version))
	return s, nil
}

// ownAddress reports whether an OTLP endpoint is one of the listeners'.
func ownAddress(ctx context.Context, endpoint string, own []net.Listener) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false // no endpoint at all, as its client says
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443"}[u.Scheme]
	}
	ips, _ := net.DefaultResolver.LookupIPAddr(ctx, u.Hostname()) // a name that nobody knows now is not ours
	mine, _ := net.InterfaceAddrs()
	for _, l := range own {
		at, ok := l.Addr().(*net.TCPAddr)
		if !ok || fmt.Sprint(at.Port) != port {
			continue
		}
		for _, ip := range ips {
			here := ip.IP.IsLoopback()
			for _, m := range mine {
				if network, ok := m.(*net.IPNet); ok && network.IP.Equal(ip.IP) {
					here = true
				}
			}
			if ip.IP.Equal(at.IP) || at.IP.IsUnspecified() && here {
				return true
			}
		}
	}
	return false
}

// admit says whether one more trace may begin.
func (s *self) admit() bool {
	now := time.Now().Unix()
	if was := s.second.Load(); was != now && s.second.CompareAndSwap(was, now) {
		s.count.Store(0)
	}
	return s.count.Add(1) <= selfTraces
}

// The spans of a bridge itself are known by its service and how its instance
// begins. Who says so of its own is not traced, and has no other harm.
const (
	selfService  = "midspan"
	selfInstance = "midspan-"
)

// ofBridge reports whether a resource is that of this or another bridge itself.
func ofBridge(r *activity.Resource) bool {
	return r != nil && r.Service == selfService && strings.HasPrefix(r.Instance, selfInstance)
}

// request is what a receive's span will tell.
type request struct {
	own          bool // it holds nothing but spans of bridges
	events       int
	begun, ended time.Time // of its append, if there was one
	err          error
}

type requestKey struct{}

// receive begins to trace a request. Its end is told by the function returned,
// with why it was not taken.
func (s *self) receive(ctx context.Context, path string) (within context.Context, end func(why string)) {
	if !s.admit() {
		return ctx, func(string) {}
	}
	r, begun := new(request), time.Now()
	return context.WithValue(ctx, requestKey{}, r), func(why string) {
		if r.own {
			return
		}
		ctx, span := s.tracer.Start(context.Background(), "receive "+path, oteltrace.WithSpanKind(oteltrace.SpanKindServer), oteltrace.WithTimestamp(begun),
			oteltrace.WithAttributes(attribute.Int("midspan.events", r.events)))
		if !r.begun.IsZero() {
			_, span := s.tracer.Start(ctx, "append", oteltrace.WithTimestamp(r.begun), oteltrace.WithAttributes(attribute.Int("midspan.events", r.events)))
			fail(span, r.err)
			span.End(oteltrace.WithTimestamp(r.ended))
		}
		if why != "" {
			span.SetStatus(codes.Error, why)
		}
		span.End()
	}
}

// appending notes for the request's span when its events were appended.
func (s *self) appending(ctx context.Context, events []activity.Event) (end func(error)) {
	r, ok := ctx.Value(requestKey{}).(*request)
	if s == nil || !ok {
		return func(error) {}
	}
	other := func(e activity.Event) bool { return !ofBridge(e.Resource) }
	r.own, r.events, r.begun = !slices.ContainsFunc(events, other), len(events), time.Now()
	return func(err error) { r.ended, r.err = time.Now(), err }
}

// forwarding traces a request to a target.
func (s *self) forwarding(target string, spans []*activity.Event) (end func(error)) {
	if !slices.ContainsFunc(spans, func(e *activity.Event) bool { return !ofBridge(e.Resource) }) || !s.admit() {
		return func(error) {}
	}
	_, span := s.tracer.Start(context.Background(), "forward", oteltrace.WithSpanKind(oteltrace.SpanKindClient),
		oteltrace.WithAttributes(attribute.String("midspan.forward.target", target), attribute.Int("midspan.spans", len(spans))))
	return func(err error) {
		fail(span, err)
		span.End()
	}
}

// query traces the API's answers, but for streams and probes.
func (s *self) query(h http.Handler) http.Handler {
	if s == nil {
		return h
	}
	return otelhttp.NewHandler(h, "query",
		otelhttp.WithSpanNameFormatter(func(operation string, _ *http.Request) string { return operation }), // url.path holds ids
		otelhttp.WithTracerProvider(s.provider), otelhttp.WithMeterProvider(noopmetric.NewMeterProvider()),
		otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator()), // a page's trace is not ours
		otelhttp.WithFilter(func(r *http.Request) bool {
			return strings.HasPrefix(r.URL.Path, "/activity/") && r.URL.Path != "/activity/stream" && s.admit()
		}))
}

func fail(span oteltrace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
}

// close sends what is left, as long as ctx allows.
func (s *self) close(ctx context.Context) {
	if s != nil {
		_ = s.provider.Shutdown(ctx) // what is not told is no loss to those who send
	}
}

// exporting sends the SDK's spans by an otlpclient.Client.
type exporting struct {
	client *otlpclient.Client
	logger *slog.Logger
	failed atomic.Bool // the latest try
}

func (*exporting) Start(context.Context) error { return nil }

func (e *exporting) Stop(context.Context) error { return e.client.Close() }

// UploadTraces tries once: what is lost is told once, and is no harm.
func (e *exporting) UploadTraces(ctx context.Context, spans []*proto.ResourceSpans) error {
	body, err := encoding.Marshal(&collector.ExportTraceServiceRequest{ResourceSpans: spans})
	if err != nil {
		return err
	}
	if _, err = e.client.Send(ctx, body); (err != nil) != e.failed.Swap(err != nil) {
		if err != nil {
			e.logger.Warn("the bridge's own traces are lost", "endpoint", e.client.Endpoint(), "error", err)
		} else {
			e.logger.Info("the bridge's own traces are taken again", "endpoint", e.client.Endpoint())
		}
	}
	return nil
}
