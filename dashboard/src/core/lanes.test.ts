import { beforeEach, describe, expect, it } from 'vitest';
import { byAgent, byThread, Lanes, pace, present, Pulse, searchFor, settle, SLOT_MS, SLOTS } from './lanes';
import { change } from './sample';
import { Store } from './store';

const T0 = Date.UTC(2026, 10, 22);
const iso = (ms: number) => new Date(T0 + ms).toISOString();
const work = (agent: string, from: number, more: Record<string, unknown> = {}) => ({
  agent,
  thread_id: null,
  thread_name: null,
  started_at: iso(from),
  ...more,
});
const done = (to: number, state = 'COMPLETED') => ({ state, ended_at: iso(to) });

let store: Store;
let lanes: Lanes;

function at(key: string) {
  const lane = lanes.all.get(key);
  if (lane === undefined) throw new Error(`no lane ${key}`);
  return lane;
}

beforeEach(() => {
  store = new Store();
  lanes = new Lanes(byAgent);
  store.follow(lanes);
  store.reset('log');
});

describe('Lanes', () => {
  it('gives each activity to its agent, else its thread, else its service', () => {
    store.apply(change(1, 'a', 0, work('atlas', 0)));
    store.apply(change(2, 'b', 0, { agent: null, thread_id: 't1', thread_name: 'worker 1' }));
    store.apply(change(3, 'c', 0, { agent: null, thread_id: null, thread_name: null }));
    store.apply(change(4, 'd', 0, { agent: null, thread_id: null, thread_name: null, service: null }));
    expect(lanes.list().map((lane) => [lane.key, lane.name])).toEqual([
      ['agent:atlas', 'atlas'],
      ['thread:t1', 'worker 1'],
      ['service:orders', 'orders'],
    ]);
  });

  it('lists names as people count', () => {
    for (const [i, name] of ['worker-10', 'worker-9', 'alpha'].entries()) {
      store.apply(change(i + 1, name, 0, work(name, 0)));
    }
    expect(lanes.list().map((lane) => lane.name)).toEqual(['alpha', 'worker-9', 'worker-10']);
  });

  it('knows what is open, and what has ended', () => {
    store.apply(change(1, 'a', 0, work('atlas', 0)));
    expect(at('agent:atlas').open.size).toBe(1);
    store.apply(change(2, 'a', 0, work('atlas', 0, done(500, 'FAILED'))));
    store.apply(change(2, 'a', 0, work('atlas', 0, done(500, 'FAILED'))));
    expect(at('agent:atlas')).toMatchObject({ seen: 1, failures: 1, lastAt: T0 + 500 });
    expect(at('agent:atlas').open.size).toBe(0);
    expect(at('agent:atlas').items).toHaveLength(1);
  });

  it('moves an activity that is given to another agent, and forgets a lane that nothing is left of', () => {
    store.apply(change(1, 'a', 0, { agent: null, thread_id: null, thread_name: null, started_at: iso(0) }));
    store.apply(change(2, 'a', 0, work('atlas', 0)));
    expect([...lanes.all.keys()]).toEqual(['agent:atlas']);
    expect(at('agent:atlas').seen).toBe(1);
  });

  it('draws what runs at one time on different tracks, whatever the order of arrival', () => {
    store.apply(change(1, 'outer', 0, work('atlas', 0)));
    store.apply(change(2, 'inner', 0, work('atlas', 10)));
    store.apply(change(3, 'inner', 0, work('atlas', 10, done(20))));
    store.apply(change(4, 'next', 0, work('atlas', 30)));
    const tracks = () => Object.fromEntries(at('agent:atlas').items.map((item) => [item.a.id, item.track]));
    expect(tracks()).toEqual({ outer: 0, inner: 1, next: 1 });
    // One that began before them comes late, as history does.
    store.apply(change(5, 'first', 0, work('atlas', -50, done(40))));
    settle(at('agent:atlas'));
    expect(tracks()).toEqual({ first: 0, outer: 1, inner: 2, next: 2 });
  });

  it('keeps within its bounds and never lets open work go', () => {
    lanes = new Lanes(byAgent, { lanes: 2, items: 200 });
    store.follow(lanes);
    store.apply(change(1, 'open', 0, work('busy', 0)));
    for (let i = 0; i < 400; i++) store.apply(change(i + 2, `x${i}`, i, work('quick', i, done(i + 1))));
    expect(at('agent:quick').items.length).toBeLessThanOrEqual(110);
    expect(at('agent:quick').seen).toBe(400);
    // It has all that began after.
    expect(at('agent:quick').since).toBe((at('agent:quick').items[0]?.a.startedAt ?? 0) - 1);
    expect(at('agent:busy').since).toBe(-Infinity);
    store.apply(change(500, 'z', 0, work('third', 900)));
    expect([...lanes.all.keys()].sort()).toEqual(['agent:busy', 'agent:third']);
  });

  it('lets go what the store forgets as gone unseen', () => {
    store.apply(change(1, 'a', 0, work('atlas', 0)));
    store.beginSnapshot();
    store.endSnapshot();
    expect(lanes.all.size).toBe(0);
    store.reset('other');
    expect(lanes.all.size).toBe(0);
  });

  it('has lanes of threads alone', () => {
    lanes = new Lanes(byThread);
    store.follow(lanes);
    store.apply(change(1, 'a', 0, work('atlas', 0)));
    store.apply(change(2, 'b', 0, { agent: 'atlas', thread_id: 'run-1', thread_name: 'atlas' }));
    expect(lanes.list().map((lane) => [lane.id, lane.name])).toEqual([['run-1', 'atlas']]);
  });
});

