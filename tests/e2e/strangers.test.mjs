// Limits against strangers: how many connections there may be, in all and from one address, and how many
// handshakes an address may make. Whoever meets one is told which kind it is, and gets in later.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as dial } from 'node:net';
import test from 'node:test';

import { adopt, BASE, connect, hubWithPush, PREGON, Process, settings, startHub } from './support.mjs';
import { ask, handshakePath, joined, poll, webSocket } from './wire.mjs';

const limit = { timeout: 60_000 };

const PROXY = 'trusted_proxies = ["127.0.0.1"]\n';
const from = (address) => ({ headers: { 'X-Forwarded-For': address } });
const TOO_MANY = [503, '{"message":"too_many"}', '1'];

test('an address has so many connections, of both kinds; where one leaves, the next gets in', limit, async (t) => {
  const hub = await startHub(t, hubOf('connections_per_address = 3\n'));
  const websockets = [await joined(t, hub, 'ana'), await joined(t, hub, 'luis')];
  const polling = await poll(hub);
  await polling.join({ user: 'eva' });

  assert.deepEqual(await knock(hub), TOO_MANY);
  const surplus = await webSocket(t, hub);
  assert.deepEqual([surplus.status, surplus.body, surplus.headers['retry-after']], [503, 'too_many', '1']);
  assert.match(
    await hub.line(/strangers refused/),
    /reason=too_many limit=connections_per_address count=1 last_remote=127\.0\.0\.1 advice="[^"]*trusted_proxies/,
  );

  websockets[0].send('41');
  websockets[0].send('1');
  await hub.statusWhen(({ connections }) => connections.websocket === 1);
  const late = await joined(t, hub, 'late');
  assert.deepEqual(await knock(hub), TOO_MANY);
  // One that polls gives its place back, too.
  await polling.post('1');
  await hub.statusWhen(({ connections }) => connections.polling === 0);
  await joined(t, hub, 'later');
  assert.deepEqual(await limited(hub), { connections_per_address: 3 });
  assert.equal(await turnedAway(hub, 'too_many'), 3);
  assert.equal(late.ended, false);
});

test('a move from polling to WebSocket is no second connection', limit, async (t) => {
  const hub = await startHub(t, hubOf('connections_per_address = 1\n'));
  const { socket } = await connect(t, hub, 'ana');
  if (socket.io.engine.transport.name !== 'websocket') await new Promise((resolve) => socket.io.engine.once('upgrade', resolve));
  await hub.statusWhen(({ connections }) => connections.websocket === 1);
  assert.deepEqual(await limited(hub), {});
  assert.deepEqual(await knock(hub), TOO_MANY);
});

test('an address makes so many handshakes; after Retry-After the next one succeeds', limit, async (t) => {
  const hub = await startHub(t, hubOf('handshakes_per_address = 1\n'));
  const answers = [];
  for (let n = 0; n < 20; n += 1) answers.push(await knock(hub));
  const [status, body, retry] = answers.at(-1);
  assert.deepEqual([status, body], [429, '{"message":"rate"}']);
  assert.ok(Number(retry) >= 1 && Number(retry) <= 2, retry);
  const refused = answers.filter(([one]) => one === 429).length;
  assert.ok(refused >= 5 && refused <= 10, `ten at once, and one a second: ${refused} refused`);
  const websocket = await webSocket(t, hub);
  assert.deepEqual([websocket.status, websocket.body], [429, 'rate']);

  // Asking in vain costs nothing: it gets in when the hub said, not later.
  const said = performance.now();
  let inVain = 0;
  for (let last = retry; ; inVain += 1) {
    const [again, , retryAfter] = await knock(hub);
    if (again === 200) break;
    assert.equal(again, 429);
    assert.ok(Number(retryAfter) <= Number(last), `${retryAfter} after ${last}`);
    last = retryAfter;
  }
  const waited = performance.now() - said;
  assert.ok(waited < 1_000 * Number(retry) + 500, `${waited} ms, though it said ${retry} s`);
  const counted = refused + 1 + inVain;
  assert.deepEqual(await limited(hub), { handshakes_per_address: counted });
  assert.equal(await turnedAway(hub, 'rate'), counted);
  const lines = hub.lines.filter((line) => /strangers refused reason=rate/.test(line)).length;
  assert.ok(lines >= 1 && lines <= 5, `${lines} lines for ${counted} refusals`);
});

