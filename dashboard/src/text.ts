// Every word that the page says; those of what is loaded later stand in text.shell.ts, text.time.ts and text.work.ts.
import type { State } from './core/wire';
import type { Theme, View, VIEWS } from './core/url';

const plurals = new Intl.PluralRules('en');

/** Whether a count takes the form of one, in the language of the words below. */
export function one(n: number): boolean {
  return plurals.select(n) === 'one';
}

export const t = {
  product: 'Midspan',
  title: 'Monitor',
  units: { microsecond: 'µs', millisecond: 'ms', second: 's', minute: 'min', hour: 'h', day: 'd' },
  documentTitle: (view: string, program: string, unseen: string | null) =>
    `${unseen === null ? '' : `(${unseen}) `}${view} · ${program}`,

  views: {
    overview: 'Overview',
    feed: 'Live feed',
    traces: 'Traces',
    trace: 'Trace',
    hierarchy: 'Hierarchy',
    decisions: 'Decisions',
    completions: 'Completions',
    failures: 'Failures',
    attention: 'Attention',
    agents: 'Agents & threads',
  } satisfies Record<View, string>,
  tabs: {
    overview: 'Overview',
    feed: 'Feed',
    traces: 'Traces',
    hierarchy: 'Hierarchy',
    decisions: 'Decisions',
    completions: 'Completions',
    failures: 'Failures',
    agents: 'Agents & threads',
  } satisfies Record<(typeof VIEWS)[number], string>,
  viewsLabel: 'Views',
  agentsCount: (agents: string, threads: string) => `${agents} / ${threads}`,
  moreViews: 'More',

  states: {
    IN_PROGRESS: 'In progress',
    PLANNED: 'Planned',
    COMPLETED: 'Completed',
    FAILED: 'Failed',
    CANCELLED: 'Cancelled',
    LOST: 'Lost',
  } satisfies Record<State, string>,
  stalled: 'Stalled',

  types: {
    decision: 'Decision',
    thread: 'Thread',
    async_task: 'Async task',
    api_call: 'API call',
    database_operation: 'Database',
    ai_inference: 'AI inference',
    work_item: 'Work item',
    agent_action: 'Agent action',
    scheduler_tick: 'Scheduler',
    span: 'Span',
  } as Record<string, string>,

  search: {
    landmark: 'Search',
    label: 'Search activities, decisions and errors',
    placeholder: 'Search activities, decisions, errors…',
    clear: 'Clear the search',
    found: (held: string, total: string) => `${held} here, ${total} on the server`,
    shown: (held: string) => `${held} match`,
    invalid: 'the search is not valid',
    unknown: 'Nothing is found until the search is put right.',
  },

  live: {
    live: 'Live',
    connecting: 'Connecting',
    waiting: 'Disconnected',
    signin: 'Sign in',
    refused: 'Refused',
    held: 'Held',
    rate: (n: string) => `${n} events/s`,
    retry: 'trying again',
    toLive: 'Return to live: release the hold and go to the newest',
  },

  link: {
    connected: 'Stream connected',
    connecting: 'Connecting…',
    waiting: 'Not connected',
    signin: 'Signed out',
    refused: 'Refused by the server',
    roundTrip: 'Round trip of the last request',
  },

  banner: {
    lost: (when: string) => `The connection broke at ${when}. What is shown is as of then.`,
    never: 'Midspan does not answer.',
    retry: (inTime: string) => `Trying again in ${inTime}.`,
    retrying: 'Trying again…',
    now: 'Try now',
    refused: (status: number) =>
      status === 421
        ? 'The server does not answer to this host name. Open it by the address it listens on, or start it with --allow-host.'
        : 'The server refuses requests from this page. Open the page by the address the server listens on.',
  },

  notice: {
    restarted: 'The server was restarted. The page shows its new log.',
    resumed: 'Connected again. Nothing was missed.',
    gap: (n: string, one: boolean) =>
      `${n} ${one ? 'event is' : 'events are'} no longer held by the server. The page was refreshed from what is.`,
    malformed: 'The server sent messages that this page does not understand. Reload the page.',
    dismiss: 'Dismiss',
    copied: 'Link copied.',
    notCopied: 'The browser did not allow copying. The link is in the address bar.',
    idCopied: 'Activity id copied.',
    valueCopied: 'Value copied.',
    noFailure: 'No failure is in this page.',
  },

  chips: { label: 'States', all: 'All', copy: 'Copy view link' },

  tiles: {
    label: 'System overview',
    active: 'Active now',
    activeNote: (running: string, planned: string) => `${running} in progress, ${planned} planned`,
    inMinute: 'in 1 min',
    inSeconds: (n: string) => `in ${n}`,
    total: 'Total seen',
    matching: 'Matching',
    held: (n: string) => `${n} kept`,
    evicted: (n: string) => `${n} let go`,
    since: (when: string) => `since ${when}`,
    success: 'Success, last hour',
    successNone: 'nothing finished yet',
    successNote: (failed: string, finished: string) => `${failed} failed of ${finished} finished`,
    successImage: (percent: string) => `${percent} percent of what finished in the last hour succeeded`,
    throughput: 'Throughput, last 60 s',
    perSecond: 'finished/s',
    noSeconds: 'Not seen second by second.',
    failedShare: (percent: string) => `failed ${percent}`,
    throughputImage: (finished: string, failed: string) =>
      `Finished in each of the last 60 seconds; ${finished} in all, ${failed} of them failed`,
    durations: 'Durations, last hour',
    average: 'Average',
    histogramImage: (p50: string, p95: string, p99: string) =>
      `Histogram of durations on a logarithmic scale; median ${p50}, 95th percentile ${p95}, 99th percentile ${p99}`,
    activeImage: 'Active activities over the last minute',
    noDurations: 'No durations in the last hour.',
    none: '–',
    stale: 'Statistics do not answer; these numbers are old.',
  },

  feed: {
    title: 'Live feed',
    sub: 'newest first',
    hold: 'Hold',
    release: 'Release',
    held: (when: string, n: string) => `Held at ${when}, ${n} waiting`,
    fresh: (n: string) => `${n} new`,
    list: 'Activities, newest first',
    empty:
      'Nothing has happened yet. Activities appear here the moment they are planned or started; docs/languages.md tells how to send them.',
    noMatch: 'Nothing in this page matches the filter.',
    dropped: (n: string) => `${n} older ones are no longer in this page`,
    flight: 'In flight',
    flightAll: (n: string) => `all ${n}`,
    flightList: 'In progress for longest',
    latest: 'Latest',
    bounded: (n: string, gone: string) => `the server keeps the last ${n}, ${gone} older ones are gone`,
    waits: (d: string) => `waits ${d}`,
    all: 'Show all',
  },

  decisions: {
    title: 'Decisions',
    sub: 'choice, reasoning, outcome',
    list: 'Decisions, newest first',
    empty: 'No decision has been seen yet.',
    noMatch: 'No decision matches the filter.',
    open: 'Being decided',
    confidence: (percent: string) => `confidence ${percent}`,
    noReasoning: 'No reasoning recorded.',
    outcome: 'Outcome',
    chose: 'chose',
  },

  completions: {
    title: 'Completions',
    sub: 'latest first',
    list: 'Completed activities, latest first',
    empty: 'Nothing has completed yet.',
    noMatch: 'No completion matches the search.',
    waited: (d: string) => `waited ${d}`,
    usual: (d: string) => `usual ${d}`,
  },

  failures: {
    title: 'Failures',
    sub: 'grouped by error',
    list: 'Failures grouped by error, latest first',
    empty: 'Nothing has failed.',
    noMatch: 'No failure matches the search.',
    times: (n: string) => `×${n}`,
    timesLong: (n: string, one: boolean) => (one ? `${n} time` : `${n} times`),
    noMessage: 'No error message recorded.',
    others: (n: string) => `and ${n} more`,
    first: (when: string) => `first ${when} ago`,
    partly: (latest: string, total: string) => `latest ${latest} of ${total}, by error`,
    trend: (n: string, one: boolean, span: string) => `${n} ${one ? 'failure' : 'failures'} over ${span}`,
  },

  traces: {
    title: 'Traces',
    sub: (live: string) => `live first, newest first · ${live} live`,
    more: (n: string) => `${n} more in this page`,
    list: 'Traces, live ones first, newest first',
    empty: 'No trace has been seen yet. Each appears with its first activity.',
    noMatch: 'No trace in this page has a root that matches the search.',
    failed: 'The roots could not be loaded. New traces appear as they happen.',
    chunk: 'This part of the page could not be loaded. Reload the page.',
    rootless: 'root not seen yet',
    seen: (n: string) => `${n} seen`,
    seenLong: 'activities that this page has seen',
    open: (n: string) => `${n} open`,
    failures: (n: string) => `${n} failed`,
    live: (n: string) => `${n} live`,
  },

  trace: {
    followed: 'Followed trace',
    activity: 'Activity',
    state: 'State',
    duration: 'Duration',
    placeholder: 'Not seen yet',
    fold: 'Fold',
    unfold: 'Unfold',
  },

  time: {
    viewing: (clock: string) => `Viewing ${clock}`,
    toLive: 'Return to live (L)',
    notYet: (clock: string) => `At ${clock} this activity had not begun.`,
  },

  agents: {
    panel: 'Agents',
    panelSub: 'last 2 min',
    panelList: 'Agents, what they did in the last two minutes, activities at work now',
    threads: (n: string, one: boolean) => (one ? `${n} thread` : `${n} threads`),
    pulse: (working: string, failed: string) =>
      `${working} at work, ${failed} failed in the last two minutes`,
    quiet: 'No agent, thread or service did anything in the last two minutes.',
    silent: 'silent',
    idle: 'idle',
  },

  theme: {
    names: { system: 'System', dark: 'Dark', light: 'Light' } satisfies Record<Theme, string>,
    button: (now: string, next: string) => `Theme: ${now}. Change to ${next}`,
  },
  helpButton: 'Keyboard shortcuts',
  jaegerUi: 'Jaeger UI',
  noJaeger: 'No Jaeger configured',
  noJaegerHow: 'Start the server with --jaeger-url, or set JaegerURL, and each activity links to its trace.',
  commands: 'Commands…',
  version: (v: string) => `Version ${v}`,
  loading: 'Loading…',
  loadFailed: 'The lists could not be loaded. New activities appear as they happen.',
  ago: (d: string) => `${d} ago`,
  announce: {
    live: 'Connected, live.',
    lost: 'Disconnected.',
    failures: (n: string) => `${n} failed in the last minute.`,
  },
};
