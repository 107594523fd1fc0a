// Both transports, byte by byte: the order and the form of errors, limits, timeouts, and the move from
// one transport to the other, as a client would meet them that does not keep to the rules.

import assert from 'node:assert/strict';
import test from 'node:test';

import { BASE, connect, hubWithPush, startHub } from './support.mjs';
import { ask, frame, handshakePath, joined, poll, waitingGet, webSocket } from './wire.mjs';

const limit = { timeout: 60_000 };
const MAX_PAYLOAD = 4096;
const tables = (lines) => `[socketio]\n${lines}\n`;
const error = (code, message) => JSON.stringify({ code, message });

test('errors come in the order and the words of the protocol', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const { open } = await poll(hub);
  const sid = `&sid=${open.sid}`;
  const foreign = { Origin: 'http://evil.example' };
  const unknown = 'A'.repeat(20);
  const garbled = { Origin: Buffer.from('http://caf\xe9').toString('latin1') };
  const cases = [
    ['no transport, from a foreign page', '/socket.io/?EIO=4', { headers: foreign }, 400, error(0, 'Transport unknown')],
    ['a garbled origin', handshakePath('polling', `&sid=${unknown}`), { headers: garbled }, 400, error(3, 'Bad request')],
    ['the sid before the page', handshakePath('polling', `&sid=${unknown}`), { headers: foreign }, 400, error(1, 'Session ID unknown')],
    ['the method before the page', handshakePath('polling'), { method: 'POST', headers: foreign }, 400, error(2, 'Bad handshake method')],
    ['the upgrade before the page', handshakePath('websocket'), { headers: foreign }, 400, error(3, 'Bad request')],
    ['a foreign page within a session', handshakePath('polling', sid), { headers: foreign }, 403, error(4, 'Forbidden')],
    ['no transport', '/socket.io/?EIO=4', {}, 400, error(0, 'Transport unknown')],
    ['an unknown one', '/socket.io/?EIO=4&transport=carrier', {}, 400, error(0, 'Transport unknown')],
    ['unknown before the sid', `/socket.io/?EIO=4&transport=x&sid=${unknown}`, {}, 400, error(0, 'Transport unknown')],
    ['an unknown sid', handshakePath('polling', `&sid=${unknown}`), {}, 400, error(1, 'Session ID unknown')],
    ['a sid that is none', handshakePath('polling', '&sid=%00'), {}, 400, error(1, 'Session ID unknown')],
    ['the sid before the method', handshakePath('polling', '&sid=x'), { method: 'PUT' }, 400, error(1, 'Session ID unknown')],
    ['a handshake by POST', handshakePath('polling'), { method: 'POST', body: '40' }, 400, error(2, 'Bad handshake method')],
    ['the method before the version', '/socket.io/?transport=polling', { method: 'POST' }, 400, error(2, 'Bad handshake method')],
    ['websocket without upgrade', handshakePath('websocket'), {}, 400, error(3, 'Bad request')],
    ['a foreign page', handshakePath('polling'), { headers: foreign }, 403, error(4, 'Forbidden')],
    ['the page before the version', '/socket.io/?EIO=3&transport=polling', { headers: foreign }, 403, error(4, 'Forbidden')],
    ['Engine.IO 3', '/socket.io/?EIO=3&transport=polling', {}, 400, error(5, 'Unsupported protocol version')],
    ['no version', '/socket.io/?transport=polling', {}, 400, error(5, 'Unsupported protocol version')],
    ['an odd version', '/socket.io/?EIO=04&transport=polling', {}, 400, error(5, 'Unsupported protocol version')],
    ['another method', handshakePath('polling', sid), { method: 'PUT', body: 'x' }, 400, error(3, 'Bad request')],
  ];
  for (const [name, path, options, status, body] of cases) {
    const answer = await ask(hub.url, path, options);
    assert.deepEqual([answer.status, answer.body], [status, body], name);
    assert.equal(answer.headers['content-type'], 'application/json', name);
    assert.equal(answer.headers['cache-control'], 'no-store', name);
  }
  const { registry, connections } = await hub.status();
  assert.equal(registry.sessions, 0);
  assert.equal(connections.opened, 1, 'only the one that was let in');
});

test('a WebSocket asked for without HTTP\'s upgrade is judged in the same order', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const { open } = await poll(hub);
  const cases = [
    ['an unknown sid', `&sid=${'A'.repeat(20)}`, 'GET', error(1, 'Session ID unknown')],
    ['another method', '', 'POST', error(2, 'Bad handshake method')],
    ['a session that polls', `&sid=${open.sid}`, 'GET', error(3, 'Bad request')],
  ];
  for (const [name, query, method, body] of cases) {
    const answer = await ask(hub.url, handshakePath('websocket', query), { method });
    assert.deepEqual([answer.status, answer.body], [400, body], name);
  }
});

