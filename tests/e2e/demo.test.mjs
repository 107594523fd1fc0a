// The demo's page in a real browser: what a notifier says shows in the right tab, states are told, and
// everyone can read it.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import test, { after, before } from 'node:test';
import { chromium } from 'playwright-core';

import { BASE, freePort, notifierTable, startHub, startNotifier } from './support.mjs';

const limit = { timeout: 60_000 };
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const SCREENSHOTS = process.env.SCREENSHOTS;
const PHONE = { width: 390, height: 844 };
const DESK = { width: 1440, height: 900 };
/** What a browser says of a hub that is away; nobody can keep it from saying so. */
const AWAY = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_SOCKET_NOT_CONNECTED|WebSocket connection to/;

let browser;

before(async () => {
  if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ],
  });
});

after(() => browser?.close());

test('a notifier reaches the tab of the addressed user, and a tab another tab', limit, async (t) => {
  const { hub, push } = await demoHub(t);
  const context = await newContext(t);
  const [ana, luis] = [await open(context, hub, '?user=ana'), await open(context, hub)];
  await luis.getByTestId('pick-name').fill('luis');
  await luis.getByTestId('pick-submit').click();
  await Promise.all([state(ana, 'connected'), state(luis, 'connected')]);

  await push.send(['u/ana/', '{"data":{"text":"Invoice 7 is ready"}}']);
  await push.send(['u/luis/', '{"data":{"text":"For Luis alone"}}']);
  await Promise.all([note(ana, 'Invoice 7 is ready'), note(luis, 'For Luis alone')]);
  assert.equal(await noteCount(luis, 'Invoice 7'), 0);
  assert.equal(await noteCount(ana, 'For Luis'), 0);
  assert.match(await (await note(ana, 'Invoice 7')).textContent(), /billing/);

  await ana.getByTestId('send-to').fill('luis');
  await ana.getByTestId('send-text').fill('Lunch? <b id="evil">now</b> & "here"');
  await ana.getByTestId('send-submit').click();
  const lunch = await note(luis, 'Lunch? <b id="evil">now</b> & "here"');
  assert.match(await lunch.textContent(), /ana/);
  assert.equal(await luis.locator('#evil').count(), 0, 'text is text');
  await ana.getByTestId('send-result').filter({ hasText: 'Sent to luis' }).waitFor();
  assert.equal(await noteCount(ana, 'Lunch?'), 0);

  // One that is no text at all, and one to everybody.
  await push.send(['all/', '{"data":[1,{"a":null}],"event":"notification"}']);
  await Promise.all([note(ana, '[1,{"a":null}]'), note(luis, '[1,{"a":null}]')]);
  assert.deepEqual([...ana.problems, ...luis.problems], []);
});

test('the page tells that the hub is away, and comes back with it', limit, async (t) => {
  const { hub, text } = await demoHub(t);
  const context = await newContext(t);
  const page = await open(context, hub, '?user=ana');
  await state(page, 'connected');
  assert.deepEqual(page.problems, []);
  await hub.kill();
  await state(page, 'lost');
  await page.getByTestId('status').filter({ hasText: 'Connection lost, trying again' }).waitFor();
  const { push } = await demoHub(t, text);
  await state(page, 'connected');
  await page.locator('.gap').filter({ hasText: 'Something may be missing here.' }).waitFor();
  await push.send(['u/ana/', '{"data":{"text":"Back again"}}']);
  await note(page, 'Back again');
  assert.deepEqual(page.problems.filter((problem) => !AWAY.test(problem)), []);
});

test('the page speaks Spanish to whoever reads Spanish', limit, async (t) => {
  const { hub, push } = await demoHub(t);
  const context = await newContext(t, { locale: 'es-ES' });
  const page = await open(context, hub);
  assert.equal(await page.locator('html').getAttribute('lang'), 'es');
  assert.equal(await page.getByTestId('pick-submit').textContent(), 'Entrar');
  await shoot(page, 'pick-es-1440-light');
  await page.getByTestId('pick-name').fill('ana');
  await page.getByTestId('pick-submit').click();
  await page.getByTestId('status').filter({ hasText: 'En línea' }).waitFor();
  await page.getByTestId('empty').filter({ hasText: 'Nada todavía' }).waitFor();
  await push.send(['all/', '{"data":{"code":"coffee","n":5,"text":"Coffee will be ready in 5 minutes."}}']);
  await note(page, 'El café estará listo en 5 minutos.');
  await shoot(page, 'notifications-es-1440-light');
  await page.locator('#language').click();
  await note(page, 'Coffee will be ready in 5 minutes.');
  assert.equal(await page.locator('html').getAttribute('lang'), 'en');
  assert.deepEqual(page.problems, []);
});

