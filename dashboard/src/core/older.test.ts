import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Older } from './older';
import { begins } from './times';
import { page, type Page } from './wire';

const at = (n: number) => new Date(Date.UTC(2026, 10, 23, 10, 0, n)).toISOString();

/** The page of the seconds from `first` down to `last`. */
function seconds(first: number, last: number): unknown {
  const activities = [];
  for (let n = first; n >= last; n--) {
    activities.push({
      activity_id: `${'a'.repeat(32)}-${String(n).padStart(16, '0')}`,
      state: 'COMPLETED',
      planned_at: at(n),
    });
  }
  return { activities, next_cursor: last === 0 ? null : `before ${last}`, log_id: 'log', as_of_seq: 1 };
}

const decoded = (first: number, last: number) => page(seconds(first, last)) as Page;
const asked = vi.fn<(path: string) => unknown>();

beforeEach(() => {
  asked.mockReset();
  vi.stubGlobal('fetch', async (path: string) => {
    const body = asked(path);
    return body === undefined ? new Response('{}', { status: 503 }) : Response.json(body);
  });
});
afterEach(() => vi.unstubAllGlobals());

it('knows how far back the page is whole, and goes on from there', async () => {
  const older = new Older('/activity/all?sort=-planned_at', begins);
  expect(older.since).toBe(Infinity);
  older.reached(decoded(9, 6));
  expect(older.since).toBe(Date.parse(at(6)));
  asked.mockReturnValueOnce(seconds(5, 3)).mockReturnValueOnce(seconds(2, 0));
  const taken: number[] = [];
  const take = ({ activities }: Page) => taken.push(activities.length) > 0;
  await older.load(take);
  expect(asked.mock.calls).toEqual([['/activity/all?sort=-planned_at&limit=1000&cursor=before%206']]);
  expect(older.since).toBe(Date.parse(at(3)));
  await older.load(take);
  expect(older.since).toBe(-Infinity);
  await older.load(take); // there is no more
  expect(taken).toEqual([3, 3]);
});

it('stops where it was to reach, where the server fails, and where nobody takes it', async () => {
  const older = new Older('/x?', begins);
  older.reached(decoded(9, 6));
  asked.mockReturnValueOnce(seconds(5, 3)).mockReturnValueOnce(seconds(2, 1));
  await older.load(() => true, Date.parse(at(4)), 5);
  expect(older.since).toBe(Date.parse(at(3)));
  await older.load(() => false);
  expect(older.since).toBe(Date.parse(at(3)));
  await older.load(() => true);
  expect(asked).toHaveBeenCalledTimes(3);
  expect(older.since).toBe(Date.parse(at(3)));
});

it('asks once at a time', async () => {
  const older = new Older('/x?', begins);
  older.reached(decoded(9, 6));
  asked.mockReturnValue(seconds(5, 3));
  await Promise.all([older.load(() => true), older.load(() => true)]);
  expect(asked).toHaveBeenCalledTimes(1);
});
