// The id of a connection that polls is no key to it: whoever has learnt it, and comes with another user's
// cookie or with none, reads nothing, says nothing and ends nothing.

import assert from 'node:assert/strict';
import test from 'node:test';

import { BEAKERS, identityTable, startBeaker } from './beaker.mjs';
import { startRedis } from './redis.mjs';
import { BASE, hubWithPush, LISTENERS, startHub, table } from './support.mjs';
import { ask, handshakePath, poll, webSocket } from './wire.mjs';

const limit = { timeout: 30_000 };
const [, BEAKER] = BEAKERS;

test('a stolen id with another cookie, or none, is refused in every way, and the owner notices nothing', limit, async (t) => {
  const { app, hub, push } = await stage(t);
  const cookie = await app.login('77');
  const victim = await poll(hub, { headers: { cookie } });
  assert.match(await victim.join(), /^40\{/);
  const waiting = victim.get();
  const forged = cookie.replace(/.$/, (last) => (last === '0' ? '1' : '0'));
  const thieves = {
    other_user: { cookie: await app.login('78') },
    no_cookie: {},
    'no_cookie ': { cookie: 'other=1' },
    bad_signature: { cookie: forged.replace(/=./, (start) => (start === '=0' ? '=1' : '=0')) },
    ambiguous: { cookie: `${cookie}; ${await app.login('78')}` },
  };
  const before = await reasons(hub);
  for (const [reason, headers] of Object.entries(thieves)) {
    const said = `${reason}: ${JSON.stringify(headers)}`;
    assert.deepEqual(await attempt(hub, victim, headers), [403, 403, 403, 403], said);
    const upgrade = await webSocket(t, hub, { query: `&sid=${victim.open.sid}`, headers });
    assert.equal(upgrade.status, 403, said);
  }
  const after = await reasons(hub);
  const counted = Object.fromEntries(Object.keys(after).map((reason) => [reason, after[reason] - before[reason]]));
  assert.deepEqual(
    ['other_user', 'no_cookie', 'bad_signature', 'ambiguous'].map((reason) => counted[reason]),
    [5, 10, 5, 5],
  );
  await push.send(['u/77/', '{"data":"for 77"}']);
  assert.match((await waiting).body, /for 77/);
  assert.equal((await victim.post('3')).status, 200);
  const { connections } = await hub.status();
  assert.deepEqual([connections.polling, connections.opened], [1, 1]);
  // And the owner may still move to a WebSocket.
  const upgrade = await webSocket(t, hub, { query: `&sid=${victim.open.sid}`, headers: { cookie } });
  upgrade.send('2probe');
  assert.equal(await upgrade.next(), '3probe');
});

test('before anybody has joined, the id is the first sender\'s, too', limit, async (t) => {
  const { app, hub } = await stage(t);
  const cookie = await app.login('77');
  const victim = await poll(hub, { headers: { cookie } });
  for (const headers of [{ cookie: await app.login('78') }, {}]) {
    assert.deepEqual(await attempt(hub, victim, headers), [403, 403, 403, 403]);
  }
  // A cookie that somebody else sets meanwhile is no other user.
  const more = await ask(hub.url, victim.path, { method: 'POST', body: '40', headers: { cookie: `_ga=1; ${cookie}` } });
  assert.equal(more.status, 200);
  assert.match((await victim.get()).body, /^40\{/);
});

test('to have the hub look whose an id is costs as much as a handshake, and is as limited', limit, async (t) => {
  const listeners = LISTENERS.replace('handshakes_per_address = 0', 'handshakes_per_address = 1');
  const { app, hub, push } = await stage(t, listeners);
  const cookie = await app.login('77');
  const victim = await poll(hub, { headers: { cookie } });
  assert.match(await victim.join(), /^40\{/);
  const statuses = [];
  for (let n = 0; n < 30; n += 1) {
    const headers = { cookie: cookie.replace(/.{4}$/, String(1_000 + n)) };
    statuses.push((await ask(hub.url, victim.path, { method: 'POST', body: '1', headers })).status);
  }
  assert.deepEqual([...new Set(statuses)], [403, 429]);
  assert.ok(statuses.filter((status) => status === 403).length < 15, `${statuses}`);
  // Who brings what the first request brought is not asked about.
  const waiting = victim.get();
  await push.send(['u/77/', '{"data":"for 77"}']);
  assert.match((await waiting).body, /for 77/);
});

test('a cookie that was renewed, or has company, still opens its own user\'s connection', limit, async (t) => {
  const { app, hub, push } = await stage(t);
  const cookie = await app.login('77');
  const client = await poll(hub, { headers: { cookie } });
  assert.match(await client.join(), /^40\{/);
  const renewed = await app.login('77');
  assert.notEqual(renewed, cookie);
  const ways = [renewed, `theme=dark; ${renewed}`, `${renewed}; _ga=2`, cookie];
  for (const [n, way] of ways.entries()) {
    await push.send(['u/77/', `{"data":"number ${n}"}`]);
    const answer = await ask(hub.url, client.path, { headers: { cookie: way } });
    assert.equal(answer.status, 200);
    assert.match(answer.body, new RegExp(`number ${n}`));
  }
});

test('while nobody can say whose a renewed cookie is, the request is put off, and the connection lives on', limit, async (t) => {
  const { app, hub, redis, push } = await stage(t);
  const cookie = await app.login('77');
  const [renewed, other] = [await app.login('77'), await app.login('78')];
  const client = await poll(hub, { headers: { cookie } });
  assert.match(await client.join(), /^40\{/);
  await redis.kill();
  await hub.line(/session store away/);
  for (const headers of [{ cookie: renewed }, { cookie: other }]) {
    const answer = await ask(hub.url, client.path, { headers });
    assert.deepEqual([answer.status, answer.body], [503, '{"message":"store_unavailable"}']);
  }
  // What brings the same as before needs nobody's word.
  await push.send(['u/77/', '{"data":"still here"}']);
  assert.match((await client.get()).body, /still here/);
});

test('where cookies say nothing of the user, they may change', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const client = await poll(hub, { headers: { cookie: 'a=1' } });
  assert.match(await client.join({ user: '42' }), /^40\{/);
  const answer = await ask(hub.url, client.path, { method: 'POST', body: '3', headers: { cookie: 'a=2' } });
  assert.equal(answer.status, 200);
});

/** Redis, an application, and a hub that knows its sessions and has a notifier. */
async function stage(t, listeners = LISTENERS) {
  const redis = await startRedis(t);
  const app = await startBeaker(t, redis, BEAKER);
  const { hub, push } = await hubWithPush(t, { base: listeners + table('[redis]', { url: redis.url }) + identityTable(BEAKER, {}) });
  await hub.line(/session store up/);
  return { redis, app, hub, push };
}

/** What a thief gets to hear who has the id: a GET, a second one, an end, a POST that breaks the protocol. */
async function attempt(hub, victim, headers) {
  const post = (body, more = {}) =>
    ask(hub.url, victim.path, { method: 'POST', body, headers: { ...headers, ...more } });
  const get = () => ask(hub.url, victim.path, { headers });
  const answers = [await get(), await post('1'), await post('40'), await post('x', { 'content-type': 'application/octet-stream' })];
  for (const { body } of answers) assert.equal(body, '{"code":4,"message":"Forbidden"}');
  return answers.map(({ status }) => status);
}

/** How often somebody was turned away, by reason. */
async function reasons(hub) {
  const text = await (await fetch(`${hub.admin}/metrics`)).text();
  const lines = text.matchAll(/^pregon_clients_turned_away_total\{reason="(\w+)"\} (\d+)/gm);
  return Object.fromEntries([...lines].map(([, reason, n]) => [reason, Number(n)]));
}
