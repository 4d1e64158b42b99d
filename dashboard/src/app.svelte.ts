// Wires the core to the page: one Monitor, one animation loop, and the few reactive fields that panels read.
import { get, signIn } from './core/client';
import { Clock, Rate } from './core/clock';
import { Connection, type Link, type Socket } from './core/connection';
import type { Test } from './core/filters';
import { group, type Group } from './core/failures';
import { format } from './core/format';
import type { Sample } from './core/chart';
import type { Dock, Move } from './core/keys';
import { byAgent, byThread, Lanes } from './core/lanes';
import { List } from './core/list';
import { activeBefore, stats as decodeStats, type Stats } from './core/stats';
import type { Census } from './core/moment';
import { Older } from './core/older';
import { Open } from './core/open';
import { Store, type Row } from './core/store';
import { begins } from './core/times';
import { Traces } from './core/traces';
import { linker, read, THEMES, write, type Route, type Theme, type View } from './core/url';
import { Watch } from './core/watch';
import {
  isFields,
  page as decodePage,
  STATES,
  text as decodeText,
  treeAnswer,
  webUrl,
  type Activity,
  type Change,
  type Frame,
  type Gap,
  type Hello,
  type Page,
  type State,
} from './core/wire';
import { Search, type Searcher } from './search.svelte';
import { one, t } from './text';

export const f = format(undefined, t.units);

// Lists repaint at 10 Hz: nobody reads faster, and it costs a third of painting each frame.
const REPAINT_MS = 92; // and up to a frame more
// What stands beside them, and few read at once, at 4 Hz.
const SLOW_MS = 250;
const STATS_MS = 1_000;
/** How long the reader has stopped typing when the address is written. */
const ADDRESS_MS = 400;
const AGE_MS = 1_000;
const GROUP_MS = 1_000;
const BEHIND_MS = 6_000;
const NOTICE_MS = 6_000;
const ROOTS = 200;
const ANNOUNCE_MS = 10_000;
/** Events kept while the reader holds the lists; beyond it they are asked for again when released. */
const HELD_MAX = 20_000;

/** What `midspan serve` calls itself. */
const BRIDGE = 'midspan';

const THEME_KEY = 'midspan.theme';
const KEYS_KEY = 'midspan.keys';

