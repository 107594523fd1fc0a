// A hub that runs out of open files: it keeps some for itself, says so, and recovers by itself.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as dial } from 'node:net';
import test from 'node:test';

import { adopt, BASE, connect, freePort, notifierTable, PREGON, Process, settings, startNotifier } from './support.mjs';

const limit = { timeout: 60_000 };

test('strangers hold the open files: nobody new gets in, who is here hears all, and it passes', limit, async (t) => {
  const { hub, push, client } = await hubWithFewFiles(t);
  await hub.shows({ open_files: { limit: 200, short: false } });

  const strangers = await flood(t, hub);
  await hub.line(/open files short .*advice="raise LimitNOFILE/);
  await isShort(hub);
  assert.match(await (await fetch(`${hub.admin}/metrics`)).text(), /^pregon_open_files_limit 200$/m);

  // Who comes now is not answered before somebody else has gone.
  const late = connect(t, hub, 'ben', { transports: ['websocket'] });
  await push.send(['u/ana/', '{"data":"still here"}']);
  await client.until((heard) => heard.length > 0);
  assert.equal((await hub.status()).registry.sessions, 1);

  const free = hub.lines.length;
  for (const stranger of strangers) stranger.destroy();
  await hub.line(/open files enough again/, free);
  await late;
  assert.equal((await fetch(`${hub.admin}/readyz`)).status, 200);
  assert.deepEqual(client.data(), ['still here']);
  assert.deepEqual(client.disconnects, []);
});

test('one file that becomes free is not enough to let newcomers in again', limit, async (t) => {
  const { hub } = await hubWithFewFiles(t);
  const [first, ...others] = await flood(t, hub);
  await hub.line(/open files short/);
  first.destroy();
  // The hub has seen it go, and many a look since.
  await isShort(hub);
  for (let more = 0; more < 20; more += 1) await hub.status();
  await isShort(hub);
  assert.equal(hub.lines.filter((line) => /open files enough/.test(line)).length, 0);
  for (const stranger of others) stranger.destroy();
  await hub.line(/open files enough again/);
});

async function hubWithFewFiles(t) {
  const bind = `tcp://127.0.0.1:${await freePort()}`;
  const file = settings(`${BASE}${notifierTable('billing', { type: 'pull', bind })}`);
  const hub = await adopt(t, new Process('bash', ['-c', `ulimit -n 200; exec "${PREGON}" run --config "${file}"`]));
  const push = await startNotifier(t, 'push', 'connect', bind);
  const client = await connect(t, hub, 'ana', { transports: ['websocket'] });
  return { hub, push, client };
}

/** Connections that say nothing, all at once, and more than there are files. */
async function flood(t, hub) {
  const { port, hostname } = new URL(hub.url);
  const strangers = Array.from({ length: 300 }, () => dial(port, hostname));
  t.after(() => strangers.forEach((stranger) => stranger.destroy()));
  await Promise.all(strangers.map((stranger) => once(stranger, 'connect')));
  return strangers;
}

/** The admin gets an answer all the same. */
async function isShort(hub) {
  await hub.shows({ open_files: { short: true } });
  const ready = await fetch(`${hub.admin}/readyz`);
  assert.equal(ready.status, 503);
  assert.match(await ready.text(), /^open_files: /);
}
