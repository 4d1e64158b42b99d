// The words of the pages of work.ts, which are loaded when they are opened, apart from text.ts for the sake of the
// first load.

export const s = {
  hierarchy: {
    title: 'Hierarchy',
    roots: (n: string, one: boolean) => `${n} ${one ? 'root' : 'roots'}, newest first`,
    newest: (n: string) => `the newest ${n} roots; older ones come when you scroll`,
    found: (n: string) => `${n} match, with all above them`,
    grid: 'Activities of all traces, by parent',
    belowTitle: 'Below',
    began: 'Began',
    below: (n: string, state: string) => `${n} ${state.toLowerCase()} below`,
    children: (n: string, one: boolean) => (one ? `${n} child` : `${n} children`),
    unloaded: (n: string) => `${n} not loaded`,
    noMatch: 'Nothing that is loaded here matches.',
  },

  agents: {
    sub: (working: string, all: string) => `${working} of ${all} at work`,
    whole: (time: string) => `hatched: not all is shown of what began before ${time}`,
    groupLabel: 'Lanes',
    agents: 'Agents',
    threadsTab: 'Threads',
    spanLabel: 'Time shown',
    agent: 'Agent',
    thread: 'Thread',
    now: 'Now',
    nowMark: 'now',
    list: 'Agents, what each does now and did lately',
    threadList: 'Logical threads, the newest first',
    kinds: { agent: 'agent', thread: 'thread', service: 'service' },
    empty: 'No agent, thread or service has been seen yet.',
    noThreads: 'No activity with a thread id or a thread name has been seen yet.',
    noMatch: 'No lane has an activity that matches.',
    usual: (d: string) => `usual ${d}`,
    over: (n: string, d: string) => `${n} times the usual ${d}`,
    inner: (name: string) => `› ${name}`,
    waiting: (n: string) => `idle, ${n} planned`,
    idleFor: (d: string) => `idle for ${d}`,
    seen: (n: string) => `${n} seen`,
    feed: (name: string) => `Show the feed of ${name}`,
    image: (name: string, working: string, failed: string) =>
      `What ${name} did lately; ${working} at work now, ${failed} failed`,
  },

  failures: {
    service: 'Service',
    stack: 'Stack',
    noStack: 'No stack recorded.',
    detail: 'The chosen group of failures',
    seen: 'In this page',
    firstSeen: 'First seen',
    lastSeen: 'Last seen',
    trendTitle: 'Trend, from the first failure in this page to the last of any group',
    latest: 'Latest',
  },

  decisions: {
    worked: 'Worked',
    then: 'then',
    notYet: 'Nothing followed yet.',
    nothing: 'Nothing of its trace followed.',
  },
};
