// A proxy before Redis that knows one question from the next (RESP2), and so can delay, keep and cut
// each where a test wants it.

import { once } from 'node:events';
import net from 'node:net';

import { freePort } from './support.mjs';

/** Starts a proxy before `redis`, that ends with the test. Until told otherwise it passes everything on. */
export async function startProxy(t, redis) {
  const port = await freePort();
  const links = new Set();
  const counts = new Map();
  const catching = [];
  const waiting = [];
  const server = net.createServer((hub) => {
    proxy.connections += 1;
    if (proxy.hangsUp) hub.destroy();
    else open(hub);
    wake();
  });
  const proxy = {
    url: `redis://127.0.0.1:${port}/0`,
    /** How late each answer is, in ms. */
    delay: 0,
    /** Whether it hangs up on whoever connects. */
    hangsUp: false,
    /** Connections so far, those hung up on too. */
    connections: 0,
    /** How often that key was asked for. */
    gets: (key) => counts.get(key) ?? 0,
    /** Waits until `enough()` holds; it is asked at each connection and each question. */
    async until(enough) {
      while (!enough()) await new Promise((resolve) => waiting.push(resolve));
    },
    /** The next question for that key. It goes nowhere by itself, and those behind it wait. */
    next: (key) => new Promise((resolve) => catching.push({ key, resolve })),
    /** Cuts all connections. */
    cut() {
      for (const cut of links) cut();
    },
    /** Connections are refused from now on, and those there are are cut. */
    async refuse() {
      server.close();
      proxy.cut();
      await once(server, 'close');
    },
    /** They are accepted again. */
    async accept() {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
  };
  t.after(() => {
    proxy.cut();
    server.close();
  });
  await proxy.accept();
  return proxy;

  function open(hub) {
    const upstream = net.connect(redis.port, '127.0.0.1');
    const cut = () => {
      links.delete(cut);
      // What was passed on arrives before the end.
      hub.destroySoon();
      upstream.destroy();
    };
    links.add(cut);
    for (const socket of [hub, upstream]) socket.on('error', () => {}).on('close', cut);

    const unanswered = [];
    let asked = Promise.resolve();
    let answered = Promise.resolve();
    each(hub, (bytes) => {
      const question = new Question(cut);
      const ask = async () => {
        await question.leave.promise;
        unanswered.push(question);
        upstream.write(bytes);
      };
      const answer = async () => {
        const [reply, share] = await Promise.all([question.reply.promise, question.share.promise]);
        hub.write(reply.subarray(0, reply.length * share), question.passed.resolve);
      };
      asked = asked.then(ask);
      answered = answered.then(answer);
      arrived(question, bytes);
    });
    each(upstream, (reply) => {
      // Of its own accord, if nobody asked: an event.
      const resolve = unanswered.shift()?.reply.resolve ?? ((event) => hub.write(event));
      if (proxy.delay === 0) resolve(reply);
      else setTimeout(resolve, proxy.delay, reply);
    });
  }

  function arrived(question, bytes) {
    const [, , command, , key] = bytes.toString().split('\r\n');
    const isGet = command.toUpperCase() === 'GET';
    if (isGet) counts.set(key, proxy.gets(key) + 1);
    const at = isGet ? catching.findIndex((one) => one.key === key) : -1;
    if (at < 0) question.answer();
    else catching.splice(at, 1)[0].resolve(question);
    wake();
  }

  function wake() {
    for (const resolve of waiting.splice(0)) resolve();
  }
}

/** A question that has come, and where it goes from here. Questions keep their order, and so do answers. */
class Question {
  leave = deferred();
  reply = deferred();
  share = deferred();
  passed = deferred();

  constructor(cut) {
    this.cut = cut;
  }

  /** Lets Redis have it, and waits for the reply, which is kept. */
  ask() {
    this.leave.resolve();
    return this.reply.promise;
  }

  /** Passes the reply on, or that share of its bytes. */
  answer(share = 1) {
    this.ask();
    this.share.resolve(share);
    return this.passed.promise;
  }
}

function deferred() {
  const one = {};
  one.promise = new Promise((resolve) => (one.resolve = resolve));
  return one;
}

/** Tells `take` each whole RESP value that comes. */
function each(socket, take) {
  let unread = Buffer.alloc(0);
  socket.on('data', (data) => {
    unread = Buffer.concat([unread, data]);
    for (let end; (end = endOf(unread, 0)) !== undefined; unread = unread.subarray(end)) take(unread.subarray(0, end));
  });
}

/** Where the value that begins at `at` ends, or undefined while it is not whole. */
function endOf(bytes, at) {
  const line = bytes.indexOf('\r\n', at);
  if (line < 0) return undefined;
  const type = String.fromCharCode(bytes[at]);
  const size = Number(bytes.toString('latin1', at + 1, line));
  let end = line + 2;
  if (type === '$' && size >= 0) end += size + 2;
  for (let left = type === '*' ? size : 0; left > 0 && end !== undefined; left -= 1) end = endOf(bytes, end);
  return end <= bytes.length ? end : undefined;
}
