// What the end-to-end tests share: a hub, notifiers, clients, and ways to wait for events.
//
// Nothing here sleeps. Whoever waits, waits for a line, an event or an answer; node's test runner has the
// time limit.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { isDeepStrictEqual } from 'node:util';
import { io } from 'socket.io-client';

export const PREGON = process.env.PREGON ?? 'target/debug/pregon';
export const PYTHON = process.env.PYTHON ?? '.venv/bin/python';

/** Both listeners on free ports; and all of a test's clients come from one address. */
export const LISTENERS = `
[server]
listen = "127.0.0.1:0"
connections_per_address = 0
handshakes_per_address = 0
unfinished_per_address = 0
[admin]
listen = "127.0.0.1:0"
`;

/** The same and identity `dev`; what a test's own tables are added to. */
export const BASE = `${LISTENERS}
[[identity]]
preset = "dev"
`;

/** A process whose output lines can be waited for. */
export class Process {
  constructor(command, args, options = {}) {
    this.lines = [];
    this.waiting = [];
    this.child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    // A process may end before it has read all that it was told.
    this.child.stdin.on('error', () => {});
    for (const stream of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => this.#heard(line));
    }
    this.exited = once(this.child, 'exit').then(([code, signal]) => {
      this.#heard(`exit ${code ?? signal}`);
      return code ?? signal;
    });
  }

  /** The first line from `from` on that matches, said already or still to come. */
  async line(pattern, from = 0) {
    for (;;) {
      const found = this.lines.slice(from).find((line) => pattern.test(line));
      if (found !== undefined) return found;
      const end = this.lines.slice(from).find((line) => /^exit /.test(line));
      if (end !== undefined) throw new Error(`${end} before ${pattern}:\n${this.lines.join('\n')}`);
      await new Promise((resolve) => this.waiting.push(resolve));
    }
  }

  write(line) {
    this.child.stdin.write(`${line}\n`);
  }

  kill(signal = 'SIGKILL') {
    this.child.kill(signal);
    return this.exited;
  }

