// The bars of one lane as SVG path data, one path for each state. Bars too small to be told apart are one.
import type { Item } from '../core/lanes';
import { extent } from '../core/times';
import type { State } from '../core/wire';

import { place, type Range } from './scale';

export interface LaneBox {
  /** Pixels. */
  width: number;
  top: number;
  /** From one track to the next, and the height of a bar. */
  pitch: number;
  bar: number;
}

const LEAST_PX = 1.5;
const FAILED_PX = 3;
/** Failures hang below the line of their track. */
const HANG_PX = 2;
/** Two bars nearer than this, one of them narrower than SMALL_PX, are drawn as one. */
const NEAR_PX = 0.75;
const SMALL_PX = 3;

/** Of an item what is drawn. */
export type Bar = Pick<Item, 'a' | 'track'>;

interface Piece {
  left: number;
  right: number;
}

function px(n: number): number {
  return Math.round(n * 10) / 10;
}

function piece(item: Bar, range: Range, now: number, width: number): Piece | null {
  const { work, to } = extent(item.a, now);
  const left = place(range, work) * width;
  const right = place(range, to) * width;
  if (right < 0 || left > width) return null;
  const least = item.a.state === 'FAILED' ? FAILED_PX : LEAST_PX;
  const from = Math.max(0, Math.min(left, width - least));
  return { left: from, right: Math.min(width, Math.max(right, from + least)) };
}

export function paths(
  items: readonly Bar[],
  range: Range,
  now: number,
  box: LaneBox,
): Partial<Record<State, string>> {
  const out: Partial<Record<State, string>> = {};
  const pending = new Map<string, Piece & { state: State; track: number }>();
  const flush = (p: Piece & { state: State; track: number }) => {
    const y = box.top + p.track * box.pitch;
    const height = box.bar + (p.state === 'FAILED' ? HANG_PX : 0);
    const path = `M${px(p.left)} ${px(y)}H${px(p.right)}v${height}H${px(p.left)}z`;
    out[p.state] = (out[p.state] ?? '') + path;
  };
  for (const item of items) {
    const { state } = item.a;
    if (state === 'PLANNED') continue;
    const p = piece(item, range, now, box.width);
    if (p === null) continue;
    const key = `${state}${item.track}`;
    const last = pending.get(key);
    const small = p.right - p.left < SMALL_PX || (last !== undefined && last.right - last.left < SMALL_PX);
    if (last !== undefined && small && p.left <= last.right + NEAR_PX && state !== 'IN_PROGRESS') {
      last.right = Math.max(last.right, p.right);
      continue;
    }
    if (last !== undefined) flush(last);
    pending.set(key, { ...p, state, track: item.track });
  }
  for (const last of pending.values()) flush(last);
  return out;
}

const REACH_PX = 4;

/** The item at a place of the lane: what is on its track there, failures before the rest, else the nearest. */
export function hit(
  items: readonly Bar[],
  range: Range,
  now: number,
  box: LaneBox,
  x: number,
  y: number,
): Bar | null {
  let best: Bar | null = null;
  let least = Infinity;
  for (const item of items) {
    if (item.a.state === 'PLANNED') continue;
    const p = piece(item, range, now, box.width);
    if (p === null) continue;
    const aside = Math.max(0, p.left - x, x - p.right);
    if (aside > REACH_PX) continue;
    const middle = box.top + item.track * box.pitch + box.bar / 2;
    const far = aside + Math.abs(y - middle) - (item.a.state === 'FAILED' ? 1 : 0);
    // Of several in one place the last is drawn on top.
    if (far <= least) {
      least = far;
      best = item;
    }
  }
  return best;
}
