// The live connection: the stock Socket.IO client, told as one of five states.

const SERVER_CLOSED = "io server disconnect";
const CLIENT_CLOSED = "io client disconnect";
const RETRY_MS = 2000;

/**
 * Joins the hub as `user`. `onState(state, detail)` gets "connecting", "connected" {recovered},
 * "lost" {everConnected}, "refused" {reason} or "ended" {reason}.
 */
export function join(user, { onState, onNotification }) {
  // A manager of its own: the recovery of one user's session must never be tried for the next user.
  const socket = globalThis.io({ auth: { user }, forceNew: true });
  let everConnected = false;
  let over = false;
  let retryTimer = 0;

  function tryAgain() {
    over = false;
    onState("connecting", {});
    socket.connect();
  }

  socket.on("connect", () => {
    everConnected = true;
    onState("connected", { recovered: socket.recovered === true });
  });
  socket.on("notification", onNotification);
  socket.on("session:end", (end) => {
    over = true;
    onState("ended", { reason: end?.reason });
  });
  socket.on("disconnect", (why) => {
    if (over || why === CLIENT_CLOSED) return;
    onState("lost", { everConnected });
    // The client takes a server's disconnect for good. Without a session:end it is only a restart.
    if (why === SERVER_CLOSED) retryTimer = setTimeout(() => socket.connect(), RETRY_MS);
  });
  socket.on("connect_error", (error) => {
    // `active` means that the client goes on trying by itself: the hub is away, it refused nobody.
    if (socket.active) onState("lost", { everConnected });
    else onState("refused", { reason: error.data?.reason ?? error.message });
  });

  onState("connecting", {});
  return {
    tryAgain,
    close() {
      clearTimeout(retryTimer);
      socket.off();
      socket.disconnect();
    },
  };
}
