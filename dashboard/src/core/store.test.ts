import { beforeEach, describe, expect, it } from 'vitest';
import { List } from './list';
import { change } from './sample';
import { Store } from './store';
import type { Activity } from './wire';

let store: Store;

beforeEach(() => {
  store = new Store({ rows: 100, list: 20 });
  store.reset('log');
});

const ids = () => store.order.map((row) => row.a.id);
const iso = (ms: number) => new Date(Date.UTC(2026, 10, 22, 10) + ms).toISOString();
const done = { state: 'COMPLETED', ended_at: '2026-11-22T11:00:00Z' };

describe('Store', () => {
  it('orders by beginning, whatever the order of arrival', () => {
    store.apply(change(1, 'b', 20));
    store.settle();
    store.apply(change(2, 'd', 40));
    store.apply(change(3, 'a', 10));
    store.apply(change(4, 'c', 30));
    store.settle();
    expect(ids()).toEqual(['a', 'b', 'c', 'd']);
    expect(store.seq).toBe(4);
  });

  it('leaves a row in its place when another beginning of it comes to light', () => {
    store.apply(change(1, 'a', 10));
    store.apply(change(2, 'b', 20));
    store.settle();
    store.apply(change(3, 'a', 30, { name: 'moved' }));
    store.apply(change(4, 'c', 25));
    store.settle();
    expect(store.order.map((row) => [row.a.id, row.a.name])).toEqual([
      ['a', 'moved'],
      ['b', 'Process order'],
      ['c', 'Process order'],
    ]);
    expect(store.order[0]?.key).toBe(Date.UTC(2026, 10, 22) + 10);
  });

  it('keeps what is in flight, in order, when it lets the oldest go', () => {
    store = new Store({ rows: 10, list: 5 });
    store.reset('log');
    for (let n = 0; n < 14; n++) store.apply(change(n + 1, `${n}`, n * 1_000, n % 4 === 0 ? {} : done));
    store.settle();
    expect(ids()).toEqual(['0', '4', '7', '8', '9', '10', '11', '12', '13']);
    expect([...store.rows.keys()].sort()).toEqual([...ids()].sort());
    expect(store.dropped).toBe(5);
  });

  it('takes a list that tells what is known for no change', () => {
    const told: Activity[] = [];
    store.follow({ put: (row) => told.push(row.a), drop: () => {}, reset: () => {} });
    const known = { decision: { choice: 'a' }, attributes: { n: 1 }, error: { message: 'no' } };
    store.apply(change(1, 'a', 10, known));
    store.settle();
    const { version } = store;
    const again = (fields: object, asOf: number) =>
      store.merge({ logId: 'log', asOf, activities: [change(0, 'a', 10, { ...known, ...fields }).activity] });
    again({}, 5);
    expect([store.version, told.length]).toEqual([version, 1]);
    // It is known as of then.
    store.apply(change(4, 'a', 10, { name: 'older' }));
    expect(store.rows.get('a')?.a.name).toBe('Process order');
    again({ decision: { choice: 'b' } }, 6);
    expect(told.at(-1)?.decision?.choice).toBe('b');
    for (const fields of [{ usual_ms: 1 }, { service: 'other' }, { attributes: { n: 2 } }, { error: null }]) {
      const { version } = store;
      again(fields, 7);
      expect(store.version, JSON.stringify(fields)).not.toBe(version);
    }
  });

  it('keeps the latest of its lists, read or not', () => {
    for (let n = 0; n < 90; n++) {
      store.apply(change(n + 1, `${n}`, n, { ...done, ended_at: iso(1_000 - n) }));
      if (n % 3 === 0) store.settle();
    }
    const latest = Array.from({ length: 20 }, (_, i) => `${19 - i}`);
    expect(store.completions.map((row) => row.a.id)).toEqual(latest);
    const filled = new Store({ rows: Infinity, list: 20 });
    filled.reset('log');
    filled.fill(
      store.order.map((row) => row.a),
      0,
    );
    expect(filled.completions.map((row) => row.a.id)).toEqual(latest);
    expect([...filled.rows.keys()]).toEqual(ids());
    filled.reset('log');
    expect([filled.completions.length, filled.rows.size]).toEqual([0, 0]);
  });

  it('gives the same rows for any order and repetition', () => {
    const events = [
      change(1, 'a', 10, { state: 'PLANNED' }),
      change(2, 'a', 10, { what_its_doing: 'one' }),
      change(3, 'b', 5),
      change(4, 'a', 10, { what_its_doing: 'two' }),
      change(5, 'a', 10, done),
      change(6, 'b', 5, { ...done, state: 'FAILED' }),
    ];
    const shuffles = [
      events,
      [...events].reverse(),
      [...events, ...events],
      [3, 0, 5, 5, 1, 4, 2].map((i) => events[i]),
    ];
    for (const shuffle of shuffles) {
      const each = new Store();
      each.reset('log');
      for (const event of shuffle) if (event !== undefined) each.apply(event);
      each.settle();
      expect(each.order.map((row) => [row.a.id, row.a.state])).toEqual([
        ['b', 'FAILED'],
        ['a', 'COMPLETED'],
      ]);
      expect(each.completions.map((row) => row.a.id)).toEqual(['a']);
      expect(each.failures.map((row) => row.a.id)).toEqual(['b']);
    }
  });

  it('ignores another log', () => {
    store.apply({ ...change(1, 'a', 1), logId: 'other' });
    store.settle();
    expect(store.order).toEqual([]);
  });

  it('takes a list only where it is newer than the stream', () => {
    store.apply(change(9, 'a', 1, done));
    const activities = [change(0, 'a', 1), change(0, 'b', 2)].map((c): Activity => c.activity);
    store.merge({ activities, logId: 'log', asOf: 5 });
    store.merge({ activities, logId: 'other', asOf: 99 });
    store.settle();
    expect(store.order.map((row) => row.a.state)).toEqual(['COMPLETED', 'IN_PROGRESS']);
    store.apply(change(4, 'b', 2, done));
    expect(store.rows.get('b')?.a.state).toBe('IN_PROGRESS');
    store.apply(change(6, 'b', 2, done));
    expect(store.rows.get('b')?.a.state).toBe('COMPLETED');
  });

  it('lets finished rows go, oldest first, and never what is in flight', () => {
    for (let i = 0; i < 50; i++) store.apply(change(i + 1, `open${i}`, i));
    for (let i = 0; i < 100; i++) store.apply(change(i + 51, `done${i}`, 100 + i, done));
    store.settle();
    expect(store.order).toHaveLength(98);
    expect(store.rows.size).toBe(98);
    expect(store.dropped).toBe(52);
    expect(ids().filter((id) => id.startsWith('open'))).toHaveLength(50);
    expect(ids().at(-1)).toBe('done99');
    expect(store.completions).toHaveLength(20);
  });

  it('lets go what a snapshot no longer has', () => {
    store.apply(change(1, 'a', 1));
    store.apply(change(2, 'b', 2));
    store.apply(change(3, 'c', 3, done));
    store.settle();
    store.beginSnapshot();
    store.apply(change(9, 'b', 2, {}, true));
    expect(store.endSnapshot()).toBe(1);
    store.settle();
    expect(ids()).toEqual(['b', 'c']);
    expect(store.seq).toBe(3);
  });

  it('lists decisions from their first sight', () => {
    store.apply(change(1, 'a', 2, { type: 'decision' }));
    store.apply(change(2, 'b', 1, { type: 'decision', state: 'PLANNED' }));
    store.settle();
    expect(store.decisions.map((row) => row.a.id)).toEqual(['b', 'a']);
  });
});

