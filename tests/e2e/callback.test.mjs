// Who a browser belongs to by the web application's own word: the hub asks it, believes what it says, and
// takes nothing else for an answer.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { createServer as createSecureServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

import { hubWithCallback, identityTable, says, startApp, startOracle, withCookie } from './callback.mjs';
import { count, handshake, metric, newcomer as comer, readiness, readyWhen } from './store.mjs';
import { BASE, connect, pregon, refusal, settings } from './support.mjs';

const OPENSSL = process.env.OPENSSL ?? '/usr/bin/openssl';
const limit = { timeout: 60_000 };
const CLIENTS = 100;

test('an application says who its users are, and a logout there ends the connection', limit, async (t) => {
  const app = await startApp(t);
  const { hub, push } = await hubWithCallback(t, app.url, { revalidate: '2s' });
  const [cookie, other] = [await app.login('42'), await app.login('43')];
  const clients = [];
  for (const transports of [['polling', 'websocket'], ['polling'], ['websocket']]) {
    clients.push(await connect(t, hub, undefined, { ...withCookie(cookie), transports }));
  }
  const neighbour = await connect(t, hub, undefined, withCookie(other));
  await push.send(['u/42/', '{"data":"for 42"}']);
  await push.send(['g/staff/', '{"data":"for staff"}']);
  for (const client of [...clients, neighbour]) await client.until(() => client.data().includes('for staff'));
  for (const client of clients) assert.deepEqual(client.data(), ['for 42', 'for staff']);
  assert.deepEqual(neighbour.data(), ['for staff']);

  const began = performance.now();
  await app.logout(cookie);
  for (const client of clients) assert.equal(await over(client), 'no_user');
  t.diagnostic(`${Math.round(performance.now() - began)} ms from logout to session:end, with revalidate = "2s"`);
  assert.equal(await refused(t, hub, withCookie(cookie)), 'no_user');
  await push.send(['g/staff/', '{"data":"still here"}']);
  await neighbour.until(() => neighbour.data().includes('still here'));
});

test('the application is shown what the settings name, and nothing else', limit, async (t) => {
  const oracle = await startOracle(t, says({ user: '42' }));
  const { hub } = await hubWithCallback(t, `${oracle.url}?from=hub`, { revalidate: '1h', forward: ['Cookie', 'X-Tenant'] });
  const extraHeaders = { cookie: 'sid=1; other=é', 'x-tenant': 'acme', 'x-secret': 's', origin: hub.url };
  // By WebSocket: Node spells a cookie that is not ASCII in another way when it polls, and the hub then asks once more.
  await connect(t, hub, undefined, { extraHeaders, auth: { token: 'a.b-c', more: [1] }, transports: ['websocket'] });
  const [{ method, url, headers, rawHeaders }] = oracle.requests;
  assert.deepEqual([method, url], ['GET', '/whoami?from=hub']);
  const { 'user-agent': agent, date, ...rest } = headers;
  assert.match(agent, /^pregon\/\d/);
  assert.deepEqual(rest, {
    host: oracle.host,
    accept: 'application/json',
    'accept-encoding': 'identity',
    'content-length': '0',
    authorization: 'Bearer a.b-c',
    cookie: 'sid=1; other=é',
    'x-forwarded-for': '127.0.0.1',
    'x-tenant': 'acme',
  });
  assert.equal(rawHeaders.length / 2, 10);

  // What could be more than one header, or is none, is not sent; who shows nothing is nobody.
  const asked = oracle.requests.length;
  const cases = [
    [{}, 'no_cookie'],
    [{ auth: { token: '' } }, 'malformed'],
    [{ auth: { token: null, Token: 'x' } }, 'no_cookie'],
    [{ auth: { token: 'a\r\nX-Admin: 1' } }, 'malformed'],
    [{ auth: { token: 'a b' } }, 'malformed'],
    [{ auth: { token: 'é' } }, 'malformed'],
    [{ auth: { token: 42 } }, 'malformed'],
    [{ auth: { token: 'a'.repeat(9_000) } }, 'too_large'],
    [{ auth: { token: ['a'] }, ...withCookie('sid=1') }, 'malformed'],
  ];
  for (const [options, reason] of cases) assert.equal(await refused(t, hub, options), reason, JSON.stringify(options));
  assert.equal(oracle.requests.length, asked);
});

test('who is nobody is refused, as the application says', limit, async (t) => {
  const oracle = await startOracle(t);
  const { hub } = await hubWithCallback(t, oracle.url);
  const cases = [
    [says({ user: null }), 'no_user'],
    [says({ user: null, reason: 'expired' }), 'expired'],
    [says({ user: null, reason: '"}' }), 'no_user'],
    [says({ user: '42', expires_in: 0 }), 'expired'],
    ...[204, 401, 403].map((status) => [(_, response) => response.writeHead(status).end(), 'no_user']),
  ];
  for (const [answer, reason] of cases) {
    oracle.answer = answer;
    assert.equal(await refused(t, hub, withCookie('sid=1')), reason);
  }
});

