// What the reader searches for: the test that the page's rows must pass, and what the server finds besides.
import { get } from './core/client';
import {
  ages,
  compile,
  isInvalid,
  narrows,
  NOTHING,
  parameters,
  parse,
  says,
  type Problem,
  type Query,
  type Test,
} from './core/filters';
import { stats as decodeStats, type Stats } from './core/stats';
import type { Row } from './core/store';
import type { Route } from './core/url';
import { page as decodePage, type Activity, type Page, type State } from './core/wire';

const ASK_MS = 250;
const ASK_AGAIN_MS = 5_000;
const NO_STATES: ReadonlySet<State> = new Set();

export interface Match {
  total: number;
  exact: boolean;
}

/** Who searches. */
export interface Searcher {
  readonly route: Route;
  serverNow(): number;
  /** The test is another; a narrower one passes nothing that the one before did not. */
  refilter(narrower: boolean): void;
  /** The server holds these. */
  take(page: Page): void;
  /** These pass from now on, whatever the test said of them. */
  again(ids: readonly string[]): void;
}

export class Search {
  /** What the server says matches. */
  match = $state.raw<Match | null>(null);
  /** The statistics of what matches, whatever its state. */
  matched = $state.raw<Stats | null>(null);
  /** What is wrong, as the page sees it, and as the server says. */
  problems = $state.raw<Problem[]>([]);
  refused = $state<string | null>(null);
  private faulty = $state(false);
  /** What a row must pass, and what it must whatever its state; null passes all. */
  test: Test | null = null;
  words: Test | null = null;

  /** The last that was valid. */
  private query: Query = parse('');
  /** There was none. */
  private blank = true;
  // eslint-disable-next-line svelte/prefer-svelte-reactivity -- the test reads it, row by row; no effect does
  private readonly found = new Set<string>();
  private timer: ReturnType<typeof setTimeout> | null = null;
  private asked = 0;
  private counting = false;

  constructor(private readonly by: Searcher) {}

  /** Takes what the address says. */
  set(sameStates = false): void {
    const { query: before, blank } = this;
    const query = parse(this.by.route.q);
    this.problems = query.problems;
    this.faulty = isInvalid(query);
    this.blank &&= this.faulty;
    if (!this.faulty) this.query = query;
    if (sameStates && blank === this.blank && says(this.query, before)) return;
    this.refused = null;
    this.found.clear();
    this.match = null;
    this.matched = null;
    this.compile(sameStates && narrows(this.query, before));
    if (this.timer !== null) clearTimeout(this.timer);
    this.asked++;
    if (this.test !== null && !this.blank) this.timer = setTimeout(() => void this.ask(), ASK_MS);
  }

  /** Makes the tests as of now. */
  compile(narrower = false): void {
    const { states } = this.by.route;
    const make = (states: ReadonlySet<State>) => compile(states, this.query, this.found, this.by.serverNow());
    this.test = this.blank ? NOTHING : make(states);
    this.words = this.blank || states.size === 0 ? this.test : make(NO_STATES);
    this.by.refilter(narrower);
  }

  /** Time alone changes what passes. */
  get ages(): boolean {
    return ages(this.query);
  }

  /** What it finds is not known: the lists keep what the last valid one found, or show nothing. */
  get invalid(): boolean {
    return this.faulty || this.refused !== null;
  }

  /** There are words. */
  get on(): boolean {
    return this.by.route.q.trim() !== '';
  }

  /** There are words, or states are chosen. */
  get filters(): boolean {
    return this.on || this.by.route.states.size > 0;
  }

  /** As parameters of the API, the states too. */
  parameters(): URLSearchParams {
    return parameters(this.by.route.states, this.query);
  }

  /** Whether it passes, whatever its state. */
  matches(a: Activity): boolean {
    return this.words === null || this.words.passes(a);
  }

  /** The newest of an ascending list that pass, newest first. */
  latest(list: readonly Row[], limit: number, withStates: boolean): Activity[] {
    const test = withStates ? this.test : this.words;
    const out: Activity[] = [];
    for (let i = list.length - 1; i >= 0 && out.length < limit; i--) {
      const a = list[i]?.a;
      if (a !== undefined && (test === null || test.passes(a))) out.push(a);
    }
    return out;
  }

  /** Asks the server too: it holds more than the page, and looks into results and attributes. */
  private async ask(): Promise<void> {
    const asked = ++this.asked;
    void this.count();
    const params = this.parameters();
    params.set('limit', '200');
    const answer = await get(`/activity/all?${params}`, decodePage);
    if (asked !== this.asked || this.test === null) return;
    if (answer.ok) {
      const { total, exact, activities } = answer.value;
      this.match = { total, exact };
      this.by.take(answer.value);
      const { words, attrs } = this.query;
      if (words.length + attrs.size > 0) this.learn(activities.map((a) => a.id));
      this.refused = null;
    } else if (answer.status === 400) {
      this.refused = answer.detail;
    }
    this.timer = setTimeout(() => void this.ask(), ASK_AGAIN_MS);
  }

  /** What the server finds, the page's test finds from now on, too. */
  private learn(ids: readonly string[]): void {
    const fresh = ids.filter((id) => !this.found.has(id));
    for (const id of fresh) this.found.add(id);
    this.by.again(fresh);
  }

  /** Asks for the statistics of what matches. */
  async count(): Promise<void> {
    const { query } = this;
    const params = parameters(NO_STATES, query);
    if (params.size === 0 || this.counting) return;
    // One at a time: it looks at everything that the server holds.
    this.counting = true;
    const answer = await get(`/activity/stats?${params}`, decodeStats);
    this.counting = false;
    if (query === this.query && answer.ok) this.matched = answer.value;
  }
}
