// The program itself: settings, exit codes, signals, limits, and the commands that speak to a hub.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import test from 'node:test';

import {
  adopt, BASE, connect, freePort, hubWithPush, notifierTable, pregon, PREGON, Process, settings, startHub,
} from './support.mjs';
import { ask, handshakePath, joined, poll, webSocket } from './wire.mjs';

const limit = { timeout: 60_000 };
const USAGE = 64;
const ENVIRONMENT = 2;

test('check names every mistake once, with its line, and ends with 64', limit, async () => {
  const file = settings(`[server]
listen = "nowhere"
lisen = "127.0.0.1:1"
[socketio]
ping_interval = "soon"
[[identity]]
preset = "djanga"
[[notifier]]
name = "bad name"
type = "pull"
bind = "tcp://0.0.0.0:5556"
[[notifier]]
name = "later"
type = "router"
connect = ["tcp://127.0.0.1:1"]
`);
  const { code, lines } = await pregon(['check', '--config', file]);
  assert.equal(code, USAGE, lines.join('\n'));
  const expected = [
    [2, 'server.listen'],
    [3, 'server.lisen'],
    [5, 'socketio.ping_interval'],
    [7, 'identity.preset'],
    [9, 'notifier.name'],
    [11, 'notifier.bind'],
    [14, 'notifier.type'],
  ];
  const places = lines.slice(0, -1).map((line) => line.split(': ').slice(0, 2).join(': '));
  assert.deepEqual(places, expected.map(([line, key]) => `${file}:${line}: ${key}`), lines.join('\n'));
  assert.equal(lines.at(-1), `pregon: ${expected.length} mistake(s) in the configuration`);
  // And `run` says the same, and does not run.
  assert.deepEqual(await pregon(['run', '--config', file]), { code, lines });
});

test('check says that good settings are good', limit, async () => {
  for (const file of [settings(BASE), 'config.toml']) {
    const { code, lines } = await pregon(['check', '--config', file]);
    assert.equal(code, 0, lines.join('\n'));
    assert.match(lines[0], /: fine, 0 notifier\(s\)$/);
  }
});

test('wrong usage ends with 64', limit, async () => {
  const config = settings(BASE);
  const cases = [
    ['a missing file', ['run', '--config', '/nowhere/config.toml'], /cannot read \/nowhere\/config\.toml/],
    ['a missing file to check', ['check', '--config', '/nowhere/config.toml'], /cannot read/],
    ['broken TOML', ['check', '--config', settings('[server\nlisten = 1')], /config\.toml:1: /],
    ['an unknown option', ['run', '--colour'], /--colour/],
    ['an unknown command', ['sing'], /sing/],
    ['no command', [], /Usage/],
    ['half a setting', ['run', '--config', config, '--set', 'server.listen'], /table\.key=value/],
    ['an unknown setting', ['run', '--config', config, '--set', 'server.colour=blue'], /server\.colour: unknown key/],
    ['whoami of nobody', ['whoami'], /--cookie/],
    ['keys', ['keys', '--out', '/tmp'], /not available yet/],
    ['explain', ['explain', 'u/42/', '--id', '1'], /not available yet/],
    ['notify with a receipt', ['notify', '--to', 'u/1/', '--via', 'tcp://127.0.0.1:1', '1'], /--push/],
    ['notify by HTTP', ['notify', '--push', '--to', 'u/1/', '--via', 'http://127.0.0.1:1', '1'], /not available yet/],
    ['notify to no address', ['notify', '--push', '--to', 'ana', '--via', 'tcp://127.0.0.1:1', '1'], /not an address/],
    ['a ttl of words', ['notify', '--push', '--to', 'u/1/', '--ttl', 'long', '--via', 'tcp://127.0.0.1:1', '1'], /--ttl long/],
    ['listen as nobody', ['listen'], /say who/],
  ];
  for (const [name, args, message] of cases) {
    const { code, lines } = await pregon(args);
    assert.equal(code, USAGE, `${name}: ${lines.join('\n')}`);
    assert.match(lines.join('\n'), message, name);
  }
});

test('the environment wins over the file, and --set over both', limit, async (t) => {
  const [one, two, three] = [await freePort(), await freePort(), await freePort()];
  const file = settings(BASE.replace('127.0.0.1:0', `127.0.0.1:${one}`));
  const env = { ...process.env, PREGON__SERVER__LISTEN: `127.0.0.1:${two}` };
  const byEnvironment = await adopt(t, new Process(PREGON, ['run', '--config', file], { env }));
  assert.equal(byEnvironment.url, `http://127.0.0.1:${two}`);
  const set = ['--set', 'server.listen=127.0.0.1:1', '--set', `server.listen=127.0.0.1:${three}`];
  const bySet = await adopt(t, new Process(PREGON, ['run', '--config', file, ...set], { env }));
  assert.equal(bySet.url, `http://127.0.0.1:${three}`);
  const wrong = await pregon(['check', '--config', file], { env: { PREGON__SERVER__WORKERS: 'many' } });
  assert.equal(wrong.code, USAGE);
  assert.match(wrong.lines[0], /^environment PREGON__SERVER__WORKERS: server\.workers: /);
});

