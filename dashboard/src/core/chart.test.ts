import { describe, expect, it } from 'vitest';
import { bars, histogram, line } from './chart';

describe('charts', () => {
  it('draws bars from the right and leaves zeros out', () => {
    const path = bars([0, 5, 10], 10, { width: 60, base: 30, height: 30, slots: 6 });
    expect(path.match(/M/g)).toHaveLength(2);
    expect(path.startsWith('M40 15')).toBe(true);
    expect(bars([1], 0, { width: 60, base: 30, height: 30, slots: 6 })).toBe('');
  });

  it('draws a line only of what it has', () => {
    expect(line([{ at: 0, value: 1 }], 0, 60_000, { width: 200, height: 40, top: 6 }).line).toBe('');
    const drawn = line(
      [
        { at: 0, value: 1 },
        { at: 30_000, value: 5 },
      ],
      30_000,
      60_000,
      { width: 200, height: 40, top: 6 },
    );
    expect(drawn.line).toBe('M100 36L200 6');
  });

  it('begins at a microsecond', () => {
    const none = { p50: null, p95: null, p99: null };
    const box = { width: 300, height: 32 };
    const ticks = (le: number) => histogram([{ le, count: 1 }], none, box)?.ticks.map((tick) => tick.ms);
    expect(ticks(0.001)).toEqual([0.001, 0.01]);
    expect(ticks(0.00001)).toEqual([0.001, 0.01]);
  });

  it('lays a histogram over whole decades', () => {
    const buckets = [
      { le: 10, count: 0 },
      { le: 20, count: 4 },
      { le: 100, count: 2 },
      { le: 1_000, count: 1 },
      { le: Infinity, count: 0 },
    ];
    const h = histogram(buckets, { p50: 20, p95: 900, p99: 990 }, { width: 300, height: 32 });
    expect(h?.ticks.map((tick) => tick.ms)).toEqual([10, 100, 1_000]);
    expect(h?.common.match(/M/g)).toHaveLength(3);
    expect(h?.marks.map((mark) => [mark.label, mark.side])).toEqual([
      ['p99', null],
      ['p95', 'left'],
      ['p50', 'right'],
    ]);
    expect(
      histogram([{ le: 10, count: 0 }], { p50: null, p95: null, p99: null }, { width: 1, height: 1 }),
    ).toBeNull();
  });
});
