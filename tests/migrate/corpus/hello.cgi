#!/usr/bin/env python3
"""The application is here, and wsgiref speaks CGI."""
import wsgiref.handlers
from wsgiref.util import request_uri


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello from ", request_uri(environ).encode()]


if __name__ == "__main__":
    handler = wsgiref.handlers.CGIHandler()
    handler.run(application)
