import { describe, expect, it } from 'vitest';
import { ids, rank } from './palette';

describe('palette', () => {
  const items = [
    { label: 'Overview' },
    { label: 'Live feed', also: 'activities' },
    { label: 'Hold the lists', also: 'pause' },
    { label: 'Export as CSV' },
    { label: 'Return to live' },
  ];
  const labels = (text: string, limit = 9) => rank(items, text, limit).map((i) => i.label);

  it.each([
    ['', ['Overview', 'Live feed', 'Hold the lists', 'Export as CSV', 'Return to live']],
    ['live', ['Live feed', 'Return to live']],
    ['LIST', ['Hold the lists']],
    ['pau', ['Hold the lists']],
    ['ex csv', ['Export as CSV']],
    ['nothing', []],
  ])('%j', (text, want) => {
    expect(labels(text)).toEqual(want);
  });

  it('is bounded', () => {
    expect(labels('', 2)).toHaveLength(2);
    expect(labels('e', 2)).toHaveLength(2);
  });

  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  const span = '00f067aa0ba902b7';
  it.each([
    [trace, trace, null],
    [` ${trace.toUpperCase()} `, trace, null],
    [span, null, span],
    [`${trace}-${span}`, trace, `${trace}-${span}`],
    [`00-${trace}-${span}-01`, trace, `${trace}-${span}`],
    ['order', null, null],
    [`${trace}0`, null, null],
  ])('reads the id %s', (text, wantTrace, wantActivity) => {
    expect(ids(text)).toEqual({ trace: wantTrace, activity: wantActivity });
  });
});
