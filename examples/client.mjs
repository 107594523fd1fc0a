// User 42's notifications, in a terminal, with the stock client.

import { io } from "socket.io-client";

const socket = io("http://127.0.0.1:8080", { auth: { user: "42" } });
socket.on("notification", (n) => console.log(`${n.from}: ${n.data.text}`));
socket.on("connect_error", (error) => console.error(error.message, error.data ?? ""));
