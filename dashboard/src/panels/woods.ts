// The forest of all traces: roots from the API, children when a row is opened, each change by the stream.
import { app } from '../app.svelte';
import { get } from '../core/client';
import { Forest, forestAnswer, type ForestAnswer } from '../core/forest';
import { parameters, parse } from '../core/filters';
import type { Follower, Row } from '../core/store';
import { traceOf } from '../core/traces';
import { isFinal, type Activity } from '../core/wire';

const ROOTS = 500;
const NODES = 5_000;
const CHILDREN = 1_000;
const FOUND = 2_000;
const LATE_MS = 300;
const LATE_TRACES = 20;

/** Its fields are looked at on each repaint of the lists. */
export class Woods implements Follower {
  loading = true;
  problem = false;
  /** Roots that the server holds beyond those asked for. */
  older = false;
  /** Rows whose children are on their way. */
  readonly asking = new Set<string>();
  forest = new Forest();

  private past = false;
  private asked = 0;
  private readonly known = new Set<string>();
  private readonly late = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private reaching = false;

  /** Follows the stream, or the moment that is shown, until the answer is called. */
  start(): () => void {
    const was = this.past;
    this.past = app.past !== null;
    if (this.past) this.show();
    else if (was) void this.load();
    const end = app.store.follow(this);
    return () => {
      end();
      this.asked++;
      if (this.timer !== null) clearTimeout(this.timer);
    };
  }

  put(row: Row, was: Activity | null): void {
    if (this.loading) return;
    const { a } = row;
    const { forest } = this;
    const placed = a.parentId === null || was !== null || forest.has(a.id) || forest.has(a.parentId);
    // What has ended and comes from nowhere is of a trace that the page does not hold: the server knows it.
    if (!placed) this.wanted(traceOf(a.id));
    if (forest.has(a.id) || a.parentId === null || forest.has(a.parentId) || !isFinal(a.state)) {
      forest.put(a, row.seq);
    }
  }

  /** What the page's lists let go, the forest still shows; it has its own bound. */
  drop(): void {
    return;
  }

  reset(): void {
    this.forest = new Forest();
    this.known.clear();
    this.loading = true;
  }

  async load(): Promise<void> {
    const asked = ++this.asked;
    // Where anything is open or has gone wrong is loaded whole, so that it shows on what is folded.
    const telling = 'state=PLANNED&state=IN_PROGRESS&state=FAILED&state=LOST';
    const [roots, paths] = await Promise.all([
      get(`/activity/tree?depth=0&limit=${ROOTS}`, forestAnswer),
      get(`/activity/tree?${telling}&depth=128&limit=${NODES}`, forestAnswer),
    ]);
    if (asked !== this.asked) return;
    this.problem = !roots.ok;
    const forest = new Forest();
    for (const answer of [roots, paths]) {
      if (answer.ok && answer.value.logId === app.store.logId) this.take(forest, answer.value);
    }
    if (roots.ok) this.older = roots.value.rootCount > roots.value.roots;
    for (const row of app.store.rows.values()) this.fill(forest, row);
    this.known.clear();
    this.forest = forest;
    this.loading = false;
  }

  /** The forest as it was at the moment that is shown, of all that the page has seen of it. */
  private show(): void {
    this.asked++;
    this.forest = new Forest();
    this.known.clear();
    for (const row of app.store.rows.values()) this.fill(this.forest, row);
    this.loading = false;
  }

  /** Answers are of now: what they tell of the past comes by the store of the moment. */
  private take(forest: Forest, answer: ForestAnswer): void {
    app.time?.learn(answer.found.flatMap(({ a }) => a ?? []));
    if (app.past === null) forest.take(answer);
  }

  private fill(forest: Forest, row: Row): void {
    const { a } = row;
    if (a.parentId === null || forest.has(a.id) || forest.has(a.parentId)) forest.put(a, row.seq);
  }

  /** Asks for the children of a row that is opened, once. */
  async open(id: string): Promise<void> {
    if (this.known.has(id)) return;
    this.known.add(id);
    const { forest } = this;
    this.asking.add(id);
    const answer = await this.ask(`root=${id}&depth=1&limit=${CHILDREN}`);
    this.asking.delete(id);
    if (answer === null) this.known.delete(id);
    else if (forest === this.forest) this.take(forest, answer);
  }

  /** The next older roots. */
  async reach(): Promise<void> {
    const oldest = this.forest.roots.find((root) => root.a !== null);
    if (!this.older || this.reaching || oldest === undefined) return;
    this.reaching = true;
    const until = encodeURIComponent(new Date(Math.floor(oldest.key)).toISOString());
    const before = this.forest.roots.length;
    const answer = await this.ask(`depth=0&limit=${ROOTS}&until=${until}`);
    if (answer !== null) {
      this.take(this.forest, answer);
      this.older = this.forest.roots.length > before && answer.truncated;
    }
    this.reaching = false;
  }

  /** What the server finds by the search comes with all above it. */
  async search(): Promise<void> {
    const params = parameters(app.route.states, parse(app.route.q));
    params.set('depth', '128');
    params.set('limit', String(FOUND));
    const { forest } = this;
    const answer = await this.ask(params.toString());
    if (answer !== null && forest === this.forest) this.take(forest, answer);
  }

  private wanted(trace: string): void {
    if (trace === '') return;
    this.late.add(trace);
    this.timer ??= setTimeout(() => void this.fetchLate(), LATE_MS);
  }

  private async fetchLate(): Promise<void> {
    const traces = [...this.late].slice(0, LATE_TRACES);
    for (const trace of traces) this.late.delete(trace);
    const { forest } = this;
    const params = new URLSearchParams(traces.map((trace) => ['trace', trace]));
    const answer = await this.ask(`${params}&depth=128&limit=${NODES}`);
    if (answer !== null && forest === this.forest) this.take(forest, answer);
    this.timer = this.late.size > 0 ? setTimeout(() => void this.fetchLate(), LATE_MS) : null;
  }

  private async ask(params: string): Promise<ForestAnswer | null> {
    const answer = await get(`/activity/tree?${params}`, forestAnswer);
    return answer.ok && answer.value.logId === app.store.logId ? answer.value : null;
  }
}
