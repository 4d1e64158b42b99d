// Samples for tests: an activity and an event as the API writes them.
import type { Change } from './wire';
import { activity } from './wire';

export function wireActivity(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    activity_id: '4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7',
    trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
    span_id: '00f067aa0ba902b7',
    parent_id: null,
    type: 'work_item',
    state: 'IN_PROGRESS',
    stalled: false,
    name: 'Process order',
    what_it_will_do: 'Process the order',
    what_its_doing: 'Reading',
    what_it_did: null,
    progress: 0.4,
    planned_at: '2026-11-22T10:00:00.000000001Z',
    started_at: '2026-11-22T10:00:00.001500001Z',
    ended_at: null,
    wait_ms: 1.5,
    duration_ms: null,
    usual_ms: 840,
    last_seen_at: '2026-11-22T10:00:01.000000000Z',
    service: 'orders',
    instance: 'a',
    lease: 'live',
    agent: null,
    thread_id: 'worker-3',
    thread_name: 'worker 3',
    decision: null,
    result: null,
    result_truncated: false,
    error: null,
    attributes: {},
    links: [],
    sampled: true,
    trace_url: 'http://localhost:16686/trace/4bf92f3577b34da6a3ce929d0e0e4736',
    ...fields,
  };
}

/** An event number `seq` of the activity `id`, planned `at` milliseconds into the log. */
export function change(
  seq: number,
  id: string,
  at: number,
  fields: Record<string, unknown> = {},
  snapshot = false,
): Change {
  const planned = new Date(Date.UTC(2026, 10, 22) + at).toISOString();
  const decoded = activity(wireActivity({ activity_id: id, planned_at: planned, ...fields }));
  if (decoded === null) throw new Error('the sample does not decode');
  return { kind: 'change', snapshot, logId: 'log', seq, activity: decoded };
}
