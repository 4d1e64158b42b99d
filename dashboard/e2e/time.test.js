// The time dock and the page as it was, against a running server and against made ones.
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

const MINUTE = 60_000;
const ago = (minutes) => new Date(Date.now() - minutes * MINUTE).toISOString();
const params = (page) => new URL(page.url()).searchParams;
const row = (page, name) =>
  page.locator('main [data-row]').filter({ has: page.getByText(name, { exact: true }) });

async function start(t, address = '', fake = null) {
  const opened = await open(browser);
  t.after(async () => {
    await opened.context.close();
    assert.deepEqual(opened.complaints, []);
  });
  const { page } = opened;
  await fake?.install(page);
  await page.goto(monitor(base, address));
  await page.locator('.live[data-phase="live"]').waitFor();
  await page.locator('.scrub').waitFor();
  if (fake === null) await live(page);
  return page;
}

/** Drags the dock from now to some minutes ago, of the 15 that it shows. */
async function dragTo(page, minutes) {
  const box = await page.locator('.scrub').boundingBox();
  const x = (m) => box.x + box.width * (1 - m / 15);
  await page.mouse.move(x(0.2), box.y + 20);
  await page.mouse.down();
  await page.mouse.move(x(minutes / 2), box.y + 20);
  await page.mouse.move(x(minutes), box.y + 20);
  await page.mouse.up();
}

/** An order that was read five minutes ago and completed one minute ago, and one that began then. */
function story(fake) {
  const times = { planned_at: ago(6), started_at: ago(6), service: 'orders' };
  const now = { last_seen_at: ago(5), what_its_doing: 'Reading the order', progress: 0.4 };
  fake.send(activity(1, { ...times, ...now }));
  const end = { state: 'COMPLETED', ended_at: ago(1), last_seen_at: ago(1), duration_ms: 5 * MINUTE };
  fake.send(activity(1, { ...times, ...end, what_it_did: 'Shipped the order' }), 'completed');
  fake.send(activity(2, { planned_at: ago(1), started_at: ago(1), last_seen_at: ago(1) }));
}

test('dragging the dock turns the whole page to that moment, and L back to now', async (t) => {
  const fake = new Fake();
  const page = await start(t, '?view=feed', fake);
  story(fake);
  await row(page, 'work 2').waitFor();
  await row(page, 'work 1').getByText('Completed', { exact: true }).waitFor();

  await dragTo(page, 3);
  await row(page, 'work 1').getByText('Reading the order').waitFor();
  assert.equal(
    await row(page, 'work 1').locator('[data-state]').first().getAttribute('data-state'),
    'IN_PROGRESS',
  );
  assert.match(await row(page, 'work 1').innerText(), /40\s?%/);
  assert.equal(await row(page, 'work 2').count(), 0, 'what began later is not there');
  await page.locator('.live', { hasText: /Viewing \d\d:\d\d:\d\d/ }).waitFor();
  await page.locator('.frame').waitFor();
  const shown = Number(await page.locator('.scrub').getAttribute('aria-valuenow'));
  assert.ok(Math.abs(shown - 12 * 60) <= 20, `${shown} s of 900`);

  await row(page, 'work 1').click();
  await page.locator('aside').getByText('Reading the order').waitFor();
  assert.equal(await page.locator('aside').getByText('Shipped the order').count(), 0);
  await page.keyboard.press('Escape');

  // The stream goes on meanwhile, and what it tells is of now.
  fake.send(activity(3));
  await page.waitForFunction(() => new URL(location.href).searchParams.has('at'));
  assert.equal(await row(page, 'work 3').count(), 0);

  await page.keyboard.press('l');
  await row(page, 'work 3').waitFor();
  await row(page, 'work 1').getByText('Completed', { exact: true }).waitFor();
  await page.locator('.frame').waitFor({ state: 'detached' });
  assert.equal(params(page).get('at'), null);
});