describe('List', () => {
  const read = (list: List) => {
    const rows = list.read();
    return Array.from({ length: rows.length }, (_, i) => rows.at(i)?.a.id);
  };

  it('is newest first and follows', () => {
    const list = new List(store);
    store.apply(change(1, 'a', 1));
    store.settle();
    expect(read(list)).toEqual(['a']);
    store.apply(change(2, 'b', 2));
    store.settle();
    expect(read(list)).toEqual(['b', 'a']);
  });

  it('keeps its rows in place while frozen, and counts what came', () => {
    const list = new List(store);
    store.apply(change(1, 'a', 1));
    store.apply(change(2, 'c', 3));
    store.settle();
    list.freeze();
    store.apply(change(3, 'b', 2));
    store.apply(change(4, 'd', 4));
    store.apply(change(5, 'a', 1, done));
    store.settle();
    expect(read(list)).toEqual(['c', 'a']);
    expect(list.fresh).toBe(2);
    expect(list.read().at(1)?.a.state).toBe('COMPLETED');
    list.thaw();
    expect(read(list)).toEqual(['d', 'c', 'b', 'a']);
    expect(list.fresh).toBe(0);
  });

  it('tries a row again when it changed', () => {
    const list = new List(store);
    const completed = (a: Activity) => a.state === 'COMPLETED';
    list.filter({ passes: completed, byName: () => false, beyond: completed });
    store.apply(change(1, 'a', 1));
    store.settle();
    expect(read(list)).toEqual([]);
    store.apply(change(2, 'a', 1, done));
    store.settle();
    expect(read(list)).toEqual(['a']);
    list.freeze();
    store.apply(change(3, 'b', 2));
    store.apply(change(4, 'c', 3, done));
    store.settle();
    read(list);
    expect(list.fresh).toBe(1);
    list.filter(null);
    expect(read(list)).toEqual(['c', 'b', 'a']);
  });
});
