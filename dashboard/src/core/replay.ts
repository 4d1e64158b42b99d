// A store as it was at a moment, out of the store of now. What has ended before the moment stands as it is;
// only what was open then, or began later, is worked out. So a seek is one pass over the rows, whatever the
// number of changes between, and to go on from a moment costs what was open at it.
import { History, same, since } from './history';
import { Store, type Follower, type Row } from './store';
import { begins } from './times';
import { isFinal, type Activity } from './wire';

/** Activities held that the store of now does not hold: the past that was asked for. */
export const ARCHIVE = 20_000;

const LIMITS = { rows: Infinity, list: 5_000 };

export class Replay implements Follower {
  readonly history: History;
  /** The store as of the moment; a seek makes another one. */
  store = new Store(LIMITS);
  at = Infinity;
  /** Activities looked at by the last seek or step: its cost. */
  work = 0;
  /** Activities of the archive let go to stay within the limit. */
  dropped = 0;

  private readonly archive = new Map<string, Activity>();
  /** Of the activities that have begun, those that may still change: as they are shown, null when that is not known. */
  private readonly open = new Map<string, Activity | null>();
  /** What the server says of the moment itself: no times of senders are needed to know it. */
  private readonly pinned = new Map<string, Activity>();
  private seq = 0;
  private running = false;

  constructor(
    private readonly live: Store,
    private readonly limit = ARCHIVE,
    versions?: number,
  ) {
    this.history = new History(versions);
  }

  /** Follows the store of now until the answer is called. */
  start(): () => void {
    return this.live.follow(this);
  }

  put(row: Row, was: Activity | null): void {
    this.history.put(row, was);
    const { id } = row.a;
    const archived = was === null ? this.archive.get(id) : undefined;
    if (archived !== undefined) {
      this.archive.delete(id);
      this.history.note(archived, row.a);
    }
    if (this.running && begins(row.a) <= this.at) this.meet(id);
  }

  /** Has the next step look at it. */
  private meet(id: string): void {
    if (!this.open.has(id)) this.open.set(id, null);
  }

  /** What now no longer holds, the moment that is shown still does. */
  drop(row: Row): void {
    this.history.drop(row);
    this.open.delete(row.a.id);
  }

  reset(): void {
    this.history.reset();
    this.archive.clear();
    this.open.clear();
    this.dropped = 0;
    this.stop();
  }

  /** Takes what was asked for: any version of any activity. */
  learn(activities: readonly Activity[]): void {
    for (const a of activities) {
      const held = this.live.rows.get(a.id)?.a ?? this.archive.get(a.id);
      if (held !== undefined && since(a) <= since(held)) {
        this.history.note(a, held);
      } else if (!this.live.rows.has(a.id)) {
        if (held !== undefined) this.history.note(held, a);
        // Anew, so that the archive lets go what was asked for first.
        this.archive.delete(a.id);
        this.archive.set(a.id, a);
      }
      if (this.running && begins(a) <= this.at) this.meet(a.id);
    }
    for (const id of this.archive.keys()) {
      if (this.archive.size <= this.limit) break;
      this.archive.delete(id);
      this.open.delete(id);
      this.dropped++;
    }
  }

  /** Takes what the server says was at a moment; it is shown as long as that is the moment. */
  pin(at: number, activities: readonly Activity[]): void {
    if (Math.abs(at - this.at) >= 1) return;
    for (const a of activities) {
      this.pinned.set(a.id, a);
      this.meet(a.id);
    }
  }

  /** The activity as it was at a moment, that which is shown by default; null when it had not begun. */
  then(a: Activity, at = this.at): Activity | null {
    const pinned = at === this.at ? this.pinned.get(a.id) : undefined;
    return pinned ?? this.history.at(this.latest(a.id) ?? a, at);
  }

  /** Shows another moment in a new store. */
  seek(at: number): Store {
    this.live.settle();
    if (Math.abs(at - this.at) >= 1) this.pinned.clear();
    this.at = at;
    this.running = true;
    this.work = 0;
    this.open.clear();
    // Room for all at once: to grow is to copy.
    const shown = new Array<Activity>(this.live.order.length);
    let own = 0;
    for (const row of this.live.order) {
      if (row.key > at) break;
      const a = this.look(row.a);
      if (a !== null) shown[own++] = a;
    }
    shown.length = own;
    for (const latest of this.archive.values()) {
      const a = this.look(latest);
      if (a !== null) shown.push(a);
    }
    // Of hosts whose clocks are ahead.
    for (const a of this.pinned.values()) {
      if ((this.live.rows.get(a.id)?.key ?? at) > at) {
        shown.push(a);
        this.open.set(a.id, a);
      }
    }
    if (shown.length > own) shown.sort((x, y) => begins(x) - begins(y));
    this.store = new Store(LIMITS);
    this.store.reset(this.live.logId);
    this.store.fill(shown, 0);
    return this.store;
  }

  /** Goes on to a later moment, in the same store. */
  advance(at: number): void {
    if (!this.running || at < this.at) {
      this.seek(at);
      return;
    }
    this.live.settle();
    const from = this.at;
    if (at - from >= 1) this.pinned.clear();
    this.at = at;
    this.work = 0;
    const open = [...this.open];
    this.open.clear();
    for (const [id, was] of open) {
      const a = this.latest(id);
      if (a !== undefined) this.show(a, was);
    }
    const { order } = this.live;
    for (let i = after(order, from); i < order.length; i++) {
      const row = order[i];
      if (row === undefined || row.key > at) break;
      this.show(row.a);
    }
    this.store.settle();
  }

  stop(): void {
    this.running = false;
    this.at = Infinity;
    this.pinned.clear();
    this.open.clear();
    this.store = new Store(LIMITS);
  }

  /** The moment of the next change, or of the one before. */
  neighbour(by: -1 | 1): number | null {
    let best: number | null = null;
    const look = (a: Activity) => {
      const moment = this.history.change(a, this.at, by);
      if (moment !== null && (best === null || (by < 0 ? moment > best : moment < best))) best = moment;
    };
    for (const row of this.live.order) look(row.a);
    for (const a of this.archive.values()) look(a);
    return best;
  }

  /** The last that is known of it, of now or of what was asked for. */
  latest(id: string): Activity | undefined {
    return this.live.rows.get(id)?.a ?? this.archive.get(id);
  }

  private show(latest: Activity, was: Activity | null = null): void {
    const a = this.look(latest);
    if (a === null) return;
    const shown = was ?? this.store.rows.get(a.id)?.a;
    if (shown !== undefined && same(shown, a)) return;
    this.store.merge({ activities: [a], logId: this.store.logId, asOf: ++this.seq });
  }

  /** The activity at the moment; what may still change, or has not begun, is met again on the way. */
  private look(latest: Activity): Activity | null {
    this.work++;
    const a = this.then(latest);
    if (a !== latest || !isFinal(a.state)) this.open.set(latest.id, a);
    return a;
  }
}

/** The first row that begins after a moment. */
function after(order: readonly Row[], at: number): number {
  let low = 0;
  let high = order.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    if ((order[mid]?.key ?? Infinity) <= at) low = mid + 1;
    else high = mid;
  }
  return low;
}
