// Hierarchy, Agents & threads, and the lists, as a reader uses them: some of it against a server that does
// at once what a healthy one does rarely.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, live, monitor, open } from './browser.js';
import { activity, Fake } from './fake.js';

const base = process.env.MIDSPAN_URL;
let browser;

before(async () => {
  assert.ok(base, 'set MIDSPAN_URL to the address of a server');
  browser = await launch();
});
after(() => browser?.close());

async function start(t, search, { fake = null, ...options } = {}) {
  const opened = await open(browser, options);
  t.after(async () => {
    await opened.context.close();
    assert.deepEqual(opened.complaints, []);
  });
  if (fake !== null) await fake.install(opened.page);
  await opened.page.goto(monitor(base, search));
  await opened.page.locator('.live[data-phase="live"]').waitFor();
  return opened.page;
}

const search = (page) => new URL(page.url()).search;
const idOf = (n) => activity(n).activity_id;
const ago = (ms) => new Date(Date.now() - ms).toISOString();
const begun = (ms, more = {}) => ({ planned_at: ago(ms), started_at: ago(ms), ...more });
const ended = (from, to, more = {}) => ({
  ...begun(from),
  ended_at: ago(to),
  state: 'COMPLETED',
  duration_ms: from - to,
  ...more,
});
const row = (page, n) => page.locator(`main [data-id="${idOf(n)}"]`);

test('hierarchy: a folded parent tells of the failures below it, and its children come when it is opened', async (t) => {
  const fake = new Fake();
  fake.activities = [
    activity(1, ended(60_000, 10_000, { name: 'root' })),
    activity(2, ended(50_000, 20_000, { name: 'middle', parent_id: idOf(1) })),
    activity(3, ended(40_000, 30_000, { name: 'good leaf', parent_id: idOf(2) })),
    activity(4, ended(40_000, 30_000, { name: 'bad leaf', parent_id: idOf(2), state: 'FAILED' })),
    activity(5, ended(90_000, 80_000, { name: 'older root' })),
  ];
  const page = await start(t, '?view=hierarchy', { fake });
  await row(page, 1).locator('[data-state="FAILED"]').getByText('1', { exact: true }).waitFor();
  assert.equal(await page.locator('main [data-row]').count(), 2, 'all is folded');
  assert.ok(fake.trees.some((asked) => /depth=0/.test(asked)));
  assert.ok(!fake.trees.some((asked) => /root=/.test(asked)), 'children are not asked for unasked');

  await row(page, 1).focus();
  await page.keyboard.press('ArrowRight');
  await row(page, 2).waitFor();
  assert.ok(fake.trees.some((asked) => asked.includes(`root=${idOf(1)}`)));
  assert.equal(await row(page, 1).getAttribute('aria-expanded'), 'true');
  await page.keyboard.press('ArrowRight');
  await page.waitForFunction((id) => document.activeElement.dataset.id === id, idOf(2));
  await page.keyboard.press('ArrowRight');
  await row(page, 4).waitFor();
  assert.equal(await row(page, 3).getAttribute('aria-level'), '3');
  await page.keyboard.press('ArrowLeft');
  await row(page, 4).waitFor({ state: 'detached' });
  await page.keyboard.press('ArrowLeft');
  await page.waitForFunction((id) => document.activeElement.dataset.id === id, idOf(1));
  await page.keyboard.press('End');
  await page.waitForFunction((id) => document.activeElement.dataset.id === id, idOf(5));
  await page.keyboard.press('Enter');
  await page.locator('aside h2', { hasText: 'older root' }).waitFor();
});

