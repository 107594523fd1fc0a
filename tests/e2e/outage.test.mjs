// Redis itself is away: not there yet, killed, or silent.

import assert from 'node:assert/strict';
import test from 'node:test';
import { setInterval } from 'node:timers/promises';

import { startProxy } from './proxy.mjs';
import { startRedis } from './redis.mjs';
import {
  count, handshake, hubWithSessions, login, member, metric, newcomer, readiness, readyWhen, says,
} from './store.mjs';

const limit = { timeout: 60_000 };
const UNAVAILABLE = 'pregon_session_lookups_total{outcome="unavailable"}';

const CLIENTS = 1_000;
const NEWCOMERS = 20;
/** Once a second, throughout the outage. */
const BROADCASTS = 60;
const PACE = 1_000;

test('Redis is away when the hub starts: it starts all the same, says so, and clients get in by themselves', limit, async (t) => {
  const { redis } = await withRedis(t, 'ana');
  await redis.kill();
  const { hub } = await hubWithSessions(t, redis.url);
  const { status, body } = await readiness(hub);
  assert.equal(status, 503);
  assert.match(body, /^store_unavailable/);
  const [store] = (await hub.status()).stores;
  assert.equal(store.state, 'away');
  assert.ok(store.error.length > 0);
  const up = `pregon_session_store_up{store="${store.address}",identity="1"}`;
  assert.equal(await metric(hub, up), 0);
  assert.match(await hub.line(/session store away/), / advice="[^"]+"/);
  assert.equal(await handshake(hub), 503);

  const ana = newcomer(t, hub, 'ana');
  await ana.until((story) => story.length >= 2);
  assert.deepEqual(ana.story, ['503', '503']);
  assert.equal(count(hub, /session store away/), 1, 'once, not at each attempt');
  await redis.start();
  await hub.line(/session store up/);
  await ana.joined();
  assert.ok(ana.story.slice(0, -1).every((word) => word === '503'), `${ana.story}`);
  assert.equal((await readiness(hub)).status, 200);
  assert.equal(await metric(hub, up), 1);
  await hub.shows({ state: 'up', error: null }, ({ stores: [only] }) => only);
});

test('Redis is silent: newcomers wait outside, nobody connected notices', limit, async (t) => {
  const { redis } = await withRedis(t, 'ana', 'luis', 'eva');
  const proxy = await startProxy(t, redis);
  const { hub, push } = await hubWithSessions(t, proxy.url);
  const ana = await member(t, hub, 'ana');
  const { connections } = proxy;
  redis.freeze();
  // Luis comes before the hub knows, Eva afterwards.
  const luis = newcomer(t, hub, 'luis');
  await luis.until((story) => story.length > 0);
  await hub.line(/session store away/);
  const eva = newcomer(t, hub, 'eva');
  await Promise.all([luis, eva].map((one) => one.until((story) => story.includes('503'))));
  // Once it has connected and given up again: silence is no sign of life.
  await proxy.until(() => proxy.connections >= connections + 2);
  await says(push, [ana], 'while it is silent');
  assert.deepEqual([count(hub, /session store away/), count(hub, /session store up/)], [1, 1]);

  redis.thaw();
  await Promise.all([luis, eva].map((one) => one.joined()));
  assert.equal((await readiness(hub)).status, 200);
  await says(push, [ana, luis, eva], 'afterwards');
  assert.deepEqual(ana.disconnects, []);
  assert.ok(luis.story.slice(0, -1).every((word) => ['transport close', '503'].includes(word)), `${luis.story}`);
  assert.ok(eva.story.slice(0, -1).every((word) => word === '503'), `${eva.story}`);
});

test('a minute without Redis under 1,000 connections: nobody is dropped and nothing is missed', { timeout: 240_000 }, async (t) => {
  const users = [...Array(CLIENTS).keys()].map((n) => `user${n}`);
  const late = [...Array(NEWCOMERS).keys()].map((n) => `late${n}`);
  const { redis } = await withRedis(t, ...users, ...late);
  const { hub, push } = await hubWithSessions(t, redis.url);
  const clients = [];
  for (let n = 0; n < CLIENTS; n += 50) {
    const some = users.slice(n, n + 50).map((user) => member(t, hub, user, { transports: ['websocket'] }));
    clients.push(...await Promise.all(some));
  }
  await says(push, clients, 'before');
  await redis.kill();
  const killed = performance.now();
  await hub.line(/session store away/);
  const newcomers = late.map((user) => newcomer(t, hub, user));

  let sent = 0;
  for await (const _ of setInterval(PACE)) {
    push.write(JSON.stringify(['all/', JSON.stringify({ data: sent })]));
    sent += 1;
    if (sent === BROADCASTS) break;
  }
  const broadcasts = [...Array(sent).keys()];
  await Promise.all(clients.map((client) => client.until((heard) => heard.length > sent)));
  const asked = await metric(hub, UNAVAILABLE);
  assert.ok(asked >= CLIENTS, `each was asked about, in vain: ${asked}`);
  assert.equal(await handshake(hub), 503);
  for (const { story } of newcomers) assert.ok(story.length > 1 && story.every((word) => word === '503'), `${story}`);
  const outage = performance.now() - killed;

  const from = performance.now();
  const since = async (event) => {
    await event;
    return Math.round(performance.now() - from);
  };
  await redis.start();
  const [ready, ...ins] = await Promise.all([readyWhen(hub, 200), ...newcomers.map((one) => one.joined())].map(since));
  await says(push, [...clients, ...newcomers], 'after');

  for (const client of clients) {
    assert.deepEqual(client.data(), ['before', ...broadcasts, 'after']);
    assert.deepEqual(client.disconnects, []);
  }
  for (const { story, data } of newcomers) {
    assert.deepEqual(data(), ['after']);
    assert.equal(story.at(-1), 'joined');
    assert.ok(story.slice(0, -1).every((word) => word === '503'), `${story}`);
  }
  assert.deepEqual([count(hub, /session store away/), count(hub, /session store up/)], [1, 2]);
  await hub.shows({ websocket: CLIENTS + NEWCOMERS, opened: CLIENTS + NEWCOMERS }, ({ connections }) => connections);
  const away = (outage / 1_000).toFixed(1);
  t.diagnostic(`${CLIENTS} clients, ${sent} broadcasts, ${CLIENTS * sent} deliveries, none missed`);
  t.diagnostic(`Redis away for ${away} s, ${asked} questions in vain; from its start, ready after ${ready} ms`);
  t.diagnostic(`${NEWCOMERS} newcomers in after ${Math.min(...ins)} to ${Math.max(...ins)} ms`);
});

/** Redis, and these users logged in. */
async function withRedis(t, ...users) {
  const redis = await startRedis(t);
  await login(await redis.client(), ...users);
  return { redis };
}
