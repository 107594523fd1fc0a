// A session store that fails at every step of a question: whoever cannot be known now comes again and
// gets in, and nobody who is connected notices.

import assert from 'node:assert/strict';
import test from 'node:test';

import { startProxy } from './proxy.mjs';
import { startRedis } from './redis.mjs';
import {
  count, handshake, hubWithSessions, keyOf, login, member, metric, metricReaches, newcomer, says,
} from './store.mjs';
import { poll, webSocket } from './wire.mjs';

const limit = { timeout: 60_000 };
const UNAVAILABLE = 'pregon_session_lookups_total{outcome="unavailable"}';

/** Where the connection is cut, once these questions have come to the proxy. */
const CUTS = {
  'before Redis has the question': async ([question]) => question.cut(),
  'before the answer': async (questions) => {
    await Promise.all(questions.map((question) => question.ask()));
    questions[0].cut();
  },
  'in the middle of the answer': async ([question]) => {
    await question.answer(0.5);
    question.cut();
  },
  'right after the answer': async (questions) => {
    await Promise.all(questions.map((question) => question.answer()));
    questions[0].cut();
  },
};

/** How newcomers come: most as by themselves, and those are hit before, while and after they change to WebSocket. */
const WAYS = [['websocket'], ['polling'], ...Array(5).fill(['polling', 'websocket'])];
const COMERS = WAYS.map((_, n) => `comer${n}`);

for (const [step, cut] of Object.entries(CUTS)) {
  const answered = step === 'right after the answer';
  const outcome = answered ? 'newcomers are in' : 'newcomers come again and get in';
  test(`cut ${step}: ${outcome}, and nobody connected notices`, limit, async (t) => {
    const { client, proxy, hub, push, ana } = await withMember(t);
    await login(client, ...COMERS);
    // In the order in which they come.
    const questions = [];
    const asked = Promise.all(COMERS.map(async (user) => questions.push(await proxy.next(keyOf(user)))));
    const comers = COMERS.map((user, n) => newcomer(t, hub, user, { transports: WAYS[n] }));
    await asked;
    await cut(questions);
    await Promise.all(comers.map((comer) => comer.joined()));
    for (const comer of comers) {
      if (answered) assert.deepEqual(comer.story, ['joined']);
      else cameAgain(comer);
    }

    await cut([await proxy.next(keyOf('ana'))]);
    // The next that is whole.
    await (await proxy.next(keyOf('ana'))).answer();
    await says(push, [ana, ...comers], 'still here');
    assert.deepEqual(ana.disconnects, []);
    for (const { story } of comers) assert.equal(story.at(-1), 'joined');
  });
}

test('who cannot be known while it changes to WebSocket hears of it there', limit, async (t) => {
  const { proxy, hub } = await withProxy(t, {}, 'luis');
  const headers = { Cookie: 'sid=luis' };
  const session = await poll(hub, { headers });
  const asked = proxy.next(keyOf('luis'));
  await session.post('40');
  const question = await asked;
  const waiting = session.get();
  const ws = await webSocket(t, hub, { query: `&sid=${session.open.sid}`, headers });
  ws.send('2probe');
  assert.equal(await ws.next(), '3probe');
  assert.equal((await waiting).body, '6');
  // A stock client polls no more from here on: a WebSocket that ends before its "5" would tell it nothing.
  question.cut();
  await metricReaches(hub, 'pregon_clients_turned_away_total{reason="store_unavailable"}', 1);
  ws.send('5');
  assert.deepEqual(await ws.closeReason(), { code: 1013, reason: 'store_unavailable' });
});

test('cut right at connecting: 503 until it is over, and nobody connected notices', limit, async (t) => {
  const { proxy, hub, push, ana } = await withMember(t);
  proxy.hangsUp = true;
  proxy.cut();
  await hub.line(/session store away/);
  const luis = newcomer(t, hub, 'luis');
  await luis.until((story) => story.length >= 2);
  assert.ok(luis.story.every((word) => word === '503'), `${luis.story}`);
  // Ana has been asked about, in vain.
  await metricReaches(hub, UNAVAILABLE, 2);
  await says(push, [ana], 'while it hangs up');
  proxy.hangsUp = false;
  await luis.joined();
  cameAgain(luis);
  await says(push, [ana, luis], 'afterwards');
  assert.deepEqual(ana.disconnects, []);
  assert.equal(count(hub, /session store away/), 1, 'once, not at each attempt');
});

