import { describe, expect, it } from 'vitest';
import { before as earlier, History, same, since } from './history';
import { moment } from './moment';
import { Replay } from './replay';
import { change } from './sample';
import { stats } from './stats';
import { Store } from './store';
import { begins } from './times';
import { isFinal, type Activity, type Change } from './wire';

declare const process: { cpuUsage(since?: object): { user: number; system: number } };

const ZERO = Date.UTC(2026, 10, 22);
const iso = (at: number) => new Date(ZERO + at).toISOString();

/** Numbers that are the same in each run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Told {
  at: number;
  change: Change;
}

/** One activity's changes as a server tells them: planned, started, some updates, an end. */
function life(
  id: string,
  from: number,
  next: () => number,
): { at: number; fields: Record<string, unknown> }[] {
  let at = from;
  const pass = () => (at += 1 + Math.floor(next() * 400));
  const steps: { at: number; fields: Record<string, unknown> }[] = [];
  let fields: Record<string, unknown> = {
    state: 'PLANNED',
    started_at: null,
    what_its_doing: null,
    progress: null,
    wait_ms: null,
    trace_id: id,
  };
  const tell = (more: Record<string, unknown>) => {
    fields = { ...fields, ...more, last_seen_at: iso(at) };
    steps.push({ at, fields });
  };
  tell({});
  if (next() < 0.1) return steps;
  pass();
  tell({ state: 'IN_PROGRESS', started_at: iso(at), wait_ms: at - from });
  for (let n = Math.floor(next() * 4); n > 0; n--) {
    pass();
    tell({ what_its_doing: `step ${at}`, progress: next() });
  }
  if (next() < 0.2) return steps;
  pass();
  const state = next() < 0.7 ? 'COMPLETED' : next() < 0.5 ? 'FAILED' : 'LOST';
  tell({ state, ended_at: iso(at), what_it_did: `done ${at}` });
  return steps;
}

function history(seed: number, activities: number): Told[] {
  const next = random(seed);
  const all: { at: number; id: string; begin: number; fields: Record<string, unknown> }[] = [];
  for (let i = 0; i < activities; i++) {
    const id = `${String(i % 7).padStart(32, '0')}-${String(i).padStart(16, '0')}`;
    const begin = Math.floor(next() * 5_000);
    for (const step of life(id, begin, next)) all.push({ ...step, id, begin });
  }
  all.sort((x, y) => x.at - y.at);
  return all.map(({ at, id, begin, fields }, i) => ({
    at: ZERO + at,
    change: change(i + 1, id, begin, fields),
  }));
}

/** The plain truth: the last change of each activity up to the moment. */
function fold(told: readonly Told[], at: number): Map<string, Activity> {
  const out = new Map<string, Activity>();
  for (const t of told) if (t.at <= at) out.set(t.change.activity.id, t.change.activity);
  return out;
}

const plain = (a: Activity) => [a.id, a.state, a.doing, a.did, a.progress, a.startedAt, a.endedAt];
const shown = (store: Store) =>
  [...store.rows.values()].map((r) => plain(r.a)).sort(([x], [y]) => (String(x) < String(y) ? -1 : 1));
const truth = (told: readonly Told[], at: number) =>
  [...fold(told, at).values()].map(plain).sort(([x], [y]) => (String(x) < String(y) ? -1 : 1));

function shuffle<T>(list: T[], next: () => number): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [list[i], list[j]] = [list[j] as T, list[i] as T];
  }
  return list;
}

function setup(limit?: number, versions?: number) {
  const live = new Store();
  live.reset('log');
  const replay = new Replay(live, limit, versions);
  replay.start();
  return { live, replay };
}

