import { describe, expect, it } from 'vitest';
import { change } from '../core/sample';
import { Tree } from '../core/tree';
import { firstAt, hit, runs } from './flame';
import { Lanes } from './icicle';
import { blocks } from './overview';

const T = Date.UTC(2026, 10, 22);
const iso = (ms: number) => new Date(T + ms).toISOString();
let seq = 0;

function put(
  tree: Tree,
  id: string,
  parent: string | null,
  from: number,
  to: number | null,
  more = {},
): void {
  const fields = {
    parent_id: parent,
    started_at: iso(from),
    ended_at: to === null ? null : iso(to),
    state: to === null ? 'IN_PROGRESS' : 'COMPLETED',
    ...more,
  };
  tree.put(change(++seq, id, from, fields).activity, seq);
}

const drawn = (lanes: Lanes) => lanes.list.map((lane) => lane.map((node) => node.id).join(' '));

function check(lanes: Lanes): void {
  for (const lane of lanes.list) {
    for (const [i, node] of lane.entries()) {
      const before = lane[i - 1]?.a ?? null;
      if (before === null || node.a === null) continue;
      expect(before.endedAt ?? Infinity).toBeLessThanOrEqual(node.a.plannedAt ?? -Infinity);
    }
  }
}

describe('Lanes', () => {
  it('puts each below its parent, and side by side what does not overlap', () => {
    const tree = new Tree();
    put(tree, 'root', null, 0, 100);
    put(tree, 'a', 'root', 0, 40);
    put(tree, 'b', 'root', 40, 80);
    put(tree, 'beside', 'root', 50, 90);
    put(tree, 'a1', 'a', 10, 20);
    const lanes = new Lanes(tree);
    lanes.settle();
    expect(drawn(lanes)).toEqual(['root', 'a b', 'a1 beside']);
    check(lanes);
  });

  it('keeps the lane of what is open, and frees it at its end, with no new layout', () => {
    const tree = new Tree();
    const lanes = new Lanes(tree);
    lanes.settle();
    put(tree, 'root', null, 0, null);
    put(tree, 'a', 'root', 10, null);
    put(tree, 'b', 'root', 20, null);
    expect(drawn(lanes)).toEqual(['root', 'a', 'b']);
    put(tree, 'a', 'root', 10, 30);
    put(tree, 'a', 'root', 10, 30, { agent: 'atlas' });
    put(tree, 'c', 'root', 40, null);
    expect(drawn(lanes)).toEqual(['root', 'a c', 'b']);
    expect(lanes.finished.map((node) => node.id)).toEqual(['a']);
    expect([lanes.dirty, lanes.layout]).toEqual([false, 1]);
    // All at once gives the same.
    const again = new Lanes(tree);
    again.settle();
    expect(drawn(again)).toEqual(drawn(lanes));
  });

  it('lays out anew what comes late, or finds its parent late', () => {
    const tree = new Tree();
    const lanes = new Lanes(tree);
    lanes.settle();
    put(tree, 'child', 'unseen', 50, null);
    expect(drawn(lanes)).toEqual(['child']);
    put(tree, 'early', null, 0, 10);
    expect(lanes.dirty).toBe(true);
    lanes.settle();
    expect(drawn(lanes)).toEqual(['early child']);
    put(tree, 'unseen', null, 20, null);
    expect(lanes.dirty).toBe(true);
    lanes.settle();
    expect(drawn(lanes)).toEqual(['early unseen', 'child']);
    expect(lanes.layout).toBe(3);
  });

  it('never overlaps, whatever the times and the order', () => {
    let random = 1;
    const next = (n: number) => (random = (random * 48_271) % 2_147_483_647) % n;
    for (let round = 0; round < 20; round++) {
      const tree = new Tree();
      const lanes = new Lanes(tree);
      for (let i = 0; i < 200; i++) {
        const from = next(500);
        put(tree, `n${i}`, i === 0 ? null : `n${next(i)}`, from, next(8) === 0 ? null : from + next(100));
        if (next(20) === 0) lanes.settle();
      }
      lanes.settle();
      check(lanes);
      expect(lanes.list.flat()).toHaveLength(200);
      for (const node of lanes.list.flat()) {
        const above = node.parent === null ? -1 : (lanes.laneOf(node.parent) ?? Infinity);
        expect(lanes.laneOf(node)).toBeGreaterThan(above);
      }
    }
  });

  it('has as many lanes as there are at once', () => {
    const tree = new Tree();
    for (let i = 0; i < 300; i++) put(tree, `n${i}`, null, i, 1_000 + i);
    for (let i = 0; i < 300; i++) put(tree, `m${i}`, null, 2_000 + i, 3_000);
    const lanes = new Lanes(tree);
    lanes.settle();
    expect(lanes.list).toHaveLength(300);
    check(lanes);
  });
});

