// A stock JavaScript client for the matrix of clients:
//
//     socketio_client.mjs PACKAGE URL polling|websocket|upgrade [recovery]
//
// It prints "result" and a JSON object: what it was sent back, bytes in base64. What would be right, it does
// not know; the test does. With "recovery" it says "settled", waits for a line, sends two messages, says
// "sent", and waits to be connected again.

import { once } from 'node:events';

const [name, url, transport, recovery] = process.argv.slice(2);
const library = await import(name);
const io = library.io ?? library.default;
const socket = io(url, {
  transports: transport === 'upgrade' ? ['polling', 'websocket'] : [transport],
  forceNew: true,
  reconnection: recovery !== undefined,
  reconnectionDelay: 10,
});
socket.on('connect_error', (error) => console.log('connect_error', error.message ?? error));

const BYTES = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
const TEXT = ['¡hola! 🎉', 17, { a: [true, null, '€'] }];
const BINARY = [BYTES, 'beside it', { inside: [Buffer.from('another')] }];

await event('connect');
if (transport === 'upgrade' && socket.io.engine.transport.name !== 'websocket') {
  await new Promise((resolve) => socket.io.engine.once('upgrade', resolve));
}
const result = recovery === undefined ? await exercise() : await recover();
console.log('result', JSON.stringify(result));
socket.close();

async function exercise() {
  const text = await send('message', TEXT, 'message-back');
  const binary = await send('message', BINARY, 'message-back');
  const ack = await ask('message-with-ack', TEXT);
  const binaryAck = await ask('message-with-ack', BINARY);
  socket.on('question', (...args) => args.pop()(...args, BYTES));
  const answered = await send('ask', TEXT, 'answered');
  return { text, binary, ack, binaryAck, answered, transport: socket.io.engine.transport.name };
}

async function recover() {
  const heard = [];
  // The second argument is the event's place in the stream.
  socket.on('message-back', (text) => heard.push(text));
  const before = await send('message', ['before'], 'message-back');
  console.log('settled');
  await once(process.stdin, 'data');
  const drained = new Promise((resolve) => {
    socket.io.engine.on('drain', () => socket.io.engine.writeBuffer.length === 0 && resolve());
  });
  socket.emit('message', 'missed');
  socket.emit('message', 'missed, too');
  await drained;
  console.log('sent');
  await event('connect');
  const { recovered } = socket;
  socket.emit('message', 'after');
  while (heard.at(-1) !== 'after') await event('message-back');
  process.stdin.destroy();
  return { recovered, heard, offset: typeof before[1] };
}

async function send(name, args, reply) {
  const back = event(reply);
  socket.emit(name, ...args);
  return back;
}

function ask(name, args) {
  return new Promise((resolve) => socket.emit(name, ...args, (...back) => resolve(plain(back))));
}

function event(name) {
  return new Promise((resolve) => socket.once(name, (...args) => resolve(plain(args))));
}

/** Bytes in base64. */
function plain(value) {
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
    return { base64: Buffer.from(value).toString('base64') };
  }
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}
