// What the page holds of the log: the latest version of each activity, in the order of their beginnings.
import { begins } from './times';
import { equal, isFinal, type Activity, type Change, type Page } from './wire';

/** A name, and the last filter tried on it; see List. */
export interface Name {
  readonly text: string;
  tried: number;
  hit: boolean;
}

/** The latest version of an activity, and what the page notes of it. */
export class Row {
  /** That of `a`, once asked for: names are few, and to look at them alone is to look at little. */
  name: Name | null = null;
  /** The last filter tried on `a` and its answer; see List. */
  tried = 0;
  hit = false;
  /** How `a` failed, once asked for; see failures. */
  failure: string | null = null;
  /** Where it stays, when a later version has another beginning. */
  private fixed: number | null = null;

  constructor(
    public a: Activity,
    /** The sequence of the event that `a` is as of. */
    public seq: number,
    /** Counts the page's own first sights, so that a frozen list knows what came later. */
    readonly arrival: number,
  ) {}

  /** Its place in the order: when the first version began. */
  get key(): number {
    return this.fixed ?? begins(this.a);
  }

  /** Takes another version. */
  take(a: Activity, seq: number): void {
    const { key } = this;
    if (begins(a) !== key) this.fixed = key;
    if (a.name !== this.a.name) this.name = null;
    this.a = a;
    this.seq = seq;
    this.tried = 0;
    this.failure = null;
  }
}

export interface Limits {
  /** Activities held; finished ones go first, what is in flight never goes. */
  rows: number;
  /** Rows held in each of the lists of decisions, completions and failures. */
  list: number;
}

/** Is told of each change of what the store holds. */
export interface Follower {
  /** A row is new or has another version; `was` is the one before. */
  put(row: Row, was: Activity | null): void;
  /** A row is no longer held. */
  drop(row: Row): void;
  reset(): void;
}

const FILED = ['decisions', 'completions', 'failures'] as const;
type Filed = (typeof FILED)[number];

let versions = 0;

/** What is left of the rows when there were too many. */
const KEPT = 0.98;

export const LIMITS: Limits = { rows: 100_000, list: 5_000 };

function before(a: Row, b: Row): number {
  return a.key - b.key || a.arrival - b.arrival;
}

function ended(a: Row, b: Row): number {
  return (a.a.endedAt ?? a.key) - (b.a.endedAt ?? b.key) || a.arrival - b.arrival;
}

const names = new Map<string, Name>();

export function nameOf(text: string): Name {
  let name = names.get(text);
  if (name === undefined) {
    if (names.size >= 10_000) names.clear();
    names.set(text, (name = { text, tried: 0, hit: false }));
  }
  return name;
}

export class Store {
  logId = '';
  /** The highest sequence applied. */
  seq = 0;
  arrivals = 0;
  /** Finished activities let go to stay within the limits. */
  dropped = 0;
  /** Grows with each change; equal versions mean equal contents, whatever the store. */
  version = ++versions;

  /** Ascending by beginning, once settled. */
  order: Row[] = [];

  private readonly followers = new Set<Follower>();
  private fresh: Row[] = [];
  private byId: Map<string, Row> | null = new Map();
  private readonly lists: Record<Filed, Row[]> = { decisions: [], completions: [], failures: [] };
  /** What is to be put into the lists. */
  private readonly filed: Record<Filed, Row[]> = { decisions: [], completions: [], failures: [] };
  private snapshot: Set<string> | null = null;

  constructor(private readonly limits: Limits = LIMITS) {}

  /** What is older than all of it would be let go at once. */
  get isFull(): boolean {
    return this.order.length + 1_000 > this.limits.rows;
  }

  get rows(): Map<string, Row> {
    // A moment of the past is mostly looked at row by row.
    return (this.byId ??= new Map(this.order.map((row) => [row.a.id, row])));
  }

  /** The latest by their beginning. */
  get decisions(): Row[] {
    return this.list('decisions');
  }

  /** The latest by their end. */
  get completions(): Row[] {
    return this.list('completions');
  }

  get failures(): Row[] {
    return this.list('failures');
  }

  /** Follows from now on; the answer ends it. */
  follow(follower: Follower): () => void {
    this.followers.add(follower);
    return () => this.followers.delete(follower);
  }

  /** Starts on another log: sequences of two logs do not compare. */
  reset(logId: string): void {
    this.logId = logId;
    this.seq = 0;
    this.dropped = 0;
    this.byId = new Map();
    this.order = [];
    this.fresh = [];
    for (const name of FILED) {
      this.lists[name] = [];
      this.filed[name] = [];
    }
    this.snapshot = null;
    this.version = ++versions;
    for (const follower of this.followers) follower.reset();
  }

  beginSnapshot(): void {
    this.snapshot = new Set();
  }

  /**
   * Ends a snapshot. What was open and is not in it has ended unseen; it is let go, since its outcome is
   * not known here, and the number of such rows is returned.
   */
  endSnapshot(): number {
    const seen = this.snapshot;
    this.snapshot = null;
    if (seen === null) return 0;
    const gone = new Set<Row>();
    for (const row of this.rows.values()) {
      if (!isFinal(row.a.state) && !seen.has(row.a.id)) gone.add(row);
    }
    if (gone.size > 0) this.forget(gone);
    return gone.size;
  }

