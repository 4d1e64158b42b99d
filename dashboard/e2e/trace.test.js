// Traces as a reader uses them, against a running server and against made ones.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, live, monitor, open, someTrace } from './browser.js';
import { activity, Fake } from './fake.js';

const base = process.env.MIDSPAN_URL;
let browser;

before(async () => {
  assert.ok(base, 'set MIDSPAN_URL to the address of a server');
  browser = await launch();
});
after(() => browser?.close());

const search = (page) => new URL(page.url()).search;
const focused = (page) => page.evaluate(() => document.activeElement.dataset.id ?? null);

async function start(t, address = '', fake = null) {
  const opened = await open(browser);
  t.after(async () => {
    await opened.context.close();
    assert.deepEqual(opened.complaints, []);
  });
  const { page } = opened;
  await fake?.install(page);
  await page.goto(monitor(base, typeof address === 'string' ? address : await address(page)));
  await page.locator('.live[data-phase="live"]').waitFor();
  if (fake === null) await live(page);
  return page;
}

const TRACE = 'a'.repeat(32);
const at = (ms) => new Date(Date.now() + ms).toISOString();
const span = (n, parent, fields = {}) =>
  activity(n, {
    parent_id: parent === null ? null : activity(parent).activity_id,
    planned_at: at(-8_000 + n * 10),
    started_at: at(-8_000 + n * 10),
    ...fields,
  });
const names = (page) => page.locator('[role="treegrid"] .name').allInnerTexts();

test('from the list to the trace, its drawer, and back, by keyboard alone', async (t) => {
  const page = await start(t, '?view=traces');
  const { keyboard } = page;
  await keyboard.press('j');
  const href = await page.evaluate(() => document.activeElement.getAttribute('href'));
  assert.match(href, /[?&]view=trace&trace=[0-9a-f]{32}$/);
  await keyboard.press('Enter');
  await page.locator('[role="treegrid"] [data-row]').first().waitFor();
  assert.ok(href.endsWith(search(page)));

  await keyboard.press('j');
  const root = await focused(page);
  assert.ok(root.startsWith(new URLSearchParams(search(page)).get('trace')));
  await keyboard.press('Enter');
  await page.locator('aside h3').first().waitFor();
  assert.equal(new URLSearchParams(search(page)).get('sel'), root);
  await keyboard.press('Escape');
  await page.locator('aside').waitFor({ state: 'detached' });
  await keyboard.press('Escape');
  await keyboard.press('Escape');
  await page.waitForFunction(() => location.search === '?view=traces');
});

test('rows fold and unfold, and arrows walk them', async (t) => {
  const page = await start(t, async (p) => `?view=trace&trace=${await someTrace(p, base)}`);
  const { keyboard } = page;
  const grid = page.locator('[role="treegrid"]');
  const all = Number(await grid.getAttribute('aria-rowcount'));
  assert.ok(all > 3, `${all} rows`);
  await keyboard.press('j');
  const root = await focused(page);
  await keyboard.press('ArrowLeft');
  await page.waitForFunction(
    (n) => document.querySelectorAll('[role="treegrid"] [data-row]').length < n,
    all - 1,
  );
  const row = page.locator(`[data-id="${root}"]`);
  assert.equal(await row.getAttribute('aria-expanded'), 'false');
  await keyboard.press('ArrowRight');
  assert.equal(await row.getAttribute('aria-expanded'), 'true');
  await keyboard.press('ArrowRight');
  await page.waitForFunction((id) => document.activeElement.dataset.id !== id, root);
  assert.equal(await page.evaluate(() => document.activeElement.ariaLevel), '2');
  await keyboard.press('ArrowLeft');
  await keyboard.press('ArrowLeft');
  await page.waitForFunction((id) => document.activeElement.dataset.id === id, root);
});

