// The statistics of a moment, from what the page holds of it: what /activity/stats says of now.
import type { Sample } from './chart';
import { byAgent, byThread } from './lanes';
import { type Quantiles, type Stats, type Window } from './stats';
import type { Store } from './store';
import { traceOf } from './traces';
import { isFinal, STATES, type Activity, type Source, type State } from './wire';

const MINUTE = 60_000;
const HOUR = 3_600_000;
/** Upper bounds of the histogram, from a microsecond on, eight in a decade. */
const BOUNDS = Array.from({ length: 89 }, (_, i) => 10 ** (-3 + i / 8));

function window(): Window {
  const duration = { average: null, p50: null, p95: null, p99: null };
  const counts = { started: 0, finished: 0, completed: 0, failed: 0, cancelled: 0, lost: 0 };
  return { ...counts, successRate: null, perSecond: null, duration };
}

function count(w: Window, state: State): void {
  w.finished++;
  if (state === 'COMPLETED') w.completed++;
  else if (state === 'FAILED') w.failed++;
  else if (state === 'CANCELLED') w.cancelled++;
  else w.lost++;
}

function close(w: Window, seconds: number): void {
  const judged = w.completed + w.failed;
  w.successRate = judged === 0 ? null : w.completed / judged;
  w.perSecond = w.finished / seconds;
}

function quantiles(sorted: Float64Array): Quantiles {
  if (sorted.length === 0) return { average: null, p50: null, p95: null, p99: null };
  const at = (q: number) => sorted[Math.ceil(q * sorted.length) - 1] ?? null;
  return {
    average: sorted.reduce((a, b) => a + b, 0) / sorted.length,
    p50: at(0.5),
    p95: at(0.95),
    p99: at(0.99),
  };
}

/** What the server says of what began up to a moment, in all and of the hour and the minute before it. */
export interface Counted {
  at: number;
  all: Stats;
  hour: Stats;
  minute: Stats;
}

export interface Moment {
  stats: Stats;
  /** Active activities over the last minute. */
  samples: Sample[];
  census: Census;
}

/** Traces with something planned or in progress, agents and logical threads. */
export interface Census {
  live: number;
  agents: number;
  threads: number;
}

function census(open: ReadonlySet<string>, sources: Iterable<Source>): Census {
  const agents = new Set<string>();
  const threads = new Set<string>();
  for (const source of sources) {
    const agent = byAgent(source);
    const thread = byThread(source);
    if (agent !== null) agents.add(agent.key);
    if (thread !== null) threads.add(thread.key);
  }
  return { live: open.size, agents: agents.size, threads: threads.size };
}

/**
 * Counts a store of the past. The server's counts, if there are any, tell of what the page does not hold;
 * they are of now, and `latest` tells what has become since of what was open then. `whole` says that the
 * page has seen all of the last minute.
 */