test('a slow store is waited for, and said to be slow', limit, async (t) => {
  const { client, proxy, hub, push, ana } = await withMember(t);
  await login(client, 'over');
  const over = newcomer(t, hub, 'over');
  await over.joined();

  proxy.delay = 1_000;
  await hub.line(/session store slow/);
  const luis = newcomer(t, hub, 'luis');
  await says(push, [ana, over], 'before Luis');
  assert.deepEqual(luis.story, [], 'he is late');
  await luis.joined();
  assert.deepEqual(luis.story, ['joined']);
  const [store] = (await hub.status()).stores;
  assert.equal(store.state, 'slow');
  assert.ok(store.round_trip_ms >= 1_000, `${store.round_trip_ms}`);
  assert.equal(await metric(hub, `pregon_session_store_up{store="${store.address}",identity="1"}`), 1);
  assert.equal(await handshake(hub), 200);
  // Sessions are still looked at.
  await client.del(keyOf('over'));
  await over.until((story) => story.includes('session:end: no_session'));

  const from = hub.lines.length;
  proxy.delay = 0;
  await hub.line(/session store fast again/, from);
  await hub.shows({ state: 'up' }, ({ stores: [only] }) => only);
  await says(push, [ana, luis], 'afterwards');
  assert.deepEqual(ana.disconnects, []);
  assert.equal(count(hub, /session store slow/), 1);
  assert.equal(count(hub, /session store away/), 0);
});

test('a store that is away for longer than the grace: users are cut as if by the network, and come back', limit, async (t) => {
  const { proxy, hub } = await withProxy(t, { grace: '1s' }, 'ana', 'luis');
  const users = [newcomer(t, hub, 'ana', { transports: ['websocket'] }), newcomer(t, hub, 'luis', { transports: ['polling'] })];
  await Promise.all(users.map((user) => user.joined()));
  await proxy.refuse();
  await Promise.all(users.map((user) => user.until((story) => story.at(-1) === '503')));
  await hub.shows({ connections: { ended: { store_unavailable: 2, session_end: 0 } } });
  await proxy.accept();
  await Promise.all(users.map((user) => user.joined()));
  for (const { story } of users) {
    assert.deepEqual(story.slice(0, 2), ['joined', 'transport close']);
    assert.ok(story.slice(2, -1).every((word) => word === '503'), `${story}`);
  }
});

test('one answer is good for a page with five connections; without a cache, each asks', limit, async (t) => {
  for (const [cache, gets] of [['5s', 1], ['0s', 5]]) {
    const { proxy, hub } = await withProxy(t, { cache, revalidate: '1h' }, 'ana', 'luis');
    for (let n = 0; n < 5; n += 1) await member(t, hub, 'ana');
    await member(t, hub, 'luis');
    assert.deepEqual([proxy.gets(keyOf('ana')), proxy.gets(keyOf('luis'))], [gets, 1], cache);
  }
});

test('a session that has ended is not remembered', limit, async (t) => {
  // Some of so many are looked at before what is remembered of them is too old anyway.
  const users = [...Array(20).keys()].map((n) => `user${n}`);
  const { client, hub } = await withProxy(t, { cache: '2s' }, ...users);
  const members = users.map((user) => newcomer(t, hub, user));
  await Promise.all(members.map((one) => one.joined()));
  await client.del(users.map(keyOf));
  await Promise.all(members.map(async (one, n) => {
    await one.until((story) => story.includes('session:end: no_session'));
    const late = newcomer(t, hub, users[n]);
    await late.until((story) => story.length > 0);
    assert.deepEqual(late.story, ['unauthorized: no_session']);
  }));
});

test('who finds its session over ends it for all who came with it, whenever they would be looked at', limit, async (t) => {
  const { client, hub } = await withProxy(t, { revalidate: '1h' }, 'ana', 'luis');
  const [ana, luis] = [newcomer(t, hub, 'ana'), newcomer(t, hub, 'luis')];
  await Promise.all([ana.joined(), luis.joined()]);
  await client.del(keyOf('ana'));
  const late = newcomer(t, hub, 'ana');
  await late.until((story) => story.length > 0);
  await ana.until((story) => story.includes('session:end: no_session'));
  assert.deepEqual([late.story, luis.story], [['unauthorized: no_session'], ['joined']]);
});

test('cookies of others that are not ASCII do not hide the session', limit, async (t) => {
  const { hub } = await withProxy(t, {}, 'ana');
  const cookie = 'nombre=José; sid=ana';
  for (const transports of [['polling'], ['websocket']]) {
    const { socket } = await member(t, hub, 'ana', { transports, extraHeaders: { cookie } });
    assert.ok(socket.connected);
  }
});

test('the end of a session voids what was asked before it', limit, async (t) => {
  const { client, proxy, hub } = await withProxy(t, { revalidate: '1h' }, 'ana');
  const key = keyOf('ana');
  const comer = () => newcomer(t, hub, 'ana', { transports: ['websocket'] });
  const ana = await member(t, hub, 'ana', { transports: ['websocket'] });
  // The session is somebody else's now: once the hub knows, it looks at it at once, but only once.
  await client.set(key, JSON.stringify({ user: 'luis' }));
  const asked = proxy.next(key);
  const luis = comer();
  const first = await asked;
  // Without a cache, who comes meanwhile waits for a question of after that, the same for all.
  const late = Array.from({ length: 20 }, comer);
  await hub.shows({ websocket: 22 }, ({ connections }) => connections);
  const [next, last] = [proxy.next(key), proxy.next(key)];
  first.answer();
  const [theirs, look] = [await next, await last];
  ana.socket.disconnect();
  await hub.statusWhen(({ registry }) => registry.sessions === 1);
  await theirs.ask();
  await client.del(key);
  await look.ask();
  // Answers keep their order on the wire, but not in the hub: some are heeded after the end is known.
  for (const question of [theirs, look]) question.answer();

  const out = ['unauthorized: no_session', 'io server disconnect'];
  await Promise.all([luis, ...late].map((one) => one.until((story) => out.includes(story.at(-1)))));
  await hub.shows({ registry: { sessions: 0 } });
});

