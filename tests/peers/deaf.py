"""Clients that join and then read nothing, with as little room in the kernel as it allows.

    deaf.py HOST PORT COUNT

Each says who it is, deaf0 to deafN, over WebSocket. It says "ready" once all are in, and ends with its
input. Node cannot set these socket options, hence Python.
"""

import base64
import json
import os
import socket
import sys


def main():
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    clients = [join(host, port, f"deaf{n}") for n in range(count)]
    print("ready", len(clients), flush=True)
    sys.stdin.read()


def join(host, port, user):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    # The sender's buffer grows with the largest segment that the receiver takes.
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    client.connect((host, port))
    key = base64.b64encode(os.urandom(16)).decode()
    client.sendall(
        f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    message = ("40" + json.dumps({"user": user})).encode()
    # A mask of zeros is a mask (RFC 6455 section 5.3).
    client.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
    read = b""
    while b'40{"sid"' not in read:
        part = client.recv(4096)
        if not part:
            sys.exit(f"{user} was not let in: {read!r}")
        read += part
    return client


main()