export function moment(
  store: Store,
  at: number,
  counted: Counted | null = null,
  latest: (id: string) => Activity | undefined = () => undefined,
  whole = true,
): Moment {
  const byState = Object.fromEntries(STATES.map((state) => [state, 0])) as Record<State, number>;
  const later = { ...byState };
  const sources: Source[] = [];
  const traces = new Set<string>();
  const all = window();
  const minute = window();
  const hour = window();
  const finished = new Array<number>(60).fill(0);
  const failed = new Array<number>(60).fill(0);
  // How many more were active from each second of the last minute on.
  const active = new Array<number>(62).fill(0);
  const second = (ms: number) => Math.min(61, Math.max(0, Math.ceil((ms - at) / 1000) + 60));
  const durations = new Float64Array(store.order.length);
  let timed = 0;
  let since = Infinity;
  for (const { a, key } of store.order) {
    const { state, startedAt, endedAt } = a;
    byState[state]++;
    // A Map of them costs as much as all the rest.
    const { counted: by } = a.source;
    if (by.by !== sources) {
      by.by = sources;
      by.n = 0;
      sources.push(a.source);
    }
    by.n++;
    since = Math.min(since, key);
    if (startedAt !== null) {
      all.started++;
      if (at - startedAt <= MINUTE) minute.started++;
      if (at - startedAt <= HOUR) hour.started++;
    }
    const from = second(key);
    active[from] = (active[from] ?? 0) + 1;
    if (!isFinal(state)) {
      const trace = traceOf(a.id);
      if (trace !== '') traces.add(trace);
      const now = latest(a.id);
      if (now !== undefined && isFinal(now.state)) later[now.state]++;
      continue;
    }
    const end = endedAt ?? key;
    const to = second(end);
    active[to] = (active[to] ?? 0) - 1;
    count(all, state);
    if (at - end > HOUR) continue;
    count(hour, state);
    const { durationMs } = a;
    if (durationMs !== null) durations[timed++] = durationMs;
    if (at - end > MINUTE) continue;
    count(minute, state);
    const slot = Math.max(0, 59 - Math.floor((at - end) / 1000));
    finished[slot] = (finished[slot] ?? 0) + 1;
    if (a.state === 'FAILED') failed[slot] = (failed[slot] ?? 0) + 1;
  }
  const types = new Map<string, number>();
  const services = new Map<string, number>();
  for (const { type, service, counted } of sources) {
    const { n } = counted;
    types.set(type, (types.get(type) ?? 0) + n);
    if (service !== null) services.set(service, (services.get(service) ?? 0) + n);
  }
  const sorted = durations.subarray(0, timed).sort();
  close(all, Math.max(1, (at - since) / 1000));
  close(minute, 60);
  close(hour, 3600);
  hour.duration = quantiles(sorted);
  const order = (counts: Map<string, number>) =>
    [...counts].sort((x, y) => y[1] - x[1] || (x[0] < y[0] ? -1 : 1));
  let sum = 0;
  const samples = active.slice(0, 61).map((more, i) => ({ at: at + (i - 60) * 1000, value: (sum += more) }));
  const open = byState.PLANNED + byState.IN_PROGRESS;
  const stats: Stats = {
    logId: store.logId,
    asOf: 0,
    now: at,
    since: since === Infinity ? null : since,
    total: store.order.length,
    active: open,
    byState,
    byType: order(types),
    byService: order(services),
    all,
    minute,
    hour,
    range: all,
    started: [],
    finished: whole ? finished : [],
    failed: whole ? failed : [],
    histogram: histogram(sorted),
    // What the page holds of it is not what the server kept.
    held: null,
    evicted: 0,
    notIndexed: 0,
    exportEndpoint: null,
    exportDropped: 0,
    forwarding: null,
    processes: null,
  };
  if (counted !== null) {
    stats.total = Math.max(stats.total, counted.all.total);
    stats.byType = counted.all.byType.length > 0 ? counted.all.byType : stats.byType;
    stats.byService = counted.all.byService.length > 0 ? counted.all.byService : stats.byService;
    stats.since = counted.all.since ?? stats.since;
    for (const state of STATES) {
      if (isFinal(state))
        byState[state] = Math.max(byState[state], counted.all.byState[state] - later[state]);
    }
    if (counted.hour.range.finished > hour.finished) {
      stats.hour = counted.hour.range;
      stats.histogram = counted.hour.histogram;
    }
    if (counted.minute.range.finished > minute.finished) stats.minute = counted.minute.range;
  }
  return { samples: whole ? samples : [], stats, census: census(traces, sources) };
}

function histogram(sorted: Float64Array): Stats['histogram'] {
  const buckets = BOUNDS.map((le) => ({ le, count: 0 }));
  let i = 0;
  for (const ms of sorted) {
    while (i < buckets.length - 1 && ms > (buckets[i]?.le ?? 0)) i++;
    const bucket = buckets[i];
    if (bucket !== undefined) bucket.count++;
  }
  return buckets;
}