test('hierarchy: neither a late parent nor new roots move what the reader looks at', async (t) => {
  const fake = new Fake();
  for (let n = 1; n <= 120; n++) fake.activities.unshift(activity(n, ended(500_000 - n * 1_000, 1_000)));
  const page = await start(t, '?view=hierarchy', { fake });
  await page.locator('main [data-row]').first().waitFor();
  await page.locator('main [data-list]').evaluate((e) => (e.scrollTop = 45 * 30));
  await row(page, 70).waitFor();
  const place = () => row(page, 70).evaluate((e) => Math.round(e.getBoundingClientRect().top));
  const before = await place();
  // A child whose parent has not been seen, then a root; both above what is in sight.
  fake.send(activity(500, begun(100, { parent_id: idOf(501) })));
  fake.send(activity(600, begun(50)));
  await page.locator('button.fresh').waitFor();
  assert.equal(await place(), before);
  fake.send(activity(501, begun(900, { name: 'late parent' })));
  fake.send(activity(601, begun(10)));
  await page.locator('button.fresh', { hasText: '3' }).waitFor();
  assert.equal(await place(), before);
  await page.locator('button.fresh').click();
  await row(page, 501).locator('b', { hasText: 'late parent' }).waitFor();
  await row(page, 501).locator('button').click();
  assert.equal(await row(page, 500).getAttribute('aria-level'), '2');
});

test('hierarchy: states are live, and a search shows what matches with all above it', async (t) => {
  const fake = new Fake();
  fake.activities = [
    activity(1, begun(9_000, { name: 'root' })),
    activity(2, begun(8_000, { name: 'needle', parent_id: idOf(1) })),
    activity(3, ended(7_000, 6_000, { name: 'other' })),
  ];
  const page = await start(t, '?view=hierarchy', { fake });
  // What is live stands open.
  await row(page, 2).waitFor();
  fake.send(activity(2, ended(8_000, 0, { name: 'needle', parent_id: idOf(1), state: 'FAILED' })), 'failed');
  await page.locator(`main [data-id="${idOf(2)}"][data-state="FAILED"]`).waitFor();
  await row(page, 2).locator('.word', { hasText: 'Failed' }).waitFor();
  assert.equal(await row(page, 2).locator('use[href="#s-FAILED"]').count(), 1, 'the mark is of the state');
  await row(page, 1).locator('.count[data-state="FAILED"]').waitFor();
  await page.keyboard.press('/');
  await page.keyboard.type('needle');
  await row(page, 3).waitFor({ state: 'detached' });
  assert.equal(await page.locator('main [data-row]').count(), 2);
  assert.match(await row(page, 1).getAttribute('class'), /dim/);
  await page.getByText('1 match, with all above them').waitFor();
});

test('hierarchy of the running system: roots, their children, the number of what lies below', async (t) => {
  const page = await start(t, '?view=hierarchy');
  await live(page);
  const closed = page.locator('main [data-row][aria-expanded="false"][data-state="COMPLETED"]').first();
  const id = await closed.getAttribute('data-id');
  await page.locator(`main [data-id="${id}"]`).focus();
  await page.keyboard.press('ArrowRight');
  await page.locator(`main [data-id="${id}"][aria-expanded="true"]`).waitFor();
  const tree = await (await page.request.get(new URL(`/activity/tree?root=${id}&depth=1`, base).href)).json();
  const [root] = tree.roots;
  for (const child of root.children.slice(0, 5)) {
    await page.locator(`main [data-id="${child.activity_id}"][aria-level="2"]`).waitFor();
  }
});

