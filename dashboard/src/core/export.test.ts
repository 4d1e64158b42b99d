import { describe, expect, it } from 'vitest';
import { exportUrl } from './export';
import { parameters, parse } from './filters';
import { read } from './url';

describe('export', () => {
  const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
  it.each([
    ['', 'format=json'],
    ['?state=failed,lost&q=order+type:decision', 'type=decision&state=FAILED&state=LOST&q=order&format=json'],
    ['?view=decisions&q=type:span', 'type=decision&format=json'],
    ['?view=completions&state=failed', 'state=COMPLETED&format=json'],
    ['?view=failures&q=agent:atlas', 'agent=atlas&state=FAILED&format=json'],
    [`?view=trace&trace=${trace}&q=x`, `trace=${trace}&format=json`],
    ['?q=attr.a.b:%22%22', 'attr.a.b=&format=json'],
  ])('%s', (search, want) => {
    const route = read(search);
    expect(exportUrl(route, parameters(route.states, parse(route.q)), 'json')).toBe(
      `/activity/export?${want}`,
    );
  });
});
