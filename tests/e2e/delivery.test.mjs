// A notifier's message reaches the right browser: in order, none lost, none twice, nobody else's.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import test from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Publisher, Push } from 'zeromq';

import { BASE, connect, freePort, hubWithPush, notifierTable, startHub, startNotifier } from './support.mjs';
import { joined } from './wire.mjs';

const limit = { timeout: 60_000 };
const COUNT = 10_000;

test('only the addressed user hears it, on all their connections', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const [ana, anaToo, luis] = await Promise.all([
    connect(t, hub, 'ana'),
    connect(t, hub, 'ana', { transports: ['websocket'] }),
    connect(t, hub, 'luis'),
  ]);
  await push.send(['u/ana/', '{"data":{"text":"for Ana"}}']);
  // That Luis heard nothing is proved by what he hears next.
  await push.send(['u/luis/', '{"data":"for Luis","event":"order"}']);
  await Promise.all([ana, anaToo, luis].map((client) => client.until((heard) => heard.length > 0)));
  assert.deepEqual(ana.data(), [{ text: 'for Ana' }]);
  assert.deepEqual(anaToo.data(), [{ text: 'for Ana' }]);
  assert.deepEqual(luis.data(), ['for Luis']);
  assert.equal(luis.heard[0].event, 'order');
  const [notification, offset] = ana.heard[0].args;
  assert.deepEqual(Object.keys(notification), ['id', 'at', 'to', 'from', 'data']);
  assert.equal(notification.from, 'billing');
  assert.equal(notification.to, 'u/ana/');
  assert.equal(typeof offset, 'string');
});

for (const transport of ['polling', 'websocket']) {
  test(`10,000 notifications arrive in order, none lost or twice: ${transport} only`, limit, async (t) => {
    const { hub, push } = await hubWithPush(t);
    const client = await connect(t, hub, 'ana', { transports: [transport] });
    await push.send(['u/ana/', '{"data":{n}}'], COUNT);
    await push.send(['u/ana/', '{"data":"last"}']);
    await client.until((heard) => heard.at(-1)?.args[0].data === 'last');
    assert.deepEqual(client.data(), [...Array(COUNT).keys(), 'last']);
    assert.equal(new Set(client.heard.map(({ args }) => args[0].id)).size, COUNT + 1);
    assert.equal(client.socket.io.engine.transport.name, transport);
  });
}

test('10,000 notifications arrive in order, none lost or twice: across the move to WebSocket', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const door = await holdWebSockets(t, hub);
  const client = await connect(t, door, 'ana');
  let sent = 0;
  const send = async (count) => {
    // Within what the outbox holds: nobody here is meant to be slow.
    await client.until((heard) => heard.length > sent - 1_000);
    for (const end = sent + count; sent < end; sent += 1) push.write(`["u/ana/","{\\"data\\":${sent}}"]`);
  };
  await send(500);
  await client.until((heard) => heard.length > 0);
  assert.equal(client.socket.io.engine.transport.name, 'polling');

  let beforeUpgrade;
  client.socket.io.engine.once('upgrade', () => (beforeUpgrade = client.heard.length));
  door.open();
  while (beforeUpgrade === undefined) {
    await send(50);
    await turn(); // the upgrade is an event of this same thread
  }
  const sentBeforeUpgrade = sent;
  while (sent < Math.max(COUNT, sentBeforeUpgrade + 500)) await send(500);
  await client.until((heard) => heard.length >= sent);

  assert.ok(beforeUpgrade > 0, 'nothing arrived before the upgrade');
  assert.ok(client.heard.length > beforeUpgrade, 'nothing arrived after the upgrade');
  assert.deepEqual(client.data(), [...Array(sent).keys()]);
  assert.equal(new Set(client.heard.map(({ args }) => args[0].id)).size, sent);
  assert.equal(client.socket.io.engine.transport.name, 'websocket');
  assert.deepEqual(client.disconnects, []);
});

