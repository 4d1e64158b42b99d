// How dense time was with activities: counted second by second as they come, so that to read it costs what
// there is of time, not of activities.
import type { Follower, Row } from './store';
import { isFinal, type Activity } from './wire';

/** Slots are whole seconds wide and whole multiples of their width in time, so that a past one never changes. */
export interface Slots {
  /** Milliseconds. */
  width: number;
  /** The first slot's number: it begins at `first * width`. */
  first: number;
  n: number;
}

/** What a slot saw: activities that were planned or at work in it, and those that failed or were lost. */
export interface Slot {
  busy: number;
  bad: number;
}

export class Density implements Follower {
  /** What failed or was lost. */
  readonly bad = new Set<Row>();

  private readonly begun = new Map<number, number>();
  private readonly ended = new Map<number, number>();
  private readonly failed = new Map<number, number>();

  put(row: Row, was: Activity | null): void {
    if (was === null) add(this.begun, row.key, 1);
    else this.end(was, row.key, -1);
    this.end(row.a, row.key, 1);
    if (isBad(row.a)) this.bad.add(row);
    else if (was !== null) this.bad.delete(row);
  }

  drop(row: Row): void {
    add(this.begun, row.key, -1);
    this.end(row.a, row.key, -1);
    this.bad.delete(row);
  }

  reset(): void {
    this.bad.clear();
    this.begun.clear();
    this.ended.clear();
    this.failed.clear();
  }

  /** What is open lasts until the last slot. */
  count({ width, first, n }: Slots): Slot[] {
    const more = new Array<number>(n + 1).fill(0);
    const out = Array.from({ length: n }, () => ({ busy: 0, bad: 0 }));
    const slotOf = (second: number) => Math.floor((second * 1_000) / width) - first;
    const count = (slot: number, by: number) => {
      const i = Math.min(n, Math.max(0, slot));
      more[i] = (more[i] ?? 0) + by;
    };
    for (const [second, by] of this.begun) count(slotOf(second), by);
    for (const [second, by] of this.ended) count(slotOf(second) + 1, -by);
    for (const [second, by] of this.failed) {
      const slot = out[slotOf(second)];
      if (slot !== undefined) slot.bad += by;
    }
    let busy = 0;
    for (const [i, slot] of out.entries()) slot.busy = busy += more[i] ?? 0;
    return out;
  }

  private end(a: Activity, key: number, by: number): void {
    if (!isFinal(a.state)) return;
    const at = Math.max(key, a.endedAt ?? a.lastSeenAt ?? key);
    add(this.ended, at, by);
    if (isBad(a)) add(this.failed, at, by);
  }
}

function isBad(a: Activity): boolean {
  return a.state === 'FAILED' || a.state === 'LOST';
}

function add(seconds: Map<number, number>, at: number, by: number): void {
  const second = Math.floor(at / 1_000);
  const n = (seconds.get(second) ?? 0) + by;
  if (n === 0) seconds.delete(second);
  else seconds.set(second, n);
}
