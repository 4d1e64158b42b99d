// Whatever activities bring is data, never markup: every view shows the worst of it and stays whole.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, monitor, open, VIEWS } from './browser.js';
import { activity, Fake } from './fake.js';

const base = process.env.MIDSPAN_URL;
const TEXTS = {
  markup: '<img src=x onerror="alert(1)"><script>alert(2)</script><style>*{display:none}</style></b></h2>',
  attribute: `"><svg/onload=alert(3)>' onmouseover=alert(4) x='`,
  link: 'javascript:alert(5)',
  template: '{@html "<b>x</b>"} ${alert(6)} {{constructor.constructor("alert(7)")()}}',
  direction: '\u202Etfel ot thgir\u202D \u2067rtl\u2069 \u200F\u200E\u061C',
  hebrew: 'שלום עולם — مرحبا بالعالم',
  emoji: '👩‍👩‍👧‍👦🏳️‍🌈🇺🇳 ' + '💥'.repeat(200),
  combining: 'Z' + '\u0351\u036b\u0343\u036a'.repeat(200),
  unbroken: 'W'.repeat(5_000),
  control: 'a\u0000b\u0007c\u001b[31md\u007fe\r\n\tf',
  broken: 'half \ud83d and \udca5 half \ufffe\uffff',
  long: 'long '.repeat(210_000),
  empty: '   ',
  proto: '__proto__',
};
const HOSTILE = Object.entries(TEXTS);
let browser;

before(async () => {
  assert.ok(base, 'set MIDSPAN_URL to the address of a server');
  browser = await launch();
});
after(() => browser?.close());

function hostile() {
  const fake = new Fake();
  const ago = (ms) => new Date(Date.now() - ms).toISOString();
  const states = ['IN_PROGRESS', 'FAILED', 'COMPLETED', 'PLANNED', 'CANCELLED', 'LOST'];
  for (const [i, [, whole]] of HOSTILE.entries()) {
    for (const [j, state] of states.entries()) {
      // A megabyte in one activity is enough to try it.
      const text = j === 2 ? whole : whole.slice(0, 5_000);
      const short = whole.slice(0, 5_000);
      const n = 1 + i * states.length + j;
      const over = !['IN_PROGRESS', 'PLANNED'].includes(state);
      const a = activity(n, {
        state,
        type: j % 2 === 0 ? 'decision' : short,
        name: text,
        parent_id: j === 0 ? null : activity(n - j).activity_id,
        what_it_will_do: short,
        what_its_doing: text,
        what_it_did: over ? short : null,
        progress: state === 'IN_PROGRESS' ? 0.3 : null,
        planned_at: ago(60_000 - n * 10),
        started_at: state === 'PLANNED' ? null : ago(50_000 - n * 10),
        ended_at: over ? ago(5_000) : null,
        last_seen_at: ago(5_000),
        usual_ms: 100,
        service: short,
        agent: short,
        thread_id: short,
        thread_name: short,
        lease: short,
        decision: {
          reasoning: short,
          choice: short,
          alternatives: [short, short],
          outcome: short,
          confidence: 0.5,
        },
        error: { type: short, message: text, stack: short },
        result: { [short]: text },
        attributes: { [short]: text, 'thread.name': short, nested: { [short]: [short] } },
        links: [{ activity_id: short }],
        trace_url: 'javascript:alert(8)',
      });
      fake.activities.push(a);
    }
  }
  return fake;
}

/** What is wider than its box, though nothing of it is to scroll sideways. */
function overflow(page) {
  return page.evaluate(() =>
    [document.documentElement, ...document.querySelectorAll('main, aside, aside .body, section')]
      .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'hidden')
      .map((e) => `${e.tagName.toLowerCase()}.${e.className}: ${e.scrollWidth} > ${e.clientWidth}`),
  );
}

async function check(page, where) {
  assert.deepEqual(await overflow(page), [], `${where}: overflow`);
  const made = await page.evaluate(() => ({
    elements: document.querySelectorAll('#app img, #app script, #app style, #app iframe').length,
    links: [...document.querySelectorAll('a[href]')].filter((a) => !/^https?:$/.test(a.protocol)).length,
    handlers: [...document.querySelectorAll('#app *')].filter((e) =>
      [...e.attributes].some((attribute) => attribute.name.startsWith('on')),
    ).length,
  }));
  assert.deepEqual(made, { elements: 0, links: 0, handlers: 0 }, where);
}

/** Goes to an address of the page without loading it anew, as the back button does. */
function visit(page, search) {
  return page.evaluate((to) => {
    history.pushState(null, '', location.pathname + to);
    dispatchEvent(new PopStateEvent('popstate'));
  }, search);
}

for (const width of [1440, 390]) {
  test(`hostile texts are shown as texts, ${width} wide`, async (t) => {
    const { context, page, complaints } = await open(browser, { width });
    t.after(() => context.close());
    page.on('dialog', (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    const fake = hostile();
    await fake.install(page);
    await page.goto(monitor(base));
    for (const view of VIEWS) {
      await visit(page, `?view=${view}`);
      await page.locator(`.app[data-view="${view}"] main [data-row]`).first().waitFor();
      await check(page, view);
    }
    for (const tab of ['waterfall', 'tree']) {
      await visit(page, `?view=trace&trace=${'a'.repeat(32)}&tab=${tab}`);
      await page.locator(`[data-tab="${tab}"] [data-row]`).first().waitFor();
      await check(page, tab);
    }
    // The drawer, for each text in a state of its own.
    for (const [i, [name, text]] of HOSTILE.entries()) {
      const a = fake.activities[i * 6 + (i % 6)];
      await visit(page, `?view=feed&sel=${a.activity_id}`);
      await page.locator('aside .id', { hasText: a.activity_id }).waitFor();
      await page.locator('aside h3', { hasText: 'Attributes' }).waitFor();
      await check(page, `drawer of ${name}`);
      const shown = await page.locator('aside h2').textContent();
      // To the letter; what is no letter becomes what the browser shows for it.
      const start = text.trim().slice(0, 100);
      if (name !== 'control' && name !== 'broken') assert.ok(shown.includes(start), `${name} is shown`);
    }
    for (const [name, text] of HOSTILE) {
      const q = encodeURIComponent(text.slice(0, 400).toWellFormed());
      await visit(page, `?view=hierarchy&q=${q}`);
      await check(page, `search for ${name}`);
    }
    // The same as events of the stream, and in an address.
    await visit(page, '');
    for (const a of hostile().activities.slice(0, 60)) fake.send({ ...a, state: 'FAILED' }, 'failed');
    await page.locator('.chip[data-state="FAILED"]').click();
    await page.locator('.feed [data-list] [data-state="FAILED"]').first().waitFor();
    await check(page, 'stream');
    const { markup, attribute } = TEXTS;
    await page.goto(
      monitor(base, `?view=${encodeURIComponent(markup)}&sel=${encodeURIComponent(attribute)}`),
    );
    await page.locator('main [data-row]').first().waitFor();
    await check(page, 'address');
    assert.deepEqual(complaints, []);
  });
}
