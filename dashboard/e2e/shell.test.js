// What stands around the views: search and its completion, commands, attention, saved views, notifications,
// export.
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

/** A page on the demo, or with `fake` on a server of intercepted requests. */
async function start(t, { search = '', fake, prepare, init, ...options } = {}) {
  const { context, page, complaints } = await open(browser, options);
  if (init !== undefined) await page.addInitScript(init);
  prepare?.(fake);
  await fake?.install(page);
  t.after(async () => {
    // What the closing breaks off is no complaint of the page.
    const said = [...complaints];
    await context.close();
    assert.deepEqual(said, []);
  });
  await page.goto(monitor(base, search));
  if (fake === undefined) await live(page);
  else await page.locator('.live[data-phase="live"]').waitFor();
  return page;
}

const search = (page) => new URL(page.url()).searchParams;
const box = (page) => page.locator('[data-search]');
const option = (page, name) => page.getByRole('option', { name, exact: true });
const ago = (seconds) => new Date(Date.now() - seconds * 1_000).toISOString();

/** Opens the commands; what does so is loaded after the first paint. */
async function palette(page) {
  await page.keyboard.press('Control+k');
  await page.getByRole('combobox', { name: /find by name or id/ }).waitFor();
}

test('the search is completed by the keyboard, and an unknown key is told', async (t) => {
  const fake = new Fake();
  const page = await start(t, { fake, search: '?view=feed' });
  fake.send(activity(1, { agent: 'atlas', attributes: { 'order.id': 17 } }));
  fake.send(activity(2, { agent: 'harbor master' }));
  await page.getByText('work 2').first().waitFor();
  await page.locator('nav section').first().waitFor();

  await page.keyboard.press('/');
  await page.keyboard.type('ag');
  await option(page, 'agent: its own or its nearest ancestor’s').waitFor();
  assert.equal(await box(page).getAttribute('aria-expanded'), 'true');
  await page.keyboard.press('ArrowDown');
  const active = await box(page).getAttribute('aria-activedescendant');
  assert.equal(await page.locator(`#${active}`).getAttribute('aria-selected'), 'true');
  await page.keyboard.press('Enter');
  assert.equal(await box(page).inputValue(), 'agent:');
  await option(page, 'agent:"harbor master"').waitFor();
  await page.keyboard.type('h');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Tab');
  assert.equal(search(page).get('q'), 'agent:"harbor master"');
  await page.getByText('work 1', { exact: true }).first().waitFor({ state: 'detached' });
  await page.getByText('work 2').first().waitFor();

  await box(page).fill('attr.ord');
  await option(page, 'attr.order.id:').click();
  await option(page, 'attr.order.id:17').click();
  assert.equal(search(page).get('q'), 'attr.order.id:17');
  await page.getByText('work 2', { exact: true }).first().waitFor({ state: 'detached' });
  await page.getByText('work 1').first().waitFor();

  await box(page).fill('colour:red');
  await page.getByText('There is no filter “colour:”').waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  assert.equal(search(page).get('q'), null);
});

test('the same search finds the same here and by the API', async (t) => {
  const page = await start(t, { search: '?view=feed' });
  for (const q of [
    'type:decision state:completed',
    'duration>1s state:completed',
    'state:failed',
    'agent:planner',
  ]) {
    await box(page).fill(q);
    const shown = page.locator('main section .sub').first();
    await shown.filter({ hasText: /on the server$/ }).waitFor();
    const rows = page.locator('main [data-row] [data-state]');
    if (q.includes('state:')) {
      const state = /state:(\w+)/.exec(q)[1].toUpperCase();
      await page.waitForFunction((wanted) => {
        const all = [...document.querySelectorAll('main [data-row] .row[data-state]')];
        return all.length > 0 && all.every((e) => e.dataset.state === wanted);
      }, state);
    } else {
      await rows.first().waitFor();
    }
    // Every row in sight is one that the API selects too.
    const ids = await page
      .locator('main [data-row]')
      .evaluateAll((all) => all.map((e) => new URL(e.href).searchParams.get('sel')));
    const params = { 'duration>1s state:completed': 'min_duration=1s&state=completed' }[q];
    const query = params ?? q.replaceAll(':', '=').replaceAll(' ', '&');
    const { activities } = await (
      await page.request.get(new URL(`/activity/all?${query}&limit=1000`, base).href)
    ).json();
    const known = new Set(activities.map((a) => a.activity_id));
    assert.ok(ids.length > 0 && ids.every((id) => known.has(id)), q);
  }
});

