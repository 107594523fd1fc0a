"""Beaker's middleware; the session holds what repoze.who leaves there. `logout` is `delete` or `invalidate`."""

import beaker
from beaker.middleware import SessionMiddleware

from . import answer, form


def application(redis, secret, logout="delete"):
    def pages(environ, start_response):
        session = environ["beaker.session"]
        page = environ["PATH_INFO"]
        if page == "/login":
            user = form(environ)
            session["repoze.who.tkt"] = {"user.id": user, "repoze.who.userid": user}
            session.save()
        elif page == "/logout":
            getattr(session, logout)()
        else:
            session["views"] = session.get("views", 0) + 1
            session.save()
        return answer(start_response, session.get("repoze.who.tkt", {}).get("user.id", ""))

    options = {"session.type": "ext:redis", "session.url": redis, "session.secret": secret}
    return SessionMiddleware(pages, options), f"Beaker {beaker.__version__}"
