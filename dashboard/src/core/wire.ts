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
  /** The same for all that have it in common. */
  readonly source: Source;
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

// By the name on the wire the one text of ours, which compares at once.
const states = new Map<string, State>(STATES.map((state) => [state, state]));

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

/** Milliseconds that an activity may take: no more than some 30,000 years. */
function span(value: unknown): number | null {
  const ms = number(value);
  return ms === null || Math.abs(ms) > 1e15 ? null : ms;
}

export function count(value: unknown): number {
  return Math.max(0, number(value) ?? 0);
}

let wholeText = '';
let wholeMs = 0;
let lastText = '';
let lastMs = 0;

/** An RFC 3339 time in UTC, to the fraction of a millisecond, or null. */
export function time(value: unknown): number | null {
  if (typeof value !== 'string' || value.length < 20 || value.length > 40) return null;
  // Most activities are planned as they start, and are heard of as they end.
  if (value === lastText) return lastMs;
  const ms = timeOf(value);
  if (ms === null || Number.isNaN(ms)) return null;
  lastText = value;
  lastMs = ms;
  return ms;
}

function timeOf(value: string): number | null {
  const last = value.length - 1;
  if (value.charCodeAt(last) !== 90) return Date.parse(value);
  if (!value.startsWith(wholeText) || wholeText === '') {
    const whole = value.slice(0, 19);
    const ms = Date.parse(whole + 'Z');
    if (Number.isNaN(ms)) return null;
    wholeText = whole;
    wholeMs = ms;
  }
  if (last === 19) return wholeMs;
  if (value.charCodeAt(19) !== 46 || last === 20) return null;
  let digits = 0;
  let scale = 1_000;
  for (let i = 20; i < last; i++) {
    const digit = value.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return null;
    digits = digits * 10 + digit;
    scale /= 10;
  }
  return wholeMs + digits * scale;
}

// Few distinct services, types, agents, threads and plans name very many activities: each text is held once.
const pool = new Map<string, string>(TYPES.map((type) => [type, type]));
// Of each field the text before: often the next is the same, and to compare costs less than to look it up.
const lately = new Array<string | null>(5).fill(null);

function shared(value: unknown, field = 4): string | null {
  const before = lately[field] ?? null;
  if (before !== null && value === before) return before;
  return (lately[field] = pooled(value));
}

function pooled(value: unknown): string | null {
  const s = text(value, NAME_MAX);
  if (s === null) return null;
  const held = pool.get(s);
  if (held !== undefined) return held;
  if (pool.size >= 10_000) pool.clear();
  pool.set(s, s);
  return s;
}

/** A description of what many activities will do or do alike. */
function plan(value: unknown, field: number): string | null {
  return typeof value === 'string' && value.length <= NAME_MAX ? shared(value, field) : text(value);
}