test('a search that the server refuses is told', async (t) => {
  const words = Array.from({ length: 33 }, (_, i) => `w${i}`).join(' ');
  const { context, page } = await open(browser, {});
  t.after(() => context.close());
  await page.goto(monitor(base, `?q=${encodeURIComponent(words)}`));
  await page.getByText('The server refuses this search').waitFor();
});

test('commands: views, states, theme, hold, an id, export', async (t) => {
  const page = await start(t);
  const { keyboard } = page;
  await palette(page);
  await keyboard.type('decis');
  await keyboard.press('Enter');
  await page.waitForFunction(() => location.search === '?view=decisions');

  await palette(page);
  await keyboard.type('only failed');
  await keyboard.press('Enter');
  await page.waitForFunction(() => location.search === '?view=decisions&state=failed');
  await palette(page);
  await keyboard.type('clear');
  await keyboard.press('Enter');
  await page.waitForFunction(() => location.search === '?view=decisions');

  await palette(page);
  await keyboard.type('theme light');
  await keyboard.press('Enter');
  await page.locator('html[data-theme="light"]').waitFor();
  await palette(page);
  await keyboard.type('hold');
  await keyboard.press('Enter');
  await page.locator('.live[data-held="true"]').waitFor();
  await palette(page);
  await keyboard.type('release');
  await keyboard.press('Enter');
  await page.locator('.live[data-held="false"]').waitFor();

  await palette(page);
  await keyboard.press('ArrowUp');
  assert.equal(await page.locator('dialog [aria-selected="true"]').count(), 1);
  await keyboard.press('Escape');
  await page.locator('dialog[open]').waitFor({ state: 'detached' });
  assert.equal(search(page).get('view'), 'decisions', 'Escape does nothing else');

  const { activities } = await (await page.request.get(new URL('/activity/all?limit=1', base).href)).json();
  await palette(page);
  await keyboard.type(activities[0].activity_id);
  await page.locator('dialog[open]').getByRole('option').first().waitFor();
  await keyboard.press('Enter');
  await page.locator('aside h3').first().waitFor();
  assert.equal(search(page).get('sel'), activities[0].activity_id);
  await palette(page);
  await keyboard.type(activities[0].trace_id);
  await keyboard.press('Enter');
  await page.locator('[role="treegrid"]').first().waitFor();
  assert.equal(search(page).get('trace'), activities[0].trace_id);

  await palette(page);
  await keyboard.type('export csv');
  const download = page.waitForEvent('download');
  await keyboard.press('Enter');
  assert.match((await download).suggestedFilename(), /\.csv$/);
});

test('the commands stand open when they are asked for as they close', async (t) => {
  const page = await start(t);
  await palette(page);
  await page.keyboard.type('hold');
  // Both keys in one task, so that the dialog's close event comes after the second.
  await page.evaluate(async () => {
    const press = (key, ctrlKey) =>
      document.activeElement.dispatchEvent(
        new KeyboardEvent('keydown', { key, ctrlKey, bubbles: true, cancelable: true }),
      );
    press('Enter', false);
    for (let i = 0; i < 50; i++) await Promise.resolve();
    if (document.querySelector('dialog[open]') !== null) throw new Error('Enter closed nothing');
    press('k', true);
  });
  await page.locator('.live[data-held="true"]').waitFor();
  await page.evaluate(() => new Promise((done) => setTimeout(done, 200)));
  await page.getByRole('combobox', { name: /find by name or id/ }).waitFor({ timeout: 2_000 });
});

