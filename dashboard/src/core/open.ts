// What is planned or in progress, of all that the store holds.
import type { Follower, Row } from './store';
import { isFinal } from './wire';

export class Open implements Follower {
  readonly rows = new Set<Row>();

  put(row: Row): void {
    if (isFinal(row.a.state)) this.rows.delete(row);
    else this.rows.add(row);
  }

  drop(row: Row): void {
    this.rows.delete(row);
  }

  reset(): void {
    this.rows.clear();
  }
}

const LEAST_MS = 400;

/**
 * What is being worked on: of what has been in progress for a while, that which waits for nothing below
 * it, the longest first. What is over at once never shows, so the rows stand still.
 */
export function inFlight(rows: Iterable<Row>, now: number): Row[] {
  const old: Row[] = [];
  const waiting = new Set<string>();
  for (const row of rows) {
    const { a } = row;
    if (a.state !== 'IN_PROGRESS' || now - (a.startedAt ?? now) < LEAST_MS) continue;
    old.push(row);
    if (a.parentId !== null) waiting.add(a.parentId);
  }
  return old
    .filter((row) => !waiting.has(row.a.id))
    .sort((a, b) => (a.a.startedAt ?? 0) - (b.a.startedAt ?? 0) || a.arrival - b.arrival);
}
