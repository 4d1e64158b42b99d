// What a trace's time depends on: the critical path, which determined its end, and, as long as it is live,
// the one open activity that everything above it is waiting for.
import { extent } from './times';
import type { Node } from './tree';
import { isFinal, type Activity } from './wire';

/** A time during which an activity, or the wait for it, kept the end of the trace from coming sooner. */
export interface Part {
  from: number;
  to: number;
  /** It stood in the queue. */
  wait: boolean;
}

/** Times of two activities that follow each other differ by rounding. */
const EPSILON_MS = 0.001;

/** Of a node: its own work, and how far the work below it reaches. */
interface Reach {
  from: number;
  work: number;
  own: number;
  all: number;
}

interface Step {
  node: Node;
  end: number;
}

/** A node of the walk, at a moment from which it goes back. */
interface Frame {
  node: Node | null;
  reach: Reach;
  /** What ended below it, the latest last. */
  ends: Step[];
  at: number;
  /** The child that the walk came back from. */
  came: Node | null;
}

/**
 * The critical path by activity. It is walked back from the last end of all: at each moment it is with the
 * child that had ended last by then, else with the parent itself. Work that outlives its parent counts as
 * the parent's, what is open as lasting until now, and what never started not at all.
 */
export function criticalPath(roots: readonly Node[], now: number): Map<string, Part[]> {
  const reaches = reach(roots, now);
  const parts = new Map<string, Part[]>();
  const add = (node: Node | null, from: number, to: number, wait: boolean) => {
    if (node === null || node.a === null || to - from <= EPSILON_MS) return;
    const own = parts.get(node.id);
    const next = own?.at(-1);
    if (own === undefined) parts.set(node.id, [{ from, to, wait }]);
    else if (next?.wait === wait && Math.abs(next.from - to) <= EPSILON_MS) next.from = from;
    else own.push({ from, to, wait });
  };
  /** The time between `from` and the frame's moment, in which no child of it was at work. */
  const gap = (frame: Frame, from: number) => {
    const { node, reach: own, at, came } = frame;
    const queued = came === null ? undefined : reaches.get(came);
    const waits = queued === undefined ? at : Math.min(at, Math.max(from, queued.from));
    add(came, waits, at, true);
    add(node, Math.max(from, own.work), Math.min(waits, own.own), false);
  };

  const last = Math.max(-Infinity, ...tops(roots, reaches));
  if (last === -Infinity) return parts;
  const whole = { from: -Infinity, work: -Infinity, own: -Infinity, all: last };
  const stack: Frame[] = [enter(null, roots, whole, last, reaches)];
  for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
    const step = frame.ends.pop();
    if (step === undefined) {
      // The root's own wait is nobody's gap.
      if (frame.node !== null || frame.came === null) gap(frame, frame.reach.work);
      else gap(frame, reaches.get(frame.came)?.from ?? frame.at);
      stack.pop();
      const above = stack.at(-1);
      if (above !== undefined) {
        above.at = Math.min(above.at, frame.reach.work);
        above.came = frame.node;
      }
      continue;
    }
    const own = reaches.get(step.node);
    // What was still at work, or had not begun, did not end then.
    if (own === undefined || step.end > frame.at + EPSILON_MS || own.work >= frame.at) continue;
    gap(frame, Math.min(step.end, frame.at));
    frame.at = Math.min(step.end, frame.at);
    stack.push(enter(step.node, step.node.children, own, frame.at, reaches));
  }
  return parts;
}

function* tops(roots: readonly Node[], reaches: ReadonlyMap<Node, Reach>): Iterable<number> {
  for (const root of roots) {
    const own = reaches.get(root);
    if (own !== undefined) yield own.all;
  }
}

function enter(
  node: Node | null,
  children: readonly Node[],
  own: Reach,
  at: number,
  reaches: ReadonlyMap<Node, Reach>,
): Frame {
  const ends: Step[] = [];
  for (const child of children) {
    const below = reaches.get(child);
    if (below === undefined) continue;
    ends.push({ node: child, end: below.all });
    // While something below it goes on, its own end may be what the next one waited for.
    if (below.own < below.all) ends.push({ node: child, end: below.own });
  }
  ends.sort((a, b) => a.end - b.end);
  return { node, reach: own, ends, at, came: null };
}

