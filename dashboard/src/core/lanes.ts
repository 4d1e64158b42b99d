// Who does what: the activities of each agent, or of each logical thread, as they come.
import type { Follower, Row } from './store';
import { isFinal, type Activity, type Source } from './wire';

export type LaneKind = 'agent' | 'thread' | 'service';

export interface Item {
  row: Row;
  a: Activity;
  lane: Lane;
  /** The line within its lane, from 0, so that what runs at one time stands one below the other. */
  track: number;
}

export interface Lane {
  key: string;
  kind: LaneKind;
  /** What the search takes: the agent's or the service's name, the thread's id. */
  id: string;
  name: string;
  service: string | null;
  /** Planned or in progress. */
  readonly open: Set<Item>;
  /** Begun lately, ascending by start. */
  items: Item[];
  /** Finished items that began before are let go. */
  since: number;
  /** Of each track what began last. */
  readonly tops: (Item | undefined)[];
  seen: number;
  failures: number;
  /** The last moment that anything of it is known at. */
  lastAt: number;
  pulse: Pulse;
  /** Its items came out of order: their tracks are to be chosen anew. */
  mixed: boolean;
}

export type Place = Pick<Lane, 'key' | 'kind' | 'id' | 'name'>;

/** Agents; what has none belongs to its thread, else to its service. */
export function byAgent(a: Source): Place | null {
  if (a.agent !== null) return place('agent', a.agent, a.agent);
  return byThread(a) ?? (a.service === null ? null : place('service', a.service, a.service));
}

/** Logical threads only. */
export function byThread(a: Source): Place | null {
  if (a.threadId !== null) return place('thread', a.threadId, a.threadName ?? a.threadId);
  return a.threadName === null ? null : place('thread', a.threadName, a.threadName);
}

// Places are few, and asked for with each event.
const known = {
  agent: new Map<string, Place>(),
  thread: new Map<string, Place>(),
  service: new Map<string, Place>(),
};

function place(kind: LaneKind, id: string, name: string): Place {
  const places = known[kind];
  const held = places.get(id);
  if (held?.name === name) return held;
  if (places.size >= 2_000) places.clear();
  const made = { key: `${kind}:${id}`, kind, id, name };
  places.set(id, made);
  return made;
}

export const SLOT_MS = 5_000;
export const SLOTS = 24;
export const TRACKS = 4;
const RING = 32;

/** Activities at work in each of the last slots of five seconds. */
export class Pulse {
  private readonly slot = new Array<number>(RING).fill(-1);
  private readonly busy = new Array<number>(RING).fill(0);
  private readonly failed = new Array<number>(RING).fill(0);

  /** Takes what ended. */
  add(from: number, to: number, failed: boolean): void {
    const last = Math.floor(to / SLOT_MS);
    for (let n = Math.max(Math.floor(from / SLOT_MS), last - RING + 1); n <= last; n++) {
      const i = this.at(n);
      if (i !== null) this.busy[i] = (this.busy[i] ?? 0) + 1;
    }
    const i = failed ? this.at(last) : null;
    if (i !== null) this.failed[i] = (this.failed[i] ?? 0) + 1;
  }

  private at(n: number): number | null {
    const i = ((n % RING) + RING) % RING;
    const held = this.slot[i] ?? -1;
    if (held > n) return null;
    if (held < n) {
      this.slot[i] = n;
      this.busy[i] = 0;
      this.failed[i] = 0;
    }
    return i;
  }

  /** The slots up to the one of `now`, the oldest first; what is open counts, too. */
  read(now: number, open: Iterable<Item>): { busy: number[]; failed: number[] } {
    const first = Math.floor(now / SLOT_MS) - SLOTS + 1;
    const busy: number[] = [];
    const failed: number[] = [];
    for (let n = first; n < first + SLOTS; n++) {
      const i = ((n % RING) + RING) % RING;
      const held = this.slot[i] === n;
      busy.push(held ? (this.busy[i] ?? 0) : 0);
      failed.push(held ? (this.failed[i] ?? 0) : 0);
    }
    for (const { a } of open) {
      if (a.state !== 'IN_PROGRESS' || a.startedAt === null) continue;
      for (let i = Math.max(0, Math.floor(a.startedAt / SLOT_MS) - first); i < SLOTS; i++) {
        busy[i] = (busy[i] ?? 0) + 1;
      }
    }
    return { busy, failed };
  }
}

