// The states that a healthy server does not show.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, monitor, open } from './browser.js';
import { activity, Fake } from './fake.js';

const base = process.env.MIDSPAN_URL;
let browser;

before(async () => {
  assert.ok(base, 'set MIDSPAN_URL to the address of a server');
  browser = await launch();
});
after(() => browser?.close());

async function start(t, { search = '', quiet, prepare } = {}) {
  const { context, page, complaints } = await open(browser, { quiet });
  const fake = new Fake();
  prepare?.(fake);
  await fake.install(page);
  t.after(async () => {
    await context.close();
    assert.deepEqual(complaints, []);
  });
  await page.goto(monitor(base, search));
  return { page, fake };
}

const isLive = (page) => page.locator('.live[data-phase="live"]').waitFor();
const failedRequest = (text) => text.includes('Failed to load resource');

test('empty: each panel says so', async (t) => {
  const { page } = await start(t);
  await isLive(page);
  for (const text of [
    'Nothing has happened yet. Activities appear here the moment they are planned or started; docs/languages.md tells how to send them.',
    'No decision has been seen yet.',
    'Nothing has failed.',
    'Nothing has completed yet.',
    'nothing finished yet',
    'No durations in the last hour.',
  ]) {
    await page.getByText(text).waitFor();
  }
});

test('a filter that nothing passes is not an empty server', async (t) => {
  const { page, fake } = await start(t, {
    search: '?q=nowhere',
    prepare: (f) => f.activities.push(activity(1)),
  });
  await isLive(page);
  fake.activities = [];
  await page.getByText('Nothing in this page matches the filter.').waitFor();
});

test('lists that do not load are said to be missing, and the stream still shows what happens', async (t) => {
  const { page, fake } = await start(t, { quiet: failedRequest, prepare: (f) => (f.status = 500) });
  await page.getByText('Midspan does not answer.').waitFor();
  fake.status = 200;
  await isLive(page);
  fake.send(activity(1));
  await page.getByText('work 1').first().waitFor();
});

test('that a part of the history can not be read is told', async (t) => {
  const { page } = await start(t, { prepare: (f) => (f.incomplete = true) });
  await page.getByText('can’t read a part of its history').waitFor();
});

test('sign in: a wrong token, one of another scope, then the right one', async (t) => {
  const { page, fake } = await start(t, { quiet: failedRequest, prepare: (f) => (f.status = 401) });
  const token = page.getByLabel('Token');
  await token.fill('wrong');
  await page.keyboard.press('Enter');
  await page.getByText('The server did not take this token.').waitFor();
  await token.fill('narrow');
  await page.keyboard.press('Enter');
  await page.getByText('The server refuses it: it needs the scope <b>read</b>.').waitFor();
  await token.fill('right');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await isLive(page);
  assert.deepEqual(fake.tokens, ['wrong', 'narrow', 'right']);
});

test('a search that is not valid shows nothing as if it matched', async (t) => {
  const done = (n, name) => activity(n, { name, state: 'COMPLETED', ended_at: new Date().toISOString() });
  const prepare = (f) => (f.activities = [done(1, 'order 1'), done(2, 'parcel 2')]);
  const { page } = await start(t, { search: '?view=feed&q=type:nope', prepare });
  await isLive(page);
  await page.getByText('“nope” is not a type.').waitFor();
  await page.getByText('the search is not valid').waitFor();
  await page.getByText('Nothing is found until the search is put right.').waitFor();
  assert.equal(await page.locator('main [data-row]').count(), 0);

  const box = page.locator('[data-search]');
  const names = () => page.locator('main [data-row] b').allTextContents();
  await box.fill('order');
  await page.locator('main').getByText('order 1').waitFor();
  assert.deepEqual(await names(), ['order 1']);
  await box.fill('order type:nope');
  await page.getByText('the search is not valid').waitFor();
  assert.deepEqual(await names(), ['order 1'], 'what the last valid one found');
  const filter = await page.locator('main [data-list]').evaluate((list) => getComputedStyle(list).filter);
  assert.equal(filter, 'grayscale(1)', 'looks stale, and stays readable');
  await box.fill('');
  await page.locator('main').getByText('parcel 2').waitFor();
});

test('the page is named by its program', async (t) => {
  const { page } = await start(t, { prepare: (f) => (f.service = 'checkout') });
  await isLive(page);
  await page.waitForFunction(() => document.title === 'Monitor · checkout');
  await page.locator('header').getByText('checkout').waitFor();
});

test('a view that there is not is put right in the address', async (t) => {
  const { page } = await start(t, { search: '?view=bogus&state=failed' });
  await isLive(page);
  assert.equal(new URL(page.url()).search, '?state=failed');
});

test('a refused host is explained', async (t) => {
  await start(t, { quiet: failedRequest, prepare: (f) => (f.status = 421) }).then(({ page }) =>
    page.getByText('The server does not answer to this host name.').waitFor(),
  );
});

