// Which commands of the palette a text finds, the best first.
export interface Findable {
  label: string;
  /** Other words that find it. */
  also?: string;
}

/** Higher is better, 0 is no match. Every word must be found; the beginning of a word counts more. */
export function score(item: Findable, text: string): number {
  const label = item.label.toLowerCase();
  const also = (item.also ?? '').toLowerCase();
  let sum = 0;
  for (const word of text.toLowerCase().split(/\s+/)) {
    if (word === '') continue;
    const at = label.indexOf(word);
    if (at === 0) sum += 8;
    else if (at > 0) sum += /[\s.:/(-]/.test(label.charAt(at - 1)) ? 5 : 2;
    else if (also.includes(word)) sum += 1;
    else return 0;
  }
  return sum;
}

/** Those that the text finds, the best first, ties in their own order; an empty text finds all. */
export function rank<T extends Findable>(items: readonly T[], text: string, limit: number): T[] {
  if (text.trim() === '') return items.slice(0, limit);
  return items
    .map((item) => ({ item, score: score(item, text) }))
    .filter((found) => found.score > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, limit)
    .map((found) => found.item);
}

export interface Ids {
  trace: string | null;
  activity: string | null;
}

/** What a text names: a trace's id, an activity's, a span's, or a traceparent that holds both. */
export function ids(text: string): Ids {
  const s = text.trim().toLowerCase();
  const whole = /^(?:00-)?([0-9a-f]{32})-([0-9a-f]{16})(?:-[0-9a-f]{2})?$/.exec(s);
  if (whole !== null) return { trace: whole[1] ?? null, activity: `${whole[1]}-${whole[2]}` };
  if (/^[0-9a-f]{32}$/.test(s)) return { trace: s, activity: null };
  if (/^[0-9a-f]{16}$/.test(s)) return { trace: null, activity: s };
  return { trace: null, activity: null };
}
