// Who a browser belongs to by the web application's session: Beaker writes it into Redis, the hub reads it
// there, lets the user in, and sees when it is over.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

import { BEAKER_JSON, BEAKERS, identityTable, keyOf, startBeaker } from './beaker.mjs';
import { enter, over, refused, says } from './members.mjs';
import { startRedis } from './redis.mjs';
import { hubWithPush, inLanes, LISTENERS, startHub, table } from './support.mjs';
import { ask, handshakePath, webSocket } from './wire.mjs';

const limit = { timeout: 30_000 };
const [, BEAKER] = BEAKERS;

for (const beaker of [...BEAKERS, BEAKER_JSON]) {
  test(`${beaker.name}: a session says who its user is`, limit, async (t) => {
    const { app, hub, push } = await stage(t, beaker);
    const [cookie, other] = [await app.login('77'), await app.login('78')];
    const clients = [];
    for (const options of [{}, { transports: ['polling'] }, { transports: ['websocket'] }]) {
      clients.push(await enter(t, hub, cookie, options));
    }
    const neighbour = await enter(t, hub, other);
    await push.send(['u/78/', '{"data":"for 78"}']);
    await push.send(['u/77/', '{"data":"for 77"}']);
    // What was not for them would have come before.
    for (const client of clients) await client.until((heard) => heard.length > 0);
    await push.send(['u/78/', '{"data":"the end"}']);
    await neighbour.until((heard) => heard.length > 1);
    for (const client of clients) assert.deepEqual(client.data(), ['for 77']);
    assert.deepEqual(neighbour.data(), ['for 78', 'the end']);
  });
}

test('every flipped bit in the cookie that can be sent is noticed, in signature and id', limit, async (t) => {
  const { app, hub } = await stage(t, BEAKER);
  const cookie = await app.login('77');
  await enter(t, hub, cookie);
  const start = cookie.indexOf('=') + 1;
  const flips = [...cookie.slice(start)].flatMap((letter, at) =>
    [0, 1, 2, 3, 4, 5, 6]
      .map((bit) => String.fromCharCode(letter.charCodeAt() ^ (1 << bit)))
      // No client may send control characters.
      .filter((flipped) => flipped >= ' ')
      .map((flipped) => cookie.slice(0, start + at) + flipped + cookie.slice(start + at + 1)),
  );
  assert.ok(flips.length > 400, `${flips.length}`);
  const wrong = [];
  await inLanes(16, flips, async (flipped, lane) => {
    const transports = [lane % 2 ? 'polling' : 'websocket'];
    const reason = await refused(t, hub, flipped, { transports }).catch(({ message }) => message);
    const stillHex = /id=[0-9a-f]{40}/.test(flipped);
    if (reason !== 'bad_signature' && (stillHex || reason !== 'malformed')) wrong.push(`${reason}: ${flipped}`);
  });
  t.diagnostic(`${flips.length - wrong.length} of ${flips.length} flipped bits refused`);
  assert.deepEqual(wrong, [], `of ${cookie}`);
});

for (const beaker of BEAKERS) {
  test(`${beaker.name}: an old session is over, at the door and for who is in`, limit, async (t) => {
    const timeout = 600;
    const { app, hub } = await stage(t, beaker, { timeout, revalidate: '200ms' }, ['--timeout', `${timeout}`]);
    await app.shiftClock(-2 * timeout);
    const old = await app.login('77');
    assert.equal(await refused(t, hub, old), 'expired');
    await app.shiftClock(-timeout / 2);
    const cookie = await app.login('77');
    const client = await enter(t, hub, cookie);
    await app.shiftClock(-2 * timeout);
    await app.visit(cookie);
    assert.equal(await over(client), 'expired');
  });

  test(`${beaker.name}: a logout ends the connection, and the cookie opens nothing any more`, limit, async (t) => {
    const { app, hub } = await stage(t, beaker, { revalidate: '2s' });
    const cookie = await app.login('77');
    const client = await enter(t, hub, cookie);
    const began = performance.now();
    await app.logout(cookie);
    await client.until((heard) => heard.length > 0);
    t.diagnostic(`${Math.round(performance.now() - began)} ms from logout to session:end, with revalidate = "2s"`);
    // Beaker leaves the session there, without its user.
    assert.equal(await over(client), 'no_user');
    assert.equal(client.socket.active, false, 'it does not try again by itself');
    assert.equal(await refused(t, hub, cookie), 'no_user');
    await hub.line(/session over reason=no_user sessions=1 connections=1/);
  });

  test(`${beaker.name}: another user in the same session ends the connection of the first`, limit, async (t) => {
    const { app, hub, push } = await stage(t, beaker, { revalidate: '200ms' });
    const cookie = await app.login('77');
    const client = await enter(t, hub, cookie);
    assert.equal(await app.login('78', cookie), cookie);
    assert.equal(await over(client), 'session_end');
    const successor = await enter(t, hub, cookie);
    await push.send(['u/77/', '{"data":"for 77"}']);
    await says(push, '78', successor, 'for 78');
    assert.deepEqual(successor.data(), ['for 78']);
  });

  test(`${beaker.name}: a session gone from Redis is over for all of its sockets, and for no others`, limit, async (t) => {
    const { app, hub, push, redis } = await stage(t, beaker, { revalidate: '200ms' });
    const [cookie, other] = [await app.login('77'), await app.login('77')];
    const both = [await enter(t, hub, cookie), await enter(t, hub, cookie)];
    const stays = await enter(t, hub, other);
    const client = await redis.client();
    assert.equal(await client.del(keyOf(cookie)), 1);
    for (const one of both) assert.equal(await over(one), 'no_session');
    await hub.line(/session over reason=no_session sessions=1 connections=2/);
    await says(push, '77', stays, 'still here');
    assert.deepEqual([stays.data(), stays.disconnects], [['still here'], []]);
    assert.equal(await refused(t, hub, cookie), 'no_session');
  });

  test(`${beaker.name}: page views end nothing, nor does invalidate(), which leaves the session in Redis`, limit, async (t) => {
    const { app, hub, push, redis } = await stage(t, beaker, { revalidate: '200ms' });
    const cookie = await app.login('77');
    const client = await enter(t, hub, cookie);
    const session = await redis.watch(keyOf(cookie));
    await app.visit(cookie);
    // The second read proves that the first was judged.
    await session.until((commands) => /SET,GET,GET/.test(commands.join()));
    // The browser goes on with another id.
    assert.notEqual(await app.invalidate(cookie), cookie);
    const reads = session.reads();
    await session.until(() => session.reads() >= reads + 4);
    assert.equal(session.commands.filter((command) => command === 'SET').length, 1);
    await says(push, '77', client, 'still here');
    assert.deepEqual([client.data(), client.disconnects], [['still here'], []]);
  });
}

