import { expect, it } from 'vitest';
import { clocksOff, targets } from './beyond';
import { stats } from './stats';

it('reads where spans go on to, and whose clocks are off', () => {
  const s = stats({
    log_id: 'a',
    forwarding: [
      { target: 'http://jaeger:4318', lag_seconds: 1.5, lag_spans: 7, sent: 9, dropped: 0, state: 'ok' },
      { target: 'other', state: 'away', rejected: 2 },
      'x',
    ],
    processes: [
      { service: 'near', instance: '1', lease: 'live', clock_offset_ms: -3 },
      { service: 'ahead', instance: '1', lease: 'live', clock_offset_ms: -5_000 },
      { service: 'behind', instance: '1', lease: 'live', clock_offset_ms: 3_600_000 },
      { service: 'gone', instance: '1', lease: 'expired', clock_offset_ms: 3_600_000 },
      { service: 'unknown', instance: '1', lease: 'live', clock_offset_ms: null },
      7,
    ],
  });
  expect(targets(s?.forwarding)).toEqual([
    { name: 'http://jaeger:4318', away: false, lagMs: 1_500, lag: 7, sent: 9, rejected: 0, dropped: 0 },
    { name: 'other', away: true, lagMs: 0, lag: 0, sent: 0, rejected: 2, dropped: 0 },
  ]);
  expect(clocksOff(s?.processes).map((p) => p.service)).toEqual(['behind', 'ahead']);
  expect([targets(7), targets(undefined), clocksOff({}), clocksOff(undefined)]).toEqual([[], [], [], []]);
});
