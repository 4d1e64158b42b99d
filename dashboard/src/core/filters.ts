// The search box and the state chips: plain words, "phrases", and the API's filters as key:value. The same
// query is a test of what the page holds and the parameters of a request; api/testdata/searches.json holds
// both to the same answers.
import { traceOf } from './traces';
import { STATES, TYPES, type Activity, type State } from './wire';

export interface Test {
  passes(a: Activity): boolean;
  /** Whether a name is enough to pass, whatever else there is of an activity. */
  byName(name: string): boolean;
  /** The same as `passes`, of one whose name is not enough. */
  beyond(a: Activity): boolean;
}

/** Keys whose values are alternatives. */
export const FIELDS = ['type', 'state', 'service', 'agent', 'thread', 'trace', 'parent'] as const;
export type Field = (typeof FIELDS)[number];

/** Keys as a reader writes them; `attr.` goes on with the attribute's own. */
export const KEYS = [...FIELDS, 'stalled', 'duration', 'since', 'until', 'attr.'] as const;

/** What is wrong with a term: such a term is left out, but a word with an unknown key is looked for. */
export type Fault =
  | 'key'
  | 'empty'
  | 'type'
  | 'state'
  | 'id'
  | 'flag'
  | 'moment'
  | 'duration'
  | 'compare'
  | 'order'
  | 'repeated';

export interface Problem {
  fault: Fault;
  key: string;
  value: string;
}

/** A moment, or a duration back from now. */
interface Moment {
  text: string;
  at: number | null;
  back: number;
}

interface Span {
  text: string;
  ms: number;
}

export interface Query {
  words: string[];
  fields: Map<Field, string[]>;
  attrs: Map<string, string[]>;
  stalled: boolean | null;
  since: Moment | null;
  until: Moment | null;
  min: Span | null;
  max: Span | null;
  problems: Problem[];
}

/** One term of the text; a plain word has no key. */
export interface Token {
  start: number;
  end: number;
  key: string | null;
  /** `:`, or `<` or `>` and perhaps `=`. */
  op: string;
  value: string;
  valueStart: number;
  quoted: boolean;
}

