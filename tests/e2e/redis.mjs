// A real Redis for a test: started on a free port, killed and started again with what it held.

import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createClient } from 'redis';

import { freePort, Process } from './support.mjs';

const REDIS = process.env.REDIS ?? '/usr/bin/redis-server';

/** What README tells an operator to set, so that Redis tells of sessions that change. */
export const EVENTS = ['--notify-keyspace-events', 'K$gx'];

/** Starts a server with just these settings, that ends with the test. */
export async function startServer(t, args, ready = /Ready to accept connections/) {
  const server = new Process(REDIS, args);
  t.after(() => server.kill());
  await server.line(ready);
  return server;
}

/** A client of the test's own, closed with it. */
export async function clientOf(t, options) {
  const client = createClient(options);
  // Servers are killed on purpose; the client comes back by itself.
  client.on('error', () => {});
  t.after(() => client.destroy());
  return client.connect();
}

/** Starts a Redis that ends with the test. It keeps its data across `kill` and `start`. `more` are settings. */
export async function startRedis(t, more = []) {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'pregon-redis-'));
  const redis = {
    port,
    url: `redis://127.0.0.1:${port}/0`,
    /** Starts it again, on the same port, with what it held. */
    async start() {
      const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes', ...more];
      redis.server = new Process(REDIS, args);
      await redis.server.line(/Ready to accept connections/);
    },
    kill: () => redis.server.kill(),
    /** It keeps its port and its connections, and says nothing. */
    freeze: () => redis.server.child.kill('SIGSTOP'),
    thaw: () => redis.server.child.kill('SIGCONT'),
    /** A client of the test's own, closed with it. */
    client: () => clientOf(t, { url: redis.url }),
    /** The names of the commands on a key, from now on, as Redis runs them. */
    async watch(key) {
      const commands = [];
      const waiting = [];
      const client = await redis.client();
      await client.monitor((line) => {
        const [, command, about] = line.match(/\] "([^"]+)" "([^"]*)"/) ?? [];
        if (about !== key) return;
        commands.push(command.toUpperCase());
        for (const resolve of waiting.splice(0)) resolve();
      });
      return {
        commands,
        /** How often the value was read. */
        reads: () => commands.filter((command) => command === 'GET').length,
        async until(enough) {
          while (!enough(commands)) await new Promise((resolve) => waiting.push(resolve));
        },
      };
    },
  };
  t.after(() => redis.kill());
  await redis.start();
  return redis;
}