test('an agent and a thread are chosen from menus, by pointer and by keys', async (t) => {
  const fake = new Fake();
  const page = await start(t, { fake, search: '?view=feed&q=work&thread=t-2' });
  fake.send(activity(1, { name: 'work one', agent: 'harbor master', thread_id: 't-1' }));
  fake.send(activity(2, { name: 'work two', agent: 'atlas', thread_id: 't-2', thread_name: 'worker-2' }));
  const agents = page.getByRole('group', { name: 'Agents' });
  const threads = page.getByRole('group', { name: 'Threads' });
  await page.locator('main [data-row]', { hasText: 'work two' }).waitFor();
  assert.equal(await page.locator('main [data-row]').count(), 1, 'a thread of the address filters');
  await page.getByRole('button', { name: 't-2', exact: true }).click();
  assert.match(await threads.locator('[aria-pressed="true"]').innerText(), /worker-2[^]*t-2[^]*1 open/);
  await threads.getByRole('button', { name: 'Any thread' }).click();
  await page.locator('main [data-row]', { hasText: 'work one' }).waitFor();
  assert.equal(search(page).get('q'), 'work');

  const button = page.getByRole('button', { name: 'Any agent' });
  await button.focus();
  await page.keyboard.press('Enter');
  await agents.waitFor();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowDown');
  const chosen = await page.evaluate(() => document.activeElement.textContent.trim());
  await page.keyboard.press('Enter');
  await agents.waitFor({ state: 'detached' });
  const name = chosen.startsWith('atlas') ? 'atlas' : '"harbor master"';
  assert.equal(search(page).get('q'), `work agent:${name}`);
  await page.waitForFunction(() => document.querySelectorAll('main [data-row]').length === 1);
  await page.keyboard.press('Enter');
  await agents.waitFor();
  await page.keyboard.press('Escape');
  await agents.waitFor({ state: 'detached' });
});

test('the export holds what the view shows', async (t) => {
  const page = await start(t, { search: '?view=completions&q=type:decision' });
  const button = page.getByRole('button', { name: 'Export' });
  await button.click();
  const link = page.getByRole('link', { name: /^NDJSON/ });
  assert.equal(
    await link.getAttribute('href'),
    '/activity/export?type=decision&state=COMPLETED&format=ndjson',
  );
  const started = page.waitForEvent('download');
  await link.click();
  const stream = await (await started).createReadStream();
  let text = '';
  for await (const chunk of stream) text += chunk;
  const lines = text.trim().split('\n').map(JSON.parse);
  assert.ok(lines.length > 0);
  assert.ok(lines.every((a) => a.type === 'decision' && a.state === 'COMPLETED'));
  await button.click();
  await page.keyboard.press('Escape');
  assert.equal(await button.getAttribute('aria-expanded'), 'false');
});

test('attention judges what failed, was lost, is silent, is slow', async (t) => {
  const fake = new Fake();
  const page = await start(t, { fake });
  const side = page.locator('nav section').first();
  await side.getByText('Nothing needs attention.').waitFor();
  fake.send(activity(1, { name: 'quick', started_at: ago(3), usual_ms: 2_900 }));
  fake.send(activity(2, { name: 'tardy', started_at: ago(42), usual_ms: 3_000 }));
  fake.send(activity(3, { name: 'silent', stalled: true, last_seen_at: ago(20) }));
  fake.send(
    activity(4, { name: 'gone', state: 'LOST', service: 'gale', ended_at: ago(1), last_seen_at: ago(9) }),
    'lost',
  );
  for (const n of [5, 6]) {
    const error = { type: 'E', message: `disk ${n} full`, stack: null };
    fake.send(activity(n, { name: 'broken', state: 'FAILED', ended_at: ago(2), error }), 'failed');
  }
  await side.getByRole('link', { name: /broken/ }).waitFor();
  // One of each kind before a second of any.
  for (const name of ['gone', 'silent']) await side.getByText(name, { exact: true }).waitFor();
  await side.getByRole('link', { name: /^Attention/ }).click();
  await page.getByRole('heading', { name: 'Attention', level: 1 }).waitFor();
  const rows = page.locator('main [data-row]');
  await page.waitForFunction(() => document.querySelectorAll('main [data-row]').length === 4);
  assert.match(await rows.nth(0).innerText(), /Failed[^]*broken[^]*2 failed in 5 min, last/);
  assert.match(await rows.nth(1).innerText(), /Lost[^]*gone[^]*lost, last sign of life/);
  assert.match(await rows.nth(2).innerText(), /Stalled[^]*silent[^]*silent for \d+/);
  assert.match(await rows.nth(3).innerText(), /Slow[^]*tardy[^]*open \d.*, usually 3.00/);
  await page.getByText('How this is judged').click();
  await page.getByText(/median of the last 64/).waitFor();
  await rows.nth(3).click();
  await page.locator('aside h2', { hasText: 'tardy' }).waitFor();
});

