"""A directory of notifiers, as a test drives it.

    directory.py ENDPOINT ANSWER

A REP socket. It says "ready" with the endpoint really bound, and answers ANSWER, or what standard input
said last: each line is the answer from now on, as it is. It says "set" after each line, "asked QUESTION"
once it has answered, and ends with its input.
"""

import os
import sys

import zmq


def main():
    answer = sys.argv[2].encode()
    context = zmq.Context()
    socket = context.socket(zmq.REP)
    socket.linger = 0
    socket.bind(sys.argv[1])
    print("ready", socket.last_endpoint.decode(), flush=True)
    stdin = sys.stdin.fileno()
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(stdin, zmq.POLLIN)
    rest = b""
    while True:
        ready = dict(poller.poll())
        if stdin in ready:
            data = os.read(stdin, 65536)
            if not data:
                context.destroy()
                return
            *lines, rest = (rest + data).split(b"\n")
            for answer in lines:
                print("set", flush=True)
        if socket in ready:
            question = socket.recv()
            socket.send(answer)
            print("asked", question.decode(), flush=True)


main()