describe('present', () => {
  it('tells the outermost and the innermost at work', () => {
    store.apply(change(1, 'b', 0, work('atlas', 100)));
    store.apply(change(2, 'a', 0, work('atlas', 0)));
    store.apply(change(3, 'c', 0, work('atlas', 200, { stalled: true })));
    store.apply(change(4, 'p', 0, { ...work('atlas', 0), state: 'PLANNED', started_at: null }));
    const p = present(at('agent:atlas'));
    expect([p.outer?.id, p.inner?.id, p.working, p.planned, p.stalled]).toEqual(['a', 'c', 3, 1, true]);
  });

  it('has one activity that is both once', () => {
    store.apply(change(1, 'a', 0, work('atlas', 0)));
    expect(present(at('agent:atlas'))).toMatchObject({ inner: null, working: 1 });
  });
});

describe('Pulse', () => {
  it('counts what was at work in each slot, and failures where they ended', () => {
    const pulse = new Pulse();
    const now = SLOT_MS * 100;
    pulse.add(now - 3 * SLOT_MS, now - 2 * SLOT_MS, true);
    const { busy, failed } = pulse.read(now, []);
    expect(busy).toHaveLength(SLOTS);
    expect(busy.slice(-4)).toEqual([1, 1, 0, 0]);
    expect(failed.slice(-4)).toEqual([0, 1, 0, 0]);
  });

  it('forgets what is older than it shows, even when it comes late', () => {
    const pulse = new Pulse();
    const now = SLOT_MS * 1_000;
    pulse.add(now, now, false);
    pulse.add(0, 10, true);
    const { busy, failed } = pulse.read(now, []);
    expect(busy.reduce((a, b) => a + b)).toBe(1);
    expect(failed.reduce((a, b) => a + b)).toBe(0);
  });

  it('counts open work up to now', () => {
    store.apply(change(1, 'a', 0, work('atlas', 0)));
    const { busy } = new Pulse().read(T0 + 2 * SLOT_MS, at('agent:atlas').open.values());
    expect(busy.slice(-4)).toEqual([0, 1, 1, 1]);
  });
});

describe('pace', () => {
  it('warns of what takes long against its usual time, and long enough to matter', () => {
    const a = change(1, 'a', 0, work('atlas', 0, { usual_ms: 1_000 })).activity;
    expect(pace(a, T0 + 500)).toEqual({ ratio: 0.5, over: false });
    expect(pace(a, T0 + 2_500)).toEqual({ ratio: 2.5, over: true });
    const quick = change(1, 'a', 0, work('atlas', 0, { usual_ms: 1 })).activity;
    expect(pace(quick, T0 + 100)?.over).toBe(false);
    expect(pace(change(1, 'a', 0, work('atlas', 0, { usual_ms: null })).activity, T0)).toBeNull();
  });
});

it('searches for a lane by its field', () => {
  expect(searchFor({ kind: 'agent', id: 'atlas' })).toBe('agent:atlas');
  expect(searchFor({ kind: 'thread', id: 'worker "3" a' })).toBe('thread:"worker 3 a"');
});
