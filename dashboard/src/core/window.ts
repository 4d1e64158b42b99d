/** The rows of a fixed-height list that are in sight, and a few beyond, so that a fast scroll is not blank. */
export interface Span {
  start: number;
  end: number;
}

export function inSight(scrollTop: number, viewport: number, rowHeight: number, count: number): Span {
  const overscan = 6;
  const first = Math.floor(Math.max(0, scrollTop) / rowHeight);
  const last = Math.ceil((Math.max(0, scrollTop) + Math.max(0, viewport)) / rowHeight);
  const end = Math.min(count, last + overscan);
  return { start: Math.max(0, Math.min(first - overscan, end)), end };
}

/** How many of a descending list stand before the first that is older. */
export function countSince<T>(
  list: { length: number; at: (index: number) => T | undefined },
  timeOf: (item: T) => number | null,
  since: number,
): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const item = list.at(middle);
    if (item === undefined || (timeOf(item) ?? since) >= since) low = middle + 1;
    else high = middle;
  }
  return low;
}
