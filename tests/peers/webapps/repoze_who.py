"""repoze.who's middleware with its own ticket, AuthTktCookiePlugin. It believes everybody's name."""

from importlib.metadata import version

from repoze.who.api import get_api
from repoze.who.interfaces import IAuthenticator
from repoze.who.middleware import PluggableAuthenticationMiddleware
from repoze.who.plugins.auth_tkt import AuthTktCookiePlugin
from zope.interface import implementer

from . import answer, form


@implementer(IAuthenticator)
class Believes:
    def authenticate(self, environ, identity):
        return identity.get("login")


def pages(environ, start_response):
    api = get_api(environ)
    page = environ["PATH_INFO"]
    headers = []
    if page == "/login":
        user = form(environ)
        # Users with numbers are numbers in the ticket, as in applications that keep users in a table.
        identity, headers = api.login({"login": int(user) if user.isdigit() else user})
        environ["REMOTE_USER"] = identity["repoze.who.userid"]
    elif page == "/logout":
        headers = api.logout()
    return answer(start_response, str(environ.get("REMOTE_USER", "")), headers)


def application(secret, timeout=None, reissue_time=None, digest_algo="md5"):
    ticket = AuthTktCookiePlugin(
        secret, "auth_tkt", timeout=timeout, reissue_time=reissue_time, digest_algo=digest_algo
    )
    wsgi = PluggableAuthenticationMiddleware(
        pages,
        identifiers=[("auth_tkt", ticket)],
        authenticators=[("auth_tkt", ticket), ("believes", Believes())],
        challengers=[],
        mdproviders=[],
        request_classifier=lambda environ: "browser",
        challenge_decider=lambda environ, status, headers: False,
    )
    return wsgi, f"repoze.who {version('repoze.who')}"
