// What stands around the views and is loaded after the first paint: attention, saved views, notifications.
import { app } from '../app.svelte';
import { Attention, type Item, type Judged } from '../core/attention';
import { get } from '../core/client';
import { shown } from '../core/export';
import { parameters, parse } from '../core/filters';
import { Herald, type News } from '../core/notify';
import { SAVED_MAX, SavedViews, type Outcome, type Saved } from '../core/saved';
import type { Row } from '../core/store';
import { read } from '../core/url';
import { isFinal, page, type Activity } from '../core/wire';
import { s } from '../text.shell';
import { f } from '../app.svelte';

const TICK_MS = 1_000;
const COUNT_MS = 10_000;
const COUNTED = 8;
const NOTIFY_KEY = 'midspan.notify';

export type Permission = 'granted' | 'default' | 'denied' | 'unsupported';

const NOTHING: Judged = { items: [], total: 0, counts: { failed: 0, lost: 0, stalled: 0, slow: 0 } };

class Shell {
  judged = $state.raw<Judged>(NOTHING);
  views = $state.raw<readonly Saved[]>([]);
  /** The reader has asked to be told. */
  notifies = $state(false);
  permission = $state<Permission>('default');
  /** The side's form for a new view is open. */
  naming = $state(false);

  private readonly attention = new Attention(app.live);
  private readonly saved = new SavedViews(
    () => localStorage,
    () =>
      Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, '0')).join(''),
    s.saved.first,
  );
  /** How many activities each saved view finds, by its id. */
  counts = $state.raw<ReadonlyMap<string, string>>(new Map());
  private readonly herald = new Herald();
  private loads = -1;

  constructor() {
    this.views = this.saved.list;
    try {
      this.notifies = localStorage.getItem(NOTIFY_KEY) === 'on';
    } catch {
      // Without storage it is asked for anew.
    }
    this.permission = permission();
    app.live.follow(this.attention);
    app.live.follow({ put: (row, was) => this.changed(row, was), drop: () => {}, reset: () => {} });
    addEventListener('storage', () => {
      this.saved.reload();
      this.views = this.saved.list;
    });
    for (const event of ['focus', 'visibilitychange']) addEventListener(event, () => this.look(), true);
    setInterval(() => this.tick(), TICK_MS);
    this.tick();
    void this.count();
  }

  /** One view at a time: each looks at all that the server holds. */
  private async count(): Promise<void> {
    if (!document.hidden && app.link.phase === 'live' && app.past === null) {
      const counts: [string, string][] = [];
      for (const { id, search } of this.views.slice(0, COUNTED)) {
        const route = read(search);
        const params = shown(route, parameters(route.states, parse(route.q)));
        if (params.size === 0) continue;
        params.set('limit', '1');
        const answer = await get(`/activity/all?${params}`, page);
        if (!answer.ok) continue;
        const { total, exact } = answer.value;
        counts.push([id, exact ? f.short(total) : s.saved.atLeast(f.short(total))]);
      }
      this.counts = new Map(counts);
    }
    setTimeout(() => void this.count(), COUNT_MS);
  }

  /** What was loaded is not judged yet. */
  get pending(): boolean {
    return this.judged === NOTHING || this.loads !== app.loads;
  }

  get total(): number {
    const { failed, lost, stalled, slow } = this.judged.counts;
    return failed + lost + stalled + slow;
  }

  private tick(): void {
    // A page that is not seen paints no frame, and still must keep its bounds.
    if (document.hidden && app.held === null) app.live.settle();
    // The browser asks another process for it.
    if (this.notifies) this.permission = permission();
    const now = app.held === null || document.hidden ? app.serverNow() : app.now;
    const judged = this.attention.judge(now);
    // What the page shows is of the moment; what it notifies of is of now.
    this.judged = app.past === null ? judged : new Attention(app.past.store).judge(app.now);
    const first = this.loads !== app.loads;
    this.loads = app.loads;
    const lasting = judged.items.filter((item) => item.kind !== 'failed').map(newsOf);
    this.herald.lasting(lasting, first);
    this.look();
    this.tell();
  }

  private changed(row: Row, was: Activity | null): void {
    // What fails before the page's eyes; what the API tells of the past is no news.
    if (was === null || isFinal(was.state) || row.a.state !== 'FAILED' || !this.notifies || seen()) return;
    app.unseen++;
    const { a } = row;
    this.herald.add({ key: a.id, text: s.notify.failed(a.name), id: a.id });
    this.tell();
  }

  private look(): void {
    if (!seen() && this.notifies) return;
    app.unseen = 0;
    this.herald.forget();
  }

  private tell(): void {
    if (!this.notifies || this.permission !== 'granted' || seen()) return;
    const message = this.herald.take(performance.now());
    if (message === null) return;
    const { latest, count } = message;
    try {
      const shown = new Notification(latest.text.slice(0, 200), {
        body: count > 1 ? s.notify.more(f.integer(count - 1)) : location.host,
        tag: 'midspan',
        icon: '/monitor/icon.svg',
      });
      shown.onclick = () => {
        window.focus();
        app.go({ sel: latest.id });
        shown.close();
      };
    } catch {
      // Some browsers have the name and not the thing.
      this.permission = 'unsupported';
    }
  }

  async toggleNotify(): Promise<void> {
    this.notifies = !this.notifies;
    try {
      if (this.notifies) localStorage.setItem(NOTIFY_KEY, 'on');
      else localStorage.removeItem(NOTIFY_KEY);
    } catch {
      // It holds as long as the page.
    }
    if (this.notifies && permission() === 'default') await Notification.requestPermission();
    this.permission = permission();
    if (!this.notifies) app.tell(s.notify.turnedOff);
    else app.tell(this.permission === 'granted' ? s.notify.turnedOn : s.notify.turnedOnTitle);
  }

  /** What the switch says now. */
  get notifyLabel(): string {
    if (!this.notifies) return s.notify.off;
    if (this.permission === 'granted' || this.permission === 'default') return s.notify.on;
    return this.permission === 'denied' ? s.notify.denied : s.notify.unsupported;
  }

  // ── saved views ──

  save(name: string): boolean {
    app.writeAddress();
    return this.done(this.saved.add(name, location.search));
  }

  rename(id: string, name: string): boolean {
    return this.done(this.saved.rename(id, name));
  }

  remove(id: string): void {
    this.done(this.saved.remove(id));
  }

  private done(outcome: Outcome): boolean {
    this.views = this.saved.list;
    if (outcome === 'full') app.tell(s.saved.full(f.integer(SAVED_MAX)));
    if (outcome === 'unstored') app.tell(s.saved.unstored);
    return outcome === 'saved' || outcome === 'unstored';
  }
}

function permission(): Permission {
  return 'Notification' in window ? Notification.permission : 'unsupported';
}

function seen(): boolean {
  return !document.hidden && document.hasFocus();
}

function newsOf(item: Item): News {
  return { key: item.key, text: s.notify.kind(s.attention.kinds[item.kind], item.a.name), id: item.a.id };
}

/** By what an item was judged, in numbers. */
export function reason(item: Item, now: number): string {
  const ago = f.ago(now - item.at);
  const n = f.integer(item.count);
  switch (item.kind) {
    case 'failed':
      return item.count > 1 ? s.attention.failedTimes(n, ago) : s.attention.failed(ago);
    case 'lost':
      return item.count > 1 ? s.attention.lostTimes(n, ago) : s.attention.lost(ago);
    case 'stalled':
      return s.attention.stalled(f.ago(item.ms));
    case 'slow':
      return s.attention.slow(f.duration(item.ms), f.duration(item.a.usualMs ?? 0));
  }
}

export const shell = new Shell();
