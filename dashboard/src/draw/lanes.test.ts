import { describe, expect, it } from 'vitest';
import { change } from '../core/sample';
import { hit, paths, type Bar } from './lanes';

const T0 = Date.UTC(2026, 10, 22);
const box = { width: 100, top: 0, pitch: 10, bar: 8 };
const range = { from: T0, to: T0 + 1_000 };
const now = T0 + 1_000;

function item(id: string, from: number, to: number | null, state: string, track = 0): Bar {
  const iso = (ms: number) => new Date(T0 + ms).toISOString();
  const ended = to === null ? null : iso(to);
  const fields = { started_at: iso(from), ended_at: ended, last_seen_at: ended, state };
  return { a: change(1, id, from, fields).activity, track };
}

describe('paths', () => {
  it('has a path for each state, in pixels', () => {
    const out = paths(
      [
        item('a', 100, 300, 'COMPLETED'),
        item('b', 500, null, 'IN_PROGRESS', 1),
        item('c', 400, 450, 'FAILED'),
      ],
      range,
      now,
      box,
    );
    expect(out.COMPLETED).toBe('M10 0H30v8H10z');
    expect(out.IN_PROGRESS).toBe('M50 10H100v8H50z');
    // Failures hang below the others.
    expect(out.FAILED).toBe('M40 0H45v10H40z');
  });

  it('leaves out what is not in sight and what has not begun', () => {
    const items = [item('a', -900, -500, 'COMPLETED'), item('p', 100, null, 'PLANNED')];
    expect(paths(items, range, now, box)).toEqual({});
  });

  it('cuts what began before the first moment shown', () => {
    expect(paths([item('a', -500, 500, 'COMPLETED')], range, now, box).COMPLETED).toBe('M0 0H50v8H0z');
  });

  it('draws very many small bars as few', () => {
    const items = Array.from({ length: 5_000 }, (_, i) => item(`x${i}`, i / 10, i / 10 + 0.01, 'COMPLETED'));
    const path = paths(items, range, now, box).COMPLETED ?? '';
    expect(path.match(/M/g)?.length).toBeLessThan(10);
  });

  it('keeps two long bars apart', () => {
    const items = [item('a', 0, 400, 'COMPLETED'), item('b', 400, 800, 'COMPLETED')];
    expect(paths(items, range, now, box).COMPLETED?.match(/M/g)).toHaveLength(2);
  });

  it('shows the shortest failure', () => {
    expect(paths([item('a', 999.99, 1_000, 'FAILED')], range, now, box).FAILED).toBe('M97 0H100v10H97z');
  });
});

describe('hit', () => {
  const items = [
    item('outer', 0, 800, 'COMPLETED'),
    item('inner', 200, 400, 'COMPLETED', 1),
    item('bad', 250, 260, 'FAILED', 1),
  ];

  it('finds what is under the pointer', () => {
    const at = (x: number, y: number) => hit(items, range, now, box, x, y)?.a.id;
    expect(at(10, 4)).toBe('outer');
    expect(at(35, 14)).toBe('inner');
    expect(at(25, 14)).toBe('bad');
    expect(at(95, 4)).toBeUndefined();
  });
});
