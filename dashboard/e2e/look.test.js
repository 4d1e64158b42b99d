// Every view, in both themes, at every width: silent, accessible, readable, and no wider than the window.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { AxeBuilder } from '@axe-core/playwright';
import { freeze, launch, live, monitor, open, someTrace, VIEWS, WIDTHS } from './browser.js';
import { drawn, faint } from './contrast.js';
import { activity, Fake } from './fake.js';

const base = process.env.MIDSPAN_URL;
let browser;

before(async () => {
  assert.ok(base, 'set MIDSPAN_URL to the address of a server');
  browser = await launch();
});
after(() => browser?.close());

async function overflow(page) {
  return page.evaluate(() =>
    [
      document.documentElement,
      ...document.querySelectorAll('main, aside, aside .body, section, dialog[open]'),
    ]
      .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'hidden')
      .map((e) => `${e.tagName.toLowerCase()}.${e.className}: ${e.scrollWidth} > ${e.clientWidth}`),
  );
}

async function check(page, where, runs = 20) {
  assert.deepEqual(await overflow(page), [], `${where}: overflow`);
  const { violations } = await new AxeBuilder({ page }).analyze();
  const found = violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).slice(0, 3)}`);
  assert.deepEqual(found, [], `${where}: axe`);
  await freeze(page);
  const contrast = await faint(page);
  assert.ok(contrast.count > runs, `${where}: only ${contrast.count} runs of text`);
  assert.deepEqual(contrast.faint, [], `${where}: contrast`);
}

for (const theme of ['dark', 'light']) {
  for (const [width, height] of Object.entries(WIDTHS)) {
    test(`${theme} ${width}`, async (t) => {
      // On narrow windows the overview is one long page: the window is as tall as it, so that all is seen.
      const tall = Number(width) < 1100 ? 2_700 : height;
      const { context, page, complaints } = await open(browser, {
        width: Number(width),
        height: tall,
        theme,
      });
      t.after(() => context.close());
      for (const view of [...VIEWS, 'attention']) {
        await page.goto(monitor(base, view === 'overview' ? '' : `?view=${view}`));
        await live(page);
        await check(page, view);
      }
      const trace = await someTrace(page, base);
      for (const tab of ['waterfall', 'tree', 'flame']) {
        await page.goto(monitor(base, `?view=trace&trace=${trace}&tab=${tab}`));
        await live(page);
        await page.locator(`[data-tab="${tab}"]`).waitFor();
        await check(page, tab);
      }
      await page.goto(monitor(base));
      await live(page);
      await page.setViewportSize({ width: Number(width), height });
      await page.locator('main [data-row]').first().click();
      await page.locator('aside h3').first().waitFor();
      await check(page, 'drawer');
      await page.goto(monitor(base));
      await live(page);
      await page.keyboard.press('?');
      await page.locator('dialog[open]').waitFor();
      await check(page, 'help');
      await page.goto(monitor(base));
      await live(page);
      await page.keyboard.press('Control+k');
      await page.locator('dialog[open]').waitFor();
      await check(page, 'palette', 10);
      if (Number(width) > 720) {
        for (const menu of ['Any agent', 'Export this view']) {
          await page.goto(monitor(base));
          await live(page);
          await page.getByRole('button', { name: menu }).click();
          await page.locator('.menu').waitFor();
          await check(page, menu);
        }
      }
      await page.goto(monitor(base, '?q=nothing:here'));
      await page.locator('.live[data-phase="live"]').waitFor();
      await page.locator('[data-search]').focus();
      await page.keyboard.press('End');
      await page.keyboard.type(' s');
      await page.getByRole('listbox').getByRole('option').first().waitFor();
      await check(page, 'completion');
      assert.deepEqual(complaints, []);
    });
  }
}

test('forced colours and print keep the page whole', async (t) => {
  const { context, page, complaints } = await open(browser, { forcedColors: 'active' });
  t.after(() => context.close());
  await page.goto(monitor(base));
  await live(page);
  assert.deepEqual(await overflow(page), []);
  const mark = page.locator('.histogram .mark').first();
  assert.equal(await mark.evaluate((e) => getComputedStyle(e).borderLeftWidth), '1px', 'marks are lines');
  await page.emulateMedia({ media: 'print' });
  assert.deepEqual(await overflow(page), []);
  await page.emulateMedia({ media: 'screen' });
  await page.goto(monitor(base, `?view=trace&trace=${await someTrace(page, base)}`));
  await live(page);
  const outline = (e) => getComputedStyle(e).borderTopWidth;
  assert.equal(await page.locator('[data-bar]').first().evaluate(outline), '1px', 'bars keep an outline');
  assert.equal(await page.locator('.dock .play').evaluate(outline), '1px', 'so do buttons');
  assert.deepEqual(complaints, []);
});

test('forced colours hide no bar and no mark', async (t) => {
  const { context, page, complaints } = await open(browser, { forcedColors: 'active' });
  t.after(() => context.close());
  const at = (ms) => new Date(Date.now() + ms).toISOString();
  const fake = new Fake();
  const states = [
    { state: 'IN_PROGRESS' },
    { state: 'COMPLETED', ended_at: at(-1_000) },
    { state: 'FAILED', ended_at: at(-1_000), error: { message: 'no more' } },
    { state: 'CANCELLED', ended_at: at(-1_000), what_it_did: 'superseded' },
    { state: 'LOST', ended_at: at(-1_000), last_seen_at: at(-30_000) },
    { state: 'PLANNED', started_at: null, usual_ms: 4_000 },
  ];
  const times = { planned_at: at(-60_000), started_at: at(-60_000) };
  fake.activities = states.map((fields, n) => activity(n + 1, { ...times, ...fields }));
  await fake.install(page);
  await page.goto(monitor(base, `?view=trace&trace=${'a'.repeat(32)}`));
  await live(page);
  for (const { state } of states) {
    const { x, y, width, height } = await page.locator(`[data-bar="${state}"]`).boundingBox();
    // Beside its text, which stands at the end.
    const share = await drawn(page, { x, y, width: width / 3, height });
    assert.ok(share > 0.05, `${state}: ${share} of the bar is drawn`);
  }
  assert.deepEqual(complaints, []);
});

test('no request leaves for another origin', async (t) => {
  const { context, page } = await open(browser);
  t.after(() => context.close());
  const foreign = [];
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.host !== new URL(base).host) foreign.push(url.href);
  });
  await page.goto(monitor(base));
  await live(page);
  await page.waitForTimeout(2_000);
  assert.deepEqual(foreign, []);
});