test('feed and completions: only what is whole, and more of it as the reader gets there', async (t) => {
  const fake = new Fake();
  fake.page = 100;
  // Every tenth failed: failures are asked for further back than the rest.
  for (let n = 1; n <= 350; n++) {
    const more = { name: `work ${n}`, agent: 'atlas', state: n % 10 === 0 ? 'FAILED' : 'COMPLETED' };
    fake.activities.push(activity(n, ended(n * 1_000, n * 1_000 - 100, more)));
  }
  const page = await start(t, '?view=feed', { fake });
  const count = (n) => page.locator(`main li[aria-setsize="${n}"]`).first().waitFor();
  const down = () => page.locator('main [data-list]').evaluate((e) => (e.scrollTop = e.scrollHeight));
  const place = (n) => page.locator(`main li[aria-posinset="${n}"]`).getByText(`work ${n}`, { exact: true });
  await count(100);
  await place(1).waitFor();
  // What is in flight is there whenever it began.
  fake.send(activity(999, begun(1_000_000, { name: 'old and open' })));
  await count(101);
  await down();
  await count(200);
  await place(100).waitFor();
  for (let n = 250; n <= 350; n += 100) {
    await down();
    await page.waitForFunction((n) => {
      const size = document.querySelector('main li[aria-setsize]')?.getAttribute('aria-setsize');
      return Number(size) >= n;
    }, n);
  }
  await down();
  await place(350).waitFor();

  await page.goto(monitor(base, '?view=completions'));
  await count(100);
  await page.locator('main li[aria-posinset="100"], main [data-list]').first().waitFor();
  await down();
  await count(200);
  // A chip filters it as it does the feed.
  await page.goto(monitor(base, '?view=completions&state=failed'));
  await page.getByText('No completion matches the search.').waitFor();
  assert.equal(await page.locator('main [data-row]').count(), 0);
});

test('agents: what each does now, its bars, and idle as idle', async (t) => {
  const fake = new Fake();
  fake.activities = [
    activity(
      1,
      begun(4_000, { name: 'long work', agent: 'atlas', usual_ms: 1_000, what_its_doing: 'reading' }),
    ),
    activity(2, ended(20_000, 10_000, { name: 'past', agent: 'borealis' })),
    activity(3, ended(9_000, 8_000, { name: 'broken', agent: 'borealis', state: 'FAILED' })),
    activity(4, begun(3_000, { name: 'in a thread', thread_id: 'run-7', thread_name: 'worker 7' })),
  ];
  const page = await start(t, '?view=agents', { fake });
  const lane = (name) => page.locator('main li').filter({ has: page.getByText(name, { exact: true }) });
  await lane('atlas').getByText('long work').waitFor();
  await lane('atlas')
    .getByText(/times the usual 1/)
    .waitFor();
  await lane('borealis')
    .getByText(/^idle for/)
    .waitFor();
  await lane('borealis').locator('path[data-bar="FAILED"]').waitFor({ state: 'attached' });
  const bar = lane('atlas').locator('path[data-bar="IN_PROGRESS"]');
  const drawn = await bar.getAttribute('d');
  await page.waitForFunction(
    (was) => document.querySelector('path[data-bar="IN_PROGRESS"]').getAttribute('d') !== was,
    drawn,
  );

  // A click on a bar opens what it stands for.
  const box = await lane('atlas').locator('[data-lane]').boundingBox();
  await page.mouse.click(box.x + box.width - 4, box.y + 9);
  await page.locator('aside h2', { hasText: 'long work' }).waitFor();
  await page.keyboard.press('Escape');

  fake.send(activity(1, ended(4_000, 0, { name: 'long work', agent: 'atlas' })), 'completed');
  await page.mouse.move(5, 5);
  await lane('atlas')
    .getByText(/^idle for/)
    .waitFor();

  await page.getByRole('button', { name: 'Threads' }).click();
  await lane('worker 7').getByText('in a thread').waitFor();
  assert.equal(await page.getByText('borealis').count(), 0);
  await lane('worker 7').locator('a.who').click();
  await page.waitForFunction(() => location.search.includes('view=feed'));
  assert.equal(new URLSearchParams(search(page)).get('q'), 'thread:run-7');
  await page.locator('main [data-row]', { hasText: 'in a thread' }).waitFor();
});

