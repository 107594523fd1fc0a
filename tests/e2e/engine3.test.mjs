// Engine.IO 3 to the byte, as clients of Socket.IO 2 speak it, and what both revisions share that no stock
// client shows: overlapping requests, preflights, a server without Socket.IO.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import test from 'node:test';

import { conformance } from './examples.mjs';
import { BASE, startHub } from './support.mjs';
import { ask, frame, poll, webSocket } from './wire.mjs';

const limit = { timeout: 60_000 };
const path = (more = '', transport = 'polling') => `/socket.io/?EIO=3&transport=${transport}${more}`;
const error = (code, message) => JSON.stringify({ code, message });

/** A session of Engine.IO 3 that polls. */
async function poll3(server, query = '') {
  const opened = await ask(server.url, path(query));
  assert.equal(opened.status, 200, opened.body);
  const length = Number(opened.body.split(':')[0]);
  const open = opened.body.slice(opened.body.indexOf(':') + 1).slice(0, length);
  const { sid } = JSON.parse(open.slice(1));
  const rest = opened.body.slice(opened.body.indexOf(':') + 1 + length);
  const own = path(`&sid=${sid}${query}`);
  return {
    sid,
    rest,
    get: () => ask(server.url, own),
    post: (body, headers = {}) => ask(server.url, own, { method: 'POST', body, headers }),
  };
}

/** A GET's body as bytes. */
async function bytes(server, session, query = '') {
  const request = http.get(new URL(path(`&sid=${session.sid}${query}`), server.url), { agent: false });
  const [response] = await once(request, 'response');
  const parts = await response.toArray();
  return { type: response.headers['content-type'], body: Buffer.concat(parts) };
}

test('Engine.IO 3 is let in only where it is allowed', limit, async (t) => {
  const strict = await conformance(t);
  const refused = await ask(strict.url, path());
  assert.deepEqual([refused.status, refused.body], [400, error(5, 'Unsupported protocol version')]);
  const open = await conformance(t, ['--eio3']);
  assert.equal((await ask(open.url, path())).status, 200);
  const odd = await ask(open.url, '/socket.io/?EIO=2&transport=polling');
  assert.deepEqual([odd.status, odd.body], [400, error(5, 'Unsupported protocol version')]);
});

test('polling payloads count UTF-16 code units', limit, async (t) => {
  const server = await conformance(t, ['--eio3']);
  const session = await poll3(server);
  // The root namespace is joined by being there.
  assert.equal(session.rest + (await session.get()).body, '2:4013:42["auth",{}]');
  const sent = '42["message","é€😀"]';
  assert.equal((await session.post(`${sent.length}:${sent}`)).body, 'ok');
  const back = '42["message-back","é€😀"]';
  assert.equal((await session.get()).body, `${back.length}:${back}`);
});

test('a client pings, and is answered', limit, async (t) => {
  const server = await conformance(t, ['--eio3']);
  const session = await poll3(server);
  await session.get();
  assert.equal((await session.post('1:2')).body, 'ok');
  assert.equal((await session.get()).body, '1:3');
});

test('attachments go as bytes, or as base64 to who asked for it', limit, async (t) => {
  const server = await conformance(t, ['--eio3']);
  const event = '451-["message",{"_placeholder":true,"num":0}]';
  const back = '451-["message-back",{"_placeholder":true,"num":0}]';

  const plain = await poll3(server);
  await plain.get();
  const body = Buffer.concat([
    Buffer.from([0, 4, 5, 255]), Buffer.from(event), Buffer.from([1, 4, 255, 4, 1, 2, 255]),
  ]);
  assert.equal((await plain.post(body, { 'content-type': 'application/octet-stream' })).body, 'ok');
  const answer = await bytes(server, plain);
  assert.equal(answer.type, 'application/octet-stream');
  const expected = Buffer.concat([
    Buffer.from([0, 5, 0, 255]), Buffer.from(back), Buffer.from([1, 4, 255, 4, 1, 2, 255]),
  ]);
  assert.deepEqual(answer.body, expected);

  const base64 = await poll3(server, '&b64=1');
  await base64.get();
  assert.equal((await base64.post(`${event.length}:${event}6:b4AQL/`)).body, 'ok');
  assert.equal((await base64.get()).body, `${back.length}:${back}6:b4AQL/`);
});

