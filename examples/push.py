"""Notifies user 42, by a PUSH socket. A service would keep the socket for its whole life."""

import json

import zmq

with zmq.Context() as context, context.socket(zmq.PUSH) as hub:
    hub.connect("tcp://127.0.0.1:5556")
    hub.send_multipart([b"u/42/", json.dumps({"data": {"text": "Invoice 17 is paid"}}).encode()])
# Leaving the block waits until the hub has it.
