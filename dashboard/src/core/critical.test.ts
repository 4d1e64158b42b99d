import { describe, expect, it } from 'vitest';
import { awaited, criticalPath } from './critical';
import { change } from './sample';
import { Tree } from './tree';

const T = Date.UTC(2026, 10, 22);
const iso = (ms: number) => new Date(T + ms).toISOString();
type Fields = Record<string, unknown>;

let seq = 0;

function put(tree: Tree, id: string, parent: string | null, from: number, fields: Fields): void {
  tree.put(change(++seq, id, from, { parent_id: parent, usual_ms: null, ...fields }).activity, seq);
}

/** Of [id, parent, start, end, planned]: finished, or in progress with a null end. */
type Span = [string, string | null, number, number | null, number?];

function grown(...spans: Span[]): Tree {
  const tree = new Tree();
  for (const [id, parent, from, to, planned] of spans) {
    put(tree, id, parent, planned ?? from, {
      started_at: iso(from),
      ended_at: to === null ? null : iso(to),
      state: to === null ? 'IN_PROGRESS' : 'COMPLETED',
    });
  }
  return tree;
}

/** The parts in the order of time, as "id from-to", with a w for a wait. */
function path(tree: Tree, now = 1_000): string[] {
  const out: [number, string][] = [];
  for (const [id, parts] of criticalPath(tree.roots, T + now)) {
    for (const { from, to, wait } of parts) {
      out.push([from, `${id} ${Math.round(from - T)}-${Math.round(to - T)}${wait ? 'w' : ''}`]);
    }
  }
  return out.sort((a, b) => a[0] - b[0]).map(([, text]) => text);
}

describe('criticalPath', () => {
  it('goes through what ended last, and the parent between', () => {
    const tree = grown(['root', null, 0, 100], ['a', 'root', 10, 40], ['b', 'root', 50, 90]);
    expect(path(tree)).toEqual(['root 0-10', 'a 10-40', 'root 40-50', 'b 50-90', 'root 90-100']);
  });

  it('leaves out what ran beside it', () => {
    const tree = grown(
      ['root', null, 0, 100],
      ['short', 'root', 0, 30],
      ['long', 'root', 0, 100],
      ['beside', 'root', 20, 95],
      ['deep', 'long', 5, 60],
    );
    expect(path(tree)).toEqual(['long 0-5', 'deep 5-60', 'long 60-100']);
  });

  it('goes on with what had ended when the next one began, not with what still ran', () => {
    const tree = grown(
      ['root', null, 0, 100],
      ['first', 'root', 0, 40],
      ['beside', 'root', 0, 80],
      ['last', 'root', 50, 100],
    );
    expect(path(tree)).toEqual(['first 0-40', 'root 40-50', 'last 50-100']);
  });

  it('follows work that outlives its parent', () => {
    const tree = grown(['root', null, 0, 50], ['async', 'root', 10, 60], ['late', 'async', 100, 150]);
    expect(path(tree)).toEqual(['root 0-10', 'async 10-60', 'late 100-150']);
  });

  it('takes an activity’s own end where what it left behind goes on beside the next', () => {
    const tree = grown(
      ['root', null, 0, 100],
      ['a', 'root', 0, 40],
      ['left', 'a', 10, 90],
      ['b', 'root', 40, 100],
    );
    expect(path(tree)).toEqual(['a 0-40', 'b 40-100']);
  });

  it('tells the queue from the work', () => {
    const alone = grown(['root', null, 0, 100], ['a', 'root', 60, 100, 20]);
    expect(path(alone)).toEqual(['root 0-20', 'a 20-60w', 'a 60-100']);
    const behind = grown(['root', null, 0, 100], ['a', 'root', 5, 50], ['b', 'root', 60, 100, 5]);
    expect(path(behind)).toEqual(['root 0-5', 'a 5-50', 'b 50-60w', 'b 60-100']);
    expect(path(grown(['root', null, 30, 100, 0]))).toEqual(['root 0-30w', 'root 30-100']);
  });

  it('counts what is in flight to now, and not what is only planned', () => {
    const tree = grown(['root', null, 0, null], ['a', 'root', 10, 40], ['b', 'root', 50, null]);
    put(tree, 'later', 'root', 60, { state: 'PLANNED', started_at: null });
    expect(path(tree, 200)).toEqual(['root 0-10', 'a 10-40', 'root 40-50', 'b 50-200']);
    expect(path(grown(), 200)).toEqual([]);
  });

  it('ends a lost one when it was given up', () => {
    const tree = grown(['root', null, 0, 100], ['a', 'root', 0, 10]);
    put(tree, 'gone', 'root', 10, { state: 'LOST', started_at: iso(10), ended_at: iso(300) });
    expect(path(tree)).toEqual(['a 0-10', 'gone 10-300']);
  });

  it('sees through parents that nobody has seen, and from root to root', () => {
    const tree = grown(['a', 'unseen', 0, 40], ['b', 'unseen', 50, 90], ['other', null, 95, 120]);
    expect(path(tree)).toEqual(['a 0-40', 'b 50-90', 'other 95-120']);
  });

  it('copes with clocks that disagree', () => {
    const tree = grown(['root', null, 50, 100], ['early', 'root', 20, 60], ['none', 'root', 70, 70]);
    expect(path(tree)).toEqual(['early 20-60', 'root 60-100']);
    expect(path(grown(['odd', null, 90, 10]))).toEqual([]);
  });

  it('takes very many, one below the other and side by side', () => {
    const tree = new Tree();
    const n = 20_000;
    for (let i = 0; i < n; i++) {
      const fields = { state: 'COMPLETED', started_at: iso(i), ended_at: iso(2 * n - i) };
      put(tree, `d${i}`, i === 0 ? null : `d${i - 1}`, i, fields);
    }
    for (let i = 0; i < n; i++) {
      put(tree, `w${i}`, 'd0', n, { state: 'COMPLETED', started_at: iso(i), ended_at: iso(i + 1) });
    }
    expect(criticalPath(tree.roots, T).size).toBe(n + 1);
  });
});

