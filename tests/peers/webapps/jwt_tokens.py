"""Tokens by PyJWT, in a cookie "token" and in the body of the answer to a login.

With RS256 and ES256 it makes a key of its own, whose public half it leaves in `folder`: `public.pem`, and
`jwks.json` beside the key that it has not begun to use.
"""

import json
import time
from http.cookies import SimpleCookie
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from . import answer, form

MAKERS = {
    "RS256": (lambda: rsa.generate_private_key(65537, 2048), jwt.algorithms.RSAAlgorithm),
    "ES256": (lambda: ec.generate_private_key(ec.SECP256R1()), jwt.algorithms.ECAlgorithm),
}


def keys(algorithm, folder):
    """The private key, and the public one that checks its tokens."""
    make, kind = MAKERS[algorithm]
    private, next_one = make(), make()
    public = private.public_key()
    Path(folder, "public.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    jwks = [
        {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": algorithm}
        for kid, key in [("next", next_one), ("now", private)]
    ]
    Path(folder, "jwks.json").write_text(json.dumps({"keys": jwks}))
    return private, public


def application(algorithm, lifetime, secret=None, folder=None):
    private, public = (secret, secret) if algorithm == "HS256" else keys(algorithm, folder)

    def user(environ):
        token = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("token")
        try:
            return jwt.decode(token.value, public, algorithms=[algorithm])["sub"] if token else ""
        except jwt.InvalidTokenError:
            return ""

    def pages(environ, start_response):
        page = environ["PATH_INFO"]
        if page == "/login":
            claims = {"sub": form(environ), "exp": int(time.time()) + lifetime}
            token = jwt.encode(claims, private, algorithm=algorithm, headers={"kid": "now"})
            return answer(start_response, token, [("Set-Cookie", f"token={token}; Path=/; HttpOnly")])
        if page == "/logout":
            # All that an application can do: nothing revokes a token.
            return answer(start_response, "", [("Set-Cookie", "token=; Path=/; Max-Age=0")])
        return answer(start_response, user(environ))

    return pages, f"PyJWT {jwt.__version__}"
