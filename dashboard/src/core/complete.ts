// Completion of the search: keys, and the values that activities have had.
import { KEYS, tokens, type Token } from './filters';
import type { Row } from './store';
import { STATES, TYPES } from './wire';

/** Values with how often each was seen. */
type Counts = Map<string, number>;

export interface Facts {
  /** By key of the search, `attr.KEY` among them. */
  values: Map<string, Counts>;
  /** Names of threads by their ids. */
  threads: Map<string, string>;
}

export interface Suggestion {
  /** What takes the place of the term. */
  insert: string;
  /** A key goes on with a value. */
  kind: 'key' | 'value';
  /** The thread's name, where the value is its id. */
  name: string | null;
}

export interface Completion {
  start: number;
  end: number;
  items: Suggestion[];
}

// What a reader looks for is mostly among what came last, and a key must not wait for all the rest.
const ROWS_MAX = 2_000;
const KEYS_MAX = 300;
const VALUES_MAX = 500;
const VALUE_MAX = 120;
const ITEMS_MAX = 8;

/** Reads the newest rows. */
export function facts(order: readonly Row[]): Facts {
  const found: Facts = { values: new Map(), threads: new Map() };
  const add = (key: string, value: string) => {
    if (value === '' || value.length > VALUE_MAX) return;
    let counts = found.values.get(key);
    if (counts === undefined) {
      if (found.values.size >= KEYS_MAX) return;
      found.values.set(key, (counts = new Map()));
    }
    const n = counts.get(value);
    if (n !== undefined || counts.size < VALUES_MAX) counts.set(value, (n ?? 0) + 1);
  };
  for (const key of ['service', 'agent', 'thread']) found.values.set(key, new Map());
  for (let i = order.length - 1; i >= Math.max(0, order.length - ROWS_MAX); i--) {
    const a = order[i]?.a;
    if (a === undefined) continue;
    add('type', a.type);
    add('service', a.service ?? '');
    add('agent', a.agent ?? '');
    add('thread', a.threadId ?? '');
    if (a.threadId !== null && a.threadName !== null) found.threads.set(a.threadId, a.threadName);
    for (const key in a.attributes) {
      const value = a.attributes[key];
      if (typeof value === 'string') add(`attr.${key}`, value);
      else if (typeof value === 'number' || typeof value === 'boolean') add(`attr.${key}`, String(value));
    }
  }
  return found;
}

const DURATIONS = ['100ms', '1s', '10s', '1m'];
const MOMENTS = ['1m', '5m', '15m', '1h', '1d'];

function valuesOf(key: string, known: Facts): string[] {
  const seen = known.values.get(key);
  const often = seen === undefined ? [] : [...seen].sort((a, b) => b[1] - a[1]).map(([value]) => value);
  switch (key) {
    case 'state':
      return STATES.map((state) => state.toLowerCase());
    case 'type':
      return [...new Set([...often.filter((type) => TYPES.some((t) => t === type)), ...TYPES])];
    case 'stalled':
      return ['true', 'false'];
    case 'since':
    case 'until':
      return MOMENTS;
    case 'duration':
    case 'min_duration':
    case 'max_duration':
      return DURATIONS;
    default:
      return often;
  }
}

function term(key: string, op: string, value: string): string {
  return `${key}${op}${value === '' || /[\s"]/.test(value) ? `"${value}"` : value}`;
}

/** What begins with the text first, then what contains it. */
function matching(list: readonly string[], text: string, of: (s: string) => string = (s) => s): string[] {
  const lower = text.toLowerCase();
  const begins = list.filter((s) => of(s).toLowerCase().startsWith(lower));
  const holds = list.filter((s) => !begins.includes(s) && of(s).toLowerCase().includes(lower));
  return [...begins, ...holds];
}

function keySuggestion(key: string): Suggestion {
  const insert = key === 'attr.' ? key : key === 'duration' ? 'duration>' : `${key}:`;
  return { insert, kind: 'key', name: null };
}

/** Suggests for the term that the caret stands in or behind. */
export function complete(q: string, caret: number, known: Facts): Completion {
  const token: Token | undefined = tokens(q).find((t) => t.start <= caret && caret <= t.end);
  const start = token?.start ?? caret;
  const end = token?.end ?? caret;
  const typed = q.slice(start, caret);
  let items: Suggestion[] = [];
  if (token?.key != null && caret >= token.valueStart) {
    const key = token.key.startsWith('attr.') ? token.key : token.key.toLowerCase();
    const text = q.slice(token.valueStart + (token.quoted ? 1 : 0), caret).replace(/"$/, '');
    const names = (value: string) =>
      key === 'thread' ? `${value} ${known.threads.get(value) ?? ''}` : value;
    items = matching(valuesOf(key, known), text, names)
      .map((value) => ({
        insert: term(token.key ?? '', token.op, value),
        kind: 'value' as const,
        name: key === 'thread' ? (known.threads.get(value) ?? null) : null,
      }))
      .filter((item) => item.insert !== q.slice(start, end));
  } else if (token?.quoted !== true) {
    const lower = typed.toLowerCase();
    if (lower.startsWith('attr.')) {
      const keys = [...known.values.keys()].filter((key) => key.startsWith('attr.')).sort();
      items = matching(keys, typed).map(keySuggestion);
    } else {
      items = KEYS.filter((key) => key.startsWith(lower)).map(keySuggestion);
      if (lower.length >= 2) {
        for (const key of ['agent', 'service', 'type', 'state', 'thread']) {
          for (const value of matching(valuesOf(key, known), lower)) {
            items.push({
              insert: term(key, ':', value),
              kind: 'value',
              name: key === 'thread' ? (known.threads.get(value) ?? null) : null,
            });
          }
        }
      }
    }
  }
  // Before anything is typed, all keys.
  return { start, end, items: items.slice(0, typed === '' ? KEYS.length : ITEMS_MAX) };
}

/** The text and the caret after a suggestion was taken. A whole term ends with a space. */
export function accept(q: string, at: Completion, item: Suggestion): { q: string; caret: number } {
  const rest = q.slice(at.end);
  const space = item.kind === 'value' && !rest.startsWith(' ') ? ' ' : '';
  const head = q.slice(0, at.start) + item.insert + space;
  return { q: head + rest, caret: head.length + (item.kind === 'value' && space === '' ? 1 : 0) };
}
