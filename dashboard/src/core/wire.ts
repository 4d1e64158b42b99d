// The messages of /activity/stream and the lists of /activity, decoded into what the page keeps.
// Whatever arrives is data from strangers: a field of the wrong type reads as absent, a string is cut to a
// bound, and a message that makes no sense is counted, never thrown.

export const STATES = ['IN_PROGRESS', 'PLANNED', 'COMPLETED', 'FAILED', 'CANCELLED', 'LOST'] as const;
export type State = (typeof STATES)[number];

/** The types that the API knows. */
export const TYPES = [
  'decision',
  'thread',
  'async_task',
  'api_call',
  'database_operation',
  'ai_inference',
  'work_item',
  'agent_action',
  'scheduler_tick',
  'span',
] as const;

export interface Decision {
  reasoning: string | null;
  choice: string | null;
  alternatives: string[];
  outcome: string | null;
  confidence: number | null;
}

export interface Failure {
  type: string | null;
  message: string | null;
  stack: string | null;
}

/** Times are milliseconds since the epoch, durations are milliseconds. */
export interface Activity {
  id: string;
  parentId: string | null;
  type: string;
  state: State;
  stalled: boolean;
  name: string;
  willDo: string | null;
  doing: string | null;
  did: string | null;
  progress: number | null;
  plannedAt: number | null;
  startedAt: number | null;
  endedAt: number | null;
  waitMs: number | null;
  durationMs: number | null;
  usualMs: number | null;
  lastSeenAt: number | null;
  service: string | null;
  instance: string | null;
  agent: string | null;
  threadId: string | null;
  threadName: string | null;
  lease: string | null;
  decision: Decision | null;
  error: Failure | null;
  /** Null when there are none. Long values are cut, see `attributes`. */
  attributes: Fields | null;
  traceUrl: string | null;
}

export interface Hello {
  kind: 'hello';
  logId: string;
  seq: number;
  now: number | null;
}
export interface Change {
  kind: 'change';
  /** A row of a snapshot, not an event of the log. */
  snapshot: boolean;
  logId: string;
  seq: number;
  activity: Activity;
}
export interface SnapshotEnd {
  kind: 'snapshot_end';
}
export interface Gap {
  kind: 'gap';
  from: number;
  to: number;
}
export type Message = Hello | Change | SnapshotEnd | Gap;

export interface Frame {
  messages: Message[];
  malformed: number;
}

type Fields = Record<string, unknown>;

const ID_MAX = 100;
const NAME_MAX = 300;
const TEXT_MAX = 4_000;
const ALTERNATIVES_MAX = 50;
const ATTRIBUTES_MAX = 64;
const VALUE_MAX = 1_000;

const states = new Set<string>(STATES);