test('agents: what the page does not hold of the time shown is hatched', async (t) => {
  const fake = new Fake();
  fake.page = 5;
  // One a second, the newest first: eleven pages hold the last 55 of them, of the last page there is no end.
  for (let n = 1; n <= 200; n++) {
    fake.activities.push(
      activity(n, ended(n * 1_000, n * 1_000 - 100, { name: `work ${n}`, agent: 'atlas' })),
    );
  }
  const page = await start(t, '?view=agents', { fake });
  const lane = page.locator('[data-lane="agent:atlas"]');
  await lane.waitFor();
  // All but the last 55 s.
  await page.waitForFunction(() => {
    const unknown = document.querySelector('[data-lane] .unknown');
    return Math.abs((unknown?.clientWidth ?? 0) / unknown?.parentElement.clientWidth - 65 / 120) < 0.05;
  });
  await page.getByText(/hatched: not all is shown of what began before \d/).waitFor();
  await page.getByRole('button', { name: '30 s' }).click();
  await lane.locator('.unknown').waitFor({ state: 'detached' });
  assert.equal(await page.getByText(/hatched:/).count(), 0);
});

test('agents of the running system have lanes, on the overview and in the view', async (t) => {
  const page = await start(t, '?view=agents');
  await live(page);
  const { activities } = await (await page.request.get(new URL('/activity/all?limit=300', base).href)).json();
  const agents = new Set(activities.map((a) => a.agent).filter((agent) => agent !== null));
  assert.ok(agents.size > 0, 'the system has agents');
  for (const agent of agents) await page.locator(`[data-lane="agent:${agent}"]`).waitFor();
  await page.locator('path[data-bar]').first().waitFor({ state: 'attached' });
  await page.keyboard.press('g');
  await page.keyboard.press('o');
  const [agent] = agents;
  await page
    .getByRole('list', { name: /^Agents,/ })
    .getByText(agent, { exact: true })
    .waitFor();
});

test('on a phone the views beyond the tabs stand behind the last', async (t) => {
  const page = await start(t, '', { width: 390, height: 844, hasTouch: true });
  const more = page.locator('nav').getByRole('button', { name: 'More', exact: true });
  await more.tap();
  await page.getByRole('link', { name: 'Agents & threads', exact: true }).tap();
  assert.equal(search(page), '?view=agents');
  await page.locator('.more').waitFor({ state: 'hidden' });
  await more.tap();
  await page.keyboard.press('Escape');
  await page.locator('.more').waitFor({ state: 'hidden' });
  // What the side has beside the views.
  await more.tap();
  await page.getByRole('button', { name: 'Tell me of failures: off' }).waitFor();
  await page.getByRole('button', { name: 'Rename Gone silent' }).tap();
  await page.getByLabel('Name of the view').fill('Silent');
  await page.keyboard.press('Enter');
  await page.locator('.more').getByRole('link', { name: 'Silent' }).tap();
  await page.locator('.more').waitFor({ state: 'hidden' });
  assert.equal(search(page), '?view=feed&q=stalled:true');
});

test('on the smallest phone nothing is out of reach', async (t) => {
  const fake = new Fake();
  const failed = { state: 'FAILED', parent_id: idOf(1), trace_url: `${base}trace` };
  const error = { message: 'the disk is full' };
  fake.activities = [activity(1, begun(9_000))];
  for (let n = 2; n < 40; n++) fake.activities.push(activity(n, ended(8_000, n * 10, { ...failed, error })));
  const page = await start(t, '?view=attention', { width: 320, height: 700, fake });
  await page.locator('main [data-row] .what', { hasText: error.message }).waitFor();
  await page.getByRole('button', { name: 'Replay speed 1×' }).click();
  const right = await page.locator('.dock .clock').evaluate((e) => e.getBoundingClientRect().right);
  assert.ok(right <= 320, `the dock ends at ${right}`);
  for (const tab of ['waterfall', 'tree', 'flame']) {
    await page.goto(monitor(base, `?view=trace&trace=${'a'.repeat(32)}&tab=${tab}`));
    await live(page);
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
    const [rows, cut, foot, dock] = await page.evaluate(() => {
      const card = document.querySelector('main .card');
      const bottom = (e) => e.getBoundingClientRect();
      return [
        document.querySelector('main [data-list]').clientHeight / 44,
        card.scrollHeight - card.clientHeight,
        bottom(card).bottom,
        bottom(document.querySelector('.dock')).top,
      ];
    });
    assert.ok(rows >= 8, `${tab}: ${rows} rows`);
    assert.ok(cut <= 1, `${tab}: ${cut} pixels of the card are cut`);
    assert.ok(foot <= dock, `${tab}: the card ends at ${foot}, under the dock at ${dock}`);
  }
  await page.goto(monitor(base, `?view=feed&sel=${idOf(5)}`));
  const link = await page.locator('aside [data-jaeger]').boundingBox();
  assert.ok(link.x >= 0 && link.x + link.width <= 320, `the link ends at ${link.x + link.width}`);
});