test('every state is accessible and fits, light and dark, on a phone and on a desk', limit, async (t) => {
  const { hub, push } = await demoHub(t);
  const faults = [];
  const looks = [];
  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of [PHONE, DESK]) {
      // axe is a stranger to the page's policy; nothing else is tried in these contexts.
      const context = await newContext(t, { colorScheme, viewport, bypassCSP: true, reducedMotion: 'reduce' });
      const forwarded = await newContext(t, {
        colorScheme, viewport, bypassCSP: true, reducedMotion: 'reduce', extraHTTPHeaders: { 'X-Forwarded-For': '192.0.2.1' },
      });
      looks.push({ name: `${viewport.width}-${colorScheme}`, viewport, context, forwarded });
    }
  }
  const examine = async (look, stateName, page) => {
    faults.push(...await violations(page, `${stateName} ${look.name}`));
    await shoot(page, `${stateName}-${look.name}`);
  };

  for (const look of looks) {
    const refused = await open(look.forwarded, hub, '?user=ana');
    await state(refused, 'refused');
    await examine(look, 'refused', refused);

    look.page = await open(look.context, hub);
    await look.page.getByTestId('pick-name').waitFor();
    await examine(look, 'pick', look.page);
    await look.page.getByTestId('pick-name').fill('');
    await look.page.getByTestId('pick-submit').click();
    await look.page.locator('#pick-error').filter({ hasText: /./ }).waitFor();
    await examine(look, 'pick-problem', look.page);
    // The demo calls out after 20 s without a word; a word now keeps the list empty while it is looked at.
    const word = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"to":"u/nobody/","text":"hush"}' };
    assert.equal((await fetch(`${hub.url}/demo/notify`, word)).status, 202);
    await look.page.getByTestId('pick-name').fill('ana');
    await look.page.getByTestId('pick-submit').click();
    await state(look.page, 'connected');
    await look.page.locator('#terminal-note').filter({ hasText: 'Run it on this machine' }).waitFor({ state: 'attached' });
    await look.page.getByTestId('empty').waitFor();
    await examine(look, 'empty', look.page);
  }
  const long = 'Donaudampfschifffahrt'.repeat(12);
  await push.send(['u/ana/', JSON.stringify({ data: { text: 'Invoice 7 is ready', by: 'luis' } })]);
  await push.send(['u/ana/', JSON.stringify({ data: { text: long } })]);
  await push.send(['all/', '{"data":{"code":"backup","n":1204,"text":"The backup is done."}}']);
  await push.send(['u/ana/', '{"data":{"order":4711,"state":"shipped","items":[1,2,3]}}']);
  for (const look of looks) {
    await note(look.page, '"order":4711');
    await examine(look, 'notifications', look.page);
  }
  await hub.kill();
  for (const look of looks) {
    await state(look.page, 'lost');
    await examine(look, 'lost', look.page);
  }
  assert.deepEqual(faults, []);
});

/** A hub with the demo and a notifier of its own, on a port that the next one can take again. */
async function demoHub(t, text) {
  const bind = `tcp://127.0.0.1:${await freePort()}`;
  text ??= BASE.replace('127.0.0.1:0', `127.0.0.1:${await freePort()}`) + notifierTable('billing', { type: 'pull', bind });
  const hub = await startHub(t, text, ['--demo']);
  const push = await startNotifier(t, 'push', 'connect', text.match(/bind = "(.*)"/)[1]);
  return { hub, push, text };
}

async function newContext(t, options = {}) {
  const context = await browser.newContext({ locale: 'en-GB', viewport: DESK, ...options });
  t.after(() => context.close());
  return context;
}

/** A page, and whatever its console or its policy complains of, in `problems`. */
async function open(context, hub, query = '') {
  const page = await context.newPage();
  page.problems = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) page.problems.push(`${message.text()} ${message.location().url}`);
  });
  page.on('pageerror', (error) => page.problems.push(String(error)));
  await page.exposeFunction('policyViolated', (what) => page.problems.push(what));
  await page.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => {
      globalThis.policyViolated(`${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  await page.goto(`${hub.url}/${query}`);
  return page;
}

function state(page, name) {
  return page.locator(`[data-testid=status][data-state=${name}]`).waitFor();
}

/** The notification with that text, once it shows. */
async function note(page, text) {
  const one = page.getByTestId('notification').filter({ hasText: text }).first();
  await one.waitFor();
  return one;
}

function noteCount(page, text) {
  return page.getByTestId('notification').filter({ hasText: text }).count();
}

/** What axe finds, and whether the page is wider than its window. */
async function violations(page, where) {
  await page.evaluate(AXE);
  const { violations: found, passes } = await page.evaluate(() => globalThis.axe.run());
  assert.ok(passes.some(({ id }) => id === 'color-contrast'), `${where}: axe has looked at nothing`);
  const faults = found.flatMap(({ id, nodes }) => nodes.map((node) => `${where}: ${id} at ${node.target.join(' ')}: ${node.failureSummary}`));
  const [content, window_] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  if (content > window_) faults.push(`${where}: ${content} px of content in ${window_} px`);
  return faults;
}

async function shoot(page, name) {
  if (SCREENSHOTS) await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
}
