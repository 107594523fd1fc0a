// What a client may ask, and what becomes of what it may not.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';

import { BASE, connect, hubWithPush, startHub } from './support.mjs';
import { frame, joined, webSocket } from './wire.mjs';

const limit = { timeout: 60_000 };

test('whoever waits for an answer gets one: what the hub does not know, and what it does not do yet', limit, async (t) => {
  const hub = await startHub(t, BASE);
  for (const transports of [['polling'], ['websocket']]) {
    const { socket } = await connect(t, hub, 'ana', { transports });
    const known = ['inbox', 'read', 'ack'];
    for (const event of [...known, 'sing', 'notification', 'inbox:read', 'session:end']) {
      const answer = await socket.timeout(30_000).emitWithAck(event, { ids: [] });
      assert.equal(answer.error, known.includes(event) ? 'not_available' : 'unknown_event', event);
      assert.equal(typeof answer.message, 'string');
    }
    const binary = await socket.timeout(30_000).emitWithAck('sing', Buffer.from([1, 2, 3]), { more: new Uint8Array(9) });
    assert.equal(binary.error, 'unknown_event');
  }
});

test('what nobody waits for is ignored, and disturbs nothing', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const ws = await joined(t, hub, 'ana');
  ws.send('42["sing",1,2,3]');
  ws.send('42["inbox",{}]');
  ws.send('42[7]');
  ws.send('4399["an answer to nothing"]');
  ws.send('3');
  ws.send('6');
  ws.raw(frame(9, 'are you there'));
  assert.deepEqual(await ws.next(), { opcode: 10, data: Buffer.from('are you there') });
  await push.send(['u/ana/', '{"data":"next"}']);
  assert.match(await ws.next(), /"data":"next"/);
});

test('answers come in the order of the questions, each with its own id', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const ws = await joined(t, hub, 'ana');
  // In one write, and one frame in three fragments.
  const questions = [...Array(200).keys()].map((n) => frame(1, `42${n}["sing"]`));
  ws.raw(Buffer.concat(questions));
  ws.raw(Buffer.concat([
    frame(1, '42', { fin: false }),
    frame(0, '007["si', { fin: false }),
    frame(9, 'in between'),
    frame(0, 'ng"]'),
  ]));
  for (const n of Array(200).keys()) assert.ok((await ws.next()).startsWith(`43${n}[{"error":"unknown_event"`));
  assert.equal((await ws.next()).opcode, 10);
  assert.ok((await ws.next()).startsWith('437[{"error":"unknown_event"'));
});

test('there is no namespace but the one', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const ws = await webSocket(t, hub);
  await ws.next();
  ws.send('40/admin,{"user":"ana"}');
  assert.equal(await ws.next(), '44/admin,{"message":"Invalid namespace"}');
  ws.send('40{"user":"ana"}');
  assert.match(await ws.next(), /^40\{"sid":"[\w-]{20}"\}$/);
  assert.equal((await hub.status()).registry.sessions, 1);
});

test('who leaves hears nothing more, and may come back anew', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const [ana, luis] = await Promise.all(['ana', 'luis'].map((user) => connect(t, hub, user)));
  const before = ana.socket.id;
  ana.socket.disconnect();
  await hub.statusWhen(({ registry }) => registry.sessions === 1);
  await push.send(['all/', '{"data":"while away"}']);
  await luis.until((heard) => heard.length === 1);
  ana.socket.connect();
  await once(ana.socket, 'connect');
  await push.send(['all/', '{"data":"here again"}']);
  await ana.until((heard) => heard.length > 0);
  assert.deepEqual(ana.data(), ['here again']);
  assert.notEqual(ana.socket.id, before);
  await hub.notifierShows('billing', { absent: 0, delivered: 2 });
});

test('one that asks without end and does not listen is cut as slow', limit, async (t) => {
  const { hub, push } = await hubWithPush(t, {
    tables: '[socketio]\noutbox = "64KiB"\nevent_rate = 0\n',
    keys: { max_message: 4096 },
  });
  const luis = await connect(t, hub, 'luis');
  const ws = await joined(t, hub, 'ana');
  ws.socket.pause();
  const questions = Buffer.concat(Array(500).fill(frame(1, '421["sing"]')));
  let asked = 0;
  while (!ws.ended && asked < 300_000) {
    asked += 500;
    if (!ws.socket.write(questions)) await Promise.race([once(ws.socket, 'drain').catch(() => {}), ws.closed]);
  }
  await hub.statusWhen(({ connections }) => connections.ended.slow === 1);
  await push.send(['u/luis/', '{"data":"undisturbed"}']);
  await luis.until((heard) => heard.length > 0);
  assert.deepEqual(luis.disconnects, []);
});
