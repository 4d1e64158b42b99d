import { beforeEach, describe, expect, it } from 'vitest';
import { change } from './sample';
import { Store } from './store';
import { traceOf, Traces } from './traces';

const A = 'a'.repeat(32);
const B = 'b'.repeat(32);
const id = (trace: string, span: number) => `${trace}-${span.toString(16).padStart(16, '0')}`;
const done = { state: 'COMPLETED', ended_at: '2026-11-22T12:00:09Z' };
const failed = { state: 'FAILED', ended_at: '2026-11-22T00:00:05Z' };

let store: Store;
let traces: Traces;

beforeEach(() => {
  store = new Store({ rows: 10, list: 10 });
  traces = new Traces();
  store.follow(traces);
  store.reset('log');
});

describe('Traces', () => {
  it('counts what is seen, open and failed', () => {
    store.apply(change(1, id(A, 2), 20, { parent_id: id(A, 1) }));
    expect(traces.all.get(A)).toMatchObject({ rooted: false, seen: 1, open: 1, failures: 0 });
    store.apply(change(2, id(A, 1), 10, { name: 'root' }));
    store.apply(change(3, id(A, 2), 20, { parent_id: id(A, 1), ...failed }));
    store.apply(change(3, id(A, 2), 20, { parent_id: id(A, 1), ...failed }));
    expect(traces.all.get(A)).toMatchObject({ rooted: true, seen: 2, held: 2, open: 1, failures: 1 });
    expect(traces.all.get(A)?.first.name).toBe('root');
    expect(traces.all.get(A)?.startedAt).toBe(Date.UTC(2026, 10, 22) + 10);
    expect(traces.open).toBe(1);
    store.apply(change(4, id(A, 1), 10, done));
    expect(traces.open).toBe(0);
    expect(traces.all.get(A)?.endedAt).toBe(Date.UTC(2026, 10, 22, 12, 0, 9));
  });

  it('lists live ones first, then the newest', () => {
    store.apply(change(1, id(A, 1), 10));
    store.apply(change(2, id(B, 1), 20, done));
    store.apply(change(3, id('c'.repeat(32), 1), 30, done));
    const list = (limit: number) => traces.list(limit, null).traces.map((trace) => trace.id[0]);
    expect(list(9)).toEqual(['a', 'c', 'b']);
    expect(list(2)).toEqual(['a', 'c']);
    expect(traces.list(2, null).more).toBe(1);
    expect(traces.list(9, (trace) => trace.id === B).traces).toHaveLength(1);
  });

  it('lets go what the store lets go', () => {
    for (let n = 0; n < 30; n++) store.apply(change(n, id(n.toString(16).padStart(32, '0'), 1), n, done));
    store.settle();
    expect(traces.all.size).toBe(store.rows.size);
    store.reset('another');
    expect(traces.all.size).toBe(0);
  });

  it('forgets what a snapshot no longer has', () => {
    store.apply(change(1, id(A, 1), 10));
    store.beginSnapshot();
    store.endSnapshot();
    expect([traces.open, traces.all.size]).toEqual([0, 0]);
  });

  it('follows the busiest, and keeps to it while it is live', () => {
    expect(traces.busiest(null)).toBeNull();
    store.apply(change(1, id(A, 1), 10));
    expect(traces.busiest(null)?.id).toBe(A);
    store.apply(change(2, id(B, 1), 20));
    store.apply(change(3, id(B, 2), 30));
    expect(traces.busiest(null)?.id).toBe(B);
    expect(traces.busiest(A)?.id).toBe(A);
    store.apply(change(4, id(A, 1), 10, done));
    expect(traces.busiest(A)?.id).toBe(B);
    store.apply(change(5, id(B, 1), 20, done));
    store.apply(change(6, id(B, 2), 30, done));
    expect(traces.busiest(B)?.id).toBe(B);
  });

  it('follows the last to end when none is live, until one is', () => {
    const at = (second: number) => ({ state: 'COMPLETED', ended_at: `2026-11-22T12:00:0${second}Z` });
    store.apply(change(1, id(A, 1), 10, at(5)));
    store.apply(change(2, id(B, 1), 20, at(3)));
    expect(traces.busiest(null)?.id).toBe(A);
    expect(traces.busiest(B)?.id).toBe(A);
    store.apply(change(3, id(B, 2), 30, at(7)));
    expect(traces.busiest(A)?.id).toBe(B);
    const C = 'c'.repeat(32);
    store.apply(change(4, id(C, 1), 5));
    expect(traces.busiest(B)?.id).toBe(C);
    store.reset('another');
    expect(traces.busiest(null)).toBeNull();
  });

  it('knows the trace of an id', () => {
    expect(traceOf(id(A, 1))).toBe(A);
    expect(traceOf('short')).toBe('');
    store.apply(change(1, 'short', 1));
    expect(traces.all.size).toBe(0);
  });
});