test('a browser that has saved no view begins with some, each with what it finds now', async (t) => {
  const fake = new Fake();
  fake.activities = [1, 2, 3].map((n) => activity(n));
  const page = await start(t, { fake });
  const side = page.getByRole('region', { name: 'Saved views' });
  const first = side.getByRole('listitem').filter({ hasText: 'Slower than 1 s' });
  await first.getByText('3', { exact: true }).waitFor();
  await first.getByRole('link').click();
  assert.equal(search(page).get('q'), 'duration>1s');
  await first.hover();
  await page.getByRole('button', { name: 'Delete Slower than 1 s' }).click();
  await page.reload();
  await side.getByRole('link', { name: 'Gone silent' }).waitFor();
  assert.equal(await first.count(), 0);
});

test('saved views are kept, renamed, deleted, and survive what is wrong in the storage', async (t) => {
  const page = await start(t, {
    search: '?view=feed&state=failed',
    init: () => {
      if (localStorage.getItem('midspan.views') === null) localStorage.setItem('midspan.views', '{broken');
    },
  });
  await page.getByRole('button', { name: 'Save this view' }).click();
  await page.getByLabel('Name of the view').fill('What broke');
  await page.keyboard.press('Enter');
  const link = page.getByRole('link', { name: 'What broke' });
  await link.waitFor();
  assert.equal(await link.getAttribute('aria-current'), 'page');
  await page.goto(monitor(base));
  await link.click();
  assert.equal(new URL(page.url()).search, '?view=feed&state=failed');

  await link.hover();
  await page.getByRole('button', { name: 'Rename What broke' }).click();
  await page.getByLabel('Name of the view').fill('Broken');
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'Broken' }).hover();
  await page.getByRole('button', { name: 'Delete Broken' }).click();
  await page.getByText('A view with its filters can be kept here.').waitFor();
});

const notifier = (permission) => `
  window.told = [];
  window.Notification = class {
    static permission = '${permission}';
    static requestPermission() { return Promise.resolve(this.permission); }
    constructor(title, options) { window.told.push([title, options.body]); }
    close() {}
  };
  window.away = false;
  Document.prototype.hasFocus = () => !window.away;
`;

test('failures are told when asked to, once in ten seconds, and counted in the title', async (t) => {
  const fake = new Fake();
  const page = await start(t, { fake, init: notifier('granted') });
  const fail = (n) => {
    fake.send(activity(n));
    fake.send(activity(n, { state: 'FAILED', ended_at: ago(0) }), 'failed');
  };
  await page.locator('nav section').first().waitFor();
  await page.evaluate(() => (window.away = true));
  fail(1);
  await page.getByText('Failed').first().waitFor();
  assert.deepEqual(await page.evaluate(() => window.told), [], 'nobody asked');
  await page.evaluate(() => (window.away = false));

  const bell = page.getByRole('button', { name: /^Tell me of failures/ });
  await bell.click();
  await page.getByRole('button', { name: 'Tell me of failures: on' }).waitFor();
  await page.evaluate(() => (window.away = true));
  for (const n of [2, 3, 4]) fail(n);
  await page.waitForFunction(() => document.title === `(3) Monitor · Midspan ${location.host}`);
  assert.deepEqual(await page.evaluate(() => window.told), [['work 2 failed', new URL(base).host]]);
  await page.evaluate(() => {
    window.away = false;
    dispatchEvent(new Event('focus'));
  });
  await page.waitForFunction(() => document.title === `Monitor · Midspan ${location.host}`);
});

test('a browser that blocks notifications is told of, and the title still counts', async (t) => {
  const fake = new Fake();
  const page = await start(t, { fake, init: notifier('denied') });
  await page.getByRole('button', { name: /^Tell me of failures/ }).click();
  await page.getByText('The browser blocks notifications of this page').waitFor();
  await page.getByRole('button', { name: /blocked by the browser/ }).waitFor();
  await page.evaluate(() => (window.away = true));
  fake.send(activity(1));
  fake.send(activity(1, { state: 'FAILED', ended_at: ago(0) }), 'failed');
  await page.waitForFunction(() => document.title.startsWith('(1) '));
  assert.deepEqual(await page.evaluate(() => window.told), []);
});

