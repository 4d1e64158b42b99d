// Shows spans in a Midspan bridge while they are open. Copy this file; see example.mjs for its use.
//
// Beside the final span, which goes as usual, each recording span is told by log events: its start, changes of its
// attributes (ten times a second at most) and its end. A lease says that this process lives.
import { randomUUID } from 'node:crypto';
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';

const STATE = 'activity.state';

/** To be merged into the resource of the tracer provider: it names this process. */
export const leaseResource = resourceFromAttributes({ 'midspan.lease.id': randomUUID() });

export class MidspanProcessor {
  #open = new Map(); // what is known of each open span
  #provider;
  #renewing;
  #leaseSeq = 0;

  /** resource is the tracer provider's, leaseResource merged in; exporter is an OTLPLogExporter. */
  constructor({ resource, exporter, delayMs = 20, updateMs = 100 }) {
    this.updateMs = updateMs;
    this.#provider = new LoggerProvider({
      resource,
      logRecordLimits: { attributeCountLimit: Infinity },
      processors: [new BatchLogRecordProcessor({ exporter, scheduledDelayMillis: delayMs })],
    });
    this.#lease('renewed');
    this.#renewing = setInterval(() => this.#lease('renewed'), 5000 / 3);
    this.#renewing.unref();
  }

  onStart(span) {
    const known = { span, rev: 0, changes: {}, timer: undefined, planned: span.attributes[STATE] === 'PLANNED' };
    this.#open.set(span, known);
    const { traceId, spanId } = span.spanContext();
    const parent = span.parentSpanContext;
    this.#tell(known, known.planned ? 'planned' : 'started', span.startTime, {
      ...span.attributes,
      'activity.name': span.name,
      'activity.span_kind': SpanKind[span.kind].toLowerCase(),
      ...(parent?.traceId === traceId && parent.spanId !== spanId && { 'activity.parent_span_id': parent.spanId }),
      ...(!this.#sampled(span) && { 'activity.sampled': false }),
    });
    const set = span.setAttribute; // the SDK calls its processors at start and end only; setAttributes calls this too
    span.setAttribute = (key, value) => {
      set.call(span, key, value);
      if (this.#open.has(span)) this.#changed(known, key, span.attributes[key]);
      return span;
    };
  }

  onEnd(span) {
    const known = this.#open.get(span);
    if (known === undefined) return;
    this.#open.delete(span);
    clearTimeout(known.timer);
    let event = 'completed';
    if (span.attributes[STATE] === 'CANCELLED') event = 'cancelled';
    else if (span.status.code === SpanStatusCode.ERROR) event = 'failed';
    const why = event === 'failed' && span.status.message ? { 'error.message': span.status.message } : {};
    this.#tell(known, event, span.endTime, { ...known.changes, ...why });
  }

  forceFlush() {
    for (const known of this.#open.values()) this.#update(known);
    return this.#provider.forceFlush();
  }

  async shutdown() {
    clearInterval(this.#renewing);
    for (const known of this.#open.values()) this.#update(known);
    this.#lease('ended');
    await this.#provider.shutdown();
  }

  #changed(known, key, value) {
    if (value === undefined) return; // the SDK refused it
    known.changes[key] = value;
    if (key === STATE && value === 'IN_PROGRESS' && known.planned) {
      known.planned = false;
      this.#update(known, 'started');
    } else {
      known.timer ??= setTimeout(() => this.#update(known), this.updateMs);
      known.timer.unref();
    }
  }

  #update(known, event = 'updated') {
    clearTimeout(known.timer);
    known.timer = undefined;
    if (Object.keys(known.changes).length > 0) this.#tell(known, event, Date.now(), known.changes);
    known.changes = {};
  }

  #tell(known, event, timestamp, attributes) {
    const { name, version } = known.span.instrumentationScope;
    this.#provider.getLogger(name, version).emit({
      eventName: `activity.${event}`,
      timestamp,
      attributes: { ...attributes, 'activity.rev': ++known.rev },
      context: trace.setSpanContext(ROOT_CONTEXT, known.span.spanContext()),
    });
  }

  #lease(what) {
    this.#provider.getLogger('midspan').emit({
      eventName: `midspan.lease.${what}`,
      timestamp: Date.now(),
      attributes: { ttl_ms: 5000, seq: ++this.#leaseSeq },
      context: ROOT_CONTEXT,
    });
  }

  #sampled(span) {
    return (span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0;
  }
}