test('an answer is good for as long as it says', limit, async (t) => {
  const cases = [
    // What the settings say, unless the answer says it.
    [{ cache: '1m' }, {}, 1],
    [{ cache: 0 }, {}, 5],
    [{ cache: 0 }, { 'Cache-Control': 'private, max-age=60' }, 1],
    [{ cache: '1m' }, { 'Cache-Control': 'no-store' }, 5],
    [{ cache: '1m' }, { 'Cache-Control': 'max-age=0' }, 5],
  ];
  for (const [keys, headers, times] of cases) {
    const oracle = await startOracle(t, says({ user: '42' }, headers));
    const { hub } = await hubWithCallback(t, oracle.url, { revalidate: '1h', ...keys });
    for (let n = 0; n < 5; n += 1) await connect(t, hub, undefined, withCookie('sid=1'));
    assert.equal(oracle.requests.length, times, JSON.stringify([keys, headers]));
    await connect(t, hub, undefined, withCookie('sid=2'));
    assert.equal(oracle.requests.length, times + 1, 'another cookie is another question');
  }
});

test('a question in time, however many sockets, and however long the answer says it is good', limit, async (t) => {
  const oracle = await startOracle(t, says({ user: '42' }, { 'Cache-Control': 'max-age=3600' }));
  const { hub } = await hubWithCallback(t, oracle.url, { revalidate: '500ms' });
  await Promise.all([...Array(20)].map(() => connect(t, hub, undefined, withCookie('sid=1'))));
  const asked = oracle.requests.length;
  assert.equal(asked, 1, 'twenty at the same moment ask once');
  const began = performance.now();
  await oracle.until((requests) => requests.length >= asked + 4);
  const took = performance.now() - began;
  t.diagnostic(`4 questions for 20 sockets in ${Math.round(took)} ms, with revalidate = "500ms"`);
  assert.ok(took > 4 * 500 * 0.8, `${took}`);
});

test('an application that is away is no refusal: nobody is dropped, nobody gets in, and all is well afterwards', limit, async (t) => {
  const app = await startApp(t);
  const { hub, push } = await hubWithCallback(t, app.url, { revalidate: '500ms' });
  const clients = [];
  for (let n = 0; n < CLIENTS; n += 1) {
    const cookie = await app.login(`user${n}`);
    clients.push(connect(t, hub, undefined, { ...withCookie(cookie), transports: [n % 4 ? 'websocket' : 'polling'] }));
  }
  const all = await Promise.all(clients);
  const late = await app.login('late');
  await app.kill();
  await hub.line(/callback away .*effect=.*advice=/);
  assert.deepEqual([await handshake(hub), (await readiness(hub)).status], [503, 503]);
  const [{ state, address, error }] = (await hub.status()).stores;
  assert.deepEqual([state, address], ['away', app.url]);
  assert.match(error, /refused|reset/);
  const newcomer = comer(t, hub, '', withCookie(late));
  await newcomer.until((story) => story.length >= 2);
  assert.ok(newcomer.story.every((word) => word === '503'), `${newcomer.story}`);
  const from = await metric(hub, UNAVAILABLE);
  while (await metric(hub, UNAVAILABLE) < from + CLIENTS);
  await push.send(['all/', '{"data":"meanwhile"}']);
  await Promise.all(all.map((client) => client.until(() => client.data().includes('meanwhile'))));

  const began = performance.now();
  await app.start();
  await readyWhen(hub, 200);
  t.diagnostic(`ready ${Math.round(performance.now() - began)} ms after its start`);
  await newcomer.joined();
  await push.send(['all/', '{"data":"afterwards"}']);
  await Promise.all(all.map((client) => client.until(() => client.data().includes('afterwards'))));
  for (const client of all) assert.deepEqual(client.disconnects, []);
  assert.deepEqual([count(hub, /callback away/), count(hub, /callback up/)], [1, 2]);
});

test('an application that is away for longer than the grace: users are cut as if by the network', limit, async (t) => {
  const app = await startApp(t);
  const { hub } = await hubWithCallback(t, app.url, { grace: '1s' });
  const client = comer(t, hub, '', withCookie(await app.login('42')));
  await client.joined();
  await app.kill();
  await hub.line(/session unverified reason=store_unavailable sessions=1 connections=1/);
  await client.until((story) => story.length > 1);
  assert.equal(client.story[1], 'transport close');
  await app.start();
  await client.joined();
});