const KEYED = /(attr\.[^\s":<>]+|-?[a-z_][\w.-]*)(:|[<>]=?)/iy;
const PLAIN = /[^\s"]+/y;

export function tokens(q: string): Token[] {
  const list: Token[] = [];
  let i = 0;
  while (i < q.length) {
    if (/\s/.test(q.charAt(i))) {
      i++;
      continue;
    }
    const start = i;
    KEYED.lastIndex = i;
    const keyed = KEYED.exec(q);
    const key = keyed?.[1] ?? null;
    // Only a key that there is can be compared: a->b and List<T> are words.
    const isKey = key !== null && (keyed?.[2] === ':' || key.toLowerCase() === 'duration');
    if (isKey) i = KEYED.lastIndex;
    const valueStart = i;
    const quoted = q.charAt(i) === '"';
    let value: string;
    if (quoted) {
      const close = q.indexOf('"', i + 1);
      value = q.slice(i + 1, close < 0 ? q.length : close);
      i = close < 0 ? q.length : close + 1;
    } else {
      PLAIN.lastIndex = i;
      value = PLAIN.exec(q)?.[0] ?? '';
      i += value.length;
    }
    const op = isKey ? (keyed?.[2] ?? ':') : '';
    list.push({ start, end: i, key: isKey ? key : null, op, value, valueStart, quoted });
  }
  return list;
}

const UNITS: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds of a duration as the API writes it: 250ms, 1h30m, 7d. */
export function duration(s: string): number | null {
  const days = /^(\d{1,5})d$/.exec(s)?.[1];
  if (days !== undefined) return Number(days) <= 36_500 ? Number(days) * 86_400_000 : null;
  if (!/^(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(s)) return null;
  let ms = 0;
  for (const [, n, unit] of s.matchAll(/([\d.]+)([a-zµμ]+)/g)) ms += Number(n) * (UNITS[unit ?? ''] ?? 0);
  return ms;
}

function moment(s: string): Moment | null {
  const back = duration(s);
  if (back !== null) return { text: s, at: null, back };
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/.test(s)) return null;
  const at = Date.parse(s);
  return Number.isNaN(at) ? null : { text: s, at, back: 0 };
}

export function isState(name: string): name is State {
  return STATES.some((state) => state === name);
}

/** The values of a field as the API takes them, or null when it takes none of that kind. */
function valid(field: Field, value: string): string | null {
  const lower = value.toLowerCase();
  switch (field) {
    case 'type':
      return TYPES.find((type) => type === lower) ?? null;
    case 'state': {
      const state = value.toUpperCase().replace(/[\s-]/g, '_');
      return isState(state) ? state : null;
    }
    case 'trace':
      return /^[0-9a-f]{32}$/.test(lower) ? lower : null;
    case 'parent':
      return /^(?:[0-9a-f]{32}-)?[0-9a-f]{16}$/.test(lower) ? lower : null;
    default:
      return value;
  }
}

export function parse(q: string): Query {
  const query: Query = {
    words: [],
    fields: new Map(),
    attrs: new Map(),
    stalled: null,
    since: null,
    until: null,
    min: null,
    max: null,
    problems: [],
  };
  for (const token of tokens(q)) {
    const fault = take(query, token);
    if (fault !== null) query.problems.push({ fault, key: token.key ?? token.value, value: token.value });
  }
  if (query.min !== null && query.max !== null && query.min.ms > query.max.ms) {
    query.problems.push({ fault: 'order', key: 'duration', value: query.max.text });
    query.max = null;
  }
  const now = Date.now();
  if (
    query.since !== null &&
    query.until !== null &&
    momentOf(query.since, now) > momentOf(query.until, now)
  ) {
    query.problems.push({ fault: 'order', key: 'until', value: query.until.text });
    query.until = null;
  }
  return query;
}

function take(query: Query, token: Token): Fault | null {
  const { value, quoted, op } = token;
  if (token.key === null) {
    const word = value.trim();
    // The key of an attribute that is not yet written out.
    if (!quoted && /^attr\.[^:<>]*$/.test(word)) return 'empty';
    if (word !== '') query.words.push(word);
    return null;
  }
  if (token.key.startsWith('attr.')) {
    if (value === '' && !quoted) return 'empty';
    const name = token.key.slice(5);
    query.attrs.set(name, [...(query.attrs.get(name) ?? []), value]);
    return null;
  }
  const key = token.key.toLowerCase();
  const field = FIELDS.find((f) => f === key);
  const known = field !== undefined || OTHERS.has(key);
  if (!known) {
    // A word may well hold a colon: http://…, std::vector, "dial tcp:".
    query.words.push(`${token.key}:${value}`.trim());
    return value === '' || value.startsWith('//') || value.startsWith(':') ? null : 'key';
  }
  if (value === '') return 'empty';
  if (field !== undefined) {
    // A service may have a comma in its name; a type and a state have none.
    const list = field === 'type' || field === 'state' ? value.split(',') : [value];
    for (const item of list) {
      const taken = valid(field, item);
      if (taken === null) return field === 'type' || field === 'state' ? field : 'id';
      const held = query.fields.get(field) ?? [];
      if (!held.includes(taken)) query.fields.set(field, [...held, taken]);
    }
    return null;
  }
  switch (key) {
    case 'q':
      query.words.push(value);
      return null;
    case 'stalled':
      if (query.stalled !== null) return 'repeated';
      if (!/^(?:1|0|true|false)$/.test(value)) return 'flag';
      query.stalled = value === '1' || value === 'true';
      return null;
    case 'since':
    case 'until': {
      if (query[key] !== null) return 'repeated';
      query[key] = moment(value);
      return query[key] === null ? 'moment' : null;
    }
    default: {
      const ms = duration(value);
      if (ms === null) return 'duration';
      if (key === 'duration' && op === ':') return 'compare';
      const end = key === 'min_duration' || op.startsWith('>') ? 'min' : 'max';
      if (query[end] !== null) return 'repeated';
      query[end] = { text: value, ms };
      return null;
    }
  }
}

const OTHERS = new Set(['q', 'stalled', 'since', 'until', 'duration', 'min_duration', 'max_duration']);

function momentOf(m: Moment, now: number): number {
  return m.at ?? now - m.back;
}

/** Whether a term is left out, so that what the query finds is not what was meant. */
export function isInvalid(query: Query): boolean {
  return query.problems.some(({ fault }) => fault !== 'key' && fault !== 'repeated');
}

/** Passes nothing. */
export const NOTHING: Test = { passes: () => false, byName: () => false, beyond: () => false };

/** Whether an activity may pass or no longer pass as time goes by, without changing. */
export function ages(query: Query): boolean {
  return (
    query.min !== null ||
    query.max !== null ||
    (query.since !== null && query.since.at === null) ||
    (query.until !== null && query.until.at === null)
  );
}

/** Finds a word in texts, in whatever case. */
class Finder {
  private readonly lower: string;
  /** Whether a number may hold it. */
  private readonly numeric: boolean;
  /** For a plain word an expression, which needs no copy of the text. */
  private readonly pattern: RegExp | null;
  private plan = '';
  private planned = false;

  constructor(word: string) {
    this.lower = word.toLowerCase();
    this.numeric = /^[-+.\de]+$/.test(this.lower);
    this.pattern = /^[\x20-\x7e]*$/.test(word)
      ? new RegExp(word.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'), 'i')
      : null;
  }

  in(text: string): boolean {
    return this.pattern === null ? text.toLowerCase().includes(this.lower) : this.pattern.test(text);
  }

  /** The same in a text that very many activities share. */
  private inPlan(text: string): boolean {
    if (text !== this.plan) {
      this.plan = text;
      this.planned = this.in(text);
    }
    return this.planned;
  }

  value(value: unknown): boolean {
    if (typeof value === 'string') return this.in(value);
    if (typeof value === 'number') return this.numeric && this.in(String(value));
    if (typeof value !== 'object' || value === null) return false;
    for (const key in value) if (this.value((value as Record<string, unknown>)[key])) return true;
    return false;
  }

  of(a: Activity): boolean {
    return this.in(a.name) || this.beyond(a);
  }

  /** In all but the name. */
  beyond(a: Activity): boolean {
    return (
      (a.doing !== null && this.in(a.doing)) ||
      (a.did !== null && this.in(a.did)) ||
      (a.willDo !== null && this.inPlan(a.willDo)) ||
      (a.threadId !== null && this.in(a.threadId)) ||
      (a.error !== null && this.value(a.error)) ||
      (a.decision !== null && this.value(a.decision)) ||
      (a.attributes !== null && this.value(a.attributes))
    );
  }
}

/** Whether what one query does not find, the next one, which a reader types on, can't find either. */
export function narrows(next: Query, before: Query): boolean {
  const { words } = before;
  return (
    words.length > 0 &&
    !ages(next) &&
    before.problems.length === 0 &&
    next.problems.length === 0 &&
    JSON.stringify(rest(next)) === JSON.stringify(rest(before)) &&
    next.words.length >= words.length &&
    words.every((word, i) => next.words[i]?.toLowerCase().startsWith(word.toLowerCase()))
  );
}

/** Whether two queries, however written, ask the same. */
export function says(next: Query, before: Query): boolean {
  return JSON.stringify([next.words, ...rest(next)]) === JSON.stringify([before.words, ...rest(before)]);
}

/** What a query asks beside words. */
function rest(query: Query): unknown[] {
  const { fields, attrs, stalled, since, until, min, max } = query;
  return [[...fields], [...attrs], stalled, since?.text, until?.text, min?.text, max?.text];
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

type Check = (a: Activity) => boolean;

/** The test of a search. One class with one set of methods: each key typed would else bring code to be optimized anew. */
class Search implements Test {
  private readonly word: Finder | null;

  constructor(
    private readonly checks: readonly Check[],
    private readonly words: readonly Finder[],
    private readonly attrs: readonly [string, string[]][],
    private readonly found: ReadonlySet<string>,
  ) {
    this.word = words.length === 1 && attrs.length === 0 && checks.length === 0 ? (words[0] ?? null) : null;
  }

  passes(a: Activity): boolean {
    for (const check of this.checks) if (!check(a)) return false;
    return (this.found.size > 0 && this.found.has(a.id)) || this.says(a);
  }

  byName(name: string): boolean {
    if (this.checks.length > 0 || this.attrs.length > 0) return false;
    for (const word of this.words) if (!word.in(name)) return false;
    return true;
  }

  beyond(a: Activity): boolean {
    if (this.word === null) return this.passes(a);
    return (this.found.size > 0 && this.found.has(a.id)) || this.word.beyond(a);
  }

  private says(a: Activity): boolean {
    for (const word of this.words) if (!word.of(a)) return false;
    for (const [key, texts] of this.attrs) {
      const value = a.attributes?.[key];
      if (value === undefined || !texts.includes(textOf(value))) return false;
    }
    return true;
  }
}

/**
 * Makes the test of a search, or null when it passes everything. `found` holds ids that the server found: it
 * also looks into results, and into attributes that the page cuts. `now` is the server's time.
 */
export function compile(
  states: ReadonlySet<State>,
  query: Query,
  found: ReadonlySet<string>,
  now = Date.now(),
): Test | null {
  const checks: Check[] = [];
  const within = (field: Field, of: (a: Activity, value: string) => boolean) => {
    const values = query.fields.get(field);
    if (values !== undefined) checks.push((a) => values.some((value) => of(a, value)));
  };
  const chosen = new Set<string>([...states, ...(query.fields.get('state') ?? [])]);
  if (chosen.size > 0) checks.push((a) => chosen.has(a.state));
  within('type', (a, v) => a.type === v);
  within('service', (a, v) => a.service === v);
  within('agent', (a, v) => a.agent === v);
  within('thread', (a, v) => a.threadId === v);
  within('trace', (a, v) => traceOf(a.id) === v);
  within('parent', (a, v) => a.parentId !== null && a.parentId.slice(-v.length) === v);
  const { stalled, since, until, min, max } = query;
  if (stalled !== null) checks.push((a) => a.stalled === stalled);
  if (since !== null) {
    const from = momentOf(since, now);
    checks.push((a) => a.endedAt === null || a.endedAt >= from);
  }
  if (until !== null) {
    const to = momentOf(until, now);
    checks.push((a) => (a.plannedAt ?? a.startedAt ?? 0) <= to);
  }
  const least = min?.ms ?? 0;
  const most = max?.ms ?? 0;
  if (least > 0 || most > 0) {
    checks.push((a) => {
      const ms = worked(a, now);
      return ms !== null && ms >= least && (most === 0 || ms <= most);
    });
  }
  const words = query.words.map((word) => new Finder(word));
  const attrs = [...query.attrs];
  return checks.length + words.length + attrs.length === 0 ? null : new Search(checks, words, attrs, found);
}

/** The time at work: of an open activity until now; what never started, or was lost, has none. */
function worked(a: Activity, now: number): number | null {
  if (a.durationMs !== null) return a.durationMs;
  if (a.startedAt === null || a.state === 'LOST') return null;
  return Math.max(0, (a.endedAt ?? now) - a.startedAt);
}

/** The same search as parameters of the API. */
export function parameters(states: ReadonlySet<State>, query: Query): URLSearchParams {
  const params = new URLSearchParams();
  const chosen = new Set<string>([...states, ...(query.fields.get('state') ?? [])]);
  for (const field of FIELDS) {
    const values = field === 'state' ? STATES.filter((s) => chosen.has(s)) : (query.fields.get(field) ?? []);
    for (const value of values) params.append(field, value);
  }
  if (query.stalled !== null) params.set('stalled', String(query.stalled));
  if (query.min !== null) params.set('min_duration', query.min.text);
  if (query.max !== null) params.set('max_duration', query.max.text);
  if (query.since !== null) params.set('since', query.since.text);
  if (query.until !== null) params.set('until', query.until.text);
  for (const [key, values] of query.attrs) for (const value of values) params.append(`attr.${key}`, value);
  const q = query.words.map((word) => (/\s/.test(word) ? `"${word}"` : word)).join(' ');
  if (q !== '') params.set('q', q);
  return params;
}
