// The ways to Redis: by TLS, by a socket, by Sentinels; each with a logout that is heard. The hub looks by
// itself once an hour in these tests.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

import { clientOf, EVENTS, startRedis, startServer } from './redis.mjs';
import { count, hubWithSessions, IDENTITY, keyOf, login, newcomer, says } from './store.mjs';
import { freePort, LISTENERS, pregon, settings, table } from './support.mjs';

const limit = { timeout: 60_000 };
const OPENSSL = process.env.OPENSSL ?? 'openssl';
const HOURLY = { revalidate: '1h' };
const NOWHERE = 'redis://127.0.0.1:1/0';
const store = ({ stores: [only] }) => only;

test('by TLS, with a certificate of an authority of our own: a session, and its end', limit, async (t) => {
  const { client, url, files } = await secureRedis(t);
  await login(client, 'ana', 'luis');
  const { hub } = await hubWithSessions(t, url, HOURLY, { ca_file: files.ca });
  // The same for an identity that names a Redis of its own.
  const { hub: other } = await hubWithSessions(t, NOWHERE, { ...HOURLY, redis: url }, { ca_file: files.ca });
  await endsAtOnce(t, client, hub, 'ana');
  await endsAtOnce(t, client, other, 'luis');
});

test('by TLS, whom nobody vouches for is not believed, nor who has another name', limit, async (t) => {
  const { url, files } = await secureRedis(t);
  const { hub } = await hubWithSessions(t, url);
  const { hub: other } = await hubWithSessions(t, url.replace('127.0.0.1', 'localhost'), {}, { ca_file: files.ca });
  for (const one of [hub, other]) {
    await one.line(/session store away .*certificate.* advice="name who signed .*ca_file/);
    await one.shows({ state: 'away' }, store);
  }
});

test('by a socket, with a database', limit, async (t) => {
  const path = join(mkdtempSync(join(tmpdir(), 'pregon-socket-')), 'redis.sock');
  await startServer(t, ['--port', '0', '--unixsocket', path, '--save', '', ...EVENTS], /ready to accept connections/i);
  const client = await clientOf(t, { socket: { path }, database: 2 });
  await login(client, 'ana');
  const { hub } = await hubWithSessions(t, `redis+unix://${path}?db=2`, HOURLY);
  await endsAtOnce(t, client, hub, 'ana');
});

/** What may befall a master. */
const FATES = { killed: (redis) => redis.kill(), paused: (redis) => redis.freeze() };

for (const [fate, strike] of Object.entries(FATES)) {
  test(`Sentinels: the master is ${fate}, another takes over, nobody is dropped, and newcomers get in`, limit, async (t) => {
    const [master, replica] = [await startRedis(t, EVENTS), await startRedis(t, [...EVENTS, '--repl-diskless-sync-delay', '0'])];
    const [first, second] = [await master.client(), await replica.client()];
    await second.sendCommand(['REPLICAOF', '127.0.0.1', `${master.port}`]);
    await replica.server.line(/sync: Finished with success/);
    const sentinels = await startSentinels(t, master.port);
    await login(first, 'ana', 'luis');
    await first.sendCommand(['WAIT', '1', '0']);
    const { hub, push } = await hubWithSessions(t, NOWHERE, HOURLY, { sentinels, master: 'mymaster' });
    assert.match(await hub.line(/session store master/), new RegExp(`store=mymaster at=127.0.0.1:${master.port}`));
    const ana = newcomer(t, hub, 'ana');
    await ana.joined();

    const begun = performance.now();
    await strike(master);
    await hub.line(/session store away/);
    const luis = newcomer(t, hub, 'luis');
    await hub.line(new RegExp(`session store master store=mymaster at=127.0.0.1:${replica.port}`));
    await luis.joined();
    t.diagnostic(`a newcomer is in ${Math.round(performance.now() - begun)} ms after the master was ${fate}`);
    await says(push, [ana, luis], 'all here');
    assert.deepEqual(ana.story, ['joined']);
    master.thaw();
    assert.ok(luis.story.every((word) => ['503', 'transport close', 'joined'].includes(word)), `${luis.story}`);
    await second.del(keyOf('ana'));
    await ana.until((story) => story.includes('session:end: no_session'));
  });
}

test('a former master that still answers is left once most Sentinels name another', limit, async (t) => {
  const [former, next] = [await startRedis(t, EVENTS), await startRedis(t, EVENTS)];
  const [first, second] = [await former.client(), await next.client()];
  await login(first, 'ana', 'luis');
  await login(second, 'luis');
  const says_ = [former.port, former.port, former.port];
  const sentinels = await Promise.all(says_.map((_, n) => pretendSentinel(t, () => says_[n])));
  const { hub } = await hubWithSessions(t, NOWHERE, HOURLY, { sentinels, master: 'mymaster' });
  const [ana, luis] = [newcomer(t, hub, 'ana'), newcomer(t, hub, 'luis')];
  await Promise.all([ana.joined(), luis.joined()]);
  says_[1] = next.port;
  says_[2] = next.port;
  // What she had been at the former master does not count any more.
  await ana.until((story) => story.includes('session:end: no_session'));
  await hub.line(new RegExp(`session store master .*:${next.port}`));
  assert.deepEqual(luis.story, ['joined']);
  assert.equal(count(hub, /session store master/), 2);
  await second.del(keyOf('luis'));
  await luis.until((story) => story.includes('session:end: no_session'));
});

test('whoami goes the same ways', limit, async (t) => {
  const { client, url, files } = await secureRedis(t);
  await login(client, 'ana');
  const plain = await startRedis(t);
  await login(await plain.client(), 'ana');
  const sentinels = [await pretendSentinel(t, () => plain.port)];
  for (const redis of [{ url, ca_file: files.ca }, { url: NOWHERE, sentinels, master: 'mymaster' }]) {
    const config = settings(LISTENERS + table('[redis]', redis) + table('[[identity]]', IDENTITY));
    const { code, lines } = await pregon(['whoami', '--config', config, '--cookie', 'sid=ana']);
    assert.deepEqual([code, lines], [0, ['{"user":"ana"}']]);
  }
});

/** A user of that session comes, the session is deleted, and the user hears of it. */
async function endsAtOnce(t, client, hub, user) {
  const one = newcomer(t, hub, user);
  await one.joined();
  await client.del(keyOf(user));
  await one.until((story) => story.includes('session:end: no_session'));
  await hub.shows({ state: 'up', events: 'on' }, store);
}

/** A Redis that speaks TLS only, with the files of its authority. */
async function secureRedis(t) {
  const files = certificates();
  const port = await freePort();
  const tls = ['--tls-port', `${port}`, '--tls-cert-file', files.cert, '--tls-key-file', files.key, '--tls-ca-cert-file', files.ca, '--tls-auth-clients', 'no'];
  await startServer(t, ['--port', '0', '--bind', '127.0.0.1', '--save', '', ...tls, ...EVENTS]);
  const url = `rediss://127.0.0.1:${port}/0`;
  const client = await clientOf(t, { url, socket: { tls: true, ca: readFileSync(files.ca) } });
  return { client, url, files };
}

/** An authority, and a certificate of it for 127.0.0.1. */
function certificates() {
  const folder = mkdtempSync(join(tmpdir(), 'pregon-ca-'));
  const [ca, caKey, cert, key] = ['ca.pem', 'ca.key', 'cert.pem', 'key.pem'].map((name) => join(folder, name));
  const make = (...args) =>
    execFileSync(OPENSSL, ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', ...args], { stdio: 'pipe' });
  make('-subj', '/CN=authority', '-keyout', caKey, '-out', ca);
  make(
    '-subj', '/CN=redis', '-CA', ca, '-CAkey', caKey, '-addext', 'basicConstraints=critical,CA:FALSE',
    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert,
  );
  return { ca, cert, key };
}

/** Three Sentinels that watch a master, once they know each other and its replica; where they are. */
async function startSentinels(t, master) {
  const folder = mkdtempSync(join(tmpdir(), 'pregon-sentinel-'));
  const ports = [await freePort(), await freePort(), await freePort()];
  for (const port of ports) {
    const file = join(folder, `${port}.conf`);
    writeFileSync(file, `port ${port}
bind 127.0.0.1
dir ${folder}
sentinel monitor mymaster 127.0.0.1 ${master} 2
sentinel down-after-milliseconds mymaster 500
sentinel failover-timeout mymaster 2000
`);
    await startServer(t, [file, '--sentinel'], /\+monitor master/);
  }
  for (const port of ports) {
    const client = await clientOf(t, { url: `redis://127.0.0.1:${port}` });
    for (;;) {
      const ask = (what) => client.sendCommand(['SENTINEL', what, 'mymaster']);
      const [others, replicas] = [await ask('SENTINELS'), await ask('REPLICAS')];
      if (others.length === 2 && replicas.length === 1 && JSON.stringify(replicas).includes('"master-link-status","ok"')) break;
    }
  }
  return ports.map((port) => `127.0.0.1:${port}`);
}

/** Somebody who answers like a Sentinel; where. */
async function pretendSentinel(t, port) {
  const sockets = new Set();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('data', () => {
      socket.write(`*2\r\n$9\r\n127.0.0.1\r\n$${`${port()}`.length}\r\n${port()}\r\n`);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `127.0.0.1:${server.address().port}`;
}
