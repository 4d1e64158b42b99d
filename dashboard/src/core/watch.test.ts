import { describe, expect, it } from 'vitest';
import { Watch } from './watch';

describe('Watch', () => {
  it('calls a stream dead that stands still while the log goes on', () => {
    const watch = new Watch(6_000);
    const answers = Array.from({ length: 9 }, (_, second) => watch.stuck(100 + second, 90, second * 1_000));
    expect(answers.indexOf(true)).toBe(7);
    expect(answers.filter(Boolean)).toHaveLength(1);
  });

  it('does not mind a stream that is always a little behind', () => {
    const watch = new Watch(6_000);
    for (let second = 0; second < 60; second++) {
      expect(watch.stuck(100 * second + 5, 100 * second, second * 1_000)).toBe(false);
    }
  });

  it('does not mind a quiet log', () => {
    const watch = new Watch(6_000);
    for (let second = 0; second < 60; second++) expect(watch.stuck(7, 7, second * 1_000)).toBe(false);
    expect(watch.stuck(8, 7, 60_000)).toBe(false);
    expect(watch.stuck(8, 7, 61_000)).toBe(false);
  });
});
