#!/usr/bin/env python3
"""The application behind every front end; ``?do=…`` says what it shall do, and without it tells what it was asked."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.validate import validator

Environ = dict[str, Any]
Options = dict[str, str]
StartResponse = Callable[..., Callable[[bytes], None]]

BLOCK = bytes(range(256)) * 256
"""64 KiB whose order shows."""


def checked(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """One of the actions below."""
    options = dict(parse_qsl(environ["QUERY_STRING"]))
    return ACTIONS[options.get("do", "report")](environ, start_response, options)


def report(environ: Environ, start_response: StartResponse, options: Options) -> Iterable[bytes]:
    """What arrived, as JSON."""
    read, digest, size = environ["wsgi.input"].read, hashlib.sha256(), 0
    while block := read(65536):
        digest.update(block)
        size += len(block)
    told = {name: value for name, value in environ.items() if isinstance(value, (str, bool))}
    told |= {"size": size, "sha256": digest.hexdigest(), "pid": os.getpid(), "sockets": sockets()}
    return whole(start_response, "200 OK", [("Content-Type", "application/json")], json.dumps(told).encode())


def sockets() -> list[str]:
    """The sockets of this process, each by a name that no other one gets while it is open."""
    targets = []
    for name in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue  # the descriptor of this very listing
    return sorted(target for target in targets if target.startswith("socket:"))


def whole(start_response: StartResponse, status: str, headers: list[tuple[str, str]], body: bytes) -> Iterable[bytes]:
    """A response whose length is known."""
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]


def download(environ: Environ, start_response: StartResponse, options: Options) -> Iterator[bytes]:
    """``blocks`` times BLOCK."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    for _ in range(int(options["blocks"])):
        yield BLOCK


def empty(environ: Environ, start_response: StartResponse, options: Options) -> Iterable[bytes]:
    """A status that has no content."""
    start_response(f"{options['status']} Nothing", [("X-Empty", "yes"), ("ETag", '"1"')])
    return []


def redirect(environ: Environ, start_response: StartResponse, options: Options) -> Iterable[bytes]:
    """Somewhere else, on another host."""
    where = [("Location", "http://elsewhere.example/a%20b?c=d"), ("Content-Type", "text/plain")]
    return whole(start_response, "302 Found", where, b"there\n")


def cookies(environ: Environ, start_response: StartResponse, options: Options) -> Iterable[bytes]:
    """Two cookies, which no front end may join."""
    two = [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2; Path=/"), ("Content-Type", "text/plain")]
    return whole(start_response, "200 OK", two, b"baked\n")


def complain(environ: Environ, start_response: StartResponse, options: Options) -> Iterable[bytes]:
    """A line for the error log of the web server."""
    environ["wsgi.errors"].write("the application complains\n")
    environ["wsgi.errors"].flush()
    return whole(start_response, "200 OK", [("Content-Type", "text/plain")], b"complained\n")


def fail(environ: Environ, start_response: StartResponse, options: Options) -> Iterable[bytes]:
    """An exception before the head."""
    raise RuntimeError("failed on purpose")


def cut(environ: Environ, start_response: StartResponse, options: Options) -> Iterator[bytes]:
    """An exception in the middle of the body, whose length may be announced, once the file ``until`` exists."""
    length = [("Content-Length", options["length"])] if "length" in options else []
    start_response("200 OK", [("Content-Type", "text/plain"), *length])
    yield b"half of it"
    wait_for_file(options.get("until", "/"))
    raise RuntimeError("cut on purpose")


def ticks(environ: Environ, start_response: StartResponse, options: Options) -> Iterator[bytes]:
    """One line at once, another when whoever saw the first has made the file ``until``."""
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    yield b"one\n"
    yield b"two\n" if wait_for_file(options["until"]) else b"nobody saw the first line\n"


def wait_for_file(path: str) -> bool:
    """Does somebody make the file within five seconds?"""
    deadline = time.monotonic() + 5
    while not (made := os.path.exists(path)) and time.monotonic() < deadline:
        time.sleep(0.005)
    return made


ACTIONS = {
    action.__name__: action for action in (report, download, empty, redirect, cookies, complain, fail, cut, ticks)
}

application = validator(checked)

if __name__ == "__main__":
    import gateway

    gateway.run(application)
