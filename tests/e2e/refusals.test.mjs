// What a notifier may not send is refused by name, counted, and told in the log without flooding it; the
// notifier lives on.

import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { Publisher, Push } from 'zeromq';

import { BASE, connect, freePort, notifierTable, startHub } from './support.mjs';

const limit = { timeout: 60_000 };
const MAX_MESSAGE = 4096;

const nested = (depth, open = '[', close = ']') => open.repeat(depth) + close.repeat(depth);
const good = '{"data":1}';
const notUtf8 = Buffer.from([0x75, 0x2f, 0xff, 0x2f]);

/** Reason → what is refused for it. */
const REFUSED = {
  bad_frames: {
    'four frames': ['u/ana/', good, 'id', 'more'],
    'seven frames': ['u/ana/', good, 'id', '4', '5', '6', '7'],
    'an empty id': ['u/ana/', good, ''],
    'an id of 257 bytes': ['u/ana/', good, 'i'.repeat(257)],
    'an id that is no text': ['u/ana/', good, notUtf8],
  },
  bad_json: {
    'no JSON': ['u/ana/', 'hello'],
    'nothing': ['u/ana/', ''],
    'an array': ['u/ana/', '[1]'],
    'no data': ['u/ana/', '{"event":"order"}'],
    'half an object': ['u/ana/', '{"data":1'],
    'something behind it': ['u/ana/', '{"data":1} x'],
    'a broken value': ['u/ana/', '{"data":[1,]}'],
    'NaN': ['u/ana/', '{"data":NaN}'],
    'no text': ['u/ana/', Buffer.from('{"data":"\xff"}', 'latin1')],
    'a negative ttl': ['u/ana/', '{"data":1,"ttl":-1}'],
    'an empty key': ['u/ana/', '{"data":1,"key":""}'],
    'a key of 257 bytes': ['u/ana/', `{"data":1,"key":"${'k'.repeat(257)}"}`],
    '129 arrays deep': ['u/ana/', `{"data":${nested(129)}}`],
    '129 objects deep': ['u/ana/', `{"data":${nested(129, '{"a":', '}').replace('{"a":}', '{}')}}`],
    '1,900 deep': ['u/ana/', `{"data":${nested(1_900)}}`],
    'one frame, no JSON': ['u/ana/'],
    'one frame without to': [good],
    'one frame, to a number': ['{"to":1,"data":1}'],
    'one frame, an empty id': ['{"to":"u/ana/","data":1,"id":""}'],
  },
  bad_address: {
    'no slash at the end': ['u/ana', good],
    'nobody': ['u//', good],
    'another kind': ['x/ana/', good],
    'another spelling': ['u/%61na/', good],
    'lower hex': ['u/Jos%c3%a9/', good],
    'not encoded': ['u/José/', good],
    'a path': ['u/../ana/', good],
    'no text': [notUtf8, good],
    'nothing': ['', good],
    '257 bytes': [`u/${'a'.repeat(257)}/`, good],
    'one frame': ['{"to":"ana","data":1}'],
    'an empty list': ['{"to":[],"data":1}'],
    'one bad in a list': ['{"to":["u/ana/","ana"],"data":1}'],
  },
  bad_event: {
    'connect': ['u/ana/', '{"data":1,"event":"connect"}'],
    'connect_error': ['u/ana/', '{"data":1,"event":"connect_error"}'],
    'disconnect': ['u/ana/', '{"data":1,"event":"disconnect"}'],
    'disconnecting': ['u/ana/', '{"data":1,"event":"disconnecting"}'],
    'newListener': ['u/ana/', '{"data":1,"event":"newListener"}'],
    'removeListener': ['u/ana/', '{"data":1,"event":"removeListener"}'],
    "the hub's own": ['u/ana/', '{"data":1,"event":"session:end"}'],
    "the inbox's": ['{"to":"u/ana/","data":1,"event":"inbox:read"}'],
    'an empty name': ['u/ana/', '{"data":1,"event":""}'],
    'a long name': ['u/ana/', `{"data":1,"event":"${'e'.repeat(257)}"}`],
  },
  too_large: {
    'one byte too many': ['u/ana/', bodyOf(MAX_MESSAGE - 5)],
    'all frames together': ['u/ana/', bodyOf(MAX_MESSAGE - 7), 'id'],
    'twice as large': ['u/ana/', bodyOf(2 * MAX_MESSAGE)],
  },
  not_granted: {
    'everyone': ['all/', good],
    'a group': ['g/news/', good],
    'another prefix': ['u/luis/', good],
    'one in a list': ['{"to":["u/ana/","all/"],"data":1}'],
  },
};

test('the tables hold cases, and what is just within the limits passes', limit, async (t) => {
  for (const [reason, cases] of Object.entries(REFUSED)) assert.ok(Object.keys(cases).length >= 3, reason);
  const { hub, push } = await hubWithNodePush(t);
  const client = await connect(t, hub, 'ana');
  const passing = [
    ['u/ana/', `{"data":${nested(128)}}`],
    ['u/ana/', good, 'i'.repeat(256)],
    ['u/ana/', bodyOf(MAX_MESSAGE - 6)],
    [`u/ana${'a'.repeat(253)}/`, good],
    ['u/ana/', '{"data":1,"event":"notification","ttl":0,"key":"k","unknown":[]}'],
    ['u/ana/', `{"data":"${'['.repeat(1_000)}\\""}`],
    ['u/ana/', '{"data":"last"}'],
  ];
  for (const frames of passing) await push.send(frames);
  await client.until((heard) => heard.at(-1)?.args[0].data === 'last');
  assert.equal(client.heard.length, passing.length - 1, 'all but the one to somebody else');
  const { refused } = await hub.notifier('billing');
  assert.deepEqual(Object.values(refused), Object.values(refused).map(() => 0));
});

