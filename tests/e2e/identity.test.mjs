// Who is let in: identity `dev` believes only direct requests on this machine, pages only of their own
// origin, and the admin listener only those who call it by a name of this machine.

import assert from 'node:assert/strict';
import test from 'node:test';

import { BASE, connect, freePort, hubWithPush, pregon, refusal, settings, startHub } from './support.mjs';
import { ask, handshakePath, joined, poll, webSocket } from './wire.mjs';

const limit = { timeout: 60_000 };
const FOREIGN = 'http://evil.example';

test('a client without a user is refused, with the reason, and stays away', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const cases = [
    ['nothing said', undefined, 'no_user'],
    ['no user in it', {}, 'no_user'],
    ['an empty one', { user: '' }, 'bad_id'],
    ['257 bytes', { user: 'a'.repeat(257) }, 'bad_id'],
    ['a number', { user: 42 }, 'malformed'],
    ['a list', { user: ['ana'] }, 'malformed'],
  ];
  for (const transports of [['polling'], ['websocket']]) {
    for (const [name, auth, reason] of cases) {
      const { error, active } = await refusal(t, hub, { auth, transports });
      assert.deepEqual([error.message, error.data], ['unauthorized', { reason }], name);
      assert.equal(active, false, 'it does not try again by itself');
    }
  }
  const metrics = await (await fetch(`${hub.admin}/metrics`)).text();
  for (const [reason, count] of [['no_user', 4], ['bad_id', 4], ['malformed', 4]]) {
    assert.ok(metrics.includes(`pregon_clients_turned_away_total{reason="${reason}"} ${count}\n`), metrics);
  }
  assert.equal((await hub.status()).registry.sessions, 0);
});

test('the user may be in the query, and the auth wins over it', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const [query, both] = await Promise.all([
    connect(t, hub, undefined, { query: { user: 'ana' } }),
    connect(t, hub, 'luis', { query: { user: 'ana' } }),
  ]);
  await push.send(['u/ana/', '{"data":"for Ana"}']);
  await push.send(['u/luis/', '{"data":"for Luis"}']);
  await Promise.all([query, both].map((client) => client.until((heard) => heard.length > 0)));
  assert.deepEqual([query.data(), both.data()], [['for Ana'], ['for Luis']]);
});

test('a request through a proxy or to another name is not believed, on either transport', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const { port } = new URL(hub.url);
  const believed = [{ Host: `localhost:${port}` }, { Host: '127.0.0.1' }, { Host: `[::1]:${port}` }];
  const doubted = [
    { Host: 'hub.example' },
    { Host: `127.0.0.1.evil.example:${port}` },
    { Host: 'localhost.evil.example' },
    { 'X-Forwarded-For': '127.0.0.1' },
    { 'X-Forwarded-Host': 'localhost' },
    { 'X-Forwarded-Proto': 'http' },
    { 'X-Real-IP': '127.0.0.1' },
    { Forwarded: 'for=127.0.0.1' },
  ];
  for (const [list, answer] of [[believed, /^40\{"sid"/], [doubted, /^44\{"message":"unauthorized","data":\{"reason":"no_user"\}\}$/]]) {
    for (const headers of list) {
      const name = JSON.stringify(headers);
      assert.match(await (await poll(hub, { headers })).join({ user: 'ana' }), answer, name);
      const ws = await webSocket(t, hub, { headers });
      ws.send('40{"user":"ana"}');
      await ws.next();
      assert.match(await ws.next(), answer, name);
      assert.match(await (await poll(hub, { headers, query: '&user=ana' })).join(), answer, name);
    }
  }
});

