// The tree of one trace: what this page has seen of it, what the server answers, and each change since.
import { untrack } from 'svelte';
import { app, type Past } from '../app.svelte';
import { get } from '../core/client';
import { awaited, criticalPath, type Part, type Waiting } from '../core/critical';
import { detail } from '../core/detail';
import type { Follower, Row } from '../core/store';
import { traceOf } from '../core/traces';
import { Tree, type Summary, type TreeRow } from '../core/tree';
import { page, treeAnswer } from '../core/wire';
import { Lanes } from '../draw/icicle';

// One answer holds a trace of the usual size. Of a larger one it is what is painted first, and pages of
// its list bring the rest, whatever its depth.
const NODES = 2_000;
const DEPTH = 128;
const PAGE = 1_000;
/** As long as a large trace comes, its lanes are laid out anew, and its path is found anew, no more often. */
const AGAIN_MS = 500;

interface Computed<T> {
  tree: Tree;
  version: number;
  at: number;
  value: T;
}

export class Source implements Follower {
  loading = $state(true);
  problem = $state(false);
  /** The server holds more than it answered. */
  truncated = $state(false);
  /** The pages of a large trace are still coming. */
  coming = $state(false);
  /** The trace as of now. */
  private present = $state.raw(new Tree());
  private then: { past: Past; of: Tree; tree: Tree } | null = null;
  private asked = 0;
  private seen: { tree: Tree; shape: number; folded: ReadonlySet<string>; rows: TreeRow[] } | null = null;
  private laid: { tree: Tree; lanes: Lanes; at: number } | null = null;
  private pathed: Computed<Map<string, Part[]>> | null = null;

  constructor(readonly id: string) {}

  /** Follows the stream until the answer is called. */
  start(): () => void {
    untrack(() => this.fill(this.present));
    const stop = app.live.follow(this);
    return () => {
      stop();
      this.asked++;
    };
  }

  put(row: Row): void {
    if (traceOf(row.a.id) === this.id) this.present.put(row.a, row.seq);
  }

  /** What the page no longer holds, the trace's page still shows. */
  drop(): void {
    return;
  }

  reset(): void {
    this.present = new Tree();
  }

  /** Loads it; `sel`, the activity that a link leads to, comes with those above it before all the others. */
  async load(sel: string | null = null): Promise<void> {
    const asked = ++this.asked;
    const path = `/activity/tree?trace=${this.id}&depth=${DEPTH}&limit=${NODES}`;
    const wanted = sel === null ? null : get(`/activity/activity/${encodeURIComponent(sel)}`, detail);
    const answer = await get(path, treeAnswer);
    if (asked !== this.asked) return;
    this.loading = false;
    this.problem = !answer.ok;
    if (!answer.ok || answer.value.logId !== app.live.logId) return;
    this.truncated = answer.value.truncated || answer.value.cut > 0;
    // What is all of it stands for it; to a part of it, what is here already stays.
    const tree = this.truncated ? this.present : new Tree();
    for (const a of answer.value.activities) tree.put(a, answer.value.asOf);
    app.time?.learn(answer.value.activities);
    this.fill(tree);
    this.present = tree;
    if (!this.truncated) return;
    this.coming = true;
    const held = await wanted;
    if (asked !== this.asked) return;
    if (held?.ok === true) {
      const { activity, ancestors } = held.value;
      for (const a of [...ancestors, activity]) if (traceOf(a.id) === this.id) tree.put(a, 0);
    }
    await this.rest(asked, tree);
    if (asked === this.asked) this.coming = false;
  }

  /** The rest of a large trace, a page at a time, so that the page stays at the reader's hand. */
  private async rest(asked: number, tree: Tree): Promise<void> {
    let cursor = '';
    for (;;) {
      const path = `/activity/all?trace=${this.id}&sort=planned_at&limit=${PAGE}${cursor}`;
      const answer = await get(path, page);
      if (asked !== this.asked) return;
      if (!answer.ok || answer.value.logId !== app.live.logId) return;
      for (const a of answer.value.activities) tree.put(a, answer.value.asOf);
      app.time?.learn(answer.value.activities);
      const { next } = answer.value;
      if (next === null) {
        this.truncated = false;
        return;
      }
      cursor = `&cursor=${encodeURIComponent(next)}`;
      // Between two pages the browser paints.
      await new Promise((resolve) => setTimeout(resolve));
    }
  }

  private fill(tree: Tree): void {
    // The newest first: mostly it is a trace of now, and all of it is found soon.
    app.live.settle();
    const { order } = app.live;
    let left = (app.past === null ? app.traces.all.get(this.id)?.held : undefined) ?? order.length;
    for (let i = order.length - 1; i >= 0 && left > 0; i--) {
      const row = order[i];
      if (row === undefined || !row.a.id.startsWith(this.id)) continue;
      tree.put(row.a, row.seq);
      left--;
    }
  }

  /** As it is, or as it was at the moment that the page shows; what the moment's store tells goes on in it. */
  get tree(): Tree {
    const { past } = app;
    const tree = this.present;
    if (past === null) return tree;
    if (this.then?.past !== past || this.then.of !== tree) {
      const made = new Tree();
      for (const { a } of tree.nodes.values()) {
        const was = a === null ? null : (app.time?.then(a) ?? null);
        if (was !== null) made.put(was, 0);
      }
      const put = (row: Row) => {
        if (row.a.id.startsWith(this.id)) made.put(row.a, row.seq);
      };
      for (const row of past.store.order) put(row);
      past.store.follow({ put, drop: () => undefined, reset: () => undefined });
      this.then = { past, of: tree, tree: made };
    }
    return this.then.tree;
  }

  /** The whole id of a selected activity, given by it or by its span's, once it is here. */
  idOf(sel: string): string | null {
    const id = sel.length === 16 ? `${this.id}-${sel}` : sel;
    return this.tree.nodes.has(id) ? id : null;
  }

  /** The same array as long as no row came, went or moved. */
  rows(folded: ReadonlySet<string>): TreeRow[] {
    const { tree, seen } = this;
    if (seen !== null && seen.tree === tree && seen.shape === tree.shape && seen.folded === folded) {
      return seen.rows;
    }
    const rows = tree.rows(folded);
    this.seen = { tree, shape: tree.shape, folded, rows };
    return rows;
  }

  summary(): Summary {
    return this.tree.summary();
  }

  /** Where each activity stands in a chart of time. */
  lanes(): Lanes {
    const { tree } = this;
    const at = performance.now();
    if (this.laid?.tree !== tree) this.laid = { tree, lanes: new Lanes(tree), at: -Infinity };
    const { laid } = this;
    if (laid.lanes.dirty && at - laid.at >= AGAIN_MS) {
      laid.lanes.settle();
      laid.at = performance.now();
    }
    return laid.lanes;
  }

  criticalPath(): Map<string, Part[]> {
    const { tree, pathed } = this;
    const at = performance.now();
    const same = pathed?.tree === tree && pathed.version === tree.version && tree.open.size === 0;
    if (pathed !== null && pathed.tree === tree && (same || at - pathed.at < AGAIN_MS)) return pathed.value;
    const value = criticalPath(tree.roots, app.now);
    this.pathed = { tree, version: tree.version, at, value };
    return value;
  }

  /** Of a live trace: what everything above it is waiting for. */
  waiting(): Waiting | null {
    return this.tree.open.size === 0 ? null : awaited(this.tree.open, app.now);
  }
}
