// Package midspan shows what a Go program will do, is doing and did, while it
// is doing it. It needs no server and no file.
//
// # One call
//
// [New] wires a live OpenTelemetry provider, an index in memory, the /activity
// API, the dashboard at /monitor/, and the export to Jaeger or any OTLP backend:
//
//	m, err := midspan.New(midspan.Config{Service: "orders"})
//	if err != nil {
//		return err
//	}
//	defer m.Shutdown(context.Background())
//	go m.ListenAndServe(ctx) // http://127.0.0.1:18080/monitor/
//
// From then on every span of the program is an activity: those of instrumented
// libraries, and those that the program makes itself with package tracing.
// [Midspan.Handler] serves the same from a server that the program has.
//
// # OpenTelemetry's environment variables
//
// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES describe the program.
// OTEL_TRACES_SAMPLER and its _ARG decide what is exported; the index sees
// every span. OTEL_EXPORTER_OTLP_ENDPOINT, or _TRACES_ENDPOINT, is where
// finished spans go; without one nothing is exported, tried or logged.
// OTEL_EXPORTER_OTLP_PROTOCOL is grpc, http/protobuf or http/json: unset, it is
// grpc for port 4317 and http/protobuf for any other. The exporters read the
// rest of OTEL_EXPORTER_OTLP_*, the SDK reads OTEL_BSP_* and OTEL_SPAN_*.
// OTEL_PROPAGATORS names how the context travels, W3C trace context and baggage
// by default. OTEL_SDK_DISABLED=true switches tracing off: spans are no-ops that
// still carry the context on, nothing is exported, and the API and the dashboard
// show an empty index.
//
// # Parts
//
// A program with an OpenTelemetry set-up of its own takes only the parts: see
// the example of that name. The span processor alone shows starts and ends
// live; with [processor.Live] around the provider every change is, and the span
// processor need not be registered.
package midspan
