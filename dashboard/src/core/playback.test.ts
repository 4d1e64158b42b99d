import { beforeEach, expect, it } from 'vitest';
import { Playback, type PlaySocket } from './playback';
import { wireActivity } from './sample';

const ZERO = Date.UTC(2026, 10, 22);
const iso = (at: number) => new Date(ZERO + at).toISOString();

class FakeSocket implements PlaySocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  sent: unknown[] = [];
  closed = false;
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  close(): void {
    this.closed = true;
  }
  tell(...objects: unknown[]): void {
    this.onmessage?.({ data: JSON.stringify(objects) });
  }
}

let socket: FakeSocket;
let asked: string;
let now: number;
let told: string[];
let playback: Playback;

const of = { log_id: 'log' };
const row = (event: string, seq: number, name: string) => ({
  event,
  ...of,
  seq,
  at: iso(0),
  activity: wireActivity({ name }),
});
const clock = (at: number, more: object = {}) => ({ event: 'clock', ...of, seq: 1, time: iso(at), ...more });
const begin = (name: string, at: number) => [
  row('active', 1, name),
  { event: 'snapshot_end', ...of, seq: 1 },
  clock(at),
];

beforeEach(() => {
  now = 0;
  told = [];
  socket = new FakeSocket();
  playback = new Playback(
    {
      open: (params) => {
        asked = params.toString();
        return socket;
      },
      now: () => now,
    },
    {
      began: (rows) => told.push(`began ${rows.map((c) => c.activity.name).join()}`),
      change: (change) => told.push(change.activity.name),
      ended: (why) => told.push(`ended ${why}`),
    },
    ZERO + 1_000,
    10,
  );
});

const hello = { event: 'hello', ...of, seq: 1, now: iso(9_000), lease_ms: 5_000 };

it('asks for the moment, shows what was active, and then each change', () => {
  expect(new URLSearchParams(asked).get('from')).toBe(iso(1_000));
  expect(new URLSearchParams(asked).get('speed')).toBe('10');
  socket.onopen?.();
  socket.tell(hello, ...begin('a', 1_000), row('updated', 2, 'b'));
  expect(told).toEqual(['began a', 'b']);
});

it('goes on by the server’s clock, and guesses only a little', () => {
  expect(playback.at()).toBe(ZERO + 1_000);
  socket.onopen?.();
  socket.tell(hello, ...begin('a', 1_000));
  now = 100;
  expect(playback.at()).toBe(ZERO + 2_000);
  now = 60_000;
  const most = playback.at();
  expect(most).toBeLessThan(ZERO + 10_000);
  socket.tell(clock(5_000));
  expect(playback.at(), 'it does not go back').toBe(most);
});

it('stands still and goes on, at another speed', () => {
  socket.onopen?.();
  socket.tell(hello, ...begin('a', 1_000));
  now = 100;
  playback.pause();
  playback.pause();
  now = 500;
  expect(playback.at()).toBe(ZERO + 2_000);
  playback.pace(1);
  playback.resume();
  now = 600;
  expect(playback.at()).toBe(ZERO + 2_100);
  expect(socket.sent).toEqual([{ action: 'pause' }, { action: 'speed', speed: 1 }, { action: 'resume' }]);
});

it('what was under way when it was sent elsewhere is not of there', () => {
  socket.onopen?.();
  socket.tell(hello, ...begin('a', 1_000));
  playback.seek(ZERO + 8_000);
  playback.seek(ZERO + 4_000);
  socket.tell(row('updated', 2, 'old'), clock(1_500));
  expect(playback.at()).toBe(ZERO + 4_000);
  socket.tell(...begin('skipped', 8_000), row('updated', 3, 'skipped too'));
  socket.tell(...begin('there', 4_000), row('updated', 4, 'new'));
  expect(told).toEqual(['began a', 'began there', 'new']);
  expect(socket.sent.at(-1)).toEqual({ action: 'seek', time: iso(4_000) });
});

it('what is said before the connection is there is said then', () => {
  playback.pace(2);
  playback.seek(ZERO + 3_000);
  playback.pause();
  expect(socket.sent).toEqual([]);
  socket.onopen?.();
  expect(socket.sent).toEqual([
    { action: 'speed', speed: 2 },
    { action: 'seek', time: iso(3_000) },
    { action: 'pause' },
  ]);
  socket.tell(hello, ...begin('of the beginning', 1_000), ...begin('a', 3_000));
  expect(told).toEqual(['began a']);
});

it('tells how it ends, once', () => {
  socket.onopen?.();
  socket.tell(hello, ...begin('a', 1_000), { event: 'end', ...of, seq: 9, time: iso(9_000), reason: 'end' });
  socket.onclose?.({ code: 1000 });
  expect(told).toEqual(['began a', 'ended end']);
  expect(socket.closed).toBe(true);
});

it.each([
  ['forgotten', () => socket.tell({ event: 'end', ...of, seq: 9, time: iso(0), reason: 'forgotten' })],
  ['broken', () => socket.onclose?.({ code: 1006 })],
  ['broken', () => socket.tell({ event: 'error', parameter: 'time', detail: 'lies before' })],
])('ends as %s', (why, happen) => {
  socket.onopen?.();
  happen();
  expect(told).toEqual([`ended ${why}`]);
});

it('takes nonsense, and nothing after it was stopped', () => {
  socket.onopen?.();
  for (const data of ['{', null, '[1, null, "x", {"event": 7}]', '{"event":"clock","time":"noon"}'])
    socket.onmessage?.({ data });
  socket.tell(hello, ...begin('a', 1_000), { ...row('updated', 2, 'b'), log_id: 'another' });
  expect(told).toEqual(['began a']);
  const { onmessage } = socket;
  playback.stop();
  expect(socket.onmessage).toBeNull();
  onmessage?.({ data: JSON.stringify([row('updated', 3, 'late')]) });
  expect(told).toEqual(['began a']);
});
