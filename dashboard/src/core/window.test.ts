import { describe, expect, it } from 'vitest';
import { countSince, inSight } from './window';

describe('inSight', () => {
  it.each([
    [0, 340, 34, 1_000, 0, 16],
    [340, 340, 34, 1_000, 4, 26],
    [33_660, 340, 34, 1_000, 984, 1_000],
    [99_999, 340, 34, 10, 10, 10],
    [0, 340, 34, 0, 0, 0],
    [-50, 340, 34, 5, 0, 5],
  ])('at %i', (top, viewport, height, count, start, end) => {
    expect(inSight(top, viewport, height, count)).toEqual({ start, end });
  });
});

describe('countSince', () => {
  const list = [9, 7, 7, 4, 1];
  it.each([
    [10, 0],
    [9, 1],
    [7, 3],
    [5, 3],
    [-Infinity, 5],
  ])('counts what is not before %d', (since, count) => {
    expect(countSince(list, (at) => at, since)).toBe(count);
  });

  it('of nothing is nothing', () => {
    expect(countSince([], () => 0, 0)).toBe(0);
  });
});
