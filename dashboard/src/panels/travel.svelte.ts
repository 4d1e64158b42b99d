// Takes the page through time: where it is, how it plays, and what it asks the server for on the way.
import { untrack } from 'svelte';
import { app, type Past, type Travel } from '../app.svelte';
import type { Sample } from '../core/chart';
import { get } from '../core/client';
import { Density, type Slot, type Slots } from '../core/density';
import type { Dock } from '../core/keys';
import { byAgent, byThread, Lanes } from '../core/lanes';
import type { List } from '../core/list';
import { moment, type Census, type Counted } from '../core/moment';
import { Playback, type Audience, type PlaySocket } from '../core/playback';
import { Replay } from '../core/replay';
import { stats as decodeStats, type Stats } from '../core/stats';
import type { Follower, Store } from '../core/store';
import { Traces } from '../core/traces';
import { begins } from '../core/times';
import { SPEEDS, type Span, type Speed } from '../core/url';
import {
  isFields,
  page as decodePage,
  treeAnswer,
  type Activity,
  type Change,
  type Page,
} from '../core/wire';
import { slots } from '../draw/dock';
import type { Range } from '../draw/scale';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const SPAN_MS: Record<Span, number> = { '15m': 15 * MINUTE, '1h': HOUR, all: Infinity };
const STEP_MS = 1_000;
const FAR_MS = 10_000;
/** What is shown around a moment is asked for this far back. */
const AROUND_MS = 20_000;
const LIMIT = 1_000;
const PAGES = 2;
/** How long a moment must stand before the server is asked for it, and how often while it plays. */
const SETTLE_MS = 180;
const ASK_MS = 1_500;
const STATS_MS = 400;
const COUNTS_MS = 2_500;
const COUNTS_AGAIN_MS = 5_000;
const DENSITY_MS = 1_000;
/** Between two requests for the density of what the page has not seen. */
const PACE_MS = 60;
const COUNTERS = 3;
const SLOTS = 90;
const ADDRESS_MS = 1_000;
/** The server plays a few pages at a time: one that stands still for longer lets another in. */
const STILL_MS = 30_000;
/** When the server does not play, the page does, for so long. */
const ALONE_MS = 30_000;
/** So near to now, a replay has arrived. */
const ARRIVED_MS = 2_000;

function playSocket(params: URLSearchParams): PlaySocket {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  return new WebSocket(`${scheme}//${location.host}/activity/replay?${params}`) as unknown as PlaySocket;
}

class Shown implements Past {
  stats = $state.raw<Stats | null>(null);
  samples = $state.raw<Sample[]>([]);
  census = $state.raw<Census>(app.census);
  private made: { traces?: Traces; agents?: Lanes; threads?: Lanes } = {};

  constructor(
    readonly store: Store,
    readonly feed: List,
    private readonly since: () => number,
  ) {}

  get wholeSince(): number {
    return this.since();
  }

  // Made when the first view asks: most moments are passed by.
  get traces(): Traces {
    return (this.made.traces ??= this.following(new Traces()));
  }
  get agents(): Lanes {
    return (this.made.agents ??= this.following(new Lanes(byAgent)));
  }
  get threads(): Lanes {
    return (this.made.threads ??= this.following(new Lanes(byThread)));
  }

  private following<T extends Follower>(follower: T): T {
    for (const row of this.store.order) follower.put(row, null);
    this.store.follow(follower);
    return follower;
  }
}

class Time implements Travel, Audience {
  /** The moment that the page shows; null is live. */
  at = $state<number | null>(null);
  playing = $state(false);
  speed = $state<Speed>(1);
  span = $state<Span>('15m');
  /** The page is asking for what was there at the moment. */
  asking = $state(false);
  /** Of how many activities around the moment how many could be loaded, when not all. */
  partly = $state.raw<{ shown: number; total: number } | null>(null);
  problem = $state(false);
  /** What the dock draws. */
  slots = $state.raw<Slots>({ width: 10_000, first: 0, n: 1 });
  density = $state.raw<(Slot | null)[]>([]);
  /** When the oldest activity that the server holds began. */
  oldest = $state<number | null>(null);

  readonly replay = new Replay(app.live);
  readonly dense = new Density();

