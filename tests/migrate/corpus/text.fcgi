#!/usr/bin/env python
import sys
from flup.server.fcgi import WSGIServer


def page(environ, start_response):
    name = environ.get("QUERY_STRING") or "world"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["Hello, %s\n" % name]


if __name__ == "__main__":
    WSGIServer(page, debug=False).run()