test('keys and buttons zoom, move, and lead back', async (t) => {
  // The marks of one that grows change by themselves.
  const page = await start(t, async (p) => `?view=trace&trace=${await someTrace(p, base, { over: true })}`);
  const marks = () => page.locator('.axis .tick').allInnerTexts();
  const whole = await marks();
  const reset = page.locator('[data-move="reset"]');
  assert.equal(await reset.isDisabled(), true);
  for (const key of ['w', 'w', 'd']) await page.keyboard.press(key);
  await page.waitForFunction((was) => document.querySelector('.axis').innerText !== was, whole.join('\n'));
  assert.notDeepEqual(await marks(), whole);
  await page.keyboard.press('0');
  await page.locator('[data-move="reset"][disabled]').waitFor();
  assert.deepEqual(await marks(), whole);
  await page.locator('[data-move="in"]').click();
  assert.equal(await reset.isDisabled(), false);
  await reset.click();
  assert.deepEqual(await marks(), whole);
});

test('the address holds the trace, its tab and its activity', async (t) => {
  let trace;
  const page = await start(t, async (p) => `?view=trace&trace=${(trace = await someTrace(p, base))}`);
  await page.getByRole('button', { name: 'Tree', exact: true }).click();
  assert.equal(search(page), `?view=trace&trace=${trace}&tab=tree`);
  await page.locator('[role="treegrid"] [data-row]').nth(1).click();
  await page.locator('aside h3').first().waitFor();
  const shared = search(page);
  assert.match(shared, /&sel=[0-9a-f]{32}-[0-9a-f]{16}&tab=tree$/);
  await page.reload();
  await page.locator('aside h3').first().waitFor();
  await page.locator('[role="treegrid"][data-tab="tree"] [aria-selected="true"]').waitFor();
  assert.equal(search(page), shared);
  await page.goBack();
  await page.locator('aside').waitFor({ state: 'detached' });

  await page.goto(monitor(base, '?view=completions'));
  await live(page);
  const first = page.locator('main [data-row]').first();
  await first.hover(); // the list stands still
  await first.click();
  await page.locator('aside [data-trace]').click();
  await page.locator('[role="treegrid"] [aria-selected="true"]').waitFor();
  assert.match(search(page), /^\?view=trace&trace=[0-9a-f]{32}&sel=/);
});

test('what is in progress grows', async (t) => {
  const fake = new Fake();
  const page = await start(t, `?view=trace&trace=${TRACE}`, fake);
  fake.send(span(1, null));
  const bar = page.locator('[data-bar="IN_PROGRESS"]');
  await bar.waitFor();
  await page.keyboard.press('w');
  await page.keyboard.press('s');
  const before = (await bar.boundingBox()).width;
  await page.waitForTimeout(1_000);
  const after = (await bar.boundingBox()).width;
  assert.ok(after > before + 5, `${before} to ${after} pixels`);
  fake.send(
    { ...fake.activities[0], state: 'FAILED', ended_at: at(0), error: { message: 'no more' } },
    'failed',
  );
  await page.locator('[data-bar="FAILED"]').waitFor();
  assert.equal(await page.locator('[role="treegrid"] .label').innerText(), 'no more');
});

test('a late parent takes its place, and the reader’s row does not move', async (t) => {
  const fake = new Fake();
  const page = await start(t, `?view=trace&trace=${TRACE}`, fake);
  for (let n = 50; n < 130; n++) fake.send(span(n, 2));
  await page.getByText('Not seen yet').waitFor();
  const list = page.locator('[role="treegrid"] [data-list]');
  await list.evaluate((e) => (e.scrollTop = 600));
  await page.waitForTimeout(300);
  const place = () =>
    list.evaluate((e) => {
      const { top } = e.getBoundingClientRect();
      const rows = [...e.querySelectorAll('[data-row]')].map((r) => [
        r.dataset.id,
        r.getBoundingClientRect().top,
      ]);
      return rows.filter(([, y]) => y >= top).sort((a, b) => a[1] - b[1])[0];
    });
  const was = await place();
  fake.send(span(2, 1));
  fake.send(span(1, null));
  fake.send(span(3, 1, { planned_at: at(-60_000), name: 'earlier' }));
  await page.waitForFunction(() => document.querySelector('[role="treegrid"]').ariaRowCount === '84');
  await page.waitForTimeout(300);
  assert.deepEqual(await place(), was);
  await list.evaluate((e) => (e.scrollTop = 0));
  await page.waitForFunction(() => document.querySelector('[role="treegrid"] .name').innerText === 'work 1');
  assert.deepEqual((await names(page)).slice(0, 3), ['work 1', 'earlier', 'work 2']);
});