describe('Replay', () => {
  it('shows at any moment the fold of the changes up to it', () => {
    for (let seed = 1; seed <= 12; seed++) {
      const told = history(seed, 60);
      const { live, replay } = setup();
      for (const t of told) live.apply(t.change);
      const next = random(seed);
      for (let i = 0; i < 20; i++) {
        const at = ZERO + Math.floor(next() * 8_000);
        expect(shown(replay.seek(at)), `seed ${seed} at ${at - ZERO}`).toEqual(truth(told, at));
      }
    }
  });

  it('goes on from a moment as if it had sought each', () => {
    for (let seed = 20; seed <= 26; seed++) {
      const told = history(seed, 60);
      const { live, replay } = setup();
      for (const t of told) live.apply(t.change);
      const next = random(seed);
      replay.seek(ZERO);
      for (let at = ZERO; at < ZERO + 8_000; at += Math.floor(next() * 700)) {
        replay.advance(at);
        expect(shown(replay.store)).toEqual(truth(told, at));
      }
    }
  });

  it('stays right while the stream goes on, late and repeated', () => {
    for (let seed = 40; seed <= 46; seed++) {
      const next = random(seed);
      const told = history(seed, 60);
      const { live, replay } = setup();
      // Bursts out of order and twice, as after a resumed stream.
      const order = [...told, ...told.filter(() => next() < 0.3)];
      for (let i = 0; i < order.length; i += 16)
        order.splice(i, 16, ...shuffle(order.slice(i, i + 16), next));
      const at = ZERO + 2_500;
      replay.seek(at);
      const seen: Told[] = [];
      for (const [i, t] of order.entries()) {
        live.apply(t.change);
        seen.push(t);
        if (i % 40 === 0) replay.advance(at);
      }
      replay.advance(at);
      // What a later change overtook is known by its times alone: the state is right, and no text is of later.
      const true_ = fold(told, at);
      expect(new Set(replay.store.rows.keys())).toEqual(new Set(true_.keys()));
      for (const { a } of replay.store.rows.values()) {
        const t = true_.get(a.id);
        expect(a.state).toBe(t?.state);
        expect(since(a)).toBeLessThanOrEqual(at);
        if (a.doing !== null)
          expect(told.some((x) => x.at <= at && x.change.activity.doing === a.doing)).toBe(true);
      }
    }
  });

  it('knows the state at each moment though it saw nothing but the last of it', () => {
    const told = history(99, 80);
    const last = fold(told, Infinity);
    const { live, replay } = setup();
    live.merge({ activities: [...last.values()], logId: 'log', asOf: 5_000 });
    for (let at = ZERO; at < ZERO + 8_000; at += 333) {
      const then = fold(told, at);
      const rows = replay.seek(at).rows;
      expect(new Set(rows.keys())).toEqual(new Set(then.keys()));
      for (const [id, a] of then) {
        const got = rows.get(id)?.a;
        expect(got?.state).toBe(a.state);
        expect(got?.startedAt).toBe(a.startedAt);
        if (got?.doing !== null) expect(got?.doing).toBe(a.doing);
      }
    }
  });

  it('is filled by what was asked for, and lets go the first of it', () => {
    const told = history(7, 50);
    const at = ZERO + 3_000;
    const { live, replay } = setup(30);
    replay.seek(at);
    const then = [...fold(told, at).values()];
    replay.learn(then.slice(0, 30));
    replay.advance(at);
    expect(shown(replay.store)).toEqual(
      then
        .slice(0, 30)
        .map(plain)
        .sort(([x], [y]) => (String(x) < String(y) ? -1 : 1)),
    );
    replay.learn(then.slice(30, 35));
    expect(replay.dropped).toBe(Math.max(0, Math.min(5, then.length - 30)));
    // What the stream tells later belongs to the store of now, and what was learnt is its past.
    for (const t of told) live.apply(t.change);
    expect(shown(replay.seek(at))).toEqual(truth(told, at));
  });

  it('learns versions of what it holds', () => {
    const { live, replay } = setup();
    const end = {
      state: 'COMPLETED',
      ended_at: iso(900),
      last_seen_at: iso(900),
      started_at: iso(10),
      what_it_did: 'x',
    };
    live.apply(change(1, 'a', 0, end));
    expect(replay.seek(ZERO + 500).rows.get('a')?.a.doing).toBeNull();
    const early = { started_at: iso(10), last_seen_at: iso(400), what_its_doing: 'halfway', progress: 0.5 };
    replay.learn([change(1, 'a', 0, early).activity]);
    replay.advance(ZERO + 500);
    expect(replay.store.rows.get('a')?.a.doing).toBe('halfway');
    expect(replay.seek(ZERO + 399).rows.get('a')?.a.doing).toBeNull();
    expect(replay.then(change(1, 'a', 0, end).activity)?.state).toBe('IN_PROGRESS');
  });

  it('finds the change before and after', () => {
    const told = history(5, 20);
    const { live, replay } = setup();
    for (const t of told) live.apply(t.change);
    const times = [...new Set(told.map((t) => t.at))].sort((x, y) => x - y);
    replay.seek(ZERO + 2_000);
    expect(replay.neighbour(1)).toBe(times.find((at) => at > ZERO + 2_000));
    expect(replay.neighbour(-1)).toBe(times.filter((at) => at < ZERO + 2_000).at(-1));
  });

  it('ends with its log', () => {
    const { live, replay } = setup();
    for (const t of history(3, 10)) live.apply(t.change);
    replay.seek(ZERO + 1_000);
    live.reset('another');
    expect(replay.at).toBe(Infinity);
    expect(replay.history.size).toBe(0);
    expect(replay.seek(ZERO + 9_000).rows.size).toBe(0);
  });

  it('seeks within the budget at 100,000 rows and goes on for less', { timeout: 60_000 }, () => {
    const { live, replay } = setup();
    const n = 100_000;
    for (let i = 0; i < n; i++) {
      const open = i > n - 1_000;
      const id = `${String(i % 5_000).padStart(32, '0')}-${String(i).padStart(16, '0')}`;
      const made = change(i + 1, id, i, {
        type: i % 20 === 0 ? 'decision' : 'span',
        state: open ? 'IN_PROGRESS' : i % 50 === 0 ? 'FAILED' : 'COMPLETED',
        started_at: iso(i + 1),
        ended_at: open ? null : iso(i + 2_000),
        duration_ms: open ? null : 1_999,
        last_seen_at: iso(i + (open ? 5 : 2_000)),
      });
      live.apply(made);
    }
    live.settle();
    replay.seek(ZERO);
    const cost = (work: () => unknown): number => {
      let best = Infinity;
      for (let i = 0; i < 3; i++) {
        const before = process.cpuUsage();
        work();
        const used = process.cpuUsage(before);
        best = Math.min(best, (used.user + used.system) / 1000);
      }
      return best;
    };
    const seek = cost(() => replay.seek(ZERO + 99_500));
    expect(replay.store.rows.size).toBe(99_501);
    expect(replay.work).toBeLessThan(n + 1);
    // Three times the budget: processor time on a busy machine still swings.
    expect(seek, 'ms of processor time').toBeLessThan(450);
    replay.seek(ZERO + 50_000);
    replay.advance(ZERO + 50_100);
    expect(replay.work).toBeLessThan(2_300);
  });
});