test('who comes while a session is asked about waits for that answer, also if the first does not', limit, async (t) => {
  const { client, proxy, hub, push } = await withProxy(t, { revalidate: '1h', cache: '1m' }, 'ana', 'luis');
  const before = proxy.gets(keyOf('ana'));
  const question = proxy.next(keyOf('ana'));
  const comers = [...Array(5)].map(() => newcomer(t, hub, 'ana', { transports: ['websocket'] }));
  const asked = await question;
  await hub.shows({ websocket: 5 }, ({ connections }) => connections);
  const [leaver, ...others] = comers;
  leaver.socket.disconnect();
  await hub.shows({ websocket: 4 }, ({ connections }) => connections);
  asked.answer();
  await Promise.all(others.map((one) => one.joined()));
  await says(push, others, 'together');
  assert.equal(proxy.gets(keyOf('ana')) - before, 1, 'one question for five');

  // A no may be of before the login: who comes meanwhile does not take it.
  await client.del(keyOf('luis'));
  const refusing = proxy.next(keyOf('luis'));
  const early = newcomer(t, hub, 'luis', { transports: ['websocket'] });
  const held = await refusing;
  await held.ask();
  await login(client, 'luis');
  const late = newcomer(t, hub, 'luis', { transports: ['websocket'] });
  await hub.shows({ websocket: 6 }, ({ connections }) => connections);
  held.answer();
  await late.joined();
  await early.until((story) => story.length > 0);
  assert.deepEqual(early.story, ['unauthorized: no_session']);
});

test('a key that is no string refuses whoever comes with it, and says nothing against the store', limit, async (t) => {
  const { client, proxy, hub, push, ana } = await withMember(t);
  await client.lPush(keyOf('list'), 'y');
  const { connections } = proxy;
  const refused = newcomer(t, hub, 'list');
  await refused.until((story) => story.length > 0);
  assert.deepEqual(refused.story, ['unauthorized: corrupt']);
  const luis = newcomer(t, hub, 'luis');
  await luis.joined();
  // After Ana's next look, too.
  await (await proxy.next(keyOf('ana'))).answer();
  await says(push, [ana, luis], 'still here');
  assert.deepEqual([ana.disconnects, luis.story, refused.story.length], [[], ['joined'], 1]);
  assert.equal((await hub.status()).stores[0].state, 'up');
  assert.equal(count(hub, /session store away/), 0);
  assert.equal(proxy.connections, connections, 'the same connection throughout');
});

test('a store that flaps: each change is said once, nobody is dropped, and all get in', limit, async (t) => {
  const { client, proxy, hub, push, ana } = await withMember(t);
  const users = [...Array(10).keys()].map((n) => `user${n}`);
  await login(client, ...users);
  const comers = [];
  for (const user of users) {
    const { connections } = proxy;
    const from = hub.lines.length;
    comers.push(newcomer(t, hub, user));
    proxy.cut();
    await proxy.until(() => proxy.connections > connections);
    await hub.line(/session store up/, from);
    await says(push, [ana], user);
  }
  await Promise.all(comers.map((comer) => comer.joined()));
  await says(push, [ana, ...comers], 'all here');
  assert.deepEqual(ana.disconnects, []);
  for (const comer of comers) cameAgain(comer, 0);
  const changes = hub.lines.map((line) => line.match(/session store (up|away)/)?.[1]).filter(Boolean);
  assert.deepEqual(changes, ['up', ...users.flatMap(() => ['away', 'up'])]);
});

/** Redis, a proxy before it, a hub behind that, and these users logged in. */
async function withProxy(t, keys, ...users) {
  const redis = await startRedis(t);
  const client = await redis.client();
  await login(client, ...users);
  const proxy = await startProxy(t, redis);
  return { client, proxy, ...(await hubWithSessions(t, proxy.url, keys)) };
}

/** The same, with Ana connected; Luis could come. */
async function withMember(t) {
  const hub = await withProxy(t, {}, 'ana', 'luis');
  return { ...hub, ana: await member(t, hub.hub, 'ana') };
}

/** It is in; before that it was told to come again, `times` or more, and nothing else. */
function cameAgain({ story }, times = 1) {
  const before = story.slice(0, -1);
  assert.equal(story.at(-1), 'joined');
  assert.ok(before.every((word) => ['transport close', '503'].includes(word)), `${story}`);
  assert.ok(before.length >= times);
}
