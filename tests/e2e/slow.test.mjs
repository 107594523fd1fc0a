// Who does not read is cut, and costs the others nothing: neither a notification nor the hub's memory.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';

import { hubWithPush, startPeer } from './support.mjs';
import { joined } from './wire.mjs';

const READERS = 800;
const DEAF = 200;
const OUTBOX = 64 * 1024;
const PAYLOAD = 4_000;
/** So much at once that no outbox of somebody who reads can fill. */
const PORTION = 8;
/** Sent after the last was cut. */
const AFTERWARDS = 10;
/** Beyond this, nobody can say that the hub cuts. */
const ENOUGH = 2_000;
/** What the hub may take besides the outboxes: the allocator's own, and what is on its way to the readers. */
const MARGIN = 16 * 1024 * 1024;

test('1,000 connections, 200 of which do not read: those are cut, the 800 miss nothing', { timeout: 60_000 }, async (t) => {
  const { hub, push } = await hubWithPush(t, {
    tables: `[socketio]\noutbox = ${OUTBOX}\n`,
    keys: { max_message: 2 * PAYLOAD },
  });
  const readers = [];
  for (let n = 0; n < READERS; n += 50) {
    readers.push(...await Promise.all([...Array(50).keys()].map((more) => joined(t, hub, `reader${n + more}`))));
  }
  const { hostname, port } = new URL(hub.url);
  await startPeer(t, 'deaf.py', [hostname, port, `${DEAF}`]);
  await hub.statusWhen(({ registry }) => registry.sessions === READERS + DEAF);
  const base = resident(hub);
  let peak = base;

  let sent = 0;
  const announce = async () => {
    for (const end = sent + PORTION; sent < end; sent += 1) push.write(message(sent));
    for (const reader of readers) await expect(reader, sent - PORTION, PORTION);
    peak = Math.max(peak, resident(hub));
  };
  let cut = 0;
  while (cut < DEAF) {
    assert.ok(sent < ENOUGH, `${cut} of ${DEAF} cut after ${sent}`);
    await announce();
    cut = (await hub.status()).connections.ended.slow;
  }
  for (let n = 0; n < AFTERWARDS; n += 1) await announce();

  // Nobody but those who do not read was cut, and nobody ended otherwise.
  const ended = Object.fromEntries(Object.keys((await hub.status()).connections.ended).map((reason) => [reason, 0]));
  await hub.shows({
    connections: { websocket: READERS, ended: { ...ended, slow: DEAF } },
    registry: { sessions: READERS },
  });
  await hub.notifierShows('billing', { delivered: sent, absent: 0 });
  const { deliveries } = await hub.notifier('billing');
  assert.ok(deliveries >= sent * READERS && deliveries < sent * (READERS + DEAF), `${deliveries}`);
  const allowed = base + DEAF * OUTBOX + MARGIN;
  assert.ok(peak < allowed, `resident: ${base} at first, ${peak} at most, allowed ${allowed}`);
  t.diagnostic(`${sent} sent; resident ${base >> 20} MiB at first, ${peak >> 20} MiB at most`);
});

function message(n) {
  return JSON.stringify(['all/', JSON.stringify({ data: { n, text: 'x'.repeat(PAYLOAD) } })]);
}

/** The reader's next `count` notifications are those from `first` on. */
async function expect(reader, first, count) {
  for (let n = first; n < first + count; n += 1) {
    const text = await reader.next();
    const heard = Number(text.match(/"data":\{"n":(\d+),/)?.[1]);
    if (heard !== n) assert.fail(`${text.slice(0, 80)}… instead of ${n}`);
  }
}

/** Bytes of memory that the hub holds. */
function resident(hub) {
  const status = readFileSync(`/proc/${hub.child.pid}/status`, 'utf8');
  return Number(status.match(/VmRSS:\s+(\d+) kB/)[1]) * 1024;
}
