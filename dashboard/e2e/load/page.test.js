// What the page costs under load, beside the real server of e2e/withload: CPU time of the page's main thread, memory
// and counts, never frames or seconds, which swing with whatever else the machine does.
//
// MINUTES=10 has the load last so long, and holds that neither heap nor nodes grow.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, live, monitor, open } from '../browser.js';

const base = process.env.MIDSPAN_URL;
const control = process.env.MIDSPAN_LOAD;
const MINUTES = Number(process.env.MINUTES ?? 0);
const ROWS = 100_000;
const RATE = 5_000;

// The design's budgets; CPU is in milliseconds of the main thread. docs/PERFORMANCE.md says what was measured.
const CPU_A_SECOND = 250;
const CPU_A_KEY = 30;
const CPU_A_SEEK = 150;
const CPU_A_TASK = 50;
const HEAP_MB = 60;
// What must hold of CPU: no more than so many times the budget. The heap does not depend on the machine.
const SLACK = 1.3;
// CPU is told as that of the machine the budgets were measured on, which does `work` in so many milliseconds: these
// machines differ, and change from one minute to the next, by half.
const REFERENCE_MS = 20;
// However slow the machine is, less than 2.5 times the budget passes.
const SLOWEST = 1.9;
const work = () => {
  const rows = Array.from({ length: 20_000 }, (_, n) => ({
    id: `row ${(n * 7_919) % 20_000}`,
    text: 'Take the part, change it, put it back',
  }));
  const read = JSON.parse(JSON.stringify(rows));
  read.sort((a, b) => (a.id < b.id ? -1 : 1));
  return new Map(read.map((row) => [row.id, row])).size;
};

const CHANGE_MS = 250;
const NODES = 12_000;

let browser;

before(async () => {
  assert.ok(base && control, 'set MIDSPAN_URL and MIDSPAN_LOAD: run it by e2e/withload');
  browser = await launch();
});
after(() => browser?.close());

async function order(what) {
  const answer = await fetch(`${control}/?${new URLSearchParams(what)}`, { method: 'POST' });
  assert.equal(answer.status, 204, await answer.text());
}

/** Measures a page. */
class Meter {
  constructor(cdp) {
    this.cdp = cdp;
  }

  static async of(page) {
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
    return new Meter(cdp);
  }

  async metrics() {
    const { metrics } = await this.cdp.send('Performance.getMetrics');
    return Object.fromEntries(metrics.map((m) => [m.name, m.value]));
  }

  /** Milliseconds of the main thread that something takes. */
  async cpu(something) {
    const from = (await this.metrics()).TaskDuration;
    await something();
    return ((await this.metrics()).TaskDuration - from) * 1_000;
  }

  /** Bytes and nodes that are left when garbage is gone. */
  async left() {
    // The second takes what the first has only just let go.
    for (let i = 0; i < 2; i++) await this.cdp.send('HeapProfiler.collectGarbage');
    const { usedSize } = await this.cdp.send('Runtime.getHeapUsage');
    return { heap: usedSize, nodes: (await this.metrics()).Nodes };
  }
}

/** A page that does nothing else, which tells how slow the machine is. */
class Gauge {
  static async of(context) {
    const gauge = new Gauge();
    gauge.page = await context.newPage();
    gauge.meter = await Meter.of(gauge.page);
    return gauge;
  }

  /** How many times as long as the reference machine this one takes now, up to SLOWEST. */
  async slowness() {
    let took = Infinity;
    for (let i = 0; i < 9; i++) {
      const cpu = await this.meter.cpu(async () => assert.equal(await this.page.evaluate(work), 20_000));
      took = Math.min(took, cpu);
    }
    return Math.min(SLOWEST, Math.max(1, took / REFERENCE_MS));
  }
}

