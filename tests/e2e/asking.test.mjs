// What a client may ask, how often, and what it never learns: anything of another user.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';

import { startRedis } from './redis.mjs';
import { BASE, connect, hubWithPush, LISTENERS, startHub, table } from './support.mjs';
import { ask, handshakePath, joined, webSocket } from './wire.mjs';

const limit = { timeout: 30_000 };

test('a client joins the groups that its session lists, and others by pattern only', limit, async (t) => {
  const { hub, push, login } = await stage(t, { group_patterns: ['news-*', 'team/*/público'] });
  const ana = await enter(t, hub, await login({ user: 'ana', groups: ['staff'] }));
  const ask_ = (event, address) => ana.socket.emitWithAck(event, address);
  for (const address of ['g/news-es/', 'g/news-/', 'g/team%2F7%2Fp%C3%BAblico/', 'g/staff/', 'g/news-es/']) {
    assert.deepEqual(await ask_('subscribe', address), {}, address);
  }
  for (const address of ['g/ops/', 'g/old-news-es/', 'g/%2A/', 'g/news/']) {
    assert.equal((await ask_('subscribe', address)).error, 'not_granted', address);
  }
  for (const address of ['u/luis/', 'all/', 'g/news-é/', 'g/*/', 'g/news-es', 'news-es', '', 7, null, ['g/news-es/'], undefined]) {
    assert.equal((await ask_('subscribe', address)).error, 'bad_address', `${address}`);
  }
  for (const to of ['g/ops/', 'g/news-es/', 'g/staff/', 'g/news-fr/']) await push.send([to, JSON.stringify({ data: to })]);
  await push.send(['u/ana/', '{"data":"end"}']);
  await ana.until(() => ana.data().includes('end'));
  assert.deepEqual(ana.data(), ['g/news-es/', 'g/staff/', 'end']);
  for (const address of ['g/news-es/', 'g/staff/', 'g/ops/']) assert.deepEqual(await ask_('unsubscribe', address), {});
  for (const to of ['g/news-es/', 'g/staff/']) await push.send([to, '{"data":"nobody"}']);
  await push.send(['u/ana/', '{"data":"outside"}']);
  await ana.until(() => ana.data().includes('outside'));
  assert.deepEqual(await ask_('subscribe', 'g/staff/'), {}, 'its session still lists it');
  await push.send(['g/staff/', '{"data":"again"}']);
  await ana.until(() => ana.data().includes('again'));
  assert.deepEqual(ana.data().slice(3), ['outside', 'again']);
});

test('a connection is in 1000 groups at most, and who leaves gives them back', limit, async (t) => {
  const { hub, login } = await stage(t, { group_patterns: ['*'] }, '[socketio]\nevent_rate = 0\n');
  const ana = await enter(t, hub, await login({ user: 'ana' }));
  const answers = await Promise.all(
    Array.from({ length: 1001 }, (_, n) => ana.socket.emitWithAck('subscribe', `g/${n}/`)),
  );
  assert.deepEqual(answers.filter(({ error }) => error).map(({ error }) => error), ['too_many']);
  await hub.shows({ registry: { groups: 1000 } });
  ana.socket.disconnect();
  await hub.shows({ registry: { groups: 0, sessions: 0 } });
});

test('groups follow the session: what it lists no more is left, what is new is joined', limit, async (t) => {
  const { hub, push, login } = await stage(t, { group_patterns: ['news-*'], revalidate: '200ms', cache: 0 });
  const session = await login({ user: 'ana', groups: ['staff', 'news-es'] });
  const ana = await enter(t, hub, session);
  const bob = await enter(t, hub, await login({ user: 'bob', groups: ['staff'] }));
  assert.deepEqual(await ana.socket.emitWithAck('subscribe', 'g/news-fr/'), {});
  await session.change({ user: 'ana', groups: ['board'] });
  await push.send(['g/board/', '{"data":"first"}']);
  while (ana.heard.length === 0) await push.send(['g/board/', '{"data":"board"}']);
  for (const to of ['g/staff/', 'g/news-es/', 'g/news-fr/']) await push.send([to, JSON.stringify({ data: to })]);
  await push.send(['u/ana/', '{"data":"end"}']);
  await ana.until(() => ana.data().includes('end'));
  const heard = ana.data().filter((data) => data.startsWith('g/'));
  assert.deepEqual(heard, ['g/news-es/', 'g/news-fr/'], 'staff is left, patterns still grant news');
  assert.equal((await ana.socket.emitWithAck('subscribe', 'g/staff/')).error, 'not_granted');
  await bob.until((all) => all.length > 0);
  assert.deepEqual([ana.disconnects, bob.data()], [[], ['g/staff/']]);
});

