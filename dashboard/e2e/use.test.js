// The page as a reader uses it, against a running server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, live, monitor, open } from './browser.js';

const base = process.env.MIDSPAN_URL;
let browser;

before(async () => {
  assert.ok(base, 'set MIDSPAN_URL to the address of a server');
  browser = await launch();
});
after(() => browser?.close());

async function start(t, search = '', options = {}) {
  const opened = await open(browser, options);
  t.after(async () => {
    await opened.context.close();
    assert.deepEqual(opened.complaints, []);
  });
  await opened.page.goto(monitor(base, search));
  await live(opened.page);
  return opened.page;
}

const search = (page) => new URL(page.url()).search;
const number = async (locator) => Number((await locator.innerText()).replace(/\D/g, ''));

test('what happens appears, in seconds, without a reload', async (t) => {
  const page = await start(t);
  const all = page.locator('.chip.all b');
  await page.waitForFunction(() => /\d/.test(document.querySelector('.chip.all b').textContent));
  const before = await number(all);
  const top = await page.locator('.feed [data-list] [data-row]').first().getAttribute('href');
  await page.waitForFunction(
    (n) => Number(document.querySelector('.chip.all b').textContent.replace(/\D/g, '')) > n,
    before,
  );
  await page.waitForFunction(
    (href) => document.querySelector('.feed [data-list] [data-row]').getAttribute('href') !== href,
    top,
  );
});

test('counts on the page are the counts of the API', async (t) => {
  const page = await start(t);
  await page.waitForFunction(() => /\d/.test(document.querySelector('.chip.all b').textContent));
  const low = await (await page.request.get(new URL('/activity/stats', base).href)).json();
  await page.waitForTimeout(2_500);
  const shown = await number(page.locator('.chip.all b'));
  const completed = await number(page.locator('.chip[data-state="COMPLETED"] b'));
  const high = await (await page.request.get(new URL('/activity/stats', base).href)).json();
  assert.ok(low.total <= shown && shown <= high.total, `${low.total} ≤ ${shown} ≤ ${high.total}`);
  assert.ok(low.by_state.COMPLETED <= completed && completed <= high.by_state.COMPLETED);
});

test('the address holds the state, both ways', async (t) => {
  const page = await start(t, '?view=feed&state=completed,failed&q=e&theme=light');
  assert.equal(await page.locator('nav [aria-current="page"]').getAttribute('title'), 'Live feed');
  assert.equal(await page.locator('.chip[aria-pressed="true"]').count(), 2);
  assert.equal(await page.locator('[data-search]').inputValue(), 'e');
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'light');
  assert.equal(search(page), '?view=feed&state=completed,failed&q=e&theme=light');

  await page.locator('.chip[data-state="FAILED"]').click();
  assert.equal(search(page), '?view=feed&state=completed&q=e&theme=light');
  await page.waitForFunction(() =>
    [...document.querySelectorAll('main [data-row] [data-state]')].every(
      (e) => e.dataset.state === 'COMPLETED',
    ),
  );
  await page.locator('main [data-row]').first().click();
  await page.locator('aside h3').first().waitFor();
  assert.match(search(page), /[?&]sel=[0-9a-f]{32}-[0-9a-f]{16}/);
  await page.reload();
  await page.locator('aside h3').first().waitFor();
  await page.goBack();
  await page.locator('aside').waitFor({ state: 'detached' });
  assert.equal(search(page), '?view=feed&state=completed&q=e&theme=light');
  await page.locator('.chip.all').click();
  await page.getByRole('button', { name: 'Clear the search' }).click();
  assert.equal(search(page), '?view=feed&theme=light');
});

