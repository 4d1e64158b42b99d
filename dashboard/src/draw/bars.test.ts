import { describe, expect, it } from 'vitest';
import { wireActivity } from '../core/sample';
import { ends, extent } from '../core/times';
import { activity, type Activity } from '../core/wire';
import { bar, marks, strips } from './bars';

const T = Date.UTC(2026, 10, 22);
const iso = (ms: number) => new Date(T + ms).toISOString();
const range = { from: T, to: T + 1_000 };
const WIDTH = 1_000;

function sample(fields: Record<string, unknown>): Activity {
  const a = activity(wireActivity({ planned_at: iso(0), started_at: iso(200), ...fields }));
  if (a === null) throw new Error('the sample does not decode');
  return a;
}

const done = { state: 'COMPLETED', ended_at: iso(500), progress: null };

describe('bar', () => {
  it('is cut at the edges, and gone beyond them', () => {
    expect(bar(range, T - 100, T + 2_000)).toEqual({ left: 0, width: 1, cutLeft: true, cutRight: true });
    expect(bar(range, T + 250, T + 500)).toEqual({
      left: 0.25,
      width: 0.25,
      cutLeft: false,
      cutRight: false,
    });
    expect(bar(range, T - 200, T - 100)).toBeNull();
    expect(bar(range, T + 1_100, T + 1_200)).toBeNull();
    expect(bar(range, T + 500, T + 100)?.width).toBe(0);
  });
});

describe('marks', () => {
  it('draws the wait apart from the work', () => {
    const m = marks(sample(done), range, T + 900, WIDTH);
    expect(m.wait).toMatchObject({ left: 0, width: 0.2 });
    expect(m.bar?.left).toBe(0.2);
    expect(m.bar?.width).toBeCloseTo(0.3, 9);
    expect(m.label).toEqual({ side: 'right', at: 0.5 });
    expect(marks(sample({ ...done, planned_at: iso(200) }), range, T + 900, WIDTH).wait).toBeNull();
  });

  it('grows what is in progress to now', () => {
    const a = sample({});
    const early = marks(a, range, T + 600, WIDTH);
    const late = marks(a, range, T + 700, WIDTH);
    expect(early.bar?.width).toBeCloseTo(0.4, 9);
    expect(late.bar?.width).toBeCloseTo(0.5, 9);
    expect(late.label).toEqual({ side: 'in', at: 0.7 });
    expect(marks(a, range, T + 250, WIDTH).label.side).toBe('right');
    expect(marks(sample({ stalled: true }), range, T + 700, WIDTH).label.side).toBe('right');
    expect(marks(sample({ type: 'decision' }), range, T + 700, WIDTH).label.side).toBe('right');
  });

  it('puts what is planned beyond now, for its usual time', () => {
    const m = marks(sample({ state: 'PLANNED', started_at: null, usual_ms: 300 }), range, T + 600, WIDTH);
    expect(m.bar?.left).toBe(0.6);
    expect(m.bar?.width).toBeCloseTo(0.3, 9);
    expect(m.wait).toMatchObject({ left: 0, width: 0.6 });
    const later = sample({ state: 'PLANNED', planned_at: iso(550), started_at: null, usual_ms: null });
    expect(marks(later, range, T + 600, WIDTH).label).toEqual({ side: 'left', at: 0.55 });
    expect(marks(later, range, T + 600, WIDTH).bar?.width).toBeCloseTo(0.08, 9);
  });

  it('fades what is lost from its last sign of life', () => {
    const lost = { state: 'LOST', ended_at: iso(1_000), last_seen_at: iso(400) };
    expect(marks(sample(lost), range, T + 1_000, WIDTH).faded).toBeCloseTo(0.25, 9);
    expect(marks(sample({ ...lost, last_seen_at: null }), range, T + 1_000, WIDTH).faded).toBe(0);
    expect(marks(sample(done), range, T + 1_000, WIDTH).faded).toBeNull();
  });

  it('sets a decision’s diamond where it was taken', () => {
    const decided = sample({ ...done, type: 'decision' });
    expect(marks(decided, range, T + 900, WIDTH).diamond).toBe(0.5);
    expect(marks(decided, { from: T + 600, to: T + 800 }, T + 900, WIDTH).diamond).toBeNull();
    expect(marks(sample({ type: 'decision' }), range, T + 700, WIDTH).diamond).toBe(0.7);
  });

  it('finds a place for the text', () => {
    const late = sample({ ...done, planned_at: null, started_at: iso(800), ended_at: iso(980) });
    expect(marks(late, range, T + 1_000, WIDTH).label).toEqual({ side: 'left', at: 0.8 });
    const wide = sample({ ...done, planned_at: null, started_at: iso(0), ended_at: iso(990) });
    expect(marks(wide, range, T + 1_000, WIDTH).label).toEqual({ side: 'in', at: 0.99 });
    expect(marks(late, range, T + 1_000, 50).label).toEqual({ side: 'over', at: 1 });
    const off = { ...done, state: 'CANCELLED', planned_at: null, started_at: iso(0), ended_at: iso(850) };
    const why = (what_it_did: string) =>
      marks(sample({ ...off, what_it_did }), range, T + 1_000, WIDTH).label;
    expect(why('superseded')).toEqual({ side: 'right', at: 0.85 });
    expect(why('superseded by a later one')).toEqual({ side: 'in', at: 0.85 });
  });

  it('copes with times that contradict each other', () => {
    const odd = sample({ ...done, planned_at: iso(900), started_at: iso(700), ended_at: iso(100) });
    expect(extent(odd, T).to).toBe(T + 700);
    for (const a of [
      odd,
      sample(done),
      sample({}),
      sample({ ...done, ended_at: null }),
      sample({ state: 'LOST' }),
    ]) {
      expect(ends(a, T + 900)).toBe(extent(a, T + 900).to);
    }
    const m = marks(odd, range, T, WIDTH);
    expect(m.wait).toBeNull();
    expect(m.bar?.width).toBe(0);
    const none = sample({ planned_at: null, started_at: null });
    expect(marks(none, range, T + 500, WIDTH).bar).not.toBeNull();
  });
});

describe('strips', () => {
  it('are the parts of the path that are in sight', () => {
    const parts = [
      { from: T + 100, to: T + 300, wait: true },
      { from: T + 900, to: T + 1_500, wait: false },
      { from: T + 2_000, to: T + 2_500, wait: false },
    ];
    expect(strips(parts, range)).toEqual([
      { left: 0.1, width: expect.closeTo(0.2) as number, cutLeft: false, cutRight: false, wait: true },
      { left: 0.9, width: expect.closeTo(0.1) as number, cutLeft: false, cutRight: true, wait: false },
    ]);
  });
});