  private wanted: number | null = null;
  private shown: Shown | null = null;
  private last = 0;
  private sought = 0;
  private counted = -Infinity;
  private drawn = -Infinity;
  /** What of time the address last asked for; a moment beyond it widens what is shown. */
  private looked: Span = '15m';
  private addressed = 0;
  private written: number | null = null;
  private askedFor: number | null = null;
  private askedAt = -Infinity;
  private asks = 0;
  /** From this moment on the stream has told everything. */
  private from = Infinity;
  /** From this moment on all is known of what had begun by the moment that is shown. */
  private whole = Infinity;
  private logId = '';
  private readonly known = new Map<string, Slot>();
  private counting = false;
  /** What the server offers of the past, once its description is here. */
  private own: { at: boolean; replay: boolean } | null = null;
  /** The server plays; when it does not, the page plays what it holds. */
  private playback: Playback | null = null;
  private opened = 0;
  private stillSince = 0;
  private aloneUntil = -Infinity;
  private heard: Activity[] = [];
  /** What the server counts up to a moment that the page has not seen whole. */
  private counts: Counted | null = null;
  private recounted = -Infinity;

  constructor() {
    this.replay.start();
    for (const row of app.live.rows.values()) this.dense.put(row, null);
    app.live.follow(this.dense);
    this.routed();
  }

  get range(): Range {
    const to = app.serverNow();
    let from = to - SPAN_MS[this.span];
    if (this.span === 'all') from = Math.min(this.oldest ?? app.live.order[0]?.key ?? to, to - MINUTE);
    return { from, to };
  }

  // ── where it is ──

  /** Goes to a moment; the next repaint shows it. From now on, and later, is live. */
  go(at: number): void {
    const now = app.serverNow();
    if (at >= now) {
      this.live();
      return;
    }
    if (this.at === null) app.release();
    this.whole = this.seen(at) ? this.seenSince() : at < (this.at ?? now) ? this.whole : Infinity;
    this.at = this.wanted = Math.max(0, Math.round(at));
    if (this.at < this.range.from) this.span = now - this.at <= HOUR ? '1h' : 'all';
  }

  live(): void {
    if (this.at === null) return;
    this.silence();
    this.at = this.wanted = null;
    this.playing = false;
    this.asking = false;
    this.partly = null;
    this.problem = false;
    this.asks++;
    this.askedFor = null;
    this.counts = null;
    this.shown = null;
    this.replay.stop();
    app.past = null;
    app.repaint();
    this.address();
  }

  toggle(): void {
    if (this.at === null) this.go(app.serverNow() - 1);
    else this.playing = !this.playing;
  }

  act(what: Dock, far: boolean): void {
    const at = this.wanted ?? this.at ?? app.serverNow();
    const step = far ? FAR_MS : STEP_MS;
    switch (what) {
      case 'back':
        return this.go(at - step);
      case 'forth':
        return this.at === null ? undefined : this.go(at + step);
      case 'previous':
        return this.neighbour(-1);
      case 'next':
        return this.neighbour(1);
      case 'slower':
        return this.quicken(-1);
      case 'faster':
        return this.quicken(1);
      case 'toggle':
        return this.toggle();
    }
  }

  quicken(by: -1 | 1): void {
    const next = SPEEDS[SPEEDS.indexOf(this.speed) + by];
    if (next !== undefined) this.pace(next);
  }

  pace(speed: Speed): void {
    this.speed = speed;
    app.go({ speed }, 'replace');
  }

  /** Goes to the change before, or after, the moment. */
  private neighbour(by: -1 | 1): void {
    if (this.at === null && by > 0) return;
    this.playing = false;
    if (this.at === null || this.wanted !== null || this.playback !== null) {
      this.silence();
      this.show(this.wanted ?? this.at ?? app.serverNow());
    }
    const at = this.replay.neighbour(by);
    if (at !== null) this.go(by < 0 ? Math.floor(at) : Math.ceil(at));
    else if (by > 0) this.live();
  }

  routed(): void {
    const { at, speed, from } = untrack(() => app.route);
    this.speed = speed;
    if (from !== this.looked) this.span = this.looked = from;
    if (at === this.written) return;
    this.written = at;
    this.playing = false;
    if (at === null) this.live();
    else this.go(at);
  }

