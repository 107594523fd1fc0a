// Secrets change while the hub runs: SIGHUP reads the files that identities name anew, and what is no longer
// signed ends.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

import { startRedis } from './redis.mjs';
import { connect, hubWithPush, LISTENERS, refusal, table } from './support.mjs';

const limit = { timeout: 60_000 };
const [OLD, NEW] = ['the old secret', 'the new secret'];
const SESSIONS = 200;

test('a rotation of secrets: old and new, then only new; a mistake changes nothing', limit, async (t) => {
  const { redis, hub, push, say, file } = await stage(t);
  const olds = [];
  for (let n = 0; n < SESSIONS; n += 1) olds.push(await enter(t, hub, await login(redis, OLD, `old${n}`)));
  const fresh = await login(redis, NEW, 'fresh');
  assert.equal(await refused(t, hub, fresh), 'bad_signature');

  await say(`${NEW}\n${OLD}\n`, /identity files reloaded identity=1 /);
  const news = await enter(t, hub, fresh);
  // As the settings say, not twice.
  await say(`${NEW}\n${OLD}\n`, /identity files unchanged identity=1 /);

  // A mistake is told, and what was said before stays.
  for (const text of ['', '\n \n']) await say(text, /identity files not reloaded.*reason=.*secrets.*advice=/);
  rmSync(file);
  await say(undefined, /identity files not reloaded.*reason=.*cannot read/);
  await heard(push, [...olds, news], 'all are here');
  await enter(t, hub, await login(redis, OLD, 'late'));

  const began = performance.now();
  await say(`${NEW}\n`, /identity files reloaded identity=1 /);
  for (const client of olds) await client.until(() => client.disconnects.length > 0);
  const took = performance.now() - began;
  t.diagnostic(`${SESSIONS} sessions whose secret was taken out ended within ${Math.round(took)} ms`);
  for (const { heard, disconnects } of olds) {
    assert.deepEqual(disconnects, ['io server disconnect']);
    assert.deepEqual([heard.at(-1).event, heard.at(-1).args], ['session:end', [{ reason: 'bad_signature' }]]);
  }
  assert.ok(took < 5_000, `${took}`);
  assert.equal(await refused(t, hub, await login(redis, OLD, 'old0')), 'bad_signature');
  await heard(push, [news], 'still here');
  assert.deepEqual(news.disconnects, []);
  for (const secret of [OLD, NEW]) assert.ok(!hub.lines.some((line) => line.includes(secret)));
});

test('SIGHUP reads the files that the settings name, not the settings', limit, async (t) => {
  const { redis, hub, push, say, config } = await stage(t);
  const client = await enter(t, hub, await login(redis, OLD, 'ana'));
  writeFileSync(config, 'no settings at all');
  await say(`${NEW}\n${OLD}\n`, /identity files reloaded identity=1 /);
  const other = await enter(t, hub, await login(redis, NEW, 'luis'));
  await heard(push, [client, other], 'still here');
});

/** Redis, and a hub whose secrets are in a file. `say` writes that file, and sends SIGHUP. */
async function stage(t) {
  const redis = await (await startRedis(t)).client();
  const { port } = redis.options.socket;
  const file = join(mkdtempSync(join(tmpdir(), 'pregon-secrets-')), 'secrets');
  writeFileSync(file, OLD);
  const keys = { preset: 'beaker', unwrap: ['json'], user: ['user'], secrets_file: file, revalidate: '1h', cache: '1m' };
  const base = LISTENERS + table('[redis]', { url: `redis://127.0.0.1:${port}/0` }) + table('[[identity]]', keys);
  const { hub, push } = await hubWithPush(t, { base });
  await hub.line(/session store up/);
  const say = async (text, line) => {
    const from = hub.lines.length;
    if (text !== undefined) writeFileSync(file, text);
    hub.child.kill('SIGHUP');
    await hub.line(line, from);
  };
  return { redis, hub, push, say, file, config: hub.child.spawnargs[hub.child.spawnargs.indexOf('--config') + 1] };
}

/** A session of that user, in a cookie signed as Beaker does it. */
async function login(redis, secret, user) {
  const id = createHmac('md5', secret).update(user).digest('hex');
  await redis.set(`beaker:${id}:session`, JSON.stringify({ user }));
  return `beaker.session.id=${createHmac('sha1', secret).update(id).digest('hex')}${id}`;
}

const enter = (t, hub, cookie) => connect(t, hub, undefined, { extraHeaders: { cookie }, transports: ['websocket'] });

async function refused(t, hub, cookie) {
  const { error } = await refusal(t, hub, { extraHeaders: { cookie } });
  return error.data?.reason ?? `${error}`;
}

/** All of them hear that. */
async function heard(push, clients, data) {
  await push.send(['all/', JSON.stringify({ data })]);
  await Promise.all(clients.map((client) => client.until(() => client.data().includes(data))));
}
