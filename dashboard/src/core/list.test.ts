import { describe, expect, it } from 'vitest';
import { compile, narrows, parse, type Test } from './filters';
import { List } from './list';
import { Store } from './store';
import { activity, type Activity, type State } from './wire';

function storeOf(names: string[]): Store {
  const store = new Store();
  store.reset('log');
  names.forEach((name, n) => put(store, n, name, n + 1));
  store.settle();
  return store;
}

function put(store: Store, n: number, name: string, seq: number): void {
  const made = activity({
    activity_id: `${'a'.repeat(32)}-${String(n).padStart(16, '0')}`,
    state: 'COMPLETED',
    name,
    planned_at: new Date(Date.UTC(2026, 10, 23, 10, 0, n)).toISOString(),
  });
  if (made === null) throw new Error('no activity');
  store.apply({ kind: 'change', snapshot: false, logId: 'log', seq, activity: made });
}

const testOf = (passes: (a: Activity) => boolean): Test => ({ passes, byName: () => false, beyond: passes });

const names = (list: List) => {
  const rows = list.read();
  return Array.from({ length: rows.length }, (_, i) => rows.at(i)?.a.name);
};

describe('a list that nobody reads', () => {
  it('holds no row that the store has let go', () => {
    const store = new Store({ rows: 20, list: 5 });
    store.reset('log');
    const fill = (from: number, to: number) => {
      for (let n = from; n < to; n++) put(store, n, `order ${n}`, n + 1);
      store.settle();
    };
    fill(0, 20);
    const list = new List(store);
    const rows = list.read();
    expect(rows.length).toBe(20);
    expect(rows.at(0)?.a.name).toBe('order 19');
    fill(20, 55);
    for (let i = 0; i < rows.length; i++) {
      const row = rows.at(i);
      expect(row === undefined || store.rows.get(row.a.id) === row).toBe(true);
    }
    expect(names(list)[0]).toBe('order 54');
  });
});

describe('a frozen list', () => {
  it('takes what comes of the time before behind its rows, and nothing else', () => {
    const store = new Store();
    store.reset('log');
    const fill = (from: number, to: number) => {
      for (let n = from; n < to; n++) put(store, n, `order ${n}`, n + 1);
      store.settle();
    };
    fill(5, 8);
    const list = new List(store);
    list.freeze();
    fill(8, 9);
    expect(names(list)).toEqual(['order 7', 'order 6', 'order 5']);
    expect(list.fresh).toBe(1);
    fill(2, 5);
    list.extend(Date.UTC(2026, 10, 23, 10, 0, 5));
    expect(names(list)).toEqual(['order 7', 'order 6', 'order 5', 'order 4', 'order 3', 'order 2']);
    expect(list.fresh).toBe(1);
    list.thaw();
    expect(names(list)[0]).toBe('order 8');
  });
});

