import { expect, it } from 'vitest';
import { Forest } from './forest';
import { outcome } from './outcome';
import { change } from './sample';

const T0 = Date.UTC(2026, 10, 22);
const iso = (ms: number) => new Date(T0 + ms).toISOString();

function forest(
  ...rows: [id: string, parent: string | null, from: number, to: number | null, more?: object][]
) {
  const made = new Forest();
  for (const [i, [id, parent, from, to, more]] of rows.entries()) {
    const fields = {
      parent_id: parent,
      started_at: iso(from),
      ended_at: to === null ? null : iso(to),
      state: to === null ? 'IN_PROGRESS' : 'COMPLETED',
      ...more,
    };
    made.put(change(i + 1, id, from, fields).activity, i + 1);
  }
  return made;
}

const decision = { type: 'decision' };
const sql = { type: 'database_operation' };

it('finds what was begun after a decision, below the nearest that it belongs to', () => {
  const f = forest(
    ['attempt', null, 0, 100],
    ['before', 'attempt', 1, 5],
    ['request', 'attempt', 6, 12],
    ['choose', 'request', 7, 10, decision],
    ['look', 'choose', 8, 9],
    ['commit', 'request', 11, 12, sql],
    ['work', 'attempt', 20, 50],
    ['check', 'attempt', 60, 70],
  );
  const found = outcome(f, 'choose');
  expect(found.then.map((a) => a.id)).toEqual(['work', 'check']);
  expect(found.within?.id).toBe('attempt');
  expect(found.state).toBe('COMPLETED');
});

it('turned out as badly as the worst of it', () => {
  const rows = (last: object): Parameters<typeof forest> => [
    ['attempt', null, 0, null],
    ['choose', 'attempt', 1, 2, decision],
    ['good', 'attempt', 3, 4],
    ['last', 'attempt', 5, 6, last],
  ];
  expect(outcome(forest(...rows({ state: 'FAILED' })), 'choose').state).toBe('FAILED');
  expect(outcome(forest(...rows({ state: 'IN_PROGRESS' })), 'choose').state).toBe('IN_PROGRESS');
  expect(outcome(forest(...rows({})), 'choose').state).toBe('COMPLETED');
  const failed = forest(
    ['attempt', null, 0, 9, { state: 'FAILED' }],
    ['choose', 'attempt', 1, 2, decision],
    ['good', 'attempt', 3, 4],
  );
  expect(outcome(failed, 'choose').state).toBe('FAILED');
});

it('says nothing of what is undecided, alone or unknown', () => {
  expect(outcome(forest(['choose', null, 0, null, decision]), 'choose').state).toBeNull();
  expect(outcome(forest(['choose', null, 0, 1, decision]), 'choose').then).toEqual([]);
  expect(outcome(new Forest(), 'choose').then).toEqual([]);
});