function lastOf(a: Activity): number {
  return Math.max(a.endedAt ?? 0, a.startedAt ?? 0, a.plannedAt ?? 0);
}

/** Where the item's work ends on the time axis; what is open has no end. */
function endOf(a: Activity): number {
  return isFinal(a.state) ? (a.endedAt ?? a.lastSeenAt ?? a.startedAt ?? 0) : Infinity;
}

export interface LaneLimits {
  lanes: number;
  /** Items in all lanes; each is sure of its share. */
  items: number;
}

export class Lanes implements Follower {
  readonly all = new Map<string, Lane>();
  private readonly items = new Map<Row, Item>();

  constructor(
    private readonly placeOf: (a: Source) => Place | null,
    private readonly limits: LaneLimits = { lanes: 400, items: 12_000 },
  ) {}

  put(row: Row, was: Activity | null): void {
    const { a } = row;
    const place = this.placeOf(a.source);
    let item = was === null ? undefined : this.items.get(row);
    if (item !== undefined && item.lane.key !== place?.key) {
      this.leave(item);
      item = undefined;
    }
    if (place === null) return;
    const lane = item?.lane ?? this.all.get(place.key) ?? this.make(place);
    lane.name = place.name;
    lane.service = a.service ?? lane.service;
    lane.lastAt = Math.max(lane.lastAt, lastOf(a));
    if (item === undefined) {
      item = { row, a, lane, track: -1 };
      lane.seen++;
      this.items.set(row, item);
    }
    item.a = a;
    const { startedAt } = a;
    const over = isFinal(a.state);
    if (!over) lane.open.add(item);
    else if (was === null || !isFinal(was.state)) {
      const failed = a.state === 'FAILED';
      lane.open.delete(item);
      if (failed) lane.failures++;
      if (startedAt !== null) lane.pulse.add(startedAt, a.endedAt ?? startedAt, failed);
    }
    if (startedAt !== null && item.track < 0) this.begin(item, startedAt);
    else if (startedAt === null && over) this.items.delete(row);
  }

  /** What the page lets go, its lane still shows, as long as it is recent. */
  drop(row: Row): void {
    const item = this.items.get(row);
    if (item !== undefined && !isFinal(item.a.state)) this.leave(item);
  }

  reset(): void {
    this.all.clear();
    this.items.clear();
  }

  /** Lanes by their names, agents first. */
  list(): Lane[] {
    const order: LaneKind[] = ['agent', 'thread', 'service'];
    const compare = new Intl.Collator(undefined, { numeric: true }).compare;
    return [...this.all.values()].sort(
      (a, b) =>
        order.indexOf(a.kind) - order.indexOf(b.kind) || compare(a.name, b.name) || compare(a.id, b.id),
    );
  }

  private make(place: Place): Lane {
    if (this.all.size >= this.limits.lanes) this.evict();
    const lane: Lane = {
      ...place,
      service: null,
      open: new Set(),
      items: [],
      since: -Infinity,
      tops: [],
      seen: 0,
      failures: 0,
      lastAt: 0,
      pulse: new Pulse(),
      mixed: false,
    };
    this.all.set(lane.key, lane);
    return lane;
  }

  /** Lets the lane go that has been idle for longest; one with open work stays. */
  private evict(): void {
    let oldest: Lane | null = null;
    for (const lane of this.all.values()) {
      if (lane.open.size === 0 && (oldest === null || lane.lastAt < oldest.lastAt)) oldest = lane;
    }
    if (oldest === null) return;
    this.all.delete(oldest.key);
    for (const item of oldest.items) this.items.delete(item.row);
  }

