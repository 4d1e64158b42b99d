// What an activity was at a moment: the versions of it that the page has seen, and what its times tell about
// the moments that nobody has seen.
import type { Follower, Row } from './store';
import { begins } from './times';
import { isFinal, vary, type Activity } from './wire';

/** From which moment on it is known to be as it is: its end, or the last that was heard of it. */
export function since(a: Activity): number {
  const end = isFinal(a.state) ? a.endedAt : null;
  return end ?? a.lastSeenAt ?? a.startedAt ?? begins(a);
}

/**
 * What an activity was at a moment, by what is known of it later: planned or in progress by its times, and
 * nothing of what it has said since. Null when it had not begun.
 */
export function before(a: Activity, at: number): Activity | null {
  if (begins(a) > at) return null;
  if (since(a) <= at) return a;
  const startedAt = a.startedAt !== null && a.startedAt <= at ? a.startedAt : null;
  return vary(a, {
    state: startedAt === null ? 'PLANNED' : 'IN_PROGRESS',
    stalled: false,
    doing: null,
    did: null,
    progress: null,
    startedAt,
    endedAt: null,
    waitMs: startedAt === null ? null : a.waitMs,
    durationMs: null,
    lastSeenAt: startedAt ?? a.plannedAt,
    decision: null,
    error: null,
  });
}

/** Whether two versions of an activity tell the reader the same. */
export function same(x: Activity, y: Activity): boolean {
  return (
    x === y ||
    (x.state === y.state &&
      x.stalled === y.stalled &&
      x.doing === y.doing &&
      x.progress === y.progress &&
      x.name === y.name &&
      x.did === y.did &&
      x.willDo === y.willDo &&
      x.agent === y.agent &&
      x.parentId === y.parentId &&
      x.startedAt === y.startedAt &&
      x.endedAt === y.endedAt &&
      (x.decision === null) === (y.decision === null) &&
      x.decision?.choice === y.decision?.choice &&
      x.decision?.outcome === y.decision?.outcome &&
      x.decision?.confidence === y.decision?.confidence &&
      x.decision?.reasoning === y.decision?.reasoning)
  );
}

/** Versions held beyond the latest of each activity; the oldest noted go first. */
export const VERSIONS = 20_000;

/**
 * The superseded versions of a store's activities, those that the latest one does not tell by its times. So
 * most activities need none, and the store itself holds most of the past.
 */
export class History implements Follower {
  /** Versions let go to stay within the limit, and the last moment that one of them stood for. */
  dropped = 0;
  droppedUntil = 0;

  /** Ascending by the moment they are from. */
  private readonly versions = new Map<string, Activity[]>();
  private noted: string[] = [];
  private oldest = 0;

  constructor(private readonly limit = VERSIONS) {}

  /** Versions held. */
  get size(): number {
    return this.noted.length - this.oldest;
  }

  put(row: Row, was: Activity | null): void {
    if (was !== null) this.note(was, row.a);
  }

  drop(row: Row): void {
    this.versions.delete(row.a.id);
  }

  reset(): void {
    this.versions.clear();
    this.noted = [];
    this.oldest = 0;
    this.dropped = 0;
    this.droppedUntil = 0;
  }

  /** Takes a version that `latest` has superseded. */
  note(was: Activity, latest: Activity): void {
    const from = since(was);
    if (from >= since(latest)) return;
    const held = this.versions.get(was.id);
    const list = held ?? [];
    let place = list.length;
    while (place > 0 && since(list[place - 1] ?? was) > from) place--;
    const twin = list[place - 1];
    if (twin !== undefined && since(twin) === from) {
      list[place - 1] = was;
      return;
    }
    // A list's answer repeats what the stream has said.
    if (twin !== undefined && same(twin, was)) return;
    // What has said something, its times do not tell.
    if (was.doing === null && was.did === null && was.progress === null) {
      const told = before(list[place] ?? latest, from);
      if (told !== null && same(told, was)) return;
    }
    // Most have but one: room for more is made for those that have.
    if (held === undefined) this.versions.set(was.id, [was]);
    else list.splice(place, 0, was);
    this.noted.push(was.id);
    if (this.size > this.limit) this.trim();
  }

  /** The activity at a moment, from its latest version; null when it had not begun. */
  at(latest: Activity, at: number): Activity | null {
    if (since(latest) <= at) return latest;
    const list = this.versions.get(latest.id);
    let next = latest;
    if (list !== undefined) {
      for (let i = list.length - 1; i >= 0; i--) {
        const version = list[i];
        if (version === undefined) break;
        if (since(version) <= at) {
          // It has started since, unseen.
          const begun = version.state === 'PLANNED' && next.startedAt !== null && next.startedAt <= at;
          return begun ? before(next, at) : version;
        }
        next = version;
      }
    }
    return before(next, at);
  }

  /** The last moment before one, or the first after it, at which the activity changed. */
  change(latest: Activity, at: number, by: -1 | 1): number | null {
    let best: number | null = null;
    const consider = (moment: number | null) => {
      if (moment === null || (by < 0 ? moment >= at : moment <= at)) return;
      if (best === null || (by < 0 ? moment > best : moment < best)) best = moment;
    };
    consider(latest.plannedAt);
    consider(latest.startedAt);
    consider(since(latest));
    for (const version of this.versions.get(latest.id) ?? []) consider(since(version));
    return best;
  }

  private trim(): void {
    const until = this.oldest + Math.ceil(this.limit * 0.05);
    for (; this.oldest < until; this.oldest++) {
      const id = this.noted[this.oldest] ?? '';
      const list = this.versions.get(id);
      const version = list?.shift();
      if (version === undefined) continue;
      this.dropped++;
      this.droppedUntil = Math.max(this.droppedUntil, since(version));
      if (list?.length === 0) this.versions.delete(id);
    }
    this.noted = this.noted.slice(this.oldest);
    this.oldest = 0;
  }
}
