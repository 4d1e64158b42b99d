// The ways from one activity of a tree to the next; parents that nobody has seen are stepped over.
import type { Node } from './tree';

export function parentOf(node: Node): Node | null {
  let up = node.parent;
  while (up !== null && up.a === null) up = up.parent;
  return up;
}

function siblingsOf(node: Node, roots: readonly Node[]): readonly Node[] {
  return node.parent === null ? roots : node.parent.children;
}

export function sibling(node: Node, roots: readonly Node[], by: 1 | -1): Node | null {
  const list = siblingsOf(node, roots);
  for (let at = list.indexOf(node) + by; at >= 0 && at < list.length; at += by) {
    const next = list[at];
    if (next !== undefined && next.a !== null) return next;
  }
  return null;
}

/** The first one of some nodes and of what lies below them. */
export function first(nodes: readonly Node[]): Node | null {
  for (let node = nodes[0]; node !== undefined; node = node.children[0]) if (node.a !== null) return node;
  return null;
}

/** The one below in the order of rows. */
export function next(node: Node, roots: readonly Node[]): Node | null {
  const child = first(node.children);
  if (child !== null) return child;
  for (let up: Node | null = node; up !== null; up = up.parent) {
    const list = siblingsOf(up, roots);
    const beside = list[list.indexOf(up) + 1];
    if (beside !== undefined) return beside.a !== null ? beside : first(beside.children);
  }
  return null;
}

/** The one above in the order of rows. */
export function previous(node: Node, roots: readonly Node[]): Node | null {
  const list = siblingsOf(node, roots);
  let at = list[list.indexOf(node) - 1] ?? null;
  if (at === null)
    return node.parent === null || node.parent.a !== null ? node.parent : previous(node.parent, roots);
  for (let last = at.children.at(-1); last !== undefined; last = at.children.at(-1)) at = last;
  return at.a !== null ? at : previous(at, roots);
}
