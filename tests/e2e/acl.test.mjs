// The Redis user that README tells an operator to make is enough for the hub, and lets nobody write; nor
// does the hub try. Redis itself is asked for what it saw.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { BEAKERS, identityTable, keyOf, startBeaker } from './beaker.mjs';
import { EVENTS, startRedis } from './redis.mjs';
import { connect, hubWithPush, LISTENERS, refusal, table } from './support.mjs';

const limit = { timeout: 60_000 };
const [, BEAKER] = BEAKERS;

/** All that the hub sends; everybody may AUTH. */
const COMMANDS = ['auth', 'get', 'ping', 'psubscribe'];

for (const [readme, password] of [['README.md', 'PASSWORD'], ['README.es.md', 'SECRETO']]) {
  test(`${readme}: its ACL line is enough for all that the hub does, events too`, limit, async (t) => {
    for (const db of [0, 3]) {
      const { redis, client, url } = await withUser(t, readme, password, db);
      const app = await startBeaker(t, { url: `redis://127.0.0.1:${redis.port}/${db}` }, BEAKER);
      const seen = await monitor(t, redis);
      const base = LISTENERS + table('[redis]', { url }) + identityTable(BEAKER, { revalidate: '1h' });
      const { hub, push } = await hubWithPush(t, { base });
      const [cookie, other] = [await app.login('77'), await app.login('78')];
      const come = (one) => connect(t, hub, undefined, { extraHeaders: { cookie: one } });
      const [ana, luis] = [await come(cookie), await come(other)];
      await refusal(t, hub, { extraHeaders: { cookie: 'beaker.session.id=other' } });
      await app.visit(other);
      await app.logout(cookie);
      await ana.until((heard) => heard.some(({ event }) => event === 'session:end'));
      const addresses = await addressesOf(client);
      // The subscription made anew; and then the whole connection.
      await client.multi().select(db).addCommand(['CLIENT', 'KILL', 'TYPE', 'pubsub']).del(keyOf(other)).exec();
      await luis.until((heard) => heard.some(({ event }) => event === 'session:end'));
      while (addresses.size < 3) for (const address of await addressesOf(client)) addresses.add(address);
      await client.sendCommand(['CLIENT', 'KILL', 'USER', 'pregon']);
      // A connection, a subscription, that one anew, both anew.
      while (addresses.size < 5) for (const address of await addressesOf(client)) addresses.add(address);
      await push.send(['all/', '{"data":1}']);
      await hub.shows({ events: 'on', state: 'up' }, ({ stores: [only] }) => only);

      const sent = new Set(await seen(addresses));
      t.diagnostic(`database ${db}: the hub sent ${[...sent].join(', ')}`);
      assert.deepEqual([...sent].sort(), [...COMMANDS, ...(db ? ['select'] : [])].sort());
      assert.deepEqual(await client.sendCommand(['ACL', 'LOG']), [], 'nothing was refused');
    }
  });

  test(`${readme}: with that user nothing can be written, and nothing else be read`, limit, async (t) => {
    const { client } = await withUser(t, readme, password, 0);
    // Of a command that is only a container, those inside.
    const all = (await client.sendCommand(['COMMAND'])).flatMap((one) => (one[9].length > 0 ? one[9] : [one]));
    const key = 'beaker_cache:0123456789abcdef0123456789abcdef:session';
    const dry = (...command) => client.sendCommand(['ACL', 'DRYRUN', 'pregon', ...command]);
    const allowed = [];
    for (const [name, arity] of all) {
      const words = name.split('|');
      const args = Array(Math.abs(arity) - words.length).fill(key);
      if ((await dry(...words, ...args)) === 'OK') allowed.push(name);
    }
    // Redis lets everybody say who it is and leave; RESET ends a subscription.
    const harmless = ['auth', 'hello', 'quit', 'reset'];
    t.diagnostic(`${all.length} commands, allowed: ${allowed.join(', ')}`);
    assert.ok(all.length > 200, `${all.length}`);
    assert.deepEqual(allowed.filter((name) => !harmless.includes(name)).sort(), ['get', 'ping']);
    const channels = '__keyspace@0__:beaker_cache:*:session';
    const rules = [
      [['get', key], true],
      [['get', 'beaker_cache:x'], false],
      [['get', 'other'], false],
      [['psubscribe', channels], true],
      [['psubscribe', '__keyspace@0__:*'], false],
      [['psubscribe', '*'], false],
      [['subscribe', `__keyspace@0__:${key}`], false],
      [['publish', `__keyspace@0__:${key}`, 'del'], false],
    ];
    for (const [command, yes] of rules) assert.equal((await dry(...command)) === 'OK', yes, command.join(' '));
    // Not only in theory.
    const hub = client.duplicate({ username: 'pregon', password, disableClientInfo: true });
    hub.on('error', () => {});
    t.after(() => hub.destroy());
    await hub.connect();
    for (const command of [['SET', key, 'x'], ['DEL', key], ['EXPIRE', key, '1'], ['GETEX', key, 'PERSIST'], ['GET', 'other']]) {
      await assert.rejects(hub.sendCommand(command), /NOPERM/, command.join(' '));
    }
  });
}

/** A Redis with the user of a README's ACL line, as it is pasted, for a database; the hub's URL. */
async function withUser(t, readme, password, db) {
  const redis = await startRedis(t, EVENTS);
  const client = await redis.client();
  const [, line] = readFileSync(readme, 'utf8').match(/^redis-cli (ACL SETUSER .*)$/m);
  const words = line.split(' ').map((word) => word.replace(/^'(.*)'$/, '$1').replace('@0__', `@${db}__`));
  if (db) words.push('+select');
  await client.sendCommand(words);
  return { redis, client, url: `redis://pregon:${password}@127.0.0.1:${redis.port}/${db}` };
}

/** From where the hub is connected now. */
async function addressesOf(client) {
  const list = await client.sendCommand(['CLIENT', 'LIST']);
  const lines = list.split('\n').filter((line) => / user=pregon /.test(line));
  return new Set(lines.map((line) => line.match(/ addr=(\S+)/)[1]));
}

/** Collects what Redis is told from now on; the function gives the commands that came from these addresses. */
async function monitor(t, redis) {
  const lines = [];
  const waiting = [];
  const client = await redis.client();
  await client.monitor((line) => {
    lines.push(line);
    for (const resolve of waiting.splice(0)) resolve();
  });
  return async (addresses) => {
    // What was sent before this has been seen once this has.
    const last = await redis.client();
    await last.echo('the end');
    while (!lines.some((line) => /the end/.test(line))) await new Promise((resolve) => waiting.push(resolve));
    return lines.flatMap((line) => {
      const [, from, command] = line.match(/\[\d+ (\S+)\] "([^"]+)"/) ?? [];
      return addresses.has(from) ? [command.toLowerCase()] : [];
    });
  };
}