test("Node's PUSH and PUB are heard as well as Python's", limit, async (t) => {
  const [pull, sub] = [`tcp://127.0.0.1:${await freePort()}`, `tcp://127.0.0.1:${await freePort()}`];
  const push = new Push({ linger: 0 });
  const pub = new Publisher({ linger: 0, sendHighWaterMark: 0 });
  t.after(() => [push, pub].forEach((socket) => socket.close()));
  await pub.bind(sub);
  const tables = notifierTable('node-push', { type: 'pull', bind: pull })
    + notifierTable('node-pub', { type: 'sub', connect: [sub] });
  const hub = await startHub(t, BASE + tables);
  push.connect(pull);
  const client = await connect(t, hub, 'ana');

  // A PUB drops what it says before the hub's subscription has reached it.
  while (client.heard.length === 0) {
    await pub.send(['u/ana/', '{"data":"hello"}']);
    await turn();
  }
  for (let n = 0; n < 100; n += 1) {
    await push.send(['u/ana/', JSON.stringify({ data: ['push', n] })]);
    await pub.send(['u/ana/', JSON.stringify({ data: ['pub', n] })]);
  }
  const of = (name) => client.heard.filter(({ args }) => args[0].from === name && args[0].data !== 'hello');
  await client.until(() => of('node-push').length === 100 && of('node-pub').length === 100);
  for (const kind of ['push', 'pub']) {
    const numbers = of(`node-${kind}`).map(({ args }) => args[0].data);
    assert.deepEqual(numbers, [...Array(100).keys()].map((n) => [kind, n]));
  }
});

test('everyone hears all/, and nobody a group they are not in', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const clients = await Promise.all(['ana', 'ana', 'luis'].map((user) => connect(t, hub, user)));
  await push.send(['g/news/', '{"data":"for the group"}']);
  await push.send(['all/', '{"data":"for everyone"}']);
  await Promise.all(clients.map((client) => client.until((heard) => heard.length > 0)));
  for (const client of clients) assert.deepEqual(client.data(), ['for everyone']);
  await hub.notifierShows('billing', { absent: 1, delivered: 1, deliveries: 3 });
});

test('a list of addresses reaches each of them, and names the one it came for', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const [ana, jose, luis] = await Promise.all(['ana', 'José', 'luis'].map((user) => connect(t, hub, user)));
  await push.send(['{"to":["u/ana/","u/Jos%C3%A9/","u/nobody/"],"data":"both"}']);
  await push.send(['{"to":"u/luis/","data":"one"}']);
  await Promise.all([ana, jose, luis].map((client) => client.until((heard) => heard.length > 0)));
  assert.deepEqual([ana.data(), jose.data(), luis.data()], [['both'], ['both'], ['one']]);
  assert.equal(ana.heard[0].args[0].to, 'u/ana/');
  assert.equal(jose.heard[0].args[0].to, 'u/Jos%C3%A9/');
});

test('an id is delivered once to an address, whatever the form', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const [ana, luis] = await Promise.all(['ana', 'luis'].map((user) => connect(t, hub, user)));
  await push.send(['u/ana/', '{"data":"first"}', 'id-1']);
  await push.send(['u/ana/', '{"data":"again"}', 'id-1']);
  await push.send(['{"to":["u/ana/","u/luis/"],"id":"id-1","data":"new to Luis alone"}']);
  await push.send(['u/ana/', '{"data":"second"}', 'id-2']);
  await push.send(['u/ana/', '{"data":"without an id"}']);
  await push.send(['u/ana/', '{"data":"without an id"}']);
  await ana.until((heard) => heard.length === 4);
  assert.deepEqual(ana.data(), ['first', 'second', 'without an id', 'without an id']);
  await luis.until((heard) => heard.length > 0);
  assert.deepEqual(luis.data(), ['new to Luis alone']);
  await hub.notifierShows('billing', { duplicates: 2 });
});

test('the data reaches the browser byte for byte', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const ws = await joined(t, hub, 'ana');
  const data = '{ "b" : 1.0e2, "a":[ "\\u00e9é" , 12345678901234567890 ],\t"a":null }';
  await push.send(['u/ana/', `{"event":"raw","data": ${data} }`]);
  const heard = await ws.next();
  assert.ok(heard.startsWith('42["raw",{"id":"'), heard);
  assert.ok(heard.includes(`"data":${data}}`), heard);
});

/** A way to the hub that lets WebSockets wait at the door until it is opened. */
async function holdWebSockets(t, hub) {
  let open;
  const opened = new Promise((resolve) => (open = resolve));
  const { hostname, port } = new URL(hub.url);
  const sockets = new Set();
  const door = net.createServer(async (client) => {
    sockets.add(client.on('error', () => {}));
    const [first] = await once(client, 'data').catch(() => [null]);
    if (first === null) return;
    client.pause();
    if (/upgrade: websocket/i.test(first)) await opened;
    const inside = net.connect(Number(port), hostname).on('error', () => client.destroy());
    sockets.add(inside);
    inside.write(first);
    client.pipe(inside).pipe(client);
  });
  door.listen(0, '127.0.0.1');
  await once(door, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    door.close();
  });
  return { url: `http://127.0.0.1:${door.address().port}`, open };
}
