// The lanes of a flame chart: each activity below its parent, in the first lane that is free when it begins.
// An open activity keeps its lane, so what is drawn stays where it is while a trace goes on.
import { begins, extent } from '../core/times';
import type { Node, Tree } from '../core/tree';
import { isFinal } from '../core/wire';

interface Place {
  lane: number;
  from: number;
  parent: Node | null;
  ended: boolean;
}

/** The ends of lanes, with the least of each half above them, so that a free one is found in a few steps. */
class Ends {
  private size = 64;
  private least = new Float64Array(this.size * 2).fill(-Infinity);

  set(lane: number, end: number): void {
    while (lane >= this.size) this.grow();
    const { least, size } = this;
    let at = size + lane;
    least[at] = end;
    for (at >>= 1; at > 0; at >>= 1) least[at] = Math.min(this.at(at * 2), this.at(at * 2 + 1));
  }

  get(lane: number): number {
    return lane < this.size ? this.at(this.size + lane) : -Infinity;
  }

  /** The first lane, from one on, that ends no later than a moment. */
  free(from: number, moment: number): number {
    if (from >= this.size) return from;
    let at = this.size + from;
    // Up, past all to the left of it, to the first half that has a free lane; then down into it.
    while (!(this.at(at) <= moment)) {
      while (at % 2 === 1 && at > 1) at >>= 1;
      if (at <= 1) return this.size;
      at++;
    }
    while (at < this.size) at = this.at(at * 2) <= moment ? at * 2 : at * 2 + 1;
    return at - this.size;
  }

  private at(index: number): number {
    return this.least[index] ?? -Infinity;
  }

  private grow(): void {
    const was = this.least.slice(this.size);
    this.size *= 2;
    this.least = new Float64Array(this.size * 2).fill(-Infinity);
    this.least.set(was, this.size);
    for (let at = this.size - 1; at > 0; at--) {
      this.least[at] = Math.min(this.at(at * 2), this.at(at * 2 + 1));
    }
  }
}

export class Lanes {
  /** Each in the order of time; what stands in one does not overlap. */
  readonly list: Node[][] = [];
  /** Grows when what was placed may stand elsewhere. */
  layout = 0;
  /** What has ended, in the order in which it was placed or ended. */
  readonly finished: Node[] = [];
  dirty = true;

  private places = new Map<Node, Place>();
  private ends = new Ends();
  private last = -Infinity;

  constructor(private readonly tree: Tree) {
    tree.watch = (node) => this.put(node);
  }

  laneOf(node: Node): number | null {
    return this.places.get(node)?.lane ?? null;
  }

  /** Places everything anew if something came out of order. */
  settle(): void {
    if (!this.dirty) return;
    this.dirty = false;
    this.layout++;
    this.list.length = 0;
    this.finished.length = 0;
    this.places = new Map();
    this.ends = new Ends();
    this.last = -Infinity;
    const order: { node: Node; at: number; depth: number }[] = [];
    const stack = this.tree.roots.map((node) => ({ node, at: -Infinity, depth: 0 }));
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { node, depth } = next;
      const at = node.a === null ? next.at : Math.max(next.at, begins(node.a));
      if (node.a !== null) order.push({ node, at, depth });
      for (const child of node.children) stack.push({ node: child, at, depth: depth + 1 });
    }
    order.sort((a, b) => a.at - b.at || a.depth - b.depth || a.node.arrival - b.node.arrival);
    for (const { node, at } of order) this.place(node, at);
  }

  private put(node: Node): void {
    const { a } = node;
    if (this.dirty || a === null) return;
    const held = this.places.get(node);
    const above = seen(node.parent);
    if (held !== undefined) {
      if (held.parent !== above || held.from !== begins(a)) this.dirty = true;
      else if (isFinal(a.state)) this.end(node, held);
      return;
    }
    const at = Math.max(begins(a), above === null ? -Infinity : begins(above.a ?? a));
    const late = at < this.last || node.children.length > 0;
    if (late || (above !== null && !this.places.has(above))) this.dirty = true;
    else this.place(node, at);
  }

  private place(node: Node, at: number): void {
    const { a } = node;
    if (a === null) return;
    const parent = seen(node.parent);
    const above = parent === null ? -1 : (this.laneOf(parent) ?? -1);
    const from = begins(a);
    const lane = this.ends.free(above + 1, from);
    this.last = Math.max(this.last, at);
    const place = { lane, from, parent, ended: false };
    this.places.set(node, place);
    (this.list[lane] ??= []).push(node);
    this.ends.set(lane, Infinity);
    if (isFinal(a.state)) this.end(node, place);
  }

  private end(node: Node, place: Place): void {
    if (node.a === null || place.ended) return;
    place.ended = true;
    this.finished.push(node);
    if (this.list[place.lane]?.at(-1) === node) this.ends.set(place.lane, extent(node.a, 0).to);
  }
}

/** The nearest one above, from itself on, that has been seen. */
function seen(node: Node | null): Node | null {
  let up = node;
  while (up !== null && up.a === null) up = up.parent;
  return up;
}
