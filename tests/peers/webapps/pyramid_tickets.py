"""Pyramid with a security policy on its AuthTktCookieHelper."""

from importlib.metadata import version

from pyramid.authentication import AuthTktCookieHelper
from pyramid.config import Configurator
from pyramid.response import Response


class Policy:
    def __init__(self, helper):
        self.helper = helper

    def identity(self, request):
        return self.helper.identify(request)

    def authenticated_userid(self, request):
        identity = request.identity
        return None if identity is None else str(identity["userid"])

    def remember(self, request, userid, **options):
        return self.helper.remember(request, userid, **options)

    def forget(self, request, **options):
        return self.helper.forget(request, **options)


def pages(request):
    page = request.path_info
    headers = []
    if page == "/login":
        user = request.POST["user"]
        headers = request.policy.remember(request, int(user) if user.isdigit() else user)
    elif page == "/logout":
        headers = request.policy.forget(request)
    response = Response(text=request.authenticated_userid or "", content_type="text/plain")
    response.headerlist.extend(headers)
    return response


def application(secret, **options):
    policy = Policy(AuthTktCookieHelper(secret, **options))
    with Configurator() as config:
        config.set_security_policy(policy)
        config.add_request_method(lambda request: policy, "policy", reify=True)
        config.add_route("pages", "/*page")
        config.add_view(pages, route_name="pages")
        wsgi = config.make_wsgi_app()
    return wsgi, f"Pyramid {version('pyramid')}"
