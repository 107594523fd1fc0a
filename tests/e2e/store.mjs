// What the tests of a session store share: a hub that knows its users by their sessions in Redis, and
// clients that come with a cookie. Each session is called as its user.

import { io } from 'socket.io-client';

import { LISTENERS, connect, freePort, notifierTable, startHub, startNotifier, table } from './support.mjs';
import { ask, handshakePath } from './wire.mjs';

export const IDENTITY = {
  preset: 'beaker',
  id: 'raw',
  cookie: 'sid',
  pattern: '[a-z0-9]+',
  key: 'sess:{id}',
  unwrap: ['json'],
  user: ['user'],
  revalidate: '2s',
  grace: '5m',
  cache: '0s',
};

/** A hub whose sessions live at `url`, and a pyzmq PUSH. `keys` change the identity, `more` is said of Redis. */
export async function hubWithSessions(t, url, keys = {}, more = {}) {
  const bind = `tcp://127.0.0.1:${await freePort()}`;
  const identity = table('[[identity]]', { ...IDENTITY, ...keys });
  const tables = [table('[redis]', { url, ...more }), identity, notifierTable('billing', { type: 'pull', bind })];
  const hub = await startHub(t, LISTENERS + tables.join(''));
  const push = await startNotifier(t, 'push', 'connect', bind);
  return { hub, push };
}

export const keyOf = (user) => `sess:${user}`;

/** Logs these users in. */
export async function login(client, ...users) {
  await Promise.all(users.map((user) => client.set(keyOf(user), JSON.stringify({ user }))));
}

const as = (user) => ({ extraHeaders: { cookie: `sid=${user}` } });

/** A stock client that has joined by its session, and all it hears. */
export const member = (t, hub, user, options = {}) => connect(t, hub, undefined, { ...as(user), ...options });

/**
 * A stock client that may be turned away, and comes again as it likes. Its story is told in words:
 * "joined", why it was disconnected, the status of a refused handshake, "unauthorized: …", "session:end: …".
 */
export function newcomer(t, hub, user, options = {}) {
  const socket = io(hub.url, { ...as(user), forceNew: true, ...options });
  t.after(() => socket.disconnect());
  const story = [];
  const data = [];
  const waiting = [];
  const wake = () => waiting.splice(0).forEach((resolve) => resolve());
  const tell = (word) => {
    story.push(word);
    wake();
  };
  socket.on('connect', () => tell('joined'));
  socket.on('disconnect', tell);
  socket.on('session:end', ({ reason }) => tell(`session:end: ${reason}`));
  socket.on('notification', (notification) => {
    data.push(notification.data);
    wake();
  });
  socket.on('connect_error', (error) => {
    // Nothing but a CONNECT_ERROR ends the attempts. Polling gives the status, WebSocket a sentence with it.
    const { description } = error;
    tell(socket.active ? `${description?.message ?? description}`.slice(-3) : `${error.message}: ${error.data?.reason}`);
  });
  return {
    socket,
    story,
    data: () => data,
    /** Waits until `enough` holds of its story. */
    async until(enough) {
      while (!enough(story)) await new Promise((resolve) => waiting.push(resolve));
    },
    /** Waits until it is in. */
    joined() {
      return this.until(() => story.at(-1) === 'joined');
    },
  };
}

/** Everybody hears `data`, now. */
export async function says(push, clients, data) {
  await push.send(['all/', JSON.stringify({ data })]);
  await Promise.all(clients.map((client) => client.until(() => client.data().includes(data))));
}

/** The status of a handshake's answer. */
export const handshake = async (hub) => (await ask(hub.url, handshakePath('polling'))).status;

/** What `/readyz` says. */
export const readiness = (hub) => ask(hub.admin, '/readyz');

/** Waits until the hub is ready, or not. */
export async function readyWhen(hub, status) {
  while ((await readiness(hub)).status !== status);
}

/** The value of a metric. */
export async function metric(hub, name) {
  const text = await (await fetch(`${hub.admin}/metrics`)).text();
  return Number(text.split('\n').find((line) => line.startsWith(`${name} `))?.split(' ').at(-1));
}

/** Waits until a metric is at least that. */
export async function metricReaches(hub, name, least) {
  while (!((await metric(hub, name)) >= least));
}

/** How often the hub said that. */
export const count = (hub, pattern) => hub.lines.filter((line) => pattern.test(line)).length;
