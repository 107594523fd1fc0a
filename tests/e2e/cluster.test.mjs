// Sessions in a Redis Cluster: each primary is asked, and listened to; slots move, and primaries die. The hub
// looks by itself once an hour here.

import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

import { clientOf, EVENTS, startServer } from './redis.mjs';
import { hubWithSessions, IDENTITY, keyOf, newcomer, says } from './store.mjs';
import { freePort, LISTENERS, pregon, settings, table } from './support.mjs';

const limit = { timeout: 90_000 };
const NOWHERE = 'redis://127.0.0.1:1/0';
const HOURLY = { revalidate: '1h' };
const SLOTS = 16_384;

/** README's ACL line for these keys, with what a Cluster needs besides. */
const ACL = 'on >pw -@all +get +ping +psubscribe %R~sess:* &__keyspace@0__:sess:* +cluster|slots +asking'.split(' ');

test('users of all primaries get in and out, under the ACL line, and slots may move meanwhile', limit, async (t) => {
  const cluster = await startCluster(t, 3);
  for (const { client } of cluster.nodes) await client.sendCommand(['ACL', 'SETUSER', 'hub', ...ACL]);
  const users = await usersOf(cluster, 2);
  await Promise.all(users.flat().map((user) => cluster.login(user)));
  const { hub, push } = await hubWithSessions(t, NOWHERE.replace('//', '//hub:pw@'), HOURLY, { cluster: [cluster.nodes[0].address] });
  const { stores } = await hub.statusWhen((now) => now.stores.length === 3 && now.stores.every(({ state }) => state === 'up'));
  assert.deepEqual(stores.map(({ address }) => address).sort(), cluster.nodes.map(({ address }) => address).sort());
  const members = new Map(users.flat().map((user) => [user, newcomer(t, hub, user)]));
  await Promise.all([...members.values()].map((one) => one.joined()));
  for (const [first] of users) {
    await cluster.logout(first);
    await members.get(first).until((story) => story.includes('session:end: no_session'));
  }
  await hub.statusWhen((now) => now.stores.every(({ events }) => events === 'on'));

  const config = settings(LISTENERS + table('[redis]', { url: NOWHERE, cluster: cluster.nodes.map(({ address }) => address) }) + table('[[identity]]', IDENTITY));
  for (const [, user] of users) {
    const { lines } = await pregon(['whoami', '--config', config, '--cookie', `sid=${user}`]);
    assert.deepEqual(lines, [`{"user":"${user}"}`]);
  }

  // A slot on its way: who has it sends the question on, ASK.
  const [[, moving]] = users;
  const [from, to] = cluster.nodes;
  const slot = await from.client.sendCommand(['CLUSTER', 'KEYSLOT', keyOf(moving)]);
  await to.client.sendCommand(['CLUSTER', 'SETSLOT', `${slot}`, 'IMPORTING', from.id]);
  await from.client.sendCommand(['CLUSTER', 'SETSLOT', `${slot}`, 'MIGRATING', to.id]);
  await from.client.sendCommand(['MIGRATE', '127.0.0.1', `${to.port}`, keyOf(moving), '0', '5000']);
  const asking = newcomer(t, hub, moving);
  await asking.joined();
  // And once it is there, MOVED, until the hub has the new map.
  for (const { client } of [to, from]) await client.sendCommand(['CLUSTER', 'SETSLOT', `${slot}`, 'NODE', to.id]);
  const moved = newcomer(t, hub, moving);
  await moved.joined();
  assert.deepEqual([asking.story, moved.story], [['joined'], ['joined']]);
  // It was gone from where it was, and that was an event; but the session is not over.
  await says(push, [members.get(moving), asking, moved], 'all here');
  assert.deepEqual(members.get(moving).story, ['joined']);
  assert.equal(await to.client.sendCommand(['DEL', keyOf(moving)]), 1);
  for (const one of [members.get(moving), asking, moved]) await one.until((story) => story.includes('session:end: no_session'));
  const log = await Promise.all(cluster.nodes.map(({ client }) => client.sendCommand(['ACL', 'LOG'])));
  assert.deepEqual(log, [[], [], []], 'nothing was refused');
});

