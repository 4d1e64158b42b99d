import { describe, expect, it } from 'vitest';
import { beside, find } from './find';
import { compile, parse } from './filters';
import { change } from './sample';
import { Tree } from './tree';
import { first, next, parentOf, previous, sibling } from './walk';

const tree = new Tree();
const put = (seq: number, id: string, parent: string | null) =>
  tree.put(change(seq, id, seq, { parent_id: parent, name: `name of ${id}` }).activity, seq);
put(1, 'root', null);
put(2, 'a', 'root');
put(3, 'a1', 'a');
put(4, 'a2', 'a');
put(5, 'b', 'root');
put(6, 'x', 'unseen');
put(7, 'y', 'unseen');

const of = (id: string) => {
  const node = tree.nodes.get(id);
  if (node === undefined) throw new Error(`no ${id}`);
  return node;
};

describe('walk', () => {
  it('goes down and up in the order of rows, over parents that nobody has seen', () => {
    const order = ['root', 'a', 'a1', 'a2', 'b', 'x', 'y'];
    const down: string[] = [];
    for (let node = first(tree.roots); node !== null; node = next(node, tree.roots)) down.push(node.id);
    expect(down).toEqual(order);
    const up: string[] = [];
    for (let node = of('y'); ;) {
      up.push(node.id);
      const before = previous(node, tree.roots);
      if (before === null) break;
      node = before;
    }
    expect(up).toEqual([...order].reverse());
  });

  it('knows parents and siblings', () => {
    expect(parentOf(of('a1'))?.id).toBe('a');
    expect(parentOf(of('x'))).toBeNull();
    expect(sibling(of('a'), tree.roots, 1)?.id).toBe('b');
    expect(sibling(of('b'), tree.roots, 1)).toBeNull();
    expect(sibling(of('root'), tree.roots, 1)).toBeNull();
    expect(sibling(of('a2'), tree.roots, -1)?.id).toBe('a1');
  });
});

describe('find', () => {
  const test = (q: string) => {
    const made = compile(new Set(), parse(q), new Set());
    if (made === null) throw new Error('nothing to find');
    return find(tree, made);
  };

  it('finds in the order of rows', () => {
    expect(test('"name of a"')).toEqual(['a', 'a1', 'a2']);
    expect(test('type:work_item name')).toHaveLength(7);
    expect(test('nothing')).toEqual([]);
  });

  it('goes round', () => {
    const list = ['a', 'b', 'c'];
    expect(beside(list, null, 1)).toBe('a');
    expect(beside(list, null, -1)).toBe('c');
    expect(beside(list, 'c', 1)).toBe('a');
    expect(beside(list, 'a', -1)).toBe('c');
    expect(beside(list, 'gone', 1)).toBe('a');
    expect(beside([], 'a', 1)).toBeNull();
  });
});
