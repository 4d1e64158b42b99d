import { afterEach, describe, expect, it, vi } from 'vitest';
import { change } from '../core/sample';
import { Tree } from '../core/tree';
import { STATES, type State } from '../core/wire';
import { runs, type Run } from './flame';
import { Lanes } from './icicle';
import type { Inks } from './ink';
import { paintBar, paintName, paintOutline, paintRun, paintStrip, sized } from './paint';

const T = Date.UTC(2026, 10, 22);
const RANGE = { from: T, to: T + 1_000 };
const WIDTH = 1_000;
const WORD_PX = 6;

const each = (kind: string) =>
  Object.fromEntries(STATES.map((s) => [s, `${kind} ${s}`])) as Record<State, string>;
const INKS: Inks = {
  body: each('body'),
  edge: each('edge'),
  full: each('full'),
  ink: 'ink',
  quiet: 'quiet',
  faint: 'faint',
  solid: 'solid',
  tip: 'tip',
  accent: 'accent',
};

/** A context that notes what is asked of it, with the colour that it has then. */
function recorder() {
  const calls: [string, ...unknown[]][] = [];
  const state: Record<string, unknown> = { globalAlpha: 1, fillStyle: '', strokeStyle: '' };
  const context = new Proxy(state, {
    get(target, key: string) {
      if (key in target) return target[key];
      if (key === 'measureText') return (text: string) => ({ width: text.length * WORD_PX });
      if (key === 'createLinearGradient') {
        const stops: unknown[] = [];
        return () => ({ stops, addColorStop: (at: number, color: string) => stops.push([at, color]) });
      }
      return (...args: unknown[]) => {
        const color = key.startsWith('fill') ? target.fillStyle : key === 'stroke' ? target.strokeStyle : '';
        calls.push([key, color, ...args]);
      };
    },
    set(target, key: string, value) {
      target[key] = value;
      return true;
    },
  }) as unknown as CanvasRenderingContext2D;
  const of = (kind: string) => calls.filter(([name]) => name === kind).map(([, ...rest]) => rest);
  return { context, calls, of };
}

function run(fields: Record<string, unknown>, now = T + 900): Run {
  const tree = new Tree();
  tree.put(change(1, 'a', 0, { name: 'Weigh it', ...fields }).activity, 1);
  const lanes = new Lanes(tree);
  lanes.settle();
  const [found] = runs(lanes.list[0] ?? [], RANGE, now, WIDTH);
  if (found === undefined) throw new Error('nothing is in sight');
  return found;
}

const iso = (ms: number) => new Date(T + ms).toISOString();
const over = (state: string, from: number, to: number) => ({
  state,
  started_at: iso(from),
  ended_at: iso(to),
});

describe('paintBar', () => {
  const box = { x: 10, y: 2, w: 100, h: 14 };

  it('gives each state a pattern of its own, whatever its colours', () => {
    const drawn = STATES.map((state) => {
      const { context, calls } = recorder();
      paintBar(context, state, box, INKS, state === 'LOST' ? 0.5 : null);
      return JSON.stringify(calls.map(([name, , ...args]) => [name, ...args]));
    });
    expect(new Set(drawn).size).toBe(STATES.length);
  });

  it('ends what goes on with a bright edge, unless that is out of sight', () => {
    const tips = (cut: boolean) => {
      const { context, of } = recorder();
      paintBar(context, 'IN_PROGRESS', box, INKS, null, cut);
      return of('fillRect').filter(([color]) => color === 'tip');
    };
    expect(tips(false)).toEqual([['tip', 107, 2, 3, 14]]);
    expect(tips(true)).toEqual([]);
  });

  it('is solid up to the last sign of life of what is lost', () => {
    const { context, of } = recorder();
    paintBar(context, 'LOST', box, INKS, 0.5);
    expect(of('fillRect')[0]).toEqual(['body LOST', 10, 2, 50, 14]);
  });

  it('leaves the context as it was', () => {
    for (const state of STATES) {
      const { context, of } = recorder();
      context.globalAlpha = 0.4;
      paintBar(context, state, box, INKS);
      expect(of('save').length).toBe(of('restore').length);
      expect(context.globalAlpha).toBe(0.4);
    }
  });
});

