// A directory of notifiers: the hub asks it, and starts, restarts and lets go of what it lists.

import assert from 'node:assert/strict';
import test from 'node:test';

import { BASE, connect, freePort, notifierTable, startHub, startPeer } from './support.mjs';

const limit = { timeout: 60_000 };

test('what is listed is heard; what comes, goes or changes is followed within a refresh', limit, async (t) => {
  const [one, two, moved] = await Promise.all([startPub(t), startPub(t), startPub(t)]);
  const { hub, directory } = await hubWithDirectory(t, list({ name: 'one', sub: one.endpoint }));
  await one.line(/^subscribed $/);
  assert.match(await directory.line(/^asked /), /^asked \{"op":"list","v":1\}$/);
  const client = await connect(t, hub, 'ana');
  await says(one, client, 'present at the start');

  await answers(directory, list({ name: 'one', sub: one.endpoint }, { name: 'two', sub: two.endpoint }));
  await two.line(/^subscribed $/);
  await says(two, client, 'added');
  await hub.shows({ directory: { state: 'up', listed: 2, error: null } });

  // Another endpoint: the old one is let go, the new one is taken.
  await answers(directory, list({ name: 'one', sub: moved.endpoint }, { name: 'two', sub: two.endpoint }));
  await Promise.all([one.line(/^unsubscribed $/), moved.line(/^subscribed $/)]);
  await says(moved, client, 'moved');
  assert.deepEqual((await hub.notifier('one')).endpoints, [moved.endpoint]);

  await answers(directory, list({ name: 'one', sub: moved.endpoint }));
  await two.line(/^unsubscribed $/);
  // That it is not heard is proved by what another says after it.
  await two.send(['u/ana/', '{"data":"let go"}']);
  await says(moved, client, 'after it');
  assert.deepEqual(client.data(), ['present at the start', 'added', 'moved', 'after it']);
  assert.deepEqual((await hub.status()).notifiers.map(({ name }) => name), ['one']);
  assert.doesNotMatch(await metrics(hub), /notifier="two"/);
  // Who stayed was not touched by what became of the others.
  assert.equal(two.lines.filter((line) => line === 'subscribed ').length, 1);
});

test('a directory that is killed or makes no sense changes nothing, and is taken up again', limit, async (t) => {
  const [pub, more] = await Promise.all([startPub(t), startPub(t)]);
  const first = list({ name: 'one', sub: pub.endpoint });
  const { hub, directory, endpoint } = await hubWithDirectory(t, first);
  await pub.line(/^subscribed $/);
  const client = await connect(t, hub, 'ana');
  assert.match(await metrics(hub), /^pregon_directory_up 1$/m);

  await answers(directory, 'no list');
  await hub.line(/directory silent .*no JSON/);
  await says(pub, client, 'while it makes no sense');
  const back = hub.lines.length;
  await answers(directory, first);
  await hub.line(/directory answers/, back);

  const killed = hub.lines.length;
  await directory.kill();
  await hub.line(/directory silent/, killed);
  await hub.shows({ directory: { address: endpoint, state: 'silent', error: 'no answer within 3 seconds', listed: 1 } });
  await says(pub, client, 'while it is silent');
  assert.equal((await fetch(`${hub.admin}/readyz`)).status, 200);
  assert.match(await metrics(hub), /^pregon_directory_up 0$/m);

  const again = hub.lines.length;
  await startDirectory(t, endpoint, list({ name: 'one', sub: pub.endpoint }, { name: 'more', sub: more.endpoint }));
  await hub.line(/directory answers/, again);
  await more.line(/^subscribed $/);
  await says(more, client, 'back');
  assert.equal(pub.lines.filter((line) => line === 'subscribed ').length, 1, 'the same connection throughout');
  assert.equal(hub.lines.filter((line) => /directory silent/.test(line)).length, 2, 'once for each silence');
});

test('a plain list of endpoints works: names are made of them, and each address is subscribed', limit, async (t) => {
  const pub = await startPub(t);
  const { hub } = await hubWithDirectory(t, JSON.stringify([pub.endpoint]));
  await pub.line(/^subscribed all\/$/);
  const client = await connect(t, hub, 'ana');
  await pub.line(/^subscribed u\/ana\/$/);
  await says(pub, client, 'hello');
  const name = pub.endpoint.replace('tcp://', '').replace(':', '-');
  assert.deepEqual((await hub.status()).notifiers.map((one) => one.name), [name]);
});

test('what cannot be served is refused by name, once in the log, and the others are served', limit, async (t) => {
  const pub = await startPub(t);
  const bind = `tcp://127.0.0.1:${await freePort()}`;
  const table = notifierTable('billing', { type: 'pull', bind });
  const answer = list(
    { name: 'secret', sub: pub.endpoint, key: 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7' },
    { name: 'billing', sub: pub.endpoint },
    { name: 'news', sub: pub.endpoint },
  );
  const { hub, directory } = await hubWithDirectory(t, answer, table);
  await pub.line(/^subscribed $/);
  const client = await connect(t, hub, 'ana');
  await says(pub, client, 'news');

  // Two more questions: nothing new is said about what was refused.
  for (let more = 0; more < 2; more += 1) await directory.line(/^asked /, directory.lines.length);
  const { directory: status, notifiers } = await hub.status();
  assert.deepEqual(status.refused.map(({ name }) => name), ['billing', 'secret']);
  assert.match(status.refused[0].reason, /rename/);
  assert.match(status.refused[1].reason, /CURVE is not available yet/);
  assert.deepEqual(notifiers.map(({ name, type }) => [name, type]), [['billing', 'pull'], ['news', 'sub']]);
  assert.equal(hub.lines.filter((line) => /listed notifier refused/.test(line)).length, 2);
});

test('without a directory, status says so', limit, async (t) => {
  const hub = await startHub(t, BASE);
  assert.equal((await hub.status()).directory, null);
  assert.doesNotMatch(await metrics(hub), /directory_up/);
});

async function hubWithDirectory(t, answer, tables = '') {
  const endpoint = `tcp://127.0.0.1:${await freePort()}`;
  const directory = await startDirectory(t, endpoint, answer);
  const hub = await startHub(t, `${BASE}[directory]\nconnect = "${endpoint}"\nrefresh = "1s"\n${tables}`);
  return { hub, directory, endpoint };
}

const startDirectory = (t, endpoint, answer) => startPeer(t, 'directory.py', [endpoint, answer]);

/** A publisher that tells its subscriptions, on a port of its own. */
const startPub = async (t) => startPeer(t, 'xpub.py', [`tcp://127.0.0.1:${await freePort()}`]);

const list = (...notifiers) => JSON.stringify({ v: 1, ttl: 30, notifiers });

/** Changes the answer from now on. */
async function answers(directory, answer) {
  const from = directory.lines.length;
  directory.write(answer);
  await directory.line(/^set$/, from);
}

/** Says something to Ana, who hears it. */
async function says(pub, client, data) {
  await pub.send(['u/ana/', JSON.stringify({ data })]);
  await client.until(() => client.data().includes(data));
}

const metrics = async (hub) => (await fetch(`${hub.admin}/metrics`)).text();
