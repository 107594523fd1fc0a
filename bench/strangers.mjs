// What strangers cost the hub, and what they cost those who belong there. `make strangers` runs it; it takes
// some minutes, stays on 127.0.0.1, prints its figures, and ends with 1 if one of them is out of bounds.
//
// The hub is the debug build unless PREGON says otherwise: the figures are ratios, and memory.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Push } from 'zeromq';

import { BASE, connect, freePort, inLanes, notifierTable, startHub } from '../tests/e2e/support.mjs';
import { handshakePath, joined } from '../tests/e2e/wire.mjs';
import { percentile, runParts } from './parts.mjs';

const SOCKETS = 64;
const ABANDONED = 50_000;
const HANDSHAKES = 10_000;
const DAWDLERS = 1_000;
const ROUNDS = 5;
const IDLE = 2_000;
const LARGE = 1_000;
const WARM_UP = 100;
const LANES = 10;
const MEGABYTE = 1_000_000;

if (process.argv[2] === 'attack') await attack(process.argv[3]);
else await runParts({ abandoned, fullTilt, memory }, process.argv[2]);

/** Handshakes by polling, and never another word: the hub gets all of its memory back. */
async function abandoned(t, say) {
  const hub = await startHub(t, `${BASE.replace('[server]', '[server]\nmax_unjoined = 100000')}
[socketio]
ping_interval = "2s"
ping_timeout = "2s"
`);
  // Once around, so that what is there once is there: threads' buffers, and the allocator's own.
  const warmUp = await knockAll(hub.url, ABANDONED);
  await hub.statusWhen(({ connections }) => connections.polling === 0);
  const before = await settled(hub);
  const begun = performance.now();
  let most = 0;
  const watching = setInterval(async () => (most = Math.max(most, (await hub.status()).connections.polling)), 250);
  const seen = await knockAll(hub.url, ABANDONED);
  const rate = ABANDONED / ((performance.now() - begun) / 1_000);
  const peak = resident(hub);
  clearInterval(watching);
  await hub.statusWhen(({ connections }) => connections.polling === 0);
  const after = await settled(hub, 1.1 * before);
  const { opened, ended } = (await hub.status()).connections;
  say(`abandoned: ${ABANDONED} handshakes over ${SOCKETS} sockets, ${rate.toFixed(0)}/s, ${JSON.stringify(seen)} after a first round of as many, ${JSON.stringify(warmUp)}; limits by address off, max_unjoined 100000`);
  say(`abandoned: ${opened} sessions opened, ${ended.ping_timeout} ended by ping_timeout, at most ${most} at once`);
  const change = 100 * (after / before - 1);
  say(`abandoned: resident ${mib(before)} before, ${mib(peak)} at the end of the flood, ${mib(after)} after: ${change.toFixed(1)} %`, change <= 10);
}

/**
 * A stranger at full tilt, against the default limits; somebody who belongs there measures. The stranger takes
 * its share of the machine, whomever it attacks: so it attacks another hub in turn, and the two are compared.
 */
async function fullTilt(t, say) {
  const bind = `tcp://127.0.0.1:${await freePort()}`;
  const text = BASE.split('\n').filter((line) => !/_per_address = 0/.test(line)).join('\n');
  const hub = await startHub(t, text + notifierTable('billing', { type: 'pull', bind }));
  const push = new Push();
  push.connect(bind);
  t.after(() => push.close());
  const ana = await connect(t, hub, 'ana', { transports: ['websocket'] });
  const latencies = [];
  ana.socket.on('notification', ({ data }) => latencies.push(performance.now() - data));
  /** Sends every few milliseconds until `end`, and returns the sorted latencies. */
  const measure = async (end) => {
    const from = latencies.length;
    let sent = 0;
    let over = false;
    end.then(() => (over = true));
    while (!over) {
      await push.send(['u/ana/', JSON.stringify({ data: performance.now() })]);
      sent += 1;
      await pause(2);
    }
    while (latencies.length < from + sent) await pause(2);
    return latencies.slice(from).sort((a, b) => a - b);
  };
  const p99 = (sorted) => percentile(sorted, 99);
  const figures = { quiet: [], elsewhere: [], here: [] };
  const attackOn = async (url) => {
    const attacker = spawn(process.execPath, [fileURLToPath(import.meta.url), 'attack', url], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => attacker.kill());
    let report = '';
    attacker.stdout.setEncoding('utf8').on('data', (data) => (report += data));
    const latency = p99(await measure(once(attacker, 'exit')));
    return { latency, report: report.trim() };
  };
  await measure(pause(2_000));
  for (let round = 0; round < ROUNDS; round += 1) {
    figures.quiet.push(p99(await measure(pause(3_000))));
    const other = await startHub(t, text);
    figures.elsewhere.push((await attackOn(other.url)).latency);
    await other.kill();
    const { latency, report } = await attackOn(hub.url);
    figures.here.push(latency);
    say(`full tilt: ${report}`);
    // The next round is to find all of its address's turns again.
    await pause(10_000);
  }
  const metrics = await (await fetch(`${hub.admin}/metrics`)).text();
  const counted = (name) => [...metrics.matchAll(new RegExp(`^pregon_${name}_total\\{\\w+="(\\w+)"\\} ([1-9]\\d*)$`, 'gm'))]
    .map(([, word, n]) => `${word} ${n}`).join(', ');
  say(`full tilt: by limit: ${counted('limited')}; by reason: ${counted('clients_turned_away')}`);
  const median = (list) => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)];
  const words = Object.entries(figures).map(([name, list]) => `${name} ${median(list).toFixed(2)} ms`);
  const ratio = median(figures.here) / median(figures.elsewhere);
  say(`full tilt: delivery p99, median of ${ROUNDS}: ${words.join(', ')}; here to elsewhere ${ratio.toFixed(2)}x`, ratio < 2);
  say(`full tilt: ${ana.disconnects.length} disconnects of the user`, ana.disconnects.length === 0);
}

