// Which traces there are: the store's rows, counted by their trace as they come.
import type { Follower, Row } from './store';
import { begins } from './times';
import { isFinal, type Activity } from './wire';

/** The trace of an activity's id, which is the trace's and the span's. */
export function traceOf(id: string): string {
  return id.length > 32 ? id.slice(0, 32) : '';
}

export interface Trace {
  id: string;
  /** Its root, or the first of it that was seen as long as the root was not. */
  first: Activity;
  /** Whether `first` is the root. */
  rooted: boolean;
  /** Its activities that this page has seen, and those that it still holds. */
  seen: number;
  held: number;
  open: number;
  failures: number;
  startedAt: number;
  endedAt: number;
}

function newer(a: Trace, b: Trace): number {
  return b.startedAt - a.startedAt || (a.id < b.id ? -1 : 1);
}

export interface Listed {
  traces: Trace[];
  /** Live traces, and finished ones, that are held beyond the limit. */
  more: number;
}

export class Traces implements Follower {
  readonly all = new Map<string, Trace>();
  private readonly live = new Set<Trace>();
  /** The last to end. */
  private ended: Trace | null = null;
  /** The last one looked for: mostly the next is of the same. */
  private last: Trace | null = null;

  /** Traces with something planned or in progress. */
  get open(): number {
    return this.live.size;
  }

  put(row: Row, was: Activity | null): void {
    const { a } = row;
    let trace = this.find(a.id);
    if (trace === undefined) {
      const id = traceOf(a.id);
      if (id === '') return;
      const at = begins(a);
      trace = this.last = {
        id,
        first: a,
        rooted: a.parentId === null,
        seen: 0,
        held: 0,
        open: 0,
        failures: 0,
        startedAt: at,
        endedAt: at,
      };
      this.all.set(id, trace);
    }
    if (was === null) {
      trace.seen++;
      trace.held++;
    }
    const root = a.parentId === null;
    if (a.id === trace.first.id || (root && !trace.rooted)) {
      trace.first = a;
      trace.rooted = root;
    }
    trace.startedAt = Math.min(trace.startedAt, begins(a));
    trace.endedAt = Math.max(trace.endedAt, a.endedAt ?? a.startedAt ?? 0);
    const wasOpen = was !== null && !isFinal(was.state);
    this.count(trace, Number(!isFinal(a.state)) - Number(wasOpen));
    if (trace.open <= 0 && trace.endedAt >= (this.ended?.endedAt ?? 0)) this.ended = trace;
    trace.failures += Number(a.state === 'FAILED') - Number(was?.state === 'FAILED');
  }

  drop(row: Row): void {
    const trace = this.find(row.a.id);
    if (trace === undefined) return;
    trace.held--;
    if (!isFinal(row.a.state)) this.count(trace, -1);
    if (trace.held <= 0) {
      this.all.delete(trace.id);
      this.live.delete(trace);
      this.last = null;
      if (this.ended === trace) this.ended = null;
    }
  }

  private find(id: string): Trace | undefined {
    if (this.last !== null && id.startsWith(this.last.id)) return this.last;
    const trace = this.all.get(traceOf(id));
    this.last = trace ?? null;
    return trace;
  }

  reset(): void {
    this.all.clear();
    this.live.clear();
    this.last = null;
    this.ended = null;
  }

  private count(trace: Trace, by: number): void {
    trace.open += by;
    if (trace.open > 0) this.live.add(trace);
    else this.live.delete(trace);
  }

  /** Live ones first, each the newest first; of finished ones those that pass the test. */
  list(limit: number, test: ((trace: Trace) => boolean) | null): Listed {
    const live: Trace[] = [];
    const done: Trace[] = [];
    for (const trace of this.all.values()) {
      if (test !== null && !test(trace)) continue;
      if (trace.open > 0) live.push(trace);
      else done.push(trace);
    }
    const traces = live
      .sort(newer)
      .concat(live.length < limit ? done.sort(newer) : [])
      .slice(0, limit);
    return { traces, more: live.length + done.length - traces.length };
  }

  /**
   * The live trace with most open activities, the newest of several; `kept` wins as long as it is live. When none
   * is, the last to end.
   */
  busiest(kept: string | null): Trace | null {
    const held = kept === null ? undefined : this.all.get(kept);
    if (held !== undefined && held.open > 0) return held;
    let best: Trace | null = null;
    for (const trace of this.live) {
      const more = best === null ? 1 : trace.open - best.open || trace.startedAt - best.startedAt;
      if (more > 0) best = trace;
    }
    return best ?? this.ended ?? held ?? null;
  }
}