test('search finds folded rows, counts them, and goes round', async (t) => {
  const fake = new Fake();
  const page = await start(t, `?view=trace&trace=${TRACE}`, fake);
  const { keyboard } = page;
  fake.send(span(1, null));
  for (let n = 2; n < 60; n++)
    fake.send(span(n, n < 40 ? 1 : 2, { name: n % 20 === 5 ? `needle ${n}` : `hay ${n}` }));
  await page.waitForFunction(() => document.querySelector('[role="treegrid"]')?.ariaRowCount === '60');
  await page.locator('[role="treegrid"] [data-row]').first().focus();
  await keyboard.press('ArrowLeft');
  await page.waitForFunction(() => document.querySelector('[role="treegrid"]').ariaRowCount === '2');
  await keyboard.press('/');
  await keyboard.type('needle');
  const count = page.locator('search [role="status"]').filter({ hasText: 'of 3' });
  await count.waitFor();
  assert.equal(await page.locator('[role="treegrid"] [data-row]').count(), 1);
  const at = (n, name) =>
    Promise.all([
      page.waitForFunction((text) => document.querySelector('.find .count').innerText === text, `${n} of 3`),
      page.locator('.row.found .name', { hasText: name }).waitFor(),
    ]);
  // Rows are in the order of the tree: 45 stands below 2.
  await keyboard.press('Enter');
  await at(1, 'needle 45');
  await keyboard.press('Enter');
  await at(2, 'needle 5');
  await keyboard.press('Enter');
  await at(3, 'needle 25');
  await keyboard.press('Enter');
  await at(1, 'needle 45');
  await keyboard.press('Shift+Enter');
  await at(3, 'needle 25');
  const row = await page.locator('.row.found').boundingBox();
  const list = await page.locator('[role="treegrid"] [data-list]').boundingBox();
  assert.ok(row.y >= list.y && row.y + row.height <= list.y + list.height, 'the match is in sight');
  await page.locator('[data-find]').fill('nowhere');
  await page.getByText('no match').waitFor();
  await keyboard.press('Escape');
  assert.equal(await page.locator('[data-find]').inputValue(), '');
  assert.equal(await page.locator('.row.match').count(), 0);
});

test('the sentence names what everything waits for, and leads there', async (t) => {
  const fake = new Fake();
  const page = await start(t, `?view=trace&trace=${TRACE}`, fake);
  const done = { state: 'COMPLETED', ended_at: at(-2_000) };
  fake.send(span(1, null, { name: 'report' }));
  fake.send(span(2, 1, { name: 'gather', ...done }));
  fake.send(span(3, 1, { name: 'write', started_at: at(-1_500) }));
  const said = page.locator('[data-waiting]');
  await page.waitForFunction(() =>
    /^Waiting for write, \d/.test(document.querySelector('[data-waiting]')?.innerText),
  );
  fake.send(
    span(4, 3, { name: '<i>ask</i> the model', planned_at: at(0), started_at: null, state: 'PLANNED' }),
  );
  await page.waitForFunction(() =>
    /^Waiting for <i>ask<\/i> the model, in the queue for \d/.test(
      document.querySelector('[data-waiting]').innerText,
    ),
  );
  await said.locator('a').click();
  await page.locator('aside h3').first().waitFor();
  assert.ok(new URLSearchParams(search(page)).get('sel').endsWith('4'));
  await page.keyboard.press('Escape');

  assert.equal(await page.locator('[data-critical]').count(), 0);
  await page.keyboard.press('p');
  assert.equal(await page.locator('[data-path]').getAttribute('aria-pressed'), 'true');
  await page.waitForFunction(() =>
    ['report', 'gather', 'write'].every((name) =>
      [...document.querySelectorAll('.row')].some(
        (row) =>
          row.querySelector('.name').innerText === name && row.querySelector('[data-critical]') !== null,
      ),
    ),
  );
  assert.equal(await page.locator('.row', { hasText: 'ask' }).locator('[data-critical]').count(), 0);
  for (const a of fake.activities.filter((one) => one.ended_at === undefined)) {
    const icon = await page.locator('main .head [data-state]').getAttribute('data-state');
    assert.equal(icon, 'IN_PROGRESS', 'as long as anything of it is open');
    fake.send({ ...a, state: 'COMPLETED', started_at: a.started_at ?? at(0), ended_at: at(0) }, 'ended');
  }
  await said.waitFor({ state: 'detached' });
  await page.locator('main .head [data-state="COMPLETED"]').waitFor();
});

