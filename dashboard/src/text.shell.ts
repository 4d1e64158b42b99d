// The words of what is loaded after the first paint, apart from text.ts for the sake of the first load.
import type { Kind } from './core/attention';
import type { ExportFormat } from './core/export';
import type { Fault } from './core/filters';

export const s = {
  drawer: {
    leases: { live: 'Live', expired: 'Expired', none: 'No lease: never called lost' } as Record<
      string,
      string
    >,
    clock: 'Its clock',
    clockOff: (d: string, ahead: boolean) => `${d} ${ahead ? 'ahead of' : 'behind'} the server's`,
  },

  beyond: {
    label: 'Where finished spans go, and clocks',
    upToDate: 'up to date',
    lag: (d: string) => `${d} behind`,
    away: (d: string) => (d === '' ? 'away' : `away ${d}`),
    target: (name: string, sent: string, waiting: string, lost: string) =>
      `Forwarding to ${name}: ${sent} spans sent, up to ${waiting} waiting, ${lost} rejected or dropped`,
    more: (n: string) => `${n} more targets`,
    clocks: (n: string, one: boolean) => (one ? `${n} clock is off` : `${n} clocks are off`),
    clock: (name: string, d: string, ahead: boolean) => `${name}: ${d} ${ahead ? 'ahead' : 'behind'}`,
  },

  attention: {
    title: 'Attention',
    side: 'Attention, the worst',
    sub: 'failed, lost, silent, slow',
    none: 'Nothing needs attention.',
    quiet:
      'Nothing failed in the last 5 minutes, nothing was lost in the last 15, nothing open is silent or far over its usual time.',
    list: 'What needs attention, the worst first',
    all: (n: string) => `All ${n}`,
    total: (n: string, one: boolean) => (one ? `${n} needs attention` : `${n} need attention`),
    kinds: {
      failed: 'Failed',
      lost: 'Lost',
      stalled: 'Stalled',
      slow: 'Slow',
    } satisfies Record<Kind, string>,
    times: (n: string) => `×${n}`,
    failed: (ago: string) => `failed ${ago} ago`,
    failedTimes: (n: string, ago: string) => `${n} failed, last ${ago} ago`,
    lost: (ago: string) => `lost, last sign of life ${ago} ago`,
    lostTimes: (n: string, ago: string) => `${n} lost, last sign of life ${ago} ago`,
    stalled: (d: string) => `silent for ${d}`,
    slow: (open: string, usual: string) => `open ${open}, usually ${usual}`,
    judged: {
      failed: 'Failed in the last 5 minutes; grouped by error.',
      lost: 'In the last 15 minutes its process went away without telling the outcome; grouped by service.',
      stalled: 'It reported before, and the server marks it as silent.',
      slow: 'Open for 3 times its usual time and 1 s more than it. Usual is the median of the last 64, or fewer, that completed with its type and name.',
    } satisfies Record<Kind, string>,
    how: 'How this is judged',
    more: (n: string) => `and ${n} more`,
  },

  notify: {
    on: 'Tell me of failures: on',
    off: 'Tell me of failures: off',
    denied: 'Notifications are blocked by the browser; the title still counts',
    unsupported: 'This browser has no notifications here; the title still counts',
    turnedOn: 'Failures and new troubles are told while you are elsewhere, at most every 10 s.',
    turnedOnTitle:
      'The browser blocks notifications of this page: allow them in its site settings. Failures are counted in the title.',
    turnedOff: 'Notifications are off.',
    failed: (name: string) => `${name} failed`,
    kind: (kind: string, name: string) => `${kind}: ${name}`,
    more: (n: string) => `and ${n} more`,
  },

  saved: {
    title: 'Saved views',
    none: 'A view with its filters can be kept here.',
    add: 'Save this view',
    name: 'Name of the view',
    save: 'Save',
    rename: (name: string) => `Rename ${name}`,
    remove: (name: string) => `Delete ${name}`,
    full: (n: string) => `${n} views are saved; delete one first.`,
    unstored: 'The browser does not keep it: it lasts as long as this page.',
    kept: 'The view is saved.',
  },

  export: {
    button: 'Export',
    label: 'Export this view',
    formats: { json: 'JSON', ndjson: 'NDJSON', csv: 'CSV' } satisfies Record<ExportFormat, string>,
    about: {
      json: 'one document',
      ndjson: 'one activity a line',
      csv: 'for a spreadsheet',
    } satisfies Record<ExportFormat, string>,
  },

  palette: {
    label: 'Commands',
    placeholder: 'Go to, do, or find by name or id…',
    none: 'Nothing is found by this.',
    groups: { go: 'Go to', do: 'Do', saved: 'Saved views', find: 'Activities and traces' },
    view: (name: string) => `Go to ${name}`,
    toState: (name: string) => `Show only ${name}`,
    noState: (name: string) => `No longer show only ${name}`,
    search: 'Search',
    searchFor: (text: string) => `Search for “${text}”`,
    clear: 'Clear the search and the states',
    hold: 'Hold the lists',
    release: 'Release the lists',
    live: 'Return to live',
    theme: (name: string) => `Theme: ${name}`,
    copy: 'Copy the link of this view',
    export: (format: string) => `Export this view as ${format}`,
    save: 'Save this view',
    help: 'Keyboard shortcuts',
    notify: { on: 'Turn notifications off', off: 'Tell me of failures' },
    failure: 'Open the next failure',
    trace: (id: string) => `Open trace ${id}`,
    activity: (id: string) => `Open activity ${id}`,
    traceNamed: (name: string) => `Trace ${name}`,
    jaeger: 'Open Jaeger',
  },

  search: {
    list: 'Completions',
    keys: {
      'type:': 'kind of work',
      'state:': 'in_progress, failed, …',
      'service:': 'exact name',
      'agent:': 'its own or its nearest ancestor’s',
      'thread:': 'exact id',
      'trace:': 'trace id',
      'parent:': 'children of an activity',
      'stalled:': 'gone silent',
      'duration>': 'or duration<, at work',
      'since:': 'time or 15m back',
      'until:': 'time or 15m back',
      'attr.': 'attribute by key',
    } as Record<string, string>,
    faults: {
      key: (key: string) =>
        `There is no filter “${key}:”; it is looked for as text. Filters are type, state, service, agent, thread, trace, parent, stalled, duration, since, until and attr.KEY.`,
      empty: (key: string) => `“${key}” has no value yet.`,
      type: (_: string, value: string) => `“${value}” is not a type.`,
      state: (_: string, value: string) => `“${value}” is not a state.`,
      id: (key: string, value: string) => `“${value}” is not an id of a ${key}.`,
      flag: (key: string) => `“${key}:” takes true or false.`,
      moment: (_: string, value: string) =>
        `“${value}” is neither a time as in 2026-11-22T10:00:00Z nor a duration back from now as in 15m.`,
      duration: (_: string, value: string) => `“${value}” is not a duration as in 250ms, 1.5s, 15m or 2h.`,
      compare: (_: string, value: string) => `Write duration>${value} or duration<${value}.`,
      order: (key: string, value: string) =>
        `“${key}” ${value} leaves nothing between its bounds; it is left out.`,
      repeated: (key: string) => `“${key}” stands twice; the first one holds.`,
    } satisfies Record<Fault, (key: string, value: string) => string>,
    refused: (detail: string) => `The server refuses this search: ${detail}`,
  },
};
