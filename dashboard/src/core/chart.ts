// Geometry of the small charts, as SVG path data.
import type { Bucket } from './stats';

function px(n: number): string {
  return String(Math.round(n * 100) / 100);
}

function bar(x: number, y: number, width: number, height: number): string {
  return `M${px(x)} ${px(y)}h${px(width)}v${px(height)}h${px(-width)}z`;
}

/** Bars that stand on (or, with `down`, hang from) `base`, one in each slot of `width / slots`. */
export function bars(
  values: readonly number[],
  max: number,
  box: { width: number; base: number; height: number; slots: number; down?: boolean },
): string {
  if (max <= 0) return '';
  const slot = box.width / box.slots;
  const offset = box.slots - values.length;
  let path = '';
  for (const [i, value] of values.entries()) {
    if (value <= 0) continue;
    const height = Math.max(1.2, Math.min(1, value / max) * box.height);
    path += bar((i + offset) * slot, box.down ? box.base : box.base - height, slot * 0.68, height);
  }
  return path;
}

export interface Sample {
  at: number;
  value: number;
}

/** A line over the last `span` milliseconds up to `now`, and the area beneath it. */
export function line(
  samples: readonly Sample[],
  now: number,
  span: number,
  box: { width: number; height: number; top: number },
): { line: string; area: string } {
  const shown = samples.filter((s) => now - s.at <= span * 1.05);
  const first = shown[0];
  const last = shown.at(-1);
  if (first === undefined || last === undefined || shown.length < 2) return { line: '', area: '' };
  const max = Math.max(...shown.map((s) => s.value));
  const min = Math.min(...shown.map((s) => s.value));
  const range = Math.max(max - min, max * 0.1, 1);
  const x = (s: Sample) => box.width * (1 - (now - s.at) / span);
  const y = (s: Sample) => box.height - 4 - ((s.value - min) / range) * (box.height - 4 - box.top);
  const points = shown.map((s) => `${px(x(s))} ${px(y(s))}`);
  const path = `M${points.join('L')}`;
  return { line: path, area: `${path}L${px(x(last))} ${px(box.height)}L${px(x(first))} ${px(box.height)}z` };
}

/** The width of a mark's label, as a share of the chart's. */
const LABEL = 0.1;

export interface Histogram {
  /** Bars up to p95, and those beyond. */
  common: string;
  slow: string;
  /** `side` is where its label has room, or null. */
  marks: { label: 'p50' | 'p95' | 'p99'; at: number; side: 'left' | 'right' | null }[];
  ticks: { ms: number; at: number }[];
}

/**
 * Lays the buckets out over a logarithmic scale of whole decades around what was counted. Positions are
 * shares of the width, 0 to 1. Null when nothing was counted.
 */
export function histogram(
  buckets: readonly Bucket[],
  quantiles: { p50: number | null; p95: number | null; p99: number | null },
  box: { width: number; height: number },
): Histogram | null {
  const used = buckets
    .map((b, i) => ({ ...b, from: buckets[i - 1]?.le ?? b.le / 2 }))
    .filter((b) => b.count > 0);
  const first = used[0];
  const last = used.at(-1);
  if (first === undefined || last === undefined) return null;
  const top = Number.isFinite(last.le) ? last.le : last.from * 2;
  // A microsecond is the least that is told apart.
  const low = Math.max(-3, Math.floor(Math.log10(first.from) + 1e-9));
  const high = Math.max(low + 1, Math.ceil(Math.log10(top) - 1e-9));
  const at = (ms: number) => Math.min(1, Math.max(0, (Math.log10(ms) - low) / (high - low)));
  const max = Math.max(...used.map((b) => b.count));
  const p95 = quantiles.p95 ?? Infinity;
  let common = '';
  let slow = '';
  for (const b of used) {
    const left = at(b.from) * box.width;
    const right = at(Number.isFinite(b.le) ? b.le : top) * box.width;
    const gap = Math.min(1.4, (right - left) * 0.25);
    const height = Math.max(1.2, (b.count / max) * box.height);
    const path = bar(left, box.height - height, Math.max(0.5, right - left - gap), height);
    if (b.from >= p95) slow += path;
    else common += path;
  }
  const step = Math.ceil((high - low) / 4);
  const ticks = [];
  for (let decade = low; decade <= high; decade += step) {
    ticks.push({ ms: 10 ** decade, at: (decade - low) / (high - low) });
  }
  const places = (['p99', 'p95', 'p50'] as const).flatMap((label) => {
    const ms = quantiles[label];
    return ms === null || ms <= 0 ? [] : [{ label, at: at(ms) }];
  });
  const taken: [number, number][] = [];
  const marks = places.map((place): Histogram['marks'][number] => {
    const free = (from: number) =>
      from >= 0 &&
      from + LABEL <= 1 &&
      taken.every(([l, r]) => from >= r || from + LABEL <= l) &&
      places.every((other) => other === place || other.at <= from || other.at >= from + LABEL);
    const side = free(place.at) ? 'right' : free(place.at - LABEL) ? 'left' : null;
    if (side !== null)
      taken.push(side === 'right' ? [place.at, place.at + LABEL] : [place.at - LABEL, place.at]);
    return { ...place, side };
  });
  return { common, slow, marks, ticks };
}
