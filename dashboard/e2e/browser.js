import { chromium } from 'playwright-core';

export const VIEWS = [
  'overview',
  'feed',
  'traces',
  'hierarchy',
  'decisions',
  'completions',
  'failures',
  'agents',
];
export const WIDTHS = { 1440: 900, 768: 1024, 390: 844, 320: 700 };

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** The monitor's address under a server's address. */
export function monitor(base, search = '') {
  return new URL(`/monitor/${search}`, base).href;
}

/**
 * Opens a page that notes whatever the console, the page and the content policy complain about. Network
 * failures are noted too, unless `quiet` allows them.
 */
export async function open(
  browser,
  { width = 1440, height = 900, theme = 'dark', quiet = () => false, ...rest } = {},
) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: theme,
    reducedMotion: 'reduce',
    locale: 'en-GB',
    ...rest,
  });
  const page = await context.newPage();
  const complaints = [];
  const note = (text) => {
    if (!quiet(text)) complaints.push(text);
  };
  page.on('console', (message) => note(`console ${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => note(`error: ${error.message}`));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  return { context, page, complaints };
}

/** Waits until the page is connected and its first rows are there. */
export async function live(page) {
  await page.locator('.live[data-phase="live"]').waitFor();
  await page.locator('main [data-row]').first().waitFor();
}

/** The id of the trace with most activities among the latest, or with most open ones, or of those that are over. */
export async function someTrace(page, base, { open = false, over = false } = {}) {
  const latest = async (list) => {
    const url = new URL(`/activity/${list}?limit=1000`, base).href;
    return (await (await page.request.get(url)).json()).activities;
  };
  const counts = new Map();
  for (const a of await latest(open ? 'active' : 'all')) {
    // Only what is at work grows.
    if (!open || a.state === 'IN_PROGRESS') counts.set(a.trace_id, (counts.get(a.trace_id) ?? 0) + 1);
  }
  if (over) for (const a of await latest('active')) counts.delete(a.trace_id);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0];
}

/** Stops everything that changes the page, so that it can be measured. */
export async function freeze(page) {
  await page.evaluate(() => {
    window.requestAnimationFrame = () => 0;
    window.fetch = () => new Promise(() => {});
    // What ticks without frames, as the judging of what needs attention.
    const last = setTimeout(() => {});
    for (let id = 1; id <= last; id++) clearTimeout(id);
  });
  await page.waitForTimeout(300);
}
