// Runs client.js, unchanged, in a page of the demo's own and prints what it logs.
//   node browser.js CHROMIUM
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

const require = createRequire(new URL('../../dashboard/package.json', import.meta.url));
const { chromium } = require('playwright-core');

const browser = await chromium.launch({ executablePath: process.argv[2], args: ['--no-sandbox'] });
process.once('SIGINT', async () => {
  await browser.close();
  process.exit(0);
});

const page = await browser.newPage();
await page.goto('http://localhost:18080/monitor/');
page.on('console', (message) => console.log(message.text()));
page.on('pageerror', (error) => console.log(`error | ${error.message}`));

// As a script of the page: page.evaluate would wrap it in a function.
const session = await page.context().newCDPSession(page);
const { exceptionDetails } = await session.send('Runtime.evaluate', {
  expression: await readFile(new URL('client.js', import.meta.url), 'utf8'),
});
if (exceptionDetails !== undefined) console.log(`error | ${exceptionDetails.text}`);
