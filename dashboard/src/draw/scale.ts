// The time axis of a waterfall: which moments it shows, where they stand, and where its marks are.

/** Milliseconds since the epoch. */
export interface Range {
  from: number;
  to: number;
}

export interface Tick {
  /** 0 is the left edge, 1 the right one. */
  x: number;
  /** Milliseconds since the origin. */
  ms: number;
}

const SPAN_MIN = 0.01;
const TEXT_PX = 84;
const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const LONG = [
  15 * SECOND,
  30 * SECOND,
  MINUTE,
  2 * MINUTE,
  5 * MINUTE,
  10 * MINUTE,
  15 * MINUTE,
  30 * MINUTE,
  HOUR,
  2 * HOUR,
  3 * HOUR,
  6 * HOUR,
  12 * HOUR,
];

/** The smallest round step that is no less than the wanted one. */
export function step(wanted: number): number {
  if (!(wanted > 0)) return SPAN_MIN;
  if (wanted > 10 * SECOND && wanted <= 12 * HOUR) return LONG.find((s) => s >= wanted) ?? DAY;
  const unit = wanted > 12 * HOUR ? DAY : 1;
  const power = 10 ** Math.floor(Math.log10(wanted / unit));
  for (const n of [1, 2, 5, 10]) {
    const round = n * power * unit;
    if (round >= wanted * (1 - 1e-9))
      return unit === DAY ? Math.max(DAY, Math.round(round / DAY) * DAY) : round;
  }
  return 10 * power * unit;
}

/**
 * All of a trace. While it is live there is room beyond now, and the end keeps to a round mark, so that
 * what has ended stands still and what is open grows.
 */
export function whole(startedAt: number, lastAt: number, now: number | null, width: number): Range {
  if (now === null) {
    // Room for the text beside the last bar.
    const span = Math.max(SPAN_MIN, lastAt - startedAt);
    const room = Math.min(0.25, Math.max(0.04, TEXT_PX / Math.max(1, width - TEXT_PX)));
    return { from: startedAt, to: startedAt + span * (1 + room) };
  }
  const span = Math.max(100, now - startedAt);
  const by = step(span / 7);
  return { from: startedAt, to: startedAt + Math.ceil((span * 1.07) / by) * by };
}

export function place(range: Range, at: number): number {
  return (at - range.from) / (range.to - range.from);
}

/** Keeps a range within a little more than all there is, and wide enough to be drawn. */
export function clamp(range: Range, bounds: Range): Range {
  const all = bounds.to - bounds.from;
  const span = Math.min(Math.max(range.to - range.from, SPAN_MIN), all * 1.5);
  const low = bounds.from - span / 2;
  const high = Math.max(low, bounds.to - span / 2);
  const from = Math.min(Math.max(range.from, low), high);
  return { from, to: from + span };
}

/** A factor below 1 shows less time. `at` is the place that stays, from 0 to 1. */
export function zoom(range: Range, factor: number, at: number): Range {
  const span = range.to - range.from;
  const fixed = range.from + span * at;
  const next = Math.max(SPAN_MIN, span * factor);
  return { from: fixed - next * at, to: fixed + next * (1 - at) };
}

/** Moves by a share of what is shown. */
export function pan(range: Range, by: number): Range {
  const span = (range.to - range.from) * by;
  return { from: range.from + span, to: range.to + span };
}

/** One activity with some air around it. */
export function around(from: number, to: number): Range {
  const span = Math.max(to - from, SPAN_MIN);
  return { from: from - span * 0.08, to: to + span * 0.12 };
}

/** The marks of a range, as many as its width in pixels has room for. */
export function ticks(range: Range, origin: number, width: number): { ticks: Tick[]; step: number } {
  const span = range.to - range.from;
  const room = Math.max(1, Math.min(7, Math.floor(width / 72)));
  const by = step(span / room);
  const out: Tick[] = [];
  const first = Math.ceil((range.from - origin) / by - 1e-6) + 0;
  for (let n = first; out.length <= room; n++) {
    const x = place(range, origin + n * by);
    if (x > 1 + 1e-9) break;
    out.push({ x, ms: n * by });
  }
  return { ticks: out, step: by };
}

/** Where a text of so many pixels lies that stands at a place of an axis, kept within its ends. */
export interface Extent {
  left: number;
  right: number;
}

/** How near to an end of the axis, in pixels, a mark's text stands beside the mark and not over it. */
export const EDGE_PX = 24;

/** A mark's text, in pixels of the axis: over the mark, or at an end of the axis beside it. */
export function tickExtent(x: number, width: number, text: number): Extent {
  const at = x * width;
  if (at < EDGE_PX) return { left: at, right: at + text };
  if (width - at < EDGE_PX) return { left: at - text, right: at };
  return { left: at - text / 2, right: at + text / 2 };
}

export function overlap(a: Extent, b: Extent): boolean {
  return a.left < b.right && b.left < a.right;
}

/** The part of all that a range shows, as shares of it. */
export function edges(range: Range, all: Range): Range {
  const within = (at: number) => Math.min(1, Math.max(0, place(all, at)));
  return { from: within(range.from), to: within(range.to) };
}

/** Moves one end of a range, or the whole of it, by a share of all; it stays within all. */
export function slide(range: Range, all: Range, part: 'from' | 'to' | 'window', by: number): Range {
  const ms = by * (all.to - all.from);
  const from = Math.max(range.from, all.from);
  const to = Math.min(range.to, all.to);
  switch (part) {
    case 'from':
      return { from: Math.min(Math.max(from + ms, all.from), to - SPAN_MIN), to };
    case 'to':
      return { from, to: Math.max(Math.min(to + ms, all.to), from + SPAN_MIN) };
    case 'window': {
      const shift = Math.min(Math.max(ms, all.from - from), all.to - to);
      return { from: from + shift, to: to + shift };
    }
  }
}
