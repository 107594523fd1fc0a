// The examples of crates/socketio as servers.

import { dirname, join } from 'node:path';

import { PREGON, Process } from './support.mjs';

/** Starts an example that ends with the test, and waits until it listens. */
export async function startExample(t, name, args) {
  const example = new Process(join(dirname(PREGON), 'examples', name), args);
  t.after(() => example.kill());
  const line = await example.line(/^listening on/);
  return Object.assign(example, { url: line.match(/http:\S+/)[0] });
}

/** The server of the official suites, at a free port. */
export const conformance = (t, args = []) => startExample(t, 'conformance', ['--listen', '127.0.0.1:0', ...args]);
