import { describe, expect, it } from 'vitest';
import { change, wireActivity } from './sample';
import { shift, Tree } from './tree';
import { treeAnswer, type Change } from './wire';

const event = (seq: number, id: string, at: number, parent: string | null, more = {}) =>
  change(seq, id, at, { parent_id: parent, ...more });

function grown(events: Change[], limit?: number): Tree {
  const tree = new Tree(limit);
  for (const e of events) tree.put(e.activity, e.seq);
  return tree;
}

const NONE = new Set<string>();
const drawn = (tree: Tree, folded = NONE) =>
  tree.rows(folded).map((row) => `${' '.repeat(row.depth)}${row.node.id}${row.node.a === null ? '?' : ''}`);

const done = { state: 'COMPLETED', ended_at: '2026-11-22T11:00:00Z' };

describe('Tree', () => {
  const events = [
    event(1, 'root', 0, null),
    event(2, 'a', 10, 'root'),
    event(3, 'a1', 20, 'a'),
    event(4, 'b', 30, 'root'),
    event(5, 'a', 10, 'root', done),
  ];

  it('gives the same rows for any order', () => {
    const want = ['root', ' a', '  a1', ' b'];
    expect(drawn(grown(events))).toEqual(want);
    expect(drawn(grown([...events].reverse()))).toEqual(want);
    for (const tree of [grown(events), grown([...events].reverse())]) {
      expect(tree.nodes.get('a')?.a?.state).toBe('COMPLETED');
      expect(tree.roots).toHaveLength(1);
    }
  });

  it('orders a parent by its own beginning, also when its children came first', () => {
    const later = [...events.slice(0, 2), event(3, 'b', 15, 'root'), event(4, 'a1', 20, 'a')];
    const want = ['root', ' a', '  a1', ' b'];
    expect(drawn(grown(later))).toEqual(want);
    expect(drawn(grown([...later].reverse()))).toEqual(want);
  });

  it('holds a place for a parent that was not seen, and fills it', () => {
    const tree = grown([event(1, 'child', 20, 'late')]);
    expect(drawn(tree)).toEqual(['late?', ' child']);
    tree.put(event(2, 'late', 10, 'root').activity, 2);
    expect(drawn(tree)).toEqual(['root?', ' late', '  child']);
    tree.put(event(3, 'root', 0, null).activity, 3);
    expect(drawn(tree)).toEqual(['root', ' late', '  child']);
  });

  it('does not move a row for a change of its own', () => {
    const tree = grown([
      event(1, 'root', 0, null),
      event(2, 'a', 10, 'root', { state: 'PLANNED' }),
      event(3, 'b', 20, 'root'),
    ]);
    tree.put(event(4, 'a', 99, 'root', { planned_at: null }).activity, 4);
    expect(drawn(tree)).toEqual(['root', ' a', ' b']);
  });

  it('folds, and counts what is folded away', () => {
    const tree = grown(events);
    expect(drawn(tree, new Set(['root']))).toEqual(['root']);
    expect(tree.rows(new Set(['root']))[0]?.hidden).toBe(3);
    const rows = tree.rows(new Set(['a']));
    expect(rows.map((r) => [r.node.id, r.position, r.siblings, r.open])).toEqual([
      ['root', 1, 1, true],
      ['a', 1, 2, false],
      ['b', 2, 2, false],
    ]);
  });

  it('makes a root of what is its own ancestor', () => {
    const tree = grown([event(1, 'x', 0, 'y'), event(2, 'y', 1, 'x'), event(3, 'z', 2, 'z')]);
    expect(
      drawn(tree)
        .map((s) => s.trim())
        .sort(),
    ).toEqual(['x', 'y', 'z']);
  });

  it('is bounded, and counts what it leaves out', () => {
    const tree = grown([...events, event(6, 'c', 40, 'root')], 4);
    expect(tree.nodes.size).toBe(4);
    expect(tree.dropped).toBe(1);
    expect(grown([event(1, 'a', 0, 'b'), event(2, 'c', 0, 'd')], 3).rows(NONE)).toHaveLength(3);
  });

  it('ignores what is older than what it has', () => {
    const tree = grown(events);
    const { version } = tree;
    tree.put(event(2, 'a', 10, 'root').activity, 2);
    expect(tree.version).toBe(version);
    expect(tree.nodes.get('a')?.a?.state).toBe('COMPLETED');
  });

  it('sums up', () => {
    const tree = grown([
      ...events,
      event(6, 'c', 40, 'unseen', { state: 'FAILED', agent: 'atlas', ended_at: '2026-11-22T12:00:00Z' }),
    ]);
    expect(tree.summary()).toMatchObject({ activities: 5, open: 3, failures: 1, agents: 1 });
    expect(tree.summary().lastAt).toBe(Date.UTC(2026, 10, 22, 12));
    expect(new Tree().summary()).toMatchObject({ activities: 0, startedAt: null });
    expect(tree.ancestors('a1').map((n) => n.id)).toEqual(['a', 'root']);
  });

  it('knows what has gone well below a root', () => {
    const tree = grown([
      event(1, 'root', 0, null),
      event(2, 'good', 1, 'root', done),
      event(3, 'good1', 2, 'good', done),
      event(4, 'bad', 3, 'root', done),
      event(5, 'bad1', 4, 'bad', { state: 'FAILED', ended_at: '2026-11-22T11:00:00Z' }),
      event(6, 'decided', 5, 'root', done),
      event(7, 'decision', 6, 'decided', { ...done, type: 'decision' }),
      event(8, 'busy', 7, 'root', done),
      event(9, 'busy1', 8, 'busy'),
    ]);
    expect(tree.finished()).toEqual(['good']);
    expect(new Tree().finished()).toEqual([]);
  });

  it('tells a change of rows from a change within them', () => {
    const tree = grown(events.slice(0, 4));
    const told: string[] = [];
    tree.watch = (node) => told.push(node.id);
    const { shape, version } = tree;
    expect([...tree.open].map((node) => node.id)).toEqual(['root', 'a', 'a1', 'b']);
    tree.put(event(5, 'a', 10, 'root', done).activity, 5);
    expect(tree.shape).toBe(shape);
    expect(tree.version).toBeGreaterThan(version);
    expect([...tree.open].map((node) => node.id)).toEqual(['root', 'a1', 'b']);
    tree.put(event(6, 'c', 40, 'root').activity, 6);
    tree.put(event(1, 'root', 0, null).activity, 1);
    expect(tree.shape).toBeGreaterThan(shape);
    expect(told).toEqual(['a', 'c', 'root']);
  });

  it('leads to the trace by whichever activity has a link', () => {
    const tree = grown([event(1, 'a', 0, null, { trace_url: null })]);
    expect(tree.url).toBeNull();
    tree.put(event(2, 'b', 1, 'a', { trace_url: 'http://jaeger/trace/1' }).activity, 2);
    expect(tree.url).toBe('http://jaeger/trace/1');
  });

  it('forgets an agent that is no longer named', () => {
    const tree = grown([event(1, 'a', 0, null, { agent: 'atlas' })]);
    expect(tree.summary().agents).toBe(1);
    tree.put(event(2, 'a', 0, null, { agent: null }).activity, 2);
    expect(tree.summary()).toMatchObject({ agents: 0, activities: 1, open: 1 });
  });

  it('takes children in any order of their times', () => {
    const at = [50, 10, 40, 20, 30, 10];
    const tree = grown(at.map((ms, n) => event(n + 1, `n${n}`, ms, 'root')));
    expect(drawn(tree)).toEqual(['root?', ' n1', ' n5', ' n3', ' n4', ' n2', ' n0']);
  });

  it('takes five thousand, one below the other', () => {
    const chain = Array.from({ length: 5_000 }, (_, n) => event(n, `n${n}`, n, n === 0 ? null : `n${n - 1}`));
    expect(grown(chain).rows(NONE).at(-1)?.depth).toBe(4_999);
  });
});

