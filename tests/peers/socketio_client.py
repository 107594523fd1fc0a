"""python-socketio for the matrix of clients:

    socketio_client.py URL polling|websocket|upgrade

It prints "result" and a JSON object: what it was sent back, bytes in base64. What would be right, it does
not know; the test does.
"""

import base64
import importlib.metadata
import json
import queue
import sys

import socketio

PATIENCE = 20
BYTES = bytes(range(256))
TEXT = ("¡hola! 🎉", 17, {"a": [True, None, "€"]})
BINARY = (BYTES, "beside it", {"inside": [b"another"]})


def plain(value):
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return value


def main():
    url, transport = sys.argv[1:]
    client = socketio.Client(reconnection=False)
    heard = {name: queue.Queue() for name in ("auth", "message-back", "answered")}
    for name, events in heard.items():
        client.on(name, lambda *args, events=events: events.put(args))
    client.on("question", lambda *args: (*args, BYTES))

    def send(name, args, reply):
        client.emit(name, args)
        return heard[reply].get(timeout=PATIENCE)

    client.connect(url, transports=["polling", "websocket"] if transport == "upgrade" else [transport])
    heard["auth"].get(timeout=PATIENCE)
    result = {
        "text": send("message", TEXT, "message-back"),
        "binary": send("message", BINARY, "message-back"),
        "ack": client.call("message-with-ack", TEXT, timeout=PATIENCE),
        "binaryAck": client.call("message-with-ack", BINARY, timeout=PATIENCE),
        "answered": send("ask", TEXT, "answered"),
        "transport": client.transport(),
        "version": importlib.metadata.version("python-socketio"),
    }
    print("result", json.dumps(plain(result)), flush=True)
    client.disconnect()


main()
