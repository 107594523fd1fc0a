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
  assert.ok(vectors.length >= 130);
  const used = (key) => new Set(vectors.filter(({ expect }) => expect.user).flatMap(({ config }) => config[key] ?? []));
  assert.deepEqual([...used('id')].sort(), ['auth_tkt', 'beaker', 'beaker_cookie', 'express', 'itsdangerous', 'jwt', 'raw']);
  assert.deepEqual([...used('unwrap')].sort(), ['base64', 'beaker_aes_gcm', 'json', 'msgpack', 'pickle', 'zlib']);
  assert.deepEqual(wrong, []);
});

test('-v says every step, and shows neither id, signature nor secret', limit, async (t) => {
  const redis = await startRedis(t);
  const vector = await stored(redis, 'ok_beaker111_redisnm');
  const { secrets, key } = vector.config;
  const cookie = vector.cookie_header;
  const cases = [
    [cookie, { user: '77' }, ['cookie "beaker.session.id": there', `store: key "${key}" holds`,
      'session: layer 1 of 1, pickle: can be read', 'session: user at ["repoze.who.tkt", "user.id"]: there', 'session: user at ["repoze']],
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

test('-v says of every format why it stopped, and shows nothing that is secret', limit, async (t) => {
  const redis = await startRedis(t);
  const cases = [
    ['no_express_unsigned', 'nobody with these secrets made it (id express, 1 secret)'],
    ['no_express_expired', 'expires at ["cookie", "expires"]: that time is over'],
    ['no_express_json_deep', 'layer 1 of 1, json: cannot be read'],
    ['ok_flask_session_08_signer', '(id itsdangerous, 1 secret, salt "flask-session")'],
    ['no_msgpack_len_claim', 'layer 1 of 1, msgpack: cannot be read'],
    ['no_django_anonymous', 'user at ["_auth_user_id"]: nothing at "_auth_user_id"'],
    ['no_authtkt_future', 'not_yet_valid: it is of a time to come'],
    ['no_authtkt_short', 'malformed: no ticket with this digest and base64 = false'],
    ['ok_authtkt_unquoted', 'there, and good (id auth_tkt, 1 secret, digest Md5, bound to no address)'],
    ['ok_authtkt_sha512_ip', 'bad_signature: it is for one address; say the client\'s with --remote-ip'],
    ['no_jwt_aud', 'wrong_audience: aud is not "hub"'],
    ['no_jwt_iss', 'wrong_issuer: iss is not "https://id.example"'],
    ['no_jwt_no_exp', 'expired: its exp is over, or it has none'],
    ['no_own_jwt_jwks_unknown_kid', 'bad_signature: none of these keys made it, or with another alg'],
    ['ok_own_jwt_es256', 'there, and good (id jwt, public keys: 1, alg ES256)'],
  ];
  for (const [name, step] of cases) {
    const vector = named(name);
    if (vector.value_file) await stored(redis, name);
    const { stderr } = await whoami(vector.cookie_header, [identity(vector)], redis.url, ['-v', `--now=${vector.now}`]);
    assert.ok(stderr.includes(step), `${name}: ${step} in ${stderr}`);
    const shown = vector.cookie_header.slice(vector.cookie_header.indexOf('=') + 1);
    for (const secret of [...(vector.config.secrets ?? []), shown, shown.slice(0, 24), shown.slice(-20)]) {
      assert.ok(!stderr.includes(secret), `${name}: ${secret} in ${stderr}`);
    }
  }
});

test('a token is judged instead of the cookie, by who takes tokens', limit, async () => {
  const url = `redis://127.0.0.1:${await freePort()}/0`;
  const good = named('ok_jwt_hs256');
  const bad = named('no_jwt_tampered');
  const [cookie, forged] = [good, bad].map((vector) => vector.cookie_header);
  const [token, other] = [cookie, forged].map((header) => header.slice(header.indexOf('=') + 1));
  const takes = { ...identity(good), token: 'token' };
  const now = `--now=${good.now}`;
  const cases = [
    ['the token alone', [takes], undefined, token, { user: 'user-7' }],
    ['beside a bad cookie', [takes], forged, token, { user: 'user-7' }],
    ['a bad one beside a good cookie', [takes], cookie, other, { anonymous: 'bad_signature' }],
    ['an empty one beside a good cookie', [takes], cookie, '', { anonymous: 'malformed' }],
    ['to who takes none', [{ ...takes, token: '' }], undefined, token, { anonymous: 'no_cookie' }],
    ['to who takes none, beside a cookie', [{ ...takes, token: '' }], cookie, other, { user: 'user-7' }],
    ['preset jwt reads tokens only', [{ preset: 'jwt', secrets: takes.secrets, audience: 'hub' }], cookie, undefined, { anonymous: 'no_cookie' }],
    ['preset jwt', [{ preset: 'jwt', secrets: takes.secrets, audience: 'hub' }], undefined, token, { user: 'user-7' }],
  ];
  for (const [what, identities, header, shown, answer] of cases) {
    const more = shown === undefined ? [] : [`--token=${shown}`];
    const { stdout } = await whoami(header, identities, url, [now, ...more]);
    assert.deepEqual(JSON.parse(stdout), answer, what);
  }
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

/** A vector's own keys say enough; its keys are in files beside it. */
function identity({ config }) {
  const files = ['public_key_file', 'jwks_file'].filter((key) => key in config);
  return { ...config, ...Object.fromEntries(files.map((key) => [key, join(VECTORS, config[key])])) };
}

/** That vector, its value in Redis. */
async function stored(redis, name) {
  const vector = named(name);
  await (await redis.client()).set(vector.redis_key, value(vector));
  return vector;
}

/** Asks the command whose cookie it is. */
function whoami(cookie, identities, url, args = []) {
  const text = table('[redis]', { url }) + identities.map((keys) => table('[[identity]]', keys)).join('');
  const all = ['whoami', '--config', settings(text), ...(cookie === undefined ? [] : ['--cookie', cookie ?? '']), ...args];
  return new Promise((resolve) => {
    execFile(PREGON, all, (error, stdout, stderr) => resolve({ code: error ? error.code : 0, stdout, stderr }));
  });
}
