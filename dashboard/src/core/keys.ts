// Single-key commands. `g` waits for a second key that names a view.
import type { VIEWS as NAVIGATION } from './url';

export type Command =
  | {
      do: 'search' | 'hold' | 'theme' | 'help' | 'live' | 'next' | 'previous' | 'copy' | 'jaeger' | 'failure';
    }
  | { do: 'state'; index: number }
  | { do: 'time'; move: Move }
  | { do: 'dock'; what: Dock }
  | { do: 'view'; view: (typeof NAVIGATION)[number] };

/** What a key does to the trace that is shown: to its time, or to the marks of its critical path. */
export type Move = 'in' | 'out' | 'left' | 'right' | 'fit' | 'reset' | 'path';

/** What a key does to the moment that the page shows. */
export type Dock = 'back' | 'forth' | 'previous' | 'next' | 'slower' | 'faster' | 'toggle';

const PLAIN: Record<string, Command> = {
  ' ': { do: 'dock', what: 'toggle' },
  ArrowLeft: { do: 'dock', what: 'back' },
  ArrowRight: { do: 'dock', what: 'forth' },
  ',': { do: 'dock', what: 'previous' },
  '.': { do: 'dock', what: 'next' },
  '[': { do: 'dock', what: 'slower' },
  ']': { do: 'dock', what: 'faster' },
  '/': { do: 'search' },
  '?': { do: 'help' },
  h: { do: 'hold' },
  t: { do: 'theme' },
  l: { do: 'live' },
  j: { do: 'next' },
  k: { do: 'previous' },
  c: { do: 'copy' },
  o: { do: 'jaeger' },
  e: { do: 'failure' },
  w: { do: 'time', move: 'in' },
  s: { do: 'time', move: 'out' },
  a: { do: 'time', move: 'left' },
  d: { do: 'time', move: 'right' },
  f: { do: 'time', move: 'fit' },
  0: { do: 'time', move: 'reset' },
  p: { do: 'time', move: 'path' },
};

const VIEWS: Record<string, Command> = {
  o: { do: 'view', view: 'overview' },
  f: { do: 'view', view: 'feed' },
  t: { do: 'view', view: 'traces' },
  h: { do: 'view', view: 'hierarchy' },
  d: { do: 'view', view: 'decisions' },
  c: { do: 'view', view: 'completions' },
  x: { do: 'view', view: 'failures' },
  a: { do: 'view', view: 'agents' },
};

const PREFIX_MS = 1_200;

export class Keys {
  private prefixAt = -Infinity;

  press(key: string, now: number): Command | null {
    const k = key.length === 1 ? key.toLowerCase() : key;
    if (now - this.prefixAt <= PREFIX_MS) {
      this.prefixAt = -Infinity;
      const view = VIEWS[k];
      if (view !== undefined) return view;
    }
    if (k === 'g') {
      this.prefixAt = now;
      return null;
    }
    if (/^[1-6]$/.test(k)) return { do: 'state', index: Number(k) - 1 };
    return PLAIN[k] ?? null;
  }
}
