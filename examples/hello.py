#!/usr/bin/env python3
"""One application for every way of being called; its answer says which one it was.

    fcgi-run hello:application -b unix:/run/hello.sock    a worker: behind nginx, Apache, lighttpd, HAProxy, Caddy
    cp hello.py /usr/lib/cgi-bin/                         a CGI program: started by the web server for each request
    spawn-fcgi -n -s /run/hello.sock -- ./hello.py        started with a socket, as mod_fcgid and lighttpd do it, too
    python3 hello.py                                      a development server
"""

import itertools
import os

import gateway

_count = itertools.count(1)


def application(environ, start_response):
    """Tell who answers, where the application lives, and what was asked of it."""
    model = "one request, then exit" if environ["wsgi.run_once"] else f"request {next(_count)} of this process"
    lines = [
        f"Hello from process {os.getpid()} ({model})",
        f"behind {environ.get('SERVER_SOFTWARE') or 'an unnamed web server'}",
        f"SCRIPT_NAME={environ['SCRIPT_NAME']}",
        f"PATH_INFO={environ['PATH_INFO']}",
        f"QUERY_STRING={environ['QUERY_STRING']}",
    ]
    body = "".join(f"{line}\n" for line in lines).encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    gateway.run(application)