test('a refused WebSocket is answered in plain HTTP', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const cases = [
    ['an unknown transport', '/socket.io/?EIO=4&transport=x', {}, 400, 'Transport unknown'],
    ['polling', handshakePath('polling'), {}, 400, 'Transport unknown'],
    ['an unknown sid', handshakePath('websocket', `&sid=${'A'.repeat(20)}`), {}, 400, 'Session ID unknown'],
    ['an old protocol', handshakePath('websocket'), { 'Sec-WebSocket-Version': 8 }, 400, 'Bad request'],
    ['Engine.IO 3', '/socket.io/?EIO=3&transport=websocket', {}, 400, 'Unsupported protocol version'],
    ['another path', '/elsewhere/?EIO=4&transport=websocket', {}, 404, 'Not found'],
  ];
  for (const [name, path, headers, status, body] of cases) {
    const ws = await webSocket(t, hub, { path, headers });
    assert.deepEqual([ws.status, ws.body], [status, body], name);
  }
  assert.equal((await hub.status()).connections.opened, 0);
});

test('a transport that is switched off is unknown', limit, async (t) => {
  const hub = await startHub(t, BASE + tables('transports = ["polling"]'));
  const opened = await ask(hub.url, handshakePath('polling'));
  assert.deepEqual(JSON.parse(opened.body.slice(1)).upgrades, []);
  const ws = await webSocket(t, hub);
  assert.deepEqual([ws.status, ws.body], [400, 'Transport unknown']);
  const only = await startHub(t, BASE + tables('transports = ["websocket"]'));
  const refused = await ask(only.url, handshakePath('polling'));
  assert.deepEqual([refused.status, refused.body], [400, error(0, 'Transport unknown')]);
  assert.ok((await joined(t, only, 'ana')).frames.length === 2);
});

test('a second GET ends the session, and both are told', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const session = await poll(hub);
  await session.join({ user: 'ana' });
  const answers = await Promise.all([session.get(), session.get()]);
  answers.sort((a, b) => a.status - b.status);
  assert.deepEqual(answers.map(({ status, body }) => [status, body]), [[200, '1'], [400, '']]);
  assert.equal((await session.get()).body, error(1, 'Session ID unknown'));
  await hub.shows({ connections: { ended: { protocol: 1 } } });
});

test('a POST beyond max_payload is refused, and the session lives', limit, async (t) => {
  const { hub, push } = await hubWithPush(t, { tables: tables(`max_payload = ${MAX_PAYLOAD}`) });
  const session = await poll(hub);
  assert.equal(session.open.maxPayload, MAX_PAYLOAD);
  await session.join({ user: 'ana' });
  assert.equal((await session.post(packet(MAX_PAYLOAD))).body, 'ok');
  const refused = await session.post(packet(MAX_PAYLOAD + 1));
  assert.deepEqual([refused.status, refused.body], [413, '']);
  await push.send(['u/ana/', '{"data":"still here"}']);
  assert.match((await session.get()).body, /"data":"still here"/);
});

test('a WebSocket message beyond max_payload ends the connection, whole or in fragments', limit, async (t) => {
  const hub = await startHub(t, BASE + tables(`max_payload = ${MAX_PAYLOAD}`));
  const fits = await joined(t, hub, 'ana');
  fits.send(packet(MAX_PAYLOAD));
  fits.send('427["hello"]');
  assert.match(await fits.next(), /^437\[/);
  const whole = await joined(t, hub, 'ana');
  whole.send(packet(MAX_PAYLOAD + 1));
  assert.deepEqual(await whole.closeReason(), { code: 1009, reason: 'too_large' });
  const parts = await joined(t, hub, 'ana');
  parts.raw(frame(1, packet(MAX_PAYLOAD), { fin: false }));
  parts.raw(frame(0, 'x'));
  assert.deepEqual(await parts.closeReason(), { code: 1009, reason: 'too_large' });
  await hub.shows({ connections: { ended: { too_large: 2 } } });
});

test('what is no WebSocket is closed at once, and the hub lives', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const ana = await connect(t, hub, 'ana');
  const cases = {
    'an unmasked frame': [frame(1, '42["a"]', { masked: false }), 'protocol'],
    'a claim of 2^63 bytes': [frame(1, 'x', { claim: 1n << 63n }), 'too_large'],
    'a continuation of nothing': [frame(0, 'x'), 'protocol'],
    'an unknown opcode': [frame(3, 'x'), 'protocol'],
    'text that is no text': [frame(1, Buffer.from([0x34, 0x32, 0xff])), 'protocol'],
    'a stray attachment': [frame(2, 'x'), 'protocol'],
    "a client's ping": [frame(1, '2'), 'protocol'],
    'an unknown packet': [frame(1, '9'), 'protocol'],
    'an empty message': [frame(1, ''), 'protocol'],
    'a broken event': [frame(1, '42["a"'), 'protocol'],
    'a reserved event': [frame(1, '42["disconnect"]'), 'protocol'],
    'a second join': [frame(1, '40{"user":"luis"}'), 'protocol'],
    'bytes of nothing': [Buffer.alloc(64, 0xff), 'protocol'],
  };
  const ended = { protocol: 0, too_large: 0 };
  for (const [name, [bytes, reason]] of Object.entries(cases)) {
    const ws = await joined(t, hub, 'luis');
    ws.raw(bytes);
    assert.equal((await ws.closeReason())?.reason, reason, name);
    ended[reason] += 1;
    await hub.shows({ connections: { ended }, registry: { sessions: 1 } });
  }
  await push.send(['u/ana/', '{"data":"alive"}']);
  await ana.until((heard) => heard.length > 0);
  assert.deepEqual(ana.disconnects, []);
});

