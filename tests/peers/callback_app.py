"""A small web application that the hub asks whose a request is.

    callback_app.py PORT FOLDER [--cache-control TEXT]

    POST /login?user=42   a new session, its cookie in Set-Cookie
    POST /logout          ends the session of the cookie
    GET  /whoami          {"user": "42", "groups": ["staff"]}, or 401
    GET  /count           how often /whoami was asked with a cookie

It says "ready" with its URL. Its sessions are files in the folder: they outlive it.
"""

import argparse
import json
import pathlib
import secrets
import threading
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked = 0
    lock = threading.Lock()

    def do_POST(self):
        url = urlsplit(self.path)
        if url.path == "/login":
            sid = secrets.token_hex(16)
            (args.folder / sid).write_text(parse_qs(url.query)["user"][0])
            self.answer(200, {}, {"Set-Cookie": f"sid={sid}"})
        elif url.path == "/logout":
            self.session().unlink()
            self.answer(200, {})

    def do_GET(self):
        if self.path == "/count":
            self.answer(200, {"asked": Handler.asked})
            return
        if "Cookie" in self.headers:
            with self.lock:
                Handler.asked += 1
        session = self.session()
        if session is None or not session.exists():
            self.answer(401, {"error": "log in first"})
            return
        kept = {"Cache-Control": args.cache_control} if args.cache_control else {}
        self.answer(200, {"user": session.read_text(), "groups": ["staff"]}, kept)

    def session(self):
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("sid")
        return args.folder / cookie.value if cookie and cookie.value.isalnum() else None

    def answer(self, status, body, headers={}):
        text = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(text), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--cache-control")
args = parser.parse_args()
server = Server(("127.0.0.1", args.port), Handler)
print("ready", f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
