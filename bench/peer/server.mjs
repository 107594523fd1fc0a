// The peer: what one would write without Pregón, in Node, with socket.io and zeromq as they come.
// It keeps nothing: no store, no recovery, no receipts, so it does strictly less work than the hub.
//
//   node server.mjs tcp://127.0.0.1:5557      PULL binds there; the web server takes a free port and prints it
//
// PEER_RECOVERY=1 turns on socket.io's own connection state recovery (the hub's is always on).
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { Server } from "socket.io";
import { Pull } from "zeromq";

const pull = new Pull();
await pull.bind(process.argv[2] ?? "tcp://127.0.0.1:0");

const http = createServer();
const io = new Server(http, process.env.PEER_RECOVERY === "1" ? { connectionStateRecovery: {} } : {});

io.use((socket, next) => {
  const { user } = socket.handshake.auth;
  if (typeof user !== "string" || user === "") return next(new Error("unauthorized"));
  socket.data.user = user;
  next();
});

io.on("connection", (socket) => {
  socket.join(`u/${socket.data.user}/`);
});

http.listen(0, "127.0.0.1", () => {
  const { port } = http.address();
  console.log(
    `peer: listening on http://127.0.0.1:${port}; node ${process.versions.node}, ` +
      `socket.io ${version("socket.io")}, zeromq ${version("zeromq")}`,
  );
});

// The bench holds our stdin: when it is gone, however it ended, so are we.
process.stdin.resume().on("end", () => process.exit(0)).on("error", () => process.exit(0));

let id = 0;
for await (const [to, body] of pull) {
  const address = to.toString();
  const { event = "notification", data } = JSON.parse(body.toString());
  const notification = { id: String(++id), at: Date.now(), to: address, from: "bench", data };
  if (address === "all/") io.emit(event, notification);
  else io.to(address).emit(event, notification);
}

function version(name) {
  // Not require("…/package.json"): a package need not export it.
  let dir = dirname(createRequire(import.meta.url).resolve(name));
  for (; dir !== dirname(dir); dir = dirname(dir)) {
    try {
      const found = JSON.parse(readFileSync(join(dir, "package.json"), "utf8"));
      if (found.name === name && found.version) return found.version;
    } catch {
      // the next directory up
    }
  }
  return "unknown";
}