test('an address that is taken ends the start with 2 and one clear line', limit, async (t) => {
  const taken = net.createServer().listen(0, '127.0.0.1');
  t.after(() => taken.close());
  await once(taken, 'listening');
  const address = `127.0.0.1:${taken.address().port}`;
  const cases = [
    ['server.listen', BASE, ['--set', `server.listen=${address}`]],
    ['admin.listen', BASE, ['--set', `admin.listen=${address}`]],
    ['notifier billing', BASE + notifierTable('billing', { type: 'pull', bind: `tcp://${address}` }), []],
  ];
  for (const [key, text, args] of cases) {
    const { code, lines } = await pregon(['run', '--config', settings(text), ...args]);
    assert.equal(code, ENVIRONMENT, `${key}: ${lines.join('\n')}`);
    const said = lines.filter((line) => line.startsWith('pregon: '));
    assert.equal(said.length, 1, lines.join('\n'));
    assert.ok(said[0].includes(address) && said[0].includes(key) && /in use/i.test(said[0]), said[0]);
    assert.deepEqual(lines.filter((line) => / ERROR |panic/.test(line)), []);
  }
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal}: everyone is told, the hub ends with 0, and all come back to the next one`, limit, async (t) => {
    const text = BASE.replace('127.0.0.1:0', `127.0.0.1:${await freePort()}`);
    const hub = await startHub(t, text);
    const clients = await Promise.all([...Array(50).keys()].map((n) => connect(t, hub, `user${n}`, {
      transports: [n % 2 === 0 ? 'polling' : 'websocket'],
      reconnectionDelay: 50,
      reconnectionDelayMax: 200,
    })));
    // Those who are not in yet, or say nothing at all, must not hold it up.
    await poll(hub);
    await webSocket(t, hub);
    const silent = net.connect(Number(new URL(hub.url).port), '127.0.0.1');
    t.after(() => silent.destroy());
    await once(silent, 'connect');

    const away = clients.map(({ socket }) => once(socket, 'disconnect'));
    const start = performance.now();
    hub.child.kill(signal);
    assert.equal(await hub.exited, 0, hub.lines.join('\n'));
    const seconds = (performance.now() - start) / 1_000;
    t.diagnostic(`ended after ${seconds.toFixed(2)} s`);
    assert.ok(seconds < 10, `${seconds} s`);
    assert.deepEqual((await Promise.all(away)).map(([reason]) => reason), Array(50).fill('transport close'));
    await hub.line(/drained connections=52/);

    const back = clients.map(({ socket }) => once(socket, 'connect'));
    const next = await startHub(t, text);
    await Promise.all(back);
    assert.equal((await next.status()).registry.sessions, 50);
  });
}

test('while it goes down, nobody new gets in and readiness says so', limit, async (t) => {
  const hub = await startHub(t, BASE);
  assert.equal((await ask(hub.admin, '/readyz')).body, 'ready\n');
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  assert.equal((await ask(hub.url, '/healthz', { agent })).status, 200);
  // One that does not take its leave keeps the hub for the seconds it has.
  await (await poll(hub)).join({ user: 'ana' });
  hub.child.kill('SIGTERM');
  await hub.line(/shutting down signal=SIGTERM/);
  await hub.statusWhen(({ state }) => state === 'draining');
  const ready = await ask(hub.admin, '/readyz');
  assert.deepEqual([ready.status, ready.body], [503, 'draining: the hub is shutting down\n']);
  // On a connection from before; new ones are not taken any more.
  const refused = await ask(hub.url, handshakePath('polling'), { agent });
  assert.deepEqual([refused.status, refused.body], [503, '{"message":"draining"}']);
  assert.equal(await hub.exited, 0);
});

test('notify pushes what listen hears', limit, async (t) => {
  const { hub, bind } = await hubWithPush(t);
  const listener = new Process(PREGON, ['listen', '--user', 'ana', '--json', '--url', hub.url]);
  t.after(() => listener.kill());
  await listener.line(/^listening at/);
  const notify = (args, options) => pregon(['notify', '--push', '--via', bind, '--to', 'u/ana/', ...args], options);
  const heard = async (pattern) => JSON.parse(await listener.line(pattern));

  assert.equal((await notify(['{"n": 1}'])).code, 0);
  const json = await heard(/"n":1/);
  assert.equal(json.event, 'notification');
  assert.deepEqual([json.notification.data, json.notification.to, json.notification.from], [{ n: 1 }, 'u/ana/', 'billing']);
  assert.equal((await notify(['plain words'])).code, 0);
  assert.equal((await heard(/plain words/)).notification.data, 'plain words');
  assert.equal((await notify(['--event', 'order', '--ttl', '60s', '--key', 'k', '-'], { input: '{"n": 2}\n' })).code, 0);
  const order = await heard(/"n":2/);
  assert.deepEqual([order.event, order.notification.data], ['order', { n: 2 }]);
  // The same id twice: that the second was not heard is proved by what comes after it.
  for (const data of ['first', 'again']) assert.equal((await notify(['--id', 'id-1', data])).code, 0);
  assert.equal((await notify(['last'])).code, 0);
  await heard(/"last"/);
  assert.ok(listener.lines.some((line) => line.includes('"first"')));
  assert.ok(!listener.lines.some((line) => line.includes('"again"')));

  listener.child.kill('SIGINT');
  assert.equal(await listener.exited, 0);
});

test('notify and listen say when nobody is there, with 2', limit, async () => {
  const port = await freePort();
  const notified = await pregon(['notify', '--push', '--via', `tcp://127.0.0.1:${port}`, '--to', 'u/ana/', '1']);
  assert.equal(notified.code, ENVIRONMENT, notified.lines.join('\n'));
  assert.match(notified.lines.at(-1), /nobody takes messages/);
  const listened = await pregon(['listen', '--user', 'ana', '--url', `http://127.0.0.1:${port}`]);
  assert.equal(listened.code, ENVIRONMENT, listened.lines.join('\n'));
  assert.match(listened.lines.at(-1), /does the hub run there/);
});