test('a primary dies: nobody is dropped, its users come again, and get in once its replica has taken over', limit, async (t) => {
  const cluster = await startCluster(t, 3);
  const [dying] = cluster.nodes;
  const [[ana, luis], [eva, leo]] = await usersOf(cluster, 2);
  await Promise.all([ana, luis, eva, leo].map((user) => cluster.login(user)));
  const { hub, push } = await hubWithSessions(t, NOWHERE, HOURLY, { cluster: cluster.nodes.map(({ address }) => address) });
  const members = [ana, eva].map((user) => newcomer(t, hub, user));
  await Promise.all(members.map((one) => one.joined()));

  const replica = await cluster.addReplica(dying);
  await dying.server.kill();
  await hub.line(new RegExp(`session store away store=${dying.address}`));
  const late = newcomer(t, hub, luis);
  // Others are not concerned.
  const other = newcomer(t, hub, leo);
  await other.joined();
  assert.deepEqual(other.story, ['joined']);
  await late.until((story) => story.length > 0);
  const begun = performance.now();
  await replica.client.sendCommand(['CLUSTER', 'FAILOVER', 'TAKEOVER']);
  await late.joined();
  t.diagnostic(`a newcomer is in ${Math.round(performance.now() - begun)} ms after the replica took over`);
  assert.ok(late.story.slice(0, -1).every((word) => ['503', 'transport close'].includes(word)), `${late.story}`);
  await says(push, [...members, late, other], 'all here');
  for (const one of members) assert.deepEqual(one.story, ['joined']);
  // The new primary is listened to.
  await replica.client.sendCommand(['DEL', keyOf(ana)]);
  await members[0].until((story) => story.includes('session:end: no_session'));
});

/** A Cluster of that many primaries. */
async function startCluster(t, primaries) {
  const start = async () => {
    const [port, bus] = [await freePort(), await freePort()];
    const folder = mkdtempSync(join(tmpdir(), 'pregon-cluster-'));
    const args = ['--port', port, '--cluster-port', bus, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--cluster-enabled', 'yes',
      '--cluster-node-timeout', '60000', '--cluster-require-full-coverage', 'no', '--repl-diskless-sync-delay', '0', ...EVENTS];
    const server = await startServer(t, args.map(String));
    const client = await clientOf(t, { url: `redis://127.0.0.1:${port}` });
    return { port, bus, server, client, address: `127.0.0.1:${port}`, id: await client.sendCommand(['CLUSTER', 'MYID']) };
  };
  const nodes = [];
  for (let n = 0; n < primaries; n += 1) nodes.push(await start());
  const meet = async ({ client }, { port, bus }) => client.sendCommand(['CLUSTER', 'MEET', '127.0.0.1', `${port}`, `${bus}`]);
  const share = (n) => Math.floor((SLOTS * n) / primaries);
  for (const [n, { client }] of nodes.entries()) {
    await client.sendCommand(['CLUSTER', 'ADDSLOTSRANGE', `${share(n)}`, `${share(n + 1) - 1}`]);
    // Two that join with the same epoch would have to agree first.
    await client.sendCommand(['CLUSTER', 'SET-CONFIG-EPOCH', `${n + 1}`]);
  }
  for (const node of nodes.slice(1)) await meet(nodes[0], node);
  const knows = async ({ client }, count) => {
    for (;;) {
      const info = await client.sendCommand(['CLUSTER', 'INFO']);
      const known = (await client.sendCommand(['CLUSTER', 'NODES'])).trim().split('\n');
      const whole = known.length === count && known.every((line) => / connected/.test(line) && !/handshake/.test(line));
      if (/cluster_state:ok/.test(info) && /cluster_slots_assigned:16384/.test(info) && whole) return;
    }
  };
  for (const node of nodes) await knows(node, primaries);
  const ownerOf = async (key) => {
    const slot = await nodes[0].client.sendCommand(['CLUSTER', 'KEYSLOT', key]);
    return nodes.findIndex((_, n) => slot < share(n + 1));
  };
  const of = async (user) => nodes[await ownerOf(keyOf(user))].client;
  return {
    nodes,
    ownerOf,
    login: async (user) => (await of(user)).sendCommand(['SET', keyOf(user), JSON.stringify({ user })]),
    logout: async (user) => assert.equal(await (await of(user)).sendCommand(['DEL', keyOf(user)]), 1),
    /** A replica of that primary, once it has its data and all know it. */
    async addReplica(of) {
      const replica = await start();
      await meet(of, replica);
      await knows(replica, primaries + 1);
      await replica.client.sendCommand(['CLUSTER', 'REPLICATE', of.id]);
      await replica.server.line(/sync: Finished with success/);
      for (const node of nodes) await knows(node, primaries + 1);
      return replica;
    },
  };
}

/** For each primary, so many users whose sessions it has. */
async function usersOf(cluster, each) {
  const users = cluster.nodes.map(() => []);
  for (let n = 0; users.some((some) => some.length < each); n += 1) {
    const some = users[await cluster.ownerOf(keyOf(`user${n}`))];
    if (some.length < each) some.push(`user${n}`);
  }
  return users;
}
