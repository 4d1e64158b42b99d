// The server is killed and started again; the page survives it without a reload.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { launch, live, monitor, open } from './browser.js';

const binary = process.env.MIDSPAN_BIN;

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function demo(address) {
  const child = spawn(binary, ['demo', '--listen', address], { stdio: 'ignore' });
  for (let i = 0; i < 200; i++) {
    assert.equal(child.exitCode, null, 'the demo ended by itself');
    const up = await fetch(`http://${address}/healthz`).then(
      (r) => r.ok,
      () => false,
    );
    if (up) return child;
    await sleep(100);
  }
  throw new Error('the demo does not answer');
}

async function kill(child) {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

test('killed and restarted', { skip: binary === undefined && 'MIDSPAN_BIN names no binary' }, async (t) => {
  const address = `127.0.0.1:${await freePort()}`;
  let child = await demo(address);
  const browser = await launch();
  t.after(async () => {
    await browser.close();
    await kill(child);
  });
  const quiet = (text) => /WebSocket connection|Failed to load resource|ERR_CONNECTION/.test(text);
  const { page, complaints } = await open(browser, { quiet });
  await page.goto(monitor(`http://${address}`));
  await live(page);
  await page.evaluate(() => (window.notReloaded = true));
  const seen = await page.locator('.feed [data-list] [data-row]').first().getAttribute('href');

  await kill(child);
  await page.locator('.live[data-phase="waiting"]').waitFor();
  await page.getByText(/^The connection broke at/).waitFor();

  child = await demo(address);
  await page.locator('.live[data-phase="live"]').waitFor();
  await page.getByText('The server was restarted.').waitFor();
  await page.locator('.feed [data-list] [data-row]').first().waitFor();
  await page.locator(`.feed [data-list] [data-row][href="${seen}"]`).waitFor({ state: 'detached' });
  assert.equal(await page.evaluate(() => window.notReloaded), true);
  assert.deepEqual(complaints, []);
});
