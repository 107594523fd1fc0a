// Beaker for a test: an application whose sessions it keeps, and the hub's settings to read them.

import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';

import { PYTHON, startPeer, table } from './support.mjs';

export const SECRET = 'the application signs with this';

/** Beaker of either encoding, with what the hub must be told of it. */
export const BEAKERS = [
  {
    name: 'Beaker 1.11',
    version: '1.11.0',
    env: { PYTHONPATH: join(dirname(PYTHON), '..', 'beaker-1.11') },
    keys: { unwrap: ['pickle'] },
  },
  { name: 'Beaker 1.14', version: '1.14.1', keys: {} },
];

/** The other serializer, as Beaker 1.12 and later has it. */
export const BEAKER_JSON = {
  name: 'Beaker 1.14 with JSON',
  version: '1.14.1',
  args: ['--serializer', 'json'],
  keys: { unwrap: ['pickle', 'base64', 'zlib', 'json'] },
};

/** The identity that reads what this Beaker writes. */
export const identityTable = (beaker, keys = {}) =>
  table('[[identity]]', { preset: 'beaker_redis', secrets: [SECRET], ...beaker.keys, ...keys });

/** Where Beaker keeps the session of a cookie. */
export const keyOf = (cookie) => `beaker_cache:${cookie.slice(-32)}:session`;

/** Starts an application with sessions of that Beaker. */
export async function startBeaker(t, redis, { version, env, args = [] }, more = []) {
  const app = await startPeer(t, 'beaker_app.py', [redis.url, SECRET, ...args, ...more], env);
  assert.equal(app.lines[0], `ready ${version}`);
  const order = async (request) => {
    const from = app.lines.length;
    app.write(JSON.stringify(request));
    const { cookie, error } = JSON.parse((await app.line(/^answer /, from)).slice('answer '.length));
    assert.equal(error, undefined);
    return cookie;
  };
  return {
    /** A new session of that user, or with a cookie, another user of that session; the Cookie header. */
    login: (user, cookie) => order({ do: 'login', user, cookie }),
    visit: (cookie) => order({ do: 'visit', cookie }),
    logout: (cookie) => order({ do: 'logout', cookie }),
    invalidate: (cookie) => order({ do: 'invalidate', cookie }),
    /** From now on Beaker's clock is that many seconds ahead. */
    shiftClock: (shift) => order({ do: 'clock', shift }),
  };
}
