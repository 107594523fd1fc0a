"""A publisher that tells which subscriptions reach it.

    xpub.py ENDPOINT

It says "ready" with the endpoint really bound, then "subscribed TOPIC" and "unsubscribed TOPIC" as they
come, repeated ones too. What standard input tells it to send, it sends as notifier.py does.
"""

import json
import os
import sys

import zmq


def main():
    context = zmq.Context()
    socket = context.socket(zmq.XPUB)
    socket.setsockopt(zmq.XPUB_VERBOSE, 1)
    socket.set_hwm(0)
    socket.linger = 0
    socket.bind(sys.argv[1])
    print("ready", socket.last_endpoint.decode(), flush=True)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(sys.stdin.fileno(), zmq.POLLIN)
    orders = Lines(sys.stdin.fileno())
    while True:
        ready = dict(poller.poll())
        if socket in ready:
            change = socket.recv()
            print("subscribed" if change[0] == 1 else "unsubscribed", change[1:].decode(), flush=True)
        if sys.stdin.fileno() in ready:
            for order in orders.read():
                if order is None:
                    context.destroy()
                    return
                send(socket, json.loads(order))


def send(socket, order):
    if isinstance(order, list):
        order = {"repeat": 1, "frames": order}
    for n in range(order["repeat"]):
        socket.send_multipart([frame.replace("{n}", str(n)).encode() for frame in order["frames"]])
    print("sent", flush=True)


class Lines:
    """Lines of a descriptor, without a buffer that the poller could not see."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.rest = b""

    def read(self):
        data = os.read(self.descriptor, 65536)
        if not data:
            return [None]
        *lines, self.rest = (self.rest + data).split(b"\n")
        return lines


main()
