// How a decision turned out: what was done after it, and how that went.
import type { Branch, Forest } from './forest';
import { isFinal, type Activity, type State } from './wire';

export interface Outcome {
  /** What began after it, the first first. */
  then: Activity[];
  /** What both the decision and that belong to. */
  within: Activity | null;
  /** The worst of it; null as long as nothing followed. */
  state: State | null;
}

const GRAVE: State[] = ['FAILED', 'LOST', 'IN_PROGRESS', 'PLANNED', 'CANCELLED', 'COMPLETED'];

function begins(a: Activity): number {
  return a.startedAt ?? a.plannedAt ?? a.endedAt ?? 0;
}

/** A statement to a database says little of what a decision led to. */
function tells(a: Activity): boolean {
  return a.type !== 'database_operation';
}

/**
 * What followed a decision: of those above it the nearest below which something was begun after it, and
 * that something. What it has below itself was part of deciding.
 */
export function outcome(forest: Forest, id: string): Outcome {
  const none: Outcome = { then: [], within: null, state: null };
  const node = forest.nodes.get(id);
  const a = node?.a ?? null;
  if (node === undefined || a === null || !isFinal(a.state)) return none;
  const at = a.endedAt ?? begins(a);
  for (let up: Branch = node; up.parent !== null; up = up.parent) {
    const then = up.parent.children
      .map((other) => other.a)
      .filter((other) => other !== null && other.id !== up.id && begins(other) >= at && tells(other))
      .filter((other) => other !== null);
    if (then.length === 0) continue;
    const within = up.parent.a;
    const states = [
      ...then.map((other) => other.state),
      ...(within?.state === 'FAILED' ? [within.state] : []),
    ];
    return { then, within, state: GRAVE.find((state) => states.includes(state)) ?? null };
  }
  return none;
}