describe('paintRun', () => {
  it('draws what is too fine for a bar as a line of its worst state', () => {
    const { context, calls } = recorder();
    paintRun(context, run(over('FAILED', 0, 0.5)), INKS, 4, 12, WIDTH);
    expect(calls).toEqual([['fillRect', 'edge FAILED', 0, 4, 1, 12]]);
  });

  it('draws the wait apart from the work', () => {
    const { context, of } = recorder();
    paintRun(context, run(over('COMPLETED', 200, 500)), INKS, 0, 12, WIDTH);
    const [wait, begin] = of('fillRect');
    expect(wait).toEqual(['edge PLANNED', 0, 5, 200, 2]);
    expect(begin).toEqual(['edge PLANNED', 0, 2, 1, 8]);
    expect(of('fillRect')[2]).toEqual(['body COMPLETED', 200, 0, 300, 12]);
  });

  it('marks a decision, hollow while it is open', () => {
    const inner = (fields: Record<string, unknown>) => {
      const { context, of } = recorder();
      paintRun(context, run({ type: 'decision', ...fields }), INKS, 0, 12, WIDTH);
      return of('fill').map(([color]) => color);
    };
    expect(inner(over('COMPLETED', 0, 500))).toEqual(['accent', 'solid', 'ink']);
    expect(inner({ state: 'IN_PROGRESS', started_at: iso(0) })).toEqual(['accent', 'solid', 'solid']);
  });
});

describe('paintName', () => {
  const texts = (fields: Record<string, unknown>, quiet = false) => {
    const { context, of } = recorder();
    paintName(context, run(fields), INKS, 0, 12, WIDTH, quiet);
    return { text: of('fillText'), ground: of('fillRect') };
  };

  it('writes it where there is room', () => {
    expect(texts(over('COMPLETED', 0, 500)).text).toEqual([['ink', 'Weigh it', 5, 6.5]]);
    expect(texts(over('COMPLETED', 0, 30)).text).toEqual([]);
    expect(texts(over('COMPLETED', 0, 500), true).text).toEqual([['quiet', 'Weigh it', 5, 6.5]]);
  });

  it('gives it a ground of its own on a pattern', () => {
    expect(texts(over('COMPLETED', 0, 500)).ground).toEqual([]);
    for (const state of ['FAILED', 'CANCELLED']) {
      expect(texts(over(state, 0, 500)).ground).toEqual([['solid', 2, 2, 8 * WORD_PX + 7, 8]]);
    }
  });

  it('cuts one that has no end', () => {
    const [[, text] = []] = texts({ ...over('COMPLETED', 0, 900), name: 'x'.repeat(5_000) }).text;
    expect(text).toHaveLength(200);
  });
});

it('dots the part of the critical path that stands in the queue', () => {
  const strip = { left: 0.1, width: 0.02, cutLeft: false, cutRight: false };
  const rects = (wait: boolean) => {
    const { context, of } = recorder();
    paintStrip(context, { ...strip, wait }, INKS, 9, WIDTH);
    return of('fillRect');
  };
  expect(rects(false)).toEqual([['accent', 100, 9, 20, 3]]);
  expect(rects(true).map(([, x, , w]) => [x, w])).toEqual([
    [100, 3],
    [106, 3],
    [112, 3],
    [118, 2],
  ]);
});

it('outlines what is chosen within what is in sight', () => {
  const { context, of } = recorder();
  paintOutline(context, { ...run(over('COMPLETED', 0, 500)), left: -50, right: 3_000 }, INKS, 10, 12, WIDTH);
  expect(of('roundRect')).toEqual([['', -0.5, 9.5, 1_001, 13, 4]]);
});

describe('sized', () => {
  afterEach(() => vi.unstubAllGlobals());

  it('has as many pixels as the device, and clears them', () => {
    vi.stubGlobal('devicePixelRatio', 2);
    const { context, of } = recorder();
    const canvas = { width: 0, height: 0, getContext: () => context } as unknown as HTMLCanvasElement;
    expect(sized(canvas, 300.4, 20)).toBe(context);
    expect([canvas.width, canvas.height]).toEqual([601, 40]);
    expect(of('setTransform')).toEqual([['', 2, 0, 0, 2, 0, 0]]);
    expect(of('clearRect')).toEqual([['', 0, 0, 300.4, 20]]);
  });
});