test('decisions: what was chosen, why, how it turned out, and what it led to', async (t) => {
  const fake = new Fake();
  const parent = { parent_id: idOf(1) };
  const chosen = {
    type: 'decision',
    decision: { choice: 'canary', confidence: 0.8, reasoning: 'few errors', alternatives: ['canary', 'all'] },
  };
  fake.activities = [
    activity(1, begun(60_000, { name: 'deploy' })),
    activity(2, ended(50_000, 40_000, { name: 'choose strategy', ...parent, ...chosen })),
    activity(3, ended(30_000, 20_000, { name: 'roll out', ...parent })),
    activity(4, begun(10_000, { name: 'watch', ...parent })),
    activity(5, begun(1_000, { name: 'next choice', ...parent, type: 'decision' })),
  ];
  let answer = () => {};
  const asked = new Promise((done) => (answer = done));
  const opened = await open(browser);
  t.after(() => opened.context.close());
  const { page } = opened;
  await fake.install(page);
  await page.route('**/activity/tree?trace=**', async (route) => {
    await asked;
    await route.fallback();
  });
  await page.goto(monitor(base, '?view=decisions'));
  await page.locator(`[data-then="${idOf(2)}"]`, { hasText: /chose canary\s*then\s*Loading…/ }).waitFor();
  answer();
  const then = page.locator(`[data-then="${idOf(2)}"]`);
  await then.getByText('In progress').first().waitFor();
  await then.getByText('roll out').waitFor();
  await page.locator(`[data-then="${idOf(5)}"]`, { hasText: 'Nothing followed yet.' }).waitFor();
  await page.locator('main [data-row]', { hasText: 'choose strategy' }).click();
  const mark = await then.evaluate((e) => {
    const cell = e.parentElement;
    return { of: getComputedStyle(cell).backgroundImage, covers: cell.contains(e) };
  });
  assert.match(mark.of, /gradient/, 'the chosen row is marked to its end');
  await page.keyboard.press('Escape');
  fake.send(activity(4, ended(10_000, 0, { name: 'watch', ...parent, state: 'FAILED' })), 'failed');
  await then.locator('.word[data-state="FAILED"]').waitFor();
  await then.getByText('watch').click();
  await page.locator('aside h2', { hasText: 'watch' }).waitFor();
});

test('failures: on a phone the list and the detail are one page that scrolls', async (t) => {
  const fake = new Fake();
  const error = (n) => ({ type: 'io', message: `disk ${'abcdefghijklmnop'[n]} is full`, stack: null });
  fake.activities = Array.from({ length: 16 }, (_, n) =>
    activity(n + 1, ended(60_000, 50_000 + n, { state: 'FAILED', error: error(n) })),
  );
  const page = await start(t, '?view=failures', { fake, width: 390, height: 844, hasTouch: true });
  const last = page.locator('main [data-row]', { hasText: 'disk p is full' });
  await last.waitFor();
  const inner = await page
    .locator('main *')
    .evaluateAll(
      (all) =>
        all.filter(
          (e) => e.scrollHeight > e.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(e).overflowY),
        ).length,
    );
  assert.equal(inner, 0, 'nothing scrolls within the page');
  assert.ok(await page.evaluate(() => document.documentElement.scrollHeight > 2 * innerHeight));
  await page.locator('main [data-row]', { hasText: 'disk c is full' }).tap();
  const detail = page.getByRole('group', { name: 'The chosen group of failures' });
  await detail.getByText('disk c is full').waitFor();
  const top = () => detail.evaluate((e) => e.getBoundingClientRect().top);
  assert.ok((await top()) > 0 && (await top()) < 500, 'the chosen group comes into sight');
});

