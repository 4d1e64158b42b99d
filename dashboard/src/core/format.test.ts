import { describe, expect, it } from 'vitest';
import { format } from './format';

const units = { microsecond: 'µs', millisecond: 'ms', second: 's', minute: 'min', hour: 'h', day: 'd' };

describe('format', () => {
  const f = format('en-US', units);
  const plain = (text: string) => text.replaceAll('\u00a0', ' ');
  it.each([
    [0, '0 µs'],
    [0.42, '420 µs'],
    [0.9997, '1.0 ms'],
    [7.31, '7.3 ms'],
    [9.999, '10 ms'],
    [412.4, '412 ms'],
    [999.7, '1.00 s'],
    [1_920, '1.92 s'],
    [59_949, '59.9 s'],
    [59_999, '1 min 0 s'],
    [61_000, '1 min 1 s'],
    [3_600_000, '1 h 0 min'],
    [90_000_000, '1 d 1 h'],
    [-5, '0 µs'],
  ])('duration of %d', (ms, want) => expect(plain(f.duration(ms))).toBe(want));

  it.each([
    [0.001, '1 µs'],
    [0.1, '100 µs'],
    [10, '10 ms'],
    [1_000, '1 s'],
    [100_000, '100 s'],
  ])('mark at %d', (ms, want) => expect(plain(f.mark(ms))).toBe(want));

  it.each([
    [0, 2_000, '0 s'],
    [8_000, 2_000, '8 s'],
    [1_500, 500, '1.5 s'],
    [500, 500, '500 ms'],
    [0.5, 0.5, '500 µs'],
    [1.25, 0.05, '1.25 ms'],
    [90_000, 30_000, '1 min 30 s'],
    [120_000, 60_000, '2 min'],
    [5_400_000, 1_800_000, '1 h 30 min'],
    [0, 7_200_000, '0 h'],
    [-200, 200, '−200 ms'],
    [-600_000, 300_000, '−10 min'],
    [-90_000, 30_000, '−1 min 30 s'],
  ])('tick at %d every %d', (ms, step, want) => expect(plain(f.tick(ms, step))).toBe(want));

  it('does not round a failure away', () => {
    expect(f.points(0.99999)).toBe('99.99');
    expect(f.points(1)).toBe('100');
    expect(f.share(0.999)).toBe('99%');
    expect(f.share(0.29)).toBe('29%');
    expect(f.points(0.9894)).toBe('98.94');
    expect(f.points(15 / 21)).toBe('71.43');
    expect(f.points(0.00004)).toBe('0');
  });

  it('writes numbers as the language does', () => {
    expect(f.integer(100_000)).toBe('100,000');
    expect(f.short(999_999)).toBe('999,999');
    expect(f.short(1_840_000)).toBe('1.84M');
    expect(format('de', units).integer(100_000)).toBe('100.000');
    expect(plain(f.ago(65_000))).toBe('1 min');
    expect(plain(f.ago(-1))).toBe('0 s');
  });
});
