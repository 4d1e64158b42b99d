// The page's colours for a canvas, which knows no custom properties.
import { STATES, type State } from '../core/wire';

export interface Inks {
  /** A bar's ground, its edge, and its full colour. */
  body: Record<State, string>;
  edge: Record<State, string>;
  full: Record<State, string>;
  ink: string;
  /** Of a name beside those that are looked for. */
  quiet: string;
  faint: string;
  solid: string;
  tip: string;
  accent: string;
}

const VARIABLES: Record<State, string> = {
  IN_PROGRESS: 'in-progress',
  PLANNED: 'planned',
  COMPLETED: 'completed',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
  LOST: 'lost',
};

let known: { key: string; inks: Inks } | null = null;

/** Resolved once for each theme: `theme` names the one that is chosen. */
export function inks(element: HTMLElement, theme: string): Inks {
  const forced = matchMedia('(forced-colors: active)').matches;
  const key = `${theme} ${forced} ${matchMedia('(prefers-color-scheme: dark)').matches}`;
  if (known?.key !== key) known = { key, inks: forced ? system() : resolve(element) };
  return known.inks;
}

function resolve(element: HTMLElement): Inks {
  const probe = element.appendChild(document.createElement('i'));
  const color = (value: string) => {
    probe.style.color = value;
    return getComputedStyle(probe).color;
  };
  const mixed = (state: State, light: number, dark: number) => {
    const mix = (share: number) => `color-mix(in srgb, var(--${VARIABLES[state]}) ${share}%, var(--mix))`;
    return color(`light-dark(${mix(light)}, ${mix(dark)})`);
  };
  const of = (make: (state: State) => string) =>
    Object.fromEntries(STATES.map((state) => [state, make(state)])) as Record<State, string>;
  const out: Inks = {
    body: of((state) => mixed(state, 55, 42)),
    edge: of((state) => mixed(state, 80, 78)),
    full: of((state) => color(`var(--${VARIABLES[state]})`)),
    ink: color('var(--ink)'),
    quiet: color('var(--ink-3)'),
    faint: color('var(--row-line)'),
    solid: color('var(--solid)'),
    tip: color('var(--tip)'),
    accent: color('var(--accent)'),
  };
  probe.remove();
  return out;
}

/** With forced colours the patterns alone tell states apart. */
function system(): Inks {
  const of = (make: (state: State) => string) =>
    Object.fromEntries(STATES.map((state) => [state, make(state)])) as Record<State, string>;
  return {
    body: of((state) => (state === 'COMPLETED' || state === 'IN_PROGRESS' ? 'GrayText' : 'Canvas')),
    edge: of(() => 'CanvasText'),
    full: of(() => 'CanvasText'),
    ink: 'CanvasText',
    quiet: 'CanvasText',
    faint: 'Canvas',
    solid: 'Canvas',
    tip: 'CanvasText',
    accent: 'Highlight',
  };
}