describe('shift', () => {
  it('tells how far a row moved', () => {
    const tree = grown([event(1, 'root', 0, null), event(2, 'b', 20, 'root')]);
    tree.put(event(3, 'a', 10, 'root').activity, 3);
    expect(shift(tree.rows(NONE), 'b', 1)).toBe(1);
    expect(shift(tree.rows(NONE), 'gone', 1)).toBe(0);
  });
});

describe('treeAnswer', () => {
  const node = (id: string, children: unknown[] = [], more = {}) => ({
    activity: wireActivity({ activity_id: id }),
    activity_id: id,
    placeholder: false,
    child_count: children.length,
    children,
    ...more,
  });

  it('takes a nested answer', () => {
    const answer = treeAnswer({
      roots: [node('a', [node('b', [], { child_count: 3 })]), { activity: null, children: [node('c')] }],
      truncated: true,
      log_id: 'log',
      as_of_seq: 7,
    });
    expect(answer?.activities.map((a) => a.id)).toEqual(['a', 'b', 'c']);
    expect(answer).toMatchObject({ cut: 1, truncated: true, logId: 'log', asOf: 7 });
  });

  it('throws for nothing', () => {
    for (const odd of [null, 1, [], {}, { roots: 1 }]) expect(treeAnswer(odd)).toBeNull();
    expect(treeAnswer({ roots: [null, 1, { activity: 5, children: 'x' }, {}] })?.activities).toEqual([]);
    let deep: Record<string, unknown> = node('x');
    for (let i = 0; i < 3_000; i++) deep = node('x', [deep]);
    expect(treeAnswer({ roots: [deep] })?.activities.length).toBeLessThanOrEqual(200);
  });
});