function recall(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function remember(key: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}

/** A moment of the past, in the place of now. */
export interface Past {
  readonly store: Store;
  readonly feed: List;
  readonly traces: Traces;
  readonly agents: Lanes;
  readonly threads: Lanes;
  readonly stats: Stats | null;
  readonly samples: Sample[];
  readonly census: Census;
  /** From here on all is known that had begun. */
  readonly wholeSince: number;
}

/** What takes the page through time; see panels/travel. */
export interface Travel {
  /** Is called before each repaint; the moment to show, or null for now. */
  tick(at: number): number | null;
  /** The address names another moment or speed. */
  routed(): void;
  toggle(): void;
  live(): void;
  act(what: Dock, far: boolean): void;
  /** Takes what the API answered, of now or of any moment, as part of the past. */
  learn(activities: readonly Activity[]): void;
  /** An activity as it was at the moment that is shown; null when it had not begun. */
  then(a: Activity): Activity | null;
}

type Shell = typeof import('./ui/shell');

class Monitor implements Searcher {
  link = $state.raw<Link>({ phase: 'connecting' });
  statsFailed = $state(false);
  route = $state.raw<Route>(read(location.search));
  private readonly links = $derived(linker(this.route));
  /** Grows at each repaint of the lists. */
  beat = $state(0);
  /** When what stands beside the lists was painted; another object each time. */
  slow = $state.raw({ now: Date.now() });
  held = $state.raw<{ at: number; seq: number } | null>(null);
  waiting = $state(0);
  rate = $state<number | null>(null);
  roundTrip = $state<number | null>(null);
  version = $state<string | null>(null);
  /** The program that is monitored, where it is one: a bridge shows many. */
  service = $state<string | null>(null);
  jaegerUrl = $state<string | null>(null);
  notice = $state<string | null>(null);
  said = $state('');
  loading = $state(true);
  loadFailed = $state(false);
  /** The server can't read a part of its history. */
  incomplete = $state(false);
  /** The roots could not be loaded. */
  rootsFailed = $state(false);
  /** Grows when the page was filled anew: at the start, after a gap, with another log. */
  loads = $state(0);
  groups = $state.raw<Group[]>([]);
  /** Failures in `groups`. */
  grouped = $state(0);
  /** Rows that arrived later than this one are new enough to be tinted. */
  newest = $state(Infinity);
  brokenAt = $state<number | null>(null);
  theme = $state<Theme>('system');
  singleKeys = $state(recall(KEYS_KEY) !== 'off');
  helpOpen = $state(false);
  paletteOpen = $state(false);
  /** The reader is in the search box. */
  typing = $state(false);
  /** What is loaded after the first paint. */
  shell = $state.raw<Shell | null>(null);
  /** Failures since the reader last looked, for the title. */
  unseen = $state(0);
  /** The time for ages and growing durations; it stands still while held. */
  now = $state(Date.now());

  readonly search = new Search(this);
  /** What the page holds of now. */
  readonly live = new Store();
  private readonly liveFeed = new List(this.live);
  private readonly liveTraces = new Traces();
  /** What the server holds beyond that, by its beginning and its end, and of decisions. */
  readonly begun = new Older('/activity/all?sort=-planned_at', begins);
  readonly decided = new Older('/activity/decisions?sort=-planned_at', begins);
  readonly done = new Older('/activity/all?state=COMPLETED&sort=-ended_at', (a) => a.endedAt);
  private readonly open = new Open();
  private readonly liveAgents = new Lanes(byAgent);
  private readonly liveThreads = new Lanes(byThread);
  private polled = $state.raw<Stats | null>(null);
  private counted = $state.raw<Sample[]>([]);
  /** The moment that the page shows instead of now; null is live. */
  past = $state.raw<Past | null>(null);
  /** Takes the page through time, once its part is loaded. */
  time = $state.raw<Travel | null>(null);
  /** What W, S, A, D, F and 0 act on, as long as a waterfall is there. */
  timeline: ((move: Move) => void) | null = null;

  private readonly clock = new Clock(() => performance.now());
  private readonly events = new Rate();
  private readonly connection: Connection;
  private queue: Change[] = [];
  private queueLost = false;
  private received = 0;
  private readonly watch = new Watch(BEHIND_MS);
  private seconds = 0;
  private slowAt = 0; // when it goes on
  private grouping = { at: 0, store: this.live, version: -1, test: null as Test | null };
  private arrivals: { at: number; n: number }[] = [];
  private aged = 0;
  private addressTimer: ReturnType<typeof setTimeout> | null = null;
  private noticeTimer: ReturnType<typeof setTimeout> | null = null;
  private saidAt = -Infinity;
  private gapEvents = 0;
  private wasLive = false;
  private reached = false;
  private anotherLog = false;

  constructor() {
    for (const follower of [this.liveTraces, this.open, this.liveAgents, this.liveThreads]) {
      this.live.follow(follower);
    }
    this.connection = new Connection(
      {
        open: (params) => {
          const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
          return new WebSocket(`${scheme}//${location.host}/activity/stream?${params}`) as unknown as Socket;
        },
        probe: async () => {
          const answer = await get('/activity/stats', (body) => body);
          return answer.ok ? 200 : answer.status;
        },
        now: () => performance.now(),
        random: () => Math.random(),
      },
      {
        link: (link) => this.onLink(link),
        opened: (resumed) => {
          if (!resumed) this.live.beginSnapshot();
        },
        frame: (frame) => this.onFrame(frame),
      },
    );
    this.theme = this.route.theme ?? THEMES.find((theme) => theme === recall(THEME_KEY)) ?? 'system';
    this.search.set();
  }

  start(): void {
    this.paintTheme();
    this.connection.start();
    void this.pollStats();
    requestAnimationFrame(this.frame);
    // A view that there is not is not what the page shows.
    const view = new URLSearchParams(location.search).get('view');
    if (view !== null && view !== this.route.view) this.go({}, 'replace');
    addEventListener('popstate', () => {
      this.forgetAddress();
      this.apply(read(location.search));
    });
    addEventListener('pagehide', () => this.writeAddress());
    addEventListener('online', () => this.connection.hurry());
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.connection.hurry();
    });
  }

  // ── what is shown: now, or a moment of the past ──

  get store(): Store {
    return this.past?.store ?? this.live;
  }
  get feed(): List {
    return this.past?.feed ?? this.liveFeed;
  }
  get traces(): Traces {
    return this.past?.traces ?? this.liveTraces;
  }
  get agents(): Lanes {
    return this.past?.agents ?? this.liveAgents;
  }
  get threads(): Lanes {
    return this.past?.threads ?? this.liveThreads;
  }
  get stats(): Stats | null {
    return this.past === null ? this.polled : this.past.stats;
  }
  /** For the past it is of the same moment as the statistics. */
  get census(): Census {
    const { past, liveTraces, liveAgents, liveThreads } = this;
    return (
      past?.census ?? { live: liveTraces.open, agents: liveAgents.all.size, threads: liveThreads.all.size }
    );
  }
  /** What the server says of itself, now, whatever the page shows. */
  get server(): Stats | null {
    return this.polled;
  }
  /** Active activities over the last minute. */
  get samples(): Sample[] {
    return this.past === null ? this.counted : this.past.samples;
  }

  /** A feed of a store, with the filter of the page. */
  feedOf(store: Store): List {
    const feed = new List(store);
    feed.filter(this.search.test);
    if (this.feed.isFrozen) feed.freeze();
    return feed;
  }

  // ── the address ──

  go(change: Partial<Route>, how: 'push' | 'replace' = 'push'): void {
    const route = { ...this.route, ...change };
    if (how === 'push') {
      this.writeAddress(); // what is left behind
      history.pushState(null, '', location.pathname + write(route));
    }
    this.apply(route);
    if (how === 'replace') this.writeAddress(true);
  }

  /** Writes what is shown into the address, if that has yet to be done or anyhow. */
  writeAddress(anyhow = false): void {
    if (this.addressTimer === null && !anyhow) return;
    this.forgetAddress();
    history.replaceState(null, '', location.pathname + write(this.route));
  }

  private forgetAddress(): void {
    if (this.addressTimer !== null) clearTimeout(this.addressTimer);
    this.addressTimer = null;
  }

  href(change: Partial<Route>): string {
    return location.pathname + write({ ...this.route, ...change });
  }

  /** The same for a row's activity; rows ask for very many. */
  hrefOf(id: string): string {
    return location.pathname + this.links(id);
  }

  view(view: View): void {
    if (view !== this.route.view) this.go({ view });
  }

  toggleState(state: State | null): void {
    const chosen = (s: State) => state !== null && this.route.states.has(s) !== (s === state);
    this.go({ states: new Set(STATES.filter(chosen)) }, 'replace');
  }

  searchFor(q: string): void {
    this.go({ q }, 'replace');
  }

  /** Searches, too, while the reader types on. The address waits: to write it costs a browser more than the search. */
  type(q: string): void {
    this.apply({ ...this.route, q });
    this.forgetAddress();
    this.addressTimer = setTimeout(() => this.writeAddress(), ADDRESS_MS);
  }

  private apply(route: Route): void {
    const before = this.route;
    this.route = route;
    if (route.theme !== null && route.theme !== this.theme) {
      this.theme = route.theme;
      this.paintTheme();
    }
    if (before.view !== route.view) this.regroup(performance.now());
    if (before.at !== route.at || before.speed !== route.speed || before.from !== route.from)
      this.time?.routed();
    const sameStates = [...before.states].join() === [...route.states].join();
    if (before.q !== route.q || !sameStates) this.search.set(sameStates);
  }

  refilter(narrower: boolean): void {
    for (const feed of this.feeds) {
      const frozen = feed.isFrozen;
      feed.filter(this.search.test, narrower);
      if (frozen) feed.freeze();
    }
    this.repaint();
  }

  take(page: Page): void {
    this.incomplete ||= page.incomplete;
    if (this.held === null) this.live.merge(page);
  }

  again(ids: readonly string[]): void {
    for (const feed of this.feeds) feed.again(ids);
    this.grouping.version = -1;
  }

  private get feeds(): Iterable<List> {
    return new Set([this.liveFeed, this.feed]);
  }

  /** From here on the page holds all that began. */
  get heldSince(): number {
    return this.past?.wholeSince ?? this.begun.since;
  }

  /** Since when a list shows all there is: what the page holds besides came by other questions. A search shows all. */
  wholeSince(list: Older): number {
    const all = this.past !== null || this.search.filters || list.since === Infinity;
    return all ? -Infinity : list.since;
  }

  /** Has all be painted anew, whenever it was. */
  repaint(): void {
    this.beat++;
    this.slow = { now: this.now };
  }

  // ── the stream ──

  private onLink(link: Link): void {
    const was = this.link.phase;
    this.link = link;
    if (link.phase === 'live') {
      this.brokenAt = null;
      void this.health();
      if (this.wasLive && was !== 'live') this.say(t.announce.live);
      this.wasLive = true;
    } else if (link.phase === 'waiting' && this.brokenAt === null) {
      this.brokenAt = Date.now();
      this.say(t.announce.lost);
    }
    this.position();
  }

  /** Tells the connection where to go on after a break. */
  private position(): void {
    const { logId, seq } = this.live;
    const at = this.queueLost || this.held === null ? seq : Math.max(seq, this.received);
    this.connection.at(logId === '' || at === 0 ? null : { logId, seq: at });
  }

  private onFrame(frame: Frame): void {
    if (frame.malformed > 0) this.tell(t.notice.malformed);
    for (const message of frame.messages) {
      switch (message.kind) {
        case 'hello':
          this.onHello(message);
          break;
        case 'change':
          if (!message.snapshot && message.seq > this.received) this.received = message.seq;
          if (this.held === null) this.live.apply(message);
          else this.enqueue(message);
          break;
        case 'gap':
          this.onGap(message);
          break;
        case 'snapshot_end':
          this.live.endSnapshot();
          this.anotherLog = false;
          if (this.gapEvents > 0) {
            this.tell(t.notice.gap(f.integer(this.gapEvents), one(this.gapEvents)));
            this.gapEvents = 0;
            void this.load();
          }
          break;
      }
    }
    this.position();
  }

  private onHello(hello: Hello): void {
    if (hello.now !== null) this.clock.set(hello.now);
    if (hello.logId === this.live.logId) {
      if (this.reached) this.tell(t.notice.resumed);
      return;
    }
    const restarted = this.live.logId !== '';
    this.reached = true;
    this.anotherLog = restarted;
    this.held = null;
    this.queue = [];
    this.queueLost = false;
    this.live.reset(hello.logId);
    this.live.beginSnapshot();
    this.live.seq = hello.seq;
    this.received = hello.seq;
    this.events.reset();
    this.counted = [];
    this.feed.thaw();
    this.gapEvents = 0;
    if (restarted) this.tell(t.notice.restarted);
    void this.load();
  }

  private onGap(gap: Gap): void {
    this.release();
    this.live.beginSnapshot();
    // Of another log nothing can be missed: all of it is new, and the hello has said so.
    if (this.anotherLog) return;
    this.gapEvents = Math.max(0, gap.to - gap.from + 1);
    if (gap.to > this.live.seq) this.live.seq = gap.to;
  }

  private enqueue(change: Change): void {
    if (this.queueLost) return;
    if (this.queue.length < HELD_MAX) {
      this.queue.push(change);
      return;
    }
    this.queue = [];
    this.queueLost = true;
  }

  /** Signs in or connects again at the reader's wish. */
  reconnect(): void {
    this.position();
    this.connection.reconnect();
  }

  async signIn(token: string): ReturnType<typeof signIn> {
    const answer = await signIn(token);
    const { status } = answer;
    if (status >= 200 && status < 300) {
      this.reconnect();
      if (this.live.logId !== '') void this.load();
    }
    return answer;
  }

  private async health(): Promise<void> {
    const answer = await get('/healthz', (body) => (isFields(body) ? body : null));
    if (!answer.ok) return;
    this.version = decodeText(answer.value.version, 80);
    const service = decodeText(answer.value.service, 80);
    this.service = service === '' || service === BRIDGE ? null : service;
    this.jaegerUrl = webUrl(answer.value.jaeger_url);
  }

  /** Loads what happened before the page came, for each list its own latest. */
  private async load(): Promise<void> {
    const logId = this.live.logId;
    this.loading = true;
    const rooted = get(`/activity/tree?depth=0&limit=${ROOTS}`, treeAnswer);
    const answers = await Promise.all([
      get('/activity/all?limit=400', decodePage),
      get('/activity/decisions?limit=200', decodePage),
      get('/activity/all?state=COMPLETED&sort=-ended_at&limit=200', decodePage),
      get('/activity/all?state=FAILED&sort=-ended_at&limit=500', decodePage),
    ]);
    const roots = await rooted;
    if (logId !== this.live.logId) return;
    this.incomplete = answers.some((answer) => answer.ok && answer.value.incomplete);
    for (const answer of answers) if (answer.ok) this.live.merge(answer.value);
    for (const [i, list] of [this.begun, this.decided, this.done].entries()) {
      const answer = answers[i];
      if (answer?.ok) list.reached(answer.value);
    }
    if (roots.ok) this.live.merge(roots.value);
    this.rootsFailed = !roots.ok;
    this.loading = false;
    this.loads++;
    this.loadFailed = answers.every((answer) => !answer.ok);
  }

  /** Loads more of a list, as far back as `until` if so many pages reach it. */
  async loadOlder(list: Older, until?: number, pages?: number): Promise<void> {
    const { loads, live } = this;
    const take = (page: Page) => {
      const before = list.since;
      if (loads !== this.loads || page.logId !== live.logId || live.isFull) return false;
      this.incomplete ||= page.incomplete;
      live.merge(page);
      for (const feed of this.feeds) {
        if (!feed.isFrozen) continue; // the next frame shows it: between two, no row moves
        live.settle();
        feed.extend(before);
      }
      return true;
    };
    await list.load(take, until, pages);
  }

  private async pollStats(): Promise<void> {
    const visible = document.visibilityState === 'visible';
    const mayAsk = this.link.phase === 'live' || this.link.phase === 'connecting';
    if (visible && mayAsk) {
      const sent = performance.now();
      const answer = await get('/activity/stats', decodeStats);
      if (answer.ok) {
        this.roundTrip = performance.now() - sent;
        this.onStats(answer.value);
        await this.search.count();
      } else if (answer.status !== 401) {
        this.statsFailed = true;
      }
    }
    setTimeout(() => void this.pollStats(), STATS_MS);
  }

  /** Counts agree with the lists: while there is a search they are of what it finds. */
  get figures(): Stats | null {
    const { search, past, stats } = this;
    if (search.invalid) return null;
    return search.on && past === null ? search.matched : stats;
  }

  /** What is open, and of the past more than that. */
  get openRows(): Iterable<Row> {
    return this.past === null ? this.open.rows : this.past.store.order;
  }

  /** What an empty list says: that there is none, or none that passes what filters it. */
  emptiness(none: string, noMatch: string, filtered = this.search.on, loading = this.loading): string {
    if (loading) return t.loading;
    if (!filtered) return none;
    return this.search.invalid ? t.search.unknown : noMatch;
  }

  private onStats(stats: Stats): void {
    this.polled = stats;
    this.statsFailed = false;
    if (stats.logId !== this.live.logId) return;
    if (stats.now !== null) this.clock.set(stats.now, (this.roundTrip ?? 0) / 2);
    const at = performance.now();
    if (this.counted.length === 0) {
      const past = activeBefore(stats);
      this.counted = past.map((value, i) => ({ at: at - (past.length - i) * 1_000, value }));
    }
    this.counted = [...this.counted.filter((s) => at - s.at < 64_000), { at, value: stats.active }];
    if (stats.minute.failed > 0) this.say(t.announce.failures(f.integer(stats.minute.failed)));
    if (this.link.phase === 'live' && this.watch.stuck(stats.asOf, this.received, at)) this.reconnect();
  }

  // ── hold ──

  toggleHold(): void {
    if (this.past !== null) this.time?.toggle();
    else if (this.held === null) this.hold();
    else this.release();
  }

  private hold(): void {
    this.live.settle();
    this.held = { at: this.now, seq: this.received };
    this.waiting = 0;
  }

  release(): void {
    if (this.held === null) return;
    this.held = null;
    const { queue, queueLost } = this;
    this.queue = [];
    this.queueLost = false;
    if (queueLost) this.reconnect();
    else for (const change of queue) this.live.apply(change);
  }

  toLive(): void {
    this.time?.live();
    this.release();
    this.feed.thaw();
    this.repaint();
    for (const list of document.querySelectorAll('[data-list]')) list.scrollTop = 0;
  }

  /** The server's time, whether the lists are held or not. */
  serverNow(): number {
    return this.clock.now() ?? Date.now();
  }

  // ── the loop ──

  private readonly frame = (at: number): void => {
    // A frame asked for and not used costs the browser as much as an empty one.
    setTimeout(() => requestAnimationFrame(this.frame), REPAINT_MS);
    const moment = this.time?.tick(at) ?? null;
    if (moment !== null) {
      this.now = moment;
      this.newest = Infinity;
      this.live.settle();
      this.regroup(at);
    } else if (this.held === null) {
      this.now = this.serverNow();
      this.live.settle();
      this.tint(at);
      this.age(at);
      this.regroup(at);
    } else {
      this.waiting = Math.max(0, this.received - this.held.seq);
    }
    if (at - this.seconds >= 500) {
      this.seconds = at;
      this.events.add(at, this.received);
      this.rate = this.link.phase === 'live' ? this.events.perSecond() : null;
    }
    this.beat++;
    if (moment !== null || at >= this.slowAt) {
      this.slowAt = Math.max(at, this.slowAt + SLOW_MS);
      this.slow = { now: this.now };
    }
  };

  /** What follows the lists, or, beside other lists, goes slower: the time that it was painted for. */
  painted(full: boolean): { now: number } {
    if (!full) return this.slow;
    void this.beat;
    return { now: this.now };
  }

  private tint(at: number): void {
    this.arrivals.push({ at, n: this.live.arrivals });
    while (this.arrivals.length > 1 && at - (this.arrivals[0]?.at ?? at) > 1_000) this.arrivals.shift();
    const first = this.arrivals[0]?.n ?? 0;
    const recent = this.arrivals.find((a) => at - a.at <= 600)?.n ?? first;
    this.newest = this.live.arrivals - first < 5 && !this.loading ? recent : Infinity;
  }

  /** Judges all rows again where time alone changes the answer, unless the reader's list stands still. */
  private age(at: number): void {
    if (!this.search.ages || at - this.aged < AGE_MS || this.feed.isFrozen) return;
    this.aged = at;
    this.search.compile();
  }

  private regroup(at: number): void {
    const { view } = this.route;
    if (view !== 'overview' && view !== 'failures') return;
    const { grouping, store } = this;
    // Beside other lists the chips leave the failures as they are.
    const test = view === 'failures' ? this.search.test : this.search.words;
    const other = grouping.store !== store || grouping.test !== test;
    if (!other && (grouping.version === store.version || at - grouping.at < GROUP_MS)) return;
    this.grouping = { at, store, version: store.version, test };
    const rows = store.failures.filter((row) => test === null || test.passes(row.a));
    this.groups = group(rows);
    this.grouped = rows.length;
  }

  // ── small things ──

  /** A trace has a search of its own. */
  focusSearch(): void {
    const find = (mark: string) => document.querySelector<HTMLInputElement>(mark);
    (find('[data-find]') ?? find('[data-search]'))?.select();
  }

  /** Opens the failure after the one in the drawer, the latest first. */
  nextFailure(): void {
    const failures = this.search.latest(this.store.failures, 1_000, false);
    const at = failures.findIndex((a) => a.id === this.route.sel);
    const next = failures[at + 1] ?? failures[0];
    if (next === undefined) this.tell(t.notice.noFailure);
    else this.go({ sel: next.id });
  }

  tell(notice: string): void {
    this.notice = notice;
    if (this.noticeTimer !== null) clearTimeout(this.noticeTimer);
    this.noticeTimer = setTimeout(() => (this.notice = null), NOTICE_MS);
  }

  /** Speaks to a screen reader, one sentence in ten seconds at most. */
  private say(sentence: string): void {
    const at = performance.now();
    if (at - this.saidAt < ANNOUNCE_MS || sentence === this.said) return;
    this.saidAt = at;
    this.said = sentence;
  }

  /** Copies the address of what is shown. */
  async copyLink(): Promise<void> {
    this.writeAddress();
    await this.copy(location.href, t.notice.copied);
  }

  async copy(text: string, done: string): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
      this.tell(done);
    } catch {
      this.tell(t.notice.notCopied);
    }
  }

  nextTheme(): Theme {
    return THEMES[(THEMES.indexOf(this.theme) + 1) % THEMES.length] ?? 'system';
  }

  changeTheme(): void {
    this.chooseTheme(this.nextTheme());
  }

  chooseTheme(theme: Theme): void {
    this.theme = theme;
    remember(THEME_KEY, this.theme === 'system' ? null : this.theme);
    this.paintTheme();
    if (this.route.theme !== null) this.go({ theme: this.theme }, 'replace');
  }

  private paintTheme(): void {
    if (this.theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.theme;
  }

  /** Loads the parts around the views; they are not needed for the first rows. */
  async loadShell(): Promise<void> {
    if (this.shell !== null) return;
    try {
      this.shell = await import('./ui/shell');
    } catch {
      this.tell(t.traces.chunk);
    }
  }

  async openHelp(): Promise<void> {
    await this.loadShell();
    this.helpOpen = this.shell !== null;
  }

  async openPalette(): Promise<void> {
    await this.loadShell();
    this.paletteOpen = this.shell !== null;
  }

  useSingleKeys(on: boolean): void {
    this.singleKeys = on;
    remember(KEYS_KEY, on ? null : 'off');
  }
}

export const app = new Monitor();
