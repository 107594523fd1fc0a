// Notifies user 42, by a PUSH socket. A service would keep the socket for its whole life.

import { Push } from "zeromq";

const hub = new Push();
hub.connect("tcp://127.0.0.1:5556");
await hub.send(["u/42/", JSON.stringify({ data: { text: "Invoice 18 is paid" } })]);
