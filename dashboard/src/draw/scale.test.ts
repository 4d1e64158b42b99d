import { describe, expect, it } from 'vitest';
import {
  around,
  clamp,
  edges,
  overlap,
  pan,
  place,
  slide,
  step,
  tickExtent,
  ticks,
  whole,
  zoom,
} from './scale';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe('step', () => {
  it.each([
    [0.3, 0.5],
    [1, 1],
    [1.01, 2],
    [700, 1_000],
    [1_773, 2_000],
    [10_000, 10_000],
    [10_001, 15_000],
    [61_000, 2 * MINUTE],
    [7 * HOUR, 12 * HOUR],
    [13 * HOUR, 24 * HOUR],
    [100 * HOUR, 120 * HOUR],
  ])('%d', (wanted, want) => expect(step(wanted)).toBeCloseTo(want, 9));

  it('is never less than wanted, and never nothing', () => {
    for (let wanted = 0.001; wanted < 1e10; wanted *= 1.7) {
      expect(step(wanted)).toBeGreaterThanOrEqual(wanted * 0.999);
      expect(step(wanted)).toBeLessThanOrEqual(Math.max(wanted * 10, 24 * HOUR));
    }
    for (const odd of [0, -1, NaN]) expect(step(odd)).toBeGreaterThan(0);
  });
});

describe('whole', () => {
  it('keeps room beyond now, and a round end', () => {
    const range = whole(1_000, 1_000, 13_410, 700);
    expect(range).toEqual({ from: 1_000, to: 15_000 });
    expect(place(range, 13_410)).toBeCloseTo(0.8864, 4);
    expect(whole(1_000, 1_000, 13_500, 700)).toEqual(range);
  });

  it('always shows now, with room for what is planned', () => {
    for (let age = 0; age < 1e8; age = age * 1.3 + 1) {
      const x = place(whole(5, 5, 5 + age, 700), 5 + age);
      expect(x).toBeGreaterThanOrEqual(0);
      expect(x).toBeLessThan(0.94);
    }
  });

  it('ends with what has ended, and a text beside it', () => {
    const range = whole(0, 1_000, null, 884);
    expect(place(range, 1_000) * 884).toBeCloseTo(800, 0);
    expect(whole(0, 0, null, 0).to).toBeGreaterThan(0);
  });
});

describe('zoom, pan, clamp', () => {
  const range = { from: 100, to: 200 };

  it('keeps the fixed place', () => {
    const near = zoom(range, 0.5, 0.25);
    expect(near).toEqual({ from: 112.5, to: 162.5 });
    expect(place(near, 125)).toBeCloseTo(0.25, 9);
    expect(zoom(near, 2, 0.25)).toEqual(range);
  });

  it('moves by a share', () => expect(pan(range, -0.2)).toEqual({ from: 80, to: 180 }));

  it('does not lose the trace, nor its own width', () => {
    expect(clamp({ from: 1e6, to: 1e6 + 10 }, range)).toEqual({ from: 195, to: 205 });
    expect(clamp({ from: -1e6, to: -1e6 + 10 }, range)).toEqual({ from: 95, to: 105 });
    const far = clamp({ from: -1e6, to: 1e6 }, range);
    expect(far.to - far.from).toBe(150);
    const near = clamp({ from: 150, to: 150 }, range);
    expect(near.to).toBeGreaterThan(near.from);
  });

  it('leaves air around one activity', () => {
    const room = around(100, 200);
    expect(room.from).toBeLessThan(100);
    expect(room.to).toBeGreaterThan(200);
    expect(around(5, 5).to).toBeGreaterThan(around(5, 5).from);
  });
});

describe('ticks', () => {
  it('marks the picture’s axis', () => {
    const { ticks: marks, step: by } = ticks({ from: 1_000, to: 15_000 }, 1_000, 700);
    expect(by).toBe(2_000);
    expect(marks.map((m) => m.ms)).toEqual([0, 2_000, 4_000, 6_000, 8_000, 10_000, 12_000, 14_000]);
    expect(marks[1]?.x).toBeCloseTo(1 / 7, 9);
  });

  it('has fewer on a narrow axis, and begins within it', () => {
    const { ticks: marks } = ticks({ from: 5_300, to: 9_300 }, 0, 160);
    expect(marks.length).toBeLessThanOrEqual(3);
    for (const mark of marks) {
      expect(mark.x).toBeGreaterThanOrEqual(-1e-6);
      expect(mark.x).toBeLessThanOrEqual(1 + 1e-6);
    }
  });
});

describe('tickExtent', () => {
  it('stays within the ends of the axis', () => {
    expect(tickExtent(0, 300, 40)).toEqual({ left: 0, right: 40 });
    expect(tickExtent(0.5, 300, 40)).toEqual({ left: 130, right: 170 });
    expect(tickExtent(1, 300, 40)).toEqual({ left: 260, right: 300 });
  });

  it('tells which texts are over each other', () => {
    const last = tickExtent(1, 300, 40);
    expect(overlap(last, { left: 200, right: 261 })).toBe(true);
    expect(overlap(last, { left: 200, right: 260 })).toBe(false);
    expect(overlap({ left: 270, right: 280 }, last)).toBe(true);
  });
});

describe('the window of the overview', () => {
  const all = { from: 0, to: 1_000 };

  it('stands where the range does, within all', () => {
    expect(edges({ from: 250, to: 500 }, all)).toEqual({ from: 0.25, to: 0.5 });
    expect(edges({ from: -100, to: 1_200 }, all)).toEqual({ from: 0, to: 1 });
  });

  it('moves, and widens by its ends', () => {
    const range = { from: 200, to: 400 };
    expect(slide(range, all, 'window', 0.1)).toEqual({ from: 300, to: 500 });
    expect(slide(range, all, 'window', 5)).toEqual({ from: 800, to: 1_000 });
    expect(slide(range, all, 'window', -5)).toEqual({ from: 0, to: 200 });
    expect(slide(range, all, 'from', -0.1)).toEqual({ from: 100, to: 400 });
    expect(slide(range, all, 'to', 1)).toEqual({ from: 200, to: 1_000 });
    expect(slide(range, all, 'from', 1).from).toBeLessThan(400);
    expect(slide(range, all, 'to', -1).to).toBeGreaterThan(200);
  });
});
