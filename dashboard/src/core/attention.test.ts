import { describe, expect, it } from 'vitest';
import { Attention, FAILED_MS, LOST_MS } from './attention';
import { change } from './sample';
import { Store } from './store';

const t0 = Date.UTC(2026, 10, 22);
const iso = (ms: number) => new Date(t0 + ms).toISOString();

function world() {
  const store = new Store();
  store.reset('log');
  let seq = 0;
  const attention = new Attention(store);
  store.follow(attention);
  return {
    store,
    attention,
    put(id: string, fields: Record<string, unknown>) {
      store.apply(change(++seq, id, 0, fields));
      store.settle();
    },
    kinds: (at: number) => attention.judge(t0 + at).items.map((i) => `${i.kind} ${i.a.id} ${i.count}`),
  };
}

describe('attention', () => {
  it.each([
    // usual, open for, is slow
    [1_000, 2_999, false],
    [1_000, 3_000, true],
    [100, 1_099, false],
    [100, 1_100, true],
    [0, 60_000, false],
    [null, 60_000, false],
  ])('usually %s ms, open %s ms: slow is %s', (usual, open, want) => {
    const w = world();
    w.put('a', { started_at: iso(0), usual_ms: usual });
    expect(w.kinds(open)).toEqual(want ? ['slow a 1'] : []);
  });

  it('judges only what works, and forgets what ends', () => {
    const w = world();
    w.put('planned', { state: 'PLANNED', started_at: null, usual_ms: 10 });
    w.put('a', { started_at: iso(0), usual_ms: 1_000 });
    w.put('b', { started_at: iso(0), usual_ms: 100 });
    expect(w.kinds(10_000)).toEqual(['slow b 1', 'slow a 1']);
    w.put('b', { state: 'COMPLETED', started_at: iso(0), ended_at: iso(9_000) });
    expect(w.kinds(10_000)).toEqual(['slow a 1']);
  });

  it('puts the silent before the slow, the longest silent first, each once', () => {
    const w = world();
    w.put('slow', { started_at: iso(0), usual_ms: 1_000 });
    w.put('x', { started_at: iso(0), usual_ms: 1_000, stalled: true, last_seen_at: iso(8_000) });
    w.put('y', { started_at: iso(0), usual_ms: null, stalled: true, last_seen_at: iso(5_000) });
    expect(w.kinds(10_000)).toEqual(['stalled y 1', 'stalled x 1', 'slow slow 1']);
    expect(w.attention.judge(t0 + 10_000).items[0]?.ms).toBe(5_000);
    w.put('y', { started_at: iso(0), stalled: false, usual_ms: null });
    expect(w.kinds(10_000)).toEqual(['stalled x 1', 'slow slow 1']);
  });

  it('groups failures by error, the latest first, and lets old ones go', () => {
    const w = world();
    const failed = (at: number, message: string) => ({
      state: 'FAILED',
      ended_at: iso(at),
      error: { type: 'E', message, stack: null },
    });
    w.put('a', failed(1_000, 'disk 1 full'));
    w.put('b', failed(2_000, 'no route'));
    w.put('c', failed(3_000, 'disk 2 full'));
    expect(w.kinds(4_000)).toEqual(['failed c 2', 'failed b 1']);
    expect(w.attention.judge(t0 + 4_000)).toMatchObject({ total: 2, counts: { failed: 3 } });
    expect(w.kinds(FAILED_MS + 2_000)).toEqual(['failed c 1', 'failed b 1']);
    expect(w.kinds(FAILED_MS + 3_001)).toEqual([]);
  });

  it('counts what a service lost, by its last sign of life', () => {
    const w = world();
    const lost = (service: string, seen: number) => ({
      state: 'LOST',
      service,
      ended_at: iso(20_000),
      last_seen_at: iso(seen),
    });
    w.put('a', lost('gale', 1_000));
    w.put('b', lost('gale', 9_000));
    w.put('c', lost('ember', 4_000));
    expect(w.kinds(21_000)).toEqual(['lost b 2', 'lost c 1']);
    expect(w.attention.judge(t0 + 21_000).items[0]?.at).toBe(t0 + 9_000);
    expect(w.kinds(20_001 + LOST_MS)).toEqual([]);
  });

  it('shows a bounded number and counts all', () => {
    const w = world();
    for (let i = 0; i < 80; i++) w.put(`a${i}`, { started_at: iso(0), usual_ms: 1 });
    const { items, counts } = w.attention.judge(t0 + 5_000);
    expect(items.length).toBe(50);
    expect(counts.slow).toBe(80);
    w.store.reset('other');
    expect(w.kinds(5_000)).toEqual([]);
  });

  it('sees what the store held before it came', () => {
    const store = new Store();
    store.reset('log');
    store.apply(change(1, 'a', 0, { started_at: iso(0), usual_ms: 1 }));
    expect(new Attention(store).judge(t0 + 5_000).counts.slow).toBe(1);
  });
});
