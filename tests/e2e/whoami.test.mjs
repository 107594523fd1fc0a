// `pregon whoami`: every session in the vectors, those of real applications and those of attackers, as the
// command judges them against a real Redis; and how it answers.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';

import { startRedis } from './redis.mjs';
import { freePort, inLanes, PREGON, settings, table } from './support.mjs';

const VECTORS = 'crates/identity/tests/vectors';
const vectors = JSON.parse(readFileSync(join(VECTORS, 'index.json'), 'utf8'));
const limit = { timeout: 60_000 };

test('every vector gets its verdict', limit, async (t) => {
  const redis = await startRedis(t);
  const client = await redis.client();
  const wrong = [];
  let reasons = 0;
  // Vectors share keys: each lane has a database of its own.
  await inLanes(8, vectors, async (vector, lane) => {
    const { name, expect, remote_ip: address } = vector;
    const command = client.multi().select(lane).flushDb();
    if (vector.value_file !== null) command.set(vector.redis_key, value(vector));
    await command.exec();
    const url = redis.url.replace(/0$/, lane);
    const more = address === undefined ? [] : ['--remote-ip', address];
    const args = [`--now=${vector.now}`, ...more];
    const { code, stdout } = await whoami(vector.cookie_header, [identity(vector)], url, args);
    const said = JSON.parse(stdout || '{}');
    const right = expect.reject
      ? code === 1 && Object.keys(said).join() === 'anonymous' && /^[a-z_]+$/.test(said.anonymous)
      : code === 0 && Object.keys(said).join() === 'user' && [expect.user, expect.or_user].includes(said.user);
    if (!right) wrong.push(`${name}: exit ${code}, ${stdout.trim()}, expected ${JSON.stringify(expect)}`);
    // Of several things that are wrong, the hub may meet another first.
    if (expect.reject === said.anonymous) reasons += 1;
  });
  t.diagnostic(`${vectors.length - wrong.length} of ${vectors.length}, ${reasons} with the very reason`);
  assert.ok(vectors.length > 60);
  assert.deepEqual(wrong, []);
});

test('-v says every step, and shows neither id, signature nor secret', limit, async (t) => {
  const redis = await startRedis(t);
  const vector = await stored(redis, 'ok_beaker111_redisnm');
  const { secrets, key } = vector.config;
  const cookie = vector.cookie_header;
  const cases = [
    [cookie, { user: '77' }, ['cookie "beaker.session.id": there', `store: key "${key}" holds`, 'session: user at ["repoze']],
    [cookie.replace(/=./, '=x'), { anonymous: 'malformed' }, ['cookie "beaker.session.id": malformed']],
    [cookie.replace(/.{8}$/, '00000000'), { anonymous: 'bad_signature' }, ['cookie "beaker.session.id": bad_signature']],
  ];
  for (const [header, answer, steps] of cases) {
    const { stdout, stderr } = await whoami(header, [identity(vector)], redis.url, ['-v', `--now=${vector.now}`]);
    assert.equal(stdout, `${JSON.stringify(answer)}\n`);
    const lines = stderr.trim().split('\n');
    assert.equal(lines.length, steps.length, stderr);
    steps.forEach((step, at) => assert.ok(lines[at].includes(step), `${step} in ${lines[at]}`));
    const hidden = header.slice(header.indexOf('=') + 1);
    for (const secret of [...secrets, hidden.slice(0, 40), hidden.slice(40)]) {
      assert.ok(!stderr.includes(secret), `${secret} in ${stderr}`);
    }
  }
  const quiet = await whoami(cookie, [identity(vector)], redis.url, [`--now=${vector.now}`]);
  assert.equal(quiet.stderr, '');
});

test('without Redis nobody knows, and the exit code says so', limit, async () => {
  const url = `redis://hub:pw-of-the-hub@127.0.0.1:${await freePort()}/0`;
  const vector = named('ok_beaker111_redisnm');
  const { code, stdout, stderr } = await whoami(vector.cookie_header, [identity(vector)], url, ['-v']);
  assert.deepEqual([code, stdout], [2, '{"unavailable":"store_unavailable"}\n']);
  assert.match(stderr, /store: .*away/);
  assert.doesNotMatch(stderr, /pw-of-the-hub/);
  // What needs no store is answered without.
  const none = await whoami('other=1', [identity(vector)], url);
  assert.deepEqual([none.code, none.stdout], [1, '{"anonymous":"no_cookie"}\n']);
});

test('of several identities the first that names a user wins', limit, async (t) => {
  const redis = await startRedis(t);
  const beaker = await stored(redis, 'ok_beaker111_redisnm');
  const django = await stored(redis, 'ok_django_cache');
  const [first, second] = [beaker, django].map((vector) => ({ ...identity(vector), redis: redis.url }));
  const away = { ...first, redis: `redis://127.0.0.1:${await freePort()}/0` };
  const both = `${beaker.cookie_header}; ${django.cookie_header}`;
  const forged = both.replace(/=./, '=0');
  const cases = [
    ['both', [first, second], both, 0, { user: '77' }],
    ['both, the other way round', [second, first], both, 0, { user: '4242' }],
    ['only the second has a cookie', [first, second], django.cookie_header, 0, { user: '4242' }],
    ['the first cookie is no good', [first, second], forged, 0, { user: '4242' }],
    ['the first session is gone', [{ ...first, key: 'nowhere:{id}' }, second], both, 0, { user: '4242' }],
    ['the first store is away', [away, second], both, 2, { unavailable: 'store_unavailable' }],
    ['the same, without a cookie for it', [away, second], django.cookie_header, 0, { user: '4242' }],
    ['a cookie for none', [first, second], 'other=1', 1, { anonymous: 'no_cookie' }],
    ['no cookie at all', [first, second], '', 1, { anonymous: 'no_cookie' }],
    ['no good, and none', [first, second], forged.split(';')[0], 1, { anonymous: 'bad_signature' }],
  ];
  await inLanes(4, cases, async ([what, identities, cookie, code, answer]) => {
    const told = await whoami(cookie, identities, redis.url, [`--now=${beaker.now}`]);
    assert.deepEqual([told.code, JSON.parse(told.stdout)], [code, answer], what);
  });
});

const named = (name) => vectors.find((vector) => vector.name === name);

const value = ({ value_file: file }) => readFileSync(join(VECTORS, file));

/** A preset must be named; the vector's own keys say the rest. */
const identity = ({ config }) => ({ preset: 'beaker', ...config });

/** That vector, its value in Redis. */
async function stored(redis, name) {
  const vector = named(name);
  await (await redis.client()).set(vector.redis_key, value(vector));
  return vector;
}

/** Asks the command whose cookie it is. */
function whoami(cookie, identities, url, args = []) {
  const text = table('[redis]', { url }) + identities.map((keys) => table('[[identity]]', keys)).join('');
  const all = ['whoami', '--config', settings(text), '--cookie', cookie ?? '', ...args];
  return new Promise((resolve) => {
    execFile(PREGON, all, (error, stdout, stderr) => resolve({ code: error ? error.code : 0, stdout, stderr }));
  });
}