  #heard(line) {
    this.lines.push(line);
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

/** Runs the command line to its end. */
export async function pregon(args, { input = '', env = {} } = {}) {
  const process_ = new Process(PREGON, args, { env: { ...process.env, ...env } });
  process_.child.stdin.end(input);
  const code = await process_.exited;
  return { code, lines: process_.lines.filter((line) => !line.startsWith('exit ')) };
}

/** A settings file in a folder of its own. */
export function settings(text) {
  const file = join(mkdtempSync(join(tmpdir(), 'pregon-test-')), 'config.toml');
  writeFileSync(file, text);
  return file;
}

/** Starts a hub that ends with the test. `text` is its whole settings file. */
export async function startHub(t, text, args = []) {
  return adopt(t, new Process(PREGON, ['run', '--config', settings(text), ...args]));
}

/** Waits until a process that runs a hub is ready. It ends with the test. */
export async function adopt(t, hub) {
  t.after(() => hub.kill());
  const ready = await hub.line(/^pregon: listening on/);
  const [url, admin] = ready.match(/https?:\/\/[0-9.:]+/g);
  const status = async () => (await fetch(`${admin}/api/status`)).json();
  return Object.assign(hub, {
    url,
    admin,
    status,
    /** What the status says of a notifier. */
    notifier: async (name) => (await status()).notifiers.find((one) => one.name === name),
    /** Asks for the status until it satisfies, and returns it. */
    async statusWhen(satisfied) {
      for (;;) {
        const now = await status();
        if (satisfied(now)) return now;
      }
    },
    /**
     * Asks until the status shows `expected`, with other keys beside it or not. Counters follow what
     * they count, at a short distance: so a wrong one is told only after many answers.
     */
    async shows(expected, part = (now) => now) {
      for (let left = 500; ; left -= 1) {
        const seen = like(expected, part(await status()));
        if (isDeepStrictEqual(seen, expected)) return;
        if (left === 0) assert.deepEqual(seen, expected);
      }
    },
    /** The same, of a notifier. */
    notifierShows(name, expected) {
      return this.shows(expected, (now) => now.notifiers.find((one) => one.name === name));
    },
  });
}

/** Starts one of `tests/peers`, that ends with the test, and waits until it says "ready …". */
export async function startPeer(t, script, args, env = {}) {
  const peer = new Process(PYTHON, [`tests/peers/${script}`, ...args], { env: { ...process.env, ...env } });
  t.after(() => peer.kill());
  const ready = await peer.line(/^ready /);
  return Object.assign(peer, {
    endpoint: ready.split(' ')[1],
    /** Sends frames, `repeat` times, and waits until ZeroMQ has them. */
    async send(frames, repeat = 1) {
      const from = peer.lines.length;
      peer.write(JSON.stringify({ repeat, frames }));
      await peer.line(/^sent/, from);
    },
  });
}

/** Starts a pyzmq notifier. */
export const startNotifier = (t, kind, way, endpoint) => startPeer(t, 'notifier.py', [kind, way, endpoint]);

/** A hub with a `pull` notifier, and a pyzmq PUSH at its other end. `tables` and `keys` add settings. */
export async function hubWithPush(t, { base = BASE, tables = '', keys = {}, args = [] } = {}) {
  const bind = `tcp://127.0.0.1:${await freePort()}`;
  const hub = await startHub(t, `${base}${tables}${notifierTable('billing', { type: 'pull', bind, ...keys })}`, args);
  const push = await startNotifier(t, 'push', 'connect', bind);
  return { hub, push, bind };
}

/** A stock client that has joined, and all it hears. It ends with the test. */
export async function connect(t, hub, user, options = {}) {
  const socket = io(hub.url, { auth: { user }, forceNew: true, ...options });
  t.after(() => socket.disconnect());
  const heard = [];
  const waiting = [];
  const disconnects = [];
  const wake = () => waiting.splice(0).forEach((resolve) => resolve());
  socket.on('disconnect', (reason) => {
    disconnects.push(reason);
    wake();
  });
  socket.onAny((event, ...args) => {
    heard.push({ event, args });
    wake();
  });
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  return {
    socket,
    heard,
    disconnects,
    /** The data of every notification so far. */
    data: () => heard.map(({ args }) => args[0].data),
    /** Waits until `enough` holds of what was heard; a disconnect counts as something heard. */
    async until(enough) {
      while (!enough(heard)) await new Promise((resolve) => waiting.push(resolve));
    },
  };
}

/** The error that a stock client is refused with, and whether it means to try again. */
export async function refusal(t, hub, options) {
  const socket = io(hub.url, { forceNew: true, ...options });
  t.after(() => socket.disconnect());
  return new Promise((resolve, reject) => {
    socket.once('connect', () => reject(new Error('it was let in')));
    socket.once('connect_error', (error) => resolve({ error, active: socket.active }));
  });
}

/** Works on all items, some at a time; `work` gets an item and the number of its lane. */
export async function inLanes(lanes, items, work) {
  const queue = items.values();
  const lane = async (_, number) => {
    for (const item of queue) await work(item, number);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

/** Of `value`, what `expected` has too. */
function like(expected, value) {
  if (typeof expected !== 'object' || expected === null || value === undefined) return value;
  return Object.fromEntries(Object.entries(expected).map(([key, inner]) => [key, like(inner, value[key])]));
}

/**
 * A port that is free, for what must be known before it is bound. It lies below those that the system
 * hands out for port 0, so nobody gets it by chance in between.
 */
export async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    const outcome = await new Promise((resolve) => {
      server.once('error', resolve);
      server.listen(port, '127.0.0.1', () => resolve('free'));
    });
    if (outcome !== 'free') continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** A notifier's table. */
export const notifierTable = (name, keys) => table('[[notifier]]', { name, ...keys });

/** A table of settings. */
export function table(head, keys) {
  const lines = Object.entries(keys).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  return `${head}\n${lines.join('\n')}\n`;
}
