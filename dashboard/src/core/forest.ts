// All traces as one forest: roots and their children, with counts of what lies below each. A place among
// siblings is chosen when an activity is first seen and kept, and a parent that has not come yet stands as
// a placeholder that it fills when it does: so no row jumps.
import { activity, count, isFields, isFinal, STATES, text, type Activity, type State } from './wire';

export interface Branch {
  id: string;
  /** Null for a parent that was only named by a child. */
  a: Activity | null;
  /** The sequence of the event that `a` is as of. */
  seq: number;
  parent: Branch | null;
  children: Branch[];
  key: number;
  arrival: number;
  /** Descendants by state, in the order of STATES. */
  below: number[];
  /** Children that the server said it has. */
  childCount: number;
}

export interface BranchRow {
  node: Branch;
  depth: number;
  /** Its place among its siblings, from 1, and their number. */
  position: number;
  siblings: number;
  open: boolean;
}

/** A node of an answer of /activity/tree, parents before their children. */
export interface Found {
  id: string;
  a: Activity | null;
  childCount: number;
}

export interface ForestAnswer {
  found: Found[];
  roots: number;
  rootCount: number;
  truncated: boolean;
  logId: string;
  asOf: number;
}

const DEPTH_MAX = 200;

export function forestAnswer(value: unknown): ForestAnswer | null {
  if (!isFields(value) || !Array.isArray(value.roots)) return null;
  const found: Found[] = [];
  let level: unknown[] = value.roots;
  let roots = 0;
  for (let depth = 0; level.length > 0 && depth < DEPTH_MAX; depth++) {
    const below: unknown[] = [];
    for (const node of level) {
      if (!isFields(node)) continue;
      const a = activity(node.activity);
      const id = a?.id ?? text(node.activity_id, 100);
      if (id === null) continue;
      found.push({ id, a, childCount: count(node.child_count) });
      if (depth === 0) roots++;
      const children: unknown[] = Array.isArray(node.children) ? node.children : [];
      for (const child of children) below.push(child);
    }
    level = below;
  }
  return {
    found,
    roots,
    rootCount: count(value.root_count),
    truncated: value.truncated === true,
    logId: text(value.log_id, 100) ?? '',
    asOf: count(value.as_of_seq),
  };
}

function begins(a: Activity): number {
  return a.plannedAt ?? a.startedAt ?? a.endedAt ?? 0;
}

function before(a: Branch, b: Branch): number {
  return a.key - b.key || a.arrival - b.arrival;
}

function insert(siblings: Branch[], node: Branch): void {
  let low = 0;
  let high = siblings.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    const other = siblings[mid];
    if (other !== undefined && before(other, node) <= 0) low = mid + 1;
    else high = mid;
  }
  siblings.splice(low, 0, node);
}

const stateAt = new Map<State, number>(STATES.map((state, i) => [state, i]));

function at(state: State): number {
  return stateAt.get(state) ?? 0;
}

export class Forest {
  readonly nodes = new Map<string, Branch>();
  /** Ascending by beginning. */
  readonly roots: Branch[] = [];
  /** Grows with each change, and with each change of the shape. */
  version = 0;
  shape = 0;
  /** Activities let go to stay within the limit. */
  dropped = 0;
  private arrivals = 0;

  constructor(private readonly limit = 30_000) {}

  has(id: string): boolean {
    return this.nodes.has(id);
  }

  put(a: Activity, seq: number): void {
    const held = this.nodes.get(a.id);
    if (held === undefined) {
      const node = this.add(a.id, begins(a));
      node.a = a;
      node.seq = seq;
      this.attach(node, a.parentId);
    } else {
      const was = held.a;
      // An event seen again, or an answer older than the stream, changes nothing.
      if (was !== null && seq < held.seq) return;
      if (was !== null && seq === held.seq && isFinal(was.state) && !isFinal(a.state)) return;
      held.a = a;
      held.seq = seq;
      if ((was?.parentId ?? null) !== a.parentId) {
        this.count(held.parent, held.below, -1);
        if (was !== null) this.tally(held.parent, at(was.state), -1);
        this.detach(held);
        this.attach(held, a.parentId);
      } else {
        if (was !== null) this.tally(held.parent, at(was.state), -1);
        this.tally(held.parent, at(a.state), 1);
        if (was === null) this.shape++;
      }
    }
    this.version++;
  }

  /** Takes an answer of the API. A placeholder stands where the answer has it: after the root before it. */
  take(answer: ForestAnswer): void {
    let key = Infinity;
    for (const { id, a, childCount } of answer.found) {
      if (a !== null) {
        this.put(a, answer.asOf);
        if (a.parentId === null) key = begins(a);
      } else if (!this.nodes.has(id)) {
        insert(this.roots, this.add(id, Number.isFinite(key) ? key : Date.now()));
        this.shape++;
        this.version++;
      }
      const node = this.nodes.get(id);
      if (node !== undefined && childCount > node.childCount) {
        node.childCount = childCount;
        this.version++;
      }
    }
  }