test('a logout is one where sessions time out, too', limit, async (t) => {
  const { app, hub } = await stage(t, BEAKER, { timeout: 600, revalidate: '200ms' }, ['--timeout', '600']);
  const cookie = await app.login('77');
  const client = await enter(t, hub, cookie);
  // Beaker leaves no time of last use.
  await app.logout(cookie);
  assert.equal(await over(client), 'no_user');
});

test('a client that polls is told of the end, too, and of nothing else', limit, async (t) => {
  const { app, hub } = await stage(t, BEAKER, { revalidate: '200ms' });
  const cookie = await app.login('77');
  const client = await enter(t, hub, cookie, { transports: ['polling'] });
  await app.logout(cookie);
  assert.equal(await over(client), 'no_user');
});

test('twenty sockets of a session cost as many lookups as one', limit, async (t) => {
  const rounds = 6;
  const { app, hub, redis } = await stage(t, BEAKER, { revalidate: '500ms', cache: '1m' });
  const [alone, shared] = [await app.login('77'), await app.login('78')];
  const [measure, measured] = [await redis.watch(keyOf(alone)), await redis.watch(keyOf(shared))];
  await enter(t, hub, alone);
  await enter(t, hub, shared);
  await Promise.all(Array.from({ length: 19 }, () => enter(t, hub, shared)));
  await measure.until(() => measure.reads() >= rounds);
  t.diagnostic(`1 socket: ${measure.reads()} lookups; 20 sockets: ${measured.reads()}`);
  // The intervals vary by a tenth, and what is due waits for the next tick.
  assert.ok(Math.abs(measured.reads() - measure.reads()) <= 2, `${measured.reads()} lookups`);
});

test('a Redis user who may not read sessions makes the store unavailable, and the log says why', limit, async (t) => {
  const redis = await startRedis(t);
  const url = await redisUser(redis, ['+get', '+ping', '+hello', '%R~other:*']);
  const app = await startBeaker(t, redis, BEAKER);
  const cookie = await app.login('77');
  const hub = await startHub(t, settingsFor(url, BEAKER));
  await hub.line(/session store away .*NOPERM/i);
  const ready = await fetch(`${hub.admin}/readyz`);
  assert.equal(ready.status, 503);
  assert.match(await ready.text(), /store_unavailable/);
  const { stores } = await hub.status();
  assert.deepEqual(stores.map(({ state }) => state), ['away']);
  const headers = { cookie };
  const answers = [await ask(hub.url, handshakePath('polling'), { headers }), await webSocket(t, hub, { headers })];
  assert.deepEqual(answers.map(({ status }) => status), [503, 503]);
  assert.doesNotMatch(hub.lines.join('\n'), /pw-of-the-hub/);
});

test('a session that would run a program is refused, nothing runs, and the hub goes on', limit, async (t) => {
  const { app, hub, push, redis } = await stage(t, BEAKER, { revalidate: '200ms', cache: 0 });
  const cookie = await app.login('77');
  const [victim, bystander] = [await enter(t, hub, cookie), await enter(t, hub, await app.login('78'))];
  const marker = join(mkdtempSync(join(tmpdir(), 'pregon-marker-')), 'it-ran');
  const hostile = `cposix\nsystem\n(S'touch ${marker}'\ntR.`;
  const packed = Buffer.from(hostile).toString('base64');
  const client = await redis.client();
  for (const value of [hostile, `S'${packed}'\n.`]) {
    await client.set(keyOf(cookie), value);
    assert.match(await refused(t, hub, cookie), /^(corrupt|no_user)$/);
  }
  assert.match(await over(victim), /^(corrupt|no_user)$/);
  assert.equal(existsSync(marker), false);
  await says(push, '78', bystander, 'still here');
  // It was no blank: Beaker itself runs it.
  await app.visit(cookie);
  assert.equal(existsSync(marker), true);
});

/** Redis, an application, and a hub that knows its sessions and has a notifier. */
async function stage(t, beaker, keys = {}, args = []) {
  const redis = await startRedis(t);
  const app = await startBeaker(t, redis, beaker, args);
  const { hub, push } = await hubWithPush(t, { base: settingsFor(redis.url, beaker, keys) });
  await hub.line(/session store up/);
  return { redis, app, hub, push };
}

const settingsFor = (url, beaker, keys) => LISTENERS + table('[redis]', { url }) + identityTable(beaker, keys);

/** A Redis user of that name who may do only this; the hub's URL. */
async function redisUser(redis, rules) {
  const client = await redis.client();
  await client.sendCommand(['ACL', 'SETUSER', 'hub', 'on', '>pw-of-the-hub', '-@all', ...rules]);
  return redis.url.replace('//', '//hub:pw-of-the-hub@');
}