for (const [reason, cases] of Object.entries(REFUSED)) {
  test(`${reason}: each is refused and counted, and a good one afterwards arrives`, limit, async (t) => {
    const { hub, push } = await hubWithNodePush(t);
    const client = await connect(t, hub, 'ana');
    let expected = 0;
    for (const [name, frames] of Object.entries(cases)) {
      await push.send(frames);
      await push.send(['u/ana/', JSON.stringify({ data: `after ${name}` })]);
      expected += 1;
      await client.until((heard) => heard.length === expected);
      assert.equal(client.heard.at(-1).args[0].data, `after ${name}`);
      const { refused } = await hub.notifier('billing');
      assert.deepEqual(others(refused, reason), [], name);
      assert.equal(refused[reason], expected, name);
    }
    await hub.line(new RegExp(`WARN.*messages refused notifier=billing reason=${reason} count=1 advice=`));
    const metrics = await (await fetch(`${hub.admin}/metrics`)).text();
    const counter = `pregon_messages_refused_total{notifier="billing",reason="${reason}"} ${expected}`;
    assert.ok(metrics.split('\n').includes(counter), metrics);
  });
}

test('a thousand refusals are all counted, and make few lines', limit, async (t) => {
  const { hub, push } = await hubWithNodePush(t);
  const client = await connect(t, hub, 'ana');
  const start = performance.now();
  for (let n = 0; n < 1_000; n += 1) await push.send(['u/ana/', 'no JSON']);
  await push.send(['u/ana', good]);
  await push.send(['u/ana/', good]);
  await client.until((heard) => heard.length === 1);
  const seconds = (performance.now() - start) / 1_000;
  const { refused } = await hub.notifier('billing');
  assert.equal(refused.bad_json, 1_000);
  assert.equal(refused.bad_address, 1);
  const lines = (reason) => hub.lines.filter((line) => line.includes(`messages refused notifier=billing reason=${reason}`));
  assert.ok(lines('bad_json').length >= 1);
  assert.ok(lines('bad_json').length <= 2 + seconds, lines('bad_json').join('\n'));
  // The end of the burst is told, too, though no other refusal follows it.
  const told = () => lines('bad_json').reduce((sum, line) => sum + Number(/count=(\d+)/.exec(line)[1]), 0);
  while (told() < 1_000) await hub.line(/reason=bad_json/, hub.lines.length);
  assert.equal(told(), 1_000);
  // One reason's silence is not another's.
  assert.equal(lines('bad_address').length, 1);
});

test('a message beyond all bounds costs its sender the connection, and no more', limit, async (t) => {
  const { hub, push } = await hubWithNodePush(t);
  const client = await connect(t, hub, 'ana');
  await push.send(['u/ana/', '{"data":"before"}']);
  await client.until((heard) => heard.length === 1);
  const reconnected = once(push.events, 'disconnect');
  await push.send(['u/ana/', bodyOf(32 * MAX_MESSAGE)]);
  await reconnected;
  await push.send(['u/ana/', '{"data":"after"}']);
  await client.until((heard) => heard.length === 2);
  assert.deepEqual(client.data(), ['before', 'after']);
});

test('a `sub` refuses by the same names', limit, async (t) => {
  const endpoint = `tcp://127.0.0.1:${await freePort()}`;
  const pub = new Publisher({ linger: 0, sendHighWaterMark: 0 });
  t.after(() => pub.close());
  await pub.bind(endpoint);
  const table = notifierTable('news', { type: 'sub', connect: [endpoint], max_message: MAX_MESSAGE, allow: ['u/ana'] });
  const hub = await startHub(t, BASE + table);
  const client = await connect(t, hub, 'ana');
  while (client.heard.length === 0) {
    await pub.send(['u/ana/', '{"data":"here"}']);
    await turn();
  }
  const cases = Object.entries(REFUSED).map(([reason, list]) => [reason, Object.values(list)[0]]);
  for (const [, frames] of cases) await pub.send(frames);
  await pub.send(['u/ana/', '{"data":"last"}']);
  await client.until((heard) => heard.at(-1).args[0].data === 'last');
  const { refused } = await hub.notifier('news');
  assert.deepEqual(refused, Object.fromEntries(cases.map(([reason]) => [reason, 1])));
});

/** A hub whose notifier may send to `u/ana…`, and Node's PUSH at its other end: its frames may hold any bytes. */
async function hubWithNodePush(t) {
  const bind = `tcp://127.0.0.1:${await freePort()}`;
  const keys = { type: 'pull', bind, max_message: MAX_MESSAGE, allow: ['u/ana'] };
  const hub = await startHub(t, BASE + notifierTable('billing', keys));
  const push = new Push({ linger: 0 });
  t.after(() => push.close());
  push.connect(bind);
  return { hub, push };
}

/** A body of exactly that many bytes. */
function bodyOf(bytes) {
  return `{"data":"${'x'.repeat(bytes - '{"data":""}'.length)}"}`;
}

/** Reasons that were counted and should not have been. */
function others(refused, reason) {
  return Object.entries(refused).filter(([name, count]) => name !== reason && count > 0);
}

/** The next event of that kind on a socket's monitor. */
async function once(events, type) {
  for await (const event of events) if (event.type === type) return event;
  throw new Error(`no ${type}`);
}
