// `sub` notifiers: what the hub subscribes to, and what becomes of it when a publisher dies.

import assert from 'node:assert/strict';
import test from 'node:test';

import { BASE, connect, freePort, notifierTable, startHub, startNotifier, startPeer } from './support.mjs';

const limit = { timeout: 60_000 };

for (const subscribe of ['all', 'each']) {
  test(`subscribe = "${subscribe}": a pyzmq PUB is heard, and comes back after it was killed`, limit, async (t) => {
    const { hub, endpoint } = await hubWithSub(t, subscribe);
    let pub = await startNotifier(t, 'pub', 'bind', endpoint);
    await hub.line(/notifier connected notifier=news/);
    const clients = await Promise.all([
      connect(t, hub, 'ana', { transports: ['websocket'] }),
      connect(t, hub, 'luis', { transports: ['polling'] }),
    ]);
    const ids = clients.map((client) => client.socket.id);

    for (const [life, mark] of ['before', 'after'].entries()) {
      if (life > 0) {
        const restart = hub.lines.length;
        pub = await startNotifier(t, 'pub', 'bind', endpoint);
        await hub.line(/notifier connected notifier=news/, restart);
        await hub.notifierShows('news', { state: 'connected', peers: 1, lost: 1 });
      }
      const died = assert.rejects(talk(pub, mark), /SIGKILL/, 'it was killed while it talked');
      await Promise.all(clients.map((client) => client.until(() => client.data().includes(mark))));
      const killed = hub.lines.length;
      await pub.kill('SIGKILL');
      await died;
      await hub.line(/notifier lost notifier=news/, killed);
      await hub.notifierShows('news', { state: 'waiting', peers: 0, lost: life + 1 });
    }
    assert.deepEqual(clients.map((client) => client.socket.id), ids, 'the same connections throughout');
    assert.deepEqual(clients.flatMap((client) => client.disconnects), []);
  });
}

test('subscribe = "each": a topic for each user who is here, once', limit, async (t) => {
  const { hub, endpoint } = await hubWithSub(t, 'each');
  const pub = await startPeer(t, 'xpub.py', [endpoint]);
  await Promise.all([pub.line(/^subscribed all\/$/), pub.line(/^subscribed _hb\/$/)]);
  assert.deepEqual(topics(pub), ['_hb/', 'all/']);

  const first = await connect(t, hub, 'ana');
  await pub.line(/^subscribed u\/ana\/$/);
  const second = await connect(t, hub, 'ana');
  // That the second connection asked for nothing is proved by what the next user's asks for.
  await connect(t, hub, 'José');
  await pub.line(/^subscribed u\/Jos%C3%A9\/$/);
  assert.deepEqual(topics(pub), ['_hb/', 'all/', 'u/Jos%C3%A9/', 'u/ana/']);
  await hub.notifierShows('news', { subscriptions: 2 });

  // What nobody here could hear does not leave the publisher.
  await pub.send(['u/nobody/', '{"data":"for nobody"}'], 100);
  await pub.send(['u/an', '{"data":"no address"}']);
  await pub.send(['u/ana/', '{"data":"for Ana"}']);
  await Promise.all([first, second].map((client) => client.until((heard) => heard.length > 0)));
  assert.deepEqual([first.data(), second.data()], [['for Ana'], ['for Ana']]);
  await hub.notifierShows('news', { received: 1, delivered: 1, deliveries: 2 });
});

test('subscribe = "each": a new publisher is told every topic, without any client doing anything', limit, async (t) => {
  const { hub, endpoint } = await hubWithSub(t, 'each');
  const pub = await startPeer(t, 'xpub.py', [endpoint]);
  const client = await connect(t, hub, 'ana');
  await connect(t, hub, 'luis');
  await pub.line(/^subscribed u\/luis\/$/);
  await pub.kill('SIGKILL');
  await hub.line(/notifier lost/);

  const again = await startPeer(t, 'xpub.py', [endpoint]);
  await Promise.all(['all/', '_hb/', 'u/ana/', 'u/luis/'].map((topic) => again.line(new RegExp(`^subscribed ${topic}$`))));
  assert.deepEqual(topics(again), ['_hb/', 'all/', 'u/ana/', 'u/luis/']);
  await again.send(['u/ana/', '{"data":"again"}']);
  await client.until((heard) => heard.length > 0);
  assert.deepEqual(client.data(), ['again']);
});

test('subscribe = "all": everything comes to the hub, and only the addressed hear it', limit, async (t) => {
  const { hub, endpoint } = await hubWithSub(t, 'all');
  const pub = await startPeer(t, 'xpub.py', [endpoint]);
  await pub.line(/^subscribed $/);
  const client = await connect(t, hub, 'ana');
  await pub.send(['u/nobody/', '{"data":"for nobody"}'], 100);
  await pub.send(['_hb/', '{"epoch":"1","interval":5}']);
  await pub.send(['u/ana/', '{"data":"with a sequence"}', '1:7']);
  // The third frame of a `sub` is no id: what comes with the same one is no duplicate.
  await pub.send(['u/ana/', '{"data":"and again"}', '1:7']);
  await client.until((heard) => heard.length === 2);
  assert.deepEqual(client.data(), ['with a sequence', 'and again']);
  await hub.notifierShows('news', { received: 103, delivered: 2, absent: 100, duplicates: 0 });
  assert.deepEqual(topics(pub), ['']);
});

test('several publishers behind one notifier are heard, and outlive each other', limit, async (t) => {
  const endpoints = [`tcp://127.0.0.1:${await freePort()}`, `tcp://127.0.0.1:${await freePort()}`];
  const hub = await startHub(t, BASE + notifierTable('news', { type: 'sub', connect: endpoints }));
  const [one, two] = await Promise.all(endpoints.map((endpoint) => startPeer(t, 'xpub.py', [endpoint])));
  await Promise.all([one, two].map((pub) => pub.line(/^subscribed $/)));
  const client = await connect(t, hub, 'ana');
  await one.send(['u/ana/', '{"data":"one"}']);
  await client.until((heard) => heard.length === 1);
  await one.kill('SIGKILL');
  await hub.line(/notifier lost notifier=news/);
  await two.send(['u/ana/', '{"data":"two"}']);
  await client.until((heard) => heard.length === 2);
  assert.deepEqual(client.data(), ['one', 'two']);
  await hub.notifierShows('news', { state: 'connected', peers: 1, lost: 1 });
});

async function hubWithSub(t, subscribe) {
  const endpoint = `tcp://127.0.0.1:${await freePort()}`;
  const table = notifierTable('news', { type: 'sub', connect: [endpoint], subscribe });
  return { hub: await startHub(t, BASE + table), endpoint };
}

/** Sends to both users without end; rejects when the publisher ends. */
async function talk(pub, mark) {
  for (;;) {
    for (const user of ['ana', 'luis']) await pub.send([`u/${user}/`, JSON.stringify({ data: mark })]);
  }
}

/** Every subscription that reached a publisher, repeated ones too. */
function topics(pub) {
  const lines = pub.lines.filter((line) => line.startsWith('subscribed '));
  return lines.map((line) => line.slice('subscribed '.length)).sort();
}
