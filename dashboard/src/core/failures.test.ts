import { describe, expect, it } from 'vitest';
import { fingerprint, group } from './failures';
import { change } from './sample';
import { Store } from './store';

describe('failures', () => {
  it('groups what differs only in numbers and ids', () => {
    const store = new Store();
    store.reset('log');
    const failed = (seq: number, message: string, second: number, name = 'open file 7') =>
      store.apply(
        change(seq, `id${seq}`, seq, {
          name,
          state: 'FAILED',
          ended_at: `2026-11-22T10:00:0${second}Z`,
          error: { type: 'io', message, stack: null },
        }),
      );
    failed(1, 'open /a/17: denied\nmore', 1);
    failed(2, 'open /a/18: denied', 3, 'open file 8');
    failed(3, 'trace 4bf92f3577b34da6a3ce929d0e0e4736 is gone', 2);
    failed(4, 'open /a/19: denied', 2, 'copy file');
    store.settle();
    const groups = group(store.failures);
    expect(groups.map((g) => [g.latest.id, g.count, g.kinds])).toEqual([
      ['id2', 3, 2],
      ['id3', 1, 1],
    ]);
    expect(groups[0]?.trend.reduce((sum, n) => sum + n, 0)).toBe(3);
    expect(group([])).toEqual([]);
  });

  it('tells errors without a message apart by what failed', () => {
    const a = change(1, 'a', 1, { name: 'tick 1', error: null }).activity;
    const b = change(2, 'b', 1, { name: 'tick 2', error: null }).activity;
    const c = change(3, 'c', 1, { name: 'other', error: null }).activity;
    expect(fingerprint(a)).toBe(fingerprint(b));
    expect(fingerprint(a)).not.toBe(fingerprint(c));
  });
});
