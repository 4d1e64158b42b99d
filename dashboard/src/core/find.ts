// Searching a trace, folded rows included.
import type { Test } from './filters';
import type { Tree } from './tree';

/** The ids of what passes, in the order of the rows. */
export function find(tree: Tree, test: Test): string[] {
  const out: string[] = [];
  const stack = [...tree.roots].reverse();
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node.a !== null && test.passes(node.a)) out.push(node.id);
    for (let i = node.children.length - 1; i >= 0; i--) {
      const child = node.children[i];
      if (child !== undefined) stack.push(child);
    }
  }
  return out;
}

/** The match before or after one, round the end; the first or the last when it is none of them. */
export function beside(matches: readonly string[], id: string | null, by: 1 | -1): string | null {
  const at = id === null ? -1 : matches.indexOf(id);
  const from = at < 0 && by < 0 ? 0 : at;
  return matches[(from + by + matches.length) % matches.length] ?? null;
}