/** What an idle connection costs, and whether one that has carried a megabyte both ways costs as little again. */
async function memory(t, say) {
  // What is freed is given back at once: resident memory is what the hub holds, not what its allocator keeps.
  process.env._RJEM_MALLOC_CONF = 'dirty_decay_ms:0,muzzy_decay_ms:0,tcache:false';
  t.after(() => delete process.env._RJEM_MALLOC_CONF);
  const bind = `tcp://127.0.0.1:${await freePort()}`;
  const hub = await startHub(t, `${BASE}
[socketio]
ping_interval = "10m"
outbox = "4MiB"
max_payload = "2MiB"
${notifierTable('billing', { type: 'pull', bind, max_message: '3MiB' })}`);
  const push = new Push({ sendHighWaterMark: 10 });
  push.connect(bind);
  t.after(() => push.close());
  const large = 'x'.repeat(MEGABYTE);
  // One at a time, as ZeroMQ's socket has it.
  let pushed = Promise.resolve();
  const announce = (user) => (pushed = pushed.then(() => push.send([`u/${user}/`, JSON.stringify({ data: large })])));
  const both = async (user, ws) => {
    ws.send(`421["any","${large}"]`);
    const answer = await ws.next();
    if (!answer.startsWith('431[')) throw new Error(answer.slice(0, 80));
    await announce(user);
    const got = await ws.next();
    if (got.length < MEGABYTE) throw new Error(got.slice(0, 80));
  };
  // The way itself has buffers, of each thread: they are there once.
  await inLanes(LANES, [...Array(WARM_UP).keys()].map((n) => `warm${n}`), async (user) => {
    const ws = await joined(t, hub, user);
    await both(user, ws);
    ws.socket.destroy();
  });
  await hub.statusWhen(({ connections }) => connections.websocket === 0);
  const empty = await settled(hub);
  const users = [...Array(IDLE).keys()].map((n) => `user${n}`);
  const sockets = new Map();
  await inLanes(50, users, async (user) => sockets.set(user, await joined(t, hub, user)));
  const idle = await settled(hub);
  await inLanes(LANES, users.slice(0, LARGE), (user) => both(user, sockets.get(user)));
  const peak = resident(hub);
  const after = await settled(hub, idle + LARGE * 1_000);
  const each = (idle - empty) / IDLE;
  say(`memory: ${IDLE} idle connections, resident ${mib(empty)} to ${mib(idle)}: ${each.toFixed(0)} bytes each`, each <= 4_096);
  const more = (after - idle) / LARGE;
  say(`memory: after 1 MB in and 1 MB out on ${LARGE} of them, resident ${mib(peak)}, then ${mib(after)}: ${more.toFixed(0)} bytes each more`, more <= 4_096);
}

/** The stranger: handshakes as fast as they go, and sockets that dawdle. */
async function attack(url) {
  // Its own work is not what the hub is asked about: on a small machine it must not take the hub's CPU.
  os.setPriority(19);
  const { hostname, port } = new URL(url);
  const closed = [];
  const dawdlers = Array.from({ length: DAWDLERS }, () => {
    const socket = net.connect(port, hostname, () => socket.write('GET /socket.io/?EIO=4'));
    socket.on('error', () => {});
    socket.once('close', () => closed.push(socket));
    return socket;
  });
  const begun = performance.now();
  const seen = await knockAll(url, HANDSHAKES);
  const seconds = (performance.now() - begun) / 1_000;
  console.log(`${HANDSHAKES} handshakes in ${seconds.toFixed(1)} s: ${JSON.stringify(seen)}; ${closed.length} of ${DAWDLERS} dawdlers closed by the hub`);
  for (const socket of dawdlers) socket.destroy();
}

/** Handshakes over connections that are kept alive; how often which answer came. */
async function knockAll(url, count) {
  const { hostname, port } = new URL(url);
  const agent = new http.Agent({ keepAlive: true, maxSockets: SOCKETS });
  const seen = {};
  await inLanes(SOCKETS, Array(count).fill(handshakePath('polling')), async (path) => {
    const request = http.get({ hostname, port, path, agent });
    const [response, code] = await once(request, 'response').catch(({ code }) => [null, code]);
    const word = response === null ? String(code) : String(response.statusCode);
    seen[word] = (seen[word] ?? 0) + 1;
    if (response !== null) await once(response.resume(), 'end').catch(() => {});
  });
  agent.destroy();
  return seen;
}

/** Resident memory once it moves no more, or is `enough`; the allocator gives back with a delay of seconds. */
async function settled(hub, enough = 0) {
  let least = Infinity;
  for (let since = performance.now(); performance.now() - since < 15_000; ) {
    await pause(500);
    // Some work, as a hub that lives has: the allocator looks at its delay only then.
    await hub.status();
    await fetch(`${hub.url}/healthz`);
    const now = resident(hub);
    if (now <= enough) return now;
    if (now < least - 100_000) since = performance.now();
    least = Math.min(least, now);
  }
  return resident(hub);
}

function resident(hub) {
  const status = readFileSync(`/proc/${hub.child.pid}/status`, 'utf8');
  return Number(status.match(/^VmRSS:\s+(\d+) kB$/m)[1]) * 1024;
}

function mib(bytes) {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
