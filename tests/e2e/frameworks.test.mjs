// The frameworks themselves: a real application logs a user in, the stock client connects to the hub with
// that browser's cookie, the application logs the user out by its library's own logout, and the socket ends.

import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import test from 'node:test';

import { enter, over, refused, says } from './members.mjs';
import { startRedis } from './redis.mjs';
import { metric, metricReaches } from './store.mjs';
import { hubWithPush, LISTENERS, PYTHON, table } from './support.mjs';
import { startWebApp } from './webapps.mjs';

const limit = { timeout: 60_000 };
const SECRET = 'the application signs with this';
/** Packages beside those of the environment, of another version. */
const older = (name) => ({ PYTHONPATH: join(dirname(PYTHON), '..', name) });

/**
 * Sessions in Redis: `options` is what the application is told beside Redis, `identity` what the
 * hub is; `over` is why the session is none after the logout, `tampered` why a cookie with another letter is.
 */
const STORED = [
  {
    name: 'Beaker 1.11',
    framework: 'beaker_sessions',
    options: { secret: SECRET },
    env: older('beaker-1.11'),
    identity: { preset: 'beaker_redis', unwrap: ['pickle'], secrets: [SECRET] },
    over: 'no_user',
    tampered: 'bad_signature',
  },
  {
    name: 'Beaker 1.14',
    framework: 'beaker_sessions',
    options: { secret: SECRET },
    identity: { preset: 'beaker_redis', secrets: [SECRET] },
    over: 'no_user',
    tampered: 'bad_signature',
  },
  django('cache, its own RedisCache', {}),
  django('cached_db', { engine: 'cached_db' }, { key: ':1:django.contrib.sessions.cached_db{id}' }),
  django('django-redis, pickle in zlib', djangoRedis('pickle.PickleSerializer', 'zlib.ZlibCompressor'), { unwrap: ['zlib', 'pickle'] }),
  django('django-redis, JSON', djangoRedis('json.JSONSerializer'), { unwrap: ['json'] }),
  django('django-redis, MessagePack', djangoRedis('msgpack.MSGPackSerializer'), { unwrap: ['msgpack'] }),
  flask('0.8, MessagePack, signed', { SESSION_USE_SIGNER: true }, { id: 'itsdangerous', secrets: [SECRET] }, 'bad_signature'),
  flask('0.8, JSON', { SESSION_SERIALIZATION_FORMAT: 'json' }, { unwrap: ['json'] }, 'no_session'),
  { ...flask('0.5, pickle', {}, { pattern: '[0-9a-f-]{36}', unwrap: ['pickle'] }, 'no_session'), env: older('flask-session-0.5') },
  {
    name: 'express-session, connect-redis, passport',
    framework: 'express',
    options: { secret: SECRET },
    identity: { preset: 'express', secrets: [SECRET] },
    over: 'no_session',
    tampered: 'bad_signature',
  },
];

for (const { name, framework, env, options, identity, over: reason, tampered } of STORED) {
  test(`${name}: login, page views, and a logout that ends the socket`, limit, async (t) => {
    const redis = await startRedis(t);
    const app = await startWebApp(t, framework, { redis: redis.url, ...options }, env);
    const { hub, push } = await hubWithPush(t, {
      base: LISTENERS + table('[redis]', { url: redis.url }) + table('[[identity]]', { revalidate: '500ms', ...identity }),
    });
    await hub.line(/session store up/);
    const [browser, other] = [await app.login('77'), await app.login('78')];
    const cookie = browser.cookie;
    const [client, neighbour] = [await enter(t, hub, cookie), await enter(t, hub, other.cookie)];
    await says(push, '77', client, 'for 77');
    await says(push, '78', neighbour, 'for 78');
    assert.deepEqual([client.data(), neighbour.data()], [['for 77'], ['for 78']]);

    assert.equal(await browser.visit(), '77');
    assert.equal(browser.cookie, cookie, 'a page view changes no cookie');
    // Twice round for both of them.
    await metricReaches(hub, LOOKUPS, (await metric(hub, LOOKUPS)) + 4);
    await says(push, '77', client, 'still here');
    assert.deepEqual(client.disconnects, []);

    const began = performance.now();
    await browser.logout();
    assert.equal(await over(client), reason);
    t.diagnostic(`${app.versions}: ${Math.round(performance.now() - began)} ms from logout to the end, with revalidate = "500ms"`);
    assert.equal(await browser.visit(), '');
    assert.equal(await refused(t, hub, cookie), reason);
    await says(push, '78', neighbour, 'nobody else');
    assert.deepEqual(neighbour.disconnects, []);
    assert.equal(await refused(t, hub, changed(other.cookie)), tampered);
  });
}

const LOOKUPS = 'pregon_session_lookups_total{outcome="user"}';

function django(variant, options, identity) {
  return {
    name: `Django, ${variant}`,
    framework: 'django_sessions',
    options,
    identity: { preset: 'django', ...identity },
    over: 'no_session',
    // Nothing is signed: it is another id.
    tampered: 'no_session',
  };
}

function flask(variant, options, identity, tampered) {
  return {
    name: `Flask-Session ${variant}`,
    framework: 'flask_sessions',
    options: { secret: SECRET, ...options },
    identity: { preset: 'flask', ...identity },
    // Flask-Login takes the user out, and leaves the session there.
    over: 'no_user',
    tampered,
  };
}

function djangoRedis(serializer, compressor) {
  const OPTIONS = { SERIALIZER: `django_redis.serializers.${serializer}` };
  if (compressor) OPTIONS.COMPRESSOR = `django_redis.compressors.${compressor}`;
  return { cache: { BACKEND: 'django_redis.cache.RedisCache', OPTIONS } };
}

/** The cookie with another letter, early in its value. */
function changed(cookie) {
  const at = cookie.indexOf('=') + 9;
  return cookie.slice(0, at) + (cookie[at] === 'a' ? 'b' : 'a') + cookie.slice(at + 1);
}