describe('awaited', () => {
  const at = (tree: Tree, now = 1_000) => {
    const found = awaited(tree.open, T + now);
    return found === null ? null : [found.node.id, T + now - found.since, found.others];
  };

  it('goes down to what is open below all that is open', () => {
    const tree = grown(
      ['root', null, 0, null],
      ['done', 'root', 10, 40],
      ['step', 'root', 50, null],
      ['call', 'step', 700, null],
    );
    expect(at(tree)).toEqual(['call', 300, 0]);
    expect(at(grown(['root', null, 0, null]))).toEqual(['root', 1_000, 0]);
    expect(at(grown(['root', null, 0, 10]))).toBeNull();
  });

  it('takes of several the one that is expected to end last', () => {
    const tree = grown(['root', null, 0, null]);
    put(tree, 'soon', 'root', 100, { started_at: iso(100), usual_ms: 1_000 });
    put(tree, 'long', 'root', 900, { started_at: iso(900), usual_ms: 60_000 });
    expect(at(tree)).toEqual(['long', 100, 1]);
    // Beyond its usual time, one is expected to go on as long again as it has.
    expect(at(tree, 100_000)).toEqual(['soon', 99_900, 1]);
    expect(at(grown(['root', null, 0, null], ['a', 'root', 100, null], ['b', 'root', 300, null]))).toEqual([
      'a',
      900,
      1,
    ]);
  });

  it('goes through ended, lost and unseen parents', () => {
    const tree = grown(['root', null, 0, 100], ['mid', 'root', 10, 20], ['async', 'mid', 15, null]);
    expect(at(tree)).toEqual(['async', 985, 0]);
    expect(at(grown(['child', 'unseen', 400, null]))).toEqual(['child', 600, 0]);
    const lost = grown(['left', 'gone', 500, null]);
    put(lost, 'gone', null, 0, { state: 'LOST', ended_at: iso(300) });
    expect(at(lost)).toEqual(['left', 500, 0]);
  });

  it('names what stands in the queue only where nothing works', () => {
    const tree = grown(['root', null, 0, null]);
    put(tree, 'second', 'root', 300, { state: 'PLANNED', started_at: null });
    put(tree, 'first', 'root', 200, { state: 'PLANNED', started_at: null });
    expect(at(tree)).toEqual(['first', 800, 1]);
    put(tree, 'work', 'root', 900, { started_at: iso(900) });
    expect(at(tree)).toEqual(['work', 100, 2]);
  });

  it('is the same for any order', () => {
    const spans: Span[] = [
      ['root', null, 0, null],
      ['a', 'root', 10, null],
      ['a1', 'a', 20, null],
      ['b', 'root', 30, null],
      ['b1', 'b', 5, null],
    ];
    expect(at(grown(...spans))).toEqual(['b1', 995, 1]);
    expect(at(grown(...[...spans].reverse()))).toEqual(['b1', 995, 1]);
  });
});
