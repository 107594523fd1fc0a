// A client that has heard `connect` is in the registry: nothing sent from then on passes it by.

import assert from 'node:assert/strict';
import test from 'node:test';

import { BASE, connect, freePort, notifierTable, startHub } from './support.mjs';
import { Push } from 'zeromq';

test('what is sent right after `connect` arrives, every time', { timeout: 60_000 }, async (t) => {
  const bind = `tcp://127.0.0.1:${await freePort()}`;
  const hub = await startHub(t, BASE + notifierTable('billing', { type: 'pull', bind }));
  const push = new Push();
  t.after(() => push.close());
  push.connect(bind);
  for (const transport of ['websocket', 'polling']) {
    for (let n = 0; n < 100; n += 1) {
      const client = await connect(t, hub, `user${n}`, { transports: [transport] });
      await push.send([`u/user${n}/`, JSON.stringify({ data: `${transport} ${n}` })]);
      await client.until((heard) => heard.length > 0);
      assert.deepEqual(client.data(), [`${transport} ${n}`]);
      client.socket.disconnect();
    }
  }
});

test('who joins in the middle of a stream misses nothing after `connect`', { timeout: 60_000 }, async (t) => {
  const bind = `tcp://127.0.0.1:${await freePort()}`;
  const hub = await startHub(t, BASE + notifierTable('billing', { type: 'pull', bind }));
  const push = new Push();
  t.after(() => push.close());
  push.connect(bind);
  // Nobody is to fall so far behind that they are cut: one listener sets the pace for the stream.
  const pace = await connect(t, hub, 'pace');
  let streaming = true;
  const stream = (async () => {
    for (let n = 0; streaming; n += 1) {
      await push.send(['all/', `{"data":${n}}`]);
      await pace.until((heard) => heard.length > n - 200);
    }
    await push.send(['all/', '{"data":"last"}']);
  })();
  const clients = [];
  for (let n = 0; n < 40; n += 1) {
    clients.push(await connect(t, hub, `user${n}`, { transports: [n % 2 ? 'polling' : 'websocket'] }));
  }
  await clients.at(-1).until((heard) => heard.length > 0);
  streaming = false;
  await stream;
  for (const client of clients) {
    await client.until((heard) => heard.at(-1)?.args[0].data === 'last');
    const numbers = client.data().slice(0, -1);
    assert.ok(numbers.length > 0);
    // A client that was cut as slow has come back by itself, and has a gap for that reason.
    assert.deepEqual(client.disconnects, []);
    assert.deepEqual(numbers, numbers.map((_, n) => numbers[0] + n));
  }
});
