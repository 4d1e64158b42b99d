// One trace as a tree: what the API answered, kept up to date by the stream. Whatever the order in which
// its activities come, the same rows result; a parent that nobody has seen yet stands as a placeholder.
import { begins } from './times';
import { isFinal, type Activity } from './wire';

export interface Node {
  id: string;
  /** Null for a parent that was only named by a child. */
  a: Activity | null;
  /** The sequence of the event that `a` is as of. */
  seq: number;
  parent: Node | null;
  children: Node[];
  /** Its place among its siblings: set when it is first seen, so that no row jumps. */
  key: number;
  arrival: number;
}

export interface TreeRow {
  node: Node;
  depth: number;
  /** Its place among its siblings, from 1, and their number. */
  position: number;
  siblings: number;
  open: boolean;
  /** Descendants that are folded away. */
  hidden: number;
}

const LIMIT = 120_000;

function before(a: Node, b: Node): number {
  return a.key - b.key || a.arrival - b.arrival;
}

function insert(siblings: Node[], node: Node): void {
  const last = siblings.at(-1);
  if (last === undefined || before(last, node) <= 0) {
    siblings.push(node);
    return;
  }
  let low = 0;
  let high = siblings.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    const left = siblings[mid];
    if (left !== undefined && before(left, node) <= 0) low = mid + 1;
    else high = mid;
  }
  siblings.splice(low, 0, node);
}

export interface Summary {
  activities: number;
  open: number;
  failures: number;
  agents: number;
  startedAt: number | null;
  /** The last time anything of it is known at. */
  lastAt: number | null;
}

export class Tree {
  readonly nodes = new Map<string, Node>();
  readonly roots: Node[] = [];
  /** Grows with each change. */
  version = 0;
  /** Grows when a row comes, goes or moves; what changes within rows leaves it. */
  shape = 0;
  /** What is planned or in progress. */
  readonly open = new Set<Node>();
  /** A link to the trace, of the first activity that has one. */
  url: string | null = null;
  /** Is told of each node that is new or has another version. */
  watch: ((node: Node) => void) | null = null;
  /** Activities that were not taken in, to stay within the limit. */
  dropped = 0;
  private arrivals = 0;
  private sum: Omit<Summary, 'agents'> = {
    activities: 0,
    open: 0,
    failures: 0,
    startedAt: null,
    lastAt: null,
  };
  private readonly agents = new Map<string, number>();

  constructor(private readonly limit = LIMIT) {}

  put(a: Activity, seq: number): void {
    const held = this.nodes.get(a.id);
    if (held === undefined) {
      if (this.nodes.size >= this.limit) {
        this.dropped++;
        return;
      }
      const node = this.add(a.id, begins(a));
      node.a = a;
      node.seq = seq;
      this.count(a, 1);
      if (!isFinal(a.state)) this.open.add(node);
      this.attach(node, a.parentId);
      this.version++;
      this.watch?.(node);
    } else {
      const was = held.a;
      // An event seen again, or an answer older than the stream, changes nothing.
      if (was !== null && seq < held.seq) return;
      if (was !== null && seq === held.seq && isFinal(was.state) && !isFinal(a.state)) return;
      held.a = a;
      held.seq = seq;
      if (was !== null) this.count(was, -1);
      this.count(a, 1);
      if (isFinal(a.state)) this.open.delete(held);
      else this.open.add(held);
      if (was === null || was.parentId !== a.parentId) {
        this.detach(held);
        // Until now it stood where the first of its children begins.
        if (was === null) held.key = begins(a);
        this.attach(held, a.parentId);
      }
      this.version++;
      this.watch?.(held);
    }
  }

  private add(id: string, key: number): Node {
    const node: Node = {
      id,
      a: null,
      seq: -1,
      parent: null,
      children: [],
      key,
      arrival: ++this.arrivals,
    };
    this.nodes.set(id, node);
    this.shape++;
    return node;
  }

