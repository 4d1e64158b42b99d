// The feed: a store's rows, newest first, through a filter. While the reader is somewhere in the middle it
// is frozen: what arrives is counted, and no row moves.
import type { Test } from './filters';
import { nameOf, type Name, type Row, type Store } from './store';

export interface Rows {
  length: number;
  at(index: number): Row | undefined;
}

let tests = 0;

// A frame's share of a search: what it does not get to, the next one does.
const SLICE_MS = 8;
/** Names that are kept of a search, to be judged alone by the one that is typed on. */
const NAMES = 10_000;
/** Rows judged between two looks at the clock. */
const JUDGED = 128;

function ofArray(list: Row[], length = list.length): Rows {
  return { length, at: (index) => (index < length ? list[index] : undefined) };
}

export class List {
  /** Rows that arrived since the list was frozen and pass the filter. */
  fresh = 0;

  private test: Test | null = null;
  private testId = 0;
  /** A test whose misses are misses of the present one too. */
  private wider = -1;
  /** The names that pass the test, and whether there are more, or it took more than a name to pass. */
  private readonly names = new Set<Name>();
  private beyond = false;
  private seen = -1;
  private rows: Rows = ofArray([]);
  /** What passed last, and the room for what will pass: made anew ten times a second, such lists are much garbage. */
  private hits: Row[] = [];
  private room: Row[] = [];
  /** Of `hits` how many are valid, the test that they passed, and the store's version then. */
  private found = { n: 0, test: -1, version: -1 };
  /** Where a search whose slice was too short goes on, and how many it has found, in `room`. */
  private rest: { from: 'store' | 'hits'; judged: number; n: number; test: number; version: number } | null =
    null;
  /** How long the present read may judge, in rows and to which moment, and whether that was too short. */
  private slice = { rows: 0, until: 0, over: false };
  private frozen: { list: Row[]; arrival: number; since: number } | null = null;

  constructor(private readonly store: Store) {}

  /** A null test passes everything. One that narrows passes nothing that the one before did not. */
  filter(test: Test | null, narrows = false): void {
    if (narrows && test !== null && !this.beyond && [...this.names].every(({ text }) => test.byName(text))) {
      // All that has been judged is judged alike.
      this.test = test;
      if (this.frozen !== null) this.thaw();
      return;
    }
    this.names.clear();
    this.beyond = false;
    this.wider = narrows ? this.testId : -1;
    this.test = test;
    this.testId = ++tests;
    this.seen = -1;
    this.frozen = null;
    if (test !== null) return;
    this.hits = [];
    this.room = [];
    this.found = { n: 0, test: -1, version: -1 };
  }

  /** Judges rows again: the test has learnt more about them. */
  again(ids: Iterable<string>): void {
    for (const id of ids) {
      const row = this.store.rows.get(id);
      if (row === undefined || (row.hit && row.tried === this.testId)) continue;
      row.tried = 0;
      this.seen = -1;
      this.found.version = -1;
      this.rest = null;
    }
  }

  get isFrozen(): boolean {
    return this.frozen !== null;
  }

  freeze(): void {
    if (this.frozen !== null) return;
    const rows = this.read(Infinity);
    const list: Row[] = [];
    for (let i = 0; i < rows.length; i++) {
      const row = rows.at(i);
      if (row !== undefined) list.push(row);
    }
    this.frozen = { list, arrival: this.store.arrivals, since: -Infinity };
    this.seen = -1;
  }

  /** Takes into a frozen list what has come of the time before: nothing moves that is in sight. */
  extend(before: number): void {
    const { frozen } = this;
    if (frozen === null) return;
    this.slice = { rows: Infinity, until: Infinity, over: false };
    const older = this.store.order.filter((row) => row.key < before && this.passes(row)).reverse();
    frozen.list = frozen.list.filter((row) => row.key >= before).concat(older);
    frozen.since = before;
    this.seen = -1;
  }

  thaw(): void {
    this.frozen = null;
    this.fresh = 0;
    this.seen = -1;
  }

  /** The rows; of those that wait for a judgement the newest, as many as can be judged in so many milliseconds. */
  read(ms = SLICE_MS): Rows {
    if (this.seen === this.store.version) return this.rows;
    this.seen = this.store.version;
    this.slice = { rows: JUDGED, until: performance.now() + ms, over: false };
    const { order } = this.store;
    if (this.frozen !== null) {
      const { list, arrival, since } = this.frozen;
      this.fresh = 0;
      for (const row of order)
        if (row.arrival > arrival && row.key >= since && this.passes(row)) this.fresh++;
      this.rows = ofArray(list);
    } else if (this.test === null) {
      // Of the store's own rows, so that what it lets go is not held here while nobody reads.
      const { store } = this;
      const { length } = order;
      this.rows = { length, at: (index) => store.order[length - 1 - index] };
    } else {
      this.rows = this.pick(order);
    }
    if (this.slice.over) this.seen = -1;
    return this.rows;
  }

  /** Of ascending rows those that pass, descending. */
  private pick(order: readonly Row[]): Rows {
    const { hits, room: list, found, seen: version, testId: test } = this;
    const before = this.rest?.test === test && this.rest.version === version ? this.rest : null;
    const from = before?.from ?? (found.test === this.wider && found.version === version ? 'hits' : 'store');
    const total = from === 'hits' ? found.n : order.length;
    let n = before?.n ?? 0;
    let judged = before?.judged ?? 0;
    for (; judged < total; judged++) {
      const row = from === 'hits' ? hits[judged] : order[total - 1 - judged];
      if (row === undefined) continue;
      if (this.passes(row)) list[n++] = row;
      else if (this.slice.over) break;
    }
    if (this.slice.over) {
      this.rest = { from, judged, n, test, version };
      return ofArray(list, n);
    }
    this.rest = null;
    if (n < list.length / 2) list.length = n;
    this.room = hits;
    this.hits = list;
    this.found = { n, test, version };
    return ofArray(list, n);
  }

  private passes(row: Row): boolean {
    if (this.test === null) return true;
    if (row.tried !== this.testId) {
      if (row.tried === this.wider && !row.hit) {
        // Nor does it pass this one.
      } else if (this.named((row.name ??= nameOf(row.a.name)))) {
        row.hit = true;
      } else {
        if (this.late()) return false;
        row.hit = this.test.beyond(row.a);
        this.beyond ||= row.hit;
      }
      row.tried = this.testId;
    }
    return row.hit;
  }

  private late(): boolean {
    const { slice } = this;
    if (!slice.over && --slice.rows <= 0) {
      slice.rows = JUDGED;
      slice.over = performance.now() > slice.until;
    }
    return slice.over;
  }

  private named(name: Name): boolean {
    if (name.tried !== this.testId) {
      name.hit = this.test?.byName(name.text) === true;
      name.tried = this.testId;
      if (name.hit) this.names.add(name);
      this.beyond ||= this.names.size > NAMES;
    }
    return name.hit;
  }
}