test('a frame that claims more than max_payload is not waited for', limit, async (t) => {
  // Without the claim being looked at, the heartbeat ends it, for another reason.
  const hub = await startHub(t, BASE + tables('ping_interval = "1s"\nping_timeout = "1s"'));
  for (const claim of [1_000_001n, 1n << 40n]) {
    const ws = await joined(t, hub, 'ana');
    ws.raw(frame(1, 'x', { claim }));
    assert.deepEqual(await ws.closeReason(), { code: 1009, reason: 'too_large' }, `${claim}`);
  }
  await hub.shows({ connections: { ended: { too_large: 2 } } });
});

test('a POST that is no Engine.IO ends the session', limit, async (t) => {
  const hub = await startHub(t, BASE);
  const cases = {
    'an empty body': '',
    'an empty item': '3\x1e',
    'an unknown packet': '9',
    'no base64': 'b!!!',
    'no text': Buffer.from([0x34, 0xff]),
    'a stray attachment': 'bAQID',
    'no such namespace joined': '42["a"]',
  };
  for (const [name, body] of Object.entries(cases)) {
    const session = await poll(hub);
    assert.equal((await session.post(body)).status, 400, name);
    assert.equal((await session.get()).body, error(1, 'Session ID unknown'), name);
  }
  await hub.shows({ connections: { ended: { protocol: Object.keys(cases).length } } });
});

test('a client that answers no ping is gone, on either transport', limit, async (t) => {
  const hub = await startHub(t, BASE + tables('ping_interval = "300ms"\nping_timeout = "200ms"'));
  const quiet = await poll(hub);
  assert.deepEqual([quiet.open.pingInterval, quiet.open.pingTimeout], [300, 200]);
  await quiet.join({ user: 'ana' });
  const ws = await joined(t, hub, 'ana');
  assert.equal(await ws.next(), '2');
  await ws.closed;
  await hub.statusWhen(({ connections }) => connections.ended.ping_timeout >= 2);
  await hub.shows({ connections: { ended: { ping_timeout: 2 } } });
  assert.equal((await quiet.get()).body, error(1, 'Session ID unknown'));
  // One that answers lives through many times the same span.
  const answering = await joined(t, hub, 'luis');
  for (let n = 0; n < 5; n += 1) {
    assert.equal(await answering.next(), '2');
    answering.send('3');
  }
  assert.equal((await hub.status()).registry.sessions, 1);
});

test('a client that never joins is shown out', limit, async (t) => {
  const hub = await startHub(t, BASE + tables('connect_timeout = "300ms"'));
  const session = await poll(hub);
  const ws = await webSocket(t, hub);
  // Whoever was refused has not joined either.
  const refused = await webSocket(t, hub);
  refused.send('40{}');
  assert.deepEqual(await ws.closeReason(), { code: 1002, reason: 'protocol' });
  assert.deepEqual(await refused.closeReason(), { code: 1002, reason: 'protocol' });
  await hub.statusWhen(({ connections }) => connections.ended.protocol === 3);
  assert.equal((await session.get()).body, error(1, 'Session ID unknown'));
});

test('a goodbye ends the session at once, on either transport', limit, async (t) => {
  const hub = await startHub(t, BASE, ['--set', 'server.workers=1']);
  const session = await poll(hub);
  await session.join({ user: 'ana' });
  const waiting = await waitingGet(t, hub, session);
  assert.equal((await session.post('1')).body, 'ok');
  assert.equal(await waiting.body(), '6');
  assert.equal((await session.get()).body, error(1, 'Session ID unknown'));
  const ws = await joined(t, hub, 'ana');
  ws.send('1');
  await ws.closed;
  const closing = await joined(t, hub, 'ana');
  closing.raw(frame(8, Buffer.from([0x03, 0xe8])));
  await closing.closed;
  // And one that goes without a word.
  const silent = await joined(t, hub, 'ana');
  silent.socket.destroy();
  await hub.shows({ connections: { ended: { client: 3, transport: 1 } }, registry: { sessions: 0 } });
});