test("only the hub's own pages may connect, on either transport", limit, async (t) => {
  const hub = await startHub(t, BASE);
  const own = { Origin: hub.url };
  assert.match(await (await poll(hub, { headers: own })).join({ user: 'ana' }), /^40/);
  assert.equal((await webSocket(t, hub, { headers: own })).status, 101);
  const others = [FOREIGN, 'null', hub.url.replace('http', 'https'), 'http://127.0.0.1', `${hub.url}.evil.example`, ''];
  for (const Origin of others) {
    const polled = await ask(hub.url, handshakePath('polling'), { headers: { Origin } });
    assert.deepEqual([polled.status, polled.body], [403, '{"code":4,"message":"Forbidden"}'], Origin);
    assert.equal(polled.headers['access-control-allow-origin'], undefined);
    const ws = await webSocket(t, hub, { headers: { Origin } });
    assert.deepEqual([ws.status, ws.body], [403, 'Forbidden'], Origin);
  }
  // A session's own page may not be followed by another.
  const session = await poll(hub);
  const stolen = await ask(hub.url, session.path, { headers: { Origin: FOREIGN } });
  assert.equal(stolen.status, 403);
  const upgrade = await webSocket(t, hub, { query: `&sid=${session.open.sid}`, headers: { Origin: FOREIGN } });
  assert.equal(upgrade.status, 403);
  const preflight = await ask(hub.url, handshakePath('polling'), { method: 'OPTIONS', headers: { Origin: FOREIGN } });
  assert.equal(preflight.status, 403);

  const metrics = await (await fetch(`${hub.admin}/metrics`)).text();
  const expected = 2 * others.length + 3;
  assert.ok(metrics.includes(`pregon_clients_turned_away_total{reason="origin"} ${expected}\n`), metrics);
  assert.equal((await hub.status()).connections.opened, 3);
});

test('listed pages may connect and are told so', limit, async (t) => {
  const app = 'https://app.example';
  const hub = await startHub(t, BASE, ['--set', `server.origins=["${app}", "http://other.example:81"]`]);
  const headers = { Origin: app };
  const session = await poll(hub, { headers });
  const answers = [
    await ask(hub.url, handshakePath('polling'), { headers }),
    await session.post('40{"user":"ana"}'),
    await session.get(),
    await ask(hub.url, handshakePath('polling', '&sid=x'), { headers }),
  ];
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200, 400]);
  for (const answer of answers) {
    assert.equal(answer.headers['access-control-allow-origin'], app);
    assert.equal(answer.headers['access-control-allow-credentials'], 'true');
    assert.equal(answer.headers.vary, 'Origin');
  }
  const preflight = await ask(hub.url, handshakePath('polling'), {
    method: 'OPTIONS',
    headers: { ...headers, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type' },
  });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers['access-control-allow-origin'], app);
  assert.match(preflight.headers['access-control-allow-methods'], /POST/);
  assert.equal((await webSocket(t, hub, { headers })).status, 101);
  for (const Origin of [FOREIGN, hub.url, 'http://app.example', `${app}:444`]) {
    assert.equal((await ask(hub.url, handshakePath('polling'), { headers: { Origin } })).status, 403, Origin);
    assert.equal((await webSocket(t, hub, { headers: { Origin } })).status, 403, Origin);
  }
  // Not a browser: no origin at all.
  await joined(t, hub, 'ana');
});

test('"*" is no setting for origins: any page could act for whoever looks at it', limit, async () => {
  for (const more of [[], ['--demo']]) {
    const args = ['run', '--config', settings(BASE), '--set', 'server.origins=["*"]', ...more];
    const { code, lines } = await pregon(args);
    assert.equal(code, 64);
    assert.match(lines[0], /server\.origins: "\*" would let any page on the web act/);
  }
});

test('forwarding headers count from a trusted proxy only', limit, async (t) => {
  const port = await freePort();
  const text = BASE.replace('[server]\nlisten = "127.0.0.1:0"', `[server]\nlisten = "127.0.0.1:${port}"\ntrusted_proxies = ["127.0.0.1"]`);
  const headers = { Origin: 'https://app.example', 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'app.example' };
  const trusting = await startHub(t, text);
  assert.equal((await ask(trusting.url, handshakePath('polling'), { headers })).status, 200);
  assert.equal((await webSocket(t, trusting, { headers })).status, 101);
  const plain = await startHub(t, BASE);
  assert.equal((await ask(plain.url, handshakePath('polling'), { headers })).status, 403);
});

test('the admin listener answers only to a name of this machine', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const paths = ['/healthz', '/readyz', '/metrics', '/api/status'];
  for (const path of paths) {
    for (const Host of ['evil.example', '127.0.0.1.evil.example', '10.0.0.1:80']) {
      const answer = await ask(hub.admin, path, { headers: { Host } });
      assert.equal(answer.status, 403, `${path} as ${Host}`);
      assert.ok(!answer.body.includes('uptime') && !answer.body.includes('pregon_'), answer.body);
    }
    for (const Host of ['localhost', `127.0.0.1:${new URL(hub.admin).port}`, '[::1]']) {
      const answer = await ask(hub.admin, path, { headers: { Host } });
      assert.equal(answer.status, 200, `${path} as ${Host}`);
      assert.equal(answer.headers['cache-control'], 'no-store');
      assert.equal(answer.headers['access-control-allow-origin'], undefined);
    }
  }
});
