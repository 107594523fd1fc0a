"""A web application of a real framework, that a test's browser logs in to and out of.

    web_app.py FRAMEWORK OPTIONS

FRAMEWORK is a module of `webapps`; OPTIONS are JSON, and become the arguments of its `application`,
which returns a WSGI application and what it is made of. All have the same pages:

    POST /login     user=77, form-encoded; whoever asks is that user from then on
    GET  /          a page view; the body is the user, as the framework knows it, or nothing
    POST /logout    the framework's own logout

It says "ready", its address and its versions. It ends with its input, or is killed.
"""

import importlib
import json
import sys
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # A thousand users log in at once.
    request_queue_size = 1024


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass

    def address_string(self):
        return self.client_address[0]


def main():
    framework, options = sys.argv[1:]
    wsgi, versions = importlib.import_module(f"webapps.{framework}").application(**json.loads(options))
    server = make_server("127.0.0.1", 0, wsgi, Server, Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ready http://127.0.0.1:{server.server_port} {versions}", flush=True)
    sys.stdin.read()


main()