test('the minimap moves and widens what is shown, by pointer and by keys', async (t) => {
  const fake = new Fake();
  const page = await start(t, `?view=trace&trace=${TRACE}`, fake);
  const ended = { state: 'COMPLETED', ended_at: at(-1_000) };
  fake.send(span(1, null, ended));
  for (let n = 2; n < 12; n++) fake.send(span(n, 1, ended));
  const map = page.locator('[data-map]');
  await map.waitFor();
  const shown = page.locator('[data-part="window"]');
  const text = () => shown.getAttribute('aria-valuetext');
  const changed = (was) =>
    page.waitForFunction((v) => document.querySelector('[data-part="window"]').ariaValueText !== v, was);
  const whole = await text();
  assert.match(whole, /^0.* to /);
  const box = await map.boundingBox();
  const drag = async (from, to) => {
    await page.mouse.move(box.x + box.width * from, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * ((from + to) / 2), box.y + 20);
    await page.mouse.move(box.x + box.width * to, box.y + 20);
    await page.mouse.up();
  };
  // A new window, then the same one elsewhere, then one of its ends.
  await drag(0.2, 0.4);
  await changed(whole);
  const share = async () => {
    const { x, width } = await shown.boundingBox();
    return [(x - box.x) / box.width, width / box.width].map((n) => Math.round(n * 100) / 100);
  };
  const near = (got, want) =>
    assert.ok(
      got.every((n, i) => Math.abs(n - want[i]) <= 0.02),
      `${got}, not ${want}`,
    );
  near(await share(), [0.2, 0.2]);
  await drag(0.3, 0.5);
  near(await share(), [0.4, 0.2]);
  await drag(0.6, 0.8);
  near(await share(), [0.4, 0.4]);
  const was = await text();
  await page.locator('[data-part="from"]').focus();
  await page.keyboard.press('Shift+ArrowRight');
  await changed(was);
  near(await share(), [0.5, 0.3]);
  await page.keyboard.press('Home');
  near(await share(), [0, 0.8]);
  await shown.focus();
  await page.keyboard.press('End');
  near(await share(), [0.2, 0.8]);
  await map.dblclick({ position: { x: 30, y: 20 } });
  await page.locator('[data-move="reset"][disabled]').waitFor();
  assert.equal(await text(), whole);
});

test('a drag moves the time and opens nothing, Ctrl and the wheel zoom', async (t) => {
  const fake = new Fake();
  const page = await start(t, `?view=trace&trace=${TRACE}`, fake);
  fake.send(span(1, null, { state: 'COMPLETED', ended_at: at(-1_000) }));
  for (const tab of ['Waterfall', 'Flame']) {
    await page.getByRole('button', { name: tab, exact: true }).click();
    const where = await page.locator(tab === 'Flame' ? '[data-flame]' : '.row .lane').boundingBox();
    const [x, y] = [where.x + where.width / 2, where.y + 10];
    await page.mouse.move(x, y);
    await page.keyboard.down('Control');
    await page.mouse.wheel(0, -120);
    await page.keyboard.up('Control');
    await page.locator('[data-move="reset"]:not([disabled])').waitFor();
    const marks = await page.locator('.marks').innerText();
    await page.mouse.down();
    await page.mouse.move(x - 60, y);
    await page.mouse.move(x - 160, y);
    await page.mouse.up();
    await page.waitForFunction((was) => document.querySelector('.marks').innerText !== was, marks);
    assert.equal(new URLSearchParams(search(page)).get('sel'), null, tab);
    await page.keyboard.press('0');
    await page.locator('[data-move="reset"][disabled]').waitFor();
    await page.mouse.move(where.x + 40, y);
    await page.mouse.down();
    await page.mouse.up();
    await page.locator('aside h3').first().waitFor();
    await page.keyboard.press('Escape');
    await page.locator('aside').waitFor({ state: 'detached' });
  }
});