test('the keyboard alone reaches everything', async (t) => {
  const page = await start(t);
  const { keyboard } = page;
  await keyboard.press('/');
  await keyboard.type('h');
  assert.equal(await page.locator('[data-search]').inputValue(), 'h', 'h is typed, not a command');
  await page.waitForFunction(() => location.search === '?q=h');
  await keyboard.press('Escape');
  assert.equal(search(page), '');
  await keyboard.press('Escape');

  await keyboard.press('h');
  assert.equal(await page.locator('.live').getAttribute('data-held'), 'true');
  await page.getByText(/^Held at .* waiting$/).waitFor();
  const held = await page.locator('.feed [data-list] [data-row]').first().getAttribute('href');
  await page.waitForTimeout(1_500);
  assert.equal(await page.locator('.feed [data-list] [data-row]').first().getAttribute('href'), held);
  await keyboard.press('h');
  assert.equal(await page.locator('.live').getAttribute('data-held'), 'false');

  await keyboard.press('t');
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');
  await keyboard.press('t');
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'light');
  await keyboard.press('t');
  assert.equal(await page.locator('html').getAttribute('data-theme'), null);

  await keyboard.press('?');
  await page.locator('dialog[open]').waitFor();
  await keyboard.press('Escape');
  await page.locator('dialog[open]').waitFor({ state: 'detached' });

  await keyboard.press('4');
  assert.equal(search(page), '?state=failed');
  await keyboard.press('4');
  assert.equal(search(page), '');

  for (const [key, view] of [
    ['f', 'feed'],
    ['t', 'traces'],
    ['h', 'hierarchy'],
    ['d', 'decisions'],
    ['c', 'completions'],
    ['x', 'failures'],
    ['a', 'agents'],
  ]) {
    await keyboard.press('g');
    await keyboard.press(key);
    assert.equal(search(page), `?view=${view}`);
  }
  await keyboard.press('g');
  await keyboard.press('f');
  await page.locator('main [data-row]').nth(3).waitFor();
  await keyboard.press('j');
  await keyboard.press('j');
  const row = await page.evaluate(() => document.activeElement.getAttribute('href'));
  await page.waitForTimeout(800);
  assert.equal(
    await page.evaluate(() => document.activeElement.getAttribute('href')),
    row,
    'focus stays on its row',
  );
  await keyboard.press('Enter');
  await page.locator('aside h3').first().waitFor();
  assert.ok(row.includes(new URLSearchParams(search(page)).get('sel')));
  await keyboard.press('Escape');
  await page.locator('aside').waitFor({ state: 'detached' });
});

test('the reader’s place in the feed does not move', async (t) => {
  const page = await start(t, '?view=feed');
  const list = page.locator('main [data-list]');
  await page.waitForFunction(() => {
    const e = document.querySelector('main [data-list]');
    return e.scrollHeight > e.clientHeight + 200;
  });
  await list.evaluate((e) => (e.scrollTop = 150));
  await page.waitForTimeout(300);
  const place = () =>
    list.evaluate((e) => {
      const top = e.getBoundingClientRect().top;
      const row = [...e.querySelectorAll('[data-row]')].find((r) => r.getBoundingClientRect().top >= top);
      return [e.scrollTop, row.getAttribute('href'), Math.round(row.getBoundingClientRect().top)];
    });
  const before = await place();
  await page.locator('button.fresh').waitFor();
  assert.deepEqual(await place(), before);
  await page.locator('button.fresh').click();
  assert.equal(await list.evaluate((e) => e.scrollTop), 0);
  await page.locator('button.fresh').waitFor({ state: 'detached' });
});

test('a list under the pointer stands still, and goes on when it leaves', async (t) => {
  const page = await start(t);
  for (const panel of ['Live feed', 'Completions']) {
    const card = page.locator('main section').filter({ has: page.getByRole('heading', { name: panel }) });
    await card.locator('[data-list] [data-row]').nth(2).hover();
    await card.locator('button.fresh').waitFor();
    const hrefs = () =>
      card
        .locator('[data-list] [data-row]')
        .evaluateAll((rows) => rows.slice(0, 5).map((r) => r.getAttribute('href')));
    const before = await hrefs();
    await page.waitForTimeout(1_000);
    assert.deepEqual(await hrefs(), before, panel);
    await page.mouse.move(5, 5);
    await card.locator('button.fresh').waitFor({ state: 'detached' });
  }
});

test('the drawer tells what the API tells', async (t) => {
  const page = await start(t, '?view=completions');
  // By keys: the focus stays on its row, whatever comes above it.
  await page.keyboard.press('j');
  await page.keyboard.press('Enter');
  await page.locator('aside h3', { hasText: 'Id' }).waitFor();
  const id = await page.locator('aside .id').innerText();
  const answer = await (await page.request.get(new URL(`/activity/activity/${id}`, base).href)).json();
  assert.equal(await page.locator('aside h2').innerText(), answer.activity.name.trim());
  await page.locator('aside h3', { hasText: 'History' }).waitFor();
  const link = page.locator('aside [data-jaeger]');
  if (answer.activity.trace_url === null) assert.equal(await link.count(), 0);
  else await page.locator(`aside [data-jaeger][href="${answer.activity.trace_url}"]`).waitFor();
  await page.getByRole('button', { name: 'Close', exact: true }).click();
  await page.locator('aside').waitFor({ state: 'detached' });
});

test('an activity that is not there is said to be not there', async (t) => {
  const opened = await open(browser, { quiet: (text) => text.includes('404') });
  t.after(() => opened.context.close());
  await opened.page.goto(monitor(base, `?sel=${'0'.repeat(31)}1-${'0'.repeat(15)}1`));
  await opened.page.getByText('The server does not hold this activity, or no longer.').waitFor();
  assert.deepEqual(opened.complaints, []);
});