test('a WebSocket\'s binary frames carry their type', limit, async (t) => {
  const server = await conformance(t, ['--eio3']);
  const ws = await webSocket(t, server, { path: path('', 'websocket') });
  assert.match(await ws.next(), /^0\{/);
  assert.deepEqual([await ws.next(), await ws.next()], ['40', '42["auth",{}]']);
  ws.send('451-["message",{"_placeholder":true,"num":0}]');
  ws.raw(frame(2, [4, 9]));
  assert.equal(await ws.next(), '451-["message-back",{"_placeholder":true,"num":0}]');
  assert.deepEqual(await ws.next(), { opcode: 2, data: Buffer.from([4, 9]) });
  ws.send('40/custom?a=1&b=%20,');
  assert.deepEqual([await ws.next(), await ws.next()], ['40/custom,', '42/custom,["auth",{"a":"1","b":" "}]']);
  ws.send('40/none,');
  assert.equal(await ws.next(), '44/none,"Invalid namespace"');
});

test('malformed payloads of Engine.IO 3 end the session', limit, async (t) => {
  const server = await conformance(t, ['--eio3']);
  for (const body of ['x', '1:', '5:42', '99999999999:4', '2:b4', '1:9', '0:', '1:4:']) {
    const session = await poll3(server);
    await session.get();
    assert.equal((await session.post(body)).status, 400, body);
    assert.equal((await session.get()).body, error(1, 'Session ID unknown'), body);
  }
});

test('the hub lets clients of Socket.IO 2 in by allow_eio3, and says why it refuses them', limit, async (t) => {
  const hub = await startHub(t, `${BASE}\n[socketio]\nallow_eio3 = true\n`);
  const ana = await webSocket(t, hub, { path: path('&user=ana', 'websocket') });
  assert.match(await ana.next(), /^0\{/);
  assert.equal(await ana.next(), '40');
  const nobody = await webSocket(t, hub, { path: path('', 'websocket') });
  assert.match(await nobody.next(), /^0\{/);
  assert.equal(await nobody.next(), '44{"reason":"no_user"}');
});

test('a second POST while one is under way ends the session', limit, async (t) => {
  const server = await conformance(t);
  const session = await poll(server);
  await session.join();
  const url = new URL(session.path, server.url);
  const slow = http.request(url, { method: 'POST', headers: { 'content-length': 10 }, agent: false });
  const cut = once(slow, 'response').catch((reset) => reset);
  slow.write('4');
  // Its head is there as soon as the second one is refused; until then the second is taken.
  let second;
  do second = await session.post('3');
  while (second.status === 200);
  assert.equal(second.status, 400);
  assert.equal((await session.get()).body, error(1, 'Session ID unknown'));
  slow.end('2["a"]xxx');
  await cut;
});

test('bytes in a POST of Engine.IO 4 end the session', limit, async (t) => {
  const server = await conformance(t);
  const session = await poll(server);
  const refused = await session.post('4', { 'content-type': 'application/octet-stream' });
  assert.deepEqual([refused.status, refused.body], [400, '']);
  assert.equal((await session.get()).body, error(1, 'Session ID unknown'));
});

test('a preflight is answered whole, and only to pages that may connect', limit, async (t) => {
  const page = 'https://app.example';
  const config = BASE.replace('[server]', `[server]\norigins = ["${page}"]`);
  const hub = await startHub(t, config);
  const asks = {
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'x-trace, content-type',
    'access-control-request-private-network': 'true',
  };
  const preflight = (origin) =>
    ask(hub.url, '/socket.io/?EIO=4&transport=polling', { method: 'OPTIONS', headers: { origin, ...asks } });
  const { status, headers } = await preflight(page);
  assert.equal(status, 204);
  assert.equal(headers['access-control-allow-origin'], page);
  assert.equal(headers['access-control-allow-credentials'], 'true');
  assert.equal(headers['access-control-allow-methods'], 'GET,HEAD,PUT,PATCH,POST,DELETE');
  assert.equal(headers['access-control-allow-headers'], asks['access-control-request-headers']);
  assert.equal(headers['access-control-allow-private-network'], 'true');
  assert.match(headers.vary, /Origin/);
  const foreign = await preflight('https://evil.example');
  assert.equal(foreign.status, 403);
  assert.equal(foreign.headers['access-control-allow-origin'], undefined);
});

test('a server without Socket.IO echoes messages, in both revisions', limit, async (t) => {
  const server = await conformance(t, ['--eio3']);
  for (const revision of [3, 4]) {
    const ws = await webSocket(t, server, { path: `/engine.io/?EIO=${revision}&transport=websocket` });
    assert.match(await ws.next(), /^0\{/);
    ws.send('4hello');
    assert.equal(await ws.next(), '4hello');
    const bytes = revision === 3 ? [4, 7] : [7];
    ws.raw(frame(2, bytes));
    assert.deepEqual(await ws.next(), { opcode: 2, data: Buffer.from(bytes) });
  }
});

test('who makes the server talk and does not listen is cut, whatever waits', limit, async (t) => {
  const server = await conformance(t, ['--max-payload', '4000000']);
  const session = await poll(server);
  await session.join();
  // Each is answered by a few bytes: together they are more than may wait.
  const asks = Array(150_000).fill('420["message-with-ack"]').join('\u001e');
  for (;;) {
    // The session may end before it has read all of it.
    const answer = await session.post(asks).catch(({ code }) => ({ code }));
    if (answer.status !== 200) break;
  }
  assert.equal((await session.get()).body, error(1, 'Session ID unknown'));
  const other = await poll(server);
  assert.match(await other.join(), /^40\{/);
});
