import { describe, expect, it } from 'vitest';
import { linker, read, write } from './url';

describe('url', () => {
  it.each([
    '',
    '?view=feed',
    '?view=failures&sel=4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7&state=failed,lost&q=a+%26+b&theme=dark',
    '?state=in_progress',
    '?sel=00f067aa0ba902b7',
    '?view=traces&q=report',
    '?view=feed&at=2026-11-23T12:36:04.250Z&speed=10&theme=dark',
    '?at=2026-11-23T12:36:04.000Z',
    '?from=1h',
    '?view=feed&from=all&at=2026-11-23T12:36:04.000Z&speed=10',
    '?view=trace&trace=4bf92f3577b34da6a3ce929d0e0e4736',
    '?view=trace&trace=4bf92f3577b34da6a3ce929d0e0e4736&sel=00f067aa0ba902b7&tab=tree&theme=light',
  ])('goes round: %s', (search) => expect(write(read(search))).toBe(search));

  it('ignores what it does not know', () => {
    expect(
      write(read('?view=nothing&state=odd,failed,FAILED&sel=../x&theme=blue&other=1&at=5&speed=3&from=2h')),
    ).toBe('?state=failed');
  });

  it('shows the list where the trace is none', () => {
    expect(write(read('?view=trace&trace=../../x&tab=tree'))).toBe('?view=traces');
    expect(write(read('?view=trace&trace=4bf92f3577b34da6a3ce929d0e0e4736&tab=odd'))).toBe(
      '?view=trace&trace=4bf92f3577b34da6a3ce929d0e0e4736',
    );
    expect(write(read('?view=feed&trace=4bf92f3577b34da6a3ce929d0e0e4736&tab=tree'))).toBe('?view=feed');
  });

  it.each(['', '?view=feed&state=failed&q=sel%3D_', '?view=feed&sel=00f067aa0ba902b7&theme=dark'])(
    'links the rows of %s as it writes an address',
    (search) => {
      const route = read(search);
      for (const sel of ['00f067aa0ba902b7', 'no id & \ud800']) {
        expect(linker(route)(sel)).toBe(write({ ...route, sel }));
      }
    },
  );

  it('takes a thread and an agent beside the search', () => {
    expect(read('?view=feed&thread=t-1&q=disk+full').q).toBe('disk full thread:"t-1"');
    expect(read('?agent=harbor+master&thread=').q).toBe('agent:"harbor master"');
  });

  it('bounds the query', () => {
    expect(read(`?q=${'x'.repeat(10_000)}`).q).toHaveLength(500);
  });
});