  look(from: Span): void {
    this.span = from;
    app.go({ from }, 'replace');
  }

  private address(): void {
    const { at } = this;
    if (at === this.written) return;
    const how = this.written === null ? 'push' : 'replace';
    this.written = at;
    app.go({ at }, how);
  }

  // ── the loop ──

  tick(at: number): number | null {
    const passed = at - this.last;
    this.last = at;
    this.follow();
    if (at - this.drawn >= DENSITY_MS) {
      this.drawn = at;
      this.draw();
    }
    if (this.at === null) return null;
    if (this.wanted !== null) {
      this.show(this.wanted);
      this.turn(this.wanted);
      this.wanted = null;
      this.sought = at;
    } else if (this.play(at)) {
      if (this.at >= app.serverNow()) {
        this.live();
        return null;
      }
    } else if (this.playing) {
      const next = this.at + Math.min(passed, 1_000) * this.speed;
      if (next >= app.serverNow()) {
        this.live();
        return null;
      }
      this.at = next;
      this.replay.advance(next);
    } else {
      this.replay.advance(this.at);
    }
    // It has begun anew: the page has learnt which log it follows.
    if (this.shown !== null && this.replay.store !== this.shown.store) this.show(this.at);
    // The numbers wait for the server's: what the page holds is often but a part.
    const told = this.counts !== null || at - this.sought > COUNTS_MS;
    if (told && at - this.counted >= STATS_MS && this.shown !== null) {
      this.counted = at;
      const { stats, samples, census } = moment(
        this.shown.store,
        this.at,
        this.counts,
        (id) => this.replay.latest(id),
        this.seen(this.at - MINUTE),
      );
      this.shown.stats = stats;
      this.shown.samples = samples;
      this.shown.census = census;
    }
    if (at - this.sought >= SETTLE_MS) void this.ask(at);
    const settled = at - this.addressed >= ADDRESS_MS && at - this.sought >= SETTLE_MS;
    if (settled) {
      this.addressed = at;
      this.at = Math.round(this.at);
      this.address();
    }
    return this.at;
  }

  /** Another log has another past. */
  private follow(): void {
    const { logId } = app.live;
    if (logId === this.logId || logId === '') return;
    const restarted = this.logId !== '';
    this.logId = logId;
    this.from = app.serverNow();
    this.known.clear();
    this.oldest = null;
    this.own = null;
    if (restarted) this.live();
    void this.askOldest();
    void this.offers();
  }

  // ── what the server plays ──

  /** Has the server play, or stand still, and takes what it has told. False when the page is on its own. */
  private play(at: number): boolean {
    if (this.at === null) return false;
    if (this.playing && this.playback === null) {
      if (this.own?.replay !== true || at < this.aloneUntil || app.link.phase !== 'live') return false;
      this.opened = app.serverNow();
      const io = { open: playSocket, now: () => performance.now() };
      this.playback = new Playback(io, this, this.at, this.speed);
    }
    const { playback } = this;
    if (playback === null) return false;
    if (playback.speed !== this.speed) playback.pace(this.speed);
    if (this.playing) {
      playback.resume();
      this.stillSince = at;
    } else {
      playback.pause();
      if (at - this.stillSince > STILL_MS) {
        this.silence();
        this.wanted = this.at;
        return true;
      }
    }
    this.at = playback.at();
    if (this.heard.length > 0) {
      this.replay.learn(this.heard);
      this.heard = [];
    }
    this.shown?.store.settle();
    return true;
  }

  /** Goes on playing at another moment. */
  private turn(at: number): void {
    if (this.playing && at < this.opened) this.playback?.seek(at);
    else this.silence();
  }

  private silence(): void {
    this.playback?.stop();
    this.playback = null;
    this.heard = [];
  }

  began(rows: Change[]): void {
    const { playback } = this;
    if (playback === null) return;
    this.show(playback.at());
    const { store } = this.replay;
    store.beginSnapshot();
    for (const row of rows) this.change(row);
    store.endSnapshot();
    store.settle();
  }

  change(change: Change): void {
    this.shown?.store.apply(change);
    this.heard.push(change.activity);
  }