  private add(id: string, key: number): Branch {
    const node: Branch = {
      id,
      a: null,
      seq: -1,
      parent: null,
      children: [],
      key,
      arrival: ++this.arrivals,
      below: STATES.map(() => 0),
      childCount: 0,
    };
    this.nodes.set(id, node);
    return node;
  }

  private attach(node: Branch, parentId: string | null): void {
    let parent: Branch | null = null;
    if (parentId !== null && parentId !== node.id) {
      parent = this.nodes.get(parentId) ?? null;
      if (parent === null) {
        parent = this.add(parentId, node.key);
        insert(this.roots, parent);
      }
      // Who is its own ancestor is a root.
      for (let up: Branch | null = parent; up !== null; up = up.parent) {
        if (up === node) {
          parent = null;
          break;
        }
      }
    }
    node.parent = parent;
    insert(parent === null ? this.roots : parent.children, node);
    this.count(parent, node.below, 1);
    if (node.a !== null) this.tally(parent, at(node.a.state), 1);
    this.shape++;
  }

  private detach(node: Branch): void {
    const siblings = node.parent === null ? this.roots : node.parent.children;
    const index = siblings.indexOf(node);
    if (index >= 0) siblings.splice(index, 1);
    node.parent = null;
    this.shape++;
  }

  private tally(from: Branch | null, state: number, by: number): void {
    for (let up = from; up !== null; up = up.parent) up.below[state] = (up.below[state] ?? 0) + by;
  }

  private count(from: Branch | null, below: readonly number[], sign: number): void {
    for (let up = from; up !== null; up = up.parent) {
      for (const [i, n] of below.entries()) up.below[i] = (up.below[i] ?? 0) + n * sign;
    }
  }

  /** The rows from the top, the newest root first, without what lies below a folded one. */
  rows(open: ReadonlySet<string>): BranchRow[] {
    return this.walk(
      (node) => open.has(node.id),
      () => true,
    );
  }

  /** What passes with its ancestors, all of it open but what the reader folded. */
  filtered(shown: ReadonlySet<string>, folded: ReadonlySet<string>): BranchRow[] {
    return this.walk(
      (node) => !folded.has(node.id) && node.children.some((child) => shown.has(child.id)),
      (node) => shown.has(node.id),
    );
  }

  private walk(opens: (node: Branch) => boolean, shows: (node: Branch) => boolean): BranchRow[] {
    const out: BranchRow[] = [];
    const roots = this.roots.filter(shows).reverse();
    const stack: { list: Branch[]; next: number; depth: number }[] = [{ list: roots, next: 0, depth: 0 }];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const node = top.list[top.next++];
      if (node === undefined) {
        stack.pop();
        continue;
      }
      const open = opens(node);
      out.push({ node, depth: top.depth, position: top.next, siblings: top.list.length, open });
      if (open && node.children.length > 0) {
        stack.push({ list: node.children.filter(shows), next: 0, depth: top.depth + 1 });
      }
    }
    return out;
  }

  /** The ids of what passes the test and of all above it, and how many pass. */
  matching(test: (a: Activity) => boolean): { hits: Set<string>; shown: Set<string> } {
    const hits = new Set<string>();
    const shown = new Set<string>();
    for (const node of this.nodes.values()) {
      if (node.a === null || !test(node.a)) continue;
      hits.add(node.id);
      for (let up: Branch | null = node; up !== null && !shown.has(up.id); up = up.parent) shown.add(up.id);
    }
    return { hits, shown };
  }

  /** Lets the oldest trees go in which all has ended and nothing is kept, until it is within the limit. */
  trim(kept: ReadonlySet<string>): void {
    if (this.nodes.size <= this.limit) return;
    const stay: Branch[] = [];
    const goal = this.limit * 0.9;
    for (const root of this.roots) {
      if (this.nodes.size <= goal || kept.has(root.id) || live(root)) stay.push(root);
      else this.remove(root);
    }
    this.roots.splice(0, this.roots.length, ...stay);
    this.shape++;
    this.version++;
  }

  private remove(root: Branch): void {
    const stack = [root];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      this.nodes.delete(node.id);
      this.dropped++;
      for (const child of node.children) stack.push(child);
    }
  }
}

/** Whether it, or anything below it, is planned or in progress. */
export function live(node: Branch): boolean {
  if (node.a !== null && !isFinal(node.a.state)) return true;
  return STATES.some((state, i) => !isFinal(state) && (node.below[i] ?? 0) > 0);
}

/** Descendants by state that are there: what is wrong first, then what is open, then the rest. */
const TELLING: State[] = ['FAILED', 'LOST', 'IN_PROGRESS', 'PLANNED', 'CANCELLED', 'COMPLETED'];

export function tally(node: Branch): [State, number][] {
  return TELLING.map((state): [State, number] => [state, node.below[at(state)] ?? 0]).filter(
    ([, n]) => n > 0,
  );
}

/**
 * By how many rows that what the reader looks at has moved: the row that stood at an index now stands at
 * another, or is gone.
 */
export function moved(rows: readonly BranchRow[], id: string, was: number): number {
  const index = rows.findIndex((row) => row.node.id === id);
  return index < 0 ? 0 : index - was;
}