describe('History', () => {
  const at = (ms: number, fields: Record<string, unknown> = {}): Activity =>
    change(1, 'a', 0, { started_at: iso(0), last_seen_at: iso(ms), ...fields }).activity;

  it('keeps only what the latest version does not tell', () => {
    const kept = new History();
    const quiet = { what_its_doing: null, progress: null };
    kept.note(at(0, quiet), at(50, quiet));
    expect(kept.size).toBe(0);
    kept.note(at(50, { what_its_doing: 'x', progress: null }), at(90, quiet));
    expect(kept.size).toBe(1);
    kept.note(at(50, { what_its_doing: 'x', progress: null }), at(90, quiet));
    kept.note(at(90, quiet), at(90, quiet));
    expect(kept.size).toBe(1);
  });

  it('stays within its limit, and says until when it let go', () => {
    const kept = new History(100);
    for (let i = 0; i < 250; i++) kept.note(at(i, { what_its_doing: `s${i}` }), at(1_000));
    expect(kept.size).toBeLessThanOrEqual(100);
    expect(kept.size + kept.dropped).toBe(250);
    expect(kept.droppedUntil).toBe(ZERO + kept.dropped - 1);
    expect(kept.at(at(1_000), ZERO + 249)?.doing).toBe('s249');
    expect(kept.at(at(1_000), ZERO + 20)?.doing).toBeNull();
  });

  it('lets versions go with their row', () => {
    const { live, replay } = setup();
    live.apply(change(1, 'a', 0, { started_at: iso(0), last_seen_at: iso(5), what_its_doing: 'x' }));
    live.apply(change(2, 'a', 0, { started_at: iso(0), last_seen_at: iso(9), what_its_doing: 'y' }));
    expect(replay.history.size).toBe(1);
    live.beginSnapshot();
    live.endSnapshot();
    expect(replay.history.at(at(9), ZERO + 6)?.doing).toBeNull();
  });

  it('takes nothing of later back in time', () => {
    const end = at(500, {
      state: 'FAILED',
      planned_at: iso(0),
      started_at: iso(100),
      ended_at: iso(500),
      error: { message: 'no' },
      decision: { choice: 'x' },
      what_it_did: 'y',
      progress: 1,
    });
    const working = earlier(end, ZERO + 200);
    expect(working).toMatchObject({
      state: 'IN_PROGRESS',
      endedAt: null,
      did: null,
      error: null,
      decision: null,
    });
    expect(earlier(end, ZERO + 50)).toMatchObject({ state: 'PLANNED', startedAt: null, waitMs: null });
    expect(earlier(end, ZERO - 1)).toBeNull();
    expect(earlier(end, ZERO + 500)).toBe(end);
    expect(begins(end)).toBe(ZERO);
    expect(isFinal(end.state) && same(end, end)).toBe(true);
  });
});

