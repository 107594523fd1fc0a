// The stock client's scripts, as a browser and its caches ask the hub for them.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';

import { BASE, startHub } from './support.mjs';

const limit = { timeout: 60_000 };
const PACKAGE = 'node_modules/socket.io-client';
const { version } = JSON.parse(readFileSync(`${PACKAGE}/package.json`));
const SCRIPTS = ['socket.io.js', 'socket.io.min.js', 'socket.io.esm.min.js', 'socket.io.msgpack.min.js'];
const FILES = SCRIPTS.flatMap((name) => [name, `${name}.map`]);

test('every script and its map is npm\'s, plain or gzipped as the client can take it', limit, async (t) => {
  const hub = await startHub(t, BASE);
  for (const name of FILES) {
    const file = readFileSync(`${PACKAGE}/dist/${name}`);
    const type = `application/${name.endsWith('.map') ? 'json' : 'javascript'}; charset=utf-8`;
    const plain = await ask(hub, name);
    assert.equal(plain.status, 200, name);
    assert.equal(plain.headers['content-encoding'], undefined, name);
    assert.ok(plain.body.equals(file), name);

    const gzipped = await ask(hub, name, { headers: { 'Accept-Encoding': 'br, gzip, deflate' } });
    assert.equal(gzipped.headers['content-encoding'], 'gzip', name);
    assert.ok(gzipped.body.length < file.length / 2, name);
    assert.ok(gunzipSync(gzipped.body).equals(file), name);

    for (const { headers, body } of [plain, gzipped]) {
      assert.equal(headers['content-type'], type, name);
      assert.equal(headers['content-length'], `${body.length}`, name);
      assert.equal(headers.etag, `"${version}"`, name);
      assert.equal(headers['cache-control'], 'public, max-age=0', name);
      assert.match(headers.vary, /Accept-Encoding/, name);
      assert.match(headers.vary, /Origin/, name);
    }
    const head = await ask(hub, name, { method: 'HEAD' });
    assert.deepEqual([head.status, head.body.length], [200, 0], name);
    assert.equal(head.headers['content-length'], `${file.length}`, name);
  }
  for (const refused of ['gzip;q=0', 'identity', 'gzip;q=0, identity']) {
    const { headers } = await ask(hub, SCRIPTS[0], { headers: { 'Accept-Encoding': refused } });
    assert.equal(headers['content-encoding'], undefined, refused);
  }
});

test('a cache that has this version gets 304 and no body', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const asking = (tags) => ask(hub, SCRIPTS[1], { headers: { 'If-None-Match': tags } });
  for (const tags of [`"${version}"`, `W/"${version}"`, `"4.0.0", "${version}"`]) {
    const { status, headers, body } = await asking(tags);
    assert.deepEqual([status, body.length, headers.etag], [304, 0, `"${version}"`], tags);
    assert.equal(headers['cache-control'], 'public, max-age=0');
  }
  for (const tags of ['"4.0.0"', version, `"${version}-beta"`]) {
    assert.equal((await asking(tags)).status, 200, tags);
  }
});

test('the module can be imported, and its client joins', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const { body } = await ask(hub, 'socket.io.esm.min.js');
  const file = join(mkdtempSync(join(tmpdir(), 'pregon-test-')), 'socket.io.mjs');
  writeFileSync(file, body);
  const { io, Fetch, Manager, Socket } = await import(pathToFileURL(file));
  assert.deepEqual([Manager, Socket].map((one) => typeof one), ['function', 'function']);
  // A browser's module: of its transports, Node has what the one by `fetch` needs.
  const socket = io(hub.url, { auth: { user: 'ana' }, transports: [Fetch], forceNew: true });
  t.after(() => socket.disconnect());
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  await hub.shows({ connections: { polling: 1 } });
});

test('pages of allowed origins may read them, and other methods and names are refused', limit, async (t) => {
  const allowed = 'https://app.example';
  const hub = await startHub(t, BASE.replace('[admin]', `origins = ["${allowed}"]\n[admin]`));
  const cors = async (Origin, name = SCRIPTS[2], more = {}) => {
    const { status, headers } = await ask(hub, name, { headers: { Origin, ...more } });
    return [status, headers['access-control-allow-origin'], headers['access-control-allow-credentials']];
  };
  assert.deepEqual(await cors(allowed), [200, allowed, 'true']);
  assert.deepEqual(await cors(allowed, SCRIPTS[2], { 'If-None-Match': `"${version}"` }), [304, allowed, 'true']);
  // A script element needs no permission, and gets the script all the same.
  assert.deepEqual(await cors('https://evil.example'), [200, undefined, undefined]);

  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const { status, headers } = await ask(hub, SCRIPTS[0], { method });
    assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], method);
  }
  for (const name of ['socket.io.mjs', 'socket.io.js.map.map', 'socket.io.js/', 'x', '..%2fhealthz', 'socket.io.js.gz']) {
    const { status, headers, body } = await ask(hub, name);
    assert.deepEqual([status, `${body}`], [400, '{"code":0,"message":"Transport unknown"}'], name);
    assert.equal(headers['content-type'], 'application/json', name);
  }
});

/** One request for a file below the Socket.IO path; the body as its bytes are. */
async function ask(hub, name, { method = 'GET', headers = {} } = {}) {
  const { hostname, port } = new URL(hub.url);
  const request = http.request({ hostname, port, path: `/socket.io/${name}`, method, headers, agent: false });
  request.end();
  const [response] = await once(request, 'response');
  const parts = [];
  for await (const part of response) parts.push(part);
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) };
}
