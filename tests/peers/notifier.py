"""A notifier written with pyzmq, as a test drives it.

    notifier.py pub|push bind|connect ENDPOINT

It says "ready" with the endpoint really bound, then sends what standard input tells it, one JSON array
of frames a line (strings), or {"repeat": N, "frames": [...]}, where "{n}" in a frame counts from 0. It
answers "sent" after each line, and ends with its input.
"""

import json
import sys

import zmq


def main():
    kind, way, endpoint = sys.argv[1:4]
    context = zmq.Context()
    socket = context.socket({"pub": zmq.PUB, "push": zmq.PUSH}[kind])
    socket.set_hwm(0)
    socket.linger = 5000
    getattr(socket, way)(endpoint)
    print("ready", socket.last_endpoint.decode(), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if isinstance(order, list):
            order = {"repeat": 1, "frames": order}
        for n in range(order["repeat"]):
            socket.send_multipart([frame.replace("{n}", str(n)).encode() for frame in order["frames"]])
        print("sent", flush=True)
    context.destroy()


main()
