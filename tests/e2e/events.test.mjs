// Redis tells of sessions that change, and the hub looks at them at once. It looks by itself once an hour in
// these tests, so what is seen is seen by events.

import assert from 'node:assert/strict';
import test from 'node:test';

import { BEAKERS, identityTable, startBeaker } from './beaker.mjs';
import { startProxy } from './proxy.mjs';
import { EVENTS, startRedis } from './redis.mjs';
import { count, hubWithSessions, keyOf, login, member, newcomer, says } from './store.mjs';
import { connect, inLanes, LISTENERS, startHub, table } from './support.mjs';

const limit = { timeout: 120_000 };
const CLIENTS = 1_000;
const BURST = 20_000;

/** The most that the end of a session may take to be heard, at the 99th percentile, in ms. */
const SOON = 1_000;

test(`${CLIENTS} users log out one by one, and each is out at once`, limit, async (t) => {
  const { client, hub } = await withEvents(t);
  const users = [...Array(CLIENTS).keys()].map((n) => `user${n}`);
  await login(client, ...users);
  const members = new Map();
  await inLanes(16, users, async (user) => {
    const one = newcomer(t, hub, user, { transports: ['websocket'] });
    await one.joined();
    members.set(user, one);
  });
  const times = [];
  for (const user of users) {
    const begun = performance.now();
    await client.del(keyOf(user));
    await members.get(user).until((story) => story.includes('session:end: no_session'));
    times.push(performance.now() - begun);
  }
  times.sort((a, b) => a - b);
  const [p50, p99, max] = [0.5, 0.99, 1].map((share) => times[Math.ceil(CLIENTS * share) - 1]);
  t.diagnostic(`logout to session:end: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, longest ${max.toFixed(1)} ms`);
  assert.ok(p99 < SOON, `${p99}`);
  await hub.shows({ sessions: { watched: 0, ended: CLIENTS } });
  await hub.shows({ events: 'on' }, store);
});

test('a session that expires is over', limit, async (t) => {
  const { client, hub } = await withEvents(t);
  await client.set(keyOf('ana'), '{"user":"ana"}', { expiration: { type: 'PX', value: 2_000 } });
  const ana = newcomer(t, hub, 'ana');
  await ana.until((story) => story.includes('session:end: no_session'));
  assert.equal(ana.story[0], 'joined');
});

for (const beaker of BEAKERS) {
  test(`${beaker.name}: a logout, which rewrites the session, is seen at once`, limit, async (t) => {
    const redis = await startRedis(t, EVENTS);
    const app = await startBeaker(t, redis, beaker);
    const identity = identityTable(beaker, { revalidate: '1h' });
    const hub = await startHub(t, LISTENERS + table('[redis]', { url: redis.url }) + identity);
    const [cookie, other] = [await app.login('77'), await app.login('78')];
    const [ana, luis] = await Promise.all([cookie, other].map((one) => connect(t, hub, undefined, { extraHeaders: { cookie: one } })));
    await app.visit(other);
    await app.logout(cookie);
    await ana.until(() => ana.disconnects.length > 0);
    assert.deepEqual([ana.heard.at(-1).event, ana.heard.at(-1).args[0].reason], ['session:end', 'no_user']);
    assert.deepEqual(luis.disconnects, []);
  });
}

test('page views are looked at now and then, and the last one always', limit, async (t) => {
  const { redis, client, hub } = await withEvents(t, {}, 'ana');
  const ana = newcomer(t, hub, 'ana');
  await ana.joined();
  const session = await redis.watch(keyOf('ana'));
  const begun = performance.now();
  let views = 0;
  while (session.reads() < 5) {
    await login(client, 'ana');
    views += 1;
  }
  await client.set(keyOf('ana'), '{"user":"luis"}');
  await ana.until((story) => story.includes('session:end: session_end'));
  const most = 2 + Math.ceil((performance.now() - begun) / 250);
  t.diagnostic(`${views} page views: ${session.reads()} lookups`);
  assert.ok(session.reads() <= most, `${session.reads()} of at most ${most}`);
  assert.ok(views > 3 * session.reads(), `${views}`);
});

test('what changes while the hub asks is asked again', limit, async (t) => {
  const { client, proxy, hub } = await withEvents(t, {}, 'ana');
  const ana = newcomer(t, hub, 'ana');
  await ana.joined();
  const asked = proxy.next(keyOf('ana'));
  await login(client, 'ana');
  const question = await asked;
  await question.ask();
  await client.set(keyOf('ana'), '{"user":"luis"}');
  await hub.shows({ events_heard: 2 }, store);
  // It still says Ana.
  question.answer();
  await ana.until((story) => story.includes('session:end: session_end'));
});

test('in a burst of changes, the one that matters is seen', limit, async (t) => {
  const { client, hub, push } = await withEvents(t, {}, 'ana', 'luis');
  const [ana, luis] = [newcomer(t, hub, 'ana'), newcomer(t, hub, 'luis')];
  await Promise.all([ana.joined(), luis.joined()]);
  const burst = `for n = 1, ${BURST} do redis.call('SET', 'sess:n' .. n, 'x') if n == ${BURST / 2} then redis.call('DEL', 'sess:ana') end end`;
  await client.eval(burst);
  await ana.until((story) => story.includes('session:end: no_session'));
  await hub.shows({ events: 'on', events_heard: BURST + 1 }, store);
  await says(push, [luis], 'still here');
  assert.deepEqual(luis.story, ['joined']);
});

