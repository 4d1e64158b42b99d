import { describe, expect, it } from 'vitest';
import { stats, activeBefore } from './stats';

describe('stats', () => {
  it('reads absent numbers as absent', () => {
    const s = stats({
      log_id: 'a',
      windows: { '1h': { finished: 3, success_rate: null, duration_ms: { p50: null } } },
    });
    expect(s?.hour).toMatchObject({ finished: 3, successRate: null, duration: { p50: null, average: null } });
    expect(s?.held).toBeNull();
    expect(stats({})).toBeNull();
    expect(stats('x')).toBeNull();
  });

  it('sorts kinds by count and keeps 60 seconds', () => {
    const s = stats({
      log_id: 'a',
      by_type: { span: 1, decision: 9 },
      by_state: { COMPLETED: 7 },
      in_progress: 2,
      series: { finished: Array.from({ length: 90 }, (_, i) => i) },
      histogram: [{ le_ms: 1, count: 2 }, 'x', { le_ms: null, count: 1 }],
    });
    expect(s?.byType).toEqual([
      ['decision', 9],
      ['span', 1],
    ]);
    expect(s?.byState).toMatchObject({ IN_PROGRESS: 2, COMPLETED: 7, LOST: 0 });
    expect(s?.finished).toHaveLength(60);
    expect(s?.histogram).toEqual([
      { le: 1, count: 2 },
      { le: Infinity, count: 1 },
    ]);
  });
});

it('tells what was active before the page came, from what began and ended since', () => {
  expect(activeBefore({ active: 5, started: [3, 0, 4], finished: [1, 2, 0] })).toEqual([1, 3, 1]);
  expect(activeBefore({ active: 0, started: [9], finished: [0] })).toEqual([0]);
});
