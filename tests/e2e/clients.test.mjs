// The matrix of stock clients: each of them, by each transport, with everything that it can do. It prints a
// table; README promises what is in it, and nothing else. The server is crates/socketio's own example.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'node:test';

import { conformance } from './examples.mjs';
import { startRelay } from './relay.mjs';
import { PREGON, Process, PYTHON } from './support.mjs';

const RUST_CLIENT = join(dirname(PREGON), '../peers/debug/rust-client');

const TRANSPORTS = ['polling', 'websocket', 'upgrade'];
const COLUMNS = ['text', 'binary', 'ack', 'answer', 'recovery'];
const NONE = '–'; // the client has no such feature

const bytes = (data) => ({ base64: Buffer.from(data).toString('base64') });
const every = Array.from({ length: 256 }, (_, byte) => byte);
const ALL_BYTES = bytes(every);
const TEXT = ['¡hola! 🎉', 17, { a: [true, null, '€'] }];
const BINARY = [ALL_BYTES, 'beside it', { inside: [bytes('another')] }];

const javascript = (name, version, more) => ({
  name: `socket.io-client ${version}`,
  version: JSON.parse(readFileSync(`node_modules/${name}/package.json`)).version,
  start: (...args) => new Process(process.execPath, ['tests/peers/socketio_client.mjs', name, ...args]),
  ...more,
});
const python = (version, env, more) => ({
  name: `python-socketio ${version}`,
  start: (...args) =>
    new Process(PYTHON, ['tests/peers/socketio_client.py', ...args], { env: { ...process.env, ...env } }),
  ...more,
});

const CLIENTS = [
  javascript('socket.io-client', '4.8.4', { eio: 4, recovers: true }),
  javascript('socket.io-client-3', '3.1.3', { eio: 4 }),
  javascript('socket.io-client-2', '2.5.0', { eio: 3 }),
  python('5.18.1', {}, { eio: 4 }),
  python('4.6.1', { PYTHONPATH: '.venv/python-socketio-4' }, { eio: 3 }),
  {
    name: 'rust_socketio 0.6',
    eio: 4,
    start: (...args) => new Process(RUST_CLIENT, args),
    // One attachment with nothing beside it is all that it can send and hear, and no 1E in it; it cannot ask
    // with one. What it has no way to do is not tested: to answer.
    binary: [bytes(every.filter((byte) => byte !== 0x1e))],
    asksWithTextOnly: true,
    cannotAnswer: true,
  },
];

test('stock clients', { timeout: 300_000 }, async (t) => {
  const { url } = await conformance(t, ['--eio3']);
  const { url: keeping } = await conformance(t, ['--recovery', '60']);
  const rows = [];
  for (const client of CLIENTS) {
    for (const transport of TRANSPORTS) {
      const row = { client, transport, cells: new Map() };
      rows.push(row);
      await t.test(`${client.name}, ${transport}`, { timeout: 60_000 }, (t) => exercise(t, url, row));
      if (!client.recovers) row.cells.set('recovery', NONE);
      else await t.test(`${client.name}, ${transport}, recovery`, { timeout: 60_000 }, (t) => recover(t, keeping, row));
    }
  }
  print(rows);
  assert.equal(rows.length, 18);
  for (const readme of ['README.md', 'README.es.md']) {
    assert.deepEqual(promisedBy(readme), CLIENTS.map(foundOf), readme);
  }

  /** README's row of a client: what works by all transports. */
  function foundOf(client) {
    const mine = rows.filter((row) => row.client === client);
    const cells = COLUMNS.map((column) => {
      const [cell, ...others] = new Set(mine.map(({ cells }) => cells.get(column)));
      return others.length > 0 ? 'it depends' : { ok: '✓', [NONE]: NONE }[cell];
    });
    return [client.name, String(client.eio), ...cells];
  }
});

/** Everything but recovery. What comes back is what was sent, by the transport that was meant. */
async function exercise(t, url, { client, transport, cells }) {
  const relay = await startRelay(t, url);
  const result = await resultOf(start(t, client, relay.url, transport));
  const binary = client.binary ?? BINARY;
  const expect = (column, pairs) => {
    for (const [seen, expected] of pairs) assert.deepEqual(seen, expected, column);
    cells.set(column, 'ok');
  };
  const meant = transport === 'upgrade' ? ['polling', 'websocket'] : [transport];
  assert.deepEqual([...relay.seen].sort(), meant.map((one) => `EIO=${client.eio} ${one}`));
  if (result.transport) assert.equal(result.transport, meant.at(-1));
  const version = result.version ?? client.version;
  if (version) assert.equal(client.name.split(' ')[1], version);
  expect('text', [[result.text, TEXT]]);
  expect('binary', [[result.binary, binary]]);
  expect('ack', [[result.ack, TEXT], ...(client.asksWithTextOnly ? [] : [[result.binaryAck, binary]])]);
  if (client.cannotAnswer) cells.set('answer', NONE);
  else expect('answer', [[result.answered, [...TEXT, ALL_BYTES]]]);
}

/** A client that was cut off while it was told something hears it when it is back. */
async function recover(t, url, { client, transport, cells }) {
  const relay = await startRelay(t, url);
  const peer = start(t, client, relay.url, transport, 'recovery');
  await peer.line(/^settled/);
  relay.hold();
  peer.write('go on');
  await peer.line(/^sent/);
  // Who polls has no second GET to hear the second by.
  await relay.keeps(transport === 'polling' ? '"missed"' : '"missed, too"');
  relay.cut();
  const result = await resultOf(peer);
  assert.deepEqual(result, {
    recovered: true,
    heard: ['before', 'missed', 'missed, too', 'after'],
    offset: 'string',
  });
  cells.set('recovery', 'ok');
}

function start(t, client, ...args) {
  const peer = client.start(...args);
  t.after(() => peer.kill());
  return peer;
}

async function resultOf(peer) {
  const line = await peer.line(/^result /);
  return JSON.parse(line.slice('result '.length));
}

/** The rows of the matrix in a README. */
function promisedBy(readme) {
  const cells = (line) => line.split('|').slice(1, -1).map((cell) => cell.trim());
  const rows = readFileSync(readme, 'utf8').split('\n').map(cells);
  return rows.filter((row) => row.length === 2 + COLUMNS.length && /^[34]$/.test(row[1]));
}

function print(rows) {
  const lines = rows.map(({ client, transport, cells }) => {
    const name = transport === 'upgrade' ? 'polling → websocket' : transport;
    return [client.name, name, ...COLUMNS.map((column) => cells.get(column) ?? 'FAILS')];
  });
  const table = [['client', 'transport', ...COLUMNS], ...lines];
  const widths = table[0].map((_, at) => Math.max(...table.map((line) => line[at].length)));
  for (const line of table) console.log(line.map((cell, at) => cell.padEnd(widths[at])).join('  ').trimEnd());
}
