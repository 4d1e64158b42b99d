import { describe, expect, it } from 'vitest';
import answer from '../../../api/testdata/all.json';
import searches from '../../../api/testdata/searches.json';
import { ages, compile, duration, parameters, parse, tokens } from './filters';
import { change } from './sample';
import { page, type State } from './wire';

const none = new Set<State>();
const nothing = new Set<string>();
const a = change(1, 'aaa', 1, {
  name: 'Process Order 17',
  agent: 'Atlas',
  error: { type: 'io.Error', message: 'Disk full', stack: null },
  state: 'FAILED',
}).activity;

describe('the same search here and by the API', () => {
  const all = page(answer)?.activities ?? [];
  // The API's tests stand ten minutes after the first of their activities began.
  const now = Date.parse('2026-11-22T10:10:00Z');

  it.each(searches)('$search', ({ search, params, finds }) => {
    const query = parse(search);
    expect(parameters(none, query).toString()).toBe(params);
    const test = compile(none, query, nothing, now);
    expect(all.filter((x) => test === null || test.passes(x)).map((x) => x.name)).toEqual(finds);
  });
});

describe('search', () => {
  it('takes what the server found', () => {
    expect(compile(none, parse('in-a-result'), new Set(['aaa']))?.passes(a)).toBe(true);
    expect(compile(none, parse('attr.long:text'), new Set(['aaa']))?.passes(a)).toBe(true);
    expect(compile(new Set<State>(['COMPLETED']), parse('in-a-result'), new Set(['aaa']))?.passes(a)).toBe(
      false,
    );
  });

  it('joins the chips and the box', () => {
    expect(compile(new Set<State>(['FAILED']), parse('order'), nothing)?.passes(a)).toBe(true);
    expect(compile(new Set<State>(['COMPLETED']), parse('order'), nothing)?.passes(a)).toBe(false);
    expect(compile(new Set<State>(['COMPLETED']), parse('state:failed'), nothing)?.passes(a)).toBe(true);
    expect(compile(none, parse('  '), nothing)).toBeNull();
    expect(parameters(new Set<State>(['LOST']), parse('state:failed')).toString()).toBe(
      'state=FAILED&state=LOST',
    );
  });

  it.each([
    ['foo:bar', 'key', 'foo', 'bar'],
    ['-state:failed', 'key', '-state', 'failed'],
    ['type:', 'empty', 'type', ''],
    ['attr.x:', 'empty', 'attr.x', ''],
    ['attr.', 'empty', 'attr.', 'attr.'],
    ['attr.order', 'empty', 'attr.order', 'attr.order'],
    ['type:decison', 'type', 'type', 'decison'],
    ['state:failed,odd', 'state', 'state', 'failed,odd'],
    ['trace:12', 'id', 'trace', '12'],
    ['parent:xyz', 'id', 'parent', 'xyz'],
    ['stalled:maybe', 'flag', 'stalled', 'maybe'],
    ['since:yesterday', 'moment', 'since', 'yesterday'],
    ['since:2026-11-22', 'moment', 'since', '2026-11-22'],
    ['duration>2', 'duration', 'duration', '2'],
    ['duration:2s', 'compare', 'duration', '2s'],
    ['duration>2s duration<1s', 'order', 'duration', '1s'],
    ['since:1m until:5m', 'order', 'until', '5m'],
    ['duration>1s duration>2s', 'repeated', 'duration', '2s'],
    ['stalled:1 stalled:0', 'repeated', 'stalled', '0'],
  ])('tells what is wrong with %s', (q, fault, key, value) => {
    expect(parse(q).problems).toEqual([{ fault, key, value }]);
  });

  it.each(['http://x/y', 'std::vector', 'a>b', 'x->y', 'tcp:', 'List<T>', '12:30', '"foo:bar"', ':x'])(
    'takes %s as a word',
    (q) => {
      expect(parse(q)).toMatchObject({ words: [q.replaceAll('"', '')], problems: [] });
    },
  );

  it('leaves a faulty term out, here and in the request', () => {
    const query = parse('order type:odd since:never');
    expect(parameters(none, query).toString()).toBe('q=order');
    expect(compile(none, query, nothing)?.passes(a)).toBe(true);
  });

  it('knows which queries go with time', () => {
    expect(ages(parse('since:5m'))).toBe(true);
    expect(ages(parse('duration>2s'))).toBe(true);
    expect(ages(parse('since:2026-11-22T10:00:00Z state:failed x'))).toBe(false);
    const open = change(1, 'bbb', 0).activity;
    const began = open.startedAt ?? 0;
    expect(compile(none, parse('duration>2s'), nothing, began + 1_999)?.passes(open)).toBe(false);
    expect(compile(none, parse('duration>2s'), nothing, began + 2_000)?.passes(open)).toBe(true);
  });

  it.each([
    ['250ms', 250],
    ['1.5s', 1_500],
    ['1h30m', 5_400_000],
    ['7d', 604_800_000],
    ['2us', 0.002],
    ['2µs', 0.002],
    ['0s', 0],
    ['0', null],
    ['5', null],
    ['-5s', null],
    ['1d2h', null],
    ['1.5d', null],
    ['40000d', null],
    ['s', null],
    ['.s', null],
    ['', null],
  ])('reads the duration %s', (text, ms) => {
    expect(duration(text)).toBe(ms);
  });

  it('knows where its terms stand', () => {
    expect(tokens('a type:x attr.k:"b c')).toEqual([
      { start: 0, end: 1, key: null, op: '', value: 'a', valueStart: 0, quoted: false },
      { start: 2, end: 8, key: 'type', op: ':', value: 'x', valueStart: 7, quoted: false },
      { start: 9, end: 20, key: 'attr.k', op: ':', value: 'b c', valueStart: 16, quoted: true },
    ]);
  });

  it('takes any text', () => {
    for (const q of [
      '"',
      '""',
      ':',
      '::',
      'type:"',
      'attr.:x',
      'attr.',
      '\u0000',
      '<>',
      '>=',
      '"a',
      '🙂:🙂',
    ]) {
      expect(() => parameters(none, parse(q))).not.toThrow();
    }
  });
});