test('what is no answer lets nobody in, puts nobody out, and is nobody else\'s turn', limit, async (t) => {
  const elsewhere = await startOracle(t, says({ user: 'intruder' }));
  const raw = (text) => (_, response) => response.socket.end(text);
  const body = (text, headers = {}) => (_, response) => response.writeHead(200, headers).end(text);
  const endless = (text) => (_, { socket }) => {
    const more = (error) => error || socket.destroyed || socket.write(text, more);
    socket.write('HTTP/1.1 200 OK\r\n', more);
  };
  const cases = {
    'a redirect': (_, response) => response.writeHead(302, { Location: elsewhere.url }).end('{"user":"42"}'),
    'a permanent redirect': (_, response) => response.writeHead(308, { Location: elsewhere.url }).end(),
    'an error': (_, response) => response.writeHead(500).end('{"user":"42"}'),
    'nothing there': (_, response) => response.writeHead(404).end('{"user":null}'),
    'too fast': (_, response) => response.writeHead(429).end(),
    'away, says its proxy': (_, response) => response.writeHead(503).end(),
    'a page to log in': body('<html>Who are you?</html>', { 'Content-Type': 'text/html' }),
    'nothing': body(''),
    'half of it': body('{"user":"4'),
    'another object': body('{"id":"42"}'),
    'a list': body('["42"]'),
    'a truth': body('{"user":true}'),
    'a fraction': body('{"user":4.2}'),
    'users': body('{"user":["42"]}'),
    'no name': body('{"user":""}'),
    'control characters': body('{"user":"4\\u00002"}'),
    'a long name': body(JSON.stringify({ user: 'x'.repeat(257) })),
    'no groups': body('{"user":"42","groups":"staff"}'),
    'too many groups': body(JSON.stringify({ user: '42', groups: [...Array(1_001).keys()] })),
    'two of them': body('{"user":"42","user":"43"}'),
    'deep': body(`{"user":${'['.repeat(200_000)}`),
    'large': body(`{"user":"42","x":"${'x'.repeat(300_000)}"}`),
    'large, it claims': (_, response) => response.writeHead(200, { 'Content-Length': 1e12 }).write('{"user":"42"'),
    'large and endless': endless(`\r\n${'x'.repeat(60_000)}`),
    'a header of 10 MB': raw(`HTTP/1.1 200 OK\r\nX-Large: ${'x'.repeat(10_000_000)}\r\n\r\n{"user":"42"}`),
    'headers without end': endless('X-More: of it\r\n'.repeat(1_000)),
    'no HTTP': raw('+PONG\r\n'),
    'the end': raw(''),
    'the end, early': raw('HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"user"'),
    'silence': () => {},
    'one byte now and then': (_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(timer));
    },
  };
  const oracle = await startOracle(t);
  // Behind it is an identity that would believe anything.
  const keys = { timeout: '500ms', max_bytes: '256KiB', revalidate: '1h' };
  const { hub, push } = await hubWithCallback(t, oracle.url, keys, '[[identity]]\npreset = "dev"\n');
  const good = says({ user: '42' });
  oracle.answer = (request, response) => {
    const [, name] = request.headers.cookie.match(/sid=(.*)/);
    (decodeURIComponent(name) in now ? cases[decodeURIComponent(name)] : good)(request, response);
  };
  const now = { ...cases };
  const bystander = await connect(t, hub, undefined, withCookie('sid=bystander'));
  const comers = Object.keys(cases).map((name) => {
    const options = { ...withCookie(`sid=${encodeURIComponent(name)}`), auth: { user: 'anyone' }, transports: ['websocket'] };
    return [name, comer(t, hub, '', options)];
  });
  for (const [name, one] of comers) {
    await one.until((story) => story.length > 0);
    assert.ok(one.story.every((word) => ['transport close', '503'].includes(word)), `${name}: ${one.story}`);
  }
  t.diagnostic(`${comers.length} answers that are none`);
  await hub.line(/callback answers wrongly .*advice=/);
  for (const name of Object.keys(now)) delete now[name];
  await Promise.all(comers.map(([, one]) => one.joined()));
  assert.equal(elsewhere.requests.length, 0, 'nobody was sent elsewhere');
  await push.send(['u/42/', '{"data":"still here"}']);
  await bystander.until(() => bystander.data().includes('still here'));
  await Promise.all(comers.map(([, one]) => one.until(() => one.data().includes('still here'))));
  assert.deepEqual(bystander.disconnects, []);
});

test('strangers cannot make the application look away for others', limit, async (t) => {
  const oracle = await startOracle(t, (request, response) =>
    request.headers.cookie === 'sid=good' ? says({ user: '42' })(request, response) : response.writeHead(503).end());
  const { hub } = await hubWithCallback(t, oracle.url);
  const stranger = comer(t, hub, '', withCookie('sid=bad'));
  await stranger.until((story) => story.length > 0);
  await connect(t, hub, undefined, withCookie('sid=good'));
  assert.equal((await readiness(hub)).status, 200);
  assert.equal(count(hub, /callback away/), 0);
});