test('the keyboard alone walks from a search to a trace, a drawer, and back', async (t) => {
  const page = await start(t);
  const { keyboard } = page;
  await keyboard.press('g');
  await keyboard.press('t');
  await page.getByRole('heading', { name: 'Traces', level: 1 }).waitFor();
  await page.locator('main [data-row]').first().waitFor();
  await keyboard.press('/');
  await keyboard.type('all');
  await page.waitForFunction(() => {
    const rows = [...document.querySelectorAll('main [data-row]')];
    return rows.length > 0 && rows.every((r) => /all/i.test(r.textContent));
  });
  await keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement.matches('main [data-row]'));
  await keyboard.press('Enter');
  await page.locator('[role="treegrid"] [role="row"]').nth(1).waitFor();
  assert.equal(search(page).get('view'), 'trace');
  await keyboard.press('j');
  await keyboard.press('Enter');
  await page.locator('aside h3').first().waitFor();
  const selected = search(page).get('sel');
  assert.ok(selected);
  await keyboard.press('Escape');
  await page.locator('aside').waitFor({ state: 'detached' });
  await page.goBack();
  await page.locator('aside h3').first().waitFor();
  assert.equal(search(page).get('sel'), selected);
  await keyboard.press('Escape');
  for (let i = 0; i < 4 && search(page).get('view') === 'trace'; i++) await keyboard.press('Escape');
  assert.equal(search(page).get('view'), 'traces');
  assert.equal(search(page).get('q'), 'all', 'the search is still there');
});

test('single keys can be switched off, and the list names them all', async (t) => {
  const page = await start(t);
  await page.locator('nav section').first().waitFor();
  await page.keyboard.press('?');
  const dialog = page.locator('dialog[open]');
  for (const key of ['/', 'Ctrl K, ⌘K', 'H', 'L', 'J K', 'Enter', 'E', '1 – 6', 'C', 'O', 'T', 'Esc', '?'])
    assert.equal(await dialog.locator('kbd').getByText(key, { exact: true }).count(), 1, key);
  await dialog.getByLabel('Single-key shortcuts').uncheck();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  await page.keyboard.press('h');
  await page.keyboard.press('4');
  assert.equal(await page.locator('.live').getAttribute('data-held'), 'false');
  assert.equal(new URL(page.url()).search, '');
  await palette(page);
  await page.keyboard.press('Escape');
});

test('what is not there is said: no Jaeger, older activities gone', async (t) => {
  const fake = new Fake();
  fake.stats = () => ({
    ...Fake.prototype.stats.call(fake),
    evicted: 4_000,
    held: { finished: 1_000, in_flight: 0 },
  });
  const page = await start(t, { fake, search: '?view=feed', prepare: (f) => f.activities.push(activity(1)) });
  await page.getByText('No Jaeger configured').waitFor();
  await page.getByText('the server keeps the last 1,000, 4,000 older ones are gone').waitFor();
});

test('on paper there is ink on white, and no more of the frame', async (t) => {
  for (const view of ['overview', 'feed']) {
    const page = await start(t, { search: `?view=${view}&theme=dark` });
    await page.emulateMedia({ media: 'print' });
    const scheme = await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
    assert.equal(scheme, 'light');
    for (const part of ['.side', 'search', '.btn'])
      assert.equal(await page.locator(part).filter({ visible: true }).count(), 0, part);
    assert.ok(await page.locator('main [data-row]').first().isVisible());
    const tall = await page.evaluate(() => document.documentElement.scrollHeight);
    assert.ok(tall < 4_000, `${view} is ${tall} px long`);
  }
});

test('a wide screen is filled', async (t) => {
  const page = await start(t, { width: 3840, height: 2160 });
  const { right, bottom } = await page.locator('main').evaluate((e) => e.getBoundingClientRect());
  assert.ok(right > 3_800 && bottom > 2_000, `${right} × ${bottom}`);
  const rows = await page.locator('.feed [data-row]').count();
  assert.ok(rows > 15, `${rows} rows of the feed`);
});
