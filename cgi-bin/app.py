#!/usr/bin/env python3
"""A WSGI application (PEP 3333) as a CGI script. `fcgi-run app:application` serves the same file over FastCGI."""

import os

from gateway import run

served = 0


def application(environ, start_response):
    global served
    served += 1
    text = f"Hello from process {os.getpid()}, request number {served}.\n"
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [text.encode()]


if __name__ == "__main__":
    run(application)