/** A parent is that of many. */
function parent(value: unknown): string | null {
  return typeof value === 'string' && value.length <= ID_MAX ? shared(value, 1) : null;
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

/** Who did what kind of work: few distinct ones stand for very many activities, and each is held once. */
export interface Source {
  readonly type: string;
  readonly service: string | null;
  readonly instance: string | null;
  readonly agent: string | null;
  readonly threadId: string | null;
  readonly threadName: string | null;
  readonly lease: string | null;
  /** The trace_url, with the ids of the trace and of the span left open. */
  readonly link: string | null;
  /** Room for whoever counts many activities by their sources: in which count, and how many. */
  counted: { by: object | null; n: number };
}

// By thread, or by service, the last few.
const sources = new Map<string, Source[]>();
const ALIKE = 16;

/** Whether a text that was held is what this value decodes to. */
function is(held: string | null, value: unknown): boolean {
  return held === null ? typeof value !== 'string' || value === '' : held === value;
}

function sourceOf(value: Fields, id: string): Source {
  const link = linkOf(webUrl(value.trace_url), id);
  const by = text(value.thread_id, NAME_MAX) ?? text(value.service, NAME_MAX) ?? '';
  const type = text(value.type, NAME_MAX) ?? 'span';
  const alike = sources.get(by) ?? [];
  for (const s of alike) {
    if (
      s.type === type &&
      s.link === link &&
      is(s.threadId, value.thread_id) &&
      is(s.threadName, value.thread_name) &&
      is(s.agent, value.agent) &&
      is(s.service, value.service) &&
      is(s.instance, value.instance) &&
      is(s.lease, value.lease)
    ) {
      return s;
    }
  }
  const made = {
    type: shared(type) ?? type,
    service: shared(value.service),
    instance: shared(value.instance),
    agent: shared(value.agent),
    threadId: shared(value.thread_id),
    threadName: shared(value.thread_name),
    lease: shared(value.lease),
    link,
    counted: { by: null, n: 0 },
  };
  if (alike.length >= ALIKE) alike.shift();
  alike.push(made);
  if (sources.size >= 5_000) sources.clear();
  sources.set(by, alike);
  return made;
}

const TRACE = '\u0001';
const SPAN = '\u0002';

/** The link of which `urlOf` makes the same address again; null when there is none. */
function linkOf(url: string | null, id: string): string | null {
  if (url === null || url.includes(TRACE) || url.includes(SPAN)) return null;
  return id.length === 49 ? url.replace(id.slice(0, 32), TRACE).replace(id.slice(33), SPAN) : url;
}

function urlOf(link: string | null, id: string): string | null {
  return link?.replace(TRACE, () => id.slice(0, 32)).replace(SPAN, () => id.slice(33)) ?? null;
}

type Derived = keyof Source | 'source' | 'traceUrl';

/** Seconds from here on are small whole numbers, until 2051. */
const EPOCH = 1_500_000_000;

/**
 * An activity as the page holds it, 100,000 times over. Its times are kept to the microsecond, from its
 * beginning on: a small whole number stands in the object itself, any other one costs 12 bytes beside it.
 */
class Held implements Activity {
  id: string;
  parentId: string | null;
  state: State;
  stalled: boolean;
  name: string;
  willDo: string | null;
  doing: string | null;
  did: string | null;
  progress: number | null;
  decision: Decision | null;
  error: Failure | null;
  attributes: Fields | null;

  readonly source: Source;
  /** When it began: seconds since the epoch, and microseconds; the complement of these when it was not planned. */
  private readonly second: number;
  private readonly micro: number;
  private started: number | null;
  private ended: number | null;
  private seen: number | null;
  private wait: number | null;
  private worked: number | null;
  private usual: number | null;

  constructor(a: Omit<Activity, Derived>, source: Source) {
    this.id = a.id;
    this.parentId = a.parentId;
    this.state = a.state;
    this.stalled = a.stalled;
    this.name = a.name;
    this.willDo = a.willDo;
    this.doing = a.doing;
    this.did = a.did;
    this.progress = a.progress;
    this.decision = a.decision;
    this.error = a.error;
    this.attributes = a.attributes;
    this.source = source;
    const from = a.plannedAt ?? a.startedAt ?? a.endedAt ?? a.lastSeenAt ?? 0;
    const second = Math.floor(from / 1_000);
    const micro = Math.round((from - second * 1_000) * 1_000);
    this.second = second - EPOCH;
    this.micro = a.plannedAt === null ? ~micro : micro;
    this.started = this.since(a.startedAt);
    this.ended = this.since(a.endedAt);
    this.seen = this.since(a.lastSeenAt);
    this.wait = micros(a.waitMs);
    this.worked = micros(a.durationMs);
    this.usual = micros(a.usualMs);
  }

  get type(): string {
    return this.source.type;
  }
  get service(): string | null {
    return this.source.service;
  }
  get instance(): string | null {
    return this.source.instance;
  }
  get agent(): string | null {
    return this.source.agent;
  }
  get threadId(): string | null {
    return this.source.threadId;
  }
  get threadName(): string | null {
    return this.source.threadName;
  }
  get lease(): string | null {
    return this.source.lease;
  }
  get traceUrl(): string | null {
    return urlOf(this.source.link, this.id);
  }

  get plannedAt(): number | null {
    return this.micro < 0 ? null : this.at(0);
  }
  get startedAt(): number | null {
    return this.at(this.started);
  }
  set startedAt(ms: number | null) {
    this.started = this.since(ms);
  }
  get endedAt(): number | null {
    return this.at(this.ended);
  }
  set endedAt(ms: number | null) {
    this.ended = this.since(ms);
  }
  get lastSeenAt(): number | null {
    return this.at(this.seen);
  }
  set lastSeenAt(ms: number | null) {
    this.seen = this.since(ms);
  }
  get waitMs(): number | null {
    return millis(this.wait);
  }
  set waitMs(ms: number | null) {
    this.wait = micros(ms);
  }
  get durationMs(): number | null {
    return millis(this.worked);
  }
  set durationMs(ms: number | null) {
    this.worked = micros(ms);
  }
  get usualMs(): number | null {
    return millis(this.usual);
  }

  /** Microseconds from the beginning to a moment. */
  private since(ms: number | null): number | null {
    if (ms === null) return null;
    const { micro } = this;
    // No -0, which is no small whole number.
    return Math.round((ms - (this.second + EPOCH) * 1_000) * 1_000) - (micro < 0 ? ~micro : micro) + 0;
  }

  private at(micros: number | null): number | null {
    if (micros === null) return null;
    const { micro } = this;
    return (this.second + EPOCH) * 1_000 + ((micro < 0 ? ~micro : micro) + micros) / 1_000;
  }
}

function micros(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms * 1_000) + 0;
}