test('a total, over all addresses', limit, async (t) => {
  const hub = await startHub(t, hubOf(`max_connections = 4\nconnections_per_address = 3\n${PROXY}`));
  for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.3', '2001:db8::1']) await poll(hub, from(address));
  assert.deepEqual(await knock(hub, from('10.0.0.4')), TOO_MANY);
  assert.equal((await hub.status()).connections.max, 4);
  assert.deepEqual(await limited(hub), { max_connections: 1 });
});

test('those who have not said who they are have a limit of their own', limit, async (t) => {
  const hub = await startHub(t, hubOf('max_unjoined = 2\n'));
  const silent = await poll(hub);
  await joined(t, hub, 'ana');
  await poll(hub);
  assert.deepEqual(await knock(hub), TOO_MANY);
  await silent.join({ user: 'luis' });
  await joined(t, hub, 'eva');
  assert.deepEqual(await limited(hub), { max_unjoined: 1 });
});

test('X-Forwarded-For counts only from a trusted proxy, and an IPv6 network is one address', limit, async (t) => {
  const terms = 'connections_per_address = 1\n';
  const believing = await startHub(t, hubOf(terms + PROXY));
  await poll(believing, from('10.0.0.1'));
  await poll(believing, from('10.0.0.2'));
  assert.deepEqual(await knock(believing, from('10.0.0.1')), TOO_MANY);
  // What the client itself has written comes before what the proxy adds.
  assert.deepEqual(await knock(believing, from('6.6.6.6, 10.0.0.1')), TOO_MANY);
  await poll(believing, from('2001:db8:0:1::1'));
  assert.deepEqual(await knock(believing, from('2001:db8:0:1:ffff::2')), TOO_MANY);
  await poll(believing, from('2001:db8:0:2::1'));
  // A proxy that does not say whom it speaks for stands for itself.
  await poll(believing);
  assert.deepEqual(await knock(believing), TOO_MANY);
  assert.deepEqual(await knock(believing, from('somebody')), TOO_MANY);

  const doubting = await startHub(t, hubOf(terms));
  await poll(doubting, from('10.0.0.1'));
  assert.deepEqual(await knock(doubting, from('10.0.0.2')), TOO_MANY);
});

test('2,000 handshakes at once: the limits answer, and who is here notices nothing', limit, async (t) => {
  const { hub, push } = await hubWithPush(t, { base: hubOf('connections_per_address = 50\nhandshakes_per_address = 20\n') });
  const ana = await connect(t, hub, 'ana', { transports: ['websocket'] });
  const seen = {};
  let sent = 0;
  const lane = async () => {
    while (sent < 2_000) {
      sent += 1;
      const [status, body] = await knock(hub);
      const word = status === 200 ? 'in' : `${status} ${JSON.parse(body).message}`;
      seen[word] = (seen[word] ?? 0) + 1;
    }
  };
  const flood = Promise.all(Array.from({ length: 32 }, lane));
  for (let n = 0; n < 20; n += 1) {
    await push.send(['u/ana/', `{"data":${n}}`]);
    await ana.until((heard) => heard.length > n);
  }
  await flood;
  assert.deepEqual(ana.data(), [...Array(20).keys()]);
  assert.equal(seen.in, 49, JSON.stringify(seen));
  assert.ok(seen['503 too_many'] > 0 && seen['429 rate'] > 0, JSON.stringify(seen));
  assert.equal(Object.values(seen).reduce((sum, n) => sum + n), 2_000);
  t.diagnostic(JSON.stringify(seen));
});

test('1,000 sockets that dawdle over their request: the oldest go, and the same address still gets in', limit, async (t) => {
  const { hub, push } = await hubWithPush(t, { base: hubOf('unfinished_per_address = 100\nrequest_timeout = "60s"\n') });
  const ana = await connect(t, hub, 'ana', { transports: ['websocket'] });
  const sockets = await dawdle(t, hub, 1_000, 'GET /socket.io/?EIO=4&transport=poll');
  await sockets.haveClosed(900);
  await push.send(['u/ana/', '{"data":1}']);
  await ana.until((heard) => heard.length === 1);
  // Who is honest is not the oldest for long.
  const late = await joined(t, hub, 'late');
  await push.send(['u/late/', '{"data":2}']);
  assert.match(await late.next(), /"data":2/);
  assert.deepEqual(ana.disconnects, []);
  const { unfinished_per_address: closed } = await limited(hub);
  assert.ok(closed >= 900 && closed <= 920, `${closed}`);
  assert.equal(await turnedAway(hub, 'too_many'), closed);
  assert.ok(sockets.closed() <= 920, 'not all of them, just the oldest');
  await hub.line(/strangers refused reason=too_many limit=unfinished_per_address/);
});