test('every view shows the moment', async (t) => {
  const fake = new Fake();
  const page = await start(t, '', fake);
  const end = { state: 'FAILED', ended_at: ago(1), last_seen_at: ago(1), error: { message: 'no stock' } };
  const begun = { planned_at: ago(6), started_at: ago(6), last_seen_at: ago(6) };
  fake.send(activity(1, { ...begun, ...end }), 'failed');
  fake.send(
    activity(2, { ...begun, type: 'decision', last_seen_at: ago(1), decision: { choice: 'ship it' } }),
  );
  fake.send(
    activity(3, { ...begun, state: 'COMPLETED', ended_at: ago(1), last_seen_at: ago(1), duration_ms: 1 }),
    'completed',
  );
  await page.getByText('no stock').first().waitFor();
  await page.getByText('ship it').first().waitFor();
  await dragTo(page, 3);
  await page.locator('.frame').waitFor();
  await page.getByText('Nothing has failed.').waitFor();
  await page.getByText('Nothing has completed yet.').waitFor();
  await page.getByText('ship it').first().waitFor({ state: 'detached' });
  const chip = (state) => page.locator(`.chip[data-state="${state}"] b`);
  await page.waitForFunction(
    () => document.querySelector('.chip[data-state="IN_PROGRESS"] b').textContent === '3',
  );
  assert.equal(await chip('FAILED').innerText(), '0');
  await page.keyboard.press('g');
  await page.keyboard.press('t');
  await page.locator('main [data-row]').first().click();
  await page.locator('[role="treegrid"] [data-row]').nth(2).waitFor();
  assert.equal(await page.locator('[data-bar="IN_PROGRESS"]').count(), 3);
  await page.keyboard.press('l');
  await page.locator('[data-bar="FAILED"]').waitFor();
});

test('the address holds what the dock shows of time', async (t) => {
  const fake = new Fake();
  const page = await start(t, '?from=1h', fake);
  const spans = page.getByLabel('Time shown');
  assert.equal(await spans.inputValue(), '1h');
  assert.equal(await page.locator('.scrub').getAttribute('aria-valuemax'), '3600');
  await spans.selectOption('15 min');
  await page.waitForFunction(() => document.querySelector('.scrub').ariaValueMax === '900');
  assert.equal(params(page).get('from'), null);
  await page.goto(monitor(base, `?at=${ago(40)}`));
  await page.locator('.frame').waitFor();
  await page.waitForFunction(() => document.querySelector('.dock select').value === '1h');
  await page.keyboard.press(']');
  await page.waitForFunction(() => new URL(location.href).searchParams.get('speed') === '2');
  assert.equal(await spans.inputValue(), '1h', 'as far back as the moment');
  await spans.selectOption('15 min');
  assert.equal(await spans.inputValue(), '15m');
});

test('what comes late of a moment that stands still is shown, its agents, too', async (t) => {
  const fake = new Fake();
  const page = await start(t, '', fake);
  const begun = { planned_at: ago(6), started_at: ago(6), last_seen_at: ago(6) };
  fake.send(activity(1, { ...begun, agent: 'atlas' }));
  const agents = page.locator('.card', { hasText: 'last 2 min' });
  await agents.getByText('atlas').waitFor();
  const late = activity(2, { ...begun, agent: 'gale' });
  await page.route('**/activity/all?since=*', async (route) => {
    await new Promise((done) => setTimeout(done, 1_500));
    const json = { activities: [late], total: 1, total_relation: 'eq', next_cursor: null };
    await route.fulfill({ json: { ...json, log_id: fake.log, as_of_seq: fake.seq } });
  });
  await dragTo(page, 3);
  await page.locator('.frame').waitFor();
  await agents.getByText('gale').waitFor();
  // Nothing finished in that minute: none of it failed, and no second of it is missed.
  await page.getByText('failed 0%').waitFor();
  assert.equal(await page.getByText('Not seen second by second').count(), 0);
});

test('the address holds the moment and the speed', async (t) => {
  const fake = new Fake();
  fake.activities = [
    activity(2, { planned_at: ago(1), started_at: ago(1) }),
    activity(1, {
      planned_at: ago(9),
      started_at: ago(9),
      state: 'COMPLETED',
      ended_at: ago(2),
      last_seen_at: ago(2),
    }),
  ];
  const at = ago(5);
  const page = await start(t, `?view=feed&at=${at}&speed=10`, fake);
  await row(page, 'work 1').getByText('In progress', { exact: true }).waitFor();
  assert.equal(await row(page, 'work 2').count(), 0);
  assert.equal(params(page).get('at'), at);
  await page.getByRole('button', { name: 'Replay speed 10×' }).waitFor();
  await page.keyboard.press('[');
  await page.waitForFunction(() => new URL(location.href).searchParams.get('speed') === '5');
  await page.reload();
  await row(page, 'work 1').getByText('In progress', { exact: true }).waitFor();
  await page.keyboard.press('l');
  await row(page, 'work 2').waitFor();
  assert.equal(params(page).get('at'), null);
  await page.goto(monitor(base, '?view=feed'));
  await row(page, 'work 2').waitFor();
  await dragTo(page, 5);
  // The first that is written may be of the way there.
  await page.waitForFunction(
    (want) => Date.parse(new URL(location.href).searchParams.get('at')) < Date.parse(want) + 60_000,
    ago(5),
  );
  await page.goBack();
  await row(page, 'work 2').waitFor();
  await page.goForward();
  await row(page, 'work 2').waitFor({ state: 'detached' });
});

