// The answer of /activity/stats. Absent numbers stay null: the page shows a dash, not a zero.
import { count, isFields, number, text, time, type State } from './wire';

export interface Quantiles {
  average: number | null;
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

export interface Window {
  started: number;
  finished: number;
  completed: number;
  failed: number;
  cancelled: number;
  lost: number;
  successRate: number | null;
  perSecond: number | null;
  duration: Quantiles;
}

export interface Bucket {
  le: number;
  count: number;
}

export interface Stats {
  logId: string;
  asOf: number;
  now: number | null;
  since: number | null;
  total: number;
  active: number;
  byState: Record<State, number>;
  byType: [string, number][];
  byService: [string, number][];
  all: Window;
  minute: Window;
  hour: Window;
  /** What started and ended in the time that was asked for; zeros where none was. */
  range: Window;
  /** Counts of the last 60 seconds, oldest first. */
  started: number[];
  finished: number[];
  failed: number[];
  histogram: Bucket[];
  held: number | null;
  evicted: number;
  notIndexed: number;
  exportEndpoint: string | null;
  exportDropped: number;
  /** What stands beyond the server, as it came; see beyond. */
  forwarding: unknown;
  processes: unknown;
}

function quantiles(value: unknown): Quantiles {
  const q = isFields(value) ? value : {};
  return { average: number(q.average), p50: number(q.p50), p95: number(q.p95), p99: number(q.p99) };
}

function window(value: unknown): Window {
  const w = isFields(value) ? value : {};
  return {
    started: count(w.started),
    finished: count(w.finished),
    completed: count(w.completed),
    failed: count(w.failed),
    cancelled: count(w.cancelled),
    lost: count(w.lost),
    successRate: number(w.success_rate),
    perSecond: number(w.per_second),
    duration: quantiles(w.duration_ms),
  };
}

function counts(value: unknown): [string, number][] {
  if (!isFields(value)) return [];
  return Object.entries(value)
    .map(([name, n]): [string, number] => [name, count(n)])
    .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

function series(value: unknown): number[] {
  return Array.isArray(value) ? value.slice(-60).map(count) : [];
}

export function stats(value: unknown): Stats | null {
  if (!isFields(value) || typeof value.log_id !== 'string') return null;
  const states = isFields(value.by_state) ? value.by_state : {};
  const windows = isFields(value.windows) ? value.windows : {};
  const recent = isFields(value.series) ? value.series : {};
  const held = isFields(value.held) ? value.held : null;
  const exporting = isFields(value.export) ? value.export : {};
  const buckets = Array.isArray(value.histogram) ? value.histogram : [];
  return {
    logId: value.log_id,
    asOf: count(value.as_of_seq),
    now: time(value.now),
    since: time(value.since),
    total: count(value.total),
    active: count(value.active),
    byState: {
      IN_PROGRESS: count(value.in_progress ?? states.IN_PROGRESS),
      PLANNED: count(value.planned ?? states.PLANNED),
      COMPLETED: count(states.COMPLETED),
      FAILED: count(states.FAILED),
      CANCELLED: count(states.CANCELLED),
      LOST: count(states.LOST),
    },
    byType: counts(value.by_type),
    byService: counts(value.by_service),
    all: window(windows.all),
    minute: window(windows['1m']),
    hour: window(windows['1h']),
    range: window(windows.range),
    started: series(recent.started),
    finished: series(recent.finished),
    failed: series(recent.failed),
    histogram: buckets
      .filter(isFields)
      .map((b) => ({ le: number(b.le_ms) ?? Infinity, count: count(b.count) }))
      .filter((b) => b.le > 0),
    held: held === null ? null : count(held.finished) + count(held.in_flight),
    evicted: count(value.evicted),
    notIndexed: count(value.not_indexed),
    exportEndpoint: text(exporting.endpoint, 300),
    exportDropped: count(exporting.dropped),
    forwarding: value.forwarding,
    processes: value.processes,
  };
}

/** What was active at the beginning of each of the last seconds, by what began and what ended since, oldest first. */
export function activeBefore(stats: Pick<Stats, 'active' | 'started' | 'finished'>): number[] {
  const { started, finished } = stats;
  const out: number[] = [];
  let active = stats.active;
  for (let i = started.length - 1; i >= 0; i--) {
    active = Math.max(0, active - (started[i] ?? 0) + (finished[i] ?? 0));
    out.push(active);
  }
  return out.reverse();
}
