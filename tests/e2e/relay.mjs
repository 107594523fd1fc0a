// A relay before a Socket.IO server. It sees which transports a client really uses, can keep what the
// server says to it, and cuts all its connections at once, as a network does that is gone.

import { once } from 'node:events';
import net from 'node:net';

/** Starts a relay before the server at `url`, that ends with the test. */
export async function startRelay(t, url) {
  const links = new Set();
  const waiting = [];
  let holds = false;
  const server = net.createServer((client) => {
    const upstream = net.connect(new URL(url).port, '127.0.0.1');
    const link = { posts: false, sockets: [client, upstream] };
    links.add(link);
    const end = () => {
      links.delete(link);
      link.sockets.forEach((socket) => socket.destroy());
    };
    for (const socket of link.sockets) socket.on('error', () => {});
    client.on('close', end);
    // A client that is kept from the answer does not learn by the end of it either.
    upstream.on('close', () => (holds && !link.posts ? undefined : end()));
    client.on('data', (data) => {
      const asked = data.toString('latin1').match(/^(GET|POST) \S*EIO=(\d)\S* HTTP\/1\.1\r$/m);
      if (asked) {
        link.posts = asked[1] === 'POST';
        relay.seen.add(`EIO=${asked[2]} ${asked[0].match(/transport=(\w+)/)?.[1]}`);
      }
      upstream.write(data);
    });
    upstream.on('data', (data) => {
      // The answer to a POST only says that the server has it.
      if (!holds || link.posts) return client.write(data);
      relay.kept += data.toString('latin1');
      for (const resolve of waiting.splice(0)) resolve();
    });
  });
  const relay = {
    /** Protocol and transport of each request so far. */
    seen: new Set(),
    /** What the server said, and the client did not hear. */
    kept: '',
    /** From now on the client hears nothing, until the cut. */
    hold: () => (holds = true),
    /** Waits until enough is kept. */
    async keeps(text) {
      while (!relay.kept.includes(text)) await new Promise((resolve) => waiting.push(resolve));
    },
    /** Ends every connection without a word. New ones are as good as ever. */
    cut() {
      holds = false;
      for (const { sockets } of links) sockets.forEach((socket) => socket.resetAndDestroy());
    },
  };
  t.after(() => {
    relay.cut();
    server.close();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(relay, { url: `http://127.0.0.1:${server.address().port}` });
}