test('a broken stream goes on where it broke off', async (t) => {
  const { page, fake } = await start(t);
  await isLive(page);
  fake.send(activity(1));
  fake.send(activity(2));
  await page.getByText('work 2').first().waitFor();
  fake.cut(1013);
  await page.waitForFunction(() =>
    document.querySelector('[role="status"]')?.textContent.includes('Nothing was missed'),
  );
  assert.equal(fake.connections[0].get('snapshot'), '1');
  assert.equal(fake.connections[0].get('after'), null);
  assert.equal(fake.connections.at(-1).get('after'), '01FAKE:2');
  assert.equal(fake.connections.at(-1).get('batch'), '1');
});

test('while disconnected the page says since when, and keeps what it has', async (t) => {
  const { page, fake } = await start(t, { quiet: failedRequest });
  await isLive(page);
  fake.send(activity(1));
  await page.getByText('work 1').first().waitFor();
  fake.status = 503;
  fake.cut();
  await page.getByText(/^The connection broke at \d\d:\d\d:\d\d\./).waitFor();
  await page.locator('.live[data-phase="waiting"]').waitFor();
  assert.ok(await page.getByText('work 1').first().isVisible());
  // The dock stands where the connection broke.
  const clock = page.locator('.dock .clock');
  const stood = await clock.innerText();
  assert.match(stood, /^\d\d:\d\d:\d\d\s+(disconnected|connecting)$/);
  await page.waitForTimeout(1_200);
  assert.equal((await clock.innerText()).slice(0, 8), stood.slice(0, 8));
  const tried = fake.connections.length;
  await page.getByRole('button', { name: 'Try now' }).dispatchEvent('click');
  assert.ok(fake.connections.length > tried);
  fake.status = 200;
  await isLive(page);
});

test('a gap is told, and what ended unseen is gone', async (t) => {
  const { page, fake } = await start(t);
  await isLive(page);
  fake.send(activity(1));
  await page.getByText('work 1').first().waitFor();
  fake.activities = [activity(7)];
  fake.seq = 900;
  fake.raw([
    { event: 'gap', from: 2, to: 900 },
    { event: 'active', log_id: fake.log, seq: 900, activity: activity(7) },
    { event: 'snapshot_end' },
  ]);
  await page.getByText('899 events are no longer held by the server.').waitFor();
  await page.getByText('work 7').first().waitFor();
  await page.getByText('work 1', { exact: true }).first().waitFor({ state: 'detached' });
});

test('another log replaces the first without a reload', async (t) => {
  const { page, fake } = await start(t);
  await isLive(page);
  fake.send(activity(1));
  await page.getByText('work 1').first().waitFor();
  fake.activities = [];
  fake.log = '01OTHER';
  fake.seq = 0;
  fake.cut();
  await page.getByText('The server was restarted. The page shows its new log.').waitFor();
  await page.getByText('work 1', { exact: true }).first().waitFor({ state: 'detached' });
  fake.send(activity(2));
  await page.getByText('work 2').first().waitFor();
});

test('a hold keeps events back and gives them all at its end', async (t) => {
  const { page, fake } = await start(t);
  await isLive(page);
  fake.send(activity(1));
  await page.getByText('work 1').first().waitFor();
  await page.keyboard.press('h');
  for (let n = 2; n <= 31; n++) fake.send(activity(n));
  await page.getByText(/^Held at \d\d:\d\d:\d\d, 30 waiting$/).waitFor();
  assert.equal(await page.getByText('work 31').count(), 0);
  await page.keyboard.press('h');
  await page.getByText('work 31').first().waitFor();
});

test('a hold that is too long asks the server again', async (t) => {
  const { page, fake } = await start(t);
  await isLive(page);
  fake.send(activity(1));
  await page.getByText('work 1').first().waitFor();
  await page.keyboard.press('h');
  const many = Array.from({ length: 20_100 }, () => ({
    event: 'updated',
    log_id: fake.log,
    seq: ++fake.seq,
    activity: activity(1),
  }));
  fake.raw(many);
  await page.getByText(/, 20,100 waiting$/).waitFor();
  await page.keyboard.press('h');
  await page.waitForFunction(() => document.querySelector('.live').dataset.phase === 'live');
  await page.waitForTimeout(300);
  assert.equal(fake.connections.at(-1).get('after'), '01FAKE:1');
});

test('messages that make no sense are told, and do no harm', async (t) => {
  const { page, fake } = await start(t);
  await isLive(page);
  for (const text of ['', '{', '[1,null,"x"]', '{"event":"started"}', '[{"event":"started","activity":{}}]'])
    fake.raw(text);
  await page.getByText('The server sent messages that this page does not understand.').waitFor();
  fake.send(activity(1));
  await page.getByText('work 1').first().waitFor();
});
