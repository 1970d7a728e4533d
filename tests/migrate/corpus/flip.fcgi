#!/usr/bin/env python3
from flipflop import WSGIServer

import sys


def gateway(environ):
    return environ["SCRIPT_NAME"] or "the root"


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [gateway(environ).encode()]


if __name__ == "__main__":
    WSGIServer(app).run()