test('the move to WebSocket: GETs are let go, the queue follows, a second one is turned away', limit, async (t) => {
  const { hub, push } = await hubWithPush(t);
  const session = await poll(hub);
  await session.join({ user: 'ana' });
  const sid = `&sid=${session.open.sid}`;
  const waiting = session.get();
  const ws = await webSocket(t, hub, { query: sid });
  ws.send('2probe');
  assert.equal(await ws.next(), '3probe');
  assert.equal((await waiting).body, '6');
  assert.equal((await session.get()).body, '6', 'each GET until the end of it');
  // It waits in the queue, as no GET is there to take it.
  await push.send(['u/ana/', '{"data":1}']);
  await hub.statusWhen(({ notifiers }) => notifiers[0].delivered === 1);
  ws.send('5');
  assert.match(await ws.next(), /"data":1/);

  const late = await session.get();
  assert.deepEqual([late.status, late.body], [400, error(3, 'Bad request')]);
  const second = await webSocket(t, hub, { query: sid });
  assert.equal(second.status, 101);
  await second.closed;
  await push.send(['u/ana/', '{"data":2}']);
  assert.match(await ws.next(), /"data":2/);
  await hub.shows({ connections: { polling: 0, websocket: 1 } });
});

test('a probe that fails leaves the session polling', limit, async (t) => {
  const { hub, push } = await hubWithPush(t, { tables: tables('upgrade_timeout = "300ms"') });
  const session = await poll(hub);
  await session.join({ user: 'ana' });
  const query = `&sid=${session.open.sid}`;
  const wrong = await webSocket(t, hub, { query });
  wrong.send('42["too early"]');
  await wrong.closed;
  const slow = await webSocket(t, hub, { query });
  slow.send('2probe');
  assert.equal(await slow.next(), '3probe');
  await slow.closed; // its time is over
  await push.send(['u/ana/', '{"data":"by polling"}']);
  assert.match((await session.get()).body, /"data":"by polling"/);
  await hub.shows({ connections: { polling: 1, websocket: 0 } });
});

for (const [name, drop] of Object.entries({
  'closes its connection': (socket) => socket.destroy(),
  'resets its connection': (socket) => socket.resetAndDestroy(),
})) {
  test(`a client that ${name} while its GET waits is gone`, { timeout: 15_000 }, async (t) => {
    const hub = await startHub(t, BASE, ['--set', 'server.workers=1']);
    const session = await poll(hub);
    await session.join({ user: 'ana' });
    const { socket } = await waitingGet(t, hub, session);
    drop(socket);
    await hub.statusWhen(({ connections }) => connections.ended.transport === 1);
    assert.equal((await session.get()).body, error(1, 'Session ID unknown'));
  });
}

/** An event of exactly that many bytes, Engine.IO's digit included. */
function packet(bytes) {
  return `42["${'x'.repeat(bytes - '42[""]'.length)}"]`;
}

test('what a message may cost is a setting', limit, async (t) => {
  const hub = await startHub(t, BASE + tables('max_attachments = 1\nmax_attachment_bytes = 128\nattachment_timeout = "1s"\nmax_namespaces = 2'));
  const event = (count) => `45${count}-["a"${',{"_placeholder":true,"num":0}'.repeat(count)}]`;
  const cases = [
    ['as much as it may', [frame(1, event(1)), frame(2, 'a'.repeat(128))], null],
    ['an attachment more', [frame(1, event(2))], { code: 1002, reason: 'protocol' }],
    ['a byte more', [frame(1, event(1)), frame(2, 'a'.repeat(129))], { code: 1009, reason: 'too_large' }],
    ['an attachment that never comes', [frame(1, event(1))], { code: 1002, reason: 'protocol' }],
    ['a namespace more', [frame(1, '40/a,'), frame(1, '40/b,'), frame(1, '40/c,')], { code: 1002, reason: 'protocol' }],
  ];
  for (const [name, frames, end] of cases) {
    const ws = await joined(t, hub, 'ana');
    for (const bytes of frames) ws.raw(bytes);
    if (end !== null) {
      assert.deepEqual(await ws.closeReason(), end, name);
    } else {
      ws.send('427["hello"]');
      assert.match(await ws.next(), /^437\[/, name);
    }
  }
});
