"""Django with django.contrib.auth and sessions in Redis.

`engine` is "cache" or "cached_db"; `cache` is the cache's settings, beside its URL. The users are in a
database of the process, in memory; so are the sessions that `cached_db` keeps there too.
"""

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path


def login(request):
    from django.contrib import auth

    user = request.POST["user"]
    auth.models.User.objects.get_or_create(pk=int(user), defaults={"username": user})
    known = auth.models.User.objects.get(pk=int(user))
    known.set_password(user)
    known.save()
    auth.login(request, auth.authenticate(request, username=user, password=user))
    return page(request)


def page(request):
    request.session["views"] = request.session.get("views", 0) + 1
    return HttpResponse(str(request.user.pk or ""))


def logout(request):
    from django.contrib import auth

    auth.logout(request)
    return HttpResponse("")


urlpatterns = [path("login", login), path("logout", logout), path("", page)]


def application(redis, engine="cache", cache=None):
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        SECRET_KEY="of no use to the hub",
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}",
        CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": redis, **(cache or {})}},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:users?mode=memory&cache=shared"}},
        # Fast, for a thousand logins; the hub never sees a password.
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", verbosity=0)
    return get_wsgi_application(), f"Django {django.get_version()}"