test('the flame chart is walked and opened by keys', async (t) => {
  const fake = new Fake();
  const page = await start(t, `?view=trace&trace=${TRACE}&tab=flame`, fake);
  const { keyboard } = page;
  fake.send(span(1, null, { name: 'root' }));
  fake.send(span(2, 1, { name: 'first', state: 'COMPLETED', ended_at: at(-6_000) }));
  fake.send(
    span(300, 1, { name: 'second', state: 'FAILED', ended_at: at(-2_000), error: { message: 'no' } }),
  );
  fake.send(span(301, 300, { name: 'below', type: 'decision', state: 'COMPLETED', ended_at: at(-3_000) }));
  await page.locator('[data-flame][data-lanes="3"]').waitFor();
  await page
    .getByRole('tree', { name: 'Flame chart of 4 activities in 3 lanes, 1 open, 1 failed' })
    .waitFor();
  const on = (name) => page.locator(`[role="treeitem"]:focus[aria-label^="${name},"]`).waitFor();
  await keyboard.press('j');
  await on('root');
  for (const [key, name] of [
    ['ArrowDown', 'first'],
    ['ArrowRight', 'second'],
    ['ArrowDown', 'below'],
    ['ArrowUp', 'second'],
    ['ArrowLeft', 'first'],
    ['j', 'second'],
    ['k', 'first'],
    ['Home', 'root'],
    ['ArrowDown', 'first'],
  ]) {
    await keyboard.press(key);
    await on(name);
  }
  const item = page.locator('[role="treeitem"]');
  assert.deepEqual(await item.evaluate((e) => [e.ariaLevel, e.ariaPosInSet, e.ariaSetSize, e.ariaSelected]), [
    '2',
    '1',
    '2',
    'false',
  ]);
  const narrow = (await item.boundingBox()).width;
  await keyboard.press('f');
  await page.waitForFunction(
    (width) => document.querySelector('[role="treeitem"]').getBoundingClientRect().width > width * 1.2,
    narrow,
  );
  await keyboard.press('Enter');
  await page.locator('aside h3').first().waitFor();
  assert.match(search(page), /&sel=a{32}-0{15}2&tab=flame$/);
  // The other tabs show the same one.
  await page.goto(monitor(base, search(page).replace('flame', 'tree')));
  await page.locator('.live[data-phase="live"]').waitFor();
  await page.locator('[role="treegrid"] [aria-selected="true"]', { hasText: 'first' }).waitFor();
});