test('over TLS the application must be who it says', limit, async (t) => {
  const [own, other] = [certificate(), certificate()];
  const keys = { cert: readFileSync(own.cert), key: readFileSync(own.key) };
  const oracle = await startOracle(t, says({ user: '42' }), (answer) => createSecureServer(keys, answer));
  const url = oracle.url.replace('http:', 'https:');
  const { hub } = await hubWithCallback(t, url, { ca_file: own.ca, revalidate: '1h' });
  await connect(t, hub, undefined, withCookie('sid=1'));
  for (const ca_file of [other.ca, '']) {
    const { hub } = await hubWithCallback(t, url, { ca_file });
    await hub.line(/callback away .*certificate/i);
    assert.equal(await handshake(hub), 503);
  }
  assert.equal(oracle.requests.length, 1);
});

test('whoami asks the application, too', limit, async (t) => {
  const app = await startApp(t);
  const cookie = await app.login('42');
  const file = settings(identityTable(app.url));
  const whoami = (cookie) => pregon(['whoami', '--config', file, '-v', '--cookie', cookie]);
  const { code, lines } = await whoami(cookie);
  assert.deepEqual([code, lines.includes('{"user":"42"}')], [0, true], `${lines}`);
  assert.ok(!lines.join().includes(cookie.slice(4)), `${lines}`);
  await app.logout(cookie);
  assert.deepEqual((await whoami(cookie)).lines.at(-1), '{"anonymous":"no_user"}');
  await app.kill();
  const away = await whoami(cookie);
  assert.equal(away.code, 2);
  assert.match(away.lines.join('\n'), /callback: .*refused/);
});

test('check says what is wrong with the settings', limit, async () => {
  const cases = [
    [{}, 'identity.url: missing'],
    [{ url: 'ftp://a/' }, 'identity.url: no http:// URL'],
    [{ url: 'http://user:secret@a/' }, 'identity.url: no place for a password'],
    [{ url: 'http://a/', forward: ['host'] }, 'identity.forward: "host" is not the client\'s to say'],
    [{ url: 'http://a/', forward: ['a b'] }, 'identity.forward: "a b" is no header'],
    [{ url: 'http://a/', forward: [], token: '' }, 'identity.forward: nothing'],
    [{ url: 'http://a/', secrets: ['s'] }, 'identity.secrets: has no meaning with preset "callback"'],
    [{ url: 'http://a/', ca_file: '/none' }, 'identity.ca_file: has a meaning with an https:// url only'],
    [{ url: 'https://a/', ca_file: '/none' }, 'identity.ca_file: cannot read /none'],
    [{ url: 'http://a/', timeout: 0 }, 'identity.timeout: must be between'],
  ];
  for (const [keys, message] of cases) {
    const lines = Object.entries({ preset: 'callback', ...keys }).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
    const { code, lines: said } = await pregon(['check', '--config', settings(`[[identity]]\n${lines.join('\n')}\n`)]);
    assert.equal(code, 64);
    assert.ok(said[0].includes(message), `${said}`);
    assert.ok(!said.join().includes('secret@'), `${said}`);
  }
  const { lines } = await pregon(['check', '--config', settings(`${BASE}url = "http://a/"\n`)]);
  assert.match(lines[0], /identity\.url: has a meaning with preset "callback" only/);
});

const UNAVAILABLE = 'pregon_session_lookups_total{outcome="unavailable"}';

/** The reason why a client does not get in. */
async function refused(t, hub, options) {
  const { error, active } = await refusal(t, hub, options);
  assert.equal(error.message, 'unauthorized', `${error}`);
  assert.equal(active, false, 'it does not try again by itself');
  return error.data.reason;
}

/** Waits until the hub has ended a client's session and its connection; the reason. */
async function over(client) {
  await client.until(() => client.disconnects.length > 0);
  assert.deepEqual(client.disconnects, ['io server disconnect']);
  const { event, args } = client.heard.at(-1);
  assert.equal(event, 'session:end');
  return args[0].reason;
}

/** An authority, and the certificate for 127.0.0.1 that it has signed, with its key. */
function certificate() {
  const folder = mkdtempSync(join(tmpdir(), 'pregon-callback-tls-'));
  const [ca, caKey, cert, key] = ['ca.pem', 'ca-key.pem', 'cert.pem', 'key.pem'].map((name) => join(folder, name));
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const openssl = (...args) => execFileSync(OPENSSL, [...made, ...args], { stdio: 'pipe' });
  openssl('-subj', '/CN=authority', '-keyout', caKey, '-out', ca);
  openssl(
    '-subj', '/CN=application', '-CA', ca, '-CAkey', caKey, '-addext', 'basicConstraints=critical,CA:FALSE',
    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert,
  );
  return { ca, cert, key };
}