/** How long the main thread's longest task of some seconds is at work, in milliseconds of CPU. */
async function longest(page, ms) {
  await browser.startTracing(page, { categories: ['__metadata', 'toplevel'] });
  await pause(ms);
  const { traceEvents } = JSON.parse(await browser.stopTracing());
  const main = new Set(
    traceEvents.filter((e) => e.name === 'thread_name' && e.args.name === 'CrRendererMain').map((e) => e.tid),
  );
  const tasks = traceEvents.filter((e) => e.name.endsWith('RunTask') && main.has(e.tid) && e.tdur > 0);
  assert.ok(tasks.length > 0, 'the trace tells of tasks');
  return Math.max(...tasks.map((e) => e.tdur)) / 1_000;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * The least of three measurements, or the first within the budget: what else the machine does only adds. Those of
 * CPU are divided by how slow the machine is right then.
 */
async function least(budget, measure, gauge) {
  let found = Infinity;
  for (let i = 0; i < 3 && found > budget; i++) {
    const got = await measure();
    found = Math.min(found, gauge === undefined ? got : got / (await gauge.slowness()));
  }
  return found;
}

/** The rows of the feed that the page shows. */
function rows(page) {
  return page.locator('main [data-list]').evaluate((list) => {
    const row = list.querySelector('[data-row]');
    return row === null ? 0 : Math.round(list.scrollHeight / row.offsetHeight);
  });
}

test('a change of a span in flight is on the page at once', async (t) => {
  const { context, page, complaints } = await open(browser);
  t.after(() => context.close());
  await page.goto(monitor(base, '?view=feed'));
  await live(page);
  let n = 0;
  const taken = await least(CHANGE_MS, async () => {
    const text = `Doing part ${++n} of it`;
    const shown = page.evaluate(
      (wanted) =>
        new Promise((done) => {
          const look = () =>
            document.querySelector('main').textContent.includes(wanted)
              ? done(Date.now())
              : requestAnimationFrame(look);
          look();
        }),
      text,
    );
    const from = Date.now();
    await order({ say: text });
    return (await shown) - from;
  });
  t.diagnostic(`on the page after ${taken} of ${CHANGE_MS} ms`);
  assert.ok(taken <= CHANGE_MS, `${taken} ms`);
  assert.deepEqual(complaints, []);
});

test(`${ROWS} rows at ${RATE} events a second`, { timeout: 900_000 + MINUTES * 60_000 }, async (t) => {
  const { context, page, complaints } = await open(browser);
  t.after(() => context.close());
  await page.addInitScript(() => {
    globalThis.longTasks = [];
    new PerformanceObserver((list) =>
      globalThis.longTasks.push(...list.getEntries().map((entry) => entry.duration)),
    ).observe({ type: 'longtask' });
  });
  await order({ activities: 100 });
  await page.goto(monitor(base, '?view=feed'));
  await live(page);
  const meter = await Meter.of(page);
  const gauge = await Gauge.of(context);
  await page.bringToFront();
  t.diagnostic(`the machine is ${(await gauge.slowness()).toFixed(2)} times as slow as the reference`);
  const failed = [];
  const hold = (what, got, budget, slack = SLACK) => {
    t.diagnostic(`${what}: ${got.toFixed(1)}, the budget is ${budget}`);
    if (got > budget * slack) failed.push(`${what}: ${got.toFixed(1)} is more than ${slack} times ${budget}`);
  };

  // When it holds more than it may, it lets the oldest twentieth go.
  for (let made = 0; (await rows(page)) < ROWS * 0.9; made += 5_000) {
    assert.ok(made < 3 * ROWS, `the page shows ${await rows(page)} of ${made} rows`);
    await order({ activities: 5_000 });
    await pause(400);
  }

  await order({ rate: RATE });
  for (const [key, view] of [
    ['f', 'feed'],
    ['o', 'overview'],
  ]) {
    await page.keyboard.press('g');
    await page.keyboard.press(key);
    await page.locator(`[data-view="${view}"] main [data-row]`).first().waitFor();
    await pause(3_000);
    await page.evaluate(() => (globalThis.longTasks.length = 0));
    const used = await least(
      CPU_A_SECOND,
      async () => {
        const from = await seen();
        const cpu = await meter.cpu(() => pause(10_000));
        // A machine that is too busy to make so many events pays for fewer.
        return (cpu * RATE) / Math.max(RATE / 5, (await seen()) - from);
      },
      gauge,
    );
    hold(`${view}: main thread, ms for ${RATE} events`, used, CPU_A_SECOND);
    const long = await page.evaluate(() => globalThis.longTasks);
    t.diagnostic(`${view}: ${long.length} tasks longer than 50 ms by the clock`);
    const task = await least(CPU_A_TASK, () => longest(page, 10_000), gauge);
    hold(`${view}: the longest task of 10 s, ms`, task, CPU_A_TASK);
  }

  for (let minute = 0, first = null; minute < MINUTES; minute++) {
    await pause(60_000);
    const { heap, nodes } = await meter.left();
    t.diagnostic(`minute ${minute + 1}: heap ${(heap / 1e6).toFixed(1)} MB, ${nodes} nodes`);
    first ??= { heap, nodes };
    if (minute < MINUTES - 1) continue;
    hold('heap, times that of the first minute', heap / first.heap, 1.1, 1);
    hold('nodes, times those of the first minute', nodes / first.nodes, 1.1, 1);
  }

  await order({ rate: 0 });
  await pause(2_000);
  const { heap, nodes } = await meter.left();
  hold('heap, MB', heap / 1e6, HEAP_MB, 1);
  hold('nodes', nodes, NODES, 1);

  await page.keyboard.press('g');
  await page.keyboard.press('f');
  await page.locator('[data-view="feed"] main [data-row]').first().waitFor();
  const shown = await rows(page);
  assert.ok(shown > ROWS * 0.9, `the page shows ${shown} rows`);
  const word = 'part 771';
  const key = await least(
    CPU_A_KEY,
    async () => {
      await page.locator('[data-search]').fill('');
      await pause(500);
      const idle = await meter.cpu(() => pause(300));
      await page.locator('[data-search]').focus();
      const typed = await meter.cpu(async () => {
        for (const c of word) {
          await page.keyboard.press(c === ' ' ? 'Space' : c);
          await pause(300);
        }
      });
      return typed / word.length - idle;
    },
    gauge,
  );
  assert.ok((await rows(page)) < shown / 2, 'the search shows what it finds alone');
  hold('a key in the search, ms', key, CPU_A_KEY);

  await page.locator('[data-search]').fill('');
  await page.locator('[data-search]').blur();
  await pause(1_000);
  const seek = await least(
    CPU_A_SEEK,
    () =>
      meter.cpu(async () => {
        await page.keyboard.press('ArrowLeft');
        await page.locator('.dock[data-past="true"]').waitFor();
        await pause(250);
      }),
    gauge,
  );
  hold('a seek, ms', seek, CPU_A_SEEK);

  assert.deepEqual(complaints, []);
  assert.deepEqual(failed, []);
});

async function seen() {
  const answer = await fetch(new URL('/activity/stats', base));
  return (await answer.json()).as_of_seq;
}
