import { describe, expect, it } from 'vitest';
import { inSight } from './window';

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
