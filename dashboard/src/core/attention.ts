// What a person should look at, judged from the stream: no rules, no goals that nobody set. Each item says
// by what it was judged.
import { group } from './failures';
import type { Follower, Row, Store } from './store';
import { isFinal, type Activity } from './wire';

/** In the order in which they are shown. */
export const KINDS = ['failed', 'lost', 'stalled', 'slow'] as const;
export type Kind = (typeof KINDS)[number];

/** For how long an end is news. */
export const FAILED_MS = 5 * 60_000;
export const LOST_MS = 15 * 60_000;
/**
 * Slow is open for so many times its usual time, and for so much longer. The usual time is the API's: the
 * median of the last 64, or fewer, that completed with the same type and name.
 */
export const SLOW_TIMES = 3;
export const SLOW_OVER_MS = 1_000;

export interface Item {
  kind: Kind;
  /** The same for the same trouble, as long as it lasts. */
  key: string;
  /** What to open: of several the latest. */
  a: Activity;
  count: number;
  /** Failed: when last. Lost: the last sign of life. */
  at: number;
  /** Stalled: silent for so long. Slow: open for so long. Milliseconds. */
  ms: number;
}

export interface Judged {
  /** The worst first, at most `LIMIT` of each kind. */
  items: Item[];
  /** Items, whether of the list or left out. */
  total: number;
  /** Activities of each kind, whether shown or not. */
  counts: Record<Kind, number>;
}

const LIMIT = 50;

export function isSlow(a: Activity, now: number): boolean {
  if (a.state !== 'IN_PROGRESS' || a.startedAt === null || a.usualMs === null || a.usualMs <= 0) return false;
  const open = now - a.startedAt;
  return open >= a.usualMs * SLOW_TIMES && open >= a.usualMs + SLOW_OVER_MS;
}

/** Follows the store, so that a judgement looks only at what is open, lost or has failed. */
export class Attention implements Follower {
  private readonly open = new Set<Row>();
  private readonly lost = new Set<Row>();

  constructor(private readonly store: Store) {
    for (const row of store.rows.values()) if (row.a.state !== 'COMPLETED') this.put(row);
  }

  put(row: Row): void {
    if (isFinal(row.a.state)) this.open.delete(row);
    else this.open.add(row);
    if (row.a.state === 'LOST') this.lost.add(row);
    else this.lost.delete(row);
  }

  drop(row: Row): void {
    this.open.delete(row);
    this.lost.delete(row);
  }

  reset(): void {
    this.open.clear();
    this.lost.clear();
  }

  judge(now: number): Judged {
    const failed = this.failed(now);
    const lost = this.gone(now);
    const stalled: Item[] = [];
    const slow: Item[] = [];
    for (const { a } of this.open) {
      if (a.state === 'IN_PROGRESS' && a.stalled) {
        const at = a.lastSeenAt ?? a.startedAt ?? now;
        stalled.push({ kind: 'stalled', key: `stalled:${a.id}`, a, count: 1, at, ms: Math.max(0, now - at) });
      } else if (isSlow(a, now)) {
        const at = a.startedAt ?? now;
        slow.push({ kind: 'slow', key: `slow:${a.id}`, a, count: 1, at, ms: now - at });
      }
    }
    const over = (item: Item) => item.ms / (item.a.usualMs ?? 1);
    stalled.sort((x, y) => y.ms - x.ms);
    slow.sort((x, y) => over(y) - over(x));
    const sum = (list: Item[]) => list.reduce((n, item) => n + item.count, 0);
    return {
      total: failed.length + lost.length + stalled.length + slow.length,
      items: [failed, lost, stalled, slow].flatMap((list) => list.slice(0, LIMIT)),
      counts: { failed: sum(failed), lost: sum(lost), stalled: stalled.length, slow: slow.length },
    };
  }

  /** Failures of late, grouped by error. */
  private failed(now: number): Item[] {
    const { failures } = this.store;
    let first = failures.length;
    while (first > 0 && (failures[first - 1]?.a.endedAt ?? 0) >= now - FAILED_MS) first--;
    return group(failures.slice(first)).map((g) => ({
      kind: 'failed',
      key: `failed:${g.key}`,
      a: g.latest,
      count: g.count,
      at: g.last,
      ms: 0,
    }));
  }

  /** What was lost of late, by service: a process that is gone takes many with it. */
  private gone(now: number): Item[] {
    const items = new Map<string, Item>();
    for (const { a } of this.lost) {
      if ((a.endedAt ?? a.lastSeenAt ?? 0) < now - LOST_MS) continue;
      const at = a.lastSeenAt ?? a.endedAt ?? now;
      const key = `lost:${a.service ?? ''}`;
      const item = items.get(key);
      if (item === undefined) items.set(key, { kind: 'lost', key, a, count: 1, at, ms: 0 });
      else {
        item.count++;
        if (at > item.at) Object.assign(item, { a, at });
      }
    }
    return [...items.values()].sort((x, y) => y.at - x.at);
  }
}
