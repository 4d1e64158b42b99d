import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Connection, type Link, type Socket } from './connection';
import type { Frame } from './wire';

class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  closed = false;
  constructor(readonly params: string) {}
  close(): void {
    this.closed = true;
  }
}

let sockets: FakeSocket[];
let links: Link[];
let frames: Frame[];
let resumed: boolean[];
let status: number;
let connection: Connection;

const last = () => {
  const socket = sockets.at(-1);
  if (socket === undefined) throw new Error('no connection was opened');
  return socket;
};
const phase = () => links.at(-1)?.phase;

beforeEach(() => {
  vi.useFakeTimers();
  sockets = [];
  links = [];
  frames = [];
  resumed = [];
  status = 200;
  connection = new Connection(
    {
      open: (params) => {
        sockets.push(new FakeSocket(params.toString()));
        return last();
      },
      probe: async () => status,
      now: () => Date.now(),
      random: () => 1,
    },
    {
      link: (link) => links.push(link),
      opened: (r) => resumed.push(r),
      frame: (frame) => frames.push(frame),
    },
  );
  connection.start();
});

afterEach(() => {
  connection.stop();
  vi.useRealTimers();
});

describe('Connection', () => {
  it('starts with a snapshot', () => {
    expect(last().params).toBe('batch=1&hello=1&snapshot=1');
    expect(phase()).toBe('connecting');
    last().onopen?.();
    last().onmessage?.({ data: '[]' });
    expect(phase()).toBe('live');
    expect(resumed).toEqual([false]);
    expect(frames).toEqual([{ messages: [], malformed: 0 }]);
  });

  it('goes on where it broke off', async () => {
    last().onopen?.();
    connection.at({ logId: '01J', seq: 812 });
    last().onclose?.({ code: 1013 });
    expect(links.at(-1)).toMatchObject({ phase: 'waiting', attempt: 1 });
    await vi.advanceTimersByTimeAsync(250);
    expect(last().params).toBe('batch=1&hello=1&after=01J%3A812');
    last().onopen?.();
    expect(resumed).toEqual([false, true]);
    expect(phase()).toBe('live');
  });

  it('waits longer each time, to a bound, and forgets it once messages come', async () => {
    const waits: number[] = [];
    const fail = async () => {
      last().onclose?.({ code: 1006 });
      const link = links.at(-1);
      waits.push(link?.phase === 'waiting' ? link.retryAt - Date.now() : -1);
      await vi.advanceTimersByTimeAsync(5_000);
    };
    for (let i = 0; i < 7; i++) await fail();
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    last().onopen?.();
    last().onmessage?.({ data: '[]' });
    await fail();
    expect(waits.at(-1)).toBe(250);
  });

  it.each([
    [401, 'signin'],
    [403, 'refused'],
    [421, 'refused'],
  ])('says why it cannot: %i', async (code, want) => {
    status = code;
    last().onclose?.({ code: 1006 });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(phase()).toBe(want);
    expect(sockets).toHaveLength(1);
    status = 200;
    connection.reconnect();
    expect(sockets).toHaveLength(2);
  });

  it('hurries only while it waits', () => {
    last().onopen?.();
    connection.hurry();
    expect(sockets).toHaveLength(1);
    last().onclose?.({ code: 1006 });
    connection.hurry();
    expect(sockets).toHaveLength(2);
  });

  it('hears no more of a connection it dropped', () => {
    const first = last();
    connection.reconnect();
    expect(first.closed).toBe(true);
    expect(first.onmessage).toBeNull();
    expect(first.onclose).toBeNull();
  });

  it('stops, also twice', async () => {
    last().onclose?.({ code: 1006 });
    connection.stop();
    connection.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    connection.reconnect();
    connection.hurry();
    expect(sockets).toHaveLength(1);
  });
});
