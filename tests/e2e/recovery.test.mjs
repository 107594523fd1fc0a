// Connection state recovery with the stock client: who was away for a moment has missed nothing, and who
// cannot be told everything begins anew.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { io } from 'socket.io-client';

import { conformance, startExample } from './examples.mjs';
import { webSocket } from './wire.mjs';

const limit = { timeout: 60_000 };
const chat = (t) => startExample(t, 'chat', ['127.0.0.1:0']);

/** A guest in the kitchen, who keeps what it hears. Comes back only when told. */
async function guest(t, server, name, transport = 'websocket') {
  const options = { forceNew: true, reconnection: false, transports: [transport], auth: { name } };
  const socket = io(server.url, options);
  t.after(() => socket.disconnect());
  const heard = [];
  socket.on('said', (room, who, text) => heard.push(`${who}: ${text}`));
  await once(socket, 'connect');
  await socket.emitWithAck('join', 'kitchen');
  return { socket, heard };
}

/** A client by hand that has joined, and the ids that it was given. */
async function enter(t, server, auth) {
  const ws = await webSocket(t, server);
  await ws.next();
  ws.send(`40${JSON.stringify(auth)}`);
  return { ws, ...JSON.parse((await ws.next()).slice(2)) };
}

const say = (socket, text) => socket.emitWithAck('say', 'kitchen', text);

/** Breaks the connection without a goodbye, waits until both sides know, and comes back. */
async function away(one, meanwhile) {
  const gone = once(one.socket, 'disconnect');
  one.socket.io.engine.close();
  await gone;
  await meanwhile();
  const back = once(one.socket, 'connect');
  one.socket.connect();
  await back;
}

for (const transport of ['websocket', 'polling']) {
  test(`who was away hears what it has missed, in order and once, by ${transport}`, limit, async (t) => {
    const server = await chat(t);
    const ana = await guest(t, server, 'ana', transport);
    const luis = await guest(t, server, 'luis');
    await say(luis.socket, 'one');
    await say(ana.socket, 'two');
    const { id } = ana.socket;
    await away(ana, async () => {
      for (const text of ['three', 'four']) await say(luis.socket, text);
    });
    assert.equal(ana.socket.recovered, true);
    assert.equal(ana.socket.id, id);
    // It is in its room still, without having asked.
    await say(luis.socket, 'five');
    await say(ana.socket, 'six');
    assert.deepEqual(ana.heard, ['luis: one', 'ana: two', 'luis: three', 'luis: four', 'luis: five', 'ana: six']);
  });
}

test('who had heard nothing yet misses nothing either', limit, async (t) => {
  const server = await chat(t);
  const ana = await guest(t, server, 'ana');
  const luis = await guest(t, server, 'luis');
  await away(ana, () => say(luis.socket, 'hello'));
  assert.equal(ana.socket.recovered, true);
  await say(ana.socket, 'I am back');
  assert.deepEqual(ana.heard, ['luis: hello', 'ana: I am back']);
});

test('who is away twice is owed what the first return did not bring', limit, async (t) => {
  const server = await chat(t);
  const luis = await guest(t, server, 'luis');
  const { ws: first, pid, sid } = await enter(t, server, { name: 'ana' });
  first.send('421["join","kitchen"]');
  assert.equal(await first.next(), '431[]');
  first.socket.destroy();
  await say(luis.socket, 'hello');
  const back = async () => {
    const { ws, ...place } = await enter(t, server, { name: 'ana', pid });
    assert.deepEqual(place, { sid, pid });
    return ws;
  };
  // The second connection breaks before it has read anything.
  (await back()).socket.destroy();
  assert.match(await (await back()).next(), /^42\["said","kitchen","luis","hello","/);
});

test('who comes back before the server has noticed that it was gone takes its own place', limit, async (t) => {
  const server = await chat(t);
  const luis = await guest(t, server, 'luis');
  const { ws: first, pid, sid } = await enter(t, server, { name: 'ana' });
  const { ws: again, ...place } = await enter(t, server, { name: 'ana', pid });
  assert.deepEqual(place, { sid, pid });
  assert.deepEqual(await first.closeReason(), { code: 1001, reason: 'replaced' });
  again.send('421["join","kitchen"]');
  assert.equal(await again.next(), '431[]');
  await say(luis.socket, 'hello');
  assert.match(await again.next(), /^42\["said","kitchen","luis","hello","/);
});

test('nobody gets another\'s place, and who said goodbye does not get its own', limit, async (t) => {
  const server = await chat(t);
  const ask = (auth) => enter(t, server, auth);
  const ana = await ask({ name: 'ana' });
  const thief = await ask({ name: 'luis', pid: ana.pid });
  assert.notEqual(thief.pid, ana.pid);
  assert.notEqual(thief.sid, ana.sid);
  ana.ws.send('41');
  ana.ws.socket.end();
  await ana.ws.closed;
  const later = await ask({ name: 'ana', pid: ana.pid });
  assert.notEqual(later.pid, ana.pid);
  const poisoned = await ask({ name: 'ana', pid: later.pid, offset: 'x' });
  assert.notEqual(poisoned.pid, later.pid);
});

test('attachments are replayed, too', limit, async (t) => {
  const server = await conformance(t, ['--recovery', '60']);
  const first = await webSocket(t, server);
  first.send('40');
  await first.next();
  const { pid } = JSON.parse((await first.next()).slice(2));
  assert.equal(await first.next(), '42["auth",{}]');
  first.send('42["message",1]');
  const [, , offset] = JSON.parse((await first.next()).slice(2));
  first.send('451-["message",{"_placeholder":true,"num":0}]');
  first.raw(Buffer.from([0x82, 0x81, 0, 0, 0, 0, 7]));
  const live = [await first.next(), await first.next()];
  first.socket.destroy();
  const again = await webSocket(t, server);
  await again.next();
  again.send(`40${JSON.stringify({ pid, offset })}`);
  await again.next();
  assert.deepEqual([await again.next(), await again.next()], live);
});
