import { expect, it } from 'vitest';
import { inFlight, Open } from './open';
import { change } from './sample';
import { Store } from './store';

const T0 = Date.UTC(2026, 10, 22);
const begun = (ms: number, more: Record<string, unknown> = {}) => ({
  started_at: new Date(T0 + ms).toISOString(),
  ...more,
});

it('tells what is being worked on, the longest first, and nothing that has just begun', () => {
  const store = new Store();
  const open = new Open();
  store.follow(open);
  store.reset('log');
  store.apply(change(1, 'root', 0, begun(0)));
  store.apply(change(2, 'step', 100, begun(100, { parent_id: 'root' })));
  store.apply(change(3, 'quick', 990, begun(990, { parent_id: 'step' })));
  store.apply(change(4, 'other', 50, begun(50)));
  store.apply(change(5, 'later', 60, { state: 'PLANNED', started_at: null }));
  const ids = (now: number) => inFlight(open.rows.values(), T0 + now).map((row) => row.a.id);
  // `root` waits for `step`, and `quick` is too new to count.
  expect(ids(1_000)).toEqual(['other', 'step']);
  expect(ids(1_500)).toEqual(['other', 'quick']);
  store.apply(change(6, 'other', 50, begun(50, { state: 'COMPLETED', ended_at: '2026-11-22T00:00:01Z' })));
  expect(ids(1_000)).toEqual(['step']);
  store.beginSnapshot();
  store.endSnapshot();
  expect(open.rows.size).toBe(0);
});
