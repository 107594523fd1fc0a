// A user is disconnected by order: of an operator or the web application over HTTP, or of a notifier that may,
// in the order of what it says.

import assert from 'node:assert/strict';
import test from 'node:test';

import { BEAKERS, identityTable, startBeaker } from './beaker.mjs';
import { startRedis } from './redis.mjs';
import { BASE, connect, freePort, hubWithPush, LISTENERS, notifierTable, refusal, startHub, startNotifier, table } from './support.mjs';
import { ask } from './wire.mjs';

const limit = { timeout: 30_000 };
const [, BEAKER] = BEAKERS;

test('POST /api/users/{user}/disconnect ends all connections of that user, and nobody else', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const ways = [{ transports: ['polling'] }, { transports: ['websocket'] }, {}];
  const clients = await Promise.all(ways.map((options) => connect(t, hub, 'José /1', options)));
  const other = await connect(t, hub, '42');
  assert.deepEqual(await order(hub, 'Jos%c3%a9%20%2F1'), { status: 200, body: { disconnected: 3 } });
  for (const client of clients) await kicked(client);
  assert.deepEqual(await order(hub, 'nobody'), { status: 200, body: { disconnected: 0 } });
  await hub.shows({ connections: { ended: { kicked: 3 } } });
  await push.send(['u/42/', '{"data":"still here"}']);
  await other.until((heard) => heard.length > 0);
  assert.deepEqual([other.data(), other.disconnects], [['still here'], []]);
  // It is an end, not a ban.
  await connect(t, hub, 'José /1');
  assert.equal((await order(hub, 'Jos%C3%A9 %2F1'.replace(' ', '%20'))).body.disconnected, 1);
});

test('a page of another site cannot disconnect anybody, and mistakes are told', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const client = await connect(t, hub, '42');
  const { host } = new URL(hub.admin);
  const post = async (headers, path = '/api/users/42/disconnect', method = 'POST') =>
    (await ask(hub.admin, path, { method, headers: { host, ...headers } })).status;
  const foreign = [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'http://localhost:1' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site', 'content-type': 'text/plain' },
    { host: 'rebound.example', origin: 'http://rebound.example' },
  ];
  for (const headers of foreign) assert.equal(await post(headers), 403, JSON.stringify(headers));
  assert.equal(await post({}, '/api/users/42/disconnect', 'GET'), 405);
  assert.equal(await post({}, '/api/users/%zz/disconnect'), 400);
  assert.equal(await post({}, `/api/users/${'a'.repeat(257)}/disconnect`), 400);
  assert.equal((await hub.status()).registry.sessions, 1);
  assert.equal(await post({ origin: hub.admin, 'sec-fetch-site': 'same-origin' }), 200);
  await kicked(client);
});

test('who was disconnected gets in again only if the store still says so, whatever was remembered', limit, async (t) => {
  const redis = await startRedis(t);
  const app = await startBeaker(t, redis, BEAKER);
  const long = { cache: '1h', revalidate: '1h' };
  const { hub } = await hubWithPush(t, { base: LISTENERS + table('[redis]', { url: redis.url }) + identityTable(BEAKER, long) });
  await hub.line(/session store up/);
  const cookie = await app.login('77');
  const enter = () => connect(t, hub, undefined, { extraHeaders: { cookie } });
  const first = await enter();
  assert.equal((await order(hub, '77')).body.disconnected, 1);
  await kicked(first);
  const second = await enter();
  await app.logout(cookie);
  // Nobody has asked the store since, so the session still counts.
  const third = await enter();
  assert.equal((await order(hub, '77')).body.disconnected, 2);
  for (const client of [second, third]) await kicked(client);
  const { error } = await refusal(t, hub, { extraHeaders: { cookie } });
  assert.deepEqual(error.data, { reason: 'no_user' });
});

const kinds = [
  { name: 'push', kind: 'push', keys: { type: 'pull' } },
  { name: 'pub, subscribe = "all"', kind: 'pub', keys: { type: 'sub', subscribe: 'all' } },
  { name: 'pub, subscribe = "each"', kind: 'pub', keys: { type: 'sub', subscribe: 'each' } },
];

for (const { name, kind, keys } of kinds) {
  test(`${name}: an order to disconnect keeps its place among the notifications`, limit, async (t) => {
    const bind = `tcp://127.0.0.1:${await freePort()}`;
    const tables = notifierTable('app', { bind, allow: ['u/', '_ctl/'], ...keys });
    const hub = await startHub(t, BASE + tables);
    const [client, other] = [await connect(t, hub, '42'), await connect(t, hub, '7')];
    const notifier = await startNotifier(t, kind, 'connect', bind);
    // A PUB's subscriptions have arrived once something does.
    for (const [user, one] of [['42', client], ['7', other]]) {
      while (one.heard.length === 0) {
        await notifier.send([`u/${user}/`, '{"data":"first"}']);
        await hub.status();
      }
    }
    await notifier.send(['u/42/', '{"data":{"n":{n}}}'], 200);
    await notifier.send(['_ctl/disconnect', '{"user":"42"}']);
    await notifier.send(['u/42/', '{"data":"after"}']);
    await kicked(client);
    const numbers = client.heard.slice(0, -1).map(({ args }) => args[0].data.n).filter((n) => n !== undefined);
    assert.deepEqual(numbers, Array.from({ length: 200 }, (_, n) => n));
    await hub.notifierShows('app', { disconnects: 1, absent: 1, refused: { not_granted: 0, bad_address: 0 } });
    await notifier.send(['_ctl/restart', '{}']);
    await hub.notifierShows('app', { refused: { bad_address: 1 } });
    await notifier.send(['u/7/', '{"data":"still here"}']);
    await other.until(() => other.data().includes('still here'));
  });
}

test('a notifier that was not given _ctl/ disconnects nobody', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const client = await connect(t, hub, '42');
  await push.send(['_ctl/disconnect', '{"user":"42"}']);
  await push.send(['{"to":"_ctl/disconnect","user":"42"}']);
  await hub.notifierShows('billing', { disconnects: 0, refused: { not_granted: 2 } });
  await push.send(['u/42/', '{"data":"still here"}']);
  await client.until((heard) => heard.length > 0);
  assert.deepEqual([client.data(), client.disconnects], [['still here'], []]);
});

test('the same order, by its id, counts once', limit, async (t) => {
  const { hub, push } = await hubWithPush(t, { keys: { allow: ['u/', '_ctl/'] } });
  const first = await connect(t, hub, '42');
  await push.send(['_ctl/disconnect', '{"user":"42"}', 'order-1']);
  await kicked(first);
  const second = await connect(t, hub, '42');
  await push.send(['{"to":"_ctl/disconnect","user":"42","id":"order-1"}']);
  await hub.notifierShows('billing', { disconnects: 1, duplicates: 1 });
  await push.send(['u/42/', '{"data":"still here"}']);
  await second.until((heard) => heard.length > 0);
  assert.deepEqual([second.data(), second.disconnects], [['still here'], []]);
});

/** The order over HTTP, and its answer. */
async function order(hub, user) {
  const answer = await fetch(`${hub.admin}/api/users/${user}/disconnect`, { method: 'POST' });
  return { status: answer.status, body: await answer.json() };
}

/** Waits until the hub has ended a client's session, by order. */
async function kicked(client) {
  await client.until(() => client.disconnects.length > 0);
  assert.deepEqual(client.disconnects, ['io server disconnect']);
  const { event, args } = client.heard.at(-1);
  assert.deepEqual([event, args], ['session:end', [{ reason: 'kicked' }]]);
  assert.equal(client.socket.active, false, 'it does not try again by itself');
}
