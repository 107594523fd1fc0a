// What it takes to follow sessions: how soon a logout ends its socket, how often Redis is asked, and what that costs
// the hub. `make sessions` runs it, or `node bench/sessions.mjs PART`; it takes some minutes, stays on 127.0.0.1,
// prints its figures, and ends with 1 if one of them is out of bounds.
//
// Sessions are Beaker's own, in a real Redis: an application logs the users in and out. Clients are WebSockets by
// hand, since thousands of stock ones would measure themselves.

import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

import { BASE, inLanes, LISTENERS, PREGON, startHub, table } from '../tests/e2e/support.mjs';
import { startRedis } from '../tests/e2e/redis.mjs';
import { startWebApp } from '../tests/e2e/webapps.mjs';
import { webSocket } from '../tests/e2e/wire.mjs';
import { percentile, runParts } from './parts.mjs';

const SECRET = 'the application signs with this';
const USERS = 1_000;
const SESSIONS = 2_000;
const SOCKETS_EACH = 5;
// Three looks at each session: they are 54 to 60 seconds apart.
const WINDOW = 3 * 57_000;
const LANES = 16;
const TICKS = 100; // a second, as Linux tells CPU time
const NO_PINGS = table('[socketio]', { ping_interval: '1h' });

console.log(`hub: ${PREGON}`);
await runParts({ events, alone, lookups }, process.argv[2]);

/** Where Redis tells of changed keys, and nothing else could end a socket in time. */
async function events(t, say) {
  const { delays, missed } = await logouts(t, { revalidate: '1h', notify: 'K$gx', patience: 30_000 });
  const [p50, p99, latest] = [50, 99, 100].map((p) => percentile(delays, p));
  say(`events on: ${USERS} users log out one by one: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, latest ${latest.toFixed(1)} ms`, p99 < 1_000);
  say(`events on: ${missed} of ${USERS} missed, with revalidate = "1h"`, missed === 0);
}

/** Where it does not, and the hub looks by itself. */
async function alone(t, say) {
  const revalidate = 10_000;
  const { delays, missed } = await logouts(t, { revalidate: '10s', notify: '', patience: 2 * revalidate });
  const [p50, p99, latest] = [50, 99, 100].map((p) => percentile(delays, p));
  say(`events off: ${USERS} users log out one by one: p50 ${p50.toFixed(0)} ms, p99 ${p99.toFixed(0)} ms, latest ${latest.toFixed(0)} ms, with revalidate = "10s"`, latest <= revalidate);
  say(`events off: ${missed} of ${USERS} missed`, missed === 0);
}

/** Users who are connected, one session and one socket each, log out one after another. */
async function logouts(t, { revalidate, notify, patience }) {
  const { hub, app, redis } = await stage(t, { revalidate });
  const control = await redis.client();
  await control.sendCommand(['CONFIG', 'SET', 'notify-keyspace-events', notify]);
  const clients = [];
  await inLanes(LANES, [...Array(USERS).keys()], async (user) => {
    const browser = await app.login(user);
    clients.push({ browser, ws: await enter(t, hub, browser.cookie) });
  });
  const ended = [];
  for (const { browser, ws } of clients) {
    const began = performance.now();
    ended.push(ends(ws).then(() => performance.now() - began));
    await browser.logout();
  }
  let over = false;
  const late = pause(patience, null, { ref: false }).then(() => (over = true));
  const delays = [];
  await Promise.race([late, Promise.all(ended.map((end) => end.then((delay) => over || delays.push(delay))))]);
  return { delays: delays.sort((a, b) => a - b), missed: USERS - delays.length };
}

/** Many sockets on fewer sessions, all of them quiet, beside as many that nobody needs to ask about. */
async function lookups(t, say) {
  const { hub, app, redis } = await stage(t, { revalidate: '60s' });
  const control = await redis.client();
  const cookies = [];
  await inLanes(LANES, [...Array(SESSIONS).keys()], async (user) => cookies.push((await app.login(user)).cookie));
  const all = cookies.flatMap((cookie) => Array(SOCKETS_EACH).fill(cookie));
  const sockets = [];
  await inLanes(LANES, all, async (cookie) => sockets.push(await enter(t, hub, cookie)));
  const [cpu, gets] = [cpuSeconds(hub), await getsOf(control)];
  await pause(WINDOW);
  const asked = (await getsOf(control)) - gets;
  const spent = cpuSeconds(hub) - cpu;
  const open = (await hub.status()).connections.websocket;
  for (const { socket } of sockets) socket.destroy();
  await hub.kill();

  const idle = await startHub(t, BASE + NO_PINGS);
  await inLanes(LANES, [...all.keys()], (user) => enter(t, idle, undefined, { user: `${user}` }));
  const before = cpuSeconds(idle);
  await pause(WINDOW);
  const rest = cpuSeconds(idle) - before;
  const minutes = WINDOW / 60_000;
  const rate = asked / minutes;
  say(`lookups: ${open} sockets on ${SESSIONS} sessions, revalidate = "60s": ${rate.toFixed(0)} GETs a minute`, rate <= 2_200 && open === all.length);
  say(`lookups: ${(spent / minutes).toFixed(2)} s of the hub's CPU a minute; ${(rest / minutes).toFixed(2)} s with as many idle sockets of identity dev: ${((1_000 * (spent - rest)) / asked).toFixed(2)} ms for each GET`);
}

/** Beaker's sessions in a Redis, an application that makes them, and a hub that follows them. */
async function stage(t, keys) {
  const redis = await startRedis(t);
  const app = await startWebApp(t, 'beaker_sessions', { redis: redis.url, secret: SECRET });
  const identity = table('[[identity]]', { preset: 'beaker_redis', secrets: [SECRET], ...keys });
  const hub = await startHub(t, LISTENERS + NO_PINGS + table('[redis]', { url: redis.url }) + identity);
  await hub.line(/session store up/);
  return { redis, app, hub };
}

/** A WebSocket that has joined. */
async function enter(t, hub, cookie, auth) {
  const ws = await webSocket(t, hub, { headers: cookie === undefined ? {} : { cookie } });
  ws.send(`40${auth === undefined ? '' : JSON.stringify(auth)}`);
  const [open, admission] = [await ws.next(), await ws.next()];
  if (!open.startsWith('0{') || !admission.startsWith('40{')) throw new Error(`not joined: ${admission}`);
  return ws;
}

/** Waits until the hub has said that the session is over, and has closed the connection. */
async function ends(ws) {
  const said = await ws.next();
  if (!said.startsWith('42["session:end",{"reason":"no_user"}')) throw new Error(said);
  await ws.closed;
}

/** How many sessions Redis was asked for, ever. */
async function getsOf(control) {
  const stats = await control.info('commandstats');
  return Number(stats.match(/cmdstat_get:calls=(\d+)/)?.[1] ?? 0);
}

/** User and system time of all of the hub's threads, those that have ended too. */
function cpuSeconds(hub) {
  const stat = readFileSync(`/proc/${hub.child.pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}