  private attach(node: Node, parentId: string | null): void {
    let parent: Node | null = null;
    if (parentId !== null && parentId !== node.id) {
      parent = this.nodes.get(parentId) ?? null;
      if (parent === null && this.nodes.size < this.limit) {
        parent = this.add(parentId, node.key);
        insert(this.roots, parent);
      }
      // Who is its own ancestor is a root.
      const above = node.children.length > 0 ? parent : null;
      for (let up = above; up !== null; up = up.parent) if (up === node) parent = null;
    }
    node.parent = parent;
    insert(parent === null ? this.roots : parent.children, node);
    this.shape++;
  }

  private detach(node: Node): void {
    const siblings = node.parent === null ? this.roots : node.parent.children;
    const at = siblings.indexOf(node);
    if (at >= 0) siblings.splice(at, 1);
    node.parent = null;
  }

  /** The rows from the top, without what lies below a folded one. */
  rows(folded: ReadonlySet<string>): TreeRow[] {
    const out: TreeRow[] = [];
    const stack: { list: Node[]; at: number; depth: number }[] = [{ list: this.roots, at: 0, depth: 0 }];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const node = top.list[top.at++];
      if (node === undefined) {
        stack.pop();
        continue;
      }
      const open = node.children.length > 0 && !folded.has(node.id);
      const hidden = node.children.length > 0 && !open ? descendants(node) : 0;
      out.push({ node, depth: top.depth, position: top.at, siblings: top.list.length, open, hidden });
      if (open) stack.push({ list: node.children, at: 0, depth: top.depth + 1 });
    }
    return out;
  }

  summary(): Summary {
    return { ...this.sum, agents: this.agents.size };
  }

  private count(a: Activity, by: 1 | -1): void {
    const { sum, agents } = this;
    sum.activities += by;
    if (!isFinal(a.state)) sum.open += by;
    if (a.state === 'FAILED') sum.failures += by;
    if (a.agent !== null) {
      const n = (agents.get(a.agent) ?? 0) + by;
      if (n > 0) agents.set(a.agent, n);
      else agents.delete(a.agent);
    }
    if (by < 0) return;
    this.url ??= a.traceUrl;
    const from = begins(a);
    if (from > 0) sum.startedAt = Math.min(sum.startedAt ?? from, from);
    const last = Math.max(a.endedAt ?? 0, a.startedAt ?? 0, a.plannedAt ?? 0);
    if (last > 0) sum.lastAt = Math.max(sum.lastAt ?? last, last);
  }

  /** Nodes below a root with children, all of which, and themselves, have ended without a failure or a decision. */
  finished(): string[] {
    const plain = new Map<Node, boolean>();
    const order = [...this.roots];
    for (const node of order) for (const child of node.children) order.push(child);
    for (const node of order.reverse()) {
      const { a } = node;
      const own = a !== null && isFinal(a.state) && a.state !== 'FAILED' && a.type !== 'decision';
      plain.set(node, own && node.children.every((child) => plain.get(child)));
    }
    const folds = (node: Node) => node.parent !== null && node.children.length > 0 && plain.get(node);
    return order.filter(folds).map((node) => node.id);
  }

  /** Those above it, the nearest first. */
  ancestors(id: string): Node[] {
    const out: Node[] = [];
    for (let up = this.nodes.get(id)?.parent ?? null; up !== null; up = up.parent) out.push(up);
    return out;
  }
}

function descendants(node: Node): number {
  let n = 0;
  const stack = [...node.children];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    n++;
    for (const child of next.children) stack.push(child);
  }
  return n;
}

/**
 * How far to scroll so that what the reader looks at stays where it is: the row that stood at an index now
 * stands at another, or is gone.
 */
export function shift(rows: readonly TreeRow[], id: string, was: number): number {
  const at = rows.findIndex((row) => row.node.id === id);
  return at < 0 ? 0 : at - was;
}
