// The time dock's geometry: slots of density, the marks of the clock, the flags, and which moment is where.
import type { Slots } from '../core/density';
import type { Row } from '../core/store';
import { place, type Range } from './scale';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** Widths of a slot, and steps of the clock. */
const STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((n) => n * SECOND),
  ...[1, 2, 3, 5, 10, 15, 30].map((n) => n * MINUTE),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR),
  ...[1, 2, 5, 10, 30, 90, 365].map((n) => n * DAY),
];

function round(wanted: number): number {
  return STEPS.find((step) => step >= wanted) ?? Math.ceil(wanted / DAY) * DAY;
}

export function slots(range: Range, most: number): Slots {
  const width = round((range.to - range.from) / most);
  const first = Math.floor(range.from / width);
  return { width, first, n: Math.max(1, Math.floor(range.to / width) - first + 1) };
}

/** A stop: something failed or was lost here, and `n` times in all until the next flag. */
export interface Flag {
  at: number;
  /** 0 left, 1 right. */
  x: number;
  state: 'FAILED' | 'LOST';
  n: number;
  /** Of the first of it. */
  id: string;
  name: string;
}

/**
 * The flags of what failed or was lost in a range, at least `gap` of its width apart and `most` in all: what was lost goes before what
 * failed, many before few, late before early.
 */
export function flags(rows: Iterable<Row>, range: Range, gap: number, most: number): Flag[] {
  const bad: Flag[] = [];
  for (const { a, key } of rows) {
    const at = a.endedAt ?? a.lastSeenAt ?? key;
    const x = place(range, at);
    if (x < 0 || x > 1) continue;
    bad.push({ at, x, state: a.state === 'LOST' ? 'LOST' : 'FAILED', n: 1, id: a.id, name: a.name });
  }
  bad.sort((p, q) => p.at - q.at);
  const out: Flag[] = [];
  for (const flag of bad) {
    const last = out.at(-1);
    if (last === undefined || flag.x - last.x >= gap) out.push(flag);
    else {
      last.n++;
      if (flag.state === 'LOST') last.state = 'LOST';
    }
  }
  if (out.length <= most) return out;
  const weight = (flag: Flag) => (flag.state === 'LOST' ? 1e9 : 0) + flag.n;
  return out
    .sort((p, q) => weight(q) - weight(p) || q.at - p.at)
    .slice(0, most)
    .sort((p, q) => p.at - q.at);
}

/** The marks of the clock, at whole steps of the reader's own time; `zone` is its offset in milliseconds. */
export function clockMarks(range: Range, width: number, zone: number): { at: number; x: number }[] {
  const room = Math.max(1, Math.floor(width / 110));
  const step = round(Math.max(MINUTE, (range.to - range.from) / room));
  const out: { at: number; x: number }[] = [];
  for (let n = Math.ceil((range.from + zone) / step); ; n++) {
    const at = n * step - zone;
    const x = place(range, at);
    if (x > 1) return out;
    out.push({ at, x });
  }
}

/** The moment at a place of the range, from 0 to 1; the last `live` of it is now, and null. */
export function momentAt(range: Range, x: number, live: number): number | null {
  if (x >= 1 - live) return null;
  return range.from + Math.max(0, x) * (range.to - range.from);
}
