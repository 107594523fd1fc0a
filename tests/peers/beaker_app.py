"""A web application with Beaker's sessions in Redis, as a test drives it.

    beaker_app.py REDIS_URL SECRET [--timeout SECONDS] [--serializer pickle|json]

Beaker's own middleware around a small WSGI application, in this process. It says "ready" with Beaker's
version, then makes a request of each line of standard input, a JSON object:

    {"do": "login", "user": "77"}   with a "cookie": the user of that session becomes another
    {"do": "visit", "cookie": C}    a page view that writes to the session
    {"do": "logout", "cookie": C}   session.delete()
    {"do": "invalidate", "cookie": C}
    {"do": "clock", "shift": -60}   from now on, Beaker's clock is slow by a minute; no request

It answers each with "answer" and a JSON object: the cookie that a browser has from then on, or the
error that the request died of. It ends with its input.
"""

import argparse
import json
import sys
import time

import beaker
import beaker.session
from beaker.middleware import SessionMiddleware


class Clock:
    """The module `time`, as far as Beaker's sessions look at it, shifted."""

    shift = 0
    strftime = staticmethod(time.strftime)

    def time(self):
        return time.time() + self.shift


def application(environ, start_response):
    session = environ["beaker.session"]
    order = environ["test.order"]
    if order["do"] == "login":
        # What repoze.who leaves.
        session["repoze.who.tkt"] = {"user.id": order["user"], "repoze.who.userid": order["user"]}
        session.save()
    elif order["do"] == "visit":
        session["views"] = session.get("views", 0) + 1
        session.save()
    elif order["do"] == "logout":
        session.delete()
    elif order["do"] == "invalidate":
        session.invalidate()
    else:
        raise ValueError(order["do"])
    start_response("200 OK", [])
    return []


def request(wsgi, order):
    cookie = order.get("cookie", "")
    environ = {"test.order": order, "REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_COOKIE": cookie}
    said = []
    wsgi(environ, lambda status, headers, exc_info=None: said.extend(headers))
    for name, value in said:
        if name.lower() == "set-cookie":
            cookie = value.split(";")[0].strip()
    return {"cookie": cookie}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("redis")
    parser.add_argument("secret")
    parser.add_argument("--timeout", type=int)
    parser.add_argument("--serializer", default="pickle")
    args = parser.parse_args()
    clock = beaker.session.time = Clock()
    options = {"session.type": "ext:redis", "session.url": args.redis, "session.secret": args.secret}
    options["session.data_serializer"] = args.serializer
    if args.timeout:
        options["session.timeout"] = args.timeout
    wsgi = SessionMiddleware(application, options)
    print("ready", beaker.__version__, flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        answer = {}
        try:
            if order["do"] == "clock":
                clock.shift = order["shift"]
            else:
                answer = request(wsgi, order)
        except Exception as error:
            answer = {"error": repr(error)}
        print("answer", json.dumps(answer), flush=True)


main()