describe('a search that is typed on', () => {
  const none: ReadonlySet<State> = new Set();

  it('takes no longer than its slice, the newest first, and comes to the same', () => {
    const store = storeOf(Array.from({ length: 3_000 }, (_, n) => (n % 2 === 0 ? 'order' : 'parcel')));
    const list = new List(store);
    const slow = (a: Activity) => a.name === 'order';
    list.filter(testOf(slow));
    const first = list.read(-1);
    expect(first.length).toBeGreaterThan(0);
    expect(first.length).toBeLessThan(1_500);
    expect(first.at(0)).toBe(store.order.at(-2));
    let reads = 1;
    while (list.read(-1).length < 1_500) reads++;
    expect(reads).toBeGreaterThan(2);
    const all = list.read(-1);
    expect(list.read(-1)).toBe(all);
    expect(names(list)).toEqual(store.order.filter((row) => slow(row.a)).map(() => 'order'));
    list.filter(testOf((a) => a.name === 'parcel'));
    list.freeze();
    expect(list.read().length).toBe(1_500);
  });

  it('judges again what it has passed by when the test learns more in between', () => {
    const store = storeOf(Array.from({ length: 3_000 }, () => 'order'));
    const list = new List(store);
    const learnt = new Set<string>();
    list.filter(testOf((a) => learnt.has(a.id)));
    list.read(-1);
    const newest = store.order.at(-1)?.a.id ?? '';
    learnt.add(newest);
    list.again([newest]);
    list.read(-1);
    expect(list.read(Infinity).at(0)?.a.id).toBe(newest);
    expect(names(list)).toHaveLength(1);
  });

  it('does not judge again what was not found before', () => {
    const list = new List(storeOf(['order 71', 'order 72', 'parcel 7']));
    const judged: string[] = [];
    const test = (q: string) => {
      const found = compile(none, parse(q), new Set());
      return testOf((a) => {
        judged.push(a.name);
        return found?.passes(a) ?? true;
      });
    };
    list.filter(test('order'));
    expect(names(list)).toEqual(['order 72', 'order 71']);
    judged.length = 0;
    list.filter(test('order 71'), true);
    expect(names(list)).toEqual(['order 71']);
    expect(judged).toEqual(['order 72', 'order 71']);
  });

  it('judges names alone while names alone decide', () => {
    const store = storeOf(['part 1', 'part 2', 'part 1']);
    const list = new List(store);
    const judged: string[] = [];
    const test = (q: string) => {
      const found = compile(none, parse(q), new Set());
      return {
        passes: (a: Activity) => found?.passes(a) ?? true,
        byName: (name: string) => judged.push(name) > 0 && found?.byName(name) === true,
        beyond: (a: Activity) => judged.push('beyond') > 0 && found?.beyond(a) === true,
      };
    };
    list.filter(test('p'));
    const rows = list.read();
    expect(rows.length).toBe(3);
    list.filter(test('pa'), true);
    expect(list.read()).toBe(rows);
    expect(judged).toEqual(['part 1', 'part 2', 'part 1', 'part 2']);
    put(store, 3, 'pa', 4);
    put(store, 4, 'p', 5);
    store.settle();
    expect(names(list)).toEqual(['pa', 'part 1', 'part 2', 'part 1']);
    list.filter(test('part'), true);
    expect(names(list)).toEqual(['part 1', 'part 2', 'part 1']);
    list.freeze();
    list.filter(test('part 1'), true);
    expect(list.isFrozen).toBe(false);
    expect(names(list)).toEqual(['part 1', 'part 1']);
  });

  it('shows what a search typed at once would show, whether rows come between or not', () => {
    const store = storeOf(['part 1', 'part 12', 'port 12', 'part 3', 'cart 1']);
    const list = new List(store);
    let before = parse('');
    for (const [n, q] of ['p', 'pa', 'part', 'part 1', 'part 12'].entries()) {
      if (n === 2) put(store, 9, 'part 123', 9);
      store.settle();
      const query = parse(q);
      list.filter(compile(new Set<State>(), query, new Set()), narrows(query, before));
      before = query;
      const fresh = new List(store);
      fresh.filter(compile(new Set<State>(), query, new Set()));
      expect(names(list)).toEqual(names(fresh));
      expect(names(list)).toEqual(names(list));
    }
    expect(names(list)).toEqual(['part 123', 'part 12']);
    expect(list.read().at(2)).toBeUndefined();
  });

  it('takes a name for enough only where words alone are asked for', () => {
    const store = storeOf(['part 1', 'part 2']);
    put(store, 1, 'port 2', 3);
    const list = new List(store);
    for (const [q, want] of [
      ['part', ['part 1']],
      ['part type:span', ['part 1']],
      ['part type:decision', []],
      ['p 2', ['port 2']],
      ['part attr.a:1', []],
    ] as const) {
      list.filter(compile(new Set<State>(), parse(q), new Set()));
      expect(names(list), q).toEqual(want);
    }
    list.filter(compile(new Set<State>(['FAILED']), parse('part'), new Set()));
    expect(names(list)).toEqual([]);
  });

  it('finds a row that has changed since', () => {
    const store = storeOf(['order 71', 'parcel']);
    const list = new List(store);
    list.filter(compile(none, parse('order'), new Set()));
    expect(names(list)).toEqual(['order 71']);
    put(store, 1, 'order 712', 3);
    store.settle();
    list.filter(compile(none, parse('order 71'), new Set()), true);
    expect(names(list)).toEqual(['order 712', 'order 71']);
  });

  it.each([
    ['order', 'ord', true],
    ['order 7', 'order', true],
    ['ORDER', 'ord', true],
    ['ord', 'order', false],
    ['border', 'order', false],
    ['order', '', false],
    ['order type:decision', 'order', false],
    ['order 7 type:decision', 'order type:decision', true],
    ['order 7 duration>1s', 'order duration>1s', false],
    ['order typo:', 'order', true],
    ['order state:nothing', 'order', false],
  ])('%s after %s', (next, before, want) => expect(narrows(parse(next), parse(before))).toBe(want));
});
