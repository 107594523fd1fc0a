// HTTPS and WSS: the stock client over each, the move to another worker, and a certificate that is
// exchanged under everyone's feet.

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import tls from 'node:tls';

import { certificate } from './certificate.mjs';
import { BASE, connect, hubWithPush, pregon, settings } from './support.mjs';

const limit = { timeout: 60_000 };
const MOVES = 24;
const LIVE = 100;

test('the stock client hears over https, over wss, and after the move, also to another worker', limit, async (t) => {
  const { hub, push, trust } = await secureHub(t);
  assert.match(hub.url, /^https:/);
  const polling = await connect(t, hub, 'ana', { ...trust, transports: ['polling'] });
  const webSocket = await connect(t, hub, 'ana', { ...trust, transports: ['websocket'] });
  const moving = await Promise.all([...Array(MOVES)].map(() => connect(t, hub, 'ana', trust)));
  await Promise.all(moving.map(({ socket }) => upgraded(socket)));
  await hub.shows({ connections: { polling: 1, websocket: MOVES + 1 } });

  const large = 'x'.repeat(60_000);
  await push.send(['u/ana/', JSON.stringify({ data: large })]);
  await push.send(['u/ana/', '{"data":{n}}'], 500);
  for (const client of [polling, webSocket, ...moving]) {
    await client.until((heard) => heard.length === 501);
    assert.deepEqual(client.data(), [large, ...Array(500).keys()]);
    assert.deepEqual(client.disconnects, []);
  }
  assert.equal(polling.socket.io.engine.transport.name, 'polling');
  // And the other way: the hub answers on the connection that was moved.
  await Promise.all(moving.map(({ socket }) => {
    const closed = once(socket, 'disconnect');
    socket.disconnect();
    return closed;
  }));
  await hub.shows({ connections: { polling: 1, websocket: 1 } });
});

test('a page of the hub\'s own origin is https, and only HTTP/1.1 is spoken', limit, async (t) => {
  const { hub, trust } = await secureHub(t);
  const { host, port } = new URL(hub.url);
  const status = async (origin) => {
    const request = https.get(`${hub.url}/socket.io/?EIO=4&transport=polling`, { ...trust, agent: false, headers: { Origin: origin } });
    const [response] = await once(request, 'response');
    response.resume();
    return response.statusCode;
  };
  assert.equal(await status(`https://${host}`), 200);
  assert.equal(await status(`http://${host}`), 403);

  const protocol = async (ALPNProtocols) => {
    const socket = tls.connect({ host: '127.0.0.1', port, ...trust, ALPNProtocols });
    t.after(() => socket.destroy());
    // A refused one is reset after it was told.
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    return socket.alpnProtocol;
  };
  assert.equal(await protocol(['h2', 'http/1.1']), 'http/1.1');
  await assert.rejects(protocol(['h2']), /no application protocol/i);
});

test('whoever speaks plain HTTP to it is told the end at once', limit, async (t) => {
  const { hub } = await secureHub(t);
  const socket = net.connect({ host: '127.0.0.1', port: new URL(hub.url).port });
  socket.on('error', () => {});
  socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
  socket.resume();
  const started = Date.now();
  await once(socket, 'close');
  // The handshake's own limit is 10 seconds.
  assert.ok(Date.now() - started < 5_000);
});