export function isFinal(state: State): boolean {
  return state !== 'PLANNED' && state !== 'IN_PROGRESS';
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function text(value: unknown, max = TEXT_MAX): string | null {
  if (typeof value !== 'string' || value === '') return null;
  return value.length > max ? value.slice(0, max) + '…' : value;
}

export function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

export function count(value: unknown): number {
  return Math.max(0, number(value) ?? 0);
}

let secondText = '';
let secondMs = 0;

/** An RFC 3339 time in UTC, to the fraction of a millisecond, or null. */
export function time(value: unknown): number | null {
  if (typeof value !== 'string' || value.length < 20 || value.length > 40) return null;
  if (value.charCodeAt(value.length - 1) !== 90) {
    const ms = Date.parse(value);
    return Number.isNaN(ms) ? null : ms;
  }
  const second = value.slice(0, 19);
  if (second !== secondText) {
    const ms = Date.parse(second + 'Z');
    if (Number.isNaN(ms)) return null;
    secondText = second;
    secondMs = ms;
  }
  if (value.charCodeAt(19) !== 46) return secondMs;
  const fraction = Number(value.slice(19, -1));
  return fraction >= 0 && fraction < 1 ? secondMs + fraction * 1000 : null;
}

// Few distinct services, types, agents, threads and plans name very many activities: each text is held once.
const pool = new Map<string, string>();

function shared(value: unknown): string | null {
  const s = text(value, NAME_MAX);
  if (s === null) return null;
  const held = pool.get(s);
  if (held !== undefined) return held;
  if (pool.size >= 10_000) pool.clear();
  pool.set(s, s);
  return s;
}

/** A description of what many activities will do or do alike. */
function plan(value: unknown): string | null {
  return typeof value === 'string' && value.length <= NAME_MAX ? shared(value) : text(value);
}

/** A parent is that of many. */
function parent(value: unknown): string | null {
  return typeof value === 'string' && value.length <= ID_MAX ? shared(value) : null;
}

function unit(value: unknown): number | null {
  const n = number(value);
  return n === null ? null : Math.min(1, Math.max(0, n));
}

function decision(value: unknown): Decision | null {
  if (!isFields(value)) return null;
  const alternatives = Array.isArray(value.alternatives) ? value.alternatives : [];
  return {
    reasoning: text(value.reasoning),
    choice: text(value.choice, NAME_MAX),
    alternatives: alternatives
      .slice(0, ALTERNATIVES_MAX)
      .map((a) => text(a, NAME_MAX))
      .filter((a) => a !== null),
    outcome: text(value.outcome, NAME_MAX),
    confidence: unit(value.confidence),
  };
}

export function failure(value: unknown): Failure | null {
  if (!isFields(value)) return null;
  return { type: shared(value.type), message: text(value.message), stack: text(value.stack, 16_000) };
}

function plain(value: unknown): boolean {
  return typeof value === 'string' ? value.length <= VALUE_MAX : typeof value !== 'object' || value === null;
}

/** The attributes that a search looks into: as they came when they are few and small, else cut to a bound. */
function attributes(value: unknown): Fields | null {
  if (!isFields(value)) return null;
  const keys = Object.keys(value);
  if (keys.length === 0) return null;
  if (keys.length <= ATTRIBUTES_MAX && keys.every((key) => key.length <= NAME_MAX && plain(value[key]))) {
    return value;
  }
  const cut: Fields = {};
  for (const key of keys.slice(0, ATTRIBUTES_MAX)) {
    const v = value[key];
    if (key.length > NAME_MAX) continue;
    if (typeof v === 'string') cut[key] = v.slice(0, VALUE_MAX);
    else if (plain(v) || JSON.stringify(v).length <= VALUE_MAX) cut[key] = v;
  }
  return cut;
}

/** Only a link of the web is a link: anything else in a trace_url is not offered to be clicked. */
export function webUrl(value: unknown): string | null {
  if (typeof value !== 'string' || value.length > 2_000) return null;
  return /^https?:\/\//i.test(value) ? value : null;
}

export function activity(value: unknown): Activity | null {
  if (!isFields(value)) return null;
  const id = value.activity_id;
  const state = value.state;
  if (typeof id !== 'string' || id === '' || id.length > ID_MAX) return null;
  if (typeof state !== 'string' || !states.has(state)) return null;
  return {
    id,
    parentId: parent(value.parent_id),
    type: shared(value.type) ?? 'span',
    state: state as State,
    stalled: value.stalled === true,
    name: shared(value.name) ?? id,
    willDo: plan(value.what_it_will_do),
    doing: plan(value.what_its_doing),
    did: text(value.what_it_did),
    progress: unit(value.progress),
    plannedAt: time(value.planned_at),
    startedAt: time(value.started_at),
    endedAt: time(value.ended_at),
    waitMs: number(value.wait_ms),
    durationMs: number(value.duration_ms),
    usualMs: number(value.usual_ms),
    lastSeenAt: time(value.last_seen_at),
    service: shared(value.service),
    instance: shared(value.instance),
    agent: shared(value.agent),
    threadId: shared(value.thread_id),
    threadName: shared(value.thread_name),
    lease: shared(value.lease),
    decision: decision(value.decision),
    error: failure(value.error),
    attributes: attributes(value.attributes),
    traceUrl: webUrl(value.trace_url),
  };
}

/** One object of a stream. */
export function message(value: unknown): Message | null {
  if (!isFields(value)) return null;
  const { event } = value;
  if (event === 'snapshot_end') return { kind: 'snapshot_end' };
  if (event === 'gap') return { kind: 'gap', from: count(value.from), to: count(value.to) };
  const logId = text(value.log_id, 100);
  const seq = number(value.seq);
  if (event === 'hello') {
    return logId === null ? null : { kind: 'hello', logId, seq: seq ?? 0, now: time(value.now) };
  }
  if (typeof event !== 'string') return null;
  const row = activity(value.activity);
  if (row === null || logId === null) return null;
  return { kind: 'change', snapshot: event === 'active', logId, seq: seq ?? 0, activity: row };
}

/** One WebSocket message: an array of objects, or a single one. */
export function frame(data: unknown): Frame {
  let parsed: unknown;
  try {
    parsed = typeof data === 'string' ? JSON.parse(data) : null;
  } catch {
    return { messages: [], malformed: 1 };
  }
  const messages: Message[] = [];
  let malformed = 0;
  for (const item of Array.isArray(parsed) ? parsed : [parsed]) {
    const decoded = message(item);
    if (decoded === null) malformed++;
    else messages.push(decoded);
  }
  return { messages, malformed };
}

export interface Page {
  activities: Activity[];
  total: number;
  exact: boolean;
  /** The cursor of the next page; null on the last. */
  next: string | null;
  logId: string;
  asOf: number;
}

export function page(value: unknown): Page | null {
  if (!isFields(value) || !Array.isArray(value.activities)) return null;
  return {
    activities: value.activities.map(activity).filter((a) => a !== null),
    total: count(value.total),
    exact: value.total_relation !== 'gte',
    next: text(value.next_cursor, 1_000),
    logId: text(value.log_id, 100) ?? '',
    asOf: count(value.as_of_seq),
  };
}