  private leave(item: Item): void {
    const { lane } = item;
    lane.open.delete(item);
    lane.seen--;
    const at = lane.items.indexOf(item);
    if (at >= 0) lane.items.splice(at, 1);
    item.track = -1;
    this.items.delete(item.row);
    if (lane.items.length === 0 && lane.open.size === 0) this.all.delete(lane.key);
  }

  private begin(item: Item, start: number): void {
    const { lane } = item;
    const { items } = lane;
    let at = items.length;
    while (at > 0 && (items[at - 1]?.a.startedAt ?? 0) > start) at--;
    if (at === items.length) {
      items.push(item);
      item.track = free(lane.tops, start);
      lane.tops[item.track] = item;
    } else {
      items.splice(at, 0, item);
      item.track = 0;
      lane.mixed = true;
    }
    this.trim(lane);
  }

  private trim(lane: Lane): void {
    const share = Math.max(100, Math.floor(this.limits.items / Math.max(1, this.all.size)));
    if (lane.items.length <= share * 1.1) return;
    let excess = lane.items.length - share;
    lane.items = lane.items.filter((item) => {
      if (excess <= 0 || !isFinal(item.a.state)) return true;
      excess--;
      this.items.delete(item.row);
      lane.since = Math.max(lane.since, item.a.startedAt ?? 0);
      return false;
    });
  }
}

/** The first track on which what began last is no longer at work. */
function free(tops: readonly (Item | undefined)[], start: number): number {
  for (let track = 0; track < TRACKS; track++) {
    const top = tops[track];
    if (top === undefined || top.track !== track || endOf(top.a) <= start) return track;
  }
  return TRACKS - 1;
}

/** Chooses tracks anew after items came out of order. */
export function settle(lane: Lane): void {
  if (!lane.mixed) return;
  lane.mixed = false;
  const ends = new Array<number>(TRACKS).fill(-Infinity);
  for (const item of lane.items) {
    const start = item.a.startedAt ?? 0;
    const found = ends.findIndex((end) => end <= start);
    item.track = found < 0 ? TRACKS - 1 : found;
    ends[item.track] = Math.max(ends[item.track] ?? 0, endOf(item.a));
    lane.tops[item.track] = item;
  }
}

export interface Present {
  /** The outermost at work, which is what it is doing, and the innermost, when that is another one. */
  outer: Activity | null;
  inner: Activity | null;
  working: number;
  planned: number;
  stalled: boolean;
}

export function present(lane: Lane): Present {
  const out: Present = { outer: null, inner: null, working: 0, planned: 0, stalled: false };
  for (const { a } of lane.open) {
    if (a.state === 'PLANNED') {
      out.planned++;
      continue;
    }
    out.working++;
    if (a.stalled) out.stalled = true;
    const at = a.startedAt ?? 0;
    if (out.outer === null || at < (out.outer.startedAt ?? 0)) out.outer = a;
    if (out.inner === null || at >= (out.inner.startedAt ?? 0)) out.inner = a;
  }
  if (out.inner === out.outer) out.inner = null;
  return out;
}

const OVER = 2;
const OVER_MS = 1_000;

/** How an open activity's time stands to the usual one: the ratio, and whether that is worth a warning. */
export function pace(a: Activity, now: number): { ratio: number; over: boolean } | null {
  if (a.usualMs === null || a.usualMs <= 0 || a.startedAt === null) return null;
  const elapsed = Math.max(0, now - a.startedAt);
  const ratio = elapsed / a.usualMs;
  return { ratio, over: ratio >= OVER && elapsed >= OVER_MS };
}

/** The search for all that the lane shows. */
export function searchFor(lane: Pick<Lane, 'kind' | 'id'>): string {
  return `${lane.kind}:${/[\s"]/.test(lane.id) ? `"${lane.id.replaceAll('"', '')}"` : lane.id}`;
}