describe('moment', () => {
  it('counts as the server does', () => {
    const span = (trace: string) => `${trace.repeat(32)}-${'0'.repeat(16)}`;
    const { live, replay } = setup();
    const end = (state: string, from: number, to: number) => ({
      state,
      started_at: iso(from),
      ended_at: iso(to),
      last_seen_at: iso(to),
      duration_ms: to - from,
    });
    live.apply(change(1, 'a', 0, end('COMPLETED', 0, 4_000)));
    live.apply(change(2, span('b'), 1_000, end('FAILED', 1_000, 9_000)));
    live.apply(change(3, span('c'), 2_000, { started_at: iso(2_000), last_seen_at: iso(2_000) }));
    live.apply(change(4, 'd', 9_500, { started_at: iso(9_500), last_seen_at: iso(9_500) }));
    const early = moment(replay.seek(ZERO + 5_000), ZERO + 5_000);
    expect(early.census).toEqual({ live: 2, agents: 1, threads: 1 });
    expect(early.stats).toMatchObject({ total: 3, active: 2, since: ZERO });
    expect(early.stats.byState).toMatchObject({ COMPLETED: 1, IN_PROGRESS: 2, FAILED: 0 });
    expect(early.stats.hour).toMatchObject({ finished: 1, successRate: 1 });
    expect(early.samples.at(-1)?.value).toBe(2);
    expect(early.samples[56]?.value).toBe(2);
    expect(early.samples[0]?.value).toBe(0);
    const late = moment(replay.seek(ZERO + 10_000), ZERO + 10_000).stats;
    expect(late.byState).toMatchObject({ COMPLETED: 1, FAILED: 1, IN_PROGRESS: 2 });
    expect(late.hour).toMatchObject({ finished: 2, failed: 1, successRate: 0.5 });
    expect(late.hour.duration).toEqual({ average: 6_000, p50: 4_000, p95: 8_000, p99: 8_000 });
    expect(late.finished[53]).toBe(1);
    expect(late.failed[58]).toBe(1);
    expect(late.histogram.reduce((sum, b) => sum + b.count, 0)).toBe(2);
    expect(late.byType).toEqual([['work_item', 4]]);
  });
});

describe('moment, with what the server counts', () => {
  it('takes back what has ended since', () => {
    const { live, replay } = setup();
    const end = { state: 'COMPLETED', started_at: iso(0), ended_at: iso(9_000), last_seen_at: iso(9_000) };
    live.apply(change(1, 'a', 0, end));
    const store = replay.seek(ZERO + 5_000);
    const window = { started: 0, finished: 0, completed: 0, failed: 0, cancelled: 0, lost: 0 };
    const answer = (total: number, finished: number) => {
      const all = { ...window, finished: total, completed: total };
      const range = { ...window, finished, completed: finished, per_second: finished / 60 };
      const by_state = { COMPLETED: total - 2, FAILED: 2 };
      return stats({ log_id: 'log', total, by_state, windows: { all, range }, by_type: { span: total } });
    };
    const [all, hour, minute] = [answer(1_000, 999), answer(500, 480), answer(70, 60)];
    if (all === null || hour === null || minute === null) throw new Error('the statistics do not decode');
    const counted = { at: ZERO + 5_000, all, hour, minute };
    const told = moment(store, ZERO + 5_000, counted, (id) => replay.latest(id), false);
    expect(told.stats).toMatchObject({ total: 1_000, active: 1, byType: [['span', 1_000]], finished: [] });
    expect(told.stats.byState).toMatchObject({ COMPLETED: 997, FAILED: 2, IN_PROGRESS: 1 });
    expect(told.stats.hour.finished).toBe(480);
    expect(told.stats.minute.perSecond).toBe(1);
    expect(told.samples).toEqual([]);
  });
});

it('what the server says was at a moment is shown at it, whatever its sender’s clock', () => {
  const store = new Store();
  store.reset('log');
  // Of a host whose clock is an hour ahead.
  store.apply(change(1, 'a', 3_600_000, { started_at: iso(3_600_000), last_seen_at: iso(3_605_000) }));
  const replay = new Replay(store);
  replay.start();
  replay.seek(ZERO + 3_000);
  expect(replay.store.rows.size).toBe(0);
  const { activity } = change(1, 'a', 3_600_000, {
    started_at: iso(3_600_000),
    last_seen_at: iso(3_602_000),
    what_its_doing: 'then',
  });
  replay.pin(ZERO + 9_000, [activity]);
  replay.pin(ZERO + 3_000, [activity]);
  replay.learn([activity]);
  replay.seek(ZERO + 3_000);
  expect(replay.store.rows.get('a')?.a.doing).toBe('then');
  replay.advance(ZERO + 3_000);
  expect(replay.then(activity)?.doing).toBe('then');
  replay.seek(ZERO + 9_000);
  expect(replay.store.rows.size).toBe(0);
});
