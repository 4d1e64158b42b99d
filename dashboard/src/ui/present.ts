// What a row of the feed shows, as texts: made anew for the rows in sight at each repaint.
import { f } from '../app.svelte';
import type { Row } from '../core/store';
import type { Activity, State } from '../core/wire';
import { t } from '../text';

export interface Cell {
  id: string;
  state: State;
  name: string;
  by: string | null;
  type: string;
  what: string;
  progress: number | null;
  word: string;
  stalled: boolean;
  duration: string;
  /** When it began, or was planned. */
  at: number | null;
  fresh: boolean;
}

/** The word for a name that comes from an activity, or the name itself: `__proto__` is no word of ours. */
export function word(words: Record<string, string>, name: string): string {
  return Object.hasOwn(words, name) ? (words[name] ?? name) : name;
}

export function typeName(type: string): string {
  return word(t.types, type);
}

/** Who does it: the agent if one is known, else the service. */
export function by(a: Activity): string | null {
  return a.agent ?? a.service;
}

/** The most telling of its three descriptions for the state it is in. */
export function what(a: Activity): string {
  switch (a.state) {
    case 'FAILED':
      return a.error?.message ?? a.error?.type ?? a.did ?? a.doing ?? a.willDo ?? '';
    case 'PLANNED':
      return a.willDo ?? a.doing ?? '';
    case 'IN_PROGRESS':
    case 'LOST':
      return a.doing ?? a.willDo ?? '';
    default:
      return a.did ?? a.doing ?? a.willDo ?? '';
  }
}

/** How long it worked, has worked so far, or has waited. */
export function elapsed(a: Activity, now: number): string {
  if (a.state === 'PLANNED') return a.plannedAt === null ? '' : t.feed.waits(f.ago(now - a.plannedAt));
  if (a.durationMs !== null) return f.duration(a.durationMs);
  const from = a.startedAt ?? a.plannedAt;
  if (from === null) return '';
  if (a.state === 'IN_PROGRESS') return f.duration(now - from);
  const to = a.endedAt ?? a.lastSeenAt;
  return to === null ? '' : f.duration(to - from);
}

export function ago(at: number | null, now: number): string {
  return at === null ? '' : t.ago(f.ago(now - at));
}

export function cell(row: Row, now: number, newest: number): Cell {
  const { a } = row;
  return {
    id: a.id,
    state: a.state,
    name: a.name,
    by: by(a),
    type: typeName(a.type),
    what: what(a),
    progress: a.state === 'IN_PROGRESS' ? a.progress : null,
    word: a.stalled && a.state === 'IN_PROGRESS' ? t.stalled : t.states[a.state],
    stalled: a.stalled,
    duration: elapsed(a, now),
    at: a.startedAt ?? a.plannedAt,
    fresh: row.arrival > newest,
  };
}