test('a session that ends while the hub cannot hear it is seen once it can', limit, async (t) => {
  const { client, hub, push } = await withEvents(t, {}, 'ana', 'luis');
  const [ana, luis] = [newcomer(t, hub, 'ana'), newcomer(t, hub, 'luis')];
  await Promise.all([ana.joined(), luis.joined()]);
  // In one step: nobody is subscribed when the key goes.
  const [killed, deleted] = await client
    .multi()
    .addCommand(['CLIENT', 'KILL', 'TYPE', 'pubsub'])
    .del(keyOf('ana'))
    .exec();
  assert.deepEqual([killed, deleted], [1, 1]);
  await ana.until((story) => story.includes('session:end: no_session'));
  assert.equal(count(hub, /session events lost/), 1);
  assert.equal(count(hub, /session events subscribed/), 2);
  await says(push, [luis], 'still here');
  assert.deepEqual(luis.story, ['joined']);
  assert.equal(count(hub, /session store away/), 0);
});

test('so is one that ends while Redis is away', limit, async (t) => {
  const { redis, client, hub, push } = await withEvents(t, {}, 'ana', 'luis');
  const [ana, luis] = [newcomer(t, hub, 'ana'), newcomer(t, hub, 'luis')];
  await Promise.all([ana.joined(), luis.joined()]);
  await client.multi().addCommand(['CLIENT', 'KILL', 'TYPE', 'pubsub']).addCommand(['CLIENT', 'KILL', 'TYPE', 'normal']).del(keyOf('ana')).exec().catch(() => {});
  await redis.kill();
  await redis.start();
  await ana.until((story) => story.includes('session:end: no_session'));
  await says(push, [luis], 'still here');
  assert.deepEqual(luis.story, ['joined']);
});

test('an answer that is remembered lets nobody in after the logout', limit, async (t) => {
  const { client, hub } = await withEvents(t, { cache: '1h' }, 'ana');
  const ana = await member(t, hub, 'ana');
  ana.socket.disconnect();
  await hub.shows({ sessions: { watched: 0 } });
  await client.del(keyOf('ana'));
  await hub.shows({ events_heard: 1 }, store);
  const late = newcomer(t, hub, 'ana');
  await late.until((story) => story.length > 0);
  assert.deepEqual(late.story, ['unauthorized: no_session']);
});

test('a Redis that tells nothing: the hub looks by itself, and says so', limit, async (t) => {
  const redis = await startRedis(t);
  const client = await redis.client();
  await login(client, 'ana', 'luis');
  const { hub, push } = await hubWithSessions(t, redis.url, { revalidate: '200ms' });
  const [ana, luis] = [newcomer(t, hub, 'ana'), newcomer(t, hub, 'luis')];
  await Promise.all([ana.joined(), luis.joined()]);
  await hub.shows({ events: 'unknown', events_heard: 0 }, store);
  await client.del(keyOf('ana'));
  await ana.until((story) => story.includes('session:end: no_session'));
  await hub.line(/session events off .*notify-keyspace-events/);
  await hub.shows({ events: 'off' }, store);
  await says(push, [luis], 'still here');
  // Once it tells, the hub hears it.
  await client.configSet('notify-keyspace-events', 'K$gx');
  await client.del(keyOf('luis'));
  await luis.until((story) => story.includes('session:end: no_session'));
  await hub.line(/session events on/);
  await hub.shows({ events: 'on' }, store);
});

test('a Redis user who may not subscribe: the hub looks by itself, and says so once', limit, async (t) => {
  const redis = await startRedis(t, EVENTS);
  const client = await redis.client();
  await client.sendCommand(['ACL', 'SETUSER', 'hub', 'on', '>pw', '-@all', '+get', '+ping', '%R~sess:*']);
  await login(client, 'ana');
  const { hub } = await hubWithSessions(t, redis.url.replace('//', '//hub:pw@'), { revalidate: '200ms' });
  const ana = newcomer(t, hub, 'ana');
  await ana.joined();
  await client.del(keyOf('ana'));
  await ana.until((story) => story.includes('session:end: no_session'));
  assert.equal(count(hub, /session events refused .*NOPERM/i), 1);
  await hub.shows({ state: 'up', events: 'off', events_heard: 0 }, store);
});

const store = ({ stores: [only] }) => only;

/** A Redis that tells, these users logged in, and a hub that hears it. */
async function withEvents(t, keys = {}, ...users) {
  const redis = await startRedis(t, EVENTS);
  const client = await redis.client();
  await login(client, ...users);
  const proxy = await startProxy(t, redis);
  const hub = await hubWithSessions(t, proxy.url, { revalidate: '1h', ...keys });
  await hub.hub.line(/session events subscribed/);
  return { redis, client, proxy, ...hub };
}