test('the flame chart draws each state, and what is open grows', async (t) => {
  const fake = new Fake();
  const page = await start(t, `?view=trace&trace=${TRACE}&tab=flame`, fake);
  const states = [
    { state: 'IN_PROGRESS' },
    { state: 'COMPLETED', ended_at: at(-1_000) },
    { state: 'FAILED', ended_at: at(-1_000) },
    { state: 'CANCELLED', ended_at: at(-1_000) },
    { state: 'LOST', ended_at: at(-1_000), last_seen_at: at(-5_000) },
    { state: 'PLANNED', started_at: null, usual_ms: 4_000 },
  ];
  states.forEach((fields, n) => fake.send(span(n + 1, null, { name: ' ', ...fields })));
  await page.locator('[data-flame][data-lanes="6"]').waitFor();
  await page.keyboard.press('w');
  // A lane's pixels from left to right: how many are drawn, in how many runs of one colour.
  const lane = (n) =>
    page.evaluate((at) => {
      const canvas = document.querySelector('[data-flame] canvas');
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {
        willReadFrequently: true,
      });
      copy.drawImage(canvas, 0, 0);
      const { data } = copy.getImageData(0, at * 20 + 5, canvas.width, 1);
      let [runs, drawn, last] = [0, 0, -1];
      for (let i = 0; i < data.length; i += 4) {
        const color = data[i + 3] < 100 ? 0 : (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
        if (color !== last) runs++;
        if (color !== 0) drawn++;
        last = color;
      }
      return { runs, drawn };
    }, n);
  const open = (await lane(0)).drawn;
  for (let drawn = open; drawn <= open + 5; drawn = (await lane(0)).drawn) await page.waitForTimeout(100);
  const [, completed, failed, cancelled, lost, planned] = await Promise.all([0, 1, 2, 3, 4, 5].map(lane));
  assert.ok(completed.runs < 30, `completed is solid: ${completed.runs}`);
  assert.ok(failed.runs > 60, `failed is hatched: ${failed.runs}`);
  assert.ok(cancelled.drawn < completed.drawn / 2, `cancelled is hollow: ${cancelled.drawn}`);
  assert.ok(lost.runs > 60, `lost is dotted: ${lost.runs}`);
  assert.ok(planned.drawn < completed.drawn / 2, `planned is an outline: ${planned.drawn}`);
});

test('on a row the space bar pauses the page, as elsewhere, and opens nothing', async (t) => {
  const fake = new Fake();
  const page = await start(t, `?view=trace&trace=${TRACE}`, fake);
  await page.locator('.scrub').waitFor();
  fake.send(span(1, null));
  for (let n = 2; n < 60; n++) fake.send(span(n, 1));
  await page.waitForFunction(() => document.querySelector('[role="treegrid"]')?.ariaRowCount === '60');
  const space = async (where) => {
    await page.locator('main [data-list] [data-row]').first().focus();
    await page.keyboard.press('Space');
    await page.locator('.frame').waitFor();
    assert.equal(await page.locator('aside').count(), 0, where);
    assert.equal(await page.locator('main [data-list]').evaluate((e) => e.scrollTop), 0, where);
    await page.keyboard.press('l');
    await page.locator('.frame').waitFor({ state: 'detached' });
  };
  await space('waterfall');
  for (const tab of ['Tree', 'Flame']) {
    await page.getByRole('button', { name: tab, exact: true }).click();
    await space(tab);
  }
  await page.locator('nav').getByRole('link', { name: 'Hierarchy' }).click();
  await page.getByRole('treegrid', { name: 'Activities of all traces' }).waitFor();
  await space('hierarchy');
});

test('a trace that nobody holds says so', async (t) => {
  const page = await start(t, `?view=trace&trace=${'0'.repeat(31)}1`, new Fake());
  await page.locator('main h1').waitFor();
  await page.getByText('Neither the server nor this page has anything of this trace.').waitFor();
});

test('the overview follows the busiest trace and opens its page', async (t) => {
  const page = await start(t);
  const open = page.locator('main [data-open]');
  await open.waitFor();
  await page.locator('[role="treegrid"] [data-row]').first().waitFor();
  const panel = page.locator('main .card', { has: page.locator('[data-open]') });
  await panel.getByRole('button', { name: 'Tree' }).click();
  await panel.getByRole('columnheader', { name: 'State' }).waitFor();
  await panel.getByRole('button', { name: 'Flame' }).click();
  await panel.locator('canvas').waitFor();
  assert.match(await open.getAttribute('href'), /tab=flame/);
  await panel.getByRole('button', { name: 'Waterfall' }).click();
  await panel.locator('[role="treegrid"] [data-row]').first().waitFor();
  const href = await open.getAttribute('href');
  await open.click();
  await page.locator('[role="treegrid"] [data-row]').first().waitFor();
  assert.ok(href.endsWith(search(page)) || /^\?view=trace&trace=/.test(search(page)));
});
