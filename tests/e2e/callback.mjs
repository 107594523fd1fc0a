// What the tests of the callback share: web applications to ask, and the hub's settings to ask them.

import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { freePort, hubWithPush, LISTENERS, startPeer, table } from './support.mjs';

/** The identity that asks there. */
export const identityTable = (url, keys = {}) =>
  table('[[identity]]', { preset: 'callback', url, revalidate: '200ms', cache: 0, ...keys });

/** A hub that asks there, and a notifier. `more` adds tables. */
export const hubWithCallback = (t, url, keys = {}, more = '') =>
  hubWithPush(t, { base: LISTENERS + identityTable(url, keys) + more });

/** A web application with sessions, in Python. It keeps its port and its sessions across `kill` and `start`. */
export async function startApp(t, args = []) {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'pregon-callback-'));
  const url = `http://127.0.0.1:${port}`;
  const app = {
    url: `${url}/whoami`,
    async start() {
      app.peer = await startPeer(t, 'callback_app.py', [`${port}`, folder, ...args]);
    },
    kill: () => app.peer.kill(),
    /** The Cookie header of a new session. */
    async login(user) {
      const answer = await fetch(`${url}/login?user=${user}`, { method: 'POST' });
      return answer.headers.get('set-cookie');
    },
    logout: (cookie) => fetch(`${url}/logout`, { method: 'POST', headers: { cookie } }),
    /** How often it was asked about somebody. */
    count: async () => (await (await fetch(`${url}/count`)).json()).asked,
  };
  await app.start();
  return app;
}

/**
 * A server that answers as the test says: `answer` gets the request and the response. Whoever shows nothing
 * is told 401. All requests that showed something are in `requests`.
 */
export async function startOracle(t, answer, create = createServer) {
  const requests = [];
  const waiting = [];
  const oracle = { answer, requests };
  const server = create((request, response) => {
    const { cookie, authorization } = request.headers;
    if (cookie === undefined && authorization === undefined) {
      response.writeHead(401).end();
      return;
    }
    requests.push(request);
    for (const resolve of waiting.splice(0)) resolve();
    oracle.answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  oracle.host = `127.0.0.1:${server.address().port}`;
  oracle.url = `http://${oracle.host}/whoami`;
  /** Waits until that many requests have shown something. */
  oracle.until = async (enough) => {
    while (!enough(requests)) await new Promise((resolve) => waiting.push(resolve));
  };
  return oracle;
}

/** An answer as it should be. */
export const says = (body, headers = {}) => (_, response) =>
  response.writeHead(200, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));

export const withCookie = (cookie) => ({ extraHeaders: { cookie } });