  apply(change: Change): void {
    if (change.logId !== this.logId) return;
    this.snapshot?.add(change.activity.id);
    if (change.seq > this.seq && !change.snapshot) this.seq = change.seq;
    this.put(change.activity, change.seq);
  }

  /** Takes a list answered by the API, as of its own sequence. */
  merge(page: Pick<Page, 'activities' | 'logId' | 'asOf'>): void {
    if (page.logId !== this.logId) return;
    for (const a of page.activities) this.put(a, page.asOf, true);
  }

  /** Fills an empty store at once with what is there, each activity once, ascending by beginning. */
  fill(activities: readonly Activity[], seq: number): void {
    this.byId = null;
    for (const a of activities) {
      const row = new Row(a, seq, ++this.arrivals);
      this.order.push(row);
      if (a.type === 'decision') this.file('decisions', row);
      this.fileFinal(row);
    }
    this.version = ++versions;
    if (this.followers.size > 0) {
      for (const row of this.order) for (const follower of this.followers) follower.put(row, null);
    }
    this.settle();
  }

  /** Puts what arrived in its place; call it before reading the lists. */
  settle(): void {
    if (this.fresh.length > 0) {
      insert(this.order, this.fresh, before);
      this.fresh = [];
    }
    // What nobody reads need not be sorted, until there is too much of it.
    for (const name of FILED) {
      if (this.filed[name].length > Math.max(this.limits.list * 2, this.order.length)) this.list(name);
    }
    this.trim();
  }

  private list(name: Filed): Row[] {
    const list = this.lists[name];
    const rows = this.filed[name];
    if (rows.length > 0) {
      this.filed[name] = [];
      insert(list, rows, name === 'decisions' ? before : ended);
      if (list.length > this.limits.list) list.splice(0, list.length - this.limits.list);
    }
    return list;
  }

  private put(a: Activity, seq: number, listed = false): void {
    const row = this.rows.get(a.id);
    if (row === undefined) {
      const made = new Row(a, seq, ++this.arrivals);
      this.rows.set(a.id, made);
      this.fresh.push(made);
      if (a.type === 'decision') this.file('decisions', made);
      this.fileFinal(made);
      this.version = ++versions;
      for (const follower of this.followers) follower.put(made, null);
      return;
    }
    // An event seen again, or a list older than the stream, changes nothing.
    if (seq < row.seq || (seq === row.seq && isFinal(row.a.state) && !isFinal(a.state))) return;
    const was = row.a;
    share(a, was);
    // Lists are asked for again and again, and mostly tell what is known.
    if (listed && equal(a, was)) {
      row.seq = seq;
      return;
    }
    row.take(a, seq);
    if (was.state !== a.state) this.fileFinal(row);
    if (was.type !== a.type && a.type === 'decision') this.file('decisions', row);
    this.version = ++versions;
    for (const follower of this.followers) follower.put(row, was);
  }

  private fileFinal(row: Row): void {
    if (row.a.state === 'COMPLETED') this.file('completions', row);
    else if (row.a.state === 'FAILED') this.file('failures', row);
  }

  private file(name: Filed, row: Row): void {
    this.filed[name].push(row);
  }

  /** Lets the oldest finished rows go, a part at a time: what is held for longer costs nothing. */
  private trim(): void {
    const { order } = this;
    if (order.length <= this.limits.rows) return;
    let excess = order.length - Math.floor(this.limits.rows * KEPT);
    const open: Row[] = [];
    let at = 0;
    for (; excess > 0 && at < order.length; at++) {
      const row = order[at];
      if (row === undefined) continue;
      if (!isFinal(row.a.state)) {
        open.push(row);
        continue;
      }
      excess--;
      this.dropped++;
      this.rows.delete(row.a.id);
      for (const follower of this.followers) follower.drop(row);
    }
    // In its place: whoever reads rows of it holds none of those that are gone.
    const kept = at - open.length;
    for (const [i, row] of open.entries()) order[kept + i] = row;
    order.splice(0, kept);
    this.version = ++versions;
  }

  private forget(gone: Set<Row>): void {
    const stays = (row: Row) => !gone.has(row);
    for (const row of gone) {
      this.rows.delete(row.a.id);
      for (const follower of this.followers) follower.drop(row);
    }
    this.order = this.order.filter(stays);
    this.fresh = this.fresh.filter(stays);
    // What is open is in no other list.
    this.lists.decisions = this.decisions.filter(stays);
    this.version = ++versions;
  }
}

/** Puts rows into a list that is in order, where most of them belong to its end. */
function insert(list: Row[], rows: Row[], order: (a: Row, b: Row) => number): void {
  rows.sort(order);
  const first = rows[0];
  if (first === undefined) return;
  let low = 0;
  let high = list.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    const row = list[mid];
    if (row !== undefined && order(row, first) <= 0) low = mid + 1;
    else high = mid;
  }
  if (low < list.length) rows = list.splice(low).concat(rows).sort(order);
  for (const row of rows) list.push(row);
}

/** Has a version share with the one before it what is the same in both: the page may hold the two. */
function share(a: Activity, was: Activity): void {
  a.id = was.id;
  const { attributes } = a;
  if (attributes === null || was.attributes === null) return;
  const keys = Object.keys(attributes);
  if (keys.length !== Object.keys(was.attributes).length) return;
  if (keys.every((key) => attributes[key] === was.attributes?.[key])) a.attributes = was.attributes;
}
