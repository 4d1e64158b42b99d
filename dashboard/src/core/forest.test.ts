import { describe, expect, it } from 'vitest';
import { Forest, forestAnswer, live, moved, tally } from './forest';
import { change, wireActivity } from './sample';
import type { Change } from './wire';

const event = (seq: number, id: string, at: number, parent: string | null, more = {}) =>
  change(seq, id, at, { parent_id: parent, ...more });
const done = { state: 'COMPLETED', ended_at: '2026-11-22T11:00:00Z' };
const failed = { state: 'FAILED', ended_at: '2026-11-22T11:00:00Z' };
const ALL = new Set(['r', 's', 'a', 'b', 'c', 'p']);

function grown(events: Change[], limit?: number): Forest {
  const forest = new Forest(limit);
  for (const e of events) forest.put(e.activity, e.seq);
  return forest;
}
const drawn = (forest: Forest, open: ReadonlySet<string> = ALL) =>
  forest.rows(open).map((row) => `${' '.repeat(row.depth)}${row.node.id}${row.node.a === null ? '?' : ''}`);
const counts = (forest: Forest, id: string) => {
  const node = forest.nodes.get(id);
  return node === undefined ? null : Object.fromEntries(tally(node));
};

describe('Forest', () => {
  const events = [
    event(1, 'r', 0, null),
    event(2, 's', 5, null),
    event(3, 'a', 10, 'r'),
    event(4, 'b', 20, 'a'),
    event(5, 'b', 20, 'a', failed),
    event(6, 'c', 30, 's', done),
  ];

  it('lists the newest root first and children as they began', () => {
    expect(drawn(grown(events))).toEqual(['s', ' c', 'r', ' a', '  b']);
    expect(drawn(grown(events), new Set(['r']))).toEqual(['s', 'r', ' a']);
  });

  it('counts descendants by state, the same for any order', () => {
    for (const order of [events, [...events].reverse(), [3, 5, 0, 2, 4, 1].map((i) => events[i])]) {
      const forest = grown(order.filter((e) => e !== undefined));
      expect(drawn(forest)).toEqual(['s', ' c', 'r', ' a', '  b']);
      expect(counts(forest, 'r')).toEqual({ FAILED: 1, IN_PROGRESS: 1 });
      expect(counts(forest, 'a')).toEqual({ FAILED: 1 });
      expect(counts(forest, 's')).toEqual({ COMPLETED: 1 });
    }
  });

  it('has no row jump when a late parent comes', () => {
    const forest = grown([event(1, 'r', 0, null), event(2, 'a', 10, 'p'), event(3, 's', 20, null)]);
    expect(drawn(forest)).toEqual(['s', 'p?', ' a', 'r']);
    forest.put(event(4, 'p', -99, null).activity, 4);
    expect(drawn(forest)).toEqual(['s', 'p', ' a', 'r']);
  });

  it('brings what was counted along to a parent that is found later', () => {
    const forest = grown([event(1, 'r', 0, null), event(2, 'b', 10, 'p', failed)]);
    expect(counts(forest, 'r')).toEqual({});
    forest.put(event(3, 'p', 5, 'r').activity, 3);
    expect(drawn(forest)).toEqual(['r', ' p', '  b']);
    expect(counts(forest, 'r')).toEqual({ FAILED: 1, IN_PROGRESS: 1 });
    // And when its parent changes, they leave.
    forest.put(event(4, 'p', 5, 's').activity, 4);
    expect(counts(forest, 'r')).toEqual({});
    expect(counts(forest, 's')).toEqual({ FAILED: 1, IN_PROGRESS: 1 });
  });

  it('does not go round in circles', () => {
    const forest = grown([event(1, 'a', 0, 'b'), event(2, 'b', 1, 'a'), event(3, 'c', 2, 'c')]);
    expect(drawn(forest).length).toBe(3);
    expect(forest.nodes.size).toBe(3);
  });

  it('ignores what is older than what it has', () => {
    const forest = grown([event(1, 'r', 0, null), event(9, 'a', 1, 'r', done), event(3, 'a', 1, 'r')]);
    expect(counts(forest, 'r')).toEqual({ COMPLETED: 1 });
    forest.put(event(9, 'a', 1, 'r').activity, 9);
    expect(counts(forest, 'r')).toEqual({ COMPLETED: 1 });
  });

  it('shows what matches with all above it', () => {
    const forest = grown(events);
    const { hits, shown } = forest.matching((a) => a.state === 'FAILED');
    expect([...hits]).toEqual(['b']);
    expect(forest.filtered(shown, new Set()).map((row) => row.node.id)).toEqual(['r', 'a', 'b']);
    expect(forest.filtered(shown, new Set(['a'])).map((row) => row.node.id)).toEqual(['r', 'a']);
    expect(forest.filtered(shown, new Set()).map((row) => row.open)).toEqual([true, true, false]);
  });

  it('lets the oldest finished trees go, and none that is live or kept', () => {
    const forest = new Forest(6);
    for (let i = 0; i < 8; i++) {
      forest.put(event(i, `t${i}`, i, null, i === 1 ? {} : done).activity, i);
    }
    forest.put(event(9, 'child', 20, 't2').activity, 9);
    forest.trim(new Set(['t0']));
    expect(drawn(forest)).toEqual(['t7', 't2', 't1', 't0']);
    expect(forest.dropped).toBe(4);
  });

  it('knows whether anything below is live', () => {
    const forest = grown([event(1, 'r', 0, null, done), event(2, 'a', 1, 'r')]);
    const root = forest.nodes.get('r');
    expect(root !== undefined && live(root)).toBe(true);
    forest.put(event(3, 'a', 1, 'r', done).activity, 3);
    expect(root !== undefined && live(root)).toBe(false);
  });

  it('takes an answer of the API with placeholders and the number of children', () => {
    const a = (id: string, parent: string | null, planned: string) =>
      wireActivity({ activity_id: id, parent_id: parent, planned_at: planned });
    const answer = forestAnswer({
      log_id: 'log',
      as_of_seq: 7,
      root_count: 9,
      truncated: true,
      roots: [
        { activity: a('s', null, '2026-11-22T10:00:02Z'), activity_id: 's', child_count: 4, children: [] },
        {
          activity: null,
          activity_id: 'p',
          placeholder: true,
          child_count: 1,
          children: [{ activity: a('a', 'p', '2026-11-22T10:00:01Z'), child_count: 0, children: [] }],
        },
        { activity: a('r', null, '2026-11-22T10:00:00Z'), child_count: 0, children: [] },
        'nonsense',
        { activity: 5 },
      ],
    });
    expect(answer).toMatchObject({ roots: 3, rootCount: 9, truncated: true, logId: 'log', asOf: 7 });
    const forest = new Forest();
    if (answer !== null) forest.take(answer);
    expect(drawn(forest)).toEqual(['p?', ' a', 's', 'r']);
    expect(forest.nodes.get('s')?.childCount).toBe(4);
    expect(forestAnswer({ roots: 5 })).toBeNull();
    expect(forestAnswer(null)).toBeNull();
  });

  it('says by how much a row has moved', () => {
    const forest = grown(events);
    const was = forest.rows(ALL);
    forest.put(event(9, 'new', 99, null).activity, 9);
    expect(
      moved(
        forest.rows(ALL),
        'r',
        was.findIndex((row) => row.node.id === 'r'),
      ),
    ).toBe(1);
    expect(moved(forest.rows(ALL), 'gone', 3)).toBe(0);
  });
});
