import { describe, expect, it } from 'vitest';
import { Density } from '../core/density';
import { change } from '../core/sample';
import { Store } from '../core/store';
import { clockMarks, flags, momentAt, slots } from './dock';

const ZERO = Date.UTC(2026, 10, 22);
const MINUTE = 60_000;
const iso = (at: number) => new Date(ZERO + at).toISOString();

function rows(list: [from: number, to: number | null, state: string][]) {
  const store = new Store();
  const density = new Density();
  store.follow(density);
  store.reset('log');
  list.forEach(([from, to, state], i) => {
    const ended_at = to === null ? null : iso(to);
    store.apply(change(i + 1, `a${i}`, from, { state, ended_at, last_seen_at: iso(to ?? from) }));
  });
  store.settle();
  return density.bad;
}

describe('slots', () => {
  it('are round, aligned, and no more than there is room for', () => {
    for (const minutes of [15, 60, 200, 1_500, 40_000, 2_000_000]) {
      const range = { from: ZERO + 12_345, to: ZERO + 12_345 + minutes * MINUTE };
      const s = slots(range, 120);
      expect(s.n).toBeLessThanOrEqual(121);
      expect(s.n).toBeGreaterThan(30);
      expect(s.first * s.width).toBeLessThanOrEqual(range.from);
      expect((s.first + s.n) * s.width).toBeGreaterThan(range.to);
      expect((s.first + s.n - 1) * s.width).toBeLessThanOrEqual(range.to);
      const later = slots({ from: range.from + s.width, to: range.to + s.width }, 120);
      expect(later).toEqual({ ...s, first: s.first + 1 });
    }
  });
});

describe('flags', () => {
  const range = { from: ZERO, to: ZERO + 100_000 };

  it('gather what is near, and say how many', () => {
    const list = rows([
      [0, 10_000, 'FAILED'],
      [1, 12_000, 'FAILED'],
      [2, 13_000, 'LOST'],
      [3, 60_000, 'FAILED'],
      [4, 70_000, 'COMPLETED'],
      [5, 170_000, 'FAILED'],
    ]);
    const found = flags(list, range, 0.1, 10);
    expect(found.map((f) => [f.at - ZERO, f.state, f.n])).toEqual([
      [10_000, 'LOST', 3],
      [60_000, 'FAILED', 1],
    ]);
    expect(found[0]?.x).toBeCloseTo(0.1);
  });

  it('keep what matters most when there are too many', () => {
    const many: [number, number, string][] = [];
    for (let i = 0; i < 9; i++) many.push([i, 10_000 * (i + 1), i === 2 ? 'LOST' : 'FAILED']);
    many.push([20, 50_100, 'FAILED']);
    const found = flags(rows(many), range, 0.02, 3);
    expect(found.map((f) => f.at - ZERO)).toEqual([30_000, 50_000, 90_000]);
  });
});

describe('the clock', () => {
  it('is marked at whole steps of local time', () => {
    const range = { from: ZERO + 12_345, to: ZERO + 12_345 + 15 * MINUTE };
    const found = clockMarks(range, 1_000, 0);
    expect(found.length).toBeGreaterThan(3);
    expect(found.length).toBeLessThanOrEqual(10);
    for (const { at, x } of found) {
      expect(at % MINUTE).toBe(0);
      expect(x).toBeGreaterThanOrEqual(0);
      expect(x).toBeLessThanOrEqual(1);
    }
    const day = { from: ZERO, to: ZERO + 24 * 60 * MINUTE };
    for (const { at } of clockMarks(day, 500, 5.5 * 60 * MINUTE)) {
      expect((at + 5.5 * 60 * MINUTE) % (60 * MINUTE)).toBe(0);
    }
    expect(clockMarks(range, 0, 0).length).toBeLessThanOrEqual(2);
  });

  it('tells the moment of a place, and now at its end', () => {
    const range = { from: 1_000, to: 2_000 };
    expect(momentAt(range, 0.25, 0.01)).toBe(1_250);
    expect(momentAt(range, -1, 0.01)).toBe(1_000);
    expect(momentAt(range, 0.995, 0.01)).toBeNull();
  });
});