test('the keyboard alone walks through time', async (t) => {
  const fake = new Fake();
  const page = await start(t, '?view=feed', fake);
  const { keyboard } = page;
  story(fake);
  await row(page, 'work 2').waitFor();
  const value = async () => Number(await page.locator('.scrub').getAttribute('aria-valuenow'));
  const moment = () => page.evaluate(() => document.querySelector('.scrub').getAttribute('aria-valuetext'));

  await keyboard.press('Space');
  await page.locator('.frame').waitFor();
  await keyboard.press(',');
  await page.waitForFunction(() => /1\smin/.test(document.querySelector('.scrub').ariaValueText));
  await row(page, 'work 1').getByText('Completed', { exact: true }).waitFor();
  await keyboard.press('ArrowLeft');
  await row(page, 'work 1').getByText('In progress', { exact: true }).waitFor();
  await keyboard.press('ArrowRight');
  await row(page, 'work 1').getByText('Completed', { exact: true }).waitFor();
  const near = await value();
  await keyboard.press('Shift+ArrowLeft');
  await page.waitForFunction((n) => document.querySelector('.scrub').ariaValueNow < n - 7, near);
  await keyboard.press('.');
  await row(page, 'work 1').getByText('Completed', { exact: true }).waitFor();

  // Played, it goes on by itself.
  await keyboard.press('Shift+ArrowLeft');
  await row(page, 'work 1').getByText('In progress', { exact: true }).waitFor();
  for (let i = 0; i < 3; i++) await keyboard.press(']');
  await keyboard.press('Space');
  await row(page, 'work 1').getByText('Completed', { exact: true }).waitFor();
  await keyboard.press('Space');
  await page.getByRole('button', { name: 'Play from here' }).waitFor();

  await page.locator('.scrub').focus();
  await keyboard.press('Home');
  await page.getByText('Nothing has happened yet.').waitFor();
  assert.match(await moment(), /^\d\d:\d\d:\d\d, 1\d\smin \d+\ss ago$/);
  await keyboard.press('End');
  await page.locator('.frame').waitFor({ state: 'detached' });
  assert.match(await moment(), /, live$/);
  await keyboard.press('Space');
  await page.locator('.frame').waitFor();
  await keyboard.press('Escape');
  await keyboard.press('Escape');
  await page.locator('.frame').waitFor({ state: 'detached' });
});

test('a failure is a flag, and a flag is a stop', async (t) => {
  const fake = new Fake();
  const page = await start(t, '?view=feed', fake);
  const bad = {
    state: 'FAILED',
    planned_at: ago(9),
    started_at: ago(9),
    ended_at: ago(8),
    last_seen_at: ago(8),
  };
  fake.send(activity(1, bad), 'failed');
  fake.send(activity(2, { ...bad, state: 'LOST', ended_at: ago(4), last_seen_at: ago(4) }), 'lost');
  await page.getByRole('button', { name: /^Lost at .*: work 2$/ }).waitFor();
  await page.getByRole('button', { name: /^Failed at .*: work 1$/ }).click();
  await row(page, 'work 1').getByText('Failed', { exact: true }).waitFor();
  await row(page, 'work 2').getByText('In progress', { exact: true }).waitFor();
});

