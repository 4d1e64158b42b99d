// The times of an activity on an axis: when it begins, how long it waits, and how far its work reaches.
import type { Activity } from './wire';

/** Milliseconds since the epoch: the wait runs from `from` to `work`, the work from there to `to`. */
export interface Extent {
  from: number;
  work: number;
  to: number;
}

export function begins(a: Activity): number {
  return a.plannedAt ?? a.startedAt ?? a.endedAt ?? 0;
}

/** The time that an activity takes up: its work, and what it waited before. */
export function extent(a: Activity, now: number): Extent {
  const planned = a.plannedAt ?? a.startedAt ?? a.endedAt ?? now;
  const work = a.startedAt ?? (a.state === 'PLANNED' ? now : (a.endedAt ?? planned));
  switch (a.state) {
    case 'PLANNED':
      return { from: planned, work: Math.max(now, planned), to: Math.max(now, planned) };
    case 'IN_PROGRESS':
      return { from: planned, work, to: Math.max(now, work) };
    case 'LOST':
      return { from: planned, work, to: Math.max(a.endedAt ?? a.lastSeenAt ?? now, work) };
    default:
      return { from: planned, work, to: Math.max(a.endedAt ?? work, work) };
  }
}

/** The end of its extent, for those who ask it of very many. */
export function ends(a: Activity, now: number): number {
  if (a.state === 'PLANNED' || a.state === 'IN_PROGRESS' || a.endedAt === null) return extent(a, now).to;
  return a.startedAt !== null && a.startedAt > a.endedAt ? a.startedAt : a.endedAt;
}