test('with 200 files and the default limits, one address that is silent keeps nobody out', limit, async (t) => {
  const file = settings(`[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:0"\n[[identity]]\npreset = "dev"\n`);
  const hub = await adopt(t, new Process('bash', ['-c', `ulimit -n 200; exec "${PREGON}" run --config "${file}"`]));
  const sockets = await dawdle(t, hub, 250);
  await sockets.haveClosed(200);
  await joined(t, hub, 'ana');
  await hub.shows({ open_files: { short: false }, connections: { websocket: 1 } });
  assert.equal(hub.lines.filter((line) => /open files short/.test(line)).length, 0);
});

test('a trusted proxy may have as many connections without a request as it likes', limit, async (t) => {
  const hub = await startHub(t, hubOf(`unfinished_per_address = 5\n${PROXY}`));
  await dawdle(t, hub, 50);
  await poll(hub, from('10.0.0.1'));
  assert.deepEqual(await limited(hub), {});
});

test('a first request has its time, and so has a later one: a byte now and then changes nothing', limit, async (t) => {
  const hub = await startHub(t, hubOf('request_timeout = "1s"\n'));
  const [first] = await dawdle(t, hub, 1, 'GET /healthz HTTP/1.1\r\nHo');
  first.drip('s');
  const [later] = await dawdle(t, hub, 1, 'GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nGET /healthz HT');
  await later.heard(/200 OK/);
  later.drip('T');
  // One that waits for an answer is not one that dawdles.
  const session = await poll(hub);
  await session.join({ user: 'ana' });
  const waiting = session.get();
  await first.end;
  await later.end;
  assert.equal((await hub.status()).connections.polling, 1);
  await session.post('1');
  assert.equal((await waiting).body, '6');
});

/** A hub without limits but these. */
function hubOf(keys) {
  const own = (name) => new RegExp(`^${name} `, 'm').test(keys);
  const lines = BASE.split('\n').filter((line) => !own(line.split(' ')[0]) || !/_address = 0/.test(line));
  return lines.join('\n').replace('[server]\n', `[server]\n${keys}`);
}

/** A handshake: status, body and Retry-After of the answer. */
async function knock(hub, options) {
  const { status, body, headers } = await ask(hub.url, handshakePath('polling'), options);
  return [status, body, headers['retry-after']];
}

/** How often each limit has turned somebody away; those that have not are left out. */
async function limited(hub) {
  const text = await (await fetch(`${hub.admin}/metrics`)).text();
  const found = [...text.matchAll(/^pregon_limited_total\{limit="(\w+)"\} (\d+)$/gm)];
  assert.ok(found.length >= 6, text);
  return Object.fromEntries(found.map(([, name, n]) => [name, Number(n)]).filter(([, n]) => n > 0));
}

async function turnedAway(hub, reason) {
  const text = await (await fetch(`${hub.admin}/metrics`)).text();
  return Number(text.match(new RegExp(`turned_away_total\\{reason="${reason}"\\} (\\d+)`))[1]);
}

/** Connections that say this much, and then nothing, or some more. They end with the test. */
async function dawdle(t, hub, count, text = '') {
  const { hostname, port } = new URL(hub.url);
  let closed = 0;
  const waiting = [];
  const sockets = await Promise.all(Array.from({ length: count }, async () => {
    const socket = dial(port, hostname);
    t.after(() => socket.destroy());
    socket.on('error', () => {}); // a reset is an end like any other
    let heard = '';
    const end = once(socket, 'close').then(() => {
      closed += 1;
      waiting.splice(0).forEach((resolve) => resolve());
    });
    socket.setEncoding('latin1').on('data', (data) => (heard += data));
    await Promise.race([once(socket, 'connect'), end]);
    socket.write(text);
    return {
      end,
      async heard(pattern) {
        while (!pattern.test(heard)) await once(socket, 'data');
      },
      drip(byte) {
        const every = setInterval(() => socket.write(byte), 20);
        end.then(() => clearInterval(every));
      },
    };
  }));
  return Object.assign(sockets, {
    closed: () => closed,
    async haveClosed(enough) {
      while (closed < enough) await new Promise((resolve) => waiting.push(resolve));
    },
  });
}
