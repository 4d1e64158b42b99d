// Where an activity's marks stand on the time axis. Places are shares of the axis: 0 left, 1 right.
import type { Part } from '../core/critical';
import { extent } from '../core/times';
import type { Activity } from '../core/wire';
import { place, type Range } from './scale';

export interface Bar {
  left: number;
  width: number;
  /** It goes on beyond the edge. */
  cutLeft: boolean;
  cutRight: boolean;
}

export interface Marks {
  /** Work, or for what is planned its usual time from now on. */
  bar: Bar | null;
  /** From planning to start. */
  wait: Bar | null;
  /** Where a decision was taken. */
  diamond: number | null;
  /** Where in the bar the last sign of life of a lost activity stands, 0 to 1. */
  faded: number | null;
  /** Where the text stands: beside the bar, in its right end, or over what is there when there is no room. */
  label: { side: 'right' | 'left' | 'in' | 'over'; at: number };
}

/** Pixels that a text in a bar, and one beside it, need. */
const IN_PX = 96;
const BESIDE_PX = 64;
/** About what a character of a text takes. */
const CHARACTER_PX = 6.2;
const PAD_PX = 16;
const PLANNED_SHARE = 0.08;
const DIAMOND_PX = 9;

export function bar(range: Range, from: number, to: number): Bar | null {
  const left = place(range, from);
  const right = place(range, Math.max(from, to));
  if (right < 0 || left > 1) return null;
  const shownLeft = Math.max(0, left);
  return {
    left: shownLeft,
    width: Math.min(1, right) - shownLeft,
    cutLeft: left < -1e-9,
    cutRight: right > 1 + 1e-9,
  };
}

export function marks(a: Activity, range: Range, now: number, width: number): Marks {
  const { from, work, to } = extent(a, now);
  const span = range.to - range.from;
  const px = Math.max(1, width);
  let end = to;
  if (a.state === 'PLANNED') {
    end = work + Math.max(a.usualMs ?? 0, span * PLANNED_SHARE);
  }
  const shown = bar(range, work, end);
  const wait = work > from && (work - from) / span > 1 / px ? bar(range, from, work) : null;
  const diamond = a.type === 'decision' && a.state !== 'PLANNED' ? place(range, to) : null;
  let faded: number | null = null;
  if (a.state === 'LOST') {
    const last = a.lastSeenAt ?? work;
    faded = to > work ? Math.min(1, Math.max(0, (last - work) / (to - work))) : 0;
  }
  return {
    bar: shown,
    wait,
    diamond: diamond !== null && diamond >= 0 && diamond <= 1 ? diamond : null,
    faded,
    label: label(a, shown, wait, diamond, place(range, work), place(range, end), px),
  };
}

/** Why it did not go well, in a text of any length. */
function reason(a: Activity): string | null {
  if (a.state === 'CANCELLED') return a.did;
  return a.state === 'FAILED' ? (a.error?.message ?? a.error?.type ?? a.did) : null;
}

function label(
  a: Activity,
  shown: Bar | null,
  wait: Bar | null,
  diamond: number | null,
  left: number,
  right: number,
  px: number,
): Marks['label'] {
  const before = wait?.left ?? Math.max(0, left);
  const inside = shown !== null && shown.width * px >= IN_PX;
  const roomBefore = before * px >= BESIDE_PX;
  if (a.state === 'PLANNED' && shown !== null && roomBefore) return { side: 'left', at: before };
  // Only a short text stands in the bright end.
  const short = diamond === null && !a.stalled;
  if (a.state === 'IN_PROGRESS' && inside && short) return { side: 'in', at: shown.left + shown.width };
  const after = Math.min(1, Math.max(0, right)) + (diamond === null ? 0 : DIAMOND_PX / px);
  const room = (1 - after) * px;
  const needs = (reason(a)?.length ?? 0) * CHARACTER_PX + PAD_PX;
  // A reason that would be cut beside its bar stands in it, where there is more room.
  const within = needs > room && shown !== null && shown.width * px >= Math.max(IN_PX, room * 1.5);
  if (within && short) return { side: 'in', at: shown.left + shown.width };
  if (room >= BESIDE_PX) return { side: 'right', at: after };
  if (roomBefore) return { side: 'left', at: before };
  if (inside && short) return { side: 'in', at: shown.left + shown.width };
  return { side: 'over', at: 1 };
}

/** Where the parts of the critical path lie in a lane. */
export function strips(parts: readonly Part[], range: Range): (Bar & { wait: boolean })[] {
  const out: (Bar & { wait: boolean })[] = [];
  for (const part of parts) {
    const shown = bar(range, part.from, part.to);
    if (shown !== null) out.push({ ...shown, wait: part.wait });
  }
  return out;
}
