import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { STATES } from '../core/wire';

const media = { forced: false, dark: true };
let asked: string[] = [];

/** An element whose children tell, as their colour, what they were given. */
function element(): HTMLElement {
  const probe = { style: { color: '' }, remove: vi.fn() };
  return { appendChild: () => probe } as unknown as HTMLElement;
}

beforeEach(() => {
  vi.resetModules(); // what is known of a theme is kept
  asked = [];
  vi.stubGlobal('matchMedia', (query: string) => ({
    matches: query.includes('forced-colors') ? media.forced : media.dark,
  }));
  vi.stubGlobal('document', { createElement: () => ({}) });
  vi.stubGlobal('getComputedStyle', (probe: { style: { color: string } }) => {
    asked.push(probe.style.color);
    return { color: `resolved ${probe.style.color}` };
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
  Object.assign(media, { forced: false, dark: true });
});

it('resolves the page’s own colours, each state’s from its variable', async () => {
  const { inks } = await import('./ink');
  const found = inks(element(), 'dark');
  expect(found.full.IN_PROGRESS).toBe('resolved var(--in-progress)');
  expect(found.ink).toBe('resolved var(--ink)');
  for (const kind of [found.body, found.edge, found.full]) {
    expect(new Set(Object.values(kind)).size).toBe(STATES.length);
  }
});

it('does so once for each theme, and anew when the system’s changes', async () => {
  const { inks } = await import('./ink');
  const first = inks(element(), 'system');
  const cost = asked.length;
  expect(inks(element(), 'system')).toBe(first);
  expect(asked).toHaveLength(cost);
  media.dark = false;
  expect(inks(element(), 'system')).not.toBe(first);
  expect(inks(element(), 'light')).not.toBe(first);
  expect(asked).toHaveLength(3 * cost);
});

it('takes the system’s colours where those are forced', async () => {
  media.forced = true;
  const { inks } = await import('./ink');
  const found = inks(element(), 'dark');
  expect(asked).toEqual([]);
  expect(found).toMatchObject({ ink: 'CanvasText', solid: 'Canvas', accent: 'Highlight' });
  expect(found.body.COMPLETED).not.toBe(found.body.FAILED);
});