function lane(...times: [number, number | null, object?][]) {
  const tree = new Tree();
  times.forEach(([from, to, more], n) => put(tree, `n${n}`, null, from, to, more));
  return tree.roots;
}

const range = { from: T, to: T + 1_000 };

describe('runs', () => {
  it('draws apart what can be told apart, and the rest as one', () => {
    const nodes = lane([0, 200], [300, 301], [302, 303, { state: 'FAILED' }], [400, 401]);
    const drawn = runs(nodes, range, T + 900, 1_000);
    expect(drawn.map((r) => [r.node.id, Math.round(r.left), r.count, r.state])).toEqual([
      ['n0', 0, 1, 'COMPLETED'],
      ['n1', 300, 2, 'FAILED'],
      ['n3', 400, 1, 'COMPLETED'],
    ]);
    expect(drawn.map((r) => r.marks !== null)).toEqual([true, false, false]);
  });

  it('takes only what is in sight, and no more than the pixels show', () => {
    const many = lane(...Array.from({ length: 20_000 }, (_, n): [number, number] => [n, n + 0.9]));
    expect(runs(many, { from: T + 5_000, to: T + 5_100 }, T, 1_000)).toHaveLength(101);
    expect(runs(many, { from: T, to: T + 20_000 }, T, 1_000)).toHaveLength(1);
    expect(runs([], range, T, 1_000)).toEqual([]);
  });

  it('shows what is open to now, what is planned beyond it, and decisions however short', () => {
    const planned = { state: 'PLANNED', started_at: null, usual_ms: 200 };
    const nodes = lane([0, null], [100, null, planned], [200, 200, { type: 'decision' }]);
    const drawn = runs(nodes, range, T + 500, 1_000);
    expect(drawn.map((r) => [r.state, Math.round(r.right)])).toEqual([
      ['IN_PROGRESS', 500],
      ['PLANNED', 700],
      ['COMPLETED', 200],
    ]);
    expect(drawn[2]?.marks?.diamond).toBeCloseTo(0.2);
  });
});

describe('hit', () => {
  it('finds what is at a moment, or just beside it', () => {
    const nodes = lane([0, 100], [150, 160], [300, null]);
    const at = (ms: number) => hit(nodes, T + ms, 5, T + 400)?.id ?? null;
    expect([0, 50, 104, 146, 155, 200, 350, 404].map(at)).toEqual([
      'n0',
      'n0',
      'n0',
      'n1',
      'n1',
      null,
      'n2',
      'n2',
    ]);
    expect(at(500)).toBeNull();
    expect(hit([], T, 5, T)).toBeNull();
    expect(firstAt(nodes, T - 50)).toBe(0);
  });
});

describe('blocks', () => {
  it('joins what touches, and keeps failures apart', () => {
    const nodes = lane([0, 100], [100, 200], [200, 210, { state: 'FAILED' }], [300, null], [500, 501]);
    expect(blocks(nodes, range, 1_000)).toEqual([
      { left: 0, right: 200, state: 'COMPLETED' },
      { left: 200, right: 210, state: 'FAILED' },
      { left: 500, right: 501, state: 'COMPLETED' },
    ]);
  });

  it('shows a failure among very many in the same pixel', () => {
    const times = Array.from({ length: 1_000 }, (_, n): [number, number, object?] => [
      n / 1_000,
      n / 1_000,
      n === 500 ? { state: 'FAILED' } : {},
    ]);
    expect(blocks(lane(...times), range, 1_000).map((b) => b.state)).toEqual(['COMPLETED', 'FAILED']);
  });
});
