// What the tests of an application's users share: clients that come with its cookie, and how they are let in,
// turned away and put out.

import assert from 'node:assert/strict';

import { connect, refusal } from './support.mjs';

/** A stock client that has joined with that cookie. */
export const enter = (t, hub, cookie, options = {}) =>
  connect(t, hub, undefined, { extraHeaders: { cookie }, ...options });

/** The reason why a client with that cookie does not get in. */
export async function refused(t, hub, cookie, options = {}) {
  const { error, active } = await refusal(t, hub, { extraHeaders: { cookie }, ...options });
  assert.equal(error.message, 'unauthorized');
  assert.equal(active, false, 'it does not try again by itself');
  return error.data.reason;
}

/** Waits until the hub has ended a client's session and its connection; the reason. */
export async function over(client) {
  await client.until(() => client.disconnects.length > 0);
  assert.deepEqual(client.disconnects, ['io server disconnect']);
  const { event, args } = client.heard.at(-1);
  assert.equal(event, 'session:end');
  return args[0].reason;
}

/** Says something to a user, whose client hears it. */
export async function says(push, user, client, data) {
  await push.send([`u/${user}/`, JSON.stringify({ data })]);
  await client.until(() => client.data().includes(data));
}
