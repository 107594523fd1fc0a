// The protocol by hand, for what the stock client would never do: HTTP requests as they are written
// here, and WebSockets whose every byte is the test's.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

/** One HTTP request; headers are sent as given, `Host` too. The answer's body is a string. */
export async function ask(url, path, { method = 'GET', headers = {}, body, agent = false } = {}) {
  const { hostname, port } = new URL(url);
  const request = http.request({ hostname, port, path, method, headers, agent });
  request.end(body);
  const [response] = await once(request, 'response');
  response.setEncoding('utf8');
  let text = '';
  for await (const part of response) text += part;
  return { status: response.statusCode, headers: response.headers, body: text };
}

/** Where a Socket.IO connection begins. */
export const handshakePath = (transport, more = '') => `/socket.io/?EIO=4&transport=${transport}${more}`;

/** A session that polls, opened by hand. `query` goes with the first request, `headers` with all. */
export async function poll(hub, { query = '', headers = {} } = {}) {
  const opened = await ask(hub.url, handshakePath('polling', query), { headers });
  if (opened.status !== 200) throw new Error(`handshake: ${opened.status} ${opened.body}`);
  const open = JSON.parse(opened.body.slice(1));
  const path = handshakePath('polling', `&sid=${open.sid}`);
  const session = {
    open,
    path,
    get: () => ask(hub.url, path, { headers }),
    post: (body, more = {}) => ask(hub.url, path, { method: 'POST', body, headers: { ...headers, ...more } }),
    /** Joins as `user`, and returns the hub's answer. */
    async join(auth) {
      await session.post(`40${auth === undefined ? '' : JSON.stringify(auth)}`);
      return (await session.get()).body;
    },
  };
  return session;
}

/**
 * A GET that the hub has and that waits there, on a connection of its own. Only for a hub with one worker:
 * its answers to what came later then prove that it has dealt with this.
 */
export async function waitingGet(t, hub, session) {
  const { hostname, port } = new URL(hub.url);
  const socket = net.connect({ host: hostname, port });
  t.after(() => socket.destroy());
  let text = '';
  const ended = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => {});
  const get = (path) => `GET ${path} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`;
  socket.write(get('/healthz') + get(session.path).replace('Host', 'Connection: close\r\nHost'));
  socket.on('data', (data) => (text += data));
  await once(socket, 'data');
  await ask(hub.url, '/healthz');
  return { socket, body: async () => (await ended, text.split('\r\n\r\n').at(-1)) };
}

/**
 * A WebSocket by hand; it ends with the test. A refused one has only `status`, `headers` and `body`.
 * `frames` holds what came: text as a string, anything else as {opcode, data}.
 */
export async function webSocket(t, hub, { query = '', headers = {}, path = handshakePath('websocket', query) } = {}) {
  const { hostname, port, host } = new URL(hub.url);
  const key = randomBytes(16).toString('base64');
  const socket = net.connect({ host: hostname, port });
  t.after(() => socket.destroy());
  socket.on('error', () => {}); // a reset is an end like any other
  const ws = new RawWebSocket(socket);
  const lines = Object.entries({
    Host: host,
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Version': 13,
    'Sec-WebSocket-Key': key,
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
  await ws.answered;
  if (ws.status === 101) {
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    if (!ws.head.includes(accept)) throw new Error(`wrong accept key:\n${ws.head}`);
  } else {
    await ws.closed;
  }
  return ws;
}

/** A WebSocket that has joined as `user`; the open packet and the admission are read already. */
export async function joined(t, hub, user) {
  const ws = await webSocket(t, hub);
  ws.send(`40${JSON.stringify({ user })}`);
  const [open, admission] = [await ws.next(), await ws.next()];
  if (!open.startsWith('0{') || !admission.startsWith('40{')) throw new Error(`not joined: ${admission}`);
  return ws;
}

/** A client's frame, masked as RFC 6455 §5.3 wants it. */
export function frame(opcode, data, { fin = true, masked = true, claim = null } = {}) {
  const payload = Buffer.from(data);
  const length = claim ?? BigInt(payload.length);
  const head = [(fin ? 0x80 : 0) | opcode];
  const mask = masked ? 0x80 : 0;
  if (length < 126n) head.push(mask | Number(length));
  else if (length < 65536n) head.push(mask | 126, Number(length >> 8n), Number(length & 255n));
  else head.push(mask | 127, ...[56n, 48n, 40n, 32n, 24n, 16n, 8n, 0n].map((by) => Number((length >> by) & 255n)));
  if (!masked) return Buffer.concat([Buffer.from(head), payload]);
  const key = randomBytes(4);
  return Buffer.concat([Buffer.from(head), key, payload.map((byte, at) => byte ^ key[at % 4])]);
}

class RawWebSocket {
  constructor(socket) {
    this.socket = socket;
    this.frames = [];
    this.read = 0;
    this.waiting = [];
    this.unread = Buffer.alloc(0);
    this.ended = false;
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.body = this.unread.toString();
        this.ended = true;
        this.#wake();
        resolve();
      });
    });
    this.answered = new Promise((resolve, reject) => {
      this.#answered = resolve;
      socket.once('close', () => reject(new Error('closed without an answer')));
    });
    this.answered.catch(() => {});
    socket.on('data', (data) => this.#take(data));
    // The other end may close while this one has nothing more to say.
    socket.on('end', () => socket.end());
  }

  #answered;

  send(text) {
    this.socket.write(frame(1, text));
  }

  raw(bytes) {
    this.socket.write(bytes);
  }

  /** The next frame, come already or still to come. */
  async next() {
    while (this.read >= this.frames.length) {
      if (this.ended) throw new Error(`closed after ${JSON.stringify(this.frames.slice(-3))}`);
      await new Promise((resolve) => this.waiting.push(resolve));
    }
    return this.frames[this.read++];
  }

  /** The reason in the hub's close frame, after the connection's end. */
  async closeReason() {
    await this.closed;
    const close = this.frames.find((one) => one.opcode === 8);
    return close && { code: close.data.readUInt16BE(0), reason: close.data.subarray(2).toString() };
  }

  #take(data) {
    this.unread = this.unread.length === 0 ? data : Buffer.concat([this.unread, data]);
    if (this.status === undefined) this.#takeHead();
    if (this.status === 101) while (this.#takeFrame());
    this.#wake();
  }

  #takeHead() {
    const end = this.unread.indexOf('\r\n\r\n');
    if (end < 0) return;
    this.head = this.unread.subarray(0, end).toString();
    this.status = Number(this.head.split(' ')[1]);
    const lines = this.head.split('\r\n').slice(1).map((line) => line.split(/: ?/, 2));
    this.headers = Object.fromEntries(lines.map(([name, value]) => [name.toLowerCase(), value]));
    this.unread = this.unread.subarray(end + 4);
    this.#answered();
  }

  #takeFrame() {
    if (this.unread.length < 2) return false;
    let length = this.unread[1] & 0x7f;
    let at = 2;
    if (length === 126) {
      if (this.unread.length < 4) return false;
      length = this.unread.readUInt16BE(2);
      at = 4;
    } else if (length === 127) {
      if (this.unread.length < 10) return false;
      length = Number(this.unread.readBigUInt64BE(2));
      at = 10;
    }
    if (this.unread.length < at + length) return false;
    const opcode = this.unread[0] & 0x0f;
    const data = this.unread.subarray(at, at + length);
    this.frames.push(opcode === 1 ? data.toString() : { opcode, data: Buffer.from(data) });
    this.unread = this.unread.subarray(at + length);
    return true;
  }

  #wake() {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}