test('failures: a group shows its stack, when it was first and last seen, and each of it', async (t) => {
  const fake = new Fake();
  const bad = (n, from, message, stack = null) =>
    activity(n, ended(from, from - 1_000, { state: 'FAILED', error: { type: 'io', message, stack } }));
  fake.activities = [
    bad(1, 90_000, 'shard 1 is full', 'at write (disk.go:7)'),
    bad(2, 60_000, 'shard 2 is full', 'at write (disk.go:9)'),
    bad(3, 5_000, 'timed out'),
  ];
  const page = await start(t, '?view=failures', { fake });
  await page.locator('main [data-row]', { hasText: 'timed out' }).waitFor();
  await page.getByText('No stack recorded.').waitFor();
  await page.locator('main [data-row]', { hasText: 'shard 2 is full' }).click();
  await page.locator('[data-stack]', { hasText: 'disk.go:9' }).waitFor();
  const detail = page.getByRole('group', { name: 'The chosen group of failures' });
  await detail.getByText('2 times').waitFor();
  assert.equal(await detail.locator('[data-row]').count(), 2);
  await detail.locator('[data-row]').first().click();
  await page.locator('aside p', { hasText: 'shard 2 is full' }).waitFor();
});

test('overview: what is in flight stays in sight, and counts follow the search', async (t) => {
  const fake = new Fake();
  fake.activities = [activity(1, begun(30_000, { name: 'long haul' }))];
  fake.statistics = (params) => ({ total: params.has('q') ? 7 : 99, active: 1 });
  const page = await start(t, '', { fake });
  const pinned = page.locator('[data-flight] [data-row]', { hasText: 'long haul' });
  await pinned.waitFor();
  for (let n = 10; n < 60; n++) fake.send(activity(n, ended(10, 5, { name: `statement ${n}` })), 'completed');
  await page.locator('.feed [data-list] [data-row]', { hasText: 'statement 59' }).waitFor();
  await pinned.waitFor();
  await page.locator('.chip.all b', { hasText: '99' }).waitFor();
  await page.locator('[data-search]').fill('statement');
  await page.locator('.chip.all b', { hasText: '7' }).waitFor();
  await pinned.waitFor({ state: 'detached' });
  await page.locator('[data-search]').fill('');
  await page.locator('.chip.all b', { hasText: '99' }).waitFor();
});

test('the drawer: what was planned, history, links, attributes to be searched and copied', async (t) => {
  const fake = new Fake();
  const attributes = Object.fromEntries([...'abcdefgh'].map((key, i) => [`key.${key}`, `value ${i}`]));
  fake.activities = [
    activity(
      1,
      ended(9_000, 8_000, { name: 'never planned', attributes, links: [{ activity_id: idOf(2) }] }),
    ),
    activity(2, ended(9_000, 8_000, { name: 'linked', wait_ms: 5, result: { done: [1, 2] } })),
  ];
  const page = await start(t, `?view=feed&sel=${idOf(1)}`, {
    fake,
    permissions: ['clipboard-write', 'clipboard-read'],
  });
  const aside = page.locator('aside');
  await aside.getByText('key.h').waitFor();
  assert.equal(await aside.locator('dt', { hasText: /^Planned$/ }).count(), 0);
  await aside.locator('[data-attributes]').fill('VALUE 3');
  await aside.getByText('key.h').waitFor({ state: 'detached' });
  await aside.getByRole('button', { name: 'Copy the value of key.d' }).click();
  await page.getByText('Value copied.').waitFor();
  await aside.locator('[data-links] a', { hasText: 'linked' }).click();
  await aside.locator('h2', { hasText: 'linked' }).waitFor();
  await aside.locator('dt', { hasText: /^Planned$/ }).waitFor();
  assert.match(await aside.locator('pre').innerText(), /"done": \[\n\s+1,/);
});