function millis(micros: number | null): number | null {
  return micros === null ? null : micros / 1_000;
}

/** Another version of an activity. A spread would leave its times behind. */
export function vary(
  a: Activity,
  change: Partial<Omit<Activity, 'plannedAt' | 'usualMs' | Derived>>,
): Activity {
  return Object.assign(new Held(a, a.source), change);
}

/** Whether two versions of an activity are the same. */
export function equal(x: Activity, y: Activity): boolean {
  const told = (a: Activity) => JSON.stringify({ ...a, source: null });
  return x.source === y.source && told(x) === told(y);
}

export function activity(value: unknown): Activity | null {
  if (!isFields(value)) return null;
  const id = value.activity_id;
  const state = typeof value.state === 'string' ? states.get(value.state) : undefined;
  if (typeof id !== 'string' || id === '' || id.length > ID_MAX || state === undefined) return null;
  return new Held(
    {
      id,
      parentId: parent(value.parent_id),
      state,
      stalled: value.stalled === true,
      name: shared(value.name, 0) ?? id,
      willDo: plan(value.what_it_will_do, 2),
      doing: plan(value.what_its_doing, 3),
      did: text(value.what_it_did),
      progress: unit(value.progress),
      plannedAt: time(value.planned_at),
      startedAt: time(value.started_at),
      endedAt: time(value.ended_at),
      waitMs: span(value.wait_ms),
      durationMs: span(value.duration_ms),
      usualMs: span(value.usual_ms),
      lastSeenAt: time(value.last_seen_at),
      decision: decision(value.decision),
      error: failure(value.error),
      attributes: attributes(value.attributes),
    },
    sourceOf(value, id),
  );
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
  /** The server can't read a part of its history, in which more may stand. */
  incomplete: boolean;
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
    incomplete: value.incomplete === true,
    logId: text(value.log_id, 100) ?? '',
    asOf: count(value.as_of_seq),
  };
}

/** The answer of /activity/tree. */
export interface TreeAnswer {
  activities: Activity[];
  /** Nodes whose children the answer does not hold in full. */
  cut: number;
  truncated: boolean;
  logId: string;
  asOf: number;
}

const DEPTH_MAX = 200;
export function treeAnswer(value: unknown): TreeAnswer | null {
  if (!isFields(value) || !Array.isArray(value.roots)) return null;
  const activities: Activity[] = [];
  let cut = 0;
  let level: unknown[] = value.roots;
  for (let depth = 0; level.length > 0 && depth < DEPTH_MAX; depth++) {
    const below: unknown[] = [];
    for (const node of level) {
      if (!isFields(node)) continue;
      const a = activity(node.activity);
      if (a !== null) activities.push(a);
      const children: unknown[] = Array.isArray(node.children) ? node.children : [];
      if (count(node.child_count) > children.length) cut++;
      for (const child of children) below.push(child);
    }
    level = below;
  }
  return {
    activities,
    cut,
    truncated: value.truncated === true,
    logId: text(value.log_id, 100) ?? '',
    asOf: count(value.as_of_seq),
  };
}
