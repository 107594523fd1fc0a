// Cross-site WebSocket hijacking, in a real browser: a page of another site acts with the cookie of whoever
// looks at it. The hub refuses it, and it is the hub that does: with the page's origin allowed, the same
// page gets in as the victim.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { chromium } from 'playwright-core';

import { BEAKERS, identityTable, startBeaker } from './beaker.mjs';
import { certificate } from './certificate.mjs';
import { startRedis } from './redis.mjs';
import { hubWithPush, LISTENERS, table } from './support.mjs';

const limit = { timeout: 60_000 };
const [, BEAKER] = BEAKERS;
const CLIENT = readFileSync(createRequire(import.meta.url).resolve('socket.io-client/dist/socket.io.js'), 'utf8');

// The site is scheme and host, whatever the port: a page on localhost is another site than the hub on 127.0.0.1,
// and its requests carry only a cookie that says SameSite=None, which browsers take over HTTPS alone. A page on
// another port of 127.0.0.1 is of the same site, and of another origin all the same: there the browser's
// default, Lax, does not help.
const PAGES = [
  { name: 'of another site', host: 'localhost', tls: true, site: 'cross-site', cookie: { sameSite: 'None', secure: true } },
  { name: 'of a neighbour on the same site', host: '127.0.0.1', tls: false, site: 'same-site', cookie: { sameSite: 'Lax' } },
];

for (const { name, host, tls, site, cookie } of PAGES) {
  test(`a page ${name} gets nowhere with the victim's cookie`, limit, async (t) => {
    const origin = await evil(t, host);
    const { hub, push, login } = await stage(t, [], tls);
    const page = await victim(t, hub, await login('77'), cookie, origin);

    for (const transport of ['websocket', 'polling']) {
      assert.deepEqual(await hijack(page, hub, transport), { joined: false }, transport);
    }
    const before_ = await turnedAway(hub, 'origin');
    assert.ok(before_ >= 2, `${before_}`);

    // What carries cookies and names no origin: an image, a script, a frame.
    const sent = await headersSent(page, new URL(hub.url).host);
    for (const kind of ['img', 'script', 'iframe']) await embed(page, kind, `${hub.url}/socket.io/?EIO=4&transport=polling&${kind}`);
    assert.equal(sent.length, 3);
    for (const headers of sent) {
      assert.deepEqual([headers.origin, headers['sec-fetch-site']], [undefined, site]);
      assert.match(headers.cookie, /^beaker\.session\.id=/);
    }
    assert.equal(await turnedAway(hub, 'origin'), before_ + 3);
    const { connections, registry } = await hub.status();
    assert.deepEqual([connections.opened, registry.sessions], [0, 0]);

    // Nor may the page disconnect anybody by the admin listener.
    await page.evaluate((url) => fetch(url, { method: 'POST', mode: 'no-cors' }), `${hub.admin}/api/users/77/disconnect`);
    assert.doesNotMatch(hub.lines.join('\n'), /user disconnected/);

    // The victim's own page is let in, by the same cookie.
    await page.goto(`${hub.url}/healthz`);
    await page.addScriptTag({ content: CLIENT });
    await listens(page, hub, push, 'websocket');
  });

  test(`the same page ${name} would have got in as the victim, had the hub allowed its origin`, limit, async (t) => {
    const origin = await evil(t, host);
    const { hub, push, login } = await stage(t, [origin], tls);
    const page = await victim(t, hub, await login('77'), cookie, origin);
    for (const transport of ['websocket', 'polling']) await listens(page, hub, push, transport);
    assert.equal(await turnedAway(hub, 'origin'), 0);
  });
}

/** A server of one empty page, and its origin. */
async function evil(t, host) {
  const server = createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>kittens</title>');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://${host}:${server.address().port}`;
}

/** Redis, an application, and a hub that knows its sessions and allows these origins. */
async function stage(t, origins, tls) {
  const redis = await startRedis(t);
  const app = await startBeaker(t, redis, BEAKER);
  const listeners = LISTENERS.replace('[server]', `[server]\norigins = ${JSON.stringify(origins)}`);
  const base = listeners + table('[redis]', { url: redis.url }) + identityTable(BEAKER);
  const files = tls ? certificate() : {};
  const args = Object.entries(files).flatMap(([key, file]) => ['--set', `server.tls.${key}=${file}`]);
  const { hub, push } = await hubWithPush(t, { base, args });
  await hub.line(/session store up/);
  return { hub, push, login: app.login };
}

/** A browser that is logged in at the hub's host, and looks at the other page. */
async function victim(t, hub, header, attributes, origin) {
  // A browser may keep third parties' cookies to itself, and this one does unless told. Not all do.
  const profile = mkdtempSync(join(tmpdir(), 'pregon-browser-'));
  mkdirSync(join(profile, 'Default'));
  writeFileSync(join(profile, 'Default', 'Preferences'), JSON.stringify({ profile: { cookie_controls_mode: 0 } }));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    ignoreHTTPSErrors: true,
    args: [
      '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ],
  });
  t.after(async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  });
  const [name, value] = header.split(/=(.*)/);
  const { hostname } = new URL(hub.url);
  await context.addCookies([{ name, value, domain: hostname, path: '/', httpOnly: true, ...attributes }]);
  const page = await context.newPage();
  await page.goto(origin);
  await page.addScriptTag({ content: CLIENT });
  return page;
}

/** Lets the page connect with the victim's cookie, and says what came of it. */
const hijack = (page, hub, transport) =>
  page.evaluate(
    ([url, transport_]) =>
      new Promise((resolve) => {
        const socket = io(url, { transports: [transport_], withCredentials: true, reconnection: false, forceNew: true });
        window.heard = new Promise((heard) => socket.on('notification', ({ data }) => heard(data)));
        socket.on('connect', () => resolve({ joined: true }));
        socket.on('connect_error', ({ data }) => resolve({ joined: false, ...data }));
      }),
    [hub.url, transport],
  );

/** The page gets in, and hears what is for the victim. */
async function listens(page, hub, push, transport) {
  assert.deepEqual(await hijack(page, hub, transport), { joined: true }, transport);
  await push.send(['u/77/', JSON.stringify({ data: `for 77 by ${transport}` })]);
  assert.equal(await page.evaluate(() => window.heard), `for 77 by ${transport}`);
}

/** The headers of what the browser sends to that host from now on, as they go over the wire. */
async function headersSent(page, host) {
  const sent = [];
  const devtools = await page.context().newCDPSession(page);
  devtools.on('Network.requestWillBeSentExtraInfo', ({ headers }) => {
    const lower = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
    if (lower.host === host) sent.push(lower);
  });
  await devtools.send('Network.enable');
  return sent;
}

/** Puts an element with that source into the page, and waits until the browser is through with it. */
const embed = (page, kind, src) =>
  page.evaluate(
    ([kind_, src_]) =>
      new Promise((resolve) => {
        const element = document.createElement(kind_);
        element.onload = resolve;
        element.onerror = resolve;
        element.src = src_;
        document.body.append(element);
      }),
    [kind, src],
  );

async function turnedAway(hub, reason) {
  const text = await (await fetch(`${hub.admin}/metrics`)).text();
  return Number(text.match(new RegExp(`pregon_clients_turned_away_total\\{reason="${reason}"\\} (\\d+)`))[1]);
}
