// A bridge with a folder is killed and started again; the page plays what was before, from the server.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { launch, monitor, open } from './browser.js';

const binary = process.env.MIDSPAN_BIN;

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

class Bridge {
  static async make(t) {
    const bridge = new Bridge();
    bridge.data = await mkdtemp(join(tmpdir(), 'midspan-replay-'));
    [bridge.port, bridge.otlp, bridge.nowhere] = [await freePort(), await freePort(), await freePort()];
    t.after(async () => {
      await bridge.kill();
      await rm(bridge.data, { recursive: true });
    });
    await bridge.start();
    return bridge;
  }

  get base() {
    return `http://127.0.0.1:${this.port}`;
  }

  async start() {
    const args = ['serve', '--data', this.data, '--listen', `127.0.0.1:${this.port}`];
    args.push('--otlp-http', `127.0.0.1:${this.otlp}`, '--otlp-grpc', '127.0.0.1:0');
    args.push('--forward', `http://127.0.0.1:${this.nowhere}`);
    this.child = spawn(binary, args, { stdio: 'ignore' });
    for (let i = 0; i < 200; i++) {
      assert.equal(this.child.exitCode, null, 'the bridge ended by itself');
      const up = await fetch(`${this.base}/healthz`).then(
        (r) => r.ok,
        () => false,
      );
      if (up) return;
      await sleep(50);
    }
    throw new Error('the bridge does not answer');
  }

  async kill() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await once(this.child, 'exit');
  }

  async post(path, body) {
    const answer = await fetch(`http://127.0.0.1:${this.otlp}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    assert.equal(answer.status, 200, await answer.text());
  }
}

async function eventually(check) {
  for (let i = 0; i < 300; i++, await sleep(50)) if (check()) return;
  throw new Error(`never: ${check}`);
}

const text = (key, value) => ({ key, value: { stringValue: value } });
const int = (key, value) => ({ key, value: { intValue: String(value) } });
const nanos = (ms = Date.now()) => `${ms}000000`;

function logs(resource, ...logRecords) {
  return { resourceLogs: [{ resource: { attributes: resource }, scopeLogs: [{ logRecords }] }] };
}

test(
  'a past moment is played by the server',
  { skip: binary === undefined && 'no MIDSPAN_BIN' },
  async (t) => {
    const bridge = await Bridge.make(t);
    const ids = { traceId: randomBytes(16).toString('hex'), spanId: randomBytes(8).toString('hex') };
    const shop = [text('service.name', 'shop')];
    let rev = 0;
    const tell = (event, ...attributes) =>
      bridge.post(
        '/v1/logs',
        logs(shop, {
          ...ids,
          timeUnixNano: nanos(),
          eventName: `activity.${event}`,
          attributes: [int('activity.rev', ++rev), ...attributes],
        }),
      );
    const begin = Date.now();
    await tell('started', text('activity.name', 'ship the order'));
    await tell('updated', text('activity.description.current', 'packing'));
    const packing = Date.now() + 250;
    await sleep(1_500);
    await tell('updated', text('activity.description.current', 'loading'));
    await bridge.kill();
    await bridge.start();
    await sleep(1_000);
    const span = {
      ...ids,
      name: 'ship the order',
      startTimeUnixNano: nanos(begin),
      endTimeUnixNano: nanos(),
    };
    await bridge.post('/v1/traces', {
      resourceSpans: [{ resource: { attributes: shop }, scopeSpans: [{ spans: [span] }] }],
    });
    // A host whose clock is an hour behind.
    const far = [text('service.name', 'far'), text('midspan.lease.id', 'l1')];
    const renewed = [int('seq', 1), int('ttl_ms', 60_000), int('sent_at', nanos(Date.now() - 3_600_000))];
    await bridge.post('/v1/logs', logs(far, { eventName: 'midspan.lease.renewed', attributes: renewed }));
    await sleep(1_000);

    const browser = await launch();
    t.after(() => browser.close());
    const { page, complaints } = await open(browser);
    const said = [];
    page.on('websocket', (socket) => {
      if (!socket.url().includes('/activity/replay')) return;
      said.push(new URL(socket.url()).searchParams.get('speed'));
      socket.on('framesent', ({ payload }) => said.push(JSON.parse(payload).action));
    });
    const at = new Date(packing).toISOString();
    await page.goto(monitor(bridge.base, `?view=feed&sel=${ids.traceId}-${ids.spanId}&at=${at}&speed=0.5`));
    const drawer = page.locator('aside');
    const state = (name) => drawer.locator('header').getByText(name).waitFor();
    await state('In progress');
    await drawer.getByText('packing', { exact: true }).waitFor();

    // Slower than it was, so that a busy machine sees it; then still, elsewhere, and on to its end.
    await page.keyboard.press('Space');
    await drawer.getByText('loading', { exact: true }).waitFor();
    await page.keyboard.press('Space');
    const heard = (action) => eventually(() => said.includes(action));
    await heard('pause');
    await page.getByRole('button', { name: 'Play from here' }).waitFor();
    await page.keyboard.press('Space');
    await heard('resume');
    await page.keyboard.press('Shift+ArrowLeft');
    await heard('seek');
    await page.getByText('Nothing has happened yet.').waitFor();
    for (let i = 0; i < 3; i++) await page.keyboard.press(']');
    await state('Completed');
    await page.keyboard.press('l');
    await page.locator('.frame').waitFor({ state: 'detached' });
    assert.deepEqual(said.slice(0, 5), ['0.5', 'pause', 'resume', 'seek', 'speed']);

    // What stands beyond the server.
    await page.locator('.foot').getByText(`127.0.0.1:${bridge.nowhere}`).waitFor();
    await page.locator('.foot [data-away="true"]', { hasText: 'away' }).waitFor();
    await page.locator('.foot', { hasText: '1 clock is off' }).waitFor();
    assert.deepEqual(complaints, []);
  },
);
