import { describe, expect, it } from 'vitest';
import { Clock, Rate } from './clock';

describe('Clock', () => {
  it('follows the server on a monotonic clock, and ignores jitter', () => {
    let now = 1_000;
    const clock = new Clock(() => now);
    expect(clock.now()).toBeNull();
    clock.set(50_000);
    now = 1_500;
    expect(clock.now()).toBe(50_500);
    clock.set(50_600);
    expect(clock.now()).toBe(50_500);
    clock.set(60_000, 10);
    expect(clock.now()).toBe(60_010);
  });
});

describe('Rate', () => {
  it('is of the last seconds', () => {
    const rate = new Rate(3_000);
    expect(rate.perSecond()).toBeNull();
    for (let i = 0; i <= 20; i++) rate.add(i * 500, i < 10 ? 0 : (i - 10) * 100);
    expect(rate.perSecond()).toBeCloseTo(200);
  });
});
