import { expect, it } from 'vitest';
import { wireActivity } from './sample';
import { begins, ends, extent } from './times';
import { activity, type Activity } from './wire';

const T = Date.UTC(2026, 10, 22);
const iso = (ms: number | null) => (ms === null ? null : new Date(T + ms).toISOString());
const NOW = T + 1_000;

function sample(
  state: string,
  planned: number | null,
  started: number | null,
  ended: number | null,
  seen = 0,
): Activity {
  const times = {
    planned_at: iso(planned),
    started_at: iso(started),
    ended_at: iso(ended),
    last_seen_at: iso(seen),
  };
  const a = activity(wireActivity({ state, ...times }));
  if (a === null) throw new Error('the sample does not decode');
  return a;
}

// Milliseconds: planned, started, ended, last seen; then the wait's begin, the work's, and its end.
it.each([
  ['PLANNED', 100, null, null, 100, [100, 1_000, 1_000]],
  ['PLANNED', 1_500, null, null, 0, [1_500, 1_500, 1_500]], // by a clock that is ahead
  ['IN_PROGRESS', 100, 300, null, 900, [100, 300, 1_000]],
  ['IN_PROGRESS', null, 300, null, 900, [300, 300, 1_000]],
  ['IN_PROGRESS', 1_200, 1_300, null, 0, [1_200, 1_300, 1_300]],
  ['COMPLETED', 100, 300, 700, 700, [100, 300, 700]],
  ['COMPLETED', 100, 300, 200, 700, [100, 300, 300]], // nothing ends before it began
  ['CANCELLED', 100, null, 700, 700, [100, 700, 700]],
  ['FAILED', null, null, 700, 700, [700, 700, 700]],
  ['LOST', 100, 300, null, 600, [100, 300, 600]], // up to its last sign of life
])('%s of %s, %s, %s', (state, planned, started, ended, seen, [from, work, to]) => {
  const a = sample(state, planned, started, ended, seen);
  const at = (ms: number | undefined) => T + (ms ?? NaN);
  expect(extent(a, NOW)).toEqual({ from: at(from), work: at(work), to: at(to) });
  expect(ends(a, NOW)).toBe(at(to));
  expect(begins(a)).toBe(T + (planned ?? started ?? ended ?? NaN));
});
