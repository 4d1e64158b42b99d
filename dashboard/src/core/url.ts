// The page's state in its address, so that a link shows what its sender saw. Unknown values are ignored.
import { isState } from './filters';
import { STATES, time, type State } from './wire';

/** The views of the navigation. */
export const VIEWS = [
  'overview',
  'feed',
  'traces',
  'hierarchy',
  'decisions',
  'completions',
  'failures',
  'agents',
] as const;
/** One trace is a page below the list of them; what needs attention is reached from its own place. */
export type View = (typeof VIEWS)[number] | 'trace' | 'attention';

export const TABS = ['waterfall', 'tree', 'flame'] as const;
export type Tab = (typeof TABS)[number];

export const THEMES = ['system', 'dark', 'light'] as const;
export type Theme = (typeof THEMES)[number];

export interface Route {
  view: View;
  states: ReadonlySet<State>;
  q: string;
  /** The activity in the drawer. */
  sel: string | null;
  /** The trace of the view `trace`. */
  trace: string | null;
  tab: Tab;
  theme: Theme | null;
  /** The moment that the page shows, in milliseconds; null is live. */
  at: number | null;
  speed: Speed;
  /** From when on the dock shows time. */
  from: Span;
}

/** What the dock shows: back from now, or from the oldest that is held. */
export const SPANS = ['15m', '1h', 'all'] as const;
export type Span = (typeof SPANS)[number];

/** How much faster than it happened the past is played. */
export const SPEEDS = [0.1, 0.5, 1, 2, 5, 10, 60, 300, 1000] as const;
export type Speed = (typeof SPEEDS)[number];

const Q_MAX = 500;

export function read(search: string): Route {
  const params = new URLSearchParams(search);
  const sel = params.get('sel');
  const trace = params.get('trace');
  const known = trace !== null && /^[0-9a-f]{32}$/.test(trace) ? trace : null;
  const wanted = params.get('view');
  const states = (params.get('state') ?? '').toUpperCase().split(',');
  return {
    view:
      wanted === 'trace'
        ? known === null
          ? 'traces'
          : 'trace'
        : wanted === 'attention'
          ? 'attention'
          : (VIEWS.find((view) => view === wanted) ?? 'overview'),
    states: new Set(states.filter(isState)),
    q: [params.get('q') ?? '', ...terms(params, 'agent'), ...terms(params, 'thread')]
      .filter((part) => part !== '')
      .join(' ')
      .slice(0, Q_MAX),
    sel: sel !== null && /^[0-9a-f]{16,32}(-[0-9a-f]{16})?$/.test(sel) ? sel : null,
    trace: wanted === 'trace' ? known : null,
    tab: TABS.find((tab) => tab === params.get('tab')) ?? 'waterfall',
    theme: THEMES.find((theme) => theme === params.get('theme')) ?? null,
    at: time(params.get('at')),
    speed: SPEEDS.find((speed) => String(speed) === params.get('speed')) ?? 1,
    from: SPANS.find((span) => span === params.get('from')) ?? '15m',
  };
}

/** An agent or a thread may stand beside the search, as in the API; within the page it is a term of it. */
function terms(params: URLSearchParams, key: string): string[] {
  const values = params.getAll(key).map((value) => value.replaceAll('"', ''));
  return values.flatMap((value) => (value === '' ? [] : `${key}:"${value}"`));
}

/** The search part of the address: empty, or with its question mark. */
export function write(route: Route): string {
  const params = new URLSearchParams();
  if (route.view !== 'overview') params.set('view', route.view);
  if (route.view === 'trace' && route.trace !== null) params.set('trace', route.trace);
  if (route.sel !== null) params.set('sel', route.sel);
  if (route.view === 'trace' && route.tab !== 'waterfall') params.set('tab', route.tab);
  const states = STATES.filter((state) => route.states.has(state));
  if (states.length > 0) params.set('state', states.join(',').toLowerCase());
  if (route.q !== '') params.set('q', route.q);
  if (route.from !== '15m') params.set('from', route.from);
  if (route.at !== null) params.set('at', new Date(route.at).toISOString());
  if (route.speed !== 1) params.set('speed', String(route.speed));
  if (route.theme !== null) params.set('theme', route.theme);
  const text = params.toString().replaceAll('%2C', ',').replaceAll('%3A', ':');
  return text === '' ? '' : `?${text}`;
}

/** Makes the links of one address's rows: the same address with another activity beside it. */
export function linker(route: Route): (sel: string) => string {
  const mark = 'sel=_';
  const link = write({ ...route, sel: '_' });
  const at = link.indexOf(mark);
  const before = link.slice(0, at + mark.length - 1);
  const after = link.slice(at + mark.length);
  return (sel) => (/^[\w-]+$/.test(sel) ? before + sel + after : write({ ...route, sel }));
}