test('a server that tells what was at a moment is asked for it', async (t) => {
  const fake = new Fake();
  const asked = [];
  const opened = await open(browser);
  t.after(() => opened.context.close());
  const { page } = opened;
  await fake.install(page);
  await page.route('**/openapi.json', (route) => route.fulfill({ json: { paths: { '/activity/at': {} } } }));
  await page.route('**/activity/at?*', (route) => {
    const url = new URL(route.request().url());
    asked.push(url.searchParams.get('time'));
    const then = activity(9, { planned_at: ago(700), started_at: ago(700), last_seen_at: ago(610) });
    const json = { activities: [then], total: 1, total_relation: 'eq', next_cursor: null, log_id: fake.log };
    return route.fulfill({ json: { ...json, as_of_seq: 5 } });
  });
  const at = ago(600);
  await page.goto(monitor(base, `?view=feed&at=${at}`));
  await row(page, 'work 9').waitFor();
  assert.deepEqual(asked.slice(0, 1), [at]);
  await page.keyboard.press('l');
  await row(page, 'work 9').waitFor({ state: 'detached' });
  assert.deepEqual(opened.complaints, []);
});

test('where the server’s replay breaks off, the page plays on by itself', async (t) => {
  const fake = new Fake();
  const opened = await open(browser);
  t.after(() => opened.context.close());
  const { page } = opened;
  await fake.install(page);
  await page.route('**/openapi.json', (route) =>
    route.fulfill({ json: { paths: { '/activity/replay': {} } } }),
  );
  const sockets = [];
  await page.routeWebSocket(/\/activity\/replay/, (socket) => {
    sockets.push(socket);
    const then = activity(7, { planned_at: ago(3), started_at: ago(3), last_seen_at: ago(3) });
    const of = { log_id: fake.log, seq: 1 };
    const from = new URL(socket.url()).searchParams.get('from');
    const told = [
      { event: 'hello', ...of },
      { event: 'active', ...of, activity: then },
      { event: 'snapshot_end', ...of },
      { event: 'clock', ...of, time: from },
    ];
    socket.send(JSON.stringify(told));
  });
  await page.goto(monitor(base, '?view=feed&speed=60'));
  await page.locator('.live[data-phase="live"]').waitFor();
  story(fake);
  await row(page, 'work 2').waitFor();
  await dragTo(page, 3);
  await row(page, 'work 1').getByText('In progress', { exact: true }).waitFor();
  await page.keyboard.press('Space');
  await row(page, 'work 7').waitFor();
  assert.equal(await row(page, 'work 1').count(), 0, 'the server says what was active');
  await sockets[0].close({ code: 1013 });
  await row(page, 'work 1').getByText('Completed', { exact: true }).waitFor();
  assert.equal(sockets.length, 1);
  assert.deepEqual(opened.complaints, []);
});

test('another log ends the past', async (t) => {
  const fake = new Fake();
  const page = await start(t, '?view=feed', fake);
  story(fake);
  await row(page, 'work 2').waitFor();
  await dragTo(page, 3);
  await row(page, 'work 2').waitFor({ state: 'detached' });
  fake.activities = [];
  fake.log = '01OTHER';
  fake.seq = 0;
  fake.cut();
  await page.locator('.frame').waitFor({ state: 'detached' });
  fake.send(activity(5));
  await row(page, 'work 5').waitFor();
});

test('a running server’s past is there: states by its times, texts by its history', async (t) => {
  const page = await start(t);
  const trace = await someTrace(page, base);
  const { activities } = await (
    await page.request.get(new URL(`/activity/all?trace=${trace}&limit=1000`, base).href)
  ).json();
  // The one at work the longest, in the middle of its time.
  const works = activities.filter((a) => a.started_at !== null && a.ended_at !== null);
  const long = works.sort((a, b) => b.duration_ms - a.duration_ms)[0];
  const middle = new Date((Date.parse(long.started_at) + Date.parse(long.ended_at)) / 2);
  await page.goto(
    monitor(base, `?view=trace&trace=${trace}&sel=${long.activity_id}&at=${middle.toISOString()}`),
  );
  await page.locator('aside header').getByText('In progress').waitFor();
  const now = (rows) => rows.map((r) => r.dataset.id).sort();
  // To the fraction of a millisecond: many may begin in one.
  const ms = (time) => Date.parse(`${time.slice(0, 19)}Z`) + Number(`0${time.slice(19, -1)}`) * 1_000;
  const expected = activities.filter((a) => ms(a.planned_at ?? a.started_at) <= middle.getTime());
  await page.waitForFunction(
    (n) => Number(document.querySelector('[role="treegrid"]').ariaRowCount) === n + 1,
    expected.length,
  );
  assert.ok((await page.locator('[role="treegrid"] [data-row]').evaluateAll(now)).length > 0);
});
