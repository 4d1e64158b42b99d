// What of a lane is in sight: bars that can be told apart, and runs of those too fine for it. So a frame
// costs what its pixels can show, however many activities there are.
import { begins, ends, extent } from '../core/times';
import type { Node } from '../core/tree';
import type { State } from '../core/wire';
import { marks, type Marks } from './bars';
import type { Range } from './scale';

/** In pixels of the axis. */
export interface Run {
  left: number;
  right: number;
  /** The only one of the run, or its first. */
  node: Node;
  /** Null for a run of fine bars. */
  marks: Marks | null;
  /** The worst state in the run. */
  state: State;
  count: number;
}

const FINE_PX = 2;
const DIAMOND_PX = 6;
const WORST: State[] = ['FAILED', 'LOST', 'CANCELLED', 'IN_PROGRESS', 'PLANNED', 'COMPLETED'];

export function worse(a: State, b: State): State {
  return WORST.indexOf(a) <= WORST.indexOf(b) ? a : b;
}

/** The last one of a lane that begins no later than a moment, or 0. */
export function firstAt(lane: readonly Node[], moment: number): number {
  let low = 0;
  let high = lane.length;
  while (low < high) {
    const mid = (low + high) >>> 1;
    const a = lane[mid]?.a;
    if (a !== null && a !== undefined && begins(a) <= moment) low = mid + 1;
    else high = mid;
  }
  return Math.max(0, low - 1);
}

export function runs(lane: readonly Node[], range: Range, now: number, width: number): Run[] {
  const out: Run[] = [];
  let fine: Run | null = null;
  const scale = width / (range.to - range.from);
  for (let i = firstAt(lane, range.from); i < lane.length; i++) {
    const node = lane[i];
    const a = node?.a;
    if (node === undefined || a === null || a === undefined) continue;
    const left = (begins(a) - range.from) * scale;
    if (left > width) break;
    const right = (ends(a, now) - range.from) * scale;
    if (a.state !== 'PLANNED' && right < -DIAMOND_PX) continue;
    const wide = right - left >= FINE_PX || a.type === 'decision' || a.state === 'PLANNED';
    if (wide) {
      const m = marks(a, range, now, width);
      const end = m.bar === null ? right : (m.bar.left + m.bar.width) * width;
      out.push({ left, right: Math.max(right, end), node, marks: m, state: a.state, count: 1 });
      fine = null;
    } else if (fine !== null && left - fine.right < FINE_PX) {
      fine.right = Math.max(fine.right, right);
      fine.state = worse(fine.state, a.state);
      fine.count++;
    } else {
      fine = { left, right, node, marks: null, state: a.state, count: 1 };
      out.push(fine);
    }
  }
  return out;
}

/** The activity of a lane at a moment, or the nearest within so many milliseconds. */
export function hit(lane: readonly Node[], moment: number, within: number, now: number): Node | null {
  const first = firstAt(lane, moment);
  let best: Node | null = null;
  let least = within;
  for (let i = first; i < Math.min(lane.length, first + 2); i++) {
    const node = lane[i];
    if (node?.a === null || node === undefined) continue;
    const { from, to } = extent(node.a, now);
    const end = node.a.state === 'PLANNED' ? Math.max(to, now + (node.a.usualMs ?? 0)) : to;
    const off = moment < from ? from - moment : moment > end ? moment - end : 0;
    if (off <= least) {
      least = off;
      best = node;
    }
  }
  return best;
}