  ended(why: 'end' | 'forgotten' | 'broken'): void {
    const at = this.playback?.at() ?? this.at;
    this.silence();
    if (at === null) return;
    this.at = at;
    if (why !== 'end') {
      this.aloneUntil = performance.now() + ALONE_MS;
      this.wanted = at;
    } else if (app.serverNow() - at < ARRIVED_MS) {
      this.live();
    }
  }

  private show(at: number): void {
    const store = this.replay.seek(at);
    const before = this.shown;
    this.shown = new Shown(store, app.feedOf(store), () => this.whole);
    this.shown.stats = before?.stats ?? app.stats;
    this.shown.samples = before?.samples ?? app.samples;
    if (this.counts !== null && Math.abs(this.counts.at - at) > 2_000) this.counts = null;
    app.past = this.shown;
  }

  // ── what the server holds of a moment ──

  /** Whether the page has seen all that began or ended from shortly before a moment on. */
  private seen(at: number): boolean {
    return at - AROUND_MS >= this.seenSince();
  }

  private seenSince(): number {
    const first = app.live.dropped > 0 ? (app.live.order[0]?.key ?? Infinity) : 0;
    return Math.max(this.from, first);
  }

  private async ask(time: number): Promise<void> {
    const { at } = this;
    if (at === null || time - this.askedAt < ASK_MS || app.link.phase !== 'live') return;
    if (this.askedFor !== null && Math.abs(at - this.askedFor) < 500) return;
    this.askedAt = time;
    this.askedFor = at;
    const asked = ++this.asks;
    const counting =
      this.counts === null || !this.playing ? this.askCounts(at, asked) : this.recount(at, asked);
    if (this.seen(at) || this.playback !== null) {
      this.partly = null;
      this.problem = false;
      return counting;
    }
    this.asking = true;
    const all = await ((await this.offers()).at ? this.askAt(at, asked) : this.askAround(at, asked));
    await counting;
    if (asked !== this.asks) return;
    this.asking = false;
    this.problem = all === null;
    if (all !== null) this.whole = all.since;
    this.partly = all !== null && all.shown < all.total ? all : null;
  }

  /** Counting all is the server's hardest question: while time passes it is asked seldom. */
  private async recount(at: number, asked: number): Promise<void> {
    if (performance.now() - this.recounted > COUNTS_AGAIN_MS) await this.askCounts(at, asked);
  }

  /** What the page does not hold of the time before the moment is counted by the server. */
  private async askCounts(at: number, asked: number): Promise<void> {
    this.recounted = performance.now();
    const until = new Date(at).toISOString();
    const since = (ms: number) => `since=${new Date(at - ms).toISOString()}&until=${until}`;
    const paths = [`until=${until}`, since(HOUR), since(MINUTE)];
    const [all, hour, minute] = await Promise.all(
      paths.map((params) => get(`/activity/stats?${params}`, decodeStats)),
    );
    if (asked !== this.asks || !all?.ok || !hour?.ok || !minute?.ok) return;
    this.counts = { at, all: all.value, hour: hour.value, minute: minute.value };
    this.counted = -Infinity;
  }

  /** The server's own time travel. */
  private askAt(at: number, asked: number) {
    return this.pages(`/activity/at?time=${new Date(at).toISOString()}&limit=${LIMIT}`, asked, at);
  }

  /** What overlaps the time before the moment, and the latest of each list. */
  private async askAround(at: number, asked: number) {
    const until = new Date(at).toISOString();
    const since = new Date(at - AROUND_MS).toISOString();
    const lists = [
      `/activity/decisions?until=${until}&limit=100`,
      `/activity/all?state=FAILED&until=${until}&sort=-ended_at&limit=200`,
      `/activity/all?state=COMPLETED&until=${until}&sort=-ended_at&limit=100`,
    ];
    const roots = get(`/activity/tree?depth=0&until=${until}&limit=100`, treeAnswer);
    const rest = lists.map((path) => get(path, decodePage));
    const all = await this.pages(`/activity/all?since=${since}&until=${until}&limit=${LIMIT}`, asked);
    for (const answer of await Promise.all([...rest, roots])) {
      if (answer.ok) this.take(answer.value, asked);
    }
    return all === null ? null : { ...all, since: Math.max(all.since, at - AROUND_MS) };
  }

