// Failures grouped by error: what differs only in numbers and ids is one failure seen again.
import type { Row } from './store';
import type { Activity } from './wire';

export interface Group {
  key: string;
  latest: Activity;
  message: string;
  count: number;
  first: number;
  last: number;
  services: string[];
  /** How many kinds of activities failed so. */
  kinds: number;
  /** Counts over the time from the oldest failure held to the newest, oldest first. */
  trend: number[];
}

const BUCKETS = 24;

export function messageOf(a: Activity): string {
  return a.error?.message ?? a.error?.type ?? '';
}

export function fingerprint(a: Activity): string {
  const line = messageOf(a).split('\n', 1)[0] ?? '';
  const shape = line
    .replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{12,}\b/gi, '#')
    .replace(/\d+(?:\.\d+)*/g, '#');
  // An error that says nothing is told apart by what failed.
  return `${a.error?.type ?? ''}\n${shape === '' ? kindOf(a) : shape}`;
}

const kinds = new Map<string, string>();

/** Names are few, and asked for again and again. */
function kindOf(a: Activity): string {
  let kind = kinds.get(a.name);
  if (kind === undefined) {
    if (kinds.size >= 5_000) kinds.clear();
    kinds.set(a.name, (kind = a.name.replace(/\d+/g, '#')));
  }
  return kind;
}

/** Groups, the one that failed last first. `rows` is ascending by end. */
export function group(rows: readonly Row[]): Group[] {
  const groups = new Map<string, Group & { times: number[]; names: Set<string> }>();
  for (const row of rows) {
    const a = row.a;
    const at = a.endedAt ?? row.key;
    const key = (row.failure ??= fingerprint(a));
    const held = groups.get(key);
    if (held === undefined) {
      const services = a.service === null ? [] : [a.service];
      const made = { key, latest: a, message: messageOf(a), count: 1, first: at, last: at, services };
      groups.set(key, { ...made, kinds: 1, trend: [], times: [at], names: new Set([kindOf(a)]) });
      continue;
    }
    // One text for all of them.
    row.failure = held.key;
    held.count++;
    held.times.push(at);
    held.names.add(kindOf(a));
    held.kinds = held.names.size;
    held.first = Math.min(held.first, at);
    if (at >= held.last) {
      held.last = at;
      held.latest = a;
      held.message = messageOf(a);
    }
    if (a.service !== null && !held.services.includes(a.service)) held.services.push(a.service);
  }
  const list = [...groups.values()];
  const first = Math.min(...list.map((g) => g.first));
  const width = Math.max(1, Math.max(...list.map((g) => g.last)) - first);
  for (const g of list) {
    g.trend = new Array<number>(BUCKETS).fill(0);
    for (const at of g.times) {
      const bucket = Math.min(BUCKETS - 1, Math.floor(((at - first) / width) * BUCKETS));
      g.trend[bucket] = (g.trend[bucket] ?? 0) + 1;
    }
  }
  return list.sort((a, b) => b.last - a.last);
}
