"""Flask with Flask-Session in Redis and Flask-Login. `options` are the application's settings."""

from importlib.metadata import version

import flask
import flask_login
import flask_session
from redis import Redis


def application(redis, secret, **options):
    app = flask.Flask(__name__)
    app.config.update(SECRET_KEY=secret, SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(redis), **options)
    flask_session.Session(app)
    logins = flask_login.LoginManager(app)

    @logins.user_loader
    def load(user):
        known = flask_login.UserMixin()
        known.id = user
        return known

    @app.post("/login")
    def login():
        flask_login.login_user(load(flask.request.form["user"]))
        return page()

    @app.get("/")
    def page():
        flask.session["views"] = flask.session.get("views", 0) + 1
        return getattr(flask_login.current_user, "id", "")

    @app.post("/logout")
    def logout():
        flask_login.logout_user()
        return ""

    return app, f"Flask-Session {flask_session.__version__}, Flask-Login {version('flask-login')}"