test('listen comes back to a hub that was away, and ends with 1 if it is refused', limit, async (t) => {
  const text = BASE.replace('127.0.0.1:0', `127.0.0.1:${await freePort()}`);
  const hub = await startHub(t, text);
  const listener = new Process(PREGON, ['listen', '--user', 'ana', '--url', hub.url]);
  t.after(() => listener.kill());
  await listener.line(/^listening at/);
  const from = listener.lines.length;
  await hub.kill();
  await listener.line(/^connection lost/, from);
  const next = await startHub(t, text);
  await listener.line(/^listening at/, from);
  const refused = await pregon(['listen', '--cookie', 'a=b', '--url', next.url]);
  assert.equal(refused.code, 1);
  assert.match(refused.lines.at(-1), /refused: no_user/);
});

test('with few open files it says how many it admits, turns the rest away, and serves those', limit, async (t) => {
  const bind = `tcp://127.0.0.1:${await freePort()}`;
  const file = settings(BASE + notifierTable('billing', { type: 'pull', bind }));
  const run = `ulimit -n 200; exec "$0" run --config "$1"`;
  const hub = await adopt(t, new Process('bash', ['-c', run, PREGON, file]));
  const allowed = Number((await hub.line(/open files limit=200 connections=/)).match(/connections=(\d+)/)[1]);
  assert.ok(allowed > 0 && allowed < 200, `${allowed}`);
  assert.equal((await hub.status()).connections.max, allowed);

  const inside = await Promise.all([...Array(allowed).keys()].map((n) => joined(t, hub, `user${n}`)));
  for (let n = 0; n < 20; n += 1) {
    const surplus = await webSocket(t, hub);
    assert.deepEqual([surplus.status, surplus.body, surplus.headers['retry-after']], [503, 'too_many', '1']);
    const polled = await ask(hub.url, handshakePath('polling'));
    assert.deepEqual([polled.status, polled.body], [503, '{"message":"too_many"}']);
  }
  const metrics = await (await fetch(`${hub.admin}/metrics`)).text();
  assert.ok(metrics.includes('pregon_clients_turned_away_total{reason="too_many"} 40\n'), metrics);
  const sent = await pregon(['notify', '--push', '--via', bind, '--to', 'all/', 'still here']);
  assert.equal(sent.code, 0);
  for (const client of inside) assert.match(await client.next(), /still here/);

  // Where one leaves, one may come.
  inside[0].send('41');
  inside[0].send('1');
  await inside[0].closed;
  await hub.statusWhen(({ connections }) => connections.websocket === allowed - 1);
  await joined(t, hub, 'late');
});

test('connections that never say anything are let go, and then others are served', limit, async (t) => {
  const run = `ulimit -n 200; exec "$0" run --config "$1"`;
  const text = BASE.replace('[server]', '[server]\nrequest_timeout = "1s"');
  const hub = await adopt(t, new Process('bash', ['-c', run, PREGON, settings(text)]));
  // More than the limit on open files: some of them wait in the listener's queue.
  const silent = [...Array(250).keys()].map(() => net.connect(Number(new URL(hub.url).port), '127.0.0.1'));
  t.after(() => silent.forEach((socket) => socket.destroy()));
  await Promise.all(silent.map((socket) => once(socket, 'connect')));
  // They are let go in time, and then it serves.
  await joined(t, hub, 'ana');
  assert.equal((await hub.status()).registry.sessions, 1);
});
