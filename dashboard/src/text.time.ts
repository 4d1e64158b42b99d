// The words of the time dock, which is loaded after the first paint, apart from text.ts for the sake of the first
// load.
import type { Link } from './core/connection';

export const s = {
  label: 'Time travel',
  moment: 'Moment shown',
  phases: {
    live: 'live',
    connecting: 'connecting',
    waiting: 'disconnected',
    signin: 'signed out',
    refused: 'refused',
  } satisfies Record<Link['phase'], string>,
  spokenNow: (clock: string, phase: string) => `${clock}, ${phase}`,
  spoken: (clock: string, ago: string) => `${clock}, ${ago} ago`,
  toLiveShort: 'to live',
  play: 'Play from here (Space)',
  pause: 'Pause (Space)',
  previous: 'Previous change (,)',
  next: 'Next change (.)',
  speed: (n: string) => `Replay speed ${n}. Change with [ and ]`,
  times: (n: number) => `${n}×`,
  now: 'now',
  span: 'Time shown',
  spans: { '15m': '15 min', '1h': '1 h', all: 'All held' },
  flag: (what: string, name: string, clock: string, n: number) =>
    n > 1 ? `${what} at ${clock}: ${name}, and ${n - 1} more` : `${what} at ${clock}: ${name}`,
  asking: 'Asking the server for this moment…',
  partly: (shown: string, total: string) => `${shown} of ${total} around this moment are loaded`,
  problem: 'The server did not answer for this moment. What this page has seen of it is shown.',
  dropped: (clock: string) => `Descriptions until ${clock} are no longer held; states are`,
};
