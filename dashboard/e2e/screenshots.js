// Writes a picture of every view in both themes into the folder OUT, from the server at MIDSPAN_URL.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { launch, live, monitor, open, someTrace, VIEWS } from './browser.js';

const base = process.env.MIDSPAN_URL;
const out = process.env.OUT;
if (base === undefined || out === undefined) {
  console.error('screenshots: set MIDSPAN_URL to the address of a server and OUT to a folder');
  process.exit(2);
}

const settle = Number(process.env.SETTLE ?? 6_000);
await mkdir(out, { recursive: true });
const browser = await launch();
for (const theme of ['dark', 'light']) {
  for (const [device, width, height] of [
    ['desktop', 1440, 900],
    ['tablet', 768, 1024],
    ['phone', 390, 844],
  ]) {
    const { context, page } = await open(browser, { width, height, theme, deviceScaleFactor: 1 });
    for (const view of [...VIEWS, 'attention']) {
      await page.goto(monitor(base, view === 'overview' ? '' : `?view=${view}`));
      await live(page);
      await page.waitForTimeout(view === 'overview' ? settle : 700);
      await page.screenshot({
        path: join(out, `${view}-${device}-${theme}.png`),
        fullPage: view === 'overview',
      });
    }
    const trace = (await someTrace(page, base, { open: true })) ?? (await someTrace(page, base));
    for (const tab of ['waterfall', 'tree', 'flame']) {
      await page.goto(monitor(base, `?view=trace&trace=${trace}&tab=${tab}`));
      await live(page);
      await page.waitForTimeout(700);
      await page.screenshot({ path: join(out, `${tab}-${device}-${theme}.png`) });
    }
    if (device !== 'tablet') {
      await page.goto(monitor(base));
      await live(page);
      await page.locator('main [data-row]').first().click();
      await page.locator('aside h3').first().waitFor();
      await page.waitForTimeout(500);
      await page.screenshot({ path: join(out, `drawer-${device}-${theme}.png`) });
    }
    await context.close();
  }
}
await browser.close();
