// Every view, in both themes, at every width: silent, accessible, readable, and no wider than the window.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { AxeBuilder } from '@axe-core/playwright';
import { freeze, launch, live, monitor, open, someTrace, VIEWS, WIDTHS } from './browser.js';
import { faint } from './contrast.js';

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
  await page.emulateMedia({ media: 'print' });
  assert.deepEqual(await overflow(page), []);
  await page.emulateMedia({ media: 'screen' });
  await page.goto(monitor(base, `?view=trace&trace=${await someTrace(page, base)}`));
  await live(page);
  const outline = (e) => getComputedStyle(e).borderTopWidth;
  assert.equal(await page.locator('[data-bar]').first().evaluate(outline), '1px', 'bars keep an outline');
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
