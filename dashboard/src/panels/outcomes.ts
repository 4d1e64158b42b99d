// The traces of the decisions in sight, asked for in batches and kept up to date by the stream.
import { app } from '../app.svelte';
import { get } from '../core/client';
import { Forest, forestAnswer } from '../core/forest';
import { outcome, type Outcome } from '../core/outcome';
import type { Follower, Row } from '../core/store';
import { traceOf } from '../core/traces';
import type { Activity } from '../core/wire';

const BATCH = 10;
const BATCH_MS = 150;
const NODES = 5_000;
/** More than one answer brings. */
const HELD = 6_000;

export class Outcomes implements Follower {
  private forest = new Forest(HELD);
  private readonly known = new Set<string>();
  private readonly wanted = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | null = null;

  start(): () => void {
    const end = app.store.follow(this);
    return () => {
      end();
      if (this.timer !== null) clearTimeout(this.timer);
    };
  }

  put(row: Row): void {
    if (this.known.has(traceOf(row.a.id))) this.forest.put(row.a, row.seq);
  }

  drop(): void {
    return;
  }

  reset(): void {
    this.forest = new Forest(HELD);
    this.known.clear();
    this.wanted.clear();
  }

  /** Null while its trace is on its way. */
  of(a: Activity): Outcome | null {
    const trace = traceOf(a.id);
    if (this.known.has(trace)) return this.forest.has(a.id) ? outcome(this.forest, a.id) : null;
    if (trace !== '') this.wanted.add(trace);
    this.timer ??= setTimeout(() => void this.load(), BATCH_MS);
    return null;
  }

  private async load(): Promise<void> {
    // What scrolled by is not asked for: only the last that were wanted.
    const traces = [...this.wanted].slice(-BATCH);
    this.wanted.clear();
    if (this.forest.nodes.size > HELD) this.reset();
    for (const trace of traces) this.known.add(trace);
    const params = new URLSearchParams(traces.map((trace) => ['trace', trace]));
    const { forest } = this;
    const answer = await get(`/activity/tree?${params}&depth=128&limit=${NODES}`, forestAnswer);
    this.timer = null;
    if (forest !== this.forest) return;
    if (answer.ok && answer.value.logId === app.store.logId) forest.take(answer.value);
    else for (const trace of traces) this.known.delete(trace);
  }
}
