import { describe, expect, it } from 'vitest';
import { Density } from './density';
import { change } from './sample';
import { Store } from './store';

const ZERO = Date.UTC(2026, 10, 22);
const iso = (at: number) => new Date(ZERO + at).toISOString();
const s = { width: 10_000, first: ZERO / 10_000, n: 5 };

function counted(store = new Store()): {
  store: Store;
  density: Density;
  put: (id: string, from: number, to: number | null, state: string) => void;
} {
  const density = new Density();
  store.follow(density);
  store.reset('log');
  let seq = 0;
  const put = (id: string, from: number, to: number | null, state: string) => {
    const ended_at = to === null ? null : iso(to);
    store.apply(change(++seq, id, from, { state, ended_at, last_seen_at: iso(to ?? from) }));
    store.settle();
  };
  return { store, density, put };
}

describe('Density', () => {
  it('counts what was at work in each slot, and where it failed', () => {
    const { density, put } = counted();
    put('a', 0, 25_000, 'COMPLETED');
    put('b', 10_000, 12_000, 'FAILED');
    put('c', 15_000, null, 'IN_PROGRESS');
    put('d', 31_000, 33_000, 'LOST');
    expect(density.count(s).map((slot) => slot.busy)).toEqual([1, 3, 2, 2, 1]);
    expect(density.count(s).map((slot) => slot.bad)).toEqual([0, 1, 0, 1, 0]);
    expect([...density.bad].map((row) => row.a.id)).toEqual(['b', 'd']);
    expect(density.count({ ...s, first: s.first - 10 }).at(-1)).toEqual({ busy: 0, bad: 0 });
    expect(density.count({ ...s, first: s.first + 100 }).map((slot) => slot.busy)).toEqual([1, 1, 1, 1, 1]);
  });

  it('is the same however a state was reached', () => {
    const { density, put } = counted();
    put('a', 0, null, 'PLANNED');
    put('a', 0, null, 'IN_PROGRESS');
    put('a', 0, 21_000, 'LOST');
    put('a', 0, 21_000, 'COMPLETED');
    expect(density.count(s)).toEqual([1, 1, 1, 0, 0].map((busy) => ({ busy, bad: 0 })));
    expect(density.bad.size).toBe(0);
  });

  it('never counts below nothing, whatever the clocks say', () => {
    const { density, put } = counted();
    put('a', 30_000, 10_000, 'FAILED');
    expect(density.count(s).map((slot) => slot.busy)).toEqual([0, 0, 0, 1, 0]);
  });

  it('forgets what the store lets go, and all of another log', () => {
    const { store, density, put } = counted(new Store({ rows: 2, list: 2 }));
    for (let i = 0; i < 5; i++) put(`a${i}`, i * 10_000, i * 10_000 + 1, 'FAILED');
    expect(density.count(s).reduce((sum, slot) => sum + slot.busy, 0)).toBe(store.order.length);
    expect(density.bad.size).toBe(store.order.length);
    store.reset('another');
    expect(density.count(s).every((slot) => slot.busy === 0 && slot.bad === 0)).toBe(true);
  });
});