test(`SIGHUP shows a new certificate, and not one of ${LIVE} connections notices`, limit, async (t) => {
  const { hub, push, files } = await secureHub(t);
  const next = certificate();
  const trust = { ca: [readFileSync(files.cert), readFileSync(next.cert)] };
  const clients = [];
  for (let n = 0; n < LIVE; n += 20) {
    const some = [...Array(20).keys()].map((more) => {
      const transports = [more % 4 === 0 ? 'polling' : 'websocket'];
      return connect(t, hub, 'ana', { ...trust, transports });
    });
    clients.push(...await Promise.all(some));
  }
  const old = fingerprint(files.cert);
  assert.equal(await shown(t, hub), old);

  copyFileSync(next.cert, files.cert);
  copyFileSync(next.key, files.key);
  hub.child.kill('SIGHUP');
  await hub.line(/certificate reloaded/);
  assert.notEqual(fingerprint(next.cert), old);
  assert.equal(await shown(t, hub), fingerprint(next.cert));
  await push.send(['all/', '{"data":"after"}']);
  await Promise.all(clients.map((client) => client.until((heard) => heard.length > 0)));

  // A file that does not serve changes nothing, whichever it is.
  for (const [file, text, message] of [
    [files.cert, 'nothing', /certificate not reloaded.*no certificate in .*advice=/],
    [files.key, readFileSync(certificate().key), /certificate not reloaded.*is not the key of .*advice=/],
  ]) {
    const good = readFileSync(file);
    writeFileSync(file, text);
    hub.child.kill('SIGHUP');
    await hub.line(message);
    assert.equal(await shown(t, hub), fingerprint(next.cert));
    writeFileSync(file, good);
  }
  await push.send(['all/', '{"data":"at last"}']);
  for (const client of clients) {
    await client.until((heard) => heard.length > 1);
    assert.deepEqual(client.data(), ['after', 'at last']);
    assert.deepEqual(client.disconnects, []);
  }
  await hub.shows({ connections: { polling: LIVE / 4, websocket: LIVE * 3 / 4, opened: LIVE } });
});

test('without TLS, SIGHUP ends the hub, as it always does', limit, async (t) => {
  const { hub } = await hubWithPush(t);
  hub.child.kill('SIGHUP');
  assert.equal(await hub.exited, 'SIGHUP');
});

test('check says which file does not serve, with its line', limit, async () => {
  const good = certificate();
  const other = certificate();
  const missing = join(tmpdir(), 'pregon-test-there-is-no-such-file.pem');
  const cases = [
    [good.cert, good.key, null],
    [missing, good.key, 'cert: cannot read '],
    [good.cert, missing, 'key: cannot read '],
    [good.key, good.key, 'cert: no certificate in '],
    [good.cert, good.cert, 'key: no private key in '],
    [good.cert, other.key, `key: ${other.key} is not the key of the first certificate in `],
    ['', good.key, 'cert: missing'],
    [good.cert, '', 'key: missing'],
  ];
  for (const [cert, key, message] of cases) {
    const file = settings(BASE.replace('[admin]', `tls = { cert = "${cert}",\n  key = "${key}" }\n[admin]`));
    const first = readFileSync(file, 'utf8').split('\n').findIndex((line) => line.startsWith('tls = ')) + 1;
    const { code, lines } = await pregon(['check', '--config', file]);
    assert.equal(code, message === null ? 0 : 64, lines.join('\n'));
    if (message === null) continue;
    // An inline table over two lines: each file's own line is named. What is missing is told at the other.
    const line = message.includes('missing') !== message.startsWith('cert') ? first : first + 1;
    assert.ok(lines[0].startsWith(`${file}:${line}: server.tls.${message}`), lines.join('\n'));
    assert.equal(lines.length, 2, lines.join('\n'));
  }
});

/** A hub with a certificate and two workers. */
async function secureHub(t) {
  const files = certificate();
  const set = { 'server.tls.cert': files.cert, 'server.tls.key': files.key, 'server.workers': 2 };
  const args = Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const { hub, push } = await hubWithPush(t, { args });
  return { hub, push, files, trust: { ca: readFileSync(files.cert) } };
}

const fingerprint = (file) => new X509Certificate(readFileSync(file)).fingerprint256;

/** The fingerprint of the certificate that a new connection sees. */
async function shown(t, hub) {
  const socket = tls.connect({ host: '127.0.0.1', port: new URL(hub.url).port, rejectUnauthorized: false });
  t.after(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket.getPeerX509Certificate().fingerprint256;
}

/** Waits until the client is on its WebSocket. */
async function upgraded({ io: { engine } }) {
  if (engine.transport.name !== 'websocket') await once(engine, 'upgrade');
}
