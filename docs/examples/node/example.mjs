// A program whose work a Midspan bridge shows while it goes on.
//
//   OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 node example.mjs
import { setTimeout as sleep } from 'node:timers/promises';
import { SpanStatusCode, context, trace } from '@opentelemetry/api';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { MidspanProcessor, leaseResource } from './midspan-processor.mjs';

const resource = defaultResource()
  .merge(resourceFromAttributes({ 'service.name': 'node-example' }))
  .merge(leaseResource);
const provider = new NodeTracerProvider({
  resource,
  spanProcessors: [
    new BatchSpanProcessor(new OTLPTraceExporter(), { scheduledDelayMillis: 200 }),
    new MidspanProcessor({ resource, exporter: new OTLPLogExporter() }),
  ],
});
provider.register();
const tracer = trace.getTracer('example');

const order = tracer.startSpan('Ship order', {
  attributes: { 'activity.type': 'work_item', 'activity.description.planned': 'Pack all items and hand them over' },
});
await context.with(trace.setSpan(context.active(), order), async () => {
  const items = ['tea', 'cup', 'spoon'];
  for (const [i, item] of items.entries()) {
    order.setAttributes({ 'activity.description.current': `Packing ${item}`, 'activity.progress': i / items.length });
    await sleep(Number(process.env.STEP_MS ?? 5000));
  }
  const call = tracer.startSpan('Call the carrier', { attributes: { 'activity.type': 'api_call' } });
  call.setAttribute('error.type', 'timeout');
  call.setStatus({ code: SpanStatusCode.ERROR, message: 'no answer' });
  call.end();
});
order.setAttribute('activity.description.final', 'Handed over');
order.end();

await provider.forceFlush(); // final spans first, then the end of the lease
await provider.shutdown();