test('who says too much too fast is told so, and who does not stop is cut', limit, async (t) => {
  const hub = await startHub(t, `${BASE}[socketio]\nevent_rate = 5\n`);
  const ws = await joined(t, hub, '42');
  const quiet = await connect(t, hub, '42');
  // The join was the first of the fifty.
  for (let n = 1; n < 50; n += 1) ws.send(`42${n}["inbox"]`);
  for (let n = 1; n < 50; n += 1) assert.match(await ws.next(), /"error":"not_available"/);
  ws.send('4250["inbox"]');
  let answer = await ws.next();
  // A fifth of a second gives one back.
  for (let n = 51; !answer.includes('"rate"'); n += 1) {
    ws.send(`42${n}["inbox"]`);
    answer = await ws.next();
  }
  assert.match(answer, /^43\d+\[\{"error":"rate","message":"[^"]+"\}\]$/);
  for (let n = 0; n < 200; n += 1) ws.send('42["x"]');
  assert.deepEqual(await ws.closeReason(), { code: 1008, reason: 'rate' });
  await hub.shows({ connections: { ended: { rate: 1 } } });
  const metrics = await (await fetch(`${hub.admin}/metrics`)).text();
  assert.ok(Number(metrics.match(/pregon_client_events_total\{outcome="rate"\} (\d+)/)[1]) > 0);
  assert.equal((await quiet.socket.emitWithAck('inbox', {})).error, 'not_available');
});

test('answers, joins and leaves count, too; heartbeats do not', limit, async (t) => {
  const hub = await startHub(t, `${BASE}[socketio]\nevent_rate = 2\n`);
  for (const packet of ['431["an answer"]', '42["x"]', '421["x"]']) {
    const ws = await joined(t, hub, '42');
    for (let n = 0; n < 100; n += 1) ws.send(packet);
    assert.equal((await ws.closeReason()).reason, 'rate', packet);
  }
  // Twenty at once: the join, eight more that are refused, and what is left of them.
  const knocking = await joined(t, hub, '42');
  const says = async (packet) => {
    knocking.send(packet);
    return knocking.next();
  };
  for (let n = 0; n < 8; n += 1) assert.match(await says('40/elsewhere,'), /^44/);
  let answered = 0;
  while (!/"error":"rate"/.test(await says('421["x"]'))) answered += 1;
  // A second gives two back.
  assert.ok(answered >= 11 && answered < 15, `${answered}`);
  // Whoever was refused as often as it may have namespaces is cut, however slowly it asks.
  knocking.send('40/elsewhere,');
  assert.equal((await knocking.closeReason()).reason, 'rate');
  const ws = await joined(t, hub, '42');
  for (let n = 0; n < 500; n += 1) ws.send('3');
  ws.send('421["inbox"]');
  assert.match(await ws.next(), /"error":"not_available"/);
});

test('nobody learns anything of another user, neither by events nor by paths', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const [secret, spy] = [await connect(t, hub, 'luis-the-secret'), await connect(t, hub, 'spy')];
  const absent = 'nobody-is-called-so';
  const names = ['subscribe', 'unsubscribe', 'inbox', 'read', 'ack', 'users', 'who', 'fetchSockets', 'join', 'rooms', 'session:end', '_ctl/disconnect'];
  const forms = (user) => [[user], [`u/${user}/`], [{ user }], [`g/${user}/`], []];
  for (const name of names) {
    for (const [n, here] of forms('luis-the-secret').entries()) {
      const [one, other] = [
        await spy.socket.emitWithAck(name, ...here),
        await spy.socket.emitWithAck(name, ...forms(absent)[n]),
      ];
      assert.deepEqual(one, other, `${name} ${JSON.stringify(here)}`);
      // Who leaves a group is out of it, whether it was in or not.
      if (name !== 'unsubscribe') assert.ok(one.error, `${name} is refused`);
    }
  }
  // The public listener has none of the other's paths.
  const paths = ['/api/status', '/api/users/luis-the-secret', '/api/users/luis-the-secret/disconnect', '/metrics', '/readyz', '/feed', '/api/notifications'];
  for (const path of paths) {
    for (const method of ['GET', 'POST']) assert.equal((await ask(hub.url, path, { method })).status, 404, `${method} ${path}`);
  }
  // Nor does the way in tell who is here.
  const greet = async (user) => {
    const ws = await webSocket(t, hub);
    ws.send(`40${JSON.stringify({ user })}`);
    const said = [await ws.next(), await ws.next()];
    return said.map((packet) => packet.replace(/"sid":"[^"]+"/, '"sid"'));
  };
  assert.deepEqual(await greet('luis-the-secret'), await greet(absent));
  const health = await ask(hub.url, '/healthz');
  assert.equal(health.body, 'ok\n');
  const unknown = await ask(hub.url, handshakePath('polling', '&sid=AAAAAAAAAAAAAAAAAAAA'));
  assert.equal(unknown.body, '{"code":1,"message":"Session ID unknown"}');
  assert.deepEqual([secret.heard, secret.disconnects, spy.heard], [[], [], []]);
});

/** A hub that reads sessions as JSON from Redis, with a notifier. */
async function stage(t, keys = {}, tables = '') {
  const redis = await startRedis(t);
  const identity = { preset: 'beaker', id: 'raw', cookie: 'sid', key: 's:{id}', unwrap: ['json'], user: ['user'], groups: ['groups'] };
  const base = LISTENERS + table('[redis]', { url: redis.url }) + table('[[identity]]', { ...identity, ...keys });
  const { hub, push } = await hubWithPush(t, { base, tables });
  await hub.line(/session store up/);
  const client = await redis.client();
  return {
    hub,
    push,
    /** A new session with that content. */
    async login(content) {
      const id = randomBytes(16).toString('hex');
      const change = (now) => client.set(`s:${id}`, JSON.stringify(now));
      await change(content);
      return { cookie: `sid=${id}`, change };
    },
  };
}

const enter = (t, hub, { cookie }) => connect(t, hub, undefined, { extraHeaders: { cookie } });
