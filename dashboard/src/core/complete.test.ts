import { describe, expect, it } from 'vitest';
import { accept, complete, facts } from './complete';
import { parse } from './filters';
import { change } from './sample';
import { Store } from './store';

function known() {
  const store = new Store();
  store.reset('log');
  let n = 0;
  const put = (fields: Record<string, unknown>) => store.apply(change(++n, `a${n}`, n, fields));
  put({ agent: 'harbor', service: 'orders', thread_id: 'w-1', thread_name: 'Worker One' });
  put({ agent: 'atlas', service: 'orders', attributes: { 'order.id': 17, 'http.route': '/a b' } });
  put({ agent: 'atlas', service: 'harness', type: 'decision', attributes: { 'order.id': '17', ok: true } });
  store.settle();
  return facts(store.order);
}

const at = (q: string, caret = q.length) => complete(q, caret, known()).items.map((i) => i.insert);

function taken(q: string, caret: number) {
  const completion = complete(q, caret, known());
  const [item] = completion.items;
  return item === undefined ? null : accept(q, completion, item);
}

describe('completion', () => {
  it('offers the keys', () => {
    expect(at('')).toEqual([
      'type:',
      'state:',
      'service:',
      'agent:',
      'thread:',
      'trace:',
      'parent:',
      'stalled:',
      'duration>',
      'since:',
      'until:',
      'attr.',
    ]);
    expect(at('s')).toEqual(['state:', 'service:', 'stalled:', 'since:']);
    expect(at('order st')).toContain('state:');
    expect(at('"st')).toEqual([]);
  });

  it('offers values that were seen, those seen often first', () => {
    expect(at('agent:')).toEqual(['agent:atlas', 'agent:harbor']);
    expect(at('agent:H')).toEqual(['agent:harbor']);
    expect(at('service:or')).toEqual(['service:orders']);
    expect(at('state:ca')).toEqual(['state:cancelled']);
    expect(at('type:').slice(0, 2)).toEqual(['type:work_item', 'type:decision']);
    expect(at('stalled:')).toEqual(['stalled:true', 'stalled:false']);
    expect(at('duration>1')).toContain('duration>1s');
    expect(at('agent:harbor')).toEqual([]);
    expect(at('unknown:x')).toEqual([]);
  });

  it('finds a value without its key, and a thread by its name', () => {
    expect(at('har')).toEqual(['agent:harbor', 'service:harness']);
    const items = complete('thread:one', 10, known()).items;
    expect(items).toEqual([{ insert: 'thread:w-1', kind: 'value', name: 'Worker One' }]);
  });

  it('completes attributes', () => {
    expect(at('attr.')).toEqual(['attr.http.route:', 'attr.ok:', 'attr.order.id:']);
    expect(at('attr.ord')).toEqual(['attr.order.id:']);
    expect(at('attr.order.id:')).toEqual(['attr.order.id:17']);
    expect(at('attr.http.route:')).toEqual(['attr.http.route:"/a b"']);
    expect(at('attr.http.route:"/')).toEqual(['attr.http.route:"/a b"']);
  });

  it('replaces the term at the caret and no other', () => {
    expect(taken('order agent:at state:failed', 14)).toEqual({
      q: 'order agent:atlas state:failed',
      caret: 18,
    });
    expect(taken('sta', 3)).toEqual({ q: 'state:', caret: 6 });
    expect(taken('state:fa', 8)).toEqual({ q: 'state:failed ', caret: 13 });
  });

  it('offers only what the search takes', () => {
    for (const q of [
      '',
      'agent:',
      'state:',
      'type:',
      'stalled:',
      'since:',
      'duration>',
      'attr.order.id:',
      'har',
    ]) {
      for (const item of complete(q, q.length, known()).items) {
        if (item.kind === 'value') expect(parse(item.insert)).toMatchObject({ problems: [], words: [] });
      }
    }
  });
});
