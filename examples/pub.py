"""Announces each line of standard input to everyone, by a PUB socket.

The program binds and the hub connects to it. What is sent while the hub is not subscribed is lost.
"""

import json
import sys

import zmq

with zmq.Context() as context, context.socket(zmq.PUB) as hub:
    hub.bind("tcp://127.0.0.1:5557")
    for line in sys.stdin:
        hub.send_multipart([b"all/", json.dumps({"data": {"text": line.strip()}}).encode()])