/** Nodes with any work at or below them. */
function reach(roots: readonly Node[], now: number): Map<Node, Reach> {
  const order = [...roots];
  for (const node of order) for (const child of node.children) order.push(child);
  const out = new Map<Node, Reach>();
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i];
    if (node === undefined) continue;
    const { a } = node;
    const own: Reach = { from: Infinity, work: Infinity, own: -Infinity, all: -Infinity };
    if (a !== null && a.state !== 'PLANNED' && (a.startedAt ?? a.endedAt) !== null) {
      const { from, work, to } = extent(a, now);
      Object.assign(own, { from, work, own: to, all: to });
    }
    const placeholder = own.work === Infinity;
    for (const child of node.children) {
      const below = out.get(child);
      if (below === undefined) continue;
      own.all = Math.max(own.all, below.all);
      if (!placeholder) continue;
      own.work = Math.min(own.work, below.work);
      own.from = own.work;
    }
    if (own.all > -Infinity) out.set(node, own);
  }
  return out;
}

export interface Waiting {
  node: Node;
  a: Activity;
  /** Since when it works, or stands in the queue. */
  since: number;
  /** Other open activities with nothing open below them. */
  others: number;
}

/** How long it may still go on: what its kind usually takes, or, beyond that, as long again as it has. */
function expected(a: Activity, now: number): number {
  const gone = now - (a.startedAt ?? a.plannedAt ?? now);
  const rest = (a.usualMs ?? 0) - gone;
  return now + (rest > 0 ? rest : gone);
}

interface Hope {
  /** When the last work at or below it is expected to end; null when all of it is only planned. */
  ends: number | null;
  planned: number;
  children: Node[];
}

function later(a: Hope, b: Hope): boolean {
  if (a.ends !== null && b.ends !== null) return a.ends > b.ends;
  return a.ends !== null || b.ends !== null ? a.ends !== null : a.planned < b.planned;
}

/**
 * Which open activity everything above it is waiting for now: from the roots down, always to the open child
 * that is expected to end last; where none works, to the one that stands in the queue for the longest time.
 */
export function awaited(open: Iterable<Node>, now: number): Waiting | null {
  const hopes = new Map<Node, Hope>();
  const tops: Node[] = [];
  for (const node of open) {
    const { a } = node;
    if (a === null || isFinal(a.state)) continue;
    const working = a.state === 'IN_PROGRESS';
    const own = {
      ends: working ? expected(a, now) : null,
      planned: working ? Infinity : (a.plannedAt ?? now),
    };
    let child: Node | null = null;
    for (let up: Node | null = node; up !== null; up = up.parent) {
      const held = hopes.get(up);
      const hope: Hope = held ?? { ends: null, planned: Infinity, children: [] };
      const grows = held === undefined || later({ ...own, children: [] }, held);
      if (child !== null) hope.children.push(child);
      if (own.ends !== null) hope.ends = Math.max(hope.ends ?? -Infinity, own.ends);
      hope.planned = Math.min(hope.planned, own.planned);
      if (held === undefined) {
        hopes.set(up, hope);
        if (up.parent === null) tops.push(up);
        child = up;
      } else {
        child = null;
        if (!grows) break;
      }
    }
  }
  let leaves = 0;
  for (const [node, { children }] of hopes) {
    if (children.length === 0 && node.a !== null) leaves++;
  }
  let at: Node | null = null;
  for (let list = tops; list.length > 0;) {
    let best: Node | null = null;
    for (const node of list) {
      const hope = hopes.get(node);
      const held = best === null ? undefined : hopes.get(best);
      if (hope !== undefined && (held === undefined || later(hope, held))) best = node;
    }
    if (best === null) break;
    at = best;
    list = hopes.get(best)?.children ?? [];
  }
  const a = at?.a ?? null;
  if (at === null || a === null) return null;
  const since = (a.state === 'PLANNED' ? a.plannedAt : (a.startedAt ?? a.plannedAt)) ?? now;
  return { node: at, a, since, others: leaves - 1 };
}
