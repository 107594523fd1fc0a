"""One application per framework, with nothing but the framework's own login and logout."""

from urllib.parse import parse_qs


def form(environ):
    """The user of a login, in a bare WSGI application."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return parse_qs(body.decode())["user"][0]


def answer(start_response, text, headers=()):
    start_response("200 OK", [("Content-Type", "text/plain"), *headers])
    return [text.encode()]
