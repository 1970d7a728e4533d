#!/usr/bin/env python3
"""A FastCGI Authorizer: it decides who may pass, the web server serves what lies behind (FastCGI 1.0 §6.3).

Start it with ``fcgi-run gatekeeper:application -b unix:/run/gatekeeper.sock``; lighttpd/authorizer.conf asks it.
"""

import base64
import hmac

import gateway

AUTHORIZER = 2
USERS = {"alice": "in wonderland"}  # yours are in a database


def application(environ, start_response):
    """Answer 200 to let the request pass, anything else to answer it instead."""
    if environ.get("gateway.role") != AUTHORIZER:
        start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
        return [b'I only authorize: the web server must ask in that role (lighttpd: "mode" => "authorizer").\n']
    user = authenticated(environ.get("HTTP_AUTHORIZATION", ""))
    if user is None:
        challenge = ("WWW-Authenticate", 'Basic realm="private"')
        start_response("401 Unauthorized", [challenge, ("Content-Type", "text/plain")])
        return [b"Tell me who you are.\n"]
    # A header Variable-NAME does not go to the visitor: the application behind gets it as the variable NAME.
    start_response("200 OK", [("Variable-GATEKEEPER_USER", user)])
    return []


def authenticated(credentials):
    """The user whom Basic credentials prove, or None."""
    scheme, _, encoded = credentials.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return None
    known = USERS.get(user)
    return user if known is not None and hmac.compare_digest(known.encode(), password.encode()) else None


if __name__ == "__main__":
    gateway.run(application)