  private async pages(
    path: string,
    asked: number,
    pinnedAt: number | null = null,
  ): Promise<{ shown: number; total: number; since: number } | null> {
    let cursor: string | null = null;
    let shown = 0;
    let total = 0;
    let since = Infinity;
    for (let n = 0; n < PAGES; n++) {
      const next: string = cursor === null ? path : `${path}&cursor=${encodeURIComponent(cursor)}`;
      const answer = await get(next, (body) => {
        const page = decodePage(body);
        const more = isFields(body) && typeof body.next_cursor === 'string' ? body.next_cursor : null;
        return page === null ? null : { page, more };
      });
      if (!answer.ok) return null;
      const { page, more } = answer.value;
      if (pinnedAt !== null && asked === this.asks) this.replay.pin(pinnedAt, page.activities);
      this.take(page, asked);
      shown += page.activities.length;
      total = Math.max(page.total, shown);
      cursor = more;
      const last = page.activities.at(-1);
      since = cursor === null ? -Infinity : last === undefined ? since : begins(last);
      if (cursor === null) break;
    }
    return { shown, total, since };
  }

  private take(page: Pick<Page, 'activities' | 'logId'>, asked: number): void {
    if (asked === this.asks && page.logId === this.logId) this.replay.learn(page.activities);
  }

  learn(activities: readonly Activity[]): void {
    this.replay.learn(activities);
  }

  then(a: Activity): Activity | null {
    if (this.playback === null) return this.replay.then(a);
    return this.shown?.store.rows.get(a.id)?.a ?? this.replay.then(a, this.at ?? undefined);
  }

  /** Whether the server tells what was at a moment, and plays it; its own description says so. */
  private async offers(): Promise<{ at: boolean; replay: boolean }> {
    if (this.own === null) {
      const answer = await get('/openapi.json', (body) =>
        isFields(body) && isFields(body.paths)
          ? { at: '/activity/at' in body.paths, replay: '/activity/replay' in body.paths }
          : null,
      );
      this.own = answer.ok ? answer.value : { at: false, replay: false };
    }
    return this.own;
  }

  private async askOldest(): Promise<void> {
    const answer = await get('/activity/all?sort=planned_at&limit=1', decodePage);
    const first = answer.ok ? answer.value.activities[0] : undefined;
    if (first !== undefined) this.oldest = first.plannedAt ?? first.startedAt;
  }

  // ── density ──

  private draw(): void {
    if (document.visibilityState !== 'visible') return;
    const s = slots(this.range, SLOTS);
    const own = this.dense.count(s);
    this.slots = s;
    // What the stream has told from its beginning to its end is counted here, the rest by the server.
    const first = Math.max(this.from, app.live.dropped > 0 ? (app.live.order[0]?.key ?? 0) : 0);
    this.density = own.map((slot, i) => {
      const from = (s.first + i) * s.width;
      if (from >= first || (this.oldest !== null && from + s.width < this.oldest)) return slot;
      return this.known.get(`${s.width}:${s.first + i}`) ?? (i === own.length - 1 ? slot : null);
    });
    void this.countMissing();
  }

  private async countMissing(): Promise<void> {
    if (this.counting || app.link.phase !== 'live') return;
    this.counting = true;
    const { width, first } = this.slots;
    const missing = this.density.flatMap((slot, i) => (slot === null ? [first + i] : []));
    // The newest first, a few at a time: one after the other the dock would stay empty for long.
    const ask = async (): Promise<void> => {
      for (let n = missing.pop(); n !== undefined; n = missing.pop()) {
        const from = new Date(n * width).toISOString();
        const until = new Date((n + 1) * width - 1).toISOString();
        const answer = await get(`/activity/stats?since=${from}&until=${until}`, decodeStats);
        if (!answer.ok || answer.value.logId !== this.logId || width !== this.slots.width) break;
        const { total, range } = answer.value;
        this.known.set(`${width}:${n}`, { busy: total, bad: range.failed + range.lost });
        await new Promise((done) => setTimeout(done, PACE_MS));
      }
    };
    await Promise.all(Array.from({ length: COUNTERS }, ask));
    if (this.known.size > 2_000) this.known.clear();
    this.counting = false;
  }
}

export const time = new Time();
app.time = time;
